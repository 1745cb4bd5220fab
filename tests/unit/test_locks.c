/* test_locks.c - pins and their limit, and what user.l2fs.lock and .l2fs/status say of descriptors,
 * pins, and locks in the tiers: each field is seen to come and to go.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "core_rig.h"
#include "suite.h"
#include "xattr.h"

#define LOCK "user.l2fs.lock"
#define PIN "user.l2fs.pin"

/* ---- locks.c alone ---- */

static struct locks locks;

static struct inode *file(uint64_t size)
{
    struct inode *inode = inode_create(1, S_IFREG | 0644);

    inode->size = size;
    inode->state = STATE_RESIDENT;
    return inode;
}

static void assert_pins(enum pin_kind kind, size_t files, uint64_t bytes)
{
    ck_assert_uint_eq(locks.n.pins[kind].files, files);
    ck_assert_uint_eq(locks.n.pins[kind].bytes, bytes);
}

START_TEST(pins_are_bounded)
{
    struct inode *a = file(60), *b = file(50), *c = file(40);

    locks_init(&locks, 100, 1, 0);
    ck_assert_int_eq(locks_pin(&locks, a, PIN_HARD, 0), 0);
    ck_assert_int_eq(locks_pin(&locks, b, PIN_SOFT, 10), -ENOSPC);
    ck_assert_int_eq(locks_pin(&locks, b, PIN_HARD, 0), -ENOSPC);
    ck_assert(!inode_pinned(b, 0));
    ck_assert_int_eq(locks_pin(&locks, c, PIN_SOFT, 10), 0);
    assert_pins(PIN_HARD, 1, 60);
    assert_pins(PIN_SOFT, 1, 40);
    ck_assert_int_eq(locks_pin(&locks, a, PIN_SOFT, 20), 0); /* another pin of the same bytes */
    assert_pins(PIN_HARD, 0, 0);
    assert_pins(PIN_SOFT, 2, 100);
    ck_assert_int_eq(locks_pin(&locks, a, PIN_NONE, 0), 0);
    ck_assert_int_eq(locks_pin(&locks, a, PIN_NONE, 0), 0);
    ck_assert_int_eq(locks_pin(&locks, b, PIN_HARD, 0), 0);
    assert_pins(PIN_SOFT, 1, 40);
    assert_pins(PIN_HARD, 1, 50);
    inode_destroy(a);
    inode_destroy(b);
    inode_destroy(c);
}
END_TEST

START_TEST(soft_pins_end_in_order)
{
    struct inode *a = file(10), *b = file(20), *c = file(30);

    locks_init(&locks, 100, 1, 0);
    ck_assert_int_eq(locks_pin(&locks, a, PIN_SOFT, 30), 0);
    ck_assert_int_eq(locks_pin(&locks, b, PIN_SOFT, 10), 0);
    ck_assert_int_eq(locks_pin(&locks, c, PIN_SOFT, 20), 0);
    locks_expire(&locks, 10);
    assert_pins(PIN_SOFT, 3, 60);
    locks_expire(&locks, 11); /* the tick of 10 is over */
    assert_pins(PIN_SOFT, 2, 40);
    ck_assert(!inode_pinned(b, 0));
    ck_assert_int_eq(locks_pin(&locks, c, PIN_SOFT, 40), 0); /* a longer lease */
    locks_expire(&locks, 31);
    assert_pins(PIN_SOFT, 1, 30);
    ck_assert(inode_pinned(c, 30));
    locks_expire(&locks, 41);
    assert_pins(PIN_SOFT, 0, 0);
    inode_destroy(a);
    inode_destroy(b);
    inode_destroy(c);
}
END_TEST

START_TEST(pins_follow_the_file)
{
    struct inode *a = file(10), *d = file(1000);

    locks_init(&locks, 100, 1, 0);
    d->state = STATE_DISK;
    ck_assert_int_eq(locks_pin(&locks, d, PIN_HARD, 0), 0); /* nothing of it is in L1 */
    ck_assert_int_eq(locks_pin(&locks, a, PIN_HARD, 0), 0);
    assert_pins(PIN_HARD, 2, 10);
    a->size = 70;
    locks_note(&locks, a);
    assert_pins(PIN_HARD, 2, 70);
    a->state = STATE_DISCARDED;
    locks_note(&locks, a);
    locks_note(&locks, a);
    assert_pins(PIN_HARD, 1, 0);
    inode_destroy(a);
    inode_destroy(d);
}
END_TEST

/* ---- an instance ---- */

static struct core_rig r;

