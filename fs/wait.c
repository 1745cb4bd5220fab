/* wait.c - requests that wait for a change of an object or for space. A waiter sits in one queue
 * under ns->lock; waking posts its letter, so `retry` runs on the loop thread without locks.
 * Deadlines are checked by the instance's tick.
 */
#include "config.h"

#include "clock.h"
#include "core.h"

enum { PHASE_IDLE, PHASE_QUEUED, PHASE_POSTED };

static void run_letter(struct letter *l)
{
    struct waiter *w = container_of(l, struct waiter, letter);

    w->retry(w);
}

int wait_locked(struct l2fs *fs, struct list *queue, struct waiter *w, uint64_t timeout,
                int timeout_error)
{
    if (!w->deadline)
        w->deadline = clock_deadline(timeout);
    w->fs = fs;
    w->timeout_error = timeout_error;
    w->error = 0;
    w->grace = 0;
    w->letter.run = run_letter;
    w->phase = PHASE_QUEUED;
    list_init(&w->letter.link);
    list_push_back(queue, &w->link);
    list_push_back(&fs->waiters, &w->all_link);
    return -EINPROGRESS;
}

static void post_locked(struct l2fs *fs, struct waiter *w, int error)
{
    list_remove(&w->link);
    list_remove(&w->all_link);
    w->error = error;
    w->phase = PHASE_POSTED;
    mailbox_post(fs->mailbox, &w->letter);
}

void wake_locked(struct l2fs *fs, struct list *queue, int error)
{
    while (!list_empty(queue))
        post_locked(fs, list_entry(queue->next, struct waiter, link), error);
}

void wake_landed_locked(struct l2fs *fs, struct list *queue, uint64_t bytes)
{
    struct list *l, *tmp;

    list_for_each_safe(l, tmp, queue)
    {
        struct waiter *w = list_entry(l, struct waiter, link);

        if (w->bytes && w->bytes <= bytes)
            post_locked(fs, w, 0);
    }
}

/* As long as stores make room, who waits for it goes on waiting. */
static bool extend_locked(const struct l2fs *fs, struct waiter *w, uint64_t now)
{
    if (!w->grace || w->stored == fs->stores.stored)
        return false;
    w->stored = fs->stores.stored;
    w->deadline = now + w->grace;
    return true;
}

void wait_expire(struct l2fs *fs, uint64_t now)
{
    struct list *l, *tmp;

    LOCKED_SCOPE(&fs->ns->lock);
    list_for_each_safe(l, tmp, &fs->waiters)
    {
        struct waiter *w = list_entry(l, struct waiter, all_link);

        if (w->deadline <= now && !extend_locked(fs, w, now))
            post_locked(fs, w, w->timeout_error);
    }
}

int waiter_take_error(struct waiter *w)
{
    int error = w ? w->error : 0;

    if (w)
        w->error = 0;
    return error;
}

void vfs_interrupt(struct l2fs *fs, struct waiter *w)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (w->phase == PHASE_QUEUED)
        post_locked(fs, w, -EINTR);
}
