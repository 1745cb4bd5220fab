/* options_fixture.h - one parsed command line per test. Included by one file per program. */
#ifndef L2FS_TEST_OPTIONS_FIXTURE_H
#define L2FS_TEST_OPTIONS_FIXTURE_H

#include <stdio.h>

#include "options_impl.h"
#include "suite.h"

static struct options opt;
static struct text err;

static inline void setup(void)
{
    memset(&opt, 0, sizeof(opt));
    memset(&err, 0, sizeof(err));
}

static inline void teardown(void)
{
    options_fini(&opt);
    text_fini(&err);
}

/* The program's name is put before the arguments; getopt may move them about. */
static inline int parse_args(const char *const *args, int n)
{
    char **argv = calloc((size_t)n + 2, sizeof(*argv)), **copy;
    int rc;

    argv[0] = strdup("mount.l2fs");
    for (int i = 0; i < n; i++)
        argv[i + 1] = strdup(args[i]);
    copy = calloc((size_t)n + 2, sizeof(*copy));
    memcpy(copy, argv, ((size_t)n + 2) * sizeof(*copy));
    rc = options_parse(n + 1, argv, &opt, &err);
    for (int i = 0; i <= n; i++)
        free(copy[i]);
    free(copy);
    free(argv);
    return rc;
}

#define parse(...)                                                                                 \
    parse_args((const char *const[]){__VA_ARGS__},                                                 \
               (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static inline void add(Suite *s, const char *name, const TTest *test, size_t n)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test, 0, (int)n);
    suite_add_tcase(s, tc);
}

#endif
