/* evict_ctl.h - eviction from tiers: who leaves a tier that fills up, and when. Level 4.
 *
 * A tier that says its capacity (a limit of its own, or a guard of the disk below it) evicts: when
 * what it holds reaches `watermark` of the capacity, or when a store found no room, keys leave that
 * tier in the order of its policy until watermark * (1 - ratio) is left. Without an `eviction`
 * block in its spec that is LRU, 0.8 and 0.2; policy noop refuses stores instead. First inside the
 * tenant that asked, then in the one furthest above its share.
 *
 * Never leave: keys that are open, written, loaded, stored or not stored yet, pinned, locked in the
 * tier, of state `disk`, or with a temporary name. A key leaves under all of its names. What is in
 * L1 too stays there, and is not stored again; what is nowhere else loses its names.
 *
 * Threads: one per tier that evicts, so a tier that hangs stops its own eviction only. It asks the
 * tier without ns->lock; the key guard orders removals with every other change of the key.
 */
#ifndef L2FS_EVICT_CTL_H
#define L2FS_EVICT_CTL_H

#include <jansson.h>

#include "l1.h"
#include "l2.h"
#include "object.h"
#include "spec.h"
#include "tenant.h"

struct evict_ctl;

/* After the adoption; the tiers of the scan follow when it has ended: what is found leaves in order of its
 * last use. 0 or -errno. */
int evict_ctl_start(struct l2fs *fs);
/* Waits for removals under way, at most 5 s each. After the loop has stopped, before the tiers are
 * closed; idempotent. A tier whose removal does not end is given up (tiers_abandon): true, and its
 * metrics must stay. */
bool evict_ctl_stop(struct l2fs *fs);

/* After the scan of the tier. 0 or -errno. */
int evict_ctl_add_tier(struct l2fs *fs, size_t tier);
/* A tier goes: as evict_ctl_stop, for one; before tiers_retire, without ns->lock. False: it was
 * given up, there is nothing left to close. */
bool evict_ctl_drop_tier(struct l2fs *fs, size_t tier);

/* inode.tiers, size or state changed: keeps its ranks right. Idempotent, cheap; file_settle_locked
 * calls it. */
void evict_ctl_note_locked(struct l2fs *fs, struct inode *inode);
/* A store of `bytes` by `t` found no room in the tier. True: room is made, stores that failed with
 * -ENOSPC are tried again then (store_room_locked); or it will be, when the scan of the start has ended.
 * False: nothing leaves, at least now. */
bool evict_ctl_ask_locked(struct l2fs *fs, size_t tier, uint64_t bytes, struct tenant *t);

/* Settings: `name` is policy (LRU, FIFO, S3-FIFO, noop), watermark or ratio (0 to 1). 0, -ENODATA
 * (get: a tier without capacity), -EINVAL or -EOPNOTSUPP with one sentence in `out`. Any thread,
 * without ns->lock. */
int evict_ctl_get(struct l2fs *fs, size_t tier, const char *name, struct text *out);
int evict_ctl_set(struct l2fs *fs, size_t tier, const char *name, const char *value,
                  struct text *out);
/* Adds eviction_policy, trigger_watermark, eviction_ratio, current_usage (-1: no capacity),
 * total_bytes_used and total_capacity_bytes to a status. */
void evict_ctl_describe(struct l2fs *fs, size_t tier, const struct l2_usage *usage, json_t *to);

/* ---- looking at it (.l2fs/victims) ---- */

struct evict_view {
    size_t index; /* in: of the tenant, from 0 */
    size_t max;   /* in: steps at most */
    struct tenant *tenant;
    struct eviction set;
    uint64_t capacity, used, to_free; /* of the tier, when its thread last looked, and since */
    int64_t above_share;              /* bytes of the tenant: the highest gives first */
};
typedef void evict_look_fn(void *arg, const struct inode *inode, enum obstacle why);
/* Calls fn for what the tenant has there, first to leave first, with what keeps it. False: there is
 * no such tenant, or the tier does not evict. */
bool evict_ctl_look_locked(struct l2fs *fs, size_t tier, struct evict_view *view, evict_look_fn *fn,
                           void *arg);

/* Bytes that must go when a tier holds `u` and stores ask for `asked` more; 0: none. Pure. */
uint64_t evict_goal(const struct eviction *e, const struct l2_usage *u, uint64_t asked);

#endif
