/* ctl_mount.c - finds the mount that is meant, and reads the files below its .l2fs.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    return 1;
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

/* Everything up to the end of the file. */
static char *read_all(FILE *f)
{
    char *text = NULL, block[16384];
    size_t len = 0, n;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        fwrite(block, 1, n, out);
    if (fclose(out) || ferror(f)) {
        free(text);
        return NULL;
    }
    return text;
}

char *ctl_read(const char *mount, const char *name)
{
    char path[PATH_MAX];
    char *text = NULL;
    FILE *f;

    snprintf(path, sizeof(path), "%s/.l2fs/%s", mount, name);
    f = fopen(path, "re");
    if (f) {
        text = read_all(f);
        fclose(f);
    }
    if (!text)
        ctl_fail("%s: %s%s", path, strerror(errno),
                 errno == ENOTCONN ? "; the daemon is gone, mount again" : "");
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
