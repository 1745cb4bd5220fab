/* test_tenant.c - directory quotas: who a file belongs to, what is counted, what is refused. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "suite.h"
#include "tenant_fixture.h"
#include "xattr_value.h"

/* ---- user.l2fs.quota ---- */

START_TEST(quota_is_an_attribute_of_directories)
{
    assert_quota("alice", "none");
    ck_assert_int_eq(set_quota("alice", "1G"), 0);
    assert_quota("alice", "1G");
    ck_assert_int_eq(set_quota("alice", "1234567"), 0);
    assert_quota("alice", "1234567");
    ck_assert_int_eq(set_quota("alice", "1.5M"), 0);
    assert_quota("alice", "1.5M");
    ck_assert_uint_eq(tenants(), 2);
    ck_assert_int_eq(set_quota("alice", "much"), -EINVAL);
    assert_quota("alice", "1.5M");
    ck_assert_int_eq(set_quota("alice", "none"), 0);
    assert_quota("alice", "none");
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(set_quota("alice", "0"), 0);
    ck_assert_uint_eq(tenants(), 1);
    ck_assert_int_eq(vfsrig_put(&r, "file", 10, 1), 0);
    ck_assert_int_eq(set_quota("file", "1G"), -EINVAL);
    ck_assert_int_eq(set_quota(".l2fs", "1G"), -EPERM);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfs_root(r.fs), QUOTA, "1G", 2, 0), -EINVAL);
    ck_assert(xattr_is_admins(QUOTA));
    ck_assert(!xattr_is_admins("user.l2fs.place"));
}
END_TEST

START_TEST(how_it_is_kept_is_not_shown)
{
    struct inode *alice = vfsrig_find(&r, "alice");
    char names[512] = "", value[64];
    ssize_t n;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    n = vfs_listxattr(r.fs, alice, names, sizeof(names));
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_nonnull(memmem(names, (size_t)n, QUOTA, sizeof(QUOTA)));
    ck_assert_ptr_null(memmem(names, (size_t)n, "l2fs_", 5));
    ck_assert_int_eq(vfs_getxattr(r.fs, alice, XATTR_QUOTA_KEPT, value, sizeof(value)), -ENODATA);
    ck_assert_int_eq(vfs_setxattr(r.fs, alice, XATTR_QUOTA_KEPT, "9", 1, 0), -EPERM);
    ck_assert_int_eq(vfs_removexattr(r.fs, alice, XATTR_QUOTA_KEPT), -ENODATA);
    ck_assert_int_eq(vfs_removexattr(r.fs, alice, QUOTA), 0);
    assert_quota("alice", "none");
}
END_TEST

START_TEST(a_remount_keeps_it)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/deep"), 0);
    ck_assert_int_eq(set_quota("alice/deep", "512K"), 0);
    ck_assert_int_eq(set_quota("bob", "2M"), 0);
    ck_assert_int_eq(set_quota("bob", "none"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/a", 300 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/deep/b", 200 * KIB, 1), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    assert_quota("alice", "1M");
    assert_quota("alice/deep", "512K");
    assert_quota("bob", "none");
    ck_assert_uint_eq(used("alice"), 500 * KIB);
    ck_assert_uint_eq(used("alice/deep"), 200 * KIB);
    assert_counts();
}
END_TEST

static void before_the_crash(struct vfsrig *rig)
{
    ck_assert_ptr_eq(rig, &r);
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/stored", 100 * KIB, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_put(&r, "alice/closed", 50 * KIB, 1), 0);
}

START_TEST(a_crash_keeps_it)
{
    vfsrig_stop(&r);
    vfsrig_crash(&r, before_the_crash);
    vfsrig_start(&r);
    assert_quota("alice", "1M");
    ck_assert_uint_eq(used("alice"), 150 * KIB);
    assert_counts();
}
END_TEST

/* ---- who is refused ---- */

