/* bench_usage.c - l2bench --report: processor time for each byte, of the daemon and the caller together, beside a caller
 * alone on a tmpfs or on the disk; and the memory that keys take beside their bytes.
 */
#include "bench_usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "bench_pd.h"

static double clock_seconds(clockid_t clock)
{
    struct timespec t = {0};

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double usage_cpu_seconds(int daemon_pid)
{
    double own = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    clockid_t theirs;

    if (!daemon_pid || clock_getcpuclockid(daemon_pid, &theirs))
        return own;
    return own + clock_seconds(theirs);
}

double usage_private_bytes(struct report *r, const char *mount)
{
    AUTO_FREE char *dir = report_path(r, mount);
    int pid = dir ? proc_find(dir) : 0;
    unsigned long long kib = 0;
    char path[64], line[256];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = pid ? fopen(path, "re") : NULL;
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            break;
    }
    if (f)
        fclose(f);
    return (double)kib * 1024;
}

/* --- processor time --- */

struct usage {
    struct stage stage;
    const char *tier; /* where keys are read from the disk, or NULL */
    int pid;
};

/* The same pass, in processor time: storing and removing is part of what a new key costs. */
static int pass_cpu(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct usage *u = row->arg;
    struct row inner = {.arg = &u->stage};
    int pid = s->l2fs ? u->pid : 0, rc;
    double begun;

    rc = u->tier ? stage_chill(&u->stage, s, s->l2fs ? u->tier : b->tmpfs) : 0;
    begun = usage_cpu_seconds(pid);
    rc = rc ? rc : stage_pass(b, s, &inner, round, seconds);
    *seconds = usage_cpu_seconds(pid) - begun;
    return rc;
}

static int cpu_row(struct report *r, struct usage *u, const struct verb *verb,
                   const struct subject *subject)
{
    int rc = stage_init(&u->stage, verb, subject->size, 1,
                        (unsigned)(subject->work * MIB / subject->size));

    rc = rc ? rc : report_row(r, subject, pass_cpu, u);
    stage_fini(&u->stage);
    return rc;
}

#define USAGE_KEY (16 * MIB)

/* Rows whose unit is the microsecond for each MiB. */
static int memory_rows(struct report *r, struct usage *u, double mib)
{
    const struct verb *const verbs[] = {&verb_write, &verb_read};
    static const char *const names[] = {"cpu-write", "cpu-read"};
    static const char *const whats[] = {"processor time of a MiB written, stored and removed",
                                        "processor time of a MiB read from memory"};
    struct stage set = {.size = USAGE_KEY, .files = (unsigned)(mib * MIB / USAGE_KEY)};
    int rc = 0;

    for (int i = 0; i < SIDES && !rc; i++)
        rc = stage_fill(&set, &r->b.sides[i]);
    for (size_t i = 0; i < ARRAY_SIZE(verbs) && !rc; i++) {
        const struct subject subject = {.section = 'f',
                                        .name = names[i],
                                        .what = whats[i],
                                        .other = "a plain tmpfs, nothing stored",
                                        .size = USAGE_KEY,
                                        .work = mib,
                                        .latency = true};
        rc = cpu_row(r, u, verbs[i], &subject);
    }
    return rc;
}

static int load_row(struct report *r, struct usage *u, double mib)
{
    const struct subject subject = {.section = 'f',
                                    .name = "cpu-load",
                                    .what = "processor time of a MiB loaded, checked and read",
                                    .other = "read of a plain directory, not in the page cache",
                                    .size = USAGE_KEY,
                                    .work = mib,
                                    .latency = true};
    struct stage set = {.size = USAGE_KEY, .files = (unsigned)(mib * MIB / USAGE_KEY)};
    AUTO_FREE char *tier = report_path(r, "disk/usage-l2");
    int rc = 0;

    u->tier = tier;
    for (int i = 0; i < SIDES && !rc; i++)
        rc = stage_fill(&set, &r->b.sides[i]);
    rc = rc ? rc : cpu_row(r, u, &verb_read, &subject);
    u->tier = NULL;
    return rc;
}

/* --- memory --- */

/* What a key of `size` bytes in memory takes in the daemon beside its bytes. */
static int memory_fact(struct report *r, uint64_t size, unsigned keys, const char *what,
                       double divisor, const char *unit)
{
    struct stage set = {.size = size, .files = keys};
    double before = usage_private_bytes(r, "usage");
    int rc = stage_fill(&set, &r->b.sides[SIDE_MOUNT]);

    if (rc)
        return rc;
    report_fact(r, what, MAX(usage_private_bytes(r, "usage") - before, 0.0) / divisor, unit);
    return stage_clear(&set, &r->b.sides[SIDE_MOUNT]);
}

static int memory_facts(struct report *r)
{
    unsigned small = r->quick ? 500 : 4000, large = r->quick ? 64 : 1000;
    int rc;

    report_fact(r, "memory of the daemon after its start", usage_private_bytes(r, "usage") / MIB,
                "MiB");
    rc = memory_fact(r, 4 * KIB, small,
                     "memory of the daemon for each key of 4 KiB in L1, beside the key", small,
                     "bytes");
    return rc ? rc
              : memory_fact(
                    r, MIB, large,
                    "memory of the daemon for each GB of keys of 1 MiB in L1, beside the keys",
                    (double)large * MIB / 1e9, "bytes");
}

/* --- all of it --- */

static int on_tmpfs(struct report *r, double mib)
{
    struct usage u = {0};
    int rc = report_open(r, "usage", 2 * GIB, "", "tmpfs");

    rc = rc ? rc : memory_facts(r);
    u.pid = rc ? 0 : proc_find(r->dirs[SIDE_MOUNT]);
    rc = rc ? rc : memory_rows(r, &u, mib);
    return report_close(r, "usage") ? -1 : rc;
}

static int on_disk(struct report *r, double mib)
{
    struct usage u = {0};
    int rc = report_open(r, "usage", 2 * GIB, "", "disk");

    u.pid = rc ? 0 : proc_find(r->dirs[SIDE_MOUNT]);
    rc = rc ? rc : load_row(r, &u, mib);
    return report_close(r, "usage") ? -1 : rc;
}

int report_usage(struct report *r)
{
    double mib = r->quick ? 32 : 256;
    int rc;

    r->b.rounds = report_rounds(r, 9);
    rc = on_tmpfs(r, mib);
    return rc ? rc : on_disk(r, mib);
}
