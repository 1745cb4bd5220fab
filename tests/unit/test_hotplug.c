/* test_hotplug.c - tiers added to and removed from a running instance. */
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>

#include "clock.h"
#include "hotplug.h"
#include "suite.h"
#include "units.h"
#include "vfsrig.h"

#define SIZE ((size_t)100000)
#define DIR_SPEC "{\"type\":\"fs\",\"base_path\":\"%s/%s\"}"
#define STUCK                                                                                      \
    "{\"type\":\"fault\",\"inner\":{\"type\":\"mock\",\"max_size_gb\":1,"                          \
    "\"mock_bandwidth_gb\":8},\"release\":\"%s/release\","                                         \
    "\"rules\":[{\"op\":\"store\",\"action\":\"never\"}]}"
#define SECONDS(n) ((n)*NSEC_PER_SEC)

/* --- an instance, and what is done to it --- */

static void begin(struct vfsrig *r)
{
    vfsrig_init(r, NULL);
    vfsrig_start(r);
}

static int control(struct vfsrig *r, const char *name, const char *value)
{
    struct inode *inode = vfsrig_find(r, ".l2fs/adapters");

    return vfs_setxattr(r->fs, inode, name, value, strlen(value), 0);
}

/* What the last refusal said. */
static const char *refusal(struct vfsrig *r)
{
    static char buf[512];
    struct inode *inode = vfsrig_find(r, ".l2fs/adapters");
    ssize_t n = vfs_getxattr(r->fs, inode, "user.l2fs.error", buf, sizeof(buf) - 1);

    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

static int add(struct vfsrig *r, const char *spec)
{
    return control(r, "user.l2fs.adapter_add", spec);
}

static int remove_adapter(struct vfsrig *r, const char *text)
{
    return control(r, "user.l2fs.adapter_remove", text);
}

/* A directory of an fs adapter beside the first one's. */
static int add_dir(struct vfsrig *r, const char *name)
{
    char spec[256], path[128];

    snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    mkdir(path, 0755);
    snprintf(spec, sizeof(spec), DIR_SPEC, r->dir, name);
    return add(r, spec);
}

/* The key as another instance stored it in the directory `name`. */
static void put_elsewhere(struct vfsrig *r, const char *name, const char *key, unsigned seed)
{
    char spec[256], path[128];
    struct vfsrig other;

    snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    mkdir(path, 0755);
    snprintf(spec, sizeof(spec), "[" DIR_SPEC "]", r->dir, name);
    vfsrig_init(&other, spec);
    vfsrig_start(&other);
    ck_assert_int_eq(vfsrig_put(&other, key, SIZE, seed), 0);
    vfsrig_wait_stored(&other);
    vfsrig_fini(&other);
}

static uint32_t tiers_of(struct vfsrig *r, const char *path)
{
    struct inode *inode = vfsrig_find(r, path);

    ck_assert_ptr_nonnull(inode);
    LOCKED_SCOPE(&r->fs->ns->lock);
    return inode->tiers;
}

static bool on_disk(struct vfsrig *r, const char *dir, const char *key)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s/%s", r->dir, dir, key);
    return access(path, F_OK) == 0;
}

static void put_stored(struct vfsrig *r, const char *key, unsigned seed)
{
    ck_assert_int_eq(vfsrig_put(r, key, SIZE, seed), 0);
    vfsrig_wait_stored(r);
}

/* --- adding --- */

START_TEST(keys_of_the_newcomer_are_read)
{
    struct vfsrig r;

    begin(&r);
    put_stored(&r, "mine", 1);
    put_elsewhere(&r, "second", "theirs", 2);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    ck_assert_uint_eq(r.fs->tiers.active, 3);
    ck_assert_int_eq(vfsrig_check(&r, "theirs", SIZE, 2), 0);
    ck_assert_uint_eq(tiers_of(&r, "theirs"), 2);
    ck_assert_uint_eq(tiers_of(&r, "mine"), 1); /* is not copied */
    put_stored(&r, "both", 3);
    ck_assert_uint_eq(tiers_of(&r, "both"), 3);
    ck_assert(on_disk(&r, "data", "both") && on_disk(&r, "second", "both"));
    ck_assert(!on_disk(&r, "second", "mine"));
    ck_assert_int_eq(vfsrig_unlink(&r, "both"), 0);
    ck_assert(!on_disk(&r, "data", "both") && !on_disk(&r, "second", "both"));
    vfsrig_fini(&r);
}
END_TEST

