/* ctl_set.c - verbs that set one attribute of keys and directories.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "units.h"

/* What is done to each path. */
struct order {
    const char *name, *value; /* of the attribute, whole */
    const char *done;         /* said of each */
    const char *busy;         /* why EBUSY */
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

    if (rc)
        return rc;
    if (!lsetxattr(path, o->name, o->value, strlen(o->value), 0))
        return CTL_OK;
    if (errno == EBUSY)
        return ctl_fail("%s: %s", path, o->busy);
    if (errno == EINVAL && o->invalid)
        return ctl_fail("%s: %s", path, o->invalid);
    return ctl_complain(path, errno);
}

static int carry_out_all(const struct ctl *c, const struct order *o, int n, char *args[])
{
    json_t *rows = json_array();
    int rc = CTL_OK;

    for (int i = 0; i < n; i++) {
        char *path = ctl_path(c, args[i]);
        int one = path ? carry_out(o, path) : CTL_FAILED;

        rc = ctl_worse(rc, one);
        if (c->json)
            json_array_append_new(rows, outcome(args[i], one ? "failed" : o->done));
        else if (!one)
            printf("%s: %s\n", args[i], o->done);
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
    struct order o = {CTL_PREFIX "pin", "soft", "pinned for 30m", "it cannot be pinned now",
                      "only keys are pinned, not directories"};
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
    struct order o = {CTL_PREFIX "pin", "none", "not pinned", "it is in use", NULL};

    return carry_out_all(c, &o, n, args);
}

int ctl_evict(const struct ctl *c, int n, char *args[])
{
    struct order o = {CTL_PREFIX "evict", "1", "evicted",
                      "stays in memory: it is open, pinned, or not stored yet (l2fsctl info)",
                      NULL};

    return carry_out_all(c, &o, n, args);
}

int ctl_retry(const struct ctl *c, int n, char *args[])
{
    struct order o = {CTL_PREFIX "retry", "1", "is tried again", "it is in use", NULL};

    return carry_out_all(c, &o, n, args);
}

int ctl_unlock(const struct ctl *c, int n, char *args[])
{
    struct order o = {CTL_PREFIX "unlock", "force", "unlocked", "it is in use", NULL};

    if (!c->force) {
        ctl_fail("unlock: this drops the pin and every lock in the tiers, whoever holds them; if "
                 "you are sure, "
                 "say --force");
        return CTL_USAGE;
    }
    return carry_out_all(c, &o, n, args);
}
