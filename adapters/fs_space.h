/* fs_space.h - how much a directory of the fs adapter holds, and whether more fits.
 *
 * Bytes are what the disk gives (st_blocks), as du counts them, so extended attributes that take a
 * block and the last half-filled block count, and holes do not. Limits: a hard maximum of everything
 * below base_path, and a guard of the disk itself (a share that may be in use, or bytes that must
 * stay free) by statvfs, looked at again after a second; either works without the other.
 *
 * `used` is what objects take. The rest - directories, our own files, what was moved aside - is
 * overhead: it makes the room for objects smaller. Every store sets its bytes aside before it writes
 * one, also when it replaces, since old and new are there side by side. A little of the maximum is
 * kept back for directories and attributes. What cannot be known: a file that its user grows in place
 * (state `disk`) is looked at again every second, and one without a name not at all. Any thread.
 */
#ifndef L2FS_FS_SPACE_H
#define L2FS_FS_SPACE_H

#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "hash.h"
#include "l2.h"
#include "list.h"
#include "lock.h"

struct fs_limits {
    uint64_t max;      /* bytes below base_path; 0: none */
    uint64_t min_free; /* bytes of the disk that stay free; 0: none */
    double watermark;  /* share of the disk that may be in use; 0: none */
};

struct fs_space {
    struct fs_limits limits; /* constant */
    int root;                /* constant; borrowed */
    pthread_mutex_t lock;
    pthread_cond_t counted_cond;
    unsigned changing;         /* lock: changes between enter and leave */
    uint64_t changes;          /* lock: how many have ended */
    bool counting;             /* lock: the first count is under way */
    bool counted;              /* lock: a count has ended, so `used` is all there is */
    _Atomic unsigned listings; /* under way; changed under lock */
    uint64_t used;             /* lock */
    uint64_t objects;          /* lock */
    uint64_t overhead;         /* lock: directories, our own files */
    uint64_t reserved;         /* lock: by stores under way */
    uint64_t guard;            /* lock: bytes of objects the disk allows as of checked_at */
    uint64_t fs_size;          /* lock */
    uint64_t fs_avail;         /* lock */
    uint64_t checked_at;       /* lock: clock_now */
    bool checking;             /* lock: a thread is in statvfs */
    struct hash notes;         /* lock: what was counted for directories and for files that grow */
    struct list growing;       /* lock: notes of files */
    size_t n_growing;          /* lock */
    uint64_t looked_at;        /* lock: clock_now of the last look at those */
};

enum fs_space_for { FS_FOR_OBJECT, FS_FOR_NAMES };

int fs_space_init(struct fs_space *s, const struct fs_limits *limits, int root, bool counting);
void fs_space_fini(struct fs_space *s);

/* Every change of what the directory holds is between enter and leave: a count that overlaps one is
 * not exact and done again. */
void fs_space_enter(struct fs_space *s);
void fs_space_leave(struct fs_space *s);

/* Sets aside `bytes`. Waits for the first count when there is a max. FS_FOR_NAMES may use what is
 * kept back, and only the maximum stops it. 0, or -ENOSPC: a limit of ours; *limit (may be NULL) is
 * what was passed. */
int fs_space_reserve(struct fs_space *s, uint64_t bytes, enum fs_space_for what, uint64_t *limit);
void fs_space_release(struct fs_space *s, uint64_t bytes);
/* A file of `bytes`, for which `reserved` were set aside, took a name, which `old` (NULL: none) had
 * before. */
void fs_space_add(struct fs_space *s, uint64_t reserved, uint64_t bytes, const struct stat *old);
/* A file lost its name. */
void fs_space_remove(struct fs_space *s, const struct stat *old);
/* An object became overhead: moved aside. */
void fs_space_set_aside(struct fs_space *s, const struct stat *old);
/* The same file takes other bytes than before. */
void fs_space_resized(struct fs_space *s, const struct stat *before, const struct stat *after);
void fs_space_overhead(struct fs_space *s, uint64_t bytes);
/* A directory is there, and may have grown; open. No error: it is then not counted. */
void fs_space_dir(struct fs_space *s, int dir);
void fs_space_dir_is(struct fs_space *s, const struct stat *st);
void fs_space_dir_gone(struct fs_space *s, const struct stat *st);

/* The first count of what is there, at start or by the first listing. begin gives a mark; end takes the result and is true, or, when
 * something changed since the mark and `exact` is wanted, false. */
bool fs_space_count_wanted(struct fs_space *s);
uint64_t fs_space_count_begin(struct fs_space *s);
bool fs_space_count_end(struct fs_space *s, uint64_t mark, const struct l2_usage *found,
                        bool exact);
/* A listing counts as well: a count of its own gives way to it, and begins when there is none. False: no
 * count is wanted any more. */
void fs_space_listing_begin(struct fs_space *s);
void fs_space_listing_end(struct fs_space *s);
bool fs_space_count_turn(struct fs_space *s);
/* The count is given up: what is known stays. */
void fs_space_count_drop(struct fs_space *s);
void fs_space_usage(struct fs_space *s, struct l2_usage *out);

/* Bytes of one file as counted here. Pure. */
uint64_t fs_space_of(const struct stat *st);
/* What a store of `size` bytes may take at most while it is written: whole blocks, a block of
 * attributes, the map of a fragmented file. Pure. */
uint64_t fs_space_needed(uint64_t size);
/* A file that its user changes in place, by the name `key` (NULL: as before): what is counted for it
 * is remembered. `created`: nothing was counted yet. */
void fs_space_note(struct fs_space *s, const char *key, const struct stat *st, bool created);
void fs_space_renamed(struct fs_space *s, const struct stat *st, const char *key);
/* How many of those are due for another look; next gives the key of one of them (malloc'ed) or
 * NULL. */
size_t fs_space_growing(struct fs_space *s);
char *fs_space_next_growing(struct fs_space *s);
void fs_space_grown(struct fs_space *s, const struct stat *st); /* if it is still one of them */
/* The disk guard: how many bytes of objects there may be when `used` are there; UINT64_MAX: no
 * limit. An unreadable file system (vfs NULL or of 0 blocks) limits nothing. Pure. */
uint64_t fs_space_limit(const struct fs_limits *l, uint64_t used, const struct statvfs *vfs);

#endif
