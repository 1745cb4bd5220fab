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
    char *release; /* path of a file, or NULL */
    struct fault_gaps gaps;
};

struct fault;

struct fault_job {
    struct job job;
    struct fault *fault;
    struct letter letter;
    struct loop_timer timer;
    struct list link;
    struct fault_verdict *verdicts; /* per key */
    uint64_t due;                   /* 0: at once */
    bool never;                     /* completes when released */
    bool reorder;                   /* completes after another */
    /* What the wrapped adapter is asked for: */
    size_t n;
    size_t *index; /* position in the job */
    const char **keys;
    struct l2_buf *bufs;       /* store */
    int *copies;               /* store: descriptors of spoiled copies, else -1 */
    uint64_t *sizes;           /* lookup: what it answers */
    struct l2_object *objects; /* load: what it answers */
    struct l2_landed *landed;
    int *errors;
    l2_task inner;
};

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
    struct list held[L2_FAMILIES];  /* struct fault_job, reordered; loop thread */
    struct list stuck;              /* struct fault_job, never completing; loop thread */
    struct loop_fd release;         /* inotify: something happened beside the release file */
    bool stopped;                   /* set when the loop thread has ended */
};

static inline struct fault *to_fault(struct adapter *a)
{
    return container_of(a, struct fault, base);
}

l2_task fault_submit(struct fault *f, const struct job_request *req);
void fault_watch_ready(struct loop_fd *event, uint32_t events);
/* The wrapped adapter has answered: completes the task when its verdicts say so. */
void fault_end_job(struct fault_job *t);
/* Ends everything under way; the loop and the wrapped adapter are stopped. */
void fault_end_jobs(struct fault *f);

/* fault_hold.c: watching the release file. 0 or -errno, logged. */
int fault_release_open(struct fault *f);
void fault_release_close(struct fault *f);
/* Now is not the time for tasks that never complete. */
bool fault_is_released(const struct fault *f);

#endif
