/* conform_basic.c - the rows of LMCache's test_mock_l2_adapter.py, under their names.
 *
 * The two bandwidth rows are about the mock alone: tests/unit/test_mock.c.
 */
#include "conform.h"

#define SIZE 4096

static int get_fd(enum l2_family family)
{
    return rig.a->ops->event_fd(rig.a, family);
}

/* --- TestEventFdInterface --- */

START_TEST(test_get_store_event_fd_returns_valid_fd)
{
    ck_assert_int_ge(get_fd(L2_STORE), 0);
}
END_TEST

START_TEST(test_get_lookup_and_lock_event_fd_returns_valid_fd)
{
    ck_assert_int_ge(get_fd(L2_LOOKUP), 0);
}
END_TEST

START_TEST(test_get_load_event_fd_returns_valid_fd)
{
    ck_assert_int_ge(get_fd(L2_LOAD), 0);
}
END_TEST

START_TEST(test_event_fds_are_different)
{
    ck_assert_int_ne(get_fd(L2_STORE), get_fd(L2_LOOKUP));
    ck_assert_int_ne(get_fd(L2_STORE), get_fd(L2_LOAD));
    ck_assert_int_ne(get_fd(L2_LOOKUP), get_fd(L2_LOAD));
}
END_TEST

/* --- TestStoreInterface --- */

/* Submits `n` objects "k0"... as one task. */
static l2_task submit_stores(size_t n, struct l2_buf *bufs)
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4"};

    ck_assert_uint_le(n, ARRAY_SIZE(keys));
    for (size_t i = 0; i < n; i++)
        bufs[i] = rig_buf(&rig, SIZE, i);
    return rig_submit_store(&rig, keys, bufs, n);
}

static void finish_stores(l2_task task, size_t n, struct l2_buf *bufs)
{
    struct l2_store_result r;

    rig_wait_store(&rig, task, &r);
    ck_assert_uint_eq(r.n, n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(r.errors[i], 0);
        ck_assert_uint_eq(r.crc32c[i], bufs[i].crc32c);
        rig_buf_close(&bufs[i]);
    }
    l2_store_result_fini(&r);
}

START_TEST(test_submit_store_task_returns_task_id)
{
    struct l2_buf buf;
    l2_task task = submit_stores(1, &buf);

    ck_assert_int_gt(task, 0);
    finish_stores(task, 1, &buf);
}
END_TEST

START_TEST(test_submit_store_task_signals_event_fd)
{
    struct l2_buf buf;
    l2_task task = submit_stores(1, &buf);

    ck_assert(rig_signalled(&rig, L2_STORE, RIG_WAIT_MS));
    finish_stores(task, 1, &buf);
}
END_TEST

START_TEST(test_pop_completed_store_tasks_returns_completed)
{
    struct l2_buf buf;
    l2_task task = submit_stores(1, &buf);
    struct l2_store_result r;

    ck_assert(rig_signalled(&rig, L2_STORE, RIG_WAIT_MS));
    ck_assert_int_eq(rig.a->ops->pop_stored(rig.a, &r), 1);
    ck_assert_int_eq(r.task, task);
    ck_assert_uint_eq(r.n, 1);
    ck_assert_int_eq(r.errors[0], 0);
    l2_store_result_fini(&r);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(test_pop_completed_store_tasks_clears_completed)
{
    struct l2_store_result r;
    struct l2_buf buf;

    finish_stores(submit_stores(1, &buf), 1, &buf);
    ck_assert_int_eq(rig.a->ops->pop_stored(rig.a, &r), 0);
}
END_TEST

START_TEST(test_submit_multiple_store_tasks)
{
    static const char *const keys[] = {"m0", "m1", "m2"};
    struct l2_buf bufs[3];
    l2_task tasks[3];
    bool seen[3] = {false};

    for (int i = 0; i < 3; i++) {
        bufs[i] = rig_buf(&rig, SIZE, (uint64_t)i);
        tasks[i] = rig_submit_store(&rig, &keys[i], &bufs[i], 1);
    }
    ck_assert(tasks[0] != tasks[1] && tasks[1] != tasks[2] && tasks[0] != tasks[2]);
    for (int done = 0; done < 3;) {
        struct l2_store_result r;

        if (!rig.a->ops->pop_stored(rig.a, &r)) {
            ck_assert(rig_signalled(&rig, L2_STORE, RIG_WAIT_MS));
            continue;
        }
        for (int i = 0; i < 3; i++) {
            ck_assert(r.task != tasks[i] || !seen[i]);
            seen[i] = seen[i] || r.task == tasks[i];
        }
        ck_assert_int_eq(r.errors[0], 0);
        l2_store_result_fini(&r);
        done++;
    }
    ck_assert(seen[0] && seen[1] && seen[2]);
    for (int i = 0; i < 3; i++)
        rig_buf_close(&bufs[i]);
}
END_TEST

START_TEST(test_store_batch_of_objects)
{
    struct l2_buf bufs[5];

    finish_stores(submit_stores(5, bufs), 5, bufs);
}
END_TEST

/* --- TestLookupAndLockInterface --- */

START_TEST(test_submit_lookup_returns_task_id)
{
    const char *key = "absent";
    l2_task task = rig_submit_lookup(&rig, &key, 1);
    uint64_t size;

    ck_assert_int_gt(task, 0);
    bitmap_destroy(rig_wait_lookup(&rig, task, &size));
}
END_TEST

START_TEST(test_lookup_signals_event_fd)
{
    const char *key = "absent";
    l2_task task = rig_submit_lookup(&rig, &key, 1);
    uint64_t size;

    ck_assert(rig_signalled(&rig, L2_LOOKUP, RIG_WAIT_MS));
    bitmap_destroy(rig_wait_lookup(&rig, task, &size));
}
END_TEST

START_TEST(test_lookup_nonexistent_key_returns_bitmap_with_zeros)
{
    ck_assert(!rig_lookup(&rig, "absent", NULL));
}
END_TEST

START_TEST(test_lookup_existing_key_returns_bitmap_with_ones)
{
    uint64_t size = 0;

    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 1), 0);
    ck_assert(rig_lookup(&rig, "k", &size) == !conform_discards());
    ck_assert_uint_eq(size, conform_discards() ? 0 : SIZE);
}
END_TEST

