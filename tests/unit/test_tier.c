/* test_tier.c - the front layer: specs, argument checks, counters, the line about a failure. */
#include "tier.h"

#include <stdio.h>
#include <sys/stat.h>

#include "clock.h"
#include "log.h"
#include "rig.h"
#include "suite.h"

#define SIZE 3000
#define MOCK "\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 1000"

/* The rig's own adapter gives the staging directory; the tier under test stands beside it. */
static struct rig rig;
static struct tier *tier;
static struct adapter_env env;
static char log_path[128];

static void setup(void)
{
    rig_open(&rig, "{\"type\": \"null\"}");
    env = (struct adapter_env){rig.staging, rig.metrics, "t.0"};
    snprintf(log_path, sizeof(log_path), "%s/log", rig.data_dir);
    ck_assert_int_eq(log_open_file(log_path), 0);
    rig.open_fds++; /* the log stays open */
}

static void teardown(void)
{
    log_set_sink(LOG_SINK_STDERR);
    rig_close(&rig);
}

static void open_tier(const char *spec)
{
    json_t *json = json_loads(spec, 0, NULL);
    struct text why = {0};
    int err;

    ck_assert_msg(json != NULL, "%s", spec);
    err = tier_open(&env, json, &tier, &why);
    ck_assert_msg(!err, "%s: %s", spec, why.data ? why.data : "?");
    json_decref(json);
}

static void wait_fd(enum l2_family family)
{
    uint64_t deadline = clock_deadline(60 * NSEC_PER_SEC), count;

    while (read(tier_event_fd(tier, family), &count, sizeof(count)) < 0)
        ck_assert(errno == EAGAIN && clock_now() < deadline);
}

static int store(const char *key)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 1);
    struct l2_store_result r;
    l2_task task = tier_submit_store(tier, &key, &buf, 1);
    int err;

    ck_assert_int_gt(task, 0);
    while (!tier_pop_stored(tier, &r))
        wait_fd(L2_STORE);
    ck_assert_int_eq(r.task, task);
    err = r.errors[0];
    l2_store_result_fini(&r);
    rig_buf_close(&buf);
    return err;
}

static bool lookup(const char *key)
{
    l2_task task = tier_submit_lookup_and_lock(tier, &key, 1);
    struct bitmap *found;
    uint64_t size;
    bool there;
    int rc;

    while ((rc = tier_query_lookup(tier, task, &found, &size)) == -EAGAIN)
        wait_fd(L2_LOOKUP);
    ck_assert_int_eq(rc, 0);
    there = bitmap_test(found, 0);
    bitmap_destroy(found);
    return there;
}

static int load(const char *key)
{
    l2_task task = tier_submit_load(tier, &key, 1);
    struct bitmap *loaded;
    struct l2_object o;
    int error = 0, rc;

    while ((rc = tier_query_load(tier, task, &loaded, &o, &error)) == -EAGAIN)
        wait_fd(L2_LOAD);
    ck_assert_int_eq(rc, 0);
    if (bitmap_test(loaded, 0)) {
        rig_check_object(&rig, &o, SIZE, 1);
        rig_object_drop(&rig, &o);
    }
    bitmap_destroy(loaded);
    return error;
}

/* The value of l2fs_tier_NAME_total{adapter="t.0",op="OP"}. */
static int64_t counter(const char *name, const char *op)
{
    char metric[64], labels[64];

    snprintf(metric, sizeof(metric), "l2fs_tier_%s", name);
    snprintf(labels, sizeof(labels), "adapter=\"t.0\"%s%s%s", op ? ",op=\"" : "", op ? op : "",
             op ? "\"" : "");
    return metric_value(metrics_counter(rig.metrics, metric, "", labels));
}

static size_t log_lines(const char *words)
{
    FILE *f = fopen(log_path, "re");
    char line[8192];
    size_t n = 0;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f))
        n += strstr(line, words) != NULL;
    fclose(f);
    return n;
}

/* --- specs --- */

