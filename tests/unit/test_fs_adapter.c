/* test_fs_adapter.c - the fs adapter on a real directory: what is on the disk after each operation,
 * and what happens to files that were damaged, cut or left there by others. Faults of the file
 * system are in test_fs_faults.c.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "checksum.h"
#include "fs_fixture.h"
#include "rig.h"
#include "suite.h"

#define KEY "Llama-3-8B/ab/cd@0x01000000@0@deadbeef.data"

static struct rig rig;

static void set_up(void)
{
    char spec[512];

    fixture_create();
    snprintf(spec, sizeof(spec), "{\"type\": \"fs\", \"base_path\": \"%s\"}", fixture_dir());
    rig_open(&rig, spec);
}

static void tear_down(void)
{
    rig_close(&rig);
    fixture_remove();
}

static int load_error(const char *key)
{
    struct l2_object o;
    int err = rig_load(&rig, key, &o);

    if (!err)
        rig_object_drop(&rig, &o);
    return err;
}

static void check_file(const char *name, size_t size, uint64_t seed)
{
    AUTO_FREE char *want = malloc(size + 1);
    AUTO_FREE char *got = malloc(size + 1);
    char path[FIXTURE_PATH];
    AUTO_CLOSE int fd = -1;

    fixture_path(path, name);
    fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fixture_stat(name).st_size, (off_t)size);
    rig_fill(want, size, seed);
    ck_assert_int_eq(pread(fd, got, size, 0), (ssize_t)size);
    ck_assert(!memcmp(want, got, size));
}

START_TEST(plain_file_at_the_same_path)
{
    static const size_t sizes[] = {
        0, 1, 4095, 4096, 4097, 1124352, (1 << 20), (1 << 20) + 1, (16 << 20) + 513, 40 << 20};
    size_t size = sizes[_i];

    ck_assert_int_eq(rig_store(&rig, KEY, size, 7), 0);
    check_file(KEY, size, 7);
    rig_check(&rig, KEY, size, 7);
    ck_assert_uint_eq(fixture_count(".l2fs/tmp"), 0);
}
END_TEST

START_TEST(keeps_attributes)
{
    struct l2_buf buf = rig_buf(&rig, 5000, 1);
    struct l2_object o;
    struct stat st;
    char path[FIXTURE_PATH], value[64];
    size_t len;

    rig_xattr_add(&buf.xattrs, "user.model", "llama", 5);
    rig_xattr_add(&buf.xattrs, "user.empty", "", 0);
    rig_xattr_add(&buf.xattrs, "user.l2fs.pin", "hard", 4);
    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, NULL), 0);
    st = fixture_stat(KEY);
    ck_assert_uint_eq(st.st_mode, S_IFREG | 0640);
    ck_assert_int_eq(st.st_mtim.tv_sec, 1600000000);
    ck_assert_int_eq(st.st_mtim.tv_nsec, 123456000);
    ck_assert_int_eq(st.st_atim.tv_sec, 1700000000);
    fixture_path(path, KEY);
    ck_assert_int_eq(getxattr(path, "user.l2fs.crc32c", value, sizeof(value)), 13);
    ck_assert_int_lt(getxattr(path, "user.l2fs.pin", value, sizeof(value)), 0);

    ck_assert_int_eq(rig_load(&rig, KEY, &o), 0);
    ck_assert_uint_eq(o.attr.mode, S_IFREG | 0640);
    ck_assert_int_eq(o.attr.mtime.tv_nsec, 123456000);
    ck_assert(rig_xattr_get(&o.xattrs, "user.model", &len) && len == 5);
    ck_assert(rig_xattr_get(&o.xattrs, "user.empty", &len) && len == 0);
    ck_assert(!rig_xattr_get(&o.xattrs, "user.l2fs.crc32c", &len));
    rig_object_drop(&rig, &o);
    rig_buf_close(&buf);
}
END_TEST

static time_t atime_after_load(const struct timespec *before)
{
    const struct timespec times[2] = {*before, {.tv_sec = 1600000000}};
    char path[FIXTURE_PATH];

    fixture_path(path, "k");
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    rig_check(&rig, "k", 1000, 1);
    ck_assert_int_eq(fixture_stat("k").st_mtim.tv_sec, 1600000000);
    return fixture_stat("k").st_atim.tv_sec;
}

START_TEST(loads_move_the_time_of_access_once_an_hour)
{
    struct timespec now, minutes_ago, days_ago = {.tv_sec = 1600000000};

    clock_gettime(CLOCK_REALTIME, &now);
    minutes_ago = (struct timespec){.tv_sec = now.tv_sec - 1200};
    ck_assert_int_eq(rig_store(&rig, "k", 1000, 1), 0);
    ck_assert_int_eq(atime_after_load(&minutes_ago), minutes_ago.tv_sec);
    ck_assert_int_ge(atime_after_load(&days_ago), now.tv_sec);
    ck_assert(rig_has(&rig, "k")); /* a lookup is no use yet */
}
END_TEST

