/* instance.h - what one mount is configured to do. Level 0.
 *
 * Filled by options.c from the command line, -o options and a JSON file; read-only once the
 * instance runs. Sizes are bytes, times are nanoseconds.
 */
#ifndef L2FS_INSTANCE_H
#define L2FS_INSTANCE_H

#include <jansson.h>

#include "conf.h"

enum open_mode { OPEN_WAIT, OPEN_STREAM };
enum corrupt_mode { CORRUPT_MISS, CORRUPT_EIO };
enum pin_mode { PIN_OFF, PIN_MLOCK, PIN_CUDA, PIN_AUTO };
enum store_policy { STORE_DEFAULT, STORE_SKIP_L1, STORE_DEMOTE };
enum evict_policy { EVICT_LRU, EVICT_FIFO, EVICT_S3FIFO, EVICT_NOOP };
extern const char *const evict_policy_names[]; /* by enum evict_policy; ends with NULL */

struct l2fs_config {
    char *name;    /* of the instance: names staging directory and lock; default from SPEC or DIR */
    char *staging; /* staging directory; default /run/l2fs/NAME (own tmpfs) or
                      /dev/shm/l2fs-UID/NAME */
    json_t *l2;    /* array of adapter specs in index order */

    uint64_t l1;         /* capacity of L1 */
    uint64_t max_object; /* 0: l1 */
    double l1_watermark; /* eviction starts above this share of l1 */
    double l1_ratio;     /* and frees this share of what is used */
    int l1_policy;       /* enum evict_policy */
    double pin_max;      /* share of l1 that pinned objects may hold */

    uint64_t writer_wait;   /* open for reading waits this long for a first writer */
    uint64_t load_timeout;  /* ... for a load from L2 */
    uint64_t space_wait;    /* create waits this long for L1 space */
    uint64_t store_timeout; /* fsync and unlink wait this long for a store */
    int store_policy;       /* enum store_policy */
    int64_t store_retries;  /* of a key at a tier, 0: for ever */
    uint64_t drain_timeout; /* unmount waits this long for stores, then keeps the staging */
    uint64_t start_timeout; /* mount.l2fs waits this long for the mount to answer */

    int64_t readahead_keys;    /* loaded ahead of opens in sequence; 0: none */
    int64_t prefetch_requests; /* of warm-ups and read-ahead in flight */
    uint64_t prefetch_bytes;   /* ... and their bytes; 0: a quarter of l1 */

    char *tmp;  /* globs: never stored until renamed */
    char *disk; /* globs: kept in the fs adapter's own file */

    int open;         /* enum open_mode */
    int on_corrupt;   /* enum corrupt_mode */
    int pin;          /* enum pin_mode */
    bool passthrough; /* false: -o nopassthrough */
    bool io_uring;
    bool allow_other;
    bool read_only;
    int64_t threads;       /* FUSE worker threads at most */
    uint64_t attr_timeout; /* kernel attr and entry cache */

    char *log;     /* NULL: stderr in the foreground, syslog as a daemon; "syslog", or a path */
    int log_level; /* enum log_level */
};

/* The one table of all of them: -o strings, JSON files, --help, .l2fs/config (conf_to_json). */
extern const struct conf_opt l2fs_config_options[];

/* Defaults of the table, plus those that depend on this machine (l1, allow_other). 0 or -ENOMEM. */
int l2fs_config_init(struct l2fs_config *cfg);
void l2fs_config_fini(struct l2fs_config *cfg);

#endif
