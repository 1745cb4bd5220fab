/* test_loop.c - timers in order, descriptors removed while events are pending, start and stop.
 *
 * Tests wait for the loop thread with a semaphore posted by a callback, never by sleeping. */
#include "loop.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "clock.h"
#include "suite.h"

#define TIMERS 500

static struct loop *loop;
static sem_t done;

static void setup(void)
{
    ck_assert_int_eq(loop_create("test-loop-with-a-long-name", &loop), 0);
    ck_assert_int_eq(sem_init(&done, 0, 0), 0);
}

static void teardown(void)
{
    loop_stop(loop);
    loop_destroy(loop);
    sem_destroy(&done);
}

static void wait_done(void)
{
    while (sem_wait(&done))
        ck_assert_int_eq(errno, EINTR);
}

static int new_event(unsigned count)
{
    int fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static void drain(int fd)
{
    uint64_t count;

    ck_assert_int_eq(read(fd, &count, sizeof count), sizeof count);
}

static void signal_fd(int fd)
{
    uint64_t one = 1;

    ck_assert_int_eq(write(fd, &one, sizeof one), sizeof one);
}

/* --- life --- */

START_TEST(stop_without_start)
{
    loop_stop(loop);
    ck_assert(!loop_on_thread(loop));
    loop_destroy(NULL);
}
END_TEST

START_TEST(starts_again_after_stop)
{
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(loop_start(loop), 0);
        loop_stop(loop);
        loop_stop(loop);
    }
}
END_TEST

struct probe {
    struct loop_timer timer;
    bool on_thread;
    bool signals_blocked;
    char name[16];
};

static void probe_expired(struct loop_timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    p->on_thread = loop_on_thread(loop);
    p->signals_blocked = sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGUSR1) == 1;
    pthread_getname_np(pthread_self(), p->name, sizeof p->name);
    sem_post(&done);
}

