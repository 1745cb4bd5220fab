/* front.c - mounting, serving, stopping, unmounting.
 *
 * Thread model: front_mount, front_run and front_unmount are called one after the other, by one
 * thread. While the session is served there are libfuse's workers, the notifier and the keeper. The
 * keeper waits for the mount to answer and says that it is ready, then waits for front_stop and
 * ends the session in order: no more notes to the kernel while somebody still serves it, then
 * waiting requests taken back, then the workers. What the kernel left open is closed at
 * front_unmount.
 */
#include "front.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "clock.h"
#include "front_file.h"
#include "l2fs.h"
#include "log.h"
#include "mountpoint.h"
#include "thread.h"

#define STOP_DRAIN_NS (2 * NSEC_PER_SEC)
#define IDLE_WORKERS_LEAST 4

void front_features(struct front_features *out)
{
    *out = (struct front_features){
        .lib_major = FUSE_MAJOR_VERSION,
        .lib_minor = FUSE_MINOR_VERSION,
#ifdef HAVE_FUSE_PASSTHROUGH
        .passthrough_built = true,
#endif
#ifdef HAVE_FUSE_URING
        .io_uring_built = true,
#endif
    };
}

const char *front_mode(struct front *f)
{
    return atomic_load(&f->mode);
}

static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char line[1024];
    size_t len;

    vsnprintf(line, sizeof(line), fmt, ap);
    len = strlen(line);
    while (len && line[len - 1] == '\n')
        line[--len] = '\0';
    if (level <= FUSE_LOG_ERR)
        log_err("%s", line);
    else if (level <= FUSE_LOG_WARNING)
        log_warn("%s", line);
    else
        log_debug("%s", line);
}

static const struct fuse_lowlevel_ops *fill_ops(struct fuse_lowlevel_ops *ops)
{
    memset(ops, 0, sizeof(*ops));
    ops->init = front_init;
    front_names_ops(ops);
    front_attr_ops(ops);
    front_open_ops(ops);
    front_data_ops(ops);
    front_dirs_ops(ops);
    return ops;
}

static struct front *front_create(struct l2fs *fs, const struct l2fs_config *cfg, const char *dir)
{
    struct front *f = calloc(1, sizeof(*f));
    pthread_rwlockattr_t attr;

    if (!f)
        return NULL;
    f->dir = strdup(dir);
    f->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (!f->dir || f->stop_fd < 0) {
        if (f->stop_fd >= 0)
            close(f->stop_fd);
        free(f->dir);
        free(f);
        return NULL;
    }
    f->fs = fs;
    f->cfg = cfg;
    atomic_init(&f->mode, "direct_io: not started");
    lock_init(&f->lock);
    cond_init(&f->drained);
    list_init(&f->parked);
    list_init(&f->dirs);
    list_init(&f->buffers);
    /* Cutting a file must not wait for an endless row of reads. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (pthread_rwlock_init(&f->shrink, &attr))
        abort();
    pthread_rwlockattr_destroy(&attr);
    for (size_t i = 0; i < FILE_LOCKS; i++) {
        lock_init(&f->file_locks[i]);
        list_init(&f->files[i]);
    }
    return f;
}

static void front_destroy(struct front *f)
{
    buffers_free(f);
    for (size_t i = 0; i < FILE_LOCKS; i++)
        pthread_mutex_destroy(&f->file_locks[i]);
    pthread_rwlock_destroy(&f->shrink);
    pthread_cond_destroy(&f->drained);
    pthread_mutex_destroy(&f->lock);
    close(f->stop_fd);
    free(f->dir);
    free(f);
}

/* Says in one line why the mount cannot be made; libfuse's own lines tell the system's reason. */
static int mount_failed(const char *dir, int err)
{
    err = err ? err : -EIO;
    if (err == -ENOENT || err == -ENODEV)
        log_err("%s: not mounted: is the kernel's fuse module loaded (modprobe fuse)?", dir);
    else if (geteuid() != 0)
        log_err("%s: not mounted: without root this needs fusermount3 (package fuse3), access to "
                "/dev/fuse, and a directory of this user",
                dir);
    else
        log_err("%s: not mounted: %s", dir, strerror(-err));
    return err;
}

static int session_mount(struct front *f, struct fuse_args *args)
{
    struct fuse_lowlevel_ops ops;
    struct stat st;

    if (stat(f->dir, &st))
        return mount_failed(f->dir, -errno);
    f->dev_below = st.st_dev;
    f->se = fuse_session_new(args, fill_ops(&ops), sizeof(ops), f);
    if (!f->se) {
        log_err("%s: not mounted: libfuse does not take the mount options", f->dir);
        return -EINVAL;
    }
    errno = 0;
    return fuse_session_mount(f->se, f->dir) ? mount_failed(f->dir, -errno) : 0;
}

int front_mount(struct l2fs *fs, const struct l2fs_config *cfg, const char *source, const char *dir,
                const char *extra, struct front **out)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct front *f = front_create(fs, cfg, dir);
    int rc = f ? front_arguments(cfg, source, extra, &args) : -ENOMEM;

