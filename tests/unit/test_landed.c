/* test_landed.c - objects that came from a peer: the room they need, and how long they stay. */
#include "config.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

#include "arrive_fixture.h"
#include "clock.h"
#include "rank.h"
#include "suite.h"

#define NULL_TIER "[{\"type\":\"null\"}]"
#define MSEC NSEC_PER_MSEC

static struct vfsrig r;
static unsigned told; /* __atomic */

static void setup(void)
{
    vfsrig_init(&r, NULL_TIER);
    r.cfg.l1 = 8 * MIB;
    told = 0;
}

static void setup_fs(void)
{
    vfsrig_init(&r, NULL);
}

/* A tier that evicts: 16 MiB. */
static void setup_small(void)
{
    vfsrig_init(&r, "[{\"type\":\"fs\",\"base_path\":\"@DIR@\",\"max_capacity_gb\":0.015625}]");
    r.cfg.readahead_keys = 0;
    told = 0;
}

/* A tier whose first removal takes a while. */
static void setup_slow(void)
{
    vfsrig_init(&r, "[{\"type\":\"fault\",\"inner\":{\"type\":\"mock\",\"max_size_gb\":1,"
                    "\"mock_bandwidth_gb\":100},\"rules\":[{\"op\":\"remove\",\"count\":1,"
                    "\"action\":\"delay\",\"delay\":\"1s\"}]}]");
}

/* A tier whose loads hang. */
static void setup_hung(void)
{
    vfsrig_init(&r, "[{\"type\":\"fault\",\"inner\":{\"type\":\"fs\",\"base_path\":\"@DIR@\"},"
                    "\"rules\":[{\"op\":\"load\",\"action\":\"never\"}]}]");
    r.cfg.load_timeout = 20 * NSEC_PER_SEC;
    r.cfg.drain_timeout = 50 * MSEC;
}

/* A tmpfs for staging, in a mount namespace of this test. False: not allowed to. */
static bool use_own_mount(void)
{
    char template[] = "/tmp/l2fs-test-XXXXXX";

    if (geteuid() || unshare(CLONE_NEWNS))
        return false;
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_ptr_nonnull(mkdtemp(template));
    free(r.cfg.staging);
    r.cfg.staging = strdup(template);
    return true;
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

/* Until the key is not there; the events that say so come with it. */
static void wait_gone(const char *key)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    while (vfsrig_find(&r, key)) {
        ck_assert_msg(clock_now() < deadline, "%s is still there", key);
        usleep(5000);
    }
}

static void on_room(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&told, 1, __ATOMIC_SEQ_CST);
}

static void wait_told(unsigned n)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    while (__atomic_load_n(&told, __ATOMIC_SEQ_CST) < n) {
        ck_assert_msg(clock_now() < deadline, "nobody told of room");
        usleep(2000);
    }
}

/* --- room --- */

START_TEST(room_is_waited_for)
{
    struct arrivals *a;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    a->set_room(a, on_room, &r);
    ck_assert_int_eq(peer_reserve(&r, "a", 5 * MIB, 1), 0);
    ck_assert_int_eq(peer_reserve(&r, "b", 5 * MIB, 2), -EAGAIN);
    peer_give_back(&r, 5 * MIB);
    wait_told(1);
    ck_assert_int_eq(peer_reserve(&r, "b", 5 * MIB, 2), 0);
    a->set_room(a, NULL, &r);
    peer_give_back(&r, 5 * MIB);
    ck_assert_uint_eq(rig_promised(&r), 0);
}
END_TEST

struct use {
    uint64_t used, promised, arriving;
};

static struct use in_use(void)
{
    struct use u;
    uint64_t size;

    LOCKED_SCOPE(&r.fs->ns->lock);
    staging_space(r.fs->staging, &u.used, &size);
    u.promised = r.fs->l1.promised;
    u.arriving = r.fs->arrive.reserved;
    return u;
}

