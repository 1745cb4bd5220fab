/* front_open.c - open, create, tmpfile, flush, release, and the list of what is open.
 *
 * Thread model: FUSE workers; what waits (for a writer, a load, space) goes on at the loop thread.
 * An open that the kernel does not take (its request was interrupted) is undone here, since no
 * RELEASE will follow. After the answer the handle may be released by another worker at any time.
 */
#include <fcntl.h>

#include "front_file.h"

struct open_request {
    struct request r;
    struct inode *inode; /* open: which; create, tmpfile: out */
    struct inode *dir;   /* create, tmpfile: where */
    struct front_file *file;
    struct fuse_file_info fi;
    uint32_t mode;
    struct caller caller;
    char name[];
};

static void file_attach(struct front *f, struct front_file *file)
{
    const struct inode *inode = file->handle->inode;

    LOCKED_SCOPE(files_lock(f, inode));
    list_push_back(&f->files[files_of(inode)], &file->link);
}

static void file_detach(struct front *f, struct front_file *file)
{
    pthread_mutex_t *own = files_lock(f, file->handle->inode);

    lock(own);
    list_remove(&file->link);
    unlock(own);
    if (!atomic_load(&file->polled))
        return;
    LOCKED_SCOPE(&f->lock);
    if (file->poll)
        file->poll->file = NULL;
}

static struct front_file *file_create(void)
{
    struct front_file *file = calloc(1, sizeof(*file));

    if (!file)
        return NULL;
    list_init(&file->link);
    if (pthread_rwlock_init(&file->replies, NULL))
        abort();
    return file;
}

static void file_destroy(struct front_file *file)
{
    pthread_rwlock_destroy(&file->replies);
    free(file);
}

static void file_close(struct front *f, struct front_file *file)
{
    file_detach(f, file);
    pthread_rwlock_wrlock(&file->replies);
    vfs_release(f->fs, file->handle);
    pthread_rwlock_unlock(&file->replies);
    file_destroy(file);
}

static int open_call(struct request *r)
{
    struct open_request *o = container_of(r, struct open_request, r);
    struct front *f = r->p.front;
    bool cuts = o->fi.flags & O_TRUNC;
    int rc;

    if (cuts)
        pthread_rwlock_wrlock(&f->shrink);
    rc = vfs_open(f->fs, o->inode, o->fi.flags, &o->caller, &r->p.w, &o->file->handle);
    if (cuts)
        pthread_rwlock_unlock(&f->shrink);
    return rc;
}

/* Fills o->fi for the kernel. False: nobody can be answered any more, and the handle is released.
 */
static bool prepare(struct open_request *o)
{
    struct front *f = o->r.p.front;
    struct handle *h = o->file->handle;

    file_attach(f, o->file);
    if (!o->r.req) {
        h->killed = o->dir != NULL;
        file_close(f, o->file);
        return false;
    }
    o->fi.fh = (uint64_t)(uintptr_t)o->file;
    o->fi.noflush = !h->write;
    backing_get(f, h, &o->fi);
    if (h->atime_moved)
        fuse_lowlevel_notify_inval_inode(f->se, nodeid_of(f, h->inode), -1, 0);
    atomic_store_explicit(&o->file->known, true, memory_order_release);
    return true;
}

/* The kernel has not taken it. A new file that its creator has never seen is not worth keeping. */
static void undo(struct open_request *o)
{
    struct handle *h = o->file->handle;

    h->killed = o->dir != NULL;
    backing_put(o->r.p.front, h);
    file_close(o->r.p.front, o->file);
}

static void open_reply(struct request *r, int rc)
{
    struct open_request *o = container_of(r, struct open_request, r);

    if (rc) {
        file_destroy(o->file);
        request_reply_status(r, rc);
    } else if (prepare(o) && fuse_reply_open(r->req, &o->fi)) {
        undo(o);
    }
}

static const struct request_op open_op = {open_call, open_reply, true};

