/* ctl_keys.c - commands on files and directories of a mount: their user.l2fs.* attributes.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define PREFIX "user.l2fs."
#define VALUE_MAX 65536

/* The value of an attribute, "" when there is none; `buf` has VALUE_MAX + 1 bytes. */
static bool get(const char *path, const char *name, char *buf)
{
    ssize_t n = lgetxattr(path, name, buf, VALUE_MAX);

    buf[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

static int complain(const char *path, int error)
{
    if (error == ENODATA || error == EOPNOTSUPP)
        return ctl_fail("%s is not a file of an l2fs mount", path);
    if (error == EINVAL)
        return ctl_fail("%s: not allowed; the log of the daemon says what is", path);
    return ctl_fail("%s: %s", path, strerror(error));
}

/* --- ls --- */

struct row {
    const char *dir, *name;
    struct stat st;
};

static json_t *attribute(const char *path, const char *name, char *buf)
{
    json_t *v = NULL;

    if (get(path, name, buf))
        v = json_loads(buf, JSON_DECODE_ANY, NULL);
    if (!v)
        v = json_string(buf);
    return v ? v : json_null();
}

static json_t *describe(const struct row *r, char *buf)
{
    char path[PATH_MAX];
    json_t *row = json_object(), *name = json_string(r->name);

    snprintf(path, sizeof(path), "%s/%s", r->dir, r->name);
    if (S_ISDIR(r->st.st_mode)) {
        json_object_set_new(row, "state", json_string("directory"));
        json_object_set_new(row, "size", json_string(""));
    } else {
        json_object_set_new(row, "state", attribute(path, PREFIX "state", buf));
        json_object_set_new(row, "size", json_integer((json_int_t)r->st.st_size));
        json_object_set_new(row, "tiers", attribute(path, PREFIX "tiers", buf));
    }
    json_object_set_new(row, "pin", attribute(path, PREFIX "pin", buf));
    json_object_set_new(row, "path", name ? name : json_string("(not UTF-8)"));
    return row;
}

static int by_path(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_entry(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static json_t *list_directory(const char *dir, char *buf)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is_entry, by_path);
    json_t *rows;

    if (n < 0)
        return NULL;
    rows = json_array();
    for (int i = 0; i < n; i++) {
        struct row r = {.dir = dir, .name = entries[i]->d_name};
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/%s", dir, r.name);
        if (!lstat(path, &r.st)) /* else it went meanwhile */
            json_array_append_new(rows, describe(&r, buf));
        free(entries[i]);
    }
    free(entries);
    return rows;
}

static void print_rows(const struct ctl *c, json_t *rows)
{
    if (c->json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        ctl_show_table(rows);
    }
}

int ctl_ls(const struct ctl *c, const char *path)
{
    char *buf = malloc(VALUE_MAX + 1), *slash;
    struct row r = {.dir = ".", .name = path};
    char copy[PATH_MAX];
    json_t *rows = NULL;
    int rc = 0;

    if (!buf)
        return ctl_fail("out of memory");
    if (lstat(path, &r.st)) {
        rc = complain(path, errno);
    } else if (S_ISDIR(r.st.st_mode)) {
        rows = list_directory(path, buf);
        rc = rows ? 0 : complain(path, errno);
    } else {
        snprintf(copy, sizeof(copy), "%s", path);
        slash = strrchr(copy, '/');
        if (slash) {
            *slash = '\0';
            r.dir = slash == copy ? "/" : copy;
            r.name = slash + 1;
        }
        rows = json_pack("[o]", describe(&r, buf));
    }
    if (rows)
        print_rows(c, rows);
    json_decref(rows);
    free(buf);
    return rc;
}

/* --- stat --- */

static json_t *collect(const char *path)
{
    char *names = malloc(VALUE_MAX), *buf = malloc(VALUE_MAX + 1);
    ssize_t n = names && buf ? llistxattr(path, names, VALUE_MAX) : -1;
    json_t *object = n >= 0 ? json_object() : NULL;

    for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        if (!strncmp(p, PREFIX, strlen(PREFIX)))
            json_object_set_new(object, p + strlen(PREFIX), attribute(path, p, buf));
        else if (!strncmp(p, "user.", 5))
            json_object_set_new(object, p, attribute(path, p, buf));
    }
    free(names);
    free(buf);
    return object;
}

int ctl_stat(const struct ctl *c, const char *path)
{
    char mode[8];
    struct stat st;
    json_t *object, *name;

    if (lstat(path, &st))
        return complain(path, errno);
    object = collect(path);
    if (!object)
        return complain(path, errno);
    if (!json_object_get(object, S_ISDIR(st.st_mode) ? "pin" : "state")) {
        json_decref(object);
        return complain(path, ENODATA);
    }
    snprintf(mode, sizeof(mode), "%04o", st.st_mode & 07777u);
    name = json_string(path);
    json_object_set_new(object, "path", name ? name : json_string("(not UTF-8)"));
    json_object_set_new(object, "size", json_integer((json_int_t)st.st_size));
    json_object_set_new(object, "mode", json_string(mode));
    if (c->json) {
        json_dumpf(object, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        ctl_show_object(object);
    }
    json_decref(object);
    return 0;
}

/* --- pin, evict, warm --- */

int ctl_set(const struct ctl *c, const char *name, const char *value, char *const paths[])
{
    char attr[64];
    int rc = 0;

    snprintf(attr, sizeof(attr), PREFIX "%s", name);
    for (; *paths; paths++) {
        char *path = ctl_path(c, *paths);

        if (!path)
            return 1;
        if (lsetxattr(path, attr, value, strlen(value), 0))
            rc = complain(path, errno);
        free(path);
    }
    return rc;
}
