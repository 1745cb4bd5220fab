/* daemonize.h - the parent exits when the mount answers, or says why not. Level 0.
 *
 *     rc = daemon_fork(&d);              before there are threads
 *     if (rc > 0)                        parent
 *         return daemon_wait(&d, timeout_ns);
 *     ... start, serve ...               child; daemon_ready or daemon_failed once
 */
#ifndef L2FS_DAEMONIZE_H
#define L2FS_DAEMONIZE_H

#include <sys/types.h>

#include "base.h"

/* Exit codes of mount(8). */
enum exit_code {
    EXIT_USAGE = 1,  /* wrong arguments or options, or no permission */
    EXIT_SYSTEM = 2, /* out of memory, cannot fork */
    EXIT_INTERNAL = 4,
    EXIT_INTERRUPTED = 8,
    EXIT_MTAB = 16,
    EXIT_MOUNT = 32, /* the mount failed */
};

struct daemon {
    int pipe;  /* the end of this process, -1: foreground, nobody waits */
    pid_t pid; /* in the parent: the child */
};

/* Forks; the child is in a session of its own, its working directory is /. 1 in the parent, 0 in
 * the child, -errno. */
int daemon_fork(struct daemon *d);
/* Parent: waits for the child's word, at most `timeout_ns` (then the child is ended), and says on
 * stderr what went wrong. An interrupt ends the child. Returns the exit code. */
int daemon_wait(struct daemon *d, uint64_t timeout_ns);

/* Child, any thread: the mount answers. Stdin and stdout become /dev/null, stderr too unless
 * `keep_stderr`. In the foreground both do nothing. */
void daemon_ready(struct daemon *d, bool keep_stderr);
/* Child: it does not. `why` (may be "") is printed by the parent. */
void daemon_failed(struct daemon *d, int exit_code, const char *why);

#endif
