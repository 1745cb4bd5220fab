/* warm.c - warm-ups: a file or a whole directory is loaded in the background. The walk below the
 * directory stands still while its requests are in flight or L1 has no space, and takes a bounded
 * number of steps per letter. Everything but the start runs on the loop thread.
 */
#include "config.h"

#include <stdio.h>

#include "core.h"
#include "log.h"

#define STEPS 1024 /* names looked at under one hold of ns->lock */

/* Where the walk is in one directory, which is busy and open meanwhile: slots stay. */
struct spot {
    struct inode *dir;
    uint32_t next;
};

/* All of it is guarded by ns->lock. */
struct warm {
    struct list link; /* l2fs.warms */
    struct l2fs *fs;
    struct letter letter;
    bool posted;
    struct waiter waiter; /* for space */
    bool waiting;
    struct inode *top; /* busy */
    struct spot *stack;
    size_t depth, capacity;
    struct inode *key; /* evicted, busy: the next to load */
    bool over;         /* takes no further key */
    size_t batches;    /* in flight */
    uint64_t bytes;    /* asked for so far ... */
    uint64_t flying;   /* ... and not there yet */
    size_t loaded, failed;
    int error; /* why it ended early */
};

/* ---- the walk ---- */

static int push_locked(struct warm *w, struct inode *dir)
{
    if (w->depth == w->capacity) {
        size_t capacity = MAX(8, w->capacity * 2);
        struct spot *stack = realloc(w->stack, capacity * sizeof(*stack));

        if (!stack)
            return -ENOMEM;
        w->stack = stack;
        w->capacity = capacity;
    }
    dir->busy++;
    dir->dir->opens++;
    w->stack[w->depth++] = (struct spot){dir, 0};
    return 0;
}

static void pop_locked(struct warm *w)
{
    struct inode *dir = w->stack[--w->depth].dir;

    dir->busy--;
    dir->dir->opens--;
    ns_compact(dir);
    ns_forget_unused(w->fs->ns, dir);
}

static void take_key_locked(struct warm *w, struct inode *inode)
{
    inode->busy++;
    w->key = inode;
}

static void drop_key_locked(struct warm *w)
{
    struct inode *inode = w->key;

    if (!inode)
        return;
    w->key = NULL;
    inode->busy--;
    file_settle_locked(w->fs, inode);
}

static void visit_locked(struct warm *w, struct inode *inode)
{
    int err = 0;

    if (inode->dir && !inode->dir->reserved)
        err = push_locked(w, inode);
    else if (inode->state == STATE_EVICTED)
        take_key_locked(w, inode);
    if (err)
        w->error = err;
}

/* True: w->key is set. False: there is no more, or *steps ran out. */
static bool find_key_locked(struct warm *w, size_t *steps)
{
    while (!w->key && w->depth && *steps) {
        struct spot *at = &w->stack[w->depth - 1];
        struct dentry *d;

        if (at->next >= at->dir->dir->nslots) {
            pop_locked(w);
            continue;
        }
        d = at->dir->dir->slots[at->next++];
        --*steps;
        if (d)
            visit_locked(w, d->inode);
    }
    w->over = w->over || (!w->key && !w->depth);
    return w->key;
}

/* ---- space ---- */

/* Loading `size` more would start an eviction. What is on its way may count twice there, as promised
 * and as in use. */
static bool would_evict_locked(const struct warm *w, uint64_t size)
{
    const struct l1 *l = &w->fs->l1;
    uint64_t used, limit;

    staging_space(w->fs->staging, &used, &limit);
    return (double)(used + l->promised + w->flying + 2 * size) > (double)l->capacity * l->watermark;
}

/* An eviction empties L1 to its target: more than that of its own would leave again. */
static bool would_thrash_locked(const struct warm *w, uint64_t size)
{
    const struct l1 *l = &w->fs->l1;
    double target = (double)l->capacity * l->watermark * (1 - l->ratio);

    return w->bytes && (double)(w->bytes + 2 * size) > target;
}

/* 0, -EINPROGRESS: it waits, -EAGAIN: after what is on its way, or why it is over. */
static int admit_locked(struct warm *w)
{
    struct l2fs *fs = w->fs;
    uint64_t size = w->key->size;
    int err;

    if (would_evict_locked(w, size)) {
        if (w->flying)
            return -EAGAIN;
        if (would_thrash_locked(w, size))
            return -ENOSPC;
    }
    w->waiter.deadline = 0;
    err = space_locked(fs, size, w->flying ? NULL : &w->waiter, fs->cfg->space_wait, -ENOSPC);
    w->waiting = err == -EINPROGRESS;
    return err;
}

static void fail_key_locked(struct warm *w, int error)
{
    char key[KEY_PATH_MAX + 2];

    file_key(w->key, key);
    file_error_locked(w->key, error);
    file_event_error(w->fs, "load-failed", key, error);
    w->failed++;
}

static void give_up_locked(struct warm *w, int error)
{
    if (w->key)
        fail_key_locked(w, error);
    w->error = error;
    w->over = true;
}

/* ---- batches ---- */

static void post_locked(struct warm *w)
{
    if (w->posted)
        return;
    w->posted = true;
    mailbox_post(w->fs->mailbox, &w->letter);
}

