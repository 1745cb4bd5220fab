/* mountpoint.h - is a directory fit to be mounted on. Level 0. Before there are threads. */
#ifndef L2FS_MOUNTPOINT_H
#define L2FS_MOUNTPOINT_H

#include "text.h"

#define MOUNTPOINT_TYPE "fuse.l2fs"

/* Looks at `dir` (absolute). A dead l2fs mount that a killed daemon left there is detached, with
 * one log line. 0, or -ENOENT, -ENOTDIR, -EBUSY (a live or hanging l2fs mount), -EACCES, ... with
 * one sentence in `err`. */
int mountpoint_prepare(const char *dir, struct text *err);

/* True when the topmost mount on `dir` is an l2fs mount. Never waits for its daemon. `source` (may
 * be NULL) gets what is mounted there; the caller frees it. */
bool mountpoint_is_l2fs(const char *dir, char **source);

#endif
