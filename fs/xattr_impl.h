/* xattr_impl.h - what the xattr*.c files share. Level 4, private to them. */
#ifndef L2FS_XATTR_IMPL_H
#define L2FS_XATTR_IMPL_H

#include "core.h"
#include "l2.h"
#include "xattr.h"
#include "xattr_value.h"

/* Files and directories below .l2fs, and .l2fs itself: xattr_control.h. */
static inline bool xattr_is_virtual(const struct inode *inode)
{
    return inode_vfile(inode) || (inode->dir && inode->dir->reserved);
}

static inline bool xattr_is_user(const char *name)
{
    return !strncmp(name, XATTR_USER, strlen(XATTR_USER));
}

static inline bool xattr_is_own(const char *name)
{
    return !strncmp(name, XATTR_OWN, strlen(XATTR_OWN));
}

/* What keeps settings of directories in L2: not shown, and nobody else may set it. */
static inline bool xattr_is_kept(const char *name)
{
    return !strncmp(name, XATTR_KEPT, strlen(XATTR_KEPT));
}

/* The attribute belongs to this kind of inode. */
static inline bool xattr_fits(const struct inode *inode, int id)
{
    return xattr_defs[id].flags & (inode->dir ? XATTR_DIR : XATTR_FILE);
}

static inline struct l2_xattrs xattr_set_of(const struct inode *inode)
{
    const struct extra *e = inode->extra;

    return e ? (struct l2_xattrs){e->xattrs, e->xattrs_len} : (struct l2_xattrs){0};
}

/* ---- xattr_lock.c: the value of user.l2fs.lock; without ns->lock. 0 or -ENOMEM ---- */
int lock_print(struct l2fs *fs, struct inode *inode, struct text *out);

/* ---- xattr_peer.c ---- */
/* NULL removes it. A file that is stored is sent again. 0, -ENODATA or as kept_put. */
int xattr_set_peer(struct l2fs *fs, struct inode *inode, const char *peer);

/* ---- xattr_engine.c: attributes that engines set ---- */
/* In the tree and the crash record alone. 0 or as kept_put, kept_drop. */
int xattr_keep_locked(struct l2fs *fs, struct inode *inode, const struct xattr_change *c);
/* `value` NULL removes. Stored where the file is already stored. 0 or as kept_put, kept_drop. */
int xattr_engine_change(struct l2fs *fs, struct inode *inode, const struct xattr_change *c);

#endif
