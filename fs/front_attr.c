/* front_attr.c - attributes, statfs and extended attributes.
 *
 * Thread model: FUSE workers; setattr may go on at the loop thread. Attributes that only change
 * through the kernel live in its cache for attr_timeout, others not at all.
 */
#include <fcntl.h>

#include "front_request.h"
#include "xattr.h"

double attr_seconds(const struct front *f, bool settled)
{
    return settled ? (double)f->cfg->attr_timeout / (double)NSEC_PER_SEC : 0;
}

static void reply_attr(fuse_req_t req, struct inode *inode)
{
    struct front *f = front_of(req);
    struct stat st;
    bool settled;
    int rc = vfs_getattr(f->fs, inode, &st, &settled);

    if (rc)
        reply_status(req, rc);
    else
        fuse_reply_attr(req, &st, attr_seconds(f, settled));
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct front *f = front_of(req);

    (void)fi;
    if (!atomic_exchange(&f->probed, true))
        backing_probe(f);
    reply_attr(req, inode_of(f, ino));
}

/* ---- setattr ---- */

struct setattr_request {
    struct request r;
    struct inode *inode;
    struct stat st;
    unsigned mask;
};

static int setattr_call(struct request *r)
{
    struct setattr_request *s = container_of(r, struct setattr_request, r);
    struct front *f = r->p.front;
    int rc;

    if (!(s->mask & VFS_SET_SIZE))
        return vfs_setattr(f->fs, s->inode, &s->st, s->mask, &r->p.w);
    pthread_rwlock_wrlock(&f->shrink);
    rc = vfs_setattr(f->fs, s->inode, &s->st, s->mask, &r->p.w);
    pthread_rwlock_unlock(&f->shrink);
    return rc;
}

static void setattr_reply(struct request *r, int rc)
{
    struct setattr_request *s = container_of(r, struct setattr_request, r);

    if (rc)
        request_reply_status(r, rc);
    else if (r->req)
        reply_attr(r->req, s->inode);
}

static const struct request_op setattr_op = {setattr_call, setattr_reply};

/* The bits of a mode that go when somebody else writes or the owner changes. */
static mode_t without_suid(mode_t mode)
{
    mode &= ~(mode_t)S_ISUID;
    if (mode & S_IXGRP)
        mode &= ~(mode_t)S_ISGID;
    return mode;
}

static bool has_suid(struct front *f, struct inode *inode, mode_t *without)
{
    struct stat st;
    bool settled;

    if (vfs_getattr(f->fs, inode, &st, &settled) || !S_ISREG(st.st_mode))
        return false;
    *without = without_suid(st.st_mode);
    return *without != st.st_mode;
}

void kill_suid(struct front *f, struct inode *inode)
{
    struct stat st = {0};
    struct waiter none = {0};

    if (has_suid(f, inode, &st.st_mode))
        vfs_setattr(f->fs, inode, &st, VFS_SET_MODE, &none);
}

static unsigned mask_of(int to_set, struct stat *st)
{
    unsigned mask = 0;

    mask |= to_set & FUSE_SET_ATTR_MODE ? VFS_SET_MODE : 0;
    mask |= to_set & FUSE_SET_ATTR_UID ? VFS_SET_UID : 0;
    mask |= to_set & FUSE_SET_ATTR_GID ? VFS_SET_GID : 0;
    mask |= to_set & FUSE_SET_ATTR_SIZE ? VFS_SET_SIZE : 0;
    mask |= to_set & FUSE_SET_ATTR_ATIME ? VFS_SET_ATIME : 0;
    mask |= to_set & FUSE_SET_ATTR_MTIME ? VFS_SET_MTIME : 0;
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        st->st_atim.tv_nsec = UTIME_NOW;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        st->st_mtim.tv_nsec = UTIME_NOW;
    return mask;
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                       struct fuse_file_info *fi)
{
    struct front *f = front_of(req);
    struct setattr_request *s = request_create(req, &setattr_op, sizeof(*s));
    bool kills = to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID);

    (void)fi;
    if (!s)
        return;
#ifdef FUSE_SET_ATTR_KILL_SUID
    kills |= (to_set & FUSE_SET_ATTR_KILL_SUID) != 0;
#endif
    s->inode = inode_of(f, ino);
    s->st = *attr;
    s->mask = mask_of(to_set, &s->st);
    if (kills && !(s->mask & VFS_SET_MODE) && has_suid(f, s->inode, &s->st.st_mode))
        s->mask |= VFS_SET_MODE;
    request_run(&s->r);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct front *f = front_of(req);
    struct statvfs st;
    int rc = vfs_statfs(f->fs, inode_of(f, ino), &st);

    if (rc)
        reply_status(req, rc);
    else
        fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

static void reply_value(fuse_req_t req, ssize_t n, const void *buf, size_t size)
{
    if (n < 0)
        reply_status(req, (int)n);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)n);
    else
        fuse_reply_buf(req, buf, (size_t)n);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct front *f = front_of(req);
    AUTO_FREE char *buf = size ? malloc(size) : NULL;

    if (size && !buf)
        reply_status(req, -ENOMEM);
    else
        reply_value(req, vfs_getxattr(f->fs, inode_of(f, ino), name, buf, size), buf, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct front *f = front_of(req);
    AUTO_FREE char *buf = size ? malloc(size) : NULL;

    if (size && !buf)
        reply_status(req, -ENOMEM);
    else
        reply_value(req, vfs_listxattr(f->fs, inode_of(f, ino), buf, size), buf, size);
}

static bool may_change(fuse_req_t req, const char *name)
{
    uid_t uid = fuse_req_ctx(req)->uid;

    return uid == 0 || uid == geteuid() || !xattr_is_admins(name);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
    const struct xattr_change c = {name, value, size, flags};
    struct caller who = caller_of(req);
    struct front *f = front_of(req);

    if (!strcmp(name, XATTR_UNLOCK_NAME))
        reply_status(req, vfs_unlock(f->fs, inode_of(f, ino), &c, &who));
    else if (!may_change(req, name))
        reply_status(req, -EPERM);
    else
        reply_status(req, vfs_setxattr(f->fs, inode_of(f, ino), name, value, size, flags));
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct front *f = front_of(req);

    if (!may_change(req, name))
        reply_status(req, -EPERM);
    else
        reply_status(req, vfs_removexattr(f->fs, inode_of(f, ino), name));
}

void front_attr_ops(struct fuse_lowlevel_ops *ops)
{
    ops->getattr = do_getattr;
    ops->setattr = do_setattr;
    ops->statfs = do_statfs;
    ops->getxattr = do_getxattr;
    ops->listxattr = do_listxattr;
    ops->setxattr = do_setxattr;
    ops->removexattr = do_removexattr;
}
