/* fs_io.h - moves bytes between a disk file and memory: io_uring or blocking calls, O_DIRECT or
 * not.
 *
 * A transfer is cut into pieces; several are on their way at once (io_uring), and the caller sees
 * them finished in order of offset. Where the file system refuses O_DIRECT it is given up for the
 * whole directory, said once, and the transfer goes on buffered; the same for io_uring.
 */
#ifndef L2FS_FS_IO_H
#define L2FS_FS_IO_H

#include "base.h"

#define FS_IO_ALIGN 4096u
#define FS_IO_PIECE ((size_t)1 << 20)
#define FS_IO_DEPTH 32u

struct fs_io;

/* `name` is for messages. 0 or -errno. */
int fs_io_create(const char *name, bool direct, bool uring, struct fs_io **out);
void fs_io_destroy(struct fs_io *io);      /* no transfer is under way */
bool fs_io_direct(const struct fs_io *io); /* what is in effect */
bool fs_io_uring(const struct fs_io *io);

/* Sets O_DIRECT on an open file if it is in use. */
void fs_io_set_direct(struct fs_io *io, int fd);

struct fs_xfer {
    int fd;
    bool write;
    uint64_t off; /* multiple of FS_IO_ALIGN; moves on with what is done */
    uint64_t end;
    unsigned depth; /* pieces there is memory for, 1..FS_IO_DEPTH; half are on their way */
    /* Memory for [off, off+len), aligned and with room up to the next multiple of FS_IO_ALIGN, the
     * bytes in it when writing; it stays until `done`. `slot` < depth. 0 or -errno. */
    int (*memory)(struct fs_xfer *x, uint64_t off, size_t len, unsigned slot, void **mem);
    /* [off, off+len) has been moved; called in order of offset. 0 or -errno. */
    int (*done)(struct fs_xfer *x, uint64_t off, size_t len, const void *mem);
};

/* 0, -ENODATA (the file ended before `end`), or -errno. No byte is in flight on return. */
int fs_io_run(struct fs_io *io, struct fs_xfer *x);

/* The next run of data in [*start, size) of a file with holes; *end is its end. False: only holes
 * are left. Without support in the file system everything is data. */
bool fs_io_next_data(int fd, uint64_t size, uint64_t *start, uint64_t *end);

/* Continues a crc32c over `len` zero bytes: the holes. */
uint32_t fs_io_checksum_zeros(uint32_t crc, uint64_t len);

#endif
