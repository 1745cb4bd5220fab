/* test_vfs_races.c - interleavings that a mount meets by chance, made on purpose: a change between
 * the last release and the checksum, writers that die, disk files opened while they are closed.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "direct.h"
#include "suite.h"
#include "vfsrig.h"

static struct vfsrig r;

static void setup(void)
{
    vfsrig_init(&r, NULL);
    r.cfg.writer_wait = 300 * NSEC_PER_MSEC;
    free(r.cfg.disk);
    r.cfg.disk = strdup("slot*");
    vfsrig_start(&r);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

static void write_seed(struct handle *h, size_t len, unsigned seed)
{
    char *data = malloc(len);

    ck_assert_ptr_nonnull(data);
    vfsrig_fill(data, len, seed);
    ck_assert_int_eq(vfsrig_write(&r, h, data, len, 0), 0);
    free(data);
}

/* The close of a process that was killed. */
static void release_killed(struct handle *h)
{
    h->killed = true;
    vfs_release(r.fs, h);
}

/* What vfs_release does of the last writer before the checksum; publish_finish is the caller's. */
static void release_first_half(struct handle *h)
{
    struct object *o = h->inode->object;

    lock(&r.fs->ns->lock);
    list_remove(&h->link);
    o->opens--;
    o->writers--;
    ck_assert(publish_locked(r.fs, o));
    unlock(&r.fs->ns->lock);
    free(h);
}

static size_t staging_files(void)
{
    struct dirent *e;
    char path[300];
    size_t n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/o", r.cfg.staging);
    d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void remove_files(const char *dir)
{
    struct dirent *e;
    DIR *d = opendir(dir);

    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            ck_assert_int_eq(unlinkat(dirfd(d), e->d_name, 0), 0);
    closedir(d);
}

START_TEST(rewrite_before_the_checksum_leaks_nothing)
{
    struct inode *inode;
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    inode = vfsrig_find(&r, "k");
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &h), 0);
    write_seed(h, 200, 2);
    release_first_half(h);
    ck_assert_int_eq(vfsrig_put(&r, "k", 300, 3), 0);
    publish_finish(r.fs, inode);
    ck_assert_int_eq(vfsrig_check(&r, "k", 300, 3), 0);
    ck_assert_uint_eq(staging_files(), 1);
}
END_TEST

/* The store before calls for the next one as soon as the file is readable. */
START_TEST(stored_before_the_checksum)
{
    struct inode *inode;
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    vfsrig_wait_stored(&r);
    inode = vfsrig_find(&r, "k");
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &h), 0);
    write_seed(h, 200, 2);
    release_first_half(h);
    lock(&r.fs->ns->lock);
    store_queue_locked(r.fs, inode, false);
    unlock(&r.fs->ns->lock);
    vfsrig_wait_stored(&r);
    publish_finish(r.fs, inode);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 200, 2), 0);
}
END_TEST

/* The version that comes back was never summed up: it must be, before it is stored. */
START_TEST(killed_rewrite_before_the_checksum)
{
    struct inode *inode;
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    vfsrig_wait_stored(&r);
    inode = vfsrig_find(&r, "k");
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &h), 0);
    write_seed(h, 100, 2);
    release_first_half(h);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &h), 0);
    write_seed(h, 50, 3);
    publish_finish(r.fs, inode);
    release_killed(h);
    ck_assert_int_eq(vfsrig_fsync(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 100, 2), 0);
}
END_TEST

static void no_turn(struct keyticket *t)
{
    (void)t;
}

static bool store_ended(struct inode *inode)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    return !inode->object->store;
}

START_TEST(killed_rewrite_of_what_is_not_stored_yet)
{
    struct keyticket before = {.turn = no_turn};
    struct inode *inode;
    struct handle *h;

    ck_assert(keyguard_enter(&r.fs->guard, &before, "k", NULL));
    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    inode = vfsrig_find(&r, "k");
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &h), 0);
    write_seed(h, 50, 2);
    keyguard_leave(&r.fs->guard, &before);
    for (int i = 0; !store_ended(inode) && i < 5000; i++)
        usleep(1000);
    ck_assert(store_ended(inode));
    release_killed(h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 100, 1), 0);
}
END_TEST

