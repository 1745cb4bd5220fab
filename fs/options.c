/* options.c - the arguments of mount.l2fs, by hand, from mount(8), and as mount.fuse.l2fs.
 *
 * Runs before there are threads (getopt keeps static state). -f is "foreground", as with every FUSE
 * program, not mount(8)'s "fake"; -s is mount(8)'s "sloppy".
 */
#include "options_impl.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>

#include "log.h"

enum { LONG_CHECK = 256, LONG_HELP };

static const struct option long_options[] = {
    {"check", no_argument, NULL, LONG_CHECK},
    {"help", optional_argument, NULL, LONG_HELP},
    {"version", no_argument, NULL, 'V'},
    {0},
};

/* The -o arguments in order; they wait until the JSON file is read. */
struct given {
    const char **texts;
    size_t n;
    const char *topic;
    bool help;
};

static int parse_flags(int argc, char *const argv[], struct options *o, struct given *g,
                       struct text *err)
{
    const char *const names[] = {"--check", "--help", "--version"};
    int c;

    optind = 0; /* glibc: start afresh */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":o:fdsnvhVt:N:", long_options, NULL)) != -1) {
        switch (c) {
        case 'o': g->texts[g->n++] = optarg; break;
        case 'f': o->foreground = true; break;
        case 'd': o->foreground = o->debug = true; break;
        case 's': o->sloppy = true; break;
        case 'v': o->verbose = true; break;
        case 'n': break; /* no mtab: there is none */
        case 't': break; /* fuse.l2fs */
        case 'N':
            free(o->namespace);
            o->namespace = strdup(optarg);
            break;
        case 'h': g->help = true; break;
        case LONG_HELP:
            g->help = true;
            g->topic = optarg;
            break;
        case 'V': o->action = OPTIONS_VERSION; break;
        case LONG_CHECK: o->action = OPTIONS_CHECK; break;
        case ':': text_printf(err, "option -%c needs a value", optopt); return -EINVAL;
        default:
            if (optopt) {
                text_printf(err, "unknown option -%c; mount.l2fs -h lists them", optopt);
            } else {
                const char *word = argv[optind - 1];
                const char *near = text_nearest(word, names, ARRAY_SIZE(names));

                text_printf(err, "unknown option %.80s; %s%s", word,
                            near ? "did you mean " : "mount.l2fs -h lists them", near ? near : "");
            }
            return -EINVAL;
        }
    }
    return 0;
}

static int need_arguments(int n, const struct options *o, struct text *err)
{
    if (o->action == OPTIONS_CHECK && n <= 2)
        return 0;
    if (n == 2)
        return 0;
    if (n > 2)
        text_puts(err, "too many arguments, expected mount.l2fs SPEC DIR [-o options]; "
                       "a value with spaces needs quotes");
    else
        text_printf(err,
                    "%s is missing; expected mount.l2fs SPEC DIR [-o options], see mount.l2fs -h",
                    n ? "the mount point DIR" : "SPEC, what to mount,");
    return -EINVAL;
}

static int take_arguments(int n, char *const args[], struct options *o, struct text *err)
{
    int rc = need_arguments(n, o, err);

    if (rc)
        return rc;
    if (n > 0) {
        o->spec = strdup(args[0]);
        if (!o->spec)
            return -ENOMEM;
    }
    if (n > 1) {
        o->dir = options_absolute(args[1]);
        if (!o->dir)
            return -ENOMEM;
    }
    return 0;
}

/* --- -o --- */

struct apply {
    struct options *o;
    struct generic generic;
    struct text *err;
};

static int apply_option(void *arg, const char *name, const char *value)
{
    struct apply *a = arg;
    struct text why = {0};
    int rc;

    if (!strcmp(name, "l2") && value)
        return options_add_l2(a->o, value, a->err);
    if (!strcmp(name, "rw") && !value)
        return options_set(a->o, "ro", "false", a->err);
    if (options_take_generic(&a->generic, name))
        return 0;
    rc = options_set(a->o, name, value, &why);
    if (rc == -ENOENT && a->o->sloppy) {
        text_printf(&a->o->warnings, "%s (ignored because of -s)\n", why.data ? why.data : name);
        rc = 0;
    } else if (rc) {
        text_append(a->err, why.data ? why.data : "", why.len);
    }
    text_fini(&why);
    return rc == -ENOENT ? -EINVAL : rc;
}

