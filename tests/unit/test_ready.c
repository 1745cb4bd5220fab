/* test_ready.c - .l2fs/ready: waiting for a request whose keys come from peers. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>

#include "clock.h"
#include "suite.h"
#include "vfsrig.h"

static struct vfsrig r;

static void setup(void)
{
    vfsrig_init(&r, "[{\"type\":\"null\"}]");
    r.cfg.load_timeout = 300 * NSEC_PER_MSEC;
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

static int try_to_say(const char *req_id)
{
    struct arrivals *a = &r.fs->arrive.base;

    return a->ready(a, req_id, 0);
}

static void say(const char *req_id)
{
    ck_assert_int_eq(try_to_say(req_id), 0);
}

static void say_lost(const char *req_id)
{
    struct arrivals *a = &r.fs->arrive.base;

    ck_assert_int_eq(a->ready(a, req_id, -EIO), 0);
}

static bool take_name(void *arg, const struct vfs_dirent *e)
{
    struct text *names = arg;

    if (e->name[0] != '.')
        text_printf(names, "%s ", e->name);
    return true;
}

static void assert_listed(const char *expected)
{
    struct text names = {0};

    ck_assert_int_eq(vfs_readdir(r.fs, vfsrig_find(&r, ".l2fs/ready"), 0, false, take_name, &names),
                     0);
    ck_assert_str_eq(names.data ? names.data : "", expected);
    text_fini(&names);
}

static void assert_line(struct handle *h, const char *req_id)
{
    char buf[200], start[100];
    ssize_t n = vfsrig_read(&r, h, buf, sizeof(buf) - 1, 0);

    ck_assert_int_gt(n, 0);
    buf[n] = '\0';
    snprintf(start, sizeof(start), "{\"req_id\":\"%s\",\"at\":\"20", req_id);
    ck_assert_int_eq(strncmp(buf, start, strlen(start)), 0);
    ck_assert_str_eq(buf + n - 3, "\"}\n");
    ck_assert_int_eq(vfsrig_read(&r, h, buf, sizeof(buf), n), 0);
}

START_TEST(opens_when_it_is_ready)
{
    struct handle *h;

    vfsrig_start(&r);
    say("7");
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/7", O_RDONLY, &h), 0);
    assert_line(h, "7");
    vfsrig_close(&r, h);
    assert_listed("7 ");
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/7", O_WRONLY, &h), -EACCES);
    ck_assert_int_eq(vfsrig_unlink(&r, ".l2fs/ready/7"), -EPERM);
}
END_TEST

START_TEST(one_that_never_comes)
{
    struct handle *h;

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/8", O_RDONLY, &h), -ENOENT);
    assert_listed("");
    ck_assert_uint_eq(r.fs->ns->files, 0);
}
END_TEST

static void on_change(struct waiter *w)
{
    (void)w;
}

static void *open_it(void *arg)
{
    struct handle *h;
    int err = vfsrig_open(&r, ".l2fs/ready/9", O_RDONLY, &h);

    *(int *)arg = err;
    if (!err)
        vfsrig_close(&r, h);
    return NULL;
}

#define OPENERS 3

static void start_opening(pthread_t *threads, int *results)
{
    r.cfg.load_timeout = 30 * NSEC_PER_SEC;
    vfsrig_start(&r);
    for (int i = 0; i < OPENERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, open_it, &results[i]), 0);
    for (size_t waiting = 0; waiting < OPENERS; usleep(1000)) {
        struct list *l;

        LOCKED_SCOPE(&r.fs->ns->lock);
        waiting = 0;
        list_for_each(l, &r.fs->waiters) waiting++;
    }
}

static void assert_opened(const pthread_t *threads, const int *results, int expected)
{
    for (int i = 0; i < OPENERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(results[i], expected);
    }
}

START_TEST(an_open_waits)
{
    pthread_t threads[OPENERS];
    int results[OPENERS];

    start_opening(threads, results);
    say("9");
    assert_opened(threads, results, 0);
}
END_TEST

/* Who waits is told, and who comes later; until all of it has come after all. */
START_TEST(one_that_is_lost)
{
    struct waiter w = {.retry = on_change};
    pthread_t threads[OPENERS];
    int results[OPENERS];
    struct handle *h;
    char buf[10];

    start_opening(threads, results);
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/9", O_RDONLY | O_NONBLOCK, &h), 0);
    say_lost("9");
    assert_opened(threads, results, -EIO);
    ck_assert_uint_eq(vfs_poll(r.fs, h, &w), POLLERR);
    ck_assert_int_eq(vfsrig_read(&r, h, buf, sizeof(buf), 0), -EIO);
    vfsrig_close(&r, h);
    assert_listed("");
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/9", O_RDONLY, &h), -EIO);
    say("9");
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/9", O_RDONLY, &h), 0);
    assert_line(h, "9");
    vfsrig_close(&r, h);
    say_lost("8");
    ready_tick(r.fs, clock_deadline(READY_TTL_NS + NSEC_PER_SEC));
    ck_assert_uint_eq(r.fs->readies.nsaid, 0);
}
END_TEST

