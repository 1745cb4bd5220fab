/* staging.c - staging files by id in one flat directory, "o/<16 hex digits>" below the root.
 *
 * Threads: any. `next_id` and `charged` are atomics; everything else is constant after open. The
 * record of a file is the xattr user.l2fs.record (tmpfs keeps user xattrs since Linux 6.6).
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "log.h"
#include "staging.h"

#define RECORD_XATTR "user.l2fs.record"
#define NOTE_XATTR "user.l2fs.note" /* of the directory */
#define TMPFS_MAGIC_NUMBER 0x01021994
#define ID_NAME_MAX 20

struct staging {
    char *dir;
    int dirfd; /* of dir/o */
    bool own_mount;
    bool can_record;
    uint64_t size;
    _Atomic uint64_t next_id;
    _Atomic int64_t charged;
};

static void id_name(uint64_t id, char name[ID_NAME_MAX])
{
    snprintf(name, ID_NAME_MAX, "%016" PRIx64, id);
}

static int make_dirs(const char *path, mode_t mode)
{
    AUTO_FREE char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0755) && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    if (mkdir(copy, mode) && errno != EEXIST)
        return -errno;
    return 0;
}

/* True when `dir` is the root of a tmpfs of its own. */
static bool is_own_tmpfs(const char *dir)
{
    AUTO_FREE char *parent = NULL;
    struct statfs fs;
    struct stat st, up;

    if (asprintf(&parent, "%s/..", dir) < 0 || statfs(dir, &fs) || stat(dir, &st) ||
        stat(parent, &up))
        return false;
    return fs.f_type == TMPFS_MAGIC_NUMBER && st.st_dev != up.st_dev;
}

/* Older kernels lack noswap (6.4), or huge pages in tmpfs: take what there is. */
static int mount_tmpfs(const char *dir, uint64_t size)
{
    static const char *const extra[] = {",huge=within_size,noswap", ",huge=within_size", ",noswap",
                                        ""};
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

    for (size_t i = 0; i < ARRAY_SIZE(extra); i++) {
        char options[128];

        snprintf(options, sizeof(options), "size=%" PRIu64 ",nr_inodes=0,mode=0700%s", size,
                 extra[i]);
        if (!mount("l2fs-staging", dir, "tmpfs", flags, options))
            return 0;
        if (errno != EINVAL)
            break;
    }
    return -errno;
}

static int resize_tmpfs(const char *dir, uint64_t size)
{
    char options[64];

    snprintf(options, sizeof(options), "size=%" PRIu64, size);
    return mount(NULL, dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, options) ? -errno
                                                                                          : 0;
}

static int attach_mount(const struct staging_config *cfg)
{
    int err;

    if (!is_own_tmpfs(cfg->dir)) {
        err = mount_tmpfs(cfg->dir, cfg->size);
        if (err)
            log_err("cannot mount the staging tmpfs on %s: %s; give the daemon CAP_SYS_ADMIN, or "
                    "use -o staging=/dev/shm/NAME",
                    cfg->dir, strerror(-err));
        return err;
    }
    err = resize_tmpfs(cfg->dir, cfg->size);
    if (err)
        log_warn("the staging left in %s by an earlier daemon keeps its old size: %s (it may hold "
                 "more than l1 allows)",
                 cfg->dir, strerror(-err));
    return 0;
}

/* Whoever shares /dev/shm must not be able to put files of theirs under our feet. */
static int check_private(const struct staging *s)
{
    struct stat st;

    if (fstat(s->dirfd, &st))
        return -errno;
    return st.st_uid == geteuid() && !(st.st_mode & 077) ? 0 : -EPERM;
}

static bool probe_record(struct staging *s)
{
    AUTO_CLOSE int fd = openat(s->dirfd, ".probe", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && !fsetxattr(fd, RECORD_XATTR, "", 0, 0);

    unlinkat(s->dirfd, ".probe", 0);
    return ok;
}

int staging_open(const struct staging_config *cfg, struct staging **out)
{
    AUTO_FREE char *objects = NULL;
    struct staging *s = calloc(1, sizeof(*s));
    int err = -ENOMEM;

    if (!s)
        return -ENOMEM;
    s->dirfd = -1;
    s->own_mount = cfg->own_mount;
    s->size = cfg->size;
    atomic_store(&s->next_id, 1);
    s->dir = strdup(cfg->dir);
    if (!s->dir || asprintf(&objects, "%s/o", cfg->dir) < 0)
        goto fail;
    err = make_dirs(cfg->dir, 0700);
    if (!err && cfg->own_mount)
        err = attach_mount(cfg);
    if (!err)
        err = make_dirs(objects, 0700);
    if (err)
        goto fail_log;
    s->dirfd = open(objects, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0) {
        err = -errno;
        goto fail_log;
    }
    err = check_private(s);
    if (err)
        goto fail_log;
    s->can_record = probe_record(s);
    *out = s;
    return 0;

fail_log:
    log_err("cannot use %s for staging files: %s", cfg->dir, strerror(-err));
fail:
    if (s->dirfd >= 0)
        close(s->dirfd);
    free(s->dir);
    free(s);
    return err;
}

static void remove_all(struct staging *s)
{
    AUTO_FREE char *objects = NULL;

    staging_scan(s, NULL, NULL);
    fremovexattr(s->dirfd, NOTE_XATTR);
    if (s->own_mount && umount2(s->dir, MNT_DETACH))
        log_warn("cannot unmount the staging tmpfs %s: %s; unmount it by hand", s->dir,
                 strerror(errno));
    if (!s->own_mount && asprintf(&objects, "%s/o", s->dir) > 0)
        rmdir(objects);
    rmdir(s->dir);
}

void staging_close(struct staging *s, bool keep)
{
    if (!s)
        return;
    if (!keep)
        remove_all(s);
    close(s->dirfd);
    free(s->dir);
    free(s);
}

int staging_create(struct staging *s, uint64_t *id, int *fd)
{
    uint64_t n = atomic_fetch_add(&s->next_id, 1);
    char name[ID_NAME_MAX];
    int f;

    id_name(n, name);
    f = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f < 0)
        return -errno;
    *id = n;
    *fd = f;
    return 0;
}

