/* test_gate.c - opens and closes that go round the namespace lock: that they do, that everything else
 * sees them as if they had not, and that they race with whatever ends the life of a key in L1.
 */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "suite.h"
#include "unread.h"
#include "vfsrig.h"
#include "xattr_impl.h"

#define MOCK "[{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":1000}]"
#define LEN 4096

static struct vfsrig r;
static const struct caller me = {.pid = 4711};

static void start(int store_policy)
{
    vfsrig_init(&r, MOCK);
    r.cfg.readahead_keys = 0;
    r.cfg.store_policy = store_policy;
    vfsrig_start(&r);
}

static void setup(void)
{
    start(STORE_DEFAULT);
}

static void setup_demote(void)
{
    start(STORE_DEMOTE);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

/* In L1 and stored; opened once, so that its gate is open. */
static struct inode *put(const char *key, unsigned seed)
{
    ck_assert_int_eq(vfsrig_put(&r, key, LEN, seed), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_check(&r, key, LEN, seed), 0);
    return vfsrig_find(&r, key);
}

static bool gate_of(const struct inode *inode)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    return inode->gate;
}

static size_t readers(void)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    gate_sync_locked(r.fs);
    return r.fs->locks.n.readers;
}

static struct handle *open_read(struct inode *inode)
{
    struct waiter w = {0};
    struct handle *h;

    ck_assert_int_eq(vfs_open(r.fs, inode, O_RDONLY, &me, &w, &h), 0);
    return h;
}

static void use(struct inode *inode)
{
    vfs_release(r.fs, open_read(inode));
}

static void *open_and_close(void *arg)
{
    for (int i = 0; i < 100; i++) {
        struct handle *h = open_read(arg);
        int fd;

        ck_assert_int_eq(vfs_backing(r.fs, h, &fd), 0);
        close(fd);
        vfs_release(r.fs, h);
    }
    return NULL;
}

/* --- it takes no lock that all keys share --- */

START_TEST(opens_and_closes_beside_a_held_namespace_lock)
{
    struct inode *inode = put("k", 1);
    pthread_t thread;

    ck_assert(gate_of(inode));
    lock(&r.fs->ns->lock);
    ck_assert_int_eq(pthread_create(&thread, NULL, open_and_close, inode), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    unlock(&r.fs->ns->lock);
    ck_assert_uint_eq(readers(), 0);
}
END_TEST

START_TEST(what_is_not_plain_has_no_open_gate)
{
    struct inode *inode = put("k", 1);
    struct handle *w, *h;

    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDWR, &w), 0);
    ck_assert(!gate_of(inode));
    h = open_read(inode);
    ck_assert(!gate_of(inode));
    ck_assert(h->beside_writer);
    vfs_release(r.fs, h);
    vfsrig_close(&r, w);
    use(inode);
    ck_assert(gate_of(inode));
    lock(&r.fs->ns->lock);
    ck_assert_int_eq(unread_begin_locked(r.fs, inode, 0, false), 0);
    unlock(&r.fs->ns->lock);
    ck_assert(!gate_of(inode));
    use(inode);
    ck_assert_ptr_null(inode->landing);
    ck_assert(gate_of(inode));
}
END_TEST

/* Its bytes go with its last close. */
START_TEST(a_file_without_a_name_has_no_gate)
{
    struct vfs_new n = {.dir = vfs_root(r.fs), .mode = 0600, .flags = O_RDWR, .caller = me};
    struct waiter w = {0};
    struct handle *writer, *reader;
    struct inode *inode;

    ck_assert_int_eq(vfs_tmpfile(r.fs, &n, &w, &inode, &writer), 0);
    reader = open_read(inode);
    vfs_release(r.fs, writer);
    use(inode);
    ck_assert(!gate_of(inode));
    vfs_release(r.fs, reader);
    ck_assert_int_eq(inode->state, STATE_DISCARDED);
    vfs_forget(r.fs, inode, 1);
}
END_TEST

/* --- others see them --- */

START_TEST(readers_are_counted_and_named)
{
    struct inode *inode = put("k", 1);
    struct handle *a = open_read(inode), *b = open_read(inode);
    struct text t = {0};

    ck_assert(gate_of(inode));
    ck_assert_uint_eq(readers(), 2);
    ck_assert_int_eq(lock_print(r.fs, inode, &t), 0);
    ck_assert_msg(strstr(t.data, "\"readers\":2,\"reader_pids\":[4711]"), "%s", t.data);
    ck_assert(!gate_of(inode));
    vfs_release(r.fs, a);
    ck_assert_uint_eq(readers(), 1);
    use(inode);
    ck_assert(gate_of(inode));
    vfs_release(r.fs, b);
    ck_assert_uint_eq(readers(), 0);
    text_fini(&t);
}
END_TEST

