/* xattr.h - extended attributes of files and directories: user.l2fs.* and what engines set. Level 4.
 *
 * Any thread. Names and values as in xattr(7): size 0 asks for the length, -ERANGE when it does not
 * fit, -ENODATA for a name that is not there. Values of user.l2fs.* that are not allowed are -EINVAL
 * with one log line that names the attribute and what is allowed. Answered from memory; evict,
 * prefetch, pin and expire only start what they ask for. Pin, expire, req_id and last_prefill last
 * until the unmount; place, quota, peer and what engines set are kept in L2.
 */
#ifndef L2FS_XATTR_H
#define L2FS_XATTR_H

#include "vfs.h"

#define XATTR_UNLOCK_NAME "user.l2fs.unlock"

ssize_t vfs_getxattr(struct l2fs *fs, struct inode *inode, const char *name, void *buf,
                     size_t size);
ssize_t vfs_listxattr(struct l2fs *fs, struct inode *inode, char *buf, size_t size);
int vfs_setxattr(struct l2fs *fs, struct inode *inode, const char *name, const void *value,
                 size_t size, int flags);
struct xattr_change {
    const char *name;
    const void *value; /* NULL: removed */
    size_t size;
    int flags; /* of setxattr(2) */
};
/* Setting user.l2fs.unlock, which asks who does it. "force": drops every lock of the file in every
 * tier, and its pin; logged with key and caller. Open descriptors are not revoked. May wait for a
 * tier. 0, -EPERM (not root), -EINVAL. */
int vfs_unlock(struct l2fs *fs, struct inode *inode, const struct xattr_change *c,
               const struct caller *who);
int vfs_removexattr(struct l2fs *fs, struct inode *inode, const char *name);

/* A new file or directory goes where `dir` says. 0 or -ENOMEM; ns->lock is held. */
int xattr_inherit_peer(struct inode *inode, const struct inode *dir);

/* Only root and the user of the daemon may change it, whoever may write to the directory. */
bool xattr_is_admins(const char *name);

/* At start, with ns->lock held: a directory found in L2 has its kept attributes; says where its
 * files live and gives it its quota. Its parents were done before. 0 or -ENOMEM. */
int xattr_restore_dir(struct l2fs *fs, struct inode *dir);

#endif
