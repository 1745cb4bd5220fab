/* taskq.h - ids, eventfds and exactly-once results for one task family of an adapter. Level 2.
 *
 * A task is made by taskq_begin, finished once by taskq_finish (which publishes before it signals),
 * and handed out once by taskq_take or taskq_pop. Tasks are embedded in the adapter's own structure;
 * from begin until take/pop they belong to the queue. Any thread.
 */
#ifndef L2FS_TASKQ_H
#define L2FS_TASKQ_H

#include "hash.h"
#include "l2.h"
#include "list.h"

struct taskq;

struct taskq_item {
    struct hash_node node;
    struct list done_link;
    l2_task id;
    bool done;
};

int taskq_create(struct taskq **out); /* makes the eventfd. 0 or -errno */
/* Every task must have been finished; those not handed out are given to `drop`. */
void taskq_destroy(struct taskq *q, void (*drop)(struct taskq_item *item));
int taskq_fd(const struct taskq *q);

/* Gives the item its id, or -ESHUTDOWN after taskq_shut. */
l2_task taskq_begin(struct taskq *q, struct taskq_item *item);
void taskq_finish(struct taskq *q, struct taskq_item *item);
/* Takes the result of task `id`: 0, -EAGAIN (pending), -ENOENT (unknown or handed out). */
int taskq_take(struct taskq *q, l2_task id, struct taskq_item **out);
/* A task that was not handed out, or NULL; it stays until its taker takes it. */
struct taskq_item *taskq_find(struct taskq *q, l2_task id);
/* Writes the eventfd for something else than a finish; only while a task is outstanding. */
void taskq_signal(struct taskq *q);
/* The oldest finished task, or NULL. */
struct taskq_item *taskq_pop(struct taskq *q);

void taskq_shut(struct taskq *q);          /* no more begins */
size_t taskq_outstanding(struct taskq *q); /* begun and not finished */
/* Waits until nothing is outstanding. 0 or -ETIMEDOUT. `deadline`: clock.h. */
int taskq_drain(struct taskq *q, uint64_t deadline);

#endif
