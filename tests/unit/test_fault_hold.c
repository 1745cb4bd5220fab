/* test_fault_hold.c - tasks that the fault adapter refuses, holds for ever, cuts or reorders. */
#include "clock.h"
#include "rig.h"
#include "suite.h"

#include <fcntl.h>
#include <stdio.h>

#define SIZE 5000
#define MOCK "{\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 1000}"
#define QUIET_MS 100

static struct rig rig;
static const char *const k = "k";
static char release[64];

static void open_rules(const char *rules)
{
    struct text spec = {0};

    snprintf(release, sizeof(release), "/dev/shm/l2fs-release-%d", (int)getpid());
    unlink(release);
    text_printf(&spec,
                "{\"type\": \"fault\", \"inner\": " MOCK
                ", \"drop_timeout\": \"100ms\", \"release\": \"%s\", \"rules\": [%s]}",
                release, rules);
    rig_open(&rig, spec.data);
    text_fini(&spec);
}

static void let_go(void)
{
    int fd = open(release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void close_rules(void)
{
    rig_close(&rig);
    unlink(release);
}

static int64_t inner_status(const char *name)
{
    json_t *status = rig.a->ops->status(rig.a);
    json_t *value = json_object_get(json_object_get(status, "inner"), name);
    int64_t n = json_integer_value(value);

    ck_assert(json_is_integer(value));
    json_decref(status);
    return n;
}

/* --- refuse --- */

START_TEST(refuse_makes_no_task)
{
    struct l2_buf buf;

    open_rules("{\"op\": \"store\", \"count\": 1, \"action\": \"refuse\", \"errno\": \"ENOMEM\"},"
               "{\"op\": \"lookup\", \"count\": 1, \"action\": \"refuse\"},"
               "{\"op\": \"load\", \"count\": 1, \"action\": \"refuse\"},"
               "{\"op\": \"rename\", \"action\": \"refuse\", \"errno\": \"EACCES\"},"
               "{\"op\": \"remove\", \"action\": \"refuse\", \"errno\": \"EROFS\"}");
    buf = rig_buf(&rig, SIZE, 1);
    ck_assert_int_eq(rig.a->ops->submit_store(rig.a, &k, &buf, 1), -ENOMEM);
    ck_assert_int_eq(rig.a->ops->submit_lookup_and_lock(rig.a, &k, 1), -EIO);
    ck_assert_int_eq(rig.a->ops->submit_load(rig.a, &k, 1), -EIO);
    for (int i = 0; i < L2_FAMILIES; i++)
        ck_assert(!rig_signalled(&rig, (enum l2_family)i, 0));
    ck_assert_int_eq(inner_status("stored_object_count"), 0);
    ck_assert_int_eq(rig_store_buf(&rig, k, &buf, NULL), 0);
    rig_check(&rig, k, SIZE, 1);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, k, "l"), -EACCES);
    ck_assert_int_eq(rig_remove(&rig, k, NULL), -EROFS);
    ck_assert(rig_has(&rig, k));
    rig_buf_close(&buf);
    close_rules();
}
END_TEST

/* --- never --- */

START_TEST(never_completes_before_it_is_released)
{
    struct l2_store_result r;
    struct l2_object o;
    struct l2_buf buf;
    struct bitmap *bits;
    l2_task store, lookup, load;
    uint64_t size;
    int error;

    open_rules("{\"op\": \"store\", \"action\": \"never\"}, {\"op\": \"lookup\", \"action\": "
               "\"never\"}, {\"op\": \"load\", \"action\": \"never\"}");
    buf = rig_buf(&rig, SIZE, 1);
    store = rig_submit_store(&rig, &k, &buf, 1);
    ck_assert(!rig_signalled(&rig, L2_STORE, QUIET_MS));
    lookup = rig_submit_lookup(&rig, &k, 1);
    load = rig_submit_load(&rig, &k, 1);
    ck_assert(!rig_signalled(&rig, L2_LOOKUP, QUIET_MS));
    ck_assert_int_eq(rig.a->ops->query_lookup(rig.a, lookup, &bits, &size), -EAGAIN);
    ck_assert_int_eq(rig.a->ops->query_load(rig.a, load, &bits, &o, &error), -EAGAIN);
    ck_assert_int_eq(inner_status("locked_key_count"), 1); /* it was done, nobody was told */
    let_go();
    rig_wait_store(&rig, store, &r);
    ck_assert_int_eq(r.errors[0], 0);
    l2_store_result_fini(&r);
    bits = rig_wait_lookup(&rig, lookup, &size);
    ck_assert(bitmap_test(bits, 0) && size == SIZE);
    bitmap_destroy(bits);
    rig_unlock(&rig, k);
    bits = rig_wait_load(&rig, load, &o, &error);
    ck_assert(bitmap_test(bits, 0));
    bitmap_destroy(bits);
    rig_check_object(&rig, &o, SIZE, 1);
    rig_object_drop(&rig, &o);
    rig_check(&rig, k, SIZE, 1); /* released: not held any more */
    ck_assert_int_eq(unlink(release), 0);
    rig_signalled(&rig, L2_LOOKUP, 0);
    rig_submit_lookup(&rig, &k, 1);
    ck_assert(!rig_signalled(&rig, L2_LOOKUP, QUIET_MS));
    rig_buf_close(&buf);
    close_rules();
}
END_TEST

