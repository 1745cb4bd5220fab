/* test_evict_ctl.c - eviction from tiers: how much leaves a tier that fills up, who and who never,
 * tiers that fail, settings. Each test has an instance of its own.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "evict_ctl.h"
#include "evict_fixture.h"
#include "suite.h"

#define POLICY(name) ",\"eviction\":{\"eviction_policy\":\"" name "\"}"
#define FAULTY(rules) "[{\"type\":\"fault\",\"inner\":" FS_CAP "},\"rules\":[" rules "]}]"

/* --- how much --- */

START_TEST(the_goal)
{
    struct eviction e = {EVICT_LRU, 0.8, 0.2};
    struct l2_usage u = {.used = 799, .capacity = 1000};

    ck_assert_uint_eq(evict_goal(&e, &u, 0), 0);
    u.used = 800;
    ck_assert_uint_eq(evict_goal(&e, &u, 0), 160);
    u.used = 700;
    u.reserved = 200; /* on its way */
    ck_assert_uint_eq(evict_goal(&e, &u, 0), 260);
    u = (struct l2_usage){.used = 100, .capacity = 1000};
    ck_assert_uint_eq(evict_goal(&e, &u, 50), 50); /* the disk is full of other things */
    e.policy = EVICT_NOOP;
    ck_assert_uint_eq(evict_goal(&e, &u, 50), 0);
    e = (struct eviction){EVICT_LRU, 0.8, 0};
    u.used = 800;
    ck_assert_uint_eq(evict_goal(&e, &u, 0), 1);
    u.capacity = 0;
    ck_assert_uint_eq(evict_goal(&e, &u, 50), 0);
}
END_TEST

/* --- who --- */

START_TEST(below_the_watermark_nothing_leaves)
{
    begin("[" FS_CAP "}]");
    put_many(0, 12);
    set(0, "ratio", "0.5"); /* has it look again */
    ck_assert_uint_eq(count_names(12), 12);
    ck_assert_uint_eq(used_bytes(0), 12 * MIB);
}
END_TEST

START_TEST(the_longest_unused_leave_first)
{
    begin("[" FS_CAP "}]"); /* LRU, 0.8, 0.2 without being told */
    put_many(0, 12);
    touch("k00", 0);
    put_many(12, 13);
    wait_below(11 * MIB);
    wait_gone("k03");
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
    ck_assert_ptr_null(vfsrig_find(&r, "k01"));
    ck_assert_ptr_null(vfsrig_find(&r, "k02"));
    ck_assert_int_eq(vfsrig_check(&r, "k04", MIB, 4), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k12", MIB, 12), 0);
}
END_TEST

START_TEST(fifo_does_not_ask_for_use)
{
    begin("[" FS_CAP POLICY("FIFO") "}]");
    put_many(0, 12);
    touch("k00", 0);
    put_many(12, 13);
    wait_gone("k00");
    ck_assert_int_eq(vfsrig_check(&r, "k12", MIB, 12), 0);
}
END_TEST

START_TEST(s3_fifo_keeps_what_was_used)
{
    begin("[" FS_CAP POLICY("S3-FIFO") "}]");
    put_many(0, 12);
    touch("k00", 0);
    touch("k01", 1);
    put_many(12, 13);
    wait_gone("k02");
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k01", MIB, 1), 0);
}
END_TEST

START_TEST(noop_refuses_instead)
{
    begin("[" FS_CAP POLICY("noop") "}]");
    put_many(0, 15);
    ck_assert_int_eq(vfsrig_put(&r, "more", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_fsync(&r, "more"), -ENOSPC);
    ck_assert_uint_eq(count_names(15), 15);
    ck_assert_uint_eq(ranks("k00"), 0);
    set(0, "policy", "LRU"); /* and makes room as soon as it may */
    wait_below(15 * MIB);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_check(&r, "more", MIB, 1), 0);
}
END_TEST

START_TEST(without_capacity_nothing_is_kept_in_order)
{
    begin(NULL);
    put("k", 1);
    ck_assert_uint_eq(ranks("k"), 0);
}
END_TEST

START_TEST(open_and_pinned_never_leave)
{
    struct handle *h;

    begin("[" FS_CAP "}]");
    put_many(0, 12);
    ck_assert_int_eq(vfsrig_open(&r, "k00", O_RDONLY, &h), 0);
    lock(&r.fs->ns->lock);
    inode_extra(ns_find(r.fs->ns, r.fs->ns->root, "k01")->inode)->pin = PIN_HARD;
    unlock(&r.fs->ns->lock);
    set(0, "watermark", "0");
    wait_gone("k11");
    ck_assert_uint_eq(count_names(12), 2);
    ck_assert_uint_eq(used_bytes(0), 2 * MIB);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_check(&r, "k01", MIB, 1), 0);
}
END_TEST

static void lookup(const char *key, bool found)
{
    struct tier *tier = r.fs->tiers.tier[0];
    uint64_t deadline = clock_deadline(10 * NSEC_PER_SEC), size;
    l2_task task = tier_submit_lookup_and_lock(tier, &key, 1);
    struct bitmap *bits;
    int err;

    while ((err = tier_query_lookup(tier, task, &bits, &size)) == -EAGAIN)
        ck_assert_uint_lt(clock_now(), deadline);
    ck_assert_int_eq(err, 0);
    ck_assert_int_eq(bitmap_test(bits, 0), found);
    bitmap_destroy(bits);
}

