/* fs_health.h - what the fs adapter does now, has done, and how that went: status, close, the log.
 *
 * Any thread. Operations are on their thread's stack and linked here while they run, so that a
 * close which has to wait can say for what.
 */
#ifndef L2FS_FS_HEALTH_H
#define L2FS_FS_HEALTH_H

#include <jansson.h>
#include <stdatomic.h>

#include "list.h"
#include "lock.h"

enum fs_counter {
    FS_STORED,
    FS_STORED_BYTES,
    FS_UNCHANGED, /* stores that found the same object there */
    FS_LOADED,
    FS_LOADED_BYTES,
    FS_UNVERIFIED, /* loads of files without our checksum */
    FS_CORRUPT,
    FS_FAILED,
    FS_COUNTERS
};

struct fs_op {
    struct list link;
    const char *what;
    const char *key;
    uint64_t started;
};

struct fs_health {
    pthread_mutex_t lock;
    struct list running;  /* lock; struct fs_op */
    int last_error;       /* lock */
    time_t last_error_at; /* lock */
    bool failing;         /* lock: the latest operation on the disk failed */
    uint64_t full_said;   /* lock: clock_now of the latest line about a full disk */
    uint64_t full_quiet;  /* lock: lines left out since */
    _Atomic uint64_t counters[FS_COUNTERS];
};

void fs_health_init(struct fs_health *h);
void fs_health_fini(struct fs_health *h);

void fs_op_begin(struct fs_health *h, struct fs_op *op, const char *what, const char *key);
/* Takes the result into account; returns it. */
int fs_op_end(struct fs_health *h, struct fs_op *op, int err);

void fs_count(struct fs_health *h, enum fs_counter counter, uint64_t n);
/* True at most once a minute; *quiet is how often it was false since. */
bool fs_health_say_full(struct fs_health *h, uint64_t *quiet);
/* Logs every running operation. */
void fs_health_log_running(struct fs_health *h, const char *base);
/* Adds "is_healthy", the last error and the counters. */
void fs_health_status(struct fs_health *h, json_t *status);

#endif
