/* fs_layout.h - where things are in a directory of the fs adapter, and how to reach them.
 *
 * One plain file per key at the same relative path. Our own things are in .l2fs/: `lock` (flocked,
 * holds our pid), `format`, `tmp/`, `corrupt/`. Names that begin with FS_TEMP_PREFIX are ours
 * wherever they are. No symbolic link is ever followed below base_path.
 *
 * A layout is constant after fs_layout_open, but for an atomic counter: any thread.
 */
#ifndef L2FS_FS_LAYOUT_H
#define L2FS_FS_LAYOUT_H

#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include "key.h"
#include "l2.h"

#define FS_OWN_DIR ".l2fs"
#define FS_TMP_DIR FS_OWN_DIR "/tmp"
#define FS_TEMP_PREFIX ".l2fs-tmp-"
#define FS_FORMAT "1\n"
#define FS_NAME_SIZE (KEY_NAME_MAX + 1)

struct fs_layout {
    char *base;              /* base_path as configured, for messages */
    int root;                /* base_path */
    int own;                 /* .l2fs */
    int tmp;                 /* where temporaries are made */
    int corrupt;             /* .l2fs/corrupt */
    int lock;                /* .l2fs/lock, flocked; -1 when the file system has no locks */
    size_t swept;            /* temporaries of an earlier daemon, removed at open */
    size_t corrupt_kept;     /* files in .l2fs/corrupt at open */
    uint64_t own_bytes;      /* what our own files took at open, as st_blocks */
    _Atomic uint64_t serial; /* makes temporary names unique */
    const struct fs_made *made;
};

/* Told of directories that fs_place_make makes; set by the owner before it does. */
struct fs_made {
    int (*before)(const struct fs_made *m); /* 0, or -ENOSPC: it must not be made */
    /* `dir` is open, or -1: it was not made. */
    void (*after)(const struct fs_made *m, int parent, int dir);
};

/* Opens and locks. 0, or -errno with one log line: -EINVAL, -ENOENT, -ENOTDIR, -EACCES, -EROFS,
 * -EBUSY (another daemon has it: the line names its pid), -EXDEV (tmp on another file system). */
int fs_layout_open(const char *base, const char *tmp_dir, struct fs_layout *out);
void fs_layout_close(struct fs_layout *l);

/* Relative, no empty, "." or ".." component: 0 or -EINVAL. Pure. */
int fs_tmp_dir_check(const char *tmp_dir);
/* 0, or -EINVAL where a key would be one of our own things. A directory key may end in '/'. Pure.
 */
int fs_key_check(const char *key);
bool fs_is_temp(const char *name);
/* "<UTC time>-<key with '/' as "-SEP-">", cut to a file name. Pure. */
void fs_corrupt_name(const char *key, const struct timespec *when, unsigned attempt,
                     char out[FS_NAME_SIZE]);

/* Opens `path` (a directory key with or without the trailing '/', "" is base_path) below `root`
 * without following links. -ENOENT, -ENOTDIR (also for a link), -ENAMETOOLONG, ... */
int fs_open_dir(const struct fs_layout *l, const char *path, int flags, int *fd);

/* Where one key is: the directory that holds it and its name in there. */
struct fs_place {
    int dir;
    bool borrowed; /* `dir` is the layout's root */
    char name[FS_NAME_SIZE];
};

#define FS_PLACE __attribute__((cleanup(fs_place_fini))) struct fs_place
#define FS_PLACE_NONE                                                                              \
    {                                                                                              \
        .dir = -1                                                                                  \
    }

/* -ENOENT when its directory is not there or not a real one. `dir` is open O_PATH. */
int fs_place_find(const struct fs_layout *l, const char *key, struct fs_place *out);
/* As fs_place_find, but makes missing directories (0755, of `owner`) and opens `dir` O_RDONLY. */
int fs_place_make(const struct fs_layout *l, const char *key, const struct l2_attr *owner,
                  struct fs_place *out);
void fs_place_fini(struct fs_place *p);

/* A new temporary, open O_RDWR|O_CLOEXEC|`flags`, mode 0600. */
int fs_temp_create(struct fs_layout *l, int flags, char name[FS_NAME_SIZE], int *fd);
void fs_temp_remove(const struct fs_layout *l, const char *name);

/* Moves the file at `place` into .l2fs/corrupt if it still is the one `seen` describes; `name` is
 * what it is called there. -ESTALE: the key holds another file by now. */
int fs_set_aside(const struct fs_layout *l, const char *key, const struct fs_place *place,
                 const struct stat *seen, char name[FS_NAME_SIZE]);

#endif
