/* test_mock.c - what is the mock's own: capacity and FIFO eviction, bandwidth, debug counters,
 * copies.
 *
 * The contract itself is tests/conform. Time is only ever bounded from below.
 */
#include "clock.h"
#include "pace.h"
#include "rig.h"
#include "suite.h"

#include <fcntl.h>
#include <pthread.h>

/* 0.001 GiB = 1073741 bytes: room for ten objects of 100000 and not for eleven. */
#define SPEC "{\"type\": \"mock\", \"max_size_gb\": 0.001, \"mock_bandwidth_gb\": 10}"
#define FIFO                                                                                       \
    "{\"type\": \"mock\", \"max_size_gb\": 0.001, \"mock_bandwidth_gb\": 10, \"fifo\": true}"
#define SLOW "{\"type\": \"mock\", \"max_size_gb\": 0.001, \"mock_bandwidth_gb\": 0.0001}"
#define FROZEN "{\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 1e-8}"
#define SIZE 100000
#define FITS 10

static struct rig rig;

static const char *key_name(int i)
{
    static const char *const names[] = {"k0", "k1", "k2", "k3", "k4",  "k5",
                                        "k6", "k7", "k8", "k9", "k10", "k11"};

    return names[i];
}

static void store(int i)
{
    ck_assert_int_eq(rig_store(&rig, key_name(i), SIZE, (uint64_t)i), 0);
}

static void fill(void)
{
    for (int i = 0; i < FITS; i++)
        store(i);
}

/* --- eviction --- */

START_TEST(the_oldest_leaves)
{
    rig_open(&rig, FIFO);
    fill();
    ck_assert_int_eq(rig_status_int(&rig, "stored_object_count"), FITS);
    store(10);
    ck_assert_int_eq(rig_status_int(&rig, "stored_object_count"), FITS);
    ck_assert(!rig_has(&rig, "k0"));
    for (int i = 1; i <= FITS; i++)
        rig_check(&rig, key_name(i), SIZE, (uint64_t)i);
    rig_close(&rig);
}
END_TEST

START_TEST(using_does_not_make_younger)
{
    rig_open(&rig, FIFO);
    fill();
    rig_check(&rig, "k0", SIZE, 0);
    ck_assert(rig_has(&rig, "k0"));
    store(10);
    ck_assert(!rig_has(&rig, "k0"));
    rig_close(&rig);
}
END_TEST

START_TEST(locked_keys_are_passed_over)
{
    rig_open(&rig, FIFO);
    fill();
    ck_assert(rig_lookup(&rig, "k0", NULL));
    ck_assert(rig_lookup(&rig, "k1", NULL));
    store(10);
    ck_assert(rig_has(&rig, "k0"));
    ck_assert(rig_has(&rig, "k1"));
    ck_assert(!rig_has(&rig, "k2"));
    rig_close(&rig);
}
END_TEST

/* A locked key that was passed over goes to the end of the order. */
START_TEST(a_passed_over_key_is_young_again)
{
    rig_open(&rig, FIFO);
    fill();
    ck_assert(rig_lookup(&rig, "k0", NULL));
    store(10);
    rig_unlock(&rig, "k0");
    store(11);
    ck_assert(rig_has(&rig, "k0"));
    ck_assert(!rig_has(&rig, "k1"));
    ck_assert(!rig_has(&rig, "k2"));
    rig_close(&rig);
}
END_TEST

START_TEST(no_room_when_all_is_locked)
{
    static const char *const keys[] = {"new", "newer"};
    struct l2_buf bufs[2];
    struct l2_store_result r;

    rig_open(&rig, FIFO);
    for (int i = 0; i < FITS - 1; i++) {
        store(i);
        ck_assert(rig_lookup(&rig, key_name(i), NULL));
    }
    bufs[0] = rig_buf(&rig, SIZE, 50);
    bufs[1] = rig_buf(&rig, 2 * SIZE, 51);
    rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, 2), &r);
    ck_assert_int_eq(r.errors[0], 0);
    ck_assert_int_eq(r.errors[1], -ENOSPC);
    ck_assert_uint_eq(r.bytes, SIZE);
    l2_store_result_fini(&r);
    for (int i = 0; i < FITS - 1; i++)
        rig_check(&rig, key_name(i), SIZE, (uint64_t)i);
    ck_assert(!rig_has(&rig, "newer"));
    rig_buf_close(&bufs[0]);
    rig_buf_close(&bufs[1]);
    rig_close(&rig);
}
END_TEST

