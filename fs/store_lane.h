/* store_lane.h - what one tier has in hand of the store controller's tasks, and whether it keeps up.
 * Level 3, private to store_ctl.c.
 *
 * Loop thread only, but for lane_status.
 */
#ifndef L2FS_STORE_LANE_H
#define L2FS_STORE_LANE_H

#include "list.h"
#include "lock.h"
#include "store_ctl.h"

struct store_item {
    struct store_parcel *parcel;
    struct store_job *job; /* NULL: no longer waits */
};

struct store_task {
    struct list link; /* lane.tasks or lane.late, oldest first */
    l2_task id;
    uint64_t submitted;
    uint64_t deadline;
    uint64_t bytes;
    size_t n;
    struct store_item items[];
};

struct lane {
    struct loop_fd fd;
    struct store_ctl *ctl;
    struct tier *tier; /* NULL: none */
    size_t index;
    struct list tasks;
    struct list late;
    size_t ntasks;
    size_t nlate;
    uint64_t bytes; /* of tasks */
    uint64_t late_bytes;
    unsigned strikes;  /* overdue tasks since the last answer in time */
    uint64_t answered; /* when something was answered last, or the lane went from idle to busy */
    uint64_t probe_at;
    uint64_t probe_pause;
    int last_error;
    pthread_mutex_t mutex;          /* leaf */
    struct store_tier_status shown; /* mutex */
};

struct lane_limits {
    uint64_t max_bytes;
    size_t max_tasks;
    uint64_t timeout;
};

void lane_init(struct lane *l, struct store_ctl *ctl, size_t index);
void lane_fini(struct lane *l);
void lane_open(struct lane *l, struct tier *tier); /* as new */

/* May the lane get a task now? LANE_FULL: wait for it. */
enum lane_way { LANE_OPEN, LANE_FULL, LANE_LAGS, LANE_PROBE, LANE_STALLED };
enum lane_way lane_way(const struct lane *l, const struct lane_limits *m, uint64_t now);

struct store_task *lane_task_create(size_t max); /* NULL on no memory; free() */
/* A submitted task. */
void lane_add(struct lane *l, struct store_task *t, const struct lane_limits *m, uint64_t now);
/* The task with this id, taken out, NULL when there is none. *late: it was overdue. */
struct store_task *lane_take(struct lane *l, l2_task id, bool *late);
/* The first task whose deadline has passed, now among the late ones. NULL: none. */
struct store_task *lane_overdue(struct lane *l, uint64_t now);
void lane_note_error(struct lane *l, int error);
void lane_show(struct lane *l, const struct lane_limits *m); /* what lane_status then tells */
void lane_status(struct lane *l, struct store_tier_status *out);

#endif
