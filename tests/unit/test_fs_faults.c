/* test_fs_faults.c - the fs adapter on file systems that are full, poor or taken, under writers
 * that do not hold still, and killed at any moment.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "checksum.h"
#include "clock.h"
#include "fs_fixture.h"
#include "rig.h"
#include "suite.h"

#define NOBODY 65534

static struct rig rig;

static void open_in(const char *dir, const char *options)
{
    char spec[512];

    snprintf(spec, sizeof(spec), "{\"type\": \"fs\", \"base_path\": \"%s/%s\"%s}", fixture_dir(),
             dir, options);
    rig_open(&rig, spec);
}

/* A second adapter, on the absolute path `dir`, while `rig` is open. */
static int try_open(const char *dir, struct adapter **out)
{
    char text[512];
    struct text why = {0};
    struct spec spec;
    json_t *json;
    int err;

    snprintf(text, sizeof(text), "{\"type\": \"fs\", \"base_path\": \"%s\"}", dir);
    json = json_loads(text, 0, NULL);
    ck_assert_int_eq(spec_parse(json, &spec, &why), 0);
    err = spec.ops->open(&rig.env, spec.config, out);
    spec_fini(&spec);
    json_decref(json);
    return err;
}

static bool status_bool(const char *name)
{
    json_t *status = rig.a->ops->status(rig.a);
    bool value;

    ck_assert_msg(json_is_boolean(json_object_get(status, name)), "no \"%s\" in the status", name);
    value = json_is_true(json_object_get(status, name));
    json_decref(status);
    return value;
}

static int load_error(const char *key)
{
    struct l2_object o;
    int err = rig_load(&rig, key, &o);

    if (!err)
        rig_object_drop(&rig, &o);
    return err;
}

START_TEST(every_way_of_io)
{
    static const char *const ways[] = {
        ", \"use_odirect\": true, \"io_uring\": true",
        ", \"use_odirect\": true, \"io_uring\": false",
        ", \"use_odirect\": false, \"io_uring\": true, \"read_ahead_size\": 4096",
        ", \"use_odirect\": false, \"io_uring\": false, \"fsync\": false",
        ", \"relative_tmp_dir\": \"tmp/deep\", \"io_concurrency\": 1",
    };
    struct l2_buf buf;

    open_in("", ways[_i]);
    for (size_t size = 1; size < (48 << 20); size = size * 7 + 13) {
        char key[32];

        snprintf(key, sizeof(key), "d/%zu", size);
        ck_assert_int_eq(rig_store(&rig, key, size, size), 0);
        rig_check(&rig, key, size, size);
        buf = rig_buf(&rig, size, size + 1);
        buf.stable = false;
        ck_assert_int_eq(rig_store_buf(&rig, key, &buf, NULL), 0);
        rig_buf_close(&buf);
        rig_check(&rig, key, size, size + 1);
    }
    if (_i < 2)
        ck_assert(status_bool("use_odirect"));
    ck_assert(status_bool("is_healthy"));
    rig_close(&rig);
}
END_TEST

START_TEST(no_checksum)
{
    open_in("", ", \"checksum\": \"none\"");
    ck_assert_int_eq(rig_store(&rig, "k", 10000, 1), 0);
    fixture_flip("k", 5000, true);
    ck_assert_int_eq(load_error("k"), 0);
    rig_close(&rig);
}
END_TEST

/* ramfs has neither O_DIRECT nor xattrs nor fallocate, and statvfs of zero blocks. */
START_TEST(poor_file_system)
{
    struct l2_buf buf;

    if (!fixture_mount("ram", "ramfs", ""))
        return;
    open_in("ram", ", \"disk_high_watermark\": 0.5");
    ck_assert(!status_bool("use_odirect"));
    ck_assert(!status_bool("xattrs"));
    buf = rig_buf(&rig, 5000001, 1);
    rig_xattr_add(&buf.xattrs, "user.model", "llama", 5);
    ck_assert_int_eq(rig_store_buf(&rig, "a/k", &buf, NULL), 0);
    rig_check(&rig, "a/k", 5000001, 1);
    ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "a/k", &buf.attr, &buf.xattrs, L2_ATTR_XATTRS), 0);
    ck_assert(status_bool("is_healthy"));
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

