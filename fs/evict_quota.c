/* evict_quota.c - a tenant that meets its quota gives up its coldest keys, altogether: from L1, from
 * every tier, and from the tree. Only where a tier evicts, that is, where the mount is a cache.
 *
 * Thread model: removing asks the tiers, so there is a thread of its own, made when it is first
 * needed. It takes one victim at a time under ns->lock and removes it without, as expire.c does.
 */
#include "config.h"

#include "evict_quota.h"

#include "clock.h"
#include "evict_impl.h"
#include "remove.h"
#include "tenant.h"
#include "thread.h"

#define SCAN 4096 /* looked at under ns->lock at once */

struct quota_evictor {
    struct l2fs *fs;
    pthread_t thread;
    pthread_cond_t wake; /* with ns->lock */
    struct evict_place place;
    struct list waiters; /* ns->lock; struct waiter */
    bool stop;           /* ns->lock */
};

/* The first tier that evicts, or NULL. */
static const struct tier_evictor *evicting_locked(const struct l2fs *fs)
{
    for (size_t i = 0; fs->evict_ctl && i < TIERS_MAX; i++)
        if (fs->evict_ctl->evictor[i] && fs->evict_ctl->evictor[i]->set.policy != EVICT_NOOP)
            return fs->evict_ctl->evictor[i];
    return NULL;
}

/* --- who --- */

static bool may_go(void *arg, struct order_node *node)
{
    struct inode *inode = container_of(node, struct rank, node)->inode;
    const struct tier_evictor *ev = arg;

    return !inode->landing && !tier_obstacle_locked(ev->fs, inode, ev->slot);
}

/* The coldest that `t` may lose; busy then. A tenant inside it gives when it has nothing itself. */
static struct inode *choose_locked(const struct tier_evictor *ev, struct tenant *t)
{
    struct order_node *node;
    struct list *l;
    struct rank *rank;

    gate_sync_locked(ev->fs);
    node = order_pick(&t->tiers[ev->slot], SCAN, may_go, (void *)ev);
    list_for_each(l, &ev->fs->tenants)
    {
        struct tenant *inner = list_entry(l, struct tenant, link);

        if (!node && inner != t && tenant_is_inside(inner, t))
            node = order_pick(&inner->tiers[ev->slot], SCAN, may_go, (void *)ev);
    }
    if (!node)
        return NULL;
    rank = container_of(node, struct rank, node);
    rank->leaving = true;
    rank->inode->busy++;
    return rank->inode;
}

/* Still: it may be announced again while it goes. */
static bool is_idle(const struct inode *inode)
{
    const struct object *o = inode->object;

    if (inode->landing || inode_pinned(inode, clock_now()) || (o && (o->opens || o->store)))
        return false;
    return inode->state == STATE_EVICTED ||
           (inode->state == STATE_RESIDENT && object_clean_locked(inode));
}

static void tell(struct l2fs *fs, const char *key)
{
    evict_tell(fs, &fs->quota_evictor->place, key, CAUSE_QUOTA);
}

/* Drops ns->lock meanwhile. */
static void remove_locked(struct l2fs *fs, struct inode *inode, size_t slot)
{
    struct rank *rank;

    unlock(&fs->ns->lock);
    file_remove(fs, inode, is_idle, tell);
    lock(&fs->ns->lock);
    rank = rank_find(inode, slot);
    if (rank)
        rank->leaving = false;
    inode->busy--;
    file_settle_locked(fs, inode);
}

/* --- how much --- */

static struct tenant *asking_locked(const struct l2fs *fs)
{
    struct list *l;

    list_for_each(l, &fs->tenants)
    {
        struct tenant *t = list_entry(l, struct tenant, link);

        if (t->asked)
            return t;
    }
    return NULL;
}

static bool has_enough(const struct tier_evictor *ev, const struct tenant *t)
{
    uint64_t low = t->quota - MIN((uint64_t)(ev->set.ratio * (double)t->quota), t->quota);

    return !t->quota || t->used <= MIN(low, t->quota - MIN(t->asked, t->quota));
}

/* One step for a tenant. Nothing may leave: whoever waits looks again a little later. */
static void step_locked(struct quota_evictor *q, struct tenant *t)
{
    const struct tier_evictor *ev = evicting_locked(q->fs);
    struct inode *inode = NULL;
    size_t slot = ev ? ev->slot : 0;

    if (ev && has_enough(ev, t))
        t->asked = 0;
    else if (ev)
        inode = choose_locked(ev, t);
    if (inode) {
        remove_locked(q->fs, inode, slot);
    } else if (t->asked) {
        t->asked = 0;
        if (!list_empty(&q->waiters))
            cond_wait_until(&q->wake, &q->fs->ns->lock, clock_deadline(TICK_NS));
    }
    wake_locked(q->fs, &q->waiters, 0);
}

static void *run(void *arg)
{
    struct quota_evictor *q = arg;

    LOCKED_SCOPE(&q->fs->ns->lock);
    while (!q->stop) {
        struct tenant *t = asking_locked(q->fs);

        if (t)
            step_locked(q, t);
        else
            cond_wait_until(&q->wake, &q->fs->ns->lock, UINT64_MAX);
    }
    return NULL;
}

/* --- coming and going --- */

static int start_locked(struct l2fs *fs)
{
    struct quota_evictor *q = calloc(1, sizeof(*q));
    int err;

    if (!q)
        return -ENOMEM;
    q->fs = fs;
    cond_init(&q->wake);
    list_init(&q->waiters);
    evict_place_init(&q->place, fs->metrics, "everywhere");
    err = thread_start(&q->thread, run, q);
    if (err) {
        pthread_cond_destroy(&q->wake);
        free(q);
        return err;
    }
    fs->quota_evictor = q;
    return 0;
}

bool quota_ask_locked(struct l2fs *fs, struct tenant *t, uint64_t bytes)
{
    if (fs->stopping || bytes > t->quota || !evicting_locked(fs) ||
        (!fs->quota_evictor && start_locked(fs)))
        return false;
    t->asked = MAX(MAX(t->asked, bytes), UINT64_C(1));
    pthread_cond_signal(&fs->quota_evictor->wake);
    return true;
}

int quota_wait_locked(struct l2fs *fs, struct waiter *w)
{
    return wait_locked(fs, &fs->quota_evictor->waiters, w, fs->cfg->space_wait, -EDQUOT);
}

void quota_stop(struct l2fs *fs)
{
    struct quota_evictor *q;

    if (!fs->ns)
        return;
    lock(&fs->ns->lock);
    q = fs->quota_evictor;
    if (q) {
        q->stop = true;
        pthread_cond_signal(&q->wake);
    }
    unlock(&fs->ns->lock);
    if (!q)
        return;
    pthread_join(q->thread, NULL);
    lock(&fs->ns->lock);
    wake_locked(fs, &q->waiters, 0);
    fs->quota_evictor = NULL;
    unlock(&fs->ns->lock);
    pthread_cond_destroy(&q->wake);
    free(q);
}
