/* test_fs_names.c - the fs adapter's listing, accounts, locks, directories, attributes and disk files. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/xattr.h>

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

struct seen {
    size_t files, dirs, listed, with_crc, in_order;
    uint64_t bytes;
    char last_dir[64];
    bool xattr;
};

static bool see(void *arg, const struct l2_entry *e)
{
    struct seen *s = arg;
    size_t len = strlen(e->key), n;
    const char *slash = len ? memrchr(e->key, '/', len - 1) : NULL;

    ck_assert(strncmp(e->key, ".l2fs", 5) != 0);
    if (e->listed) {
        s->listed++;
        return true;
    }
    if (e->key[len - 1] == '/') {
        ck_assert(S_ISDIR(e->attr.mode));
        s->dirs++;
        snprintf(s->last_dir, sizeof(s->last_dir), "%.60s", e->key);
        return true;
    }
    ck_assert(S_ISREG(e->attr.mode));
    if (slash)
        ck_assert_uint_gt(s->dirs, 0);
    s->files++;
    s->bytes += e->size;
    s->with_crc += e->has_crc;
    s->xattr |= e->xattrs.len && rig_xattr_get(&e->xattrs, "user.model", &n) != NULL;
    return true;
}

START_TEST(lists_everything)
{
    struct l2_buf buf = rig_buf(&rig, 1000, 1);
    struct seen seen = {0};
    char path[FIXTURE_PATH];

    rig_xattr_add(&buf.xattrs, "user.model", "llama", 5);
    ck_assert_int_eq(rig_store_buf(&rig, "a/b/c/d", &buf, NULL), 0);
    ck_assert_int_eq(rig_store(&rig, "top", 10, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "a/damaged", 10, 1), 0);
    fixture_path(path, "a/damaged");
    ck_assert_int_eq(truncate(path, 9), 0);
    fixture_mkdir("empty");
    fixture_write("a/foreign", "12345", 5);
    fixture_path(path, "a/link");
    ck_assert_int_eq(symlink("foreign", path), 0);
    ck_assert_int_eq(rig.a->ops->list(rig.a, see, &seen), 0);
    ck_assert_uint_eq(seen.files, 4);
    ck_assert_uint_eq(seen.dirs, 4);
    ck_assert_uint_eq(seen.listed, 5);
    ck_assert_uint_eq(seen.bytes, 1000 + 10 + 9 + 5);
    ck_assert_uint_eq(seen.with_crc, 2);
    ck_assert(seen.xattr);
    rig_buf_close(&buf);
}
END_TEST

#define MANY 4500 /* more than one batch */

struct tally {
    _Atomic int inside;
    unsigned char told[MANY];
};

static bool tally(void *arg, const struct l2_entry *e)
{
    struct tally *t = arg;
    int i;

    ck_assert_int_eq(atomic_fetch_add(&t->inside, 1), 0); /* one at a time */
    if (sscanf(e->key, "many/%d", &i) == 1)
        t->told[i]++;
    atomic_fetch_sub(&t->inside, 1);
    return true;
}

START_TEST(lists_each_once)
{
    struct tally *t = calloc(1, sizeof(*t));

    fixture_mkdir("many");
    for (int i = 0; i < MANY; i++) {
        char key[32];

        snprintf(key, sizeof(key), "many/%d", i);
        fixture_write(key, "", 0);
    }
    ck_assert_int_eq(rig.a->ops->list(rig.a, tally, t), 0);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(t->told[i], 1);
    free(t);
}
END_TEST

/* At the first file it asks for a directory that has not been listed: it comes after the one that is. */
struct order {
    const char *asked;
    char listed[8][16];
    size_t n;
};

static bool ask_first(void *arg, const struct l2_entry *e)
{
    struct order *o = arg;

    if (e->listed)
        snprintf(o->listed[o->n++], sizeof(o->listed[0]), "%s", e->key);
    else if (!o->asked && S_ISREG(e->attr.mode)) {
        o->asked = e->key[0] == 'm' ? "a/" : "m/";
        rig.a->ops->list_first(rig.a, o->asked);
        rig.a->ops->list_first(rig.a, "none/");
    }
    return true;
}

START_TEST(what_is_asked_for_comes_next)
{
    const char *const dirs[] = {"m", "a", "b", "c", "n", "o"};
    struct order o = {0};

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        char file[8];

        fixture_mkdir(dirs[i]);
        snprintf(file, sizeof(file), "%s/k", dirs[i]);
        fixture_write(file, "1", 1);
    }
    ck_assert_int_eq(rig.a->ops->list(rig.a, ask_first, &o), 0);
    ck_assert_uint_eq(o.n, 7);
    ck_assert_str_eq(o.listed[0], "");
    ck_assert_str_eq(o.listed[2], o.asked);
}
END_TEST

