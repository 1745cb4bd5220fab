/* bench_pd.c - l2bench --pd: keys written on a prefill mount until they are readable on the decode
 * mount, beside what UCX alone does with messages of that size.
 *
 * A pass writes its keys back to back, with one request id, and ends when .l2fs/ready/REQ_ID opens at
 * the other side. Removing them is not timed. The warm-up writes keys whose contents follow from
 * their names, and reads them on the decode mount.
 */
#include "bench_pd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "clock.h"

#define READY_NS (120 * NSEC_PER_SEC)
#define PASS_BYTES (512 * MIB)
#define PASS_KEYS 2048

enum { PREFILL, DECODE, ENDS };

struct push {
    struct bench *b;
    const char *mount[ENDS];
    char *dir[ENDS]; /* of this run, below the mounts */
    int pid[ENDS];   /* 0: not found */
    char *peer;      /* the host of the decode mount, as the other knows it */
    struct proc_cpu cpu[ENDS];
    uint64_t size;
    unsigned keys, serial;
    double *seconds[2]; /* of each round: of the mounts, of ucx_perftest */
};

static char *path_of(const char *dir, const char *what, unsigned n)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s%u", dir, what, n) < 0 ? NULL : path;
}

/* --- one pass over the mounts --- */

static int set(int fd, const char *name, const char *value)
{
    return fsetxattr(fd, name, value, strlen(value), 0)
               ? bench_error("%s: %s; is the first mount a prefill mount?", name, strerror(errno))
               : 0;
}

static int write_key(struct push *p, const char *path, const char *req_id, bool last)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int rc =
        fd < 0 ? bench_error("%s: %s", path, strerror(errno)) : set(fd, "user.l2fs.req_id", req_id);

    if (!rc && last)
        rc = set(fd, "user.l2fs.last_prefill", "1");
    for (uint64_t left = p->size; left && !rc;) {
        ssize_t n = write(fd, p->b->buf, MIN(left, p->b->piece));

        if (n <= 0)
            return bench_error("write of %s: %s", path, strerror(errno));
        left -= (uint64_t)n;
    }
    return rc;
}

static int write_keys(struct push *p, const char *req_id)
{
    int rc = 0;

    for (unsigned i = 0; i < p->keys && !rc; i++) {
        AUTO_FREE char *path = path_of(p->dir[PREFILL], "key-", i);

        if (bench_stop)
            return bench_error("stopped by a signal");
        rc = write_key(p, path, req_id, i + 1 == p->keys);
    }
    return rc;
}

static int wait_ready(struct push *p, const char *req_id)
{
    uint64_t deadline = clock_deadline(READY_NS);
    AUTO_FREE char *path = NULL;

    if (asprintf(&path, "%s/.l2fs/ready/%s", p->mount[DECODE], req_id) < 0)
        return bench_error("out of memory");
    while (!bench_stop && clock_now() < deadline) {
        AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0)
            return 0;
        if (errno != ENOENT && errno != EINTR) /* not yet: the mount waited for it */
            return bench_error("%s: %s", path, strerror(errno));
    }
    return bench_error("the keys of %s are not at %s after two minutes", req_id, p->mount[DECODE]);
}

static int remove_keys(struct push *p)
{
    for (unsigned i = 0; i < p->keys; i++) {
        for (int end = 0; end < ENDS; end++) {
            AUTO_FREE char *path = path_of(p->dir[end], "key-", i);

            if (unlink(path) && errno != ENOENT)
                return bench_error("%s: %s", path, strerror(errno));
        }
    }
    return 0;
}

/* The keys of one request: the time from the first create until all are ready. */
static int push_keys(struct push *p, double *seconds)
{
    char req_id[64];
    uint64_t start = clock_now();
    int rc;

    snprintf(req_id, sizeof(req_id), "l2bench-%d-%u", (int)getpid(), ++p->serial);
    rc = write_keys(p, req_id);
    if (!rc)
        rc = wait_ready(p, req_id);
    *seconds = (double)(clock_now() - start) / 1e9;
    return rc;
}

/* Twice: what the first frees the second uses, so it need not wait for a host that gives memory (a
 * virtual machine's takes longer for that than all that is measured here). */
