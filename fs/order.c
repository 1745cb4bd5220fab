/* order.c - LRU, FIFO and S3-FIFO over intrusive lists, see order.h; no locking of its own.
 *
 * The ghost queue is a set-associative table of 32-bit marks with the number of the departure that
 * left each; a mark is forgotten when it is too many departures old, or by a younger one of its
 * set. A false hit (1 in 2000 at a million) merely puts a newcomer into the main queue.
 */
#include "config.h"

#include "order.h"

#define SMALL_SHARE 10 /* one tenth of the bytes */
#define WAYS 4
#define GHOST_MIN 64 /* marks */
#define GOLDEN UINT32_C(0x9e3779b9)

enum { QUEUE_MAIN, QUEUE_SMALL };

struct mark {
    uint32_t hash;
    uint32_t at; /* ghost.departures when it left; 0: empty */
};

struct ghost {
    uint32_t departures;
    unsigned bits; /* 1 << bits sets */
    struct mark marks[];
};

/* --- ghost --- */

static struct mark *ghost_set(struct ghost *g, uint32_t hash)
{
    return &g->marks[(size_t)(hash * GOLDEN >> (32 - g->bits)) * WAYS];
}

static uint32_t ghost_hash(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 32);
}

static void ghost_put(struct ghost *g, struct mark m)
{
    struct mark *set = ghost_set(g, m.hash), *oldest = set;

    for (size_t i = 0; i < WAYS; i++) {
        if (!set[i].at || set[i].hash == m.hash) {
            oldest = &set[i];
            break;
        }
        if (g->departures - set[i].at > g->departures - oldest->at)
            oldest = &set[i];
    }
    *oldest = m;
}

/* Twice as many marks as nodes, so that few push each other out. No memory: stays as it is. */
static void ghost_fit(struct order *o)
{
    struct ghost *old = o->ghost, *g;
    size_t have = old ? (size_t)WAYS << old->bits : 0, want = MAX(o->count * 2, GHOST_MIN);
    unsigned bits = old ? old->bits : 0;

    if (have >= want || bits >= 31)
        return;
    while (((size_t)WAYS << bits) < want && bits < 31)
        bits++;
    g = calloc(1, sizeof(*g) + (sizeof(struct mark) * WAYS << bits));
    if (!g)
        return;
    g->bits = bits;
    g->departures = old ? old->departures : 0;
    for (size_t i = 0; i < have; i++)
        if (old->marks[i].at)
            ghost_put(g, old->marks[i]);
    free(old);
    o->ghost = g;
}

static void ghost_remember(struct order *o, uint64_t hash)
{
    struct ghost *g;

    ghost_fit(o);
    g = o->ghost;
    if (!g)
        return;
    g->departures += g->departures == UINT32_MAX ? 2 : 1;
    ghost_put(g, (struct mark){ghost_hash(hash), g->departures});
}

/* It was remembered; is not any more. */
static bool ghost_take(struct order *o, uint64_t hash)
{
    struct ghost *g = o->ghost;
    uint32_t h = ghost_hash(hash);
    struct mark *set = g ? ghost_set(g, h) : NULL;

    for (size_t i = 0; g && i < WAYS; i++)
        if (set[i].at && set[i].hash == h) {
            bool fresh = g->departures - set[i].at < MAX(o->count, GHOST_MIN);

            set[i].at = 0;
            return fresh;
        }
    return false;
}

/* --- queues --- */

static struct order_node *node_of(struct list *l)
{
    return list_entry(l, struct order_node, link);
}

static void push(struct order *o, struct order_node *node, uint8_t queue)
{
    node->queue = queue;
    list_push_back(queue == QUEUE_SMALL ? &o->small : &o->main, &node->link);
    o->bytes += node->bytes;
    o->small_bytes += queue == QUEUE_SMALL ? node->bytes : 0;
    o->count++;
}

void order_init(struct order *o, int policy)
{
    *o = (struct order){.policy = policy};
    list_init(&o->main);
    list_init(&o->small);
}

void order_fini(struct order *o)
{
    free(o->ghost);
    o->ghost = NULL;
}

void order_add(struct order *o, struct order_node *node, uint64_t hash, uint64_t bytes)
{
    bool newcomer = o->policy == EVICT_S3FIFO && !ghost_take(o, hash);

    node->hash = hash;
    node->bytes = bytes;
    node->uses = 0;
    push(o, node, newcomer ? QUEUE_SMALL : QUEUE_MAIN);
}

void order_remove(struct order *o, struct order_node *node)
{
    if (!order_linked(node))
        return;
    list_remove(&node->link);
    o->bytes -= node->bytes;
    o->small_bytes -= node->queue == QUEUE_SMALL ? node->bytes : 0;
    o->count--;
}

void order_return(struct order *o, struct order_node *node, bool first)
{
    push(o, node, o->policy == EVICT_S3FIFO ? node->queue : QUEUE_MAIN);
    if (!first)
        return;
    list_remove(&node->link);
    list_push_front(node->queue == QUEUE_SMALL ? &o->small : &o->main, &node->link);
}

static void go_round(struct order *o, struct order_node *node)
{
    list_remove(&node->link);
    list_push_back(node->queue == QUEUE_SMALL ? &o->small : &o->main, &node->link);
}

