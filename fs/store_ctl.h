/* store_ctl.h - the store controller: brings published objects into the tiers. Level 3.
 *
 * Jobs are queued from any thread; everything else happens on the loop thread: prepare (the owner
 * resolves the key and opens the bytes), submit to each target tier, gather completions, done. At
 * most `max_bytes` are in flight. A failed job is given back with its error, the owner decides when
 * to try again.
 */
#ifndef L2FS_STORE_CTL_H
#define L2FS_STORE_CTL_H

#include "loop.h"
#include "mailbox.h"
#include "tier.h"

#define STORE_TIERS_MAX 32

struct store_job {
    struct list link;
    /* Set by prepare: */
    char *key;         /* owned by the job; freed by the controller after done */
    struct l2_buf buf; /* buf.fd belongs to the job and is closed after done */
    uint32_t targets;  /* bit per tier */
    /* Results for done: */
    uint32_t stored;
    uint32_t failed;
    int error; /* first error of a tier, or 0 */
    bool has_crc;
    uint32_t crc32c;
    /* Private: */
    uint32_t waiting;
    l2_task tasks[STORE_TIERS_MAX];
    uint64_t started;
};

struct store_owner {
    /* Loop thread. 0: go on. -EAGAIN: the owner submits the job again later. Other: dropped, the
     * owner has what it needs. */
    int (*prepare)(struct store_owner *o, struct store_job *job);
    /* Loop thread, after every tier has answered. */
    void (*done)(struct store_owner *o, struct store_job *job);
};

struct store_ctl;

struct store_ctl_params {
    struct loop *loop;
    struct mailbox *mailbox;
    struct tier **tiers;
    size_t ntiers; /* at most STORE_TIERS_MAX */
    uint64_t max_bytes;
    size_t max_jobs;
    struct store_owner *owner;
    struct metrics *metrics;
};

int store_ctl_create(const struct store_ctl_params *p, struct store_ctl **out); /* 0 or -errno */
/* The loop has stopped, the tiers are closed; what is queued or in flight is done with -ESHUTDOWN.
 */
void store_ctl_destroy(struct store_ctl *c);

/* `urgent` goes before the others (somebody waits in fsync). The job is the controller's until
 * prepare refuses it or done. Any thread. */
void store_ctl_submit(struct store_ctl *c, struct store_job *job, bool urgent);
/* A queued job is taken back: true. Being stored, or not queued: false. Any thread. */
bool store_ctl_withdraw(struct store_ctl *c, struct store_job *job);

struct store_ctl_status {
    size_t queued;
    size_t in_flight;
    uint64_t in_flight_bytes;
};
void store_ctl_status(struct store_ctl *c, struct store_ctl_status *out);

#endif
