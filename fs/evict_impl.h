/* evict_impl.h - what evict_ctl.c and evict_pass.c share. Level 4, private to them. */
#ifndef L2FS_EVICT_IMPL_H
#define L2FS_EVICT_IMPL_H

#include "core.h"
#include "evict_ctl.h"
#include "rank.h"

#define EVICT_BATCH 64 /* keys per call of the tier */
#define EVICT_CHECK_NS NSEC_PER_SEC

/* A file that leaves: its keys are keys[first..first+nkeys) of the batch. */
struct victim {
    struct inode *inode; /* busy */
    size_t first, nkeys;
};

struct victims {
    struct victim victim[EVICT_BATCH];
    size_t n;
    char *keys[EVICT_BATCH];
    struct keyticket tickets[EVICT_BATCH];
    int errors[EVICT_BATCH];
    size_t nkeys;
    uint64_t bytes;
};

/* Eviction of one tier. Its thread may outlive the instance (`abandoned`) and then frees it. */
struct tier_evictor {
    struct l2fs *fs;
    struct tier *tier;
    size_t slot;
    pthread_t thread;
    char name[TIER_NAME_MAX];
    struct evict_place place;
    struct metric *bytes;

    struct eviction set;   /* ns->lock */
    struct l2_usage usage; /* ns->lock; when last looked */
    uint64_t grown;        /* ns->lock; bytes stored since */
    uint64_t asked;        /* ns->lock; bytes that stores found no room for */
    struct tenant *asker;  /* ns->lock; compared only, may be gone; NULL: several, or nobody */
    unsigned vain;         /* ns->lock; asked although there seems to be room */
    uint64_t check_at;     /* ns->lock; looks at the usage then */
    uint64_t pause;        /* ns->lock; until the look after that; grows while nothing may go */
    bool stop;             /* ns->lock */
    pthread_cond_t wake;   /* with ns->lock */

    pthread_mutex_t gate; /* leaf */
    pthread_cond_t moved; /* with gate */
    bool outside;         /* gate; in a call of the tier */
    bool ended;           /* gate */
    bool abandoned;       /* gate */

    struct victims victims; /* the thread's own from here on */
    struct bitmap *skipped;
    size_t steps; /* taken in the order of one tenant without finding a victim */
    enum evict_cause why;
};

struct evict_ctl {
    struct tier_evictor *evictor[TIERS_MAX]; /* ns->lock; NULL: the tier has no capacity */
    uint32_t ordered;                        /* ns->lock; tiers whose keys have ranks */
};

/* Everything that these tiers hold gets a rank, the longest unused first. Walks the tree. 0 or
 * -ENOMEM. */
int tier_evictor_order_all_locked(struct l2fs *fs, uint32_t tiers);
void tier_evictor_policy_locked(struct tier_evictor *ev, int policy);

/* What keeps a file in the tier. */
enum obstacle tier_obstacle_locked(struct l2fs *fs, struct inode *inode, size_t slot);
/* What the quotas leave of the capacity, and the bytes of a tenant above its share: its quota, or
 * for those without one what is left. */
uint64_t tier_unshared_locked(const struct tier_evictor *ev);
int64_t tier_above_share(const struct tenant *t, size_t slot, uint64_t unshared);

/* A call of the tier is between these; in does not return when the instance is gone. */
void tier_evictor_out(struct tier_evictor *ev);
void tier_evictor_in(struct tier_evictor *ev);
/* Looks at the usage and makes room when it must. */
void tier_evictor_pass(struct tier_evictor *ev);
/* The thread is stuck in its tier and will not come back to its victims. */
void tier_evictor_give_up_locked(struct tier_evictor *ev);

#endif
