/* test_fault.c - what the fault adapter injects, by rule, position and seed. */
#include "clock.h"
#include "rig.h"
#include "suite.h"

#include <stdio.h>

#define SIZE 5000
#define MOCK "{\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 1000}"
#define LONG_NS (NSEC_PER_SEC / 5)

static struct rig rig;

/* Opens fault over mock with `extra` members, such as "\"seed\": 1". */
static void open_with(const char *extra)
{
    struct text spec = {0};

    text_printf(&spec, "{\"type\": \"fault\", \"inner\": " MOCK ", %s}", extra);
    rig_open(&rig, spec.data);
    text_fini(&spec);
}

static void open_rules(const char *rules)
{
    struct text extra = {0};

    text_printf(&extra, "\"drop_timeout\": \"200ms\", \"rules\": [%s]", rules);
    open_with(extra.data);
    text_fini(&extra);
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

static int64_t status_of(const char *part, const char *name)
{
    json_t *status = rig.a->ops->status(rig.a);
    json_t *value = json_object_get(json_object_get(status, part), name);
    int64_t n;

    ck_assert_msg(json_is_integer(value), "no %s.%s", part, name);
    n = json_integer_value(value);
    json_decref(status);
    return n;
}

/* --- fail --- */

START_TEST(fail_store)
{
    open_rules(
        "{\"op\": \"store\", \"key\": \"bad*\", \"action\": \"fail\", \"errno\": \"ENOSPC\"}");
    ck_assert_int_eq(store("bad1"), -ENOSPC);
    ck_assert_int_eq(store("good"), 0);
    ck_assert_int_eq(status_of("inner", "stored_object_count"), 1);
    ck_assert_int_eq(status_of("injected", "fail"), 1);
    ck_assert_int_eq(load("good"), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(fail_one_key_of_a_task)
{
    static const char *const keys[] = {"a", "bad", "c"};
    struct l2_object objects[3];
    struct l2_buf bufs[3];
    struct l2_store_result r;
    struct bitmap *bits;
    uint64_t sizes[3];
    int errors[3];

    open_rules("{\"key\": \"bad\", \"action\": \"fail\", \"errno\": \"EACCES\"}");
    for (int i = 0; i < 3; i++)
        bufs[i] = rig_buf(&rig, (size_t)(SIZE + i), (uint64_t)i);
    rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, 3), &r);
    ck_assert(r.n == 3 && !r.errors[0] && r.errors[1] == -EACCES && !r.errors[2]);
    ck_assert(r.crc32c[0] == bufs[0].crc32c && r.crc32c[2] == bufs[2].crc32c);
    ck_assert_uint_eq(r.bytes, 2 * SIZE + 2);
    l2_store_result_fini(&r);
    bits = rig_wait_lookup(&rig, rig_submit_lookup(&rig, keys, 3), sizes);
    ck_assert(bitmap_test(bits, 0) && !bitmap_test(bits, 1) && bitmap_test(bits, 2));
    ck_assert(sizes[0] == SIZE && sizes[2] == SIZE + 2);
    bitmap_destroy(bits);
    bits = rig_wait_load(&rig, rig_submit_load(&rig, keys, 3), objects, errors);
    ck_assert(bitmap_test(bits, 0) && !bitmap_test(bits, 1) && bitmap_test(bits, 2));
    ck_assert_int_eq(errors[1], -EACCES);
    bitmap_destroy(bits);
    for (int i = 0; i < 3; i++)
        rig_buf_close(&bufs[i]);
    rig_check_object(&rig, &objects[0], SIZE, 0);
    rig_check_object(&rig, &objects[2], SIZE + 2, 2);
    rig_object_drop(&rig, &objects[0]);
    rig_object_drop(&rig, &objects[2]);
    rig_close(&rig);
}
END_TEST

START_TEST(fail_lookup_takes_no_lock)
{
    open_rules("{\"op\": \"lookup\", \"count\": 1, \"action\": \"fail\"}");
    ck_assert_int_eq(store("k"), 0);
    ck_assert(!rig_lookup(&rig, "k", NULL));
    ck_assert_int_eq(status_of("inner", "locked_key_count"), 0);
    ck_assert(rig_lookup(&rig, "k", NULL));
    ck_assert_int_eq(status_of("inner", "locked_key_count"), 1);
    rig_unlock(&rig, "k");
    ck_assert_int_eq(status_of("inner", "locked_key_count"), 0);
    rig_close(&rig);
}
END_TEST

/* Not found and not known are told apart: what may be there must not be forgotten. */
START_TEST(fail_lookup_is_no_miss)
{
    const char *keys[] = {"k", "absent"};
    uint64_t sizes[2];
    struct bitmap *found;

    open_rules("{\"op\": \"lookup\", \"key\": \"k\", \"action\": \"fail\"}");
    ck_assert_int_eq(store("k"), 0);
    found = rig_wait_lookup(&rig, rig_submit_lookup(&rig, keys, 2), sizes);
    ck_assert_uint_eq(bitmap_popcount(found), 0);
    ck_assert_uint_eq(sizes[0], L2_LOOKUP_FAILED);
    ck_assert_uint_ne(sizes[1], L2_LOOKUP_FAILED);
    bitmap_destroy(found);
    rig_close(&rig);
}
END_TEST

START_TEST(fail_load)
{
    open_rules("{\"op\": \"load\", \"action\": \"fail\", \"errno\": \"ETIMEDOUT\"}");
    ck_assert_int_eq(store("k"), 0);
    ck_assert(rig_has(&rig, "k"));
    ck_assert_int_eq(load("k"), -ETIMEDOUT);
    rig_close(&rig);
}
END_TEST

START_TEST(fail_remove_and_rename)
{
    static const char *const keys[] = {"locked", "bad", "c"};
    struct bitmap *skipped = bitmap_create(3);

    open_rules("{\"op\": \"remove\", \"key\": \"bad\", \"action\": \"fail\"},"
               "{\"op\": \"rename\", \"action\": \"fail\", \"errno\": \"EXDEV\"}");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(store(keys[i]), 0);
    ck_assert(rig_lookup(&rig, "locked", NULL));
    ck_assert_int_eq(rig.a->ops->remove(rig.a, keys, 3, skipped), -EIO);
    ck_assert(bitmap_test(skipped, 0) && !bitmap_test(skipped, 1) && !bitmap_test(skipped, 2));
    ck_assert(rig_has(&rig, "bad"));
    ck_assert(!rig_has(&rig, "c"));
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "bad", "x"), -EXDEV);
    ck_assert(rig_has(&rig, "bad"));
    bitmap_destroy(skipped);
    rig_close(&rig);
}
END_TEST

