/* front_data.c - the copying path for what is not passthrough, and operations on open files.
 *
 * Thread model: FUSE workers; read and fsync may go on at the loop thread. A read is answered
 * straight from the file's mapping where the instance offers one (the kernel copies once), from the
 * ring's own buffer with io_uring, else from a pooled buffer.
 */
#include <poll.h>

#include "front_file.h"

struct read_request {
    struct request r;
    struct front_file *file;
    size_t size;
    off_t off;
    void *buf;   /* between call and reply; pooled unless `ring` */
    bool ring;   /* buf is the ring's */
    bool shared; /* between call and reply: file->replies and front.shrink are held */
    const void *direct;
};

/* Where the bytes go first. */
static void *read_buffer(struct read_request *q)
{
#if defined(HAVE_FUSE_URING)
    char *payload;
    size_t size;

    q->ring = fuse_req_is_uring(q->r.req) &&
              !fuse_req_get_payload(q->r.req, &payload, &size, NULL) && size >= q->size;
    if (q->ring)
        return payload;
#endif
    return buffer_get(q->r.p.front);
}

static void read_done(struct read_request *q)
{
    struct front *f = q->r.p.front;

    if (q->shared) {
        pthread_rwlock_unlock(&f->shrink);
        pthread_rwlock_unlock(&q->file->replies);
    }
    if (!q->ring)
        buffer_put(f, q->buf);
    q->shared = false;
    q->buf = NULL;
}

static int read_call(struct request *r)
{
    struct read_request *q = container_of(r, struct read_request, r);
    struct handle *h = q->file->handle;
    struct front *f = r->p.front;
    ssize_t n;

    q->buf = read_buffer(q);
    if (!q->buf)
        return -ENOMEM;
    if (h->mode != HANDLE_VIRTUAL) {
        pthread_rwlock_rdlock(&q->file->replies);
        pthread_rwlock_rdlock(&f->shrink);
        q->shared = true;
    }
    n = vfs_read(f->fs, h, q->buf, q->size, q->off, &r->p.w, &q->direct);
    if (n == -EINPROGRESS)
        read_done(q);
    return (int)n;
}

static void read_reply(struct request *r, int rc)
{
    struct read_request *q = container_of(r, struct read_request, r);

    if (rc < 0)
        request_reply_status(r, rc);
    else if (r->req)
        fuse_reply_buf(r->req, q->direct ? q->direct : q->buf, (size_t)rc);
    read_done(q);
}

static const struct request_op read_op = {read_call, read_reply, true};

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    struct read_request *q = request_create(req, &read_op, sizeof(*q));

    (void)ino;
    if (!q)
        return;
    q->file = file_of(fi);
    q->r.p.w.cached = !fi->lock_owner; /* read(2) has one, a page fault has not */
    q->size = MIN(size, FRONT_IO_MAX);
    q->off = off;
    request_run(&q->r);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct front *f = front_of(req);
    struct front_file *file = file_of(fi);
    ssize_t n;

#if FRONT_HAS(3, 18)
    if (fi->kill_suidgid)
        kill_suid(f, inode_of(f, ino));
#endif
    (void)ino;
    n = vfs_write(f->fs, file->handle, buf, size, off);
    if (n < 0)
        reply_status(req, (int)n);
    else
        fuse_reply_write(req, (size_t)n);
}

/* ---- fsync ---- */

struct fsync_request {
    struct request r;
    struct inode *inode;
};

static int fsync_call(struct request *r)
{
    struct fsync_request *s = container_of(r, struct fsync_request, r);

    return vfs_fsync(r->p.front->fs, s->inode, &r->p.w);
}

static const struct request_op fsync_op = {fsync_call, request_reply_status};

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fsync_request *s = request_create(req, &fsync_op, sizeof(*s));

    (void)datasync;
    (void)fi;
    if (!s)
        return;
    s->inode = inode_of(front_of(req), ino);
    request_run(&s->r);
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                         struct fuse_file_info *fi)
{
    struct front *f = front_of(req);

    (void)ino;
    reply_status(req, vfs_fallocate(f->fs, file_of(fi)->handle, mode, off, len));
}

static void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                     struct fuse_file_info *fi)
{
    struct front *f = front_of(req);
    off_t pos = vfs_lseek(f->fs, file_of(fi)->handle, off, whence);

    (void)ino;
    if (pos < 0)
        reply_status(req, (int)pos);
    else
        fuse_reply_lseek(req, pos);
}

/* glibc and Python ask every file whether it is a terminal. */
static void do_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_bufsz,
                     size_t out_bufsz)
{
    (void)ino;
    (void)cmd;
    (void)arg;
    (void)fi;
    (void)flags;
    (void)in_buf;
    (void)in_bufsz;
    (void)out_bufsz;
    reply_status(req, -ENOTTY);
}

/* ---- poll: at most one is kept per file, since the kernel has one wake-up for all of them ---- */

static void poll_retry(struct waiter *w)
{
    struct front_poll *p = container_of(w, struct front_poll, p.w);
    struct front *f = p->p.front;
    bool draining;

    lock(&p->p.lock);
    unlock(&p->p.lock);
    lock(&f->lock);
    if (p->file)
        p->file->poll = NULL;
    draining = f->draining;
    unlock(&f->lock);
    if (!draining)
        fuse_lowlevel_notify_poll(p->ph);
    fuse_pollhandle_destroy(p->ph);
    parked_done(&p->p);
    free(p);
}

/* NULL: no wake-up is wanted, one is under way already, or there is no memory. */
static struct front_poll *poll_create(struct front *f, struct front_file *file,
                                      struct fuse_pollhandle *ph)
{
    struct front_poll *p = ph ? calloc(1, sizeof(*p)) : NULL;
    bool first;

    if (!p)
        return NULL;
    atomic_store(&file->polled, true);
    lock(&f->lock);
    first = !file->poll;
    if (first)
        file->poll = p;
    unlock(&f->lock);
    if (!first) {
        free(p);
        return NULL;
    }
    parked_init(&p->p, f, poll_retry);
    p->file = file;
    p->ph = ph;
    return p;
}

/* The instance did not keep it. */
static void poll_destroy(struct front *f, struct front_poll *p)
{
    lock(&f->lock);
    p->file->poll = NULL;
    unlock(&f->lock);
    parked_done(&p->p);
    free(p);
}

static void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                    struct fuse_pollhandle *ph)
{
    struct front *f = front_of(req);
    struct front_file *file = file_of(fi);
    struct front_poll *p = poll_create(f, file, ph);
    unsigned events;

    (void)ino;
    if (!p) {
        events = vfs_poll(f->fs, file->handle, NULL);
        if (ph)
            fuse_pollhandle_destroy(ph);
        fuse_reply_poll(req, events);
        return;
    }
    lock(&p->p.lock);
    events = vfs_poll(f->fs, file->handle, &p->p.w);
    if (!events)
        parked_add(&p->p);
    unlock(&p->p.lock);
    if (events) {
        poll_destroy(f, p);
        fuse_pollhandle_destroy(ph);
    }
    fuse_reply_poll(req, events);
}

void front_data_ops(struct fuse_lowlevel_ops *ops)
{
    ops->read = do_read;
    ops->write = do_write;
    ops->fsync = do_fsync;
    ops->fallocate = do_fallocate;
    ops->lseek = do_lseek;
    ops->ioctl = do_ioctl;
    ops->poll = do_poll;
}
