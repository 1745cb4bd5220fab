/* core_rig.c - see core_rig.h. One thread drives; the instance has its own. */
#include "core_rig.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "direct.h"
#include "l2fs.h"
#include "xattr.h"

struct blocking {
    struct waiter w;
    sem_t woken;
};

static void on_retry(struct waiter *w)
{
    sem_post(&container_of(w, struct blocking, w)->woken);
}

static void blocking_init(struct blocking *b)
{
    memset(b, 0, sizeof(*b));
    b->w.retry = on_retry;
    sem_init(&b->woken, 0, 0);
}

static void blocking_wait(struct blocking *b)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += CORE_WAIT_MS / 1000;
    ck_assert_msg(!sem_timedwait(&b->woken, &ts), "a waiting call was never woken");
}

void core_open(struct core_rig *r, const char *l2_json)
{
    struct text err = {0};
    int rc;

    memset(r, 0, sizeof(*r));
    snprintf(r->dir, sizeof(r->dir), "/dev/shm/l2fs-core-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    ck_assert_int_eq(l2fs_config_init(&r->cfg), 0);
    r->cfg.l1 = 64 * MIB;
    r->cfg.name = strdup("test");
    r->cfg.staging = strdup(r->dir);
    r->cfg.l2 = json_loads(l2_json, 0, NULL);
    ck_assert_ptr_nonnull(r->cfg.l2);
    rc = l2fs_start(&r->cfg, &r->fs, &err);
    ck_assert_msg(!rc, "l2fs_start: %s", err.data ? err.data : "?");
    ck_assert_int_eq(scan_await_end(r->fs, clock_deadline(CORE_WAIT_MS * NSEC_PER_MSEC)), 0);
    text_fini(&err);
}

void core_close(struct core_rig *r)
{
    l2fs_stop(r->fs);
    l2fs_config_fini(&r->cfg);
    rmdir(r->dir);
}

/* The directory of `path`, with a reference unless it is the root; *name is the last component. */
static struct inode *parent_of(struct core_rig *r, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    char dir[KEY_PATH_MAX + 1];

    *name = slash ? slash + 1 : path;
    if (!slash)
        return vfs_root(r->fs);
    snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    return core_lookup(r, dir);
}

void core_forget(struct core_rig *r, struct inode *inode)
{
    if (inode && inode != vfs_root(r->fs))
        vfs_forget(r->fs, inode, 1);
}

struct inode *core_lookup(struct core_rig *r, const char *path)
{
    struct inode *dir, *inode;
    const char *name;
    struct stat st;
    bool settled;
    int rc;

    if (!*path)
        return vfs_root(r->fs);
    dir = parent_of(r, path, &name);
    if (!dir)
        return NULL;
    rc = vfs_lookup(r->fs, dir, name, &inode, &st, &settled);
    core_forget(r, dir);
    return rc ? NULL : inode;
}

void core_mkdir(struct core_rig *r, const char *path)
{
    struct vfs_new n = {.mode = 0755};
    struct inode *inode;

    n.dir = parent_of(r, path, &n.name);
    ck_assert_ptr_nonnull(n.dir);
    ck_assert_int_eq(vfs_mkdir(r->fs, &n, &inode), 0);
    core_forget(r, inode);
    core_forget(r, n.dir);
}

int core_open_file(struct core_rig *r, const char *path, int flags, struct handle **h)
{
    struct caller c = {.pid = getpid()};
    struct inode *inode = core_lookup(r, path);
    struct blocking b;
    int rc;

    if (!inode)
        return -ENOENT;
    blocking_init(&b);
    while ((rc = vfs_open(r->fs, inode, flags, &c, &b.w, h)) == -EINPROGRESS)
        blocking_wait(&b);
    core_forget(r, inode);
    return rc;
}

void core_write(struct core_rig *r, const char *path, const void *data, size_t len)
{
    struct vfs_new n = {.mode = 0644, .flags = O_RDWR, .caller = {.pid = getpid()}};
    struct inode *inode = core_lookup(r, path);
    struct handle *h;
    struct blocking b;
    int rc;

    if (inode) {
        core_forget(r, inode);
        ck_assert_int_eq(core_open_file(r, path, O_RDWR | O_TRUNC, &h), 0);
        inode = NULL;
    } else {
        n.dir = parent_of(r, path, &n.name);
        ck_assert_ptr_nonnull(n.dir);
        blocking_init(&b);
        while ((rc = vfs_create(r->fs, &n, &b.w, &inode, &h)) == -EINPROGRESS)
            blocking_wait(&b);
        ck_assert_int_eq(rc, 0);
        core_forget(r, n.dir);
    }
    ck_assert_int_eq(vfs_write(r->fs, h, data, len, 0), (ssize_t)len);
    ck_assert_int_eq(vfs_flush(r->fs, h, &n.caller), 0);
    vfs_release(r->fs, h);
    core_forget(r, inode);
}

ssize_t core_read(struct core_rig *r, const char *path, void *buf, size_t len)
{
    const void *direct = NULL;
    struct handle *h;
    struct blocking b;
    ssize_t n = core_open_file(r, path, O_RDONLY, &h);

    if (n)
        return n;
    blocking_init(&b);
    while ((n = vfs_read(r->fs, h, buf, len, 0, &b.w, &direct)) == -EINPROGRESS)
        blocking_wait(&b);
    if (n > 0 && direct)
        n = direct_copy(buf, direct, (size_t)n);
    vfs_release(r->fs, h);
    return n;
}

ssize_t core_get(struct core_rig *r, const char *path, const char *name, char *buf, size_t size)
{
    struct inode *inode = core_lookup(r, path);
    ssize_t n;

    if (!inode)
        return -ENOENT;
    n = vfs_getxattr(r->fs, inode, name, buf, size - 1);
    buf[n > 0 ? n : 0] = '\0';
    core_forget(r, inode);
    return n;
}

int core_set(struct core_rig *r, const char *path, const char *name, const char *value)
{
    struct inode *inode = core_lookup(r, path);
    int rc;

    if (!inode)
        return -ENOENT;
    rc = value ? vfs_setxattr(r->fs, inode, name, value, strlen(value), 0)
               : vfs_removexattr(r->fs, inode, name);
    core_forget(r, inode);
    return rc;
}

void core_wait_attr(struct core_rig *r, const char *path, const char *name, const char *value)
{
    uint64_t deadline = clock_deadline(CORE_WAIT_MS * NSEC_PER_MSEC);
    char buf[256];

    for (;;) {
        ssize_t n = core_get(r, path, name, buf, sizeof(buf));

        if (n >= 0 && !strcmp(buf, value))
            return;
        ck_assert_msg(clock_now() < deadline, "%s of %s is \"%s\" (%zd), not \"%s\"", name, path,
                      buf, n, value);
        usleep(2000);
    }
}
