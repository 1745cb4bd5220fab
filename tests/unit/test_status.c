/* test_status.c - the .l2fs directory: its names, contents, and what cannot be done there. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "core_rig.h"
#include "l2fs.h"
#include "suite.h"
#include "xattr.h"

#define BUF_SIZE (256 * 1024)

/* The file's contents, read to the end. */
static char *contents(struct core_rig *r, const char *path)
{
    char *buf = malloc(BUF_SIZE);
    ssize_t n = core_read(r, path, buf, BUF_SIZE - 1);

    ck_assert_msg(n > 0, "%s: %zd", path, n);
    buf[n] = '\0';
    return buf;
}

static json_t *json_contents(struct core_rig *r, const char *path)
{
    char *s = contents(r, path);
    json_t *value = json_loads(s, JSON_REJECT_DUPLICATES, NULL);

    ck_assert_msg(value, "%s is not JSON: %s", path, s);
    free(s);
    return value;
}

static json_int_t number(json_t *o, const char *group, const char *name)
{
    json_t *value = json_object_get(json_object_get(o, group), name);

    ck_assert_msg(json_is_integer(value), "no number %s.%s", group, name);
    return json_integer_value(value);
}

START_TEST(status_file)
{
    struct core_rig r;
    json_t *status, *tier;

    core_open(&r, CORE_MOCK);
    core_mkdir(&r, "d");
    core_write(&r, "d/key", "0123456789", 10);
    core_wait_attr(&r, "d/key", "user.l2fs.store", "mock=stored");
    l2fs_set_mode(r.fs, "direct_io");
    status = json_contents(&r, ".l2fs/status");
    ck_assert(json_is_true(json_object_get(status, "is_healthy")));
    ck_assert_str_eq(json_string_value(json_object_get(status, "name")), "test");
    ck_assert_str_eq(json_string_value(json_object_get(status, "mode")), "direct_io");
    ck_assert_str_eq(json_string_value(json_object_get(status, "version")), PACKAGE_VERSION);
    ck_assert_int_eq(number(status, "l1", "capacity"), 64 * (json_int_t)MIB);
    ck_assert_int_ge(number(status, "l1", "used"), 10);
    ck_assert_int_eq(number(status, "l1", "residents"), 1);
    ck_assert_int_eq(number(status, "objects", "files"), 1);
    ck_assert_int_eq(number(status, "objects", "directories"), 1);
    ck_assert_int_eq(number(status, "objects", "unstored"), 0);
    ck_assert_int_eq(number(status, "store", "queued"), 0);
    ck_assert_int_eq(number(status, "load", "active"), 0);
    tier = json_array_get(json_object_get(status, "tiers"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(tier, "name")), "mock");
    ck_assert_int_eq(number(tier, "usage", "objects"), 1);
    ck_assert_int_eq(json_array_size(json_object_get(status, "errors")), 0);
    json_decref(status);
    core_close(&r);
}
END_TEST

START_TEST(metrics_file)
{
    static const char *const wanted[] = {
        "\nl2fs_files 1\n",
        "\nl2fs_l1_residents 1\n",
        "\nl2fs_l1_capacity_bytes 67108864\n",
        "\nl2fs_unstored 0\n",
        "\nl2fs_tier_objects{adapter=\"mock\"} 1\n",
        "\nl2fs_tier_healthy{adapter=\"mock\"} 1\n",
        "# TYPE l2fs_publishes counter\n",
    };
    struct core_rig r;
    char *s;

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "0123456789", 10);
    core_wait_attr(&r, "key", "user.l2fs.store", "mock=stored");
    s = contents(&r, ".l2fs/metrics");
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        ck_assert_msg(strstr(s, wanted[i]), "no %s", wanted[i]);
    ck_assert_str_eq(s + strlen(s) - 6, "# EOF\n");
    free(s);
    core_close(&r);
}
END_TEST

START_TEST(config_file)
{
    struct core_rig r;
    json_t *config, *l2;

    core_open(&r, CORE_MOCK);
    config = json_contents(&r, ".l2fs/config");
    l2 = json_object_get(config, "l2");
    ck_assert_uint_eq(json_array_size(l2), 1);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(l2, 0), "type")), "mock");
    ck_assert_ptr_nonnull(json_object_get(config, "writer_wait"));
    json_decref(config);
    core_close(&r);
}
END_TEST

START_TEST(adapter_files)
{
    struct core_rig r;
    json_t *value;

    core_open(&r, "[{\"type\":\"null\"},"
                  "{\"type\":\"mock\",\"max_size_gb\":2,\"mock_bandwidth_gb\":8}]");
    value = json_contents(&r, ".l2fs/adapters/null/status");
    ck_assert_str_eq(json_string_value(json_object_get(value, "name")), "null");
    json_decref(value);
    value = json_contents(&r, ".l2fs/adapters/mock.1/status");
    ck_assert_str_eq(json_string_value(json_object_get(value, "name")), "mock.1");
    ck_assert(json_is_true(json_object_get(value, "is_healthy")));
    json_decref(value);
    value = json_contents(&r, ".l2fs/adapters/mock.1/usage");
    ck_assert_int_eq(json_integer_value(json_object_get(value, "capacity_bytes")),
                     2 * (json_int_t)GIB);
    json_decref(value);
    core_close(&r);
}
END_TEST