/* The value of user.l2fs.lock, which must be JSON. */
static json_t *lock_of(const char *path)
{
    char buf[4096];
    json_t *value;

    ck_assert_int_gt(core_get(&r, path, LOCK, buf, sizeof(buf)), 0);
    ck_assert_ptr_null(strchr(buf, '\n'));
    value = json_loads(buf, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(value != NULL, "%s", buf);
    return value;
}

static json_t *locks_in_status(void)
{
    static char buf[256 * 1024];
    ssize_t n = core_read(&r, ".l2fs/status", buf, sizeof(buf) - 1);
    json_t *status, *value;

    ck_assert_int_gt(n, 0);
    buf[n] = '\0';
    status = json_loads(buf, 0, NULL);
    value = json_incref(json_object_get(status, "locks"));
    json_decref(status);
    ck_assert_ptr_nonnull(value);
    return value;
}

/* The number at NAME or NAME.NAME... of a value, which goes. */
static json_int_t number(json_t *value, const char *a, const char *b, const char *c)
{
    json_t *at = json_object_get(value, a);
    json_int_t n;

    at = b ? json_object_get(at, b) : at;
    at = c ? json_object_get(at, c) : at;
    n = json_is_integer(at) ? json_integer_value(at) : -1;
    json_decref(value);
    return n;
}

START_TEST(readers_and_writers)
{
    struct handle *rd, *wr;
    json_t *lock;

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "0123456789", 10);
    ck_assert_int_eq(core_open_file(&r, "key", O_RDONLY, &rd), 0);
    ck_assert_int_eq(core_open_file(&r, "key", O_RDWR, &wr), 0);
    lock = lock_of("key");
    ck_assert_int_eq(json_integer_value(json_object_get(lock, "readers")), 1);
    ck_assert(json_is_true(json_object_get(lock, "writer")));
    for (int i = 0; i < 2; i++) {
        json_t *pids = json_object_get(lock, i ? "writer_pids" : "reader_pids");

        ck_assert_uint_eq(json_array_size(pids), 1);
        ck_assert_int_eq(json_integer_value(json_array_get(pids, 0)), getpid());
    }
    json_decref(lock);
    ck_assert_int_eq(number(locks_in_status(), "readers", NULL, NULL), 1);
    ck_assert_int_eq(number(locks_in_status(), "writers", NULL, NULL), 1);
    vfs_release(r.fs, rd);
    vfs_release(r.fs, wr);
    ck_assert_int_eq(number(lock_of("key"), "readers", NULL, NULL), 0);
    ck_assert_int_eq(number(locks_in_status(), "readers", NULL, NULL), 0);
    ck_assert_int_eq(number(locks_in_status(), "writers", NULL, NULL), 0);
    core_close(&r);
}
END_TEST

static pthread_barrier_t step;

static void *thread_that_opens(void *arg)
{
    struct caller c = {.pid = (pid_t)gettid()};
    struct inode *inode = core_lookup(&r, "key");
    struct waiter w = {0};

    ck_assert_int_eq(vfs_open(r.fs, inode, O_RDONLY, &c, &w, arg), 0);
    core_forget(&r, inode);
    pthread_barrier_wait(&step); /* it is open */
    pthread_barrier_wait(&step); /* that was seen */
    return NULL;
}

START_TEST(a_thread_is_shown_as_its_process)
{
    struct handle *h;
    json_t *lock, *pids;
    pthread_t thread;

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "0123456789", 10);
    pthread_barrier_init(&step, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_that_opens, &h), 0);
    pthread_barrier_wait(&step);
    lock = lock_of("key");
    pids = json_object_get(lock, "reader_pids");
    ck_assert_uint_eq(json_array_size(pids), 1);
    ck_assert_int_eq(json_integer_value(json_array_get(pids, 0)), getpid());
    json_decref(lock);
    pthread_barrier_wait(&step);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&step);
    vfs_release(r.fs, h);
    core_close(&r);
}
END_TEST

/* The object is loaded from, or stored in, a tier that answers when it is let go. */
#define HELD                                                                                       \
    "[{\"type\":\"fault\",\"inner\":{\"type\":\"mock\",\"max_size_gb\":1,"                         \
    "\"mock_bandwidth_gb\":8},\"release\":\"%s\",\"rules\":[{\"op\":\"%s\",\"action\":\"never\"}]" \
    "}]"

static char release[64];

static void open_held(const char *op)
{
    char spec[512];

    snprintf(release, sizeof(release), "/dev/shm/l2fs-locks-%d", (int)getpid());
    unlink(release);
    snprintf(spec, sizeof(spec), HELD, release, op);
    core_open(&r, spec);
}

