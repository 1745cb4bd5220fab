/* bench_data.c - l2bench --report: keys of 4 KiB to 1 GiB in memory, by one and two streams, and more than memory
 * holds. The keys that are read are made before and read in turn; those that are written are new ones, whose storing
 * and removing is waited for outside of the time taken.
 */
#include "bench_report.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "clock.h"
#include "machine.h"

#define NAME_LEN 64
#define CALL_MOST MIB
#define EVICT_NS (60 * NSEC_PER_SEC)

/* --- what is done with one key --- */

static struct stage *stage_of(struct crew *c)
{
    return container_of(c, struct stage, crew);
}

static struct io io_of(struct crew *c, unsigned thread)
{
    uint64_t size = stage_of(c)->size;

    return (struct io){.side = c->side,
                       .buf = c->bufs[thread],
                       .piece = (size_t)MIN(size, CALL_MOST),
                       .size = size};
}

static void old_name(char name[NAME_LEN], const struct stage *stage, unsigned i)
{
    snprintf(name, NAME_LEN, "read-%u", i % stage->files);
}

static void new_name(char name[NAME_LEN], const struct stage *stage, unsigned i)
{
    snprintf(name, NAME_LEN, "new-%u", stage->base + i);
}

static int read_item(struct crew *c, unsigned thread, unsigned i)
{
    struct io io = io_of(c, thread);
    char name[NAME_LEN];

    old_name(name, stage_of(c), i);
    return io_read(&io, name, 0);
}

static int direct_item(struct crew *c, unsigned thread, unsigned i)
{
    struct io io = io_of(c, thread);
    char name[NAME_LEN];

    old_name(name, stage_of(c), i);
    return io_read(&io, name, c->side->direct ? O_DIRECT : 0);
}

static int mmap_item(struct crew *c, unsigned thread, unsigned i)
{
    struct io io = io_of(c, thread);
    char name[NAME_LEN];

    old_name(name, stage_of(c), i);
    return io_copy_out(&io, name);
}

static int write_item(struct crew *c, unsigned thread, unsigned i)
{
    struct io io = io_of(c, thread);
    char name[NAME_LEN];

    new_name(name, stage_of(c), i);
    return io_write(&io, name);
}

static int publish_item(struct crew *c, unsigned thread, unsigned i)
{
    struct io io = io_of(c, thread);
    char name[NAME_LEN], temporary[NAME_LEN + 8];

    new_name(name, stage_of(c), i);
    snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    if (io_write(&io, temporary))
        return -1;
    return renameat(c->side->dirfd, temporary, c->side->dirfd, name)
               ? side_failed(c->side, "rename", temporary)
               : 0;
}

const struct verb verb_read = {"read", "open+read+close", read_item, false};
const struct verb verb_write = {"write", "create+write+close of a new key", write_item, true};

static const struct verb verb_mmap = {"mmap", "open+mmap+copy out+munmap+close", mmap_item, false};
static const struct verb verb_direct = {"direct", "open(O_DIRECT)+read+close", direct_item, false};
static const struct verb verb_publish = {"publish", "create+write+close+rename", publish_item,
                                         true};
static const struct verb *const verbs[] = {&verb_read, &verb_mmap, &verb_direct, &verb_write,
                                           &verb_publish};

/* --- a pass over many --- */

int stage_init(struct stage *stage, const struct verb *verb, uint64_t size, unsigned streams,
               unsigned items)
{
    *stage = (struct stage){.verb = verb, .size = size, .files = items};
    stage->crew = (struct crew){.item = verb->item, .threads = streams, .items = items};
    stage->crew.bufs = crew_bufs(streams, (size_t)MIN(size, CALL_MOST));
    return stage->crew.bufs ? 0 : bench_error("out of memory");
}

void stage_fini(struct stage *stage)
{
    crew_bufs_free(stage->crew.bufs, stage->crew.threads);
    stage->crew.bufs = NULL;
}

