/* thread.h - starting a thread. Level 0. */
#ifndef L2FS_THREAD_H
#define L2FS_THREAD_H

#include <pthread.h>
#include <signal.h>

#include "base.h"

/* Runs `run(arg)` on a thread that takes no signals: those are for the threads that wait for them.
 * 0 or -errno; the caller joins or detaches. Any thread. */
static inline int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = -pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

#endif
