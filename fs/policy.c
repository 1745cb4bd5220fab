/* policy.c - see policy.h. No state, any thread. */
#include "policy.h"

bool store_policy_wants(int policy, const struct store_facts *f)
{
    return policy != STORE_DEMOTE || f->asked || f->room;
}

bool store_policy_drops_l1(int policy, const struct store_facts *f)
{
    return policy == STORE_SKIP_L1 && !f->fsynced;
}
