/* test_scan.c - a start answers while it still lists what L2 holds: nothing of that is missed, brought
 * back or replaced. */
#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "evict_ctl.h"
#include "hotplug.h"
#include "status.h"
#include "suite.h"
#include "thread.h"
#include "units.h"
#include "vfsrig.h"

#define DIRS 24
#define FILES 40
#define SIZE ((size_t)3000)

static struct vfsrig r;

/* --- calls that wait as the front does --- */

struct blocked {
    struct waiter w;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool back;
};

static void on_back(struct waiter *w)
{
    struct blocked *b = container_of(w, struct blocked, w);

    LOCKED_SCOPE(&b->lock);
    b->back = true;
    pthread_cond_signal(&b->cond);
}

static void blocked_init(struct blocked *b)
{
    *b = (struct blocked){.w.retry = on_back};
    lock_init(&b->lock);
    cond_init(&b->cond);
}

static void blocked_wait(struct blocked *b)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    LOCKED_SCOPE(&b->lock);
    while (!b->back)
        ck_assert_msg(!cond_wait_until(&b->cond, &b->lock, deadline), "never woken");
    b->back = false;
}

static int await(struct inode *dir, const char *name)
{
    struct blocked b;
    int err;

    blocked_init(&b);
    while ((err = vfs_await(r.fs, dir, name, &b.w)) == -EINPROGRESS)
        blocked_wait(&b);
    return err;
}

/* As the kernel does: each part of the path is looked up. */
static int look_up(const char *path, struct inode **out)
{
    struct inode *dir = vfs_root(r.fs);
    char part[KEY_NAME_MAX + 1];
    int err = 0;

    for (const char *slash; !err && *path; path = *slash ? slash + 1 : slash) {
        struct stat st;
        bool settled;

        slash = strchrnul(path, '/');
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        err = await(dir, part);
        if (!err)
            err = vfs_lookup(r.fs, dir, part, &dir, &st, &settled);
    }
    *out = dir;
    return err;
}

static bool exists(const char *path)
{
    struct inode *inode;
    int err = look_up(path, &inode);

    ck_assert(!err || err == -ENOENT);
    return !err;
}

/* --- what is there at the start --- */

static const char *key_of(int dir, int file)
{
    static _Thread_local char key[64];

    snprintf(key, sizeof(key), "d%d/k%d", dir, file);
    return key;
}

static void on_disk(const char *key, char path[256])
{
    snprintf(path, 256, "%s/data/%s", r.dir, key);
}

static void fill_disk(void)
{
    char path[256];

    for (int d = 0; d < DIRS; d++) {
        on_disk(key_of(d, 0), path);
        *strrchr(path, '/') = '\0';
        ck_assert_int_eq(mkdir(path, 0755), 0);
        for (int i = 0; i < FILES; i++) {
            FILE *f;

            on_disk(key_of(d, i), path);
            f = fopen(path, "w");
            ck_assert_int_eq(fputs("old", f) < 0 || fclose(f), 0);
        }
    }
}

static void set_up(void)
{
    vfsrig_init(&r, NULL);
    fill_disk();
}

static void tear_down(void)
{
    vfsrig_fini(&r);
}

static void start_early(void)
{
    r.early = true;
    vfsrig_start(&r);
}

static void await_end(void)
{
    ck_assert_int_eq(scan_await_end(r.fs, clock_deadline(20 * NSEC_PER_SEC)), 0);
}

/* --- what is hidden --- */

static struct inode *hide(const char *dir)
{
    struct inode *inode = *dir ? vfsrig_find(&r, dir) : vfs_root(r.fs);

    LOCKED_SCOPE(&r.fs->ns->lock);
    r.fs->scan.running = true;
    r.fs->scan.listed = false;
    inode->dir->unlisted = true;
    return inode;
}

static void show(const char *dir)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    scan_listed_locked(r.fs, dir);
}

static bool plus_entry(void *arg, const struct vfs_dirent *e)
{
    if (e->bare && !strcmp(e->name, "d3"))
        ++*(int *)arg;
    ck_assert(e->bare == (e->name[0] == '.' || !strcmp(e->name, "d3")));
    return true;
}

