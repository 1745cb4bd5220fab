/* bench_mount.c - l2bench --report: mounts of its own below the base directory, and programs run to their end. */
#include "bench_report.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bench_pd.h"
#include "clock.h"
#include "text.h"

#define MOUNT_SECONDS 120
#define END_MS 120000
#define OUTPUT_MOST (8 * MIB)

extern char **environ;

/* --- programs --- */

/* All that comes until the end of the pipe. -1 at the deadline, or when it is too much. */
static int collect(int fd, uint64_t deadline, struct text *out)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = (int64_t)(deadline - clock_now()) / (int64_t)NSEC_PER_MSEC;
        char part[16384];
        ssize_t n;

        if (left <= 0 || bench_stop || out->len > OUTPUT_MOST)
            return -1;
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        n = read(fd, part, sizeof(part));
        if (n <= 0)
            return (int)n;
        text_append(out, part, (size_t)n);
    }
}

static int start(const char *const argv[], int out, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    int err;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    err = posix_spawnp(pid, argv[0], &files, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    return err;
}

int report_run(const char *const argv[], unsigned seconds, char **out)
{
    uint64_t deadline = clock_deadline(seconds * NSEC_PER_SEC);
    struct text text = {0};
    int pipes[2], status = -1, err, rc;
    pid_t pid;

    *out = NULL;
    if (pipe2(pipes, O_CLOEXEC))
        return bench_error("pipe: %s", strerror(errno));
    err = start(argv, pipes[1], &pid);
    close(pipes[1]);
    rc = err ? bench_error("%s: %s", argv[0], strerror(err)) : collect(pipes[0], deadline, &text);
    close(pipes[0]);
    if (!err) {
        if (rc)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (rc || status)
            rc = bench_error("%s %s (status %d): %.300s", argv[0],
                             rc ? "did not end in time" : "failed", status,
                             text.data ? text.data : "");
    }
    if (rc)
        text_fini(&text);
    else
        *out = text.data ? text.data : strdup("");
    return rc;
}

/* --- mounts --- */

int report_mount(struct report *r, const char *spec, const char *name, uint64_t l1,
                 const char *options)
{
    AUTO_FREE char *dir = report_path(r, name), *log = NULL, *all = NULL, *out = NULL;
    const char *argv[] = {r->daemon, spec, dir, "-o", NULL, NULL};

    if (!dir || asprintf(&all, "l1=%llu,name=l2bench-%d-%s,log=%s.log%s%s", (unsigned long long)l1,
                         (int)getpid(), name, dir, options[0] ? "," : "", options) < 0)
        return bench_error("out of memory");
    if (mkdir(dir, 0755) && errno != EEXIST)
        return bench_error("%s: %s", dir, strerror(errno));
    argv[4] = all;
    return report_run(argv, MOUNT_SECONDS, &out);
}

static int wait_end(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};

    return pidfd < 0 || poll(&p, 1, END_MS) > 0 ? 0 : bench_error("a daemon does not end");
}

int report_unmount(struct report *r, const char *name)
{
    AUTO_FREE char *dir = report_path(r, name);
    int pid = dir ? proc_find(dir) : 0;
    AUTO_CLOSE int pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

    if (!dir || (umount2(dir, 0) && errno != EINVAL && errno != ENOENT))
        return bench_error("cannot unmount %s: %s", name, strerror(errno));
    return wait_end(pidfd);
}

static int open_sides(struct report *r)
{
    r->b.mount = r->dirs[SIDE_MOUNT];
    r->b.tmpfs = r->dirs[SIDE_TMPFS];
    r->b.other = true;
    return sides_open(&r->b);
}

int report_open(struct report *r, const char *name, uint64_t l1, const char *options,
                const char *other)
{
    AUTO_FREE char *tier = NULL;
    int rc;

    r->dirs[SIDE_MOUNT] = report_path(r, name);
    r->dirs[SIDE_TMPFS] = report_path(r, other);
    if (!r->dirs[SIDE_MOUNT] || !r->dirs[SIDE_TMPFS] ||
        asprintf(&tier, "%s/disk/%s-l2", r->base, name) < 0)
        return bench_error("out of memory");
    if (mkdir(tier, 0755) && errno != EEXIST)
        return bench_error("%s: %s", tier, strerror(errno));
    rc = report_mount(r, tier, name, l1, options);
    return rc ? rc : open_sides(r);
}

int report_close(struct report *r, const char *name)
{
    sides_close(&r->b);
    for (int i = 0; i < SIDES; i++) {
        free(r->dirs[i]);
        r->dirs[i] = NULL;
    }
    r->b.mount = r->b.tmpfs = NULL;
    return report_unmount(r, name);
}
