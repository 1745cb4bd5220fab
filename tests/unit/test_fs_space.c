/* test_fs_space.c - the fs adapter's hard limit on a disk of its own, seen from outside.
 *
 * The disk is an ext4 in a file, or a tmpfs; what it gives is read by statvfs, which no rename or
 * removal between two looks can distort as it does du. Without root there is neither: skipped.
 */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "fs_fixture.h"
#include "rig.h"
#include "suite.h"

#define MAX_GB "0.0078125"
#define MAX_BYTES (8 * MIB)
#define KEYS 40
#define BATCH 48
#define ROUNDS 12

static struct rig rig;
static uint64_t before; /* bytes in use on the empty disk */

static bool run(const char *format, const char *dir)
{
    struct text command = {0};
    int rc;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    text_printf(&command, format, dir);
#pragma GCC diagnostic pop
    rc = system(command.data);
    text_fini(&command);
    return rc == 0;
}

static bool make_disk(void)
{
    char at[FIXTURE_PATH];

    fixture_mkdir("disk");
    if (geteuid() == 0 && run("cd '%s' && truncate -s 96M image && mkfs.ext4 -q -b 4096 image && "
                              "mount -o loop image disk",
                              fixture_dir()))
        return true;
    fixture_path(at, "disk");
    rmdir(at);
    return fixture_mount("disk", "tmpfs", "size=64m");
}

static void drop_disk(void)
{
    ck_assert(run("umount '%s/disk'", fixture_dir()));
}

static uint64_t disk_used(void)
{
    char at[FIXTURE_PATH];
    struct statvfs v;

    fixture_path(at, "disk");
    ck_assert_int_eq(statvfs(at, &v), 0);
    return (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
}

static bool is_counting(void)
{
    json_t *status = rig.a->ops->status(rig.a);
    bool counting = json_is_true(json_object_get(status, "counting"));

    json_decref(status);
    return counting;
}

static void wait_counted(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    while (is_counting())
        nanosleep(&moment, NULL);
}

static void open_fs(const char *extra)
{
    struct text spec = {0};

    text_printf(&spec, "{\"type\": \"fs\", \"base_path\": \"%s/disk\"%s}", fixture_dir(), extra);
    rig_open(&rig, spec.data);
    wait_counted();
    text_fini(&spec);
}

static struct l2_usage usage(void)
{
    struct l2_usage u = {0};

    rig.a->ops->usage(rig.a, &u);
    return u;
}

/* --- what du would say --- */

static uint64_t du_files;
static size_t du_count;

static int du_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type == FTW_F && !strstr(path, "/.l2fs/")) {
        du_files += (uint64_t)st->st_blocks * 512;
        du_count++;
    }
    return 0;
}

static void check_account(void)
{
    char at[FIXTURE_PATH];
    struct l2_usage u = usage();

    fixture_path(at, "disk");
    du_files = du_count = 0;
    ck_assert_int_eq(nftw(at, du_visit, 16, FTW_PHYS), 0);
    ck_assert_uint_eq(u.used, du_files);
    ck_assert_uint_eq(u.objects, du_count);
    ck_assert_uint_eq(u.reserved, 0);
}

static void reopen(void)
{
    rig_reopen(&rig);
    wait_counted();
}

/* --- a burst --- */

struct watch {
    _Atomic bool stop;
    uint64_t most; /* bytes on the disk since the start */
    uint64_t most_used;
    size_t looks;
};

static void *watch_main(void *arg)
{
    struct watch *w = arg;

    while (!atomic_load(&w->stop)) {
        struct l2_usage u = usage();
        uint64_t now = disk_used();

        w->most = MAX(w->most, now - MIN(now, before));
        w->most_used = MAX(w->most_used, u.used + u.reserved);
        w->looks++;
    }
    return NULL;
}

static const char *key_name(int i)
{
    static char name[64];

    snprintf(name, sizeof(name), "d%d/e%d/k%d", i % 7, i % 3, i);
    return name;
}

