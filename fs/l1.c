/* l1.c - order of leaving and watermark arithmetic; no locking of its own, see l1.h. */
#include "config.h"

#include "l1.h"

void l1_init(struct l1 *l, const struct l2fs_config *cfg)
{
    memset(l, 0, sizeof(*l));
    l->capacity = cfg->l1;
    l->watermark = cfg->l1_watermark;
    l->ratio = cfg->l1_ratio;
    order_init(&l->order, cfg->l1_policy);
    list_init(&l->aside);
    list_init(&l->writing);
}

void l1_fini(struct l1 *l)
{
    order_fini(&l->order);
}

int l1_set_watermark(struct l1 *l, double watermark)
{
    if (!(watermark >= 0.05 && watermark <= 1))
        return -EINVAL;
    l->watermark = watermark;
    return 0;
}

int l1_set_ratio(struct l1 *l, double ratio)
{
    if (!(ratio >= 0.01 && ratio <= 1))
        return -EINVAL;
    l->ratio = ratio;
    return 0;
}

int l1_set_policy(struct l1 *l, int policy)
{
    if (policy < EVICT_LRU || policy > EVICT_NOOP)
        return -EINVAL;
    order_set_policy(&l->order, policy);
    return 0;
}

static struct object *object_of(struct order_node *node)
{
    return container_of(node, struct object, place);
}

void l1_add(struct l1 *l, struct object *o)
{
    if (order_linked(&o->place) || o->aside)
        return;
    order_add(&l->order, &o->place, hash_bytes(&o->inode->ino, sizeof(o->inode->ino), 0),
              o->inode->blocks * 512);
}

void l1_add_writer(struct l1 *l, struct object *o)
{
    l1_remove(l, o);
    list_push_back(&l->writing, &o->l1_link);
}

static void leave_aside(struct l1 *l, struct object *o)
{
    list_remove(&o->l1_link);
    l->naside -= o->aside != OBSTACLE_NONE;
    o->aside = OBSTACLE_NONE;
}

void l1_remove(struct l1 *l, struct object *o)
{
    order_remove(&l->order, &o->place);
    leave_aside(l, o);
}

void l1_touch(struct l1 *l, struct object *o)
{
    if (!o->unread || l->order.policy != EVICT_S3FIFO)
        order_touch(&l->order, &o->place);
    o->unread = false;
}

void l1_resize(struct l1 *l, struct object *o)
{
    order_resize(&l->order, &o->place, o->inode->blocks * 512);
}

struct picking {
    struct l1 *l1;
    l1_obstacle_fn *fn;
    void *arg;
};

static bool may_leave(void *arg, struct order_node *node)
{
    struct picking *p = arg;
    struct object *o = object_of(node);
    enum obstacle why = p->fn(p->arg, o);

    if (!why)
        return true;
    order_remove(&p->l1->order, node);
    o->aside = (uint8_t)why;
    p->l1->naside++;
    list_push_back(&p->l1->aside, &o->l1_link);
    return false;
}

struct object *l1_pick(struct l1 *l, size_t scan, l1_obstacle_fn *fn, void *arg)
{
    struct picking p = {l, fn, arg};
    struct order_node *node = order_pick(&l->order, scan, may_leave, &p);

    return node ? object_of(node) : NULL;
}

void l1_back(struct l1 *l, struct object *o)
{
    bool first = o->aside == OBSTACLE_UNSTORED;

    if (!o->aside)
        return;
    leave_aside(l, o);
    order_return(&l->order, &o->place, first);
    l1_resize(l, o);
}

void l1_check_aside(struct l1 *l, size_t n, l1_obstacle_fn *fn, void *arg)
{
    for (n = MIN(n, l->naside); n; n--) {
        struct object *o = list_entry(l->aside.next, struct object, l1_link);

        list_remove(&o->l1_link);
        list_push_back(&l->aside, &o->l1_link);
        if (!fn(arg, o))
            l1_back(l, o);
    }
}

uint64_t l1_excess(const struct l1 *l, uint64_t used, uint64_t wanted)
{
    uint64_t high = (uint64_t)(l->watermark * (double)l->capacity);
    uint64_t target;

    if (l->order.policy == EVICT_NOOP || used + wanted <= high)
        return 0;
    target = high - MIN((uint64_t)(l->ratio * (double)high), high);
    return MIN(used + wanted - MIN(target, used + wanted), used);
}

bool l1_admits(const struct l1 *l, uint64_t used, uint64_t expected)
{
    if (l->promised == 0 && expected >= l->capacity)
        return used == 0 || used + MIB <= l->capacity;
    return used + l->promised + expected <= l->capacity;
}

void l1_promise(struct l1 *l, struct object *o, uint64_t bytes)
{
    o->promised = bytes;
    l->promised += bytes;
}

void l1_unpromise(struct l1 *l, struct object *o)
{
    l->promised -= o->promised;
    o->promised = 0;
}
