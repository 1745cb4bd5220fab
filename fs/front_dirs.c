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

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct front *f = front_of(req);
    struct front_dir *d = calloc(1, sizeof(*d));
    int rc = d ? vfs_opendir(f->fs, inode_of(f, ino)) : -ENOMEM;

    if (rc) {
        free(d);
        reply_status(req, rc);
        return;
    }
    list_init(&d->link);
    d->inode = inode_of(f, ino);
    lock(&f->lock);
    list_push_back(&f->dirs, &d->link);
    unlock(&f->lock);
    fi->fh = (uint64_t)(uintptr_t)d;
    if (fuse_reply_open(req, fi))
        dir_close(f, d);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    dir_close(front_of(req), dir_of(fi));
    reply_status(req, 0);
}

static bool is_dot(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static size_t add_plus(struct listing *l, const struct vfs_dirent *d)
{
    struct fuse_entry_param e;

    entry_fill(l->front, d->inode, &d->st, d->settled, &e);
    if (is_dot(d->name))
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
    if (l->plus && !is_dot(d->name))
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