static int pass_mounts(struct push *p, double *seconds)
{
    struct proc_cpu before[ENDS], after[ENDS];
    int rc = push_keys(p, seconds);

    if (!rc)
        rc = remove_keys(p);
    for (int end = 0; end < ENDS; end++)
        proc_cpu(p->pid[end], &before[end]);
    if (!rc)
        rc = push_keys(p, seconds);
    for (int end = 0; end < ENDS && !rc; end++) {
        proc_cpu(p->pid[end], &after[end]);
        proc_add(&p->cpu[end], &before[end], &after[end]);
    }
    return rc ? rc : remove_keys(p);
}

static int pass_ucx(struct push *p, double *seconds)
{
    double rate = 1;
    int rc = perftest_run(&(struct perftest){.sender = p->pid[PREFILL],
                                             .receiver = p->pid[DECODE],
                                             .host = p->peer,
                                             .size = p->size,
                                             .count = p->keys},
                          &rate);

    *seconds = (double)p->size * p->keys / rate;
    return rc;
}

/* --- a row --- */

static int warm_up(struct push *p)
{
    AUTO_FREE char *from = path_of(p->dir[PREFILL], "check-", p->serial);
    AUTO_FREE char *to = path_of(p->dir[DECODE], "check-", p->serial);
    double seconds;
    char req_id[64];
    int rc = key_write(from, p->size, "plain");

    snprintf(req_id, sizeof(req_id), "l2bench-%d-check-%u", (int)getpid(), p->serial);
    if (!rc && (setxattr(from, "user.l2fs.req_id", req_id, strlen(req_id), 0) ||
                setxattr(from, "user.l2fs.last_prefill", "1", 1, 0)))
        rc = bench_error("%s: %s; is the first mount a prefill mount?", from, strerror(errno));
    if (!rc)
        rc = wait_ready(p, req_id);
    if (!rc)
        rc = key_verify(to);
    unlink(from);
    unlink(to);
    return rc ? rc : pass_mounts(p, &seconds);
}

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return (a > b) - (a < b);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof(*values), compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static json_t *threads_of(const struct proc_cpu *cpu, double gb)
{
    json_t *out = json_object();
    double sum = 0;

    for (size_t i = 0; i < cpu->n; i++) {
        sum += cpu->threads[i].seconds / gb;
        json_object_set_new(out, cpu->threads[i].name, json_real(cpu->threads[i].seconds / gb));
    }
    json_object_set_new(out, "all", json_real(sum));
    return out;
}

static int keep(struct push *p, const char *name)
{
    unsigned n = p->b->rounds;
    AUTO_FREE double *ratios = calloc(n, sizeof(double));
    double bytes = (double)p->size * p->keys, gb = bytes * n / 1e9, mounts, ucx, ratio;

    if (!ratios)
        return bench_error("out of memory");
    for (unsigned i = 0; i < n; i++)
        ratios[i] = p->seconds[1][i] / p->seconds[0][i];
    ratio = median(ratios, n);
    mounts = median(p->seconds[0], n);
    ucx = median(p->seconds[1], n);
    json_array_append_new(
        p->b->rows,
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "name", name, "mounts",
                  bytes / mounts / 1e9, "ucx_perftest", bytes / ucx / 1e9, "ratio", ratio,
                  "ratio_low", ratios[n / 4], "ratio_high", ratios[3 * n / 4], "overhead_us",
                  (mounts - ucx) / p->keys * 1e6, "cpu_prefill", threads_of(&p->cpu[PREFILL], gb),
                  "cpu_decode", threads_of(&p->cpu[DECODE], gb)));
    return 0;
}

static int measure(struct push *p, const char *name)
{
    int rc = warm_up(p);

    memset(p->cpu, 0, sizeof(p->cpu));
    for (unsigned round = 0; round < p->b->rounds && !rc; round++) {
        for (unsigned turn = 0; turn < 2 && !rc; turn++) {
            unsigned i = (round + turn) % 2;

            rc = i ? pass_ucx(p, &p->seconds[1][round]) : pass_mounts(p, &p->seconds[0][round]);
        }
    }
    return rc ? rc : keep(p, name);
}

/* --- the table --- */

static double number(json_t *row, const char *name)
{
    return json_real_value(json_object_get(row, name));
}

static void print_cpu(const char *label, json_t *cpu)
{
    const char *name;
    json_t *value;

    printf("    %-8s %.2f s of processor time for each GB:", label, number(cpu, "all"));
    json_object_foreach(cpu, name, value)
    {
        if (strcmp(name, "all") != 0 && json_real_value(value) >= 0.005)
            printf(" %s %.2f", name, json_real_value(value));
    }
    putchar('\n');
}

