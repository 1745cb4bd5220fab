/* store.h - what of the tree is not in L2 yet, and the tries to bring it there. Level 4, embedded in
 * struct l2fs. Everything is guarded by ns->lock.
 *
 * An object with something to store is *unstored*. It has a store_work while a job of it is queued,
 * flies or waits for another try; else it *rests*: cold (policy demote: nobody has asked yet), or
 * given up (no keeping tier took it in -o store_retries tries; never dropped from L1).
 */
#ifndef L2FS_STORE_H
#define L2FS_STORE_H

#include "object.h"
#include "store_ctl.h"

struct l2fs;

#define STORE_PAUSES 7 /* 0.5 s, 1, 2, 4, 8, 16, 30 */

struct stores {
    struct store_owner owner;
    struct list retries[STORE_PAUSES]; /* of store_work, by pause, so each in order of time */
    size_t retrying;
    struct list cold;  /* of object.rest.link, the coldest first */
    struct list given; /* of object.rest.link */
    struct list late;  /* of struct parcel: overdue */
    size_t given_up;   /* in `given` */
    uint64_t unstored_bytes;
    uint64_t room;      /* bytes whose stores were asked for to make room, not ended */
    uint64_t stored;    /* bytes that any tier took, ever */
    unsigned max_tries; /* of a key at a tier; 0: no limit */
    struct metric *given_up_total;
};

void stores_init(struct l2fs *fs);
void stores_drop(struct l2fs *fs); /* at the end, after store_ctl_end: what it has left */

bool store_needed_locked(const struct l2fs *fs, const struct inode *inode);
/* Stores what is needed, as the policy says; `urgent`: somebody waits for it, also of what rests. */
void store_queue_locked(struct l2fs *fs, struct inode *inode, bool urgent);
void store_note_locked(struct l2fs *fs, struct object *o);  /* keeps the account right */
void store_touch_locked(struct l2fs *fs, struct object *o); /* used now: not the coldest any more */
/* Tries again at once where a tier failed or was given up. */
void store_retry_locked(struct l2fs *fs, struct inode *inode);
/* The tier is gone, its slot may get another one. */
void store_forget_tier_locked(struct object *o, size_t slot);
void store_retry_due(struct l2fs *fs, uint64_t now);
/* A tier has `bytes` of room again: tries those that found none. A bounded number at each call. */
void store_room_locked(struct l2fs *fs, uint64_t bytes);
/* It has nothing left that may still succeed by itself. */
bool store_given_up_locked(const struct object *o);
/* L2 may lack it after all: it is stored under every name, which tiers that have it find quick. */
void store_again_locked(struct l2fs *fs, struct inode *inode, bool urgent);
/* ---- tiers that send (store_send.c; store_unwanted_locked: store.c) ---- */
/* Ends what is on its way there with -ECANCELED: of one name, or of all (NULL). Does not wait. */
void store_cancel_locked(struct l2fs *fs, const struct inode *inode, const char *key);
/* The same, and it counts as given up there until it is written again or tried by hand. */
void store_unwanted_locked(struct l2fs *fs, struct inode *inode);
/* Stored, but not as it should be sent now: what is on its way is cancelled, it is stored again; what
 * is not in L1 is loaded for it. */
void store_send_again_locked(struct l2fs *fs, struct inode *inode);
void store_loaded_locked(struct l2fs *fs, struct inode *inode); /* it has come into L1 */

/* L1 wants `bytes`: stores the coldest that nobody asked for yet, to be evicted then, and lets go of
 * tiers that fail where another one has the object. A bounded number at each call. */
void store_make_room_locked(struct l2fs *fs, uint64_t bytes);
/* The end: everything that is not stored gets its last tries. */
void store_drain_locked(struct l2fs *fs);
/* The time for that is over: tiers that fail are given up where another one has the object. */
void store_drain_end_locked(struct l2fs *fs);
bool store_drained_locked(const struct l2fs *fs); /* nothing is left that may still succeed */

#endif
