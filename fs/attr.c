/* attr.c - lookup, attributes, listings and statfs: answered from memory under ns->lock. Changes of
 * mode, owner and times go to the tiers that hold the file before the caller is answered.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "clock.h"
#include "core.h"
#include "tenant.h"

struct inode *vfs_root(struct l2fs *fs)
{
    return fs->ns->root;
}

void vfs_set_gone(struct l2fs *fs, vfs_gone_fn *fn, void *arg)
{
    LOCKED_SCOPE(&fs->gone_lock);
    fs->gone_arg = arg;
    fs->gone = fn;
}

/* While somebody writes, size and times change without asking us. */
static bool settled(const struct inode *inode)
{
    const struct object *o = inode->object;

    if (inode_vfile(inode))
        return false;
    return !o || (!o->writers && inode->state != STATE_WRITING && o->disk_fd < 0);
}

static void stat_locked(struct l2fs *fs, struct inode *inode, struct stat *st, bool *is_settled)
{
    *is_settled = settled(inode);
    gate_atime_locked(fs, inode);
    if (!*is_settled && !inode_vfile(inode))
        file_refresh_locked(fs, inode);
    inode_stat(inode, st);
    if (!scan_hides_locked(fs, inode))
        return;
    *is_settled = false;
    st->st_nlink = 1; /* how many directories are in it is not known */
}

/* Whole as far as a lookup of `name` (NULL: a listing) goes. What is below .l2fs always is. */
static int await_locked(struct l2fs *fs, struct inode *dir, const char *name, struct waiter *w)
{
    struct inode *sub = NULL;
    struct dentry *d;
    int err;

    if (!fs->scan.running || !dir->dir || dir->dir->reserved)
        return 0;
    d = name ? ns_find(fs->ns, dir, name) : NULL;
    if (d && d->inode->dir)
        sub = d->inode;
    if (sub && sub->dir->reserved)
        return 0;
    err = scan_wait_locked(fs, dir, w);
    return err || !sub ? err : scan_wait_locked(fs, sub, w);
}

int vfs_await(struct l2fs *fs, struct inode *dir, const char *name, struct waiter *w)
{
    int err = waiter_take_error(w);

    if (err)
        return err;
    LOCKED_SCOPE(&fs->ns->lock);
    return await_locked(fs, dir, name, w);
}

int vfs_lookup(struct l2fs *fs, struct inode *dir, const char *name, struct inode **out,
               struct stat *st, bool *is_settled)
{
    struct dentry *d;
    int err;

    if (strlen(name) > KEY_NAME_MAX)
        return -ENAMETOOLONG;
    if (dir == fs->peers)
        peers_refresh(fs);
    LOCKED_SCOPE(&fs->ns->lock);
    if (!dir->dir)
        return -ENOTDIR;
    err = await_locked(fs, dir, name, NULL);
    if (err)
        return err;
    d = ns_find(fs->ns, dir, name);
    if (!d && dir == fs->readies.dir)
        d = ready_lookup_locked(fs, name);
    if (!d)
        return -ENOENT;
    d->inode->nlookup++;
    stat_locked(fs, d->inode, st, is_settled);
    *out = d->inode;
    return 0;
}

void vfs_forget(struct l2fs *fs, struct inode *inode, uint64_t n)
{
    LOCKED_SCOPE(&fs->ns->lock);
    inode->nlookup -= MIN(n, inode->nlookup);
    file_settle_locked(fs, inode);
}

int vfs_getattr(struct l2fs *fs, struct inode *inode, struct stat *st, bool *is_settled)
{
    LOCKED_SCOPE(&fs->ns->lock);
    stat_locked(fs, inode, st, is_settled);
    return 0;
}

static int64_t time_of(const struct timespec *value, int64_t now)
{
    return value->tv_nsec == UTIME_NOW ? now : file_time(value);
}

