/* pd_recv_queue.c - who waits for room: a line for each rank, first come first served.
 *
 * A waiter that is first takes what there is and keeps it while it waits for more; it gets its room
 * whole or is refused at its deadline. The buffer of a rank is for its own line alone. L1 is shared by
 * the ranks, and so is the number of buffers: of those that are first in their lines only one keeps L1
 * while it waits for more of it, so two cannot wait for each other.
 */
#include "clock.h"
#include "pd_recv_parts.h"

#define RETRY (200 * NSEC_PER_MSEC) /* L1 says when it has room; this is for when it forgets */

void recv_queue_fed(struct recv_waiter *w)
{
    struct pd_recv *r = w->rank->recv;

    if (r->starved != w)
        return;
    r->starved = NULL;
    recv_wake(r);
}

static void unlink_waiter(struct recv_waiter *w)
{
    list_remove(&w->link);
    loop_timer_cancel(w->rank->recv->env.loop, &w->timer);
    recv_queue_fed(w);
}

static void expired(struct loop_timer *t)
{
    struct recv_waiter *w = container_of(t, struct recv_waiter, timer);
    struct recv_rank *rank = w->rank;

    unlink_waiter(w);
    w->finish(w, -ENOSPC);
    recv_queue_run(rank);
}

void recv_queue_run(struct recv_rank *rank)
{
    while (!list_empty(&rank->waiting)) {
        struct recv_waiter *w = list_entry(rank->waiting.next, struct recv_waiter, link);
        int err = w->attempt(w);

        if (err == -EAGAIN)
            return;
        unlink_waiter(w);
        w->finish(w, err);
    }
}

void recv_queue_join(struct recv_waiter *w)
{
    struct pd_recv *r = w->rank->recv;
    bool first = list_empty(&w->rank->waiting);

    w->timer.expired = expired;
    if (loop_timer_arm(r->env.loop, &w->timer, clock_deadline(r->env.config->alloc_timeout))) {
        w->finish(w, -ENOMEM);
        return;
    }
    list_push_back(&w->rank->waiting, &w->link);
    if (first)
        recv_queue_run(w->rank);
}

void recv_queue_leave(struct recv_waiter *w)
{
    if (!list_linked(&w->link))
        return;
    unlink_waiter(w);
    recv_wake(w->rank->recv);
}

bool recv_queue_l1(struct recv_waiter *w, bool told)
{
    struct pd_recv *r = w->rank->recv;

    if (r->starved && r->starved != w)
        return false;
    if (told) {
        r->starved = w;
        loop_timer_arm(r->env.loop, &r->retry, clock_deadline(RETRY));
    }
    return true;
}
