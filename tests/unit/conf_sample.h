/* conf_sample.h - an option table with every type, for the tests of options. */
#ifndef L2FS_TEST_CONF_SAMPLE_H
#define L2FS_TEST_CONF_SAMPLE_H

#include "conf.h"

#include <stddef.h>

#include "suite.h"

struct cfg {
    bool allow_other;
    int64_t threads;
    double ratio;
    uint64_t l1;
    uint64_t max_size;
    uint64_t timeout;
    char *name;
    int evict;
    json_t *adapters;
    int64_t any;
};

static const char *const policies[] = {"lru", "fifo", "noop", NULL};

static const struct conf_opt table[] = {
    {.name = "allow_other",
     .type = CONF_BOOL,
     .offset = offsetof(struct cfg, allow_other),
     .help = "let others in"},
    {.name = "threads",
     .type = CONF_INT,
     .offset = offsetof(struct cfg, threads),
     .def = "4",
     .min = 1,
     .max = 64,
     .help = "worker threads",
     .alias = "workers"},
    {.name = "ratio",
     .type = CONF_DOUBLE,
     .offset = offsetof(struct cfg, ratio),
     .def = "0.8",
     .min = 0,
     .max = 1,
     .help = "eviction ratio"},
    {.name = "l1",
     .type = CONF_SIZE,
     .offset = offsetof(struct cfg, l1),
     .def = "1G",
     .min = 65536,
     .max = 0,
     .help = "memory for staging"},
    {.name = "max_size_gb",
     .type = CONF_GIB,
     .offset = offsetof(struct cfg, max_size),
     .help = "capacity",
     .required = true},
    {.name = "timeout",
     .type = CONF_DURATION,
     .offset = offsetof(struct cfg, timeout),
     .def = "250ms",
     .min = 0.001,
     .max = 3600,
     .help = "how long to wait"},
    {.name = "name", .type = CONF_STRING, .offset = offsetof(struct cfg, name), .help = "a name"},
    {.name = "evict",
     .type = CONF_ENUM,
     .offset = offsetof(struct cfg, evict),
     .def = "fifo",
     .choices = policies,
     .help = "who goes first"},
    {.name = "adapters",
     .type = CONF_JSON,
     .offset = offsetof(struct cfg, adapters),
     .help = "adapter specs"},
    {.name = "any", .type = CONF_INT, .offset = offsetof(struct cfg, any)},
    {.name = NULL},
};

static struct cfg cfg;
static struct text err;

static inline void setup(void)
{
    memset(&cfg, 0xee, sizeof cfg);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(conf_defaults(table, &cfg), 0);
}

static inline void teardown(void)
{
    text_fini(&err);
    conf_fini(table, &cfg);
}

static inline int set(const char *name, const char *value)
{
    text_fini(&err);
    return conf_set(table, &cfg, name, value, 0, &err);
}

/* What errors say is allowed. */
#define BOOLS "true or false (yes/no, on/off, 1/0)"
#define SIZES "a size such as 64M or 1.5G from 64K up"
#define TIMES "a duration such as 250ms, 5s or 30m from 0.001s to 3600s"
#define GIBS "a positive number of GiB"

/* Adds a test case that runs `test` for _i in 0..n-1. */
static inline void add(Suite *s, const char *name, const TTest *test, size_t n)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test, 0, (int)n);
    suite_add_tcase(s, tc);
}

#endif
