/* bench.h - parts of l2bench.
 *
 * Every figure is taken on two directories, the mount and a plain tmpfs, in turn (--pd: between two
 * mounts, and by ucx_perftest); a row keeps the pairs, and what counts is their ratio. Functions that
 * return int give 0, or -1 having said why on stderr. One thread, but for bench_crew.c.
 */
#ifndef L2BENCH_H
#define L2BENCH_H

#include <jansson.h>
#include <limits.h>
#include <signal.h>

#include "base.h"

enum { SIDE_MOUNT, SIDE_TMPFS, SIDES };

struct side {
    const char *label;
    char dir[PATH_MAX]; /* a new directory of ours; "": none yet */
    int dirfd;
    bool l2fs;   /* has .l2fs/status */
    bool direct; /* O_DIRECT opens work */
};

struct bench {
    const char *mount, *tmpfs; /* as given */
    bool other;                /* `tmpfs` is meant to be no tmpfs */
    const char *name;          /* --bench */
    unsigned rounds;
    uint64_t size; /* of a file; 0: what the benchmark chooses */
    unsigned files, threads;
    bool json;
    struct side sides[SIDES];
    unsigned serial; /* last number given to a new file */
    size_t piece;    /* bytes of one call */
    unsigned char *buf;
    uint64_t touched; /* bytes of memory that the host has given for sure */
    json_t *rows;     /* what was measured, for --json and --check */
    json_t *notes;
};

/* One figure: how often, of what, and what came out. */
struct row {
    char name[40];
    double work;  /* bytes, or operations, of one pass */
    bool latency; /* operations: shown as microseconds each; otherwise GB/s */
    unsigned rounds;
    void *arg; /* the pass's */
    double *seconds[SIDES];
    uint64_t *item_ns[SIDES]; /* of each file in every pass, or NULL */
    size_t items;             /* in each of them */
};

/* --- l2bench.c --- */

int bench_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
const char *bench_last_error(void); /* what it said last; not while other threads may say more */
extern volatile sig_atomic_t bench_stop; /* a signal asked for the end */

/* --- bench_side.c --- */

int sides_open(struct bench *b);
void sides_close(struct bench *b); /* removes what was written; idempotent */
/* Notes what the sides are, and what may be wrong with comparing `bytes` in memory; sees to it that
 * the host has given that memory. */
int sides_describe(struct bench *b, uint64_t bytes);
uint64_t side_l1(const struct bench *b); /* of the mount; 0: not known */
/* Waits until the tiers have the file, so that storing it does not run into the next figure. */
int side_settle(struct side *s, const char *name);
int side_remove(struct side *s, const char *name);
/* Adds a note when a file is no longer in memory. */
void side_check_resident(struct bench *b, struct side *s, const char *name);
void bench_note(struct bench *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- bench_row.c --- */

/* One pass on one side: fills *seconds. `round` counts from 0 and is the number of `row`'s pair;
 * the warm-up has round -1. */
typedef int bench_pass(struct bench *b, struct side *s, struct row *row, int round,
                       double *seconds);
int row_init(struct row *row, const struct bench *b, const char *name);
void row_fini(struct row *row);
/* Warms both sides up, then takes b->rounds pairs, the order alternating, and keeps the outcome in
 * b->rows. */
int row_measure(struct bench *b, struct row *row, bench_pass *pass);
void rows_print(const struct bench *b);
/* read=0.95,mmap=0.95: 0, 1 when one is below (said on stderr), -1 on a name that was not measured.
 */
int rows_check(const struct bench *b, const char *limits);
int rows_check_syntax(const char *limits);

/* --- bench_basic.c, bench_small.c: what --bench names --- */

int bench_basic(struct bench *b);
int bench_prefix_load(struct bench *b);
int bench_store_burst(struct bench *b);
int bench_lookup_storm(struct bench *b);
int bench_cold_load(struct bench *b);

/* --- bench_stream.c --- */

int bench_stream(struct bench *b);

/* --- bench_cost.c --- */

/* Takes and prints its figures: with 10000 keys, ten times as many, and so on up to `most_keys`,
 * at most a million (about 8 GiB of memory). */
int bench_cost(size_t most_keys, bool json);
double bench_cpu_us(void); /* processor time of the process so far */

/* --- bench_tier.c --- */

struct l2fs;
/* Has files of `bytes` leave the first tier. Processor time, or -1. */
double bench_tier_evict(struct l2fs *fs, uint64_t bytes);

/* --- bench_crew.c: threads that share out items --- */

struct crew {
    /* Handles one item on one of the threads, `thread` counting from 0. 0, or -1 and said. */
    int (*item)(struct crew *c, unsigned thread, unsigned item);
    unsigned threads, items;
    struct side *side;
    unsigned char **bufs; /* one for each thread, `item`'s to use */
    uint64_t *item_ns;    /* out, or NULL */
};
/* All items, each once; the time from the first start to the last end. */
int crew_run(struct crew *c, double *seconds);
unsigned char **crew_bufs(unsigned n, size_t len);
void crew_bufs_free(unsigned char **bufs, unsigned n);

/* --- bench_key.c: files whose contents follow from name and size --- */

/* The bytes of file `name` (its last component) of `size` bytes, `len` of them at `off` (a multiple
 * of 8). */
void key_fill(void *buf, size_t len, uint64_t off, uint64_t seed);
uint64_t key_seed(const char *name, uint64_t size);
bool key_same(const void *buf, size_t len, uint64_t off, uint64_t seed);
/* Writes a file as an engine does: "plain", "lmcache", "sglang", "vllm". */
int key_write(const char *path, uint64_t size, const char *style);
bool key_style_known(const char *style);
/* Reads it through read, mmap and O_DIRECT and compares. */
int key_verify(const char *path);

#endif