START_TEST(after_and_count)
{
    open_rules("{\"op\": \"store\", \"after\": 2, \"count\": 3, \"action\": \"fail\"}");
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(store("k"), i >= 2 && i < 5 ? -EIO : 0);
    rig_close(&rig);
}
END_TEST

START_TEST(the_first_rule_that_fires_decides)
{
    open_rules("{\"key\": \"spared*\", \"action\": \"none\"},"
               "{\"count\": 1, \"action\": \"fail\", \"errno\": \"ENOSPC\"},"
               "{\"action\": \"fail\", \"errno\": \"EROFS\"}");
    ck_assert_int_eq(store("spared1"), 0);
    ck_assert_int_eq(store("a"), -ENOSPC);
    ck_assert_int_eq(store("a"), -EROFS);
    ck_assert_int_eq(load("spared1"), 0);
    rig_close(&rig);
}
END_TEST

/* One bit per store: failed or not. */
static uint64_t failures_with_seed(int seed)
{
    char extra[200];
    uint64_t bits = 0;

    snprintf(extra, sizeof(extra),
             "\"seed\": %d, \"rules\": [{\"op\": \"store\", \"rate\": 0.5, \"action\": \"fail\"}]",
             seed);
    open_with(extra);
    for (int i = 0; i < 64; i++)
        bits |= (uint64_t)(store("k") != 0) << i;
    rig_close(&rig);
    return bits;
}

START_TEST(chance_follows_the_seed)
{
    uint64_t one = failures_with_seed(1), two = failures_with_seed(2);

    ck_assert_uint_eq(one, failures_with_seed(1));
    ck_assert_uint_ne(one, two);
    ck_assert_int_gt(__builtin_popcountll(one), 10);
    ck_assert_int_lt(__builtin_popcountll(one), 54);
}
END_TEST

/* --- delay and drop --- */

START_TEST(delay_completes_later)
{
    const char *key = "k";
    struct bitmap *found;
    uint64_t start, size;
    l2_task task;

    open_rules("{\"op\": \"lookup\", \"key\": \"k\", \"action\": \"delay\", \"delay\": \"200ms\"}");
    ck_assert_int_eq(store("k"), 0);
    start = clock_now();
    task = rig_submit_lookup(&rig, &key, 1);
    ck_assert_int_eq(rig.a->ops->query_lookup(rig.a, task, &found, &size), -EAGAIN);
    ck_assert(!rig_has(&rig, "other"));
    ck_assert_int_eq(load("k"), 0);
    found = rig_wait_lookup(&rig, task, &size);
    ck_assert_uint_ge(clock_now() - start, LONG_NS);
    ck_assert(bitmap_test(found, 0));
    bitmap_destroy(found);
    rig_close(&rig);
}
END_TEST

START_TEST(delay_goes_with_any_action)
{
    uint64_t start = clock_now();

    open_rules("{\"op\": \"store\", \"action\": \"fail\", \"delay\": \"200ms\"}");
    ck_assert_int_eq(store("k"), -EIO);
    ck_assert_uint_ge(clock_now() - start, LONG_NS);
    rig_close(&rig);
}
END_TEST

