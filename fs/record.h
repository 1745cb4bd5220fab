/* record.h - what is kept with a staging file, from which a crash is mended. Level 1. Pure
 * functions. Records never leave the machine, so they are in host byte order.
 */
#ifndef L2FS_RECORD_H
#define L2FS_RECORD_H

#include <sys/types.h>

#include "base.h"

enum record_kind {
    RECORD_PUBLISHED = 1, /* whole; crc32c says so when has_crc */
    RECORD_FLUSHED = 2,   /* a writer closed or renamed it: whole if size and mtime still match */
    RECORD_REWRITE = 3,   /* published, then opened for write: whole if the crc32c still matches */
};

struct record {
    uint32_t kind;
    uint32_t mode, uid, gid;
    uint32_t has_crc, crc32c;
    uint32_t stored;     /* the tiers named by `signature` have it */
    uint32_t xattrs_len; /* follow the keys */
    uint64_t signature;  /* hash of the tier list */
    uint64_t size;
    int64_t mtime_sec, mtime_nsec;
};

/* Encodes `r`, the keys (NUL-terminated strings one after the other, keys_len bytes) and xattrs.
 * Returns the length, or -E2BIG when it does not fit `max`. */
ssize_t record_encode(const struct record *r, const char *keys, size_t keys_len, const void *xattrs,
                      void *out, size_t max);
/* Points into `data`. 0 or -EINVAL: not a record of this version. */
int record_decode(const void *data, size_t len, struct record *r, const char **keys,
                  size_t *keys_len, const void **xattrs);

#endif
