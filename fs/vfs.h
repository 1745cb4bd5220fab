/* vfs.h - file operations on an instance: what the front calls. Level 4.
 *
 * Any thread. None of these blocks on the network or on another file's fate; what must wait returns
 * -EINPROGRESS and keeps the waiter, whose `retry` is later called once, on the loop thread: the
 * front then repeats the same call with the same waiter and the same arguments. A call that returns
 * anything else no longer knows the waiter. Operations that change L2 names (unlink, rename, mkdir,
 * rmdir, chmod...) do a short synchronous step in the tiers.
 *
 * References: lookup, create, link, mkdir, mknod, tmpfile and readdir-plus entries count one kernel
 * reference (nlookup) that vfs_forget gives back. Handles belong to the caller until vfs_release.
 */
#ifndef L2FS_VFS_H
#define L2FS_VFS_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "handle.h"
#include "l2fs.h"

/* Entry invalidation: called on the loop thread without locks when a name vanishes behind the
 * kernel's back (eviction from the last tier, failed load, expiry). `name` NULL: names came into the
 * directory, its attributes are others. */
typedef void vfs_gone_fn(void *arg, struct inode *dir, const char *name, struct inode *inode);
void vfs_set_gone(struct l2fs *fs, vfs_gone_fn *fn, void *arg);

struct inode *vfs_root(struct l2fs *fs);
/* Takes a queued waiter back because its request was interrupted: retry follows with -EINTR. Any
 * other time: nothing. */
void vfs_interrupt(struct l2fs *fs, struct waiter *w);

/* While the scan of a start runs: 0 when a lookup of `name` in `dir`, or its listing (NULL), is answered at
 * once. Else those say -EINPROGRESS, without a waiter. */
int vfs_await(struct l2fs *fs, struct inode *dir, const char *name, struct waiter *w);
/* `st` is filled; *settled: the attributes change only through the kernel (long timeouts are
 * right). */
int vfs_lookup(struct l2fs *fs, struct inode *dir, const char *name, struct inode **out,
               struct stat *st, bool *settled);
void vfs_forget(struct l2fs *fs, struct inode *inode, uint64_t n);
int vfs_getattr(struct l2fs *fs, struct inode *inode, struct stat *st, bool *settled);

enum vfs_set {
    VFS_SET_MODE = 1 << 0,
    VFS_SET_UID = 1 << 1,
    VFS_SET_GID = 1 << 2,
    VFS_SET_SIZE = 1 << 3,
    VFS_SET_ATIME = 1 << 4, /* st_atim; UTIME_NOW in tv_nsec means now */
    VFS_SET_MTIME = 1 << 5,
};
int vfs_setattr(struct l2fs *fs, struct inode *inode, const struct stat *st, unsigned mask,
                struct waiter *w);
/* What is there for `inode` and beside it: below a quota, the quota and what is left of it. */
int vfs_statfs(struct l2fs *fs, const struct inode *inode, struct statvfs *out);

struct vfs_new {
    struct inode *dir;
    const char *name;
    uint32_t mode;
    int flags; /* of open */
    struct caller caller;
};
int vfs_create(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct inode **inode,
               struct handle **h);
int vfs_tmpfile(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct inode **inode,
                struct handle **h);
int vfs_mknod(struct l2fs *fs, const struct vfs_new *n, struct waiter *w, struct inode **inode);
int vfs_mkdir(struct l2fs *fs, const struct vfs_new *n, struct inode **inode);
int vfs_link(struct l2fs *fs, struct inode *inode, struct inode *dir, const char *name,
             struct waiter *w);
int vfs_unlink(struct l2fs *fs, struct inode *dir, const char *name);
int vfs_rmdir(struct l2fs *fs, struct inode *dir, const char *name);
struct vfs_rename {
    struct inode *from_dir;
    const char *from;
    struct inode *to_dir;
    const char *to;
    unsigned flags; /* renameat2(2) */
};
/* *sync (may come back NULL): the file was fsynced under its temporary name; answer the rename only
 * after vfs_fsync of it, then vfs_put it. */
int vfs_rename(struct l2fs *fs, const struct vfs_rename *r, struct inode **sync);
void vfs_put(struct l2fs *fs, struct inode *inode);
/* That rename fails: the kernel keeps the old name, and the next writer must look names up again. */
void vfs_doubt(struct l2fs *fs, struct inode *inode);

int vfs_open(struct l2fs *fs, struct inode *inode, int flags, const struct caller *c,
             struct waiter *w, struct handle **out);
/* At every close(2). -ENOSPC when a writer may have met the limit: its object is not accepted. */
int vfs_flush(struct l2fs *fs, struct handle *h, const struct caller *c);
/* It was flushed, and nobody has written the file since. */
bool vfs_unchanged_since_flush(struct l2fs *fs, const struct handle *h);
void vfs_release(struct l2fs *fs, struct handle *h); /* frees; the last writer's publishes */
int vfs_fsync(struct l2fs *fs, struct inode *inode, struct waiter *w);
int vfs_fsyncdir(struct l2fs *fs, struct inode *dir, struct waiter *w);

/* The file behind an open BACKED handle for registration as passthrough backing; the descriptor is
 * the caller's. */
int vfs_backing(struct l2fs *fs, struct handle *h, int *fd);
/* Fallback data path. Read: bytes, short only at the end; -EINPROGRESS while loading (waiter),
 * -EAGAIN where events are followed with O_NONBLOCK. When *direct comes back set, the bytes are
 * there instead of in buf, mapped until release. Only the kernel may read them, which says EFAULT
 * where somebody cut the file; who touches them gets SIGBUS. */
ssize_t vfs_read(struct l2fs *fs, struct handle *h, void *buf, size_t len, off_t off,
                 struct waiter *w, const void **direct);
ssize_t vfs_write(struct l2fs *fs, struct handle *h, const void *buf, size_t len, off_t off);
int vfs_fallocate(struct l2fs *fs, struct handle *h, int mode, off_t off, off_t len);
/* SEEK_DATA and SEEK_HOLE: the staging file's; one hole while a DIRECT handle's key is loading. */
off_t vfs_lseek(struct l2fs *fs, struct handle *h, off_t off, int whence);
/* POLL* bits now. When 0 and w is not NULL, w is kept and retried at a change or at release. */
unsigned vfs_poll(struct l2fs *fs, struct handle *h, struct waiter *w);

int vfs_opendir(struct l2fs *fs, struct inode *dir);
void vfs_releasedir(struct l2fs *fs, struct inode *dir);
/* Calls fill for entries after cookie `off` until it returns false. `inode` and `st` are valid
 * during the call; fill runs under the namespace lock and must not call back. With `plus` a true
 * return of fill counts one reference for every entry that is not bare. */
struct vfs_dirent {
    const char *name;
    struct inode *inode;
    struct stat st;
    bool settled;
    bool bare; /* name and kind only: ".", "..", and directories that must be looked up */
    off_t next;
};
typedef bool vfs_fill_fn(void *arg, const struct vfs_dirent *e);
int vfs_readdir(struct l2fs *fs, struct inode *dir, off_t off, bool plus, vfs_fill_fn *fill,
                void *arg);

#endif