static void expect_use(uint64_t used, uint64_t promised, uint64_t arriving)
{
    struct use u = in_use();

    ck_assert_uint_eq(u.used, used);
    ck_assert_uint_eq(u.promised, promised);
    ck_assert_uint_eq(u.arriving, arriving);
}

/* As a promise, then as a file, published or not. */
START_TEST(each_byte_counts_once)
{
    struct arrival what = peer_describe("a", 5 * MIB, 1);
    struct arrivals *a;
    uint64_t ids[2];

    if (_i && !use_own_mount())
        return;
    vfsrig_start(&r);
    ck_assert(staging_has_mount(r.fs->staging) == (_i == 1));
    a = peer_of(&r);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    expect_use(0, 5 * MIB, 5 * MIB);
    ids[0] = peer_bytes(a, 5 * MIB, 1);
    expect_use(5 * MIB, 0, 5 * MIB);
    ck_assert_int_eq(peer_reserve(&r, "b", 4 * MIB, 2), -EAGAIN);
    ck_assert_int_eq(peer_reserve(&r, "b", 3 * MIB, 2), 0);
    expect_use(5 * MIB, 3 * MIB, 8 * MIB);
    ids[1] = peer_bytes(a, 3 * MIB, 3);
    ck_assert_int_eq(peer_reserve(&r, "c", 1, 3), -EAGAIN);
    ck_assert_int_eq(a->publish(a, &what, ids[0]), 0);
    expect_use(8 * MIB, 0, 3 * MIB);
    a->drop(a, 3 * MIB, ids[1]);
    expect_use(5 * MIB, 0, 0);
    ck_assert_int_eq(vfsrig_check(&r, "a", 5 * MIB, 1), 0);
}
END_TEST

/* Many small files take whole pages of a tmpfs: as many as are promised fit. */
START_TEST(small_ones_take_pages)
{
    struct arrivals *a;
    unsigned n = 0;

    if (!use_own_mount())
        return;
    vfsrig_start(&r);
    a = peer_of(&r);
    while (peer_reserve(&r, "small", 10, n) == 0)
        n++;
    ck_assert_uint_eq(n, 8 * MIB / (uint64_t)sysconf(_SC_PAGESIZE));
    for (unsigned i = 0; i < n; i++)
        peer_bytes(a, 10, i);
    expect_use(8 * MIB, 0, n * 10);
}
END_TEST

START_TEST(read_ones_make_room)
{
    struct arrivals *a;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    a->set_room(a, on_room, &r);
    ck_assert_int_eq(peer_land(&r, "a", 6 * MIB, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), -EBUSY); /* nobody has read it */
    ck_assert_int_eq(peer_reserve(&r, "b", 6 * MIB, 2), -EAGAIN);
    ck_assert_int_eq(vfsrig_check(&r, "a", 6 * MIB, 1), 0);
    wait_gone("a"); /* a tier that discards keeps nothing */
    ck_assert(rig_history_has(&r, "\"event\":\"gone\",\"key\":\"a\""));
    wait_told(1);
    ck_assert_int_eq(peer_reserve(&r, "b", 6 * MIB, 2), 0);
    a->set_room(a, NULL, &r);
}
END_TEST

/* One that asked and went away does not stand before others. */
START_TEST(who_asks_no_more_is_passed)
{
    struct arrivals *a;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    a->set_room(a, on_room, &r);
    ck_assert_int_eq(peer_reserve(&r, "a", 6 * MIB, 1), 0);
    ck_assert_int_eq(peer_reserve(&r, "b", 6 * MIB, 2), -EAGAIN);
    wait_told(1); /* by the clock */
    lock(&r.fs->ns->lock);
    ck_assert(list_empty(&r.fs->space_waiters));
    unlock(&r.fs->ns->lock);
    ck_assert_int_eq(vfsrig_put(&r, "local", 1000, 3), 0);
    a->set_room(a, NULL, &r);
}
END_TEST

