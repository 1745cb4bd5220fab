/* l2bench.c - measures a mount against a plain tmpfs: what a row is and how it is taken stands in
 * bench.h; this file reads the command line and runs what it asks for.
 *
 * A signal ends the run at the next pass, so that what was written is removed.
 */
#include "bench_pd.h"
#include "bench_report.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "units.h"

enum { EXIT_BELOW = 1, EXIT_WRONG_USE = 2, EXIT_NOT_MEASURED = 3 };

static const char usage[] =
    "usage: l2bench MOUNT [OPTION]...       measure a mount against a plain tmpfs\n"
    "       l2bench --fill SIZE [--as STYLE] FILE...   write key files\n"
    "       l2bench --verify FILE...        read them through read, mmap and O_DIRECT, compare\n"
    "       l2bench --pd PREFILL DECODE     what is written on one mount until it is on the other\n"
    "       l2bench --cost [KEYS]           what a key costs among 10000, 100000, ... KEYS others\n"
    "       l2bench --report BASE OUT       all rows of a report, in what tools/l2bench --report "
    "made\n"
    "\n"
    "  --bench NAME    basic (default), load, store, lookup, cold, stream, all\n"
    "  --tmpfs DIR     what to compare with (default /dev/shm)\n"
    "  --size SIZE     of a file (basic: 64M)\n"
    "  --files N       how many files in a pass (basic: 4)\n"
    "  --threads N     load, store, lookup, cold: how many threads\n"
    "  --rounds R      pairs of measurements (basic: 25, others 9)\n"
    "  --check NAME=RATIO[,...]   exit 1 when a ratio is below, e.g. read=0.95,write=1.5\n"
    "  --json          JSON instead of a table\n"
    "  --as STYLE      write as plain, lmcache, sglang or vllm does\n"
    "  --quick         report: few rounds, small sizes\n"
    "  --only LETTERS  report: these sections, such as ae\n"
    "  -h, -V          this text; version\n"
    "\n"
    "basic: read, mmap (copied out), touch (mmap, one byte of a page), direct (O_DIRECT), write\n"
    "(create+write+close of new files), open (open+close), stat. load, store: 64K, 1.07M, 2M and\n"
    "32M files with 1 and 16 threads. lookup: access(2) of keys, nine of ten missing. cold: load\n"
    "after eviction, from the tiers. stream: one such file (1G, at most half of l1) read to its "
    "end,\n"
    "beside its load alone.\n"
    "pd: push-64M, push-1M, push-64K (--size, --files: push) against ucx_perftest tag_bw over\n"
    "tcp between the network namespaces of the two mounts; 5 rounds.\n"
    "exit: 0, 1 below a limit or files differ, 2 wrong usage, 3 could not be measured\n";

static const struct benchmark {
    const char *name, *alias;
    int (*run)(struct bench *b);
    unsigned rounds;
    bool l2fs_only;
} benchmarks[] = {
    {"basic", "basic", bench_basic, 25},
    {"load", "prefix-load", bench_prefix_load, 9},
    {"store", "store-burst", bench_store_burst, 9},
    {"lookup", "lookup-storm", bench_lookup_storm, 9},
    {"cold", "cold-load", bench_cold_load, 9, true},
    {"stream", "stream", bench_stream, 9, true},
};

volatile sig_atomic_t bench_stop;
static char last_error[512];

int bench_error(const char *fmt, ...)
{
    va_list ap;

    flockfile(stderr);
    va_start(ap, fmt);
    vsnprintf(last_error, sizeof(last_error), fmt, ap);
    va_end(ap);
    fprintf(stderr, "l2bench: %s\n", last_error);
    funlockfile(stderr);
    return -1;
}

const char *bench_last_error(void)
{
    return last_error;
}

static void on_signal(int signo)
{
    bench_stop = signo;
}

/* --- the command line --- */

enum task {
    TASK_MEASURE,
    TASK_FILL,
    TASK_VERIFY,
    TASK_COST,
    TASK_PD,
    TASK_REPORT,
    TASK_HELP,
    TASK_VERSION
};

struct command {
    enum task task;
    struct bench bench;
    struct report report;
    const char *check, *style;
    uint64_t fill;
    unsigned keys;
};