static void refuse(const char *spec, const char *words)
{
    json_t *json = json_loads(spec, JSON_DECODE_ANY, NULL);
    struct text why = {0}, same = {0};

    ck_assert_msg(json != NULL, "%s", spec);
    ck_assert_int_eq(tier_open(&env, json, &tier, &why), -EINVAL);
    ck_assert_int_eq(tier_check(json, &same), -EINVAL);
    ck_assert_str_eq(why.data, same.data);
    ck_assert_msg(strstr(why.data, words) != NULL, "%s: %s", spec, why.data);
    text_fini(&why);
    text_fini(&same);
    json_decref(json);
}

START_TEST(spec_errors_are_sentences)
{
    refuse("[]", "JSON object");
    refuse("3", "JSON object");
    refuse("{}", "needs \"type\"");
    refuse("{\"type\": 3}", "needs \"type\"");
    refuse("{\"type\": \"bogus_adapter_name\"}", "known: ");
    refuse("{\"type\": \"bogus_adapter_name\"}", "mock, null");
    refuse("{\"type\": \"nul\"}", "did you mean \"null\"?");
    refuse("{\"type\": \"null\", \"base_path\": \"/x\"}", "unknown option \"base_path\"");
    refuse("{\"type\": \"null\", \"evictoin\": {}}", "did you mean \"eviction\"?");
    refuse("{" MOCK ", \"max_sise_gb\": 3}", "did you mean \"max_size_gb\"?");
    refuse("{" MOCK ", \"zzzzzzzzzzzz\": 3}", "known: max_size_gb, mock_bandwidth_gb");
    refuse("{" MOCK ", \"shared\": 3}", "option shared");
    refuse("{" MOCK ", \"max_capacity_gb\": -1}", "option max_capacity_gb");
    refuse("{" MOCK ", \"serde\": 3}", "serde");
    refuse("{" MOCK ", \"serde\": {}}", "serde");
    refuse("{" MOCK ", \"affinity_tag\": 3}", "affinity_tag");
}
END_TEST

START_TEST(eviction_errors_are_sentences)
{
    refuse("{" MOCK ", \"eviction\": 3}", "eviction: ");
    refuse("{" MOCK ", \"eviction\": {}}", "eviction: option eviction_policy is required");
    refuse("{" MOCK ", \"eviction\": {\"eviction_policy\": \"MRU\"}}", "LRU, FIFO, S3-FIFO, noop");
    refuse("{" MOCK ", \"eviction\": {\"eviction_policy\": \"LRU\", \"eviction_ratio\": 2}}",
           "eviction: option eviction_ratio");
    refuse("{" MOCK ", \"eviction\": {\"eviction_policy\": \"LRU\", \"ratio\": 1}}", "eviction: ");
}
END_TEST

START_TEST(common_keys_are_taken)
{
    json_t *config, *eviction;

    open_tier("{\"type\": \"null\", \"shared\": true, \"persist_enabled\": false, "
              "\"serde\": {\"type\": \"fp8\"}, \"affinity_tag\": \"_default\", "
              "\"max_capacity_gb\": 2, \"eviction\": {\"eviction_policy\": \"LRU\"}}");
    ck_assert_uint_eq(log_lines("serde"), 1);
    config = tier_config(tier);
    ck_assert_str_eq(json_string_value(json_object_get(config, "type")), "null");
    ck_assert(json_is_true(json_object_get(config, "shared")));
    ck_assert(json_is_false(json_object_get(config, "persist_enabled")));
    eviction = json_object_get(config, "eviction");
    ck_assert_str_eq(json_string_value(json_object_get(eviction, "eviction_policy")), "LRU");
    ck_assert(json_number_value(json_object_get(eviction, "trigger_watermark")) == 0.8);
    ck_assert(json_number_value(json_object_get(eviction, "eviction_ratio")) == 0.2);
    json_decref(config);
    tier_close(tier);
    open_tier("{\"type\": \"null\", \"eviction\": null, \"serde\": null}");
    tier_close(tier);
    tier_close(NULL);
}
END_TEST