/* "Keys stored earlier in that task stay": also under the pressure of a later one that gets in. */
START_TEST(earlier_keys_of_a_failed_task_stay)
{
    static const char *const keys[] = {"first", "huge"};
    struct l2_buf bufs[2];
    struct l2_store_result r;

    rig_open(&rig, FIFO);
    ck_assert_int_eq(rig_store(&rig, "locked", 9 * SIZE, 1), 0);
    ck_assert(rig_lookup(&rig, "locked", NULL));
    bufs[0] = rig_buf(&rig, 1000, 2);
    bufs[1] = rig_buf(&rig, 2 * SIZE, 3);
    rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, 2), &r);
    ck_assert_int_eq(r.errors[0], 0);
    ck_assert_int_eq(r.errors[1], -ENOSPC);
    l2_store_result_fini(&r);
    rig_check(&rig, "locked", 9 * SIZE, 1);
    rig_buf_close(&bufs[0]);
    rig_buf_close(&bufs[1]);
    rig_close(&rig);
}
END_TEST

START_TEST(larger_than_everything_is_skipped)
{
    static const char *const keys[] = {"a", "huge", "c"};
    struct l2_buf bufs[3];
    struct l2_store_result r;

    rig_open(&rig, FIFO);
    store(0);
    for (size_t i = 0; i < 3; i++)
        bufs[i] = rig_buf(&rig, i == 1 ? 1073742 : SIZE, i);
    rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, 3), &r);
    ck_assert_int_eq(r.errors[0], 0);
    ck_assert_int_eq(r.errors[1], -EFBIG);
    ck_assert_int_eq(r.errors[2], 0);
    l2_store_result_fini(&r);
    rig_check(&rig, "k0", SIZE, 0);
    rig_check(&rig, "c", SIZE, 2);
    ck_assert(!rig_has(&rig, "huge"));
    for (size_t i = 0; i < 3; i++)
        rig_buf_close(&bufs[i]);
    ck_assert_int_eq(rig_store(&rig, "all", 1073741, 9), 0);
    ck_assert_int_eq(rig_status_int(&rig, "stored_object_count"), 1);
    rig_check(&rig, "all", 1073741, 9);
    rig_close(&rig);
}
END_TEST

START_TEST(replacing_needs_room_beside_the_old)
{
    rig_open(&rig, FIFO);
    fill();
    ck_assert_int_eq(rig_store(&rig, "k0", SIZE, 77), 0);
    ck_assert(!rig_has(&rig, "k1"));
    for (int i = 2; i < FITS; i++)
        ck_assert(rig_has(&rig, key_name(i)));
    rig_check(&rig, "k0", SIZE, 77);
    ck_assert_int_eq(rig_store(&rig, "k9", 2 * SIZE, 78), 0);
    ck_assert(!rig_has(&rig, "k2"));
    ck_assert(rig_has(&rig, "k3"));
    rig_check(&rig, "k9", 2 * SIZE, 78);
    ck_assert_int_eq(rig_store(&rig, "k9", 900000, 79), -ENOSPC);
    rig_check(&rig, "k9", 2 * SIZE, 78);
    rig_close(&rig);
}
END_TEST

/* --- without eviction of its own --- */

START_TEST(nothing_leaves_by_itself)
{
    rig_open(&rig, SPEC);
    fill();
    ck_assert_int_eq(rig_store(&rig, "k10", SIZE, 10), -ENOSPC);
    ck_assert_int_eq(rig_store(&rig, "k0", SIZE, 77), -ENOSPC); /* old and new side by side */
    ck_assert_int_eq(rig_store(&rig, "k0", SIZE, 0), 0);        /* the same bytes need none */
    for (int i = 0; i < FITS; i++)
        rig_check(&rig, key_name(i), SIZE, (uint64_t)i);
    ck_assert_int_eq(rig_remove(&rig, "k3", NULL), 0);
    ck_assert_int_eq(rig_store(&rig, "k0", SIZE, 77), 0);
    ck_assert_int_eq(rig_store(&rig, "k10", SIZE, 10), 0);
    rig_close(&rig);
}
END_TEST

static void *watch(void *arg)
{
    uint64_t *most = arg;

    for (;;) {
        struct l2_usage u;

        rig.a->ops->usage(rig.a, &u);
        *most = MAX(*most, u.used + u.reserved);
        ck_assert_uint_le(u.fs_avail, u.capacity);
        if (u.locked)
            return NULL;
    }
}

