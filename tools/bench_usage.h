/* bench_usage.h - what a daemon that l2bench --report mounted uses. */
#ifndef L2BENCH_USAGE_H
#define L2BENCH_USAGE_H

#include "bench_report.h"

/* Memory of its own, without the keys. 0 when it cannot be told. */
double usage_private_bytes(struct report *r, const char *mount);
/* Processor time of the daemon and of this process so far. */
double usage_cpu_seconds(int daemon_pid);

#endif
