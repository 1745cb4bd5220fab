/* daemonize.c - fork, and a pipe on which the child tells its parent how starting went.
 *
 * Thread model: daemon_fork and daemon_wait run before there are threads; the child's word comes
 * from any one thread. The word is one struct in one write, so it arrives whole or not at all; an
 * end of file without it means that the child died.
 */
#include "daemonize.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "clock.h"
#include "log.h"
#include "units.h"

#define GRACE (5 * NSEC_PER_SEC) /* between SIGTERM and SIGKILL */

struct word {
    int exit_code;
    char why[PIPE_BUF - sizeof(int)];
};

static void interrupts(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

static void become_child(struct daemon *d, int ends[2], const sigset_t *old)
{
    close(ends[0]);
    d->pipe = ends[1];
    d->pid = 0;
    setsid();
    if (chdir("/"))
        log_debug("cannot change to /");
    sigprocmask(SIG_SETMASK, old, NULL);
}

int daemon_fork(struct daemon *d)
{
    sigset_t set, old;
    int ends[2], rc;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    interrupts(&set);
    sigprocmask(SIG_BLOCK, &set, &old); /* the parent reads them from a signalfd */
    pid = fork();
    if (pid == 0) {
        become_child(d, ends, &old);
        return 0;
    }
    rc = pid < 0 ? -errno : 1;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        sigprocmask(SIG_SETMASK, &old, NULL);
        return rc;
    }
    d->pipe = ends[0];
    d->pid = pid;
    return rc;
}

/* --- the parent --- */

enum outcome { OUTCOME_WORD, OUTCOME_DIED, OUTCOME_TIMEOUT, OUTCOME_INTERRUPT };

static enum outcome read_word(int fd, struct word *w)
{
    ssize_t n;

    do {
        n = read(fd, w, sizeof(*w));
    } while (n < 0 && errno == EINTR);
    if (n != sizeof(*w))
        return OUTCOME_DIED;
    w->why[sizeof(w->why) - 1] = '\0';
    return OUTCOME_WORD;
}

static enum outcome await(const struct daemon *d, uint64_t timeout_ns, struct word *w)
{
    AUTO_CLOSE int signals = -1;
    struct pollfd fds[2] = {{.fd = d->pipe, .events = POLLIN}, {.events = POLLIN}};
    uint64_t deadline = clock_deadline(timeout_ns);
    sigset_t set;

    interrupts(&set);
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    fds[1].fd = signals;
    for (;;) {
        int left = clock_left_ms(deadline);

        if (poll(fds, 2, left) < 0 && errno != EINTR)
            return OUTCOME_DIED;
        if (fds[0].revents)
            return read_word(d->pipe, w);
        if (fds[1].revents)
            return OUTCOME_INTERRUPT;
        if (left == 0)
            return OUTCOME_TIMEOUT;
    }
}

/* Ends the child: asks, then insists. Its end of the pipe tells when it is gone. */
static void end_child(const struct daemon *d)
{
    struct pollfd p = {.fd = d->pipe, .events = 0};
    uint64_t deadline = clock_deadline(GRACE);

    kill(d->pid, SIGTERM);
    while (clock_left_ms(deadline) && poll(&p, 1, clock_left_ms(deadline)) <= 0)
        ;
    kill(d->pid, SIGKILL);
    waitpid(d->pid, NULL, 0);
}

static int report_death(const struct daemon *d)
{
    int status = 0;

    waitpid(d->pid, &status, 0);
    if (WIFSIGNALED(status))
        log_err("the daemon died before the mount answered: %s", strsignal(WTERMSIG(status)));
    else
        log_err("the daemon ended with status %d before the mount answered", WEXITSTATUS(status));
    return EXIT_MOUNT;
}

static int report_timeout(const struct daemon *d, uint64_t timeout_ns)
{
    char shown[32];

    end_child(d);
    log_err(
        "the mount did not answer within %s, the daemon is ended; when the tier is large or slow, "
        "raise -o start_timeout",
        units_format_duration(timeout_ns, shown, sizeof(shown)));
    return EXIT_MOUNT;
}

int daemon_wait(struct daemon *d, uint64_t timeout_ns)
{
    struct word w = {0};
    int code = 0;

    switch (await(d, timeout_ns, &w)) {
    case OUTCOME_WORD:
        code = w.exit_code;
        if (w.why[0])
            log_err("%s", w.why);
        break;
    case OUTCOME_DIED: code = report_death(d); break;
    case OUTCOME_TIMEOUT: code = report_timeout(d, timeout_ns); break;
    case OUTCOME_INTERRUPT:
        end_child(d);
        log_err("interrupted, nothing is mounted");
        code = EXIT_INTERRUPTED;
        break;
    }
    close(d->pipe);
    d->pipe = -1;
    return code;
}

/* --- the child --- */

static void tell(struct daemon *d, int exit_code, const char *why)
{
    struct word w = {.exit_code = exit_code};

    snprintf(w.why, sizeof(w.why), "%s", why);
    /* A parent that is gone cannot be told; SIGPIPE is ignored by then. */
    if (write(d->pipe, &w, sizeof(w)) != sizeof(w))
        log_debug("nobody waits for this daemon");
    close(d->pipe);
    d->pipe = -1;
}

void daemon_ready(struct daemon *d, bool keep_stderr)
{
    AUTO_CLOSE int null = -1;

    if (d->pipe < 0)
        return;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= (keep_stderr ? 1 : 2); fd++)
        dup2(null, fd);
    tell(d, 0, "");
}

void daemon_failed(struct daemon *d, int exit_code, const char *why)
{
    if (d->pipe < 0) {
        if (*why)
            log_err("%s", why);
        return;
    }
    tell(d, exit_code, why);
}