START_TEST(same_bytes_are_not_written_again)
{
    struct l2_buf buf = rig_buf(&rig, 100000, 1);
    struct stat before, after;
    uint64_t bytes;

    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, 100000);
    before = fixture_stat(KEY);
    buf.attr.mode = S_IFREG | 0600;
    rig_xattr_add(&buf.xattrs, "user.new", "x", 1);
    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, 0);
    after = fixture_stat(KEY);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    ck_assert_uint_eq(after.st_mode & 07777, 0600);
    rig_buf_refill(&buf, 2);
    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, 100000);
    ck_assert_uint_ne(before.st_ino, fixture_stat(KEY).st_ino);
    rig_check(&rig, KEY, 100000, 2);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(replacing_leaves_readers_their_bytes)
{
    char path[FIXTURE_PATH], old[4096], now[4096];
    int fd;

    ck_assert_int_eq(rig_store(&rig, KEY, 4096, 1), 0);
    fixture_path(path, KEY);
    fd = open(path, O_RDONLY);
    ck_assert_int_eq(rig_store(&rig, KEY, 4096, 2), 0);
    rig_fill(old, sizeof(old), 1);
    ck_assert_int_eq(pread(fd, now, sizeof(now), 0), 4096);
    ck_assert(!memcmp(old, now, sizeof(old)));
    close(fd);
    rig_check(&rig, KEY, 4096, 2);
}
END_TEST

/* The file is in .l2fs/corrupt with its bytes, the key is gone, and stays gone. */
static void expect_moved_aside(const char *key)
{
    off_t size = fixture_stat(key).st_size;
    char command[600];

    ck_assert_int_eq(load_error(key), -EBADMSG);
    ck_assert(!fixture_exists(key));
    ck_assert_int_eq(load_error(key), -ENOENT);
    ck_assert(!rig_has(&rig, key));
    ck_assert_uint_eq(fixture_count(".l2fs/corrupt"), 1);
    ck_assert_int_eq(rig_status_int(&rig, "corrupt_objects"), 1);
    snprintf(command, sizeof(command), "test $(stat -c %%s %s/.l2fs/corrupt/*) = %jd",
             fixture_dir(), (intmax_t)size);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(rig_store(&rig, key, 2000000, 3), 0);
    rig_check(&rig, key, 2000000, 3);
}

START_TEST(flipped_bit)
{
    static const uint64_t at[] = {0, 4095, 1000000, 1999999};

    ck_assert_int_eq(rig_store(&rig, KEY, 2000000, 1), 0);
    fixture_flip(KEY, at[_i % 4], _i >= 4);
    expect_moved_aside(KEY);
}
END_TEST

START_TEST(wrong_size)
{
    char path[FIXTURE_PATH];

    ck_assert_int_eq(rig_store(&rig, KEY, 2000000, 1), 0);
    fixture_path(path, KEY);
    ck_assert_int_eq(truncate(path, _i ? 2000001 : 1999999), 0);
    expect_moved_aside(KEY);
}
END_TEST

START_TEST(unreadable_record)
{
    char path[FIXTURE_PATH];

    ck_assert_int_eq(rig_store(&rig, KEY, 10, 1), 0);
    fixture_path(path, KEY);
    ck_assert_int_eq(setxattr(path, "user.l2fs.crc32c", "x", 1, 0), 0);
    expect_moved_aside(KEY);
}
END_TEST

START_TEST(files_of_others)
{
    struct l2_object o;
    char path[FIXTURE_PATH];

    fixture_mkdir("engine");
    fixture_write("engine/k.bin", "123456789", 9);
    fixture_path(path, "engine/k.bin");
    ck_assert(rig_has(&rig, "engine/k.bin"));
    ck_assert_int_eq(rig_load(&rig, "engine/k.bin", &o), 0);
    ck_assert_uint_eq(o.size, 9);
    ck_assert_uint_eq(o.crc32c, 0xe3069283);
    rig_object_drop(&rig, &o);
    ck_assert_int_lt(getxattr(path, "user.l2fs.crc32c", NULL, 0), 0);
    ck_assert_int_eq(rig_status_int(&rig, "unverified_objects"), 1);
    ck_assert_int_eq(rig_store(&rig, "engine/k.bin", 9, 1), 0);
    ck_assert_int_eq(getxattr(path, "user.l2fs.crc32c", NULL, 0), 10);
}
END_TEST

