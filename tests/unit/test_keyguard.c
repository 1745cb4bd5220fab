/* test_keyguard.c - the order of changes per key, against a plain model. */
#include "keyguard.h"
#include "suite.h"

#include <stdio.h>

#define N 6

static struct keyguard g;
static struct keyticket t[N];
static bool turned[N];

static void on_turn(struct keyticket *ticket)
{
    ck_assert(!turned[ticket - t]);
    turned[ticket - t] = true;
}

static void setup(void)
{
    keyguard_init(&g);
    memset(turned, 0, sizeof(turned));
    for (int i = 0; i < N; i++)
        t[i] = (struct keyticket){.turn = on_turn};
}

static void teardown(void)
{
    ck_assert_uint_eq(g.count, 0);
    ck_assert(list_empty(&g.tickets));
    for (size_t i = 0; i < KEYGUARD_BUCKETS; i++)
        ck_assert(list_empty(&g.buckets[i]));
    keyguard_fini(&g);
}

static bool enter(int i, const char *key, const char *other)
{
    return keyguard_enter(&g, &t[i], key, other);
}

static void leave(int i)
{
    keyguard_leave(&g, &t[i]);
}

START_TEST(other_keys_do_not_wait)
{
    ck_assert(enter(0, "a", NULL));
    ck_assert(enter(1, "b", NULL));
    leave(0);
    leave(1);
}
END_TEST

START_TEST(one_key_goes_in_order)
{
    ck_assert(enter(0, "a", NULL));
    ck_assert(!enter(1, "a", NULL));
    ck_assert(!enter(2, "a", NULL));
    leave(0);
    ck_assert(turned[1] && !turned[2]);
    leave(1);
    ck_assert(turned[2]);
    leave(2);
}
END_TEST

START_TEST(who_gives_up_waiting_holds_nobody)
{
    ck_assert(enter(0, "a", NULL));
    ck_assert(!enter(1, "a", NULL));
    ck_assert(!enter(2, "a", NULL));
    leave(1);
    ck_assert(!turned[2]);
    leave(0);
    ck_assert(turned[2] && !turned[1]);
    leave(2);
}
END_TEST

START_TEST(a_rename_takes_both_keys)
{
    ck_assert(enter(0, "a", NULL));
    ck_assert(enter(1, "b", NULL));
    ck_assert(!enter(2, "a", "b"));
    ck_assert(!enter(3, "b", "a")); /* both in common, counted once */
    ck_assert(!enter(4, "b", NULL));
    leave(0);
    ck_assert(!turned[2]);
    leave(1);
    ck_assert(turned[2] && !turned[3]);
    leave(2);
    ck_assert(turned[3] && !turned[4]);
    leave(3);
    ck_assert(turned[4]);
    leave(4);
}
END_TEST

START_TEST(a_rename_onto_itself)
{
    ck_assert(enter(0, "a", "a"));
    ck_assert(!enter(1, "a", "b"));
    leave(0);
    ck_assert(turned[1]);
    leave(1);
}
END_TEST

START_TEST(trying_does_not_queue)
{
    ck_assert(enter(0, "a", NULL));
    ck_assert(!keyguard_try(&g, &t[1], "a"));
    ck_assert(keyguard_try(&g, &t[2], "b"));
    ck_assert(!enter(3, "b", NULL));
    leave(2);
    ck_assert(turned[3]);
    leave(3);
    ck_assert(!enter(4, NULL, NULL));
    ck_assert(!keyguard_try(&g, &t[1], "c"));
    leave(0);
    leave(4);
}
END_TEST

START_TEST(a_moved_directory_waits_for_all_and_all_wait)
{
    ck_assert(enter(0, "a", NULL));
    ck_assert(enter(1, "b", NULL));
    ck_assert(!enter(2, NULL, NULL));
    ck_assert(!enter(3, "c", NULL));
    ck_assert(!enter(4, NULL, NULL));
    leave(1);
    leave(0);
    ck_assert(turned[2] && !turned[3] && !turned[4]);
    leave(2);
    ck_assert(turned[3] && !turned[4]);
    leave(3);
    ck_assert(turned[4]);
    leave(4);
}
END_TEST

/* --- random steps beside a model --- */

#define MANY 64

static struct keyticket many[MANY];
static int inside[MANY]; /* 0: no; else the number of entering */
static bool ready[MANY];
static int keys[MANY][2];

static void on_many(struct keyticket *ticket)
{
    ready[ticket - many] = true;
}

static bool model_overlap(int a, int b)
{
    return keys[a][0] < 0 || keys[b][0] < 0 || keys[a][0] == keys[b][0] ||
           keys[a][0] == keys[b][1] || keys[a][1] == keys[b][0] || keys[a][1] == keys[b][1];
}

static bool model_free(int i)
{
    for (int j = 0; j < MANY; j++)
        if (inside[j] && inside[j] < inside[i] && model_overlap(i, j))
            return false;
    return true;
}

static void random_enter(int i, int number)
{
    char names[2][16];
    bool whole = rand() % 20 == 0;

    for (int k = 0; k < 2; k++) {
        keys[i][k] = k && rand() % 2 ? keys[i][0] : rand() % 12;
        snprintf(names[k], sizeof(names[k]), "k%d", keys[i][k]);
    }
    if (whole)
        keys[i][0] = -1;
    inside[i] = number;
    many[i] = (struct keyticket){.turn = on_many};
    ready[i] = keyguard_enter(&g, &many[i], whole ? NULL : names[0], whole ? NULL : names[1]);
}

START_TEST(random_steps_agree_with_the_model)
{
    srand(7);
    for (int step = 1; step < 20000; step++) {
        int i = rand() % MANY;

        if (!inside[i]) {
            random_enter(i, step);
        } else {
            keyguard_leave(&g, &many[i]);
            inside[i] = 0;
        }
        for (int j = 0; j < MANY; j++)
            if (inside[j])
                ck_assert_int_eq(ready[j], model_free(j));
    }
    for (int i = 0; i < MANY; i++)
        if (inside[i])
            keyguard_leave(&g, &many[i]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("keyguard");
    TCase *tc = tcase_create("keyguard");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, other_keys_do_not_wait);
    tcase_add_test(tc, one_key_goes_in_order);
    tcase_add_test(tc, who_gives_up_waiting_holds_nobody);
    tcase_add_test(tc, a_rename_takes_both_keys);
    tcase_add_test(tc, a_rename_onto_itself);
    tcase_add_test(tc, trying_does_not_queue);
    tcase_add_test(tc, a_moved_directory_waits_for_all_and_all_wait);
    tcase_add_test(tc, random_steps_agree_with_the_model);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
