/* data.c - bytes and sizes: the fallback read and write path, fallocate, lseek, truncate, fsync.
 * The staging file is opened by id for each call, so that nothing holds descriptors; the calls
 * themselves run without ns->lock.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "clock.h"
#include "core.h"
#include "log.h"
#include "tenant.h"

/* The file behind an inode that is open or held busy. */
static int open_file(struct l2fs *fs, struct inode *inode, int flags, int *fd)
{
    struct object *o;
    uint64_t id;

    lock(&fs->ns->lock);
    o = inode->object;
    id = o ? o->staging_id : 0;
    if (o && o->disk_fd >= 0) {
        *fd = fcntl(o->disk_fd, F_DUPFD_CLOEXEC, 3);
        unlock(&fs->ns->lock);
        return *fd < 0 ? -errno : 0;
    }
    unlock(&fs->ns->lock);
    return id ? staging_get(fs->staging, id, flags, fd) : -EIO;
}

static bool fits(struct l2fs *fs, struct inode *inode, uint64_t end)
{
    uint64_t max = fs->cfg->max_object ? fs->cfg->max_object : fs->cfg->l1;
    char key[KEY_PATH_MAX + 2];
    bool disk;

    if (end <= max)
        return true;
    lock(&fs->ns->lock);
    disk = inode->state == STATE_DISK || (inode->object && inode->object->disk_fd >= 0);
    file_key(inode, key);
    unlock(&fs->ns->lock);
    if (disk)
        return true;
    log_warn(
        "%s: may not grow to %llu bytes (max_object is %llu); raise -o max_object or -o l1, or "
        "name the file in -o disk",
        key, (unsigned long long)end, (unsigned long long)max);
    return false;
}

static ssize_t read_full(int fd, void *buf, size_t len, off_t off)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, (char *)buf + done, len - done, off + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return done ? (ssize_t)done : -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static void map_locked(struct l2fs *fs, struct handle *h, uint64_t id)
{
    AUTO_CLOSE int fd = -1;
    void *map;

    if (staging_get(fs->staging, id, O_RDONLY, &fd))
        return;
    map = mmap(NULL, h->inode->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return;
    h->map_len = h->inode->size;
    h->map = map;
}

/* Readers of a file that nobody writes see it through a mapping: one copy, in the kernel. The
 * kernel reads it (EFAULT when it was cut), we never touch it. */
static void map_for_reading(struct l2fs *fs, struct handle *h)
{
    struct object *o = h->inode->object;

    LOCKED_SCOPE(&fs->ns->lock);
    if (!h->map && !h->write && !o->writers && h->inode->state == STATE_RESIDENT && o->staging_id &&
        h->inode->size)
        map_locked(fs, h, o->staging_id);
}

static const void *mapped(struct l2fs *fs, struct handle *h, size_t *len, off_t off)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (!h->map || h->inode->object->writers || h->inode->size != h->map_len ||
        (uint64_t)off >= h->map_len)
        return NULL;
    *len = MIN(*len, h->map_len - (size_t)off);
    return (const char *)h->map + off;
}

/* Bytes up to `end` have landed and may be read, from a mapping that outlives the file. The last byte
 * may not: it stands for the verification of all. */
static bool streams_locked(struct l2fs *fs, struct handle *h, uint64_t end)
{
    const struct l2_landed *landed = load_landed_locked(h->inode);

    if (end > landed->bytes || end >= h->inode->size)
        return false;
    if (!h->map)
        map_locked(fs, h, landed->staging_id);
    if (h->map)
        h->given = landed->staging_id;
    return h->map;
}

/* A direct handle was opened while the key was loading: 0 when it may be read up to `end`. Who read
 * bytes of a file that then failed gets no others, nor its end. Page caches are shared with those who
 * read nothing of it, and outlive it: they get what is verified. Reads wait also with O_NONBLOCK,
 * which regular files ignore and tar sets; who does not want to wait has poll. */
static int wait_landed(struct l2fs *fs, struct handle *h, uint64_t end, struct waiter *w)
{
    struct object *o = h->inode->object;
    bool loading;

    LOCKED_SCOPE(&fs->ns->lock);
    loading = h->inode->state == STATE_LOADING;
    if (!o->staging_id && !loading)
        return -EIO;
    if (h->given &&
        h->given != (loading ? load_landed_locked(h->inode)->staging_id : o->staging_id))
        return -EIO;
    if (!loading || (!w->cached && streams_locked(fs, h, end)))
        return 0;
    w->bytes = w->cached ? UINT64_MAX : end;
    return wait_locked(fs, &o->waiters, w, fs->cfg->load_timeout, -EIO);
}

ssize_t vfs_read(struct l2fs *fs, struct handle *h, void *buf, size_t len, off_t off,
                 struct waiter *w, const void **direct)
{
    AUTO_CLOSE int fd = -1;
    int err = waiter_take_error(w);

