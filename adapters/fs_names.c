/* fs_names.c - rename, remove, make_dir and set_attr of the fs adapter.
 *
 * Threads: any. The owner has no two changes of one key under way, so what these look at before
 * they act stays so; loads and lookups beside them see the old or the new file.
 */
#include <fcntl.h>

#include "fs.h"
#include "fs_xattr.h"

static bool is_dir_key(const char *key)
{
    size_t len = strlen(key);

    return len && key[len - 1] == '/';
}

static int stat_place(const struct fs_place *place, struct stat *st)
{
    return fstatat(place->dir, place->name, st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static bool is_kind(const struct stat *st, bool dir)
{
    return dir ? S_ISDIR(st->st_mode) : S_ISREG(st->st_mode);
}

/* The place of an existing file or directory, as the key says. */
static int find_kind(const struct fs *f, const char *key, struct fs_place *place, struct stat *st)
{
    int err = fs_place_find(&f->layout, key, place);

    if (!err)
        err = stat_place(place, st);
    if (!err && !is_kind(st, is_dir_key(key)))
        err = -ENOENT;
    return err;
}

static int rename_to(struct fs *f, const struct fs_place *from, const struct stat *st,
                     const char *to)
{
    const struct l2_attr owner = {.uid = st->st_uid, .gid = st->st_gid};
    FS_PLACE place = FS_PLACE_NONE;
    struct stat old;
    bool replaces;
    int err = fs_place_make(&f->layout, to, &owner, &place);

    if (err)
        return err;
    replaces = !stat_place(&place, &old) && S_ISREG(old.st_mode);
    if (replaces && old.st_dev == st->st_dev && old.st_ino == st->st_ino)
        replaces = false; /* two names of one file: rename does nothing */
    if (renameat(from->dir, from->name, place.dir, place.name))
        return -errno;
    fs_space_dir(&f->space, place.dir);
    if (S_ISREG(st->st_mode))
        fs_space_renamed(&f->space, st, to);
    if (replaces)
        fs_space_remove(&f->space, &old);
    return 0;
}

int fs_rename(struct adapter *a, const char *from, const char *to)
{
    struct fs *f = fs_of(a);
    FS_PLACE place = FS_PLACE_NONE;
    struct fs_op op;
    struct stat st;
    int err;

    if (is_dir_key(from) != is_dir_key(to))
        return -EINVAL;
    fs_op_begin(&f->health, &op, "rename", from);
    fs_space_enter(&f->space);
    err = find_kind(f, from, &place, &st);
    if (!err)
        err = rename_to(f, &place, &st, to);
    if (!err && S_ISDIR(st.st_mode))
        fs_durable_forget(f->durable);
    fs_space_leave(&f->space);
    return fs_op_end(&f->health, &op, err);
}

static int remove_dir(struct fs *f, const struct fs_place *place, const struct stat *st)
{
    if (unlinkat(place->dir, place->name, AT_REMOVEDIR))
        return errno == EEXIST ? -ENOTEMPTY : -errno;
    fs_space_dir_gone(&f->space, st);
    fs_durable_forget(f->durable);
    return 0;
}

/* Announces the removal first: fs_find_one tells why. -EBUSY: locked. */
static int remove_file(struct fs *f, const char *key, const struct fs_place *place,
                       const struct stat *st)
{
    int err = keylocks_get(f->removing, key);

    if (err)
        return err;
    if (keylocks_held(f->locks, key))
        err = -EBUSY;
    else if (unlinkat(place->dir, place->name, 0))
        err = -errno;
    else
        fs_space_remove(&f->space, st);
    keylocks_put(f->removing, key);
    return err;
}

static int remove_one(struct fs *f, const char *key)
{
    FS_PLACE place = FS_PLACE_NONE;
    struct fs_op op;
    struct stat st;
    int err;

    fs_op_begin(&f->health, &op, "remove", key);
    fs_space_enter(&f->space);
    err = find_kind(f, key, &place, &st);
    if (!err)
        err = is_dir_key(key) ? remove_dir(f, &place, &st) : remove_file(f, key, &place, &st);
    fs_space_leave(&f->space);
    fs_op_end(&f->health, &op, err == -EBUSY ? 0 : err);
    return err == -ENOENT ? 0 : err;
}

int fs_remove(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped)
{
    struct fs *f = fs_of(a);
    int first = 0;

    for (size_t i = 0; i < n; i++) {
        int err = remove_one(f, keys[i]);

        if (err == -EBUSY && !is_dir_key(keys[i])) {
            if (skipped)
                bitmap_set(skipped, i);
        } else if (err && !first) {
            first = err;
        }
    }
    return first;
}

static int make_dir(struct fs *f, const char *dir, const struct l2_attr *attr)
{
    FS_PLACE place = FS_PLACE_NONE;
    AUTO_CLOSE int fd = -1;
    struct stat st;
    int err = fs_place_make(&f->layout, dir, attr, &place);

    if (err)
        return err;
    if (mkdirat(place.dir, place.name, 0700)) {
        if (errno != EEXIST)
            return -errno;
        err = stat_place(&place, &st);
        return err ? err : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    }
    fd = openat(place.dir, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    fs_space_dir(&f->space, place.dir);
    fs_space_dir(&f->space, fd);
    return fs_attr_apply(fd, attr, L2_ATTR_MODE | L2_ATTR_OWNER | L2_ATTR_ATIME | L2_ATTR_MTIME);
}

int fs_make_dir(struct adapter *a, const char *dir, const struct l2_attr *attr)
{
    struct fs *f = fs_of(a);
    struct fs_op op;
    int err = fs_space_reserve(&f->space, FS_DIR_BYTES, FS_FOR_NAMES, NULL);

    if (err)
        return err;
    fs_op_begin(&f->health, &op, "make_dir", dir);
    err = make_dir(f, dir, attr);
    fs_space_release(&f->space, FS_DIR_BYTES);
    return fs_op_end(&f->health, &op, err);
}

int fs_xattrs_change(struct fs *f, int fd, const struct l2_xattrs *set, const char *key)
{
    uint64_t most = fs_space_needed(set->len);
    struct stat before = {0}, after;
    int err = set->len ? fs_space_reserve(&f->space, most, FS_FOR_NAMES, NULL) : 0;

    if (err)
        return err;
    if (fstat(fd, &before))
        err = -errno;
    if (!err)
        err = fs_xattrs_replace(fd, set, key);
    if (S_ISREG(before.st_mode) && !fstat(fd, &after))
        fs_space_resized(&f->space, &before, &after);
    fs_space_release(&f->space, set->len ? most : 0);
    return err;
}

static int set_attr(struct fs *f, const char *key, const struct l2_attr *attr,
                    const struct l2_xattrs *xattrs, unsigned mask)
{
    FS_PLACE place = FS_PLACE_NONE;
    AUTO_CLOSE int fd = -1;
    struct stat st;
    int err = find_kind(f, key, &place, &st);

    if (err)
        return err;
    if (is_dir_key(key))
        fd = openat(place.dir, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    else
        fd = fs_open_regular(&place, O_RDONLY, &st);
    if (fd < 0)
        return is_dir_key(key) ? -errno : fd;
    if ((mask & L2_ATTR_XATTRS) && f->xattrs)
        err = fs_xattrs_change(f, fd, xattrs, key);
    return err || !attr ? err : fs_attr_apply(fd, attr, mask);
}

int fs_set_attr(struct adapter *a, const char *key, const struct l2_attr *attr,
                const struct l2_xattrs *xattrs, unsigned mask)
{
    struct fs *f = fs_of(a);
    struct fs_op op;

    fs_op_begin(&f->health, &op, "set_attr", key);
    return fs_op_end(&f->health, &op, set_attr(f, key, attr, xattrs, mask));
}
