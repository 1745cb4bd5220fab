/* test_xattr.c - user.l2fs.* and engine attributes of an instance over the mock adapter. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "clock.h"
#include "core_rig.h"
#include "log.h"
#include "suite.h"
#include "xattr.h"

#define OWN(name) "user.l2fs." name

static void assert_attr(struct core_rig *r, const char *path, const char *name, const char *value)
{
    char buf[512];
    ssize_t n = core_get(r, path, name, buf, sizeof(buf));

    ck_assert_msg(n >= 0 && !strcmp(buf, value), "%s is \"%s\" (%zd), not \"%s\"", name, buf, n,
                  value);
}

static void open_with_key(struct core_rig *r)
{
    core_open(r, CORE_MOCK);
    core_write(r, "key", "0123456789", 10);
    core_wait_attr(r, "key", OWN("store"), "mock=stored");
}

static void evict(struct core_rig *r, const char *path)
{
    uint64_t deadline = clock_deadline(10 * NSEC_PER_SEC);

    while (core_set(r, path, OWN("evict"), "1")) {
        ck_assert_msg(clock_now() < deadline, "%s is never evicted", path);
        usleep(2000);
    }
    assert_attr(r, path, OWN("state"), "evicted");
}

START_TEST(reading)
{
    struct core_rig r;
    char buf[512];

    open_with_key(&r);
    assert_attr(&r, "key", OWN("state"), "resident");
    assert_attr(&r, "key", OWN("tiers"), "l1,mock");
    assert_attr(&r, "key", OWN("crc32c"), "280c069e");
    assert_attr(&r, "key", OWN("pin"), "none");
    assert_attr(&r, "key", OWN("expire"), "none");
    assert_attr(&r, "key", OWN("last_prefill"), "0");
    assert_attr(&r, "key", OWN("lock"),
                "{\"readers\":0,\"reader_pids\":[],\"writer\":false,\"writer_pids\":[],\"l2\":{},"
                "\"storing\":[],\"pin\":\"none\",\"left_ms\":0,\"unread\":false}");
    ck_assert_int_eq(core_get(&r, "key", OWN("error"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_get(&r, "key", OWN("peer"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_get(&r, "key", OWN("req_id"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_get(&r, "key", OWN("evict"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_get(&r, "key", OWN("place"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_get(&r, "key", OWN("nothing"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_get(&r, "key", "security.capability", buf, sizeof(buf)), -ENODATA);
    core_close(&r);
}
END_TEST

START_TEST(sizes)
{
    struct core_rig r;
    struct inode *inode;
    char buf[512];

    open_with_key(&r);
    inode = core_lookup(&r, "key");
    ck_assert_int_eq(vfs_getxattr(r.fs, inode, OWN("state"), NULL, 0), 8);
    ck_assert_int_eq(vfs_getxattr(r.fs, inode, OWN("state"), buf, 7), -ERANGE);
    ck_assert_int_eq(vfs_getxattr(r.fs, inode, OWN("state"), buf, 8), 8);
    ck_assert_int_gt(vfs_listxattr(r.fs, inode, NULL, 0), 40);
    ck_assert_int_eq(vfs_listxattr(r.fs, inode, buf, 10), -ERANGE);
    core_forget(&r, inode);
    core_close(&r);
}
END_TEST

/* The list as one string, names separated by spaces. */
static void list(struct core_rig *r, const char *path, char *buf, size_t size)
{
    struct inode *inode = core_lookup(r, path);
    ssize_t n = vfs_listxattr(r->fs, inode, buf, size);

    ck_assert_int_gt(n, 0);
    for (ssize_t i = 0; i < n; i++)
        buf[i] = buf[i] ? buf[i] : ' ';
    buf[n - 1] = '\0';
    core_forget(r, inode);
}

START_TEST(listing)
{
    struct core_rig r;
    char buf[2048];

    open_with_key(&r);
    core_mkdir(&r, "d");
    list(&r, "key", buf, sizeof(buf));
    ck_assert_str_eq(buf, "user.l2fs.state user.l2fs.lock user.l2fs.tiers user.l2fs.store "
                          "user.l2fs.crc32c user.l2fs.pin");
    list(&r, "d", buf, sizeof(buf));
    ck_assert_str_eq(buf, "user.l2fs.pin user.l2fs.place");
    ck_assert_int_eq(core_set(&r, "key", OWN("req_id"), "r1"), 0);
    ck_assert_int_eq(core_set(&r, "key", OWN("last_prefill"), "1"), 0);
    ck_assert_int_eq(core_set(&r, "key", OWN("expire"), "1h"), 0);
    ck_assert_int_eq(core_set(&r, "key", "user.engine", "x"), 0);
    list(&r, "key", buf, sizeof(buf));
    ck_assert_str_eq(buf, "user.l2fs.state user.l2fs.lock user.l2fs.tiers user.l2fs.store "
                          "user.l2fs.crc32c user.l2fs.pin user.l2fs.expire user.l2fs.req_id "
                          "user.l2fs.last_prefill user.engine");
    core_close(&r);
}
END_TEST

