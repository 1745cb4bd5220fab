/* vfsrig.h - an instance without FUSE: the calls of vfs.h made blocking. For Check tests. */
#ifndef L2FS_TEST_VFSRIG_H
#define L2FS_TEST_VFSRIG_H

#include <check.h>

#include "core.h"
#include "xattr.h"

struct vfsrig {
    char *dir; /* holds staging/ and data/ */
    struct l2fs_config cfg;
    struct l2fs *fs;
    bool early; /* vfsrig_start does not wait for the scan */
};

/* `spec` is the tier list in JSON, with @DIR@ for the data directory; NULL: an fs adapter there.
 * vfsrig_set changes the configuration between init and start. */
void vfsrig_init(struct vfsrig *r, const char *spec);
void vfsrig_start(struct vfsrig *r);
void vfsrig_stop(struct vfsrig *r);
void vfsrig_fini(struct vfsrig *r); /* removes the directory */

/* Each waits for the loop thread where the call says -EINPROGRESS. Paths are "a/b/c". */
int vfsrig_create(struct vfsrig *r, const char *path, int flags, struct handle **h);
int vfsrig_open(struct vfsrig *r, const char *path, int flags, struct handle **h);
int vfsrig_write(struct vfsrig *r, struct handle *h, const void *data, size_t len, off_t off);
ssize_t vfsrig_read(struct vfsrig *r, struct handle *h, void *buf, size_t len, off_t off);
void vfsrig_close(struct vfsrig *r, struct handle *h); /* flush and release */
int vfsrig_fsync(struct vfsrig *r, const char *path);
int vfsrig_rename(struct vfsrig *r, const char *from, const char *to);
int vfsrig_link(struct vfsrig *r, const char *from, const char *to);
int vfsrig_unlink(struct vfsrig *r, const char *path);
int vfsrig_mkdir(struct vfsrig *r, const char *path);
int vfsrig_truncate(struct vfsrig *r, const char *path, uint64_t size);

/* Whole objects whose bytes follow from `seed`; put creates or replaces. */
int vfsrig_put(struct vfsrig *r, const char *path, size_t len, unsigned seed);
/* 0 when the object is exactly those bytes, else -errno of open, or -EBADMSG. */
int vfsrig_check(struct vfsrig *r, const char *path, size_t len, unsigned seed);
void vfsrig_fill(void *data, size_t len, unsigned seed);

/* NULL when there is no such name; a pointer to look at, under no reference. */
struct inode *vfsrig_find(struct vfsrig *r, const char *path);
enum state vfsrig_state(struct vfsrig *r, const char *path); /* STATE_ABSENT: no such name */
/* Waits until every object is in L2; fails the test after 30 s. */
void vfsrig_wait_stored(struct vfsrig *r);
int vfsrig_evict(struct vfsrig *r, const char *path);

/* Runs fn in a child process on a started instance and kills the process when fn returns, as kill
 * -9 of the daemon would; the next vfsrig_start adopts what is left. */
void vfsrig_crash(struct vfsrig *r, void (*fn)(struct vfsrig *r));

#endif
