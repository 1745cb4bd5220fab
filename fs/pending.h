/* pending.h - the signals of other processes. Level 0. Any thread. */
#ifndef L2FS_PENDING_H
#define L2FS_PENDING_H

#include <stdbool.h>
#include <sys/types.h>

/* A signal that the thread neither blocks nor ignores waits to be taken by it, or by another of its
 * process. False also when it cannot be told. */
bool pending_signal(pid_t tid);

#endif
