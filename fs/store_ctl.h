/* store_ctl.h - the store controller: brings published objects into the tiers. Level 3.
 *
 * Jobs are queued from any thread; everything else happens on the loop thread: prepare (the owner
 * resolves the key and opens the bytes), submit, gather completions, done. Urgent jobs go first,
 * then the oldest; with it go queued jobs of the same group, so that one directory makes one task
 * per tier, of at most STORE_BATCH_KEYS and STORE_BATCH_BYTES. Outcomes are per key and tier. A
 * failed job is given back with its errors, the owner decides when to try again.
 *
 * Deadlines: a task that its tier has not answered within the timeout (and a second for each 16 MiB
 * the tier has in hand) is *overdue*: it counts as failed with -ETIMEDOUT, and the job is done when
 * the others have answered. The adapter still reads the parcel, which therefore stays until the late
 * answer came. After STALL_TASKS overdue ones in a row the tier is *stalled*: its stores fail at
 * once, but for one probe per pause (0.5 s doubling to 30 s), until it answers one in time or the
 * late ones. A tier that has its share in hand and has answered nothing for a while *lags*: the
 * others go on without it, and what it should have got fails with -EAGAIN.
 */
#ifndef L2FS_STORE_CTL_H
#define L2FS_STORE_CTL_H

#include "loop.h"
#include "mailbox.h"
#include "tier.h"

#define STORE_BATCH_KEYS 64
#define STORE_BATCH_BYTES (64 * MIB)
#define STALL_TASKS 8

/* What adapters read. Embedded by the owner, made by prepare. */
struct store_parcel {
    const char *key;
    struct l2_buf buf;
    uint32_t arrived; /* for release: overdue tiers that have stored it after all */
    uint32_t reading; /* private: tiers that have it in hand */
    bool orphan;      /* private: its job is done */
};

struct store_job {
    /* Set before submit: */
    uint64_t group; /* jobs of one group may share a task */
    uint64_t bytes; /* about how many */
    /* Set by prepare: */
    struct store_parcel *parcel;
    uint32_t targets; /* bit per tier */
    /* Results for done: */
    uint32_t stored;
    uint32_t failed;
    uint32_t late;         /* of the failed: overdue */
    uint32_t refused;      /* of the failed: not submitted, the tier is stalled or lags */
    int error;             /* first error of a tier, or 0 */
    int errors[TIERS_MAX]; /* of each tier, when it was a target last */
    bool has_crc;
    uint32_t crc32c;
    /* Private: */
    struct list link;
    struct list group_link;
    bool queued;
    bool urgent;
    uint32_t waiting;
    uint64_t flying_bytes;
};

/* Loop thread, all of them. */
struct store_owner {
    /* 0: go on. -EAGAIN: the owner submits the job again later. Other: dropped, the owner has what
     * it needs. Targets without a tier are left out. */
    int (*prepare)(struct store_owner *o, struct store_job *job);
    /* Every tier has answered or is overdue. job.late is 0: the parcel is the owner's again. At
     * the end also for jobs that were never prepared. */
    void (*done)(struct store_owner *o, struct store_job *job);
    /* The last overdue tier has answered. */
    void (*release)(struct store_owner *o, struct store_parcel *parcel);
};

struct store_ctl;

struct store_ctl_params {
    struct loop *loop;
    struct mailbox *mailbox;
    struct tier **tiers; /* TIERS_MAX, NULL where there is none */
    uint64_t max_bytes;  /* in hand of each tier */
    size_t max_tasks;
    uint64_t timeout;
    struct store_owner *owner;
    struct metrics *metrics;
};

int store_ctl_create(const struct store_ctl_params *p, struct store_ctl **out); /* 0 or -errno */
/* The loop has stopped, the tiers are closed; what is queued or in flight is done with -ESHUTDOWN. More
 * may be submitted because of that, until destroy. */
void store_ctl_end(struct store_ctl *c);
void store_ctl_destroy(struct store_ctl *c); /* after an end, or never used */

/* `urgent` goes before the others (somebody waits in fsync). The job is the controller's until
 * prepare refuses it or done. Any thread. */
void store_ctl_submit(struct store_ctl *c, struct store_job *job, bool urgent);
/* A queued job is taken back: true. Being stored, or not queued: false. Any thread. */
bool store_ctl_withdraw(struct store_ctl *c, struct store_job *job);

/* ---- tiers that come and go; loop thread, or before it runs ---- */

/* Begins to watch tiers[i]. 0, -EBUSY (the slot still has tasks of the tier before) or -errno. */
int store_ctl_add_tier(struct store_ctl *c, size_t i);
/* Nothing is submitted to it any more and its answers are not waited for: what it has in hand fails
 * with -ESHUTDOWN. Its parcels stay until store_ctl_tier_closed. */
void store_ctl_drop_tier(struct store_ctl *c, size_t i);
void store_ctl_tier_closed(struct store_ctl *c, size_t i);       /* after tier_close */
size_t store_ctl_tier_busy(const struct store_ctl *c, size_t i); /* tasks in flight or overdue */

/* ---- what is shown; any thread ---- */

struct store_ctl_status {
    size_t queued;
    size_t in_flight;         /* jobs */
    uint64_t in_flight_bytes; /* of them */
};
void store_ctl_status(struct store_ctl *c, struct store_ctl_status *out);

struct store_tier_status {
    size_t in_flight; /* tasks */
    size_t overdue;
    uint64_t bytes;  /* of both */
    uint64_t oldest; /* when the oldest of both was submitted, or 0 */
    bool lagging;
    bool stalled;
    int last_error; /* since the tier was added, 0: none */
};
void store_ctl_tier_status(struct store_ctl *c, size_t i, struct store_tier_status *out);

#endif