static void let_go(void)
{
    int fd = open(release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void close_held(void)
{
    core_close(&r);
    unlink(release);
}

static void wait_state(const char *state)
{
    core_wait_attr(&r, "key", "user.l2fs.state", state);
}

START_TEST(locks_in_tiers_come_and_go)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);
    json_int_t n = 0;

    open_held("load");
    core_write(&r, "key", "0123456789", 10);
    core_wait_attr(&r, "key", "user.l2fs.store", "fault=stored");
    ck_assert_int_eq(number(lock_of("key"), "l2", "fault", "locks"), -1);
    while (core_set(&r, "key", "user.l2fs.evict", "1"))
        ck_assert(clock_now() < deadline);
    ck_assert_int_eq(core_set(&r, "key", "user.l2fs.prefetch", "1"), 0);
    while (n != 1 && clock_now() < deadline)
        n = number(lock_of("key"), "l2", "fault", "locks");
    ck_assert_int_eq(n, 1);
    ck_assert_int_lt(number(lock_of("key"), "l2", "fault", "held_ms"), 10000);
    while ((n = number(lock_of("key"), "l2", "fault", "left_ms")) < 0) /* until the load begins */
        ck_assert(clock_now() < deadline);
    ck_assert_int_gt(n, 1000);
    ck_assert_int_le(n, (json_int_t)(r.cfg.load_timeout / NSEC_PER_MSEC));
    ck_assert_int_eq(number(locks_in_status(), "l2", "fault", NULL), 1);
    let_go();
    wait_state("resident");
    while (n != -1 && clock_now() < deadline)
        n = number(lock_of("key"), "l2", "fault", "locks");
    ck_assert_int_eq(n, -1);
    ck_assert_int_eq(number(locks_in_status(), "l2", "fault", NULL), 0);
    close_held();
}
END_TEST

static size_t storing(void)
{
    json_t *lock = lock_of("key"), *list = json_object_get(lock, "storing");
    size_t n = json_array_size(list);

    if (n)
        ck_assert_str_eq(json_string_value(json_array_get(list, 0)), "fault");
    json_decref(lock);
    return n;
}

START_TEST(stores_come_and_go)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);
    size_t n = 0;

    open_held("store");
    core_write(&r, "key", "0123456789", 10);
    while (n != 1 && clock_now() < deadline)
        n = storing();
    ck_assert_uint_eq(n, 1);
    let_go();
    core_wait_attr(&r, "key", "user.l2fs.store", "fault=stored");
    while (n && clock_now() < deadline)
        n = storing();
    ck_assert_uint_eq(n, 0);
    close_held();
}
END_TEST

START_TEST(pins_of_an_instance)
{
    static char data[3 * MIB];
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    core_open(&r, CORE_MOCK);
    r.fs->locks.n.pin_limit = 5 * MIB;
    for (int i = 0; i < 3; i++)
        core_write(&r, (const char *[]){"a", "b", "c"}[i], data, sizeof(data) - (size_t)i * MIB);
    ck_assert_int_eq(core_set(&r, "a", PIN, "hard"), 0);
    ck_assert_int_eq(core_set(&r, "b", PIN, "soft=1h"), 0);
    ck_assert_int_eq(core_set(&r, "c", PIN, "hard"), -ENOSPC);
    ck_assert_int_eq(number(locks_in_status(), "pins", "limit", NULL), 5 * (json_int_t)MIB);
    ck_assert_int_eq(number(locks_in_status(), "pins", "hard", "bytes"), 3 * (json_int_t)MIB);
    ck_assert_int_eq(core_set(&r, "b", PIN, "soft=100ms"), 0);
    while (core_set(&r, "c", PIN, "hard")) /* when the lease of b has ended */
        ck_assert(clock_now() < deadline);
    ck_assert_int_eq(number(locks_in_status(), "pins", "soft", "files"), 0);
    ck_assert_int_eq(number(locks_in_status(), "pins", "hard", "bytes"), 4 * (json_int_t)MIB);
    ck_assert_int_eq(core_set(&r, "a", PIN, "none"), 0);
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "c"), -EBUSY);
    ck_assert_int_eq(core_set(&r, "c", PIN, "soft=1ms"), 0);
    while (vfs_unlink(r.fs, vfs_root(r.fs), "c"))
        ck_assert(clock_now() < deadline);
    ck_assert_int_eq(number(locks_in_status(), "pins", "hard", "bytes"), 0);
    ck_assert_int_eq(number(locks_in_status(), "pins", "soft", "bytes"), 0);
    ck_assert_int_eq(number(locks_in_status(), "pins", "soft", "files"), 0);
    core_close(&r);
}
END_TEST

START_TEST(unlock_by_force_gives_pins_back)
{
    const struct xattr_change c = {"user.l2fs.unlock", "force", 5, 0};
    const struct caller root = {.pid = getpid()};
    struct inode *inode;

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "0123456789", 10);
    ck_assert_int_eq(core_set(&r, "key", PIN, "hard"), 0);
    ck_assert_int_eq(number(locks_in_status(), "pins", "hard", "bytes"), 10);
    inode = core_lookup(&r, "key");
    ck_assert_int_eq(vfs_unlock(r.fs, inode, &c, &root), 0);
    core_forget(&r, inode);
    ck_assert_int_eq(number(locks_in_status(), "pins", "hard", "bytes"), 0);
    core_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("locks");

    suite_add(s, "pins", TESTS(pins_are_bounded, soft_pins_end_in_order, pins_follow_the_file));
    suite_add(s, "instance",
              TESTS(readers_and_writers, a_thread_is_shown_as_its_process,
                    locks_in_tiers_come_and_go, stores_come_and_go, pins_of_an_instance,
                    unlock_by_force_gives_pins_back));
    return suite_run(s);
}
