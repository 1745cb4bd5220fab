/* namespace.h - the tree of names. Level 4.
 *
 * One lock guards the tree and every inode and object in it (lock order: namespace -> l1 ->
 * staging). All functions but ns_create and ns_destroy are called with it held. Nothing here does
 * I/O.
 */
#ifndef L2FS_NAMESPACE_H
#define L2FS_NAMESPACE_H

#include "key.h"
#include "lock.h"
#include "object.h"

struct namespace
{
    pthread_mutex_t lock;
    struct hash names;   /* of dentry.node, by parent and name */
    struct hash orphans; /* inodes that lost their last name, until they are freed */
    struct inode *root;
    uint64_t next_ino;
    size_t files;
    size_t dirs;
    bool unlisted;      /* new directories are (scan.h) */
    uint64_t dirs_lost; /* how many directories have lost their name: moved or removed */
};

/* The sequence that opens in a directory follow (readahead.c). */
struct readahead {
    uint32_t last;   /* slot of the latest open */
    uint16_t window; /* keys loaded ahead; 0: no sequence */
    uint16_t run;    /* by_name: which number in the names grows */
    bool by_name;    /* else in the order of the listing */
    bool seen;       /* `last` is set */
};

/* The directory part of an inode. Entries keep their slot while they live, so a listing can go on
 * beside removals; holes are closed when nobody lists. */
struct dir {
    struct dentry **slots;
    uint32_t nslots;
    uint32_t capacity;
    uint32_t live;
    uint32_t subdirs;
    uint32_t opens;
    uint64_t expect; /* learned size of an object written here */
    struct readahead readahead;
    bool place_disk; /* user.l2fs.place=disk */
    bool changed;    /* the kernel is about to be told (file_dir_changed_locked) */
    bool unlisted;   /* scan.h: a tier may hold more of it than is known */
    bool asked;      /* scan.h: somebody waits for it */
    bool reserved;   /* .l2fs and below: not listed in the root, nothing is made or removed here */
};

int ns_create(struct namespace **out); /* with an empty root, mode 0755; 0 or -ENOMEM */
void ns_destroy(struct namespace *ns);

/* NULL when there is no such name. */
struct dentry *ns_find(struct namespace *ns, const struct inode *dir, const char *name);
/* A new file or directory inode in no directory yet. NULL on no memory. */
struct inode *ns_new_inode(struct namespace *ns, uint32_t mode);
/* 0, -EEXIST, -ENAMETOOLONG (name or whole path), -ENOENT (dir was removed), -ENOMEM, -ENOSPC (4
 * billion names). Moves the directory's times. */
int ns_link(struct namespace *ns, struct inode *dir, const char *name, struct inode *inode,
            struct dentry **out);
/* The same in two steps, for a name that replaces another: all that may fail, then the rest. In between
 * names may be removed, but none comes. Errors but -EEXIST; what is not linked is freed by free(). */
int ns_name_create(struct namespace *ns, struct inode *dir, const char *name, struct dentry **out);
void ns_name_link(struct namespace *ns, struct dentry *d, struct inode *inode);
/* As ns_name_link for a name that was there before: no time moves. */
void ns_name_found(struct namespace *ns, struct dentry *d, struct inode *inode);
/* Frees the dentry; the inode stays, with one name less. */
void ns_unlink(struct namespace *ns, struct dentry *d);
/* Remembers an inode without a name, so that ns_destroy finds it. */
void ns_orphan(struct namespace *ns, struct inode *inode);
/* Frees an inode that has no name, no object, no kernel reference and is not busy. */
void ns_forget_unused(struct namespace *ns, struct inode *inode);

/* The key: path below the root. Length, or -ENAMETOOLONG. */
int ns_path(const struct dentry *d, char out[KEY_PATH_MAX + 2]);
/* The only name of a directory; NULL for the root and for removed ones. */
static inline struct dentry *ns_dir_name(const struct inode *dir)
{
    return dir->names;
}
/* What a file below .l2fs is made of; NULL: not there. */
static inline const struct vfile *inode_vfile(const struct inode *inode)
{
    return inode->extra ? inode->extra->vfile : NULL;
}
bool ns_is_below(const struct inode *inode, const struct inode *dir);
/* Finds or makes (mode 0755) the directories of `key` and returns the last; `*name` is the rest. */
int ns_make_parents(struct namespace *ns, const char *key, struct inode **dir, const char **name);
/* Calls fn for every dentry below `dir`, depth first; stops when fn returns false. */
typedef bool ns_walk_fn(void *arg, struct dentry *d);
bool ns_walk(struct inode *dir, ns_walk_fn *fn, void *arg);
/* Closes holes in the listing when nobody reads it. */
void ns_compact(struct inode *dir);
void ns_touch(struct inode *inode, bool mtime); /* ctime, and mtime, are now */

#endif