START_TEST(ends_with_reservations_and_waiters)
{
    struct arrival what = peer_describe("b", 6 * MIB, 2);
    struct arrivals *a;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    ck_assert_int_eq(peer_land(&r, "landed", 1000, 1), 0);
    ck_assert_int_eq(peer_reserve(&r, "a", 6 * MIB, 1), 0);
    ck_assert_int_eq(a->reserve(a, &what), -EAGAIN);
    peer_bytes(peer_of(&r), 5000, 1); /* half way */
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_ptr_null(vfsrig_find(&r, "landed"));
    ck_assert_uint_eq(rig_promised(&r), 0);
    ck_assert_int_eq(peer_reserve(&r, "a", 6 * MIB, 1), 0);
}
END_TEST

/* Ten times what fits, read as it comes: nothing is lost, nothing but room is waited for. */
START_TEST(more_than_fits)
{
    struct arrivals *a;
    char key[16];

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    a->set_room(a, on_room, &r);
    for (unsigned i = 0, readers = 0; i < 80; i++) {
        unsigned before = __atomic_load_n(&told, __ATOMIC_SEQ_CST);
        int err;

        snprintf(key, sizeof(key), "k%u", i);
        while ((err = peer_land(&r, key, MIB, i)) == -EAGAIN) {
            snprintf(key, sizeof(key), "k%u", readers);
            if (readers < i)
                ck_assert_int_eq(vfsrig_check(&r, key, MIB, readers++), 0);
            snprintf(key, sizeof(key), "k%u", i);
            wait_told(++before);
        }
        ck_assert_int_eq(err, 0);
    }
    a->set_room(a, NULL, &r);
}
END_TEST

/* --- unread --- */

