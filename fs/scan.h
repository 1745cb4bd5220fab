/* scan.h - what the tiers hold comes into the tree: at start beside the running front, and when a tier is
 * added. Level 4.
 *
 * At start the front answers at once. A directory is hidden until every tier has told all that is in it:
 * nobody is handed a hidden directory, so what a lookup, a listing or a change of names meets is whole.
 * Who asks for one waits, and it is listed next. Only the root is known while it is hidden; nothing is
 * found in it then but .l2fs. So nothing changes below a hidden directory but by the scan, and what the
 * scan brings late can neither bring back nor replace what somebody removed or wrote. What needs the
 * whole tree - moving a directory, adding or removing a tier - waits for a while, then is refused, until the scan has
 * ended, and tiers evict from then on.
 *
 * Threads: the scan has one of hotplug's; `_locked` functions are called with ns->lock held.
 */
#ifndef L2FS_SCAN_H
#define L2FS_SCAN_H

#include <pthread.h>
#include <stdatomic.h>

#include "clock.h"
#include "list.h"

#define SCAN_DIR_NS (600 * NSEC_PER_SEC) /* for one directory, which may have ten million names */

struct inode;
struct l2fs;
struct text;
struct waiter;

struct start_scan {
    uint32_t tiers;       /* constant once begun: bit per tier that is listed */
    bool running;         /* ns->lock */
    int error;            /* ns->lock: it ended without all names; it stays `running` */
    size_t tier;          /* ns->lock: the one that is listed now */
    bool listed;          /* ns->lock: all of it, nothing is hidden any more */
    bool built;           /* ns->lock: the instance is, and what is in L1 was taken over */
    struct list waiters;  /* ns->lock: for directories */
    pthread_cond_t moved; /* with ns->lock */
    uint64_t took;        /* ns->lock: ns; 0: not ended */
    _Atomic bool stop;
};

void scan_init(struct l2fs *fs);
/* The root is hidden from here on when a tier keeps objects over a remount. 0 or -errno. */
int scan_begin(struct l2fs *fs);
/* The instance is built: what waits for the end of the scan may begin when that has come. */
void scan_built(struct l2fs *fs);
/* Ends it early; who waits is told. Idempotent. hotplug_stop waits for its thread. */
void scan_stop(struct l2fs *fs);

bool scan_hides_locked(const struct l2fs *fs, const struct inode *dir);
/* 0: `dir` is whole. -EINPROGRESS: `w` waits (NULL: call again with one); -EIO: the scan failed. */
int scan_wait_locked(struct l2fs *fs, struct inode *dir, struct waiter *w);
/* Waits until the directories of `key` are whole, as far as L2 has them. ns->lock is not held. */
int scan_await_key(struct l2fs *fs, const char *key, uint64_t deadline);
/* Waits until the scan has ended. 0, -ETIMEDOUT, -EIO or -ESHUTDOWN. ns->lock is not held. */
int scan_await_end(struct l2fs *fs, uint64_t deadline);
/* As that, for what who mounts may do at once: at most load_timeout, then -EBUSY, and `why`. */
int scan_await_all(struct l2fs *fs, struct text *why);

/* ---- scan.c ---- */
/* Lists one tier into the tree; also beside a running front. 0 or -errno. */
int scan_tier(struct l2fs *fs, size_t slot);
void scan_run(struct l2fs *fs); /* the whole scan of a start; on its thread */
/* Every tier of the scan has told what is in `path` ("a/b/" or ""). */
void scan_listed_locked(struct l2fs *fs, const char *path);

#endif