static const struct {
    const char *name;
    const char *value; /* NULL: removed */
    int rc;
} settings[] = {
    {OWN("pin"), "hard", 0},
    {OWN("pin"), "soft", 0},
    {OWN("pin"), "soft=10s", 0},
    {OWN("pin"), "none", 0},
    {OWN("pin"), NULL, 0},
    {OWN("pin"), "soft=", -EINVAL},
    {OWN("pin"), "soft=0", -EINVAL},
    {OWN("pin"), "Hard", -EINVAL},
    {OWN("pin"), "", -EINVAL},
    {OWN("expire"), "1h", 0},
    {OWN("expire"), "none", 0},
    {OWN("expire"), "0", -EINVAL},
    {OWN("expire"), "soon", -EINVAL},
    {OWN("last_prefill"), "1", 0},
    {OWN("last_prefill"), "0\n", 0},
    {OWN("last_prefill"), "2", -EINVAL},
    {OWN("req_id"), "chatcmpl-1", 0},
    {OWN("req_id"), "", -EINVAL},
    {OWN("req_id"), "a\tb", -EINVAL},
    {OWN("peer"), "node1", 0},
    {OWN("peer"), "", -EINVAL},
    {OWN("peer"), NULL, -ENODATA},
    {OWN("prefetch"), "1", 0},
    {OWN("prefetch"), "yes", -EINVAL},
    {OWN("evict"), "0", -EINVAL},
    {OWN("state"), "resident", -EPERM},
    {OWN("state"), NULL, -EPERM},
    {OWN("place"), "disk", -EINVAL}, /* directories only */
    {OWN("pni"), "hard", -EINVAL},
    {OWN(""), "x", -EINVAL},
    {OWN("pni"), NULL, -ENODATA},
    {OWN("req_id"), NULL, -ENODATA},
    {"user.nothing", NULL, -ENODATA},
    {"security.selinux", "x", -EOPNOTSUPP},
    {"system.posix_acl_access", "x", -EOPNOTSUPP},
    {"security.selinux", NULL, -ENODATA},
};

START_TEST(setting)
{
    struct core_rig r;

    open_with_key(&r);
    ck_assert_int_eq(core_set(&r, "key", settings[_i].name, settings[_i].value), settings[_i].rc);
    core_close(&r);
}
END_TEST