START_TEST(copies_that_agree_count_and_others_do_not)
{
    struct vfsrig r;

    begin(&r);
    put_stored(&r, "same", 1);
    put_stored(&r, "other", 2);
    ck_assert_int_eq(vfsrig_evict(&r, "same"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "other"), 0);
    put_elsewhere(&r, "second", "same", 1);
    put_elsewhere(&r, "second", "other", 3);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    ck_assert_uint_eq(tiers_of(&r, "same"), 3);
    ck_assert_uint_eq(tiers_of(&r, "other"), 1);
    ck_assert_int_eq(vfsrig_check(&r, "same", SIZE, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "other", SIZE, 2), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "other"), 0); /* the stale copy goes too */
    ck_assert(!on_disk(&r, "second", "other"));
    vfsrig_fini(&r);
}
END_TEST

START_TEST(stale_copy_of_a_resident_is_replaced)
{
    struct vfsrig r;

    begin(&r);
    put_stored(&r, "key", 1);
    put_elsewhere(&r, "second", "key", 2);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(tiers_of(&r, "key"), 3);
    vfsrig_stop(&r); /* the other directory alone now has the right bytes */
    json_array_clear(r.cfg.l2);
    json_array_append_new(r.cfg.l2, json_pack("{s:s,s:o}", "type", "fs", "base_path",
                                              json_sprintf("%s/second", r.dir)));
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "key", SIZE, 1), 0);
    vfsrig_fini(&r);
}
END_TEST

START_TEST(lowest_index_is_read_and_its_loss_survived)
{
    struct vfsrig r;

    vfsrig_init(&r, "[{\"type\":\"fault\",\"inner\":{\"type\":\"mock\",\"max_size_gb\":1,"
                    "\"mock_bandwidth_gb\":8},\"rules\":[{\"op\":\"load\",\"after\":1,"
                    "\"action\":\"fail\"}]},{\"type\":\"fs\",\"base_path\":\"@DIR@\"}]");
    vfsrig_start(&r);
    put_stored(&r, "key", 1);
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "key", SIZE, 1), 0); /* by the first */
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "key", SIZE, 1), 0); /* which fails now */
    ck_assert_int_eq(remove_adapter(&r, "fault"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "key"), 0);
    ck_assert_uint_eq(tiers_of(&r, "key"), 2);
    ck_assert_int_eq(vfsrig_check(&r, "key", SIZE, 1), 0);
    vfsrig_fini(&r);
}
END_TEST

START_TEST(what_cannot_be_added_says_why)
{
    static const struct {
        const char *spec;
        const char *says;
    } bad[] = {
        {"{\"type\":\"fs\"", "not JSON"},
        {"{\"type\":\"floppy\"}", "floppy"},
        {"{\"type\":\"fs\"}", "base_path"},
        {"{\"type\":\"mock\",\"max_size_gb\":-1,\"mock_bandwidth_gb\":1}", "max_size_gb"},
        {"{\"type\":\"fs\",\"base_path\":\"/proc/none/here\"}", "cannot be opened"},
    };
    struct vfsrig r;

    begin(&r);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        ck_assert_int_lt(add(&r, bad[i].spec), 0);
        ck_assert_msg(strstr(refusal(&r), bad[i].says), "%s: %s", bad[i].spec, refusal(&r));
    }
    ck_assert_int_lt(add_dir(&r, "data"), 0); /* in use */
    ck_assert_uint_eq(r.fs->tiers.present, 1);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    ck_assert_str_eq(refusal(&r), "");
    vfsrig_fini(&r);
}
END_TEST

static ssize_t read_status(struct vfsrig *r, const char *name, char *buf, size_t size)
{
    char path[128];
    struct handle *h;
    ssize_t n;
    int err;

    snprintf(path, sizeof(path), ".l2fs/adapters/%s/status", name);
    err = vfsrig_open(r, path, O_RDONLY, &h);
    if (err)
        return err;
    n = vfsrig_read(r, h, buf, size - 1, 0);
    vfs_release(r->fs, h);
    buf[n > 0 ? n : 0] = '\0';
    return n;
}

