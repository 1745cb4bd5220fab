/* bench_io.c - one key through one call chain of an engine, in calls of io->piece bytes through io->buf. */
#include "bench_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

int side_failed(const struct side *s, const char *what, const char *name)
{
    return bench_error("%s of %s/%s: %s", what, s->dir, name, strerror(errno));
}

int io_read(const struct io *io, const char *name, int flags)
{
    AUTO_CLOSE int fd = openat(io->side->dirfd, name, O_RDONLY | O_CLOEXEC | flags);
    uint64_t left = io->size;

    if (fd < 0)
        return side_failed(io->side, "open", name);
    while (left) {
        ssize_t n = read(fd, io->buf, (size_t)MIN(io->piece, left));

        if (n <= 0) {
            errno = n ? errno : ENODATA;
            return side_failed(io->side, "read", name);
        }
        left -= (uint64_t)n;
    }
    return 0;
}

const unsigned char *io_map(const struct io *io, const char *name)
{
    AUTO_CLOSE int fd = openat(io->side->dirfd, name, O_RDONLY | O_CLOEXEC);
    void *map;

    if (fd < 0) {
        side_failed(io->side, "open", name);
        return NULL;
    }
    map = mmap(NULL, io->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        side_failed(io->side, "mmap", name);
        return NULL;
    }
    return map;
}

int io_copy_out(const struct io *io, const char *name)
{
    const unsigned char *map = io_map(io, name);

    if (!map)
        return -1;
    for (uint64_t off = 0; off < io->size; off += io->piece)
        memcpy(io->buf, map + off, (size_t)MIN(io->piece, io->size - off));
    return munmap((void *)map, io->size);
}

int io_write(const struct io *io, const char *name)
{
    uint64_t left = io->size;
    int fd = openat(io->side->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return side_failed(io->side, "create", name);
    while (left) {
        ssize_t n = write(fd, io->buf, (size_t)MIN(io->piece, left));

        if (n <= 0) {
            close(fd);
            return side_failed(io->side, "write", name);
        }
        left -= (uint64_t)n;
    }
    return close(fd) ? side_failed(io->side, "close", name) : 0;
}
