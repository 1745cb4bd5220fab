/* conform_locks.c - lock counts: rules of l2-contract.md 1.7 and 1.9.
 *
 * Whether a key is locked shows in remove, which skips it.
 */
#include "conform.h"

#define SIZE 1024

static bool is_locked(const char *key)
{
    bool skipped;

    ck_assert_int_eq(rig_remove(&rig, key, &skipped), 0);
    ck_assert(!skipped || rig_has(&rig, key));
    return skipped;
}

static void store_k(void)
{
    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 1), 0);
}

START_TEST(remove_skips_locked_keys)
{
    ck_assert(conform_can("remove"));
    store_k();
    ck_assert(rig_lookup(&rig, "k", NULL) == !conform_discards());
    ck_assert(is_locked("k") == !conform_discards());
    rig_unlock(&rig, "k");
    ck_assert(!is_locked("k"));
    ck_assert(!rig_has(&rig, "k"));
}
END_TEST

START_TEST(remove_goes_on_after_a_locked_key)
{
    static const char *const keys[] = {"a", "k", "c"};
    struct bitmap *skipped = bitmap_create(3);

    store_k();
    ck_assert_int_eq(rig_store(&rig, "a", SIZE, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "c", SIZE, 1), 0);
    rig_lookup(&rig, "k", NULL);
    ck_assert_int_eq(rig.a->ops->remove(rig.a, keys, 3, skipped), 0);
    ck_assert_uint_eq(bitmap_popcount(skipped), conform_discards() ? 0 : 1);
    ck_assert(bitmap_test(skipped, 1) == !conform_discards());
    ck_assert(!rig_has(&rig, "a"));
    ck_assert(rig_has(&rig, "k") == !conform_discards());
    ck_assert(!rig_has(&rig, "c"));
    ck_assert_int_eq(rig.a->ops->remove(rig.a, keys, 3, NULL), 0);
    bitmap_destroy(skipped);
}
END_TEST

START_TEST(locks_count_occurrences_in_one_lookup)
{
    static const char *const twice[] = {"k", "k"};
    struct bitmap *found;
    uint64_t sizes[2];

    store_k();
    found = rig_wait_lookup(&rig, rig_submit_lookup(&rig, twice, 2), sizes);
    ck_assert_uint_eq(bitmap_popcount(found), conform_discards() ? 0 : 2);
    bitmap_destroy(found);
    rig_unlock(&rig, "k");
    ck_assert(is_locked("k") == !conform_discards());
    rig_unlock(&rig, "k");
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(unlock_counts_occurrences_in_one_call)
{
    static const char *const twice[] = {"k", "k"};

    store_k();
    rig_lookup(&rig, "k", NULL);
    rig_lookup(&rig, "k", NULL);
    rig.a->ops->submit_unlock(rig.a, twice, 2);
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(locks_add_up_over_tasks)
{
    store_k();
    for (int i = 0; i < 3; i++)
        rig_lookup(&rig, "k", NULL);
    for (int i = 0; i < 2; i++)
        rig_unlock(&rig, "k");
    ck_assert(is_locked("k") == !conform_discards());
    rig_unlock(&rig, "k");
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(unlock_stops_at_zero)
{
    store_k();
    for (int i = 0; i < 3; i++)
        rig_unlock(&rig, "k");
    rig_lookup(&rig, "k", NULL);
    ck_assert(is_locked("k") == !conform_discards());
    for (int i = 0; i < 3; i++)
        rig_unlock(&rig, "k");
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(a_miss_takes_no_lock)
{
    ck_assert(!rig_lookup(&rig, "k", NULL));
    store_k();
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(a_load_takes_no_lock)
{
    store_k();
    if (!conform_discards())
        rig_check(&rig, "k", SIZE, 1);
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(a_locked_key_can_be_loaded_and_replaced)
{
    store_k();
    rig_lookup(&rig, "k", NULL);
    ck_assert_int_eq(rig_store(&rig, "k", SIZE, 2), 0);
    if (!conform_discards())
        rig_check(&rig, "k", SIZE, 2);
    ck_assert(is_locked("k") == !conform_discards());
    rig_unlock(&rig, "k");
    ck_assert(!is_locked("k"));
}
END_TEST

START_TEST(usage_counts_locked_keys)
{
    struct l2_usage u;

    if (!conform_can("usage"))
        return;
    store_k();
    ck_assert_int_eq(rig_store(&rig, "other", SIZE, 1), 0);
    rig_lookup(&rig, "k", NULL);
    rig_lookup(&rig, "k", NULL);
    rig.a->ops->usage(rig.a, &u);
    ck_assert_uint_eq(u.locked, 1);
    rig_unlock(&rig, "k");
    rig_unlock(&rig, "k");
    rig.a->ops->usage(rig.a, &u);
    ck_assert_uint_eq(u.locked, 0);
}
END_TEST

START_TEST(force_unlock_drops_every_lock)
{
    if (!conform_can("force_unlock"))
        return;
    store_k();
    ck_assert_int_eq(rig_store(&rig, "other", SIZE, 1), 0);
    ck_assert_uint_eq(rig.a->ops->force_unlock(rig.a, "k"), 0);
    for (int i = 0; i < 3; i++)
        rig_lookup(&rig, "k", NULL);
    rig_lookup(&rig, "other", NULL);
    ck_assert_uint_eq(rig.a->ops->force_unlock(rig.a, "k"), 3);
    ck_assert(is_locked("other"));
    rig_unlock(&rig, "k"); /* of one who does not know */
    rig_lookup(&rig, "k", NULL);
    ck_assert(is_locked("k"));
    ck_assert_uint_eq(rig.a->ops->force_unlock(rig.a, "k"), 1);
    ck_assert(!is_locked("k"));
    rig_unlock(&rig, "other");
}
END_TEST

void conform_add_locks(Suite *s)
{
    conform_add(s, "locks",
                TESTS(remove_skips_locked_keys, remove_goes_on_after_a_locked_key,
                      locks_count_occurrences_in_one_lookup, unlock_counts_occurrences_in_one_call,
                      locks_add_up_over_tasks, unlock_stops_at_zero, a_miss_takes_no_lock,
                      a_load_takes_no_lock, a_locked_key_can_be_loaded_and_replaced,
                      usage_counts_locked_keys, force_unlock_drops_every_lock));
}
