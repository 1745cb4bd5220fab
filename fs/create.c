/* create.c - new files: in L1, or in the fs adapter's own file when the name or its directory says
 * so. Runs under ns->lock but for the adapter's open.
 */
#include "config.h"

#include <fcntl.h>

#include "core.h"
#include "log.h"
#include "tenant.h"
#include "xattr.h"

static struct inode *new_file_locked(struct l2fs *fs, const struct vfs_new *n)
{
    struct inode *inode = ns_new_inode(fs->ns, S_IFREG | (n->mode & 07777));

    if (!inode)
        return NULL;
    inode->uid = n->caller.uid;
    inode->gid = n->dir->mode & S_ISGID ? n->dir->gid : n->caller.gid;
    if (!xattr_inherit_peer(inode, n->dir))
        return inode;
    ns_forget_unused(fs->ns, inode);
    return NULL;
}

static bool wants_disk(const struct l2fs *fs, const struct vfs_new *n)
{
    if (tiers_disk(&fs->tiers) < 0)
        return false;
    return !n->name || n->dir->dir->place_disk ||
           (fs->cfg->disk && text_match_globs(fs->cfg->disk, n->name));
}

/* Links the new inode, opens a handle when one is wanted. */
static int install_locked(struct l2fs *fs, const struct vfs_new *n, struct inode *inode,
                          struct handle *h)
{
    int err = n->name ? ns_link(fs->ns, n->dir, n->name, inode, NULL) : 0;

    if (err)
        return err;
    if (!n->name)
        ns_orphan(fs->ns, inode);
    tenant_note_locked(fs, inode);
    inode->nlookup++;
    if (h) {
        h->inode = inode;
        handle_attach_locked(fs, h);
    }
    return 0;
}

#define EXPECT_FIRST 64 /* share of L1 for the very first files, ... */
#define EXPECT_FIRST_MAX (16 * MIB)
#define EXPECT_GUESS 16 /* and at most for those of a new directory */

/* Bytes that a new file is expected to need: as the directory has seen, else as the mount has. */
static uint64_t expected_locked(const struct l2fs *fs, const struct inode *dir)
{
    if (dir->dir->expect)
        return dir->dir->expect;
    if (fs->expect)
        return MIN(fs->expect, fs->l1.capacity / EXPECT_GUESS);
    return MIN(fs->l1.capacity / EXPECT_FIRST, EXPECT_FIRST_MAX);
}

static int create_in_l1_locked(struct l2fs *fs, const struct vfs_new *n, struct handle *h,
                               struct inode **out)
{
    struct inode *inode = new_file_locked(fs, n);
    int err = inode ? file_begin_locked(fs, inode, expected_locked(fs, n->dir)) : -ENOMEM;

    if (!err)
        err = install_locked(fs, n, inode, h);
    if (!err) {
        *out = inode;
        return 0;
    }
    if (inode && inode->object) {
        l1_unpromise(&fs->l1, inode->object);
        state_move(&inode->state, STATE_DISCARDED);
    }
    if (inode)
        file_settle_locked(fs, inode);
    return err;
}

