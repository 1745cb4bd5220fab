/* test_vfs.c - the life of an object through vfs.h: publication, waiting, rewriting, eviction,
 * loading, names. Each test has an instance of its own.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "suite.h"
#include "vfsrig.h"

static struct vfsrig r;

static void setup(void)
{
    vfsrig_init(&r, NULL);
    r.cfg.writer_wait = 300 * NSEC_PER_MSEC;
    vfsrig_start(&r);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

START_TEST(put_and_read_back)
{
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "empty", 0, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "empty", 0, 1), 0);
}
END_TEST

START_TEST(evicted_comes_back)
{
    ck_assert_int_eq(vfsrig_put(&r, "k", 3 * MIB + 5, 2), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_EVICTED);
    ck_assert_int_eq(vfsrig_check(&r, "k", 3 * MIB + 5, 2), 0);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_RESIDENT);
}
END_TEST

START_TEST(open_is_not_evicted)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 2), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), -EBUSY);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
}
END_TEST

START_TEST(reader_of_unfinished_gets_enoent)
{
    struct handle *h, *rd;

    ck_assert_int_eq(vfsrig_create(&r, "k", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "half", 4, 0), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &rd), -ENOENT);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY | O_NONBLOCK, &rd), -EAGAIN);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &rd), 0);
    vfsrig_close(&r, rd);
}
END_TEST

START_TEST(rename_publishes_an_open_file)
{
    struct handle *h, *rd;
    char buf[8];

    ck_assert_int_eq(vfsrig_create(&r, "k.tmp", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "whole", 5, 0), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "k.tmp", "k"), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &rd), 0);
    ck_assert_int_eq(vfsrig_read(&r, rd, buf, sizeof(buf), 0), 5);
    vfsrig_close(&r, rd);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_state(&r, "k.tmp"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
}
END_TEST

START_TEST(temporary_names_stay_out_of_l2)
{
    ck_assert_int_eq(vfsrig_put(&r, "a.tmp", 100, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "b", 100, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "b"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a.tmp"), -EBUSY);
    ck_assert_int_eq(vfsrig_rename(&r, "a.tmp", "a"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "a", 100, 1), 0);
}
END_TEST

START_TEST(rename_over_existing)
{
    ck_assert_int_eq(vfsrig_put(&r, "a", 100, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "b", 200, 2), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_rename(&r, "b", "a"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "a", 200, 2), 0);
    ck_assert_int_eq(vfsrig_state(&r, "b"), STATE_ABSENT);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "a", 200, 2), 0);
    ck_assert_int_eq(vfsrig_state(&r, "b"), STATE_ABSENT);
}
END_TEST

START_TEST(rewrite_replaces)
{
    ck_assert_int_eq(vfsrig_put(&r, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 2), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 100, 2), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 100, 2), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k", 300, 3), 0); /* of an evicted key */
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 300, 3), 0);
}
END_TEST

START_TEST(write_in_place)
{
    struct handle *h;
    char buf[4];

    ck_assert_int_eq(vfsrig_put(&r, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDWR, &h), 0); /* loads first */
    ck_assert_int_eq(vfsrig_write(&r, h, "abcd", 4, 4998), 0);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfsrig_read(&r, h, buf, 4, 4998), 4);
    ck_assert_mem_eq(buf, "abcd", 4);
    vfsrig_close(&r, h);
}
END_TEST

START_TEST(truncate_by_name)
{
    ck_assert_int_eq(vfsrig_put(&r, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_truncate(&r, "k", 3000), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 3000, 1), 0);
    ck_assert_int_eq(vfsrig_truncate(&r, "k", UINT64_C(1) << 40), -EFBIG);
}
END_TEST

