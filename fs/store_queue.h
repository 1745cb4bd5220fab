/* store_queue.h - jobs of the store controller that wait: in order of age, urgent ones apart, and by
 * group. Level 3, private to store_ctl.c. Any thread; O(1).
 */
#ifndef L2FS_STORE_QUEUE_H
#define L2FS_STORE_QUEUE_H

#include "hash.h"
#include "lock.h"
#include "store_ctl.h"

struct store_queue {
    pthread_mutex_t mutex;  /* leaf */
    struct list waiting[2]; /* mutex; urgent ones, others */
    struct hash groups;     /* mutex */
    size_t count;           /* mutex */
    struct metric *gauge;
};

int store_queue_init(struct store_queue *q, struct metric *gauge); /* 0 or -ENOMEM */
void store_queue_fini(struct store_queue *q);                      /* empty */

void store_queue_push(struct store_queue *q, struct store_job *job, bool urgent);
bool store_queue_remove(struct store_queue *q, struct store_job *job); /* false: not in it */
struct store_job *store_queue_pop(struct store_queue *q);              /* NULL: empty */
/* The next of that group, if it fits beside `bytes` of others in a batch. */
struct store_job *store_queue_pop_fellow(struct store_queue *q, uint64_t group, uint64_t bytes);
uint64_t store_queue_group(const struct store_job *job); /* what it may travel with */
size_t store_queue_count(struct store_queue *q);

#endif
