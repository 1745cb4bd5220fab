/* fs_xattr.c - xattrs and attributes of the fs adapter's files. Threads: any, no state. */
#include "fs_xattr.h"

#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "log.h"
#include "text.h"

#define OWN_PREFIX "user.l2fs."
#define USER_PREFIX "user."
#define NAMES_STACK 1024
#define VALUE_MAX 65536

int fs_record_format(uint32_t crc32c, uint64_t size, char out[FS_RECORD_SIZE])
{
    return snprintf(out, FS_RECORD_SIZE, "%08" PRIx32 ":%" PRIu64, crc32c, size);
}

void fs_record_parse(const char *value, size_t len, struct fs_record *out)
{
    char text[FS_RECORD_SIZE], again[FS_RECORD_SIZE];
    uint32_t crc;
    uint64_t size;

    out->state = FS_RECORD_BAD;
    if (len >= sizeof(text))
        return;
    memcpy(text, value, len);
    text[len] = '\0';
    if (sscanf(text, "%8" SCNx32 ":%" SCNu64, &crc, &size) != 2)
        return;
    if (fs_record_format(crc, size, again) != (int)len || memcmp(text, again, len) != 0)
        return;
    *out = (struct fs_record){FS_RECORD_GOOD, crc, size};
}

static bool is_none(int err)
{
    return err == ENODATA || err == EOPNOTSUPP;
}

/* Linux 6.13; the same numbers on every architecture that has the generic table, and on x86-64. */
#if defined(__x86_64__) || defined(__aarch64__) || defined(__riscv)
#define NR_GETXATTRAT 464
#define NR_LISTXATTRAT 465
#endif

struct value_args {
    uint64_t value;
    uint32_t size;
    uint32_t flags;
};

static ssize_t list_at(int dir, const char *file, char *buf, size_t size)
{
#ifdef NR_LISTXATTRAT
    return syscall(NR_LISTXATTRAT, dir, file, AT_SYMLINK_NOFOLLOW, buf, size);
#else
    (void)dir, (void)file, (void)buf, (void)size;
    errno = ENOSYS;
    return -1;
#endif
}

static ssize_t get_at(int dir, const char *file, const char *name, void *buf, size_t size)
{
#ifdef NR_GETXATTRAT
    struct value_args args = {(uintptr_t)buf, (uint32_t)size, 0};

    return syscall(NR_GETXATTRAT, dir, file, AT_SYMLINK_NOFOLLOW, name, &args, sizeof(args));
#else
    (void)dir, (void)file, (void)name, (void)buf, (void)size;
    errno = ENOSYS;
    return -1;
#endif
}

static ssize_t list_names(int fd, const char *file, char *buf, size_t size)
{
    return file ? list_at(fd, file, buf, size) : flistxattr(fd, buf, size);
}

static ssize_t get_value(int fd, const char *file, const char *name, void *buf, size_t size)
{
    return file ? get_at(fd, file, name, buf, size) : fgetxattr(fd, name, buf, size);
}

static int read_record(int fd, const char *file, struct fs_record *out)
{
    char value[FS_RECORD_SIZE];
    ssize_t n = get_value(fd, file, FS_RECORD_XATTR, value, sizeof(value));

    out->state = FS_RECORD_NONE;
    if (n < 0 && is_none(errno))
        return 0;
    if (n < 0 && errno == ERANGE)
        out->state = FS_RECORD_BAD;
    else if (n < 0)
        return -errno;
    else
        fs_record_parse(value, (size_t)n, out);
    return 0;
}

int fs_record_get(int fd, struct fs_record *out)
{
    return read_record(fd, NULL, out);
}

int fs_record_set(int fd, uint32_t crc32c, uint64_t size)
{
    char value[FS_RECORD_SIZE];
    int len = fs_record_format(crc32c, size, value);

    return fsetxattr(fd, FS_RECORD_XATTR, value, (size_t)len, 0) ? -errno : 0;
}

int fs_record_remove(int fd)
{
    if (!fremovexattr(fd, FS_RECORD_XATTR))
        return 1;
    return is_none(errno) ? 0 : -errno;
}

static bool is_kept(const char *name)
{
    return strncmp(name, USER_PREFIX, sizeof(USER_PREFIX) - 1) == 0 &&
           strncmp(name, OWN_PREFIX, sizeof(OWN_PREFIX) - 1) != 0;
}

/* One that vanishes meanwhile is not kept. */
static int append_kept(int fd, const char *file, const char *name, struct text *t)
{
    AUTO_FREE char *value = malloc(VALUE_MAX);
    uint32_t len;
    ssize_t n;

    if (!value)
        return -ENOMEM;
    n = get_value(fd, file, name, value, VALUE_MAX);
    if (n < 0)
        return is_none(errno) ? 0 : -errno;
    len = (uint32_t)n;
    text_append(t, name, strlen(name) + 1);
    text_append(t, (const char *)&len, sizeof(len));
    text_append(t, value, len);
    return t->failed ? -ENOMEM : 0;
}

/* All names of a file; *heap is to be freed. Their length, or -errno. */
static ssize_t get_names(int fd, const char *file, char stack[NAMES_STACK], char **heap)
{
    ssize_t n = list_names(fd, file, stack, NAMES_STACK);

    while (n < 0 && errno == ERANGE) {
        ssize_t need = list_names(fd, file, NULL, 0);

        if (need < 0)
            return -errno;
        free(*heap);
        *heap = malloc((size_t)need + 1);
        if (!*heap)
            return -ENOMEM;
        n = list_names(fd, file, *heap, (size_t)need);
    }
    if (n < 0)
        return is_none(errno) ? 0 : -errno;
    return n;
}

