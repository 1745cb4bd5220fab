/* l1.c - order of leaving and watermark arithmetic; no locking of its own, see l1.h. */
#include "config.h"

#include "l1.h"

void l1_init(struct l1 *l, const struct l2fs_config *cfg)
{
    memset(l, 0, sizeof(*l));
    l->capacity = cfg->l1;
    l->watermark = cfg->l1_watermark;
    l->ratio = cfg->l1_ratio;
    l->policy = cfg->l1_policy;
    list_init(&l->shares);
    list_init(&l->aside);
    list_init(&l->writing);
}

void l1_share_init(struct l1 *l, struct l1_share *s, uint64_t due)
{
    order_init(&s->order, l->policy);
    s->due = due;
    list_push_back(&l->shares, &s->link);
}

void l1_share_fini(struct l1_share *s)
{
    list_remove(&s->link);
    order_fini(&s->order);
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
    struct list *link;

    if (policy < EVICT_LRU || policy > EVICT_NOOP)
        return -EINVAL;
    l->policy = policy;
    list_for_each(link, &l->shares)
        order_set_policy(&list_entry(link, struct l1_share, link)->order, policy);
    return 0;
}

size_t l1_residents(const struct l1 *l)
{
    size_t n = l->naside;
    struct list *link;

    list_for_each(link, &l->shares) n += list_entry(link, struct l1_share, link)->order.count;
    return n;
}

static struct object *object_of(struct order_node *node)
{
    return container_of(node, struct object, place);
}

static void add_to(struct l1_share *s, struct object *o)
{
    o->share = s;
    order_add(&s->order, &o->place, hash_bytes(&o->inode->ino, sizeof(o->inode->ino), 0),
              o->inode->blocks * 512);
}

static void take_out(struct object *o)
{
    if (o->share)
        order_remove(&o->share->order, &o->place);
}

void l1_add(struct l1 *l, struct l1_share *s, struct object *o)
{
    (void)l;
    if (!order_linked(&o->place) && !o->aside)
        add_to(s, o);
}

void l1_move(struct object *o, struct l1_share *s)
{
    bool linked = order_linked(&o->place);

    if (!o->share || o->share == s)
        return;
    take_out(o);
    o->share = s;
    if (linked)
        add_to(s, o);
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
    take_out(o);
    leave_aside(l, o);
}

void l1_touch(struct l1 *l, struct object *o)
{
    if (o->share && (!o->unread || l->policy != EVICT_S3FIFO))
        order_touch(&o->share->order, &o->place);
    o->unread = false;
}

void l1_resize(struct l1 *l, struct object *o)
{
    (void)l;
    if (o->share)
        order_resize(&o->share->order, &o->place, o->inode->blocks * 512);
}

struct l1_share *l1_next_share(const struct l1 *l, struct l1_share *first)
{
    struct l1_share *best = NULL;
    double most = -1;
    struct list *link;

    if (first && order_round(&first->order))
        return first;
    list_for_each(link, &l->shares)
    {
        struct l1_share *s = list_entry(link, struct l1_share, link);
        double part = (double)s->order.bytes / (double)s->due;

        if (part > most && order_round(&s->order)) {
            best = s;
            most = part;
        }
    }
    return best;
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
    order_remove(&o->share->order, node);
    o->aside = (uint8_t)why;
    p->l1->naside++;
    list_push_back(&p->l1->aside, &o->l1_link);
    return false;
}

struct object *l1_pick(struct l1 *l, struct l1_share *s, l1_obstacle_fn *fn, void *arg)
{
    struct picking p = {l, fn, arg};
    struct order_node *node = order_pick(&s->order, L1_SCAN, may_leave, &p);

    return node ? object_of(node) : NULL;
}

void l1_peek(const struct l1 *l, size_t max, order_may_go_fn *fn, void *arg)
{
    struct l1_share *first = l1_next_share(l, NULL);
    struct list *link;

    if (first)
        order_peek(&first->order, max, fn, arg);
    list_for_each(link, &l->shares)
    {
        struct l1_share *s = list_entry(link, struct l1_share, link);

        if (s != first)
            order_peek(&s->order, max, fn, arg);
    }
}

void l1_back(struct l1 *l, struct object *o)
{
    bool first = o->aside == OBSTACLE_UNSTORED;

    if (!o->aside)
        return;
    leave_aside(l, o);
    order_return(&o->share->order, &o->place, first);
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

static uint64_t high_mark(const struct l1 *l)
{
    return (uint64_t)(l->watermark * (double)l->capacity);
}

uint64_t l1_above_target(const struct l1 *l, uint64_t used, uint64_t wanted)
{
    uint64_t high = high_mark(l);
    uint64_t target = high - MIN((uint64_t)(l->ratio * (double)high), high);

    if (l->policy == EVICT_NOOP)
        return 0;
    return MIN(used + wanted - MIN(target, used + wanted), used);
}

uint64_t l1_excess(const struct l1 *l, uint64_t used, uint64_t wanted)
{
    return used + wanted > high_mark(l) ? l1_above_target(l, used, wanted) : 0;
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