static struct open_request *open_request(fuse_req_t req, const struct request_op *op,
                                         const char *name, const struct fuse_file_info *fi)
{
    size_t len = name ? strlen(name) + 1 : 0;
    struct front_file *file = file_create();
    struct open_request *o;

    if (!file) {
        reply_status(req, -ENOMEM);
        return NULL;
    }
    o = request_create(req, op, sizeof(*o) + len);
    if (!o) {
        file_destroy(file);
        return NULL;
    }
    o->file = file;
    o->fi = *fi;
    o->caller = caller_of(req);
    memcpy(o->name, name ? name : "", len);
    return o;
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct open_request *o = open_request(req, &open_op, NULL, fi);

    if (!o)
        return;
    o->inode = inode_of(front_of(req), ino);
    request_run(&o->r);
}

/* ---- create, tmpfile ---- */

static struct vfs_new vfs_new_of(struct open_request *o)
{
    return (struct vfs_new){
        .dir = o->dir, .name = o->name, .mode = o->mode, .flags = o->fi.flags, .caller = o->caller};
}

static int create_call(struct request *r)
{
    struct open_request *o = container_of(r, struct open_request, r);
    struct vfs_new n = vfs_new_of(o);

    return vfs_create(r->p.front->fs, &n, &r->p.w, &o->inode, &o->file->handle);
}

/* False: the kernel has not taken it. */
static bool answer_create(struct open_request *o, bool made)
{
    struct front *f = o->r.p.front;
    struct fuse_entry_param e;
    struct stat st;
    bool settled;
    int rc = vfs_getattr(f->fs, o->inode, &st, &settled);

    if (rc) {
        request_reply_status(&o->r, rc);
        return false;
    }
    /* What gives an empty file bytes goes through the kernel, which then asks for size and times
     * anew; who may open it stays. */
    entry_fill(f, o->inode, &st, settled || made, &e);
    return fuse_reply_create(o->r.req, &e, &o->fi) == 0;
}

static void create_reply(struct request *r, int rc)
{
    struct open_request *o = container_of(r, struct open_request, r);
    bool prepared, made;

    if (rc) {
        file_destroy(o->file);
        request_reply_status(r, rc);
        return;
    }
    made = o->file->handle->made;
    prepared = prepare(o);
    if (prepared && answer_create(o, made))
        return;
    if (prepared)
        undo(o);
    vfs_forget(r->p.front->fs, o->inode, 1);
}

static const struct request_op create_op = {create_call, create_reply, true};

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct open_request *o = open_request(req, &create_op, name, fi);

    if (!o)
        return;
    o->dir = inode_of(front_of(req), parent);
    o->mode = mode;
    request_run(&o->r);
}

#if FRONT_HAS(3, 17)
static int tmpfile_call(struct request *r)
{
    struct open_request *o = container_of(r, struct open_request, r);
    struct vfs_new n = vfs_new_of(o);

    n.name = NULL;
    return vfs_tmpfile(r->p.front->fs, &n, &r->p.w, &o->inode, &o->file->handle);
}

static const struct request_op tmpfile_op = {tmpfile_call, create_reply, true};

static void do_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
    struct open_request *o = open_request(req, &tmpfile_op, NULL, fi);

    if (!o)
        return;
    o->dir = inode_of(front_of(req), parent);
    o->mode = mode;
    request_run(&o->r);
}
#endif

/* ---- flush, release ---- */

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct front_file *file = file_of(fi);
    struct caller c = caller_of(req);
    int rc = vfs_flush(front_of(req)->fs, file->handle, &c);

    (void)ino;
    ORDER_GIVEN(file); /* the last flush comes before the release */
    reply_status(req, rc);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct front_file *file = file_of(fi);

    (void)ino;
    backing_put(front_of(req), file->handle);
    file_close(front_of(req), file);
    reply_status(req, 0);
}

void files_close_all(struct front *f)
{
    struct list *l;

    for (size_t i = 0; i < FILE_LOCKS; i++)
        while ((l = list_pop_front(&f->files[i]))) {
            struct front_file *file = list_entry(l, struct front_file, link);

            if (file->handle->write && !vfs_unchanged_since_flush(f->fs, file->handle))
                file->handle->killed = true;
            backing_forget(file->handle);
            file_close(f, file);
        }
}

void front_open_ops(struct fuse_lowlevel_ops *ops)
{
    ops->open = do_open;
    ops->create = do_create;
#if FRONT_HAS(3, 17)
    ops->tmpfile = do_tmpfile;
#endif
    ops->flush = do_flush;
    ops->release = do_release;
}
