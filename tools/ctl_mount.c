/* ctl_mount.c - finds the mount that is meant, and reads files below its .l2fs and attributes.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FUSE_TYPE "fuse.l2fs"

int ctl_fail(const char *fmt, ...)
{
    va_list ap;

    fputs("l2fsctl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return CTL_FAILED;
}

int ctl_complain(const char *path, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: ctl_fail("%s: there is no such key or directory", path); return CTL_MISSING;
    case ENODATA:
    case EOPNOTSUPP: ctl_fail("%s is not on an l2fs mount", path); return CTL_MISSING;
    case ENOTCONN:
    case ECONNABORTED: /* it went while it was asked */
        ctl_fail("%s: the daemon of this mount is gone; mount again", path);
        return CTL_MISSING;
    case EINVAL: return ctl_fail("%s: not allowed; the log of the daemon says what is", path);
    case EACCES:
    case EPERM: return ctl_fail("%s: %s; are you its owner, or root?", path, strerror(error));
    default: return ctl_fail("%s: %s", path, strerror(error));
    }
}

int ctl_worse(int a, int b)
{
    return a == CTL_FAILED || b == CTL_FAILED ? CTL_FAILED : MAX(a, b);
}

/* `path` is `dir` or below it. */
static bool is_below(const char *path, const char *dir)
{
    size_t n = strcmp(dir, "/") ? strlen(dir) : 0;

    return !strncmp(path, dir, n) && (path[n] == '\0' || path[n] == '/');
}

/* The l2fs mount that `path` is on, or, with path NULL, the only one; `count` of candidates. */
static char *find(const char *path, unsigned *count)
{
    FILE *f = setmntent("/proc/self/mounts", "re");
    char *best = NULL;
    struct mntent *e;

    *count = 0;
    while (f && (e = getmntent(f))) {
        if (strcmp(e->mnt_type, FUSE_TYPE) || (path && !is_below(path, e->mnt_dir)))
            continue;
        ++*count;
        if (best && strlen(e->mnt_dir) < strlen(best))
            continue;
        free(best);
        best = strdup(e->mnt_dir);
    }
    if (f)
        endmntent(f);
    return best;
}

char *ctl_find_mount(const struct ctl *c)
{
    char *real = c->mount ? realpath(c->mount, NULL) : getcwd(NULL, 0);
    char *mount = NULL;
    unsigned count = 0;

    if (!real) {
        ctl_fail("%s: %s", c->mount ? c->mount : "working directory", strerror(errno));
        return NULL;
    }
    mount = find(real, &count);
    free(real);
    if (mount)
        return mount;
    if (c->mount) {
        ctl_fail("%s is not on an l2fs mount", c->mount);
        return NULL;
    }
    mount = find(NULL, &count);
    if (count == 1)
        return mount;
    free(mount);
    ctl_fail(count ? "several file systems are mounted; choose one with -m MOUNT, or go there"
                   : "no l2fs is mounted here");
    return NULL;
}

int ctl_check(const char *path)
{
    char *real = realpath(path, NULL), *mount;
    unsigned count;

    if (!real)
        return ctl_complain(path, errno);
    mount = find(real, &count);
    free(real);
    free(mount);
    return mount ? CTL_OK : ctl_complain(path, ENODATA);
}

char *ctl_path(const struct ctl *c, const char *arg)
{
    char *path = NULL;
    int n = c->mount && *arg != '/' ? asprintf(&path, "%s/%s", c->mount, arg)
                                    : asprintf(&path, "%s", arg);

    if (n < 0) {
        ctl_fail("out of memory");
        return NULL;
    }
    return path;
}

const char *ctl_shown(const struct ctl *c, const char *path)
{
    size_t n = c->mount ? strlen(c->mount) : 0;

    if (n && !strncmp(path, c->mount, n) && path[n] == '/')
        path += n + strspn(path + n, "/");
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    return path;
}

/* Everything up to the end of the file. */
static char *read_all(FILE *f)
{
    char *text = NULL, block[16384];
    size_t len = 0, n;
    FILE *out = open_memstream(&text, &len);
    int error;

    if (!out)
        return NULL;
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        fwrite(block, 1, n, out);
    error = ferror(f) ? errno : 0;
    if (fclose(out) && !error)
        error = ENOMEM;
    if (!error)
        return text;
    free(text);
    errno = error;
    return NULL;
}

char *ctl_read_quietly(const char *mount, const char *name)
{
    char path[PATH_MAX];
    char *text = NULL;
    int error;
    FILE *f;

    snprintf(path, sizeof(path), "%s/.l2fs/%s", mount, name);
    f = fopen(path, "re");
    if (!f)
        return NULL;
    text = read_all(f);
    error = errno;
    fclose(f);
    errno = error;
    return text;
}

char *ctl_read(const char *mount, const char *name)
{
    char *text = ctl_read_quietly(mount, name), path[PATH_MAX];

    if (!text) {
        snprintf(path, sizeof(path), "%s/.l2fs/%s", mount, name);
        ctl_complain(path, errno);
    }
    return text;
}

json_t *ctl_read_json(const char *mount, const char *name)
{
    char *text = ctl_read(mount, name);
    json_error_t where;
    json_t *value;

    if (!text)
        return NULL;
    value = json_loads(text, 0, &where);
    if (!value)
        ctl_fail("%s/.l2fs/%s: line %d: %s", mount, name, where.line, where.text);
    free(text);
    return value;
}

json_t *ctl_attribute(const char *path, const char *name)
{
    char *buf = malloc(CTL_VALUE_MAX + 1);
    ssize_t n = buf ? lgetxattr(path, name, buf, CTL_VALUE_MAX) : -1;
    json_t *v = NULL;

    if (n >= 0) {
        buf[n] = '\0';
        v = *buf == '{' || *buf == '[' ? json_loads(buf, 0, NULL) : NULL;
        if (!v)
            v = json_string(buf);
        if (!v)
            v = json_string("(not UTF-8)");
    }
    free(buf);
    return v;
}

void ctl_print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(value);
}
