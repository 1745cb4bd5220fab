/* expire.c - removes files whose time has come, and what landed and nobody opened in time.
 *
 * Thread model: removing asks the tiers, which may take long and must not be waited for on the loop
 * thread, so there is a thread of its own, made with the first expiry. It sleeps under ns->lock
 * until the next file of the wheel is due; a file goes at most a tick late. A file that is open, pinned or moving is looked at again a second later.
 */
#include "config.h"

#include "expire.h"

#include "clock.h"
#include "core.h"
#include "remove.h"
#include "thread.h"

#define RECHECK_NS NSEC_PER_SEC
#define WHEEL_TICK_NS (100 * NSEC_PER_MSEC)

struct reaper {
    struct l2fs *fs;
    pthread_t thread;
    pthread_cond_t changed; /* with ns->lock */
    struct wheel wheel;     /* ns->lock; of extra.expire */
    struct wheel unread;    /* ns->lock; of landing.due */
    uint64_t sleeps_until;  /* ns->lock */
    bool stop;              /* ns->lock */
};

static bool removable(const struct inode *inode, uint64_t now)
{
    const struct object *o = inode->object;

    if (inode->state != STATE_RESIDENT && inode->state != STATE_EVICTED &&
        inode->state != STATE_DISK)
        return false;
    return !(o && o->opens) && !inode_pinned(inode, now);
}

static bool is_idle(const struct inode *inode)
{
    return removable(inode, clock_now());
}

static void tell(struct l2fs *fs, const char *key)
{
    events_add(fs, "expired", key, NULL);
}

/* Drops ns->lock meanwhile. */
static void remove_locked(struct reaper *r, struct inode *inode)
{
    struct l2fs *fs = r->fs;

    inode->busy++;
    unlock(&fs->ns->lock);
    file_remove(fs, inode, is_idle, tell);
    lock(&fs->ns->lock);
    if (inode->names && inode->extra->expire_at && !list_linked(&inode->extra->expire.link))
        wheel_add(&r->wheel, &inode->extra->expire, clock_deadline(RECHECK_NS));
    inode->busy--;
    file_settle_locked(fs, inode);
}

static void check_locked(struct reaper *r, struct extra *e, uint64_t now)
{
    gate_shut_locked(r->fs, e->inode);
    if (removable(e->inode, now)) {
        remove_locked(r, e->inode);
        return;
    }
    if (e->inode->state != STATE_DISCARDED)
        wheel_add(&r->wheel, &e->expire, now + RECHECK_NS);
}

/* Still due: it may be announced again, for longer, while it goes. */
static bool is_unread(const struct inode *inode)
{
    const struct landing *l = inode->landing;

    return l && l->goes && l->due.due <= clock_now() && is_idle(inode);
}

static void tell_unread(struct l2fs *fs, const char *key)
{
    events_add(fs, "expired", key, "\"why\":\"unread\"");
    metric_add(fs->arrive.expired, 1);
}

/* Drops ns->lock meanwhile. */
static void remove_unread_locked(struct reaper *r, struct inode *inode)
{
    struct l2fs *fs = r->fs;

    inode->busy++;
    unlock(&fs->ns->lock);
    file_remove(fs, inode, is_unread, tell_unread);
    lock(&fs->ns->lock);
    if (inode->names && inode->landing && inode->landing->due.due != UINT64_MAX &&
        !list_linked(&inode->landing->due.link))
        wheel_add(&r->unread, &inode->landing->due, clock_deadline(RECHECK_NS));
    inode->busy--;
    file_settle_locked(fs, inode);
}

static void check_unread_locked(struct reaper *r, struct landing *l, uint64_t now)
{
    struct inode *inode = l->inode;

    gate_shut_locked(r->fs, inode);
    if (!l->goes) {
        unread_end_locked(r->fs, inode);
        file_settle_locked(r->fs, inode);
    } else if (removable(inode, now)) {
        remove_unread_locked(r, inode);
    } else {
        wheel_add(&r->unread, &l->due, now + RECHECK_NS);
    }
}

static void *reap(void *arg)
{
    struct reaper *r = arg;

    LOCKED_SCOPE(&r->fs->ns->lock);
    while (!r->stop) {
        uint64_t now = clock_now();
        struct wheel_node *due = wheel_take(&r->wheel, now);

        if (due) {
            check_locked(r, container_of(due, struct extra, expire), now);
            continue;
        }
        due = wheel_take(&r->unread, now);
        if (due) {
            check_unread_locked(r, container_of(due, struct landing, due), now);
            continue;
        }
        r->sleeps_until = MIN(wheel_next(&r->wheel), wheel_next(&r->unread));
        cond_wait_until(&r->changed, &r->fs->ns->lock, r->sleeps_until);
    }
    return NULL;
}

static int start_locked(struct l2fs *fs)
{
    struct reaper *r = calloc(1, sizeof(*r));
    int err;

    if (!r)
        return -ENOMEM;
    r->fs = fs;
    cond_init(&r->changed);
    wheel_init(&r->wheel, WHEEL_TICK_NS, clock_now());
    wheel_init(&r->unread, WHEEL_TICK_NS, clock_now());
    err = thread_start(&r->thread, reap, r);
    if (err) {
        pthread_cond_destroy(&r->changed);
        free(r);
        return err;
    }
    fs->reaper = r;
    return 0;
}

static void add_locked(struct l2fs *fs, struct wheel *w, struct wheel_node *node, uint64_t due)
{
    wheel_add(w, node, due);
    if (due < fs->reaper->sleeps_until)
        pthread_cond_signal(&fs->reaper->changed);
}

int expire_unread_locked(struct l2fs *fs, struct landing *l, uint64_t deadline)
{
    int err = fs->reaper ? 0 : start_locked(fs);

    if (!err)
        add_locked(fs, &fs->reaper->unread, &l->due, deadline);
    return err;
}

int expire_set_locked(struct l2fs *fs, struct inode *inode, uint64_t deadline)
{
    struct extra *e = inode_extra(inode);
    int err = 0;

    if (!e)
        return -ENOMEM;
    if (deadline && !fs->reaper)
        err = start_locked(fs);
    if (err)
        return err;
    list_remove(&e->expire.link);
    e->expire_at = deadline;
    if (deadline)
        add_locked(fs, &fs->reaper->wheel, &e->expire, deadline);
    return 0;
}

void expire_stop(struct l2fs *fs)
{
    struct reaper *r;

    if (!fs->ns)
        return;
    lock(&fs->ns->lock);
    r = fs->reaper;
    if (r) {
        r->stop = true;
        pthread_cond_signal(&r->changed);
    }
    unlock(&fs->ns->lock);
    if (!r)
        return;
    pthread_join(r->thread, NULL);
    lock(&fs->ns->lock);
    wheel_fini(&r->wheel);
    wheel_fini(&r->unread);
    fs->reaper = NULL;
    unlock(&fs->ns->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}
