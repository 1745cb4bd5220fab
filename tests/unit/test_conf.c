/* test_conf.c - defaults, every type from text, what errors say, --help. JSON is in
 * test_conf_json.c. */
#include "conf_sample.h"

START_TEST(defaults)
{
    ck_assert(!cfg.allow_other);
    ck_assert_int_eq(cfg.threads, 4);
    ck_assert_double_eq(cfg.ratio, 0.8);
    ck_assert_uint_eq(cfg.l1, GIB);
    ck_assert_uint_eq(cfg.max_size, 0);
    ck_assert_uint_eq(cfg.timeout, 250 * NSEC_PER_MSEC);
    ck_assert_ptr_null(cfg.name);
    ck_assert_int_eq(cfg.evict, 1);
    ck_assert_ptr_null(cfg.adapters);
}
END_TEST

START_TEST(bad_default_is_told)
{
    static const struct conf_opt bad[] = {
        {.name = "name", .type = CONF_STRING, .offset = offsetof(struct cfg, name), .def = "x"},
        {.name = "threads", .type = CONF_INT, .offset = offsetof(struct cfg, threads), .def = "x"},
        {.name = NULL},
    };
    struct cfg other;

    ck_assert_int_eq(conf_defaults(bad, &other), -EINVAL);
    ck_assert_ptr_null(other.name);
}
END_TEST

static const struct {
    const char *name, *value;
    bool result;
} bools[] = {
    {"allow_other", NULL, true},    {"allow_other", "true", true}, {"allow_other", "yes", true},
    {"allow_other", "on", true},    {"allow_other", "1", true},    {"allow_other", "false", false},
    {"allow_other", "no", false},   {"allow_other", "off", false}, {"allow_other", "0", false},
    {"noallow_other", NULL, false},
};

START_TEST(text_bool)
{
    cfg.allow_other = !bools[_i].result;
    ck_assert_int_eq(set(bools[_i].name, bools[_i].value), 0);
    ck_assert(cfg.allow_other == bools[_i].result);
}
END_TEST

START_TEST(text_values)
{
    ck_assert_int_eq(set("threads", "64"), 0);
    ck_assert_int_eq(cfg.threads, 64);
    ck_assert_int_eq(set("workers", "1"), 0);
    ck_assert_int_eq(cfg.threads, 1);
    ck_assert_int_eq(set("any", "-9223372036854775808"), 0);
    ck_assert_int_eq(cfg.any, INT64_MIN);
    ck_assert_int_eq(set("ratio", "2.5e-1"), 0);
    ck_assert_double_eq(cfg.ratio, 0.25);
    ck_assert_int_eq(set("l1", "1.5g"), 0);
    ck_assert_uint_eq(cfg.l1, 3 * GIB / 2);
    ck_assert_int_eq(set("max_size_gb", "0.5"), 0);
    ck_assert_uint_eq(cfg.max_size, GIB / 2);
    ck_assert_int_eq(set("timeout", "5"), 0);
    ck_assert_uint_eq(cfg.timeout, 5 * NSEC_PER_SEC);
    ck_assert_int_eq(set("evict", "noop"), 0);
    ck_assert_int_eq(cfg.evict, 2);
    ck_assert_int_eq(set("name", "first"), 0);
    ck_assert_int_eq(set("name", "a=b,c"), 0);
    ck_assert_str_eq(cfg.name, "a=b,c");
    ck_assert_int_eq(set("name", ""), 0);
    ck_assert_str_eq(cfg.name, "");
    ck_assert_ptr_null(err.data);
}
END_TEST

START_TEST(share_of_a_whole)
{
    ck_assert_int_eq(conf_set(table, &cfg, "l1", "25%", 8 * GIB, &err), 0);
    ck_assert_uint_eq(cfg.l1, 2 * GIB);
    ck_assert_int_eq(set("l1", "25%"), -EINVAL);
    ck_assert_uint_eq(cfg.l1, 2 * GIB);
}
END_TEST

