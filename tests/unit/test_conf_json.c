/* test_conf_json.c - every type from JSON, what errors say, and that the effective configuration
 * reads back as itself. */
#include "conf_sample.h"

static int set_json_with(const char *text, const char *const *ignore, bool strict)
{
    json_error_t parse;
    json_t *object = json_loads(text, JSON_DECODE_ANY, &parse);
    int rc;

    ck_assert_msg(object, "%s: %s", text, parse.text);
    text_fini(&err);
    rc = conf_set_json(table, &cfg, object, ignore, strict, &err);
    json_decref(object);
    return rc;
}

static int set_json(const char *text)
{
    return set_json_with(text, NULL, true);
}

/* One member on top of the required one. */
static int set_member(const char *member)
{
    struct text t = {0};
    int rc;

    text_printf(&t, "{%s, \"max_size_gb\": 2}", member);
    rc = set_json(t.data);
    text_fini(&t);
    return rc;
}

START_TEST(json_values)
{
    ck_assert_int_eq(set_json("{\"allow_other\": true, \"workers\": 8, \"ratio\": 1, \"l1\": 65536,"
                              " \"max_size_gb\": 1.5, \"timeout\": 0.5, \"name\": \"n\","
                              " \"evict\": \"lru\", \"adapters\": [{\"type\": \"fs\"}]}"),
                     0);
    ck_assert(cfg.allow_other);
    ck_assert_int_eq(cfg.threads, 8);
    ck_assert_double_eq(cfg.ratio, 1.0);
    ck_assert_uint_eq(cfg.l1, 65536);
    ck_assert_uint_eq(cfg.max_size, 3 * GIB / 2);
    ck_assert_uint_eq(cfg.timeout, NSEC_PER_SEC / 2);
    ck_assert_str_eq(cfg.name, "n");
    ck_assert_int_eq(cfg.evict, 0);
    ck_assert_uint_eq(json_array_size(cfg.adapters), 1);
    ck_assert_int_eq(set_member("\"l1\": \"64M\", \"timeout\": \"1m\", \"name\": null"), 0);
    ck_assert_uint_eq(cfg.l1, 64 * MIB);
    ck_assert_uint_eq(cfg.timeout, 60 * NSEC_PER_SEC);
    ck_assert_ptr_null(cfg.name);
    ck_assert_int_eq(set_member("\"l1\": 1e9, \"timeout\": 7"), 0);
    ck_assert_uint_eq(cfg.l1, 1000000000);
    ck_assert_uint_eq(cfg.timeout, 7 * NSEC_PER_SEC);
}
END_TEST

static const struct {
    const char *member, *message;
} refused_json[] = {
    {"\"allow_other\": 1", "option allow_other: \"1\" is not allowed, expected " BOOLS},
    {"\"allow_other\": \"true\"", "option allow_other: \"true\" is not allowed, expected " BOOLS},
    {"\"threads\": \"4\"",
     "option threads: \"4\" is not allowed, expected a whole number from 1 to 64"},
    {"\"threads\": 4.0",
     "option threads: \"4.0\" is not allowed, expected a whole number from 1 to 64"},
    {"\"threads\": 65",
     "option threads: \"65\" is not allowed, expected a whole number from 1 to 64"},
    {"\"ratio\": \"0.5\"", "option ratio: \"0.5\" is not allowed, expected a number from 0 to 1"},
    {"\"l1\": -1", "option l1: \"-1\" is not allowed, expected " SIZES},
    {"\"l1\": 70000.5", "option l1: \"70000.5\" is not allowed, expected " SIZES},
    {"\"l1\": 1e30", NULL},
    {"\"l1\": \"25%\"", "option l1: \"25%\" is not allowed, expected " SIZES},
    {"\"l1\": [1]", "option l1: \"[1]\" is not allowed, expected " SIZES},
    {"\"timeout\": -1", "option timeout: \"-1\" is not allowed, expected " TIMES},
    {"\"timeout\": 1e300", NULL},
    {"\"timeout\": 9223372036854775807", NULL},
    {"\"timeout\": null", "option timeout: \"null\" is not allowed, expected " TIMES},
    {"\"name\": 5", "option name: \"5\" is not allowed, expected text"},
    {"\"evict\": \"fif\"", "option evict: \"fif\" is not allowed, expected one of lru, fifo, noop; "
                           "did you mean \"fifo\"?"},
    {"\"evict\": 0", "option evict: \"0\" is not allowed, expected one of lru, fifo, noop"},
    {"\"max_size_gb\": \"1\", \"any\": 1",
     "option max_size_gb: \"1\" is not allowed, expected " GIBS},
    {"\"max_size_gb\": true, \"any\": 1",
     "option max_size_gb: \"true\" is not allowed, expected " GIBS},
};

START_TEST(json_refuses)
{
    struct text t = {0};

    text_printf(&t,
                strstr(refused_json[_i].member, "max_size") ? "{%s}" : "{%s, \"max_size_gb\": 2}",
                refused_json[_i].member);
    ck_assert_int_eq(set_json(t.data), -EINVAL);
    if (refused_json[_i].message)
        ck_assert_str_eq(err.data, refused_json[_i].message);
    text_fini(&t);
}
END_TEST

