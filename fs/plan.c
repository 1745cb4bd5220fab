/* plan.c - choosing tiers. Pure functions. */
#include "plan.h"

#include <strings.h>

int plan_next(struct plan *p, uint32_t has)
{
    if (p->cut || !has) {
        plan_refused(p);
        return PLAN_NONE;
    }
    return ffs((int)has) - 1;
}

void plan_refused(struct plan *p)
{
    p->cut = p->mode == PLAN_PREFIX;
}

static int weight(int error)
{
    switch (error) {
    case 0: return 0;
    case -ENOENT: return 1;
    case -EBADMSG: return 2;
    default: return 3;
    }
}

int plan_worse(int known, int error)
{
    return weight(error) > weight(known) ? error : known;
}
