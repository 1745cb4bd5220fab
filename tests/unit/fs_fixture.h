/* fs_fixture.h - a directory on a disk for the tests of the fs adapter, and what lies in it. */
#ifndef L2FS_FS_FIXTURE_H
#define L2FS_FS_FIXTURE_H

#include <sys/stat.h>

#include "base.h"

#define FIXTURE_PATH 5000

/* In $TMPDIR or /var/tmp. For tcase_add_checked_fixture. */
void fixture_create(void);
void fixture_remove(void);
const char *fixture_dir(void);

/* Names are relative to the directory. Failure fails the test. */
void fixture_path(char path[FIXTURE_PATH], const char *name);
void fixture_mkdir(const char *name);
void fixture_write(const char *name, const void *data, size_t len); /* new or emptied */
void fixture_patch(const char *name, uint64_t off, const void *data, size_t len);
void fixture_flip(const char *name, uint64_t off, bool keep_mtime); /* one bit */
bool fixture_exists(const char *name);
struct stat fixture_stat(const char *name);
size_t fixture_count(const char *dir); /* entries, without "." and ".." */

/* Mounts a file system of `type` on the new directory `name`; false when that cannot be done here
 * (not root). Unmounted by fixture_remove. */
bool fixture_mount(const char *name, const char *type, const char *options);

#endif