START_TEST(unread_goes_in_time)
{
    vfsrig_start(&r);
    ck_assert_int_eq(peer_land_for(&r, "d/old", 1000, 1, 50 * MSEC), 0);
    ck_assert_int_eq(peer_land_for(&r, "d/read", 1000, 2, 50 * MSEC), 0);
    ck_assert_int_eq(peer_land_for(&r, "d/new", 1000, 3, 3600 * NSEC_PER_SEC), 0);
    ck_assert_int_eq(vfsrig_check(&r, "d/read", 1000, 2), 0);
    ck_assert(rig_is_unread(&r, "d/old") && !rig_is_unread(&r, "d/read"));
    wait_gone("d/old");
    ck_assert(rig_history_has(&r, "\"event\":\"expired\",\"key\":\"d/old\",\"why\":\"unread\""));
    ck_assert_int_eq(vfsrig_state(&r, "d/read"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_state(&r, "d/new"), STATE_RESIDENT);
    lock(&r.fs->ns->lock);
    ck_assert_uint_eq(r.fs->arrive.unread, 1);
    ck_assert_uint_eq(r.fs->arrive.unread_bytes, 1000);
    unlock(&r.fs->ns->lock);
}
END_TEST

START_TEST(unread_goes_from_tiers_too)
{
    vfsrig_start(&r);
    ck_assert_int_eq(peer_land_for(&r, "key", 1000, 1, 300 * MSEC), 0);
    vfsrig_wait_stored(&r);
    wait_gone("key");
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_ptr_null(vfsrig_find(&r, "key"));
}
END_TEST

/* What is announced again has a reader again; one that was read before does not go by itself. */
START_TEST(announced_again)
{
    struct arrival what = peer_describe("key", 1000, 1);
    struct arrivals *a;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    ck_assert_int_eq(peer_land(&r, "key", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "key", 1000, 1), 0);
    vfsrig_wait_stored(&r);
    what.ttl = 100 * MSEC;
    ck_assert_int_eq(a->reserve(a, &what), -EEXIST);
    ck_assert(rig_is_unread(&r, "key"));
    ck_assert_int_eq(vfsrig_evict(&r, "key"), -EBUSY);
    for (uint64_t end = clock_deadline(20 * NSEC_PER_SEC); rig_is_unread(&r, "key"); usleep(5000))
        ck_assert(clock_now() < end);
    ck_assert_int_eq(vfsrig_state(&r, "key"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    ck_assert_ptr_null(vfsrig_find(&r, "key"));
}
END_TEST

/* Its sender was told that it need not be sent: the name that is left stays. */
START_TEST(announced_again_while_it_goes)
{
    struct arrival what;
    struct arrivals *a;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    ck_assert_int_eq(peer_land_for(&r, "a", 1000, 1, 500 * MSEC), 0);
    ck_assert_int_eq(vfsrig_link(&r, "a", "b"), 0);
    vfsrig_wait_stored(&r);
    while (vfsrig_find(&r, "a") && vfsrig_find(&r, "b"))
        usleep(5000);
    what = peer_describe(vfsrig_find(&r, "a") ? "a" : "b", 1000, 1);
    what.ttl = _i ? 3600 * NSEC_PER_SEC : 0;
    ck_assert_int_eq(a->reserve(a, &what), -EEXIST);
    sleep(3);
    ck_assert_ptr_nonnull(vfsrig_find(&r, what.key));
    ck_assert(rig_is_unread(&r, what.key));
}
END_TEST

START_TEST(announced_again_while_its_quota_evicts_it)
{
    const char *left;

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "t"), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "t"), "user.l2fs.quota", "4M", 2, 0), 0);
    ck_assert_int_eq(peer_land(&r, "t/a", 3 * MIB, 1), 0);
    ck_assert_int_eq(vfsrig_link(&r, "t/a", "t/b"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "t/a", 3 * MIB, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(peer_reserve(&r, "t/new", 3 * MIB, 2), -EAGAIN);
    while (vfsrig_find(&r, "t/a") && vfsrig_find(&r, "t/b"))
        usleep(5000);
    left = vfsrig_find(&r, "t/a") ? "t/a" : "t/b";
    ck_assert_int_eq(peer_reserve(&r, left, 3 * MIB, 1), -EEXIST);
    sleep(3);
    ck_assert_ptr_nonnull(vfsrig_find(&r, left));
}
END_TEST

START_TEST(unlinked_unread)
{
    vfsrig_start(&r);
    ck_assert_int_eq(peer_land_for(&r, "key", 1000, 1, 50 * MSEC), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "key", "other"), 0);
    ck_assert(rig_is_unread(&r, "other"));
    ck_assert_int_eq(vfsrig_unlink(&r, "other"), 0);
    lock(&r.fs->ns->lock);
    ck_assert_uint_eq(r.fs->arrive.unread, 0);
    unlock(&r.fs->ns->lock);
}
END_TEST

/* --- tiers that evict --- */

static void fill(unsigned from, unsigned to)
{
    char key[16];

    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, key, MIB, i), 0);
        ck_assert_int_eq(vfsrig_evict(&r, key), 0);
    }
}

START_TEST(a_full_tier_keeps_what_is_unread)
{
    vfsrig_start(&r);
    ck_assert_int_eq(peer_land(&r, "unread", MIB, 100), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "unread"), 0);
    fill(0, 40);
    wait_gone("k0");
    ck_assert_int_eq(vfsrig_check(&r, "unread", MIB, 100), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "unread"), 0);
    fill(40, 80);
    wait_gone("unread");
}
END_TEST

static void set_leaving(const char *key, bool leaving)
{
    struct inode *inode = vfsrig_find(&r, key);

    LOCKED_SCOPE(&r.fs->ns->lock);
    rank_find(inode, 0)->leaving = leaving;
    inode->busy += leaving ? 1 : -1;
}