START_TEST(nobody_is_handed_what_is_hidden)
{
    struct inode *root, *d3, *inode;
    struct vfs_new n = {.name = "new", .mode = S_IFREG | 0755};
    struct vfs_rename to = {.from = "k1", .to = "k2"};
    struct stat st;
    bool settled;
    struct blocked b;
    int bare = 0;

    blocked_init(&b);
    vfsrig_start(&r);
    root = vfs_root(r.fs);
    d3 = hide("d3");
    n.dir = to.from_dir = to.to_dir = d3;
    ck_assert_int_eq(vfs_lookup(r.fs, root, "d3", &inode, &st, &settled), -EINPROGRESS);
    ck_assert_int_eq(vfs_lookup(r.fs, d3, "k1", &inode, &st, &settled), -EINPROGRESS);
    ck_assert_int_eq(vfs_opendir(r.fs, d3), -EINPROGRESS);
    ck_assert_int_eq(vfs_unlink(r.fs, d3, "k1"), -EBUSY);
    ck_assert_int_eq(vfs_rmdir(r.fs, root, "d3"), -EBUSY);
    ck_assert_int_eq(vfs_mkdir(r.fs, &n, &inode), -EBUSY);
    ck_assert_int_eq(vfs_mknod(r.fs, &n, &b.w, &inode), -EBUSY);
    ck_assert_int_eq(vfs_rename(r.fs, &to, &inode), -EBUSY);
    ck_assert_int_eq(vfs_lookup(r.fs, root, ".l2fs", &inode, &st, &settled), 0);
    ck_assert_int_eq(vfs_lookup(r.fs, root, "d4", &inode, &st, &settled), 0);
    ck_assert_int_eq(vfs_readdir(r.fs, root, 0, true, plus_entry, &bare), 0);
    ck_assert_int_eq(bare, 1);
    ck_assert_uint_eq(d3->nlookup, 0);
    show("d3/");
    ck_assert_int_eq(vfs_lookup(r.fs, d3, "k1", &inode, &st, &settled), 0);
    hide("");
    ck_assert_int_eq(vfs_lookup(r.fs, root, ".l2fs", &inode, &st, &settled), 0);
    ck_assert_int_eq(vfs_lookup(r.fs, root, "d4", &inode, &st, &settled), -EINPROGRESS);
    ck_assert_int_eq(vfs_getattr(r.fs, root, &st, &settled), 0);
    ck_assert(!settled && st.st_nlink == 1);
}
END_TEST

START_TEST(who_waits_is_told)
{
    struct hotplug_removal removal = {.name = "fs"};
    struct text status = {0}, why = {0};
    struct inode *d3, *root;
    struct blocked b;

    vfsrig_start(&r);
    root = vfs_root(r.fs);
    d3 = hide("d3");
    blocked_init(&b);
    ck_assert_int_eq(vfs_await(r.fs, root, "d3", &b.w), -EINPROGRESS);
    show("d3/");
    blocked_wait(&b);
    ck_assert_int_eq(vfs_await(r.fs, root, "d3", &b.w), 0);
    hide("d3");
    ck_assert_int_eq(vfs_await(r.fs, d3, NULL, &b.w), -EINPROGRESS);
    vfs_interrupt(r.fs, &b.w);
    blocked_wait(&b);
    ck_assert_int_eq(vfs_await(r.fs, d3, NULL, &b.w), -EINTR);
    r.fs->scan.error = -EIO; /* what L2 has there is not known: never ENOENT */
    blocked_init(&b);
    ck_assert_int_eq(vfs_await(r.fs, d3, "k1", &b.w), -EIO);
    ck_assert_int_eq(status_print(r.fs, 0, &status), 0);
    ck_assert_ptr_nonnull(strstr(status.data, "fs could not be listed"));
    ck_assert_int_eq(hotplug_remove(r.fs, &removal, &why), -EBUSY);
    ck_assert_ptr_nonnull(strstr(why.data, "could not be listed"));
    text_fini(&status);
    text_fini(&why);
}
END_TEST

