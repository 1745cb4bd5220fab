/* touches.h - the uses of an object that the orders of leaving have not heard of yet. Level 1. */
#ifndef L2FS_TOUCHES_H
#define L2FS_TOUCHES_H

#include "list.h"

struct touches {
    struct list link; /* the lock of its stripe (gate.h); in open_stripe.touched */
    uint64_t at;      /* that lock; the last one */
    unsigned n;       /* that lock */
    struct list due;  /* ns->lock; while they are told on */
    uint64_t due_at;  /* ns->lock */
    unsigned due_n;   /* ns->lock */
};

#endif
