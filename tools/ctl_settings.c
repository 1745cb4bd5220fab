/* ctl_settings.c - what can be changed below .l2fs: options of the running mount, and its adapters.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* One attribute of MOUNT/.l2fs/FILE; the daemon's own sentence says why not. */
static int set_control(const char *mount, const char *file, const char *name, const char *value)
{
    char path[PATH_MAX], attribute[XATTR_NAME_MAX + 1];
    json_t *why;
    int error;

    snprintf(path, sizeof(path), "%s/.l2fs/%s", mount, file);
    snprintf(attribute, sizeof(attribute), CTL_PREFIX "%s", name);
    if (!lsetxattr(path, attribute, value, strlen(value), 0))
        return CTL_OK;
    error = errno;
    if (error == ENOENT && strrchr(file, '/')) {
        ctl_fail("there is no adapter %s", strrchr(file, '/') + 1);
        return CTL_MISSING;
    }
    if (error == EPERM && lgetxattr(path, attribute, NULL, 0) < 0 && errno == ENODATA)
        return ctl_fail("%s cannot be set while mounted", name);
    if (error == EACCES)
        return ctl_fail("%s: only the owner of the mount and root set it", name);
    why = ctl_attribute(path, CTL_PREFIX "error");
    ctl_fail("%s: %s", name, why ? json_string_value(why) : strerror(error));
    json_decref(why);
    return CTL_FAILED;
}

/* "NAME=VALUE" each. */
static int set_all(const char *mount, const char *file, int n, char *args[])
{
    int rc = CTL_OK;

    for (int i = 0; i < n; i++) {
        char *equals = strchr(args[i], '=');
        int one;

        if (!equals) {
            ctl_fail("\"%s\" is not NAME=VALUE", args[i]);
            return CTL_USAGE;
        }
        *equals = '\0';
        one = set_control(mount, file, args[i], equals + 1);
        if (!one)
            printf("%s is now %s\n", args[i], equals + 1);
        rc = ctl_worse(rc, one);
    }
    return rc;
}

static int show_config(const struct ctl *c, const char *mount)
{
    json_t *config = ctl_read_json(mount, "config");

    if (!config)
        return CTL_MISSING;
    if (c->json) {
        ctl_print_json(config);
        return CTL_OK;
    }
    ctl_show_object(config);
    json_decref(config);
    return CTL_OK;
}

int ctl_config(const struct ctl *c, int n, char *args[])
{
    char *mount = ctl_find_mount(c);
    int rc = CTL_MISSING;

    if (mount)
        rc = n ? set_all(mount, "config", n, args) : show_config(c, mount);
    free(mount);
    return rc;
}

/* --- adapters --- */

/* Says what the daemon calls it: that is not in `before`. */
static void tell_new(const char *mount, json_t *before)
{
    json_t *now = ctl_read_adapters(mount), *adapter;
    const char *name;

    json_object_foreach(now, name, adapter)
    {
        if (!json_object_get(before, name))
            printf("%s: added\n", name);
    }
    json_decref(now);
}

static int add(const char *mount, const char *adapter)
{
    json_t *before = ctl_read_adapters(mount);
    int rc = before ? set_control(mount, "adapters", "adapter_add", adapter) : CTL_MISSING;

    if (!rc)
        tell_new(mount, before);
    json_decref(before);
    return rc;
}

static int remove_adapter(const struct ctl *c, const char *mount, const char *name)
{
    char value[PATH_MAX], timeout[48] = "";
    int rc;

    if (c->timeout)
        snprintf(timeout, sizeof(timeout), " timeout=%llums",
                 (unsigned long long)(c->timeout / NSEC_PER_MSEC));
    snprintf(value, sizeof(value), "%s%s%s", name, c->force ? " force" : "", timeout);
    rc = set_control(mount, "adapters", "adapter_remove", value);
    if (!rc)
        printf("%s: removed\n", name);
    return rc;
}

static int set_adapter(const char *mount, const char *name, int n, char *args[])
{
    char file[PATH_MAX];

    snprintf(file, sizeof(file), "adapters/%s", name);
    return set_all(mount, file, n, args);
}

static int change_adapters(const struct ctl *c, const char *mount, int n, char *args[])
{
    if (n == 2 && !strcmp(args[0], "add"))
        return add(mount, args[1]);
    if (n == 2 && !strcmp(args[0], "remove"))
        return remove_adapter(c, mount, args[1]);
    if (n > 2 && !strcmp(args[0], "set"))
        return set_adapter(mount, args[1], n - 2, args + 2);
    ctl_fail("adapters: expected nothing, add JSON, remove NAME, or set NAME ATTRIBUTE=VALUE...");
    return CTL_USAGE;
}

int ctl_adapters(const struct ctl *c, int n, char *args[])
{
    char *mount = ctl_find_mount(c);
    int rc = CTL_MISSING;

    if (mount)
        rc = n ? change_adapters(c, mount, n, args) : ctl_show_adapters(c, mount);
    free(mount);
    return rc;
}
