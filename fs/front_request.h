/* front_request.h - operations that may wait. Level 5.
 *
 * A struct request is the first member of one that holds copies of the operation's arguments. Its
 * `call` is made by the FUSE worker, and again by the loop thread as often as it says -EINPROGRESS;
 * then `reply` follows in the same thread. FUSE_INTERRUPT, and the end of the session, take the
 * waiting back: the call then comes out with -EINTR.
 */
#ifndef L2FS_FRONT_REQUEST_H
#define L2FS_FRONT_REQUEST_H

#include "front_impl.h"

static inline struct caller caller_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    return (struct caller){.uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid};
}

/* Something that the instance keeps. `lock` is held from before the instance gets it until it is in
 * front.parked; its retry takes the lock first, and so never overtakes that. */
struct parked {
    struct waiter w;
    struct list link; /* front.lock */
    struct front *front;
    pthread_mutex_t lock;
    bool listed;    /* lock; it was parked once */
    pid_t caller;   /* whose signals end it; 0: none do */
    uint64_t since; /* front.lock; parked */
    bool signalled; /* front.lock; when it was looked at last */
};
void parked_init(struct parked *p, struct front *f, void (*retry)(struct waiter *w));
void parked_add(struct parked *p); /* p->lock held */
/* Nothing touches the session for it any more. p->lock not held; `p` may be freed after it. */
void parked_done(struct parked *p);
/* Takes back what is parked, now and later. Returns when nothing is left, or at `deadline`. */
void front_drain(struct front *f, uint64_t deadline);

struct request;
struct request_op {
    int (*call)(struct request *r);
    void (*reply)(struct request *r, int rc);
    /* A signal ends the wait with EINTR. Not for fsync and changes of names: no local file system
     * does that, and programs do not expect it. */
    bool interruptible;
};
struct request {
    struct parked p;
    const struct request_op *op;
    fuse_req_t req;    /* NULL in `reply`: nobody can be answered any more */
    struct list again; /* retrier.lock */
    bool armed;        /* the interrupt callback is registered */
};
/* Zeroed, `size` bytes in one allocation, freed after reply. NULL: answered with ENOMEM. */
void *request_create(fuse_req_t req, const struct request_op *op, size_t size);
void request_run(struct request *r);
void request_reply_status(struct request *r, int rc); /* a `reply` that has nothing else to say */

int retrier_start(struct front *f); /* 0 or -errno */
void retrier_fini(struct front *f); /* nothing is parked any more */

/* Page-aligned buffers of FRONT_IO_MAX bytes. NULL on no memory. */
void *buffer_get(struct front *f);
void buffer_put(struct front *f, void *buf);
void buffers_free(struct front *f);

#endif
