/* l2fs.h - one instance: namespace, L1, tiers and controllers, built and owned here. Level 4.
 *
 * Two instances with different configurations work in one process.
 */
#ifndef L2FS_L2FS_H
#define L2FS_L2FS_H

#include "instance.h"
#include "text.h"

struct l2fs;

/* Opens staging and tiers, adopts what a crash left, scans the persistent tiers, starts the loop.
 * Call after the daemon forked. `cfg` must outlive the instance. 0, or -errno with `err` holding
 * one sentence. */
int l2fs_start(const struct l2fs_config *cfg, struct l2fs **out, struct text *err);
/* After the front has stopped: stores what is not stored yet (at most drain_timeout), closes the
 * tiers, removes the staging - or keeps it, when something could not be stored, and says so. */
void l2fs_stop(struct l2fs *fs);

/* How the front serves files, for .l2fs/status: "passthrough" or "direct_io"; a constant string. Any
 * thread. */
void l2fs_set_mode(struct l2fs *fs, const char *mode);

/* One line for the mount message: "l1 5.8G in /run/l2fs/..., 1234 keys adopted, 100000 found". */
void l2fs_describe(struct l2fs *fs, struct text *out);

#endif
