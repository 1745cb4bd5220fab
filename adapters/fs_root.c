/* fs_root.c - takes possession of a directory: refuses what cannot work, locks, sweeps temporaries.
 *
 * The lock is flock on .l2fs/lock: it belongs to the open file, so it ends with the process however
 * that ends. Whoever holds it owns every temporary, so all that are found are stale. Threads: the
 * one that opens or closes the adapter.
 */
#include "fs_layout.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "log.h"

static const struct fs_layout closed = {
    .root = -1, .own = -1, .tmp = -1, .corrupt = -1, .lock = -1};

static const char *reason_for(int err)
{
    switch (err) {
    case -ENOENT: return "does not exist; create it (mkdir -p), or mount the disk it is on";
    case -ENOTDIR: return "is not a directory; base_path names the directory that holds the keys";
    case -EROFS: return "is on a read-only file system; remount it read-write";
    case -EACCES:
    case -EPERM:
        return "cannot be read, written and searched by this user; change its owner or mode";
    case -EOPNOTSUPP: return "is on a file system that cannot hold files of ours; take another";
    default: return strerror(-err);
    }
}

static int refuse(const char *base, int err)
{
    log_err("fs: base_path %s %s", base, reason_for(err));
    return err;
}

static int open_root(const char *base, struct fs_layout *l)
{
    l->root = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->root < 0)
        return refuse(base, -errno);
    if (faccessat(l->root, ".", R_OK | W_OK | X_OK, AT_EACCESS))
        return refuse(base, -errno);
    return 0;
}

/* Makes and opens `name` in `parent`. */
static int own_dir(const struct fs_layout *l, int parent, const char *name, int *fd)
{
    int dir;

    if (mkdirat(parent, name, 0700) && errno != EEXIST)
        return errno == ENOENT ? refuse(l->base, -EOPNOTSUPP) : refuse(l->base, -errno);
    dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) {
        int err = -errno;

        log_err("fs: cannot open %s of base_path %s: %s; it belongs to l2fs, move it away or "
                "change its mode",
                name, l->base, strerror(-err));
        return err;
    }
    *fd = dir;
    return 0;
}

static int in_use(const struct fs_layout *l, int fd)
{
    char pid[32] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    log_err("fs: base_path %s is in use by another l2fs daemon, pid %s: unmount that one, or give "
            "this mount a directory of its own",
            l->base, *pid ? pid : "unknown");
    return -EBUSY;
}

static int take_lock(struct fs_layout *l)
{
    AUTO_CLOSE int fd = openat(l->own, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    char pid[32];
    int len;

    if (fd < 0)
        return refuse(l->base, -errno);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK)
            return in_use(l, fd);
        log_warn("fs: cannot lock %s/" FS_OWN_DIR "/lock: %s; make sure that no other l2fs daemon "
                 "uses this directory",
                 l->base, strerror(errno));
        return 0;
    }
    len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)len, 0) != len)
        return refuse(l->base, errno ? -errno : -EIO);
    l->lock = steal_fd(&fd);
    return 0;
}

static int check_format(const struct fs_layout *l)
{
    AUTO_CLOSE int fd = openat(l->own, "format", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    const ssize_t len = sizeof(FS_FORMAT) - 1;
    char have[16] = "";
    ssize_t n;

    if (fd < 0)
        return refuse(l->base, -errno);
    n = pread(fd, have, sizeof(have) - 1, 0);
    if (n == 0)
        return pwrite(fd, FS_FORMAT, (size_t)len, 0) == len ? 0 : refuse(l->base, -EIO);
    if (n == len && strcmp(have, FS_FORMAT) == 0)
        return 0;
    log_err("fs: %s/" FS_OWN_DIR "/format is not 1: a newer l2fs wrote this directory; use that "
            "version, or remove the file if the directory holds plain files only",
            l->base);
    return -EINVAL;
}

static int open_tmp(struct fs_layout *l, const char *tmp_dir)
{
    struct stat root, tmp;
    int fd = fcntl(l->root, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    while (*tmp_dir) {
        char name[FS_NAME_SIZE];
        size_t len = strcspn(tmp_dir, "/");
        AUTO_CLOSE int parent = fd;
        int err;

        memcpy(name, tmp_dir, len);
        name[len] = '\0';
        err = own_dir(l, parent, name, &fd);
        if (err)
            return err;
        tmp_dir += len + (tmp_dir[len] == '/');
    }
    l->tmp = fd;
    if (fstat(l->root, &root) || fstat(l->tmp, &tmp))
        return refuse(l->base, -errno);
    if (root.st_dev == tmp.st_dev)
        return 0;
    log_err("fs: relative_tmp_dir of base_path %s is on another file system: files could not be "
            "renamed into place; leave the option out",
            l->base);
    return -EXDEV;
}

static uint64_t bytes_of(int dir, const char *name)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ? 0 : (uint64_t)st.st_blocks * 512;
}

/* Counts the entries of a directory, removing those that are temporaries, and the bytes of the
 * others. */
static size_t sweep(int dir, bool remove, uint64_t *bytes)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    size_t n = 0;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (!remove || (fs_is_temp(e->d_name) && !unlinkat(dir, e->d_name, 0)))
            n++;
        if (!remove)
            *bytes += bytes_of(dir, e->d_name);
    }
    closedir(d);
    return n;
}

int fs_layout_open(const char *base, const char *tmp_dir, struct fs_layout *out)
{
    struct fs_layout l = closed;
    int err;

    l.base = strdup(base);
    if (!l.base)
        return -ENOMEM;
    err = open_root(base, &l);
    if (!err)
        err = own_dir(&l, l.root, FS_OWN_DIR, &l.own);
    if (!err)
        err = take_lock(&l);
    if (!err)
        err = check_format(&l);
    if (!err)
        err = own_dir(&l, l.own, "corrupt", &l.corrupt);
    if (!err)
        err = open_tmp(&l, tmp_dir);
    if (err) {
        fs_layout_close(&l);
        return err;
    }
    l.swept = sweep(l.tmp, true, NULL);
    l.corrupt_kept = sweep(l.corrupt, false, &l.own_bytes);
    l.own_bytes += bytes_of(l.own, "lock") + bytes_of(l.own, "format");
    *out = l;
    return 0;
}

static void close_fd(int *fd)
{
    auto_close(fd);
    *fd = -1;
}

void fs_layout_close(struct fs_layout *l)
{
    close_fd(&l->tmp);
    close_fd(&l->corrupt);
    close_fd(&l->lock);
    close_fd(&l->own);
    close_fd(&l->root);
    free(l->base);
    l->base = NULL;
}