START_TEST(link_is_a_second_key)
{
    ck_assert_int_eq(vfsrig_put(&r, "a", 500, 1), 0);
    ck_assert_int_eq(vfsrig_link(&r, "a", "b"), 0);
    ck_assert_int_eq(vfsrig_link(&r, "a", "b"), -EEXIST);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_unlink(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "b"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", 500, 1), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "a"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "b", 500, 1), 0);
}
END_TEST

START_TEST(unlink_while_open)
{
    struct handle *h;
    char buf[500], want[500];

    ck_assert_int_eq(vfsrig_put(&r, "k", 500, 1), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 2), 0);
    vfsrig_fill(want, sizeof(want), 1);
    ck_assert_int_eq(vfsrig_read(&r, h, buf, sizeof(buf), 0), 500);
    ck_assert_mem_eq(buf, want, sizeof(buf));
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 100, 2), 0);
}
END_TEST

START_TEST(removed_before_its_rewrite_is_stored)
{
    ck_assert_int_eq(vfsrig_put(&r, "k", 500, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k", 600, 2), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "k"), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_ABSENT);
}
END_TEST

static int write_and_be_killed(const char *path, bool sync)
{
    struct handle *h;
    int err = vfsrig_create(&r, path, O_WRONLY, &h);

    if (!err)
        err = vfsrig_write(&r, h, "half", 4, 0);
    if (!err && sync)
        err = vfsrig_fsync(&r, path);
    if (err)
        return err;
    h->killed = true;
    vfs_release(r.fs, h);
    return 0;
}

START_TEST(killed_writer_leaves_nothing_but_what_it_synced)
{
    ck_assert_int_eq(write_and_be_killed("part", false), 0);
    ck_assert_int_eq(vfsrig_state(&r, "part"), STATE_ABSENT);
    ck_assert_int_eq(write_and_be_killed("journal", true), 0);
    ck_assert_int_eq(vfsrig_state(&r, "journal"), STATE_RESIDENT);
}
END_TEST

START_TEST(fsync_reaches_l2)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(&r, "k", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "durable", 7, 0), 0);
    ck_assert_int_eq(vfsrig_fsync(&r, "k"), 0);
    ck_assert_int_ne(vfsrig_find(&r, "k")->names->gen, 0);
    vfsrig_close(&r, h);
}
END_TEST

START_TEST(fsync_under_a_temporary_name_holds_after_rename)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(&r, "k.tmp", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "durable", 7, 0), 0);
    ck_assert_int_eq(vfsrig_fsync(&r, "k.tmp"), 0);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_rename(&r, "k.tmp", "k"), 0);
    ck_assert_int_ne(vfsrig_find(&r, "k")->names->gen, 0);
}
END_TEST

START_TEST(directories_move_with_their_keys)
{
    ck_assert_int_eq(vfsrig_mkdir(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "a/b"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "a/b/k", 700, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "c"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "c", "c/b/x"), -EINVAL);
    ck_assert_int_eq(vfsrig_evict(&r, "c/b/k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "c/b/k", 700, 1), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "a/b/k"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "c/b/k", 700, 1), 0);
}
END_TEST

static void set_times(const struct stat *st)
{
    struct waiter w = {0};

    ck_assert_int_eq(vfs_setattr(r.fs, vfsrig_find(&r, "k"), st, VFS_SET_ATIME | VFS_SET_MTIME, &w),
                     0);
}

START_TEST(times_are_kept_to_the_nanosecond)
{
    const struct timespec times[] = {{-86400, 1}, {0, 0}, {1700000000, 999999999}, {7258118400, 5}};
    const time_t far[] = {INT64_MAX, INT64_MIN};
    struct inode *inode;
    struct stat st, got;
    bool settled;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 2), 0);
    inode = vfsrig_find(&r, "k");
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        st = (struct stat){.st_mtim = times[i], .st_atim = times[i]};
        set_times(&st);
        ck_assert_int_eq(vfs_getattr(r.fs, inode, &got, &settled), 0);
        ck_assert_int_eq(got.st_mtim.tv_sec, times[i].tv_sec);
        ck_assert_int_eq(got.st_mtim.tv_nsec, times[i].tv_nsec);
        ck_assert_int_eq(got.st_atim.tv_sec, times[i].tv_sec);
        ck_assert_int_eq(got.st_atim.tv_nsec, times[i].tv_nsec);
    }
    for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
        st = (struct stat){.st_mtim.tv_sec = far[i]};
        set_times(&st);
        ck_assert_int_eq(vfs_getattr(r.fs, inode, &got, &settled), 0);
        ck_assert_int_eq(got.st_mtim.tv_sec < 0, far[i] < 0);
        ck_assert_int_gt(llabs(got.st_mtim.tv_sec), 9000000000);
    }
}
END_TEST

