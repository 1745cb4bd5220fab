/* front_impl.h - the session, and what the front_*.c files share. Level 5.
 *
 * FUSE workers (and io_uring threads) run the handlers; a request that must wait is parked and goes
 * on at the instance's loop thread. Lock order: parked.lock, front.shrink, then front.lock or a
 * lock of libfuse, then those of the instance. The instance calls back without its locks, but for
 * listings, which take none.
 */
#ifndef L2FS_FRONT_IMPL_H
#define L2FS_FRONT_IMPL_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>

#include "front.h"
#include "list.h"
#include "lock.h"
#include "vfs.h"

#define FRONT_IO_MAX (1u << 20) /* bytes of one read or write */
#define FILE_LOCKS 64u
#define LOGGED_CAUSES 160
#define FRONT_HAS(a, b) (FUSE_VERSION >= FUSE_MAKE_VERSION(a, b))

struct notifier {
    struct front *front;
    pthread_t thread;
    pthread_mutex_t joining; /* held by who ends the thread */
    bool running;            /* joining */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct list notes; /* lock */
    size_t count;      /* lock */
    bool closed;       /* lock */
};

/* With io_uring: libfuse holds a queue's lock while a handler runs, and an answer from another thread
 * takes it. The loop thread must not wait for a handler that waits for it, so requests go on here.
 * Nor does libfuse hand interrupts on: the callers of what waits are looked at for signals. */
struct retrier {
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct list requests; /* lock */
    uint64_t look_at;     /* lock; 0: nothing waits that a signal ends */
    bool closed;          /* lock */
};

struct front {
    struct l2fs *fs;
    const struct l2fs_config *cfg;
    struct fuse_session *se;
    char *dir;
    dev_t dev_below; /* of dir before it was mounted on */
    dev_t dev;       /* of the mount; the keeper's */

    int stop_fd;       /* eventfd: wakes the keeper */
    atomic_bool stop;  /* front_stop was called */
    atomic_bool ended; /* the loop has returned */
    pthread_t keeper;
    bool keeper_started;
    void (*ready)(void *arg);
    void *ready_arg;

    pthread_mutex_t lock;
    pthread_cond_t drained; /* `parked` became empty */
    struct list parked;     /* lock */
    struct list dirs;       /* lock; struct front_dir */
    struct list buffers;    /* lock; idle ones */
    bool draining;          /* lock; whoever parks is taken back at once */

    /* A reply straight from a mapping holds it shared, what cuts a file holds it exclusively: bytes
     * beyond the end of a file would reach the reader as EIO, and would end us with io_uring. */
    pthread_rwlock_t shrink;

    _Atomic(const char *) mode; /* constant strings */
    atomic_bool passthrough;    /* registering a backing is worth trying */
    atomic_bool page_cache;     /* direct_io would refuse shared mappings */
    atomic_bool probed;
    pthread_mutex_t file_locks[FILE_LOCKS]; /* by inode; object.backing_* ... */
    struct list files[FILE_LOCKS];          /* ... and what is open: struct front_file */
    bool logged[LOGGED_CAUSES];             /* lock; by errno */
    struct notifier notifier;
    struct retrier retrier;
};

static inline struct front *front_of(fuse_req_t req)
{
    return (struct front *)fuse_req_userdata(req);
}

static inline struct inode *inode_of(struct front *f, fuse_ino_t ino)
{
    ORDER_TAKEN(ino); /* the kernel was told of it before */
    return ino == FUSE_ROOT_ID ? vfs_root(f->fs) : (struct inode *)(uintptr_t)ino;
}

static inline fuse_ino_t nodeid_of(struct front *f, const struct inode *inode)
{
    ORDER_GIVEN((uintptr_t)inode);
    return inode == vfs_root(f->fs) ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)inode;
}

/* ---- front_options.c ---- */
/* The arguments of a session; fuse_opt_free_args when done. 0 or -ENOMEM. */
int front_arguments(const struct l2fs_config *cfg, const char *source, const char *extra,
                    struct fuse_args *out);
void front_init(void *userdata, struct fuse_conn_info *conn); /* the init handler */
bool front_want(struct fuse_conn_info *conn, uint64_t cap);   /* true: granted */
void front_unwant(struct fuse_conn_info *conn, uint64_t cap);
void front_read_ahead(dev_t dev); /* larger requests for mmap and cached reads */

/* ---- front_notify.c: names that vanished, told to the kernel by a thread of its own ---- */
int notifier_start(struct front *f); /* 0 or -errno */
void notifier_stop(struct front *f); /* drops what is queued and joins; idempotent */
void notifier_fini(struct front *f);
void notifier_gone(void *arg, struct inode *dir, const char *name, struct inode *inode);

/* ---- front_passthrough.c ---- */
void backing_init(struct front *f, struct fuse_conn_info *conn); /* by the init handler */
void backing_probe(struct front *f); /* once: does the kernel take registrations */
/* Fills fi for a new open: passthrough, else direct_io, else the page cache. */
void backing_get(struct front *f, struct handle *h, struct fuse_file_info *fi);
void backing_put(struct front *f, struct handle *h); /* before vfs_release */
void backing_forget(struct handle *h);               /* the same when the session has ended */

/* ---- front_attr.c ---- */
double attr_seconds(const struct front *f, bool settled);
void kill_suid(struct front *f, struct inode *inode); /* and setgid: as writes and truncation do */

/* ---- front_names.c ---- */
void entry_fill(struct front *f, struct inode *inode, const struct stat *st, bool settled,
                struct fuse_entry_param *e);
void reply_status(fuse_req_t req, int rc); /* 0 or a negative errno */
/* Answers with an entry for a reference that the instance has counted; gives it back when the
 * kernel does not take the answer. */
void reply_inode(fuse_req_t req, struct inode *inode);

void front_names_ops(struct fuse_lowlevel_ops *ops);
void front_attr_ops(struct fuse_lowlevel_ops *ops);
void front_open_ops(struct fuse_lowlevel_ops *ops);
void front_data_ops(struct fuse_lowlevel_ops *ops);
void front_dirs_ops(struct fuse_lowlevel_ops *ops);

#endif