/* One task per key, all at once; a refused key keeps what it held. */
static size_t burst(unsigned *seed)
{
    static char value[3000];
    struct l2_xattrs xattrs = {0};
    struct l2_buf bufs[BATCH];
    size_t n = 0, refused = 0;

    rig_xattr_add(&xattrs, "user.engine", value, sizeof(value));
    for (int i = 0; i < KEYS; i++) {
        const char *name = key_name(i);
        uint64_t size = 1 + (uint64_t)rand_r(seed) % (600 * 1024);

        if (n == BATCH || rand_r(seed) % 4 == 0)
            continue;
        bufs[n] = rig_buf(&rig, size, (uint64_t)(*seed));
        if (rand_r(seed) % 2)
            bufs[n].xattrs = xattrs;
        rig_submit_store(&rig, &name, &bufs[n++], 1);
    }
    for (size_t i = 0; i < n;) {
        struct l2_store_result r;

        rig_signalled(&rig, L2_STORE, RIG_WAIT_MS);
        while (rig.a->ops->pop_stored(rig.a, &r) > 0) {
            ck_assert_msg(!r.errors[0] || r.errors[0] == -ENOSPC, "%s", strerror(-r.errors[0]));
            refused += r.errors[0] != 0;
            l2_store_result_fini(&r);
            i++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        bufs[i].xattrs = (struct l2_xattrs){0};
        rig_buf_close(&bufs[i]);
    }
    free(xattrs.data);
    return refused;
}

START_TEST(a_burst_stays_below_the_maximum)
{
    struct watch w = {0};
    unsigned seed = 1;
    size_t refused = 0;
    pthread_t thread;

    if (!make_disk())
        return;
    before = disk_used();
    open_fs(", \"max_capacity_gb\": " MAX_GB ", \"num_workers\": 16");
    ck_assert_int_eq(pthread_create(&thread, NULL, watch_main, &w), 0);
    for (int round = 0; round < ROUNDS; round++) {
        refused += burst(&seed);
        for (int i = 0; i < KEYS; i++)
            if (rand_r(&seed) % 3 == 0)
                ck_assert_int_eq(rig_remove(&rig, key_name(i), NULL), 0);
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_gt(w.looks, 100);
    ck_assert_msg(w.most <= MAX_BYTES, "%llu of %llu bytes on the disk in %zu looks",
                  (unsigned long long)w.most, (unsigned long long)MAX_BYTES, w.looks);
    ck_assert_uint_gt(w.most, MAX_BYTES / 2);
    ck_assert_uint_le(w.most_used, MAX_BYTES);
    check_account();
    reopen();
    check_account();
    rig_close(&rig);
    drop_disk();
}
END_TEST

/* --- directories, attributes, what is set aside: all take room --- */

START_TEST(names_take_room_too)
{
    const struct l2_attr attr = {.mode = S_IFDIR | 0755};
    char dir[64], value[3000] = "";
    struct l2_xattrs xattrs = {0};
    int err = 0, made = 0;

    if (!make_disk())
        return;
    before = disk_used();
    open_fs(", \"max_capacity_gb\": 0.0009765625"); /* 1 MiB */
    ck_assert_int_eq(rig_store(&rig, "k", 500000, 1), 0);
    for (; !err && made < 1000; made++) {
        snprintf(dir, sizeof(dir), "dir%d/", made);
        err = rig.a->ops->make_dir(rig.a, dir, &attr);
        ck_assert_uint_le(disk_used() - before, MIB);
    }
    if (disk_used() - before > 900 * 1024) { /* directories take something here */
        ck_assert_int_eq(err, -ENOSPC);
        ck_assert_int_lt(made, 200);
        ck_assert_int_eq(rig_store(&rig, "new/dir/k", 1, 1), -ENOSPC);
        rig_xattr_add(&xattrs, "user.engine", value, sizeof(value));
        for (int i = 0; i < 8; i++)
            err = rig.a->ops->set_attr(rig.a, "k", NULL, &xattrs, L2_ATTR_XATTRS);
        ck_assert(err == 0 || err == -ENOSPC);
        ck_assert_uint_le(disk_used() - before, MIB);
        ck_assert_int_eq(rig.a->ops->rename(rig.a, "k", "dir0/k"), 0); /* needs nothing new */
        for (int i = 1; i < 9; i++) {
            snprintf(dir, sizeof(dir), "dir%d/", i);
            ck_assert_int_eq(rig_remove(&rig, dir, NULL), 0);
        }
        ck_assert_int_eq(rig.a->ops->make_dir(rig.a, "again/", &attr), 0);
        free(xattrs.data);
    }
    check_account();
    rig_close(&rig);
    drop_disk();
}
END_TEST

START_TEST(attributes_are_accounted_for)
{
    struct l2_xattrs xattrs = {0}, none = {0};
    char value[3000] = "";

    if (!make_disk())
        return;
    open_fs("");
    rig_xattr_add(&xattrs, "user.engine", value, sizeof(value));
    ck_assert_int_eq(rig_store(&rig, "k", 100, 1), 0);
    check_account();
    ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", NULL, &xattrs, L2_ATTR_XATTRS), 0);
    check_account();
    ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", NULL, &none, L2_ATTR_XATTRS), 0);
    check_account();
    free(xattrs.data);
    rig_close(&rig);
    drop_disk();
}
END_TEST

START_TEST(set_aside_is_not_free)
{
    struct l2_object o;
    uint64_t capacity;

    if (!make_disk())
        return;
    open_fs(", \"max_capacity_gb\": " MAX_GB);
    ck_assert_int_eq(rig_store(&rig, "k", 1 << 20, 1), 0);
    capacity = usage().capacity;
    fixture_flip("disk/k", 5000, true);
    ck_assert_int_eq(rig_load(&rig, "k", &o), -EBADMSG);
    check_account();
    ck_assert_uint_eq(usage().used, 0);
    ck_assert_uint_le(usage().capacity, capacity - (1 << 20));
    capacity = usage().capacity;
    reopen();
    ck_assert_uint_eq(usage().capacity, capacity);
    rig_close(&rig);
    drop_disk();
}
END_TEST

static bool see(void *arg, const struct l2_entry *e)
{
    (void)arg, (void)e;
    return true;
}

START_TEST(a_listing_counts_what_was_not_counted)
{
    if (!make_disk())
        return;
    open_fs(", \"max_capacity_gb\": " MAX_GB);
    ck_assert_int_eq(rig_store(&rig, "d/k", 6 << 20, 1), 0);
    rig_close(&rig);
    open_fs(", \"recover_on_start\": false, \"max_capacity_gb\": " MAX_GB);
    ck_assert_uint_eq(usage().used, 0);
    ck_assert_int_eq(rig.a->ops->list(rig.a, see, NULL), 0);
    check_account();
    ck_assert_int_eq(rig_store(&rig, "l", 3 << 20, 1), -ENOSPC);
    ck_assert_int_eq(rig.a->ops->list(rig.a, see, NULL), 0);
    check_account();
    rig_close(&rig);
    drop_disk();
}
END_TEST

/* --- files that their user changes in place --- */

START_TEST(growing_files_are_looked_at)
{
    const struct l2_attr attr = {.mode = S_IFREG | 0644};
    const struct timespec second = {.tv_sec = 1, .tv_nsec = 10000000};
    int fd;

    if (!make_disk())
        return;
    open_fs(", \"max_capacity_gb\": " MAX_GB);
    ck_assert_int_eq(rig.a->ops->open_file(rig.a, "s/slot", O_RDWR | O_CREAT, &attr, &fd), 0);
    ck_assert_int_eq(posix_fallocate(fd, 0, 7 << 20), 0);
    nanosleep(&second, NULL); /* what is seen is at most a second old */
    check_account();
    ck_assert_int_eq(rig_store(&rig, "k", 2 << 20, 1), -ENOSPC);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "s/slot", "s/other"), 0);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    nanosleep(&second, NULL);
    check_account();
    ck_assert_int_eq(rig_store(&rig, "k", 2 << 20, 1), 0);
    close(fd);
    ck_assert_int_eq(rig.a->ops->open_file(rig.a, "k", O_RDWR | O_TRUNC, &attr, &fd), 0);
    close(fd);
    check_account();
    rig_close(&rig);
    drop_disk();
}
END_TEST

