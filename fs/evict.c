/* evict.c - makes room in L1: clean idle objects go in policy order, on the loop thread, when the
 * watermark is passed or somebody waits for space. A run frees what l1_excess said at its begin, a
 * batch for each letter, so that other work goes on between; staging files are removed outside
 * ns->lock. A run that finds nothing to take ends: whoever may leave again asks for the next.
 */
#include "config.h"

#include "clock.h"
#include "core.h"
#include "log.h"
#include "tenant.h"

#define BATCH 64        /* keys, and picks that may come to nothing */
#define ASIDE_SCAN 4096 /* of those set aside, each tick while there is no room */

static const char *const cause_names[CAUSES] = {"watermark", "space", "asked",
                                                "expired",   "quota", "skip_l1"};

const char *evict_cause_name(enum evict_cause why)
{
    return cause_names[why];
}

void evict_place_init(struct evict_place *p, struct metrics *m, const char *name)
{
    p->name = name;
    for (size_t i = 0; i < CAUSES; i++) {
        struct text labels = {0};

        metrics_label(&labels, "from", name);
        metrics_label(&labels, "why", cause_names[i]);
        p->evicted[i] = metrics_counter(m, "l2fs_evictions", "Keys that left a place to make room.",
                                        labels.data ? labels.data : "");
        text_fini(&labels);
    }
}

void evict_tell(struct l2fs *fs, const struct evict_place *p, const char *key, enum evict_cause why)
{
    struct text detail = {0};

    metric_add(p->evicted[why], 1);
    text_puts(&detail, "\"from\":");
    events_quote(&detail, p->name);
    text_printf(&detail, ",\"why\":\"%s\"", cause_names[why]);
    events_add(fs, "evicted", key, detail.data);
    text_fini(&detail);
}

void evict_gone_locked(struct l2fs *fs, struct inode *inode, const char *key)
{
    events_add(fs, "gone", key, "\"why\":\"evicted\"");
    file_lost_locked(fs, inode);
}

/* --- who may leave --- */

enum obstacle evict_obstacle_locked(struct l2fs *fs, const struct object *o, uint64_t now)
{
    const struct inode *inode = o->inode;

    if (inode->state != STATE_RESIDENT)
        return OBSTACLE_WRITING;
    gate_shut_locked(fs, o->inode);
    if (o->opens || gate_touched_locked(o))
        return OBSTACLE_OPEN;
    if (inode_pinned(inode, now))
        return OBSTACLE_PINNED;
    if (o->store || (fs->tiers.present ? !object_clean_locked(inode) : o->dirty))
        return OBSTACLE_UNSTORED;
    if (inode->landing && !inode->tiers)
        return OBSTACLE_UNREAD;
    return inode->busy || !list_empty(&o->waiters) ? OBSTACLE_BUSY : OBSTACLE_NONE;
}

struct moment {
    struct l2fs *fs;
    uint64_t now;
};

static enum obstacle obstacle_at(void *arg, const struct object *o)
{
    const struct moment *m = arg;

    return evict_obstacle_locked(m->fs, o, m->now);
}

void evict_note_locked(struct l2fs *fs, struct object *o)
{
    if (!o->aside)
        return;
    gate_sync_locked(fs);
    if (evict_obstacle_locked(fs, o, clock_now()))
        return;
    l1_back(&fs->l1, o);
    if (!list_empty(&fs->space_waiters))
        evict_post_locked(fs);
}

/* --- taking them out --- */

/* What was written while L1 was full may be cut short, and freeing space would hide it. */
static void mark_suspects_locked(struct l2fs *fs)
{
    struct list *l;

    if (!space_is_tight(fs))
        return;
    list_for_each(l, &fs->l1.writing) list_entry(l, struct object, l1_link)->suspect = true;
}