START_TEST(drop_gives_up_in_the_end)
{
    uint64_t start;

    open_rules("{\"op\": \"store\", \"key\": \"k\", \"action\": \"drop\"},"
               "{\"op\": \"load\", \"key\": \"other\", \"action\": \"drop\"}");
    start = clock_now();
    ck_assert_int_eq(store("k"), -ETIMEDOUT);
    ck_assert_uint_ge(clock_now() - start, LONG_NS);
    ck_assert(!rig_has(&rig, "k"));
    ck_assert_int_eq(store("other"), 0);
    start = clock_now();
    ck_assert_int_eq(load("other"), -ETIMEDOUT);
    ck_assert_uint_ge(clock_now() - start, LONG_NS);
    rig_close(&rig);
}
END_TEST

START_TEST(drop_of_synchronous_operations)
{
    uint64_t start;

    open_rules("{\"op\": \"remove\", \"action\": \"drop\"},"
               "{\"op\": \"rename\", \"action\": \"delay\", \"delay\": \"200ms\"}");
    ck_assert_int_eq(store("k"), 0);
    start = clock_now();
    ck_assert_int_eq(rig_remove(&rig, "k", NULL), -ETIMEDOUT);
    ck_assert_uint_ge(clock_now() - start, LONG_NS);
    start = clock_now();
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "k", "l"), 0);
    ck_assert_uint_ge(clock_now() - start, LONG_NS);
    ck_assert(rig_has(&rig, "l"));
    rig_close(&rig);
}
END_TEST

/* Hours of delay and a lost request end with the adapter. */
START_TEST(close_waits_for_nothing)
{
    const char *key = "k";
    struct l2_buf buf;

    open_with("\"drop_timeout\": 3600, \"rules\": ["
              "{\"op\": \"load\", \"action\": \"delay\", \"delay\": \"2h\"},"
              "{\"op\": \"store\", \"after\": 1, \"action\": \"drop\"}]");
    buf = rig_buf(&rig, SIZE, 1);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    rig_submit_store(&rig, &key, &buf, 1);
    rig_submit_load(&rig, &key, 1);
    rig_submit_load(&rig, &key, 1);
    ck_assert(rig_has(&rig, "k"));
    rig_submit_load(&rig, &key, 1);
    rig_reopen(&rig);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

/* --- corrupt --- */

START_TEST(corrupt_store_shows_at_load)
{
    open_rules("{\"op\": \"store\", \"key\": \"bad\", \"action\": \"corrupt\"}");
    ck_assert_int_eq(store("bad"), 0);
    ck_assert_int_eq(store("good"), 0);
    ck_assert(rig_has(&rig, "bad"));
    ck_assert_int_eq(load("bad"), -EBADMSG);
    ck_assert_int_eq(load("good"), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(corrupt_store_of_unstable_buffers)
{
    struct l2_buf buf;

    open_rules("{\"op\": \"store\", \"count\": 1, \"action\": \"corrupt\"}");
    buf = rig_buf(&rig, SIZE, 1);
    buf.stable = false;
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    ck_assert_int_eq(load("k"), -EBADMSG);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    ck_assert_int_eq(load("k"), 0);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

START_TEST(corrupt_load_delivers_nothing)
{
    open_rules("{\"op\": \"load\", \"key\": \"*\", \"count\": 1, \"action\": \"corrupt\"}");
    ck_assert_int_eq(store("k"), 0);
    ck_assert_int_eq(load("k"), -EBADMSG);
    ck_assert_int_eq(load("k"), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(corrupt_of_nothing_to_corrupt)
{
    open_rules("{\"action\": \"corrupt\"}");
    ck_assert_int_eq(rig_store(&rig, "empty", 0, 1), 0);
    ck_assert(rig_has(&rig, "empty"));
    rig_check(&rig, "empty", 0, 1);
    ck_assert_int_eq(rig_remove(&rig, "empty", NULL), 0);
    rig_close(&rig);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        fail_store,
        fail_one_key_of_a_task,
        fail_lookup_takes_no_lock,
        fail_lookup_is_no_miss,
        fail_load,
        fail_remove_and_rename,
        after_and_count,
        the_first_rule_that_fires_decides,
        chance_follows_the_seed,
        delay_completes_later,
        delay_goes_with_any_action,
        drop_gives_up_in_the_end,
        drop_of_synchronous_operations,
        close_waits_for_nothing,
        corrupt_store_shows_at_load,
        corrupt_store_of_unstable_buffers,
        corrupt_load_delivers_nothing,
        corrupt_of_nothing_to_corrupt,
    };
    Suite *s = suite_create("fault");
    TCase *tc = tcase_create("fault");
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