START_TEST(an_open_key_stays)
{
    struct inode *inode = put("k", 1);
    struct handle *h = open_read(inode);

    ck_assert(gate_of(inode));
    ck_assert_int_eq(vfsrig_evict(&r, "k"), -EBUSY);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_RESIDENT);
    vfs_release(r.fs, h);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", LEN, 1), 0);
}
END_TEST

/* A rewrite begins a new file only where nobody has the old one open. */
START_TEST(a_rewrite_beside_a_reader_is_in_place)
{
    struct inode *inode = put("k", 1);
    struct handle *h = open_read(inode), *w;

    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &w), 0);
    ck_assert_uint_eq(w->staging_id, h->staging_id);
    vfsrig_close(&r, w);
    vfs_release(r.fs, h);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_WRONLY | O_TRUNC, &w), 0);
    vfsrig_close(&r, w);
}
END_TEST

START_TEST(an_unlinked_key_is_read_to_its_end)
{
    struct inode *inode = put("k", 1);
    struct handle *h = open_read(inode);
    char data[LEN], want[LEN];

    inode->nlookup++;
    ck_assert_int_eq(vfsrig_unlink(&r, "k"), 0);
    vfsrig_fill(want, LEN, 1);
    ck_assert_int_eq(vfsrig_read(&r, h, data, LEN, 0), LEN);
    ck_assert_mem_eq(data, want, LEN);
    vfs_release(r.fs, h);
    vfs_forget(r.fs, inode, 1);
    ck_assert_int_eq(vfsrig_state(&r, "k"), STATE_ABSENT);
}
END_TEST

START_TEST(atime_is_that_of_the_open)
{
    struct inode *inode = put("k", 1);
    struct timespec before, set = {.tv_sec = 1000};
    struct stat st = {.st_atim = set};
    struct waiter w = {0};
    bool settled;

    clock_gettime(CLOCK_REALTIME, &before);
    use(inode);
    vfs_getattr(r.fs, inode, &st, &settled);
    ck_assert(st.st_atim.tv_sec > before.tv_sec ||
              (st.st_atim.tv_sec == before.tv_sec && st.st_atim.tv_nsec >= before.tv_nsec));
    use(inode);
    st.st_atim = set;
    ck_assert_int_eq(vfs_setattr(r.fs, inode, &st, VFS_SET_ATIME, &w), 0);
    vfs_getattr(r.fs, inode, &st, &settled);
    ck_assert_int_eq(st.st_atim.tv_sec, 1000);
}
END_TEST

/* --- the order of leaving --- */

#define ORDERED 100

static struct inode *ordered[ORDERED];

static bool next_is(void *arg, struct order_node *node)
{
    int **at = arg;

    ck_assert_ptr_eq(container_of(node, struct object, place)->inode, ordered[**at]);
    ++*at;
    return true;
}

static void put_ordered(void)
{
    for (int i = 0; i < ORDERED; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        ordered[i] = put(key, 1);
    }
}

/* As if each open had moved it at once, among themselves and beside what came in between. */
START_TEST(lru_is_exact)
{
    int expected[ORDERED + 1], *at = expected;

    put_ordered();
    for (int i = 0; i < ORDERED; i++) {
        expected[i] = i * 37 % ORDERED;
        use(ordered[(i * 53 + 7) % ORDERED]);
    }
    for (int i = 0; i < ORDERED; i++) {
        use(ordered[expected[i]]);
        if (i == ORDERED / 2) /* not by the gate */
            vfs_release(r.fs, open_read(put("other", 2)));
        if (i == ORDERED / 2)
            ck_assert_int_eq(vfsrig_unlink(&r, "other"), 0);
    }
    lock(&r.fs->ns->lock);
    gate_sync_locked(r.fs);
    l1_peek(&r.fs->l1, ORDERED + 10, next_is, &at);
    unlock(&r.fs->ns->lock);
    ck_assert_ptr_eq(at, expected + ORDERED);
}
END_TEST

START_TEST(uses_count_for_s3fifo)
{
    struct inode *inode;

    lock(&r.fs->ns->lock);
    ck_assert_int_eq(l1_set_policy(&r.fs->l1, EVICT_S3FIFO), 0);
    unlock(&r.fs->ns->lock);
    inode = put("k", 1); /* and its first use */
    use(inode);
    lock(&r.fs->ns->lock);
    gate_sync_locked(r.fs);
    ck_assert_uint_eq(inode->object->place.uses, 2);
    unlock(&r.fs->ns->lock);
    for (int i = 0; i < 10; i++)
        use(inode);
    lock(&r.fs->ns->lock);
    gate_sync_locked(r.fs);
    ck_assert_uint_eq(inode->object->place.uses, 3);
    unlock(&r.fs->ns->lock);
}
END_TEST

