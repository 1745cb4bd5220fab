/* handle.h - who calls, who waits, and what is open. Level 4. */
#ifndef L2FS_HANDLE_H
#define L2FS_HANDLE_H

#include <sys/types.h>

#include "mailbox.h"
#include "object.h"

struct l2fs;

struct caller {
    uid_t uid;
    gid_t gid;
    pid_t pid; /* thread id as FUSE tells it */
};

/* Embed it in the request; zero-initialise, set retry, and `cached` for a read on behalf of the kernel's
 * page cache. */
struct waiter {
    struct list link;
    struct list all_link;
    struct letter letter;
    struct l2fs *fs;
    uint64_t deadline;
    int timeout_error;
    uint32_t goal;  /* private: fsync waits for this generation */
    uint64_t bytes; /* private: the space it waits for, or how far a key must have landed */
    const struct inode
        *whose;      /* private: the space is for this file, or for one in this directory */
    uint64_t stored; /* private: stores.stored when its time began */
    uint64_t grace;  /* private: more time for each progress of the stores; 0: none */
    int error;       /* private: why it was woken */
    int phase;       /* private */
    bool cached;
    void (*retry)(struct waiter *w);
};

enum handle_mode {
    HANDLE_BACKED, /* bytes are in a file: passthrough, or vfs_read/vfs_write */
    HANDLE_DIRECT, /* O_NONBLOCK or open=stream on a loading key: direct_io, vfs_read waits, with
                      open=stream for what it is to read, and where that has the end for all */
    HANDLE_VIRTUAL /* .l2fs: direct_io, vfs_read */
};

struct handle {
    struct list link;
    struct inode *inode;
    int flags; /* of open */
    pid_t process;
    uint64_t staging_id; /* of the file that a BACKED one reads */
    enum handle_mode mode;
    bool write;
    bool made;          /* the file, which was not there before */
    bool atime_moved;   /* by more than a minute at this open: the kernel's copy is stale */
    bool killed;        /* its last close came from a process killed by a signal */
    bool beside_writer; /* somebody was writing it at this open */
    bool passthrough;   /* front's use */
    bool flushed;       /* by close(2), ns->lock; the file was then: */
    uint64_t flushed_size;
    int64_t flushed_at; /* mtime */
    void *map;          /* read fallback: the file as it was at the first read, or NULL; ns->lock */
    size_t map_len;
    uint64_t given;     /* the file whose bytes it read before they were verified; ns->lock */
    void *virtual_data; /* status.c */
};

#endif