START_TEST(config_is_effective)
{
    json_t *config;

    open_tier("{" MOCK "}");
    config = tier_config(tier);
    ck_assert(json_number_value(json_object_get(config, "max_size_gb")) == 1);
    ck_assert(json_is_true(json_object_get(config, "persist_enabled")));
    json_decref(config);
    ck_assert_str_eq(tier_name(tier), "t.0");
    ck_assert_uint_eq(tier_flags(tier), 0);
    ck_assert(!tier_has_files(tier));
    tier_close(tier);
}
END_TEST

/* --- arguments --- */

static void refuse_key(const char *key, int want)
{
    struct l2_buf buf = {.fd = 0};
    struct l2_attr attr = {0};

    ck_assert_int_eq(tier_submit_store(tier, &key, &buf, 1), want);
    ck_assert_int_eq(tier_submit_lookup_and_lock(tier, &key, 1), want);
    ck_assert_int_eq(tier_submit_load(tier, &key, 1), want);
    ck_assert_int_eq(tier_rename(tier, key, "b"), want);
    ck_assert_int_eq(tier_rename(tier, "b", key), want);
    ck_assert_int_eq(tier_remove(tier, &key, 1, NULL), want);
    ck_assert_int_eq(tier_set_attr(tier, key, &attr, NULL, L2_ATTR_MODE), want);
}

START_TEST(bad_keys_are_refused)
{
    static const char *const bad[] = {"", "/a", "a//b", ".", "a/../b", NULL};
    char name[300] = "";

    open_tier("{" MOCK "}");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        refuse_key(bad[i], -EINVAL);
    memset(name, 'n', 256);
    refuse_key(name, -ENAMETOOLONG);
    ck_assert_int_eq(counter("submitted", "store"), 0);
    tier_close(tier);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    const char *key = "k", *dir = "d/";
    struct l2_buf buf = {.fd = -1};
    struct l2_attr attr = {0};

    open_tier("{" MOCK "}");
    ck_assert_int_eq(tier_submit_store(tier, &key, &buf, 1), -EINVAL);
    ck_assert_int_eq(tier_submit_store(tier, &key, NULL, 1), -EINVAL);
    ck_assert_int_eq(tier_submit_lookup_and_lock(tier, &key, 0), -EINVAL);
    ck_assert_int_eq(tier_submit_load(tier, NULL, 1), -EINVAL);
    ck_assert_int_eq(tier_submit_load(tier, &dir, 1), -EINVAL);
    ck_assert_int_eq(tier_rename(tier, "a", "b/"), -EINVAL);
    ck_assert_int_eq(tier_make_dir(tier, "d", &attr), -EINVAL);
    ck_assert_int_eq(tier_make_dir(tier, "d/", NULL), -EINVAL);
    ck_assert_int_eq(tier_set_attr(tier, "k", NULL, NULL, L2_ATTR_MODE), -EINVAL);
    ck_assert_int_eq(tier_set_attr(tier, "k", &attr, NULL, L2_ATTR_XATTRS), -EINVAL);
    ck_assert_int_eq(tier_remove(tier, &key, 0, NULL), -EINVAL);
    tier_submit_unlock(tier, NULL, 1);
    tier_submit_unlock(tier, &key, 0);
    tier_close(tier);
}
END_TEST

START_TEST(unknown_tasks_are_not_there)
{
    struct bitmap *bits;
    struct l2_object o;
    uint64_t size;
    int error;

    open_tier("{" MOCK "}");
    ck_assert_int_eq(tier_query_lookup(tier, 1, &bits, &size), -ENOENT);
    ck_assert_int_eq(tier_query_load(tier, 1, &bits, &o, &error), -ENOENT);
    tier_close(tier);
}
END_TEST

static bool see(void *arg, const struct l2_entry *e)
{
    (void)e;
    ++*(int *)arg;
    return true;
}

