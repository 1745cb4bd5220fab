/* locks.h - what keeps objects where they are: open descriptors and pins, counted. Level 1.
 *
 * Guarded by the namespace lock. A read or write lock is an open descriptor; it dies with it. A pin
 * is held by nobody: soft ones end with their lease, hard ones when they are taken away. What pins
 * hold in L1 together is bounded.
 */
#ifndef L2FS_LOCKS_H
#define L2FS_LOCKS_H

#include "object.h"

struct pins {
    size_t files;
    uint64_t bytes;
};

struct lock_counts {
    size_t readers, writers;        /* open descriptors; readers as gate_sync_locked left them */
    uint64_t pin_limit;             /* bytes of all pins */
    struct pins pins[PIN_HARD + 1]; /* by kind */
};

struct locks {
    struct lock_counts n;
    struct wheel soft; /* of extra.pin_end */
};

/* Soft pins end within a `tick` of their time; they are counted until locks_expire found them. */
void locks_init(struct locks *l, uint64_t pin_limit, uint64_t tick, uint64_t now);
/* Pins, pins otherwise, or unpins (PIN_NONE); `until`: end of a soft pin. 0, -ENOMEM, -ENOSPC: over
 * the limit, and nothing changed. */
int locks_pin(struct locks *l, struct inode *inode, enum pin_kind kind, uint64_t until);
/* The size of a pinned file changed, or it is gone. */
void locks_note(struct locks *l, struct inode *inode);
/* Takes away the soft pins that have ended. */
void locks_expire(struct locks *l, uint64_t now);
const char *pin_kind_name(enum pin_kind kind);

#endif
