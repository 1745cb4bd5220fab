/* l2.h - what crosses the L2 contract: buffers, objects, results, listings. Level 2. */
#ifndef L2FS_L2_H
#define L2FS_L2_H

#include <time.h>

#include "base.h"

/* Positive; unique within one adapter and one family, growing. */
typedef int64_t l2_task;

/* As the size of a key that a lookup did not find: it failed, so the key may well be there. */
#define L2_LOOKUP_FAILED UINT64_MAX

/* What a local file system would keep beside the bytes. */
struct l2_attr {
    uint32_t mode; /* permission bits and S_IFREG or S_IFDIR */
    uint32_t uid;
    uint32_t gid;
    struct timespec atime;
    struct timespec mtime;
};

/* Engine-set xattrs ("user.*" except user.l2fs.*): a sequence of name NUL, u32 value length in host
 * order, value bytes. NULL and 0 when there are none. */
struct l2_xattrs {
    void *data;
    size_t len;
};

/* Where a sender takes an object, as the file's xattrs say; NULL: they do not. The strings belong to
 * whoever made the buffer. */
struct l2_route {
    const char *peer;   /* user.l2fs.peer */
    const char *req_id; /* user.l2fs.req_id */
};

/* An object to store: the first `size` bytes of an open staging file. */
struct l2_buf {
    int fd; /* readable; position unused */
    uint64_t size;
    /* stable: the bytes cannot change until completion, crc32c is right, the adapter may do I/O
     * straight from the file's pages. Not stable (fsync while a writer has it open): crc32c is
     * undefined; copy each piece first and checksum the copy, so that what is stored is what is
     * checksummed. */
    bool stable;
    uint32_t crc32c;
    struct l2_attr attr;
    struct l2_xattrs xattrs;
    struct l2_route route;
};

/* A loaded object: a staging file made by the adapter, handed over to the owner, who also keeps the
 * account of staging space (staging_charge): adapters neither charge nor release. */
struct l2_object {
    uint64_t staging_id; /* file has exactly `size` bytes */
    uint64_t size;
    uint32_t crc32c; /* of the bytes in the staging file, computed or verified by the adapter */
    struct l2_attr attr;
    struct l2_xattrs xattrs; /* malloc'ed, the receiver frees */
};

/* How much of a load has landed: the first `bytes` bytes of a staging file that will have `size`. */
struct l2_landed {
    uint64_t staging_id; /* 0: nothing, or no more */
    uint64_t size;
    uint64_t bytes;
};

/* Completion of one store task; errors are per key: 0, -ENOSPC, -EIO, ... */
struct l2_store_result {
    l2_task task;
    size_t n;
    int *errors;      /* n entries, malloc'ed, the receiver frees (l2_store_result_fini) */
    uint32_t *crc32c; /* n entries, what was stored; the receiver frees */
    uint64_t bytes;   /* really written: duplicates count 0 */
};

struct l2_usage {
    uint64_t used;     /* bytes of objects held */
    uint64_t capacity; /* 0: unknown or unlimited, no eviction signal */
    uint64_t reserved; /* set aside for stores under way, not in `used`; the sum fits `capacity` */
    uint64_t objects;
    uint64_t locked; /* distinct locked keys */
    /* What statvfs should show for this tier, bytes; 0: nothing to say. */
    uint64_t fs_size;
    uint64_t fs_avail;
};

/* One entry of a listing. Directories have a key ending in '/'. */
struct l2_entry {
    const char *key;
    bool listed; /* no entry: all that is in the directory `key` ("": the root) has been told */
    uint64_t size;
    uint64_t blocks; /* of 512 bytes */
    struct l2_attr attr;
    bool has_crc;
    uint32_t crc32c;
    struct l2_xattrs xattrs; /* borrowed for the call */
};
/* Return false to stop the listing. */
typedef bool l2_list_fn(void *arg, const struct l2_entry *entry);

enum l2_flags {
    L2_PERSISTENT = 1 << 0, /* keeps objects over a remount */
    L2_DISCARDS = 1 << 1,   /* a successful store does not mean that the bytes can be had back */
    L2_SENDS = 1 << 2,      /* but that a peer has them */
};

enum l2_attr_mask {
    L2_ATTR_MODE = 1 << 0,
    L2_ATTR_OWNER = 1 << 1,
    L2_ATTR_ATIME = 1 << 2,
    L2_ATTR_MTIME = 1 << 3,
    L2_ATTR_XATTRS = 1 << 4, /* `xattrs` replaces the kept set */
};

void l2_store_result_fini(struct l2_store_result *r);
void l2_object_fini(struct l2_object *o); /* frees xattrs; the staging file stays */

#endif
