/* bench_stream.c - a key that is only in the tiers: reading it to the end, beside its load alone, which
 * an O_NONBLOCK open begins and poll sees the end of. Both on the mount, in turn.
 */
#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "clock.h"
#include "units.h"

#define NAME "stream-0"
#define SIZE GIB
#define LOAD_MS 120000

static int failed(const struct bench *b, const char *what)
{
    return bench_error("%s of %s/" NAME ": %s", what, b->sides[SIDE_MOUNT].dir, strerror(errno));
}

static int evict(const struct bench *b)
{
    char path[PATH_MAX + sizeof(NAME) + 1];

    snprintf(path, sizeof(path), "%s/" NAME, b->sides[SIDE_MOUNT].dir);
    return setxattr(path, "user.l2fs.evict", "1", 1, 0) ? failed(b, "eviction") : 0;
}

static int open_key(const struct bench *b, int flags)
{
    return openat(b->sides[SIDE_MOUNT].dirfd, NAME, O_RDONLY | O_CLOEXEC | flags);
}

static int read_to_the_end(struct bench *b, uint64_t size)
{
    AUTO_CLOSE int fd = open_key(b, 0);
    ssize_t n;

    if (fd < 0)
        return failed(b, "open");
    while (size && (n = read(fd, b->buf, b->piece)) > 0)
        size -= (uint64_t)n;
    return size ? failed(b, "read") : 0;
}

static int load_alone(struct bench *b)
{
    AUTO_CLOSE int fd = open_key(b, O_NONBLOCK);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (fd < 0)
        return failed(b, "open");
    errno = ETIMEDOUT;
    return poll(&p, 1, LOAD_MS) == 1 && p.revents == POLLIN ? 0 : failed(b, "load");
}

static int pass_stream(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    uint64_t start;
    int rc = evict(b);

    (void)round;
    start = clock_now();
    if (!rc)
        rc = s == &b->sides[SIDE_MOUNT] ? read_to_the_end(b, (uint64_t)row->work) : load_alone(b);
    *seconds = (double)(clock_now() - start) / 1e9;
    return rc;
}

static int make_key(struct bench *b, uint64_t size)
{
    struct side *s = &b->sides[SIDE_MOUNT];
    char path[PATH_MAX + sizeof(NAME) + 1];
    int rc;

    snprintf(path, sizeof(path), "%s/" NAME, s->dir);
    rc = key_write(path, size, "plain");
    if (!rc)
        rc = side_settle(s, NAME);
    if (!rc)
        rc = evict(b);
    return rc ? rc : key_verify(path);
}

int bench_stream(struct bench *b)
{
    uint64_t size = b->size ? b->size : MIN(SIZE, side_l1(b) / 2);
    char text[32], name[40];
    struct row row;
    int rc;

    if (!b->sides[SIDE_MOUNT].l2fs)
        return bench_error("stream needs an l2fs mount: only that has keys that are not in memory");
    rc = sides_describe(b, size);
    bench_note(b, "stream: in place of the tmpfs stands the load alone, without a reader; only a "
                  "mount with open=stream reads meanwhile");
    snprintf(name, sizeof(name), "stream-%s", units_format_size(size, text, sizeof(text)));
    if (row_init(&row, b, name))
        rc = -1;
    row.work = (double)size;
    if (!rc)
        rc = make_key(b, size);
    if (!rc)
        rc = row_measure(b, &row, pass_stream);
    if (!rc)
        rc = side_remove(&b->sides[SIDE_MOUNT], NAME);
    row_fini(&row);
    return rc;
}