/* Takes the object out of L1; its staging file is the caller's to remove. */
static uint64_t detach_locked(struct l2fs *fs, struct object *o, enum evict_cause why)
{
    struct inode *inode = o->inode;
    uint64_t id = o->staging_id;
    char key[KEY_PATH_MAX + 2];

    file_key(inode, key);
    evict_tell(fs, &fs->evictor.place, key, why);
    pin_remove(fs->pinner, &o->pin);
    file_record_locked(fs, o, 0); /* the file goes a little later: a crash must not adopt it */
    o->staging_id = 0;
    staging_charge(fs->staging, -(int64_t)o->charged);
    o->charged = 0;
    l1_remove(&fs->l1, o);
    if (inode->tiers)
        state_move(&inode->state, STATE_EVICTED);
    else
        evict_gone_locked(fs, inode, key);
    file_settle_locked(fs, inode);
    return id;
}

int evict_one_locked(struct l2fs *fs, struct object *o, enum evict_cause why)
{
    gate_shut_locked(fs, o->inode);
    gate_sync_locked(fs);
    if (evict_obstacle_locked(fs, o, clock_now()))
        return -EBUSY;
    mark_suspects_locked(fs);
    staging_drop(fs->staging, detach_locked(fs, o, why));
    evict_post_locked(fs);
    return 0;
}

static struct waiter *first_waiter(const struct l2fs *fs)
{
    if (list_empty(&fs->space_waiters))
        return NULL;
    return list_entry(fs->space_waiters.next, struct waiter, link);
}

/* Room that somebody waits for is made among his own first. */
static struct l1_share *waiting_share(struct l2fs *fs)
{
    const struct waiter *first = first_waiter(fs);

    return first && first->whose ? &tenant_of_locked(fs, first->whose)->l1 : NULL;
}

/* Up to BATCH victims; fewer when the run has what it wants, or there are no more. */
static size_t choose_locked(struct l2fs *fs, uint64_t ids[BATCH])
{
    struct evictor *e = &fs->evictor;
    struct moment m = {fs, clock_now()};
    size_t n = 0;

    gate_sync_locked(fs);
    mark_suspects_locked(fs);
    for (size_t i = 0; i < BATCH && e->left; i++) {
        struct l1_share *s = l1_next_share(&fs->l1, waiting_share(fs));
        struct object *o = s ? l1_pick(&fs->l1, s, obstacle_at, &m) : NULL;

        if (!s)
            break;
        if (!o)
            continue;
        e->left -= MIN(e->left, o->inode->blocks * 512);
        ids[n++] = detach_locked(fs, o, e->why);
    }
    return n;
}

/* --- a whole directory --- */

/* The residents below it, as they were when it was asked for; each is busy until its turn. */
struct below {
    struct inode **inodes;
    size_t n, room;
};

static bool note_below(void *arg, struct dentry *d)
{
    struct below *b = arg;

    if (d->inode->dir || d->inode->state != STATE_RESIDENT || !d->inode->object)
        return true;
    if (b->n == b->room) {
        size_t room = b->room ? 2 * b->room : 1024;
        struct inode **more = reallocarray(b->inodes, room, sizeof(*more));

        if (!more)
            return false; /* the rest stays */
        b->inodes = more;
        b->room = room;
    }
    d->inode->busy++;
    b->inodes[b->n++] = d->inode;
    return true;
}

/* 0: it may not leave. */
static uint64_t detach_below_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    uint64_t id = 0;

    gate_shut_locked(fs, inode);
    gate_sync_locked(fs);
    inode->busy--;
    if (o && inode->tiers && !evict_obstacle_locked(fs, o, clock_now()))
        id = detach_locked(fs, o, CAUSE_ASKED);
    else
        file_settle_locked(fs, inode);
    return id;
}

size_t evict_below_locked(struct l2fs *fs, struct inode *dir, size_t *kept)
{
    uint64_t ids[BATCH];
    struct below b = {0};
    size_t done = 0;

    ns_walk(dir, note_below, &b);
    for (size_t i = 0; i < b.n;) {
        size_t n = 0;

        mark_suspects_locked(fs);
        for (size_t end = MIN(i + BATCH, b.n); i < end; i++) {
            ids[n] = detach_below_locked(fs, b.inodes[i]);
            n += ids[n] != 0;
        }
        unlock(&fs->ns->lock);
        for (size_t k = 0; k < n; k++)
            staging_drop(fs->staging, ids[k]);
        lock(&fs->ns->lock);
        done += n;
    }
    free(b.inodes);
    evict_post_locked(fs);
    *kept = b.n - done;
    return done;
}