START_TEST(no_new_file_when_full)
{
    const struct l2_attr attr = {.mode = S_IFREG | 0644};
    const struct adapter_ops *ops;
    int fd;

    if (!make_disk())
        return;
    open_fs(", \"max_capacity_gb\": 0.0009765625");
    ops = rig.a->ops;
    ck_assert_int_eq(ops->open_file(rig.a, "slot", O_RDWR | O_CREAT, &attr, &fd), 0);
    ck_assert_int_eq(posix_fallocate(fd, 0, 1 << 20), 0);
    close(fd);
    ck_assert_int_eq(ops->open_file(rig.a, "slot", O_RDWR | O_CREAT, &attr, &fd), 0);
    close(fd);
    ck_assert_int_eq(ops->open_file(rig.a, "slot2", O_RDWR | O_CREAT, &attr, &fd), -ENOSPC);
    ck_assert_int_eq(ops->open_file(rig.a, "", O_RDWR | O_TMPFILE, &attr, &fd), -ENOSPC);
    rig_close(&rig);
    drop_disk();
}
END_TEST

/* --- the guard of the disk --- */

START_TEST(the_guard_works_alone)
{
    struct l2_usage u;

    if (!make_disk())
        return;
    open_fs(", \"disk_high_watermark\": 0.000001");
    ck_assert_int_eq(rig_store(&rig, "k", 100000, 1), -ENOSPC);
    u = usage();
    ck_assert_uint_gt(u.capacity, 0);
    ck_assert_uint_le(u.capacity, 65536);
    rig_close(&rig);
    open_fs(", \"disk_high_watermark\": 0.9");
    ck_assert_int_eq(rig_store(&rig, "k", 100000, 1), 0);
    u = usage();
    ck_assert_uint_gt(u.capacity, u.used);
    ck_assert_uint_lt(u.capacity, 96 * MIB);
    rig_close(&rig);
    open_fs(", \"disk_min_free_gb\": 1");
    ck_assert_int_eq(rig_store(&rig, "l", 100000, 1), -ENOSPC);
    ck_assert_uint_gt(usage().capacity, 0); /* below what is there: others must make room */
    ck_assert_uint_le(usage().capacity, usage().used);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "k", "new/k"), 0); /* not stopped by the guard */
    rig_close(&rig);
    drop_disk();
}
END_TEST

