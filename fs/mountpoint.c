/* mountpoint.c - looks at a mount point without ever hanging on it.
 *
 * Thread model: called before there are threads, since it forks: a mount whose daemon hangs answers
 * statx(2) never, so a child asks and is given a few seconds.
 */
#include "mountpoint.h"

#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "clock.h"
#include "log.h"

#define ANSWER_MS 5000
#define STACK_MAX 16 /* dead mounts on top of each other */

extern char **environ;

bool mountpoint_is_l2fs(const char *dir, char **source)
{
    FILE *f = setmntent("/proc/self/mounts", "re");
    char line[16384];
    struct mntent e;
    bool found = false;
    char *what = NULL;

    while (f && getmntent_r(f, &e, line, sizeof(line))) {
        if (strcmp(e.mnt_dir, dir))
            continue;
        found = !strcmp(e.mnt_type, MOUNTPOINT_TYPE); /* the last one is on top */
        free(what);
        what = strdup(e.mnt_fsname);
    }
    if (f)
        endmntent(f);
    if (source && found)
        *source = what;
    else
        free(what);
    return found;
}

/* Waits for a child, at most until `ms` have passed. False: it is still there. */
static bool reap(pid_t pid, int ms, int *status)
{
    AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    uint64_t deadline = clock_deadline((uint64_t)ms * NSEC_PER_MSEC);

    while (pidfd >= 0 && poll(&p, 1, clock_left_ms(deadline)) <= 0) {
        if (clock_left_ms(deadline) == 0)
            return false;
    }
    return waitpid(pid, status, 0) == pid;
}

/* Asks a child what `dir` is, past the attributes that the kernel keeps of a dead mount: 0, -errno,
 * or -ETIMEDOUT when it does not answer. */
static int ask(const char *dir)
{
    int status = 0;
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        struct statx st;

        if (statx(AT_FDCWD, dir, AT_STATX_FORCE_SYNC, STATX_TYPE, &st))
            _exit(errno > 0 && errno < 256 ? errno : EIO);
        _exit(S_ISDIR(st.stx_mode) ? 0 : ENOTDIR);
    }
    if (!reap(pid, ANSWER_MS, &status)) {
        kill(pid, SIGKILL); /* it may take effect only when the mount goes; init reaps it then */
        return -ETIMEDOUT;
    }
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int detach(const char *dir)
{
    const char *const argv[] = {"fusermount3", "-u", "-z", "--", dir, NULL};
    int status = 0, rc;
    pid_t pid;

    if (!umount2(dir, MNT_DETACH))
        return 0;
    if (errno != EPERM)
        return -errno;
    rc = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);
    if (rc)
        return -rc;
    if (!reap(pid, ANSWER_MS, &status))
        return -ETIMEDOUT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int detach_dead(const char *dir, struct text *err)
{
    int rc = detach(dir);

    if (rc) {
        text_printf(err, "%s is a dead l2fs mount and cannot be detached (%s); run umount -l %s",
                    dir, strerror(-rc), dir);
        return rc;
    }
    log_warn("detached the dead l2fs mount that a killed daemon left on %s", dir);
    return 0;
}

static int refuse_mounted(const char *dir, int answer, struct text *err)
{
    AUTO_FREE char *source = NULL;

    mountpoint_is_l2fs(dir, &source);
    if (answer == -ETIMEDOUT)
        text_printf(err,
                    "%s is an l2fs mount of %s whose daemon does not answer; end the daemon, or "
                    "run umount -l %s",
                    dir, source ? source : "?", dir);
    else
        text_printf(err, "%s is already an l2fs mount of %s; unmount it first", dir,
                    source ? source : "?");
    return -EBUSY;
}

static int refuse(const char *dir, int error, struct text *err)
{
    switch (-error) {
    case ENOENT:
        text_printf(err, "mount point %s does not exist; make it first: mkdir -p %s", dir, dir);
        break;
    case ENOTDIR: text_printf(err, "mount point %s is not a directory", dir); break;
    case ENOTCONN:
        text_printf(err, "%s lies on a dead FUSE mount; run umount -l on that", dir);
        break;
    default: text_printf(err, "mount point %s: %s", dir, strerror(-error));
    }
    return error;
}

int mountpoint_prepare(const char *dir, struct text *err)
{
    for (int i = 0; i < STACK_MAX; i++) {
        bool mounted = mountpoint_is_l2fs(dir, NULL);
        int answer = ask(dir), rc;

        if (!mounted)
            return answer ? refuse(dir, answer, err) : 0;
        if (answer != -ENOTCONN && answer != -ECONNABORTED)
            return refuse_mounted(dir, answer, err);
        rc = detach_dead(dir, err);
        if (rc)
            return rc;
    }
    text_printf(err, "%s: too many dead mounts on top of each other", dir);
    return -EBUSY;
}