START_TEST(a_burst_stays_below_the_capacity)
{
    uint64_t most = 0;
    pthread_t thread;
    int refused = 0;

    rig_open(&rig, SPEC);
    ck_assert_int_eq(rig_store(&rig, "end", 1, 1), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, watch, &most), 0);
    for (int i = 0; i < 300; i++) {
        int err = rig_store(&rig, key_name(i % 12), (size_t)(1 + i * 7919 % 200000), (uint64_t)i);

        ck_assert(err == 0 || err == -ENOSPC);
        refused += err != 0;
        if (i % 5 == 0)
            ck_assert_int_eq(rig_remove(&rig, key_name(i / 5 % 12), NULL), 0);
    }
    ck_assert(rig_lookup(&rig, "end", NULL));
    pthread_join(thread, NULL);
    ck_assert_int_gt(refused, 0);
    ck_assert_uint_gt(most, 900000);
    ck_assert_uint_le(most, 1073741);
    rig_close(&rig);
}
END_TEST

START_TEST(debug_counters)
{
    rig_open(&rig, SPEC);
    ck_assert_int_eq(rig_status_int(&rig, "stored_object_count"), 0);
    ck_assert_int_eq(rig_status_int(&rig, "max_capacity_bytes"), 1073741);
    store(0);
    store(1);
    ck_assert_int_eq(rig_status_int(&rig, "stored_object_count"), 2);
    ck_assert_int_eq(rig_status_int(&rig, "current_size_bytes"), 2 * SIZE);
    rig_lookup(&rig, "k0", NULL);
    rig_lookup(&rig, "k0", NULL);
    ck_assert_int_eq(rig_status_int(&rig, "locked_key_count"), 1);
    rig_unlock(&rig, "k0");
    rig_unlock(&rig, "k0");
    ck_assert_int_eq(rig_status_int(&rig, "locked_key_count"), 0);
    ck_assert_int_eq(rig_remove(&rig, "k0", NULL), 0);
    ck_assert_int_eq(rig_status_int(&rig, "current_size_bytes"), SIZE);
    rig_close(&rig);
}
END_TEST

/* --- copies --- */

START_TEST(stores_and_loads_copy)
{
    struct l2_buf buf;
    struct l2_object o;
    int fd;

    rig_open(&rig, SPEC);
    buf = rig_buf(&rig, SIZE, 1);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    rig_buf_refill(&buf, 2);
    rig_buf_close(&buf);
    rig_check(&rig, "k", SIZE, 1);
    ck_assert_int_eq(rig_load(&rig, "k", &o), 0);
    ck_assert_int_eq(staging_get(rig.staging, o.staging_id, O_RDWR, &fd), 0);
    ck_assert_int_eq(pwrite(fd, "changed", 7, 0), 7);
    close(fd);
    rig_object_drop(&rig, &o);
    rig_check(&rig, "k", SIZE, 1);
    rig_close(&rig);
}
END_TEST

/* --- bandwidth --- */

START_TEST(test_store_completion_is_delayed_by_bandwidth)
{
    uint64_t start;

    rig_open(&rig, SLOW);
    start = clock_now();
    ck_assert_int_eq(rig_store(&rig, "k", 40000, 1), 0);
    ck_assert_uint_gt(clock_now() - start, NSEC_PER_SEC / 10);
    rig_close(&rig);
}
END_TEST

