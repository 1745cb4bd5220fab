/* l2fsctl.c - looks at a mounted l2fs and steers it.
 *
 * Single-threaded. It uses only the files below .l2fs and the user.l2fs.* attributes, so everything
 * it does can be done with cat, getfattr and setfattr as well. Options of a command may stand
 * before or behind its arguments.
 */
#include "ctl.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

#define OPTIONS_MAX 16
#define LONG_ONLY 256 /* getopt's value of option i without a letter: LONG_ONLY + i */

/* The options that may stand where getopt now reads, in its form. */
struct accepted {
    const struct ctl_option *options[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 3];
    char letters[3 * OPTIONS_MAX];
    size_t n;
};

static int wrong_use(const char *word, const char *what)
{
    ctl_fail("%s: %s", word, what);
    fputs("try l2fsctl -h\n", stderr);
    return CTL_USAGE;
}

static void accept_options(struct accepted *a, const struct ctl_option *o)
{
    for (; o && o->name && a->n < OPTIONS_MAX; o++) {
        int value = o->letter ? o->letter : LONG_ONLY + (int)a->n;
        size_t len = strlen(a->letters);

        a->options[a->n] = o;
        a->longs[a->n] =
            (struct option){o->name, o->arg ? required_argument : no_argument, NULL, value};
        if (o->letter)
            snprintf(a->letters + len, sizeof(a->letters) - len, "%c%s", o->letter,
                     o->arg ? ":" : "");
        a->n++;
    }
}

static void accept_all(struct accepted *a, const struct ctl_verb *v)
{
    /* "+": up to the command. */
    snprintf(a->letters, sizeof(a->letters), "%shV", v ? "" : "+");
    accept_options(a, ctl_globals);
    accept_options(a, v ? v->options : NULL);
    a->longs[a->n] = (struct option){"help", no_argument, NULL, 'h'};
    a->longs[a->n + 1] = (struct option){"version", no_argument, NULL, 'V'};
}

static const struct ctl_option *option_of(const struct accepted *a, int value)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->longs[i].val == value)
            return a->options[i];
    return NULL;
}

/* 0 or CTL_USAGE, said. */
static int set_option(struct ctl *c, const struct ctl_option *o, const char *value)
{
    char *member = (char *)c + o->member, *end;

    switch (o->kind) {
    case CTL_FLAG: *(bool *)(void *)member = true; return 0;
    case CTL_TEXT: *(const char **)(void *)member = value; return 0;
    case CTL_TIME:
        if (!units_parse_duration(value, (uint64_t *)(void *)member) && *(uint64_t *)(void *)member)
            return 0;
        return wrong_use(o->name, "not a time such as 500ms, 5s or 2m");
    case CTL_COUNT:
        *(uint64_t *)(void *)member = strtoull(value, &end, 10);
        if (*value >= '1' && *value <= '9' && !*end)
            return 0;
        break;
    }
    return wrong_use(o->name, "not a number above 0");
}

/* Reads options; v NULL: those before the command. 0, CTL_USAGE said, or -1: answered already. */
static int read_options(struct ctl *c, const struct ctl_verb *v, int argc, char *argv[])
{
    struct accepted a = {0};
    int value, err;

    accept_all(&a, v);
    while ((value = getopt_long(argc, argv, a.letters, a.longs, NULL)) != -1) {
        const struct ctl_option *o = option_of(&a, value);

        if (value == 'h' && v)
            ctl_help_verb(stdout, v);
        else if (value == 'h')
            ctl_help(stdout);
        else if (value == 'V')
            puts("l2fsctl " PACKAGE_VERSION);
        if (value == 'h' || value == 'V')
            return -1;
        if (!o) {
            fprintf(stderr, "try l2fsctl %s%s-h\n", v ? v->name : "", v ? " " : "");
            return CTL_USAGE;
        }
        err = set_option(c, o, optarg);
        if (err)
            return err;
    }
    return 0;
}

static int unknown(const char *name)
{
    const char *near = ctl_nearest_verb(name);
    char what[128];

    snprintf(what, sizeof(what), "no such command%s%s%s", near ? "; did you mean " : "",
             near ? near : "", near ? "?" : "");
    return wrong_use(name, what);
}

static int run_verb(struct ctl *c, int argc, char *argv[])
{
    const struct ctl_verb *v = ctl_find_verb(argv[0]);
    int n, err;

    if (!v)
        return unknown(argv[0]);
    optind = 0; /* getopt begins anew */
    err = read_options(c, v, argc, argv);
    if (err)
        return err < 0 ? CTL_OK : err;
    n = argc - optind;
    if (n > v->max)
        return wrong_use(v->name, v->max ? "too many arguments" : "takes no arguments");
    if (n < v->min)
        return wrong_use(v->name, "needs a path");
    return v->run(c, n, argv + optind);
}

int main(int argc, char *argv[])
{
    struct ctl c = {0};
    int rc = read_options(&c, NULL, argc, argv);

    if (!rc && optind == argc)
        rc = wrong_use("usage", "a command is missing");
    else if (!rc)
        rc = run_verb(&c, argc - optind, argv + optind);
    if (rc < 0)
        rc = CTL_OK;
    if (fflush(stdout) && !rc)
        rc = ctl_fail("stdout: %m");
    return rc;
}
