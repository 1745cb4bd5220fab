/* bench_disk.c - l2bench --report: keys that come from the fs tier, and go to it, beside fio on the same directory of the
 * same disk; what the checksum takes of that; an open that streams beside the load alone.
 *
 * A depth is how many keys l2fs has on their way at once, and how many requests of 1 MiB fio has.
 */
#include "bench_report.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "checksum.h"
#include "clock.h"

#define FIO_SECONDS 120

struct disk {
    struct report *r;
    struct stage stage;
    char *tier;     /* of the mount */
    unsigned depth; /* of fio */
};

/* --- fio --- */

/* The figure of the first job: its bytes through its time. */
static int fio_seconds(const char *json, const char *direction, double *seconds)
{
    const char *begin = strchr(json, '{'); /* warnings come before */
    json_t *all = begin ? json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    json_t *job = json_array_get(json_object_get(all, "jobs"), 0);
    json_t *figures = json_object_get(job, direction);

    *seconds = json_number_value(json_object_get(figures, "runtime")) / 1e3;
    json_decref(all);
    return *seconds > 0 ? 0 : bench_error("fio says nothing that can be read: %.200s", json);
}

static int run_fio(const struct disk *d, const char *direction, const char *files, double *seconds)
{
    char depth[32], size[32], rw[32];
    const char *const argv[] = {"fio",
                                "--name=l2bench",
                                rw,
                                depth,
                                size,
                                files,
                                "--bs=1M",
                                "--direct=1",
                                "--ioengine=io_uring",
                                "--thread",
                                "--file_service_type=sequential",
                                "--output-format=json",
                                "--end_fsync=1",
                                NULL};
    AUTO_FREE char *out = NULL;
    int rc;

    snprintf(rw, sizeof(rw), "--rw=%s", direction);
    snprintf(depth, sizeof(depth), "--iodepth=%u", d->depth);
    snprintf(size, sizeof(size), "--size=%llu",
             (unsigned long long)d->stage.size * d->stage.crew.items);
    rc = report_run(argv, FIO_SECONDS, &out);
    return rc ? rc : fio_seconds(out, direction, seconds);
}

/* --filename= of all files NAME-0, ... in a directory */
static char *file_list(const char *dir, const char *name, unsigned n)
{
    char *list = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&list, &len);

    if (!f)
        return NULL;
    fputs("--filename=", f);
    for (unsigned i = 0; i < n; i++)
        fprintf(f, "%s%s/%s-%u", i ? ":" : "", dir, name, i);
    return fclose(f) ? NULL : list;
}

static char *stored_dir(const struct disk *d, const struct side *mount)
{
    char *dir = NULL;

    return asprintf(&dir, "%s%s", d->tier, strrchr(mount->dir, '/')) < 0 ? NULL : dir;
}

/* --- load --- */

static int load_item(struct crew *c, unsigned thread, unsigned i)
{
    char name[32];
    int fd;

    snprintf(name, sizeof(name), "read-%u", i);
    fd = openat(c->side->dirfd, name, O_RDONLY | O_CLOEXEC);
    return fd < 0 || close(fd) ? side_failed(c->side, "open", name) : 0;
}

static const struct verb verb_load = {
    "load", "open of a key that is only in the tier, which loads it", load_item, false};

/* The other side is fio, on the files that the tier stored. */
static int pass_load(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct disk *d = row->arg;
    struct row inner = {.arg = &d->stage};
    struct side *mount = &b->sides[SIDE_MOUNT];
    AUTO_FREE char *dir = stored_dir(d, mount);
    AUTO_FREE char *files = dir ? file_list(dir, "read", d->stage.files) : NULL;

    if (!files)
        return bench_error("out of memory");
    if (stage_chill(&d->stage, mount, d->tier))
        return -1;
    return s == mount ? stage_pass(b, s, &inner, round, seconds)
                      : run_fio(d, "read", files, seconds);
}

/* The checksum of as many bytes, in memory: what it would add if nothing of it went beside the disk. */
static int pass_checksum(struct bench *b, struct side *s, struct row *row, int round,
                         double *seconds)
{
    struct disk *d = row->arg;
    uint64_t left = d->stage.size * d->stage.crew.items, start;
    static volatile uint32_t sink;
    uint32_t crc = 0;

    if (s == &b->sides[SIDE_MOUNT])
        return pass_load(b, s, row, round, seconds);
    start = clock_now();
    for (; left; left -= MIN(left, b->piece))
        crc = checksum(crc, b->buf, MIN(left, b->piece));
    sink = crc;
    *seconds = (double)(clock_now() - start) / 1e9;
    return sink == crc ? 0 : -1;
}

static int disk_stage(struct disk *d, const struct verb *verb, unsigned streams)
{
    uint64_t size = d->r->quick ? 4 * MIB : 16 * MIB;
    unsigned keys = d->r->quick ? 8 : 32;

    d->depth = streams;
    return stage_init(&d->stage, verb, size, streams, keys);
}

static struct subject subject_of(const struct disk *d, const char *name, const char *other)
{
    return (struct subject){.section = 'c',
                            .name = name,
                            .what = d->stage.verb->what,
                            .other = other,
                            .size = d->stage.size,
                            .streams = d->stage.crew.threads,
                            .work = (double)d->stage.size * d->stage.crew.items};
}