START_TEST(l1_evicts_and_everything_stays_readable)
{
    char name[16];

    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        ck_assert_int_eq(vfsrig_put(&r, name, 4 * MIB, (unsigned)i), 0);
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        ck_assert_int_eq(vfsrig_check(&r, name, 4 * MIB, (unsigned)i), 0);
    }
    ck_assert_int_gt(metric_value(r.fs->evictor.place.evicted[CAUSE_WATERMARK]), 0);
}
END_TEST

START_TEST(full_l1_is_enospc_and_loses_nothing)
{
    AUTO_FREE char *piece = calloc(1, MIB);
    struct handle *h;
    int err = 0;

    ck_assert_int_eq(vfsrig_put(&r, "kept", 4 * MIB, 7), 0);
    r.cfg.max_object = GIB;
    ck_assert_int_eq(vfsrig_create(&r, "big", O_WRONLY, &h), 0);
    for (int i = 0; i < 128 && !err; i++)
        err = vfsrig_write(&r, h, piece, MIB, i * (off_t)MIB);
    ck_assert_int_eq(err, -ENOSPC);
    ck_assert_int_eq(vfs_flush(r.fs, h, &(struct caller){0}), -ENOSPC);
    vfs_release(r.fs, h);
    ck_assert_int_eq(vfsrig_state(&r, "big"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "kept", 4 * MIB, 7), 0);
}
END_TEST

START_TEST(corrupt_is_a_miss_and_never_served)
{
    char path[128];
    int fd;

    ck_assert_int_eq(vfsrig_put(&r, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    snprintf(path, sizeof(path), "%s/data/k", r.dir);
    fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, "\xff\x00\xff", 3, 2500), 3);
    close(fd);
    ck_assert_int_eq(vfsrig_check(&r, "k", 5000, 1), -ENOENT);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_ABSENT);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(listing_survives_removals)
{
    char name[16];

    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        ck_assert_int_eq(vfsrig_put(&r, name, 1, 1), 0);
    }
    ck_assert_int_eq(vfs_opendir(r.fs, vfs_root(r.fs)), 0);
    for (int i = 0; i < 90; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        ck_assert_int_eq(vfsrig_unlink(&r, name), 0);
    }
    ck_assert_uint_ge(vfs_root(r.fs)->dir->nslots, 100); /* cookies still mean the same */
    vfs_releasedir(r.fs, vfs_root(r.fs));
    ck_assert_int_eq(vfsrig_put(&r, "new", 1, 1), 0);
    ck_assert_uint_lt(vfs_root(r.fs)->dir->nslots, 100);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        put_and_read_back,
        evicted_comes_back,
        open_is_not_evicted,
        reader_of_unfinished_gets_enoent,
        rename_publishes_an_open_file,
        temporary_names_stay_out_of_l2,
        rename_over_existing,
        rewrite_replaces,
        write_in_place,
        truncate_by_name,
        link_is_a_second_key,
        unlink_while_open,
        removed_before_its_rewrite_is_stored,
        killed_writer_leaves_nothing_but_what_it_synced,
        fsync_reaches_l2,
        fsync_under_a_temporary_name_holds_after_rename,
        directories_move_with_their_keys,
        times_are_kept_to_the_nanosecond,
        l1_evicts_and_everything_stays_readable,
        full_l1_is_enospc_and_loses_nothing,
        corrupt_is_a_miss_and_never_served,
        listing_survives_removals,
    };
    Suite *s = suite_create("vfs");
    TCase *tc = tcase_create("life");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