START_TEST(test_lookup_mixed_keys)
{
    static const char *const keys[] = {"here", "absent"};
    struct bitmap *found;
    uint64_t sizes[2];

    ck_assert_int_eq(rig_store(&rig, "here", SIZE, 1), 0);
    found = rig_wait_lookup(&rig, rig_submit_lookup(&rig, keys, 2), sizes);
    ck_assert_uint_eq(bitmap_size(found), 2);
    ck_assert(bitmap_test(found, 0) == !conform_discards());
    ck_assert(!bitmap_test(found, 1));
    bitmap_destroy(found);
}
END_TEST

START_TEST(test_query_lookup_result_returns_none_for_unknown_task)
{
    struct bitmap *found = NULL;
    uint64_t size;

    ck_assert_int_eq(rig.a->ops->query_lookup(rig.a, 99999, &found, &size), -ENOENT);
    ck_assert_ptr_null(found);
}
END_TEST

START_TEST(test_query_lookup_result_clears_result)
{
    const char *key = "absent";
    l2_task task = rig_submit_lookup(&rig, &key, 1);
    struct bitmap *found;
    uint64_t size;

    bitmap_destroy(rig_wait_lookup(&rig, task, &size));
    ck_assert_int_eq(rig.a->ops->query_lookup(rig.a, task, &found, &size), -ENOENT);
}
END_TEST

/* --- TestUnlockInterface --- */

START_TEST(test_submit_unlock_does_not_raise)
{
    rig_unlock(&rig, "never stored");
}
END_TEST

START_TEST(test_unlock_after_lock)
{
    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 1), 0);
    rig_lookup(&rig, "k", NULL);
    rig_unlock(&rig, "k");
}
END_TEST

/* --- TestLoadInterface --- */

START_TEST(test_submit_load_task_returns_task_id)
{
    const char *key = "absent";
    l2_task task = rig_submit_load(&rig, &key, 1);
    struct l2_object o;
    int error;

    ck_assert_int_gt(task, 0);
    bitmap_destroy(rig_wait_load(&rig, task, &o, &error));
}
END_TEST

START_TEST(test_load_signals_event_fd)
{
    const char *key = "absent";
    l2_task task = rig_submit_load(&rig, &key, 1);
    struct l2_object o;
    int error;

    ck_assert(rig_signalled(&rig, L2_LOAD, RIG_WAIT_MS));
    bitmap_destroy(rig_wait_load(&rig, task, &o, &error));
}
END_TEST

START_TEST(test_load_nonexistent_key_returns_bitmap_with_zeros)
{
    struct l2_object o;

    ck_assert_int_eq(rig_load(&rig, "absent", &o), -ENOENT);
}
END_TEST

START_TEST(test_load_existing_key_copies_data)
{
    struct l2_object o;

    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 42), 0);
    if (conform_discards())
        ck_assert_int_eq(rig_load(&rig, "k", &o), -ENOENT);
    else
        rig_check(&rig, "k", SIZE, 42);
}
END_TEST

