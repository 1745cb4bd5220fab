/* test_evict_left.c - eviction from tiers: room for stores, and what is left of a key that went, also
 * after a crash and a restart. Each test has an instance of its own.
 */
#include "config.h"

#include <fcntl.h>

#include "evict_ctl.h"
#include "evict_fixture.h"
#include "suite.h"

/* --- room for stores --- */

START_TEST(a_burst_is_stored_in_the_end)
{
    begin("[" FS_CAP "}]");
    for (unsigned i = 0; i < 48; i++)
        ck_assert_int_eq(vfsrig_put(&r, name_of(i), MIB, i), 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_le(used_bytes(0), 16 * MIB);
    ck_assert_int_eq(vfsrig_put(&r, "synced", 4 * MIB, 1), 0);
    ck_assert_int_eq(vfsrig_fsync(&r, "synced"), 0); /* waits for room */
    for (unsigned i = 0; i < 48; i++) {              /* in L1 all of them are whole */
        if (vfsrig_find(&r, name_of(i)))
            ck_assert_int_eq(vfsrig_check(&r, name_of(i), MIB, i), 0);
    }
    wait_below(13 * MIB);
}
END_TEST

START_TEST(who_asks_gives_room_first)
{
    struct inode *dir;

    begin("[" FS_CAP "}]");
    set(0, "watermark", "1");
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    dir = vfsrig_find(&r, "d");
    lock(&r.fs->ns->lock);
    ck_assert_int_eq(tenant_set_quota_locked(r.fs, dir, 12 * MIB), 0);
    unlock(&r.fs->ns->lock);
    put("d/0", 0);
    put("d/1", 1);
    put_many(0, 13);
    lock(&r.fs->ns->lock);
    evict_ctl_ask_locked(r.fs, 0, 2 * MIB, dir->tenant); /* d is far below its share */
    unlock(&r.fs->ns->lock);
    wait_gone("k02"); /* the last of five */
    ck_assert_int_eq(vfsrig_check(&r, "d/0", MIB, 0), -ENOENT);
    ck_assert_int_eq(vfsrig_check(&r, "d/1", MIB, 1), -ENOENT);
    ck_assert_uint_eq(count_names(13), 10);
}
END_TEST

/* --- what is left --- */

START_TEST(what_left_every_place_has_no_name)
{
    struct handle *h;

    begin("[" FS_CAP "}]");
    put_many(0, 13);
    wait_gone("k00");
    ck_assert_int_eq(vfsrig_open(&r, "k00", O_RDONLY, &h), -ENOENT);
    put("k00", 77); /* and can be made again */
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 77), 0);
}
END_TEST

START_TEST(the_other_tier_still_has_it)
{
    begin("[" FS_CAP "}," BIG_MOCK "]");
    put_many(0, 13);
    wait_below(11 * MIB);
    ck_assert_uint_eq(count_names(13), 13);
    for (unsigned i = 0; i < 13; i++)
        ck_assert_int_eq(vfsrig_check(&r, name_of(i), MIB, i), 0);
}
END_TEST

/* k00 is in L1 only. */
static void make_resident(struct vfsrig *rig)
{
    for (unsigned i = 0; i < 13; i++) {
        ck_assert_int_eq(vfsrig_put(rig, name_of(i), MIB, i), 0);
        vfsrig_wait_stored(rig);
    }
    wait_left("k02");
    ck_assert_uint_eq(vfsrig_find(rig, "k00")->tiers, 0);
}

START_TEST(the_copy_in_l1_stays_and_is_not_stored_again)
{
    begin("[" FS_CAP "}]");
    make_resident(&r);
    ck_assert_uint_eq(count_names(13), 13);
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
    ck_assert_uint_eq(r.fs->unstored, 0);
    ck_assert_uint_eq(vfsrig_find(&r, "k00")->tiers, 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k00"), 0);
    ck_assert_ptr_null(vfsrig_find(&r, "k00")); /* for good */
}
END_TEST

START_TEST(fsync_and_link_store_it_again)
{
    begin("[" FS_CAP "}]");
    make_resident(&r);
    ck_assert_int_eq(vfsrig_fsync(&r, "k00"), 0);
    ck_assert_uint_eq(vfsrig_find(&r, "k00")->tiers, 1);
    ck_assert_uint_eq(vfsrig_find(&r, "k01")->tiers, 0);
    ck_assert_int_eq(vfsrig_link(&r, "k01", "also"), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "k01"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k01", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "also"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "also", MIB, 1), 0);
}
END_TEST

START_TEST(links_leave_together)
{
    begin("[" FS_CAP "}]");
    ck_assert_int_eq(vfsrig_put(&r, "a", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_link(&r, "a", "b"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_uint_eq(used_bytes(0), 2 * MIB);
    put_many(0, 11);
    wait_below(11 * MIB);
    wait_gone("a");
    ck_assert_ptr_null(vfsrig_find(&r, "b"));
}
END_TEST

START_TEST(a_crash_keeps_what_was_in_l1_only)
{
    vfsrig_init(&r, "[" FS_CAP "}]");
    vfsrig_crash(&r, make_resident);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k12", MIB, 12), 0);
    vfsrig_wait_stored(&r);
}
END_TEST

/* One name of a pair left the tier when the daemon died. */
static void half_a_pair(struct vfsrig *rig)
{
    const char *key = "b";

    ck_assert_int_eq(vfsrig_put(rig, "a", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_link(rig, "a", "b"), 0);
    vfsrig_wait_stored(rig);
    ck_assert_int_eq(tier_remove(rig->fs->tiers.tier[0], &key, 1, NULL), 0);
}

START_TEST(a_crash_in_between_stores_both_names_again)
{
    vfsrig_init(&r, "[" FS_CAP "}]");
    vfsrig_crash(&r, half_a_pair);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "b"), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", MIB, 1), 0);
}
END_TEST

START_TEST(a_restart_knows_use_and_usage)
{
    begin("[" FS_CAP "}]");
    for (unsigned i = 12; i > 0; i--) /* made in the other order than named */
        put(name_of(i - 1), i - 1);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_uint_eq(used_bytes(0), 12 * MIB);
    ck_assert_uint_eq(count_names(12), 12);
    put_many(12, 13);
    wait_gone("k11");
    wait_gone("k10");
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "k00"), 0);
    ck_assert_uint_lt(used_bytes(0), 11 * MIB);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_burst_is_stored_in_the_end,
        who_asks_gives_room_first,
        what_left_every_place_has_no_name,
        the_other_tier_still_has_it,
        the_copy_in_l1_stays_and_is_not_stored_again,
        fsync_and_link_store_it_again,
        links_leave_together,
        a_crash_keeps_what_was_in_l1_only,
        a_crash_in_between_stores_both_names_again,
        a_restart_knows_use_and_usage,
    };
    Suite *s = suite_create("evict_left");
    TCase *tc = tcase_create("fs");

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_set_timeout(tc, 90);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
