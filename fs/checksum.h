/* checksum.h - crc32c (Castagnoli), as kept beside every stored object. Level 0. Any thread.
 *
 * Hardware speed through ISA-L's crc32_iscsi. The value is the usual one: checksum of "123456789" is
 * 0xe3069283; an empty object has 0.
 */
#ifndef L2FS_CHECKSUM_H
#define L2FS_CHECKSUM_H

#include "base.h"

/* Continues `crc` (0 to begin) over `len` bytes. */
uint32_t checksum(uint32_t crc, const void *data, size_t len);
/* Over the first `size` bytes of a file, by pread in pieces. 0, -EIO when the file is shorter,
 * or -errno. */
int checksum_file(int fd, uint64_t size, uint32_t *out);

#endif
