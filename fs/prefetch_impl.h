/* prefetch_impl.h - what prefetch_ctl.c (queues), prefetch_task.c (tiers and their tasks) and
 * prefetch_request.c share. Level 3, private to them. Loop thread only, unless a field names the mutex.
 */
#ifndef L2FS_PREFETCH_IMPL_H
#define L2FS_PREFETCH_IMPL_H

#include "lock.h"
#include "prefetch_ctl.h"

/* A tier's tasks of one family. */
struct prefetch_source {
    struct loop_fd fd;
    struct prefetch_ctl *ctl;
    size_t tier;
    struct list flying;  /* struct prefetch_task in time */
    struct list overdue; /* past their deadline: nobody waits, what comes is given back */
};

struct prefetch_tier {
    struct prefetch_source lookups, loads;
    bool watched;      /* known to the loop, until forgotten */
    bool active;       /* gets new requests, until dropped */
    unsigned misses;   /* deadlines missed in a row */
    uint64_t probe_at; /* stalled: the next try */
};

struct prefetch_ctl {
    struct prefetch_params p;
    struct prefetch_tier tiers[TIERS_MAX];
    struct list running;       /* requests that were started */
    size_t opens, backgrounds; /* of running */
    struct loop_timer timer;
    struct letter kick;
    struct metric *loads_total, *misses_total, *corrupt_total, *timeouts_total;

    pthread_mutex_t mutex;         /* leaf */
    struct list open_queue;        /* mutex */
    struct list background_queue;  /* mutex */
    size_t count[PREFETCH_STATES]; /* mutex; requests per state */
    uint64_t bytes;                /* mutex; of running background requests */
    bool kicked;                   /* mutex; the letter is under way */
    bool cancelling;               /* mutex; some request has the flag */
    size_t overdue[TIERS_MAX];     /* mutex */
    uint32_t stalled;              /* mutex; bit per tier */
};

/* ---- prefetch_task.c ---- */
/* May be asked now: active, and not stalled or due for a probe. */
bool prefetch_tier_usable(struct prefetch_ctl *c, size_t tier);
/* One task for the keys of r whose numbers are in index[0..n-1]. 0: it counts in r->tasks, and
 * prefetch_looked_up or prefetch_loaded will be called for each of its keys, then prefetch_ended. */
int prefetch_task_start(struct prefetch_ctl *c, struct prefetch_request *r, size_t tier,
                        enum l2_family family, const size_t *index, size_t n);
/* Nobody waits for the tasks of r any more. */
void prefetch_tasks_orphan(struct prefetch_ctl *c, const struct prefetch_request *r);
void prefetch_timer_expired(struct loop_timer *t);
void prefetch_tasks_free(struct prefetch_ctl *c);
void prefetch_object_drop(struct prefetch_ctl *c, struct l2_object *o);

/* ---- prefetch_request.c ---- */
void prefetch_look_up(struct prefetch_ctl *c, struct prefetch_request *r);
void prefetch_plan_keys(struct prefetch_ctl *c, struct prefetch_request *r);
void prefetch_reserve_keys(struct prefetch_ctl *c, struct prefetch_request *r);
/* One task per tier for the keys that wait for one. */
void prefetch_load_keys(struct prefetch_ctl *c, struct prefetch_request *r);
/* Every key from `from` on that has no outcome yet. */
void prefetch_give_rest(struct prefetch_ctl *c, struct prefetch_request *r, size_t from, int error);
/* error 0: the key is there and locked. */
void prefetch_looked_up(struct prefetch_request *r, size_t i, size_t tier, int error,
                        uint64_t size);
/* object: NULL when there is an error. */
void prefetch_loaded(struct prefetch_ctl *c, struct prefetch_request *r, size_t i, size_t tier,
                     int error, struct l2_object *object);
/* Of a key that is being loaded; else nothing. */
void prefetch_landed(struct prefetch_ctl *c, struct prefetch_request *r, size_t i,
                     const struct l2_landed *now);

/* ---- prefetch_ctl.c ---- */
/* A task of r ended: goes on with what follows. */
void prefetch_ended(struct prefetch_ctl *c, struct prefetch_request *r);
void prefetch_pump(struct prefetch_ctl *c);

#endif
