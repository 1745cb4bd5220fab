/* test_wheel.c - everything comes out when it is due, never before, and at most a tick late. */
#include "wheel.h"

#include "hash.h"
#include "suite.h"

#define TICK 10
#define TURN ((uint64_t)TICK * WHEEL_SLOTS)
#define NODES 2000

static struct wheel wheel;
static struct wheel_node nodes[NODES];

static void setup(void)
{
    for (size_t i = 0; i < NODES; i++)
        list_init(&nodes[i].link);
    wheel_init(&wheel, TICK, 1000);
}

static void teardown(void)
{
    wheel_fini(&wheel);
    for (size_t i = 0; i < NODES; i++)
        ck_assert(!list_linked(&nodes[i].link));
    ck_assert_uint_eq(wheel_next(&wheel), UINT64_MAX);
}

START_TEST(one)
{
    ck_assert_ptr_null(wheel_take(&wheel, 1005));
    wheel_add(&wheel, &nodes[0], 1234);
    ck_assert_uint_eq(wheel_next(&wheel), 1240);
    ck_assert_ptr_null(wheel_take(&wheel, 1234));
    ck_assert_ptr_null(wheel_take(&wheel, 1239));
    ck_assert_ptr_eq(wheel_take(&wheel, 1240), &nodes[0]);
    ck_assert_ptr_null(wheel_take(&wheel, 1240));
    ck_assert_uint_eq(wheel_next(&wheel), UINT64_MAX);
}
END_TEST

START_TEST(what_was_due_before_comes_next)
{
    ck_assert_ptr_null(wheel_take(&wheel, 5000));
    wheel_add(&wheel, &nodes[0], 3000);
    ck_assert_uint_le(wheel_next(&wheel), 5000 + TICK);
    ck_assert_ptr_eq(wheel_take(&wheel, 5000 + TICK), &nodes[0]);
}
END_TEST

START_TEST(after_many_turns)
{
    wheel_add(&wheel, &nodes[0], 1000 + 3 * TURN);
    wheel_add(&wheel, &nodes[1], 1000 + 3 * TURN + 5 * TICK);
    wheel_add(&wheel, &nodes[2], UINT64_MAX / 2);
    for (uint64_t now = 1000; now < 1000 + 3 * TURN; now += TURN / 7)
        ck_assert_ptr_null(wheel_take(&wheel, now));
    ck_assert_ptr_eq(wheel_take(&wheel, 1000 + 3 * TURN + TICK), &nodes[0]);
    ck_assert_ptr_null(wheel_take(&wheel, 1000 + 3 * TURN + TICK));
    ck_assert_ptr_eq(wheel_take(&wheel, 1000 + 9 * TURN), &nodes[1]);
    ck_assert_ptr_null(wheel_take(&wheel, 1000 + 9 * TURN));
    list_remove(&nodes[2].link);
}
END_TEST

static void take_due(uint64_t now)
{
    struct wheel_node *node;

    while ((node = wheel_take(&wheel, now)))
        ck_assert_uint_le(node->due, now);
    for (size_t i = 0; i < NODES; i++)
        if (list_linked(&nodes[i].link) && nodes[i].due + TICK <= now)
            ck_abort_msg("one due at %zu is late", (size_t)nodes[i].due);
}

START_TEST(at_random)
{
    uint64_t random = 1, now = 1000;

    for (size_t n = 0; n < 20000; n++) {
        struct wheel_node *node;

        random = hash_bytes(&random, sizeof(random), n);
        node = &nodes[random % NODES];
        if (list_linked(&node->link))
            list_remove(&node->link);
        else
            wheel_add(&wheel, node, now + (random >> 20) % (n % 50 ? 3000 : 4 * TURN));
        if (n % 10 == 0) {
            uint64_t next = wheel_next(&wheel);

            if (next > now + 1) {
                now = MIN(next, now + 500) - 1;
                ck_assert_ptr_null(wheel_take(&wheel, now));
            }
            now += n % 3000 ? (random >> 40) % 60 : TURN + 1;
            take_due(now);
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wheel");
    TCase *tc = tcase_create("wheel");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one);
    tcase_add_test(tc, what_was_due_before_comes_next);
    tcase_add_test(tc, after_many_turns);
    tcase_add_test(tc, at_random);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
