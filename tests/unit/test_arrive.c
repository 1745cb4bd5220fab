/* test_arrive.c - objects that come from a peer: seen only whole, at once, whatever goes on beside. */
#include "config.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "arrive_fixture.h"
#include "clock.h"
#include "suite.h"
#include "tenant.h"

#define MSEC NSEC_PER_MSEC

static struct vfsrig r;

static void setup(void)
{
    vfsrig_init(&r, NULL);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

/* --- what is seen --- */

START_TEST(seen_when_published_and_whole)
{
    struct arrival what = peer_describe("a/b/key", 300000, 1);
    struct stat st;
    struct arrivals *a;

    vfsrig_start(&r);
    a = peer_of(&r);
    ck_assert_int_eq(a->has(a, "a/b/key"), -ENOENT);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    ck_assert_uint_eq(rig_promised(&r), 300000);
    ck_assert_ptr_null(vfsrig_find(&r, "a"));
    ck_assert_int_eq(peer_publish(a, &what, 1), 0);
    ck_assert_uint_eq(rig_promised(&r), 0);
    ck_assert_int_eq(vfsrig_check(&r, "a/b/key", 300000, 1), 0);
    ck_assert_int_eq(a->has(a, "a/b/key"), 0);
    ck_assert_int_eq(a->has(a, "a/b"), -ENOENT);
    inode_stat(vfsrig_find(&r, "a/b/key"), &st);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0640); /* no set-id bits from elsewhere */
    ck_assert_uint_eq(st.st_uid, 1001);
    ck_assert_int_eq(st.st_mtim.tv_sec, 1000000000);
    inode_stat(vfsrig_find(&r, "a/b"), &st);
    ck_assert_uint_eq(st.st_mode, S_IFDIR | 0755);
    ck_assert_uint_eq(st.st_uid, 1001);
    ck_assert_uint_eq(st.st_gid, 1002);
    ck_assert(rig_history_has(&r, "\"event\":\"landed\",\"key\":\"a/b/key\",\"bytes\":300000,"
                                  "\"from\":\"10.0.0.1\""));
}
END_TEST

START_TEST(stored_like_any_other)
{
    vfsrig_start(&r);
    ck_assert_int_eq(peer_land(&r, "d/key", 70000, 2), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "d/key"), 0); /* unread, but the tier keeps it */
    ck_assert_int_eq(vfsrig_state(&r, "d/key"), STATE_EVICTED);
    ck_assert(rig_is_unread(&r, "d/key"));
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "d/key", 70000, 2), 0);
    ck_assert_uint_eq(vfsrig_find(&r, "d/key")->uid, 1001);
}
END_TEST

START_TEST(replaces_and_leaves_readers_theirs)
{
    char was[9], is[9];
    struct handle *h;

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "key", 9, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "key", O_RDONLY, &h), 0);
    ck_assert_int_eq(peer_land(&r, "key", 5000, 2), 0);
    vfsrig_fill(was, 9, 1);
    ck_assert_int_eq(vfsrig_read(&r, h, is, 9, 0), 9);
    ck_assert_mem_eq(was, is, 9);
    ck_assert_int_eq(vfsrig_check(&r, "key", 5000, 2), 0);
    vfsrig_close(&r, h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "key", 5000, 2), 0); /* the tier has the new one */
}
END_TEST

/* The kernel may know the name a little longer: who opens what it knows is sent to look again. */
START_TEST(found_before_opened_after)
{
    struct waiter w = {0};
    struct inode *old;
    struct handle *h;
    struct stat st;
    bool settled;

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "key", 9, 1), 0);
    ck_assert_int_eq(vfs_lookup(r.fs, vfs_root(r.fs), "key", &old, &st, &settled), 0);
    ck_assert_int_eq(peer_land(&r, "key", 10, 2), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vfs_open(r.fs, old, O_RDONLY, &(struct caller){0}, &w, &h), -ESTALE);
    vfs_forget(r.fs, old, 1);
    ck_assert_int_eq(vfsrig_check(&r, "key", 10, 2), 0);
}
END_TEST

static int changed_dirs, gone_names;

static void note_gone(void *arg, struct inode *dir, const char *name, struct inode *inode)
{
    (void)arg;
    (void)dir;
    (void)inode;
    __atomic_add_fetch(name ? &gone_names : &changed_dirs, 1, __ATOMIC_SEQ_CST);
}