START_TEST(directories_come_and_go)
{
    size_t files, dirs;
    char buf[4096];
    struct vfsrig r;

    begin(&r);
    files = r.fs->ns->files;
    dirs = r.fs->ns->dirs;
    ck_assert_int_eq(read_status(&r, "fs.1", buf, sizeof(buf)), -ENOENT);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    ck_assert_int_gt(read_status(&r, "fs.1", buf, sizeof(buf)), 0);
    ck_assert_ptr_nonnull(strstr(buf, "\"name\": \"fs.1\""));
    ck_assert_ptr_nonnull(strstr(buf, "\"state\": \"active\""));
    ck_assert_int_eq(remove_adapter(&r, "fs.1"), 0);
    ck_assert_int_eq(read_status(&r, "fs.1", buf, sizeof(buf)), -ENOENT);
    ck_assert_int_eq(add_dir(&r, "second"), 0); /* its lock is free again */
    ck_assert_int_eq(read_status(&r, "fs.1", buf, sizeof(buf)), -ENOENT);
    ck_assert_int_gt(read_status(&r, "fs.2", buf, sizeof(buf)), 0);
    ck_assert_uint_eq(r.fs->ns->files, files);
    ck_assert_uint_eq(r.fs->ns->dirs, dirs);
    vfsrig_fini(&r);
}
END_TEST

/* --- removing --- */

START_TEST(removal_is_parsed)
{
    struct hotplug_removal r = {.timeout = 7};

    ck_assert_int_eq(hotplug_parse_removal("fs.1", &r), 0);
    ck_assert_str_eq(r.name, "fs.1");
    ck_assert(!r.force);
    ck_assert_uint_eq(r.timeout, 7);
    ck_assert_int_eq(hotplug_parse_removal("mock force timeout=30s", &r), 0);
    ck_assert_str_eq(r.name, "mock");
    ck_assert(r.force);
    ck_assert_uint_eq(r.timeout, SECONDS(30));
    ck_assert_int_eq(hotplug_parse_removal("", &r), -EINVAL);
    ck_assert_int_eq(hotplug_parse_removal("fs fast", &r), -EINVAL);
    ck_assert_int_eq(hotplug_parse_removal("fs timeout=soon", &r), -EINVAL);
    ck_assert_str_eq(r.name, "mock");
}
END_TEST

START_TEST(census_decides)
{
    static const struct {
        struct census c;
        bool force, others;
        int rc;
    } cases[] = {
        {{0}, false, true, 0},
        {{0}, false, false, 0},
        {{.evicted = 1}, false, true, -EBUSY},
        {{.evicted = 1}, true, true, 0},
        {{.resident = 1}, false, true, 0}, /* is stored in the others */
        {{.resident = 1}, false, false, -EBUSY},
        {{.resident = 1}, true, false, 0},
        {{.disk = 2}, false, true, -EBUSY},
        {{.disk = 2}, true, true, 0},
        {{.disk = 2, .disk_open = 1}, true, true, -EBUSY},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct text why = {0};

        ck_assert_int_eq(census_judge(&cases[i].c, "fs", cases[i].force, cases[i].others, &why),
                         cases[i].rc);
        ck_assert(!cases[i].rc == !why.len);
        text_fini(&why);
    }
}
END_TEST

