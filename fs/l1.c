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
    list_init(&l->order);
    list_init(&l->writing);
}

void l1_add(struct l1 *l, struct object *o)
{
    if (list_linked(&o->lru))
        return;
    list_push_back(&l->order, &o->lru);
    l->residents++;
    o->in_order = true;
}

void l1_remove(struct l1 *l, struct object *o)
{
    if (!list_linked(&o->lru))
        return;
    list_remove(&o->lru);
    l->residents -= o->in_order;
    o->in_order = false;
}

void l1_touch(struct l1 *l, struct object *o)
{
    if (l->policy != EVICT_LRU || !o->in_order)
        return;
    list_remove(&o->lru);
    list_push_back(&l->order, &o->lru);
}

uint64_t l1_excess(const struct l1 *l, uint64_t used, uint64_t wanted)
{
    uint64_t high = (uint64_t)(l->watermark * (double)l->capacity);
    uint64_t target;

    if (l->policy == EVICT_NOOP || used + wanted <= high)
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
