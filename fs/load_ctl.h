/* load_ctl.h - brings one object from L2 into a staging file. Level 3.
 *
 * Lookup-and-lock on every tier -> the lowest index that has it -> load -> on failure the next one
 * -> unlock all. Jobs are submitted from any thread; done is called on the loop thread, once. A job
 * ends when its tiers have answered: they bound their own work, there is no cancel.
 */
#ifndef L2FS_LOAD_CTL_H
#define L2FS_LOAD_CTL_H

#include "loop.h"
#include "mailbox.h"
#include "tier.h"

struct load_job {
    struct list link;
    char *key; /* the submitter's, valid until done */
    /* Results: */
    int error;               /* 0, -ENOENT, -EBADMSG (a tier had it corrupt), -ENOSPC, -EIO */
    struct l2_object object; /* the receiver's when error is 0 */
    size_t tier;
    uint32_t found; /* tiers that hold it */
    /* Private: */
    uint32_t waiting;
    uint32_t locked;
    bool loading;
    l2_task tasks[32];
    void (*done)(struct load_job *job);
};

struct load_ctl;

struct load_ctl_params {
    struct loop *loop;
    struct mailbox *mailbox;
    struct tier **tiers;
    size_t ntiers; /* at most 32 */
    size_t max_jobs;
    struct metrics *metrics;
};

int load_ctl_create(const struct load_ctl_params *p, struct load_ctl **out); /* 0 or -errno */
/* The loop has stopped, the tiers are closed; what is queued or in flight is done with -ESHUTDOWN.
 */
void load_ctl_destroy(struct load_ctl *c);
void load_ctl_submit(struct load_ctl *c, struct load_job *job);
size_t load_ctl_active(struct load_ctl *c); /* queued and in flight; any thread */

#endif
