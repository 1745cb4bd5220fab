/* bench_names.c - l2bench --report: what a name costs: open and close, stat, readdir of large directories, and the scan
 * at the start of a mount beside find. The names of the large directories lie in the tier before it is mounted.
 */
#include "bench_report.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "bench_usage.h"
#include "clock.h"
#include "machine.h"

#define NAME_LEN 64
#define SCAN_NS (300 * NSEC_PER_SEC)
#define SMALL_KEYS 64

static double since(uint64_t start)
{
    return (double)(clock_now() - start) / 1e9;
}

/* --- directories of many names --- */

static int make_names(const char *top, unsigned names)
{
    AUTO_FREE char *path = NULL;
    AUTO_CLOSE int dir = -1;

    if (asprintf(&path, "%s/d%u", top, names) < 0)
        return bench_error("out of memory");
    if (mkdir(path, 0755) || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return bench_error("%s: %s", path, strerror(errno));
    for (unsigned i = 0; i < names && !bench_stop; i++) {
        char name[NAME_LEN];
        int fd;

        snprintf(name, sizeof(name), "key-%08u.bin", i);
        fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 || ftruncate(fd, 4096) || close(fd))
            return bench_error("%s/%s: %s", path, name, strerror(errno));
    }
    return bench_stop ? -1 : 0;
}

struct listing {
    const struct report *r;
    unsigned names, times;
};

/* The directory of that many names, on one side. */
static char *dir_of(const struct listing *l, const struct bench *b, const struct side *s)
{
    char *path = NULL;

    return asprintf(&path, "%s/d%u", l->r->dirs[s - b->sides], l->names) < 0 ? NULL : path;
}

static int list_once(const char *path, unsigned names)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    unsigned n = 0;

    while (dir && (e = readdir(dir)))
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n == names ? 0 : bench_error("%s lists %u names of %u", path, n, names);
}

static int pass_readdir(struct bench *b, struct side *s, struct row *row, int round,
                        double *seconds)
{
    struct listing *l = row->arg;
    AUTO_FREE char *path = dir_of(l, b, s);
    uint64_t start = clock_now();
    int rc = path ? 0 : bench_error("out of memory");

    for (unsigned i = 0; i < l->times && !rc; i++)
        rc = list_once(path, l->names);
    *seconds = since(start);
    return rc;
}

static int pass_stat(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct listing *l = row->arg;
    AUTO_FREE char *path = dir_of(l, b, s);
    AUTO_CLOSE int dir = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    uint64_t start = clock_now();

    for (unsigned n = 0; n < l->times * l->names; n++) {
        char name[NAME_LEN];
        struct stat st;

        snprintf(name, sizeof(name), "key-%08u.bin", n % l->names);
        if (fstatat(dir, name, &st, 0))
            return side_failed(s, "stat", name);
    }
    *seconds = since(start);
    return 0;
}

static int listing_rows(struct report *r, unsigned names)
{
    struct listing l = {.r = r, .names = names, .times = MAX(4000 / names, 1u)};
    struct subject subject = {
        .section = 'b', .other = "a plain tmpfs", .work = (double)names * l.times, .latency = true};
    char name[NAME_LEN], what[NAME_LEN];
    int rc;

    subject.name = name;
    subject.what = what;
    snprintf(name, sizeof(name), "readdir-%u", names);
    snprintf(what, sizeof(what), "opendir+readdir+closedir of %u names, a name", names);
    rc = report_row(r, &subject, pass_readdir, &l);
    snprintf(name, sizeof(name), "stat-%u", names);
    snprintf(what, sizeof(what), "stat of %u names, known to the kernel", names);
    return rc ? rc : report_row(r, &subject, pass_stat, &l);
}

/* --- open and close --- */

static int open_item(struct crew *c, unsigned thread, unsigned i)
{
    char name[NAME_LEN];
    int fd;

    snprintf(name, sizeof(name), "read-%u", i % SMALL_KEYS);
    fd = openat(c->side->dirfd, name, O_RDONLY | O_CLOEXEC);
    return fd < 0 || close(fd) ? side_failed(c->side, "open", name) : 0;
}

