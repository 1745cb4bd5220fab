/* vfsrig.c - see vfsrig.h. The test's thread is the only caller; it sleeps on a condition until the
 * loop thread says that a waiter came back.
 */
#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "clock.h"
#include "core.h"
#include "direct.h"
#include "vfsrig.h"

static const struct caller me = {.uid = 0, .gid = 0, .pid = 0};

struct sync_wait {
    struct waiter w;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool back; /* mutex */
};

static void on_back(struct waiter *w)
{
    struct sync_wait *s = container_of(w, struct sync_wait, w);

    lock(&s->mutex);
    s->back = true;
    pthread_cond_signal(&s->cond);
    unlock(&s->mutex);
}

static void sync_init(struct sync_wait *s)
{
    memset(s, 0, sizeof(*s));
    lock_init(&s->mutex);
    cond_init(&s->cond);
    s->w.retry = on_back;
}

static void sync_wait(struct sync_wait *s)
{
    uint64_t deadline = clock_deadline(60 * NSEC_PER_SEC);

    lock(&s->mutex);
    while (!s->back)
        ck_assert_msg(!cond_wait_until(&s->cond, &s->mutex, deadline) || s->back,
                      "a waiter never came back");
    s->back = false;
    unlock(&s->mutex);
}

#define BLOCKING(result, call)                                                                     \
    do {                                                                                           \
        struct sync_wait s;                                                                        \
        struct waiter *w = &s.w;                                                                   \
        sync_init(&s);                                                                             \
        while (((result) = (call)) == -EINPROGRESS)                                                \
            sync_wait(&s);                                                                         \
    } while (0)

/* --- the instance --- */

void vfsrig_init(struct vfsrig *r, const char *spec)
{
    char template[] = "/dev/shm/l2fs-test-XXXXXX", data[64];
    char *text, *at;

    memset(r, 0, sizeof(*r));
    ck_assert_ptr_nonnull(mkdtemp(template));
    r->dir = strdup(template);
    ck_assert_int_eq(l2fs_config_init(&r->cfg), 0);
    ck_assert_int_gt(asprintf(&r->cfg.staging, "%s/staging", r->dir), 0);
    r->cfg.name = strdup("test");
    snprintf(data, sizeof(data), "%s/data", r->dir);
    ck_assert_int_eq(mkdir(data, 0755), 0);
    spec = spec ? spec : "[{\"type\":\"fs\",\"base_path\":\"@DIR@\"}]";
    at = strstr(spec, "@DIR@");
    if (at)
        ck_assert_int_gt(asprintf(&text, "%.*s%s%s", (int)(at - spec), spec, data, at + 5), 0);
    else
        text = strdup(spec);
    json_decref(r->cfg.l2);
    r->cfg.l2 = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(r->cfg.l2);
    free(text);
    r->cfg.l1 = 64 * MIB;
    r->cfg.store_timeout = 20 * NSEC_PER_SEC;
    r->cfg.drain_timeout = 20 * NSEC_PER_SEC;
}

void vfsrig_start(struct vfsrig *r)
{
    struct text err = {0};
    int rc = l2fs_start(&r->cfg, &r->fs, &err);

    ck_assert_msg(rc == 0, "start: %s", err.data ? err.data : "?");
    if (!r->early)
        ck_assert_int_eq(scan_await_end(r->fs, clock_deadline(20 * NSEC_PER_SEC)), 0);
    text_fini(&err);
}