static int drop_fresh(const struct stage *stage, struct side *s)
{
    char name[NAME_LEN];
    int rc = 0;

    for (unsigned i = 0; i < stage->crew.items && !rc; i++) {
        new_name(name, stage, i);
        rc = side_settle(s, name);
    }
    for (unsigned i = 0; i < stage->crew.items && !rc; i++) {
        new_name(name, stage, i);
        rc = side_remove(s, name);
    }
    return rc;
}

int stage_pass(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct stage *stage = row->arg;
    int rc;

    stage->crew.side = s;
    stage->base = b->serial;
    if (stage->verb->fresh)
        b->serial += stage->crew.items;
    rc = crew_run(&stage->crew, seconds);
    return rc || !stage->verb->fresh ? rc : drop_fresh(stage, s);
}

int stage_fill(const struct stage *stage, struct side *s)
{
    char path[PATH_MAX + NAME_LEN], name[NAME_LEN];
    int rc = 0;

    for (unsigned i = 0; i < stage->files && !rc; i++) {
        old_name(name, stage, i);
        snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        rc = bench_stop ? -1 : key_write(path, stage->size, "plain");
    }
    for (unsigned i = 0; i < stage->files && !rc; i++) {
        old_name(name, stage, i);
        rc = side_settle(s, name);
    }
    return rc;
}

int stage_clear(const struct stage *stage, struct side *s)
{
    char name[NAME_LEN];
    int rc = 0;

    for (unsigned i = 0; i < stage->files && !rc; i++) {
        old_name(name, stage, i);
        rc = side_remove(s, name);
    }
    return rc;
}

/* A close reaches the daemon a moment after it returned: a key may be in use for that long. */
static int evict(const char *path)
{
    uint64_t deadline = clock_deadline(EVICT_NS);

    while (setxattr(path, "user.l2fs.evict", "1", 1, 0)) {
        if (errno != EBUSY && errno != EAGAIN)
            return bench_error("cannot evict %s: %s", path, strerror(errno));
        if (bench_stop || clock_now() > deadline)
            return bench_error("%s stays in use", path);
        poll(NULL, 0, 1);
    }
    return 0;
}

/* What lies on the disk leaves the page cache. */
static int uncache(const char *path)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
        return bench_error("%s: %s", path, strerror(errno));
    return 0;
}

int stage_chill(const struct stage *stage, struct side *s, const char *tier)
{
    const char *base = strrchr(s->dir, '/') + 1;
    char path[PATH_MAX + NAME_LEN], name[NAME_LEN];
    int rc = 0;

    for (unsigned i = 0; i < stage->files && !rc; i++) {
        old_name(name, stage, i);
        snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        rc = s->l2fs ? evict(path) : 0;
        snprintf(path, sizeof(path), "%.4000s/%s/%s", tier, base, name);
        rc = rc ? rc : uncache(path);
    }
    return rc;
}

/* --- rows --- */

#define FRESH_MOST 64 /* the disk takes longer to store small keys than they take here */

struct scale {
    uint64_t size;
    unsigned files, items; /* a stream at least has one each */
    bool quick;
};

static const struct scale scales[] = {
    {4 * KIB, 64, 512, true}, {64 * KIB, 64, 512, true}, {MIB, 64, 128, true},
    {16 * MIB, 8, 8, true},   {64 * MIB, 4, 4, false},   {GIB, 2, 1, false},
};

static int data_row(struct report *r, const struct scale *scale, const struct verb *verb,
                    unsigned streams)
{
    unsigned most = verb->fresh ? FRESH_MOST : scale->items;
    unsigned items = MAX(r->quick ? scale->items / 8 : MIN(scale->items, most), streams);
    bool small = scale->size <= 64 * KIB; /* calls count, not bytes */
    struct stage stage;
    struct subject subject = {.section = 'a',
                              .name = verb->name,
                              .what = verb->what,
                              .other = "a plain tmpfs",
                              .size = scale->size,
                              .streams = streams,
                              .work = small ? items : (double)scale->size * items,
                              .latency = small};
    int rc = stage_init(&stage, verb, scale->size, streams, items);

    stage.files = scale->files;
    r->b.rounds = report_rounds(r, scale->size < GIB ? 11 : 9);
    if (!rc)
        rc = report_row(r, &subject, stage_pass, &stage);
    stage_fini(&stage);
    return rc;
}

