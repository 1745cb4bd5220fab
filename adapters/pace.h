/* pace.h - when a device of limited bandwidth would be done. Level 2.
 *
 * Transfers queue up behind each other, as on one link or disk. No clock and no lock of its own:
 * the caller passes the time and is one thread.
 */
#ifndef L2FS_PACE_H
#define L2FS_PACE_H

#include "base.h"

struct pace {
    uint64_t bytes_per_sec; /* 0: unlimited */
    uint64_t busy_until;    /* CLOCK_MONOTONIC ns */
};

void pace_init(struct pace *p, uint64_t bytes_per_sec);
/* Books a transfer of `bytes` that starts at `start` at the earliest; returns when it ends. */
uint64_t pace_book(struct pace *p, uint64_t start, uint64_t bytes);

#endif
