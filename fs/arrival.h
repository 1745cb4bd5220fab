/* arrival.h - what an adapter that receives objects asks of its mount. Level 2.
 *
 * A receiver is offered an object, reserves room for it, lets the bytes land in a staging file of its
 * own, verifies them, and publishes: only then has the tree a name for it. A mount
 * gives the implementation (fs/arrive.c) in adapter_env; tests give their own.
 *
 * All functions may be called from any thread, take short locks only, and never wait for a disk, a
 * peer or room.
 */
#ifndef L2FS_ARRIVAL_H
#define L2FS_ARRIVAL_H

#include "l2.h"

/* An object as the sender describes it. */
struct arrival {
    const char *key; /* any bytes; publish and reserve check it */
    uint64_t size;
    uint32_t crc32c;
    struct l2_attr attr; /* atime is not used */
    uint64_t ttl;        /* ns: when nobody opened it for so long it goes; 0: it stays */
    const char *from;    /* who sent it, for the event; NULL: not said */
};

struct arrivals {
    /* Sets `size` bytes of L1 aside. 0: until stage or give_back.
     * -EEXIST: the same object (size, crc32c) is there already, whole: nothing to do.
     * -EAGAIN: no room now, or the mount is still starting; eviction was asked for, and `room` is
     * called when it is worth trying. -EFBIG: larger than L1. -EDQUOT: its directory's quota is full.
     * -EINVAL: not a key, a temporary name (-o tmp), or below .l2fs. -EBUSY: somebody writes it here,
     * or has it pinned. -EISDIR, -ENOTDIR: as the tree has it. -ESHUTDOWN. */
    int (*reserve)(struct arrivals *a, const struct arrival *what);
    void (*give_back)(struct arrivals *a, uint64_t size);
    /* A staging file of `size` bytes that were reserved, with all its pages: what counts from now on is
     * the file, until publish or drop. The descriptor is the caller's. -ENOSPC, -EMFILE, ...: nothing
     * was made, and it stays reserved. */
    int (*stage)(struct arrivals *a, uint64_t size, uint64_t *staging_id, int *fd);
    void (*drop)(struct arrivals *a, uint64_t size, uint64_t staging_id);
    /* The object becomes visible under its key, at once and whole, as by rename(2) over what was
     * there; its parents are made. The staging file, of exactly `size` bytes, is the mount's from now
     * on when it returns 0; else (errors as reserve but -EAGAIN, also -ENOMEM) the caller's still, to
     * drop. -EEXIST: the same object came meanwhile. */
    int (*publish)(struct arrivals *a, const struct arrival *what, uint64_t staging_id);
    /* Whether the key is there, whole, whatever its bytes are: 0 or -ENOENT. */
    int (*has)(struct arrivals *a, const char *key);
    /* error 0: every key of the request has landed: .l2fs/ready/REQ_ID opens; else it is not sure that
     * they ever will have: opening it fails so. While the mount is still starting: as soon as it has. 0,
     * or -ENOMEM: nobody knows of it. */
    int (*ready)(struct arrivals *a, const char *req_id, int error);
    /* Who is told of room, one for each `arg` (an adapter has one). fn is called on any thread and
     * must only pass it on. fn NULL ends that of `arg`: when set_room has returned, it is not running
     * and not called any more. */
    void (*set_room)(struct arrivals *a, void (*fn)(void *arg), void *arg);
};

#endif
