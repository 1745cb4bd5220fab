/* front_names.c - lookup and what makes, moves and removes names.
 *
 * Thread model: FUSE workers; mknod, link and rename may go on at the loop thread. Every entry that
 * the kernel takes is one reference; one that it does not take (the request was interrupted) is
 * given back here. Names live in the kernel's cache as long as attributes do: they change through
 * the kernel alone, or the notifier says so. Misses are not cached.
 */
#include "front_request.h"

void entry_fill(struct front *f, struct inode *inode, const struct stat *st, bool settled,
                struct fuse_entry_param *e)
{
    *e = (struct fuse_entry_param){
        .ino = nodeid_of(f, inode),
        .attr = *st,
        .attr_timeout = attr_seconds(f, settled),
        .entry_timeout = attr_seconds(f, true),
    };
}

void reply_status(fuse_req_t req, int rc)
{
    fuse_reply_err(req, -rc);
}

static void reply_entry(fuse_req_t req, struct inode *inode, const struct stat *st, bool settled)
{
    struct front *f = front_of(req);
    struct fuse_entry_param e;

    entry_fill(f, inode, st, settled, &e);
    if (fuse_reply_entry(req, &e))
        vfs_forget(f->fs, inode, 1);
}

void reply_inode(fuse_req_t req, struct inode *inode)
{
    struct front *f = front_of(req);
    struct stat st;
    bool settled;
    int rc = vfs_getattr(f->fs, inode, &st, &settled);

    if (rc) {
        vfs_forget(f->fs, inode, 1);
        reply_status(req, rc);
        return;
    }
    reply_entry(req, inode, &st, settled);
}

struct name_request {
    struct request r;
    struct inode *inode; /* mknod, lookup: out; link: the old one */
    struct inode *dir;
    struct stat st; /* of a lookup */
    bool settled;
    uint32_t mode;
    struct caller caller;
    char name[];
};

static struct name_request *name_request(fuse_req_t req, const struct request_op *op,
                                         fuse_ino_t dir, const char *name)
{
    size_t len = strlen(name) + 1;
    struct name_request *n = request_create(req, op, sizeof(*n) + len);

    if (!n)
        return NULL;
    n->dir = inode_of(front_of(req), dir);
    n->caller = caller_of(req);
    memcpy(n->name, name, len);
    return n;
}

/* ---- lookup; it may have to wait for the scan ---- */

static int lookup_call(struct request *r)
{
    struct name_request *n = container_of(r, struct name_request, r);
    struct l2fs *fs = r->p.front->fs;
    int rc = vfs_await(fs, n->dir, n->name, &r->p.w);

    return rc ? rc : vfs_lookup(fs, n->dir, n->name, &n->inode, &n->st, &n->settled);
}

static void lookup_reply(struct request *r, int rc)
{
    struct name_request *n = container_of(r, struct name_request, r);

    if (rc)
        request_reply_status(r, rc);
    else if (r->req)
        reply_entry(r->req, n->inode, &n->st, n->settled);
    else
        vfs_forget(r->p.front->fs, n->inode, 1);
}

static const struct request_op lookup_op = {lookup_call, lookup_reply, .interruptible = true};

