/* fs_durable.h - makes names survive a loss of power, sharing directory fsyncs among threads.
 *
 * A rename is durable once the directory has been synced after it; one fsync serves every thread
 * that asked before it began. A file in a new directory is only found again when the directories
 * above it are durable too: which ones are known to be is remembered by inode.
 */
#ifndef L2FS_FS_DURABLE_H
#define L2FS_FS_DURABLE_H

#include "fs_layout.h"

struct fs_durable;

struct fs_durable *fs_durable_create(void); /* NULL on no memory */
void fs_durable_destroy(struct fs_durable *d);

/* Syncs the directory of `key`, open as `dir`, and those above it that may not be durable yet.
 * 0 or -errno. Any thread. */
int fs_durable_sync(struct fs_durable *d, const struct fs_layout *l, const char *key, int dir);
/* Directories were renamed or removed: nothing is known any more. Any thread. */
void fs_durable_forget(struct fs_durable *d);

#endif