/* Changes the inode; the mask for the tiers. */
static unsigned apply_locked(struct inode *inode, const struct stat *st, unsigned mask)
{
    int64_t now = file_time_now();
    unsigned l2 = 0;

    if (mask & VFS_SET_MODE)
        inode->mode = (inode->mode & S_IFMT) | (st->st_mode & 07777);
    if (mask & VFS_SET_UID)
        inode->uid = st->st_uid;
    if (mask & VFS_SET_GID)
        inode->gid = st->st_gid;
    if (mask & VFS_SET_ATIME)
        inode->atime = time_of(&st->st_atim, now);
    if (mask & VFS_SET_MTIME)
        inode->mtime = time_of(&st->st_mtim, now);
    inode->ctime = now;
    l2 |= mask & VFS_SET_MODE ? L2_ATTR_MODE : 0;
    l2 |= mask & (VFS_SET_UID | VFS_SET_GID) ? L2_ATTR_OWNER : 0;
    l2 |= mask & VFS_SET_ATIME ? L2_ATTR_ATIME : 0;
    l2 |= mask & VFS_SET_MTIME ? L2_ATTR_MTIME : 0;
    return l2;
}

/* The staging file's mtime is the key's while it is live. */
static void apply_to_file_locked(struct l2fs *fs, struct inode *inode, unsigned mask)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, file_timespec(inode->mtime)};
    struct object *o = inode->object;
    AUTO_CLOSE int fd = -1;

    if (!o || inode->dir)
        return;
    if (mask & VFS_SET_MTIME) {
        if (o->disk_fd >= 0)
            futimens(o->disk_fd, times);
        else if (o->staging_id && !staging_get(fs->staging, o->staging_id, O_RDWR, &fd))
            futimens(fd, times);
    }
    if (o->published && !o->dirty)
        file_record_locked(fs, o, RECORD_PUBLISHED);
}

/* The tiers that have it under its first name; other names share bytes in L1, not in L2. */
static void apply_to_tiers(struct l2fs *fs, const char *key, const struct l2_attr *attr,
                           unsigned mask)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);

    tiers_each(i, held.mask) tier_set_attr(fs->tiers.tier[i], key, attr, NULL, mask);
}

static bool key_in_l2_locked(struct l2fs *fs, struct inode *inode, char key[KEY_PATH_MAX + 2])
{
    if (inode == fs->ns->root || !inode->names || ns_path(inode->names, key) < 0)
        return false;
    if (inode->dir) {
        strcat(key, "/");
        return true;
    }
    return name_in_l2(inode->names);
}

static int set_attr(struct l2fs *fs, struct inode *inode, const struct stat *st, unsigned mask)
{
    char key[KEY_PATH_MAX + 2];
    struct turn turn = {0};
    struct l2_attr attr;
    unsigned l2 = 0;
    int err = 0;

    lock(&fs->ns->lock);
    gate_sync_locked(fs);
    l2 = apply_locked(inode, st, mask);
    apply_to_file_locked(fs, inode, mask);
    if (l2 && key_in_l2_locked(fs, inode, key))
        turn_enter_locked(fs, &turn, key, NULL);
    attr = file_attr(inode);
    unlock(&fs->ns->lock);
    if (turn.used) {
        err = turn_wait(fs, &turn);
        if (!err)
            apply_to_tiers(fs, key, &attr, l2);
    }
    turn_leave(fs, &turn);
    return err;
}

int vfs_setattr(struct l2fs *fs, struct inode *inode, const struct stat *st, unsigned mask,
                struct waiter *w)
{
    int err = waiter_take_error(w);

    if (err)
        return err;
    if (inode_vfile(inode) || (inode->dir && inode->dir->reserved))
        return -EPERM;
    if ((mask & VFS_SET_SIZE) && inode->dir)
        return -EISDIR;
    if (mask & VFS_SET_SIZE)
        err = vfs_truncate(fs, inode, (uint64_t)st->st_size, w);
    mask &= ~(unsigned)VFS_SET_SIZE;
    return err || !mask ? err : set_attr(fs, inode, st, mask);
}