void vfsrig_stop(struct vfsrig *r)
{
    l2fs_stop(r->fs);
    r->fs = NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void vfsrig_fini(struct vfsrig *r)
{
    if (r->fs)
        vfsrig_stop(r);
    nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    l2fs_config_fini(&r->cfg);
    free(r->dir);
}

/* --- names --- */

/* The directory of `path` and its last component. NULL: no such directory. */
static struct inode *parent_of(struct vfsrig *r, const char *path, const char **name)
{
    struct inode *dir = vfs_root(r->fs);
    char part[KEY_NAME_MAX + 1];
    const char *slash;

    for (; (slash = strchr(path, '/')); path = slash + 1) {
        struct dentry *d;

        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        lock(&r->fs->ns->lock);
        d = ns_find(r->fs->ns, dir, part);
        unlock(&r->fs->ns->lock);
        if (!d)
            return NULL;
        dir = d->inode;
    }
    *name = path;
    return dir;
}

struct inode *vfsrig_find(struct vfsrig *r, const char *path)
{
    const char *name;
    struct inode *dir = parent_of(r, path, &name);
    struct dentry *d;

    if (!dir)
        return NULL;
    LOCKED_SCOPE(&r->fs->ns->lock);
    d = ns_find(r->fs->ns, dir, name);
    return d ? d->inode : NULL;
}

enum state vfsrig_state(struct vfsrig *r, const char *path)
{
    struct inode *inode = vfsrig_find(r, path);

    if (!inode)
        return STATE_ABSENT;
    LOCKED_SCOPE(&r->fs->ns->lock);
    return inode->state;
}

/* --- calls --- */

int vfsrig_create(struct vfsrig *r, const char *path, int flags, struct handle **h)
{
    struct vfs_new n = {.mode = 0644, .flags = flags | O_CREAT, .caller = me};
    struct inode *inode;
    int err;

    n.dir = parent_of(r, path, &n.name);
    if (!n.dir)
        return -ENOENT;
    BLOCKING(err, vfs_create(r->fs, &n, w, &inode, h));
    if (!err)
        vfs_forget(r->fs, inode, 1);
    return err;
}

int vfsrig_open(struct vfsrig *r, const char *path, int flags, struct handle **h)
{
    const char *name;
    struct inode *inode, *dir = parent_of(r, path, &name);
    struct stat st;
    bool settled;
    int err;

    if (!dir)
        return -ENOENT;
    err = vfs_lookup(r->fs, dir, name, &inode, &st, &settled);
    if (err)
        return err;
    BLOCKING(err, vfs_open(r->fs, inode, flags, &me, w, h));
    vfs_forget(r->fs, inode, 1);
    return err;
}

int vfsrig_write(struct vfsrig *r, struct handle *h, const void *data, size_t len, off_t off)
{
    ssize_t n = vfs_write(r->fs, h, data, len, off);

    return n < 0 ? (int)n : 0;
}

ssize_t vfsrig_read(struct vfsrig *r, struct handle *h, void *buf, size_t len, off_t off)
{
    const void *direct;
    ssize_t n;

    BLOCKING(n, vfs_read(r->fs, h, buf, len, off, w, &direct));
    return n > 0 && direct ? direct_copy(buf, direct, (size_t)n) : n;
}

void vfsrig_close(struct vfsrig *r, struct handle *h)
{
    vfs_flush(r->fs, h, &me);
    vfs_release(r->fs, h);
}

int vfsrig_fsync(struct vfsrig *r, const char *path)
{
    struct inode *inode = vfsrig_find(r, path);
    int err;

    BLOCKING(err, vfs_fsync(r->fs, inode, w));
    return err;
}

int vfsrig_rename(struct vfsrig *r, const char *from, const char *to)
{
    struct vfs_rename n = {0};
    struct inode *sync;
    int err;

    n.from_dir = parent_of(r, from, &n.from);
    n.to_dir = parent_of(r, to, &n.to);
    if (!n.from_dir || !n.to_dir)
        return -ENOENT;
    err = vfs_rename(r->fs, &n, &sync);
    if (err || !sync)
        return err;
    BLOCKING(err, vfs_fsync(r->fs, sync, w));
    vfs_put(r->fs, sync);
    return err;
}

int vfsrig_link(struct vfsrig *r, const char *from, const char *to)
{
    struct inode *inode = vfsrig_find(r, from);
    const char *name;
    struct inode *dir = parent_of(r, to, &name);
    int err;

    BLOCKING(err, vfs_link(r->fs, inode, dir, name, w));
    if (!err)
        vfs_forget(r->fs, inode, 1);
    return err;
}

int vfsrig_unlink(struct vfsrig *r, const char *path)
{
    const char *name;
    struct inode *dir = parent_of(r, path, &name);

    return dir ? vfs_unlink(r->fs, dir, name) : -ENOENT;
}

int vfsrig_mkdir(struct vfsrig *r, const char *path)
{
    struct vfs_new n = {.mode = 0755, .caller = me};
    struct inode *inode;
    int err;

    n.dir = parent_of(r, path, &n.name);
    if (!n.dir)
        return -ENOENT;
    err = vfs_mkdir(r->fs, &n, &inode);
    if (!err)
        vfs_forget(r->fs, inode, 1);
    return err;
}

int vfsrig_truncate(struct vfsrig *r, const char *path, uint64_t size)
{
    struct stat st = {.st_size = (off_t)size};
    struct inode *inode = vfsrig_find(r, path);
    int err;

    BLOCKING(err, vfs_setattr(r->fs, inode, &st, VFS_SET_SIZE, w));
    return err;
}

/* --- whole objects --- */

void vfsrig_fill(void *data, size_t len, unsigned seed)
{
    unsigned char *p = data;
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = (unsigned char)x;
    }
}

int vfsrig_put(struct vfsrig *r, const char *path, size_t len, unsigned seed)
{
    AUTO_FREE char *data = malloc(len + 1);
    struct handle *h;
    int err = vfsrig_create(r, path, O_WRONLY | O_TRUNC, &h);

    if (err)
        return err;
    vfsrig_fill(data, len, seed);
    err = len ? vfsrig_write(r, h, data, len, 0) : 0;
    vfsrig_close(r, h);
    return err;
}

int vfsrig_check(struct vfsrig *r, const char *path, size_t len, unsigned seed)
{
    AUTO_FREE char *want = malloc(len + 1), *got = malloc(len + 1);
    struct handle *h;
    int err = vfsrig_open(r, path, O_RDONLY, &h);
    ssize_t n;

    if (err)
        return err;
    vfsrig_fill(want, len, seed);
    n = vfsrig_read(r, h, got, len + 1, 0);
    vfsrig_close(r, h);
    return n == (ssize_t)len && !memcmp(want, got, len) ? 0 : -EBADMSG;
}

void vfsrig_wait_stored(struct vfsrig *r)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);
    int err = 0;

    lock(&r->fs->ns->lock);
    while (r->fs->unstored && !err)
        err = cond_wait_until(&r->fs->stored_cond, &r->fs->ns->lock, deadline);
    unlock(&r->fs->ns->lock);
    ck_assert_int_eq(err, 0);
}

int vfsrig_evict(struct vfsrig *r, const char *path)
{
    struct inode *inode = vfsrig_find(r, path);

    ck_assert_ptr_nonnull(inode);
    vfsrig_wait_stored(r);
    LOCKED_SCOPE(&r->fs->ns->lock);
    return inode->object ? evict_one_locked(r->fs, inode->object, CAUSE_ASKED) : -EBUSY;
}

void vfsrig_crash(struct vfsrig *r, void (*fn)(struct vfsrig *r))
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        vfsrig_start(r);
        fn(r);
        kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child failed by itself");
}
