/* test_policy.c - where stores go and what becomes of the copy in L1. */
#include "policy.h"
#include "suite.h"

static const int all[] = {STORE_DEFAULT, STORE_SKIP_L1, STORE_DEMOTE};

START_TEST(single_adapter_gets_every_key)
{
    ck_assert_uint_eq(store_policy_targets(all[_i], 1, 0), 1);
}
END_TEST

START_TEST(every_adapter_gets_every_key)
{
    ck_assert_uint_eq(store_policy_targets(all[_i], 0x80000007, 0), 0x80000007);
}
END_TEST

START_TEST(no_adapters_no_targets)
{
    ck_assert_uint_eq(store_policy_targets(all[_i], 0, 0), 0);
}
END_TEST

START_TEST(adapters_that_have_it_are_left_out)
{
    ck_assert_uint_eq(store_policy_targets(all[_i], 7, 2), 5);
    ck_assert_uint_eq(store_policy_targets(all[_i], 7, 7), 0);
    ck_assert_uint_eq(store_policy_targets(all[_i], 1, 6), 1); /* of tiers that are gone */
}
END_TEST

START_TEST(only_demote_waits_until_it_is_asked)
{
    const struct store_facts none = {0}, asked = {.asked = true}, room = {.room = true};

    ck_assert(store_policy_wants(STORE_DEFAULT, &none));
    ck_assert(store_policy_wants(STORE_SKIP_L1, &none));
    ck_assert(!store_policy_wants(STORE_DEMOTE, &none));
    ck_assert(store_policy_wants(STORE_DEMOTE, &asked));
    ck_assert(store_policy_wants(STORE_DEMOTE, &room));
}
END_TEST

START_TEST(only_skip_l1_drops_what_is_stored)
{
    const struct store_facts none = {0}, synced = {.fsynced = true}, room = {.room = true};

    ck_assert(!store_policy_drops_l1(STORE_DEFAULT, &none));
    ck_assert(!store_policy_drops_l1(STORE_DEMOTE, &room)); /* eviction takes it */
    ck_assert(store_policy_drops_l1(STORE_SKIP_L1, &none));
    ck_assert(!store_policy_drops_l1(STORE_SKIP_L1, &synced));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("policy");

    suite_add_loop(s, "targets",
                   TESTS(single_adapter_gets_every_key, every_adapter_gets_every_key,
                         no_adapters_no_targets, adapters_that_have_it_are_left_out),
                   ARRAY_SIZE(all));
    suite_add(s, "l1",
              TESTS(only_demote_waits_until_it_is_asked, only_skip_l1_drops_what_is_stored));
    return suite_run(s);
}
