/* test_fs_layout.c - the pure parts of the fs adapter: names, records, limits; and opening a
 * directory. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs_fixture.h"
#include "fs_layout.h"
#include "fs_space.h"
#include "fs_xattr.h"
#include "suite.h"

START_TEST(tmp_dir_shape)
{
    ck_assert_int_eq(fs_tmp_dir_check(".l2fs/tmp"), 0);
    ck_assert_int_eq(fs_tmp_dir_check("tmp"), 0);
    ck_assert_int_eq(fs_tmp_dir_check("a/b/"), 0);
    ck_assert_int_eq(fs_tmp_dir_check("a..b"), 0);
    ck_assert_int_eq(fs_tmp_dir_check(""), -EINVAL);
    ck_assert_int_eq(fs_tmp_dir_check("/tmp"), -EINVAL);
    ck_assert_int_eq(fs_tmp_dir_check("../tmp"), -EINVAL);
    ck_assert_int_eq(fs_tmp_dir_check("a/../b"), -EINVAL);
    ck_assert_int_eq(fs_tmp_dir_check("a//b"), -EINVAL);
    ck_assert_int_eq(fs_tmp_dir_check("./a"), -EINVAL);
}
END_TEST

START_TEST(own_names_are_no_keys)
{
    ck_assert_int_eq(fs_key_check("a/b"), 0);
    ck_assert_int_eq(fs_key_check(".l2fsx"), 0);
    ck_assert_int_eq(fs_key_check("a/.l2fs"), 0);
    ck_assert_int_eq(fs_key_check(".l2fs"), -EINVAL);
    ck_assert_int_eq(fs_key_check(".l2fs/"), -EINVAL);
    ck_assert_int_eq(fs_key_check(".l2fs/tmp/x"), -EINVAL);
    ck_assert_int_eq(fs_key_check(FS_TEMP_PREFIX "1"), -EINVAL);
    ck_assert_int_eq(fs_key_check("a/" FS_TEMP_PREFIX "1"), -EINVAL);
    ck_assert(fs_is_temp(FS_TEMP_PREFIX "12-ab"));
    ck_assert(!fs_is_temp("x" FS_TEMP_PREFIX));
}
END_TEST

START_TEST(corrupt_names)
{
    const struct timespec when = {.tv_sec = 1700000000, .tv_nsec = 123456789};
    char name[FS_NAME_SIZE], key[1001];

    fs_corrupt_name("a/b.data", &when, 0, name);
    ck_assert_str_eq(name, "20231114T221320.123456Z-a-SEP-b.data");
    fs_corrupt_name("k", &when, 3, name);
    ck_assert_str_eq(name, "20231114T221320.123456Z.3-k");
    memset(key, 'x', 1000);
    key[1000] = '\0';
    for (size_t i = 1; i < 1000; i += 2)
        key[i] = '/';
    fs_corrupt_name(key, &when, 0, name);
    ck_assert_uint_le(strlen(name), KEY_NAME_MAX);
    ck_assert_ptr_null(strchr(name, '/'));
}
END_TEST

START_TEST(record_round_trip)
{
    char text[FS_RECORD_SIZE];
    struct fs_record r;

    fs_record_format(0xe3069283, UINT64_C(1) << 40, text);
    ck_assert_str_eq(text, "e3069283:1099511627776");
    fs_record_parse(text, strlen(text), &r);
    ck_assert_int_eq(r.state, FS_RECORD_GOOD);
    ck_assert_uint_eq(r.crc32c, 0xe3069283);
    ck_assert_uint_eq(r.size, UINT64_C(1) << 40);
    fs_record_format(0, 0, text);
    ck_assert_str_eq(text, "00000000:0");
}
END_TEST

START_TEST(record_refuses)
{
    static const char *const bad[] = {
        "",
        "e3069283",
        "e3069283:",
        ":1",
        "e306928:1",
        "E3069283:1",
        "e3069283:01",
        "e3069283:-1",
        "e3069283: 1",
        " e3069283:1",
        "e3069283:1 ",
        "e3069283:1x",
        "0xe306928:1",
        "e3069283:99999999999999999999999",
    };
    struct fs_record r;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        fs_record_parse(bad[i], strlen(bad[i]), &r);
        ck_assert_msg(r.state == FS_RECORD_BAD, "\"%s\" was taken", bad[i]);
    }
    fs_record_parse("e3069283:1\0", 11, &r);
    ck_assert_int_eq(r.state, FS_RECORD_BAD);
}
END_TEST

START_TEST(disk_guard)
{
    /* 1000 blocks of 1 KiB, 400 free, 300 of them for us */
    const struct statvfs v = {.f_blocks = 1000, .f_bfree = 400, .f_bavail = 300, .f_frsize = 1024};
    const struct statvfs none = {0};
    struct fs_limits l = {0};

    ck_assert_uint_eq(fs_space_limit(&l, 5, &v), UINT64_MAX);
    l.max = 4096;
    ck_assert_uint_eq(fs_space_limit(&l, 5, &v), 4096);
    l = (struct fs_limits){.min_free = 100 * 1024};
    ck_assert_uint_eq(fs_space_limit(&l, 1024, &v), 201 * 1024);
    l.min_free = 301 * 1024;
    ck_assert_uint_eq(fs_space_limit(&l, 2048, &v), 1024); /* already below: ours must shrink */
    ck_assert_uint_eq(fs_space_limit(&l, 1024, &v), 1);
    ck_assert_uint_eq(fs_space_limit(&l, 0, &v), 1);
    l = (struct fs_limits){.watermark = 0.8}; /* 0.8 * 900 - 600 = 120 */
    ck_assert_uint_eq(fs_space_limit(&l, 0, &v), 120 * 1024);
    l.min_free = 250 * 1024;
    ck_assert_uint_eq(fs_space_limit(&l, 0, &v), 50 * 1024);
    l.max = 10;
    ck_assert_uint_eq(fs_space_limit(&l, 0, &v), 10);
    ck_assert_uint_eq(fs_space_limit(&l, 0, &none), 10);
    ck_assert_uint_eq(fs_space_limit(&l, 0, NULL), 10);
}
END_TEST

