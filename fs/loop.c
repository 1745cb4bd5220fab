/* loop.c - epoll_wait, then due timers, then ready descriptors, until told to stop.
 *
 * Thread model: the loop thread owns everything here. The only things other threads touch are
 * `stop` and `self` (atomics) and the wake eventfd. A descriptor removed by a callback gets no
 * event that was already fetched in the same round, so its owner may free it at once. Timers are a
 * binary heap of pointers, entry 0 unused, so that a timer's index 0 means "not armed".
 */
#include "loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "clock.h"
#include "thread.h"

#define EVENTS_PER_ROUND 64
#define THREAD_NAME_LEN 16 /* the kernel's limit, with NUL */

struct loop {
    int epoll_fd;
    struct loop_fd wake;
    char name[THREAD_NAME_LEN];
    pthread_t thread;
    bool started; /* only the thread that starts and stops */
    atomic_bool stop;
    _Atomic pthread_t self; /* 0 while the thread does not run */

    struct loop_timer **heap; /* [1..ntimers] */
    size_t ntimers;
    size_t heap_cap;
    struct list hooks; /* struct loop_hook */

    struct epoll_event events[EVENTS_PER_ROUND];
    int nevents; /* of the round being dispatched */
};

static void wake_ready(struct loop_fd *f, uint32_t events)
{
    uint64_t count;

    (void)events;
    if (read(f->fd, &count, sizeof count) < 0)
        return; /* already read */
}

int loop_create(const char *thread_name, struct loop **out)
{
    struct loop *l = calloc(1, sizeof *l);
    int rc;

    if (!l)
        return -ENOMEM;
    snprintf(l->name, sizeof l->name, "%s", thread_name);
    list_init(&l->hooks);
    l->wake = (struct loop_fd){.fd = -1, .ready = wake_ready};
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        rc = -errno;
        goto fail;
    }
    l->wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->wake.fd < 0) {
        rc = -errno;
        goto fail;
    }
    rc = loop_add(l, &l->wake, EPOLLIN);
    if (rc)
        goto fail;
    *out = l;
    return 0;
fail:
    loop_destroy(l);
    return rc;
}

void loop_destroy(struct loop *l)
{
    if (!l)
        return;
    if (l->wake.fd >= 0)
        close(l->wake.fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    free(l->heap);
    free(l);
}

int loop_add(struct loop *l, struct loop_fd *f, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = f};

    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, f->fd, &ev) ? -errno : 0;
}

void loop_remove(struct loop *l, struct loop_fd *f)
{
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL);
    for (int i = 0; i < l->nevents; i++) {
        if (l->events[i].data.ptr == f)
            l->events[i].data.ptr = NULL;
    }
}

static void place(struct loop *l, size_t i, struct loop_timer *t)
{
    l->heap[i] = t;
    t->heap_index = i;
}

static void sift_up(struct loop *l, size_t i, struct loop_timer *t)
{
    while (i > 1 && t->deadline < l->heap[i / 2]->deadline) {
        place(l, i, l->heap[i / 2]);
        i /= 2;
    }
    place(l, i, t);
}

static void sift_down(struct loop *l, size_t i, struct loop_timer *t)
{
    for (size_t child = i * 2; child <= l->ntimers; child = i * 2) {
        if (child < l->ntimers && l->heap[child + 1]->deadline < l->heap[child]->deadline)
            child++;
        if (t->deadline <= l->heap[child]->deadline)
            break;
        place(l, i, l->heap[child]);
        i = child;
    }
    place(l, i, t);
}

static int reserve_timer(struct loop *l)
{
    size_t cap = MAX(l->heap_cap * 2, (size_t)16);
    struct loop_timer **heap;

    if (l->ntimers + 1 < l->heap_cap)
        return 0;
    heap = realloc(l->heap, cap * sizeof *heap);
    if (!heap)
        return -ENOMEM;
    l->heap = heap;
    l->heap_cap = cap;
    return 0;
}

int loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t deadline)
{
    int rc;

    loop_timer_cancel(l, t);
    rc = reserve_timer(l);
    if (rc)
        return rc;
    t->deadline = deadline;
    sift_up(l, ++l->ntimers, t);
    return 0;
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
    size_t i = t->heap_index;
    struct loop_timer *last;

    if (i == 0)
        return;
    t->heap_index = 0;
    last = l->heap[l->ntimers--];
    if (last == t)
        return;
    if (i > 1 && last->deadline < l->heap[i / 2]->deadline)
        sift_up(l, i, last);
    else
        sift_down(l, i, last);
}

bool loop_on_thread(const struct loop *l)
{
    pthread_t self = atomic_load(&l->self);

    return self && pthread_equal(self, pthread_self());
}

/* Runs what is due. At most as many as were armed at first: a timer that re-arms itself in the past
 * must not keep the descriptors waiting. */
static void run_timers(struct loop *l)
{
    uint64_t now = clock_now();

    for (size_t n = l->ntimers; n > 0 && l->ntimers > 0; n--) {
        struct loop_timer *t = l->heap[1];

        if (t->deadline > now)
            return;
        loop_timer_cancel(l, t);
        t->expired(t);
    }
}

void loop_add_hook(struct loop *l, struct loop_hook *h)
{
    list_push_back(&l->hooks, &h->link);
}

void loop_remove_hook(struct loop *l, struct loop_hook *h)
{
    (void)l;
    list_remove(&h->link);
}

/* What epoll_wait takes. Hooks may arm timers, so those are looked at last. */
static int wait_ms(struct loop *l)
{
    uint64_t until = UINT64_MAX;
    struct list *node;

    list_for_each(node, &l->hooks)
    {
        struct loop_hook *h = list_entry(node, struct loop_hook, link);

        until = MIN(until, h->before_wait(h));
    }
    if (l->ntimers)
        until = MIN(until, l->heap[1]->deadline);
    return until == UINT64_MAX ? -1 : clock_left_ms(until);
}

static void run_round(struct loop *l)
{
    int timeout = wait_ms(l);
    int n = epoll_wait(l->epoll_fd, l->events, EVENTS_PER_ROUND, timeout);

    if (n < 0 && errno != EINTR)
        abort(); /* a bug: our own descriptor is gone */
    l->nevents = MAX(n, 0);
    run_timers(l);
    for (int i = 0; i < l->nevents; i++) {
        struct loop_fd *f = l->events[i].data.ptr;

        if (f)
            f->ready(f, l->events[i].events);
    }
    l->nevents = 0;
}

static void *loop_main(void *arg)
{
    struct loop *l = arg;

    pthread_setname_np(pthread_self(), l->name);
    atomic_store(&l->self, pthread_self());
    while (!atomic_load(&l->stop))
        run_round(l);
    atomic_store(&l->self, (pthread_t)0);
    return NULL;
}

int loop_start(struct loop *l)
{
    int rc;

    atomic_store(&l->stop, false);
    rc = thread_start(&l->thread, loop_main, l);
    l->started = rc == 0;
    return rc;
}

void loop_stop(struct loop *l)
{
    uint64_t one = 1;

    if (!l->started)
        return;
    atomic_store(&l->stop, true);
    if (write(l->wake.fd, &one, sizeof one) < 0 && errno != EAGAIN)
        abort();
    pthread_join(l->thread, NULL);
    l->started = false;
}
