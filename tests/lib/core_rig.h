/* core_rig.h - an instance without a front, driven through vfs.h. For Check tests.
 *
 * Staging is a directory of its own below /dev/shm. Calls that wait are waited for, at most
 * CORE_WAIT_MS. Failures end the test.
 */
#ifndef L2FS_TEST_CORE_RIG_H
#define L2FS_TEST_CORE_RIG_H

#include <check.h>

#include "core.h"

#define CORE_WAIT_MS 20000
#define CORE_MOCK "[{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":8}]"

struct core_rig {
    struct l2fs_config cfg;
    struct l2fs *fs;
    char dir[64];
};

void core_open(struct core_rig *r, const char *l2_json);
void core_close(struct core_rig *r);

/* The inode at `path` with a kernel reference more, or NULL; core_forget gives it back. */
struct inode *core_lookup(struct core_rig *r, const char *path);
void core_forget(struct core_rig *r, struct inode *inode);
void core_mkdir(struct core_rig *r, const char *path);
/* Creates or overwrites, closes. */
void core_write(struct core_rig *r, const char *path, const void *data, size_t len);
/* Negative errno of the open or the read, or bytes. */
ssize_t core_read(struct core_rig *r, const char *path, void *buf, size_t len);
int core_open_file(struct core_rig *r, const char *path, int flags, struct handle **h);

/* Of `path`; the value as a string. Negative errno or the length. */
ssize_t core_get(struct core_rig *r, const char *path, const char *name, char *buf, size_t size);
int core_set(struct core_rig *r, const char *path, const char *name, const char *value);
/* Until the attribute has that value. */
void core_wait_attr(struct core_rig *r, const char *path, const char *name, const char *value);

#endif
