/* direct.h - takes what vfs_read shows through a mapping as a mount does: the kernel reads it. A key
 * that somebody cuts at that moment is then -EFAULT, where memcpy would be a SIGBUS.
 */
#ifndef L2FS_TEST_DIRECT_H
#define L2FS_TEST_DIRECT_H

#include <check.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base.h"

static inline ssize_t direct_copy(void *buf, const void *direct, size_t len)
{
    AUTO_CLOSE int fd = memfd_create("direct", MFD_CLOEXEC);
    ssize_t n;

    ck_assert_int_ge(fd, 0);
    n = write(fd, direct, len);
    return n < 0 ? -errno : pread(fd, buf, (size_t)n, 0);
}

#endif