START_TEST(poll_tells)
{
    struct waiter w = {.retry = on_change}, other = {.retry = on_change};
    struct handle *h;
    char buf[10];

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/a-b", O_RDONLY | O_NONBLOCK, &h), 0);
    ck_assert_int_eq(vfsrig_read(&r, h, buf, sizeof(buf), 0), -EAGAIN);
    ck_assert_uint_eq(vfs_poll(r.fs, h, &w), 0);
    say("a-b");
    mailbox_call(r.fs->mailbox, NULL, NULL); /* w came back */
    ck_assert(!list_linked(&w.link));
    ck_assert_uint_eq(vfs_poll(r.fs, h, &other), POLLIN | POLLRDNORM);
    assert_line(h, "a-b");
    vfsrig_close(&r, h);
}
END_TEST

START_TEST(said_twice_and_names_that_are_none)
{
    char name[300];

    vfsrig_start(&r);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    say("");
    say(".");
    say("..");
    say("a/b");
    say(name);
    assert_listed("");
    say("1");
    say("2");
    say("1");
    assert_listed("1 2 ");
    ck_assert_uint_eq(r.fs->readies.nsaid, 2);
}
END_TEST

/* Time is what ready_tick is told. */
START_TEST(over_after_its_time)
{
    struct handle *open, *h;
    struct inode *inode;
    struct stat st;
    bool settled;

    vfsrig_start(&r);
    say("1");
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/1", O_RDONLY, &open), 0);
    ck_assert_int_eq(vfs_lookup(r.fs, r.fs->readies.dir, "asked", &inode, &st, &settled), 0);
    ready_tick(r.fs, clock_now());
    ck_assert_uint_eq(r.fs->readies.nsaid, 1);
    ck_assert_uint_eq(r.fs->readies.nasked, 1);
    ready_tick(r.fs, clock_deadline(READY_TTL_NS + NSEC_PER_SEC));
    ck_assert_uint_eq(r.fs->readies.nsaid, 0);
    ck_assert_uint_eq(r.fs->readies.nasked, 0);
    assert_listed("");
    assert_line(open, "1"); /* who has it open has its line */
    vfsrig_close(&r, open);
    ck_assert_int_eq(vfs_open(r.fs, inode, O_RDONLY, &(struct caller){0}, NULL, &h), -ESTALE);
    vfs_forget(r.fs, inode, 1);
}
END_TEST

/* Who polls keeps the file; no more than READY_MAX are kept all the same. */
START_TEST(the_oldest_go)
{
    struct waiter w = {.retry = on_change};
    struct handle *h;
    char name[24];

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/polled", O_RDONLY | O_NONBLOCK, &h), 0);
    ready_tick(r.fs, clock_deadline(READY_TTL_NS));
    ck_assert_uint_eq(r.fs->readies.nasked, 1);
    for (unsigned i = 0; i < READY_MAX + 10; i++) {
        snprintf(name, sizeof(name), "%u", i);
        say(name);
    }
    ck_assert_uint_eq(r.fs->readies.nsaid, READY_MAX);
    ck_assert_ptr_null(vfsrig_find(&r, ".l2fs/ready/9"));
    ck_assert_ptr_nonnull(vfsrig_find(&r, ".l2fs/ready/10"));
    ck_assert_uint_eq(r.fs->readies.nasked, 1);
    for (unsigned i = 0; i < READY_MAX; i++) {
        LOCKED_SCOPE(&r.fs->ns->lock);
        snprintf(name, sizeof(name), "asked%u", i);
        ck_assert_ptr_nonnull(ready_lookup_locked(r.fs, name));
    }
    ck_assert_uint_eq(r.fs->readies.nasked, READY_MAX);
    ck_assert_uint_eq(vfs_poll(r.fs, h, &w), POLLERR);
    vfsrig_close(&r, h);
    ck_assert_uint_eq(r.fs->ns->files, 0);
}
END_TEST

/* A receiver takes messages before the tree is there. */
START_TEST(said_while_the_mount_starts)
{
    struct handle *h;

    vfsrig_start(&r);
    atomic_store(&r.fs->arrive.open, false);
    say("early");
    assert_listed("");
    arrive_open(r.fs);
    assert_listed("early ");
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/ready/early", O_RDONLY, &h), 0);
    assert_line(h, "early");
    vfsrig_close(&r, h);
    atomic_store(&r.fs->arrive.open, false);
    say("never built");
}
END_TEST

START_TEST(too_many_while_the_mount_starts)
{
    vfsrig_start(&r);
    atomic_store(&r.fs->arrive.open, false);
    for (unsigned i = 0; i < READY_MAX; i++)
        say("again and again");
    ck_assert_int_eq(try_to_say("one more"), -ENOMEM);
    arrive_open(r.fs);
    assert_listed("again and again ");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ready");
    TCase *tc = tcase_create("ready");
    const TTest *const tests[] = {opens_when_it_is_ready,
                                  one_that_never_comes,
                                  an_open_waits,
                                  one_that_is_lost,
                                  poll_tells,
                                  said_twice_and_names_that_are_none,
                                  over_after_its_time,
                                  the_oldest_go,
                                  said_while_the_mount_starts,
                                  too_many_while_the_mount_starts};

    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
