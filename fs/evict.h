/* evict.h - making room in L1, and what is told of every eviction. Level 4. */
#ifndef L2FS_EVICT_H
#define L2FS_EVICT_H

#include "l1.h"
#include "mailbox.h"
#include "metrics.h"

struct l2fs;

/* Why a key left a place. */
enum evict_cause {
    CAUSE_WATERMARK, /* the place is full to its watermark */
    CAUSE_SPACE,     /* somebody waited for room */
    CAUSE_ASKED,     /* user.l2fs.evict, l2fsctl evict */
    CAUSE_EXPIRED,   /* user.l2fs.expire */
    CAUSE_QUOTA,     /* its directory needs the room */
    CAUSE_SKIP_L1,   /* stored, and L1 is only a write buffer */
    CAUSES
};
const char *evict_cause_name(enum evict_cause why);

/* Where from: L1 or a tier. Constant after init. */
struct evict_place {
    const char *name; /* "l1", or the tier's; outlives the place */
    struct metric *evicted[CAUSES];
};
void evict_place_init(struct evict_place *p, struct metrics *m, const char *name);
/* The event {"event":"evict","key":...,"from":"l1","why":"watermark"}, and the metric
 * l2fs_evictions_total{from=,why=}. Any thread, also under ns->lock. */
void evict_tell(struct l2fs *fs, const struct evict_place *p, const char *key,
                enum evict_cause why);

/* It left the last place that had it: event "gone", and its names vanish. */
void evict_gone_locked(struct l2fs *fs, struct inode *inode, const char *key);

/* ---- L1 ---- */

struct evictor {
    struct letter letter;
    struct evict_place place;
    bool posted;          /* ns->lock */
    uint64_t left;        /* ns->lock: bytes this run must still free */
    enum evict_cause why; /* ns->lock: of this run */
};

void evict_init(struct l2fs *fs);
/* Has the loop thread make room when the watermark is passed or somebody waits for space. Called
 * whenever one of them may have come true, or an object may leave that could not. */
void evict_post_locked(struct l2fs *fs);
/* The same, and finds those that may leave because time passed (soft pins). */
void evict_tick(struct l2fs *fs);
/* What keeps a resident object in L1 now. */
enum obstacle evict_obstacle_locked(struct l2fs *fs, const struct object *o, uint64_t now);
/* The object's state moved; it comes back into the order when it may leave. */
void evict_note_locked(struct l2fs *fs, struct object *o);
/* Drops one clean idle resident from L1. 0, or -EBUSY (open, pinned, not stored). */
int evict_one_locked(struct l2fs *fs, struct object *o, enum evict_cause why);
/* The same for all files below a directory that a tier has, some at a time; drops ns->lock
 * meanwhile. How many left L1; *kept: how many may not. */
size_t evict_below_locked(struct l2fs *fs, struct inode *dir, size_t *kept);

#endif
