/* fault_impl.h - what fault.c and fault_task.c share. Level 2, private to them. */
#ifndef L2FS_FAULT_IMPL_H
#define L2FS_FAULT_IMPL_H

#include "fault_rules.h"
#include "job.h"
#include "loop.h"
#include "mailbox.h"
#include "spec.h"

struct fault_config {
    json_t *inner;
    json_t *rules;
    uint64_t drop_timeout;
    struct fault_gaps gaps;
};

struct fault;

/* An eventfd of the wrapped adapter, watched by the loop. */
struct fault_watch {
    struct loop_fd event;
    struct fault *fault;
    enum l2_family family;
};

struct fault {
    struct adapter base;
    struct adapter_ops ops; /* lacks what the wrapped adapter lacks */
    const struct fault_config *cfg;
    struct staging *staging;
    char *instance; /* of the wrapped adapter, as the next two */
    struct spec spec;
    struct adapter_env inner_env;
    struct adapter *inner;
    struct fault_rules *rules;
    struct jobs jobs;
    struct loop *loop;
    struct mailbox *mailbox;
    struct fault_watch watch[L2_FAMILIES];
    struct list asked[L2_FAMILIES]; /* struct fault_job, the wrapped adapter has it; loop thread */
    struct list waiting;            /* struct fault_job, due later; loop thread */
    bool stopped;                   /* set when the loop thread has ended */
};

static inline struct fault *to_fault(struct adapter *a)
{
    return container_of(a, struct fault, base);
}

l2_task fault_submit(struct fault *f, const struct job_request *req);
void fault_watch_ready(struct loop_fd *event, uint32_t events);
/* Ends everything under way; the loop and the wrapped adapter are stopped. */
void fault_end_jobs(struct fault *f);

#endif
