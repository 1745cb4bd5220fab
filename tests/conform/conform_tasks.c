/* conform_tasks.c - descriptors, completions and results: rules of l2-contract.md 1.2 to 1.6. */
#include "conform.h"

#include <fcntl.h>
#include <stdio.h>

#define SIZE 2048
#define TASKS 60

START_TEST(fds_are_nonblocking_and_closed_on_exec)
{
    for (int i = 0; i < L2_FAMILIES; i++) {
        int fd = rig.a->ops->event_fd(rig.a, (enum l2_family)i);

        ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        ck_assert_int_eq(fd, rig.a->ops->event_fd(rig.a, (enum l2_family)i));
    }
}
END_TEST

START_TEST(fds_are_distinct_across_adapters)
{
    struct rig other;

    rig_open(&other, conform_spec());
    for (int i = 0; i < L2_FAMILIES; i++)
        for (int j = 0; j < L2_FAMILIES; j++)
            ck_assert_int_ne(rig.a->ops->event_fd(rig.a, (enum l2_family)i),
                             other.a->ops->event_fd(other.a, (enum l2_family)j));
    rig_close(&other);
}
END_TEST

START_TEST(fds_are_quiet_before_the_first_task)
{
    for (int i = 0; i < L2_FAMILIES; i++)
        ck_assert(!rig_signalled(&rig, (enum l2_family)i, 0));
}
END_TEST

START_TEST(ids_grow_and_results_come_once)
{
    l2_task tasks[TASKS];
    char keys[TASKS][24];
    struct bitmap *found;
    uint64_t size;

    for (int i = 0; i < TASKS; i++) {
        const char *key = keys[i];

        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        tasks[i] = rig_submit_lookup(&rig, &key, 1);
        ck_assert(!i || tasks[i] > tasks[i - 1]);
    }
    for (int i = TASKS - 1; i >= 0; i--)
        bitmap_destroy(rig_wait_lookup(&rig, tasks[i], &size));
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(rig.a->ops->query_lookup(rig.a, tasks[i], &found, &size), -ENOENT);
}
END_TEST

static int task_index(const l2_task *tasks, l2_task id)
{
    for (int i = 0; i < TASKS; i++)
        if (tasks[i] == id)
            return i;
    ck_abort_msg("task %lld was never submitted", (long long)id);
}

/* Collects only after reading the descriptor, as controllers do: a completion that was signalled
 * before it was published would be missed for ever. */
START_TEST(every_store_completes_exactly_once)
{
    struct l2_buf bufs[TASKS];
    l2_task tasks[TASKS];
    int seen[TASKS] = {0}, done = 0;
    struct l2_store_result r;

    for (int i = 0; i < TASKS; i++) {
        char name[24];
        const char *key = name;

        snprintf(name, sizeof(name), "dir/k%d", i);
        bufs[i] = rig_buf(&rig, SIZE, (uint64_t)i);
        tasks[i] = rig_submit_store(&rig, &key, &bufs[i], 1);
    }
    while (done < TASKS) {
        ck_assert(rig_signalled(&rig, L2_STORE, RIG_WAIT_MS));
        while (rig.a->ops->pop_stored(rig.a, &r) == 1) {
            int i = task_index(tasks, r.task);

            ck_assert_int_eq(seen[i]++, 0);
            ck_assert_int_eq(r.errors[0], 0);
            ck_assert_uint_eq(r.crc32c[0], bufs[i].crc32c);
            l2_store_result_fini(&r);
            done++;
        }
    }
    ck_assert_int_eq(rig.a->ops->pop_stored(rig.a, &r), 0);
    for (int i = 0; i < TASKS; i++)
        rig_buf_close(&bufs[i]);
}
END_TEST

START_TEST(every_load_completes_exactly_once)
{
    l2_task tasks[TASKS];
    int done = 0;

    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 3), 0);
    for (int i = 0; i < TASKS; i++) {
        const char *key = i % 2 ? "k" : "absent";

        tasks[i] = rig_submit_load(&rig, &key, 1);
    }
    while (done < TASKS) {
        ck_assert(rig_signalled(&rig, L2_LOAD, RIG_WAIT_MS));
        for (int i = 0; i < TASKS; i++) {
            struct bitmap *loaded;
            struct l2_object o;
            int error;

            if (!tasks[i] || rig.a->ops->query_load(rig.a, tasks[i], &loaded, &o, &error))
                continue;
            ck_assert(bitmap_test(loaded, 0) == (i % 2 && !conform_discards()));
            if (bitmap_test(loaded, 0))
                rig_object_drop(&rig, &o);
            bitmap_destroy(loaded);
            tasks[i] = 0;
            done++;
        }
    }
}
END_TEST