static int apply_all(struct options *o, const struct given *g, struct text *err)
{
    struct apply a = {.o = o, .err = err};
    AUTO_FREE char *generic = NULL;
    int rc = 0;

    for (size_t i = 0; i < g->n && !rc; i++)
        rc = options_split(g->texts[i], apply_option, &a, err);
    if (rc)
        return rc;
    generic = options_generic_text(&a.generic);
    if (!generic)
        return -ENOMEM;
    if (asprintf(&o->extra, "%s%s%s", o->cfg.read_only ? "ro" : "",
                 o->cfg.read_only && *generic ? "," : "", generic) < 0) {
        o->extra = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* "" means the default, as if it had not been given. */
static void drop_empty(char **text)
{
    if (*text && !**text) {
        free(*text);
        *text = NULL;
    }
}

static int check_log(struct options *o, struct text *err)
{
    const char *log;

    drop_empty(&o->cfg.log);
    log = o->cfg.log;
    if (o->debug)
        o->cfg.log_level = LOG_LEVEL_DEBUG;
    if (!log || log[0] == '/' || !strcmp(log, "stderr") || !strcmp(log, "syslog"))
        return 0;
    text_printf(err,
                "option log: \"%.80s\" is not allowed, expected stderr, syslog or an absolute path",
                log);
    return -EINVAL;
}

static int check_max_object(const struct options *o, struct text *err)
{
    if (o->cfg.max_object <= o->cfg.l1)
        return 0;
    text_printf(err, "option max_object: %llu is more than l1 (%llu)",
                (unsigned long long)o->cfg.max_object, (unsigned long long)o->cfg.l1);
    return -EINVAL;
}

static int read_all(struct options *o, const struct given *g, struct text *err)
{
    int rc = options_read_spec(o, err);

    if (!rc)
        rc = apply_all(o, g, err);
    if (!rc)
        rc = check_log(o, err);
    if (!rc)
        rc = check_max_object(o, err);
    if (!rc)
        rc = options_check_l2(o, err);
    if (!rc && o->spec)
        rc = options_name(o, err);
    return rc;
}

/* Everything behind the flags. */
static int parse_rest(int argc, char *const argv[], struct options *o, struct given *g,
                      struct text *err)
{
    int rc;

    if (g->help) {
        o->action = OPTIONS_HELP;
        if (!g->topic && optind < argc)
            g->topic = argv[optind];
        o->topic = g->topic ? strdup(g->topic) : NULL;
        return g->topic && !o->topic ? -ENOMEM : 0;
    }
    if (o->action == OPTIONS_VERSION)
        return 0;
    rc = take_arguments(argc - optind, argv + optind, o, err);
    if (rc)
        return rc;
    if (o->action != OPTIONS_CHECK)
        return read_all(o, g, err);
    rc = read_all(o, g, &o->problem);
    if (rc && rc != -ENOMEM && !o->problem.len)
        text_puts(&o->problem, strerror(-rc));
    return rc == -ENOMEM ? rc : 0;
}

int options_parse(int argc, char *const argv[], struct options *out, struct text *err)
{
    struct options o = {.action = OPTIONS_MOUNT};
    AUTO_FREE const char **texts = calloc((size_t)argc + 1, sizeof(*texts));
    struct given g = {.texts = texts};
    int rc = texts ? l2fs_config_init(&o.cfg) : -ENOMEM;

    if (!rc)
        rc = parse_flags(argc, argv, &o, &g, err);
    if (!rc)
        rc = parse_rest(argc, argv, &o, &g, err);
    if (rc) {
        if (rc == -ENOMEM && !err->len)
            text_puts(err, "out of memory");
        options_fini(&o);
        return rc;
    }
    *out = o;
    return 0;
}

void options_fini(struct options *o)
{
    l2fs_config_fini(&o->cfg);
    free(o->topic);
    free(o->spec);
    free(o->source);
    free(o->dir);
    free(o->namespace);
    free(o->extra);
    for (size_t i = 0; i < o->nbases; i++)
        free(o->bases[i]);
    free(o->bases);
    text_fini(&o->warnings);
    text_fini(&o->problem);
    memset(o, 0, sizeof(*o));
}
