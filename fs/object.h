/* object.h - a file of the tree: the part every key has, and the part only a live one has. Level 1.
 *
 * struct inode is small, since there may be millions; struct object exists while a file is in L1,
 * being written or loaded, or open. Every field is guarded by the namespace lock unless it says
 * otherwise.
 */
#ifndef L2FS_OBJECT_H
#define L2FS_OBJECT_H

#include <sys/stat.h>

#include "hash.h"
#include "order.h"
#include "pin.h"
#include "states.h"
#include "wheel.h"
#include "store_rest.h"
#include "touches.h"

struct dir;
struct landing;
struct load_work;
struct store_work;
struct vfile;
struct inode;
struct request;
struct tenant;
struct rank;
struct l1_share;

/* A name in a directory. Constant once linked, but for the links themselves. */
struct dentry {
    struct hash_node node;
    struct inode *parent;
    struct inode *inode;
    struct dentry *alias; /* next name of the same inode */
    uint32_t slot;        /* position in the parent's listing */
    uint32_t gen;         /* object.want_gen of the bytes that L2 holds under this name; 0: none */
    bool in_l2;           /* some tier may hold bytes of this name, of whatever generation */
    char name[];          /* no padding before it: offsetof, not sizeof */
};

enum pin_kind { PIN_NONE, PIN_SOFT, PIN_HARD };

/* A file that its request waits for (requests.h). */
struct request_member {
    struct request *of; /* NULL: none does */
    struct list link;
    bool failed; /* given up at a tier that sends */
};

/* What few files have: engine xattrs and the settable user.l2fs.* ones. */
struct extra {
    const struct vfile *vfile; /* files below .l2fs */
    void *xattrs;              /* struct l2_xattrs layout */
    size_t xattrs_len;
    enum pin_kind pin;
    uint64_t pin_until;        /* soft: deadline */
    uint64_t pin_bytes;        /* locks.c counts for it */
    struct wheel_node pin_end; /* locks.c */
    uint64_t expire_at;        /* deadline, 0: never */
    struct wheel_node expire;  /* expire.c: looked at then */
    struct inode *inode;
    char *req_id;
    bool last_prefill;
    struct request_member member;
    int error;     /* last load or store error, as a negative errno */
    char *refusal; /* below .l2fs: why the last setting was refused; NULL: it was not */
};

struct inode {
    uint64_t ino;
    uint64_t nlookup; /* references of the kernel */
    struct dentry *names;
    struct object *object;
    struct dir *dir; /* directories */
    struct extra *extra;
    struct landing *landing; /* arrive.c; NULL: it was opened, or did not come from a peer */
    struct rank *ranks;      /* rank.h: in the orders of tiers that evict */
    struct tenant *tenant;   /* tenant.h: of files NULL while they are not counted */
    uint64_t counted;        /* bytes that its tenant counts for it */
    uint64_t size;
    uint64_t blocks;             /* of 512 bytes */
    int64_t atime, mtime, ctime; /* file_time() */
    uint32_t mode, uid, gid, nlink;
    uint32_t crc32c;
    uint32_t tiers; /* bit i: tier i holds the current bytes under every name */
    uint32_t busy;  /* operations that hold a pointer outside the lock */
    uint8_t state;  /* enum state; files only */
    bool has_crc;
    bool stale : 1;      /* some tier may hold another version of it */
    bool doubted : 1;    /* the kernel may know a name it lost: the next writer must look again */
    bool unsent : 1;     /* a tier that sends was given up for the bytes that are stored */
    bool resend : 1;     /* it is sent again as soon as it is in L1 */
    bool superseded : 1; /* an arrival took its last name: whoever opens it must look again */
    bool hidden : 1;     /* not listed */
    bool gate;           /* gate.h */
};

struct object {
    struct inode *inode;
    struct dentry *storing_name; /* what the running store writes; NULL: removed meanwhile */
    struct store_work *store;    /* its store is queued or runs */
    struct load_work *load;      /* while it is loading */
    uint64_t staging_id;
    uint64_t prev_id;        /* version replaced by O_TRUNC, kept until the new one is published */
    struct order_node place; /* in the order of share */
    struct l1_share *share;  /* NULL: never was resident */
    struct list l1_link;     /* in l1.writing, or in l1.aside */
    struct list waiters;     /* of struct waiter: woken at every change */
    struct list handles;     /* of struct handle; gate.h says under which lock */
    unsigned opens;          /* likewise */
    unsigned writers;
    uint32_t want_gen;     /* grows when there is something new to store */
    uint32_t storing;      /* bit per tier */
    uint32_t failed;       /* bit per tier: last store failed */
    uint32_t sent;         /* bit per tier that sends: it took the bytes under every name stored */
    uint64_t promised;     /* L1 bytes expected of this first writer */
    uint64_t charged;      /* bytes charged to a staging without its own mount ... */
    uint64_t prev_charged; /* ... and for prev_id */
    int backing_id;        /* passthrough registration, guarded by the front; 0: none */
    unsigned backing_opens;
    int disk_fd;         /* state disk while open, else -1 */
    int store_error;     /* of the last finished store */
    unsigned store_busy; /* stable stores that read the staging file now */
    struct store_rest rest;
    struct touches touches;
    struct pin_region pin;
    uint64_t clean_size; /* with inode.crc32c: the bytes of the last publication */
    uint32_t epoch;      /* grows at every open for write */
    uint8_t aside;       /* why it is in l1.aside (enum obstacle); 0: it is not */
    bool unread;         /* loaded, and not opened since */
    bool fsync_wanted;   /* store although a writer has it open */
    bool published;      /* was whole under its name once since it is in L1 */
    bool dirty;          /* opened for write since it was published */
    bool suspect;        /* a writer may have met ENOSPC: never publish */
    bool aborted;        /* its last writer was killed half way */
    bool fsynced;        /* while it was written: its program minds what is whole */
    bool synced;         /* fsync was asked under a temporary name */
};

struct inode *inode_create(uint64_t ino, uint32_t mode); /* NULL on no memory */
void inode_destroy(struct inode *inode);                 /* no names, no object, no kernel refs */
struct object *object_create(struct inode *inode);       /* attaches; NULL on no memory */
void object_destroy(struct object *o);                   /* detaches; not linked anywhere */
struct extra *inode_extra(struct inode *inode);          /* made on demand; NULL on no memory */
void inode_stat(const struct inode *inode, struct stat *st);
bool inode_pinned(const struct inode *inode, uint64_t now);

#endif
