/* bench_io.h - one key, as an engine moves it. Functions that return int give 0, or -1 having said why. */
#ifndef L2BENCH_IO_H
#define L2BENCH_IO_H

#include "bench.h"

struct io {
    struct side *side;
    unsigned char *buf; /* every call moves `piece` bytes through it */
    size_t piece;
    uint64_t size; /* of the key */
};
int io_read(const struct io *io, const char *name, int flags); /* open, read, close */
int io_copy_out(const struct io *io, const char *name);        /* open, mmap, copy, munmap, close */
int io_write(const struct io *io, const char *name);           /* create, write, close */
const unsigned char *io_map(const struct io *io, const char *name); /* munmap is the caller's */
int side_failed(const struct side *s, const char *what, const char *name); /* says errno; -1 */

#endif
