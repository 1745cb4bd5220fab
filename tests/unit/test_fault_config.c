/* test_fault_config.c - the fault adapter's configuration: LMCache's gaps, nesting, refusals. */
#include "rig.h"
#include "suite.h"

#include <stdio.h>

#define SIZE 5000
#define MOCK "{\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 1000}"

static struct rig rig;

/* Opens fault over mock with `extra` members, such as "\"seed\": 1". */
static void open_with(const char *extra)
{
    struct text spec = {0};

    text_printf(&spec, "{\"type\": \"fault\", \"inner\": " MOCK ", %s}", extra);
    rig_open(&rig, spec.data);
    text_fini(&spec);
}

static int store(const char *key)
{
    return rig_store(&rig, key, SIZE, 1);
}

static int load(const char *key)
{
    struct l2_object o;
    int err = rig_load(&rig, key, &o);

    if (!err) {
        rig_check_object(&rig, &o, SIZE, 1);
        rig_object_drop(&rig, &o);
    }
    return err;
}

/* --- gaps, as LMCache's fault_inject --- */

#define GAP_KEYS 9

/* Loads nine keys in one task; one character per key, '1' loaded. */
static void load_nine(char bits[GAP_KEYS + 1])
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"};
    struct l2_object objects[GAP_KEYS];
    struct bitmap *loaded, *found;
    uint64_t sizes[GAP_KEYS];
    int errors[GAP_KEYS];

    for (size_t i = 0; i < GAP_KEYS; i++)
        ck_assert_int_eq(store(keys[i]), 0);
    found = rig_wait_lookup(&rig, rig_submit_lookup(&rig, keys, GAP_KEYS), sizes);
    ck_assert_uint_eq(bitmap_popcount(found), GAP_KEYS);
    bitmap_destroy(found);
    loaded = rig_wait_load(&rig, rig_submit_load(&rig, keys, GAP_KEYS), objects, errors);
    bitmap_format(loaded, bits, GAP_KEYS + 1);
    for (size_t i = 0; i < GAP_KEYS; i++) {
        if (bitmap_test(loaded, i))
            rig_object_drop(&rig, &objects[i]);
        else
            ck_assert_int_eq(errors[i], -EIO);
    }
    bitmap_destroy(loaded);
}

static void check_gaps(const char *extra, const char *want)
{
    char bits[GAP_KEYS + 1];
    struct text spec = {0};

    text_printf(&spec, "{\"type\": \"fault_inject\", \"inner\": " MOCK ", %s}", extra);
    rig_open(&rig, spec.data);
    text_fini(&spec);
    load_nine(bits);
    ck_assert_str_eq(bits, want);
    rig_close(&rig);
}

START_TEST(gaps_by_position)
{
    check_gaps("\"gap_indices\": [0, 4, 8, 100]", "011101110");
    check_gaps("\"gap_tail_ratios\": [0.0]", "111111110");
    check_gaps("\"gap_tail_ratios\": [0.5]", "111101111");
    check_gaps("\"gap_tail_ratios\": [1.0, 0.25]", "011111011");
    check_gaps("\"gap_tail_ratios\": [], \"gap_indices\": [], \"rate\": 0.0", "111111111");
    check_gaps("\"rate\": 1.0", "000000000");
}
END_TEST

START_TEST(gaps_by_rate_follow_key_and_seed)
{
    char first[GAP_KEYS + 1], again[GAP_KEYS + 1];
    int different = 0;

    for (int seed = 0; seed < 8; seed++) {
        char extra[64];

        snprintf(extra, sizeof(extra), "\"rate\": 0.5, \"seed\": %d", seed);
        open_with(extra);
        load_nine(again);
        if (!seed)
            memcpy(first, again, sizeof(first));
        different += strcmp(first, again) != 0;
        memcpy(first, again, sizeof(first));
        load_nine(again);
        ck_assert_str_eq(first, again);
        rig_close(&rig);
    }
    ck_assert_int_ge(different, 1);
}
END_TEST

/* --- configuration --- */

START_TEST(wraps_itself)
{
    struct text rules = {0};

    text_puts(&rules,
              "{\"type\": \"fault\", \"inner\": {\"type\": \"fault_inject\", \"inner\": " MOCK
              ", \"rate\": 1}, \"rules\": [{\"op\": \"store\", \"count\": 1, "
              "\"action\": \"fail\"}]}");
    rig_open(&rig, rules.data);
    text_fini(&rules);
    ck_assert_int_eq(store("k"), -EIO);
    ck_assert_int_eq(store("k"), 0);
    ck_assert(rig_has(&rig, "k"));
    ck_assert_int_eq(load("k"), -EIO);
    rig_close(&rig);
}
END_TEST

static void refuse(const char *extra, const char *words)
{
    struct text spec = {0}, why = {0};
    json_t *json;
    struct spec s;

    text_printf(&spec, "{\"type\": \"fault\", %s}", extra);
    json = json_loads(spec.data, 0, NULL);
    ck_assert_msg(json != NULL, "%s", spec.data);
    ck_assert_int_eq(spec_parse(json, &s, &why), -EINVAL);
    ck_assert_msg(strstr(why.data, words) != NULL, "%s: %s", spec.data, why.data);
    json_decref(json);
    text_fini(&spec);
    text_fini(&why);
}

START_TEST(refuses_what_it_does_not_understand)
{
    refuse("\"rules\": []", "inner");
    refuse("\"inner\": {}", "inner: ");
    refuse("\"inner\": {\"type\": \"mock\"}", "inner: option max_size_gb");
    refuse("\"inner\": {\"type\": \"moc\"}", "did you mean \"mock\"");
    refuse("\"inner\": " MOCK ", \"rules\": 1", "rules");
    refuse("\"inner\": " MOCK ", \"rules\": [1]", "rules[0]");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"none\"}, {}]",
           "rules[1]: option action");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"fial\"}]", "did you mean \"fail\"");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"fail\", \"opp\": 1}]", "\"op\"");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"fail\", \"errno\": \"EWHAT\"}]",
           "errno");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"delay\"}]", "delay is required");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"corrupt\", \"op\": \"lookup\"}]",
           "corrupt");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"short\", \"op\": \"remove\"}]",
           "short");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"reorder\", \"op\": \"rename\"}]",
           "reorder");
    refuse("\"inner\": " MOCK ", \"rules\": [{\"action\": \"fail\", \"rate\": 2}]", "rate");
    refuse("\"inner\": " MOCK ", \"rate\": -1", "rate");
    refuse("\"inner\": " MOCK ", \"gap_indices\": [-1]", "gap_indices");
    refuse("\"inner\": " MOCK ", \"gap_tail_ratios\": [1.5]", "gap_tail_ratios");
    refuse("\"inner\": " MOCK ", \"gap_tail_ratios\": 0.5", "gap_tail_ratios");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        gaps_by_position,
        gaps_by_rate_follow_key_and_seed,
        wraps_itself,
        refuses_what_it_does_not_understand,
    };
    Suite *s = suite_create("fault config");
    TCase *tc = tcase_create("fault config");
    int rc;

    rig_base_create();
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