/* The nearest quota is the size; every one above bounds what is left. */
static void apply_quotas_locked(struct l2fs *fs, const struct inode *inode, struct statvfs *out)
{
    struct tenant *t = tenant_of_locked(fs, inode);

    if (!t->quota)
        return;
    out->f_blocks = t->quota / 4096;
    out->f_bfree = (t->quota - MIN(t->used, t->quota)) / 4096;
    for (; t; t = t->up)
        if (t->quota)
            out->f_bavail = MIN(out->f_bavail, (t->quota - MIN(t->used, t->quota)) / 4096);
}

/* Of the first tier that keeps objects, else of L1. */
static void usage_of_all(struct l2fs *fs, struct l2_usage *out)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.keeping);
    struct l2_usage u = {0};
    uint64_t size, used;

    staging_space(fs->staging, &used, &size);
    tiers_each(i, held.mask)
    {
        if (u.fs_size)
            break;
        tier_usage(fs->tiers.tier[i], &u);
        if (!u.fs_size && u.capacity) {
            u.fs_size = u.capacity;
            u.fs_avail = u.capacity - MIN(u.used, u.capacity);
        }
    }
    if (!u.fs_size) {
        u.fs_size = size;
        u.fs_avail = size - MIN(used, size);
    }
    *out = u;
}

int vfs_statfs(struct l2fs *fs, const struct inode *inode, struct statvfs *out)
{
    struct l2_usage u;

    usage_of_all(fs, &u);
    memset(out, 0, sizeof(*out));
    out->f_bsize = out->f_frsize = 4096;
    out->f_blocks = u.fs_size / 4096;
    out->f_bfree = out->f_bavail = u.fs_avail / 4096;
    lock(&fs->ns->lock);
    apply_quotas_locked(fs, inode, out);
    out->f_files = UINT32_MAX;
    out->f_ffree = out->f_favail = UINT32_MAX - fs->ns->files - fs->ns->dirs;
    unlock(&fs->ns->lock);
    out->f_namemax = KEY_NAME_MAX;
    return 0;
}

int vfs_opendir(struct l2fs *fs, struct inode *dir)
{
    int err;

    if (dir == fs->peers)
        peers_refresh(fs);
    LOCKED_SCOPE(&fs->ns->lock);
    if (!dir->dir)
        return -ENOTDIR;
    err = await_locked(fs, dir, NULL, NULL);
    if (err)
        return err;
    dir->dir->opens++;
    return 0;
}

void vfs_releasedir(struct l2fs *fs, struct inode *dir)
{
    LOCKED_SCOPE(&fs->ns->lock);
    dir->dir->opens--;
    ns_forget_unused(fs->ns, dir);
}

static bool fill_dot(struct l2fs *fs, struct inode *dir, off_t off, vfs_fill_fn *fill, void *arg)
{
    struct inode *up = dir->names ? dir->names->parent : dir;
    struct vfs_dirent e = {
        .name = off ? ".." : ".", .inode = off ? up : dir, .bare = true, .next = off + 1};

    stat_locked(fs, e.inode, &e.st, &e.settled);
    return fill(arg, &e);
}

/* Cookies: 1 follows ".", 2 follows "..", slot + 3 follows an entry. */
int vfs_readdir(struct l2fs *fs, struct inode *dir, off_t off, bool plus, vfs_fill_fn *fill,
                void *arg)
{
    LOCKED_SCOPE(&fs->ns->lock);
    for (; off < 2; off++)
        if (!fill_dot(fs, dir, off, fill, arg))
            return 0;
    for (uint64_t i = (uint64_t)off - 2; i < dir->dir->nslots; i++) {
        struct dentry *d = dir->dir->slots[i];
        struct vfs_dirent e = {.next = (off_t)i + 3};

        if (!d || d->inode->hidden)
            continue;
        e.name = d->name;
        e.inode = d->inode;
        e.bare = scan_hides_locked(fs, d->inode);
        stat_locked(fs, d->inode, &e.st, &e.settled);
        if (!fill(arg, &e))
            return 0;
        if (plus && !e.bare)
            d->inode->nlookup++;
    }
    return 0;
}