static int take_number(const char *name, const char *value, unsigned *out)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (*end || end == value || n < 1 || n > 1000000)
        return bench_error("--%s: \"%s\": expected a number from 1 to 1000000", name, value);
    *out = (unsigned)n;
    return 0;
}

static int take_size(const char *name, const char *value, uint64_t *out)
{
    if (units_parse_size(value, 0, out) || *out < 1 || *out > 64 * GIB)
        return bench_error("--%s: \"%s\": expected a size such as 64M", name, value);
    return 0;
}

static int take_keys(int argc, char *const argv[], unsigned *out)
{
    *out = 100000;
    return argc ? take_number("cost", argv[0], out) : 0;
}

static int take_bench(const char *value, const char **out)
{
    for (size_t i = 0; i < ARRAY_SIZE(benchmarks); i++) {
        if (!strcmp(value, benchmarks[i].name) || !strcmp(value, benchmarks[i].alias)) {
            *out = benchmarks[i].name;
            return 0;
        }
    }
    if (strcmp(value, "all") != 0)
        return bench_error("--bench: \"%s\": expected basic, load, store, lookup, cold, stream "
                           "or all",
                           value);
    *out = "all";
    return 0;
}

static int take_option(struct command *c, const char *name)
{
    struct bench *b = &c->bench;

    if (!strcmp(name, "bench"))
        return take_bench(optarg, &b->name);
    if (!strcmp(name, "tmpfs"))
        b->tmpfs = optarg;
    if (!strcmp(name, "size"))
        return take_size(name, optarg, &b->size);
    if (!strcmp(name, "files"))
        return take_number(name, optarg, &b->files);
    if (!strcmp(name, "threads"))
        return take_number(name, optarg, &b->threads);
    if (!strcmp(name, "rounds"))
        return take_number(name, optarg, &b->rounds);
    if (!strcmp(name, "json"))
        b->json = true;
    if (!strcmp(name, "verify"))
        c->task = TASK_VERIFY;
    if (!strcmp(name, "cost"))
        c->task = TASK_COST;
    if (!strcmp(name, "pd"))
        c->task = TASK_PD;
    if (!strcmp(name, "report"))
        c->task = TASK_REPORT;
    if (!strcmp(name, "quick"))
        c->report.quick = true;
    if (!strcmp(name, "only"))
        c->report.only = optarg;
    if (!strcmp(name, "check")) {
        c->check = optarg;
        return rows_check_syntax(optarg);
    }
    if (!strcmp(name, "fill")) {
        c->task = TASK_FILL;
        return take_size(name, optarg, &c->fill);
    }
    if (!strcmp(name, "as")) {
        c->style = optarg;
        if (!key_style_known(optarg))
            return bench_error("--as: \"%s\": expected plain, lmcache, sglang or vllm", optarg);
    }
    return 0;
}

static int read_options(int argc, char *argv[], struct command *c)
{
    static const struct option options[] = {
        {"bench", required_argument, NULL, 1},
        {"tmpfs", required_argument, NULL, 1},
        {"size", required_argument, NULL, 1},
        {"files", required_argument, NULL, 1},
        {"threads", required_argument, NULL, 1},
        {"rounds", required_argument, NULL, 1},
        {"check", required_argument, NULL, 1},
        {"json", no_argument, NULL, 1},
        {"fill", required_argument, NULL, 1},
        {"as", required_argument, NULL, 1},
        {"verify", no_argument, NULL, 1},
        {"help", no_argument, NULL, 'h'},
        {"cost", no_argument, NULL, 1},
        {"pd", no_argument, NULL, 1},
        {"report", no_argument, NULL, 1},
        {"quick", no_argument, NULL, 1},
        {"only", required_argument, NULL, 1},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    int opt, index = 0;

    while ((opt = getopt_long(argc, argv, "hV", options, &index)) != -1) {
        switch (opt) {
        case 'h': c->task = TASK_HELP; return 0;
        case 'V': c->task = TASK_VERSION; return 0;
        case 1:
            if (take_option(c, options[index].name))
                return -1;
            break;
        default: return -1;
        }
    }
    if (c->task == TASK_COST)
        return take_keys(argc - optind, argv + optind, &c->keys);
    if (optind >= argc)
        return bench_error("what to measure is missing; l2bench -h says how");
    if (c->task == TASK_REPORT && argc - optind != 2)
        return bench_error(
            "--report takes the directory that tools/l2bench prepared, and where to write");
    if (c->task == TASK_PD && argc - optind != 2)
        return bench_error("--pd takes two mounts, of prefill and of decode");
    if (c->task == TASK_MEASURE && optind + 1 < argc)
        return bench_error("one mount at a time; \"%s\" is too much", argv[optind + 1]);
    return 0;
}

/* --- running --- */

static int run_benchmarks(struct bench *b)
{
    const struct bench given = *b;
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(benchmarks) && !rc; i++) {
        bool all = !strcmp(b->name, "all");

        if (!all && strcmp(b->name, benchmarks[i].name) != 0)
            continue;
        if (all && benchmarks[i].l2fs_only && !b->sides[SIDE_MOUNT].l2fs)
            continue;
        b->size = given.size;
        b->files = given.files;
        b->rounds = given.rounds ? given.rounds : benchmarks[i].rounds;
        rc = benchmarks[i].run(b);
    }
    return rc;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_signal};

    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
}

