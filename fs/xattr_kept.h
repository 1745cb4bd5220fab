/* xattr_kept.h - the set of attributes that engines gave a file, packed as struct l2_xattrs says.
 * Level
 * 4. Pure functions; a set that is cut short or damaged reads as its whole first part.
 */
#ifndef L2FS_XATTR_KEPT_H
#define L2FS_XATTR_KEPT_H

#include "l2.h"

struct inode;

#define KEPT_NAME_MAX 255
#define KEPT_VALUE_MAX (64 * KIB)
#define KEPT_MAX (64 * KIB) /* the whole set */

struct kept_item {
    const char *name;
    const void *value;
    size_t len;
};

/* Where a file goes, or what is made below a directory: user.l2fs.peer. False: not said. */
bool xattr_peer(const struct inode *inode, struct kept_item *out);

/* Steps through the set: *pos begins as 0. False at the end. */
bool kept_next(const struct l2_xattrs *set, size_t *pos, struct kept_item *out);
bool kept_find(const struct l2_xattrs *set, const char *name, struct kept_item *out);
/* A new set with `item` in it; `flags` of setxattr(2). 0, -EEXIST, -ENODATA, -ERANGE (name), -E2BIG
 * (value), -ENOSPC (the set), -ENOMEM. The caller frees out->data; `set` stays. */
int kept_put(const struct l2_xattrs *set, const struct kept_item *item, int flags,
             struct l2_xattrs *out);
/* A new set without `name`; NULL data when it is empty. 0, -ENODATA, -ENOMEM. */
int kept_drop(const struct l2_xattrs *set, const char *name, struct l2_xattrs *out);

#endif
