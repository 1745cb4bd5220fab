/* fs_layout.c - paths of the fs adapter: keys to directories and names, temporaries, what is set
 * aside.
 *
 * Every path is resolved below the descriptor of base_path by openat2 with links refused; where the
 * kernel or a seccomp filter has no openat2, component by component with O_NOFOLLOW. Threads: any;
 * a layout is constant but for its atomic serial number. fs_root.c opens, locks and sweeps.
 */
#include "fs_layout.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>

#define DIR_FLAGS (O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
#define OPENAT2_TRIES 16

bool fs_is_temp(const char *name)
{
    return strncmp(name, FS_TEMP_PREFIX, sizeof(FS_TEMP_PREFIX) - 1) == 0;
}

int fs_tmp_dir_check(const char *tmp_dir)
{
    const char *p = tmp_dir;

    if (!*p || *p == '/')
        return -EINVAL;
    while (*p) {
        size_t len = strcspn(p, "/");

        if (len > KEY_NAME_MAX || len == 0 || (len == 1 && p[0] == '.') ||
            (len == 2 && p[0] == '.' && p[1] == '.'))
            return -EINVAL;
        p += len + (p[len] == '/');
    }
    return 0;
}

int fs_key_check(const char *key)
{
    const size_t own = sizeof(FS_OWN_DIR) - 1;

    if (strncmp(key, FS_OWN_DIR, own) == 0 && (key[own] == '\0' || key[own] == '/'))
        return -EINVAL;
    for (const char *p = key; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (fs_is_temp(p))
            return -EINVAL;
    }
    return 0;
}

void fs_corrupt_name(const char *key, const struct timespec *when, unsigned attempt,
                     char out[FS_NAME_SIZE])
{
    struct tm tm;
    size_t len;

    gmtime_r(&when->tv_sec, &tm);
    len = strftime(out, FS_NAME_SIZE, "%Y%m%dT%H%M%S", &tm);
    len += (size_t)snprintf(out + len, FS_NAME_SIZE - len, ".%06ldZ", when->tv_nsec / 1000);
    if (attempt)
        len += (size_t)snprintf(out + len, FS_NAME_SIZE - len, ".%u", attempt);
    out[len++] = '-';
    for (; *key && len < KEY_NAME_MAX; key++) {
        if (*key != '/')
            out[len++] = *key;
        else
            len += (size_t)snprintf(out + len, FS_NAME_SIZE - len, "%s", "-SEP-");
        len = MIN(len, (size_t)KEY_NAME_MAX);
    }
    out[len] = '\0';
}

/* Component by component; `path` is a checked key without trailing '/'. */
static int walk_dir(int root, const char *path, int flags, int *out)
{
    AUTO_CLOSE int cur = -1;

    while (*path) {
        char name[FS_NAME_SIZE];
        size_t len = strcspn(path, "/");
        bool last = path[len] == '\0';
        int fd;

        memcpy(name, path, len);
        name[len] = '\0';
        fd = openat(cur < 0 ? root : cur, name, DIR_FLAGS | (last ? flags : O_PATH));
        if (fd < 0)
            return -errno;
        if (cur >= 0)
            close(cur);
        cur = fd;
        path += len + !last;
    }
    *out = steal_fd(&cur);
    return 0;
}

static int resolve_dir(int root, const char *path, int flags, int *out)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(DIR_FLAGS | flags),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };

    for (int i = 0; i < OPENAT2_TRIES; i++) {
        long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

        if (fd >= 0) {
            *out = (int)fd;
            return 0;
        }
        if (errno == ENOSYS || errno == EPERM || errno == ENAMETOOLONG)
            return walk_dir(root, path, flags, out);
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return walk_dir(root, path, flags, out);
}

/* A link or an escape on the way is as good as "there is no such directory". */
static int dir_error(int err)
{
    return err == -ELOOP || err == -EXDEV ? -ENOTDIR : err;
}

int fs_open_dir(const struct fs_layout *l, const char *path, int flags, int *fd)
{
    char dir[KEY_PATH_MAX + 1];
    size_t len = strnlen(path, KEY_PATH_MAX + 1);
    bool slash = len && path[len - 1] == '/';
    int err = len ? key_check(path, slash) : 0;
    int copy;

    if (err)
        return err;
    memcpy(dir, path, len);
    dir[len - slash] = '\0';
    if (len)
        return dir_error(resolve_dir(l->root, dir, flags, fd));
    copy = openat(l->root, ".", O_DIRECTORY | O_CLOEXEC | flags);
    if (copy < 0)
        return -errno;
    *fd = copy;
    return 0;
}

/* Splits a key into the length of its directory part and its last name. */
static int split_key(const char *key, size_t *dir_len, char name[FS_NAME_SIZE])
{
    size_t end = strnlen(key, KEY_PATH_MAX + 1);
    bool dir = end && key[end - 1] == '/';
    size_t start;
    int err = key_check(key, dir);

    if (!err)
        err = fs_key_check(key);
    if (err)
        return err;
    end -= dir;
    for (start = end; start && key[start - 1] != '/'; start--)
        ;
    memcpy(name, key + start, end - start);
    name[end - start] = '\0';
    *dir_len = start;
    return 0;
}

static int place_in_root(const struct fs_layout *l, struct fs_place *out)
{
    out->dir = l->root;
    out->borrowed = true;
    return 0;
}

