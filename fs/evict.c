/* evict.c - makes room in L1: clean idle objects go in policy order, on the loop thread, when the
 * watermark is passed or somebody waits for space. Staging files are removed outside ns->lock.
 */
#include "config.h"

#include "clock.h"
#include "core.h"
#include "log.h"

#define BATCH 256

/* What was written while L1 was full may be cut short, and freeing space would hide it. */
static void mark_suspects_locked(struct l2fs *fs)
{
    struct list *l;

    if (!space_is_tight(fs))
        return;
    list_for_each(l, &fs->l1.writing) list_entry(l, struct object, lru)->suspect = true;
}

static bool evictable(const struct l2fs *fs, const struct object *o, uint64_t now)
{
    const struct inode *inode = o->inode;

    if (inode->state != STATE_RESIDENT || o->opens || inode->busy || o->store ||
        !list_empty(&o->waiters) || inode_pinned(inode, now))
        return false;
    return fs->tiers.active ? object_clean_locked(inode) : !o->dirty;
}

/* Takes the object out of L1; its staging file is the caller's to remove. */
static uint64_t detach_locked(struct l2fs *fs, struct object *o)
{
    struct inode *inode = o->inode;
    uint64_t id = o->staging_id;
    char key[KEY_PATH_MAX + 2];

    file_key(inode, key);
    events_add(fs, "evict", key, NULL);
    metric_add(fs->m.evictions, 1);
    pin_remove(fs->pinner, &o->pin);
    file_record_locked(fs, o, 0); /* the file goes a little later: a crash must not adopt it */
    o->staging_id = 0;
    staging_charge(fs->staging, -(int64_t)o->charged);
    o->charged = 0;
    l1_remove(&fs->l1, o);
    if (inode->tiers)
        state_move(&inode->state, STATE_EVICTED);
    else
        file_lost_locked(fs, inode);
    file_settle_locked(fs, inode);
    return id;
}

int evict_one_locked(struct l2fs *fs, struct object *o)
{
    if (!evictable(fs, o, clock_now()))
        return -EBUSY;
    mark_suspects_locked(fs);
    staging_drop(fs->staging, detach_locked(fs, o));
    wake_locked(fs, &fs->space_waiters, 0);
    return 0;
}

/* Up to BATCH victims worth `goal` bytes. Looks at each resident once at most. */
static size_t choose_locked(struct l2fs *fs, uint64_t goal, uint64_t *ids, uint64_t *freed)
{
    uint64_t now = clock_now();
    struct list *l, *tmp;
    size_t n = 0;

    list_for_each_safe(l, tmp, &fs->l1.order)
    {
        struct object *o = list_entry(l, struct object, lru);
        uint64_t bytes = o->inode->blocks * 512;

        if (*freed >= goal || n == BATCH)
            break;
        if (!evictable(fs, o, now))
            continue;
        ids[n++] = detach_locked(fs, o);
        *freed += bytes;
    }
    return n;
}

/* What the first in the queue asks for comes on top of what is promised. */
static uint64_t wanted_locked(const struct l2fs *fs)
{
    uint64_t bytes = fs->l1.promised;

    if (!list_empty(&fs->space_waiters))
        bytes += list_entry(fs->space_waiters.next, struct waiter, link)->bytes;
    return bytes;
}

static void run(struct letter *letter)
{
    struct l2fs *fs = container_of(letter, struct l2fs, evict_letter);
    uint64_t ids[BATCH], used, size, goal, freed = 0;
    size_t n;

    staging_space(fs->staging, &used, &size);
    lock(&fs->ns->lock);
    fs->evict_posted = false;
    goal = l1_excess(&fs->l1, used, wanted_locked(fs));
    unlock(&fs->ns->lock);
    do {
        n = 0;
        lock(&fs->ns->lock);
        if (freed < goal) {
            mark_suspects_locked(fs);
            n = choose_locked(fs, goal, ids, &freed);
        }
        unlock(&fs->ns->lock);
        for (size_t i = 0; i < n; i++)
            staging_drop(fs->staging, ids[i]);
    } while (n == BATCH);
    if (goal && !freed)
        return; /* the next store that ends, or close, asks again */
    lock(&fs->ns->lock);
    wake_locked(fs, &fs->space_waiters, 0);
    unlock(&fs->ns->lock);
}

void evict_init(struct l2fs *fs)
{
    fs->evict_letter.run = run;
    list_init(&fs->evict_letter.link);
}

void evict_post_locked(struct l2fs *fs)
{
    uint64_t used, size;

    if (fs->evict_posted)
        return;
    staging_space(fs->staging, &used, &size);
    if (list_empty(&fs->space_waiters) && !l1_excess(&fs->l1, used, wanted_locked(fs)))
        return;
    fs->evict_posted = true;
    mailbox_post(fs->mailbox, &fs->evict_letter);
}

int space_locked(struct l2fs *fs, uint64_t bytes, struct waiter *w, uint64_t timeout, int error)
{
    uint64_t used, size;

    staging_space(fs->staging, &used, &size);
    if (l1_admits(&fs->l1, used, bytes)) {
        evict_post_locked(fs);
        return 0;
    }
    if (w) {
        w->bytes = bytes;
        wait_locked(fs, &fs->space_waiters, w, timeout, error);
    }
    evict_post_locked(fs);
    return w ? -EINPROGRESS : -EAGAIN;
}