START_TEST(the_guard_works_with_a_maximum)
{
    if (!make_disk())
        return;
    open_fs(", \"max_capacity_gb\": " MAX_GB ", \"disk_min_free_gb\": 0.01");
    ck_assert_uint_le(usage().capacity, MAX_BYTES);
    ck_assert_uint_ge(usage().capacity, MAX_BYTES / 2);
    ck_assert_int_eq(rig_store(&rig, "k", 1 << 20, 1), 0);
    rig_close(&rig);
    open_fs(", \"max_capacity_gb\": " MAX_GB ", \"disk_min_free_gb\": 1");
    ck_assert_uint_le(usage().capacity, 1 << 21);
    ck_assert_int_eq(rig_store(&rig, "l", 1 << 20, 1), -ENOSPC);
    rig_close(&rig);
    drop_disk();
}
END_TEST

/* --- configuration --- */

static void refuse(const char *option, const char *value)
{
    struct text spec = {0}, why = {0};
    struct spec s;
    json_t *json;

    text_printf(&spec, "{\"type\": \"fs\", \"base_path\": \"/x\", \"%s\": %s}", option, value);
    json = json_loads(spec.data, 0, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(spec_parse(json, &s, &why), -EINVAL);
    ck_assert_msg(strstr(why.data, option) != NULL, "%s: %s", spec.data, why.data);
    json_decref(json);
    text_fini(&spec);
    text_fini(&why);
}

START_TEST(capacities_must_be_sizes)
{
    static const char *const options[] = {"max_capacity_gb", "disk_min_free_gb",
                                          "disk_high_watermark"};

    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        refuse(options[i], "-1");
        refuse(options[i], "true");
        refuse(options[i], "\"much\"");
        refuse(options[i], "[1]");
    }
    refuse("disk_high_watermark", "1.5");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_burst_stays_below_the_maximum, names_take_room_too,
        attributes_are_accounted_for,    set_aside_is_not_free,
        growing_files_are_looked_at,     no_new_file_when_full,
        the_guard_works_alone,           the_guard_works_with_a_maximum,
        capacities_must_be_sizes,        a_listing_counts_what_was_not_counted,
    };
    Suite *s = suite_create("fs_space");
    TCase *tc = tcase_create("space");
    char own[] = "/var/tmp/l2fs-space.XXXXXX";
    int rc;

    if (!mkdtemp(own) || setenv("TMPDIR", own, 1))
        return EXIT_FAILURE;

    tcase_add_checked_fixture(tc, fixture_create, fixture_remove);
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    rig_base_create();
    rc = suite_run(s);
    rig_base_remove();
    /* A test that failed leaves its mount. */
    run("for m in %s/*/disk; do mountpoint -q \"$m\" && umount -l \"$m\"; done 2>/dev/null", own);
    run("rm -rf '%s'", own);
    return rc;
}