    *direct = NULL;
    if (err == -ENOENT && h->mode == HANDLE_DIRECT)
        err = -EIO; /* the key is lost, but it was open */
    if (err)
        return err;
    if (h->mode == HANDLE_VIRTUAL)
        return virtual_read(fs, h, buf, len, off, w);
    if (h->mode == HANDLE_DIRECT)
        err = wait_landed(fs, h, (uint64_t)off + len, w);
    if (err)
        return err;
    map_for_reading(fs, h);
    *direct = mapped(fs, h, &len, off);
    if (*direct)
        return (ssize_t)len;
    err = open_file(fs, h->inode, O_RDONLY, &fd);
    return err ? err : read_full(fd, buf, len, off);
}

/* Without a tmpfs of our own the limit is ours to keep: files are charged by their size. */
static int charge(struct l2fs *fs, struct inode *inode, uint64_t end)
{
    struct object *o = inode->object;
    int64_t more;
    int err;

    if (staging_has_mount(fs->staging) || o->disk_fd >= 0)
        return 0;
    LOCKED_SCOPE(&fs->ns->lock);
    more = (int64_t)end - (int64_t)o->charged;
    if (more <= 0)
        return 0;
    err = staging_charge(fs->staging, more);
    if (err) {
        o->suspect = true;
        evict_post_locked(fs);
        return err;
    }
    o->charged += (uint64_t)more;
    return 0;
}

ssize_t vfs_write(struct l2fs *fs, struct handle *h, const void *buf, size_t len, off_t off)
{
    AUTO_CLOSE int fd = -1;
    size_t done = 0;
    int err;

    if (!fits(fs, h->inode, (uint64_t)off + len))
        return -EFBIG;
    err = charge(fs, h->inode, (uint64_t)off + len);
    if (!err)
        err = open_file(fs, h->inode, O_RDWR, &fd);
    while (!err && done < len) {
        ssize_t n = pwrite(fd, (const char *)buf + done, len - done, off + (off_t)done);

        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            err = -errno;
    }
    if (err == -ENOSPC) {
        lock(&fs->ns->lock);
        h->inode->object->suspect = true;
        unlock(&fs->ns->lock);
    }
    return err ? err : (ssize_t)len;
}

static int refreshed(struct l2fs *fs, struct inode *inode, int err)
{
    LOCKED_SCOPE(&fs->ns->lock);
    file_refresh_locked(fs, inode);
    if (err == -ENOSPC)
        evict_post_locked(fs);
    return err;
}

/* What it grows by must fit its quotas. */
static int may_grow(struct l2fs *fs, const struct inode *inode, uint64_t size, struct waiter *w)
{
    LOCKED_SCOPE(&fs->ns->lock);
    return tenant_grow_locked(fs, inode, size, w);
}

int vfs_fallocate(struct l2fs *fs, struct handle *h, int mode, off_t off, off_t len)
{
    AUTO_CLOSE int fd = -1;
    int err;

    if (!h->write || h->mode != HANDLE_BACKED)
        return -EBADF;
    if (off < 0 || len <= 0)
        return -EINVAL;
    if (!(mode & FALLOC_FL_PUNCH_HOLE)) {
        if (!fits(fs, h->inode, (uint64_t)off + (uint64_t)len))
            return -EFBIG;
        err = may_grow(fs, h->inode, (uint64_t)off + (uint64_t)len, NULL);
        if (!err)
            err = charge(fs, h->inode, (uint64_t)off + (uint64_t)len);
        if (err)
            return err;
    }
    err = open_file(fs, h->inode, O_RDWR, &fd);
    if (!err && fallocate(fd, mode, off, len))
        err = -errno;
    return refreshed(fs, h->inode, err);
}

/* While it loads the whole file is one hole. True: *pos is the answer. */
static bool seek_loading(struct l2fs *fs, const struct handle *h, off_t off, int whence, off_t *pos)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (h->inode->object->staging_id)
        return false;
    *pos = whence == SEEK_HOLE ? off : -ENXIO;
    if (off < 0 || (uint64_t)off >= h->inode->size)
        *pos = -ENXIO;
    if (h->inode->state != STATE_LOADING)
        *pos = -EIO;
    return true;
}

off_t vfs_lseek(struct l2fs *fs, struct handle *h, off_t off, int whence)
{
    AUTO_CLOSE int fd = -1;
    off_t pos;
    int err;

    if (h->mode == HANDLE_VIRTUAL)
        return -EINVAL;
    if (h->mode == HANDLE_DIRECT && seek_loading(fs, h, off, whence, &pos))
        return pos;
    err = open_file(fs, h->inode, O_RDONLY, &fd);
    if (err)
        return err;
    pos = lseek(fd, off, whence);
    return pos < 0 ? -errno : pos;
}