/* What FUSE alone takes: one request, which the daemon answers with what it has at hand. */
static int trip_item(struct crew *c, unsigned thread, unsigned i)
{
    struct stat st;

    if (!c->side->l2fs)
        return verb_read.item(c, thread, i);
    return fstatat(c->side->dirfd, "../.l2fs/status", &st, 0)
               ? side_failed(c->side, "stat", "../.l2fs/status")
               : 0;
}

/* Of keys in memory; `suffix` tells the mount. */
static int open_rows(struct report *r, const char *suffix)
{
    static const struct verb verb_open = {"open", "open+close", open_item, false};
    static const struct verb verb_trip = {"trip", "a FUSE request alone; tmpfs: open+read+close",
                                          trip_item, false};
    const struct verb *const verbs[] = {&verb_open, &verb_read, &verb_trip};
    struct stage set = {.size = 64 * KIB, .files = SMALL_KEYS};
    int rc = 0;

    for (int i = 0; i < SIDES && !rc; i++)
        rc = stage_fill(&set, &r->b.sides[i]);
    for (size_t i = 0; i < ARRAY_SIZE(verbs) && !rc; i++) {
        struct stage stage;
        char name[NAME_LEN], what[NAME_LEN];
        const struct subject subject = {.section = 'b',
                                        .name = name,
                                        .what = what,
                                        .other = "a plain tmpfs",
                                        .size = set.size,
                                        .streams = 1,
                                        .work = 512,
                                        .latency = true};

        snprintf(name, sizeof(name), "small-%s%s", verbs[i]->name, suffix);
        snprintf(what, sizeof(what), "%s%s", verbs[i]->what, *suffix ? " with -o io_uring" : "");
        rc = stage_init(&stage, verbs[i], set.size, 1, 512);
        stage.files = SMALL_KEYS;
        rc = rc ? rc : report_row(r, &subject, stage_pass, &stage);
        stage_fini(&stage);
    }
    for (int i = 0; i < SIDES && !rc; i++)
        rc = stage_clear(&set, &r->b.sides[i]);
    return rc;
}

static int uring_rows(struct report *r)
{
    const struct subject subject = {
        .section = 'b', .name = "small-read-uring", .what = "open+read+close with -o io_uring"};
    char enabled[8] = "";
    int rc;

    machine_read_line("/sys/module/fuse/parameters/enable_uring", enabled, sizeof(enabled));
    if (enabled[0] != 'Y')
        return report_not_measured(r, &subject,
                                   "/sys/module/fuse/parameters/enable_uring is not Y");
    rc = report_open(r, "uring", 256 * MIB, "io_uring", "tmpfs");
    rc = rc ? rc : open_rows(r, "-uring");
    return report_close(r, "uring") ? -1 : rc;
}

/* --- the scan of a start --- */

struct scan {
    struct report *r;
    const char *tier, *empty;
    uint64_t names;
    double rss[2];   /* bytes of the daemon: with no names, with all */
    double answered; /* seconds until the mount of all names answered, at most */
};

static int wait_counted(struct report *r, const char *mount, uint64_t names)
{
    uint64_t deadline = clock_deadline(SCAN_NS);
    AUTO_FREE char *path = NULL;

    if (asprintf(&path, "%s/%s/.l2fs/status", r->base, mount) < 0)
        return bench_error("out of memory");
    while (!bench_stop && clock_now() < deadline) {
        json_t *status = json_load_file(path, 0, NULL);
        json_t *objects = json_object_get(status, "objects");
        json_int_t files = json_integer_value(json_object_get(objects, "files"));

        json_decref(status);
        if (files >= (json_int_t)names)
            return 0;
        poll(NULL, 0, 1);
    }
    return bench_error("the mount does not know its %llu names", (unsigned long long)names);
}

