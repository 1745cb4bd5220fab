/* bench_report.h - what l2bench --report is made of.
 *
 * The wrapper tools/l2bench prepares a directory, `base`: tmpfs/ is a plain tmpfs with huge=never, disk/ lies on the
 * disk to measure, redis.sock and sshfs/ (what is in shared/, seen through sshfs) are there where the programs are,
 * pd.json is what demo-pd --bench --json printed, and missing/NAME says why something is not there. The program
 * mounts what it needs below `base` itself; the wrapper unmounts whatever is left there. Functions that return int
 * give 0, or -1 when a signal ended the run; what cannot be measured becomes a row that says so. One thread, but for
 * crews.
 */
#ifndef L2BENCH_REPORT_H
#define L2BENCH_REPORT_H

#include "bench_io.h"

struct report {
    struct bench b;
    const char *base;
    const char *only;  /* sections to run, such as "ae"; NULL: all */
    bool quick;        /* few rounds and small sizes */
    char *daemon;      /* mount.l2fs */
    char *dirs[SIDES]; /* where the two sides were opened */
    json_t *rows, *facts;
    uint64_t begun;
};

/* What a row is about. */
struct subject {
    char section;
    const char *name; /* as targets know it */
    const char *what; /* how l2fs and the other are measured, in words */
    const char *other;
    uint64_t size; /* of a key, 0: says nothing here */
    unsigned streams;
    double work;  /* as in struct row */
    bool latency; /* likewise */
};

/* --- bench_report.c --- */

int bench_report(struct report *r, const char *out_dir);
/* Takes r->b.rounds pairs. */
int report_row(struct report *r, const struct subject *s, bench_pass *pass, void *arg);
/* Of a row that row_measure took with `rc`. */
int report_taken(struct report *r, const struct subject *s, int rc);
int report_not_measured(struct report *r, const struct subject *s, const char *why);
/* A figure that has no peer. */
void report_fact(struct report *r, const char *what, double value, const char *unit);
/* Why the wrapper did not provide `name`, or NULL: it did. The caller frees it. */
char *report_missing(const struct report *r, const char *name);
char *report_path(const struct report *r,
                  const char *name); /* base/name, or NULL; the caller frees it */
unsigned report_rounds(const struct report *r, unsigned most); /* at least 9; fewer when quick */

/* --- the sections: each mounts, measures, unmounts --- */

int report_data(struct report *r);      /* bench_data.c: bytes in memory */
int report_sustained(struct report *r); /* bench_data.c: more than memory holds */
int report_names(struct report *r);     /* bench_names.c */
int report_disk(struct report *r);      /* bench_disk.c */
int report_push(struct report *r);      /* bench_peers.c: merges pd.json */
int report_peers(struct report *r);     /* bench_peers.c: Redis, a plain directory, sshfs */
int report_usage(struct report *r);     /* bench_usage.c: processor time and memory */

/* --- bench_mount.c --- */

/* Mounts `spec` on base/name with an L1 of `l1` bytes. `options` may be "". -1: said. */
int report_mount(struct report *r, const char *spec, const char *name, uint64_t l1,
                 const char *options);
/* Until the daemon has stored everything and ended. */
int report_unmount(struct report *r, const char *name);
/* Mounts base/NAME-l2 on base/NAME and opens both sides: r->b.sides. `other`: below base. */
int report_open(struct report *r, const char *name, uint64_t l1, const char *options,
                const char *other);
int report_close(struct report *r, const char *name);
/* Runs a program to its end, at most `seconds`. Its output is in *out, which the caller frees. */
int report_run(const char *const argv[], unsigned seconds, char **out);

/* --- bench_data.c: passes over keys, on one crew --- */

struct stage {
    struct crew crew;
    const struct verb *verb;
    uint64_t size;
    unsigned files; /* that are read in turn */
    unsigned base;  /* number of the first fresh key of this pass */
};
struct verb {
    const char *name, *what;
    int (*item)(struct crew *c, unsigned thread, unsigned i);
    bool fresh; /* makes keys */
};
extern const struct verb verb_read, verb_write;
int stage_init(struct stage *stage, const struct verb *verb, uint64_t size, unsigned streams,
               unsigned items);
void stage_fini(struct stage *stage);
int stage_pass(struct bench *b, struct side *s, struct row *row, int round, double *seconds);
/* read-0, ... on one side; the mount's are stored. */
int stage_fill(const struct stage *stage, struct side *s);
int stage_clear(const struct stage *stage, struct side *s);
/* The keys read-0, ... leave memory, and the page cache where they lie on a disk. */
int stage_chill(const struct stage *stage, struct side *s, const char *tier);

/* --- bench_verdict.c, bench_markdown.c --- */

json_t *report_verdicts(json_t *rows);
/* Writes report.md and report.dat into `dir` from what report.json has. */
int report_markdown(json_t *report, const char *dir);

#endif
