/* test_ctl.c - pure parts of l2fsctl: what numbers look like, templates, metrics, rates, the verbs. */
#include <string.h>

#include "../../tools/ctl.h"
#include "../../tools/ctl_rates.h"
#include "clock.h"
#include "suite.h"

START_TEST(sizes)
{
    static const struct {
        double bytes;
        const char *text;
    } samples[] = {{0, "0"},          {1023, "1023"},     {1024, "1.00K"},
                   {100000, "97.7K"}, {1 << 20, "1.00M"}, {1.5 * (1 << 30), "1.50G"},
                   {64e12, "58.2T"}};
    char buf[32];

    for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
        ck_assert_str_eq(ctl_size(samples[i].bytes, buf, sizeof(buf)), samples[i].text);
}
END_TEST

START_TEST(durations)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } samples[] = {
        {0, "0s"}, {59, "59s"}, {60, "1m 0s"}, {3600, "1h 0m 0s"}, {90061, "1d 1h 1m 1s"}};
    char buf[64];

    for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
        ck_assert_str_eq(ctl_duration(samples[i].seconds, buf, sizeof(buf)), samples[i].text);
    ctl_duration(90061, buf, 6); /* cut, not overrun */
    ck_assert_uint_lt(strlen(buf), 6);
}
END_TEST

START_TEST(bars)
{
    char buf[32];

    ck_assert_str_eq(ctl_bar(0, 0, 10, buf, sizeof(buf)), "[..........]");
    ck_assert_str_eq(ctl_bar(0.001, 0.8, 10, buf, sizeof(buf)), "[#.......|.]");
    ck_assert_str_eq(ctl_bar(0.5, 2, 10, buf, sizeof(buf)), "[#####.....]");
    ck_assert_str_eq(ctl_bar(7, 0, 10, buf, sizeof(buf)), "[##########]");
    ck_assert_str_eq(ctl_bar(-1, 0, 10, buf, sizeof(buf)), "[..........]");
    ck_assert_str_eq(ctl_bar(0.5, 0, 10, buf, 12), "");
}
END_TEST

static char *filled(const char *pieces, json_t *object)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    ctl_fill(out, pieces, object);
    fclose(out);
    return text;
}

START_TEST(templates)
{
    json_t *object = json_pack("{s:i,s:i,s:s}", "used", 2048, "capacity", 4096, "policy", "LRU");
    char *text = filled("{used} of {capacity}|, {watermark} mark|, {policy}, {ratio}|!", object);

    ck_assert_str_eq(text, "2.00K of 4.00K!");
    free(text);
    ck_assert_ptr_null(json_object_get(object, "used"));
    ck_assert_ptr_nonnull(json_object_get(object, "policy")); /* its piece was left out */
    text = filled("", object);
    ck_assert_str_eq(text, "");
    free(text);
    json_decref(object);
}
END_TEST

START_TEST(lists)
{
    ck_assert(ctl_in_list("stored", "stored"));
    ck_assert(ctl_in_list("a,stored,b", "stored"));
    ck_assert(ctl_in_list("a,,b", "b"));
    ck_assert(!ctl_in_list("stored-not", "stored"));
    ck_assert(!ctl_in_list("a,b", "stored"));
    ck_assert(!ctl_in_list("", "stored"));
}
END_TEST

START_TEST(terminal_codes_are_not_obeyed)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    ctl_put_text(out, "a\033[2Jb\n\x7f");
    fclose(out);
    ck_assert_str_eq(text, "a\\x1b[2Jb\\x0a\\x7f");
    free(text);
}
END_TEST

static const char before_text[] = "# HELP l2fs_opens Files opened.\n"
                                  "l2fs_opens_total 10\n"
                                  "l2fs_open_misses_total 1\n"
                                  "l2fs_opens_total_not 77\n"
                                  "l2fs_tier_completed_total{adapter=\"fs\",op=\"store\"} 4\n"
                                  "l2fs_tier_bytes_total{adapter=\"fs\",op=\"store\"} 1000\n";
