/* xattr_control.h - attributes of files and directories below .l2fs: settings of the running
 * instance. Level 4, private to xattr*.c and status*.c.
 *
 * One table (xattr_control.c) has a row for each: where it is, what it is called, how it is read
 * and set, and what is allowed. A setting lasts until the unmount. The permission bits of its file
 * let only the mount's owner and root set it; the kernel checks them. The sentence that says why
 * the last setting of a file was refused is its user.l2fs.error, until one is accepted. Any thread;
 * nothing is called with ns->lock held, but the functions of a row may take it, and may wait.
 */
#ifndef L2FS_XATTR_CONTROL_H
#define L2FS_XATTR_CONTROL_H

#include <jansson.h>

#include "core.h"

/* One reading or setting of an attribute. */
struct control_call {
    struct l2fs *fs;
    size_t tier;      /* of adapters/NAME; else 0 */
    const char *text; /* to be set */
    struct text *out; /* get: the value. set: why it is refused, one sentence without full stop */
};

/* The value: 0, -ENODATA (no such attribute, or it has none now). `name` is whole. */
int control_get(struct l2fs *fs, struct inode *inode, const char *name, struct text *out);
/* Appends the names that have a value, each with its NUL. */
void control_list(struct l2fs *fs, struct inode *inode, struct text *out);
/* 0; -EPERM: no such attribute here; -EINVAL: not allowed; or what the setting itself failed with.
 * Refusals are logged, once. */
int control_set(struct l2fs *fs, struct inode *inode, const char *name, const void *value,
                size_t size);
/* Puts what is in effect now in place of the members of the configuration that were set since. */
void control_overlay(struct l2fs *fs, json_t *config);

#endif