static int disk_key_locked(const struct vfs_new *n, char key[KEY_PATH_MAX + 2])
{
    const struct dentry *d = ns_dir_name(n->dir);
    int len = d ? ns_path(d, key) : 0;

    if (len < 0)
        return len;
    if (len && n->name)
        key[len++] = '/';
    key[len] = '\0';
    if (!n->name)
        return 0;
    if ((size_t)len + strlen(n->name) > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    strcpy(key + len, n->name);
    return 0;
}

struct disk_file {
    int fd;
    int slot; /* of the tier whose file it is */
};

static int adopt_disk_locked(struct l2fs *fs, const struct vfs_new *n, struct disk_file *file,
                             struct handle *h, struct inode **out)
{
    struct inode *inode = new_file_locked(fs, n);
    struct object *o = inode ? object_create(inode) : NULL;
    int err = o ? 0 : -ENOMEM;

    if (!err) {
        state_move(&inode->state, STATE_DISK);
        err = install_locked(fs, n, inode, h);
    }
    if (!err) {
        o->disk_fd = steal_fd(&file->fd);
        inode->tiers = 1u << file->slot;
        file_refresh_locked(fs, inode);
        *out = inode;
        return 0;
    }
    if (inode)
        file_settle_locked(fs, inode);
    return err;
}

static int create_on_disk(struct l2fs *fs, const struct vfs_new *n, struct handle *h,
                          struct inode **out)
{
    struct l2_attr attr = {
        .mode = S_IFREG | (n->mode & 07777), .uid = n->caller.uid, .gid = n->caller.gid};
    int flags = n->name ? O_RDWR | O_CREAT : O_RDWR | O_TMPFILE;
    struct disk_file file = {-1, tiers_disk(&fs->tiers)};
    TIERS_HELD(held, &fs->tiers, file.slot < 0 ? 0 : 1u << file.slot);
    char key[KEY_PATH_MAX + 2];
    int err;

    lock(&fs->ns->lock);
    err = disk_key_locked(n, key);
    unlock(&fs->ns->lock);
    if (!err && !held.mask)
        err = -EIO; /* its tier was removed just now */
    if (err)
        return err;
    clock_gettime(CLOCK_REALTIME, &attr.mtime);
    attr.atime = attr.mtime;
    err = tier_open_file(fs->tiers.tier[file.slot], key, flags, &attr, &file.fd);
    if (err)
        return err;
    lock(&fs->ns->lock);
    err = adopt_disk_locked(fs, n, &file, h, out);
    unlock(&fs->ns->lock);
    auto_close(&file.fd);
    return err;
}

#define GONE 1 /* no errno */

static int open_existing(struct l2fs *fs, const struct vfs_new *n, struct waiter *w,
                         struct inode **inode, struct handle **h)
{
    struct dentry *d;
    int err;

    lock(&fs->ns->lock);
    d = ns_find(fs->ns, n->dir, n->name);
    if (!d || (n->flags & O_EXCL)) {
        unlock(&fs->ns->lock);
        return d ? -EEXIST : GONE;
    }
    *inode = d->inode;
    (*inode)->nlookup++;
    unlock(&fs->ns->lock);
    err = vfs_open(fs, *inode, n->flags, &n->caller, w, h);
    if (err)
        vfs_forget(fs, *inode, 1);
    return err;
}

static int admit_locked(struct l2fs *fs, const struct vfs_new *n, struct waiter *w)
{
    if (n->dir->dir->reserved)
        return -EPERM;
    if (scan_hides_locked(fs, n->dir))
        return -EBUSY;
    if (n->dir != fs->ns->root && !n->dir->names)
        return -ENOENT;
    if (strlen(n->name ? n->name : "") > KEY_NAME_MAX)
        return -ENAMETOOLONG;
    return tenant_admit_locked(fs, n->dir, n->dir->dir->expect, w);
}

static int create(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct handle *h,
                  struct inode **inode)
{
    int err;

    lock(&fs->ns->lock);
    if (n->name && ns_find(fs->ns, n->dir, n->name))
        err = -EEXIST;
    else
        err = admit_locked(fs, n, w);
    if (!err && wants_disk(fs, n))
        err = 1;
    if (w)
        w->whose = n->dir;
    if (!err)
        err = space_locked(fs, expected_locked(fs, n->dir), w, fs->cfg->space_wait, -ENOSPC);
    if (!err)
        err = create_in_l1_locked(fs, n, h, inode);
    unlock(&fs->ns->lock);
    return err == 1 ? create_on_disk(fs, n, h, inode) : err;
}

/* GONE: what had the name was removed at this moment. */
static int create_or_open(struct l2fs *fs, const struct vfs_new *n, struct waiter *w,
                          struct inode **inode, struct handle **h)
{
    struct handle *mine = handle_create(NULL, n->flags, &n->caller);
    int err;

    if (!mine)
        return -ENOMEM;
    err = create(fs, n, w, mine, inode);
    if (!err) {
        mine->made = true;
        *h = mine;
        return 0;
    }
    free(mine);
    return err == -EEXIST ? open_existing(fs, n, w, inode, h) : err;
}

int vfs_create(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct inode **inode,
               struct handle **h)
{
    int err = waiter_take_error(w);

    if (err)
        return err;
    do
        err = create_or_open(fs, n, w, inode, h);
    while (err == GONE);
    return err;
}

int vfs_tmpfile(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct inode **inode,
                struct handle **h)
{
    struct vfs_new unnamed = *n;

    unnamed.name = NULL;
    return vfs_create(fs, &unnamed, w, inode, h);
}

int vfs_mknod(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct inode **inode)
{
    struct vfs_new file = *n;
    struct handle *h;
    int err;

    if (!S_ISREG(n->mode))
        return -EPERM;
    file.flags = O_WRONLY | O_CREAT | O_EXCL;
    err = vfs_create(fs, &file, w, inode, &h);
    if (!err)
        vfs_release(fs, h);
    return err;
}
