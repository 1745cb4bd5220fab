/* file_open.c - opening: what each state of an object means to a reader and to a writer. Decisions
 * run under ns->lock; what must wait is queued on the object (wait.c). The file of a `disk` object
 * is opened before the lock is taken.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "log.h"
#include "rank.h"
#include "tenant.h"

struct handle *handle_create(struct inode *inode, int flags, const struct caller *c)
{
    struct handle *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    list_init(&h->link);
    h->inode = inode;
    h->flags = flags;
    h->process = c->pid;
    h->write = (flags & O_ACCMODE) != O_RDONLY;
    return h;
}

void handle_attach_locked(struct l2fs *fs, struct handle *h)
{
    struct object *o = h->inode->object;

    gate_shut_locked(fs, h->inode);
    unread_end_locked(fs, h->inode);
    h->staging_id = o->staging_id;
    list_push_back(&o->handles, &h->link);
    o->opens++;
    h->beside_writer = o->writers > 0;
    if (h->write) {
        o->writers++;
        o->epoch++;
        fs->locks.n.writers++;
    } else {
        fs->locks.n.readers++;
    }
}

/* FUSE tells thread ids: two are of one process when one lists the other among its tasks. */
static bool same_process(pid_t a, pid_t b)
{
    char path[64];

    if (a == b)
        return a > 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)a, (int)b);
    return a > 0 && b > 0 && access(path, F_OK) == 0;
}

static bool is_own_writer(const struct object *o, pid_t pid)
{
    struct list *l;

    list_for_each(l, &o->handles)
    {
        const struct handle *h = list_entry(l, struct handle, link);

        if (h->write && same_process(pid, h->process))
            return true;
    }
    return false;
}

static int truncate_in_place_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    AUTO_CLOSE int fd = -1;
    int err;

    file_record_locked(fs, o, 0);
    err = staging_get(fs->staging, o->staging_id, O_RDWR, &fd);
    if (err)
        return err;
    if (ftruncate(fd, 0))
        return -errno;
    staging_charge(fs->staging, -(int64_t)o->charged);
    o->charged = 0;
    inode->size = inode->blocks = 0;
    inode->has_crc = false;
    tenant_note_locked(fs, inode);
    return 0;
}

/* O_TRUNC of a published object: nobody has it open, so the old bytes stay aside until the new ones
 * are whole; else descriptors must see the same file emptied. */
static int rewrite_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    uint64_t expected = inode->size;
    int err;

    if (o->opens == 0)
        return file_begin_locked(fs, inode, expected);
    err = truncate_in_place_locked(fs, inode);
    if (err)
        return err;
    l1_add_writer(&fs->l1, o);
    o->published = false;
    if (!o->writers)
        o->suspect = o->aborted = o->fsynced = false; /* said of bytes that are gone */
    state_move(&inode->state, STATE_WRITING);
    return 0;
}

static int open_resident_locked(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    struct inode *inode = h->inode;
    struct object *o = inode->object;
    bool fresh = (h->flags & O_TRUNC) && o->opens == 0;

    if (!h->write) {
        l1_touch(&fs->l1, o);
        store_touch_locked(fs, o);
        return 0;
    }
    if (inode_pinned(inode, clock_now()))
        return -EBUSY;
    if (o->store_busy && !fresh)
        return wait_locked(fs, &o->waiters, w, fs->cfg->store_timeout, -EBUSY);
    if (h->flags & O_TRUNC)
        return rewrite_locked(fs, inode);
    file_dirty_locked(fs, o);
    l1_touch(&fs->l1, o);
    return 0;
}

static int open_writing_locked(struct l2fs *fs, struct handle *h, const struct caller *c,
                               struct waiter *w)
{
    struct object *o = h->inode->object;

    if (h->write)
        return h->flags & O_TRUNC ? truncate_in_place_locked(fs, h->inode) : 0;
    if (is_own_writer(o, c->pid))
        return 0;
    if (h->flags & O_NONBLOCK)
        return -EAGAIN;
    return wait_locked(fs, &o->waiters, w, fs->cfg->writer_wait, -ENOENT);
}

static int open_absent_locked(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    struct inode *inode = h->inode;
    bool direct = (h->flags & O_NONBLOCK) || fs->cfg->open == OPEN_STREAM;
    int err;

    if (inode->state == STATE_EVICTED && h->write && (h->flags & O_TRUNC)) {
        if (w)
            w->whose = inode;
        err = space_locked(fs, 0, w, fs->cfg->space_wait, -ENOSPC);
        return err ? err : file_begin_locked(fs, inode, inode->size);
    }
    if (h->write || !direct)
        return load_locked(fs, inode, w);
    err = load_locked(fs, inode, NULL);
    if (err == -EAGAIN && !(h->flags & O_NONBLOCK))
        return load_locked(fs, inode, w); /* there is no room yet */
    if (err != -EINPROGRESS)
        return err;
    h->mode = HANDLE_DIRECT;
    return 0;
}

/* Found by name just before the name went to another file, or reopened through /proc/self/fd: the
 * bytes are there as long as the kernel knows the inode. ESTALE has the kernel look the name up again. */
static int open_removed_locked(const struct object *o)
{
    return o && (o->opens || (o->published && o->staging_id)) ? 0 : -ESTALE;
}

