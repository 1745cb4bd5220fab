/* gate.h - opens and closes of a key in L1 that take no lock which all keys share. Level 4.
 *
 * While the gate of an inode is open, nothing depends on who reads it: it has a name, its object is
 * resident, whole, opened before and in the order of leaving, nobody writes it, and nobody waits for its
 * readers to go. An open for reading, and its close, then take the lock of one of 64 stripes instead of
 * ns->lock, and what they mean for the orders of leaving, atime, read-ahead and counts is caught up with
 * later, in the order of time.
 *
 * The gate is opened and shut under ns->lock and the lock of the stripe (lock order: namespace ->
 * stripe, a leaf), so either is enough to look at it. Whoever looks at object.opens or object.handles, or
 * ends one of the conditions above, holds ns->lock and has shut the gate; then ns->lock alone guards them
 * until an open for reading finds everything plain again.
 */
#ifndef L2FS_GATE_H
#define L2FS_GATE_H

#include <stdatomic.h>

#include "lock.h"
#include "object.h"

#define OPEN_STRIPES 64u

struct l2fs;
struct handle;

struct open_stripe {
    pthread_mutex_t lock;
    struct list touched; /* of object.touches.link, the oldest use first */
    size_t ntouched;
    size_t opened, closed; /* since they were counted */
    char apart[48];        /* no cache line is of two stripes */
};

struct gates {
    struct open_stripe stripes[OPEN_STRIPES];
    _Atomic uint64_t news; /* bit per stripe: there is something to catch up with */
    char apart[56];
    struct list ahead; /* ns->lock; of object.touches.due: read-ahead is to hear of them */
    unsigned watchers; /* ns->lock; who waits for a close: no gate is opened */
};

void gates_init(struct gates *g);
/* Without ns->lock. False: it must be done under ns->lock, the gate is shut or `h` is of another kind.
 * True: it is done; what h reads stays as long as it is open. */
bool gate_enter(struct l2fs *fs, struct handle *h);
bool gate_leave(struct l2fs *fs, struct handle *h);

void gate_open_locked(struct l2fs *fs, struct inode *inode); /* if everything is plain */
void gate_shut_locked(struct l2fs *fs, struct inode *inode); /* cheap where it is shut */
/* It was used since the last gate_sync_locked, and the gate is shut: it stands too near the end. */
bool gate_touched_locked(const struct object *o);
/* Tells the orders of leaving and the rest of what went through gates. Before anybody looks at such an
 * order, or changes it otherwise than by removing. Cheap where nothing did. */
void gate_sync_locked(struct l2fs *fs);
void gate_ahead_locked(struct l2fs *fs); /* ... and read-ahead, which may begin loads */
void gate_tick(struct l2fs *fs);
/* inode.atime is that of its last open. */
void gate_atime_locked(struct l2fs *fs, struct inode *inode);

#endif
