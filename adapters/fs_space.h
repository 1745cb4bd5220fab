/* fs_space.h - how much a directory of the fs adapter holds, and whether more fits.
 *
 * Limits: max_capacity, and a guard of the disk itself (a share that may be in use, or bytes that
 * must stay free) by statvfs, looked at again after a second. Bytes of an object are min(size,
 * allocated), so a sparse file counts what it takes. Any thread.
 */
#ifndef L2FS_FS_SPACE_H
#define L2FS_FS_SPACE_H

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "hash.h"
#include "l2.h"
#include "lock.h"

struct fs_limits {
    uint64_t max;      /* bytes of objects; 0: none */
    uint64_t min_free; /* bytes of the disk that stay free; 0: none */
    double watermark;  /* share of the disk that may be in use; 0: none */
};

struct fs_space {
    struct fs_limits limits; /* constant */
    int root;                /* constant; borrowed */
    pthread_mutex_t lock;
    pthread_cond_t counted_cond;
    unsigned changing;      /* lock: changes between enter and leave */
    uint64_t changes;       /* lock: how many have ended */
    bool counting;          /* lock: the first count is under way */
    uint64_t used;          /* lock */
    uint64_t objects;       /* lock */
    uint64_t reserved;      /* lock: by stores under way */
    uint64_t limit;         /* lock: as of checked_at; UINT64_MAX: none */
    uint64_t fs_size;       /* lock */
    uint64_t fs_avail;      /* lock */
    uint64_t checked_at;    /* lock: clock_now */
    bool checking;          /* lock: a thread is in statvfs */
    struct hash open_files; /* lock: what was counted for files that grow on their own */
};

int fs_space_init(struct fs_space *s, const struct fs_limits *limits, int root, bool counting);
void fs_space_fini(struct fs_space *s);

/* Every change of what the directory holds is between enter and leave: a count that overlaps one is
 * not exact and done again. */
void fs_space_enter(struct fs_space *s);
void fs_space_leave(struct fs_space *s);
/* A file of `bytes` took a name, which `old` (NULL: none) had before. */
void fs_space_add(struct fs_space *s, uint64_t bytes, const struct stat *old);
/* A file lost its name. */
void fs_space_remove(struct fs_space *s, const struct stat *old);
/* Sets aside `bytes` for a store, of which `freed` come back when it replaces. Waits for the first
 * count when there is a max. 0, or -ENOSPC: a limit of ours; *limit is what was passed. */
int fs_space_reserve(struct fs_space *s, uint64_t bytes, uint64_t freed, uint64_t *limit);
void fs_space_release(struct fs_space *s, uint64_t bytes);

/* The first count of what is there. begin gives a mark; end takes the result and is true, or, when
 * something changed since the mark and `exact` is wanted, false. */
bool fs_space_count_wanted(struct fs_space *s);
uint64_t fs_space_count_begin(struct fs_space *s);
bool fs_space_count_end(struct fs_space *s, uint64_t mark, const struct l2_usage *found,
                        bool exact);
/* The count is given up: what is known stays. */
void fs_space_count_drop(struct fs_space *s);
void fs_space_usage(struct fs_space *s, struct l2_usage *out);

/* Bytes of one file as counted here. Pure. */
uint64_t fs_space_of(const struct stat *st);
/* A file that its user changes in place: what is counted for it is remembered. `created`: nothing
 * was counted yet. */
void fs_space_note(struct fs_space *s, const struct stat *st, bool created);
/* The disk guard: how many bytes of objects there may be when `used` are there; UINT64_MAX: no
 * limit. An unreadable file system (vfs NULL or of 0 blocks) limits nothing. Pure. */
uint64_t fs_space_limit(const struct fs_limits *l, uint64_t used, const struct statvfs *vfs);

#endif
