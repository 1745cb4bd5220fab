/* arrive.h - objects that come from a peer (arrival.h). Level 4.
 *
 * What is on its way has no object, but bytes of L1: promised, then those of its staging file. What has
 * landed is a file like any other, `unread` (unread.h) until its first open.
 */
#ifndef L2FS_ARRIVE_H
#define L2FS_ARRIVE_H

#include <stdatomic.h>

#include "arrival.h"
#include "ready.h"
#include "tier.h"
#include "unread.h"

/* A receiver waits for room: in the queue of those who wait for L1, or of a full quota. */
struct room_wait {
    struct waiter w;
    struct arrive *arrive;
    bool asked; /* ns->lock; queued, or its retry is on the way */
};

struct arrive {
    struct arrivals base;
    struct l2fs *fs;
    atomic_bool open;       /* the tree is there ... */
    atomic_bool ended;      /* ... and is not any more */
    uint64_t reserved;      /* ns->lock; bytes on their way, promised or staged */
    size_t unread;          /* ns->lock; files, and their bytes */
    uint64_t unread_bytes;  /* ns->lock */
    struct room_wait space; /* ns->lock */
    struct room_wait quota; /* ns->lock */
    pthread_mutex_t mutex;  /* leaf; held while they are called */
    struct list early;      /* mutex; requests that were ready before the tree was there */
    size_t nearly;          /* mutex; of them */
    struct {
        void (*fn)(void *arg);
        void *arg;
    } rooms[TIERS_MAX]; /* mutex */
    struct metric *landed, *bytes, *expired;
};

void arrive_init(struct l2fs *fs); /* before the tiers are opened */
void arrive_open(struct l2fs *fs); /* the mount is built: who was told to wait may come */
void arrive_end(struct l2fs *fs);  /* before the tiers are closed: nothing is taken in any more */
void arrive_fini(struct l2fs *fs); /* no adapter is left */

/* Of `arrivals` (arrive_stage.c). */
void arrive_give_back(struct arrivals *base, uint64_t size);
int arrive_stage(struct arrivals *base, uint64_t size, uint64_t *id, int *fd);
void arrive_drop(struct arrivals *base, uint64_t size, uint64_t id);
/* arrivals.ready; what comes while the mount starts is kept. */
int arrive_ready(struct arrivals *base, const char *req_id, int error);
/* What was kept: frees it, having said it or not. */
void arrive_end_early(struct arrive *a, struct list *early, bool say);

#endif
