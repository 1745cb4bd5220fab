/* signals.c - a thread that reads the signals that end a mount.
 *
 * Thread model: the signals are blocked everywhere and read from a signalfd by one thread, so no
 * code runs in a signal handler and no file-scope state is needed. `lock` guards phase, front and
 * count; it is a leaf, and front_stop does not block.
 */
#include "signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "daemonize.h"
#include "front.h"
#include "lock.h"
#include "log.h"

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_DRAINING };

struct signals {
    pthread_t thread;
    pthread_mutex_t lock;
    enum phase phase;
    struct front *front; /* while serving */
    unsigned count;
    int signal_fd;
    int stop_fd;
};

static _Noreturn void abandon(const char *name)
{
    log_warn("%s again: ending at once; what is not stored waits in the staging directory for the "
             "next mount",
             name);
    _exit(EXIT_INTERRUPTED);
}

static void handle(struct signals *s, int signo)
{
    const char *name = signo == SIGTERM ? "SIGTERM" : signo == SIGINT ? "SIGINT" : "SIGHUP";

    LOCKED_SCOPE(&s->lock);
    s->count++;
    switch (s->phase) {
    case PHASE_STARTING:
        if (s->count > 1)
            abandon(name);
        log_info("%s: ending as soon as starting is over", name);
        break;
    case PHASE_SERVING:
        log_info("%s: unmounting", name);
        front_stop(s->front);
        break;
    case PHASE_DRAINING:
        if (s->count > 1)
            abandon(name);
        log_info("%s: already unmounted, storing what is left; once more ends this at once", name);
        break;
    }
}

static void *run(void *arg)
{
    struct signals *s = arg;
    struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
                            {.fd = s->stop_fd, .events = POLLIN}};
    struct signalfd_siginfo info;

    while (!fds[1].revents) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents && read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
            handle(s, (int)info.ssi_signo);
    }
    return NULL;
}

int signals_start(struct signals **out)
{
    struct signals *s = calloc(1, sizeof(*s));
    sigset_t set;
    int rc;

    if (!s)
        return -ENOMEM;
    lock_init(&s->lock);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    rc = s->signal_fd < 0 || s->stop_fd < 0 ? -errno : 0;
    if (rc)
        goto err_fds;
    rc = -pthread_create(&s->thread, NULL, run, s);
    if (rc)
        goto err_fds;
    *out = s;
    return 0;

err_fds:
    auto_close(&s->signal_fd);
    auto_close(&s->stop_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return rc;
}

bool signals_serving(struct signals *s, struct front *front)
{
    LOCKED_SCOPE(&s->lock);
    s->phase = PHASE_SERVING;
    s->front = front;
    return s->count == 0;
}

void signals_draining(struct signals *s)
{
    LOCKED_SCOPE(&s->lock);
    s->phase = PHASE_DRAINING;
    s->front = NULL;
}

void signals_stop(struct signals *s)
{
    if (!s)
        return;
    if (eventfd_write(s->stop_fd, 1))
        abort();
    pthread_join(s->thread, NULL);
    close(s->signal_fd);
    close(s->stop_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
