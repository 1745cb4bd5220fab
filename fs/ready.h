/* ready.h - .l2fs/ready: one file for each request of which every key has landed. Level 4.
 *
 * Any name is found there; only those that are ready are listed. Opening one that is not waits for
 * load_timeout, then ENOENT; with O_NONBLOCK it opens, poll(2) tells, and reading says EAGAIN till
 * then. What is read is one line of JSON. Where a request is known not to become ready, opens and reads
 * fail. A request stays as it was said to be for READY_TTL_NS; at most READY_MAX are kept, of those and
 * of those that are asked for: the oldest go.
 */
#ifndef L2FS_READY_H
#define L2FS_READY_H

#include "vfs.h"

#define READY_TTL_NS (600 * NSEC_PER_SEC)
#define READY_MAX 65536

struct readies {
    struct inode *dir; /* constant */
    struct list said;  /* ns->lock; of struct ready, what is known; the oldest first */
    struct list asked; /* ns->lock; looked up, nothing is known */
    size_t nsaid, nasked;
};

void ready_init(struct l2fs *fs);
void ready_fini(struct l2fs *fs);               /* before the tree goes */
void ready_tick(struct l2fs *fs, uint64_t now); /* what is over goes */

/* The request is ready; or opens fail with `error` until it is said to be. 0, also for names that cannot
 * be those of a file, which are passed over; -ENOMEM. Any thread. */
int ready_say(struct l2fs *fs, const char *req_id, int error);

/* The file of a request that nobody has looked up yet; NULL on no memory. */
struct dentry *ready_lookup_locked(struct l2fs *fs, const char *name);

/* Handles of these files, as virtual.h says. */
int ready_open_locked(struct l2fs *fs, struct handle *h, struct waiter *w);
ssize_t ready_read_locked(struct l2fs *fs, struct handle *h, void *buf, size_t len, off_t off,
                          struct waiter *w);
unsigned ready_poll_locked(struct l2fs *fs, struct handle *h, struct waiter *w);
void ready_release_locked(struct l2fs *fs, struct handle *h);

#endif