static const struct {
    const char *name, *value;
    int rc;
    const char *message;
} refused[] = {
    {"allow_other", "maybe", -EINVAL,
     "option allow_other: \"maybe\" is not allowed, expected " BOOLS},
    {"allow_other", "", -EINVAL, "option allow_other: \"\" is not allowed, expected " BOOLS},
    {"threads", "0", -EINVAL,
     "option threads: \"0\" is not allowed, expected a whole number from 1 to 64"},
    {"workers", "65", -EINVAL,
     "option threads: \"65\" is not allowed, expected a whole number from 1 to 64"},
    {"threads", "4x", -EINVAL,
     "option threads: \"4x\" is not allowed, expected a whole number from 1 to 64"},
    {"threads", NULL, -EINVAL,
     "option threads: needs a value, expected a whole number from 1 to 64"},
    {"any", "9223372036854775808", -EINVAL,
     "option any: \"9223372036854775808\" is not allowed, expected a whole number"},
    {"any", " 1", -EINVAL, "option any: \" 1\" is not allowed, expected a whole number"},
    {"ratio", "1.01", -EINVAL,
     "option ratio: \"1.01\" is not allowed, expected a number from 0 to 1"},
    {"ratio", "nan", -EINVAL,
     "option ratio: \"nan\" is not allowed, expected a number from 0 to 1"},
    {"ratio", "0x1p-1", -EINVAL,
     "option ratio: \"0x1p-1\" is not allowed, expected a number from 0 to 1"},
    {"ratio", "", -EINVAL, "option ratio: \"\" is not allowed, expected a number from 0 to 1"},
    {"l1", "64", -EINVAL, "option l1: \"64\" is not allowed, expected " SIZES},
    {"l1", "lots", -EINVAL, "option l1: \"lots\" is not allowed, expected " SIZES},
    {"max_size_gb", "0", -EINVAL, "option max_size_gb: \"0\" is not allowed, expected " GIBS},
    {"max_size_gb", "-1", -EINVAL, "option max_size_gb: \"-1\" is not allowed, expected " GIBS},
    {"max_size_gb", "1e-30", -EINVAL,
     "option max_size_gb: \"1e-30\" is not allowed, expected " GIBS},
    {"max_size_gb", "1e30", -EINVAL, "option max_size_gb: \"1e30\" is not allowed, expected " GIBS},
    {"max_size_gb", "1e999", -EINVAL,
     "option max_size_gb: \"1e999\" is not allowed, expected " GIBS},
    {"timeout", "2h", -EINVAL, "option timeout: \"2h\" is not allowed, expected " TIMES},
    {"timeout", "5 s", -EINVAL, "option timeout: \"5 s\" is not allowed, expected " TIMES},
    {"name", NULL, -EINVAL, "option name: needs a value, expected text"},
    {"evict", "lrx", -EINVAL,
     "option evict: \"lrx\" is not allowed, expected one of lru, fifo, noop; did you mean "
     "\"lru\"?"},
    {"evict", "random", -EINVAL,
     "option evict: \"random\" is not allowed, expected one of lru, fifo, noop"},
    {"evict", NULL, -EINVAL, "option evict: needs a value, expected one of lru, fifo, noop"},
    {"adapters", "[]", -EINVAL,
     "option adapters: \"[]\" is not allowed, expected a JSON value, in the JSON form of the "
     "options only"},
    {"timeot", "5", -ENOENT, "unknown option \"timeot\"; did you mean \"timeout\"?"},
    {"worker", "5", -ENOENT, "unknown option \"worker\"; did you mean \"workers\"?"},
    {"noallow_other", "true", -ENOENT,
     "unknown option \"noallow_other\"; did you mean \"allow_other\"?"},
    {"nothreads", NULL, -ENOENT, "unknown option \"nothreads\"; did you mean \"threads\"?"},
    {"zzzzzzzzzzzz", NULL, -ENOENT,
     "unknown option \"zzzzzzzzzzzz\"; known: allow_other, threads, ratio, l1, max_size_gb, "
     "timeout, name, evict, adapters, any"},
};

START_TEST(text_refuses)
{
    struct cfg before = cfg;

    ck_assert_int_eq(set(refused[_i].name, refused[_i].value), refused[_i].rc);
    ck_assert_str_eq(err.data, refused[_i].message);
    ck_assert_mem_eq(&cfg, &before, sizeof cfg);
    ck_assert_int_eq(conf_set(table, &cfg, refused[_i].name, refused[_i].value, 0, NULL),
                     refused[_i].rc);
}
END_TEST

START_TEST(long_value_is_cut_in_the_message)
{
    char value[1000];

    memset(value, '7', sizeof value);
    value[sizeof value - 1] = '\0';
    ck_assert_int_eq(set("threads", value), -EINVAL);
    ck_assert_uint_lt(err.len, 200);
    ck_assert_int_eq(set(value, NULL), -ENOENT);
    ck_assert_uint_lt(err.len, 300);
}
END_TEST

START_TEST(help)
{
    struct text t = {0};

    conf_help(table, &t);
    ck_assert_str_eq(t.data, "  allow_other               let others in (optional)\n"
                             "  threads=INT               worker threads (default: 4)\n"
                             "  ratio=NUMBER              eviction ratio (default: 0.8)\n"
                             "  l1=SIZE                   memory for staging (default: 1G)\n"
                             "  max_size_gb=GIB           capacity (required)\n"
                             "  timeout=TIME              how long to wait (default: 250ms)\n"
                             "  name=TEXT                 a name (optional)\n"
                             "  evict=lru|fifo|noop       who goes first (default: fifo)\n"
                             "  adapters=JSON             adapter specs (optional)\n"
                             "  any=INT                    (optional)\n");
    text_fini(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("conf");

    add(s, "defaults", defaults, 1);
    add(s, "bad_default", bad_default_is_told, 1);
    add(s, "text_bool", text_bool, ARRAY_SIZE(bools));
    add(s, "text_values", text_values, 1);
    add(s, "share", share_of_a_whole, 1);
    add(s, "text_refuses", text_refuses, ARRAY_SIZE(refused));
    add(s, "long_value", long_value_is_cut_in_the_message, 1);
    add(s, "help", help, 1);
    return suite_run(s);
}