static void print_rows(const struct push *p)
{
    json_t *row;
    size_t i;

    if (p->b->json) {
        json_t *all = json_pack("{s:s, s:i, s:O}", "bench", "pd", "rounds", (int)p->b->rounds,
                                "rows", p->b->rows);

        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(all);
        return;
    }
    printf("# written on %s until readable on %s; ucx_perftest -t tag_bw over tcp, in turns\n",
           p->mount[PREFILL], p->mount[DECODE]);
    printf("%-12s %12s %14s %6s  %-13s %s\n", "", "mounts", "ucx_perftest", "ratio", "middle half",
           "more for each key");
    json_array_foreach(p->b->rows, i, row)
    {
        printf("%-12s %7.2f GB/s %9.2f GB/s %6.2f  %5.2f - %-5.2f %.0f us\n",
               json_string_value(json_object_get(row, "name")), number(row, "mounts"),
               number(row, "ucx_perftest"), number(row, "ratio"), number(row, "ratio_low"),
               number(row, "ratio_high"), number(row, "overhead_us"));
        print_cpu("prefill", json_object_get(row, "cpu_prefill"));
        print_cpu("decode", json_object_get(row, "cpu_decode"));
    }
}

/* --- all of it --- */

static const struct {
    const char *name;
    uint64_t size;
} rows[] = {{"push-64M", 64 * MIB}, {"push-1M", MIB}, {"push-64K", 64 * KIB}};

static int run_rows(struct push *p)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(rows) && !rc; i++) {
        p->size = p->b->size ? p->b->size : rows[i].size;
        p->keys =
            p->b->files ? p->b->files : (unsigned)MIN(MAX(PASS_BYTES / p->size, 1), PASS_KEYS);
        rc = measure(p, p->b->size ? "push" : rows[i].name);
        if (p->b->size)
            break;
    }
    return rc;
}

/* The first of `.l2fs/peers`. */
static int find_peer(struct push *p)
{
    AUTO_FREE char *path = NULL;
    struct dirent *e;
    DIR *dir;

    if (asprintf(&path, "%s/.l2fs/peers", p->mount[PREFILL]) < 0)
        return bench_error("out of memory");
    dir = opendir(path);
    while (dir && !p->peer && (e = readdir(dir)))
        p->peer = e->d_name[0] == '.' ? NULL : strdup(e->d_name);
    if (dir)
        closedir(dir);
    return p->peer ? 0 : bench_error("%s names no peer; is the first mount a prefill mount?", path);
}

/* A directory of our own, which the prefill mount makes and the keys bring to the other. */
static int open_ends(struct push *p, const char *prefill, const char *decode)
{
    const char *given[ENDS] = {prefill, decode};
    char name[32];

    snprintf(name, sizeof(name), "l2bench.%d.", (int)getpid());
    for (int end = 0; end < ENDS; end++) {
        AUTO_FREE char *real = realpath(given[end], NULL);

        p->mount[end] = given[end];
        p->dir[end] = path_of(given[end], name, 0);
        p->pid[end] = real ? proc_find(real) : 0;
        p->seconds[end] = calloc(p->b->rounds, sizeof(double));
        if (!p->dir[end] || !p->seconds[end])
            return bench_error("out of memory");
    }
    return mkdir(p->dir[PREFILL], 0755) ? bench_error("%s: %s", p->dir[PREFILL], strerror(errno))
                                        : 0;
}

static void close_ends(struct push *p)
{
    if (p->keys)
        remove_keys(p);
    for (int end = 0; end < ENDS; end++) {
        if (p->dir[end])
            rmdir(p->dir[end]);
        free(p->dir[end]);
        free(p->seconds[end]);
    }
    free(p->peer);
}

int bench_pd(struct bench *b, const char *prefill, const char *decode)
{
    struct push p = {.b = b};
    int rc;

    b->rounds = b->rounds ? b->rounds : 5;
    key_fill(b->buf, b->piece, 0, 1);
    rc = open_ends(&p, prefill, decode);
    if (!rc)
        rc = find_peer(&p);
    if (!rc)
        rc = run_rows(&p);
    if (!rc)
        print_rows(&p);
    close_ends(&p);
    return rc;
}