START_TEST(killed_in_place_is_forgotten_at_truncation)
{
    struct handle *h, *rd;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY, &h), 0);
    release_killed(h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &rd), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k", 200, 2), 0);
    vfsrig_close(&r, rd);
    ck_assert_int_eq(vfsrig_check(&r, "k", 200, 2), 0);
}
END_TEST

START_TEST(killed_rewrite_of_an_evicted_key_keeps_its_size)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 5000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &h), 0);
    write_seed(h, 10, 2);
    release_killed(h);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_EVICTED);
    ck_assert_uint_eq(vfsrig_find(&r, "k")->size, 5000);
    ck_assert_int_eq(vfsrig_check(&r, "k", 5000, 1), 0);
}
END_TEST

/* As a rollback: what fsync stored in between is not what the file ends with. */
START_TEST(fsync_of_bytes_that_are_taken_back)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 4096, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY, &h), 0);
    write_seed(h, 4096, 2);
    ck_assert_int_eq(vfsrig_fsync(&r, "k"), 0);
    write_seed(h, 4096, 1);
    vfsrig_close(&r, h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 4096, 1), 0);
}
END_TEST

/* As a rollback, of bytes that were stored before they were summed up. */
START_TEST(rollback_of_bytes_that_were_never_summed_up)
{
    struct inode *inode;
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", 4096, 1), 0);
    vfsrig_wait_stored(&r);
    inode = vfsrig_find(&r, "k");
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY, &h), 0);
    write_seed(h, 4096, 2);
    release_first_half(h);
    lock(&r.fs->ns->lock);
    store_queue_locked(r.fs, inode, false);
    unlock(&r.fs->ns->lock);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY, &h), 0);
    write_seed(h, 4096, 1);
    publish_finish(r.fs, inode);
    vfsrig_close(&r, h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 4096, 1), 0);
}
END_TEST

/* Its store cannot begin, which must not keep the loop thread from all others. */
START_TEST(a_staging_file_that_is_gone_is_no_hang)
{
    struct keyticket before = {.turn = no_turn};
    char path[300];

    ck_assert(keyguard_enter(&r.fs->guard, &before, "k", NULL));
    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    snprintf(path, sizeof(path), "%s/o", r.cfg.staging);
    remove_files(path);
    keyguard_leave(&r.fs->guard, &before);
    ck_assert_int_eq(vfsrig_put(&r, "other", 100, 2), 0);
    ck_assert_int_eq(vfsrig_fsync(&r, "other"), 0);
    ck_assert_int_eq(vfsrig_unlink(&r, "k"), 0);
    vfsrig_wait_stored(&r);
}
END_TEST

START_TEST(a_directory_moves_only_where_its_keys_fit)
{
    char deep[KEY_PATH_MAX + 2] = "d", name[KEY_NAME_MAX + 1];

    memset(name, 'x', 200);
    name[200] = '\0';
    ck_assert_int_eq(vfsrig_mkdir(&r, deep), 0);
    while (strlen(deep) + 201 < KEY_PATH_MAX - 60) {
        strcat(strcat(deep, "/"), name);
        ck_assert_int_eq(vfsrig_mkdir(&r, deep), 0);
    }
    strcat(deep, "/a");
    memset(name, 'y', 250);
    name[250] = '\0';
    memcpy(name, "a/", 2);
    ck_assert_int_eq(vfsrig_mkdir(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_put(&r, name, 100, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, name), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "a", deep), -ENAMETOOLONG);
    ck_assert_int_eq(vfsrig_check(&r, name, 100, 1), 0);
}
END_TEST

