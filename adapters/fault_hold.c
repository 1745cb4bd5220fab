/* fault_hold.c - the file that lets go of tasks that never complete.
 *
 * While the file of option `release` exists, tasks complete whatever a rule of action never says,
 * those that were stuck before first. Its directory is watched with inotify by the loop thread, to
 * which everything here belongs once it has started.
 */
#include <sys/inotify.h>

#include "fault_impl.h"
#include "log.h"

bool fault_is_released(const struct fault *f)
{
    return f->cfg->release && !access(f->cfg->release, F_OK);
}

static void changed(struct loop_fd *event, uint32_t events)
{
    struct fault *f = container_of(event, struct fault, release);
    char seen[4096];
    struct list *link;

    (void)events;
    if (read(event->fd, seen, sizeof(seen)) < 0 || !fault_is_released(f))
        return;
    while ((link = list_pop_front(&f->stuck)))
        fault_end_job(list_entry(link, struct fault_job, link));
}

static int watch(const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *dir = slash ? strndup(path, MAX((size_t)(slash - path), (size_t)1)) : NULL;
    AUTO_CLOSE int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (slash && !dir)
        return -ENOMEM;
    if (fd < 0 || inotify_add_watch(fd, dir ? dir : ".", IN_CREATE | IN_MOVED_TO) < 0)
        return -errno;
    return steal_fd(&fd);
}

int fault_release_open(struct fault *f)
{
    int fd;

    if (!f->cfg->release)
        return 0;
    fd = watch(f->cfg->release);
    if (fd < 0) {
        log_err("%s: cannot watch for the file of option release, %s: %s; its directory must exist",
                f->instance, f->cfg->release, strerror(-fd));
        return fd;
    }
    f->release.fd = fd;
    f->release.ready = changed;
    return 0;
}

void fault_release_close(struct fault *f)
{
    auto_close(&f->release.fd);
}
