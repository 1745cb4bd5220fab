/* options.h - from the command line to a checked struct l2fs_config. Level 5.
 *
 * Understood alike: `mount.l2fs SPEC DIR [-o ...]` typed by hand, as mount(8) calls it for fstab
 * and systemd (`mount.l2fs SPEC DIR -s -n -v -o rw,...`), and as mount.fuse.l2fs. The order is:
 * defaults, the JSON file that SPEC names, then every -o from left to right.
 *
 * Thread model: called once, before there are threads.
 */
#ifndef L2FS_OPTIONS_H
#define L2FS_OPTIONS_H

#include "instance.h"

enum options_action { OPTIONS_MOUNT, OPTIONS_CHECK, OPTIONS_HELP, OPTIONS_VERSION };

struct options {
    struct l2fs_config cfg; /* name and staging are filled in when SPEC is there */
    enum options_action action;
    char *topic;     /* of --help: NULL, "adapters" or the name of an adapter */
    char *spec;      /* SPEC as given; NULL only with --check */
    char *source;    /* what /proc/mounts shows: the absolute path of SPEC, or SPEC itself */
    char *dir;       /* absolute mount point; NULL only with --check */
    char *namespace; /* -N: path of a mount namespace, or NULL */
    char *extra;     /* generic mount options for front_mount, "" when there are none */
    char **bases;    /* absolute base_path of every adapter that has one, in index order */
    size_t nbases;
    struct text warnings; /* lines about options that -s made us skip */
    struct text problem;  /* with --check only: what is wrong with SPEC, DIR or the options */
    bool foreground;      /* -f */
    bool debug;           /* -d: foreground and debug log */
    bool sloppy;          /* -s */
    bool verbose;         /* -v */
};

/* Reads the arguments and everything they name. 0, or -errno with one sentence in `err` and
 * nothing to free: -EINVAL (usage, bad option or value), -ENOENT/-ENOTDIR/-EACCES/-EROFS (SPEC),
 * -ENOMEM. */
int options_parse(int argc, char *const argv[], struct options *out, struct text *err);
void options_fini(struct options *o);

/* --help, --help adapters, --help ADAPTER. -ENOENT with `err`: no such adapter. */
int options_help(const char *topic, struct text *out, struct text *err);

/* One -o argument, cut at its commas. A value that starts with { or [ runs to its closing bracket,
 * one in double quotes to the closing quote, and a backslash protects a comma elsewhere. fn gets
 * "name" and "value" (NULL: none) and returns 0 to go on. 0, -EINVAL with `err`, -ENOMEM, or what
 * fn returned. */
typedef int options_fn(void *arg, const char *name, const char *value);
int options_split(const char *text, options_fn *fn, void *arg, struct text *err);

#endif
