/* order.h - in which order things leave a place of limited size: LRU, FIFO, S3-FIFO or never.
 * Level 1.
 *
 * Intrusive and O(1): adding, touching, removing and (amortised) picking cost the same at a thousand
 * and at a million. No locking of its own. Used for L1 and for each tier that evicts, once per
 * tenant.
 *
 * S3-FIFO (Yang et al., SOSP 2023): newcomers enter a small queue of a tenth of the bytes; who is
 * used there again moves to the main queue, who is not leaves and is remembered by its hash (ghost)
 * for as many entries as the main queue has; a remembered one that returns goes to main at once.
 * The main queue goes round for those that were used since.
 */
#ifndef L2FS_ORDER_H
#define L2FS_ORDER_H

#include "instance.h"
#include "list.h"

struct order_node {
    struct list link;
    uint64_t hash;  /* of the key, for the ghost queue */
    uint64_t bytes; /* as added */
    uint8_t queue;  /* private */
    uint8_t uses;   /* private; saturates at 3 */
};

struct ghost;

struct order {
    int policy;        /* enum evict_policy; order_set_policy changes it */
    struct list main;  /* first leaves first; LRU and FIFO have only this one */
    struct list small; /* S3-FIFO */
    uint64_t bytes;    /* of all nodes */
    uint64_t small_bytes;
    size_t count;
    struct ghost *ghost; /* S3-FIFO, made on demand; no memory: nothing is remembered */
};

void order_init(struct order *o, int policy);
void order_fini(struct order *o); /* the nodes are the owner's; none may be linked */
/* Keeps every node, in the order in which they would have left. */
void order_set_policy(struct order *o, int policy);

/* node must not be linked. */
void order_add(struct order *o, struct order_node *node, uint64_t hash, uint64_t bytes);
void order_remove(struct order *o, struct order_node *node); /* idempotent; not an eviction */
void order_touch(struct order *o, struct order_node *node);  /* used now; not linked: nothing */
static inline bool order_linked(const struct order_node *node)
{
    return list_linked(&node->link);
}

/* The next to leave for which may_go says true; it is removed, and S3-FIFO remembers it. NULL:
 * policy noop, or none among the next `scan` (or all, if fewer). Those passed over go round to the
 * far end, so that the next call does not meet them again first. */
typedef bool order_may_go_fn(void *arg, struct order_node *node);
struct order_node *order_pick(struct order *o, size_t scan, order_may_go_fn *may_go, void *arg);
/* Calls fn for up to `max` nodes in the order in which they would leave, changing nothing (dry
 * runs); fn returns false to stop. */
void order_peek(struct order *o, size_t max, order_may_go_fn *fn, void *arg);

#endif