static const char now_text[] = "l2fs_opens_total 50\n"
                               "l2fs_open_misses_total 11\n"
                               "l2fs_tier_completed_total{adapter=\"fs\",op=\"store\"} 5\n"
                               "l2fs_tier_bytes_total{adapter=\"fs\",op=\"store\"} 5000\n"
                               "# EOF\n";

START_TEST(samples)
{
    ck_assert_double_eq(ctl_sample(before_text, "l2fs_opens_total"), 10);
    ck_assert_double_eq(
        ctl_sample(before_text, "l2fs_tier_bytes_total{adapter=\"fs\",op=\"store\"}"), 1000);
    ck_assert_double_eq(ctl_sample("a{x=\"1\"} 3\na{x=\"2\"} 4\nab 9\n", "a"), 7);
    ck_assert_double_eq(ctl_sample(before_text, "l2fs_loads_total"), -1);
    ck_assert_double_eq(ctl_sample(NULL, "l2fs_loads_total"), -1);
    ck_assert_double_eq(ctl_rate(10, 30, 2), 10);
    ck_assert_double_eq(ctl_rate(30, 10, 2), 0);
    ck_assert_double_eq(ctl_rate(10, 30, 0), 0);
}
END_TEST

static double member(json_t *rates, const char *list, size_t row, const char *name)
{
    json_t *v = json_object_get(json_array_get(json_object_get(rates, list), row), name);

    ck_assert_msg(json_is_number(v), "no %s", name);
    return json_number_value(v);
}

static struct ctl_sample sample(const char *metrics, uint64_t at)
{
    return (struct ctl_sample){
        .at = at,
        .metrics = metrics ? strdup(metrics) : NULL,
        .status = json_loads("{\"is_healthy\":true,\"uptime_s\":100,"
                             "\"l1\":{\"capacity\":100,\"used\":50,\"watermark\":0.8},"
                             "\"tiers\":[{\"name\":\"fs\",\"usage\":{\"used_bytes\":5}}]}",
                             0, NULL)};
}

START_TEST(rates)
{
    struct ctl_sample before = sample(before_text, 0), now = sample(now_text, 4 * NSEC_PER_SEC);
    json_t *r = ctl_rates(&before, &now);

    ck_assert_double_eq(json_number_value(json_object_get(r, "seconds")), 4);
    ck_assert_double_eq(member(r, "rates", 0, "opens"), 10);
    ck_assert_double_eq(member(r, "rates", 1, "opens"), 50);
    ck_assert_double_eq(member(r, "rates", 0, "misses"), 2.5);
    ck_assert_double_eq(json_number_value(json_object_get(r, "hit_percent")), 75);
    ck_assert_ptr_null(json_object_get(json_array_get(json_object_get(r, "rates"), 0), "evicted"));
    ck_assert_double_eq_tol(member(r, "tiers", 0, "stores"), 0.3, 0.001);
    ck_assert_double_eq(member(r, "tiers", 0, "store_bytes"), 1000);
    json_decref(r);
    ctl_sample_fini(&before);
    r = ctl_rates(&before, &now); /* since the mount */
    ck_assert_double_eq(json_number_value(json_object_get(r, "seconds")), 100);
    ck_assert_double_eq(member(r, "rates", 0, "opens"), 0.5);
    json_decref(r);
    ctl_sample_fini(&now);
}
END_TEST