START_TEST(families_do_not_mix)
{
    const char *key = "absent";
    l2_task task = rig_submit_lookup(&rig, &key, 1);
    struct l2_store_result r;
    uint64_t size;

    bitmap_destroy(rig_wait_lookup(&rig, task, &size));
    ck_assert(!rig_signalled(&rig, L2_STORE, 0));
    ck_assert(!rig_signalled(&rig, L2_LOAD, 0));
    ck_assert_int_eq(rig.a->ops->pop_stored(rig.a, &r), 0);
}
END_TEST

START_TEST(keys_are_copied_at_submit)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 5);
    char name[] = "first";
    const char *keys[] = {name};
    l2_task task = rig_submit_store(&rig, keys, &buf, 1);
    struct l2_store_result r;

    keys[0] = NULL;
    memcpy(name, "other", sizeof(name));
    rig_wait_store(&rig, task, &r);
    ck_assert_int_eq(r.errors[0], 0);
    l2_store_result_fini(&r);
    rig_buf_close(&buf);
    ck_assert(rig_has(&rig, "first") == !conform_discards());
    ck_assert(!rig_has(&rig, "other"));
}
END_TEST

START_TEST(a_thousand_keys_in_one_task)
{
    enum { N = 1000 };
    static char names[N][24];
    static const char *keys[N];
    static struct l2_buf bufs[N];
    static uint64_t sizes[N];
    struct l2_store_result r;
    struct bitmap *found;
    struct l2_buf buf = rig_buf(&rig, 512, 1);

    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "many/%04d", i);
        keys[i] = names[i];
        bufs[i] = buf;
    }
    rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, N), &r);
    ck_assert_uint_eq(r.n, N);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(r.errors[i], 0);
    l2_store_result_fini(&r);
    found = rig_wait_lookup(&rig, rig_submit_lookup(&rig, keys, N), sizes);
    ck_assert_uint_eq(bitmap_popcount(found), conform_discards() ? 0 : N);
    bitmap_destroy(found);
    rig.a->ops->submit_unlock(rig.a, keys, N);
    rig_buf_close(&buf);
}
END_TEST

/* The fixture closes with all this under way, and finds staging files and descriptors gone. */
START_TEST(close_with_tasks_in_flight)
{
    static struct l2_buf bufs[TASKS];
    char name[32];
    const char *key = name;

    ck_assert_int_eq(rig_store(&rig, "k", 1 << 20, 3), 0);
    for (int i = 0; i < TASKS; i++) {
        bufs[i] = rig_buf(&rig, 1 << 18, (uint64_t)i);
        snprintf(name, sizeof(name), "flight/%d", i);
        rig_submit_store(&rig, &key, &bufs[i], 1);
        key = "k";
        rig_submit_load(&rig, &key, 1);
        rig_submit_lookup(&rig, &key, 1);
        key = name;
    }
    rig_reopen(&rig);
    for (int i = 0; i < TASKS; i++)
        rig_buf_close(&bufs[i]);
}
END_TEST

/* What was not collected is given up with the adapter. */
START_TEST(close_with_results_not_collected)
{
    const char *key = "k";

    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 3), 0);
    rig_submit_load(&rig, &key, 1);
    rig_submit_lookup(&rig, &key, 1);
    ck_assert(rig_signalled(&rig, L2_LOAD, RIG_WAIT_MS));
    ck_assert(rig_signalled(&rig, L2_LOOKUP, RIG_WAIT_MS));
}
END_TEST

START_TEST(objects_over_a_reopen)
{
    bool kept = rig.a->flags & L2_PERSISTENT;

    ck_assert_int_eq(rig_store(&rig, "a/b", SIZE, 3), 0);
    rig_reopen(&rig);
    ck_assert(rig_has(&rig, "a/b") == kept);
    if (kept)
        rig_check(&rig, "a/b", SIZE, 3);
}
END_TEST

void conform_add_tasks(Suite *s)
{
    conform_add(s, "descriptors",
                TESTS(fds_are_nonblocking_and_closed_on_exec, fds_are_distinct_across_adapters,
                      fds_are_quiet_before_the_first_task));
    conform_add(s, "tasks",
                TESTS(ids_grow_and_results_come_once, every_store_completes_exactly_once,
                      every_load_completes_exactly_once, families_do_not_mix,
                      keys_are_copied_at_submit, a_thousand_keys_in_one_task));
    conform_add(
        s, "close",
        TESTS(close_with_tasks_in_flight, close_with_results_not_collected, objects_over_a_reopen));
}
