/* evict_order.c - who stands where in the orders of leaving of the tiers. Everything runs under
 * ns->lock.
 */
#include "config.h"

#include "clock.h"
#include "evict_impl.h"

static uint64_t key_hash(const struct inode *inode)
{
    char key[KEY_PATH_MAX + 2];

    return ns_path(inode->names, key) < 0 ? inode->ino : hash_bytes(key, strlen(key), 0);
}

/* A store that brings the tier to the watermark has the usage looked at now. */
static void grew_locked(struct tier_evictor *ev, uint64_t bytes)
{
    double held;

    ev->grown += bytes;
    held = (double)(ev->usage.used + ev->usage.reserved + ev->grown);
    if (ev->pause > EVICT_CHECK_NS || !ev->usage.capacity || !ev->check_at ||
        held < ev->set.watermark * (double)ev->usage.capacity)
        return;
    ev->check_at = 0;
    pthread_cond_signal(&ev->wake);
}

static void put_in_order_locked(struct tier_evictor *ev, struct inode *inode)
{
    struct rank *p = rank_find(inode, ev->slot);

    if (!p)
        p = rank_create(inode, ev->slot);
    if (!p || p->leaving) /* no memory: it cannot leave until something else happens to it */
        return;
    if (order_linked(&p->node)) {
        if (p->node.bytes != inode->size && inode->state != STATE_WRITING)
            order_resize(p->order, &p->node, inode->size);
        return;
    }
    gate_sync_locked(ev->fs);
    p->order = &tenant_of_locked(ev->fs, inode)->tiers[ev->slot];
    order_add(p->order, &p->node, key_hash(inode), inode->size);
    grew_locked(ev, inode->size);
}

void evict_ctl_note_locked(struct l2fs *fs, struct inode *inode)
{
    const struct evict_ctl *c = fs->evict_ctl;
    uint32_t want = c ? inode->tiers & c->ordered : 0;

    if (!want && !inode->ranks)
        return;
    if (!inode->names || inode->state == STATE_DISK || inode->state == STATE_DISCARDED)
        want = 0;
    ranks_drop(inode, want);
    tiers_each(i, want) put_in_order_locked(c->evictor[i], inode);
}

struct found {
    struct inode *inode;
    int64_t used;
};

struct finds {
    uint32_t tiers;
    struct found *found;
    size_t n, max;
    bool failed;
};

static bool find_one(void *arg, struct dentry *d)
{
    struct finds *f = arg;
    struct inode *inode = d->inode;

    if (inode->dir || !(inode->tiers & f->tiers))
        return true;
    if (f->n == f->max) {
        size_t max = MAX(f->max * 2, (size_t)1024);
        struct found *more = realloc(f->found, max * sizeof(*more));

        f->failed = !more;
        if (f->failed)
            return false;
        f->found = more;
        f->max = max;
    }
    f->found[f->n++] = (struct found){inode, MAX(inode->atime, inode->mtime)};
    return true;
}

static int by_use(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->used < y->used ? -1 : x->used > y->used;
}

int tier_evictor_order_all_locked(struct l2fs *fs, uint32_t tiers)
{
    struct finds f = {.tiers = tiers};

    if (!tiers)
        return 0;
    gate_sync_locked(fs);
    ns_walk(fs->ns->root, find_one, &f);
    if (f.n && !f.failed)
        qsort(f.found, f.n, sizeof(*f.found), by_use);
    fs->evict_ctl->ordered |= tiers;
    for (size_t i = 0; i < f.n && !f.failed; i++)
        evict_ctl_note_locked(fs, f.found[i].inode);
    free(f.found);
    return f.failed ? -ENOMEM : 0;
}

void tier_evictor_policy_locked(struct tier_evictor *ev, int policy)
{
    struct list *l;

    gate_sync_locked(ev->fs);
    ev->set.policy = policy;
    list_for_each(l, &ev->fs->tenants)
        order_set_policy(&list_entry(l, struct tenant, link)->tiers[ev->slot], policy);
}

/* --- who may leave, and who must --- */

enum obstacle tier_obstacle_locked(struct l2fs *fs, struct inode *inode, size_t slot)
{
    const struct object *o = inode->object;

    if (inode->state != STATE_EVICTED && inode->state != STATE_RESIDENT)
        return OBSTACLE_WRITING;
    gate_shut_locked(fs, inode);
    if (o && (o->opens || gate_touched_locked(o)))
        return OBSTACLE_OPEN;
    if (inode_pinned(inode, clock_now()))
        return OBSTACLE_PINNED;
    if (o && (o->store || (inode->state == STATE_RESIDENT && !object_clean_locked(inode))))
        return OBSTACLE_UNSTORED;
    if (inode->landing && inode->state == STATE_EVICTED && !(inode->tiers & ~(1u << slot)))
        return OBSTACLE_UNREAD;
    if (!(inode->tiers & (1u << slot)) || !inode->names || inode->busy)
        return OBSTACLE_BUSY;
    return o && !list_empty(&o->waiters) ? OBSTACLE_BUSY : OBSTACLE_NONE;
}

uint64_t tier_unshared_locked(const struct tier_evictor *ev)
{
    uint64_t left = ev->usage.capacity;
    struct list *l;

    list_for_each(l, &ev->fs->tenants) left -= MIN(left, list_entry(l, struct tenant, link)->quota);
    return left;
}

int64_t tier_above_share(const struct tenant *t, size_t slot, uint64_t unshared)
{
    return (int64_t)t->tiers[slot].bytes - (int64_t)(t->quota ? t->quota : unshared);
}

struct look {
    struct l2fs *fs;
    size_t slot;
    evict_look_fn *fn;
    void *arg;
};

static bool look_at(void *arg, struct order_node *node)
{
    const struct look *look = arg;
    struct inode *inode = container_of(node, struct rank, node)->inode;

    look->fn(look->arg, inode, tier_obstacle_locked(look->fs, inode, look->slot));
    return true;
}

bool evict_ctl_look_locked(struct l2fs *fs, size_t slot, struct evict_view *v, evict_look_fn *fn,
                           void *arg)
{
    const struct tier_evictor *ev = fs->evict_ctl ? fs->evict_ctl->evictor[slot] : NULL;
    struct look look = {fs, slot, fn, arg};
    struct tenant *t = NULL;
    size_t i = 0;
    struct list *l;

    if (!ev)
        return false;
    gate_sync_locked(fs);
    list_for_each(l, &fs->tenants) if (i++ == v->index) t = list_entry(l, struct tenant, link);
    if (!t)
        return false;
    v->tenant = t;
    v->set = ev->set;
    v->capacity = ev->usage.capacity;
    v->used = ev->usage.used + ev->usage.reserved + ev->grown;
    v->to_free = evict_goal(&ev->set, &(struct l2_usage){.used = v->used, .capacity = v->capacity},
                            ev->asked);
    v->above_share = tier_above_share(t, slot, tier_unshared_locked(ev));
    order_peek(&t->tiers[slot], v->max, look_at, &look);
    return true;
}
