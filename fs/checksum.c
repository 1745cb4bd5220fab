/* checksum.c - crc32c through ISA-L, whose crc32_iscsi leaves the usual pre- and post-inversion to
 * the caller. Pure; any thread.
 */
#include "config.h"

#include <isa-l/crc.h>
#include <sched.h>

#include "checksum.h"

#define PIECE (256 << 10)
#define CALL_MAX (1 << 30) /* crc32_iscsi takes an int */

uint32_t checksum(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *p = data;

    crc = ~crc;
    while (len) {
        int n = (int)MIN(len, (size_t)CALL_MAX);

        crc = crc32_iscsi((unsigned char *)p, n, crc);
        p += n;
        len -= (size_t)n;
    }
    return ~crc;
}

int checksum_file(int fd, uint64_t size, uint32_t *out)
{
    AUTO_FREE unsigned char *piece = malloc(PIECE);
    uint64_t done = 0;
    uint32_t crc = 0;

    if (!piece)
        return -ENOMEM;
    while (done < size) {
        ssize_t n = pread(fd, piece, MIN(size - done, (uint64_t)PIECE), (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        crc = checksum(crc, piece, (size_t)n);
        done += (uint64_t)n;
        if (done < size)
            sched_yield(); /* who woke on this core need not wait for a large file's end */
    }
    *out = crc;
    return 0;
}
