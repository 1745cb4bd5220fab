/* loop.h - an epoll loop with timers, owned by one thread. Level 0.
 *
 * Everything but loop_create, loop_destroy, loop_start and loop_stop is called on the loop's own
 * thread, or before loop_start.
 */
#ifndef L2FS_LOOP_H
#define L2FS_LOOP_H

#include "list.h"

struct loop;

struct loop_fd {
    int fd;
    void (*ready)(struct loop_fd *f, uint32_t events); /* EPOLLIN, ... */
};

/* Timers are embedded; zero-initialise. `heap_index` is private (0 = not armed). */
struct loop_timer {
    uint64_t deadline; /* CLOCK_MONOTONIC ns */
    size_t heap_index;
    void (*expired)(struct loop_timer *t);
};

/* Asked on the loop thread before each wait, in order of adding: makes what progress there is, and
 * says until when (clock_now; 0: not at all, UINT64_MAX: as long as it takes) the loop may sleep. For
 * devices that make progress only when they are asked (UCX), or whose descriptor loses wake-ups. */
struct loop_hook {
    struct list link; /* private */
    uint64_t (*before_wait)(struct loop_hook *h);
};

int loop_create(const char *thread_name, struct loop **out); /* 0 or -errno */
int loop_start(struct loop *l);    /* starts the thread, signals blocked in it. 0 or -errno */
void loop_stop(struct loop *l);    /* from any other thread: finishes the current round and joins */
void loop_destroy(struct loop *l); /* stopped or never started; fds stay the caller's */

int loop_add(struct loop *l, struct loop_fd *f, uint32_t events); /* level triggered. 0 or -errno */
void loop_remove(struct loop *l, struct loop_fd *f);

/* Arms or re-arms; -ENOMEM leaves it unarmed. The callback runs unarmed. */
int loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t deadline);
void loop_timer_cancel(struct loop *l, struct loop_timer *t); /* idempotent */

void loop_add_hook(struct loop *l, struct loop_hook *h);
void loop_remove_hook(struct loop *l, struct loop_hook *h); /* not from a hook */

bool loop_on_thread(const struct loop *l);

#endif