/* Its keys that only tiers have would be looked for under names that a tier does not know. */
START_TEST(a_directory_that_a_tier_does_not_move_stays)
{
    vfsrig_fini(&r);
    vfsrig_init(&r,
                "[{\"type\":\"fs\",\"base_path\":\"@DIR@\"},"
                "{\"type\":\"fault\",\"inner\":{\"type\":\"mock\",\"max_size_gb\":1,"
                "\"mock_bandwidth_gb\":10},\"rules\":[{\"op\":\"rename\",\"action\":\"fail\"}]}]");
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "a/k", 100, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a/k"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), -EIO);
    ck_assert_int_eq(vfsrig_state(&r, "b/k"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "a/k", 100, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a/k"), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "a/k", 100, 1), 0);
    ck_assert_int_eq(vfsrig_state(&r, "b/k"), STATE_ABSENT);
}
END_TEST

/* A store that began between release and checksum must not count for what is written next. */
START_TEST(generations_are_not_used_again)
{
    struct inode *inode;
    struct handle *h;
    uint32_t gen;

    ck_assert_int_eq(vfsrig_put(&r, "k", 100, 1), 0);
    vfsrig_wait_stored(&r);
    inode = vfsrig_find(&r, "k");
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY, &h), 0);
    release_first_half(h);
    gen = inode->object->want_gen;
    publish_finish(r.fs, inode);
    ck_assert_uint_eq(inode->object->want_gen, gen);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0); /* and nothing was stored for it */
    ck_assert_int_eq(vfsrig_check(&r, "k", 100, 1), 0);
}
END_TEST

/* Comes back with `arg` when an open failed. */
static void *open_and_close(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        struct handle *h;

        if (vfsrig_open(&r, "slot", O_RDONLY, &h))
            return arg;
        vfs_release(r.fs, h);
    }
    return NULL;
}

START_TEST(disk_files_open_while_they_close)
{
    pthread_t threads[4];
    struct handle *h;

    ck_assert_int_eq(vfsrig_create(&r, "slot", O_RDWR, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "disk", 4, 0), 0);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_state(&r, "slot"), STATE_DISK);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, open_and_close, &r), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
        void *failed;

        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

static void *remove_again_and_again(void *over)
{
    while (!atomic_load((atomic_bool *)over))
        vfsrig_unlink(&r, "k");
    return NULL;
}

/* The name may go between the look that finds it and the open. */
START_TEST(a_create_beside_a_removal_creates)
{
    atomic_bool over = false;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, remove_again_and_again, &over), 0);
    for (int i = 0; i < 6000; i++) {
        struct handle *h;
        int err = vfsrig_create(&r, "k", O_RDWR, &h);

        ck_assert_msg(!err || err == -ESTALE, "%s", strerror(-err)); /* the kernel asks again */
        if (!err && i % 2)
            vfsrig_close(&r, h);
        else if (!err)
            release_killed(h);
    }
    atomic_store(&over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

/* The reply to a read is the kernel's to copy, also when the key is cut before it does. */
START_TEST(a_key_that_is_cut_while_it_is_read)
{
    char buf[64 * KIB];
    const void *direct;
    struct waiter w = {0};
    struct handle *h;

    ck_assert_int_eq(vfsrig_put(&r, "k", sizeof(buf), 1), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfs_read(r.fs, h, buf, sizeof(buf), 0, &w, &direct), sizeof(buf));
    ck_assert_ptr_nonnull(direct);
    ck_assert_int_eq(direct_copy(buf, direct, sizeof(buf)), sizeof(buf));
    ck_assert_int_eq(vfsrig_truncate(&r, "k", 0), 0);
    ck_assert_int_eq(direct_copy(buf, direct, sizeof(buf)), -EFAULT);
    ck_assert_int_eq(vfsrig_read(&r, h, buf, sizeof(buf), 0), 0);
    vfsrig_close(&r, h);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        rewrite_before_the_checksum_leaks_nothing,
        stored_before_the_checksum,
        killed_rewrite_before_the_checksum,
        killed_rewrite_of_what_is_not_stored_yet,
        killed_in_place_is_forgotten_at_truncation,
        killed_rewrite_of_an_evicted_key_keeps_its_size,
        fsync_of_bytes_that_are_taken_back,
        generations_are_not_used_again,
        disk_files_open_while_they_close,
        rollback_of_bytes_that_were_never_summed_up,
        a_staging_file_that_is_gone_is_no_hang,
        a_directory_moves_only_where_its_keys_fit,
        a_directory_that_a_tier_does_not_move_stays,
        a_key_that_is_cut_while_it_is_read,
        a_create_beside_a_removal_creates,
    };
    Suite *s = suite_create("vfs_races");
    TCase *tc = tcase_create("races");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