START_TEST(json_required)
{
    ck_assert_int_eq(set_json("{\"threads\": 2}"), -EINVAL);
    ck_assert_str_eq(err.data, "option max_size_gb is required, expected " GIBS);
    ck_assert_int_eq(set_json("{\"max_size_gb\": null}"), -EINVAL);
    ck_assert_int_eq(set_json("{\"max_size_gb\": 1}"), 0);
}
END_TEST

START_TEST(json_unknown_names)
{
    static const char *const ignore[] = {"type", "eviction", NULL};
    const char *text = "{\"type\": \"fs\", \"eviction\": {}, \"max_size_gb\": 1}";

    ck_assert_int_eq(set_json_with(text, ignore, true), 0);
    ck_assert_int_eq(set_json_with(text, NULL, false), 0);
    ck_assert_int_eq(set_json_with(text, NULL, true), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.data, "unknown option \""));
}
END_TEST

START_TEST(json_not_an_object)
{
    ck_assert_int_eq(set_json("[1]"), -EINVAL);
    ck_assert_str_eq(err.data, "expected a JSON object with options");
    ck_assert_int_eq(set_json("5"), -EINVAL);
}
END_TEST

/* --- out again --- */

static void assert_reads_back(void)
{
    json_t *first = conf_to_json(table, &cfg), *second;
    struct cfg other;

    ck_assert_int_eq(conf_defaults(table, &other), 0);
    ck_assert_int_eq(conf_set_json(table, &other, first, NULL, true, &err), 0);
    second = conf_to_json(table, &other);
    ck_assert(json_equal(first, second));
    ck_assert_uint_eq(cfg.l1, other.l1);
    ck_assert_uint_eq(cfg.timeout, other.timeout);
    ck_assert_uint_eq(cfg.max_size, other.max_size);
    json_decref(first);
    json_decref(second);
    conf_fini(table, &other);
}

START_TEST(effective_config)
{
    json_t *json;
    char *dump;

    ck_assert_int_eq(set("max_size_gb", "2"), 0);
    json = conf_to_json(table, &cfg);
    dump = json_dumps(json, JSON_COMPACT);
    ck_assert_str_eq(dump, "{\"allow_other\":false,\"threads\":4,\"ratio\":0.80000000000000004,"
                           "\"l1\":1073741824,\"max_size_gb\":2.0,\"timeout\":0.25,\"name\":null,"
                           "\"evict\":\"fifo\",\"adapters\":null,\"any\":0}");
    free(dump);
    json_decref(json);
    assert_reads_back();
}
END_TEST

START_TEST(odd_values_read_back)
{
    static const char *const timeouts[] = {"1ms", "1.000000001s", "0.3s", "3599.999999999s"};
    static const char *const sizes[] = {"65536", "18446744073709551615", "9223372036854775808"};

    ck_assert_int_eq(set("max_size_gb", "0.1"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(timeouts); i++) {
        ck_assert_int_eq(set("timeout", timeouts[i]), 0);
        assert_reads_back();
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        ck_assert_int_eq(set("l1", sizes[i]), 0);
        assert_reads_back();
    }
    ck_assert_int_eq(set_member("\"adapters\": {\"a\": [null, 1, \"x\"]}"), 0);
    assert_reads_back();
}
END_TEST

START_TEST(json_is_a_copy)
{
    json_t *json;

    ck_assert_int_eq(set_member("\"adapters\": {\"a\": 1}"), 0);
    json = conf_to_json(table, &cfg);
    json_object_set_new(json_object_get(json, "adapters"), "b", json_true());
    ck_assert_ptr_null(json_object_get(cfg.adapters, "b"));
    json_decref(json);
}
END_TEST

START_TEST(text_that_is_not_utf8_prints)
{
    json_t *json;

    ck_assert_int_eq(set("name", "/data/\xff\xc3\xa9x"), 0);
    json = conf_to_json(table, &cfg);
    ck_assert_str_eq(json_string_value(json_object_get(json, "name")), "/data/???x");
    json_decref(json);
    ck_assert_int_eq(set("name", "/data/\xc3\xa9x"), 0);
    json = conf_to_json(table, &cfg);
    ck_assert_str_eq(json_string_value(json_object_get(json, "name")), "/data/\xc3\xa9x");
    json_decref(json);
}
END_TEST

START_TEST(fini_twice)
{
    ck_assert_int_eq(set_member("\"adapters\": [1], \"name\": \"x\""), 0);
    conf_fini(table, &cfg);
    conf_fini(table, &cfg);
    ck_assert_ptr_null(cfg.name);
    ck_assert_ptr_null(cfg.adapters);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("conf_json");

    add(s, "values", json_values, 1);
    add(s, "refuses", json_refuses, ARRAY_SIZE(refused_json));
    add(s, "required", json_required, 1);
    add(s, "unknown", json_unknown_names, 1);
    add(s, "shape", json_not_an_object, 1);
    add(s, "effective", effective_config, 1);
    add(s, "odd_values", odd_values_read_back, 1);
    add(s, "copy", json_is_a_copy, 1);
    add(s, "not_utf8", text_that_is_not_utf8_prints, 1);
    add(s, "fini", fini_twice, 1);
    return suite_run(s);
}
