/* fs_io.c - transfers of the fs adapter: cut into pieces, tried the fast way first.
 *
 * fs_ring.c has the io_uring pass; here is the blocking one, and what to do when the file system or
 * the kernel refuses O_DIRECT or io_uring: give it up for this directory, say so once, go on from
 * where the transfer was. Threads: any, each with its own transfer; the two switches are atomics.
 */
#include "config.h"

#include "fs_io.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "checksum.h"
#include "fs_ring.h"
#include "log.h"

#define BLOCKING_PIECES 8u

struct fs_io {
    char *name;
    _Atomic bool direct;
    _Atomic bool uring;
    struct fs_rings *rings; /* NULL: built without, or not wanted */
};

int fs_io_create(const char *name, bool direct, bool uring, struct fs_io **out)
{
    struct fs_io *io = calloc(1, sizeof(*io));

    if (!io)
        return -ENOMEM;
    io->name = strdup(name);
    if (!io->name) {
        free(io);
        return -ENOMEM;
    }
    atomic_init(&io->direct, direct);
    if (uring) {
        int err = fs_rings_create(&io->rings);

        atomic_init(&io->uring, !err);
        if (err)
            log_info("fs: %s: no io_uring (%s): reads and writes block their thread", name,
                     strerror(-err));
    }
    *out = io;
    return 0;
}

void fs_io_destroy(struct fs_io *io)
{
    if (!io)
        return;
    fs_rings_destroy(io->rings);
    free(io->name);
    free(io);
}

bool fs_io_direct(const struct fs_io *io)
{
    return atomic_load(&io->direct);
}

bool fs_io_uring(const struct fs_io *io)
{
    return atomic_load(&io->uring);
}

static void drop_direct(struct fs_io *io, int err)
{
    if (atomic_exchange(&io->direct, false))
        log_warn("fs: %s: the file system refuses O_DIRECT (%s): going on with buffered I/O; set "
                 "use_odirect=false to silence this",
                 io->name, strerror(-err));
}

static void drop_uring(struct fs_io *io, int err)
{
    if (atomic_exchange(&io->uring, false))
        log_warn("fs: %s: io_uring fails (%s): going on with blocking I/O; set io_uring=false to "
                 "silence this",
                 io->name, strerror(-err));
}

static bool refused(int err)
{
    return err == -EINVAL || err == -EOPNOTSUPP;
}

void fs_io_set_direct(struct fs_io *io, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (fs_io_direct(io) && fcntl(fd, F_SETFL, flags | O_DIRECT))
        drop_direct(io, -errno);
}

static bool is_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_DIRECT);
}

static void clear_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        fcntl(fd, F_SETFL, flags & ~O_DIRECT);
}

int fs_piece_start(struct fs_xfer *x, bool direct, uint64_t off, size_t max, unsigned slot,
                   struct fs_piece *p)
{
    p->off = off;
    p->len = (size_t)MIN(x->end - off, (uint64_t)max);
    p->io_len = direct ? (p->len + FS_IO_ALIGN - 1) & ~(size_t)(FS_IO_ALIGN - 1) : p->len;
    p->got = 0;
    p->ready = false;
    return x->memory(x, off, p->len, slot, &p->mem);
}

int fs_piece_move(const struct fs_xfer *x, bool direct, struct fs_piece *p)
{
    while (p->got < p->len) {
        size_t at = direct ? p->got & ~(size_t)(FS_IO_ALIGN - 1) : p->got;
        char *mem = (char *)p->mem + at;
        off_t off = (off_t)(p->off + at);
        ssize_t n = x->write ? pwrite(x->fd, mem, p->io_len - at, off)
                             : pread(x->fd, mem, p->io_len - at, off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (at + (size_t)n <= p->got)
            return x->write ? -EIO : -ENODATA;
        p->got = at + (size_t)n;
    }
    return 0;
}

int fs_piece_done(struct fs_xfer *x, const struct fs_piece *p)
{
    int err = x->done(x, p->off, p->len, p->mem);

    if (!err)
        x->off = p->off + p->len;
    return err;
}

static int run_blocking(struct fs_xfer *x, bool direct)
{
    int err = 0;

    while (!err && x->off < x->end) {
        struct fs_piece p;

        err =
            fs_piece_start(x, direct, x->off, MIN(x->depth, BLOCKING_PIECES) * FS_IO_PIECE, 0, &p);
        if (!err)
            err = fs_piece_move(x, direct, &p);
        if (!err)
            err = fs_piece_done(x, &p);
    }
    return err;
}

static int run_pass(struct fs_io *io, struct fs_xfer *x, bool direct, bool uring)
{
    int err;

    if (!uring)
        return run_blocking(x, direct);
    err = fs_rings_run(io->rings, x, direct);
    if (err != -ENOSYS)
        return err;
    drop_uring(io, err);
    return run_blocking(x, direct);
}

int fs_io_run(struct fs_io *io, struct fs_xfer *x)
{
    for (;;) {
        bool direct = is_direct(x->fd);
        bool uring = fs_io_uring(io);
        int err = run_pass(io, x, direct, uring);

        if (!refused(err))
            return err;
        if (direct) {
            drop_direct(io, err);
            clear_direct(x->fd);
        } else if (uring) {
            drop_uring(io, err);
        } else {
            return err;
        }
    }
}

bool fs_io_next_data(int fd, uint64_t size, uint64_t *start, uint64_t *end)
{
    off_t data, hole;

    if (*start >= size)
        return false;
    data = lseek(fd, (off_t)*start, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return false;
    if (data < 0)
        data = (off_t)*start;
    hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0)
        hole = (off_t)size;
    if ((uint64_t)data >= size)
        return false;
    *start = MAX(*start, (uint64_t)data & ~(uint64_t)(FS_IO_ALIGN - 1));
    *end = MIN(size, ((uint64_t)hole + FS_IO_ALIGN - 1) & ~(uint64_t)(FS_IO_ALIGN - 1));
    return true;
}

uint32_t fs_io_checksum_zeros(uint32_t crc, uint64_t len)
{
    static const char zeros[65536];

    while (len) {
        size_t n = (size_t)MIN(len, (uint64_t)sizeof(zeros));

        crc = checksum(crc, zeros, n);
        len -= n;
    }
    return crc;
}