START_TEST(test_query_load_result_returns_none_for_unknown_task)
{
    struct bitmap *loaded = NULL;
    struct l2_object o;
    int error;

    ck_assert_int_eq(rig.a->ops->query_load(rig.a, 99999, &loaded, &o, &error), -ENOENT);
    ck_assert_ptr_null(loaded);
}
END_TEST

START_TEST(test_query_load_result_clears_result)
{
    const char *key = "absent";
    l2_task task = rig_submit_load(&rig, &key, 1);
    struct bitmap *loaded;
    struct l2_object o;
    int error;

    bitmap_destroy(rig_wait_load(&rig, task, &o, &error));
    ck_assert_int_eq(rig.a->ops->query_load(rig.a, task, &loaded, &o, &error), -ENOENT);
}
END_TEST

/* --- TestEndToEndWorkflow --- */

START_TEST(test_store_lookup_load_workflow)
{
    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 7), 0);
    ck_assert(rig_lookup(&rig, "k", NULL) == !conform_discards());
    if (!conform_discards())
        rig_check(&rig, "k", SIZE, 7);
    rig_unlock(&rig, "k");
}
END_TEST

static void check_loaded(struct bitmap *loaded, struct l2_object *objects, const int *errors)
{
    for (size_t i = 0; i < 5; i++) {
        ck_assert(bitmap_test(loaded, i) == !conform_discards());
        if (bitmap_test(loaded, i)) {
            rig_check_object(&rig, &objects[i], SIZE, i);
            rig_object_drop(&rig, &objects[i]);
        } else {
            ck_assert_int_eq(errors[i], -ENOENT);
        }
    }
}

START_TEST(test_multiple_objects_workflow)
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4"};
    struct l2_object objects[5];
    struct l2_buf bufs[5];
    struct bitmap *bits;
    uint64_t sizes[5];
    int errors[5];

    finish_stores(submit_stores(5, bufs), 5, bufs);
    bits = rig_wait_lookup(&rig, rig_submit_lookup(&rig, keys, 5), sizes);
    ck_assert_uint_eq(bitmap_popcount(bits), conform_discards() ? 0 : 5);
    bitmap_destroy(bits);
    bits = rig_wait_load(&rig, rig_submit_load(&rig, keys, 5), objects, errors);
    check_loaded(bits, objects, errors);
    bitmap_destroy(bits);
    rig.a->ops->submit_unlock(rig.a, keys, 5);
}
END_TEST

/* --- TestCloseInterface: the fixture closes, and checks what is left --- */

START_TEST(test_close_does_not_raise)
{
}
END_TEST

START_TEST(test_close_after_operations)
{
    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 1), 0);
    rig_lookup(&rig, "k", NULL);
    if (!conform_discards())
        rig_check(&rig, "k", SIZE, 1);
}
END_TEST

void conform_add_basic(Suite *s)
{
    conform_add(s, "EventFdInterface",
                TESTS(test_get_store_event_fd_returns_valid_fd,
                      test_get_lookup_and_lock_event_fd_returns_valid_fd,
                      test_get_load_event_fd_returns_valid_fd, test_event_fds_are_different));
    conform_add(s, "StoreInterface",
                TESTS(test_submit_store_task_returns_task_id,
                      test_submit_store_task_signals_event_fd,
                      test_pop_completed_store_tasks_returns_completed,
                      test_pop_completed_store_tasks_clears_completed,
                      test_submit_multiple_store_tasks, test_store_batch_of_objects));
    conform_add(s, "LookupAndLockInterface",
                TESTS(test_submit_lookup_returns_task_id, test_lookup_signals_event_fd,
                      test_lookup_nonexistent_key_returns_bitmap_with_zeros,
                      test_lookup_existing_key_returns_bitmap_with_ones, test_lookup_mixed_keys,
                      test_query_lookup_result_returns_none_for_unknown_task,
                      test_query_lookup_result_clears_result));
    conform_add(s, "UnlockInterface",
                TESTS(test_submit_unlock_does_not_raise, test_unlock_after_lock));
    conform_add(s, "LoadInterface",
                TESTS(test_submit_load_task_returns_task_id, test_load_signals_event_fd,
                      test_load_nonexistent_key_returns_bitmap_with_zeros,
                      test_load_existing_key_copies_data,
                      test_query_load_result_returns_none_for_unknown_task,
                      test_query_load_result_clears_result));
    conform_add(s, "EndToEndWorkflow",
                TESTS(test_store_lookup_load_workflow, test_multiple_objects_workflow));
    conform_add(s, "CloseInterface", TESTS(test_close_does_not_raise, test_close_after_operations));
}