    fuse_set_log_func(log_fuse);
    if (rc) {
        log_err("%s: not mounted: %s", dir, strerror(-rc));
        goto fail;
    }
    rc = session_mount(f, &args);
    if (rc)
        goto fail;
    rc = notifier_start(f);
    if (!rc)
        rc = retrier_start(f);
    if (rc) {
        log_err("%s: not mounted: no thread: %s", dir, strerror(-rc));
        fuse_session_unmount(f->se);
        notifier_fini(f);
        goto fail;
    }
    vfs_set_gone(fs, notifier_gone, f);
    fuse_opt_free_args(&args);
    *out = f;
    return 0;
fail:
    if (f && f->se)
        fuse_session_destroy(f->se);
    if (f)
        front_destroy(f);
    fuse_opt_free_args(&args);
    return rc;
}

/* ---- the keeper ---- */

/* The first answer of the session. The root's attributes are never in the kernel's cache then. */
static void keeper_ready(struct front *f)
{
    struct stat st;

    if (stat(f->dir, &st) || st.st_dev == f->dev_below)
        return; /* the session has failed or was unmounted: front_run says so */
    f->dev = st.st_dev;
    front_read_ahead(st.st_dev);
    l2fs_set_mode(f->fs, front_mode(f));
    log_info("front: %s, at most %u threads", front_mode(f), (unsigned)f->cfg->threads);
    if (f->ready)
        f->ready(f->ready_arg);
}

#if !FRONT_HAS(3, 18)
/* An older libfuse looks at its flag only when a request comes, so one is sent; the end of the
 * connection answers it. A mount that is detached already takes none: it is aborted. */
static void wake_workers(struct front *f)
{
    AUTO_CLOSE int fd = -1;
    struct statfs st;
    char path[64];

    statfs(f->dir, &st);
    if (atomic_load(&f->ended) || !f->dev)
        return;
    snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(f->dev));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) < 0)
        log_debug("front: %s: %s", path, strerror(errno));
}
#endif

static void keeper_stop(struct front *f)
{
    notifier_stop(f);
    front_drain(f, clock_deadline(STOP_DRAIN_NS));
    fuse_session_exit(f->se);
#if !FRONT_HAS(3, 18)
    wake_workers(f);
#endif
}

static void *keeper(void *arg)
{
    struct front *f = arg;
    uint64_t count;

    pthread_setname_np(pthread_self(), "l2fs-front");
    keeper_ready(f);
    while (!atomic_load(&f->stop) && !atomic_load(&f->ended))
        if (read(f->stop_fd, &count, sizeof(count)) < 0 && errno != EINTR)
            break;
    if (!atomic_load(&f->ended))
        keeper_stop(f);
    return NULL;
}

static int keeper_start(struct front *f)
{
    int rc = thread_start(&f->keeper, keeper, f);

    f->keeper_started = rc == 0;
    if (rc)
        log_err("front: no thread: %s", strerror(-rc));
    return rc;
}

static void keeper_wake(struct front *f)
{
    uint64_t one = 1;

    if (write(f->stop_fd, &one, sizeof(one)) < 0)
        return; /* full: it is awake */
}

void front_stop(struct front *f)
{
    int saved = errno;

    atomic_store(&f->stop, true);
    keeper_wake(f);
    errno = saved;
}

/* The kernel wakes the one that has slept longest: of many, each comes to its request with cold
 * caches. As many as can run are enough, since none of them waits. */
static unsigned idle_workers(void)
{
    return (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), (long)IDLE_WORKERS_LEAST);
}

int front_run(struct front *f, void (*ready)(void *arg), void *arg)
{
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    int rc;

    if (!loop)
        return -ENOMEM;
    f->ready = ready;
    f->ready_arg = arg;
    rc = keeper_start(f);
    if (!rc) {
        if (f->cfg->threads > 0)
            fuse_loop_cfg_set_max_threads(loop, (unsigned)f->cfg->threads);
        fuse_loop_cfg_set_clone_fd(loop, geteuid() == 0);
        fuse_loop_cfg_set_idle_threads(loop, idle_workers());
        rc = fuse_session_loop_mt(f->se, loop);
        if (rc < 0)
            log_err("front: the session ended: %s", strerror(-rc));
    }
    fuse_loop_cfg_destroy(loop);
    atomic_store(&f->ended, true);
    return MIN(rc, 0);
}

/* ---- the end ---- */

/* Ends the connection although descriptors of it may stay behind in libfuse (an interrupt that came
 * too late keeps one): whoever waits for an answer, or asks for one, hears at once that there is
 * nobody. */
static void end_connection(struct front *f)
{
    struct pollfd fd = {.fd = fuse_session_fd(f->se)};

    if (poll(&fd, 1, 0) == 0 && geteuid() == 0 && mountpoint_is_l2fs(f->dir, NULL))
        umount2(f->dir, MNT_FORCE | MNT_DETACH);
}

/* libfuse leaves the mount of an aborted connection where it is. */
static void detach_dead(struct front *f)
{
    struct stat st;

    if (mountpoint_is_l2fs(f->dir, NULL) && stat(f->dir, &st) && errno == ENOTCONN)
        umount2(f->dir, MNT_DETACH | UMOUNT_NOFOLLOW);
}

void front_unmount(struct front *f)
{
    vfs_set_gone(f->fs, NULL, NULL);
    end_connection(f);
    notifier_fini(f);
    front_drain(f, UINT64_MAX);
    fuse_session_unmount(f->se);
    detach_dead(f);
    if (f->keeper_started) {
        atomic_store(&f->ended, true);
        keeper_wake(f);
        pthread_join(f->keeper, NULL);
    }
    files_close_all(f);
    dirs_close_all(f);
    front_drain(f, UINT64_MAX);
    retrier_fini(f);
    fuse_session_destroy(f->se);
    front_destroy(f);
}