START_TEST(locked_in_the_tier_stays_until_unlocked)
{
    const char *key = "k00";

    begin("[" FS_CAP "}]");
    put_many(0, 12);
    lookup(key, true);
    put_many(12, 13);
    wait_gone("k03");
    ck_assert_ptr_nonnull(vfsrig_find(&r, key));
    tier_submit_unlock(r.fs->tiers.tier[0], &key, 1);
    set(0, "watermark", "0");
    wait_gone(key);
    lookup(key, false);
}
END_TEST

START_TEST(tenants_give_what_is_above_their_share)
{
    begin("[" FS_CAP "}]");
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "bob"), 0);
    lock(&r.fs->ns->lock);
    ck_assert_int_eq(
        tenant_set_quota_locked(r.fs, ns_find(r.fs->ns, r.fs->ns->root, "alice")->inode, 9 * MIB),
        0);
    ck_assert_int_eq(
        tenant_set_quota_locked(r.fs, ns_find(r.fs->ns, r.fs->ns->root, "bob")->inode, 9 * MIB), 0);
    unlock(&r.fs->ns->lock);
    for (unsigned i = 0; i < 4; i++) {
        char name[32];

        snprintf(name, sizeof(name), "bob/%u", i);
        put(name, i);
    }
    for (unsigned i = 0; i < 9; i++) {
        char name[32];

        snprintf(name, sizeof(name), "alice/%u", i);
        put(name, i);
    }
    wait_below(11 * MIB);
    for (unsigned i = 0; i < 4; i++) { /* older, but not the ones who use more than their share */
        char name[32];

        snprintf(name, sizeof(name), "bob/%u", i);
        ck_assert_int_eq(vfsrig_check(&r, name, MIB, i), 0);
    }
    ck_assert_int_eq(vfsrig_check(&r, "alice/0", MIB, 0), -ENOENT);
    ck_assert_int_eq(vfsrig_check(&r, "alice/8", MIB, 8), 0);
}
END_TEST

/* --- tiers that fail --- */

START_TEST(one_that_cannot_be_removed_is_passed_over)
{
    begin(FAULTY("{\"op\":\"remove\",\"key\":\"k00\",\"action\":\"fail\"}"));
    put_many(0, 13);
    wait_below(11 * MIB);
    wait_gone("k01");
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k00"), 0);
    put_many(13, 18); /* the next passes do their work */
    wait_gone("k04");
    ck_assert_int_eq(vfsrig_check(&r, "k00", MIB, 0), 0);
}
END_TEST

START_TEST(failed_removals_do_not_end_it)
{
    begin(FAULTY("{\"op\":\"remove\",\"action\":\"fail\",\"count\":9}"));
    put_many(0, 13);
    wait_gone("k05"); /* k00 to k02 failed and went to the far end */
    ck_assert_uint_lt(count_names(13), 13);
}
END_TEST

START_TEST(a_removal_that_hangs_does_not_hold_up_the_end)
{
    uint64_t began;

    begin("[{\"type\":\"fault\",\"inner\":{\"type\":\"mock\",\"max_size_gb\":" CAP
          ",\"mock_bandwidth_gb\":100},\"rules\":[{\"op\":\"remove\",\"action\":\"delay\","
          "\"delay\":\"300s\"}]}]");
    put_many(0, 13);
    began = clock_now();
    vfsrig_stop(&r);
    ck_assert_uint_lt(clock_now() - began, 15 * NSEC_PER_SEC);
    teardown();
    _exit(EXIT_SUCCESS); /* as the daemon ends: the thread and its tier are still there */
}
END_TEST

/* --- settings --- */

START_TEST(settings_change_while_it_runs)
{
    struct text out = {0};
    json_t *status = json_object();

    begin("[" FS_CAP POLICY("IsolatedLRU") "}," BIG_MOCK "]");
    put_many(0, 8);
    ck_assert_int_eq(evict_ctl_get(r.fs, 0, "policy", &out), 0);
    text_puts(&out, " ");
    set(0, "watermark", "0.5");
    wait_below(8 * MIB);
    ck_assert_int_eq(evict_ctl_get(r.fs, 0, "watermark", &out), 0);
    ck_assert_str_eq(out.data, "LRU 0.5");
    ck_assert_int_eq(evict_ctl_set(r.fs, 0, "watermark", "1.5", &out), -EINVAL);
    ck_assert_int_eq(evict_ctl_set(r.fs, 0, "policy", "MRU", &out), -EINVAL);
    ck_assert_int_eq(evict_ctl_set(r.fs, 0, "colour", "red", &out), -EINVAL);
    ck_assert_int_eq(evict_ctl_set(r.fs, 7, "ratio", "0.5", &out), -EOPNOTSUPP);
    evict_ctl_describe(r.fs, 0, &(struct l2_usage){.used = 4 * MIB, .capacity = 16 * MIB}, status);
    ck_assert_str_eq(json_string_value(json_object_get(status, "eviction_policy")), "LRU");
    ck_assert_double_eq(json_number_value(json_object_get(status, "trigger_watermark")), 0.5);
    ck_assert_double_eq(json_number_value(json_object_get(status, "current_usage")), 0.25);
    json_decref(status);
    text_fini(&out);
}
END_TEST

