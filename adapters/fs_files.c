/* fs_files.c - opening the fs adapter's own files: for its own use, and as backing of state `disk`.
 *
 * A file that its user may write loses its checksum first, on the disk too, so that a later load
 * does not take the new bytes for damage. Threads: any.
 */
#include <fcntl.h>
#include <stdio.h>

#include "fs.h"
#include "fs_xattr.h"

#define DISK_FLAGS                                                                                 \
    (O_ACCMODE | O_TRUNC | O_APPEND | O_DIRECT | O_SYNC | O_DSYNC | O_NOATIME | O_NONBLOCK)

static int open_place(const struct fs_place *place, int flags)
{
    int fd;

    flags |= O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    fd = openat(place->dir, place->name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(place->dir, place->name, flags);
    if (fd >= 0)
        return fd;
    return errno == ELOOP || errno == ENXIO ? -ENOENT : -errno;
}

int fs_open_regular(const struct fs_place *place, int flags, struct stat *st)
{
    int fd = open_place(place, flags);

    if (fd < 0)
        return fd;
    if (fstat(fd, st) || !S_ISREG(st->st_mode)) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}

/* Takes the checksum off, durably: bytes may reach the disk before metadata do. */
static int forget_record(const struct fs *f, int fd)
{
    int removed = f->xattrs ? fs_record_remove(fd) : 0;

    if (removed <= 0)
        return removed;
    return f->config.fsync && fsync(fd) ? -errno : 0;
}

static bool may_write(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

/* O_TRUNC comes after the checksum is gone, O_DIRECT if the file system has it. */
static int prepare(const struct fs *f, int fd, int flags)
{
    int now = fcntl(fd, F_GETFL);
    int err = may_write(flags) ? forget_record(f, fd) : 0;

    if (err)
        return err;
    if ((flags & O_TRUNC) && ftruncate(fd, 0))
        return -errno;
    now = (now & ~(O_NONBLOCK | O_NOATIME)) | (flags & (O_APPEND | O_NONBLOCK | O_NOATIME));
    if ((flags & O_DIRECT) && !fcntl(fd, F_SETFL, now | O_DIRECT))
        return 0;
    return fcntl(fd, F_SETFL, now) ? -errno : 0;
}

static int create_at(const struct fs_place *place, int flags, const struct l2_attr *attr)
{
    const int keep = flags & (O_ACCMODE | O_SYNC | O_DSYNC);
    int fd = openat(place->dir, place->name,
                    keep | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    int err;

    if (fd < 0)
        return -errno;
    err = fs_attr_apply(fd, attr, L2_ATTR_MODE | L2_ATTR_OWNER | L2_ATTR_ATIME | L2_ATTR_MTIME);
    if (!err)
        return fd;
    unlinkat(place->dir, place->name, 0);
    close(fd);
    return err;
}

/* Opens, or with O_CREAT makes, whichever it takes while others may do the same. */
static int open_or_create(struct fs *f, const struct fs_place *place, int flags,
                          const struct l2_attr *attr, bool *created)
{
    struct stat st;
    int fd = -ENOENT;

    *created = false;
    if (!(flags & O_CREAT) || !(flags & O_EXCL))
        fd = fs_open_regular(place, flags & (O_ACCMODE | O_SYNC | O_DSYNC), &st);
    if (fd != -ENOENT || !(flags & O_CREAT))
        return fd;
    fd = fs_space_reserve(&f->space, FS_DIR_BYTES, FS_FOR_OBJECT, NULL);
    if (fd)
        return fd;
    fd = create_at(place, flags, attr);
    fs_space_release(&f->space, FS_DIR_BYTES);
    *created = fd >= 0;
    if (fd == -EEXIST && !(flags & O_EXCL))
        return fs_open_regular(place, flags & (O_ACCMODE | O_SYNC | O_DSYNC), &st);
    return fd;
}

static int open_key(struct fs *f, const char *key, int flags, const struct l2_attr *attr, int *out)
{
    FS_PLACE place = FS_PLACE_NONE;
    AUTO_CLOSE int fd = -1;
    bool created;
    struct stat st;
    int err = flags & O_CREAT ? fs_place_make(&f->layout, key, attr, &place)
                              : fs_place_find(&f->layout, key, &place);

    if (err)
        return err;
    fd = open_or_create(f, &place, flags, attr, &created);
    if (fd < 0)
        return fd;
    if (may_write(flags) && !fstat(fd, &st))
        fs_space_note(&f->space, key, &st, created);
    if (created)
        fs_space_dir(&f->space, place.dir);
    err = prepare(f, fd, flags);
    if (err)
        return err;
    if ((flags & O_TRUNC) && !fstat(fd, &st))
        fs_space_grown(&f->space, &st);
    *out = steal_fd(&fd);
    return 0;
}

static int open_unnamed(struct fs *f, const char *dir, int flags, const struct l2_attr *attr,
                        int *out)
{
    AUTO_CLOSE int parent = -1;
    AUTO_CLOSE int fd = -1;
    int err = fs_open_dir(&f->layout, dir, O_RDONLY, &parent);

    if (!err)
        err = fs_space_reserve(&f->space, FS_DIR_BYTES, FS_FOR_OBJECT, NULL);
    if (err)
        return err;
    fs_space_release(&f->space, FS_DIR_BYTES);
    fd = openat(parent, ".", (flags & DISK_FLAGS & ~O_TRUNC) | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    err = fs_attr_apply(fd, attr, L2_ATTR_MODE | L2_ATTR_OWNER);
    if (err)
        return err;
    *out = steal_fd(&fd);
    return 0;
}

void fs_look_at_growing(struct fs *f)
{
    for (size_t n = fs_space_growing(&f->space); n; n--) {
        AUTO_FREE char *key = fs_space_next_growing(&f->space);
        FS_PLACE place = FS_PLACE_NONE;
        struct stat st;

        if (key && !fs_place_find(&f->layout, key, &place) &&
            !fstatat(place.dir, place.name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
            fs_space_grown(&f->space, &st);
    }
}

int fs_open_file(struct adapter *a, const char *key, int flags, const struct l2_attr *attr, int *fd)
{
    struct fs *f = fs_of(a);
    struct fs_op op;
    int err;

    if ((flags & (O_CREAT | O_TMPFILE)) && !attr)
        return -EINVAL;
    fs_look_at_growing(f);
    fs_op_begin(&f->health, &op, "open_file", key);
    fs_space_enter(&f->space);
    if ((flags & O_TMPFILE) == O_TMPFILE)
        err = open_unnamed(f, key, flags, attr, fd);
    else
        err = open_key(f, key, flags & (DISK_FLAGS | O_CREAT | O_EXCL), attr, fd);
    fs_space_leave(&f->space);
    return fs_op_end(&f->health, &op, err);
}

static int link_at(struct fs *f, int fd, const char *key)
{
    FS_PLACE place = FS_PLACE_NONE;
    struct l2_attr owner;
    char path[64];
    struct stat st;
    int err;

    if (fstat(fd, &st))
        return -errno;
    fs_attr_from(&st, &owner);
    err = fs_place_make(&f->layout, key, &owner, &place);
    if (err)
        return err;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, place.dir, place.name, AT_SYMLINK_FOLLOW))
        return -errno;
    fs_space_note(&f->space, key, &st, true);
    fs_space_dir(&f->space, place.dir);
    return 0;
}

int fs_link_file(struct adapter *a, int fd, const char *key)
{
    struct fs *f = fs_of(a);
    struct fs_op op;
    int err;

    fs_op_begin(&f->health, &op, "link_file", key);
    fs_space_enter(&f->space);
    err = link_at(f, fd, key);
    fs_space_leave(&f->space);
    return fs_op_end(&f->health, &op, err);
}
