/* fs_ring.h - the io_uring pass of a transfer, and the pieces it shares with the blocking one.
 *
 * Private to fs_io.c and fs_ring.c.
 */
#ifndef L2FS_FS_RING_H
#define L2FS_FS_RING_H

#include "fs_io.h"

struct fs_piece {
    uint64_t off;
    size_t len;    /* bytes wanted */
    size_t io_len; /* bytes asked for: len, rounded up for O_DIRECT */
    size_t got;
    void *mem;
    int err;
    bool ready;
};

/* Begins the piece at `off`, at most `max` bytes: gets its memory. */
int fs_piece_start(struct fs_xfer *x, bool direct, uint64_t off, size_t max, unsigned slot,
                   struct fs_piece *p);
/* Moves what is left of it with blocking calls. */
int fs_piece_move(const struct fs_xfer *x, bool direct, struct fs_piece *p);
/* Reports it done and moves x->off on. */
int fs_piece_done(struct fs_xfer *x, const struct fs_piece *p);

struct fs_rings;

/* -ENOSYS, -EPERM, -ENOMEM, ...: io_uring cannot be had here. */
int fs_rings_create(struct fs_rings **out);
void fs_rings_destroy(struct fs_rings *r);
/* As fs_io_run; -ENOSYS: the ring broke, x->off says how far it came. */
int fs_rings_run(struct fs_rings *r, struct fs_xfer *x, bool direct);

#endif