START_TEST(directories)
{
    struct core_rig r;
    char buf[64];

    core_open(&r, CORE_MOCK);
    core_mkdir(&r, "d");
    assert_attr(&r, "d", OWN("place"), "l1");
    assert_attr(&r, "d", OWN("pin"), "none");
    ck_assert_int_eq(core_get(&r, "d", OWN("state"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_set(&r, "d", OWN("place"), "l1"), 0);
    ck_assert_int_eq(core_set(&r, "d", OWN("place"), "ram"), -EINVAL);
    ck_assert_int_eq(core_set(&r, "d", OWN("place"), "disk"), -EOPNOTSUPP); /* mock has no files */
    ck_assert_int_eq(core_set(&r, "d", OWN("pin"), "hard"), -EINVAL);
    ck_assert_int_eq(core_set(&r, "d", OWN("expire"), "1h"), -EINVAL);
    ck_assert_int_eq(core_set(&r, "d", "user.engine", "value"), 0);
    assert_attr(&r, "d", "user.engine", "value");
    ck_assert_int_eq(core_set(&r, "", "user.engine", "root"), 0);
    assert_attr(&r, "", "user.engine", "root");
    core_close(&r);
}
END_TEST

START_TEST(evicting)
{
    struct core_rig r;
    struct handle *h;
    char buf[256];

    open_with_key(&r);
    evict(&r, "key");
    assert_attr(&r, "key", OWN("tiers"), "mock");
    ck_assert_int_eq(core_set(&r, "key", OWN("evict"), "1"), 0); /* already is */
    ck_assert_int_eq(core_read(&r, "key", buf, sizeof(buf)), 10);
    ck_assert_mem_eq(buf, "0123456789", 10);
    assert_attr(&r, "key", OWN("state"), "resident");
    ck_assert_int_eq(core_open_file(&r, "key", O_RDONLY, &h), 0);
    ck_assert_int_eq(core_set(&r, "key", OWN("evict"), "1"), -EBUSY);
    ck_assert_int_gt(core_get(&r, "key", OWN("lock"), buf, sizeof(buf)), 0);
    ck_assert_int_eq(strncmp(buf, "{\"readers\":1,", 13), 0);
    vfs_release(r.fs, h);
    evict(&r, "key");
    core_close(&r);
}
END_TEST

/* A tier that keeps nothing: evicting would lose the only copy. */
START_TEST(evicting_the_only_copy)
{
    struct core_rig r;
    char buf[64];

    core_open(&r, "[{\"type\":\"null\"}]");
    core_write(&r, "key", "0123456789", 10);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(core_set(&r, "key", OWN("evict"), "1"), -EBUSY);
        ck_assert_int_eq(core_set(&r, "", OWN("evict"), "1"), 0);
        usleep(2000);
    }
    ck_assert_int_eq(core_read(&r, "key", buf, sizeof(buf)), 10);
    core_close(&r);
}
END_TEST

START_TEST(prefetching)
{
    struct core_rig r;

    open_with_key(&r);
    evict(&r, "key");
    ck_assert_int_eq(core_set(&r, "key", OWN("prefetch"), "1"), 0);
    core_wait_attr(&r, "key", OWN("state"), "resident");
    evict(&r, "key");
    ck_assert_int_eq(core_set(&r, "key", OWN("pin"), "soft=1h"), 0);
    core_wait_attr(&r, "key", OWN("state"), "resident");
    core_close(&r);
}
END_TEST

START_TEST(whole_directories)
{
    struct core_rig r;
    char path[32];

    core_open(&r, CORE_MOCK);
    core_mkdir(&r, "d");
    core_mkdir(&r, "d/e");
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof(path), i % 2 ? "d/%d" : "d/e/%d", i);
        core_write(&r, path, path, strlen(path));
        core_wait_attr(&r, path, OWN("store"), "mock=stored");
    }
    for (int i = 0; i < 20; i++) { /* the end of a store may still hold one for a moment */
        snprintf(path, sizeof(path), i % 2 ? "d/%d" : "d/e/%d", i);
        evict(&r, path);
    }
    ck_assert_int_eq(core_set(&r, "d", OWN("prefetch"), "1"), 0);
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof(path), i % 2 ? "d/%d" : "d/e/%d", i);
        core_wait_attr(&r, path, OWN("state"), "resident");
    }
    ck_assert_int_eq(core_set(&r, "d/1", OWN("pin"), "hard"), 0);
    ck_assert_int_eq(core_set(&r, "d", OWN("evict"), "1"), 0);
    assert_attr(&r, "d/1", OWN("state"), "resident");
    core_close(&r);
}
END_TEST

START_TEST(pinned)
{
    struct core_rig r;
    char buf[256];

    open_with_key(&r);
    ck_assert_int_eq(core_set(&r, "key", OWN("pin"), "hard"), 0);
    assert_attr(&r, "key", OWN("pin"), "hard");
    ck_assert_int_eq(core_set(&r, "key", OWN("evict"), "1"), -EBUSY);
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "key"), -EBUSY);
    ck_assert_int_eq(core_set(&r, "key", OWN("pin"), "soft=1h"), 0);
    core_get(&r, "key", OWN("pin"), buf, sizeof(buf));
    ck_assert_int_eq(strncmp(buf, "soft=", 5), 0);
    ck_assert_int_eq(core_set(&r, "key", OWN("pin"), buf), 0); /* reads back */
    core_get(&r, "key", OWN("lock"), buf, sizeof(buf));
    ck_assert_ptr_nonnull(strstr(buf, "\"pin\":\"soft\",\"left_ms\":35"));
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "key"), -EBUSY);
    ck_assert_int_eq(core_set(&r, "key", OWN("pin"), "soft=1ms"), 0);
    core_wait_attr(&r, "key", OWN("pin"), "none");
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "key"), 0);
    core_close(&r);
}
END_TEST

