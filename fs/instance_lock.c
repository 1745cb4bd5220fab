/* instance_lock.c - flock(2) on a small file that names its holder.
 *
 * Thread model: taken before there are threads; instance_lock_tell may come from any one thread. A
 * lock file is removed by its holder only, so who gets a lock checks that the path still leads to
 * the file it locked.
 */
#include "instance_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "clock.h"
#include "log.h"
#include "mountpoint.h"

#define RETRY_MS 50

/* Where locks live; made when missing. */
static int lock_directory(char *buf, size_t len, struct text *err)
{
    struct stat st;

    if (geteuid() == 0)
        snprintf(buf, len, "/run/l2fs");
    else
        snprintf(buf, len, "/dev/shm/l2fs-%u", geteuid());
    if (mkdir(buf, 0700) && errno != EEXIST) {
        int error = errno;

        text_printf(err, "cannot make %s for the lock files: %s", buf, strerror(error));
        return -error;
    }
    if (lstat(buf, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        text_printf(err, "%s is not a directory of this user; remove it", buf);
        return -EACCES;
    }
    return 0;
}

static bool leads_to(const char *path, int fd)
{
    struct stat a, b;

    return !stat(path, &a) && !fstat(fd, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* 0 and a locked descriptor, -EWOULDBLOCK when another has it. */
static int try_lock(const char *path, int *out)
{
    for (;;) {
        AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
            return -errno;
        if (leads_to(path, fd)) {
            *out = steal_fd(&fd);
            return 0;
        }
    }
}

struct holder {
    int pid;
    char phase[16];
    char dir[4096];
};

static bool read_holder(const char *path, struct holder *h)
{
    FILE *f = fopen(path, "re");
    int n;

    if (!f)
        return false;
    n = fscanf(f, "%d %15s %4095[^\n]", &h->pid, h->phase, h->dir);
    fclose(f);
    return n == 3;
}

/* A holder that has lost its mount, or says so, is on its way out; one that is starting is about to
 * be mounted. */
static bool is_passing(const struct holder *h)
{
    if (kill(h->pid, 0) && errno == ESRCH)
        return true;
    return strcmp(h->phase, "running") != 0 || !mountpoint_is_l2fs(h->dir, NULL);
}

static void say_waiting(const struct holder *h)
{
    log_warn("waiting for process %d, which is still %s for %s", h->pid,
             strcmp(h->phase, "starting") ? "storing" : "starting", h->dir);
}

static int refuse(const char *path, const char *what, const struct holder *h, struct text *err)
{
    if (h->pid > 0)
        text_printf(err, "process %d already serves %s on %s; unmount that first", h->pid, what,
                    h->dir);
    else
        text_printf(err, "another process already serves %s (it holds %s)", what, path);
    return -EBUSY;
}

/* Locks l->paths[l->n]. */
static int take_one(struct instance_lock *l, const char *what, uint64_t deadline, struct text *err)
{
    uint64_t patience = clock_deadline(NSEC_PER_SEC);
    const char *path = l->paths[l->n];
    int rc, fd = -1;

    for (;;) {
        struct holder h = {0};
        bool known;

        rc = try_lock(path, &fd);
        if (rc != -EWOULDBLOCK)
            break;
        known = read_holder(path, &h);
        if (!clock_left_ms(deadline) || (known && !is_passing(&h)))
            return refuse(path, what, &h, err);
        if (known && !clock_left_ms(patience)) {
            say_waiting(&h);
            patience = UINT64_MAX;
        }
        poll(NULL, 0, RETRY_MS); /* flock(2) has no deadline of its own */
    }
    if (rc) {
        text_printf(err, "cannot lock %s: %s", path, strerror(-rc));
        return rc;
    }
    l->fds[l->n++] = fd;
    return 0;
}

static bool is_taken(const struct instance_lock *l, const char *path)
{
    for (size_t i = 0; i < l->n; i++) {
        if (!strcmp(l->paths[i], path))
            return true;
    }
    return false;
}

static int take_all(struct instance_lock *l, const struct instance_claim *claims, size_t n,
                    uint64_t wait_ns, struct text *err)
{
    uint64_t deadline = clock_deadline(wait_ns);
    char directory[64];
    int rc = lock_directory(directory, sizeof(directory), err);

    for (size_t i = 0; i < n && !rc; i++) {
        char *path;

        if (l->n == INSTANCE_LOCKS_MAX) {
            text_printf(err, "more than %d adapters with a directory", INSTANCE_LOCKS_MAX - 1);
            return -E2BIG;
        }
        if (asprintf(&path, "%s/%s.lock", directory, claims[i].name) < 0)
            return -ENOMEM;
        if (is_taken(l, path)) {
            free(path);
            continue;
        }
        l->paths[l->n] = path;
        rc = take_one(l, claims[i].what, deadline, err);
        if (rc)
            free(path);
    }
    return rc;
}

int instance_lock_take(struct instance_lock *l, const struct instance_claim *claims, size_t n,
                       const char *dir, uint64_t wait_ns, struct text *err)
{
    int rc;

    memset(l, 0, sizeof(*l));
    l->dir = strdup(dir);
    rc = l->dir ? take_all(l, claims, n, wait_ns, err) : -ENOMEM;
    if (rc) {
        instance_lock_release(l);
        return rc;
    }
    instance_lock_tell(l, "starting");
    return 0;
}

void instance_lock_tell(struct instance_lock *l, const char *phase)
{
    char line[4200];
    int n = snprintf(line, sizeof(line), "%d %s %s\n", (int)getpid(), phase, l->dir);

    for (size_t i = 0; i < l->n && n > 0; i++) {
        size_t len = MIN((size_t)n, sizeof(line) - 1);

        /* One write of one short line: a reader sees the old line or the new one. */
        if (pwrite(l->fds[i], line, len, 0) == (ssize_t)len && ftruncate(l->fds[i], (off_t)len))
            log_debug("cannot cut %s", l->paths[i]);
    }
}

void instance_lock_close(struct instance_lock *l)
{
    for (size_t i = 0; i < l->n; i++) {
        close(l->fds[i]);
        free(l->paths[i]);
    }
    free(l->dir);
    memset(l, 0, sizeof(*l));
}

void instance_lock_release(struct instance_lock *l)
{
    for (size_t i = 0; i < l->n; i++)
        unlink(l->paths[i]);
    instance_lock_close(l);
}
