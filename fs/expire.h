/* expire.h - files that remove themselves: user.l2fs.expire, and what landed and stays unread. Level 4. */
#ifndef L2FS_EXPIRE_H
#define L2FS_EXPIRE_H

#include "unread.h"

struct l2fs;

/* The file goes at `deadline` (clock.h; 0: never): its names from the tree and from every tier,
 * once it is idle and unpinned. Lasts until the file is removed or unmounted. 0 or -errno (no
 * thread). */
int expire_set_locked(struct l2fs *fs, struct inode *inode, uint64_t deadline);
/* What landed is due when nobody has opened it by then (arrive.h); l->due is not linked. 0 or -errno
 * (no thread). */
int expire_unread_locked(struct l2fs *fs, struct landing *l, uint64_t deadline);
/* Ends the thread that removes; before the controllers and tiers are. Idempotent. */
void expire_stop(struct l2fs *fs);

#endif
