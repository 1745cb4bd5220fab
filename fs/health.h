/* health.h - what is wrong with an instance, in sentences: what, since when, what to do. Level 1.
 *
 * Pure functions over figures that status_health.c collects: no finding, no sentence, and then the
 * instance is healthy. Times are nanoseconds that something has lasted, 0: it is not so.
 */
#ifndef L2FS_HEALTH_H
#define L2FS_HEALTH_H

#include "base.h"

#define HEALTH_LOOP_NS (5 * NSEC_PER_SEC)  /* a loop thread this silent hangs */
#define HEALTH_L1_NS (10 * NSEC_PER_SEC)   /* L1 may be full for a while under load */
#define HEALTH_RETRY_NS (5 * NSEC_PER_SEC) /* a store may fail once */

struct health_tier {
    const char *name;
    bool draining;
    bool answers;     /* to the question how it is */
    bool well;        /* as it says itself */
    const char *says; /* its last error, or NULL */
    bool stores_stalled, stores_lagging;
    size_t stores_overdue;
    uint64_t oldest_store; /* of those it has in hand */
    int store_error;       /* last one, negative errno; 0: none */
    uint64_t retrying;     /* stores fail and wait for another try */
    bool loads_stalled;
    size_t loads_overdue;
    uint64_t loads_late; /* some have been overdue */
    uint64_t used, capacity;
    bool evicts;
};

struct health_instance {
    uint64_t loop_silent;
    bool no_tiers;             /* there were some */
    const char *unlisted;      /* the tier whose listing at the start failed ... */
    int list_error;            /* ... why */
    uint64_t l1_stuck;         /* above the watermark, nothing can leave */
    uint64_t l1_used, l1_high; /* bytes; the watermark */
    size_t open, pinned, unstored, unread, other; /* residents, and why they stay */
    size_t space_waiters;
    size_t given_up;
    uint64_t given_up_for;
};

typedef void health_say_fn(void *arg, const char *sentence);
void health_of_tier(const struct health_tier *t, health_say_fn *say, void *arg);
void health_of_instance(const struct health_instance *i, health_say_fn *say, void *arg);

#endif
