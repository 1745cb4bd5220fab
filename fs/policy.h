/* policy.h - where stores go and what becomes of the copy in L1. Level 3. Pure functions.
 *
 *   default   every tier at publication; the copy in L1 stays until it is evicted
 *   skip_l1   the same; L1 is a write buffer: the copy goes once it is stored and idle
 *   demote    nothing at publication: stored when L1 wants the room, on fsync and at the end
 */
#ifndef L2FS_POLICY_H
#define L2FS_POLICY_H

#include "instance.h"

/* Of the `active` tiers, those that do not `have` the object. */
static inline uint32_t store_policy_targets(int policy, uint32_t active, uint32_t have)
{
    (void)policy; /* none mirrors to a part of them */
    return active & ~have;
}

struct store_facts {
    bool asked;   /* for room, fsync, the end, or by hand */
    bool room;    /* by eviction */
    bool fsynced; /* while it was written: its program works on with it */
};

bool store_policy_wants(int policy, const struct store_facts *f); /* stored now, not later */
/* What is stored leaves L1 when it is idle, whether there is room or not. */
bool store_policy_drops_l1(int policy, const struct store_facts *f);

#endif