START_TEST(a_directory_moves_when_all_is_known)
{
    struct vfs_rename to = {.from = "d3", .to = "moved"};
    struct inode *sync;

    r.cfg.load_timeout = 1;
    vfsrig_start(&r);
    to.from_dir = to.to_dir = vfs_root(r.fs);
    hide("d4");
    ck_assert_int_eq(vfs_rename(r.fs, &to, &sync), -EBUSY);
    ck_assert(exists("d3/k1"));
    show("d4/");
    r.fs->scan.running = false;
    ck_assert_int_eq(vfs_rename(r.fs, &to, &sync), 0);
    ck_assert(exists("moved/k1") && !exists("d3"));
}
END_TEST

/* --- beside a running scan, whatever its pace --- */

static void check_all(void)
{
    for (int d = 0; d < DIRS; d++)
        for (int i = 0; i < FILES; i++)
            ck_assert_msg(exists(key_of(d, i)), "%s", key_of(d, i));
}

START_TEST(everything_is_found_at_once)
{
    struct inode *inode;

    start_early();
    ck_assert(exists(key_of(DIRS / 2, 1)));
    ck_assert(!exists("d1/none") && !exists("none"));
    check_all();
    ck_assert_int_eq(look_up(key_of(3, 3), &inode), 0);
    ck_assert_uint_eq(inode->size, 3);
    await_end();
    ck_assert_uint_eq(r.fs->found, (size_t)DIRS * FILES);
}
END_TEST

/* In the directories d, d + 2, ...: k0 goes, k1 is written anew, k2 is moved, a new key comes. */
static void *change(void *arg)
{
    for (int d = (int)(intptr_t)arg; d < DIRS; d += 2) {
        struct inode *inode;
        char to[64];

        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(look_up(key_of(d, i), &inode), 0);
        ck_assert_int_eq(vfsrig_unlink(&r, key_of(d, 0)), 0);
        ck_assert_int_eq(vfsrig_put(&r, key_of(d, 1), SIZE, (unsigned)d), 0);
        snprintf(to, sizeof(to), "%s", key_of(d, 900));
        ck_assert_int_eq(vfsrig_rename(&r, key_of(d, 2), to), 0);
        ck_assert_int_eq(vfsrig_put(&r, key_of(d, 901), SIZE, 7), 0);
    }
    return NULL;
}

static void check_changed(void)
{
    for (int d = 0; d < DIRS; d++) {
        ck_assert_msg(!exists(key_of(d, 0)), "%s is back", key_of(d, 0));
        ck_assert_int_eq(vfsrig_check(&r, key_of(d, 1), SIZE, (unsigned)d), 0);
        ck_assert_msg(!exists(key_of(d, 2)), "%s is back", key_of(d, 2));
        ck_assert(exists(key_of(d, 900)) && exists(key_of(d, 3)));
        ck_assert_int_eq(vfsrig_check(&r, key_of(d, 901), SIZE, 7), 0);
    }
}

