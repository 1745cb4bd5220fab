/* prefetch.h - bringing keys into L1: loads. Level 4.
 *
 * `_locked` functions are called with ns->lock held, from any thread.
 */
#ifndef L2FS_PREFETCH_H
#define L2FS_PREFETCH_H

#include "namespace.h"
#include "prefetch_ctl.h"

struct l2fs;
struct waiter;

/* ---- load.c: keys on their way, in batches of one request each ---- */

#define LOAD_BATCH_KEYS 32
#define LOAD_BATCH_BYTES (16 * MIB) /* a batch with this much takes no further key */

struct load_batch;

/* What a batch is for. */
struct load_purpose {
    bool background;
    enum plan_mode mode;
};

void load_init(struct l2fs *fs);
/* Starts the load of an evicted inode, waits for it or for space. w may be NULL: only starts. */
int load_locked(struct l2fs *fs, struct inode *inode, struct waiter *w);
/* Nobody wants the key any more: a load under way is given up. */
void load_cancel_locked(struct l2fs *fs, struct inode *inode);

struct load_batch *load_batch_create(struct l2fs *fs, const struct load_purpose *p); /* or NULL */
/* The inode is evicted and L1 has space for it: loading from now on. A key that is being changed in
 * L2 right now goes into a batch of its own. 0 or -ENOMEM. */
int load_batch_add_locked(struct load_batch *b, struct inode *inode);
bool load_batch_full(const struct load_batch *b);
/* The batch is the controller's; an empty one is freed. */
void load_batch_submit_locked(struct load_batch *b);

#endif