START_TEST(only_copies_stay_unless_forced)
{
    struct vfsrig r;

    begin(&r);
    put_stored(&r, "cold", 1);
    put_stored(&r, "warm", 2);
    ck_assert_int_eq(vfsrig_evict(&r, "cold"), 0);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    put_stored(&r, "new", 3);
    ck_assert_int_eq(vfsrig_evict(&r, "new"), 0);
    ck_assert_int_eq(remove_adapter(&r, "fs"), -EBUSY);
    ck_assert_msg(!strncmp(refusal(&r), "1 key is", 8), "%s", refusal(&r));
    ck_assert_uint_eq(r.fs->tiers.active, 3);
    put_stored(&r, "still", 4);
    ck_assert_uint_eq(tiers_of(&r, "still"), 3);
    ck_assert_int_eq(remove_adapter(&r, "fs force"), 0);
    ck_assert_uint_eq(r.fs->tiers.present, 2);
    ck_assert_int_eq(vfsrig_state(&r, "cold"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "new", SIZE, 3), 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(tiers_of(&r, "warm"), 2); /* from L1 */
    ck_assert(on_disk(&r, "second", "warm"));
    ck_assert_int_eq(vfsrig_evict(&r, "warm"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "warm", SIZE, 2), 0);
    ck_assert(on_disk(&r, "data", "cold")); /* the adapter's files are left alone */
    vfsrig_fini(&r);
}
END_TEST

START_TEST(the_last_one_goes_by_force_only)
{
    struct vfsrig r;

    begin(&r);
    put_stored(&r, "warm", 1);
    ck_assert_int_eq(remove_adapter(&r, "fs"), -EBUSY);
    ck_assert_int_eq(remove_adapter(&r, "fs force"), 0);
    ck_assert_uint_eq(r.fs->tiers.present, 0);
    ck_assert_int_eq(vfsrig_check(&r, "warm", SIZE, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "alone", SIZE, 2), 0);
    ck_assert_uint_eq(r.fs->unstored, 0);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    vfsrig_wait_stored(&r);
    ck_assert(on_disk(&r, "second", "warm") && on_disk(&r, "second", "alone"));
    ck_assert_int_eq(vfsrig_evict(&r, "alone"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "alone", SIZE, 2), 0);
    vfsrig_fini(&r);
}
END_TEST

START_TEST(unknown_names)
{
    struct vfsrig r;

    begin(&r);
    ck_assert_int_eq(remove_adapter(&r, "fs.1"), -ENOENT);
    ck_assert_ptr_nonnull(strstr(refusal(&r), "fs.1"));
    ck_assert_int_eq(remove_adapter(&r, "fs now"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(refusal(&r), "timeout=30s"));
    vfsrig_fini(&r);
}
END_TEST

START_TEST(files_on_its_disk)
{
    struct handle *h;
    struct vfsrig r;

    vfsrig_init(&r, NULL);
    free(r.cfg.disk);
    r.cfg.disk = strdup("*.slot");
    vfsrig_start(&r);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    ck_assert_int_eq(vfsrig_create(&r, "a.slot", O_RDWR, &h), 0);
    ck_assert_int_eq(vfsrig_state(&r, "a.slot"), STATE_DISK);
    ck_assert_int_eq(remove_adapter(&r, "fs"), -EBUSY);
    ck_assert_int_eq(remove_adapter(&r, "fs force"), -EBUSY);
    ck_assert_ptr_nonnull(strstr(refusal(&r), "open"));
    vfsrig_close(&r, h);
    ck_assert_int_eq(remove_adapter(&r, "fs"), -EBUSY);
    ck_assert_int_eq(remove_adapter(&r, "fs force"), 0);
    ck_assert_int_eq(vfsrig_state(&r, "a.slot"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_create(&r, "b.slot", O_RDWR, &h), 0); /* on the other one's */
    vfsrig_close(&r, h);
    ck_assert(on_disk(&r, "second", "b.slot"));
    vfsrig_fini(&r);
}
END_TEST

START_TEST(stuck_stores_are_left_behind)
{
    char spec[512];
    uint64_t began;
    struct vfsrig r;

    begin(&r);
    snprintf(spec, sizeof(spec), STUCK, r.dir);
    ck_assert_int_eq(add(&r, spec), 0);
    for (unsigned i = 0; i < 10; i++) {
        char key[16];

        snprintf(key, sizeof(key), "key%u", i);
        ck_assert_int_eq(vfsrig_put(&r, key, SIZE, i), 0);
    }
    began = clock_now();
    ck_assert_int_eq(remove_adapter(&r, "fault.1 timeout=300ms"), 0);
    ck_assert_uint_lt(clock_now() - began, SECONDS(15));
    vfsrig_wait_stored(&r);
    for (unsigned i = 0; i < 10; i++) {
        char key[16];

        snprintf(key, sizeof(key), "key%u", i);
        ck_assert_uint_eq(tiers_of(&r, key), 1);
        ck_assert_int_eq(vfsrig_evict(&r, key), 0);
        ck_assert_int_eq(vfsrig_check(&r, key, SIZE, i), 0);
    }
    vfsrig_fini(&r);
}
END_TEST

static void wait_submitted(struct vfsrig *r, const char *tier)
{
    uint64_t deadline = clock_deadline(SECONDS(30));
    char labels[64];

    snprintf(labels, sizeof(labels), "adapter=\"%s\",op=\"store\"", tier);
    while (!metric_value(metrics_counter(r->fs->metrics, "l2fs_tier_submitted", "", labels))) {
        ck_assert_msg(clock_now() < deadline, "%s was never asked to store", tier);
        poll(NULL, 0, 1);
    }
}

static void let_go(struct vfsrig *r)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/release", r->dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

struct remover {
    struct vfsrig *r;
    pthread_t thread;
    int rc;
};

static void *run_remover(void *arg)
{
    struct remover *m = arg;

    m->rc = remove_adapter(m->r, "fault.1 timeout=30s");
    return NULL;
}

START_TEST(a_second_removal_is_told_so)
{
    struct remover m = {0};
    char spec[512];
    struct vfsrig r;

    begin(&r);
    snprintf(spec, sizeof(spec), STUCK, r.dir);
    ck_assert_int_eq(add(&r, spec), 0);
    ck_assert_int_eq(vfsrig_put(&r, "key", SIZE, 1), 0);
    wait_submitted(&r, "fault.1"); /* so that there is something to drain */
    m.r = &r;
    ck_assert_int_eq(pthread_create(&m.thread, NULL, run_remover, &m), 0);
    while (tiers_state(&r.fs->tiers, 1) == TIER_ACTIVE)
        poll(NULL, 0, 1);
    ck_assert_int_eq(remove_adapter(&r, "fault.1"), -EALREADY);
    ck_assert_int_eq(vfsrig_put(&r, "later", SIZE, 2), 0); /* goes nowhere near it */
    let_go(&r);
    ck_assert_int_eq(pthread_join(m.thread, NULL), 0);
    ck_assert_int_eq(m.rc, 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(tiers_of(&r, "later"), 1);
    vfsrig_fini(&r);
}
END_TEST

/* --- under load, and again and again --- */

struct load {
    struct vfsrig *r;
    pthread_t thread;
    _Atomic bool stop;
    unsigned rounds;
    int error;
};

static void *run_load(void *arg)
{
    struct load *l = arg;

    for (; !l->stop && !l->error; l->rounds++) {
        char key[16];

        snprintf(key, sizeof(key), "load%u", l->rounds % 50);
        l->error = vfsrig_put(l->r, key, SIZE, l->rounds);
        if (!l->error && l->rounds % 5 == 0)
            l->error = vfsrig_check(l->r, key, SIZE, l->rounds);
    }
    return NULL;
}

START_TEST(drain_under_load)
{
    struct load l = {0};
    struct vfsrig r;

    begin(&r);
    l.r = &r;
    ck_assert_int_eq(pthread_create(&l.thread, NULL, run_load, &l), 0);
    for (unsigned i = 1; i <= 10; i++) {
        char name[16];

        ck_assert_int_eq(add_dir(&r, "second"), 0);
        poll(NULL, 0, 20);
        snprintf(name, sizeof(name), "fs.%u", i);
        ck_assert_int_eq(remove_adapter(&r, name), 0);
    }
    l.stop = true;
    ck_assert_int_eq(pthread_join(l.thread, NULL), 0);
    ck_assert_int_eq(l.error, 0);
    ck_assert_uint_gt(l.rounds, 10);
    vfsrig_wait_stored(&r);
    for (unsigned i = 0; i < MIN(l.rounds, 50u); i++) {
        char key[16];

        snprintf(key, sizeof(key), "load%u", i);
        ck_assert_uint_eq(tiers_of(&r, key) & 1, 1);
    }
    vfsrig_fini(&r);
}
END_TEST

static void *run_reads(void *arg)
{
    struct load *l = arg;

    for (; !l->stop && !l->error; l->rounds++) {
        char key[16];

        snprintf(key, sizeof(key), "read%u", l->rounds % 20);
        vfsrig_evict(l->r, key);
        l->error = vfsrig_check(l->r, key, SIZE, l->rounds % 20);
    }
    return NULL;
}

START_TEST(reads_survive_every_change)
{
    struct load l = {0};
    struct vfsrig r;

    begin(&r);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    for (unsigned i = 0; i < 20; i++) {
        char key[16];

        snprintf(key, sizeof(key), "read%u", i);
        put_stored(&r, key, i);
    }
    l.r = &r;
    ck_assert_int_eq(pthread_create(&l.thread, NULL, run_reads, &l), 0);
    for (unsigned i = 1; i <= 20; i++) { /* either one goes and comes back with what it had */
        char name[16];

        snprintf(name, sizeof(name), i == 1 ? "fs" : "fs.%u", i - 1);
        ck_assert_int_eq(remove_adapter(&r, name), 0);
        ck_assert_int_eq(add_dir(&r, i % 2 ? "data" : "second"), 0);
    }
    l.stop = true;
    ck_assert_int_eq(pthread_join(l.thread, NULL), 0);
    ck_assert_int_eq(l.error, 0);
    ck_assert_uint_gt(l.rounds, 20);
    vfsrig_fini(&r);
}
END_TEST

START_TEST(a_directory_stays_as_it_is)
{
    struct stat st = {.st_mode = 0750};
    char path[256];
    struct vfsrig r;

    begin(&r);
    snprintf(path, sizeof(path), "%s/second", r.dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    for (const char *const *d = (const char *const[]){"both", "theirs", NULL}; *d; d++) {
        snprintf(path, sizeof(path), "%s/second/%s", r.dir, *d);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    ck_assert_int_eq(vfsrig_mkdir(&r, "both"), 0);
    ck_assert_int_eq(
        vfs_setattr(r.fs, vfsrig_find(&r, "both"), &st, VFS_SET_MODE, &(struct waiter){0}), 0);
    ck_assert_int_eq(add_dir(&r, "second"), 0);
    ck_assert_uint_eq(vfsrig_find(&r, "both")->mode & 07777, 0750);
    ck_assert_uint_eq(vfsrig_find(&r, "theirs")->mode & 07777, 0700);
    vfsrig_fini(&r);
}
END_TEST

static size_t entries(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void cycle(struct vfsrig *r, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[16];

        ck_assert_int_eq(add_dir(r, "second"), 0);
        snprintf(name, sizeof(name), "fs.%u", i);
        ck_assert_int_eq(remove_adapter(r, name), 0);
    }
}

START_TEST(cycles_leave_nothing)
{
    size_t fds, threads, bytes;
    struct text before = {0}, after = {0};
    struct vfsrig r;

    begin(&r);
    put_stored(&r, "key", 1);
    cycle(&r, 1, 10);
    fds = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    bytes = mallinfo2().uordblks;
    metrics_print(r.fs->metrics, &before);
    cycle(&r, 10, 100);
    metrics_print(r.fs->metrics, &after);
    ck_assert_uint_eq(entries("/proc/self/fd"), fds);
    ck_assert_uint_eq(entries("/proc/self/task"), threads);
    ck_assert_uint_lt(mallinfo2().uordblks, bytes + 200 * 1024);
    ck_assert_uint_lt(after.len, before.len + 2048);
    ck_assert_uint_eq(r.fs->tiers.present, 1);
    ck_assert_int_eq(vfsrig_check(&r, "key", SIZE, 1), 0);
    text_fini(&before);
    text_fini(&after);
    vfsrig_fini(&r);
}
END_TEST

/* --- a crash after a change --- */

static void store_and_move(struct vfsrig *r)
{
    vfsrig_put(r, "before", SIZE, 1);
    vfsrig_wait_stored(r);
    if (add_dir(r, "second") || remove_adapter(r, "fs force"))
        _exit(1);
    vfsrig_wait_stored(r);
    vfsrig_put(r, "after", SIZE, 2);
    vfsrig_wait_stored(r);
}

START_TEST(a_crash_after_a_change_loses_nothing)
{
    struct vfsrig r;

    vfsrig_init(&r, NULL);
    vfsrig_crash(&r, store_and_move);
    vfsrig_start(&r); /* as configured, with the first directory */
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(tiers_of(&r, "after"), 1); /* was in the other one only */
    ck_assert_int_eq(vfsrig_evict(&r, "before"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "after"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "before", SIZE, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "after", SIZE, 2), 0);
    vfsrig_fini(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hotplug");
    TCase *slow = tcase_create("load");

    suite_add(s, "add",
              TESTS(keys_of_the_newcomer_are_read, copies_that_agree_count_and_others_do_not,
                    stale_copy_of_a_resident_is_replaced,
                    lowest_index_is_read_and_its_loss_survived, what_cannot_be_added_says_why,
                    directories_come_and_go, a_directory_stays_as_it_is));
    suite_add(s, "remove",
              TESTS(removal_is_parsed, census_decides, only_copies_stay_unless_forced,
                    the_last_one_goes_by_force_only, unknown_names, files_on_its_disk,
                    stuck_stores_are_left_behind, a_second_removal_is_told_so));
    tcase_set_timeout(slow, 120);
    tcase_add_test(slow, drain_under_load);
    tcase_add_test(slow, reads_survive_every_change);
    tcase_add_test(slow, cycles_leave_nothing);
    tcase_add_test(slow, a_crash_after_a_change_loses_nothing);
    suite_add_tcase(s, slow);
    return suite_run(s);
}
