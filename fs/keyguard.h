/* keyguard.h - at most one change of a key in L2 at a time, in the order asked. Level 3.
 *
 * A store, removal or rename enters the guard for its key (a rename for both) and leaves it when
 * the tiers have answered; whoever comes meanwhile queues. Entering never blocks, so it is done
 * under the namespace lock, in the order in which the namespace changed: that order is then the
 * order in which L2 changes. The cost does not depend on how many others are inside, but for a
 * directory that is moved. Has a lock of its own (leaf). Any thread.
 */
#ifndef L2FS_KEYGUARD_H
#define L2FS_KEYGUARD_H

#include "list.h"
#include "lock.h"

#define KEYGUARD_BUCKETS 1024

struct keyguard {
    pthread_mutex_t mutex;
    struct list tickets;                   /* mutex; in order of entering */
    size_t count;                          /* mutex; of them */
    size_t wholes;                         /* mutex; of them for the whole tree */
    uint64_t entered;                      /* mutex; ever */
    struct list buckets[KEYGUARD_BUCKETS]; /* mutex; of keyslot, by hash */
};

struct keyslot {
    struct list link;
    struct keyticket *ticket;
};

/* One request to change one or two keys, embedded by the caller. Only `turn` is the caller's. */
struct keyticket {
    struct list link;
    struct keyslot slot[2];
    uint64_t hash[2]; /* of the keys: two keys of one hash merely wait for each other */
    uint64_t number;  /* in order of entering */
    bool whole_tree;  /* overlaps every other ticket */
    size_t blockers;  /* earlier tickets that overlap */
    /* It is this ticket's turn. Called once, with the guard's lock held: it may only signal or
     * post. */
    void (*turn)(struct keyticket *t);
};

void keyguard_init(struct keyguard *g);
void keyguard_fini(struct keyguard *g);

/* True: go ahead now. False: `turn` will be called. `other` may be NULL; `key` NULL overlaps every
 * other ticket (a directory is moved). */
bool keyguard_enter(struct keyguard *g, struct keyticket *t, const char *key, const char *other);
/* Enters only when that is at once `key`'s turn; `turn` is not called. */
bool keyguard_try(struct keyguard *g, struct keyticket *t, const char *key);
void keyguard_leave(struct keyguard *g, struct keyticket *t);

#endif
