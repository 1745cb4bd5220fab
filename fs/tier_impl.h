/* tier_impl.h - what tier.c and tier_task.c share. Level 2, private to them. */
#ifndef L2FS_TIER_IMPL_H
#define L2FS_TIER_IMPL_H

#include "clock.h"
#include "hash.h"
#include "spec.h"
#include "tier.h"
#include "workers.h"

/* The first three are the task families. */
enum tier_op {
    TIER_STORE = L2_STORE,
    TIER_LOOKUP = L2_LOOKUP,
    TIER_LOAD = L2_LOAD,
    TIER_UNLOCK,
    TIER_RENAME,
    TIER_REMOVE,
    TIER_MAKE_DIR,
    TIER_SET_ATTR,
    TIER_LIST,
    TIER_OPEN_FILE,
    TIER_LINK_FILE,
    TIER_OPS,
};

struct tier_stats {
    struct metric *submitted;
    struct metric *completed; /* without an error */
    struct metric *failed;
    struct metric *seconds;
    struct metric *bytes; /* store and load */
};

struct tier {
    struct adapter_env env;
    struct spec spec;
    struct adapter *adapter;
    struct tier_stats stats[TIER_OPS];
    struct metric *hits; /* keys of lookups */
    struct metric *misses;
    struct keylocks *held; /* what lookups locked and nobody unlocked yet */
    /* struct record of tasks under way, by id; used by the owner's loop thread alone. */
    struct hash pending[L2_FAMILIES];
};

/* The outcome of one operation, for the counters and the log. `error` 0: it went well. */
struct tier_outcome {
    enum tier_op op;
    uint64_t started;
    int error;
    const char *key; /* the first that failed */
    size_t failed;
    size_t n;
};

void tier_done(struct tier *t, const struct tier_outcome *o);
void tier_forget_tasks(struct tier *t);

#endif