/* One open file shows one moment, however it is read. */
START_TEST(one_snapshot_per_open)
{
    char a[BUF_SIZE], b[BUF_SIZE];
    const void *direct = NULL;
    struct core_rig r;
    struct handle *h;
    ssize_t n, m;

    core_open(&r, CORE_MOCK);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/status", O_RDONLY, &h), 0);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL) & POLLIN, POLLIN);
    n = vfs_read(r.fs, h, a, sizeof(a), 0, NULL, &direct);
    ck_assert_int_gt(n, 20);
    core_write(&r, "key", "x", 1);
    m = vfs_read(r.fs, h, b, sizeof(b), 0, NULL, &direct);
    ck_assert_int_eq(m, n);
    ck_assert_mem_eq(a, b, (size_t)n);
    ck_assert_int_eq(vfs_read(r.fs, h, b, 5, 7, NULL, &direct), 5);
    ck_assert_mem_eq(a + 7, b, 5);
    ck_assert_int_eq(vfs_read(r.fs, h, b, 5, n, NULL, &direct), 0);
    ck_assert_int_eq(vfs_read(r.fs, h, b, 5, n + 1000, NULL, &direct), 0);
    vfs_release(r.fs, h);
    core_close(&r);
}
END_TEST

static bool note_name(void *arg, const struct vfs_dirent *e)
{
    text_printf(arg, "%s ", e->name);
    return true;
}

static char *list(struct core_rig *r, const char *path)
{
    struct inode *dir = core_lookup(r, path);
    struct text names = {0};

    ck_assert_ptr_nonnull(dir);
    ck_assert_int_eq(vfs_opendir(r->fs, dir), 0);
    ck_assert_int_eq(vfs_readdir(r->fs, dir, 0, false, note_name, &names), 0);
    vfs_releasedir(r->fs, dir);
    core_forget(r, dir);
    return text_steal(&names, NULL);
}

START_TEST(listings)
{
    struct core_rig r;
    char *names;

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "x", 1);
    names = list(&r, "");
    ck_assert_ptr_null(strstr(names, ".l2fs"));
    ck_assert_ptr_nonnull(strstr(names, "key"));
    free(names);
    names = list(&r, ".l2fs");
    ck_assert_ptr_nonnull(strstr(names, "status metrics config victims events history adapters"));
    free(names);
    names = list(&r, ".l2fs/adapters/mock");
    ck_assert_ptr_nonnull(strstr(names, "status usage"));
    free(names);
    core_close(&r);
}
END_TEST

START_TEST(nothing_can_be_changed)
{
    struct core_rig r;
    struct vfs_new n = {.name = "x", .mode = 0644, .flags = O_RDWR};
    struct inode *inode;
    struct handle *h;
    char buf[64];
    struct stat st;

    core_open(&r, CORE_MOCK);
    n.dir = core_lookup(&r, ".l2fs");
    ck_assert_ptr_nonnull(n.dir);
    ck_assert_int_eq(vfs_create(r.fs, &n, NULL, &inode, &h), -EPERM);
    ck_assert_int_eq(vfs_mkdir(r.fs, &n, &inode), -EPERM);
    ck_assert_int_eq(vfs_unlink(r.fs, n.dir, "status"), -EPERM);
    ck_assert_int_eq(vfs_rmdir(r.fs, n.dir, "adapters"), -EPERM);
    ck_assert_int_eq(vfs_rmdir(r.fs, vfs_root(r.fs), ".l2fs"), -EPERM);
    ck_assert_int_eq(vfs_setxattr(r.fs, n.dir, "user.a", "b", 1, 0), -EPERM);
    ck_assert_int_eq(vfs_listxattr(r.fs, n.dir, buf, sizeof(buf)), 0);
    core_forget(&r, n.dir);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/status", O_RDWR, &h), -EACCES);
    ck_assert_int_eq(core_set(&r, ".l2fs/status", "user.l2fs.pin", "hard"), -EPERM);
    inode = core_lookup(&r, ".l2fs/status");
    memset(&st, 0, sizeof(st));
    ck_assert_int_lt(vfs_setattr(r.fs, inode, &st, VFS_SET_SIZE, NULL), 0);
    core_forget(&r, inode);
    core_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("status");

    suite_add(s, "files", TESTS(status_file, metrics_file, config_file, adapter_files));
    suite_add(s, "directory", TESTS(one_snapshot_per_open, listings, nothing_can_be_changed));
    return suite_run(s);
}
