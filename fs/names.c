/* names.c - mkdir, rmdir, unlink and link. The tree changes under ns->lock, which is also when the
 * turn to change L2 is taken; the tiers are called after it is released, before the caller is
 * answered.
 */
#include "config.h"

#include <fcntl.h>

#include "clock.h"
#include "core.h"
#include "log.h"
#include "tenant.h"
#include "xattr.h"

static int checked_dir(const struct l2fs *fs, const struct inode *dir)
{
    if (dir->dir->reserved)
        return -EPERM;
    if (scan_hides_locked(fs, dir)) /* never seen: who names it has looked it up */
        return -EBUSY;
    return dir != fs->ns->root && !dir->names ? -ENOENT : 0;
}

/* Tells every tier; tiers that keep no directories are fine. First real error. */
static int make_dir_in_tiers(struct l2fs *fs, const char *key, const struct l2_attr *attr)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.active);
    int first = 0;

    tiers_each(i, held.mask)
    {
        int err = tier_make_dir(fs->tiers.tier[i], key, attr);

        if (err && err != -EOPNOTSUPP && !first)
            first = err;
    }
    return first;
}

static int link_dir_locked(struct l2fs *fs, const struct vfs_new *n, char *key, struct inode **out)
{
    struct inode *inode;
    struct dentry *d;
    int err = checked_dir(fs, n->dir);

    if (err)
        return err;
    inode = ns_new_inode(fs->ns, S_IFDIR | (n->mode & 07777) | (n->dir->mode & S_ISGID));
    if (!inode)
        return -ENOMEM;
    inode->uid = n->caller.uid;
    inode->gid = n->dir->mode & S_ISGID ? n->dir->gid : n->caller.gid;
    err = xattr_inherit_peer(inode, n->dir);
    if (!err)
        err = ns_link(fs->ns, n->dir, n->name, inode, &d);
    if (!err && ns_path(d, key) >= KEY_PATH_MAX) {
        ns_unlink(fs->ns, d);
        err = -ENAMETOOLONG;
    }
    if (err) {
        ns_forget_unused(fs->ns, inode);
        return err;
    }
    strcat(key, "/");
    inode->nlookup++;
    inode->dir->place_disk = n->dir->dir->place_disk;
    inode->dir->unlisted = false; /* it was nowhere before */
    *out = inode;
    return 0;
}

int vfs_mkdir(struct l2fs *fs, const struct vfs_new *n, struct inode **out)
{
    char key[KEY_PATH_MAX + 2];
    struct turn turn = {0};
    struct inode *inode;
    struct l2_attr attr;
    int err;

    lock(&fs->ns->lock);
    err = link_dir_locked(fs, n, key, &inode);
    if (!err) {
        turn_enter_locked(fs, &turn, key, NULL);
        attr = file_attr(inode);
    }
    unlock(&fs->ns->lock);
    if (err)
        return err;
    err = turn_wait(fs, &turn);
    if (!err)
        err = make_dir_in_tiers(fs, key, &attr);
    if (err) {
        lock(&fs->ns->lock);
        if (inode->names && inode->dir->live == 0) {
            tenant_set_quota_locked(fs, inode, 0);
            ns_unlink(fs->ns, inode->names);
        }
        inode->nlookup--;
        ns_forget_unused(fs->ns, inode);
        unlock(&fs->ns->lock);
    } else {
        *out = inode;
    }
    turn_leave(fs, &turn);
    return err;
}

static int remove_dir_locked(struct l2fs *fs, struct inode *dir, const char *name, char *key,
                             struct turn *turn)
{
    struct dentry *d = ns_find(fs->ns, dir, name);
    struct inode *inode = d ? d->inode : NULL;

    if (!d)
        return -ENOENT;
    if (!inode->dir)
        return -ENOTDIR;
    if (inode->dir->reserved)
        return -EPERM;
    if (scan_hides_locked(fs, inode))
        return -EBUSY;
    if (inode->dir->live)
        return -ENOTEMPTY;
    if (ns_path(d, key) < 0)
        return -ENAMETOOLONG;
    strcat(key, "/");
    turn_enter_locked(fs, turn, key, NULL);
    tenant_set_quota_locked(fs, inode, 0);
    ns_unlink(fs->ns, d);
    ns_forget_unused(fs->ns, inode);
    return 0;
}

int vfs_rmdir(struct l2fs *fs, struct inode *dir, const char *name)
{
    char key[KEY_PATH_MAX + 2];
    struct turn turn = {0};
    int err;

    lock(&fs->ns->lock);
    err = remove_dir_locked(fs, dir, name, key, &turn);
    unlock(&fs->ns->lock);
    if (err)
        return err;
    err = turn_wait(fs, &turn);
    if (!err)
        err = tiers_remove(&fs->tiers, key);
    turn_leave(fs, &turn);
    if (err == -ENOTEMPTY) { /* files that are not ours, or came in behind the mount */
        log_warn("%s: removed here, but L2 still has something in it; it comes back at the next "
                 "mount",
                 key);
        err = 0;
    }
    return err;
}

void file_unlink_locked(struct l2fs *fs, struct dentry *d, bool keep_record)
{
    struct inode *inode = d->inode;
    struct object *o = inode->object;
    char key[KEY_PATH_MAX + 2];

    gate_shut_locked(fs, inode);
    if (ns_path(d, key) > 0)
        store_cancel_locked(fs, inode, key);
    ns_unlink(fs->ns, d);
    if (!inode->names)
        load_cancel_locked(fs, inode);
    if (inode->names) {
        tenant_note_locked(fs, inode);
        if (o && inode->state == STATE_RESIDENT && !o->dirty)
            file_record_locked(fs, o, RECORD_PUBLISHED);
        requests_note_locked(fs, inode);
        return;
    }
    requests_leave_locked(fs, inode);
    if (o) {
        l1_unpromise(&fs->l1, o);
        l1_remove(&fs->l1, o);
        if (!keep_record)
            file_record_locked(fs, o, 0);
        file_drop_prev_locked(fs, o);
        wake_locked(fs, &o->waiters, 0);
    }
    inode->tiers = 0;
    inode->doubted = true;
    tenant_note_locked(fs, inode);
    state_move(&inode->state, STATE_DISCARDED);
    file_settle_locked(fs, inode);
}