static int set_attr(const char *name, const char *value)
{
    return vfs_setxattr(r.fs, vfsrig_find(&r, ".l2fs/adapters/fs"), name, value, strlen(value), 0);
}

START_TEST(settings_are_attributes_of_the_adapter)
{
    char value[32] = "";

    begin("[" FS_CAP "}]");
    ck_assert_int_eq(set_attr("user.l2fs.watermark", "0.9"), 0);
    ck_assert_int_eq(set_attr("user.l2fs.policy", "S3-FIFO"), 0);
    ck_assert_int_eq(set_attr("user.l2fs.ratio", "0.25"), 0);
    ck_assert_int_eq(set_attr("user.l2fs.ratio", "2"), -EINVAL);
    ck_assert_int_eq(set_attr("user.l2fs.ratio", "nan"), -EINVAL);
    ck_assert_int_eq(vfs_getxattr(r.fs, vfsrig_find(&r, ".l2fs/adapters/fs"), "user.l2fs.policy",
                                  value, sizeof(value)),
                     7);
    ck_assert_str_eq(value, "S3-FIFO");
    ck_assert_int_eq(vfs_getxattr(r.fs, vfsrig_find(&r, ".l2fs/adapters/fs"), "user.l2fs.ratio",
                                  value, sizeof(value)),
                     4);
    ck_assert_int_eq(memcmp(value, "0.25", 4), 0);
}
END_TEST

static json_t *read_json(const char *path)
{
    static char text[256 * KIB];
    struct handle *h;
    ssize_t n;

    ck_assert_int_eq(vfsrig_open(&r, path, O_RDONLY, &h), 0);
    n = vfsrig_read(&r, h, text, sizeof(text) - 1, 0);
    vfsrig_close(&r, h);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    return json_loads(text, 0, NULL);
}

START_TEST(victims_and_status_are_shown)
{
    json_t *all, *tier, *first, *status;

    begin("[" FS_CAP "}]");
    put_many(0, 3);
    touch("k00", 0);
    lock(&r.fs->ns->lock);
    inode_extra(ns_find(r.fs->ns, r.fs->ns->root, "k01")->inode)->pin = PIN_HARD;
    unlock(&r.fs->ns->lock);
    all = read_json(".l2fs/victims");
    tier = json_array_get(json_object_get(all, "places"), 1);
    first = json_array_get(json_object_get(tier, "next"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(tier, "from")), "fs");
    ck_assert_int_eq(json_integer_value(json_object_get(tier, "keys")), 3);
    ck_assert_str_eq(json_string_value(json_object_get(first, "key")), "k02");
    tier = json_object_get(json_object_get(tier, "kept"), "pinned");
    ck_assert_int_eq(json_integer_value(json_object_get(tier, "keys")), 1);
    json_decref(all);
    status = read_json(".l2fs/adapters/fs/usage");
    ck_assert_str_eq(json_string_value(json_object_get(status, "eviction_policy")), "LRU");
    ck_assert_int_ge(json_integer_value(json_object_get(status, "total_bytes_used")), 3 * MIB);
    json_decref(status);
}
END_TEST

START_TEST(a_tier_that_goes_takes_its_order_along)
{
    begin("[" FS_CAP "}," BIG_MOCK "]");
    put_many(0, 4);
    ck_assert_uint_eq(ranks("k00"), 2);
    ck_assert(evict_ctl_drop_tier(r.fs, 0));
    ck_assert_uint_eq(ranks("k00"), 1);
    ck_assert_int_eq(evict_ctl_add_tier(r.fs, 0), 0);
    ck_assert_uint_eq(ranks("k00"), 2);
    set(0, "watermark", "0.1");
    wait_below(2 * MIB);
    ck_assert_uint_eq(count_names(4), 4);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        below_the_watermark_nothing_leaves,
        the_longest_unused_leave_first,
        fifo_does_not_ask_for_use,
        s3_fifo_keeps_what_was_used,
        noop_refuses_instead,
        without_capacity_nothing_is_kept_in_order,
        open_and_pinned_never_leave,
        locked_in_the_tier_stays_until_unlocked,
        tenants_give_what_is_above_their_share,
        one_that_cannot_be_removed_is_passed_over,
        failed_removals_do_not_end_it,
        settings_change_while_it_runs,
        settings_are_attributes_of_the_adapter,
        victims_and_status_are_shown,
        a_tier_that_goes_takes_its_order_along,
    };
    Suite *s = suite_create("evict_ctl");
    TCase *tc = tcase_create("fs");

    suite_add(s, "pure", (const TTest *[]){the_goal, NULL});
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_set_timeout(tc, 90);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    tcase_add_exit_test(tc, a_removal_that_hangs_does_not_hold_up_the_end, EXIT_SUCCESS);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