int fs_xattrs_read(int fd, const char *file, struct fs_record *record, struct l2_xattrs *kept)
{
    char stack[NAMES_STACK];
    AUTO_FREE char *heap = NULL;
    ssize_t n = get_names(fd, file, stack, &heap);
    const char *names = heap ? heap : stack;
    struct text t = {0};
    int err = n < 0 ? (int)n : 0;

    record->state = FS_RECORD_NONE;
    for (const char *p = names; !err && p < names + n; p += strlen(p) + 1) {
        if (strcmp(p, FS_RECORD_XATTR) == 0)
            err = read_record(fd, file, record);
        else if (is_kept(p))
            err = append_kept(fd, file, p, &t);
    }
    if (err) {
        text_fini(&t);
        return err;
    }
    kept->len = t.len;
    kept->data = t.len ? t.data : NULL;
    if (!t.len)
        text_fini(&t);
    return 0;
}

/* The next attribute of `x` at *pos. False at the end, or where the bytes make no sense. */
static bool next_xattr(const struct l2_xattrs *x, size_t *pos, const char **name,
                       const char **value, uint32_t *len)
{
    const char *data = x->data;
    const char *end = *pos < x->len ? memchr(data + *pos, '\0', x->len - *pos) : NULL;
    size_t at;

    if (!end)
        return false;
    at = (size_t)(end - data) + 1;
    if (x->len - at < sizeof(*len))
        return false;
    memcpy(len, data + at, sizeof(*len));
    at += sizeof(*len);
    if (x->len - at < *len)
        return false;
    *name = data + *pos;
    *value = data + at;
    *pos = at + *len;
    return true;
}

static bool is_wanted(const struct l2_xattrs *want, const char *name)
{
    const char *n, *value;
    uint32_t len;

    for (size_t pos = 0; next_xattr(want, &pos, &n, &value, &len);) {
        if (strcmp(n, name) == 0)
            return true;
    }
    return false;
}

static int remove_others(int fd, const struct l2_xattrs *want)
{
    char stack[NAMES_STACK];
    AUTO_FREE char *heap = NULL;
    ssize_t n = get_names(fd, NULL, stack, &heap);
    const char *names = heap ? heap : stack;

    if (n < 0)
        return (int)n;
    for (const char *p = names; p < names + n; p += strlen(p) + 1) {
        if (is_kept(p) && !is_wanted(want, p) && fremovexattr(fd, p) && !is_none(errno))
            return -errno;
    }
    return 0;
}

/* File systems keep little room for xattrs (ext4: a block): the bytes matter more. */
static bool has_no_room(int err)
{
    return err == ENOSPC || err == E2BIG || err == ERANGE || err == EDQUOT;
}

int fs_xattrs_replace(int fd, const struct l2_xattrs *want, const char *key)
{
    const char *name, *value;
    uint32_t len;
    int err = remove_others(fd, want);

    for (size_t pos = 0; !err && next_xattr(want, &pos, &name, &value, &len);) {
        if (!is_kept(name) || !fsetxattr(fd, name, value, len, 0))
            continue;
        if (errno == EOPNOTSUPP)
            return 0;
        if (!has_no_room(errno))
            return -errno;
        log_warn("fs: %s: no room for its attribute %s of %u bytes on this file system (%s): it "
                 "is lost at the next mount",
                 key, name, len, strerror(errno));
    }
    return err;
}

static int apply_owner(int fd, const struct l2_attr *attr)
{
    struct stat st;

    if (fstat(fd, &st))
        return -errno;
    if (st.st_uid == attr->uid && st.st_gid == attr->gid)
        return 0;
    if (fchown(fd, attr->uid, attr->gid) && errno != EPERM && errno != EINVAL)
        return -errno;
    return 0;
}

/* Without privilege a file whose mode denies its owner could not be loaded or changed again. */
static mode_t usable_mode(int fd, mode_t mode)
{
    struct stat st;

    mode &= 07777;
    if (geteuid() == 0 || fstat(fd, &st))
        return mode;
    return mode | (S_ISDIR(st.st_mode) ? S_IRWXU : S_IRUSR | S_IWUSR);
}

int fs_attr_apply(int fd, const struct l2_attr *attr, unsigned mask)
{
    const struct timespec omit = {.tv_nsec = UTIME_OMIT};
    const struct timespec times[2] = {
        mask & L2_ATTR_ATIME ? attr->atime : omit,
        mask & L2_ATTR_MTIME ? attr->mtime : omit,
    };
    int err = mask & L2_ATTR_OWNER ? apply_owner(fd, attr) : 0;

    if (err)
        return err;
    if ((mask & L2_ATTR_MODE) && fchmod(fd, usable_mode(fd, attr->mode)))
        return -errno;
    if ((mask & (L2_ATTR_ATIME | L2_ATTR_MTIME)) && futimens(fd, times))
        return -errno;
    return 0;
}

void fs_attr_from(const struct stat *st, struct l2_attr *out)
{
    *out = (struct l2_attr){
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .atime = st->st_atim,
        .mtime = st->st_mtim,
    };
}
