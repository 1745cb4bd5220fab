/* remove.h - removing a file that nobody uses, everywhere. Level 4. */
#ifndef L2FS_REMOVE_H
#define L2FS_REMOVE_H

#include "object.h"

struct l2fs;

/* Removes every name of a file, from the tree and from every tier, as long as `idle` says yes; it
 * and `tell` are called with ns->lock held, for each name. The kernel is told. The caller holds the
 * inode busy and no lock; waits for what changes the key in L2 now, and for the tiers. */
void file_remove(struct l2fs *fs, struct inode *inode, bool (*idle)(const struct inode *inode),
                 void (*tell)(struct l2fs *fs, const char *key));

#endif
