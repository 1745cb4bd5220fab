/* front_dirs.c - listings.
 *
 * Thread model: FUSE workers; fsyncdir may go on at the loop thread. An answer of readdirplus
 * counts a reference for every entry in it but "." and ".."; when the kernel does not take the
 * answer they are given back.
 */
#include "front_file.h"

struct front_dir {
    struct list link; /* front.lock */
    struct inode *inode;
};

struct listing {
    fuse_req_t req;
    struct front *front;
    bool plus;
    char *buf;
    size_t size;
    size_t used;
    struct inode **counted;
    size_t ncounted;
};

static struct front_dir *dir_of(const struct fuse_file_info *fi)
{
    return (struct front_dir *)(uintptr_t)fi->fh;
}

static void dir_close(struct front *f, struct front_dir *d)
{
    lock(&f->lock);
    list_remove(&d->link);
    unlock(&f->lock);
    vfs_releasedir(f->fs, d->inode);
    free(d);
}

static int dir_open(struct front *f, struct inode *inode, struct front_dir **out)
{
    struct front_dir *d = calloc(1, sizeof(*d));
    int rc = d ? vfs_opendir(f->fs, inode) : -ENOMEM;

    if (rc) {
        free(d);
        return rc;
    }
    list_init(&d->link);
    d->inode = inode;
    lock(&f->lock);
    list_push_back(&f->dirs, &d->link);
    unlock(&f->lock);
    *out = d;
    return 0;
}

static void reply_dir(fuse_req_t req, struct front_dir *d, struct fuse_file_info *fi)
{
    fi->fh = (uint64_t)(uintptr_t)d;
    if (fuse_reply_open(req, fi))
        dir_close(front_of(req), d);
}

/* ---- opendir of what the scan has not reached ---- */

struct opendir_request {
    struct request r;
    struct inode *inode;
    struct fuse_file_info fi;
    struct front_dir *dir; /* out */
};

static int opendir_call(struct request *r)
{
    struct opendir_request *o = container_of(r, struct opendir_request, r);
    struct front *f = r->p.front;
    int rc = vfs_await(f->fs, o->inode, NULL, &r->p.w);

    return rc ? rc : dir_open(f, o->inode, &o->dir);
}

static void opendir_reply(struct request *r, int rc)
{
    struct opendir_request *o = container_of(r, struct opendir_request, r);

    if (rc)
        request_reply_status(r, rc);
    else if (r->req)
        reply_dir(r->req, o->dir, &o->fi);
    else
        dir_close(r->p.front, o->dir);
}

static const struct request_op opendir_op = {opendir_call, opendir_reply, .interruptible = true};

static void opendir_later(fuse_req_t req, struct inode *inode, const struct fuse_file_info *fi)
{
    struct opendir_request *o = request_create(req, &opendir_op, sizeof(*o));

    if (!o)
        return;
    o->inode = inode;
    o->fi = *fi;
    request_run(&o->r);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct front *f = front_of(req);
    struct inode *inode = inode_of(f, ino);
    struct front_dir *d;
    int rc = dir_open(f, inode, &d);

    if (rc == -EINPROGRESS)
        opendir_later(req, inode, fi);
    else if (rc)
        reply_status(req, rc);
    else
        reply_dir(req, d, fi);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    dir_close(front_of(req), dir_of(fi));
    reply_status(req, 0);
}

static size_t add_plus(struct listing *l, const struct vfs_dirent *d)
{
    struct fuse_entry_param e;

    entry_fill(l->front, d->inode, &d->st, d->settled, &e);
    if (d->bare)
        e.ino = 0; /* the kernel makes no dentry, and counts nothing */
    return fuse_add_direntry_plus(l->req, l->buf + l->used, l->size - l->used, d->name, &e,
                                  d->next);
}

static bool fill(void *arg, const struct vfs_dirent *d)
{
    struct listing *l = arg;
    size_t n;

    if (l->plus)
        n = add_plus(l, d);
    else
        n = fuse_add_direntry(l->req, l->buf + l->used, l->size - l->used, d->name, &d->st,
                              d->next);
    if (n > l->size - l->used)
        return false;
    l->used += n;
    if (l->plus && !d->bare)
        l->counted[l->ncounted++] = d->inode;
    return true;
}

static void list_dir(fuse_req_t req, struct inode *dir, size_t size, off_t off, bool plus)
{
    struct front *f = front_of(req);
    struct listing l = {.req = req, .front = f, .plus = plus, .size = size};
    AUTO_FREE char *buf = malloc(size);
    /* An entry takes more than 128 bytes with its attributes. */
    AUTO_FREE struct inode **counted = plus ? calloc(size / 128 + 1, sizeof(*counted)) : NULL;
    int rc;

    if (!buf || (plus && !counted)) {
        reply_status(req, -ENOMEM);
        return;
    }
    l.buf = buf;
    l.counted = counted;
    rc = vfs_readdir(f->fs, dir, off, plus, fill, &l);
    if (rc)
        reply_status(req, rc);
    else if (fuse_reply_buf(req, buf, l.used) == 0)
        return;
    for (size_t i = 0; i < l.ncounted; i++)
        vfs_forget(f->fs, counted[i], 1);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)fi;
    list_dir(req, inode_of(front_of(req), ino), size, off, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    (void)fi;
    list_dir(req, inode_of(front_of(req), ino), size, off, true);
}

struct fsyncdir_request {
    struct request r;
    struct inode *dir;
};

static int fsyncdir_call(struct request *r)
{
    struct fsyncdir_request *s = container_of(r, struct fsyncdir_request, r);

    return vfs_fsyncdir(r->p.front->fs, s->dir, &r->p.w);
}

static const struct request_op fsyncdir_op = {fsyncdir_call, request_reply_status};

static void do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fsyncdir_request *s = request_create(req, &fsyncdir_op, sizeof(*s));

    (void)datasync;
    (void)fi;
    if (!s)
        return;
    s->dir = inode_of(front_of(req), ino);
    request_run(&s->r);
}

void dirs_close_all(struct front *f)
{
    while (!list_empty(&f->dirs))
        dir_close(f, list_entry(f->dirs.next, struct front_dir, link));
}

void front_dirs_ops(struct fuse_lowlevel_ops *ops)
{
    ops->opendir = do_opendir;
    ops->releasedir = do_releasedir;
    ops->readdir = do_readdir;
    ops->readdirplus = do_readdirplus;
    ops->fsyncdir = do_fsyncdir;
}