START_TEST(fifo_does_not_move)
{
    int expected[ORDERED + 1], *at = expected;

    lock(&r.fs->ns->lock);
    ck_assert_int_eq(l1_set_policy(&r.fs->l1, EVICT_FIFO), 0);
    unlock(&r.fs->ns->lock);
    put_ordered();
    for (int i = 0; i < ORDERED; i++) {
        expected[i] = i;
        use(ordered[i * 37 % ORDERED]);
    }
    lock(&r.fs->ns->lock);
    gate_sync_locked(r.fs);
    l1_peek(&r.fs->l1, ORDERED, next_is, &at);
    unlock(&r.fs->ns->lock);
    ck_assert_ptr_eq(at, expected + ORDERED);
}
END_TEST

/* More uses than a stripe keeps are told on by the opens themselves. */
START_TEST(a_full_stripe_is_emptied_by_an_open)
{
    struct inode *inode = put("k", 1);
    struct open_stripe *s = NULL;

    use(inode);
    lock(&r.fs->ns->lock); /* no tick in between */
    use(inode);
    for (size_t i = 0; i < OPEN_STRIPES; i++)
        if (r.fs->gates.stripes[i].touched.next == &inode->object->touches.link)
            s = &r.fs->gates.stripes[i];
    ck_assert_ptr_nonnull(s);
    lock(&s->lock);
    s->ntouched += 1 << 20;
    unlock(&s->lock);
    unlock(&r.fs->ns->lock);
    use(inode);
    lock(&s->lock);
    ck_assert_uint_lt(s->ntouched, 1 << 20);
    unlock(&s->lock);
}
END_TEST

/* Keys are read in the order of their names, by their gates; the next ones are only in L2. */
START_TEST(read_ahead_hears_of_them)
{
    enum state ahead;

    put_ordered();
    for (int i = 50; i < ORDERED; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        ck_assert_int_eq(vfsrig_evict(&r, key), 0);
    }
    lock(&r.fs->ns->lock);
    r.cfg.readahead_keys = 4;
    unlock(&r.fs->ns->lock);
    for (int i = 30; i < 50; i++)
        use(ordered[i]);
    lock(&r.fs->ns->lock);
    ck_assert(ordered[49]->gate);
    gate_ahead_locked(r.fs);
    ahead = ordered[53]->state;
    unlock(&r.fs->ns->lock);
    ck_assert(ahead == STATE_LOADING || ahead == STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_state(&r, "k54"), STATE_EVICTED);
}
END_TEST

/* --- the end --- */

#define UNSTORED 16

/* The drain stores what rests, in whatever order uses come to be known meanwhile. */
START_TEST(what_was_opened_just_before_the_end_is_stored)
{
    char keys[UNSTORED][16];

    r.cfg.drain_timeout = 2 * NSEC_PER_SEC;
    for (int i = 0; i < UNSTORED; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        ck_assert_int_eq(vfsrig_put(&r, keys[i], LEN, 1), 0);
        use(vfsrig_find(&r, keys[i]));
    }
    for (int i = 0; i < UNSTORED; i++)
        use(vfsrig_find(&r, keys[i]));
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_uint_eq(r.fs->adopted, 0); /* what is not stored is left for the next mount */
}
END_TEST

/* --- races --- */

#define STORM_KEYS 4
#define STORM_STEPS 400
#define STORM_READERS 3

static struct inode *found(int key)
{
    char name[16];
    struct inode *inode;
    struct dentry *d;

    snprintf(name, sizeof(name), "s%d", key);
    LOCKED_SCOPE(&r.fs->ns->lock);
    d = ns_find(r.fs->ns, r.fs->ns->root, name);
    inode = d ? d->inode : NULL;
    if (inode)
        inode->nlookup++;
    return inode;
}

/* What was opened holds whole versions: each byte is the same. */
static void check_version(struct handle *h)
{
    AUTO_CLOSE int fd = -1;
    unsigned char data[LEN];
    ssize_t n;
    int opened;

    ck_assert_int_eq(vfs_backing(r.fs, h, &opened), 0);
    fd = opened;
    n = pread(fd, data, sizeof(data), 0);
    ck_assert_int_ge(n, 0);
    for (ssize_t i = 1; i < n; i++)
        ck_assert_uint_eq(data[i], data[0]);
}

static void on_back(struct waiter *w)
{
    (void)w;
}

/* Not by the rig: it may be called by one thread only. What must wait is given up. */
static struct handle *try_open(struct inode *inode)
{
    struct waiter w = {.retry = on_back};
    struct handle *h;
    int err = vfs_open(r.fs, inode, O_RDONLY | O_NONBLOCK, &me, &w, &h);