static struct l2_usage usage_of(struct fs_space *s)
{
    struct l2_usage u = {0};

    fs_space_usage(s, &u);
    return u;
}

START_TEST(space_accounts)
{
    const struct fs_limits l = {.max = 640 * 1024};
    const struct l2_usage found = {.used = 40960, .objects = 2};
    struct stat old = {.st_blocks = 8, .st_ino = 7, .st_nlink = 1};
    const struct stat dir = {.st_blocks = 8, .st_ino = 8};
    const uint64_t room = 630 * 1024; /* a 64th is kept back */
    struct fs_space s;
    uint64_t limit = 0, mark;

    ck_assert_int_eq(fs_space_init(&s, &l, -1, true), 0);
    mark = fs_space_count_begin(&s);
    fs_space_enter(&s);
    ck_assert(!fs_space_count_end(&s, mark, &found, true));
    fs_space_leave(&s);
    ck_assert(!fs_space_count_end(&s, mark, &found, true));
    fs_space_listing_begin(&s);
    fs_space_listing_end(&s);
    ck_assert(fs_space_count_turn(&s)); /* that listing did not settle it */
    mark = fs_space_count_begin(&s);
    fs_space_listing_begin(&s);
    ck_assert(fs_space_count_end(&s, mark, &found, true));
    ck_assert(!fs_space_count_wanted(&s));
    ck_assert(!fs_space_count_turn(&s)); /* and does not wait for the listing */
    fs_space_listing_end(&s);

    ck_assert_int_eq(fs_space_reserve(&s, room - 40960, FS_FOR_OBJECT, &limit), 0);
    ck_assert_int_eq(fs_space_reserve(&s, 1, FS_FOR_OBJECT, &limit), -ENOSPC);
    ck_assert_uint_eq(limit, room);
    ck_assert_int_eq(fs_space_reserve(&s, 10 * 1024, FS_FOR_NAMES, NULL), 0);
    ck_assert_int_eq(fs_space_reserve(&s, 1, FS_FOR_NAMES, NULL), -ENOSPC);
    fs_space_release(&s, 10 * 1024);
    fs_space_add(&s, room - 40960, 8192, NULL);
    ck_assert_uint_eq(usage_of(&s).reserved, 0);
    fs_space_add(&s, 0, 12288, &old); /* 4096 replaced */
    ck_assert_uint_eq(usage_of(&s).used, 40960 + 8192 + 8192);
    ck_assert_uint_eq(usage_of(&s).objects, 3);
    ck_assert_uint_eq(usage_of(&s).capacity, room);
    fs_space_note(&s, "k", &old, true);
    old.st_blocks = 80; /* grew on its own: what was counted comes off */
    fs_space_remove(&s, &old);
    ck_assert_uint_eq(usage_of(&s).used, 40960 + 8192 + 8192);
    ck_assert_uint_eq(usage_of(&s).objects, 3);
    fs_space_dir_is(&s, &dir);
    fs_space_dir_is(&s, &dir);
    ck_assert_uint_eq(usage_of(&s).capacity, room - 4096);
    ck_assert_uint_eq(usage_of(&s).used, 40960 + 8192 + 8192);
    fs_space_dir_gone(&s, &dir);
    ck_assert_uint_eq(usage_of(&s).capacity, room);
    old = (struct stat){.st_blocks = 16, .st_ino = 9, .st_nlink = 1};
    fs_space_set_aside(&s, &old);
    ck_assert_uint_eq(usage_of(&s).capacity, room - 8192);
    ck_assert_uint_eq(usage_of(&s).used, 40960 + 8192);
    fs_space_fini(&s);
}
END_TEST