static int allocate(int fd, uint64_t size)
{
    if (!size || !fallocate(fd, 0, 0, (off_t)size))
        return 0;
    if (errno != EOPNOTSUPP)
        return -errno;
    return ftruncate(fd, (off_t)size) ? -errno : 0;
}

int staging_create_full(struct staging *s, uint64_t size, uint64_t *id, int *fd)
{
    int err = staging_create(s, id, fd);

    if (err)
        return err;
    err = allocate(*fd, size);
    if (!err)
        return 0;
    staging_drop(s, *id);
    auto_close(fd);
    return err;
}

uint64_t staging_room(const struct staging *s, uint64_t size)
{
    uint64_t page = s->own_mount ? (uint64_t)sysconf(_SC_PAGESIZE) : 1;

    return (size + page - 1) / page * page;
}

int staging_get(struct staging *s, uint64_t id, int flags, int *fd)
{
    char name[ID_NAME_MAX];
    int f;

    id_name(id, name);
    f = openat(s->dirfd, name, flags | O_CLOEXEC);
    if (f < 0)
        return -errno;
    *fd = f;
    return 0;
}

void staging_drop(struct staging *s, uint64_t id)
{
    char name[ID_NAME_MAX];

    id_name(id, name);
    unlinkat(s->dirfd, name, 0);
}

int staging_stat(struct staging *s, uint64_t id, struct stat *st)
{
    char name[ID_NAME_MAX];

    id_name(id, name);
    return fstatat(s->dirfd, name, st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

void staging_space(struct staging *s, uint64_t *used, uint64_t *size)
{
    struct statvfs v;

    if (s->own_mount && !fstatvfs(s->dirfd, &v)) {
        *size = v.f_blocks * v.f_frsize;
        *used = (v.f_blocks - v.f_bfree) * v.f_frsize;
        return;
    }
    *size = s->size;
    *used = (uint64_t)MAX(atomic_load(&s->charged), 0);
}

bool staging_has_mount(const struct staging *s)
{
    return s->own_mount;
}

int staging_charge(struct staging *s, int64_t bytes)
{
    int64_t now;

    if (s->own_mount)
        return 0;
    now = atomic_fetch_add(&s->charged, bytes) + bytes;
    if (bytes > 0 && (uint64_t)MAX(now, 0) > s->size) {
        atomic_fetch_sub(&s->charged, bytes);
        return -ENOSPC;
    }
    return 0;
}

bool staging_can_record(const struct staging *s)
{
    return s->can_record;
}

int staging_set_record(struct staging *s, uint64_t id, const void *record, size_t len)
{
    AUTO_CLOSE int fd = -1;
    int err;

    if (!s->can_record)
        return 0;
    err = staging_get(s, id, O_RDONLY, &fd);
    if (err)
        return err;
    return fsetxattr(fd, RECORD_XATTR, record, len, 0) ? -errno : 0;
}

size_t staging_get_note(struct staging *s, void *note, size_t size)
{
    ssize_t len = fgetxattr(s->dirfd, NOTE_XATTR, note, size);

    return len > 0 ? (size_t)len : 0;
}

int staging_set_note(struct staging *s, const void *note, size_t len)
{
    return fsetxattr(s->dirfd, NOTE_XATTR, note, len, 0) ? -errno : 0;
}

static bool scan_one(struct staging *s, uint64_t id, staging_scan_fn *fn, void *arg)
{
    AUTO_FREE char *record = malloc(STAGING_RECORD_MAX);
    AUTO_CLOSE int fd = -1;
    struct stat st;
    ssize_t len;

    if (!fn || !record || staging_get(s, id, O_RDONLY, &fd) || fstat(fd, &st))
        return false;
    len = fgetxattr(fd, RECORD_XATTR, record, STAGING_RECORD_MAX);
    return fn(arg, id, &st, record, len > 0 ? (size_t)len : 0);
}

size_t staging_scan(struct staging *s, staging_scan_fn *fn, void *arg)
{
    int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    size_t kept = 0;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((e = readdir(d))) {
        char *end;
        uint64_t id = strtoull(e->d_name, &end, 16);

        if (e->d_name[0] == '.' || *end)
            continue;
        if (id >= atomic_load(&s->next_id))
            atomic_store(&s->next_id, id + 1);
        if (scan_one(s, id, fn, arg))
            kept++;
        else
            staging_drop(s, id);
    }
    closedir(d);
    return kept;
}