START_TEST(the_kernel_is_told)
{
    vfsrig_start(&r);
    changed_dirs = gone_names = 0;
    vfs_set_gone(r.fs, note_gone, NULL);
    ck_assert_int_eq(peer_land(&r, "key", 9, 1), 0);
    mailbox_call(r.fs->mailbox, NULL, NULL);
    ck_assert_int_eq(__atomic_load_n(&changed_dirs, __ATOMIC_SEQ_CST), 1);
    ck_assert_int_eq(__atomic_load_n(&gone_names, __ATOMIC_SEQ_CST), 0);
    ck_assert_int_eq(peer_land(&r, "key", 9, 2), 0);
    mailbox_call(r.fs->mailbox, NULL, NULL);
    ck_assert_int_eq(__atomic_load_n(&gone_names, __ATOMIC_SEQ_CST), 1);
}
END_TEST

/* --- what is refused --- */

START_TEST(the_same_is_there)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "key", 4000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(peer_reserve(&r, "key", 4000, 1), -EEXIST);
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    ck_assert_int_eq(peer_reserve(&r, "key", 4000, 1), -EEXIST);
    ck_assert_int_eq(peer_reserve(&r, "key", 4000, 2), 0); /* other bytes */
    peer_give_back(&r, 4000);
    ck_assert_int_eq(peer_reserve(&r, "key", 3999, 1), 0);
    peer_give_back(&r, 3999);
    ck_assert_uint_eq(rig_promised(&r), 0);
}
END_TEST

START_TEST(two_senders_of_one_key)
{
    struct arrival what = peer_describe("key", 4000, 1);
    struct arrivals *a;

    vfsrig_start(&r);
    a = peer_of(&r);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    ck_assert_int_eq(peer_publish(a, &what, 1), 0);
    ck_assert_int_eq(peer_publish(a, &what, 1), -EEXIST);
    ck_assert_uint_eq(rig_promised(&r), 0);
    ck_assert_int_eq(vfsrig_check(&r, "key", 4000, 1), 0);
}
END_TEST

START_TEST(writers_and_pins_are_busy)
{
    struct arrival what = peer_describe("key", 9, 1);
    struct handle *h;
    struct arrivals *a;

    vfsrig_start(&r);
    a = peer_of(&r);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    ck_assert_int_eq(vfsrig_create(&r, "key", O_WRONLY, &h), 0);
    ck_assert_int_eq(peer_publish(a, &what, 1), -EBUSY);
    ck_assert_int_eq(a->reserve(a, &what), -EBUSY);
    ck_assert_int_eq(vfsrig_write(&r, h, "local", 5, 0), 0);
    vfsrig_close(&r, h);
    ck_assert_int_eq(peer_land(&r, "key", 9, 1), 0);
    ck_assert_int_eq(vfsrig_open(&r, "key", O_WRONLY, &h), 0); /* in place */
    ck_assert_int_eq(peer_reserve(&r, "key", 8, 1), -EBUSY);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "key"), "user.l2fs.pin", "hard", 4, 0), 0);
    ck_assert_int_eq(peer_reserve(&r, "key", 8, 1), -EBUSY);
    ck_assert_uint_eq(rig_promised(&r), 0);
}
END_TEST

START_TEST(what_is_no_key)
{
    static const char *const bad[] = {"",       "/a",    "a/",      "a//b",         "..",
                                      "a/../b", ".l2fs", ".l2fs/x", ".l2fs/ready/7"};
    char name[300];

    free(r.cfg.tmp);
    r.cfg.tmp = strdup("*.tmp");
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "dir"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "file", 9, 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(peer_reserve(&r, bad[i], 9, 1) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(peer_reserve(&r, "dir/a.tmp", 9, 1), -EINVAL);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    ck_assert_int_eq(peer_reserve(&r, name, 9, 1), -ENAMETOOLONG);
    ck_assert_int_eq(peer_reserve(&r, "dir", 9, 1), -EISDIR);
    ck_assert_int_eq(peer_reserve(&r, "file/x", 9, 1), -ENOTDIR);
    ck_assert_int_eq(peer_reserve(&r, "big", r.cfg.l1 + 1, 1), -EFBIG);
    ck_assert_uint_eq(rig_promised(&r), 0);
}
END_TEST

START_TEST(a_file_of_another_size)
{
    struct arrival what = peer_describe("key", 100, 1);
    struct arrivals *a;
    uint64_t id;
    int fd;

    vfsrig_start(&r);
    a = peer_of(&r);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    ck_assert_int_eq(a->stage(a, 100, &id, &fd), 0);
    ck_assert_int_eq(ftruncate(fd, 99), 0);
    close(fd);
    ck_assert_int_eq(a->publish(a, &what, id), -EINVAL);
    ck_assert_uint_eq(rig_promised(&r), 0);
    ck_assert_ptr_null(vfsrig_find(&r, "key"));
    a->drop(a, 100, id);
}
END_TEST

START_TEST(a_full_quota)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "t"), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "t"), "user.l2fs.quota", "1M", 2, 0), 0);
    ck_assert_int_eq(peer_land(&r, "t/a/b", 700000, 1), 0);
    ck_assert_int_eq(peer_reserve(&r, "t/a/c", 700000, 2), -EDQUOT);
    ck_assert_int_eq(peer_reserve(&r, "other", 700000, 2), 0);
    peer_give_back(&r, 700000);
    ck_assert_int_eq(peer_land(&r, "t/a/b", 800000, 2), 0); /* instead of the other */
    lock(&r.fs->ns->lock);
    ck_assert_uint_eq(
        tenant_of_dir_locked(r.fs, ns_find(r.fs->ns, r.fs->ns->root, "t")->inode)->used, 800000);
    unlock(&r.fs->ns->lock);
}
END_TEST