static int place_open(const struct fs_layout *l, const char *key, size_t dir_len, int flags,
                      struct fs_place *out)
{
    char dir[KEY_PATH_MAX + 1];

    if (dir_len == 0)
        return place_in_root(l, out);
    memcpy(dir, key, dir_len - 1);
    dir[dir_len - 1] = '\0';
    out->borrowed = false;
    return dir_error(resolve_dir(l->root, dir, flags, &out->dir));
}

int fs_place_find(const struct fs_layout *l, const char *key, struct fs_place *out)
{
    size_t dir_len;
    int err = split_key(key, &dir_len, out->name);

    if (err)
        return err;
    err = place_open(l, key, dir_len, O_PATH, out);
    return err == -ENOTDIR ? -ENOENT : err;
}

/* Another thread may make or remove the same directory: what counts is that it can be opened. */
static int make_and_open(int parent, const char *name, const struct l2_attr *owner, int *fd)
{
    int dir;

    if (mkdirat(parent, name, 0755) == 0) {
        if (geteuid() == 0 && fchownat(parent, name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW))
            return -errno;
    } else if (errno != EEXIST) {
        return -errno;
    }
    dir = openat(parent, name, DIR_FLAGS | O_PATH);
    if (dir < 0)
        return -errno;
    *fd = dir;
    return 0;
}

static int make_one(const struct fs_layout *l, int parent, const char *name,
                    const struct l2_attr *owner, int *fd)
{
    int dir = openat(parent, name, DIR_FLAGS | O_PATH);
    int err = 0;

    if (dir >= 0) {
        *fd = dir;
        return 0;
    }
    if (l->made)
        err = l->made->before(l->made);
    if (err)
        return err;
    err = make_and_open(parent, name, owner, &dir);
    if (l->made)
        l->made->after(l->made, parent, err ? -1 : dir);
    if (!err)
        *fd = dir;
    return err;
}

static int make_dirs(const struct fs_layout *l, const char *key, size_t dir_len,
                     const struct l2_attr *owner)
{
    AUTO_CLOSE int cur = -1;

    for (size_t pos = 0; pos < dir_len;) {
        char name[FS_NAME_SIZE];
        size_t len = strcspn(key + pos, "/");
        int fd = -1, err;

        memcpy(name, key + pos, len);
        name[len] = '\0';
        err = make_one(l, cur < 0 ? l->root : cur, name, owner, &fd);
        if (err)
            return dir_error(err);
        if (cur >= 0)
            close(cur);
        cur = fd;
        pos += len + 1;
    }
    return 0;
}

int fs_place_make(const struct fs_layout *l, const char *key, const struct l2_attr *owner,
                  struct fs_place *out)
{
    size_t dir_len;
    int err = split_key(key, &dir_len, out->name);

    if (!err)
        err = place_open(l, key, dir_len, O_RDONLY, out);
    if (err != -ENOENT)
        return err;
    err = make_dirs(l, key, dir_len, owner);
    return err ? err : place_open(l, key, dir_len, O_RDONLY, out);
}

void fs_place_fini(struct fs_place *p)
{
    if (p->dir >= 0 && !p->borrowed)
        close(p->dir);
    p->dir = -1;
}

int fs_temp_create(struct fs_layout *l, int flags, char name[FS_NAME_SIZE], int *fd)
{
    int f;

    do {
        snprintf(name, FS_NAME_SIZE, FS_TEMP_PREFIX "%d-%" PRIx64, (int)getpid(),
                 atomic_fetch_add(&l->serial, 1));
        f = openat(l->tmp, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    } while (f < 0 && errno == EEXIST);
    if (f < 0)
        return -errno;
    *fd = f;
    return 0;
}

void fs_temp_remove(const struct fs_layout *l, const char *name)
{
    unlinkat(l->tmp, name, 0);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A store may have renamed a good file over the bad one between look and move: then it goes back.
 */
static int check_moved(const struct fs_layout *l, const struct fs_place *place,
                       const struct stat *seen, const char *name)
{
    struct stat st;

    if (fstatat(l->corrupt, name, &st, AT_SYMLINK_NOFOLLOW) || same_file(&st, seen))
        return 0;
    if (renameat2(l->corrupt, name, place->dir, place->name, RENAME_NOREPLACE))
        return errno == EEXIST ? -ESTALE : -errno;
    return -ESTALE;
}

int fs_set_aside(const struct fs_layout *l, const char *key, const struct fs_place *place,
                 const struct stat *seen, char name[FS_NAME_SIZE])
{
    struct timespec now;
    struct stat st;

    if (fstatat(place->dir, place->name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? -ESTALE : -errno;
    if (!same_file(&st, seen))
        return -ESTALE;
    clock_gettime(CLOCK_REALTIME, &now);
    for (unsigned attempt = 0;; attempt++) {
        fs_corrupt_name(key, &now, attempt, name);
        if (!renameat2(place->dir, place->name, l->corrupt, name, RENAME_NOREPLACE))
            return check_moved(l, place, seen, name);
        if (errno == EINVAL && !renameat(place->dir, place->name, l->corrupt, name))
            return check_moved(l, place, seen, name);
        if (errno != EEXIST)
            return errno == ENOENT ? -ESTALE : -errno;
    }
}
