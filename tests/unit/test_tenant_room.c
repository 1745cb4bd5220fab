/* test_tenant_room.c - where room for a tenant is made: in L1 among its own first, and in a cache by
 * forgetting its coldest keys.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "evict_ctl.h"
#include "suite.h"
#include "tenant_fixture.h"

/* ---- room in L1 ---- */

static void put_many(const char *dir, int n, size_t size)
{
    for (int i = 0; i < n; i++) {
        char path[32];

        snprintf(path, sizeof(path), "%s/%d", dir, i);
        ck_assert_int_eq(vfsrig_put(&r, path, size, 1), 0);
        vfsrig_wait_stored(&r);
    }
}

static int residents(const char *dir, int n)
{
    int found = 0;

    for (int i = 0; i < n; i++) {
        char path[32];

        snprintf(path, sizeof(path), "%s/%d", dir, i);
        found += vfsrig_state(&r, path) == STATE_RESIDENT;
    }
    return found;
}

static void restart_with_l1(uint64_t l1)
{
    vfsrig_stop(&r);
    r.cfg.l1 = l1;
    vfsrig_start(&r);
}

START_TEST(bob_makes_room_among_his_own)
{
    restart_with_l1(16 * MIB);
    ck_assert_int_eq(set_quota("alice", "1G"), 0);
    ck_assert_int_eq(set_quota("bob", "1G"), 0);
    put_many("alice", 4, MIB);
    put_many("bob", 40, MIB);
    ck_assert_int_eq(residents("alice", 4), 4); /* though they are the oldest */
    ck_assert_int_lt(residents("bob", 40), 13);
    ck_assert_int_gt(residents("bob", 40), 3);
}
END_TEST

START_TEST(who_has_most_of_his_due_gives_way)
{
    restart_with_l1(16 * MIB);
    ck_assert_int_eq(set_quota("alice", "100M"), 0); /* due: all of L1 */
    ck_assert_int_eq(vfsrig_mkdir(&r, "bob/in"), 0);
    ck_assert_int_eq(set_quota("bob", "4M"), 0);
    put_many("bob", 3, MIB);
    put_many("alice", 40, MIB);
    ck_assert_int_lt(residents("bob", 3), 3); /* 3/4 of his, when alice has 9/16 */
    ck_assert_int_gt(residents("alice", 40), 6);
}
END_TEST

START_TEST(one_that_moves_takes_its_residents_along)
{
    ck_assert_int_eq(set_quota("alice", "1G"), 0);
    put_many("alice", 3, MIB);
    put_many("bob", 2, MIB);
    ck_assert_int_eq(vfsrig_rename(&r, "bob/0", "alice/from-bob"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/0", "bob/from-alice"), 0);
    ck_assert_uint_eq(vfsrig_find(&r, "alice")->tenant->l1.order.count, 3);
    ck_assert_uint_eq(r.fs->ns->root->tenant->l1.order.count, 2);
    ck_assert_int_eq(set_quota("alice", "none"), 0);
    ck_assert_uint_eq(r.fs->ns->root->tenant->l1.order.count, 5);
    ck_assert_int_eq(vfsrig_evict(&r, "alice/1"), 0);
    ck_assert_uint_eq(r.fs->ns->root->tenant->l1.order.count, 4);
}
END_TEST

/* ---- where a tier evicts: the coldest keys of the tenant make room ---- */

#define CACHE                                                                                      \
    "[{\"type\":\"fs\",\"base_path\":\"@DIR@\",\"max_capacity_gb\":1,"                             \
    "\"eviction\":{\"eviction_policy\":\"LRU\",\"trigger_watermark\":0.9,"                         \
    "\"eviction_ratio\":0.25}},"                                                                   \
    "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":100}]"

static void setup_cache(void)
{
    vfsrig_init(&r, CACHE);
    r.cfg.space_wait = 20 * NSEC_PER_SEC;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "bob"), 0);
}

static int there(const char *dir, int n)
{
    int found = 0;

    for (int i = 0; i < n; i++) {
        char path[32];

        snprintf(path, sizeof(path), "%s/%d", dir, i);
        found += vfsrig_find(&r, path) != NULL;
    }
    return found;
}

