/* test_taskq.c - ids, results handed out once, and publish before signal. */
#include "taskq.h"

#include <poll.h>
#include <pthread.h>

#include "clock.h"
#include "suite.h"

#define WAIT_NS (60 * NSEC_PER_SEC)
#define FINISHERS 4
#define ITEMS 3000

static struct taskq *queue;
static int dropped;

/* Items are static: the fixture destroys the queue after the test has returned. */

static void drop(struct taskq_item *item)
{
    (void)item;
    dropped++;
}

static void setup(void)
{
    dropped = 0;
    ck_assert_int_eq(taskq_create(&queue), 0);
}

static void teardown(void)
{
    taskq_destroy(queue, drop);
}

static bool signalled(int ms)
{
    struct pollfd p = {.fd = taskq_fd(queue), .events = POLLIN};
    uint64_t count;

    return poll(&p, 1, ms) == 1 && read(p.fd, &count, sizeof(count)) == sizeof(count);
}

START_TEST(ids_are_positive_and_grow)
{
    static struct taskq_item items[3];
    l2_task last = 0;

    for (int i = 0; i < 3; i++) {
        l2_task id = taskq_begin(queue, &items[i]);

        ck_assert_int_gt(id, last);
        last = id;
    }
    for (int i = 0; i < 3; i++)
        taskq_finish(queue, &items[i]);
}
END_TEST

START_TEST(take_follows_the_life_of_a_task)
{
    static struct taskq_item item;
    struct taskq_item *out = NULL;
    l2_task id = taskq_begin(queue, &item);

    ck_assert_int_eq(taskq_take(queue, id, &out), -EAGAIN);
    ck_assert_int_eq(taskq_take(queue, id + 1, &out), -ENOENT);
    ck_assert_ptr_null(out);
    taskq_finish(queue, &item);
    ck_assert_int_eq(taskq_take(queue, id, &out), 0);
    ck_assert_ptr_eq(out, &item);
    ck_assert_int_eq(taskq_take(queue, id, &out), -ENOENT);
    ck_assert_ptr_null(taskq_pop(queue));
}
END_TEST

START_TEST(pop_gives_the_oldest_finished)
{
    static struct taskq_item items[3];

    for (int i = 0; i < 3; i++)
        taskq_begin(queue, &items[i]);
    ck_assert_ptr_null(taskq_pop(queue));
    taskq_finish(queue, &items[2]);
    taskq_finish(queue, &items[0]);
    ck_assert_ptr_eq(taskq_pop(queue), &items[2]);
    ck_assert_ptr_eq(taskq_pop(queue), &items[0]);
    ck_assert_ptr_null(taskq_pop(queue));
    taskq_finish(queue, &items[1]);
    ck_assert_ptr_eq(taskq_pop(queue), &items[1]);
}
END_TEST

START_TEST(finish_signals_once_for_many)
{
    static struct taskq_item items[3];

    for (int i = 0; i < 3; i++)
        taskq_begin(queue, &items[i]);
    ck_assert(!signalled(0));
    for (int i = 0; i < 3; i++)
        taskq_finish(queue, &items[i]);
    ck_assert(signalled(0));
    ck_assert(!signalled(0));
}
END_TEST

START_TEST(shut_refuses_new_tasks)
{
    static struct taskq_item item, late;

    ck_assert_int_gt(taskq_begin(queue, &item), 0);
    taskq_shut(queue);
    ck_assert_int_eq(taskq_begin(queue, &late), -ESHUTDOWN);
    ck_assert_uint_eq(taskq_outstanding(queue), 1);
    taskq_finish(queue, &item);
    ck_assert_uint_eq(taskq_outstanding(queue), 0);
}
END_TEST

START_TEST(destroy_drops_what_was_not_taken)
{
    static struct taskq_item items[3];
    struct taskq_item *out;

    for (int i = 0; i < 3; i++) {
        taskq_begin(queue, &items[i]);
        taskq_finish(queue, &items[i]);
    }
    ck_assert_int_eq(taskq_take(queue, items[1].id, &out), 0);
    taskq_destroy(queue, drop);
    ck_assert_int_eq(dropped, 2);
    setup();
}
END_TEST

START_TEST(drain_times_out)
{
    static struct taskq_item item;

    ck_assert_int_eq(taskq_drain(queue, 0), 0);
    taskq_begin(queue, &item);
    ck_assert_int_eq(taskq_drain(queue, clock_deadline(NSEC_PER_MSEC)), -ETIMEDOUT);
    taskq_finish(queue, &item);
    ck_assert_int_eq(taskq_drain(queue, 0), 0);
}
END_TEST

static struct taskq_item many[FINISHERS][ITEMS];

static void *finish_many(void *arg)
{
    struct taskq_item *items = arg;

    for (int i = 0; i < ITEMS; i++)
        taskq_finish(queue, &items[i]);
    return NULL;
}

static void begin_many(pthread_t threads[FINISHERS])
{
    for (int t = 0; t < FINISHERS; t++)
        for (int i = 0; i < ITEMS; i++)
            taskq_begin(queue, &many[t][i]);
    for (int t = 0; t < FINISHERS; t++)
        ck_assert_int_eq(pthread_create(&threads[t], NULL, finish_many, many[t]), 0);
}

static void join_many(pthread_t threads[FINISHERS])
{
    for (int t = 0; t < FINISHERS; t++)
        pthread_join(threads[t], NULL);
}

START_TEST(drain_waits_for_other_threads)
{
    pthread_t threads[FINISHERS];

    begin_many(threads);
    ck_assert_int_eq(taskq_drain(queue, clock_deadline(WAIT_NS)), 0);
    ck_assert_uint_eq(taskq_outstanding(queue), 0);
    join_many(threads);
}
END_TEST

/* Looks for results only after the descriptor has fired: none may be missed. */
START_TEST(every_result_once_under_load)
{
    pthread_t threads[FINISHERS];
    struct taskq_item *item;
    l2_task seen = 0;

    begin_many(threads);
    for (int n = 0; n < FINISHERS * ITEMS;) {
        ck_assert(signalled(60000));
        while ((item = taskq_pop(queue))) {
            seen += item->id;
            n++;
        }
    }
    ck_assert_int_eq(seen, (l2_task)FINISHERS * ITEMS * (FINISHERS * ITEMS + 1) / 2);
    ck_assert_ptr_null(taskq_pop(queue));
    join_many(threads);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        ids_are_positive_and_grow,
        take_follows_the_life_of_a_task,
        pop_gives_the_oldest_finished,
        finish_signals_once_for_many,
        shut_refuses_new_tasks,
        destroy_drops_what_was_not_taken,
        drain_times_out,
        drain_waits_for_other_threads,
        every_result_once_under_load,
    };
    Suite *s = suite_create("taskq");
    TCase *tc = tcase_create("taskq");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