START_TEST(space_of_growing_files)
{
    const struct fs_limits l = {0};
    struct stat st = {.st_blocks = 8, .st_ino = 7, .st_nlink = 1}, other = st;
    struct fs_space s;
    char *key;

    other.st_ino = 70;
    ck_assert_int_eq(fs_space_init(&s, &l, -1, false), 0);
    fs_space_note(&s, "slot", &st, true);
    ck_assert_uint_eq(fs_space_growing(&s), 1);
    ck_assert_uint_eq(fs_space_growing(&s), 0); /* a second has not gone by */
    fs_space_renamed(&s, &st, "new");
    key = fs_space_next_growing(&s);
    ck_assert_str_eq(key, "new");
    free(key);
    st.st_blocks = 80;
    fs_space_grown(&s, &st);
    fs_space_grown(&s, &other); /* not one that was opened */
    ck_assert_uint_eq(usage_of(&s).used, 40960);
    ck_assert_uint_eq(usage_of(&s).capacity, 0);
    fs_space_remove(&s, &st);
    ck_assert_uint_eq(usage_of(&s).used, 0);
    ck_assert_ptr_null(fs_space_next_growing(&s));
    fs_space_fini(&s);
}
END_TEST

START_TEST(space_a_store_may_take)
{
    ck_assert_uint_eq(fs_space_needed(0), 4096);
    ck_assert_uint_eq(fs_space_needed(1), 8192);
    ck_assert_uint_eq(fs_space_needed(16384), 16384 + 4096);
    ck_assert_uint_eq(fs_space_needed(MIB), MIB + 4096 + 4096 + 4096);
    ck_assert_uint_eq(fs_space_needed(64 * MIB), 64 * MIB + 4096 + 4096 + 256 * 1024);
}
END_TEST

START_TEST(refuses_to_open)
{
    char path[FIXTURE_PATH];
    struct fs_layout l;

    fixture_path(path, "missing");
    ck_assert_int_eq(fs_layout_open(path, FS_TMP_DIR, &l), -ENOENT);
    fixture_write("file", "x", 1);
    fixture_path(path, "file");
    ck_assert_int_eq(fs_layout_open(path, FS_TMP_DIR, &l), -ENOTDIR);
    ck_assert_int_lt(fs_layout_open("/proc/self/fdinfo", FS_TMP_DIR, &l), 0);
    fixture_mkdir("new");
    fixture_mkdir("new/.l2fs");
    fixture_write("new/.l2fs/format", "2\n", 2);
    fixture_path(path, "new");
    ck_assert_int_eq(fs_layout_open(path, FS_TMP_DIR, &l), -EINVAL);
}
END_TEST

START_TEST(locks_out_the_second)
{
    struct fs_layout l, second;

    ck_assert_int_eq(fs_layout_open(fixture_dir(), FS_TMP_DIR, &l), 0);
    ck_assert_int_eq(fs_layout_open(fixture_dir(), FS_TMP_DIR, &second), -EBUSY);
    fs_layout_close(&l);
    ck_assert_int_eq(fs_layout_open(fixture_dir(), FS_TMP_DIR, &l), 0);
    fs_layout_close(&l);
}
END_TEST

