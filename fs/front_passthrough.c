/* front_passthrough.c - registering the files behind keys with the kernel.
 *
 * Thread model: FUSE workers and the loop thread, under one of the locks by inode, held across the
 * (short) registration. While an inode is open through passthrough every further open of it must
 * name the same registration, so it is shared and goes with the last of them; the kernel drops its
 * own use of it before it sends RELEASE. An open in direct_io may come first, never later. The
 * ioctls are made here, because libfuse wants a request for them, which an undone open has no more.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "front_file.h"
#include "log.h"
#include "machine.h"

struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

/* A positive id, or -errno. */
static int register_file(struct front *f, int fd)
{
    struct backing_map map = {.fd = fd};
    int id = ioctl(fuse_session_fd(f->se), BACKING_OPEN, &map);

    if (id < 0)
        return -errno;
    return id ? id : -EINVAL;
}

static void unregister(struct front *f, int id)
{
    uint32_t value = (uint32_t)id;

    ioctl(fuse_session_fd(f->se), BACKING_CLOSE, &value);
}

static void switch_off(struct front *f, const char *mode)
{
    atomic_store(&f->passthrough, false);
    atomic_store(&f->mode, mode);
}

/* The kernel would drop the page cache of a file whenever a getattr shows a newer mtime, and pages
 * of a write that has not reached us yet would be read again as they were. All writes come through
 * it, and an open invalidates what changed otherwise. */
static void own_page_cache(struct fuse_conn_info *conn)
{
    front_unwant(conn, FUSE_CAP_AUTO_INVAL_DATA);
    front_want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
}

/* What stands against it before the kernel is asked; NULL: nothing. */
static const char *obstacle(struct front *f, struct fuse_conn_info *conn)
{
    if (!f->cfg->passthrough)
        return "direct_io: nopassthrough";
#ifdef HAVE_FUSE_PASSTHROUGH
    if (!machine_is_admin())
        return "direct_io: passthrough needs CAP_SYS_ADMIN";
    if (!front_want(conn, FUSE_CAP_PASSTHROUGH))
        return "direct_io: the kernel has no FUSE passthrough (Linux 6.9)";
    conn->max_backing_stack_depth = FUSE_BACKING_STACKED_OVER;
    return NULL;
#else
    (void)conn;
    return "direct_io: built with libfuse older than 3.17";
#endif
}

/* Shared mappings of a file in direct_io are granted by Linux 6.6 to those who ask. */
static bool want_direct_mmap(struct fuse_conn_info *conn)
{
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
    return front_want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
#else
    (void)conn;
    return false;
#endif
}

void backing_init(struct front *f, struct fuse_conn_info *conn)
{
    const char *why = obstacle(f, conn);
    bool cached = !want_direct_mmap(conn);

    if (why && cached)
        why = "page cache: shared mmap beside direct_io needs Linux 6.6 and libfuse 3.17";
    if (cached)
        own_page_cache(conn);
    atomic_store(&f->page_cache, cached);
    atomic_store(&f->mode, why ? why : "passthrough");
    atomic_store(&f->passthrough, !why);
}

void backing_probe(struct front *f)
{
    AUTO_CLOSE int fd = -1;
    int id;

    if (!atomic_load(&f->passthrough))
        return;
    fd = memfd_create("l2fs-probe", MFD_CLOEXEC);
    id = fd < 0 ? -errno : register_file(f, fd);
    if (id > 0)
        unregister(f, id);
    else if (id == -EPERM)
        switch_off(f, "direct_io: the kernel does not let this container register files");
    else
        switch_off(f, "direct_io: the kernel refuses to register files");
}

static void log_once(struct front *f, int err)
{
    unsigned cause = MIN((unsigned)-err, LOGGED_CAUSES - 1u);
    bool first;

    lock(&f->lock);
    first = !f->logged[cause];
    f->logged[cause] = true;
    unlock(&f->lock);
    if (first)
        log_warn("passthrough: a file could not be registered with the kernel (%s); it is read and "
                 "written through the daemon, at about 0.7 of the speed",
                 strerror(-err));
}

static int register_handle(struct front *f, struct handle *h)
{
    AUTO_CLOSE int fd = -1;
    int opened = -1, rc;

    rc = vfs_backing(f->fs, h, &opened);
    if (rc)
        return rc;
    fd = opened;
    return register_file(f, fd);
}

/* Joins the registration of the object, or makes it. True: h is open through it. */
static bool join_locked(struct front *f, struct handle *h)
{
    struct object *o = h->inode->object;
    int id;

    if (!o->backing_opens) {
        if (h->mode != HANDLE_BACKED || !atomic_load(&f->passthrough))
            return false;
        id = register_handle(f, h);
        if (id < 0) {
            log_once(f, id);
            return false;
        }
        o->backing_id = id;
    }
    o->backing_opens++;
    h->passthrough = true;
    return true;
}

void backing_get(struct front *f, struct handle *h, struct fuse_file_info *fi)
{
    if (h->mode != HANDLE_VIRTUAL) {
        LOCKED_SCOPE(files_lock(f, h->inode));
        if (join_locked(f, h)) {
#ifdef HAVE_FUSE_PASSTHROUGH
            fi->backing_id = h->inode->object->backing_id;
#endif
            return;
        }
    }
    fi->direct_io = h->mode != HANDLE_BACKED || !atomic_load(&f->page_cache);
    /* Pages of a write on its way must not be read again from us: we do not have it yet. */
    fi->keep_cache = !fi->direct_io && h->beside_writer;
#if FRONT_HAS(3, 15)
    fi->parallel_direct_writes = fi->direct_io && h->mode == HANDLE_BACKED;
#endif
}

void backing_put(struct front *f, struct handle *h)
{
    struct object *o = h->inode->object;

    if (!h->passthrough)
        return;
    LOCKED_SCOPE(files_lock(f, h->inode));
    h->passthrough = false;
    if (--o->backing_opens)
        return;
    unregister(f, o->backing_id);
    o->backing_id = 0;
}

void backing_forget(struct handle *h)
{
    if (!h->passthrough)
        return;
    h->passthrough = false;
    h->inode->object->backing_opens--;
    h->inode->object->backing_id = 0;
}
