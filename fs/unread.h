/* unread.h - files that came from a peer and that nobody has opened since. Level 4.
 *
 * They are accepted data that somebody is about to read: such a file stays in L1 unless a tier that
 * keeps objects has it, and in its last tier; and it goes by itself when nobody came within its TTL.
 * It has an inode.landing.
 */
#ifndef L2FS_UNREAD_H
#define L2FS_UNREAD_H

#include "object.h"

struct l2fs;

struct landing {
    struct wheel_node due; /* expire.c: looked at then; never when due is UINT64_MAX */
    struct inode *inode;
    uint64_t bytes;
    bool goes; /* when it is due: removed; else it is merely like any other from then on */
};

/* Nobody has opened it so far. `ttl` in ns; 0: no end to that. `goes`: it is removed then, else only as
 * evictable as any. Said again: the later end counts, `goes` stays. 0 or -errno (no memory, no
 * thread). */
int unread_begin_locked(struct l2fs *fs, struct inode *inode, uint64_t ttl, bool goes);
void unread_end_locked(struct l2fs *fs, struct inode *inode); /* idempotent */

#endif