/* --- runs --- */

/* What the first who waits asks for comes on top of what is promised. */
static uint64_t wanted_locked(const struct l2fs *fs)
{
    const struct waiter *first = first_waiter(fs);

    return fs->l1.promised + (first ? first->bytes : 0);
}

static uint64_t excess_locked(const struct l2fs *fs)
{
    uint64_t used, size;

    staging_space(fs->staging, &used, &size);
    return l1_excess(&fs->l1, used, wanted_locked(fs));
}

/* A run goes on to the target, unless room came about otherwise. */
static uint64_t still_left_locked(const struct l2fs *fs)
{
    uint64_t used, size;

    staging_space(fs->staging, &used, &size);
    return MIN(fs->evictor.left, l1_above_target(&fs->l1, used, wanted_locked(fs)));
}

static bool first_fits_locked(const struct l2fs *fs)
{
    const struct waiter *first = first_waiter(fs);
    uint64_t used, size;

    staging_space(fs->staging, &used, &size);
    return first && l1_admits(&fs->l1, used, first->bytes);
}

static void post_locked(struct l2fs *fs)
{
    fs->evictor.posted = true;
    mailbox_post(fs->mailbox, &fs->evictor.letter);
}

static void begin_locked(struct l2fs *fs)
{
    struct evictor *e = &fs->evictor;

    e->posted = false;
    if (e->left) {
        e->left = still_left_locked(fs);
        return;
    }
    e->left = fs->stopping ? 0 : excess_locked(fs);
    e->why = first_waiter(fs) ? CAUSE_SPACE : CAUSE_WATERMARK;
}

static void run(struct letter *letter)
{
    struct l2fs *fs = container_of(letter, struct l2fs, evictor.letter);
    struct evictor *e = &fs->evictor;
    uint64_t ids[BATCH];
    size_t n;

    lock(&fs->ns->lock);
    begin_locked(fs);
    n = choose_locked(fs, ids);
    if (e->left)
        store_make_room_locked(fs, e->left);
    unlock(&fs->ns->lock);
    for (size_t i = 0; i < n; i++)
        staging_drop(fs->staging, ids[i]);
    lock(&fs->ns->lock);
    if (!l1_next_share(&fs->l1, NULL))
        e->left = 0;
    if (e->left && !e->posted)
        post_locked(fs);
    if (first_fits_locked(fs))
        wake_locked(fs, &fs->space_waiters, 0);
    unlock(&fs->ns->lock);
}

void evict_init(struct l2fs *fs)
{
    fs->evictor.letter.run = run;
    list_init(&fs->evictor.letter.link);
    evict_place_init(&fs->evictor.place, fs->metrics, "l1");
}

void evict_post_locked(struct l2fs *fs)
{
    if (fs->evictor.posted)
        return;
    if (first_waiter(fs) ? l1_next_share(&fs->l1, NULL) || first_fits_locked(fs)
                         : l1_next_share(&fs->l1, NULL) && excess_locked(fs))
        post_locked(fs);
}

void evict_tick(struct l2fs *fs)
{
    struct moment m = {fs, clock_now()};

    uint64_t excess;

    LOCKED_SCOPE(&fs->ns->lock);
    excess = excess_locked(fs);
    if (fs->l1.naside && excess)
        l1_check_aside(&fs->l1, ASIDE_SCAN, obstacle_at, &m);
    if (excess)
        store_make_room_locked(fs, excess);
    evict_post_locked(fs);
}

/* --- admission --- */

int space_locked(struct l2fs *fs, uint64_t bytes, struct waiter *w, uint64_t timeout, int error)
{
    uint64_t used, size;

    staging_space(fs->staging, &used, &size);
    if (l1_admits(&fs->l1, used, bytes)) {
        evict_post_locked(fs);
        return 0;
    }
    if (w) {
        if (!w->deadline)
            w->stored = fs->stores.stored;
        w->bytes = bytes;
        wait_locked(fs, &fs->space_waiters, w, timeout, error);
        w->grace = error == -ENOSPC ? timeout : 0;
    }
    evict_post_locked(fs);
    return w ? -EINPROGRESS : -EAGAIN;
}