START_TEST(alice_over_quota_does_not_touch_bob)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(set_quota("bob", "1M"), 0);
    for (int i = 0; i < 4; i++) {
        char path[32];

        snprintf(path, sizeof(path), "alice/%d", i);
        ck_assert_int_eq(vfsrig_put(&r, path, 256 * KIB, 1), 0);
    }
    ck_assert_int_eq(vfsrig_put(&r, "alice/more", 1, 1), -EDQUOT);
    ck_assert_int_eq(vfsrig_state(&r, "alice/more"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_put(&r, "bob/b", 256 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "free", 256 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "alice/0", 256 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "alice/0"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/more", 256 * KIB, 1), 0);
    assert_counts();
}
END_TEST

START_TEST(no_quota_no_limit)
{
    for (int i = 0; i < 8; i++) {
        char path[32];

        snprintf(path, sizeof(path), "alice/%d", i);
        ck_assert_int_eq(vfsrig_put(&r, path, 256 * KIB, 1), 0);
    }
    assert_counts();
}
END_TEST

START_TEST(under_quota_nothing_happens)
{
    ck_assert_int_eq(set_quota("alice", "10M"), 0);
    for (int i = 0; i < 8; i++) {
        char path[32];

        snprintf(path, sizeof(path), "alice/%d", i);
        ck_assert_int_eq(vfsrig_put(&r, path, 256 * KIB, 1), 0);
    }
    vfsrig_wait_stored(&r);
    for (int i = 0; i < 8; i++) {
        char path[32];

        snprintf(path, sizeof(path), "alice/%d", i);
        ck_assert_int_eq(vfsrig_state(&r, path), STATE_RESIDENT);
    }
    ck_assert_uint_eq(used("alice"), 2 * MIB);
}
END_TEST

START_TEST(setting_it_counts_what_is_there)
{
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/d"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/d/a", 3000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/b", 500, 1), 0);
    ck_assert_int_eq(set_quota("alice", "1000"), 0);
    ck_assert_uint_eq(used("alice"), 3500);
    assert_counts();
    ck_assert_int_eq(vfsrig_put(&r, "alice/c", 1, 1), -EDQUOT);
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/c", 1, 1), 0);
    assert_counts();
}
END_TEST

START_TEST(open_writers_are_counted_as_expected)
{
    struct handle *a, *b;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/learned", 400 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_create(&r, "alice/a", O_WRONLY, &a), 0);
    ck_assert_uint_eq(used("alice"), 800 * KIB);
    ck_assert_int_eq(vfsrig_create(&r, "alice/b", O_WRONLY, &b), -EDQUOT);
    vfsrig_close(&r, a);
    ck_assert_uint_eq(used("alice"), 400 * KIB);
    ck_assert_int_eq(vfsrig_create(&r, "alice/b", O_WRONLY, &b), 0);
    vfsrig_close(&r, b);
    assert_counts();
}
END_TEST

START_TEST(a_writer_that_overruns_is_accepted_and_the_next_refused)
{
    struct handle *h;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/big", 3 * MIB, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "alice/big", 3 * MIB, 1), 0);
    ck_assert_int_eq(vfsrig_create(&r, "alice/next", O_WRONLY, &h), -EDQUOT);
    ck_assert_int_eq(vfsrig_open(&r, "alice/big", O_WRONLY | O_TRUNC, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "small", 5, 0), 0);
    vfsrig_close(&r, h);
    ck_assert_uint_eq(used("alice"), 5);
}
END_TEST

START_TEST(growing_is_checked)
{
    struct handle *h;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/a", 100, 1), 0);
    ck_assert_int_eq(vfsrig_truncate(&r, "alice/a", 2 * MIB), -EDQUOT);
    ck_assert_int_eq(vfsrig_check(&r, "alice/a", 100, 1), 0);
    ck_assert_int_eq(vfsrig_truncate(&r, "alice/a", MIB), 0);
    ck_assert_uint_eq(used("alice"), MIB);
    ck_assert_int_eq(vfsrig_truncate(&r, "alice/a", 50), 0);
    ck_assert_int_eq(vfsrig_open(&r, "alice/a", O_RDWR, &h), 0);
    ck_assert_int_eq(vfs_fallocate(r.fs, h, 0, 0, 2 * MIB), -EDQUOT);
    ck_assert_int_eq(vfs_fallocate(r.fs, h, 0, 0, MIB), 0);
    vfsrig_close(&r, h);
    ck_assert_uint_eq(used("alice"), MIB);
    assert_counts();
}
END_TEST

/* ---- nested ---- */

START_TEST(a_nested_quota_counts_for_both)
{
    struct statvfs st;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/in"), 0);
    ck_assert_int_eq(set_quota("alice/in", "4M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/in/a", 600 * KIB, 1), 0);
    ck_assert_uint_eq(used("alice/in"), 600 * KIB);
    ck_assert_uint_eq(used("alice"), 600 * KIB);
    ck_assert_int_eq(vfs_statfs(r.fs, vfsrig_find(&r, "alice/in"), &st), 0);
    ck_assert_uint_eq(st.f_blocks * 4096, 4 * MIB);
    ck_assert_uint_eq(st.f_bfree * 4096, 4 * MIB - 600 * KIB);
    ck_assert_uint_eq(st.f_bavail * 4096, MIB - 600 * KIB);
    ck_assert_int_eq(vfsrig_put(&r, "alice/in/b", 500 * KIB, 1), -EDQUOT);
    ck_assert_int_eq(set_quota("alice", "none"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/in/b", 500 * KIB, 1), 0);
    ck_assert_uint_eq(used("alice/in"), 1100 * KIB);
    assert_counts();
}
END_TEST

START_TEST(taking_away_the_inner_one)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/in"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/in/in"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/in/in/x", 100, 1), 0);
    ck_assert_int_eq(set_quota("alice/in/in", "1M"), 0);
    ck_assert_int_eq(set_quota("alice/in", "1M"), 0);
    assert_counts();
    ck_assert_int_eq(set_quota("alice/in", "none"), 0);
    assert_counts();
    ck_assert_uint_eq(used("alice/in/in"), 100);
    ck_assert_int_eq(set_quota("alice/in/in", "none"), 0);
    ck_assert_uint_eq(used("alice"), 100);
    ck_assert_uint_eq(tenants(), 2);
}
END_TEST

START_TEST(statfs_shows_the_quota)
{
    struct statvfs all, st;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/d"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/d/a", 256 * KIB, 1), 0);
    ck_assert_int_eq(vfs_statfs(r.fs, vfs_root(r.fs), &all), 0);
    ck_assert_uint_gt(all.f_blocks * 4096, MIB);
    for (int i = 0; i < 3; i++) {
        const char *const paths[] = {"alice", "alice/d", "alice/d/a"};

        ck_assert_int_eq(vfs_statfs(r.fs, vfsrig_find(&r, paths[i]), &st), 0);
        ck_assert_uint_eq(st.f_blocks * 4096, MIB);
        ck_assert_uint_eq(st.f_bavail * 4096, 768 * KIB);
    }
    ck_assert_int_eq(vfs_statfs(r.fs, vfsrig_find(&r, "bob"), &st), 0);
    ck_assert_uint_eq(st.f_blocks, all.f_blocks);
    ck_assert_int_eq(set_quota("alice", "100K"), 0);
    ck_assert_int_eq(vfs_statfs(r.fs, vfsrig_find(&r, "alice"), &st), 0);
    ck_assert_uint_eq(st.f_bavail, 0);
}
END_TEST

/* ---- names ---- */

START_TEST(renaming_files)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(set_quota("bob", "300K"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/a", 400 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/s", 100 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/a", "bob/a"), -EDQUOT);
    ck_assert_int_eq(vfsrig_check(&r, "alice/a", 400 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/s", "bob/s"), 0);
    ck_assert_uint_eq(used("alice"), 400 * KIB);
    ck_assert_uint_eq(used("bob"), 100 * KIB);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/a", "free"), 0);
    ck_assert_uint_eq(used("alice"), 0);
    assert_counts();
    ck_assert_int_eq(set_quota("bob", "10K"), 0); /* over it: renames inside still work */
    ck_assert_int_eq(vfsrig_rename(&r, "bob/s", "bob/t"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "bob/t", "t"), 0);
    assert_counts();
}
END_TEST

START_TEST(renaming_over_a_file)
{
    ck_assert_int_eq(set_quota("bob", "300K"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "bob/k", 250 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/k", 280 * KIB, 2), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/k", "bob/other"), -EDQUOT);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/k", "bob/k"), 0);
    ck_assert_uint_eq(used("bob"), 280 * KIB);
    ck_assert_int_eq(vfsrig_check(&r, "bob/k", 280 * KIB, 2), 0);
    assert_counts();
}
END_TEST

START_TEST(renaming_directories)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(set_quota("bob", "300K"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/d"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/d/own"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/d/a", 200 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/d/own/b", 200 * KIB, 1), 0);
    ck_assert_int_eq(set_quota("alice/d/own", "1M"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/d", "bob/d"), -EDQUOT);
    assert_counts();
    ck_assert_int_eq(set_quota("bob", "500K"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/d", "bob/d"), 0);
    ck_assert_uint_eq(used("alice"), 0);
    ck_assert_uint_eq(used("bob"), 400 * KIB);
    ck_assert_uint_eq(used("bob/d/own"), 200 * KIB);
    assert_counts();
    ck_assert_int_eq(vfsrig_rename(&r, "bob/d/own", "own"), 0);
    ck_assert_uint_eq(used("bob"), 200 * KIB);
    ck_assert_int_eq(vfsrig_rename(&r, "own", "alice/own"), 0);
    ck_assert_uint_eq(used("alice"), 200 * KIB);
    assert_counts();
    assert_quota("alice/own", "1M");
}
END_TEST

START_TEST(a_removed_directory_takes_its_quota_along)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(set_quota("bob", "1M"), 0);
    ck_assert_int_eq(vfs_rmdir(r.fs, vfs_root(r.fs), "alice"), 0);
    ck_assert_uint_eq(tenants(), 2);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice"), 0);
    assert_quota("alice", "none");
    ck_assert_int_eq(vfsrig_rename(&r, "alice", "bob"), 0); /* over an empty one */
    ck_assert_uint_eq(tenants(), 1);
    assert_quota("bob", "none");
}
END_TEST

START_TEST(hard_links_count_once)
{
    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(set_quota("bob", "1M"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alice/a", 100 * KIB, 1), 0);
    ck_assert_int_eq(vfsrig_link(&r, "alice/a", "alice/b"), 0);
    ck_assert_int_eq(vfsrig_link(&r, "alice/a", "bob/c"), 0);
    ck_assert_uint_eq(used("alice"), 100 * KIB);
    ck_assert_uint_eq(used("bob"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "alice/a", "alice/a2"), 0);
    ck_assert_uint_eq(used("alice"), 100 * KIB);
    ck_assert_int_eq(vfsrig_unlink(&r, "alice/a2"), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "alice/b"), 0);
    ck_assert_uint_eq(used("alice"), 0);
    ck_assert_uint_eq(used("bob"), 100 * KIB);
    ck_assert_int_eq(vfsrig_unlink(&r, "bob/c"), 0);
    ck_assert_uint_eq(used("bob"), 0);
    assert_counts();
}
END_TEST

START_TEST(what_is_unlinked_while_open_counts_no_more)
{
    struct handle *h;

    ck_assert_int_eq(set_quota("alice", "1M"), 0);
    ck_assert_int_eq(vfsrig_create(&r, "alice/a", O_RDWR, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "0123456789", 10, 0), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "alice/a"), 0);
    ck_assert_uint_eq(used("alice"), 0);
    vfsrig_close(&r, h);
    ck_assert_uint_eq(used("alice"), 0);
    assert_counts();
}
END_TEST

/* ---- anything, in any order ---- */

static unsigned next(unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 16) % n;
}

static void any_path(unsigned *seed, char out[32])
{
    static const char *const dirs[] = {"", "alice/", "bob/", "alice/in/", "bob/in/"};

    snprintf(out, 32, "%s%u", dirs[next(seed, ARRAY_SIZE(dirs))], next(seed, 6));
}

static void any_step(unsigned *seed)
{
    static const char *const dirs[] = {"alice", "bob", "alice/in", "bob/in"};
    static const char *const quotas[] = {"none", "20000", "1M", "50000"};
    const char *dir = dirs[next(seed, 4)];
    char a[32], b[32];

    any_path(seed, a);
    any_path(seed, b);
    switch (next(seed, 9)) {
    case 0:
    case 1:
    case 2: vfsrig_put(&r, a, next(seed, 20000), 1); break;
    case 3: vfsrig_unlink(&r, a); break;
    case 4: vfsrig_rename(&r, a, b); break;
    case 5:
        if (vfsrig_find(&r, a))
            vfsrig_truncate(&r, a, next(seed, 20000));
        break;
    case 6:
        if (vfsrig_find(&r, a) && vfsrig_evict(&r, a) == 0 && next(seed, 2))
            vfsrig_check(&r, a, 1, 1); /* loads it */
        break;
    case 7: set_quota(dir, quotas[next(seed, 4)]); break;
    default:
        vfsrig_rename(&r, "alice/in", "moved");
        vfsrig_rename(&r, "bob/in", "alice/in");
        vfsrig_rename(&r, "moved", "bob/in");
        vfsrig_mkdir(&r, "alice/in");
        vfsrig_mkdir(&r, "bob/in");
    }
}

START_TEST(counts_equal_a_walk)
{
    unsigned seed = 1 + (unsigned)_i;

    ck_assert_int_eq(vfsrig_mkdir(&r, "alice/in"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "bob/in"), 0);
    for (int i = 0; i < 300; i++) {
        any_step(&seed);
        assert_counts();
    }
    vfsrig_wait_stored(&r);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    assert_counts();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tenant");
    TCase *tc = tcase_create("tenant");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, quota_is_an_attribute_of_directories);
    tcase_add_test(tc, how_it_is_kept_is_not_shown);
    tcase_add_test(tc, a_remount_keeps_it);
    tcase_add_test(tc, a_crash_keeps_it);
    tcase_add_test(tc, alice_over_quota_does_not_touch_bob);
    tcase_add_test(tc, no_quota_no_limit);
    tcase_add_test(tc, under_quota_nothing_happens);
    tcase_add_test(tc, setting_it_counts_what_is_there);
    tcase_add_test(tc, open_writers_are_counted_as_expected);
    tcase_add_test(tc, a_writer_that_overruns_is_accepted_and_the_next_refused);
    tcase_add_test(tc, growing_is_checked);
    tcase_add_test(tc, a_nested_quota_counts_for_both);
    tcase_add_test(tc, taking_away_the_inner_one);
    tcase_add_test(tc, statfs_shows_the_quota);
    tcase_add_test(tc, renaming_files);
    tcase_add_test(tc, renaming_over_a_file);
    tcase_add_test(tc, renaming_directories);
    tcase_add_test(tc, a_removed_directory_takes_its_quota_along);
    tcase_add_test(tc, hard_links_count_once);
    tcase_add_test(tc, what_is_unlinked_while_open_counts_no_more);
    tcase_add_loop_test(tc, counts_equal_a_walk, 0, 4);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
