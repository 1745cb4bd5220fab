/* store_impl.h - what store.c and store_job.c share. Level 4, private to them. */
#ifndef L2FS_STORE_IMPL_H
#define L2FS_STORE_IMPL_H

#include "core.h"
#include "policy.h"

/* What adapters read of one key, and its turn among the changes of that key in L2. Both last until
 * the last adapter has answered. */
struct parcel {
    struct store_parcel base;
    struct keyticket ticket;
    struct store_work *work; /* ours until prepare hands it over and after done */
    struct l2fs *fs;
    struct inode *inode;
    void *xattrs;
    char *peer, *req_id; /* of the route; NULL: not said */
    uint32_t gen;
    uint32_t late;         /* its work is done, these tiers still read: holds the inode busy */
    struct list late_link; /* stores.late */
    struct letter cancel;
    bool cancelling; /* the letter is posted */
    bool dropped;    /* and the parcel ended before it came: it frees it */
    char key[];
};

/* The stores of one object, one name after the other. */
struct store_work {
    struct store_job job;
    struct list retry_link; /* stores.retries[pause] */
    struct l2fs *fs;
    struct inode *inode;
    struct parcel *parcel; /* not with the controller: waits for its turn */
    struct parcel *flying; /* with the controller */
    uint32_t gen;          /* what is stored under object.storing_name ... */
    uint64_t staging_id;   /* ... from this file, */
    uint32_t have;         /* what tiers have taken of it, */
    uint32_t lost;         /* and where it was given up */
    uint32_t no_room;      /* tiers that make room for it */
    uint8_t tries[TIERS_MAX];
    unsigned pause;
    uint64_t retry_at;
};

/* ---- store_job.c ---- */
void store_owner_init(struct store_owner *o);
void store_parcel_drop_locked(struct parcel *p); /* NULL is fine */
/* What was stored is enough: the tiers that lack it are given up. False: no keeping tier has it. */
bool store_settle_for_locked(struct store_work *work);

/* ---- store.c ---- */
struct dentry *store_name_locked(const struct l2fs *fs, const struct inode *inode);
void store_end_locked(struct store_work *work);   /* frees it; may drop the object from L1 */
void store_later_locked(struct store_work *work); /* another try after a pause */
void store_give_up_locked(struct l2fs *fs, struct object *o);

#endif