static int load_rows(struct disk *d)
{
    static const unsigned depths[] = {1, 2, 4, 8, 16, 32};
    struct subject subject;
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(depths) && !rc; i++) {
        if (d->r->quick && depths[i] != 1 && depths[i] != 8)
            continue;
        rc = disk_stage(d, &verb_load, depths[i]);
        subject = subject_of(d, "load", "fio, one job, as many requests of 1 MiB");
        rc = rc ? rc : report_row(d->r, &subject, pass_load, d);
        stage_fini(&d->stage);
    }
    rc = rc ? rc : disk_stage(d, &verb_load, 8);
    subject = subject_of(d, "checksum",
                         "crc32c of as many bytes alone: the ratio is its share of the load if "
                         "none of it is overlapped");
    rc = rc ? rc : report_row(d->r, &subject, pass_checksum, d);
    stage_fini(&d->stage);
    return rc;
}

/* --- store --- */

static int unlink_all(const char *dir, const char *name, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        AUTO_FREE char *path = NULL;

        if (asprintf(&path, "%s/%s-%u", dir, name, i) < 0 || (unlink(path) && errno != ENOENT))
            return bench_error("%s/%s-%u: %s", dir, name, i, strerror(errno));
    }
    return 0;
}

/* By the time the keys are stored; the tier is idle before, and they are gone after. */
static int store_keys(struct disk *d, struct bench *b, struct side *s, double *seconds)
{
    uint64_t start = clock_now();
    double written;
    int rc;

    d->stage.crew.side = s;
    d->stage.base = 0;
    rc = crew_run(&d->stage.crew, &written);
    for (unsigned i = 0; i < d->stage.crew.items && !rc; i++) {
        char name[32];

        snprintf(name, sizeof(name), "new-%u", i);
        rc = side_settle(s, name);
    }
    *seconds = (double)(clock_now() - start) / 1e9;
    return rc ? rc : unlink_all(s->dir, "new", d->stage.crew.items);
}

static int pass_store(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct disk *d = row->arg;
    AUTO_FREE char *dir = report_path(d->r, "disk");
    AUTO_FREE char *files = dir ? file_list(dir, "fio", d->stage.crew.items) : NULL;
    int rc;

    if (!files)
        return bench_error("out of memory");
    if (s == &b->sides[SIDE_MOUNT])
        return store_keys(d, b, s, seconds);
    rc = run_fio(d, "write", files, seconds);
    return unlink_all(dir, "fio", d->stage.crew.items) ? -1 : rc;
}

static int store_row(struct disk *d)
{
    struct subject subject;
    int rc = disk_stage(d, &verb_write, 2);

    d->depth = 32;
    subject = subject_of(d, "store", "fio, one job, 32 requests of 1 MiB, fsync");
    subject.what = "create+write+close of new keys, then fsync of each";
    rc = rc ? rc : report_row(d->r, &subject, pass_store, d);
    stage_fini(&d->stage);
    return rc;
}

/* --- one reader, with read-ahead --- */

static int reader_row(struct disk *d)
{
    struct subject subject;
    int rc = disk_stage(d, &verb_read, 1);

    d->depth = 32;
    subject = subject_of(d, "cold-read", "fio, one job, 32 requests of 1 MiB");
    subject.what = "one reader, keys that are only in the tier, with read-ahead";
    rc = rc ? rc : report_row(d->r, &subject, pass_load, d);
    stage_fini(&d->stage);
    return rc;
}

/* --- streamed opens --- */

static int stream_row(struct report *r)
{
    uint64_t size = r->quick ? 16 * MIB : GIB;
    const struct subject subject = {
        .section = 'c',
        .name = "stream",
        .what = "open+read of a key that is only in the tier, -o open=stream",
        .other = "its load alone, of which poll tells the end",
        .size = size,
        .streams = 1};
    int rc = report_open(r, "stream", 3 * size, "open=stream", "tmpfs");

    r->b.size = size;
    rc = rc ? rc : report_taken(r, &subject, bench_stream(&r->b));
    r->b.size = 0;
    return report_close(r, "stream") ? -1 : rc;
}

/* --- all of it --- */

static int fio_rows(struct report *r, struct disk *d)
{
    uint64_t l1 = r->quick ? 128 * MIB : 1536 * MIB;
    struct stage set;
    int rc = disk_stage(d, &verb_load, 1);

    set = d->stage;
    stage_fini(&d->stage);
    rc = rc ? rc : report_open(r, "cold", l1, "readahead_keys=0", "disk");
    rc = rc ? rc : stage_fill(&set, &r->b.sides[SIDE_MOUNT]);
    rc = rc ? rc : load_rows(d);
    rc = rc ? rc : store_row(d);
    rc = report_close(r, "cold") ? -1 : rc;
    rc = rc ? rc : report_open(r, "cold", l1, "", "disk");
    rc = rc ? rc : stage_fill(&set, &r->b.sides[SIDE_MOUNT]);
    rc = rc ? rc : reader_row(d);
    return report_close(r, "cold") ? -1 : rc;
}

int report_disk(struct report *r)
{
    const struct subject subject = {.section = 'c', .name = "load", .other = "fio"};
    struct disk d = {.r = r, .tier = report_path(r, "disk/cold-l2")};
    AUTO_FREE char *why = report_missing(r, "fio");
    int rc = 0;

    r->b.rounds = report_rounds(r, 9);
    if (why)
        rc = report_not_measured(r, &subject, why);
    else
        rc = fio_rows(r, &d);
    free(d.tier);
    return rc ? rc : stream_row(r);
}