/* Once only: who reaches it by a name that it has, or by none, comes back with it. */
static bool must_look_again_locked(const struct handle *h)
{
    bool doubted = h->write && h->inode->doubted;

    h->inode->doubted &= !doubted;
    return doubted;
}

int file_open_locked(struct l2fs *fs, struct handle *h, const struct caller *c, struct waiter *w)
{
    if (must_look_again_locked(h) || h->inode->superseded)
        return -ESTALE;
    switch (h->inode->state) {
    case STATE_WRITING: return open_writing_locked(fs, h, c, w);
    case STATE_RESIDENT: return open_resident_locked(fs, h, w);
    case STATE_EVICTED:
    case STATE_LOADING:
        metric_add(fs->m.open_misses, h->inode->state == STATE_EVICTED);
        return open_absent_locked(fs, h, w);
    case STATE_DISK:
        if (h->write && inode_pinned(h->inode, clock_now()))
            return -EBUSY;
        return h->flags & O_TRUNC && ftruncate(h->inode->object->disk_fd, 0) ? -errno : 0;
    case STATE_DISCARDED: return open_removed_locked(h->inode->object);
    default: return -ENOENT;
    }
}

static bool disk_ready_locked(const struct inode *inode)
{
    return inode->state != STATE_DISK || (inode->object && inode->object->disk_fd >= 0);
}

static int open_in_tier(struct l2fs *fs, int slot, const char *key, int *fd)
{
    TIERS_HELD(held, &fs->tiers, slot < 0 ? 0 : 1u << slot);

    return held.mask ? tier_open_file(fs->tiers.tier[slot], key, O_RDWR, NULL, fd) : -ESTALE;
}

/* Opens the file behind a `disk` object, in turn with renames of its key. The last release may close
 * it again before the caller has ns->lock. */
static int attach_disk(struct l2fs *fs, struct inode *inode)
{
    char key[KEY_PATH_MAX + 2];
    struct turn turn = {0};
    int fd = -1, slot, err;

    lock(&fs->ns->lock);
    file_key(inode, key);
    slot = file_disk_tier(inode);
    inode->busy++;
    turn_enter_locked(fs, &turn, key, NULL);
    unlock(&fs->ns->lock);
    err = turn_wait(fs, &turn);
    if (!err)
        err = open_in_tier(fs, slot, key, &fd);
    turn_leave(fs, &turn);
    lock(&fs->ns->lock);
    inode->busy--;
    if (!err && inode->state == STATE_DISK && !inode->object && !object_create(inode))
        err = -ENOMEM;
    if (!err && !disk_ready_locked(inode))
        inode->object->disk_fd = steal_fd(&fd);
    unlock(&fs->ns->lock);
    if (fd >= 0)
        close(fd);
    return err;
}

/* 0: ns->lock is held, and the file of a `disk` object is open. */
static int lock_with_disk(struct l2fs *fs, struct inode *inode)
{
    int err = 0;

    while (!err) {
        lock(&fs->ns->lock);
        if (disk_ready_locked(inode))
            return 0;
        unlock(&fs->ns->lock);
        err = attach_disk(fs, inode);
    }
    return err;
}

#define ATIME_GRAIN (60 * (int64_t)NSEC_PER_SEC) /* what evictors that read atime can live with */

static void move_atime_locked(struct handle *h)
{
    int64_t before = h->inode->atime;

    h->inode->atime = file_time_now();
    h->atime_moved = h->inode->atime - before > ATIME_GRAIN;
}

static int open_in_turn(struct l2fs *fs, struct handle *h, const struct caller *c, struct waiter *w)
{
    struct inode *inode = h->inode;
    int err = lock_with_disk(fs, inode);

    if (err)
        return err;
    gate_shut_locked(fs, inode);
    gate_ahead_locked(fs);
    if (inode_vfile(inode)) {
        err = h->write ? -EACCES : virtual_open_locked(fs, h, w);
        h->mode = HANDLE_VIRTUAL;
    } else {
        err = file_open_locked(fs, h, c, w);
    }
    if ((!err || err == -EINPROGRESS) && !h->write && !inode_vfile(inode))
        readahead_locked(fs, inode);
    if (!err && !inode_vfile(inode)) {
        handle_attach_locked(fs, h);
        ranks_touch(inode);
        metric_add(fs->m.opens, 1);
        if (!(h->flags & O_NOATIME)) {
            move_atime_locked(h);
            gate_open_locked(fs, inode);
        }
    }
    unlock(&fs->ns->lock);
    return err;
}

int vfs_open(struct l2fs *fs, struct inode *inode, int flags, const struct caller *c,
             struct waiter *w, struct handle **out)
{
    int err = waiter_take_error(w);
    struct handle *h;

    if (err)
        return err;
    if (inode->dir)
        return -EISDIR;
    h = handle_create(inode, flags, c);
    if (!h)
        return -ENOMEM;
    if (!gate_enter(fs, h))
        err = open_in_turn(fs, h, c, w);
    if (err) {
        free(h);
        return err;
    }
    *out = h;
    return 0;
}

int vfs_backing(struct l2fs *fs, struct handle *h, int *fd)
{
    const struct object *o =
        h->inode->object; /* stays while the handle is open, and its file too */

    if (o->disk_fd >= 0) {
        *fd = fcntl(o->disk_fd, F_DUPFD_CLOEXEC, 3);
        return *fd < 0 ? -errno : 0;
    }
    return staging_get(fs->staging, h->staging_id, O_RDWR, fd);
}