void order_touch(struct order *o, struct order_node *node)
{
    if (!order_linked(node) || o->policy == EVICT_FIFO)
        return;
    if (o->policy == EVICT_S3FIFO)
        node->uses = (uint8_t)MIN(node->uses + 1, ORDER_USES_MAX);
    else
        go_round(o, node);
}

void order_resize(struct order *o, struct order_node *node, uint64_t bytes)
{
    if (!order_linked(node))
        return;
    o->bytes += bytes - node->bytes;
    o->small_bytes += node->queue == QUEUE_SMALL ? bytes - node->bytes : 0;
    node->bytes = bytes;
}

/* --- leaving --- */

static bool small_is_next(uint64_t small_bytes, uint64_t bytes)
{
    return small_bytes >= bytes / SMALL_SHARE;
}

/* After one was passed over the other queue is asked, so that one full of nodes that may not go
 * does not hide the other. */
static struct order_node *first(const struct order *o)
{
    bool small = small_is_next(o->small_bytes, o->bytes) != o->other;

    if (list_empty(&o->small) || (!small && !list_empty(&o->main)))
        return node_of(o->main.next);
    return node_of(o->small.next);
}

/* S3-FIFO gives a used one another chance. */
static bool spared(struct order *o, struct order_node *node)
{
    if (!node->uses)
        return false;
    if (node->queue == QUEUE_SMALL) {
        order_remove(o, node);
        node->uses = 0;
        push(o, node, QUEUE_MAIN);
    } else {
        node->uses--;
        go_round(o, node);
    }
    return true;
}

static struct order_node *take(struct order *o, size_t scan, order_may_go_fn *may_go, void *arg)
{
    for (scan = MIN(scan, order_round(o)); scan && o->count; scan--) {
        struct order_node *node = first(o);

        if (spared(o, node))
            continue;
        if (!may_go(arg, node)) {
            if (order_linked(node))
                go_round(o, node);
            o->other = !o->other;
            continue;
        }
        order_remove(o, node);
        o->other = false;
        return node;
    }
    return NULL;
}

struct order_node *order_pick(struct order *o, size_t scan, order_may_go_fn *may_go, void *arg)
{
    struct order_node *node = take(o, scan, may_go, arg);

    if (node && node->queue == QUEUE_SMALL)
        ghost_remember(o, node->hash);
    return node;
}

/* S3-FIFO: each is promoted or sent round at most three times, and the two queues take turns at
 * being passed over. */
size_t order_round(const struct order *o)
{
    if (o->policy == EVICT_NOOP || !o->count)
        return 0;
    return o->policy == EVICT_S3FIFO ? 5 * o->count + 2 : o->count;
}

static bool any(void *arg, struct order_node *node)
{
    (void)arg;
    (void)node;
    return true;
}

void order_set_policy(struct order *o, int policy)
{
    struct order next;
    struct order_node *node;

    if (policy == o->policy)
        return;
    if (o->policy == EVICT_S3FIFO) {
        order_init(&next, policy);
        while ((node = take(o, SIZE_MAX, any, NULL))) {
            node->uses = 0;
            push(&next, node, QUEUE_MAIN);
        }
        order_fini(o);
        list_splice(&o->main, &next.main);
        o->bytes = next.bytes;
        o->count = next.count;
    }
    o->policy = policy;
}

/* --- looking ahead --- */

struct peek {
    size_t left;
    order_may_go_fn *fn;
    void *arg;
};

static bool look(struct peek *p, struct order_node *node, bool matches)
{
    if (!p->left)
        return false;
    p->left--;
    return !matches || p->fn(p->arg, node);
}

static bool look_through(struct peek *p, struct list *queue, int least, int most)
{
    struct list *l;

    list_for_each(l, queue)
    {
        struct order_node *node = node_of(l);

        if (!look(p, node, node->uses >= least && node->uses <= most))
            return false;
    }
    return true;
}

/* What picking would do in the first round, with the bytes that would be left. */
static bool look_round(const struct order *o, struct peek *p)
{
    uint64_t small_bytes = o->small_bytes, bytes = o->bytes;
    const struct list *s = o->small.next, *m = o->main.next;

    while (s != &o->small || m != &o->main) {
        bool small = m == &o->main || (s != &o->small && small_is_next(small_bytes, bytes));
        struct order_node *node = list_entry(small ? s : m, struct order_node, link);

        s = small ? s->next : s;
        m = small ? m : m->next;
        small_bytes -= small ? node->bytes : 0;
        bytes -= node->uses ? 0 : node->bytes;
        if (!look(p, node, !node->uses))
            return false;
    }
    return true;
}

void order_peek(struct order *o, size_t max, order_may_go_fn *fn, void *arg)
{
    struct peek p = {max, fn, arg};

    if (o->policy == EVICT_NOOP)
        return;
    if (o->policy != EVICT_S3FIFO) {
        look_through(&p, &o->main, 0, ORDER_USES_MAX);
        return;
    }
    if (!look_round(o, &p) || !look_through(&p, &o->main, 1, 1) ||
        !look_through(&p, &o->small, 1, ORDER_USES_MAX))
        return;
    for (int uses = 2; uses <= ORDER_USES_MAX; uses++)
        if (!look_through(&p, &o->main, uses, uses))
            return;
}
