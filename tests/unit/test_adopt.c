/* test_adopt.c - kill -9 at chosen points, then a new daemon on the same staging: what was closed
 * is whole, what was not is gone, nothing is torn. Each test has a directory of its own.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include "suite.h"
#include "vfsrig.h"

static struct vfsrig r;

static void setup(void)
{
    vfsrig_init(&r, NULL);
}

static void setup_mock(void)
{
    vfsrig_init(&r, "[{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":10}]");
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

static void put_two(struct vfsrig *c)
{
    ck_assert_int_eq(vfsrig_put(c, "a", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_put(c, "b", 3 * MIB, 2), 0);
}

START_TEST(closed_keys_come_back)
{
    vfsrig_crash(&r, put_two);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "a", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", 3 * MIB, 2), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0); /* and were stored after all */
    ck_assert_int_eq(vfsrig_check(&r, "a", 5000, 1), 0);
}
END_TEST

static void flush_only(struct vfsrig *c)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(c, "k", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, "close(2) returned", 17, 0), 0);
    ck_assert_int_eq(vfs_flush(c->fs, h, &(struct caller){0}), 0);
}

START_TEST(close_counts_before_the_release)
{
    vfsrig_crash(&r, flush_only);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_RESIDENT);
    ck_assert_uint_eq(vfsrig_find(&r, "k")->size, 17);
}
END_TEST

static void write_on_after_flush(struct vfsrig *c)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(c, "k", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, "half", 4, 0), 0);
    ck_assert_int_eq(vfs_flush(c->fs, h, &(struct caller){0}), 0); /* of a dup */
    ck_assert_int_eq(vfsrig_write(c, h, "more", 4, 4), 0);
}

START_TEST(a_writer_that_went_on_is_not_whole)
{
    vfsrig_crash(&r, write_on_after_flush);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_ABSENT);
}
END_TEST

static void unfinished(struct vfsrig *c)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(c, "k", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, "half", 4, 0), 0);
    ck_assert_int_eq(vfsrig_put(c, "x.tmp", 100, 1), 0);
}

START_TEST(unfinished_and_temporary_are_swept)
{
    vfsrig_crash(&r, unfinished);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_state(&r, "x.tmp"), STATE_ABSENT);
    ck_assert_uint_eq(r.fs->adopted, 0);
}
END_TEST

static void half_rewritten(struct vfsrig *c)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(c, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_create(c, "k", O_WRONLY | O_TRUNC, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, "half", 4, 0), 0);
}

START_TEST(half_rewritten_is_the_old_one)
{
    vfsrig_crash(&r, half_rewritten);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "k", 5000, 1), 0);
}
END_TEST

static void synced_rewrite(struct vfsrig *c)
{
    char data[400];
    struct handle *h;

    vfsrig_fill(data, sizeof(data), 2);
    ck_assert_int_eq(vfsrig_put(c, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_create(c, "k", O_WRONLY | O_TRUNC, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, data, sizeof(data), 0), 0);
    ck_assert_int_eq(vfsrig_fsync(c, "k"), 0);
}

START_TEST(what_fsync_replaced_stays_replaced)
{
    vfsrig_crash(&r, synced_rewrite);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "k", 400, 2), 0);
}
END_TEST

static void rewritten(struct vfsrig *c)
{
    ck_assert_int_eq(vfsrig_put(c, "k", 5000, 1), 0);
    vfsrig_wait_stored(c);
    ck_assert_int_eq(vfsrig_put(c, "k", 400, 2), 0);
}

START_TEST(rewritten_is_the_new_one)
{
    vfsrig_crash(&r, rewritten);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "k", 400, 2), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 400, 2), 0);
}
END_TEST

static void half_in_place(struct vfsrig *c)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(c, "k", 5000, 1), 0);
    vfsrig_wait_stored(c);
    ck_assert_int_eq(vfsrig_open(c, "k", O_RDWR, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, "half", 4, 2000), 0);
}

START_TEST(half_written_in_place_is_the_stored_one)
{
    vfsrig_crash(&r, half_in_place);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "k", 5000, 1), 0);
}
END_TEST

static void renamed_open(struct vfsrig *c)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(c, "k.tmp", O_WRONLY, &h), 0);
    ck_assert_int_eq(vfsrig_write(c, h, "whole", 5, 0), 0);
    ck_assert_int_eq(vfsrig_rename(c, "k.tmp", "k"), 0);
}

START_TEST(renamed_while_open_is_whole)
{
    vfsrig_crash(&r, renamed_open);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_state(&r, "k.tmp"), STATE_ABSENT);
    ck_assert_uint_eq(vfsrig_find(&r, "k")->size, 5);
}
END_TEST

static void removed(struct vfsrig *c)
{
    put_two(c);
    vfsrig_wait_stored(c);
    ck_assert_int_eq(vfsrig_unlink(c, "a"), 0);
    ck_assert_int_eq(vfsrig_rename(c, "b", "c"), 0);
}

START_TEST(removed_stays_removed)
{
    vfsrig_crash(&r, removed);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "a"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_state(&r, "b"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "c", 3 * MIB, 2), 0);
}
END_TEST

static void linked(struct vfsrig *c)
{
    ck_assert_int_eq(vfsrig_put(c, "a", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_link(c, "a", "b"), 0);
}

START_TEST(links_come_back_as_one_file)
{
    vfsrig_crash(&r, linked);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "a", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", 5000, 1), 0);
    ck_assert_ptr_eq(vfsrig_find(&r, "a"), vfsrig_find(&r, "b"));
}
END_TEST

static void setup_bad_rename(void)
{
    vfsrig_init(&r, "[{\"type\":\"fault\",\"inner\":{\"type\":\"fs\",\"base_path\":\"@DIR@\"},"
                    "\"rules\":[{\"op\":\"rename\",\"action\":\"fail\"}]}]");
}

START_TEST(a_rename_that_failed_in_l2_leaves_one_name)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "a", 5000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_state(&r, "a"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "b", 5000, 1), 0);
}
END_TEST

START_TEST(a_tier_that_forgets_gets_it_again)
{
    vfsrig_crash(&r, put_two);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "a", 5000, 1), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        closed_keys_come_back,
        close_counts_before_the_release,
        a_writer_that_went_on_is_not_whole,
        unfinished_and_temporary_are_swept,
        half_rewritten_is_the_old_one,
        rewritten_is_the_new_one,
        what_fsync_replaced_stays_replaced,
        half_written_in_place_is_the_stored_one,
        renamed_while_open_is_whole,
        removed_stays_removed,
        links_come_back_as_one_file,
    };
    Suite *s = suite_create("adopt");
    TCase *tc = tcase_create("fs"), *mock = tcase_create("mock"), *bad = tcase_create("bad rename");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    tcase_add_checked_fixture(mock, setup_mock, teardown);
    tcase_add_test(mock, a_tier_that_forgets_gets_it_again);
    suite_add_tcase(s, mock);
    tcase_add_checked_fixture(bad, setup_bad_rename, teardown);
    tcase_add_test(bad, a_rename_that_failed_in_l2_leaves_one_name);
    suite_add_tcase(s, bad);
    return suite_run(s);
}