    ck_assert_int_ne(err, -EINPROGRESS);
    return err ? NULL : h;
}

static atomic_bool over;

static void *read_storm(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&over)) {
        struct inode *inode = found(rand_r(&seed) % STORM_KEYS);
        struct handle *h = inode ? try_open(inode) : NULL;

        if (h) {
            if (h->mode == HANDLE_BACKED && rand_r(&seed) % 4 == 0)
                check_version(h);
            vfs_release(r.fs, h);
        }
        if (inode)
            vfs_forget(r.fs, inode, 1);
    }
    return NULL;
}

static void write_key(const char *name, int seed)
{
    unsigned char data[LEN];
    struct handle *h;

    memset(data, seed, sizeof(data));
    ck_assert_int_eq(vfsrig_create(&r, name, O_RDWR | O_TRUNC, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, data, sizeof(data), 0), 0);
    vfsrig_close(&r, h);
}

static void evict_now(const char *name)
{
    struct inode *inode = vfsrig_find(&r, name);

    LOCKED_SCOPE(&r.fs->ns->lock);
    if (inode && inode->object)
        evict_one_locked(r.fs, inode->object, CAUSE_ASKED);
}

static void make_room(void)
{
    if (r.cfg.store_policy != STORE_DEMOTE) {
        vfsrig_wait_stored(&r);
        return;
    }
    LOCKED_SCOPE(&r.fs->ns->lock);
    store_make_room_locked(r.fs, MIB);
}

static void change(int step)
{
    char name[16];
    struct handle *h;
    struct text t = {0};

    snprintf(name, sizeof(name), "s%d", rand() % STORM_KEYS);
    switch (rand() % 8) {
    case 0: vfsrig_unlink(&r, name); break;
    case 1: evict_now(name); break;
    case 2:
        write_key("t.tmp", step);
        ck_assert_int_eq(vfsrig_rename(&r, "t.tmp", name), 0);
        break;
    case 3:
        if (vfsrig_open(&r, name, O_WRONLY, &h) == 0)
            vfsrig_close(&r, h);
        break;
    case 4:
        if (vfsrig_find(&r, name))
            ck_assert_int_eq(vfsrig_truncate(&r, name, LEN / 2), 0);
        break;
    case 5:
        if (vfsrig_find(&r, name))
            ck_assert_int_eq(lock_print(r.fs, vfsrig_find(&r, name), &t), 0);
        break;
    default: make_room();
    }
    text_fini(&t);
}

START_TEST(nothing_is_torn_or_lost_beside_changes)
{
    pthread_t threads[STORM_READERS];

    srand((unsigned)_i);
    atomic_store(&over, false);
    for (int i = 0; i < STORM_KEYS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "s%d", i);
        write_key(name, i);
    }
    for (uintptr_t i = 0; i < STORM_READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_storm, (void *)(i + 1)), 0);
    for (int i = 0; i < STORM_STEPS; i++)
        change(i);
    atomic_store(&over, true);
    for (int i = 0; i < STORM_READERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(readers(), 0);
    for (int i = 0; i < STORM_KEYS; i++) {
        struct inode *inode = found(i);

        if (!inode)
            continue;
        vfs_forget(r.fs, inode, 1);
        LOCKED_SCOPE(&r.fs->ns->lock);
        gate_shut_locked(r.fs, inode);
        ck_assert(!inode->object || (!inode->object->opens && list_empty(&inode->object->handles)));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        opens_and_closes_beside_a_held_namespace_lock,
        what_is_not_plain_has_no_open_gate,
        a_file_without_a_name_has_no_gate,
        readers_are_counted_and_named,
        an_open_key_stays,
        a_rewrite_beside_a_reader_is_in_place,
        an_unlinked_key_is_read_to_its_end,
        atime_is_that_of_the_open,
        lru_is_exact,
        uses_count_for_s3fifo,
        fifo_does_not_move,
        a_full_stripe_is_emptied_by_an_open,
        read_ahead_hears_of_them,
    };
    Suite *s = suite_create("gate");
    TCase *tc = tcase_create("gate"), *demote = tcase_create("demote");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    tcase_add_loop_test(tc, nothing_is_torn_or_lost_beside_changes, 0, 2);
    suite_add_tcase(s, tc);
    tcase_add_checked_fixture(demote, setup_demote, teardown);
    tcase_set_timeout(demote, 60);
    tcase_add_test(demote, what_was_opened_just_before_the_end_is_stored);
    tcase_add_loop_test(demote, nothing_is_torn_or_lost_beside_changes, 2, 4);
    suite_add_tcase(s, demote);
    return suite_run(s);
}
