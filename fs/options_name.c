/* options_name.c - names the instance after what it serves, and finds room for its memory.
 *
 * Pure but for looking at the file system. The name is stable from mount to mount, so that a new
 * daemon finds the staging directory that a crashed one left.
 */
#include "options_impl.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>

#include "hash.h"
#include "machine.h"

#define NAME_MAX_BYTES 96 /* of an instance */
#define NAME_KEPT 76      /* of a longer one, before '-' and the hash */

char *options_escape(const char *path)
{
    struct text t = {0};
    char *name;

    path += strspn(path, "/");
    if (!*path)
        text_puts(&t, "-");
    for (const char *p = path; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '/' && p[strspn(p, "/")] == '\0')
            break;
        if (c == '/' && p[1] == '/')
            continue;
        if (c == '/')
            text_puts(&t, "-");
        else if (isalnum(c) || c == '_' || c == ':' || (c == '.' && p != path))
            text_append(&t, p, 1);
        else
            text_printf(&t, "\\x%02x", c);
    }
    if (t.len > NAME_MAX_BYTES) {
        t.len = NAME_KEPT;
        text_printf(&t, "-%016llx", (unsigned long long)hash_bytes(path, strlen(path), 0));
    }
    name = text_steal(&t, NULL);
    return name;
}

/* "." and ".." and doubled slashes taken out of an absolute path, without looking at the disk. */
static void tidy(char *path)
{
    char *out = path, *p = path;

    while (*p) {
        size_t n;

        p += strspn(p, "/");
        n = strcspn(p, "/");
        if (n == 2 && !strncmp(p, "..", 2)) {
            while (out > path && *--out != '/')
                ;
        } else if (n > 0 && !(n == 1 && *p == '.')) {
            *out++ = '/';
            memmove(out, p, n);
            out += n;
        }
        p += n;
    }
    if (out == path)
        *out++ = '/';
    *out = '\0';
}

char *options_absolute(const char *path)
{
    char *real = realpath(path, NULL);
    AUTO_FREE char *cwd = NULL;
    char *joined = NULL;

    if (real)
        return real;
    if (path[0] == '/') {
        joined = strdup(path);
    } else {
        cwd = getcwd(NULL, 0);
        if (!cwd || asprintf(&joined, "%s/%s", cwd, path) < 0)
            return NULL;
    }
    if (joined)
        tidy(joined);
    return joined;
}

static bool below(const char *path, const char *dir)
{
    size_t n = strcmp(dir, "/") ? strlen(dir) : 0;

    return !strncmp(path, dir, n) && (path[n] == '\0' || path[n] == '/');
}

bool options_overlap(const char *a, const char *b)
{
    return below(a, b) || below(b, a);
}

static int check_name(const char *name, struct text *err)
{
    if (*name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..") &&
        strlen(name) <= NAME_MAX_BYTES)
        return 0;
    text_printf(err, "option name: \"%.80s\" is not allowed, expected 1 to %d bytes without a /",
                name, NAME_MAX_BYTES);
    return -EINVAL;
}

static int check_staging(struct options *o, struct text *err)
{
    char *absolute;

    if (!*o->cfg.staging) {
        text_puts(err, "option staging: \"\" is not allowed, expected a directory");
        return -EINVAL;
    }
    absolute = options_absolute(o->cfg.staging);
    if (!absolute)
        return -ENOMEM;
    free(o->cfg.staging);
    o->cfg.staging = absolute;
    if (o->dir && below(absolute, o->dir)) {
        text_printf(err, "option staging: %s lies below the mount point", absolute);
        return -EINVAL;
    }
    for (size_t i = 0; i < o->nbases; i++) {
        if (options_overlap(absolute, o->bases[i])) {
            text_printf(err, "option staging: %s and the directory %s lie within each other",
                        absolute, o->bases[i]);
            return -EINVAL;
        }
    }
    return 0;
}

int options_name(struct options *o, struct text *err)
{
    const char *from = o->nbases ? o->bases[0] : o->dir ? o->dir : "/check";
    int n;

    if (!o->cfg.name)
        o->cfg.name = options_escape(from);
    if (!o->cfg.name)
        return -ENOMEM;
    n = check_name(o->cfg.name, err);
    if (n)
        return n;
    if (o->cfg.staging)
        return check_staging(o, err);
    if (geteuid() == 0 && machine_is_admin())
        n = asprintf(&o->cfg.staging, "/run/l2fs/%s", o->cfg.name);
    else
        n = asprintf(&o->cfg.staging, "/dev/shm/l2fs-%u/%s", geteuid(), o->cfg.name);
    if (n < 0)
        o->cfg.staging = NULL;
    return n < 0 ? -ENOMEM : 0;
}