/* What a tier holds of a key; the data directory of the first, whatever the tree says. */
static bool on_disk(const char *key)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/data/%s", r.dir, key);
    return access(path, F_OK) == 0;
}

START_TEST(a_cache_forgets_the_coldest)
{
    ck_assert_int_eq(set_quota("alice", "8M"), 0);
    put_many("bob", 4, MIB);
    put_many("alice", 20, MIB);
    ck_assert_uint_le(used("alice"), 8 * MIB);
    ck_assert_int_ge(there("alice", 20), 6); /* a quarter goes at a time */
    ck_assert_ptr_nonnull(vfsrig_find(&r, "alice/19"));
    ck_assert_ptr_null(vfsrig_find(&r, "alice/0"));
    ck_assert(!on_disk("alice/0"));
    ck_assert(on_disk("alice/19"));
    ck_assert_int_eq(there("bob", 4), 4);
    assert_counts();
    vfsrig_stop(&r); /* and not only from the tree */
    vfsrig_start(&r);
    ck_assert_ptr_null(vfsrig_find(&r, "alice/0"));
    ck_assert_int_eq(vfsrig_check(&r, "alice/19", MIB, 1), 0);
    assert_counts();
}
END_TEST

START_TEST(what_is_used_or_pinned_stays)
{
    struct handle *h;

    ck_assert_int_eq(set_quota("alice", "4M"), 0);
    put_many("alice", 2, MIB);
    ck_assert_int_eq(vfsrig_open(&r, "alice/0", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "alice/1"), "user.l2fs.pin", "hard", 4, 0),
                     0);
    for (int i = 2; i < 12; i++) {
        char path[32];

        snprintf(path, sizeof(path), "alice/%d", i);
        ck_assert_int_eq(vfsrig_put(&r, path, MIB, 1), 0);
        vfsrig_wait_stored(&r);
    }
    ck_assert_ptr_nonnull(vfsrig_find(&r, "alice/0"));
    ck_assert_ptr_nonnull(vfsrig_find(&r, "alice/1"));
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_check(&r, "alice/1", MIB, 1), 0);
}
END_TEST