static bool stop_at_once(void *arg, const struct l2_entry *e)
{
    (void)e;
    ++*(int *)arg;
    return false;
}

START_TEST(listing_stops)
{
    int n = 0;

    for (int i = 0; i < 3; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        ck_assert_int_eq(rig_store(&rig, key, 1, 1), 0);
    }
    ck_assert_int_eq(rig.a->ops->list(rig.a, stop_at_once, &n), 0);
    ck_assert_int_eq(n, 1);
}
END_TEST

static struct l2_usage usage(void)
{
    struct l2_usage u = {0};

    rig.a->ops->usage(rig.a, &u);
    return u;
}

START_TEST(usage_follows)
{
    struct seen seen = {0};
    struct l2_usage u;

    ck_assert_int_eq(rig_store(&rig, "a/1", 1000, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "a/2", 5000, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "a/1", 3000, 2), 0);
    u = usage();
    ck_assert_uint_eq(u.used, 4096 + 8192);
    ck_assert_uint_eq(u.objects, 2);
    ck_assert_uint_eq(u.capacity, 0);
    ck_assert_uint_gt(u.fs_size, u.fs_avail);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "a/1", "a/2"), 0);
    ck_assert_uint_eq(usage().used, 4096);
    rig_reopen(&rig);
    ck_assert_int_eq(rig.a->ops->list(rig.a, see, &seen), 0);
    u = usage();
    ck_assert_uint_eq(u.used, 4096);
    ck_assert_uint_eq(u.objects, 1);
    ck_assert_int_eq(rig_remove(&rig, "a/2", NULL), 0);
    ck_assert_uint_eq(usage().used, 0);
    ck_assert_uint_eq(usage().objects, 0);
}
END_TEST

START_TEST(locked_keys_stay)
{
    uint64_t size;
    bool skipped;

    ck_assert_int_eq(rig_store(&rig, KEY, 10, 1), 0);
    ck_assert(rig_lookup(&rig, KEY, &size));
    ck_assert_uint_eq(size, 10);
    ck_assert_uint_eq(usage().locked, 1);
    ck_assert_int_eq(rig_remove(&rig, KEY, &skipped), 0);
    ck_assert(skipped && fixture_exists(KEY));
    rig_unlock(&rig, KEY);
    ck_assert_int_eq(rig_remove(&rig, KEY, &skipped), 0);
    ck_assert(!skipped && !fixture_exists(KEY));
    ck_assert_uint_eq(usage().locked, 0);
}
END_TEST

START_TEST(directories)
{
    const struct l2_attr attr = {
        .mode = S_IFDIR | 02775, .uid = getuid(), .gid = getgid(), .mtime = {1600000000, 0}};
    const struct adapter_ops *ops = rig.a->ops;

    ck_assert_int_eq(ops->make_dir(rig.a, "d/", &attr), 0);
    ck_assert_int_eq(ops->make_dir(rig.a, "d/", &attr), 0);
    ck_assert_uint_eq(fixture_stat("d").st_mode, S_IFDIR | 02775);
    ck_assert_int_eq(fixture_stat("d").st_mtim.tv_sec, 1600000000);
    ck_assert_int_eq(rig_store(&rig, "d/e/k", 10, 1), 0);
    ck_assert_int_eq(ops->make_dir(rig.a, "d/e/k/", &attr), -ENOTDIR);
    ck_assert_int_eq(rig_remove(&rig, "d/", NULL), -ENOTEMPTY);
    ck_assert_int_eq(ops->rename(rig.a, "d/", "x/"), 0);
    rig_check(&rig, "x/e/k", 10, 1);
    ck_assert_int_eq(ops->rename(rig.a, "d/", "x/"), -ENOENT);
    ck_assert_int_eq(ops->rename(rig.a, "nothing", "x/n"), -ENOENT);
    ck_assert_int_eq(rig_remove(&rig, "x/e/k", NULL), 0);
    ck_assert_int_eq(rig_remove(&rig, "x/e/", NULL), 0);
    ck_assert_int_eq(rig_remove(&rig, "x/", NULL), 0);
    ck_assert_int_eq(rig_remove(&rig, "x/", NULL), 0);
    ck_assert(!fixture_exists("x"));
}
END_TEST

