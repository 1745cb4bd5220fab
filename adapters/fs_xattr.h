/* fs_xattr.h - what the fs adapter keeps beside a file's bytes: its checksum and the engine's
 * xattrs.
 *
 * The checksum is the xattr user.l2fs.crc32c = "<8 hex digits>:<size>". Other user.l2fs.* names are
 * not kept on disk. Any thread.
 */
#ifndef L2FS_FS_XATTR_H
#define L2FS_FS_XATTR_H

#include <sys/stat.h>

#include "l2.h"

#define FS_RECORD_XATTR "user.l2fs.crc32c"
#define FS_RECORD_SIZE 32

enum fs_record_state { FS_RECORD_NONE, FS_RECORD_GOOD, FS_RECORD_BAD };

struct fs_record {
    enum fs_record_state state;
    uint32_t crc32c;
    uint64_t size;
};

/* Pure. parse gives FS_RECORD_GOOD or FS_RECORD_BAD. */
int fs_record_format(uint32_t crc32c, uint64_t size, char out[FS_RECORD_SIZE]);
void fs_record_parse(const char *value, size_t len, struct fs_record *out);

int fs_record_get(int fd, struct fs_record *out);
int fs_record_set(int fd, uint32_t crc32c, uint64_t size);
/* 1: was there, 0: was not, or -errno. */
int fs_record_remove(int fd);

/* Reads record and engine xattrs of an open file, or of `file` in the directory open as `fd` (not
 * followed; -ENOSYS before Linux 6.13). `kept->data` is malloc'ed. A file system without xattrs has
 * none. */
int fs_xattrs_read(int fd, const char *file, struct fs_record *record, struct l2_xattrs *kept);
/* Makes the engine's xattrs exactly `want`. An attribute that has no room is logged with `key` and
 * left out. 0 or -errno. */
int fs_xattrs_replace(int fd, const struct l2_xattrs *want, const char *key);

/* Sets owner, mode and times as `mask` (enum l2_attr_mask) says; an owner that may not be set is
 * left as it is. A daemon that is not root always keeps the owner's own permissions. */
int fs_attr_apply(int fd, const struct l2_attr *attr, unsigned mask);
void fs_attr_from(const struct stat *st, struct l2_attr *out);

#endif