static const struct {
    const char *status, *wanted[6];
} screens[] = {
    {"{\"is_healthy\":true,\"requests\":{\"known\":2,\"failed\":1},"
     "\"peers\":{\"node1\":{\"state\":\"up\",\"inflight\":2048,\"bytes\":4096,\"rtt\":70}}}",
     {"requests", "2 not sent yet, 1 of them failed", "peers", "node1", "up"}},
    {"{\"is_healthy\":true}", {"/m: healthy"}},
    {"{\"is_healthy\":false,\"name\":\"kv\",\"uptime_s\":61,\"health\":[\"the disk is full\"]}",
     {"/m: NOT HEALTHY (kv), up 1m 1s", "the disk is full"}},
    {"{\"is_healthy\":true,\"l1\":{\"capacity\":2048,\"used\":1024,\"watermark\":0.8,\"new\":3},"
     "\"later\":{\"depth\":9},\"things\":[{\"name\":\"x\",\"n\":1}]}",
     {"1.00K of 2.00K used", "50%", ", new 3", "later", ", depth 9", "things"}},
    {"{\"is_healthy\":true,\"tiers\":[{\"name\":\"fs\",\"is_healthy\":false,"
     "\"usage\":{\"used_bytes\":1,\"capacity_bytes\":10}}],"
     "\"errors\":[{\"event\":\"store-failed\",\"key\":\"k\",\"error\":\"EIO\"}]}",
     {"tiers", "NOT HEALTHY", "[#", "last errors", "store-failed", "error=EIO"}},
};

START_TEST(status_screens)
{
    json_t *status = json_loads(screens[_i].status, 0, NULL);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(status);
    ctl_show_status(out, "/m", status);
    fclose(out);
    for (size_t i = 0; i < ARRAY_SIZE(screens[_i].wanted) && screens[_i].wanted[i]; i++)
        ck_assert_msg(strstr(text, screens[_i].wanted[i]), "no \"%s\" in:\n%s",
                      screens[_i].wanted[i], text);
    free(text);
    json_decref(status);
}
END_TEST

static const struct {
    const char *key, *why; /* NULL: it leaves */
} keys[] = {
    {"{\"state\":\"resident\",\"pin\":\"none\",\"store\":\"fs=stored\",\"lock\":{\"readers\":0}}",
     NULL},
    {"{\"state\":\"evicted\"}", "is not in memory"},
    {"{\"state\":\"writing\"}", "it is writing"},
    {"{\"state\":\"resident\",\"lock\":{\"readers\":2}}", "it is open (readers: 2)"},
    {"{\"state\":\"resident\",\"lock\":{\"readers\":0,\"writer\":true}}", "open for writing"},
    {"{\"state\":\"resident\",\"pin\":\"soft=5m\"}", "pinned (soft=5m)"},
    {"{\"state\":\"resident\",\"pin\":\"none\",\"store\":\"a=stored,b=failed\"}",
     "(a=stored,b=failed)"},
    {"{\"state\":\"resident\",\"pin\":\"none\"}", "(nowhere)"},
};

START_TEST(leaving)
{
    json_t *key = json_loads(keys[_i].key, 0, NULL);
    char why[160];

    ck_assert_ptr_nonnull(key);
    ck_assert(ctl_would_leave(key, why, sizeof(why)) == !keys[_i].why);
    ck_assert_msg(strstr(why, keys[_i].why ? keys[_i].why : ""), "%s", why);
    json_decref(key);
}
END_TEST

START_TEST(verbs)
{
    ck_assert_str_eq(ctl_find_verb("stat")->name, "info");
    ck_assert_ptr_null(ctl_find_verb("frobnicate"));
    ck_assert_str_eq(ctl_nearest_verb("statsu"), "status");
    for (const struct ctl_verb *v = ctl_verbs; v->name; v++) {
        ck_assert_ptr_nonnull(v->run);
        ck_assert_ptr_eq(ctl_find_verb(v->name), v);
        ck_assert_int_le(v->min, v->max);
        for (const struct ctl_option *o = v->options; o && o->name; o++)
            ck_assert_msg((o->kind == CTL_FLAG) == !o->arg, "%s --%s", v->name, o->name);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl");

    suite_add(s, "text",
              TESTS(sizes, durations, bars, templates, lists, terminal_codes_are_not_obeyed));
    suite_add(s, "rates", TESTS(samples, rates));
    suite_add_loop(s, "status", TESTS(status_screens), ARRAY_SIZE(screens));
    suite_add_loop(s, "leaving", TESTS(leaving), ARRAY_SIZE(keys));
    suite_add(s, "verbs", TESTS(verbs));
    return suite_run(s);
}