static int data_scale(struct report *r, const struct scale *scale)
{
    struct stage set = {.size = scale->size, .files = scale->files};
    int rc = sides_describe(&r->b, scale->size * scale->files * 2);

    for (int i = 0; i < SIDES && !rc; i++)
        rc = stage_fill(&set, &r->b.sides[i]);
    for (size_t i = 0; i < ARRAY_SIZE(verbs) && !rc; i++) {
        for (unsigned streams = 1; streams <= 2 && !rc; streams++)
            rc = data_row(r, scale, verbs[i], streams);
    }
    for (int i = 0; i < SIDES && !rc; i++)
        rc = stage_clear(&set, &r->b.sides[i]);
    return rc;
}

/* Both sides hold the keys that are read and as many that are written. */
static bool fits(const struct scale *scale)
{
    return machine_memory_available() > scale->size * scale->files * 6;
}

int report_data(struct report *r)
{
    int rc = report_open(r, "data", r->quick ? 512 * MIB : 6 * GIB, "", "tmpfs");

    for (size_t i = 0; i < ARRAY_SIZE(scales) && !rc; i++) {
        const struct subject subject = {
            .section = 'a', .name = "all", .other = "a plain tmpfs", .size = scales[i].size};

        if (r->quick && !scales[i].quick)
            continue;
        rc = fits(&scales[i]) ? data_scale(r, &scales[i])
                              : report_not_measured(r, &subject, "too little memory is available");
    }
    return report_close(r, "data") ? -1 : rc;
}

/* --- more than memory holds --- */

/* The tmpfs has as much room as L1: its oldest key goes before the next comes, as l2fs does by itself. */
static int pass_sustained(struct bench *b, struct side *s, struct row *row, int round,
                          double *seconds)
{
    struct stage *stage = row->arg;
    struct io io = {.side = s, .buf = b->buf, .piece = b->piece, .size = stage->size};
    uint64_t start = clock_now();
    char name[NAME_LEN];
    int rc = 0;

    stage->base = b->serial;
    b->serial += stage->crew.items;
    for (unsigned i = 0; i < stage->crew.items && !rc; i++) {
        new_name(name, stage, i - stage->files);
        if (!s->l2fs && i >= stage->files)
            rc = side_remove(s, name);
        new_name(name, stage, i);
        rc = rc ? rc : io_write(&io, name);
    }
    *seconds = (double)(clock_now() - start) / 1e9;
    if (s->l2fs)
        return rc ? rc : drop_fresh(stage, s);
    for (unsigned i = stage->crew.items - stage->files; i < stage->crew.items && !rc; i++) {
        new_name(name, stage, i);
        rc = side_remove(s, name);
    }
    return rc;
}

int report_sustained(struct report *r)
{
    uint64_t size = r->quick ? 4 * MIB : 16 * MIB, l1 = 16 * size;
    unsigned keys = 160;
    struct stage stage = {.size = size, .files = 16, .crew = {.items = keys}};
    const struct subject subject = {.section = 'a',
                                    .name = "sustained",
                                    .what = "new keys of ten times L1 while they are stored",
                                    .other = "a plain tmpfs, the oldest key removed for each",
                                    .size = size,
                                    .streams = 1,
                                    .work = (double)size * keys};
    int rc = report_open(r, "sustained", l1, "", "tmpfs");

    r->b.rounds = report_rounds(r, 9);
    if (!rc)
        rc = report_row(r, &subject, pass_sustained, &stage);
    return report_close(r, "sustained") ? -1 : rc;
}
