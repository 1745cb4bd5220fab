/* conform_names.c - rename, remove and directories. An adapter without one of them has NULL there.
 */
#include "conform.h"

#include <sys/stat.h>

#define SIZE 3000

static void store(const char *key, uint64_t seed)
{
    ck_assert_int_eq(rig_store(&rig, key, SIZE, seed), 0);
}

static void make_dir(const char *dir)
{
    struct l2_attr attr = {.mode = S_IFDIR | 0755, .uid = getuid(), .gid = getgid()};
    int err = rig.a->ops->make_dir(rig.a, dir, &attr);

    ck_assert_msg(!err || err == -EEXIST, "make_dir %s: %s", dir, strerror(-err));
}

static int move(const char *from, const char *to)
{
    return rig.a->ops->rename(rig.a, from, to);
}

/* --- rename --- */

START_TEST(rename_moves_a_key)
{
    if (!conform_can("rename"))
        return;
    store("a", 1);
    ck_assert_int_eq(move("a", "b"), 0);
    ck_assert(!rig_has(&rig, "a"));
    rig_check(&rig, "b", SIZE, 1);
    store("a", 2);
    rig_check(&rig, "a", SIZE, 2);
    rig_check(&rig, "b", SIZE, 1);
}
END_TEST

START_TEST(rename_replaces)
{
    if (!conform_can("rename"))
        return;
    store("a", 1);
    store("b", 2);
    ck_assert_int_eq(move("a", "b"), 0);
    ck_assert(!rig_has(&rig, "a"));
    rig_check(&rig, "b", SIZE, 1);
}
END_TEST

START_TEST(rename_between_directories)
{
    if (!conform_can("rename"))
        return;
    make_dir("x/");
    make_dir("y/");
    store("x/a", 1);
    ck_assert_int_eq(move("x/a", "y/b"), 0);
    ck_assert(!rig_has(&rig, "x/a"));
    rig_check(&rig, "y/b", SIZE, 1);
    ck_assert_int_eq(move("y/b", "top"), 0);
    rig_check(&rig, "top", SIZE, 1);
}
END_TEST

START_TEST(rename_of_nothing)
{
    if (!conform_can("rename"))
        return;
    store("b", 2);
    ck_assert_int_eq(move("absent", "b"), -ENOENT);
    rig_check(&rig, "b", SIZE, 2);
    ck_assert_int_eq(move("absent/", "c/"), -ENOENT);
    ck_assert_int_eq(move("b", "b"), 0);
    rig_check(&rig, "b", SIZE, 2);
}
END_TEST

START_TEST(rename_moves_a_directory)
{
    if (!conform_can("rename"))
        return;
    make_dir("d/");
    make_dir("d/e/");
    store("d/a", 1);
    store("d/e/b", 2);
    store("d-not/a", 3);
    store("d2", 4);
    ck_assert_int_eq(move("d/", "moved/"), 0);
    ck_assert(!rig_has(&rig, "d/a"));
    ck_assert(!rig_has(&rig, "d/e/b"));
    rig_check(&rig, "moved/a", SIZE, 1);
    rig_check(&rig, "moved/e/b", SIZE, 2);
    rig_check(&rig, "d-not/a", SIZE, 3);
    rig_check(&rig, "d2", SIZE, 4);
    store("d/a", 5);
    rig_check(&rig, "d/a", SIZE, 5);
    rig_check(&rig, "moved/a", SIZE, 1);
}
END_TEST

START_TEST(rename_of_a_directory_over_another)
{
    if (!conform_can("rename"))
        return;
    make_dir("d/");
    make_dir("empty/");
    make_dir("full/");
    store("d/a", 1);
    store("full/b", 2);
    ck_assert_int_eq(move("d/", "full/"), -ENOTEMPTY);
    rig_check(&rig, "d/a", SIZE, 1);
    ck_assert_int_eq(move("d/", "empty/"), 0);
    rig_check(&rig, "empty/a", SIZE, 1);
    ck_assert(!rig_has(&rig, "d/a"));
}
END_TEST

/* --- remove --- */

START_TEST(remove_takes_a_key_away)
{
    struct l2_object o;

    ck_assert(conform_can("remove"));
    store("a", 1);
    store("b", 2);
    ck_assert_int_eq(rig_remove(&rig, "a", NULL), 0);
    ck_assert(!rig_has(&rig, "a"));
    ck_assert_int_eq(rig_load(&rig, "a", &o), -ENOENT);
    if (!conform_discards())
        rig_check(&rig, "b", SIZE, 2);
}
END_TEST

START_TEST(remove_of_nothing)
{
    static const char *const keys[] = {"absent", "no/such/path", "absent/"};

    ck_assert_int_eq(rig.a->ops->remove(rig.a, keys, 3, NULL), 0);
}
END_TEST

START_TEST(remove_of_directories)
{
    if (!conform_can("make_dir"))
        return;
    make_dir("d/");
    make_dir("d/e/");
    store("d/e/a", 1);
    ck_assert_int_eq(rig_remove(&rig, "d/e/", NULL), -ENOTEMPTY);
    rig_check(&rig, "d/e/a", SIZE, 1);
    ck_assert_int_eq(rig_remove(&rig, "d/e/a", NULL), 0);
    ck_assert_int_eq(rig_remove(&rig, "d/e/", NULL), 0);
    ck_assert_int_eq(rig_remove(&rig, "d/", NULL), 0);
}
END_TEST

START_TEST(remove_goes_on_after_an_error)
{
    static const char *const keys[] = {"d/", "b"};

    if (!conform_can("make_dir"))
        return;
    make_dir("d/");
    store("d/a", 1);
    store("b", 2);
    ck_assert_int_eq(rig.a->ops->remove(rig.a, keys, 2, NULL), -ENOTEMPTY);
    ck_assert(!rig_has(&rig, "b"));
    rig_check(&rig, "d/a", SIZE, 1);
}
END_TEST

/* --- make_dir --- */

START_TEST(make_dir_again)
{
    if (!conform_can("make_dir"))
        return;
    make_dir("d/");
    store("d/a", 1);
    make_dir("d/");
    rig_check(&rig, "d/a", SIZE, 1);
}
END_TEST

void conform_add_names(Suite *s)
{
    conform_add(s, "rename",
                TESTS(rename_moves_a_key, rename_replaces, rename_between_directories,
                      rename_of_nothing, rename_moves_a_directory,
                      rename_of_a_directory_over_another));
    conform_add(s, "remove",
                TESTS(remove_takes_a_key_away, remove_of_nothing, remove_of_directories,
                      remove_goes_on_after_an_error));
    conform_add(s, "make_dir", TESTS(make_dir_again));
}
