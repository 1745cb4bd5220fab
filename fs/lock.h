/* lock.h - mutex and condition with a monotonic deadline. Level 0.
 *
 * Lock order: namespace -> l1 -> staging; every other lock is a leaf. No lock is held across a
 * submit, a FUSE reply or anything that can block. A failing pthread call here is a bug in the
 * program, so it aborts.
 */
#ifndef L2FS_LOCK_H
#define L2FS_LOCK_H

#include <pthread.h>
#include <time.h>

#include "base.h"

static inline void lock_init(pthread_mutex_t *m)
{
    if (pthread_mutex_init(m, NULL))
        abort();
}

static inline void lock(pthread_mutex_t *m)
{
    if (pthread_mutex_lock(m))
        abort();
}

static inline void unlock(pthread_mutex_t *m)
{
    if (pthread_mutex_unlock(m))
        abort();
}

static inline void auto_unlock(pthread_mutex_t **m)
{
    if (*m)
        unlock(*m);
}

/* Locks `m` until the end of the scope. */
#define LOCKED_SCOPE(m)                                                                            \
    __attribute__((cleanup(auto_unlock))) pthread_mutex_t *scope_lock_ = (m);                      \
    lock(scope_lock_)

static inline void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (pthread_cond_init(c, &attr))
        abort();
    pthread_condattr_destroy(&attr);
}

/* Waits until signalled or `deadline` (CLOCK_MONOTONIC, ns). 0, or -ETIMEDOUT. May wake early. */
static inline int cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline)
{
    struct timespec ts = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
                          .tv_nsec = (long)(deadline % NSEC_PER_SEC)};

    return -pthread_cond_timedwait(c, m, &ts);
}

/* An order that comes from outside, which the thread sanitizer does not see: what is done before
 * ORDER_GIVEN of an address comes before what follows ORDER_TAKEN of it. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define ORDER_GIVEN(address) __tsan_release((void *)(address))
#define ORDER_TAKEN(address) __tsan_acquire((void *)(address))
#else
#define ORDER_GIVEN(address) ((void)0)
#define ORDER_TAKEN(address) ((void)0)
#endif

#endif
