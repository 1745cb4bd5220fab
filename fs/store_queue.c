/* store_queue.c - see store_queue.h. A job is in the list of its kind and in that of its group. */
#include "config.h"

#include "store_queue.h"

struct group {
    struct hash_node node;
    struct list jobs; /* by group_link, oldest first */
};

int store_queue_init(struct store_queue *q, struct metric *gauge)
{
    lock_init(&q->mutex);
    list_init(&q->waiting[0]);
    list_init(&q->waiting[1]);
    q->gauge = gauge;
    return hash_init(&q->groups);
}

void store_queue_fini(struct store_queue *q)
{
    hash_fini(&q->groups);
    pthread_mutex_destroy(&q->mutex);
}

uint64_t store_queue_group(const struct store_job *job)
{
    return job->group * 2 + job->urgent;
}

static struct group *find_locked(struct store_queue *q, uint64_t id)
{
    struct hash_node *node = hash_first(&q->groups, id);

    return node ? container_of(node, struct group, node) : NULL; /* the id is the hash value */
}

/* No memory: the job travels alone. */
static void join_group_locked(struct store_queue *q, struct store_job *job)
{
    uint64_t id = store_queue_group(job);
    struct group *g = find_locked(q, id);

    list_init(&job->group_link);
    if (!g) {
        g = malloc(sizeof(*g));
        if (!g)
            return;
        list_init(&g->jobs);
        hash_insert(&q->groups, &g->node, id);
    }
    list_push_back(&g->jobs, &job->group_link);
}

static void leave_group_locked(struct store_queue *q, struct store_job *job)
{
    struct group *g;

    if (!list_linked(&job->group_link))
        return;
    list_remove(&job->group_link);
    g = find_locked(q, store_queue_group(job));
    if (g && list_empty(&g->jobs)) {
        hash_remove(&q->groups, &g->node);
        free(g);
    }
}

static void remove_locked(struct store_queue *q, struct store_job *job)
{
    leave_group_locked(q, job);
    list_remove(&job->link);
    job->queued = false;
    q->count--;
    metric_add(q->gauge, -1);
}

void store_queue_push(struct store_queue *q, struct store_job *job, bool urgent)
{
    LOCKED_SCOPE(&q->mutex);
    job->urgent = urgent;
    job->queued = true;
    list_push_back(&q->waiting[urgent ? 0 : 1], &job->link);
    join_group_locked(q, job);
    q->count++;
    metric_add(q->gauge, 1);
}

bool store_queue_remove(struct store_queue *q, struct store_job *job)
{
    LOCKED_SCOPE(&q->mutex);
    if (!job->queued)
        return false;
    remove_locked(q, job);
    return true;
}

struct store_job *store_queue_pop(struct store_queue *q)
{
    struct store_job *job;
    struct list *from;

    LOCKED_SCOPE(&q->mutex);
    from = &q->waiting[list_empty(&q->waiting[0])];
    if (list_empty(from))
        return NULL;
    job = list_entry(from->next, struct store_job, link);
    remove_locked(q, job);
    return job;
}

struct store_job *store_queue_pop_fellow(struct store_queue *q, uint64_t group, uint64_t bytes)
{
    struct store_job *job;
    struct group *g;

    LOCKED_SCOPE(&q->mutex);
    g = find_locked(q, group);
    if (!g)
        return NULL;
    job = list_entry(g->jobs.next, struct store_job, group_link);
    if (bytes + job->bytes > STORE_BATCH_BYTES)
        return NULL;
    remove_locked(q, job);
    return job;
}

size_t store_queue_count(struct store_queue *q)
{
    LOCKED_SCOPE(&q->mutex);
    return q->count;
}