static void lookup_later(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct name_request *n = name_request(req, &lookup_op, parent, name);

    if (n)
        request_run(&n->r);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct front *f = front_of(req);
    struct inode *inode;
    struct stat st;
    bool settled;
    int rc = vfs_lookup(f->fs, inode_of(f, parent), name, &inode, &st, &settled);

    if (rc == -EINPROGRESS)
        lookup_later(req, parent, name);
    else if (rc)
        reply_status(req, rc);
    else
        reply_entry(req, inode, &st, settled);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    struct front *f = front_of(req);

    if (ino != FUSE_ROOT_ID)
        vfs_forget(f->fs, inode_of(f, ino), n);
    fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct front *f = front_of(req);

    for (size_t i = 0; i < count; i++)
        if (forgets[i].ino != FUSE_ROOT_ID)
            vfs_forget(f->fs, inode_of(f, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct front *f = front_of(req);
    struct vfs_new n = {
        .dir = inode_of(f, parent), .name = name, .mode = mode, .caller = caller_of(req)};
    struct inode *inode;
    int rc = vfs_mkdir(f->fs, &n, &inode);

    if (rc)
        reply_status(req, rc);
    else
        reply_inode(req, inode);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct front *f = front_of(req);
    struct inode *dir = inode_of(f, parent);
    int rc = vfs_unlink(f->fs, dir, name);

    if (rc && rc != -ENOENT) /* it may be gone here, and the kernel would keep it */
        notifier_gone(f, dir, name, NULL);
    reply_status(req, rc);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct front *f = front_of(req);
    struct inode *dir = inode_of(f, parent);
    int rc = vfs_rmdir(f->fs, dir, name);

    if (rc == -EIO || rc == -ETIMEDOUT)
        notifier_gone(f, dir, name, NULL);
    reply_status(req, rc);
}

static void do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target;
    (void)parent;
    (void)name;
    reply_status(req, -EPERM);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    reply_status(req, -EINVAL);
}

/* ---- mknod, link: a new name, perhaps after waiting for space or for a store ---- */

static void name_reply(struct request *r, int rc)
{
    struct name_request *n = container_of(r, struct name_request, r);

    if (rc)
        request_reply_status(r, rc);
    else if (r->req)
        reply_inode(r->req, n->inode);
    else
        vfs_forget(r->p.front->fs, n->inode, 1);
}

static int mknod_call(struct request *r)
{
    struct name_request *n = container_of(r, struct name_request, r);
    struct vfs_new new = {.dir = n->dir, .name = n->name, .mode = n->mode, .caller = n->caller};

    return vfs_mknod(r->p.front->fs, &new, &r->p.w, &n->inode);
}

static const struct request_op mknod_op = {mknod_call, name_reply};

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct name_request *n;

    (void)rdev;
    if (!S_ISREG(mode)) {
        reply_status(req, -EPERM);
        return;
    }
    n = name_request(req, &mknod_op, parent, name);
    if (!n)
        return;
    n->mode = mode;
    request_run(&n->r);
}

static int link_call(struct request *r)
{
    struct name_request *n = container_of(r, struct name_request, r);

    return vfs_link(r->p.front->fs, n->inode, n->dir, n->name, &r->p.w);
}

static const struct request_op link_op = {link_call, name_reply};

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
    struct name_request *n = name_request(req, &link_op, dir, name);

    if (!n)
        return;
    n->inode = inode_of(front_of(req), ino);
    request_run(&n->r);
}

/* ---- rename: at once, but for the durability that an earlier fsync has promised ---- */

struct rename_request {
    struct request r;
    struct inode *sync;
    struct inode *from_dir, *to_dir;
    char *to;
    char from[]; /* then `to` */
};

static int rename_call(struct request *r)
{
    struct rename_request *n = container_of(r, struct rename_request, r);

    return vfs_fsync(r->p.front->fs, n->sync, &r->p.w);
}

/* The new name is there whatever comes, but the kernel keeps what it knows when the answer is an error
 * other than EINTR: it is told to look again, and a writer who comes before that is sent back. */
static void rename_reply(struct request *r, int rc)
{
    struct rename_request *n = container_of(r, struct rename_request, r);
    struct front *f = r->p.front;

    if (rc) {
        vfs_doubt(f->fs, n->sync);
        notifier_gone(f, n->from_dir, n->from, NULL);
        notifier_gone(f, n->to_dir, n->to, NULL);
    }
    vfs_put(f->fs, n->sync);
    request_reply_status(r, rc && rc != -EINTR && rc != -ENOTCONN ? -EIO : rc);
}

static const struct request_op rename_op = {rename_call, rename_reply};

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned flags)
{
    struct front *f = front_of(req);
    struct vfs_rename args = {.from_dir = inode_of(f, parent),
                              .from = name,
                              .to_dir = inode_of(f, newparent),
                              .to = newname,
                              .flags = flags};
    struct inode *sync = NULL;
    struct rename_request *n;
    int rc = vfs_rename(f->fs, &args, &sync);

    if (rc || !sync) {
        reply_status(req, rc);
        return;
    }
    n = request_create(req, &rename_op, sizeof(*n) + strlen(name) + strlen(newname) + 2);
    if (!n) {
        vfs_put(f->fs, sync);
        return;
    }
    n->sync = sync;
    n->from_dir = args.from_dir;
    n->to_dir = args.to_dir;
    n->to = stpcpy(n->from, name) + 1;
    strcpy(n->to, newname);
    request_run(&n->r);
}

void front_names_ops(struct fuse_lowlevel_ops *ops)
{
    ops->lookup = do_lookup;
    ops->forget = do_forget;
    ops->forget_multi = do_forget_multi;
    ops->mknod = do_mknod;
    ops->mkdir = do_mkdir;
    ops->unlink = do_unlink;
    ops->rmdir = do_rmdir;
    ops->symlink = do_symlink;
    ops->readlink = do_readlink;
    ops->link = do_link;
    ops->rename = do_rename;
}