static void wait_gone(struct core_rig *r, const char *path)
{
    uint64_t deadline = clock_deadline(10 * NSEC_PER_SEC);
    struct inode *inode;

    while ((inode = core_lookup(r, path))) {
        core_forget(r, inode);
        ck_assert_msg(clock_now() < deadline, "%s does not expire", path);
        usleep(2000);
    }
}

START_TEST(expiring)
{
    struct core_rig r;
    struct l2_usage usage;
    struct handle *h;
    char buf[64];

    open_with_key(&r);
    core_write(&r, "stays", "x", 1);
    core_write(&r, "pinned", "x", 1);
    core_write(&r, "open", "x", 1);
    ck_assert_int_eq(core_set(&r, "stays", OWN("expire"), "20ms"), 0);
    ck_assert_int_eq(core_set(&r, "stays", OWN("expire"), "none"), 0);
    ck_assert_int_eq(core_set(&r, "pinned", OWN("expire"), "1ms"), 0);
    ck_assert_int_eq(core_set(&r, "pinned", OWN("pin"), "hard"), 0);
    ck_assert_int_eq(core_open_file(&r, "open", O_RDONLY, &h), 0);
    ck_assert_int_eq(core_set(&r, "open", OWN("expire"), "1ms"), 0);
    ck_assert_int_eq(core_set(&r, "key", OWN("expire"), "50ms"), 0);
    ck_assert_int_gt(core_get(&r, "key", OWN("expire"), buf, sizeof(buf)), 0);
    ck_assert_str_ne(buf, "none");
    wait_gone(&r, "key");
    ck_assert_int_eq(vfs_read(r.fs, h, buf, 1, 0, NULL, &(const void *){NULL}), 1);
    vfs_release(r.fs, h);
    wait_gone(&r, "open");
    assert_attr(&r, "stays", OWN("expire"), "none");
    core_wait_attr(&r, "stays", OWN("store"), "mock=stored");
    assert_attr(&r, "pinned", OWN("pin"), "hard");
    ck_assert_int_eq(core_set(&r, "pinned", OWN("pin"), "none"), 0);
    wait_gone(&r, "pinned");
    do { /* the tiers follow the tree */
        tier_usage(r.fs->tiers.tier[0], &usage);
        usleep(2000);
    } while (usage.objects != 1);
    core_close(&r);
}
END_TEST

static int set_flags(struct core_rig *r, const char *name, const char *value, int flags)
{
    struct inode *inode = core_lookup(r, "key");
    int rc = vfs_setxattr(r->fs, inode, name, value, strlen(value), flags);

    core_forget(r, inode);
    return rc;
}

START_TEST(engine_attributes)
{
    struct core_rig r;
    char buf[64];

    open_with_key(&r);
    ck_assert_int_eq(set_flags(&r, "user.a", "1", XATTR_REPLACE), -ENODATA);
    ck_assert_int_eq(set_flags(&r, "user.a", "1", XATTR_CREATE), 0);
    ck_assert_int_eq(set_flags(&r, "user.a", "2", XATTR_CREATE), -EEXIST);
    ck_assert_int_eq(set_flags(&r, "user.a", "22", XATTR_REPLACE), 0);
    ck_assert_int_eq(set_flags(&r, "user.empty", "", 0), 0);
    assert_attr(&r, "key", "user.a", "22");
    assert_attr(&r, "key", "user.empty", "");
    evict(&r, "key");
    assert_attr(&r, "key", "user.a", "22");
    ck_assert_int_eq(core_read(&r, "key", buf, sizeof(buf)), 10);
    assert_attr(&r, "key", "user.a", "22");
    ck_assert_int_eq(core_set(&r, "key", "user.a", NULL), 0);
    ck_assert_int_eq(core_get(&r, "key", "user.a", buf, sizeof(buf)), -ENODATA);
    assert_attr(&r, "key", "user.empty", "");
    core_close(&r);
}
END_TEST

START_TEST(engine_limits)
{
    static char big[64 * 1024 + 1];
    char name[300] = "user.";
    struct core_rig r;
    struct inode *inode;

    open_with_key(&r);
    inode = core_lookup(&r, "key");
    memset(name + 5, 'n', 251);
    ck_assert_int_eq(vfs_setxattr(r.fs, inode, name, "x", 1, 0), -ERANGE);
    ck_assert_int_eq(vfs_setxattr(r.fs, inode, "user.a", big, sizeof(big), 0), -E2BIG);
    ck_assert_int_eq(vfs_setxattr(r.fs, inode, "user.a", big, 65536, 0), -ENOSPC);
    ck_assert_int_eq(vfs_setxattr(r.fs, inode, "user.a", big, 40000, 0), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, inode, "user.b", big, 40000, 0), -ENOSPC);
    ck_assert_int_eq(vfs_setxattr(r.fs, inode, "user.a", big, 50000, 0), 0);
    ck_assert_int_eq(vfs_getxattr(r.fs, inode, "user.a", NULL, 0), 50000);
    core_forget(&r, inode);
    core_close(&r);
}
END_TEST

