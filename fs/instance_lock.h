/* instance_lock.h - one daemon per instance name and per source directory. Level 0.
 *
 * The locks are flock(2) on files in /run/l2fs (root) or /dev/shm/l2fs-UID; the kernel drops them
 * with the daemon, however it ends. A lock file says who holds it: pid, phase and mount point.
 */
#ifndef L2FS_INSTANCE_LOCK_H
#define L2FS_INSTANCE_LOCK_H

#include "text.h"

#define INSTANCE_LOCKS_MAX 16

struct instance_lock {
    int fds[INSTANCE_LOCKS_MAX];
    char *paths[INSTANCE_LOCKS_MAX];
    size_t n;
    char *dir; /* mount point */
};

/* One thing to be served by one daemon alone. */
struct instance_claim {
    const char *name; /* of the lock file, no '/' in it */
    const char *what; /* for messages */
};

/* Takes every claim (equal names count once). A holder that is ending is
 * waited for, at most `wait_ns`. 0, -EBUSY with the holder's pid and mount point in `err`, or
 * another -errno with `err`. The locks pass to a forked child and live until both let go. */
int instance_lock_take(struct instance_lock *l, const struct instance_claim *claims, size_t n,
                       const char *dir, uint64_t wait_ns, struct text *err);
/* Writes this process and its phase ("starting", "running", "ending") into the lock files. */
void instance_lock_tell(struct instance_lock *l, const char *phase);
/* Removes the lock files and lets go. */
void instance_lock_release(struct instance_lock *l);
/* Lets go of this process's share, for the parent of a daemon. */
void instance_lock_close(struct instance_lock *l);

#endif