START_TEST(what_changes_meanwhile_stays_changed)
{
    pthread_t thread[2];

    start_early();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(thread_start(&thread[i], change, (void *)(intptr_t)i), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    await_end();
    check_changed();
    vfsrig_wait_stored(&r);
    vfsrig_stop(&r);
    r.early = false;
    vfsrig_start(&r);
    check_changed();
}
END_TEST

START_TEST(adapters_are_changed_right_after_the_start)
{
    json_t *tier = json_array_get(r.cfg.l2, 0);
    struct text why = {0};
    int err;

    json_object_set_new(tier, "max_capacity_gb", json_real(0.5));
    start_early();
    ck_assert_int_eq(evict_ctl_set(r.fs, 0, "watermark", "0.5", &why), 0);
    vfsrig_stop(&r);
    start_early();
    err = hotplug_add(r.fs, "{\"type\":\"null\"}", &why);
    ck_assert_msg(!err, "%d: %s", err, why.data ? why.data : "");
    text_fini(&why);
    check_all();
}
END_TEST

START_TEST(an_end_amid_the_scan)
{
    for (int i = 0; i < 10; i++) {
        start_early();
        vfsrig_stop(&r);
    }
    start_early();
    check_all();
}
END_TEST

START_TEST(a_full_tier_is_tried_again_until_it_can_evict)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);
    json_t *tier = json_array_get(r.cfg.l2, 0);
    int err = 0;

    json_object_set_new(tier, "max_capacity_gb", json_real(0.01));
    json_object_set_new(tier, "eviction", json_pack("{s:s}", "eviction_policy", "LRU"));
    r.cfg.store_retries = 1;
    vfsrig_start(&r);
    ck_assert(evict_ctl_drop_tier(r.fs, 0));
    hide("d3"); /* as before the end of the scan */
    for (unsigned i = 0; i < 12; i++) {
        char key[16];

        snprintf(key, sizeof(key), "full%u", i);
        ck_assert_int_eq(vfsrig_put(&r, key, MIB, i), 0);
    }
    lock(&r.fs->ns->lock);
    while (!r.fs->stores.retrying && !r.fs->stores.given_up && !err)
        err = cond_wait_until(&r.fs->stored_cond, &r.fs->ns->lock, deadline);
    ck_assert_int_eq(err, 0);
    ck_assert_uint_eq(r.fs->stores.given_up, 0);
    unlock(&r.fs->ns->lock);
    ck_assert_int_eq(evict_ctl_add_tier(r.fs, 0), 0);
    show("d3/");
    r.fs->scan.running = false;
    vfsrig_wait_stored(&r);
}
END_TEST

/* --- what a crash left in L1 --- */

static void put_two(struct vfsrig *rig)
{
    ck_assert_int_eq(vfsrig_mkdir(rig, "new"), 0);
    ck_assert_int_eq(vfsrig_put(rig, "new/a", SIZE, 1), 0);
    ck_assert_int_eq(vfsrig_put(rig, "new/b", SIZE, 2), 0);
    vfsrig_wait_stored(rig);
}

static void lose_in_l2(const char *tier)
{
    const char *names[] = {"new/a", "new/b", "new"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_FREE char *path = NULL;

        ck_assert_int_gt(asprintf(&path, "%s/%s/%s", r.dir, tier, names[i]), 0);
        ck_assert_int_eq(remove(path), 0);
    }
}

/* The start does not wait for the end of the scan, which waits for the start. */
static void check_adopted(void)
{
    uint64_t began = clock_now();

    start_early();
    ck_assert_uint_lt(clock_now() - began, 20 * NSEC_PER_SEC);
    ck_assert(exists("new/a") && exists("new/b"));
    await_end();
    ck_assert_int_eq(vfsrig_check(&r, "new/a", SIZE, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "new/b", SIZE, 2), 0);
}

START_TEST(keys_of_a_crash_in_a_directory_that_l2_has_not)
{
    vfsrig_crash(&r, put_two);
    lose_in_l2("data");
    check_adopted();
}
END_TEST

START_TEST(keys_of_a_crash_in_a_directory_of_one_tier)
{
    AUTO_FREE char *spec = NULL;

    ck_assert_int_gt(asprintf(&spec, "%s/more", r.dir), 0);
    ck_assert_int_eq(mkdir(spec, 0755), 0);
    json_array_append_new(r.cfg.l2, json_pack("{s:s, s:s}", "type", "fs", "base_path", spec));
    vfsrig_crash(&r, put_two);
    lose_in_l2("more");
    check_adopted();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("scan");
    TCase *tc = tcase_create("scan");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, nobody_is_handed_what_is_hidden);
    tcase_add_test(tc, who_waits_is_told);
    tcase_add_test(tc, a_directory_moves_when_all_is_known);
    tcase_add_test(tc, everything_is_found_at_once);
    tcase_add_test(tc, what_changes_meanwhile_stays_changed);
    tcase_add_test(tc, adapters_are_changed_right_after_the_start);
    tcase_add_test(tc, an_end_amid_the_scan);
    tcase_add_test(tc, a_full_tier_is_tried_again_until_it_can_evict);
    tcase_add_test(tc, keys_of_a_crash_in_a_directory_that_l2_has_not);
    tcase_add_test(tc, keys_of_a_crash_in_a_directory_of_one_tier);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
