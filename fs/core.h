/* core.h - the inside of an instance, shared by the level-4 files only. Level 4.
 *
 * `_locked` functions are called with ns->lock held. Everything in struct l2fs is constant after
 * start unless its comment says which lock guards it.
 */
#ifndef L2FS_CORE_H
#define L2FS_CORE_H

#include "arrive.h"
#include "events.h"
#include "evict.h"
#include "gate.h"
#include "keyguard.h"
#include "locks.h"
#include "namespace.h"
#include "prefetch.h"
#include "record.h"
#include "requests.h"
#include "scan.h"
#include "store.h"
#include "tiers.h"
#include "turn.h"
#include "virtual.h"

#define TICK_NS (100 * NSEC_PER_MSEC)

struct l2fs {
    const struct l2fs_config *cfg;
    struct metrics *metrics;
    struct namespace *ns;
    struct staging *staging;
    struct pinner *pinner; /* NULL: pin=off */
    struct tiers tiers;
    uint64_t signature; /* ns->lock; of the active tiers, for records */

    struct loop *loop;
    struct mailbox *mailbox;
    struct loop_timer tick;
    struct store_ctl *store_ctl;
    struct prefetch_owner prefetch_owner;
    struct prefetch_ctl *prefetch_ctl;
    struct keyguard guard;
    struct events *events;
    struct probes *probes;
    struct inode *peers; /* .l2fs/peers */
    json_t *peer_series; /* ns->lock; labels of the metrics of peers */
    struct health_watch *health;
    struct reaper *reaper; /* ns->lock */
    struct evict_ctl *evict_ctl;
    struct hotplug *hotplug;
    struct quota_evictor *quota_evictor; /* ns->lock; NULL: not needed yet */
    _Atomic(const char *) mode;          /* of the front; l2fs_set_mode */
    uint64_t started;

    struct start_scan scan;
    struct arrive arrive;
    struct readies readies; /* ns->lock */
    struct gates gates;
    struct l1 l1;              /* ns->lock */
    struct locks locks;        /* ns->lock */
    struct list waiters;       /* ns->lock; every queued waiter, by all_link */
    struct list tenants;       /* ns->lock; tenant.h */
    struct list space_waiters; /* ns->lock; creates and loads that wait for L1 space */
    struct stores stores;      /* ns->lock */
    struct requests requests;  /* ns->lock */
    struct list warms;         /* ns->lock; struct warm */
    struct evictor evictor;
    uint64_t expect;            /* ns->lock; learned size of an object written anywhere */
    size_t unstored;            /* ns->lock; objects with something to store */
    pthread_cond_t stored_cond; /* with ns->lock; unstored fell, or a file came to rest */
    bool stopping;              /* ns->lock */
    pthread_mutex_t gone_lock;  /* leaf, held during the call */
    vfs_gone_fn *gone;          /* gone_lock */
    void *gone_arg;             /* gone_lock */

    size_t adopted, found; /* at start, for the mount message */
    struct {
        struct metric *publishes, *discards, *opens, *open_misses, *enospc;
    } m;
};

/* ---- waiting (wait.c) ---- */
/* Queues w; always -EINPROGRESS. The deadline is stamped at the first call. */
int wait_locked(struct l2fs *fs, struct list *queue, struct waiter *w, uint64_t timeout,
                int timeout_error);
void wake_locked(struct l2fs *fs, struct list *queue, int error);
/* Those that wait for `bytes` or less. */
void wake_landed_locked(struct l2fs *fs, struct list *queue, uint64_t bytes);
void wait_expire(struct l2fs *fs, uint64_t now);
/* Why the waiter came back: 0 or what the call must now return. Clears it. */
int waiter_take_error(struct waiter *w);

/* ---- objects (file.c) ---- */
/* Every name of it is in L2 as it is now, and nobody writes. */
bool object_clean_locked(const struct inode *inode);
bool name_is_temporary(const struct l2fs *fs, const struct dentry *d);
bool name_in_l2(const struct dentry *d); /* some tier may hold bytes under it */
int file_disk_tier(
    const struct inode *inode); /* of a file of state `disk`; -1: removed meanwhile */
int file_begin_locked(struct l2fs *fs, struct inode *inode, uint64_t expected);
void file_refresh_locked(struct l2fs *fs, struct inode *inode);            /* size, blocks, mtime */
void file_record_locked(struct l2fs *fs, struct object *o, uint32_t kind); /* 0: not whole */
void file_dirty_locked(struct l2fs *fs, struct object *o); /* a writer comes to published bytes */
/* Frees object and inode when nothing needs them any more. */
void file_settle_locked(struct l2fs *fs, struct inode *inode);
/* Removes every name of a lost object and tells the kernel. */
void file_lost_locked(struct l2fs *fs, struct inode *inode);
void file_gone_locked(struct l2fs *fs, const struct dentry *d);   /* tells the kernel, before */
void file_dir_changed_locked(struct l2fs *fs, struct inode *dir); /* tells the kernel, after */
/* The name, and with the last one the object; keep_record: its crash record goes later. */
void file_unlink_locked(struct l2fs *fs, struct dentry *d, bool keep_record);
struct l2_attr file_attr(const struct inode *inode); /* as tiers keep it; ns->lock */
void file_event_error(struct l2fs *fs, const char *event, const char *key, int error);
void file_error_locked(struct inode *inode, int error);
void file_key(const struct inode *inode, char out[KEY_PATH_MAX + 2]); /* a name, for messages */
struct handle *handle_create(struct inode *inode, int flags, const struct caller *c);
void handle_attach_locked(struct l2fs *fs, struct handle *h);
int file_open_locked(struct l2fs *fs, struct handle *h, const struct caller *c, struct waiter *w);
void file_drop_locked(struct l2fs *fs, struct object *o); /* its staging file */
void file_pin_locked(struct l2fs *fs, struct object *o);  /* as -o pin says */
void file_drop_prev_locked(struct l2fs *fs, struct object *o);

/* ---- publish.c ---- */
/* The last writer is gone: whole now, or given up. True: publish_finish must follow, unlocked. */
bool publish_locked(struct l2fs *fs, struct object *o);
void publish_finish(struct l2fs *fs, struct inode *inode); /* checksum, record, store; drops busy */
/* A writer still has it open, but it was given its final name: readable from now on. */
void publish_early_locked(struct l2fs *fs, struct object *o);
/* The event of a whole file under a final name; nothing while it is written or temporary. */
void published_event_locked(struct l2fs *fs, const struct dentry *d);
int vfs_truncate(struct l2fs *fs, struct inode *inode, uint64_t size,
                 struct waiter *w);   /* data.c */
bool space_is_tight(struct l2fs *fs); /* a writer may have met the limit */

/* ---- evict.c (load.c: prefetch.h) ---- */
/* L1 space for a new writer or load: 0, or waits (-EINPROGRESS; -EAGAIN without w). */
int space_locked(struct l2fs *fs, uint64_t bytes, struct waiter *w, uint64_t timeout, int error);

/* ---- start (adopt.c) ---- */
int adopt_staging(struct l2fs *fs); /* what a crash left in L1 */
void adopt_store(struct l2fs *fs);  /* queues what of it is not in L2 */

#endif