static int mount_counted(struct scan *scan, const char *tier, uint64_t names, double *seconds,
                         double *rss)
{
    uint64_t start = clock_now();
    int rc = report_mount(scan->r, tier, "scan", 64 * MIB, "");

    scan->answered = names ? MAX(scan->answered, since(start)) : scan->answered;
    rc = rc ? rc : wait_counted(scan->r, "scan", names);
    *seconds = since(start);
    *rss = usage_private_bytes(scan->r, "scan");
    return report_unmount(scan->r, "scan") ? -1 : rc;
}

/* What a mount of an empty directory takes is taken off: it is no scan. */
static int pass_scan(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct scan *scan = row->arg;
    const char *const argv[] = {"find", scan->tier, "-type", "f", "-size", "+1G", NULL};
    AUTO_FREE char *out = NULL;
    uint64_t start = clock_now();
    double empty;
    int rc;

    if (s == &b->sides[SIDE_TMPFS]) {
        rc = report_run(argv, 300, &out);
        *seconds = since(start);
        return rc;
    }
    rc = mount_counted(scan, scan->empty, 0, &empty, &scan->rss[0]);
    rc = rc ? rc : mount_counted(scan, scan->tier, scan->names, seconds, &scan->rss[1]);
    *seconds = MAX(*seconds - empty, *seconds / 10); /* noise may make the empty one slower */
    return rc;
}

static int scan_row(struct report *r, const char *tier, uint64_t names)
{
    AUTO_FREE char *empty = report_path(r, "disk/empty-l2");
    struct scan scan = {.r = r, .tier = tier, .empty = empty, .names = names};
    char what[NAME_LEN + 64];
    const struct subject subject = {.section = 'b',
                                    .name = "scan",
                                    .what = what,
                                    .other = "find -size, which asks for the attributes of each",
                                    .work = (double)names,
                                    .latency = true};
    int rc;

    if (!empty || (mkdir(empty, 0755) && errno != EEXIST))
        return bench_error("%s: %s", empty ? empty : "empty-l2", strerror(errno));
    snprintf(what, sizeof(what), "mount until %llu names are known, less an empty mount; a name",
             (unsigned long long)names);
    rc = report_row(r, &subject, pass_scan, &scan);
    if (!rc)
        report_fact(r,
                    "until the mount of all those names answers, while they are still being "
                    "listed, at most",
                    scan.answered * 1000, "ms");
    if (!rc && scan.rss[1] > scan.rss[0])
        report_fact(r, "memory of the daemon for each name it knows, no byte of it in L1",
                    (scan.rss[1] - scan.rss[0]) / (double)names, "bytes");
    return rc;
}

/* --- all of it --- */

static int name_rows(struct report *r, const unsigned *counts, size_t n, uint64_t all)
{
    int rc = report_open(r, "names", 256 * MIB, "", "tmpfs");

    rc = rc ? rc : wait_counted(r, "names", all);
    rc = rc ? rc : open_rows(r, "");
    for (size_t i = 0; i < n && !rc; i++) {
        rc = make_names(r->dirs[SIDE_TMPFS], counts[i]);
        rc = rc ? rc : listing_rows(r, counts[i]);
    }
    return report_close(r, "names") ? -1 : rc;
}

int report_names(struct report *r)
{
    const unsigned counts[] = {1000, r->quick ? 3000 : 100000, 1000000};
    size_t n = r->quick ? 2 : 3;
    AUTO_FREE char *tier = report_path(r, "disk/names-l2");
    uint64_t all = 0;
    int rc = !tier || mkdir(tier, 0755) ? bench_error("%s: %s", tier, strerror(errno)) : 0;

    for (size_t i = 0; i < n && !rc; i++) {
        rc = make_names(tier, counts[i]);
        all += counts[i];
    }
    r->b.rounds = report_rounds(r, 11);
    rc = rc ? rc : name_rows(r, counts, n, all);
    rc = rc ? rc : uring_rows(r);
    return rc ? rc : scan_row(r, tier, all);
}
