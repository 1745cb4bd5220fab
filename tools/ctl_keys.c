/* ctl_keys.c - looking at files and directories of a mount: ls and info.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static json_t *text_of(const char *s)
{
    json_t *v = json_string(s);

    return v ? v : json_string("(not UTF-8)");
}

static void set_attribute(json_t *row, const char *as, const char *path, const char *name)
{
    json_t *v = ctl_attribute(path, name);

    json_object_set_new(row, as, v ? v : json_string(""));
}

/* --- ls --- */

/* One row; NULL: the file went meanwhile. */
static json_t *describe(const char *path, const char *shown)
{
    json_t *row;
    struct stat st;

    if (lstat(path, &st))
        return NULL;
    row = json_object();
    if (S_ISDIR(st.st_mode)) {
        json_object_set_new(row, "state", json_string("directory"));
        json_object_set_new(row, "size", json_string(""));
    } else {
        set_attribute(row, "state", path, CTL_PREFIX "state");
        json_object_set_new(row, "size", json_integer((json_int_t)st.st_size));
    }
    set_attribute(row, "tiers", path, CTL_PREFIX "tiers");
    set_attribute(row, "pin", path, CTL_PREFIX "pin");
    json_object_set_new(row, "path", text_of(shown));
    return row;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_entry(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static int list_directory(const char *dir, json_t *rows)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is_entry, by_name);

    if (n < 0)
        return ctl_complain(dir, errno);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        json_t *row;

        snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
        row = describe(path, entries[i]->d_name);
        if (row)
            json_array_append_new(rows, row);
        free(entries[i]);
    }
    free(entries);
    return CTL_OK;
}

static int list_path(const struct ctl *c, const char *arg, json_t *rows)
{
    char *path = ctl_path(c, arg);
    int rc = path ? ctl_check(path) : CTL_FAILED;
    struct stat st;

    if (!rc && lstat(path, &st))
        rc = ctl_complain(path, errno);
    else if (!rc && S_ISDIR(st.st_mode))
        rc = list_directory(path, rows);
    else if (!rc)
        json_array_append_new(rows, describe(path, arg));
    free(path);
    return rc;
}

int ctl_ls(const struct ctl *c, int n, char *args[])
{
    json_t *rows = json_array();
    int rc = n ? CTL_OK : list_path(c, ".", rows);

    for (int i = 0; i < n; i++)
        rc = ctl_worse(rc, list_path(c, args[i], rows));
    if (c->json) {
        ctl_print_json(rows);
        return rc;
    }
    if (json_array_size(rows))
        ctl_show_table(stdout, rows);
    json_decref(rows);
    return rc;
}

/* --- info --- */

/* Every attribute of ours under its short name, those of engines under their whole. NULL with errno. */
static json_t *collect(const char *path)
{
    char *names = malloc(CTL_VALUE_MAX);
    ssize_t n = names ? llistxattr(path, names, CTL_VALUE_MAX) : -1;
    json_t *object = n >= 0 ? json_object() : NULL;
    int error = errno;

    for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        bool own = !strncmp(p, CTL_PREFIX, strlen(CTL_PREFIX));
        json_t *v = own || !strncmp(p, "user.", 5) ? ctl_attribute(path, p) : NULL;

        if (v)
            json_object_set_new(object, own ? p + strlen(CTL_PREFIX) : p, v);
    }
    free(names);
    errno = error;
    return object;
}

/* NULL: *rc says why. */
static json_t *inform(const char *path, int *rc)
{
    json_t *all = json_object(), *attributes = NULL;
    struct stat st;
    char mode[8];

    *rc = ctl_check(path);
    if (!*rc && (lstat(path, &st) || !(attributes = collect(path))))
        *rc = ctl_complain(path, errno);
    if (*rc) {
        json_decref(all);
        return NULL;
    }
    snprintf(mode, sizeof(mode), "%04o", st.st_mode & 07777u);
    json_object_set_new(all, "path", text_of(path));
    if (!S_ISDIR(st.st_mode)) {
        json_object_set_new(all, "size", json_integer((json_int_t)st.st_size));
    }
    json_object_set_new(all, "mode", json_string(mode));
    json_object_set_new(all, "links", json_integer((json_int_t)st.st_nlink));
    json_object_update(all, attributes);
    json_decref(attributes);
    return all;
}

int ctl_info(const struct ctl *c, int n, char *args[])
{
    json_t *all = json_array(), *one;
    int rc = CTL_OK;
    size_t i;

    for (int k = 0; k < n; k++) {
        char *path = ctl_path(c, args[k]);
        int failed = CTL_FAILED;

        one = path ? inform(path, &failed) : NULL;
        if (one)
            json_array_append_new(all, one);
        else
            rc = ctl_worse(rc, failed);
        free(path);
    }
    if (c->json) { /* one path: one object */
        one = n == 1 ? json_incref(json_array_get(all, 0)) : json_incref(all);
        if (one)
            ctl_print_json(one);
    } else {
        json_array_foreach(all, i, one)
        {
            fputs(i ? "\n" : "", stdout);
            ctl_show_object(one);
        }
    }
    json_decref(all);
    return rc;
}
