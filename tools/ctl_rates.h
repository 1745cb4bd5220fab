/* ctl_rates.h - what a mount did between two moments, for top. Pure functions. */
#ifndef L2FS_CTL_RATES_H
#define L2FS_CTL_RATES_H

#include "ctl.h"

struct ctl_sample {
    uint64_t at;   /* clock.h */
    char *metrics; /* .l2fs/metrics; NULL: zero, since the mount */
    json_t *status;
};

void ctl_sample_fini(struct ctl_sample *s);
/* {"seconds": S, "rates": [{"name": "per second", ...}, {"name": "since the mount", ...}],
 * "hit_percent": H, "tiers": [...]}; `before` without metrics: S is the time since the mount. What
 * the mount does not count is left out. */
json_t *ctl_rates(const struct ctl_sample *before, const struct ctl_sample *now);
/* The screen but for the events: what `rates` and the status of `now` say. */
void ctl_show_rates(FILE *out, const char *mount, const struct ctl_sample *now, json_t *rates);

#endif