START_TEST(nothing_may_leave)
{
    struct handle *h;

    r.cfg.space_wait = NSEC_PER_SEC;
    ck_assert_int_eq(set_quota("alice", "2M"), 0);
    put_many("alice", 1, MIB + MIB / 2);
    ck_assert_int_eq(vfsrig_open(&r, "alice/0", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/1", 10, 1), -EDQUOT); /* after space_wait */
    vfsrig_close(&r, h);
    r.cfg.space_wait = 20 * NSEC_PER_SEC;
    ck_assert_int_eq(vfsrig_put(&r, "alice/1", 10, 1), 0);
    ck_assert_ptr_null(vfsrig_find(&r, "alice/0"));
    ck_assert_int_eq(vfsrig_truncate(&r, "alice/1", 3 * MIB), -EDQUOT); /* never fits */
}
END_TEST

START_TEST(one_that_overran_is_followed_by_eviction)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    ck_assert_int_eq(set_quota("alice", "4M"), 0);
    put_many("alice", 3, MIB);
    ck_assert_int_eq(vfsrig_put(&r, "alice/big", 3 * MIB, 1), 0);
    while (used("alice") > 3 * MIB && clock_now() < deadline)
        usleep(1000);
    ck_assert_uint_le(used("alice"), 3 * MIB);
    ck_assert_int_eq(vfsrig_check(&r, "alice/big", 3 * MIB, 1), 0);
    assert_counts();
}
END_TEST

/* A smaller quota asks once. */
START_TEST(what_was_read_a_moment_ago_makes_room)
{
    uint64_t deadline = clock_deadline(5 * NSEC_PER_SEC);

    ck_assert_int_eq(set_quota("alice", "4M"), 0);
    put_many("alice", 3, MIB);
    for (int i = 0; i < 6; i++) {
        struct handle *h;
        char path[32];

        snprintf(path, sizeof(path), "alice/%d", i % 3);
        ck_assert_int_eq(vfsrig_open(&r, path, O_RDONLY, &h), 0);
        vfsrig_close(&r, h);
    }
    ck_assert_int_eq(set_quota("alice", "2M"), 0);
    while (used("alice") > 2 * MIB && clock_now() < deadline)
        usleep(1000);
    ck_assert_uint_le(used("alice"), 2 * MIB);
    assert_counts();
}
END_TEST

START_TEST(an_inner_tenant_gives_to_the_outer)
{
    ck_assert_int_eq(set_quota("alice", "4M"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/in"), 0);
    ck_assert_int_eq(set_quota("alice/in", "1G"), 0);
    put_many("alice/in", 12, MIB);
    ck_assert_uint_le(used("alice"), 4 * MIB);
    ck_assert_int_gt(there("alice/in", 12), 2);
    assert_counts();
}
END_TEST

START_TEST(a_tier_that_evicts_nothing_refuses)
{
    struct text out = {0};

    ck_assert_int_eq(set_quota("alice", "2M"), 0);
    put_many("alice", 2, MIB);
    ck_assert_int_eq(evict_ctl_set(r.fs, 0, "policy", "noop", &out), 0);
    ck_assert_int_eq(evict_ctl_set(r.fs, 1, "policy", "noop", &out), 0);
    text_fini(&out);
    ck_assert_int_eq(vfsrig_put(&r, "alice/2", MIB, 1), -EDQUOT);
    ck_assert_int_eq(there("alice", 2), 2);
}
END_TEST

/* Writers of both tenants at once, with a third thread that moves a directory between them and
 * another that changes the quotas. */
#define PUTS 150

static void *write_many(void *arg)
{
    for (int i = 0; i < PUTS; i++) {
        char path[32];
        int err;

        snprintf(path, sizeof(path), "%s/%d", (const char *)arg, i);
        err = vfsrig_put(&r, path, 128 * KIB, 1);
        ck_assert_msg(err == 0 || err == -EDQUOT, "%s: %s", path, strerror(-err));
        snprintf(path, sizeof(path), "%s/%d", (const char *)arg, i / 2);
        vfsrig_check(&r, path, 128 * KIB, 1);
    }
    return NULL;
}

static void *move_about(void *arg)
{
    int *stop = arg;

    while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
        vfsrig_rename(&r, "alice/moving", "bob/moving");
        vfsrig_rename(&r, "bob/moving", "alice/moving");
        ck_assert_int_eq(set_quota("bob", "3M"), 0);
        ck_assert_int_eq(set_quota("bob", "none"), 0);
        usleep(5000);
    }
    return NULL;
}

START_TEST(all_at_once)
{
    static char alice[] = "alice", bob[] = "bob";
    char *const dirs[] = {alice, bob, alice, bob};
    pthread_t writer[4], mover;
    int stop = 0;

    r.cfg.space_wait = NSEC_PER_SEC;
    ck_assert_int_eq(set_quota("alice", "4M"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/moving"), 0);
    put_many("alice/moving", 4, 100 * KIB);
    ck_assert_int_eq(pthread_create(&mover, NULL, move_about, &stop), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&writer[i], NULL, write_many, dirs[i]), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(writer[i], NULL), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(mover, NULL), 0);
    vfsrig_wait_stored(&r);
    assert_counts();
    vfsrig_stop(&r);
    vfsrig_start(&r);
    assert_counts();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tenant_room");
    TCase *tc = tcase_create("l1");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bob_makes_room_among_his_own);
    tcase_add_test(tc, who_has_most_of_his_due_gives_way);
    tcase_add_test(tc, one_that_moves_takes_its_residents_along);
    suite_add_tcase(s, tc);
    tc = tcase_create("cache");
    tcase_add_checked_fixture(tc, setup_cache, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_cache_forgets_the_coldest);
    tcase_add_test(tc, what_is_used_or_pinned_stays);
    tcase_add_test(tc, nothing_may_leave);
    tcase_add_test(tc, one_that_overran_is_followed_by_eviction);
    tcase_add_test(tc, what_was_read_a_moment_ago_makes_room);
    tcase_add_test(tc, an_inner_tenant_gives_to_the_outer);
    tcase_add_test(tc, a_tier_that_evicts_nothing_refuses);
    tcase_add_test(tc, all_at_once);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