START_TEST(missing_operations_are_not_supported)
{
    struct l2_attr attr = {.mode = S_IFREG | 0600};
    int n = 0, fd;

    open_tier("{\"type\": \"null\"}");
    ck_assert_int_eq(tier_rename(tier, "a", "b"), -EOPNOTSUPP);
    ck_assert_int_eq(tier_make_dir(tier, "d/", &attr), -EOPNOTSUPP);
    ck_assert_int_eq(tier_set_attr(tier, "a", &attr, NULL, L2_ATTR_MODE), -EOPNOTSUPP);
    ck_assert_int_eq(tier_list(tier, see, &n), -EOPNOTSUPP);
    ck_assert_int_eq(tier_open_file(tier, "a", 0, &attr, &fd), -EOPNOTSUPP);
    ck_assert_int_eq(tier_link_file(tier, 0, "a"), -EOPNOTSUPP);
    ck_assert_int_eq(tier_cancel_store(tier, "a"), -EOPNOTSUPP);
    ck_assert_int_eq(tier_request_done(tier, &(struct l2_route){NULL, "r"}), -EOPNOTSUPP);
    ck_assert_int_eq(tier_request_done(tier, &(struct l2_route){"p", NULL}), -EINVAL);
    ck_assert_ptr_null(tier_peers(tier));
    ck_assert_int_eq(counter("failed", "rename"), 0);
    tier_close(tier);
}
END_TEST

/* --- counters and the log --- */

START_TEST(operations_are_counted)
{
    const char *key = "k";
    int n = 0;

    open_tier("{" MOCK "}");
    ck_assert_int_eq(store("k"), 0);
    ck_assert_int_eq(store("k"), 0);
    ck_assert(lookup("k"));
    ck_assert(!lookup("absent"));
    ck_assert_int_eq(load("k"), 0);
    ck_assert_int_eq(load("absent"), -ENOENT);
    tier_submit_unlock(tier, &key, 1);
    ck_assert_int_eq(tier_rename(tier, "k", "l"), 0);
    ck_assert_int_eq(tier_rename(tier, "k", "l"), -ENOENT);
    ck_assert_int_eq(tier_list(tier, see, &n), 0);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(counter("submitted", "store"), 2);
    ck_assert_int_eq(counter("completed", "store"), 2);
    ck_assert_int_eq(counter("bytes", "store"), SIZE);
    ck_assert_int_eq(counter("completed", "lookup"), 2);
    ck_assert_int_eq(counter("lookup_hits", NULL), 1);
    ck_assert_int_eq(counter("lookup_misses", NULL), 1);
    ck_assert_int_eq(counter("completed", "load"), 2);
    ck_assert_int_eq(counter("bytes", "load"), SIZE);
    ck_assert_int_eq(counter("completed", "unlock"), 1);
    ck_assert_int_eq(counter("completed", "rename"), 2);
    ck_assert_int_eq(counter("failed", "load"), 0);
    ck_assert_uint_eq(log_lines("failed"), 0);
    tier_close(tier);
}
END_TEST

START_TEST(metrics_are_printed_with_labels)
{
    struct text out = {0};

    open_tier("{" MOCK "}");
    ck_assert_int_eq(store("k"), 0);
    metrics_print(rig.metrics, &out);
    ck_assert_ptr_nonnull(
        strstr(out.data, "l2fs_tier_completed_total{adapter=\"t.0\",op=\"store\"} 1"));
    ck_assert_ptr_nonnull(
        strstr(out.data, "l2fs_tier_seconds_count{adapter=\"t.0\",op=\"store\"} 1"));
    text_fini(&out);
    tier_close(tier);
}
END_TEST

START_TEST(a_failed_task_is_one_line)
{
    static const char *const keys[] = {"a", "bad1", "bad2"};
    struct l2_store_result r;
    struct l2_buf bufs[3];

    open_tier("{\"type\": \"fault\", \"inner\": {" MOCK "}, \"rules\": [{\"key\": \"bad*\", "
              "\"action\": \"fail\", \"errno\": \"ENOSPC\"}]}");
    for (int i = 0; i < 3; i++)
        bufs[i] = rig_buf(&rig, SIZE, 1);
    ck_assert_int_gt(tier_submit_store(tier, keys, bufs, 3), 0);
    while (!tier_pop_stored(tier, &r))
        wait_fd(L2_STORE);
    l2_store_result_fini(&r);
    for (int i = 0; i < 3; i++)
        rig_buf_close(&bufs[i]);
    ck_assert_uint_eq(log_lines("t.0: store of \"bad1\" (2 of 3 keys) failed: No space left"), 1);
    ck_assert_uint_eq(log_lines("capacity"), 1);
    ck_assert_int_eq(load("bad1"), -ENOSPC);
    ck_assert_uint_eq(log_lines("t.0: load of \"bad1\" failed"), 1);
    ck_assert_int_eq(tier_rename(tier, "bad1", "x"), -ENOSPC);
    ck_assert_uint_eq(log_lines("t.0: rename of \"bad1\" failed"), 1);
    ck_assert_uint_eq(log_lines(""), 3);
    ck_assert_int_eq(counter("failed", "store"), 1);
    ck_assert_int_eq(counter("failed", "load"), 1);
    ck_assert_int_eq(counter("failed", "rename"), 1);
    tier_close(tier);
}
END_TEST

