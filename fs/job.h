/* job.h - a task with its keys and room for its result, and the three queues of an adapter.
 * Level 2.
 *
 * The half of the contract that every adapter shares: it copies what a submit was given, keeps the
 * per-key results while the adapter works, and hands them out as adapter.h says. An adapter embeds
 * `struct jobs`, makes a job per submit, fills errors[] (and crc32c/bytes, sizes, objects), and
 * calls jobs_finish once. Between begin and finish the job is the adapter's: several threads may
 * fill different keys of it as long as they are joined before the finish.
 */
#ifndef L2FS_JOB_H
#define L2FS_JOB_H

#include "adapter.h"
#include "lock.h"
#include "taskq.h"

struct job {
    struct taskq_item item; /* private */
    struct jobs *owner;     /* private */
    enum l2_family family;
    size_t n;
    char **keys;               /* copies, one block */
    int *errors;               /* 0: stored, found or loaded */
    struct l2_buf *bufs;       /* store: copied, what they point to stays the caller's */
    uint32_t *crc32c;          /* store */
    uint64_t bytes;            /* store: really written */
    uint64_t *sizes;           /* lookup */
    struct l2_object *objects; /* load: valid where errors[i] is 0 */
    struct bitmap *bits;       /* private */
    pthread_mutex_t landing;   /* private, leaf; load */
    struct l2_landed *landed;  /* landing */
    bool watched;              /* landing; somebody asks for `landed` */
    bool news;                 /* landing; since it was asked for last */
};

struct job_request {
    enum l2_family family;
    const char *const *keys;
    const struct l2_buf *bufs; /* store only */
    size_t n;
};

/* Zeroed but for the request; `size` is that of the structure that starts with the job, and the
 * whole is one malloc'ed block. 0, -EINVAL (n is 0) or -ENOMEM. */
int job_create(size_t size, const struct job_request *req, struct job **out);
/* Only for a job that was not begun, or whose begin failed. */
void job_destroy(struct job *j);
void job_fail(struct job *j, int error); /* every key */
/* The results of who keeps nothing: stores succeed with 0 bytes (what is not stable is read, for its
 * checksum), nothing is found or loaded. */
void job_keep_nothing(struct job *j);

struct jobs {
    struct taskq *q[L2_FAMILIES];
    /* Takes a loaded object that nobody queried before jobs_fini. */
    void (*drop_object)(void *arg, struct l2_object *o);
    void *arg;
};

/* `drop_object` and `arg` are set by the caller before. 0 or -errno. */
int jobs_init(struct jobs *s);
void jobs_fini(struct jobs *s); /* every job is finished; all zero is fine */
int jobs_event_fd(const struct jobs *s, enum l2_family family);

/* The job's id; on failure (-ESHUTDOWN) it is destroyed. */
l2_task jobs_begin(struct jobs *s, struct job *j);
void jobs_finish(struct jobs *s, struct job *j); /* j is not the caller's any more */
/* Key i of a load has come so far; any thread, between begin and finish. Every LANDED_STEP bytes, and
 * whenever it is another file, the owner hears of it, if he asked. */
#define LANDED_STEP (2 * MIB)
void jobs_landed(struct jobs *s, struct job *j, size_t i, const struct l2_landed *now);
void jobs_shut(struct jobs *s);
int jobs_drain(struct jobs *s, uint64_t deadline);

int jobs_pop_stored(struct jobs *s, struct l2_store_result *out);
int jobs_query_lookup(struct jobs *s, l2_task task, struct bitmap **found, uint64_t *sizes);
int jobs_query_load(struct jobs *s, l2_task task, struct bitmap **loaded, struct l2_object *objects,
                    int *errors);
int jobs_query_landed(struct jobs *s, l2_task task, struct l2_landed *landed);

/* A copy of an array of strings in one block, to be freed with free(). NULL on no memory. */
char **job_copy_keys(const char *const *keys, size_t n);

#endif