/* False: the batch takes no more now. */
static bool add_key_locked(struct warm *w, struct load_batch *b)
{
    uint64_t size = w->key->size;
    int err = 0;

    if (w->key->state != STATE_EVICTED) {
        drop_key_locked(w);
        return true;
    }
    if (size > w->fs->l1.capacity) {
        fail_key_locked(w, -EFBIG);
        drop_key_locked(w);
        return true;
    }
    err = admit_locked(w);
    if (err == -EAGAIN || err == -EINPROGRESS)
        return false;
    if (!err)
        err = load_batch_add_locked(b, w->key);
    if (err) {
        give_up_locked(w, err);
        return false;
    }
    w->bytes += size;
    w->flying += size;
    drop_key_locked(w);
    return !load_batch_full(b);
}

/* False: nothing can be loaded now. */
static bool send_batch_locked(struct warm *w, size_t *steps)
{
    const struct load_purpose purpose = {w, true, PLAN_ALL};
    struct load_batch *b = load_batch_create(w->fs, &purpose);
    size_t before = w->batches;

    if (!b) {
        give_up_locked(w, -ENOMEM);
        return false;
    }
    while (!w->over && find_key_locked(w, steps) && add_key_locked(w, b))
        ;
    load_batch_submit_locked(b);
    return w->batches > before;
}

/* ---- its life ---- */

static void end_locked(struct warm *w)
{
    char key[KEY_PATH_MAX + 2], detail[128], error[48] = "";

    if (w->error)
        snprintf(error, sizeof(error), ",\"error\":\"%s\"", strerrorname_np(-w->error));
    snprintf(detail, sizeof(detail), "\"loaded\":%zu,\"failed\":%zu%s", w->loaded, w->failed,
             error);
    file_key(w->top, key);
    events_add(w->fs, "warm-done", w->top == w->fs->ns->root ? "" : key, detail);
}

static void free_locked(struct warm *w)
{
    drop_key_locked(w);
    while (w->depth)
        pop_locked(w);
    w->top->busy--;
    file_settle_locked(w->fs, w->top);
    list_remove(&w->link);
    free(w->stack);
    free(w);
}

static void step_locked(struct warm *w)
{
    size_t steps = STEPS;

    w->over = w->over || w->fs->stopping;
    while (!w->over && !w->waiting && steps && w->batches < (size_t)w->fs->cfg->prefetch_requests &&
           send_batch_locked(w, &steps))
        ;
    if (!w->over && !steps)
        post_locked(w);
    if (!w->over || w->batches || w->waiting)
        return;
    end_locked(w);
    free_locked(w);
}

static void on_letter(struct letter *l)
{
    struct warm *w = container_of(l, struct warm, letter);
    struct l2fs *fs = w->fs;

    lock(&fs->ns->lock);
    w->posted = false;
    step_locked(w);
    unlock(&fs->ns->lock);
}

static void on_space(struct waiter *waiter)
{
    struct warm *w = container_of(waiter, struct warm, waiter);
    struct l2fs *fs = w->fs;
    int err;

    LOCKED_SCOPE(&fs->ns->lock);
    w->waiting = false;
    err = waiter_take_error(waiter);
    if (err)
        give_up_locked(w, err);
    post_locked(w);
}

void warm_batch_locked(struct warm *w)
{
    w->batches++;
}

void warm_key_done_locked(struct warm *w, uint64_t bytes, int error)
{
    w->flying -= bytes;
    w->loaded += !error;
    w->failed += error && error != -ECANCELED;
}

void warm_batch_done(struct warm *w)
{
    LOCKED_SCOPE(&w->fs->ns->lock);
    w->batches--;
    post_locked(w);
}

int warm_start_locked(struct l2fs *fs, struct inode *top)
{
    struct warm *w = calloc(1, sizeof(*w));
    int err = w ? 0 : -ENOMEM;

    if (!err && top->dir) {
        w->fs = fs;
        err = push_locked(w, top);
    }
    if (err) {
        free(w);
        return err;
    }
    w->fs = fs;
    w->top = top;
    top->busy++;
    if (!top->dir)
        take_key_locked(w, top);
    w->letter.run = on_letter;
    w->waiter.retry = on_space;
    list_init(&w->letter.link);
    list_push_back(&fs->warms, &w->link);
    post_locked(w);
    return 0;
}

void warm_stop_locked(struct l2fs *fs, struct inode *top)
{
    struct list *l;

    list_for_each(l, &fs->warms)
    {
        struct warm *w = list_entry(l, struct warm, link);

        if (w->top != top)
            continue;
        w->over = true;
        post_locked(w);
    }
}

size_t warm_count_locked(const struct l2fs *fs)
{
    struct list *l;
    size_t n = 0;

    list_for_each(l, &fs->warms) n++;
    return n;
}

void warm_drop_all(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    while (!list_empty(&fs->warms)) {
        struct warm *w = list_entry(fs->warms.next, struct warm, link);

        if (w->waiting) {
            list_remove(&w->waiter.link);
            list_remove(&w->waiter.all_link);
        }
        free_locked(w);
    }
}