START_TEST(full_disk)
{
    if (!fixture_mount("small", "tmpfs", "size=8m"))
        return;
    open_in("small", "");
    ck_assert_int_eq(rig_store(&rig, "a/first", 3 << 20, 1), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(rig_store(&rig, "a/big", 6 << 20, 2), -ENOSPC);
        ck_assert_int_eq(rig_store(&rig, "a/first", 6 << 20, 2), -ENOSPC);
    }
    ck_assert_uint_eq(fixture_count("small/.l2fs/tmp"), 0);
    ck_assert(!fixture_exists("small/a/big"));
    rig_check(&rig, "a/first", 3 << 20, 1);
    ck_assert_int_eq(rig_store(&rig, "a/second", 3 << 20, 3), 0);
    ck_assert(status_bool("is_healthy"));
    rig_close(&rig);
}
END_TEST

START_TEST(full_by_option)
{
    struct l2_usage u = {0};

    fixture_write("before", "0123456789", 10);
    open_in("", ", \"max_capacity_gb\": 0.001"); /* 1073741 bytes, a 64th kept back */
    ck_assert_int_eq(rig_store(&rig, "a", 400000, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "b", 700000, 1), -ENOSPC);
    ck_assert_int_eq(rig_store(&rig, "a", 700000, 2), -ENOSPC); /* old and new side by side */
    rig_check(&rig, "a", 400000, 1);
    ck_assert_int_eq(rig_store(&rig, "a", 500000, 2), 0);
    ck_assert_int_eq(rig_store(&rig, "b", 480000, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "c", 80000, 1), -ENOSPC);
    rig.a->ops->usage(rig.a, &u);
    ck_assert_uint_ge(u.used, 10 + 500000 + 480000);
    ck_assert_uint_le(u.used, u.capacity);
    ck_assert_uint_eq(u.reserved, 0);
    ck_assert_uint_le(u.capacity, 1073741 - 1073741 / 64);
    ck_assert_uint_eq(u.fs_size, 1073741);
    ck_assert_uint_eq(u.fs_avail, u.capacity - u.used);
    ck_assert_int_eq(rig_remove(&rig, "b", NULL), 0);
    ck_assert_int_eq(rig_store(&rig, "c", 80000, 1), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(refused_directories)
{
    struct adapter *a = NULL;

    fixture_mkdir("mine");
    fixture_write("file", "x", 1);
    open_in("mine", "");
    ck_assert_int_eq(try_open("/missing", &a), -ENOENT);
    ck_assert_int_eq(try_open("/proc/version", &a), -ENOTDIR);
    ck_assert_int_lt(try_open("/proc/self", &a), 0);
    ck_assert_int_lt(try_open("/sys", &a), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(second_daemon)
{
    char path[FIXTURE_PATH];
    struct adapter *a;
    int wstatus;
    pid_t child;

    fixture_mkdir("mine");
    open_in("mine", "");
    fixture_path(path, "mine");
    ck_assert_int_eq(try_open(path, &a), -EBUSY);
    child = fork();
    if (child == 0)
        _exit(try_open(path, &a) == -EBUSY ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &wstatus, 0), child);
    ck_assert_int_eq(wstatus, 0);
    rig_close(&rig);
}
END_TEST

/* As an ordinary user: files of any mode can be stored, loaded, listed and changed by their owner.
 */
static void as_nobody(void)
{
    static const unsigned modes[] = {0644, 0444, 0200, 0};
    struct l2_attr attr = {.mode = 0400};
    struct l2_buf buf;

    open_in("theirs", "");
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        char key[16];

        snprintf(key, sizeof(key), "d/%zu", i);
        buf = rig_buf(&rig, 5000, i);
        buf.attr.mode = S_IFREG | modes[i];
        buf.attr.uid = 0; /* cannot be given away */
        rig_xattr_add(&buf.xattrs, "user.a", "1", 1);
        ck_assert_int_eq(rig_store_buf(&rig, key, &buf, NULL), 0);
        ck_assert_int_eq(rig_store_buf(&rig, key, &buf, NULL), 0);
        rig_check(&rig, key, 5000, i);
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, key, &attr, &(struct l2_xattrs){0},
                                              L2_ATTR_MODE | L2_ATTR_XATTRS | L2_ATTR_OWNER),
                         0);
        rig_check(&rig, key, 5000, i);
        rig_buf_close(&buf);
    }
    rig_close(&rig);
}