static int measure_mount(struct command *c, const char *mount)
{
    struct bench *b = &c->bench;
    int rc;

    b->mount = mount;
    rc = sides_open(b);
    if (!rc)
        rc = run_benchmarks(b);
    sides_close(b);
    if (!rc)
        rows_print(b);
    return rc;
}

/* mount.l2fs of the same build. */
static char *daemon_beside_us(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *out = NULL;

    path[MAX(n, 0)] = '\0';
    for (int up = 0; up < 2; up++)
        *(strrchr(path, '/') ?: path) = '\0';
    return asprintf(&out, "%s/mount.l2fs", path) < 0 ? NULL : out;
}

static int write_report(struct command *c, char *const dirs[])
{
    struct report *r = &c->report;
    int rc;

    r->b = c->bench;
    r->base = dirs[0];
    r->daemon = daemon_beside_us();
    rc = r->daemon ? bench_report(r, dirs[1]) : bench_error("out of memory");
    free(r->daemon);
    return rc;
}

static int run_task(struct command *c, char *const args[])
{
    switch (c->task) {
    case TASK_PD: return bench_pd(&c->bench, args[0], args[1]);
    case TASK_REPORT: return write_report(c, args);
    default: return measure_mount(c, args[0]);
    }
}

static int measure(struct command *c, char *const args[])
{
    struct bench *b = &c->bench;
    int rc = 0;

    b->rows = json_array();
    b->notes = json_array();
    if (posix_memalign((void **)&b->buf, 4096, b->piece)) {
        b->buf = NULL;
        rc = bench_error("out of memory");
    }
    catch_signals();
    if (!rc)
        rc = run_task(c, args);
    rc = rc ? EXIT_NOT_MEASURED : 0;
    if (!rc && c->check)
        rc = rows_check(b, c->check);
    json_decref(b->rows);
    json_decref(b->notes);
    free(b->buf);
    return rc < 0 ? EXIT_WRONG_USE : rc;
}

static int each_file(const struct command *c, char *const files[])
{
    int rc = 0;

    for (; *files; files++) {
        if (c->task == TASK_FILL ? key_write(*files, c->fill, c->style) : key_verify(*files))
            rc = 1;
    }
    return rc;
}

int main(int argc, char *argv[])
{
    struct command c = {.style = "plain",
                        .bench = {.name = "basic", .tmpfs = "/dev/shm", .piece = MIB}};

    if (read_options(argc, argv, &c))
        return EXIT_WRONG_USE;
    switch (c.task) {
    case TASK_HELP: fputs(usage, stdout); return 0;
    case TASK_VERSION: puts("l2bench " PACKAGE_VERSION); return 0;
    case TASK_COST:
        catch_signals();
        return bench_cost(c.keys, c.bench.json) ? EXIT_NOT_MEASURED : 0;
    case TASK_PD:
    case TASK_REPORT:
    case TASK_MEASURE: return measure(&c, argv + optind);
    default: return each_file(&c, argv + optind);
    }
}