/* --- crashes --- */

static void land_and_begin(struct vfsrig *c)
{
    struct arrival what = peer_describe("half", 5000, 2);
    struct arrivals *a = peer_of(c);

    ck_assert_int_eq(vfsrig_put(c, "replaced", 700, 9), 0);
    ck_assert_int_eq(peer_land_for(c, "a/whole", 5000, 1, 0), 0);
    ck_assert_int_eq(peer_land_for(c, "replaced", 800, 3, 0), 0);
    ck_assert_int_eq(a->reserve(a, &what), 0);
    peer_bytes(a, 5000, 2);
}

START_TEST(a_crash_keeps_what_landed)
{
    vfsrig_crash(&r, land_and_begin);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "a/whole", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "replaced", 800, 3), 0);
    ck_assert_ptr_null(vfsrig_find(&r, "half"));
    ck_assert_uint_eq(r.fs->adopted, 2);
}
END_TEST

/* --- races --- */

#define ROUNDS 400
#define RACE_LEN 3000

static atomic_bool racing;

static void *arrive_all_the_time(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        int err = peer_land_for(&r, i % 3 ? "race/key" : "race/other", RACE_LEN, 1 + i % 5,
                                i % 2 ? MSEC : 0);

        ck_assert_msg(!err || err == -EBUSY || err == -EEXIST, "%s", strerror(-err));
    }
    atomic_store(&racing, false);
    return NULL;
}

static void *change_all_the_time(void *arg)
{
    (void)arg;
    for (unsigned i = 0; atomic_load(&racing); i++) {
        switch (i % 4) {
        case 0: vfsrig_put(&r, "race/key", RACE_LEN, 11 + i % 5); break;
        case 1: vfsrig_unlink(&r, "race/key"); break;
        case 2: vfsrig_rename(&r, "race/other", "race/key"); break;
        case 3: vfsrig_rename(&r, "race/key", "race/other"); break;
        }
    }
    return NULL;
}

/* Bytes of one seed, all of them. */
static void check_whole(const char *key)
{
    char got[RACE_LEN + 1], want[RACE_LEN];
    struct handle *h;
    ssize_t n;

    if (vfsrig_open(&r, key, O_RDONLY, &h))
        return;
    n = vfsrig_read(&r, h, got, sizeof(got), 0);
    vfsrig_close(&r, h);
    ck_assert_int_eq(n, RACE_LEN);
    for (unsigned seed = 1; seed < 16; seed++) {
        vfsrig_fill(want, RACE_LEN, seed);
        if (!memcmp(want, got, RACE_LEN))
            return;
    }
    ck_abort_msg("%s is torn", key);
}

START_TEST(against_local_changes)
{
    pthread_t peer, local;

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "race"), 0);
    atomic_store(&racing, true);
    ck_assert_int_eq(pthread_create(&peer, NULL, arrive_all_the_time, NULL), 0);
    ck_assert_int_eq(pthread_create(&local, NULL, change_all_the_time, NULL), 0);
    while (atomic_load(&racing)) {
        check_whole("race/key");
        check_whole("race/other");
    }
    pthread_join(peer, NULL);
    pthread_join(local, NULL);
    ck_assert_uint_eq(rig_promised(&r), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(peer_land(&r, "race/key", 9, 99), 0);
    ck_assert_int_eq(vfsrig_check(&r, "race/key", 9, 99), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("arrive");
    TCase *tc = tcase_create("arrive");
    const TTest *const tests[] = {seen_when_published_and_whole,
                                  stored_like_any_other,
                                  replaces_and_leaves_readers_theirs,
                                  found_before_opened_after,
                                  the_kernel_is_told,
                                  the_same_is_there,
                                  two_senders_of_one_key,
                                  writers_and_pins_are_busy,
                                  what_is_no_key,
                                  a_file_of_another_size,
                                  a_full_quota,
                                  a_crash_keeps_what_landed,
                                  against_local_changes};

    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