unsigned vfs_poll(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    if (h->mode == HANDLE_BACKED)
        return POLLIN | POLLOUT;
    LOCKED_SCOPE(&fs->ns->lock);
    if (h->mode == HANDLE_VIRTUAL)
        return virtual_poll_locked(fs, h, w);
    if (h->inode->object->staging_id)
        return POLLIN;
    if (h->inode->state != STATE_LOADING)
        return POLLERR;
    if (w)
        wait_locked(fs, &h->inode->object->waiters, w, UINT64_MAX, 0);
    return 0;
}

static bool stored_up_to_locked(const struct l2fs *fs, const struct inode *inode, uint32_t goal)
{
    for (const struct dentry *d = inode->names; d; d = d->alias)
        if (!name_is_temporary(fs, d) && (int32_t)(d->gen - goal) < 0)
            return false;
    return true;
}

static int fsync_start_locked(struct l2fs *fs, struct inode *inode, struct waiter *w)
{
    struct object *o = inode->object;

    if (o->writers) {
        o->fsynced = true;
        o->fsync_wanted = true;
        o->want_gen++;
        inode->has_crc = false; /* L2 gets other bytes than those of the last publication */
    }
    if (inode->names && name_is_temporary(fs, inode->names))
        o->synced = true;
    o->store_error = 0;
    store_retry_locked(fs, inode);
    w->goal = o->want_gen;
    if (!inode->tiers && fs->tiers.keeping) /* it may have left all of them since */
        store_again_locked(fs, inode, true);
    else
        store_queue_locked(fs, inode, true);
    return 0;
}

int vfs_fsync(struct l2fs *fs, struct inode *inode, struct waiter *w)
{
    int err = waiter_take_error(w), fd;
    struct object *o;

    if (err)
        return err;
    if (inode->state == STATE_DISK) {
        err = open_file(fs, inode, O_RDWR, &fd);
        if (err)
            return 0; /* not open: nothing was written */
        err = fsync(fd) ? -errno : 0;
        close(fd);
        return err;
    }
    LOCKED_SCOPE(&fs->ns->lock);
    o = inode->object;
    if (!o || !fs->tiers.active ||
        (inode->state != STATE_RESIDENT && inode->state != STATE_WRITING))
        return 0;
    if (!w->deadline)
        fsync_start_locked(fs, inode, w);
    else if (o->store_error)
        return o->store_error == -ENOSPC ? -ENOSPC : -EIO;
    if (stored_up_to_locked(fs, inode, w->goal))
        return 0;
    return wait_locked(fs, &o->waiters, w, fs->cfg->store_timeout, -EIO);
}

int vfs_fsyncdir(struct l2fs *fs, struct inode *dir, struct waiter *w)
{
    int err = waiter_take_error(w);

    if (err)
        return err;
    LOCKED_SCOPE(&fs->ns->lock);
    for (uint32_t i = 0; fs->unstored && i < dir->dir->nslots; i++) {
        struct dentry *d = dir->dir->slots[i];
        struct object *o = d && !d->inode->dir ? d->inode->object : NULL;

        if (!o || !o->rest.unstored || o->writers)
            continue;
        if (o->store_error && w->deadline)
            return -EIO;
        store_queue_locked(fs, d->inode, true);
        return wait_locked(fs, &o->waiters, w, fs->cfg->store_timeout, -EIO);
    }
    return 0;
}

/* Truncation by name, or through a descriptor: the file behind it, then what close would do. */
static int truncate_begin_locked(struct l2fs *fs, struct inode *inode, struct waiter *w)
{
    struct object *o;

    if (inode->state == STATE_EVICTED || inode->state == STATE_LOADING)
        return load_locked(fs, inode, w);
    o = inode->object;
    if (!o && inode->state != STATE_DISK)
        return -ENOENT;
    if (inode_pinned(inode, clock_now()))
        return -EBUSY;
    if (o && o->store_busy)
        return wait_locked(fs, &o->waiters, w, fs->cfg->store_timeout, -EBUSY);
    if (inode->state == STATE_RESIDENT)
        file_dirty_locked(fs, o);
    return 0;
}

int vfs_truncate(struct l2fs *fs, struct inode *inode, uint64_t size, struct waiter *w)
{
    struct caller nobody = {0};
    struct handle *h;
    AUTO_CLOSE int fd = -1;
    int err;

    if (!fits(fs, inode, size))
        return -EFBIG;
    err = may_grow(fs, inode, size, w);
    if (err)
        return err;
    if (inode->state == STATE_DISK) {
        err = vfs_open(fs, inode, O_WRONLY, &nobody, w, &h);
    } else {
        h = handle_create(inode, O_WRONLY, &nobody);
        if (!h)
            return -ENOMEM;
        lock(&fs->ns->lock);
        err = truncate_begin_locked(fs, inode, w);
        if (!err)
            handle_attach_locked(fs, h);
        unlock(&fs->ns->lock);
        if (err)
            free(h);
    }
    if (err)
        return err;
    err = open_file(fs, inode, O_RDWR, &fd);
    if (!err && ftruncate(fd, (off_t)size))
        err = -errno;
    err = refreshed(fs, inode, err);
    vfs_release(fs, h);
    return err;
}
