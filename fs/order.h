/* order.h - in which order things leave a place of limited size: LRU, FIFO, S3-FIFO or never.
 * Level 1.
 *
 * Intrusive and O(1): adding, touching, removing and (amortised) picking cost the same at a thousand
 * and at a million. No locking of its own. Used for L1 and for each tier that evicts, once per
 * tenant.
 *
 * S3-FIFO (Yang et al., SOSP 2023): newcomers enter a small queue of a tenth of the bytes; who is
 * used there again moves to the main queue, who is not leaves and is remembered by its hash (ghost)
 * for as many departures as there are nodes; a remembered one that returns goes to main at once.
 * The main queue goes round for those that were used since.
 */
#ifndef L2FS_ORDER_H
#define L2FS_ORDER_H

#include "instance.h"
#include "list.h"

#define ORDER_USES_MAX 3 /* more uses of a node are as many */

struct order_node {
    struct list link; /* list_init before the first use */
    uint64_t hash;    /* of the key, for the ghost queue */
    uint64_t bytes;   /* as added or resized */
    uint8_t queue;    /* private */
    uint8_t uses;     /* private; saturates */
};

struct ghost;

struct order {
    int policy;        /* enum evict_policy; order_set_policy changes it */
    struct list main;  /* first leaves first; LRU and FIFO have only this one */
    struct list small; /* S3-FIFO */
    uint64_t bytes;    /* of all nodes */
    uint64_t small_bytes;
    size_t count;
    bool other;          /* private: the queue whose turn it is not is asked next */
    struct ghost *ghost; /* S3-FIFO, made on demand; no memory: nothing is remembered */
};

void order_init(struct order *o, int policy);
void order_fini(struct order *o); /* the nodes are the owner's; none may be linked */
/* Keeps every node, in the order in which they would have left. O(count) from S3-FIFO. */
void order_set_policy(struct order *o, int policy);

/* node must not be linked. */
void order_add(struct order *o, struct order_node *node, uint64_t hash, uint64_t bytes);
void order_remove(struct order *o, struct order_node *node); /* idempotent; not an eviction */
void order_touch(struct order *o, struct order_node *node);  /* used now; not linked: nothing */
/* Puts back what was removed: to the near end of its queue, or to the far one. */
void order_return(struct order *o, struct order_node *node, bool first);
/* It weighs `bytes` now and keeps its place; not linked: nothing. */
void order_resize(struct order *o, struct order_node *node, uint64_t bytes);
static inline bool order_linked(const struct order_node *node)
{
    return list_linked(&node->link);
}

/* The next to leave for which may_go says true; it is removed, and S3-FIFO remembers it. NULL:
 * policy noop, or none among the next `scan`: looking at one node is one step, be it passed over,
 * promoted or sent round. Those passed over go round to the far end, so that the next call goes on
 * where this one stopped. may_go may remove the node it is asked about, then false; nothing else. */
typedef bool order_may_go_fn(void *arg, struct order_node *node);
struct order_node *order_pick(struct order *o, size_t scan, order_may_go_fn *may_go, void *arg);
/* NULL for this many steps, in one call or in several, means that none may go now. 0: noop. */
size_t order_round(const struct order *o);
/* Calls fn in the order in which nodes would leave, changing nothing (dry runs), until fn returns
 * false or `max` nodes were looked at. Exact for LRU and FIFO. For S3-FIFO exact for those that
 * were not used since; the used ones follow, by how often. noop: none. */
void order_peek(struct order *o, size_t max, order_may_go_fn *fn, void *arg);

#endif