START_TEST(thread_is_set_up)
{
    struct probe p = {.timer.expired = probe_expired};
    sigset_t before, after;

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert_int_eq(loop_timer_arm(loop, &p.timer, 0), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    ck_assert(!loop_on_thread(loop));
    loop_stop(loop);
    ck_assert(p.on_thread);
    ck_assert(p.signals_blocked);
    ck_assert_str_eq(p.name, "test-loop-with-");
}
END_TEST

/* --- timers --- */

struct numbered {
    struct loop_timer timer;
    int fired;
    uint64_t at;
};

static struct numbered timers[TIMERS];
static size_t fired[TIMERS], nfired, expected;

static void numbered_expired(struct loop_timer *t)
{
    struct numbered *n = container_of(t, struct numbered, timer);

    n->fired++;
    n->at = clock_now();
    ck_assert_uint_eq(t->heap_index, 0);
    fired[nfired++] = (size_t)(n - timers);
    if (nfired == expected)
        sem_post(&done);
}

/* A permutation of 0..TIMERS-1 (TIMERS and 7919 share no factor). */
static uint64_t shuffled(size_t i)
{
    return i * 7919 % TIMERS;
}

static void arm_shuffled(uint64_t base, uint64_t step)
{
    for (size_t i = 0; i < TIMERS; i++) {
        timers[i].timer.expired = numbered_expired;
        ck_assert_int_eq(loop_timer_arm(loop, &timers[i].timer, base + step * shuffled(i)), 0);
    }
}

START_TEST(timers_fire_in_order)
{
    expected = TIMERS;
    arm_shuffled(clock_now(), 10000);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    for (size_t i = 0; i < TIMERS; i++) {
        ck_assert_uint_eq(shuffled(fired[i]), i);
        ck_assert_int_eq(timers[i].fired, 1);
        ck_assert_uint_ge(timers[i].at, timers[i].timer.deadline);
    }
}
END_TEST

START_TEST(cancelled_timers_do_not_fire)
{
    expected = TIMERS / 2;
    arm_shuffled(1, 1);
    for (size_t i = 0; i < TIMERS; i += 2) {
        loop_timer_cancel(loop, &timers[i].timer);
        loop_timer_cancel(loop, &timers[i].timer);
    }
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    ck_assert_uint_eq(nfired, TIMERS / 2);
    for (size_t i = 0; i < TIMERS; i++)
        ck_assert_int_eq(timers[i].fired, i % 2 ? 1 : 0);
    for (size_t i = 1; i < nfired; i++)
        ck_assert_uint_lt(shuffled(fired[i - 1]), shuffled(fired[i]));
}
END_TEST

START_TEST(rearming_moves)
{
    expected = TIMERS;
    arm_shuffled(UINT64_MAX / 2, 1);
    for (size_t i = 0; i < TIMERS; i++)
        ck_assert_int_eq(loop_timer_arm(loop, &timers[i].timer, TIMERS - i), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    for (size_t i = 0; i < TIMERS; i++)
        ck_assert_uint_eq(fired[i], TIMERS - 1 - i);
}
END_TEST

START_TEST(never_and_later)
{
    expected = 1;
    for (size_t i = 0; i < 2; i++)
        timers[i].timer.expired = numbered_expired;
    ck_assert_int_eq(loop_timer_arm(loop, &timers[0].timer, UINT64_MAX), 0);
    ck_assert_int_eq(loop_timer_arm(loop, &timers[1].timer, clock_deadline(3 * NSEC_PER_MSEC)), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    ck_assert_int_eq(timers[0].fired, 0);
    ck_assert_uint_ge(timers[1].at, timers[1].timer.deadline);
}
END_TEST

/* A timer that re-arms itself in the past must not keep descriptors waiting. */
static void again_in_the_past(struct loop_timer *t)
{
    ck_assert_int_eq(loop_timer_arm(loop, t, 1), 0);
}

static void post_done(struct loop_fd *f, uint32_t events)
{
    ck_assert(events & EPOLLIN);
    drain(f->fd);
    sem_post(&done);
}

START_TEST(busy_timer_leaves_room_for_fds)
{
    struct loop_timer busy = {.expired = again_in_the_past};
    struct loop_fd f = {.fd = new_event(1), .ready = post_done};

    ck_assert_int_eq(loop_timer_arm(loop, &busy, 1), 0);
    ck_assert_int_eq(loop_add(loop, &f, EPOLLIN), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    signal_fd(f.fd);
    wait_done();
    loop_stop(loop);
    close(f.fd);
}
END_TEST

static void cancel_next(struct loop_timer *t)
{
    (void)t;
    for (size_t i = 0; i < TIMERS; i++)
        loop_timer_cancel(loop, &timers[i].timer);
    sem_post(&done);
}

START_TEST(callback_may_cancel_due_timers)
{
    struct loop_timer first = {.expired = cancel_next};

    arm_shuffled(2, 1);
    ck_assert_int_eq(loop_timer_arm(loop, &first, 1), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    ck_assert_uint_eq(nfired, 0);
}
END_TEST

/* --- descriptors --- */

static struct loop_fd *pair[2];
static int calls;

/* Whichever of two ready descriptors comes first removes and frees the other. */
static void remove_other(struct loop_fd *f, uint32_t events)
{
    size_t other = f == pair[0] ? 1 : 0;

    (void)events;
    calls++;
    drain(f->fd);
    loop_remove(loop, pair[other]);
    close(pair[other]->fd);
    free(pair[other]);
    pair[other] = NULL;
    sem_post(&done);
}

START_TEST(removed_fd_gets_no_event)
{
    for (size_t i = 0; i < 2; i++) {
        pair[i] = malloc(sizeof *pair[i]);
        *pair[i] = (struct loop_fd){.fd = new_event(1), .ready = remove_other};
        ck_assert_int_eq(loop_add(loop, pair[i], EPOLLIN), 0);
    }
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    ck_assert_int_eq(calls, 1);
    for (size_t i = 0; i < 2; i++) {
        if (pair[i])
            close(pair[i]->fd);
        free(pair[i]);
    }
}
END_TEST

static void remove_and_free_self(struct loop_fd *f, uint32_t events)
{
    (void)events;
    loop_remove(loop, f);
    close(f->fd);
    free(f);
    sem_post(&done);
}

START_TEST(fd_may_remove_itself)
{
    struct loop_fd *f = malloc(sizeof *f);

    *f = (struct loop_fd){.fd = new_event(1), .ready = remove_and_free_self};
    ck_assert_int_eq(loop_add(loop, f, EPOLLIN), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
}
END_TEST

static void count_level(struct loop_fd *f, uint32_t events)
{
    (void)events;
    if (++calls == 3) {
        drain(f->fd);
        sem_post(&done);
    }
}

START_TEST(level_triggered)
{
    struct loop_fd f = {.fd = new_event(1), .ready = count_level};

    ck_assert_int_eq(loop_add(loop, &f, EPOLLIN), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    ck_assert_int_eq(calls, 3);
    close(f.fd);
}
END_TEST

START_TEST(many_fds)
{
    enum { N = 200 };
    static struct loop_fd fds[N];

    for (size_t i = 0; i < N; i++) {
        fds[i] = (struct loop_fd){.fd = new_event(1), .ready = post_done};
        ck_assert_int_eq(loop_add(loop, &fds[i], EPOLLIN), 0);
    }
    ck_assert_int_eq(loop_start(loop), 0);
    for (size_t i = 0; i < N; i++)
        wait_done();
    loop_stop(loop);
    for (size_t i = 0; i < N; i++)
        close(fds[i].fd);
}
END_TEST

START_TEST(add_refuses_what_epoll_refuses)
{
    struct loop_fd closed = {.fd = -1, .ready = post_done};
    struct loop_fd f = {.fd = new_event(0), .ready = post_done};

    ck_assert_int_eq(loop_add(loop, &closed, EPOLLIN), -EBADF);
    ck_assert_int_eq(loop_add(loop, &f, EPOLLIN), 0);
    ck_assert_int_eq(loop_add(loop, &f, EPOLLIN), -EEXIST);
    loop_remove(loop, &f);
    ck_assert_int_eq(loop_add(loop, &f, EPOLLIN), 0);
    close(f.fd);
}
END_TEST

/* --- clock.h, which has no .c of its own --- */

START_TEST(deadlines)
{
    ck_assert_uint_eq(clock_deadline(UINT64_MAX), UINT64_MAX);
    ck_assert_int_eq(clock_left_ms(0), 0);
    ck_assert_int_eq(clock_left_ms(UINT64_MAX), INT32_MAX);
    ck_assert_int_ge(clock_left_ms(clock_deadline(NSEC_PER_SEC)), 1);
    ck_assert_int_le(clock_left_ms(clock_deadline(NSEC_PER_SEC)), 1000);
}
END_TEST

static void reset(void)
{
    memset(timers, 0, sizeof timers);
    nfired = expected = 0;
    calls = 0;
    setup();
}

int main(void)
{
    const TTest *const tests[] = {stop_without_start,
                                  starts_again_after_stop,
                                  thread_is_set_up,
                                  timers_fire_in_order,
                                  cancelled_timers_do_not_fire,
                                  rearming_moves,
                                  never_and_later,
                                  busy_timer_leaves_room_for_fds,
                                  callback_may_cancel_due_timers,
                                  removed_fd_gets_no_event,
                                  fd_may_remove_itself,
                                  level_triggered,
                                  many_fds,
                                  add_refuses_what_epoll_refuses,
                                  deadlines};
    Suite *s = suite_create("loop");
    TCase *tc = tcase_create("loop");

    tcase_add_checked_fixture(tc, reset, teardown);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
