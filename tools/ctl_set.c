/* ctl_set.c - verbs that set one attribute of keys and directories.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "units.h"

/* What is done to each path. */
struct order {
    const char *name, *value; /* of the attribute, whole */
    const char *done;         /* said of each */
    const char *done_below;   /* said of directories; NULL: the same */
    const char *busy;         /* why EBUSY; NULL: what ctl_would_leave says */
    const char *invalid;      /* why EINVAL */
};

static json_t *outcome(const char *path, const char *what)
{
    json_t *row = json_object(), *name = json_string(path);

    json_object_set_new(row, "path", name ? name : json_string("(not UTF-8)"));
    json_object_set_new(row, "outcome", json_string(what));
    return row;
}

static int carry_out(const struct order *o, const char *path)
{
    int rc = ctl_check(path);
    char why[160] = "";

    if (rc)
        return rc;
    if (!lsetxattr(path, o->name, o->value, strlen(o->value), 0))
        return CTL_OK;
    if (errno == EBUSY && (o->busy || ctl_path_would_leave(path, why, sizeof(why))))
        return ctl_fail("%s: %s", path, o->busy ? o->busy : "is in use at this moment");
    if (*why)
        return ctl_fail("%s: %s", path, why);
    if (errno == EINVAL && o->invalid)
        return ctl_fail("%s: %s", path, o->invalid);
    return ctl_complain(path, errno);
}

static bool is_directory(const char *path)
{
    struct stat st;

    return !lstat(path, &st) && S_ISDIR(st.st_mode);
}

static int carry_out_all(const struct ctl *c, const struct order *o, int n, char *args[])
{
    json_t *rows = json_array();
    int rc = CTL_OK;

    for (int i = 0; i < n; i++) {
        char *path = ctl_path(c, args[i]);
        int one = path ? carry_out(o, path) : CTL_FAILED;
        const char *done = o->done_below && path && is_directory(path) ? o->done_below : o->done;

        rc = ctl_worse(rc, one);
        if (c->json)
            json_array_append_new(rows, outcome(args[i], one ? "failed" : done));
        else if (!one)
            printf("%s: %s\n", args[i], done);
        free(path);
    }
    if (c->json)
        ctl_print_json(rows);
    else
        json_decref(rows);
    return rc;
}

int ctl_pin(const struct ctl *c, int n, char *args[])
{
    struct order o = {.name = CTL_PREFIX "pin",
                      .value = "soft",
                      .done = "pinned for 30m",
                      .busy = "it is in use",
                      .invalid = "only keys are pinned, not directories"};
    char value[64], done[80];
    uint64_t ns;

    if (c->hard && c->lasting) {
        ctl_fail("pin: --hard and --for exclude each other");
        return CTL_USAGE;
    }
    if (c->lasting && (units_parse_duration(c->lasting, &ns) || !ns || strlen(c->lasting) > 32)) {
        ctl_fail("pin: --for %s is not a time such as 90s, 30m or 2h", c->lasting);
        return CTL_USAGE;
    }
    if (c->hard) {
        o.value = "hard";
        o.done = "pinned";
    } else if (c->lasting) {
        snprintf(value, sizeof(value), "soft=%s", c->lasting);
        snprintf(done, sizeof(done), "pinned for %s", c->lasting);
        o.value = value;
        o.done = done;
    }
    return carry_out_all(c, &o, n, args);
}

int ctl_unpin(const struct ctl *c, int n, char *args[])
{
    struct order o = {
        .name = CTL_PREFIX "pin", .value = "none", .done = "not pinned", .busy = "it is in use"};

    return carry_out_all(c, &o, n, args);
}

int ctl_evict_paths(const struct ctl *c, int n, char *args[])
{
    struct order o = {.name = CTL_PREFIX "evict",
                      .value = "1",
                      .done = "evicted",
                      .done_below =
                          "what may leave has left; evict --dry-run tells what stays and why"};

    return carry_out_all(c, &o, n, args);
}

int ctl_retry(const struct ctl *c, int n, char *args[])
{
    struct order o = {.name = CTL_PREFIX "retry",
                      .value = "1",
                      .done = "is tried again",
                      .done_below = "what failed is tried again",
                      .busy = "it is in use"};

    return carry_out_all(c, &o, n, args);
}

int ctl_unlock(const struct ctl *c, int n, char *args[])
{
    struct order o = {.name = CTL_PREFIX "unlock",
                      .value = "force",
                      .done = "unlocked",
                      .busy = "it is in use",
                      .invalid = "only keys are unlocked, not directories"};

    if (!c->force) {
        ctl_fail("unlock: this drops the pin and every lock in the tiers, whoever holds them; if "
                 "you are sure, "
                 "say --force");
        return CTL_USAGE;
    }
    return carry_out_all(c, &o, n, args);
}

/* --- cancel --- */

static int cancel_all(const struct ctl *c, const char *mount, int n, char *args[])
{
    json_t *rows = json_array();
    char path[PATH_MAX];
    int rc = CTL_OK;

    snprintf(path, sizeof(path), "%s/.l2fs", mount);
    for (int i = 0; i < n; i++) {
        struct order o = {.name = CTL_PREFIX "cancel",
                          .value = args[i],
                          .busy = "it is in use",
                          .invalid = "the id of a request has 1 to 255 bytes"};
        int one = carry_out(&o, path);

        rc = ctl_worse(rc, one);
        if (c->json)
            json_array_append_new(rows, outcome(args[i], one ? "failed" : "cancelled"));
        else if (!one)
            printf("%s: cancelled\n", args[i]);
    }
    if (c->json)
        ctl_print_json(rows);
    else
        json_decref(rows);
    return rc;
}

int ctl_cancel(const struct ctl *c, int n, char *args[])
{
    char *mount = ctl_find_mount(c);
    int rc = mount ? cancel_all(c, mount, n, args) : CTL_MISSING;

    free(mount);
    return rc;
}

/* --- quota --- */

static int show_quota(const struct ctl *c, const char *dir, const char *path)
{
    json_t *quota = ctl_attribute(path, CTL_PREFIX "quota"), *name = json_string(dir);
    json_t *row = json_object();
    struct statvfs st;

    if (!quota || statvfs(path, &st)) {
        json_decref(quota);
        json_decref(name);
        json_decref(row);
        return ctl_fail("%s: not a directory of this mount", dir);
    }
    json_object_set_new(row, "path", name ? name : json_string("(not UTF-8)"));
    json_object_set_new(row, "quota", quota);
    json_object_set_new(
        row, "used",
        json_integer((json_int_t)(st.f_blocks - st.f_bfree) * (json_int_t)st.f_frsize));
    json_object_set_new(row, "available",
                        json_integer((json_int_t)st.f_bavail * (json_int_t)st.f_frsize));
    if (c->json) {
        ctl_print_json(row);
        return CTL_OK;
    }
    ctl_show_object(row);
    json_decref(row);
    return CTL_OK;
}

int ctl_quota(const struct ctl *c, int n, char *args[])
{
    struct order o = {.name = CTL_PREFIX "quota",
                      .value = n > 1 ? args[1] : NULL,
                      .done = "quota set",
                      .busy = "it is in use",
                      .invalid = "a quota is none or a size such as 100G, of a directory"};
    char *path = ctl_path(c, args[0]);
    int rc = path ? ctl_check(path) : CTL_FAILED;

    if (!rc)
        rc = n > 1 ? carry_out_all(c, &o, 1, args) : show_quota(c, args[0], path);
    free(path);
    return rc;
}
