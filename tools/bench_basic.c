/* bench_basic.c - large files, one thread: read, mmap, O_DIRECT, create+write+close, open+close,
 * stat.
 *
 * The read rows use one set of files that both sides keep; every write pass makes new files, whose
 * storing and removing is waited for outside of the time taken. All calls move b->piece bytes
 * through one buffer, as a copy into staging memory of an engine does.
 */
#include "bench_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "clock.h"

#define OPENS 400
#define STATS 4000
#define NAME_LEN 64

static double since(uint64_t start)
{
    return (double)(clock_now() - start) / 1e9;
}

static struct io io_of(const struct bench *b, struct side *s)
{
    return (struct io){.side = s, .buf = b->buf, .piece = b->piece, .size = b->size};
}

static void read_name(char name[NAME_LEN], unsigned i)
{
    snprintf(name, NAME_LEN, "read-%u", i);
}

/* --- reading --- */

/* One file, the next of the set in every round. */
static int read_next(struct bench *b, struct side *s, int round, double *seconds,
                     int (*one)(struct bench *b, struct side *s, const char *name))
{
    char name[NAME_LEN];
    uint64_t start;
    int rc;

    read_name(name, (unsigned)MAX(round, 0) % b->files);
    start = clock_now();
    rc = one(b, s, name);
    *seconds = since(start);
    return rc;
}

static int read_one(struct bench *b, struct side *s, const char *name)
{
    struct io io = io_of(b, s);

    return io_read(&io, name, 0);
}

static int direct_one(struct bench *b, struct side *s, const char *name)
{
    struct io io = io_of(b, s);

    return io_read(&io, name, s->direct ? O_DIRECT : 0);
}

static int mmap_one(struct bench *b, struct side *s, const char *name)
{
    struct io io = io_of(b, s);

    return io_copy_out(&io, name);
}

/* What faulting alone costs: one byte of every page. */
static int touch_one(struct bench *b, struct side *s, const char *name)
{
    struct io io = io_of(b, s);
    const volatile unsigned char *map = io_map(&io, name);
    unsigned sum = 0;

    if (!map)
        return -1;
    for (uint64_t off = 0; off < b->size; off += 4096)
        sum += map[off];
    b->buf[0] = (unsigned char)sum;
    return munmap((void *)map, b->size);
}

static int pass_read(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    return read_next(b, s, round, seconds, read_one);
}

static int pass_mmap(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    return read_next(b, s, round, seconds, mmap_one);
}

static int pass_touch(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    return read_next(b, s, round, seconds, touch_one);
}

static int pass_direct(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    return read_next(b, s, round, seconds, direct_one);
}

/* --- names --- */

static int pass_open(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    uint64_t start = clock_now();
    char name[NAME_LEN];

    for (unsigned i = 0; i < OPENS; i++) {
        int fd;

        read_name(name, i % b->files);
        fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || close(fd))
            return side_failed(s, "open", name);
    }
    *seconds = since(start);
    return 0;
}

static int pass_stat(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    uint64_t start = clock_now();
    char name[NAME_LEN];
    struct stat st;

    for (unsigned i = 0; i < STATS; i++) {
        read_name(name, i % b->files);
        if (fstatat(s->dirfd, name, &st, 0))
            return side_failed(s, "stat", name);
    }
    *seconds = since(start);
    return 0;
}

/* --- writing --- */

static int write_timed(struct bench *b, struct side *s, const char *name, double *seconds)
{
    struct io io = io_of(b, s);
    uint64_t start = clock_now();
    int rc = io_write(&io, name);

    *seconds = since(start);
    return rc;
}

/* The file must be what `buf` was while it was written, seen piece by piece. */
static int check_written(struct bench *b, struct side *s, const char *name, uint64_t seed)
{
    AUTO_CLOSE int fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return side_failed(s, "open", name);
    for (uint64_t off = 0; off < b->size; off += b->piece) {
        size_t len = (size_t)MIN(b->piece, b->size - off);

        if (pread(fd, b->buf, len, (off_t)off) != (ssize_t)len)
            return side_failed(s, "read", name);
        if (!key_same(b->buf, len, 0, seed))
            return bench_error("%s/%s is not what was written", s->dir, name);
    }
    return 0;
}

static int pass_write(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    uint64_t seed = ++b->serial;
    char name[NAME_LEN];
    int rc;

    snprintf(name, sizeof(name), "write-%u", b->serial);
    key_fill(b->buf, b->piece, 0, seed);
    rc = write_timed(b, s, name, seconds);
    if (!rc)
        rc = side_settle(s, name);
    if (!rc && round < 0)
        rc = check_written(b, s, name, seed);
    if (!rc)
        rc = side_remove(s, name);
    return rc;
}

/* --- all of it --- */

static int make_file(struct bench *b, struct side *s, unsigned i)
{
    char path[PATH_MAX + NAME_LEN], name[NAME_LEN];
    int rc;

    read_name(name, i);
    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    rc = key_write(path, b->size, "plain");
    if (!rc)
        rc = side_settle(s, name);
    return rc ? rc : key_verify(path);
}

/* In turns, so that neither side gets the better memory. */
static int make_files(struct bench *b)
{
    int rc = 0;

    for (unsigned i = 0; i < SIDES * b->files && !rc; i++)
        rc = make_file(b, &b->sides[(i + i / SIDES) % SIDES], i / SIDES);
    return rc;
}

static const struct basic {
    const char *name;
    bench_pass *pass;
    unsigned ops; /* 0: bytes count */
} basics[] = {
    {"read", pass_read, 0},     {"mmap", pass_mmap, 0},   {"touch", pass_touch, 0},
    {"direct", pass_direct, 0}, {"write", pass_write, 0}, {"open", pass_open, OPENS},
    {"stat", pass_stat, STATS},
};

static int measure(struct bench *b, const struct basic *basic)
{
    struct row row;
    int rc = row_init(&row, b, basic->name);

    row.latency = basic->ops != 0;
    row.work = basic->ops ? basic->ops : (double)b->size;
    if (!rc)
        rc = row_measure(b, &row, basic->pass);
    row_fini(&row);
    return rc;
}

int bench_basic(struct bench *b)
{
    char name[NAME_LEN];
    int rc;

    b->size = b->size ? b->size : 64 * MIB;
    b->files = b->files ? b->files : 4;
    rc = sides_describe(b, b->size * (b->files + 1));
    if (!rc)
        rc = make_files(b);
    for (size_t i = 0; i < ARRAY_SIZE(basics) && !rc; i++)
        rc = measure(b, &basics[i]);
    for (unsigned i = 0; i < b->files && !rc; i++) {
        read_name(name, i);
        side_check_resident(b, &b->sides[SIDE_MOUNT], name);
    }
    return rc;
}
