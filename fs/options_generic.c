/* options_generic.c - mount options that every file system takes, and those meant for others.
 *
 * Pure functions over constant tables. The generic ones are handed to the kernel through
 * front_mount; what mount(8), systemd and other FUSE programs keep in fstab is dropped.
 */
#include "options_impl.h"

#include <stdio.h>

static const struct generic_name {
    const char *name;
    unsigned bit;
    bool on; /* whether the name sets or clears the bit */
} generic_names[] = {
    {"nosuid", 1 << 0, true},  {"suid", 1 << 0, false},      {"nodev", 1 << 1, true},
    {"dev", 1 << 1, false},    {"noexec", 1 << 2, true},     {"exec", 1 << 2, false},
    {"sync", 1 << 3, true},    {"async", 1 << 3, false},     {"noatime", 1 << 4, true},
    {"atime", 1 << 4, false},  {"nodiratime", 1 << 5, true}, {"diratime", 1 << 5, false},
    {"dirsync", 1 << 6, true}, {"relatime", 1 << 4, false},
};

/* Dropped; one that ends in '=' or '-' stands for all names that start like that. */
static const char *const dropped[] = {
    "defaults",    "auto",       "noauto",      "user",
    "nouser",      "users",      "owner",       "noowner",
    "group",       "nogroup",    "nofail",      "_netdev",
    "_rnetdev",    "norelatime", "strictatime", "nostrictatime",
    "lazytime",    "nolazytime", "iversion",    "noiversion",
    "mand",        "nomand",     "silent",      "loud",
    "nosymfollow", "symfollow",  "nonempty",    "default_permissions",
    "fsname",      "subtype",    "comment",     "helper",
    "uhelper",     "x-",         "X-",
};

static bool is_dropped(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(dropped); i++) {
        size_t n = strlen(dropped[i]);

        if (!strcmp(name, dropped[i]) ||
            (dropped[i][n - 1] == '-' && !strncmp(name, dropped[i], n)))
            return true;
    }
    return false;
}

bool options_take_generic(struct generic *g, const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(generic_names); i++) {
        if (strcmp(name, generic_names[i].name))
            continue;
        if (generic_names[i].on)
            g->set |= generic_names[i].bit;
        else
            g->set &= ~generic_names[i].bit;
        return true;
    }
    return is_dropped(name);
}

char *options_generic_text(const struct generic *g)
{
    struct text t = {0};

    for (size_t i = 0; i < ARRAY_SIZE(generic_names); i++) {
        if (generic_names[i].on && (g->set & generic_names[i].bit))
            text_printf(&t, "%s%s", t.len ? "," : "", generic_names[i].name);
    }
    return text_steal(&t, NULL);
}

const char *options_nearest(const char *name)
{
    const char *names[128];
    size_t n = 0;

    for (const struct conf_opt *o = l2fs_config_options; o->name && n < 64; o++)
        names[n++] = o->name;
    for (size_t i = 0; i < ARRAY_SIZE(generic_names) && n < ARRAY_SIZE(names); i++)
        names[n++] = generic_names[i].name;
    for (size_t i = 0; i < ARRAY_SIZE(dropped) && n < ARRAY_SIZE(names); i++)
        names[n++] = dropped[i];
    return text_nearest(name, names, n);
}