START_TEST(sweeps_temporaries)
{
    struct fs_layout l;
    char name[FS_NAME_SIZE];
    int fd;

    ck_assert_int_eq(fs_layout_open(fixture_dir(), "shared", &l), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(fs_temp_create(&l, 0, name, &fd), 0);
        close(fd);
    }
    fs_layout_close(&l);
    fixture_write("shared/engine.tmp", "x", 1);
    ck_assert_int_eq(fs_layout_open(fixture_dir(), "shared", &l), 0);
    ck_assert_uint_eq(l.swept, 3);
    ck_assert(fixture_exists("shared/engine.tmp"));
    fs_layout_close(&l);
}
END_TEST

static void make_and_find(struct fs_layout *l, const char *key)
{
    const struct l2_attr owner = {.uid = geteuid(), .gid = getegid()};
    FS_PLACE made = FS_PLACE_NONE;
    FS_PLACE found = FS_PLACE_NONE;
    AUTO_CLOSE int fd = -1;

    ck_assert_int_eq(fs_place_make(l, key, &owner, &made), 0);
    fd = openat(made.dir, made.name, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_place_find(l, key, &found), 0);
    ck_assert_str_eq(made.name, found.name);
    ck_assert_int_eq(faccessat(found.dir, found.name, F_OK, 0), 0);
}

START_TEST(long_keys)
{
    char key[KEY_PATH_MAX + 2];
    struct fs_layout l;
    FS_PLACE place = FS_PLACE_NONE;

    ck_assert_int_eq(fs_layout_open(fixture_dir(), FS_TMP_DIR, &l), 0);
    memset(key, 'n', sizeof(key));
    for (size_t i = 255; i < KEY_PATH_MAX; i += 256)
        key[i] = '/';
    key[KEY_PATH_MAX] = '\0';
    make_and_find(&l, key);
    for (size_t i = 1; i < KEY_PATH_MAX; i += 2)
        key[i] = '/';
    key[KEY_PATH_MAX - 1] = 'n';
    key[KEY_PATH_MAX - 2] = 'n';
    make_and_find(&l, key);
    key[KEY_PATH_MAX] = 'n';
    key[KEY_PATH_MAX + 1] = '\0';
    ck_assert_int_eq(fs_place_find(&l, key, &place), -ENAMETOOLONG);
    memset(key, 'n', 256);
    key[256] = '\0';
    ck_assert_int_eq(fs_place_find(&l, key, &place), -ENAMETOOLONG);
    fs_layout_close(&l);
}
END_TEST

START_TEST(stays_below)
{
    static const char *const out[] = {"up/file", "abs/passwd", "..", "../x",
                                      "a/../x",  "a//x",       "./x"};
    const struct l2_attr owner = {.uid = geteuid(), .gid = getegid()};
    struct fs_layout l;
    char path[FIXTURE_PATH];

    fixture_mkdir("base");
    fixture_mkdir("base/a");
    fixture_write("file", "x", 1);
    fixture_path(path, "base/up");
    ck_assert_int_eq(symlink("..", path), 0);
    fixture_path(path, "base/abs");
    ck_assert_int_eq(symlink("/etc", path), 0);
    fixture_path(path, "base");
    ck_assert_int_eq(fs_layout_open(path, FS_TMP_DIR, &l), 0);
    for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
        FS_PLACE place = FS_PLACE_NONE;

        ck_assert_msg(fs_place_find(&l, out[i], &place) < 0, "found %s", out[i]);
        ck_assert_msg(fs_place_make(&l, out[i], &owner, &place) < 0, "made %s", out[i]);
    }
    fs_layout_close(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fs_layout");
    TCase *tc = tcase_create("directory");

    suite_add(s, "pure",
              TESTS(tmp_dir_shape, own_names_are_no_keys, corrupt_names, record_round_trip,
                    record_refuses, disk_guard, space_accounts, space_of_growing_files,
                    space_a_store_may_take));
    tcase_add_checked_fixture(tc, fixture_create, fixture_remove);
    tcase_add_test(tc, refuses_to_open);
    tcase_add_test(tc, locks_out_the_second);
    tcase_add_test(tc, sweeps_temporaries);
    tcase_add_test(tc, long_keys);
    tcase_add_test(tc, stays_below);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