START_TEST(test_fast_bandwidth_completes_quickly)
{
    rig_open(&rig, SPEC);
    ck_assert_int_eq(rig_store(&rig, "k", 40000, 1), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(loads_are_delayed_by_bandwidth)
{
    uint64_t start;

    rig_open(&rig, SLOW);
    ck_assert_int_eq(rig_store(&rig, "k", 20000, 1), 0);
    start = clock_now();
    rig_check(&rig, "k", 20000, 1);
    ck_assert_uint_gt(clock_now() - start, NSEC_PER_SEC / 10);
    rig_close(&rig);
}
END_TEST

/* A store that waits for its time holds up nothing else, and shows already. */
START_TEST(delayed_stores_hold_up_nothing)
{
    const char *key = "k";
    struct l2_store_result r;
    struct l2_buf buf;

    rig_open(&rig, FROZEN);
    buf = rig_buf(&rig, SIZE, 1);
    rig_submit_store(&rig, &key, &buf, 1);
    ck_assert(!rig_has(&rig, "absent"));
    ck_assert(rig_has(&rig, "k"));
    ck_assert_int_eq(rig.a->ops->pop_stored(rig.a, &r), 0);
    rig_reopen(&rig);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

START_TEST(duplicates_take_no_time)
{
    struct l2_buf buf;

    rig_open(&rig, FROZEN);
    buf = rig_buf(&rig, 0, 1);
    ck_assert_int_eq(rig_store_buf(&rig, "empty", &buf, NULL), 0);
    ck_assert_int_eq(rig_store_buf(&rig, "empty", &buf, NULL), 0);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

/* 100000 bytes at 10 bytes/s are hours; close ends them at once. */
START_TEST(close_does_not_wait_for_the_device)
{
    const char *key = "k";
    struct l2_buf buf;

    rig_open(&rig, FROZEN);
    buf = rig_buf(&rig, SIZE, 1);
    rig_submit_store(&rig, &key, &buf, 1);
    ck_assert(rig_has(&rig, "k"));
    rig_submit_load(&rig, &key, 1);
    rig_submit_load(&rig, &key, 1);
    ck_assert(rig_has(&rig, "k"));
    rig_reopen(&rig);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

START_TEST(pace_books_one_after_the_other)
{
    struct pace p;

    pace_init(&p, 1000);
    ck_assert_uint_eq(pace_book(&p, 5 * NSEC_PER_SEC, 500), 5 * NSEC_PER_SEC + NSEC_PER_SEC / 2);
    ck_assert_uint_eq(pace_book(&p, 5 * NSEC_PER_SEC, 1000), 6 * NSEC_PER_SEC + NSEC_PER_SEC / 2);
    ck_assert_uint_eq(pace_book(&p, 9 * NSEC_PER_SEC, 1000), 10 * NSEC_PER_SEC);
    ck_assert_uint_eq(pace_book(&p, 3, 0), 3);
    ck_assert_uint_eq(pace_book(&p, 0, UINT64_MAX), UINT64_MAX);
    pace_init(&p, 0);
    ck_assert_uint_eq(pace_book(&p, 7, 1000), 7);
}
END_TEST

/* --- configuration --- */

static void refuse(const char *spec, const char *option)
{
    json_t *json = json_loads(spec, 0, NULL);
    struct text why = {0};
    struct spec s;

    ck_assert_int_eq(spec_parse(json, &s, &why), -EINVAL);
    ck_assert_msg(strstr(why.data, option) != NULL, "%s: %s", spec, why.data);
    ck_assert_msg(strstr(why.data, "positive") != NULL, "%s: %s", spec, why.data);
    text_fini(&why);
    json_decref(json);
}

START_TEST(sizes_must_be_positive_numbers)
{
    refuse("{\"type\": \"mock\"}", "max_size_gb");
    refuse("{\"type\": \"mock\", \"max_size_gb\": 1}", "mock_bandwidth_gb");
    refuse("{\"type\": \"mock\", \"max_size_gb\": \"1\", \"mock_bandwidth_gb\": 1}", "max_size_gb");
    refuse("{\"type\": \"mock\", \"max_size_gb\": 0, \"mock_bandwidth_gb\": 1}", "max_size_gb");
    refuse("{\"type\": \"mock\", \"max_size_gb\": -1, \"mock_bandwidth_gb\": 1}", "max_size_gb");
    refuse("{\"type\": \"mock\", \"max_size_gb\": true, \"mock_bandwidth_gb\": 1}", "max_size_gb");
    refuse("{\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 0}",
           "mock_bandwidth_gb");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_oldest_leaves,
        using_does_not_make_younger,
        locked_keys_are_passed_over,
        a_passed_over_key_is_young_again,
        no_room_when_all_is_locked,
        earlier_keys_of_a_failed_task_stay,
        larger_than_everything_is_skipped,
        replacing_needs_room_beside_the_old,
        nothing_leaves_by_itself,
        a_burst_stays_below_the_capacity,
        debug_counters,
        stores_and_loads_copy,
        test_store_completion_is_delayed_by_bandwidth,
        test_fast_bandwidth_completes_quickly,
        loads_are_delayed_by_bandwidth,
        delayed_stores_hold_up_nothing,
        duplicates_take_no_time,
        close_does_not_wait_for_the_device,
        pace_books_one_after_the_other,
        sizes_must_be_positive_numbers,
    };
    Suite *s = suite_create("mock");
    TCase *tc = tcase_create("mock");
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
