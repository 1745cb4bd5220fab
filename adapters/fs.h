/* fs.h - what the files of the fs adapter share. Private to adapters/fs*.c. */
#ifndef L2FS_FS_H
#define L2FS_FS_H

#include "adapter.h"
#include "fs_durable.h"
#include "fs_health.h"
#include "fs_io.h"
#include "fs_layout.h"
#include "fs_space.h"
#include "workers.h"

struct fs_config {
    char *base_path;
    char *relative_tmp_dir;
    uint64_t read_ahead_size;
    bool use_odirect;
    bool io_uring;
    int64_t num_workers;
    int64_t load_concurrency;
    double max_capacity_gb;
    double disk_min_free_gb;
    double disk_high_watermark;
    int checksum; /* enum fs_checksum */
    bool recover_on_start;
    bool fsync;
};

#define FS_ASKED_MAX 64 /* more are taken in their turn */

enum fs_checksum { FS_CRC32C, FS_NO_CHECKSUM };

/* Constant after open but for what has its own locks. */
struct fs {
    struct adapter base;
    struct fs_config config; /* copy; its strings stay with the owner */
    struct fs_layout layout;
    struct fs_io *io;
    struct fs_durable *durable;
    struct fs_space space;
    struct fs_made made; /* keeps the space of directories */
    struct fs_health health;
    struct keylocks *locks;    /* of lookups */
    struct keylocks *removing; /* keys that remove is at */
    struct workers *workers;
    pthread_mutex_t asked_lock; /* leaf */
    char *asked[FS_ASKED_MAX];  /* asked_lock: directories that a listing takes next */
    _Atomic size_t n_asked;     /* changed under asked_lock */
    bool xattrs;                /* the file system keeps user xattrs */
    bool recording;             /* checksums are written and verified */

    /* Loads make staging files; once close gave up waiting they must not. */
    pthread_rwlock_t staging_lock;
    struct staging *staging; /* staging_lock; NULL after that */

    pthread_t counter; /* counts what is there at start */
    bool counter_started;
    _Atomic bool counter_stop;
};

static inline struct fs *fs_of(struct adapter *a)
{
    return container_of(a, struct fs, base);
}

/* worker_ops; each is one key on one worker thread. */
int fs_store_one(struct adapter *a, const char *key, const struct l2_buf *buf, uint32_t *crc32c,
                 uint64_t *bytes);
int fs_find_one(struct adapter *a, const char *key, uint64_t *size);
int fs_load_one(struct adapter *a, const char *key, struct worker_load *load,
                struct l2_object *out);
void fs_drop_one(struct adapter *a, struct l2_object *o);

/* adapter_ops of fs_names.c, fs_files.c and fs_scan.c. */
int fs_rename(struct adapter *a, const char *from, const char *to);
int fs_remove(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped);
int fs_make_dir(struct adapter *a, const char *dir, const struct l2_attr *attr);
int fs_set_attr(struct adapter *a, const char *key, const struct l2_attr *attr,
                const struct l2_xattrs *xattrs, unsigned mask);
int fs_open_file(struct adapter *a, const char *key, int flags, const struct l2_attr *attr,
                 int *fd);
int fs_link_file(struct adapter *a, int fd, const char *key);
int fs_list(struct adapter *a, l2_list_fn *fn, void *arg);

/* ---- fs_asked.c ---- */
void fs_list_first(struct adapter *a, const char *dir);
/* The next directory that was asked for, to be freed; NULL: none. */
char *fs_asked_next(struct fs *f);
void fs_asked_drop(struct fs *f); /* what no listing took */

/* What a directory and the growth of the one it is in may take. */
#define FS_DIR_BYTES UINT64_C(16384)
/* Looks again, at most once a second, at files that grow without our knowing. */
void fs_look_at_growing(struct fs *f);

/* Starts counting what is there, on a thread of its own. 0 or -errno. */
int fs_count_start(struct fs *f);
void fs_count_stop(struct fs *f);

/* Opens the regular file at a place to read or change it; links and others are -ENOENT. A
 * descriptor or -errno. */
int fs_open_regular(const struct fs_place *place, int flags, struct stat *st);
/* As fs_xattrs_replace, keeping the account. */
int fs_xattrs_change(struct fs *f, int fd, const struct l2_xattrs *set, const char *key);
/* Close has given up waiting for this thread: what the owner gave it may be gone. */
bool fs_is_abandoned(struct fs *f);
/* Waits until a change of the name `key` in `dir` is durable, if the configuration wants that. */
int fs_sync_name(struct fs *f, const char *key, int dir);

#endif
