/* taskq.c - ids, eventfd and exactly-once results of one task family.
 *
 * One mutex guards everything but the descriptor, which never changes. A finished task is put on
 * the done list before the eventfd is written, both under the mutex, so a reader that reads the
 * eventfd first and takes results second cannot miss one, and a drained queue may be destroyed
 * right away. Writing the eventfd cannot block: it is nonblocking, and a full counter means that a
 * wake-up is pending already.
 */
#include "taskq.h"

#include <assert.h>
#include <sys/eventfd.h>

#include "clock.h"
#include "lock.h"

struct taskq {
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* outstanding has become 0 */
    struct hash items;   /* by id: begun and not handed out; lock */
    struct list done;    /* finished and not handed out, oldest first; lock */
    l2_task last_id;     /* lock */
    size_t outstanding;  /* lock */
    bool shut;           /* lock */
};

int taskq_create(struct taskq **out)
{
    struct taskq *q = calloc(1, sizeof(*q));
    int err;

    if (!q)
        return -ENOMEM;
    err = hash_init(&q->items);
    if (err)
        goto fail_free;
    q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (q->fd < 0) {
        err = -errno;
        goto fail_hash;
    }
    lock_init(&q->lock);
    cond_init(&q->idle);
    list_init(&q->done);
    *out = q;
    return 0;

fail_hash:
    hash_fini(&q->items);
fail_free:
    free(q);
    return err;
}

void taskq_destroy(struct taskq *q, void (*drop)(struct taskq_item *item))
{
    struct taskq_item *item;

    if (!q)
        return;
    assert(taskq_outstanding(q) == 0);
    while ((item = taskq_pop(q)))
        drop(item);
    close(q->fd);
    hash_fini(&q->items);
    pthread_cond_destroy(&q->idle);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

int taskq_fd(const struct taskq *q)
{
    return q->fd;
}

l2_task taskq_begin(struct taskq *q, struct taskq_item *item)
{
    LOCKED_SCOPE(&q->lock);
    if (q->shut)
        return -ESHUTDOWN;
    item->id = ++q->last_id;
    item->done = false;
    list_init(&item->done_link);
    hash_insert(&q->items, &item->node, (uint64_t)item->id);
    q->outstanding++;
    return item->id;
}

void taskq_signal(struct taskq *q)
{
    uint64_t one = 1;
    ssize_t n;

    do
        n = write(q->fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
}

void taskq_finish(struct taskq *q, struct taskq_item *item)
{
    LOCKED_SCOPE(&q->lock);
    assert(!item->done);
    item->done = true;
    list_push_back(&q->done, &item->done_link);
    taskq_signal(q);
    if (--q->outstanding == 0)
        pthread_cond_broadcast(&q->idle);
}

static struct taskq_item *find_locked(const struct taskq *q, l2_task id)
{
    struct hash_node *node;

    for (node = hash_first(&q->items, (uint64_t)id); node; node = hash_next(node)) {
        struct taskq_item *item = container_of(node, struct taskq_item, node);

        if (item->id == id)
            return item;
    }
    return NULL;
}

struct taskq_item *taskq_find(struct taskq *q, l2_task id)
{
    LOCKED_SCOPE(&q->lock);
    return find_locked(q, id);
}

static void remove_locked(struct taskq *q, struct taskq_item *item)
{
    list_remove(&item->done_link);
    hash_remove(&q->items, &item->node);
}

int taskq_take(struct taskq *q, l2_task id, struct taskq_item **out)
{
    struct taskq_item *item;

    LOCKED_SCOPE(&q->lock);
    item = find_locked(q, id);
    if (!item)
        return -ENOENT;
    if (!item->done)
        return -EAGAIN;
    remove_locked(q, item);
    *out = item;
    return 0;
}

struct taskq_item *taskq_pop(struct taskq *q)
{
    struct taskq_item *item;

    LOCKED_SCOPE(&q->lock);
    if (list_empty(&q->done))
        return NULL;
    item = list_entry(q->done.next, struct taskq_item, done_link);
    remove_locked(q, item);
    return item;
}

void taskq_shut(struct taskq *q)
{
    LOCKED_SCOPE(&q->lock);
    q->shut = true;
}

size_t taskq_outstanding(struct taskq *q)
{
    LOCKED_SCOPE(&q->lock);
    return q->outstanding;
}

int taskq_drain(struct taskq *q, uint64_t deadline)
{
    LOCKED_SCOPE(&q->lock);
    while (q->outstanding) {
        if (clock_now() >= deadline)
            return -ETIMEDOUT;
        cond_wait_until(&q->idle, &q->lock, deadline);
    }
    return 0;
}
