/* test_store_queue.c - the order in which waiting stores leave, alone and with their group. */
#include "store_queue.h"
#include "suite.h"

static struct store_queue q;
static struct metrics *metrics;
static struct metric *gauge;
static struct store_job jobs[8];

static void setup(void)
{
    metrics = metrics_create();
    gauge = metrics_gauge(metrics, "l2fs_store_queue", "", "");
    ck_assert_int_eq(store_queue_init(&q, gauge), 0);
    memset(jobs, 0, sizeof(jobs));
}

static void teardown(void)
{
    while (store_queue_pop(&q))
        ;
    ck_assert_int_eq(metric_value(gauge), 0);
    ck_assert_uint_eq(q.groups.count, 0);
    store_queue_fini(&q);
    metrics_destroy(metrics);
}

static void push(size_t i, uint64_t group, uint64_t bytes)
{
    jobs[i].group = group;
    jobs[i].bytes = bytes;
    store_queue_push(&q, &jobs[i], false);
}

START_TEST(pop_gives_nothing_at_first)
{
    ck_assert_ptr_null(store_queue_pop(&q));
    ck_assert_uint_eq(store_queue_count(&q), 0);
}
END_TEST

START_TEST(pushed_jobs_come_out_in_order)
{
    for (size_t i = 0; i < 5; i++)
        push(i, i % 2, 1);
    ck_assert_uint_eq(store_queue_count(&q), 5);
    ck_assert_int_eq(metric_value(gauge), 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_ptr_eq(store_queue_pop(&q), &jobs[i]);
}
END_TEST

START_TEST(pop_takes_the_job_out)
{
    push(0, 1, 1);
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[0]);
    ck_assert_ptr_null(store_queue_pop(&q));
    ck_assert(!store_queue_remove(&q, &jobs[0]));
}
END_TEST

START_TEST(urgent_ones_go_first)
{
    push(0, 1, 1);
    push(1, 1, 1);
    store_queue_push(&q, &jobs[2], true);
    store_queue_push(&q, &jobs[3], true);
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[2]);
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[3]);
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[0]);
}
END_TEST

START_TEST(removed_ones_do_not_come)
{
    push(0, 1, 1);
    push(1, 1, 1);
    ck_assert(store_queue_remove(&q, &jobs[0]));
    ck_assert(!store_queue_remove(&q, &jobs[0]));
    ck_assert_ptr_eq(store_queue_pop_fellow(&q, store_queue_group(&jobs[1]), 0), &jobs[1]);
    ck_assert_ptr_null(store_queue_pop(&q));
}
END_TEST

START_TEST(fellows_are_of_the_same_group)
{
    for (size_t i = 0; i < 6; i++)
        push(i, i % 2, 1);
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[0]);
    ck_assert_ptr_eq(store_queue_pop_fellow(&q, store_queue_group(&jobs[0]), 1), &jobs[2]);
    ck_assert_ptr_eq(store_queue_pop_fellow(&q, store_queue_group(&jobs[0]), 2), &jobs[4]);
    ck_assert_ptr_null(store_queue_pop_fellow(&q, store_queue_group(&jobs[0]), 3));
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[1]);
}
END_TEST

START_TEST(urgent_ones_travel_with_urgent_ones)
{
    push(0, 1, 1);
    jobs[1].group = jobs[2].group = 1;
    store_queue_push(&q, &jobs[1], true);
    store_queue_push(&q, &jobs[2], true);
    ck_assert_ptr_eq(store_queue_pop(&q), &jobs[1]);
    ck_assert_ptr_eq(store_queue_pop_fellow(&q, store_queue_group(&jobs[1]), 1), &jobs[2]);
    ck_assert_ptr_null(store_queue_pop_fellow(&q, store_queue_group(&jobs[1]), 2));
}
END_TEST

START_TEST(fellows_fit_the_batch)
{
    push(0, 1, STORE_BATCH_BYTES);
    ck_assert_ptr_null(store_queue_pop_fellow(&q, store_queue_group(&jobs[0]), 1));
    ck_assert_ptr_eq(store_queue_pop_fellow(&q, store_queue_group(&jobs[0]), 0), &jobs[0]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store_queue");
    TCase *tc = tcase_create("queue");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, pop_gives_nothing_at_first);
    tcase_add_test(tc, pushed_jobs_come_out_in_order);
    tcase_add_test(tc, pop_takes_the_job_out);
    tcase_add_test(tc, urgent_ones_go_first);
    tcase_add_test(tc, removed_ones_do_not_come);
    tcase_add_test(tc, fellows_are_of_the_same_group);
    tcase_add_test(tc, urgent_ones_travel_with_urgent_ones);
    tcase_add_test(tc, fellows_fit_the_batch);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
