/* test_null.c - the null adapter: everything succeeds, nothing is kept. */
#include "rig.h"
#include "suite.h"

static struct rig rig;

static void setup(void)
{
    rig_open(&rig, "{\"type\": \"null\"}");
}

static void teardown(void)
{
    rig_close(&rig);
}

START_TEST(says_that_it_discards)
{
    ck_assert(rig.a->flags & L2_DISCARDS);
    ck_assert(!(rig.a->flags & L2_PERSISTENT));
}
END_TEST

START_TEST(stores_succeed_with_no_bytes)
{
    struct l2_buf buf = rig_buf(&rig, 10000, 1);
    uint64_t bytes = 99;
    struct l2_object o;

    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, 0);
    ck_assert(!rig_has(&rig, "k"));
    ck_assert_int_eq(rig_load(&rig, "k", &o), -ENOENT);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(results_are_there_when_submit_returns)
{
    const char *key = "k";
    l2_task task = rig_submit_lookup(&rig, &key, 1);
    struct bitmap *found;
    uint64_t size;

    ck_assert(rig_signalled(&rig, L2_LOOKUP, 0));
    ck_assert_int_eq(rig.a->ops->query_lookup(rig.a, task, &found, &size), 0);
    bitmap_destroy(found);
}
END_TEST

START_TEST(unreadable_unstable_buffers_fail)
{
    struct l2_buf buf = rig_buf(&rig, 1000, 1);

    buf.stable = false;
    ck_assert_int_eq(ftruncate(buf.fd, 10), 0);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), -EIO);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(remove_has_nothing_to_do)
{
    bool skipped = true;

    ck_assert_int_eq(rig_remove(&rig, "k", &skipped), 0);
    ck_assert(!skipped);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        says_that_it_discards,
        stores_succeed_with_no_bytes,
        results_are_there_when_submit_returns,
        unreadable_unstable_buffers_fail,
        remove_has_nothing_to_do,
    };
    Suite *s = suite_create("null");
    TCase *tc = tcase_create("null");
    int rc;

    rig_base_create();
    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
