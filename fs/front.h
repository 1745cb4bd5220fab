/* front.h - the FUSE session over one l2fs instance. Level 5.
 *
 * The only files that include fuse headers are fs/front*.c. One session per instance; several
 * instances may run in one process.
 */
#ifndef L2FS_FRONT_H
#define L2FS_FRONT_H

#include "base.h"
#include "instance.h"

struct l2fs;
struct front;

/* What --check and the mount message report about this machine's FUSE. */
struct front_features {
    unsigned lib_major, lib_minor; /* libfuse built against */
    bool passthrough_built;        /* libfuse >= 3.17 */
    bool io_uring_built;           /* libfuse >= 3.18 */
};
void front_features(struct front_features *out);

/* Mounts on `dir` (source shown in /proc/mounts: `source`, type fuse.l2fs). 0 or -errno with one
 * log line. `extra` is a comma list of generic mount options (ro, noatime, nodev, ...), may be
 * NULL. */
int front_mount(struct l2fs *fs, const struct l2fs_config *cfg, const char *source, const char *dir,
                const char *extra, struct front **out);
/* Serves until unmounted or front_stop; `ready` is called once, on another thread, when the kernel
 * has initialised the session and a stat of the root is answered. 0 or -errno. */
int front_run(struct front *f, void (*ready)(void *arg), void *arg);
/* How files are served: "passthrough", or "direct_io: " or "page cache: " and why. A constant
 * string; known when `ready` is called. Any thread. */
const char *front_mode(struct front *f);
/* Async-signal-safe: makes front_run return. */
void front_stop(struct front *f);
void front_unmount(struct front *f); /* after front_run; frees */

#endif