START_TEST(ordinary_user)
{
    struct adapter *a;
    char path[FIXTURE_PATH];
    int wstatus;
    pid_t child;

    if (geteuid())
        return;
    fixture_mkdir("theirs");
    fixture_mkdir("roots");
    fixture_path(path, "theirs");
    ck_assert_int_eq(chown(path, NOBODY, NOBODY), 0);
    fixture_path(path, "");
    ck_assert_int_eq(chmod(path, 0755), 0);
    child = fork();
    if (child == 0) {
        if (setgid(NOBODY) || setuid(NOBODY))
            _exit(2);
        rig_base_create();
        as_nobody();
        open_in("theirs", "");
        fixture_path(path, "roots");
        ck_assert_int_eq(try_open(path, &a), -EACCES);
        rig_close(&rig);
        rig_base_remove();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &wstatus, 0), child);
    ck_assert_int_eq(wstatus, 0);
}
END_TEST

struct scribbler {
    int fd;
    size_t size;
    _Atomic bool stop;
};

static void *scribble(void *arg)
{
    struct scribbler *s = arg;
    char *map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    volatile char *bytes = map;

    for (size_t i = 0; !s->stop; i = (i + 4093) % s->size)
        bytes[i]++;
    munmap(map, s->size);
    return NULL;
}

START_TEST(bytes_that_change_while_stored)
{
    struct l2_buf buf;
    struct scribbler s = {.size = 20000001};
    pthread_t thread;

    open_in("", "");
    buf = rig_buf(&rig, s.size, 1);
    buf.stable = false;
    s.fd = buf.fd;
    ck_assert_int_eq(pthread_create(&thread, NULL, scribble, &s), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
        ck_assert_int_eq(load_error("k"), 0);
    }
    s.stop = true;
    pthread_join(thread, NULL);
    ck_assert_int_eq(rig_status_int(&rig, "corrupt_objects"), 0);
    ck_assert_int_eq(ftruncate(buf.fd, 1000), 0); /* cut before its store */
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    ck_assert_int_eq(load_error("k"), 0);
    ck_assert_int_eq((int)fixture_stat("k").st_size, (int)s.size);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

#define MANY 64

START_TEST(many_at_once)
{
    char names[MANY][32];
    const char *keys[MANY];
    struct l2_buf bufs[MANY];
    struct l2_object objects[MANY];
    int errors[MANY];
    struct l2_store_result r;
    struct bitmap *loaded;

    open_in("", ", \"num_workers\": 16");
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "d%zu/e%zu/k%zu", i % 3, i % 7, i);
        keys[i] = names[i];
        bufs[i] = rig_buf(&rig, 70000 + i * 1000, i);
    }
    for (int round = 0; round < 3; round++) {
        rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, MANY), &r);
        for (size_t i = 0; i < MANY; i++)
            ck_assert_int_eq(r.errors[i], 0);
        l2_store_result_fini(&r);
        loaded = rig_wait_load(&rig, rig_submit_load(&rig, keys, MANY), objects, errors);
        ck_assert_uint_eq(bitmap_popcount(loaded), MANY);
        bitmap_destroy(loaded);
        for (size_t i = 0; i < MANY; i++) {
            rig_check_object(&rig, &objects[i], bufs[i].size, i + (size_t)round * 1000);
            rig_object_drop(&rig, &objects[i]);
            rig_buf_refill(&bufs[i], i + (size_t)(round + 1) * 1000);
        }
    }
    for (size_t i = 0; i < MANY; i++)
        rig_buf_close(&bufs[i]);
    rig_close(&rig);
}
END_TEST

