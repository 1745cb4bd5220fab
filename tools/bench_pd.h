/* bench_pd.h - what l2bench --pd is made of. */
#ifndef L2BENCH_PD_H
#define L2BENCH_PD_H

#include "bench.h"

/* --- bench_pd.c --- */

/* Keys written on `prefill` until readable on `decode`, beside ucx_perftest; takes and prints its
 * figures, and leaves them in b->rows. */
int bench_pd(struct bench *b, const char *prefill, const char *decode);

/* --- bench_perftest.c --- */

struct perftest {
    int sender, receiver; /* processes: it runs in their network namespaces; 0: in this one */
    const char *host;     /* of the receiver, as the sender reaches it */
    uint64_t size;        /* bytes of a message */
    unsigned count;
};
/* Messages from process to process over tcp. 0, or 3 with a message. */
int perftest_run(const struct perftest *t, double *bytes_per_second);
int perftest_free_port(void); /* of TCP, on lo: free a moment ago, or -1 */

/* --- bench_proc.c: what the daemon of a mount uses --- */

#define PROC_THREADS 24
struct proc_cpu {
    struct proc_thread {
        char name[32]; /* of all threads of that name */
        double seconds;
    } threads[PROC_THREADS];
    size_t n;
};
int proc_find(const char *mount);             /* by its absolute path; 0: not found */
void proc_cpu(int pid, struct proc_cpu *cpu); /* of no process: nothing */
void proc_add(struct proc_cpu *sum, const struct proc_cpu *before, const struct proc_cpu *after);

#endif