START_TEST(set_attr_replaces)
{
    const struct l2_attr attr = {.mode = 0444, .atime = {5, 6}, .mtime = {7, 8}};
    const struct adapter_ops *ops = rig.a->ops;
    struct l2_xattrs xattrs = {0};
    struct l2_buf buf = rig_buf(&rig, 10, 1);
    char path[FIXTURE_PATH];

    rig_xattr_add(&buf.xattrs, "user.old", "1", 1);
    rig_xattr_add(&xattrs, "user.new", "22", 2);
    ck_assert_int_eq(rig_store_buf(&rig, KEY, &buf, NULL), 0);
    ck_assert_int_eq(
        ops->set_attr(rig.a, KEY, &attr, &xattrs, L2_ATTR_MODE | L2_ATTR_MTIME | L2_ATTR_XATTRS),
        0);
    ck_assert_uint_eq(fixture_stat(KEY).st_mode, S_IFREG | 0444);
    ck_assert_int_eq(fixture_stat(KEY).st_mtim.tv_sec, 7);
    ck_assert_int_eq(fixture_stat(KEY).st_atim.tv_sec, 1700000000);
    fixture_path(path, KEY);
    ck_assert_int_lt(getxattr(path, "user.old", NULL, 0), 0);
    ck_assert_int_eq(getxattr(path, "user.new", NULL, 0), 2);
    rig_check(&rig, KEY, 10, 1);
    ck_assert_int_eq(ops->set_attr(rig.a, "gone", &attr, NULL, L2_ATTR_MODE), -ENOENT);
    free(xattrs.data);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(disk_files)
{
    const struct l2_attr attr = {.mode = S_IFREG | 0664, .uid = getuid(), .gid = getgid()};
    const struct adapter_ops *ops = rig.a->ops;
    struct l2_object o;
    char path[FIXTURE_PATH];
    int fd;

    ck_assert_int_eq(ops->open_file(rig.a, "slots/f", O_RDWR, &attr, &fd), -ENOENT);
    ck_assert_int_eq(ops->open_file(rig.a, "slots/f", O_RDWR | O_CREAT | O_EXCL, &attr, &fd), 0);
    ck_assert_int_eq(pwrite(fd, "slot", 4, 0), 4);
    ck_assert_uint_eq(fixture_stat("slots/f").st_mode, S_IFREG | 0664);
    close(fd);
    ck_assert_int_eq(ops->open_file(rig.a, "slots/f", O_RDWR | O_CREAT | O_EXCL, &attr, &fd),
                     -EEXIST);

    ck_assert_int_eq(rig_store(&rig, KEY, 10, 1), 0);
    fixture_path(path, KEY);
    ck_assert_int_eq(ops->open_file(rig.a, KEY, O_RDONLY, &attr, &fd), 0);
    close(fd);
    ck_assert_int_gt(getxattr(path, "user.l2fs.crc32c", NULL, 0), 0);
    ck_assert_int_eq(ops->open_file(rig.a, KEY, O_RDWR | O_CREAT, &attr, &fd), 0);
    ck_assert_int_lt(getxattr(path, "user.l2fs.crc32c", NULL, 0), 0);
    ck_assert_int_eq(pwrite(fd, "123456789!", 10, 0), 10);
    close(fd);
    ck_assert_int_eq(rig_load(&rig, KEY, &o), 0);
    ck_assert_uint_eq(o.size, 10);
    rig_object_drop(&rig, &o);
    ck_assert_int_eq(ops->open_file(rig.a, KEY, O_WRONLY | O_TRUNC, &attr, &fd), 0);
    ck_assert_int_eq(fixture_stat(KEY).st_size, 0);
    close(fd);
}
END_TEST

START_TEST(unnamed_files)
{
    const struct l2_attr attr = {.mode = S_IFREG | 0600, .uid = getuid(), .gid = getgid()};
    const struct adapter_ops *ops = rig.a->ops;
    int fd;

    ck_assert_int_eq(ops->open_file(rig.a, "", O_RDWR | O_TMPFILE, &attr, &fd), 0);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
    ck_assert_uint_eq(fixture_count("."), 1);
    ck_assert_int_eq(ops->link_file(rig.a, fd, "d/named"), 0);
    ck_assert_int_eq(ops->link_file(rig.a, fd, "d/named"), -EEXIST);
    close(fd);
    ck_assert_int_eq(fixture_stat("d/named").st_size, 1);
    ck_assert_uint_eq(usage().objects, 1);
    ck_assert_int_eq(ops->open_file(rig.a, "d/", O_RDWR | O_TMPFILE, &attr, &fd), 0);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fs_names");
    TCase *tc = tcase_create("names");
    int rc;

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, lists_everything);
    tcase_add_test(tc, lists_each_once);
    tcase_add_test(tc, what_is_asked_for_comes_next);
    tcase_add_test(tc, listing_stops);
    tcase_add_test(tc, usage_follows);
    tcase_add_test(tc, locked_keys_stay);
    tcase_add_test(tc, directories);
    tcase_add_test(tc, set_attr_replaces);
    tcase_add_test(tc, disk_files);
    tcase_add_test(tc, unnamed_files);
    suite_add_tcase(s, tc);
    rig_base_create();
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