/* rig_close sees that no descriptor and no staging file is left. */
START_TEST(never_ends_at_close)
{
    struct l2_buf buf;

    open_rules("{\"key\": \"k\", \"after\": 1, \"action\": \"never\"}");
    buf = rig_buf(&rig, SIZE, 1);
    ck_assert_int_eq(rig_store_buf(&rig, k, &buf, NULL), 0);
    for (int i = 0; i < 3; i++) {
        rig_submit_load(&rig, &k, 1);
        rig_submit_lookup(&rig, &k, 1);
    }
    rig_submit_store(&rig, &k, &buf, 1);
    ck_assert_int_eq(rig_store(&rig, "other", SIZE, 2), 0);
    rig_check(&rig, "other", SIZE, 2);
    rig_reopen(&rig);
    rig_buf_close(&buf);
    close_rules();
}
END_TEST

START_TEST(never_of_synchronous_operations_is_drop)
{
    open_rules("{\"op\": \"remove\", \"action\": \"never\"},"
               "{\"op\": \"rename\", \"action\": \"never\"}");
    ck_assert_int_eq(rig_store(&rig, k, SIZE, 1), 0);
    ck_assert_int_eq(rig_remove(&rig, k, NULL), -ETIMEDOUT);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, k, "l"), -ETIMEDOUT);
    ck_assert(rig_has(&rig, k));
    close_rules();
}
END_TEST

START_TEST(release_needs_a_directory)
{
    struct text err = {0};
    json_t *json =
        json_pack("{s:s, s:{s:s, s:i, s:i}, s:s}", "type", "fault", "inner", "type", "mock",
                  "max_size_gb", 1, "mock_bandwidth_gb", 1, "release", "/nowhere/at/all");
    struct adapter *a;
    struct spec spec;

    rig_open(&rig, MOCK);
    ck_assert_int_eq(spec_parse(json, &spec, &err), 0);
    ck_assert_int_eq(spec.ops->open(&rig.env, spec.config, &a), -ENOENT);
    spec_fini(&spec);
    json_decref(json);
    text_fini(&err);
    rig_close(&rig);
}
END_TEST

/* --- reorder --- */

START_TEST(reorder_lets_the_next_pass)
{
    struct l2_store_result r;
    struct l2_buf buf;
    l2_task first, second;

    open_rules("{\"op\": \"store\", \"key\": \"k\", \"action\": \"reorder\", \"delay\": \"1h\"}");
    buf = rig_buf(&rig, SIZE, 1);
    first = rig_submit_store(&rig, &k, &buf, 1);
    ck_assert(!rig_signalled(&rig, L2_STORE, QUIET_MS));
    second = rig_submit_store(&rig, (const char *const[]){"l"}, &buf, 1);
    ck_assert(rig_signalled(&rig, L2_STORE, RIG_WAIT_MS));
    ck_assert_int_eq(rig.a->ops->pop_stored(rig.a, &r), 1);
    ck_assert_int_eq(r.task, second);
    l2_store_result_fini(&r);
    rig_wait_store(&rig, first, &r);
    ck_assert_int_eq(r.errors[0], 0);
    l2_store_result_fini(&r);
    rig_buf_close(&buf);
    close_rules();
}
END_TEST

START_TEST(reorder_of_the_last_waits_a_moment)
{
    uint64_t start = clock_now();

    open_rules("{\"op\": \"load\", \"action\": \"reorder\"}");
    ck_assert_int_eq(rig_store(&rig, k, SIZE, 1), 0);
    rig_check(&rig, k, SIZE, 1);
    ck_assert_uint_ge(clock_now() - start, 100 * NSEC_PER_MSEC);
    close_rules();
}
END_TEST

/* --- short --- */

START_TEST(short_store_shows_at_load)
{
    struct l2_object o;

    open_rules("{\"op\": \"store\", \"key\": \"bad*\", \"action\": \"short\"}");
    ck_assert_int_eq(rig_store(&rig, "bad", SIZE, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "bad-small", 1, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "good", SIZE, 1), 0);
    ck_assert_int_eq(rig_load(&rig, "bad", &o), -EBADMSG);
    ck_assert_int_eq(rig_load(&rig, "bad-small", &o), -EBADMSG);
    rig_check(&rig, "good", SIZE, 1);
    close_rules();
}
END_TEST

START_TEST(short_load_delivers_nothing)
{
    struct l2_object o;

    open_rules("{\"op\": \"load\", \"count\": 1, \"action\": \"short\"}");
    ck_assert_int_eq(rig_store(&rig, k, SIZE, 1), 0);
    ck_assert_int_eq(rig_load(&rig, k, &o), -EBADMSG);
    rig_check(&rig, k, SIZE, 1);
    close_rules();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        refuse_makes_no_task,
        never_completes_before_it_is_released,
        never_ends_at_close,
        never_of_synchronous_operations_is_drop,
        release_needs_a_directory,
        reorder_lets_the_next_pass,
        reorder_of_the_last_waits_a_moment,
        short_store_shows_at_load,
        short_load_delivers_nothing,
    };
    Suite *s = suite_create("fault hold");
    TCase *tc = tcase_create("fault hold");
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
