/* bench_tier.c - l2bench --cost: keys leave the tier of an instance without a mount. Looks into the
 * instance, as bench_cost.c does. One thread beside those of the instance.
 */
#include "config.h"

#include "bench.h"

#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "evict_ctl.h"

#define WAIT_NS (300 * NSEC_PER_SEC)

static int set(struct l2fs *fs, const char *name, double value)
{
    struct text why = {0};
    char text[32];
    int err;

    snprintf(text, sizeof(text), "%.17g", value);
    err = evict_ctl_set(fs, 0, name, text, &why);
    text_fini(&why);
    return err ? bench_error("%s: %s", name, strerror(-err)) : 0;
}

static bool wait_below(struct l2fs *fs, uint64_t goal)
{
    uint64_t deadline = clock_deadline(WAIT_NS);
    struct l2_usage u;
    bool late = false;

    LOCKED_SCOPE(&fs->ns->lock);
    for (;;) {
        tier_usage(fs->tiers.tier[0], &u);
        if (u.used <= goal || late)
            return u.used <= goal;
        late = cond_wait_until(&fs->stored_cond, &fs->ns->lock, deadline) == -ETIMEDOUT;
    }
}

double bench_tier_evict(struct l2fs *fs, uint64_t bytes)
{
    struct l2_usage u;
    double begun;

    tier_usage(fs->tiers.tier[0], &u);
    begun = bench_cpu_us();
    if (set(fs, "ratio", 0) || set(fs, "watermark", (double)(u.used - bytes) / (double)u.capacity))
        return -1;
    if (!wait_below(fs, u.used - bytes))
        return bench_error("the tier evicts nothing");
    begun = bench_cpu_us() - begun;
    return set(fs, "watermark", 1) ? -1 : begun;
}
