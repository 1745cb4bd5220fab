/* options_help.c - what --help prints.
 *
 * Pure functions. The option lists come from the tables that also read the options, so they cannot
 * disagree; a test holds the man page against this text.
 */
#include "options_impl.h"

#include "adapter.h"

static const char usage[] =
    "usage: mount.l2fs SPEC DIR [-o OPTION[,...]]... [-dfnsv]\n"
    "       mount.l2fs --check [SPEC [DIR]] [-o ...]\n"
    "       mount.l2fs --help [adapters | ADAPTER]\n"
    "\n"
    "Mounts a tree of cache files over storage tiers. It returns when the mount answers.\n"
    "\n"
    "SPEC  a directory     the fs adapter on it\n"
    "      TYPE:a=1,b=2    one adapter, such as mock: or null:\n"
    "      pd-send://HOST:ALLOC[,INIT][,a=1,b=2]   what is written goes to the mount that is\n"
    "      pd-recv://HOST:ALLOC[,INIT][,a=1,b=2]   ... this one; the pd adapter\n"
    "      FILE            JSON: {\"l1\": \"8G\", \"l2\": [{\"type\": \"fs\", \"base_path\": "
    "\"/data\"}], ...}\n"
    "      none            only what -o l2= gives\n"
    "\n"
    "  -f          stay in the foreground, log to stderr\n"
    "  -d          -f, and log everything\n"
    "  -s          unknown -o options are warned about and ignored\n"
    "  -v          say what was mounted\n"
    "  -n          ignored (mount(8): no mtab)\n"
    "  -t TYPE     ignored (mount(8): fuse.l2fs)\n"
    "  -N NS       mount in another mount namespace, a process id or a path\n"
    "  -h, --help  this text; with \"adapters\" or a name: the adapters and their options\n"
    "  -V          version\n"
    "  --check     look at this machine, mount nothing; exit 1 when a mount would fail\n"
    "\n"
    "Options of -o, by which a JSON file is overridden; \"noNAME\" switches a NAME off:\n";

static const char usage_end[] = "\n"
                                "ro rw nosuid suid nodev dev noexec exec sync async dirsync "
                                "noatime atime relatime nodiratime are\n"
                                "taken as mount(8) has them; those for mount(8) and systemd "
                                "(_netdev, nofail, noauto, user, x-*,\n"
                                "...) are ignored.\n"
                                "\n"
                                "Exit codes are those of mount(8): 1 usage, 2 system error, 4 "
                                "internal, 8 interrupted, 32 failed.\n";

static void help_adapters(struct text *out)
{
    text_puts(out, "Adapters; mount.l2fs --help NAME lists the options of one:\n");
    for (size_t i = 0; adapter_registry[i]; i++)
        text_printf(out, "  %-10s %s\n", adapter_registry[i]->name, adapter_registry[i]->summary);
}

static void help_adapter(const struct adapter_ops *ops, struct text *out)
{
    text_printf(out, "%s: %s\n", ops->name, ops->summary);
    if (ops->options && ops->options->name) {
        text_printf(out, "Options of {\"type\": \"%s\", ...}:\n", ops->name);
        conf_help(ops->options, out);
    } else {
        text_puts(out, "It has no options of its own.\n");
    }
}

int options_help(const char *topic, struct text *out, struct text *err)
{
    const char *names[64];
    const char *near;
    size_t n = 0;

    if (!topic) {
        text_puts(out, usage);
        conf_help(l2fs_config_options, out);
        text_puts(out, usage_end);
        return 0;
    }
    if (!strcmp(topic, "adapters")) {
        help_adapters(out);
        return 0;
    }
    names[n++] = "adapters";
    for (size_t i = 0; adapter_registry[i]; i++) {
        if (!strcmp(adapter_registry[i]->name, topic)) {
            help_adapter(adapter_registry[i], out);
            return 0;
        }
        if (n < ARRAY_SIZE(names))
            names[n++] = adapter_registry[i]->name;
    }
    near = text_nearest(topic, names, n);
    text_printf(err, "--help %.80s: no such adapter", topic);
    if (near)
        text_printf(err, "; did you mean %s?", near);
    return -ENOENT;
}
