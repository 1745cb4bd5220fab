/* virtual.h - the .l2fs directory, as the core sees it. Level 4.
 *
 * Its directories have dir.reserved and its files inode_vfile(); they are found by lookup like any
 * other name, but not listed in the root, never stored, and nothing can be made or removed there.
 */
#ifndef L2FS_VIRTUAL_H
#define L2FS_VIRTUAL_H

#include "vfs.h"

struct probes;

/* Builds the directory in the tree, after the tiers are open and before the scan; takes ns->lock.
 * 0 or -errno. */
int status_attach(struct l2fs *fs);
void status_detach(struct l2fs *fs); /* before the tiers are closed; idempotent */

/* The directory adapters/NAME of a tier that is present, and its end. 0 or -ENOMEM. */
int status_add_tier_locked(struct l2fs *fs, size_t slot);
void status_drop_tier_locked(struct l2fs *fs, size_t slot); /* idempotent */

/* .l2fs/peers becomes what the tiers know now. Without ns->lock; may wait for a tier, at most 2 s. */
void peers_refresh(struct l2fs *fs);

/* Loop thread, at each tick: notes since when something is wrong. */
void health_tick(struct l2fs *fs, uint64_t now);

/* Handles of files with inode_vfile(): open sets the mode and virtual_data of `h`, and may wait. Release
 * and read take ns->lock; read may wait for a tier, at most 2 s. */
int virtual_open_locked(struct l2fs *fs, struct handle *h, struct waiter *w);
ssize_t virtual_read(struct l2fs *fs, struct handle *h, void *buf, size_t len, off_t off,
                     struct waiter *w);
unsigned virtual_poll_locked(struct l2fs *fs, struct handle *h, struct waiter *w);
void virtual_release(struct l2fs *fs, struct handle *h);

#endif
