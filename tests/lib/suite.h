/* suite.h - main of a unit test program that is one Check suite. */
#ifndef L2FS_TEST_SUITE_H
#define L2FS_TEST_SUITE_H

#include <check.h>
#include <stdlib.h>

#include "base.h"

static inline int suite_run(Suite *s)
{
    SRunner *runner = srunner_create(s);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Adds a test case of several tests: suite_add(s, "name", (const TTest *[]){a, b, NULL}). */
static inline void suite_add(Suite *s, const char *name, const TTest *const *tests)
{
    TCase *tc = tcase_create(name);

    for (; *tests; tests++)
        tcase_add_test(tc, *tests);
    suite_add_tcase(s, tc);
}

/* The same, each test run for _i in 0..n-1. */
static inline void suite_add_loop(Suite *s, const char *name, const TTest *const *tests, size_t n)
{
    TCase *tc = tcase_create(name);

    for (; *tests; tests++)
        tcase_add_loop_test(tc, *tests, 0, (int)n);
    suite_add_tcase(s, tc);
}

#define TESTS(...) ((const TTest *const[]){__VA_ARGS__, NULL})

#endif