static bool find_xattrs(void *arg, const struct l2_entry *e)
{
    struct text *t = arg;

    if (!strcmp(e->key, "key") && e->xattrs.len)
        text_append(t, e->xattrs.data, e->xattrs.len);
    return true;
}

/* What is set after the store is in the tier when setxattr returns. */
START_TEST(engine_attributes_reach_l2)
{
    static const char packed[] = "user.a\0\2\0\0\0hi";
    struct text t = {0};
    struct core_rig r;

    open_with_key(&r);
    ck_assert_int_eq(core_set(&r, "key", "user.a", "hi"), 0);
    ck_assert_int_eq(tier_list(r.fs->tiers.tier[0], find_xattrs, &t), 0);
    ck_assert_uint_eq(t.len, sizeof(packed) - 1);
    ck_assert_mem_eq(t.data, packed, t.len);
    text_fini(&t);
    core_close(&r);
}
END_TEST

START_TEST(controls)
{
    static const char config[] = ".l2fs/config";
    enum log_level before = log_get_level();
    struct core_rig r;
    struct inode *inode;
    char buf[512], text[16384];
    ssize_t n;

    core_open(&r, CORE_MOCK);
    log_set_level(LOG_LEVEL_ERROR);
    assert_attr(&r, config, OWN("log_level"), "error");
    ck_assert_int_eq(core_get(&r, config, OWN("error"), buf, sizeof(buf)), -ENODATA);
    ck_assert_int_eq(core_set(&r, config, OWN("log_level"), "loud"), -EINVAL);
    ck_assert_int_gt(core_get(&r, config, OWN("error"), buf, sizeof(buf)), 0);
    ck_assert_msg(strstr(buf, "loud") && strstr(buf, "error, warn, info, debug"), "%s", buf);
    assert_attr(&r, config, OWN("log_level"), "error");
    ck_assert_int_eq(core_set(&r, config, OWN("log_level"), "debug"), 0);
    assert_attr(&r, config, OWN("log_level"), "debug");
    n = core_read(&r, config, text, sizeof(text) - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_msg(strstr(text, "\"log_level\": \"debug\""), "not in effect: %s", text);
    ck_assert_int_eq(core_get(&r, config, OWN("error"), buf, sizeof(buf)), -ENODATA);
    log_set_level(LOG_LEVEL_ERROR);
    ck_assert_int_eq(core_set(&r, config, OWN("log_leve"), "debug"), -EPERM);
    ck_assert_int_eq(core_set(&r, config, OWN("state"), "resident"), -EPERM);
    ck_assert_int_eq(core_set(&r, config, "user.mine", "1"), -EPERM);
    ck_assert_int_eq(core_set(&r, ".l2fs/status", OWN("log_level"), "info"), -EPERM);
    ck_assert_int_eq(core_get(&r, ".l2fs/status", OWN("log_level"), buf, sizeof(buf)), -ENODATA);
    inode = core_lookup(&r, config);
    n = vfs_listxattr(r.fs, inode, buf, sizeof(buf));
    ck_assert_int_ge(n, (ssize_t)sizeof(OWN("log_level")));
    ck_assert_ptr_nonnull(memmem(buf, (size_t)n, OWN("log_level"), sizeof(OWN("log_level"))));
    core_forget(&r, inode);
    core_close(&r);
    log_set_level(before);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("xattr");

    suite_add(s, "reading", TESTS(reading, sizes, listing));
    suite_add_loop(s, "setting", TESTS(setting), ARRAY_SIZE(settings));
    suite_add(s, "directories", TESTS(directories, whole_directories));
    suite_add(s, "moving", TESTS(evicting, evicting_the_only_copy, prefetching, pinned, expiring));
    suite_add(s, "controls", TESTS(controls));
    suite_add(s, "engine", TESTS(engine_attributes, engine_limits, engine_attributes_reach_l2));
    return suite_run(s);
}