/* The crash record goes last: a crash in between must not show an older version that L2 still has. */
static void unlink_end(struct l2fs *fs, struct inode *inode)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (inode->object && !inode->names)
        file_record_locked(fs, inode->object, 0);
    inode->busy--;
    file_settle_locked(fs, inode);
}

/* *held: the inode, busy until unlink_end, when L2 has to follow. */
static int unlink_locked(struct l2fs *fs, struct inode *dir, const char *name, char *key,
                         struct turn *turn, struct inode **held)
{
    struct dentry *d = ns_find(fs->ns, dir, name);

    if (scan_hides_locked(fs, dir))
        return -EBUSY;
    if (!d)
        return -ENOENT;
    if (d->inode->dir)
        return -EISDIR;
    if (dir->dir->reserved)
        return -EPERM;
    if (inode_pinned(d->inode, clock_now()))
        return -EBUSY;
    if (ns_path(d, key) < 0)
        return -ENAMETOOLONG;
    if (name_in_l2(d) && tiers_have_names(&fs->tiers)) {
        turn_enter_locked(fs, turn, key, NULL);
        *held = d->inode;
        d->inode->busy++;
    }
    events_add(fs, "removed", key, NULL);
    file_unlink_locked(fs, d, turn->used);
    return 0;
}

int vfs_unlink(struct l2fs *fs, struct inode *dir, const char *name)
{
    char key[KEY_PATH_MAX + 2];
    struct turn turn = {0};
    struct inode *inode = NULL;
    int err;

    lock(&fs->ns->lock);
    err = unlink_locked(fs, dir, name, key, &turn, &inode);
    unlock(&fs->ns->lock);
    if (err || !turn.used)
        return err;
    err = turn_wait(fs, &turn);
    if (!err)
        err = tiers_remove(&fs->tiers, key);
    unlink_end(fs, inode);
    turn_leave(fs, &turn);
    return err;
}

/* A second name for a file of the disk tier is a second name of its own file. */
static int link_disk(struct l2fs *fs, struct inode *inode, const char *key)
{
    char old[KEY_PATH_MAX + 2];
    AUTO_CLOSE int fd = -1;
    int err = 0, opened = -1, slot;

    lock(&fs->ns->lock);
    slot = file_disk_tier(inode);
    if (inode->object && inode->object->disk_fd >= 0)
        fd = fcntl(inode->object->disk_fd, F_DUPFD_CLOEXEC, 3);
    else
        file_key(inode, old);
    unlock(&fs->ns->lock);
    TIERS_HELD(held, &fs->tiers, slot < 0 ? 0 : 1u << slot);
    if (!held.mask)
        return -ESTALE;
    if (fd < 0)
        err = tier_open_file(fs->tiers.tier[slot], old, O_RDWR, NULL, &opened);
    if (opened >= 0)
        fd = opened;
    return err ? err : tier_link_file(fs->tiers.tier[slot], fd, key);
}

static int link_locked(struct l2fs *fs, struct inode *inode, struct inode *dir, const char *name,
                       struct waiter *w)
{
    int err = checked_dir(fs, dir);
    struct dentry *made;
    struct object *o;

    if (!err && (inode->dir || inode_vfile(inode)))
        err = -EPERM;
    if (!err && ns_find(fs->ns, dir, name))
        err = -EEXIST;
    if (!err && (inode->state == STATE_EVICTED || inode->state == STATE_LOADING))
        err = load_locked(fs, inode, w);
    if (err)
        return err;
    o = inode->object;
    if (inode->state == STATE_DISCARDED)
        return -ENOENT;
    err = inode->names ? 0 : tenant_admit_locked(fs, dir, inode->size, w); /* O_TMPFILE */
    if (!err)
        err = ns_link(fs->ns, dir, name, inode, &made);
    if (err)
        return err;
    published_event_locked(fs, made);
    inode->nlookup++;
    tenant_note_locked(fs, inode);
    if (!o)
        return 0;
    publish_early_locked(fs, o);
    file_refresh_locked(fs, inode);
    file_record_locked(fs, o, o->writers ? RECORD_FLUSHED : RECORD_PUBLISHED);
    if (fs->tiers.keeping & ~inode->tiers) /* under all names or none: it may have left since */
        store_again_locked(fs, inode, false);
    else
        store_queue_locked(fs, inode, false);
    return 0;
}

int vfs_link(struct l2fs *fs, struct inode *inode, struct inode *dir, const char *name,
             struct waiter *w)
{
    int err = waiter_take_error(w);
    char key[KEY_PATH_MAX + 2];
    bool disk;

    if (err)
        return err;
    lock(&fs->ns->lock);
    disk = inode->state == STATE_DISK;
    err = link_locked(fs, inode, dir, name, w);
    if (!err && disk && ns_path(ns_find(fs->ns, dir, name), key) < 0)
        err = -ENAMETOOLONG;
    unlock(&fs->ns->lock);
    if (err || !disk)
        return err;
    err = link_disk(fs, inode, key);
    lock(&fs->ns->lock);
    if (err) {
        ns_unlink(fs->ns, ns_find(fs->ns, dir, name));
        tenant_note_locked(fs, inode);
        inode->nlookup--;
    }
    unlock(&fs->ns->lock);
    return err;
}
