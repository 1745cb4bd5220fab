/* plan.h - which tier each key of a request is loaded from. Level 3. Pure, any thread. */
#ifndef L2FS_PLAN_H
#define L2FS_PLAN_H

#include "base.h"

enum plan_mode {
    PLAN_ALL,    /* every key that some tier has */
    PLAN_PREFIX, /* up to the first key that cannot be had */
};

/* The plan of one request, made key by key in order. Start with {mode}. */
struct plan {
    enum plan_mode mode;
    bool cut; /* prefix: the first gap is behind us */
};

#define PLAN_NONE (-1)

/* The tier for the next key, of those in `has` (bit per tier): the lowest index wins. PLAN_NONE: not
 * loaded, which in prefix mode cuts off all that follow. */
int plan_next(struct plan *p, uint32_t has);
/* The key just planned is not to be had after all (no space). */
void plan_refused(struct plan *p);

/* What is known of a key that could not be had, so far and from one more tier: that it may be there
 * (time-outs, I/O errors) counts more than that it is corrupt, and that more than that it is not
 * there. 0: nothing is known yet. */
int plan_worse(int known, int error);

#endif
