/* front_file.h - open files and directories as the kernel knows them: fuse_file_info.fh. Level 5.
 */
#ifndef L2FS_FRONT_FILE_H
#define L2FS_FRONT_FILE_H

#include "front_request.h"

struct front_file {
    struct list link;  /* files_lock */
    atomic_bool known; /* set when the kernel is told of it: orders what was written before */
    struct handle *handle;
    pthread_rwlock_t replies; /* shared by reads until fuse_reply has returned, not only reached
                                 * the kernel: the handle's mapping is theirs so long */
    atomic_bool polled;       /* `poll` was set once */
    struct front_poll *poll;  /* front.lock; what the instance keeps for it */
};

struct front_poll {
    struct parked p;
    struct front_file *file; /* front.lock; NULL: closed meanwhile */
    struct fuse_pollhandle *ph;
};

static inline unsigned files_of(const struct inode *inode)
{
    uintptr_t n = (uintptr_t)inode;

    return (unsigned)(n >> 6 ^ n >> 12) % FILE_LOCKS;
}

static inline pthread_mutex_t *files_lock(struct front *f, const struct inode *inode)
{
    return &f->file_locks[files_of(inode)];
}

static inline struct front_file *file_of(const struct fuse_file_info *fi)
{
    struct front_file *file = (struct front_file *)(uintptr_t)fi->fh;

    if (!atomic_load_explicit(&file->known, memory_order_acquire))
        abort();
    ORDER_TAKEN(file);
    return file;
}

/* What the kernel left open when the session ended: writers that were not flushed since their last
 * write count as killed. */
void files_close_all(struct front *f);
void dirs_close_all(struct front *f);

#endif
