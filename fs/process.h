/* process.h - what /proc tells of the process behind a request. Level 0. Any thread.
 *
 * Only files are read that take no lock which a process holds while it waits for us.
 */
#ifndef L2FS_PROCESS_H
#define L2FS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* A signal that the thread neither blocks nor ignores waits to be taken by it, or by another of its
 * process. False also when it cannot be told. */
bool process_has_signal(pid_t tid);
/* It closes its files because a signal has ended it. False also when it cannot be told. */
bool process_was_killed(pid_t tid);

#endif