START_TEST(keys_need_not_outlive_submit)
{
    char name[] = "bad";
    const char *keys[] = {name};
    struct l2_store_result r;
    struct l2_buf buf;

    open_tier("{\"type\": \"fault\", \"inner\": {" MOCK "}, \"rules\": [{\"action\": \"fail\"}]}");
    buf = rig_buf(&rig, SIZE, 1);
    ck_assert_int_gt(tier_submit_store(tier, keys, &buf, 1), 0);
    memcpy(name, "???", 3);
    keys[0] = NULL;
    while (!tier_pop_stored(tier, &r))
        wait_fd(L2_STORE);
    l2_store_result_fini(&r);
    rig_buf_close(&buf);
    ck_assert_uint_eq(log_lines("store of \"bad\" failed"), 1);
    tier_close(tier);
}
END_TEST

/* --- status and usage --- */

START_TEST(status_is_filled_in)
{
    json_t *status, *tasks;

    open_tier("{\"type\": \"null\"}");
    ck_assert_int_eq(store("k"), 0);
    status = tier_status(tier);
    ck_assert(json_is_true(json_object_get(status, "is_healthy")));
    ck_assert_str_eq(json_string_value(json_object_get(status, "type")), "null");
    ck_assert_str_eq(json_string_value(json_object_get(status, "name")), "t.0");
    tasks = json_object_get(json_object_get(status, "tasks"), "store");
    ck_assert_int_eq(json_integer_value(json_object_get(tasks, "completed")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(tasks, "in_flight")), 0);
    json_decref(status);
    tier_close(tier);
}
END_TEST

START_TEST(usage_is_filled_in)
{
    struct l2_usage u;

    open_tier("{\"type\": \"null\", \"max_capacity_gb\": 0.5}");
    tier_usage(tier, &u);
    ck_assert_uint_eq(u.capacity, GIB / 2);
    ck_assert_uint_eq(u.used, 0);
    tier_close(tier);
    open_tier("{" MOCK ", \"max_capacity_gb\": 0.5}");
    ck_assert_int_eq(store("k"), 0);
    tier_usage(tier, &u);
    ck_assert_uint_eq(u.capacity, GIB);
    ck_assert_uint_eq(u.used, SIZE);
    ck_assert_uint_eq(u.objects, 1);
    tier_close(tier);
}
END_TEST

START_TEST(close_with_tasks_in_flight)
{
    const char *key = "k";

    open_tier("{\"type\": \"fault\", \"inner\": {" MOCK "}, \"rules\": [{\"op\": \"load\", "
              "\"action\": \"delay\", \"delay\": \"2h\"}]}");
    ck_assert_int_eq(store("k"), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_gt(tier_submit_load(tier, &key, 1), 0);
    tier_close(tier);
    ck_assert_uint_eq(log_lines(""), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        spec_errors_are_sentences,   eviction_errors_are_sentences,
        common_keys_are_taken,       config_is_effective,
        bad_keys_are_refused,        bad_arguments_are_refused,
        unknown_tasks_are_not_there, missing_operations_are_not_supported,
        operations_are_counted,      metrics_are_printed_with_labels,
        a_failed_task_is_one_line,   keys_need_not_outlive_submit,
        status_is_filled_in,         usage_is_filled_in,
        close_with_tasks_in_flight,
    };
    Suite *s = suite_create("tier");
    TCase *tc = tcase_create("tier");
    int rc;

    rig_base_create();
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
