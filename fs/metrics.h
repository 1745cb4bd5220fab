/* metrics.h - counters, gauges and histograms in OpenMetrics text. Level 0.
 *
 * A registry belongs to one mounted instance. Registration takes a lock; updates are lock-free
 * atomics and may come from any thread. Metrics live as long as the
 * registry, or until they are forgotten. Names follow
 * OpenMetrics: l2fs_<what>_<unit>, counters are printed with _total.
 */
#ifndef L2FS_METRICS_H
#define L2FS_METRICS_H

#include "base.h"
#include "text.h"

struct metrics;
struct metric;

struct metrics *metrics_create(void); /* NULL on no memory */
void metrics_destroy(struct metrics *m);

/* `labels` is "" or `adapter="fs",op="store"` (already escaped; see metrics_label). Registering the
 * same name and labels again returns the same metric. Never NULL: on no memory, or for a name that
 * has another type already, a shared metric that is not printed is returned. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *help,
                               const char *labels);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help,
                             const char *labels);
/* Seconds histogram, buckets 100 us * 4^k up to about 100 s. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const char *labels);

void metric_add(struct metric *m, int64_t n);          /* counter, gauge */
void metric_set(struct metric *m, int64_t value);      /* gauge; a counter that another keeps */
void metric_observe_ns(struct metric *m, uint64_t ns); /* histogram */
int64_t metric_value(const struct metric *m);          /* counter, gauge; histogram: count */

/* name="escaped value" appended to `t`, with a comma before it when t is not empty. */
void metrics_label(struct text *t, const char *name, const char *value);
/* Frees every metric whose labels are `label` or begin with it and a comma; nobody may have them. */
void metrics_forget(struct metrics *m, const char *label);
/* The whole registry as OpenMetrics text, ending in "# EOF\n". */
void metrics_print(struct metrics *m, struct text *out);

#endif