/* What its last tier is removing is not there: it is sent again. */
START_TEST(announced_while_its_tier_evicts_it)
{
    vfsrig_start(&r);
    ck_assert_int_eq(peer_land(&r, "key", 1000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_check(&r, "key", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    set_leaving("key", true);
    ck_assert_int_eq(peer_reserve(&r, "key", 1000, 1), 0);
    peer_give_back(&r, 1000);
    set_leaving("key", false);
    ck_assert_int_eq(peer_reserve(&r, "key", 1000, 1), -EEXIST);
}
END_TEST

START_TEST(a_quota_that_evicts_is_waited_for)
{
    struct arrivals *a;
    unsigned before;
    char key[16];
    int err;

    vfsrig_start(&r);
    a = &r.fs->arrive.base;
    a->set_room(a, on_room, &r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "t"), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "t"), "user.l2fs.quota", "4M", 2, 0), 0);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(key, sizeof(key), "t/%u", i);
        ck_assert_int_eq(peer_land(&r, key, MIB, i), 0);
    }
    vfsrig_wait_stored(&r);
    for (unsigned i = 1; i < 4; i++) { /* all of it is unread */
        ck_assert_int_eq(peer_reserve(&r, "t/next", MIB, 9), -EAGAIN);
        wait_told(i);
    }
    for (unsigned i = 0; i < 4; i++) {
        snprintf(key, sizeof(key), "t/%u", i);
        ck_assert_int_eq(vfsrig_check(&r, key, MIB, i), 0);
    }
    do {
        before = __atomic_load_n(&told, __ATOMIC_SEQ_CST);
        err = peer_reserve(&r, "t/next", MIB, 9);
        if (err == -EAGAIN)
            wait_told(before + 1);
    } while (err == -EAGAIN);
    ck_assert_int_eq(err, 0);
    a->set_room(a, NULL, &r);
}
END_TEST

/* --- the end --- */

static size_t loads(void)
{
    struct prefetch_status s;

    prefetch_ctl_status(r.fs->prefetch_ctl, &s);
    return s.load;
}

/* Its store waits for the load of the key, which ends with the mount. */
START_TEST(landed_over_a_load_that_hangs)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "d/a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "d/b", 1000, 2), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "d/a"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "d/b"), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "d"), "user.l2fs.prefetch", "1", 1, 0), 0);
    while (!loads()) {
        ck_assert(clock_now() < deadline);
        usleep(1000);
    }
    mailbox_call(r.fs->mailbox, NULL, NULL);
    ck_assert_int_eq(peer_land(&r, "d/a", 3000, 3), 0);
    mailbox_call(r.fs->mailbox, NULL, NULL); /* its store has asked for its turn */
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "d/a", 3000, 3), 0);
    vfsrig_wait_stored(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("landed");
    TCase *discarded = tcase_create("discarded"), *kept = tcase_create("kept");
    TCase *small = tcase_create("small"), *slow = tcase_create("slow");
    TCase *hung = tcase_create("hung");
    const TTest *const tests[] = {room_is_waited_for,
                                  read_ones_make_room,
                                  who_asks_no_more_is_passed,
                                  ends_with_reservations_and_waiters,
                                  more_than_fits,
                                  unread_goes_in_time,
                                  announced_again,
                                  unlinked_unread};

    tcase_add_checked_fixture(discarded, setup, teardown);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(discarded, tests[i]);
    tcase_add_loop_test(discarded, each_byte_counts_once, 0, 2);
    tcase_add_test(discarded, small_ones_take_pages);
    tcase_add_checked_fixture(kept, setup_fs, teardown);
    tcase_add_test(kept, unread_goes_from_tiers_too);
    tcase_add_checked_fixture(slow, setup_slow, teardown);
    tcase_add_loop_test(slow, announced_again_while_it_goes, 0, 2);
    tcase_add_test(slow, announced_again_while_its_quota_evicts_it);
    tcase_add_checked_fixture(small, setup_small, teardown);
    tcase_add_test(small, a_full_tier_keeps_what_is_unread);
    tcase_add_test(small, announced_while_its_tier_evicts_it);
    tcase_add_test(small, a_quota_that_evicts_is_waited_for);
    tcase_add_checked_fixture(hung, setup_hung, teardown);
    tcase_add_test(hung, landed_over_a_load_that_hangs);
    suite_add_tcase(s, hung);
    suite_add_tcase(s, small);
    suite_add_tcase(s, slow);
    suite_add_tcase(s, discarded);
    suite_add_tcase(s, kept);
    return suite_run(s);
}
