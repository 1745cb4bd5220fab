/* hotplug.h - tiers that come and go while the instance runs. Level 4.
 *
 * Add: the adapter is opened, watched by the controllers, what it holds is found and joins the tree
 * (state joining), then it is active: what is stored from now on goes there too; keys stored before
 * are not copied. A key that the tree has already gains a tier only when the copies agree, else the
 * tree is right and the other copy is never read.
 *
 * Remove: nothing new is stored there (state draining); what it alone has of objects in L1 is
 * stored in the tiers that remain; stores and loads under way end, or the deadline passes. Then its
 * names are settled and it is closed. Without force it refuses to lose the only copy of a key, and
 * the tier is active again.
 *
 * Threads: each change runs on a short-lived thread of its own, since adapters may take long or
 * hang; the caller waits with a deadline, and what is not done by then goes on without it. The loop
 * thread is told of a tier before it is used and before it is closed.
 */
#ifndef L2FS_HOTPLUG_H
#define L2FS_HOTPLUG_H

#include "core.h"

struct hotplug;

int hotplug_create(struct l2fs *fs); /* 0 or -ENOMEM */
/* scan_run on a thread of its own, which hotplug_stop waits for. 0 or -errno. */
int hotplug_scan(struct l2fs *fs);
/* Waits for changes under way, which end soon, at most 30 s. No new ones. Before the loop ends;
 * idempotent. */
void hotplug_stop(struct l2fs *fs);
/* True: a thread is stuck in an adapter that does not open or close, and uses the tiers, the staging
 * and the metrics as long as the process lives. */
bool hotplug_destroy(struct l2fs *fs);

/* Both wait, and say in one sentence in `why` what is wrong. -EBUSY: too many changes at once;
 * -ESHUTDOWN; -ENOMEM. */

/* `spec` is the JSON of one adapter. 0: it is active. -EINVAL: the spec. -ENOSPC: 32 tiers.
 * -ETIMEDOUT: it takes longer than `store_timeout` and joins when it can. */
int hotplug_add(struct l2fs *fs, const char *spec, struct text *why);

struct hotplug_removal {
    char name[TIER_NAME_MAX];
    bool force;
    uint64_t timeout; /* ns */
};
/* "NAME[ force][ timeout=30s]". 0 or -EINVAL. `timeout` is left alone when it is not there. */
int hotplug_parse_removal(const char *text, struct hotplug_removal *out);
/* 0: it is gone; it may still be closing. -ENOENT: no such adapter. -EALREADY: it is draining.
 * -EBUSY: it has only copies (not with force) or open files of state `disk`. */
int hotplug_remove(struct l2fs *fs, const struct hotplug_removal *r, struct text *why);

/* ---- hotplug_sweep.c: what a tier has that no other has ---- */

struct census {
    size_t evicted;   /* files that only this tier has */
    size_t resident;  /* files in L1 that are in no other tier */
    size_t disk;      /* files of state `disk` */
    size_t disk_open; /* of them */
};
void census_take_locked(struct l2fs *fs, size_t slot, struct census *out);
/* May the tier go? 0, or -EBUSY with one sentence. `others`: tiers that keep objects remain. */
int census_judge(const struct census *c, const char *name, bool force, bool others,
                 struct text *why);
/* What of L1 only this tier has counts as not stored: it goes to the active tiers. */
void sweep_restore_locked(struct l2fs *fs, size_t slot);
/* No file is in this tier any more. Those that were nowhere else vanish; how many. */
size_t sweep_forget_locked(struct l2fs *fs, size_t slot);
/* Queues what is not stored: there are tiers to store it in now. */
void sweep_store_locked(struct l2fs *fs);

#endif