START_TEST(links_and_specials_are_nothing)
{
    char path[FIXTURE_PATH], target[FIXTURE_PATH];

    fixture_mkdir("real");
    fixture_write("real/file", "x", 1);
    fixture_path(path, "link");
    ck_assert_int_eq(symlink("real/file", path), 0);
    fixture_path(path, "dirlink");
    fixture_path(target, "real");
    ck_assert_int_eq(symlink(target, path), 0);
    fixture_path(path, "fifo");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert(!rig_has(&rig, "link"));
    ck_assert(!rig_has(&rig, "fifo"));
    ck_assert(!rig_has(&rig, "dirlink/file"));
    ck_assert(!rig_has(&rig, "real"));
    ck_assert_int_eq(load_error("link"), -ENOENT);
    ck_assert_int_eq(load_error("fifo"), -ENOENT);
    ck_assert_int_eq(load_error("real"), -ENOENT);
    ck_assert_int_eq(load_error("dirlink/file"), -ENOENT);
    ck_assert_int_eq(rig_store(&rig, "dirlink/new", 10, 1), -ENOTDIR);
    ck_assert_int_eq(rig_store(&rig, ".l2fs/tmp/x", 10, 1), -EINVAL);
    ck_assert_int_eq(load_error(".l2fs/format"), -EINVAL);
    ck_assert_int_eq(rig_remove(&rig, "link", NULL), 0);
    ck_assert(fixture_exists("link"));
}
END_TEST

/* Data at 1 MiB and 9 MiB of 16 MiB + 5, from a staging file with the same holes. */
static struct l2_buf sparse_buf(void)
{
    struct l2_buf buf = rig_buf(&rig, 0, 0);
    AUTO_FREE char *all = calloc(1, (16 << 20) + 5);

    buf.size = (16 << 20) + 5;
    rig_fill(all + (1 << 20), 100000, 1);
    rig_fill(all + (9 << 20), 8192, 2);
    ck_assert_int_eq(ftruncate(buf.fd, (off_t)buf.size), 0);
    ck_assert_int_eq(pwrite(buf.fd, all + (1 << 20), 100000, 1 << 20), 100000);
    ck_assert_int_eq(pwrite(buf.fd, all + (9 << 20), 8192, 9 << 20), 8192);
    buf.crc32c = checksum(0, all, buf.size);
    return buf;
}

START_TEST(holes_stay_holes)
{
    struct l2_buf buf = sparse_buf();
    struct l2_object o;
    struct stat st;
    uint32_t crc;
    int fd;

    buf.stable = _i == 0;
    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, NULL), 0);
    ck_assert_int_eq(fixture_stat(KEY).st_size, (off_t)buf.size);
    ck_assert_int_lt(fixture_stat(KEY).st_blocks * 512, 1 << 20);
    ck_assert_int_eq(rig_load(&rig, KEY, &o), 0);
    ck_assert_uint_eq(o.crc32c, buf.crc32c);
    ck_assert_int_eq(staging_stat(rig.staging, o.staging_id, &st), 0);
    ck_assert_int_eq(st.st_size, (off_t)buf.size);
    ck_assert_int_lt(st.st_blocks * 512, 1 << 20);
    ck_assert_int_eq(staging_get(rig.staging, o.staging_id, O_RDONLY, &fd), 0);
    ck_assert_int_eq(checksum_file(fd, buf.size, &crc), 0);
    ck_assert_uint_eq(crc, buf.crc32c);
    close(fd);
    rig_object_drop(&rig, &o);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(all_hole)
{
    struct l2_buf buf = rig_buf(&rig, 0, 0);
    AUTO_FREE char *zeros = calloc(1, 3000000);

    buf.size = 3000000;
    buf.crc32c = checksum(0, zeros, buf.size);
    ck_assert_int_eq(ftruncate(buf.fd, (off_t)buf.size), 0);
    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, NULL), 0);
    ck_assert_int_eq(fixture_stat(KEY).st_size, (off_t)buf.size);
    ck_assert_int_eq(load_error(KEY), 0);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(tail_of_the_last_page_is_clean)
{
    struct l2_object o;
    char bytes[96] = "";
    int fd;

    ck_assert_int_eq(rig_store(&rig, KEY, 4000, 1), 0);
    ck_assert_int_eq(rig_load(&rig, KEY, &o), 0);
    ck_assert_int_eq(staging_get(rig.staging, o.staging_id, O_RDWR, &fd), 0);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 4000), 96);
    for (size_t i = 0; i < sizeof(bytes); i++)
        ck_assert_int_eq(bytes[i], 0);
    close(fd);
    rig_object_drop(&rig, &o);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fs_adapter");
    TCase *tc = tcase_create("adapter");
    int rc;

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, plain_file_at_the_same_path, 0, 10);
    tcase_add_test(tc, keeps_attributes);
    tcase_add_test(tc, same_bytes_are_not_written_again);
    tcase_add_test(tc, loads_move_the_time_of_access_once_an_hour);
    tcase_add_test(tc, replacing_leaves_readers_their_bytes);
    tcase_add_loop_test(tc, flipped_bit, 0, 8);
    tcase_add_loop_test(tc, wrong_size, 0, 2);
    tcase_add_test(tc, unreadable_record);
    tcase_add_test(tc, files_of_others);
    tcase_add_test(tc, links_and_specials_are_nothing);
    tcase_add_loop_test(tc, holes_stay_holes, 0, 2);
    tcase_add_test(tc, all_hole);
    tcase_add_test(tc, tail_of_the_last_page_is_clean);
    suite_add_tcase(s, tc);
    rig_base_create();
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