/* Stores over and over until it is killed. done[k] is the latest completed store of key k, done[4]
 * the latest begun of all, over every round. */
static void store_for_ever(uint32_t *done)
{
    struct l2_buf buf;

    open_in("", "");
    for (;;) {
        char key[16];
        uint32_t n = ++done[4];
        uint32_t k = n % 4;

        snprintf(key, sizeof(key), "d%u/k", k);
        buf = rig_buf(&rig, 300000 + k, n);
        buf.attr.mtime.tv_nsec = (long)n * 1000;
        if (rig_store_buf(&rig, key, &buf, NULL))
            _exit(1);
        __atomic_store_n(&done[k], n, __ATOMIC_SEQ_CST);
        rig_buf_close(&buf);
    }
}

/* The key holds, whole, what was last stored in it or something later. */
static void check_survivor(const char *key, uint32_t done)
{
    struct l2_object o;
    int err = rig_load(&rig, key, &o);
    uint64_t n;

    if (!done && err == -ENOENT)
        return;
    ck_assert_msg(!err, "%s: %s", key, strerror(-err));
    n = (uint64_t)o.attr.mtime.tv_nsec / 1000;
    ck_assert_uint_ge(n, done);
    rig_check_object(&rig, &o, o.size, n);
    rig_object_drop(&rig, &o);
}

START_TEST(killed_at_any_moment)
{
    uint32_t *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned seed = 1;

    for (int round = 0; round < 15; round++) {
        struct timespec moment = {.tv_nsec = 20000000 + rand_r(&seed) % 60000000};
        pid_t child = fork();

        if (child == 0)
            store_for_ever(done);
        nanosleep(&moment, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        open_in("", "");
        ck_assert_uint_eq(fixture_count(".l2fs/tmp"), 0);
        for (uint32_t k = 0; k < 4; k++) {
            char key[16];

            snprintf(key, sizeof(key), "d%u/k", k);
            check_survivor(key, done[k]);
        }
        ck_assert_int_eq(rig_status_int(&rig, "corrupt_objects"), 0);
        rig_close(&rig);
    }
}
END_TEST

START_TEST(more_xattrs_than_fit)
{
    struct l2_buf buf;
    static char big[60000];

    open_in("", "");
    buf = rig_buf(&rig, 10, 1);
    rig_xattr_add(&buf.xattrs, "user.big", big, sizeof(big));
    rig_xattr_add(&buf.xattrs, "user.small", "x", 1);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    rig_check(&rig, "k", 10, 1);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fs_faults");
    TCase *tc = tcase_create("faults");
    int rc;

    tcase_add_checked_fixture(tc, fixture_create, fixture_remove);
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, every_way_of_io, 0, 5);
    tcase_add_test(tc, no_checksum);
    tcase_add_test(tc, poor_file_system);
    tcase_add_test(tc, full_disk);
    tcase_add_test(tc, full_by_option);
    tcase_add_test(tc, refused_directories);
    tcase_add_test(tc, second_daemon);
    tcase_add_test(tc, ordinary_user);
    tcase_add_test(tc, bytes_that_change_while_stored);
    tcase_add_test(tc, many_at_once);
    tcase_add_test(tc, killed_at_any_moment);
    tcase_add_test(tc, more_xattrs_than_fit);
    suite_add_tcase(s, tc);
    rig_base_create();
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
