/* test_stream.c - reads of a key while it loads (open=stream): what has landed is there, the end is not
 * before the verification, and who read what failed gets an error. The tiers load as far as the test
 * says (load_fake.h), or are real ones.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>

#include "clock.h"
#include "direct.h"
#include "load_fake.h"
#include "prefetch.h"
#include "suite.h"
#include "vfsrig.h"
#include "xattr.h"

#define ONE "[" FAKE_SLOW "]"
#define TWO "[" FAKE_SLOW "," FAKE_SLOW "]"

static struct vfsrig r;
static char got[FAKE_SIZE];

/* A read that is on its way. */
struct read {
    struct waiter w;
    sem_t back;
    struct handle *h;
    off_t off;
    size_t len;
};

static void setup(void)
{
    fake_reset();
}

static void begin(const char *spec, enum open_mode mode)
{
    vfsrig_init(&r, spec);
    r.cfg.open = mode;
    r.cfg.load_timeout = 40 * NSEC_PER_SEC;
    r.cfg.readahead_keys = 0;
    vfsrig_start(&r);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

static struct handle *opened(int flags)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_open(&r, FAKE_KEY, O_RDONLY | flags, &h), 0);
    return h;
}

static void on_retry(struct waiter *w)
{
    sem_post(&container_of(w, struct read, w)->back);
}

static ssize_t call(struct read *q)
{
    const void *direct;
    ssize_t n = vfs_read(r.fs, q->h, got, q->len, q->off, &q->w, &direct);

    return n > 0 && direct ? direct_copy(got, direct, (size_t)n) : n;
}

static void begins(struct read *q, struct handle *h, uint64_t off, size_t len)
{
    q->w.retry = on_retry;
    sem_init(&q->back, 0, 0);
    q->h = h;
    q->off = (off_t)off;
    q->len = len;
}

static void waits(struct read *q, struct handle *h, uint64_t off, size_t len)
{
    memset(q, 0, sizeof(*q));
    begins(q, h, off, len);
    ck_assert_int_eq(call(q), -EINPROGRESS);
}

static ssize_t ends(struct read *q)
{
    struct timespec ts;
    ssize_t n;

    do {
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_sec += 20;
        ck_assert_msg(!sem_timedwait(&q->back, &ts), "a read was never woken");
        n = call(q);
    } while (n == -EINPROGRESS);
    return n;
}

static bool right(uint64_t off, size_t len)
{
    return !memcmp(got, fake_bytes(off), len);
}

static void gives(struct handle *h, uint64_t off, size_t len)
{
    ck_assert_int_eq(vfsrig_read(&r, h, got, len, (off_t)off), (ssize_t)len);
    ck_assert(right(off, len));
}

static void fails(struct handle *h, uint64_t off, size_t len)
{
    ck_assert_int_eq(vfsrig_read(&r, h, got, len, (off_t)off), -EIO);
}

/* ---- a load that goes well ---- */

START_TEST(bytes_as_they_land)
{
    struct handle *h;
    struct read q;
    char state[16] = "";

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    waits(&q, h, 0, MIB);
    fake_land(0, FAKE_SIZE / 2);
    ck_assert_int_eq(ends(&q), MIB);
    ck_assert(right(0, MIB));
    gives(h, FAKE_SIZE / 2 - 100, 100);
    waits(&q, h, FAKE_SIZE / 2 - 100, 101);
    /* Nothing else says that it is there. */
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), 0);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_DATA), -ENXIO);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_HOLE), 0);
    ck_assert_int_gt(vfs_getxattr(r.fs, h->inode, "user.l2fs.state", state, sizeof(state)), 0);
    ck_assert_str_eq(state, "loading");
    fake_land(0, FAKE_SIZE / 4 * 3);
    ck_assert_int_eq(ends(&q), 101);
    ck_assert(right(FAKE_SIZE / 2 - 100, 101));
    vfsrig_close(&r, h);
    fake_end(0, 0);
}
END_TEST

START_TEST(the_end_stands_for_the_checksum)
{
    struct handle *h;
    struct read end, all;

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    waits(&all, h, 0, FAKE_SIZE + 1);
    fake_land(0, FAKE_SIZE);
    gives(h, FAKE_SIZE - 101, 100);
    waits(&end, h, FAKE_SIZE - 1, 1);
    fake_end(0, 0);
    ck_assert_int_eq(ends(&end), 1);
    ck_assert(right(FAKE_SIZE - 1, 1));
    ck_assert_int_eq(ends(&all), FAKE_SIZE);
    ck_assert(right(0, FAKE_SIZE));
    ck_assert_int_eq(vfsrig_state(&r, FAKE_KEY), STATE_RESIDENT);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), POLLIN);
    gives(h, 0, FAKE_SIZE);
    vfsrig_close(&r, h);
}
END_TEST

/* Opened while it is resident, it is what it always was. */
START_TEST(residents_are_not_streamed)
{
    struct handle *h;

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    fake_end(0, 0);
    gives(h, 0, FAKE_SIZE);
    vfsrig_close(&r, h);
    h = opened(0);
    ck_assert_int_eq(h->mode, HANDLE_BACKED);
    vfsrig_close(&r, h);
}
END_TEST

/* What is not verified is for those alone who asked for it with the mount. */
START_TEST(without_stream_all_is_waited_for)
{
    struct handle *h;
    struct read q;

    begin(ONE, OPEN_WAIT);
    h = opened(O_NONBLOCK);
    fake_land(0, FAKE_SIZE / 2);
    waits(&q, h, 0, 1);
    fake_land(0, FAKE_SIZE);
    mailbox_call(r.fs->mailbox, NULL, NULL);
    ck_assert_int_ne(sem_trywait(&q.back), 0);
    fake_end(0, 0);
    ck_assert_int_eq(ends(&q), 1);
    vfsrig_close(&r, h);
}
END_TEST

START_TEST(page_caches_get_what_is_verified)
{
    struct handle *h;
    struct read q = {.w = {.cached = true}};

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    fake_land(0, FAKE_SIZE / 2);
    gives(h, 0, 1);
    begins(&q, h, 0, 1);
    ck_assert_int_eq(call(&q), -EINPROGRESS);
    fake_land(0, FAKE_SIZE - 1);
    gives(h, FAKE_SIZE / 2, 1);
    ck_assert_int_ne(sem_trywait(&q.back), 0);
    fake_end(0, 0);
    ck_assert_int_eq(ends(&q), 1);
    vfsrig_close(&r, h);
}
END_TEST

/* ---- loads that fail ---- */

START_TEST(corrupt_is_never_read_to_the_end)
{
    struct handle *h, *hungry;
    struct read q, p;

    begin(ONE, OPEN_STREAM);
    fake_spoil(0);
    h = opened(0);
    hungry = opened(0);
    fake_land(0, FAKE_SIZE);
    ck_assert_int_eq(vfsrig_read(&r, h, got, MIB, 0), MIB);
    ck_assert(!right(0, MIB));
    waits(&q, h, MIB, FAKE_SIZE);
    waits(&p, hungry, 0, FAKE_SIZE);
    fake_end(0, -EBADMSG);
    ck_assert_int_eq(ends(&q), -EIO);
    ck_assert_int_eq(ends(&p), -EIO);
    vfsrig_close(&r, hungry);
    fails(h, 0, 1);
    fails(h, FAKE_SIZE - 1, 1);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), POLLERR);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_open(&r, FAKE_KEY, O_RDONLY, &h), -ENOENT);
}
END_TEST

START_TEST(nothing_ever_lands)
{
    struct handle *h;
    struct read q;

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    waits(&q, h, 0, 1);
    fake_end(0, -EIO);
    ck_assert_int_eq(ends(&q), -EIO);
    fails(h, 0, 1);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_state(&r, FAKE_KEY), STATE_EVICTED);
}
END_TEST

/* The next tier has it: for those who read nothing of the one that failed. */
START_TEST(the_next_tier_is_for_others)
{
    static const int errors[] = {-EBADMSG, -EIO};
    struct handle *fed, *hungry;
    struct read q, p;

    begin(TWO, OPEN_STREAM);
    fake_spoil(0);
    fed = opened(0);
    hungry = opened(0);
    fake_land(0, FAKE_SIZE / 2);
    ck_assert_int_eq(vfsrig_read(&r, fed, got, 1, 0), 1);
    waits(&q, fed, FAKE_SIZE / 2, FAKE_SIZE / 2);
    waits(&p, hungry, FAKE_SIZE / 2, 1);
    fake_end(0, errors[_i]);
    ck_assert_int_eq(ends(&q), -EIO);
    fake_land(1, FAKE_SIZE / 4);
    gives(hungry, 0, FAKE_SIZE / 4);
    fails(fed, 0, 1);
    fake_end(1, 0);
    ck_assert_int_eq(ends(&p), 1);
    gives(hungry, 0, FAKE_SIZE);
    fails(fed, 0, 1);
    fails(fed, FAKE_SIZE - 1, 1);
    vfsrig_close(&r, fed);
    vfsrig_close(&r, hungry);
    ck_assert_int_eq(vfsrig_state(&r, FAKE_KEY), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_check(&r, FAKE_KEY, FAKE_SIZE, 1), 0);
}
END_TEST

START_TEST(a_tier_that_begins_anew)
{
    struct handle *fed, *hungry;
    struct read q;

    begin(ONE, OPEN_STREAM);
    fed = opened(0);
    hungry = opened(0);
    fake_land(0, FAKE_SIZE / 2);
    gives(fed, 0, 1);
    waits(&q, fed, FAKE_SIZE / 2, 2);
    fake_again(0);
    fake_land(0, FAKE_SIZE / 4);
    ck_assert_int_eq(ends(&q), -EIO);
    gives(hungry, 0, FAKE_SIZE / 4);
    fake_end(0, 0);
    gives(hungry, 0, FAKE_SIZE);
    fails(fed, 0, FAKE_SIZE);
    vfsrig_close(&r, fed);
    vfsrig_close(&r, hungry);
}
END_TEST

/* It is another version than the tree knows. */
START_TEST(another_size_is_not_streamed)
{
    struct handle *h;
    struct read q;

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    fake_resize(0, FAKE_SIZE - 4096);
    fake_land(0, FAKE_SIZE / 2);
    waits(&q, h, 0, 1);
    fake_resize(0, FAKE_SIZE);
    fake_end(0, 0);
    ck_assert_int_eq(ends(&q), 1);
    gives(h, 0, FAKE_SIZE);
    vfsrig_close(&r, h);
}
END_TEST

static uint64_t promised(void)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    return r.fs->l1.promised;
}

START_TEST(removed_while_it_streams)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);
    struct handle *h;
    struct read q;

    begin(ONE, OPEN_STREAM);
    h = opened(0);
    fake_land(0, FAKE_SIZE / 2);
    gives(h, 0, MIB);
    waits(&q, h, FAKE_SIZE / 2, 1);
    ck_assert_int_eq(vfsrig_unlink(&r, FAKE_KEY), 0);
    ck_assert_int_eq(ends(&q), -EIO);
    fails(h, 0, 1);
    fake_end(0, 0);
    vfsrig_close(&r, h);
    while (promised() && clock_now() < deadline) /* the load has its end on the loop thread */
        usleep(1000);
    ck_assert_uint_eq(promised(), 0);
}
END_TEST

/* A tier that stands still is given up at its deadline, and what it brings later is given back. */
START_TEST(a_tier_that_stands_still)
{
    struct handle *h;
    struct read q;

    vfsrig_init(&r, TWO);
    r.cfg.open = OPEN_STREAM;
    r.cfg.load_timeout = 2 * NSEC_PER_SEC;
    vfsrig_start(&r);
    h = opened(0);
    fake_land(0, FAKE_SIZE / 2);
    gives(h, 0, MIB);
    waits(&q, h, FAKE_SIZE / 2, 1);
    ck_assert_int_eq(ends(&q), -EIO);
    fails(h, 0, 1);
    fake_end(1, 0);
    fake_end(0, 0);
    fails(h, 0, 1);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_check(&r, FAKE_KEY, FAKE_SIZE, 1), 0);
}
END_TEST

/* ---- a real tier ---- */

/* Reads in pieces as cat does. How many bytes came before the end or the error *err. */
static size_t read_through(const char *path, int *err)
{
    struct handle *h;
    size_t at = 0;
    ssize_t n;

    ck_assert_int_eq(vfsrig_open(&r, path, O_RDONLY, &h), 0);
    while ((n = vfsrig_read(&r, h, got + at, 128 * KIB, (off_t)at)) > 0)
        at += (size_t)n;
    vfsrig_close(&r, h);
    *err = (int)n;
    return at;
}

static void put_cold(const char *key, size_t size)
{
    ck_assert_int_eq(vfsrig_put(&r, key, size, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, key), 0);
}

START_TEST(from_the_fs_adapter)
{
    static const size_t sizes[] = {0, 1, MIB, 6 * MIB + 1, FAKE_SIZE - 4097};
    int err;

    begin(NULL, OPEN_STREAM);
    put_cold("f", sizes[_i]);
    ck_assert_uint_eq(read_through("f", &err), sizes[_i]);
    ck_assert_int_eq(err, 0);
    ck_assert(right(0, sizes[_i]));
}
END_TEST

static void spoil_on_disk(const char *key, uint64_t at)
{
    AUTO_FREE char *path = NULL;
    AUTO_CLOSE int fd = -1;
    char byte;

    ck_assert_int_gt(asprintf(&path, "%s/data/%s", r.dir, key), 0);
    fd = open(path, O_RDWR);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
}

START_TEST(spoilt_on_disk)
{
    static const uint64_t places[] = {5, 3 * MIB, 7 * MIB - 1};
    int err;

    begin(NULL, OPEN_STREAM);
    put_cold("f", 7 * MIB);
    spoil_on_disk("f", places[_i]);
    ck_assert_uint_lt(read_through("f", &err), 7 * MIB);
    ck_assert_int_eq(err, -EIO);
}
END_TEST

#define FAULT(rule)                                                                                \
    "[{\"type\":\"fault\",\"inner\":{\"type\":\"fs\",\"base_path\":\"@DIR@\"},\"rules\":[" rule    \
    "]}]"

/* What holds its answers back until let_go. */
static char release[64];

static void begin_held(void)
{
    AUTO_FREE char *spec = NULL;

    snprintf(release, sizeof(release), "/dev/shm/l2fs-hold-%d", (int)getpid());
    ck_assert_int_gt(asprintf(&spec,
                              "[{\"type\":\"fault\",\"inner\":{\"type\":\"fs\",\"base_path\":"
                              "\"@DIR@\"},\"release\":\"%s\",\"rules\":"
                              "[{\"op\":\"load\",\"action\":\"never\"}]}]",
                              release),
                     0);
    unlink(release);
    begin(spec, OPEN_STREAM);
}

static void let_go(void)
{
    close(open(release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* A tier that is late with its answer is not late with its bytes. */
START_TEST(held_by_the_fault_adapter)
{
    struct handle *h;

    begin_held();
    put_cold("f", 7 * MIB);
    ck_assert_int_eq(vfsrig_open(&r, "f", O_RDONLY, &h), 0);
    gives(h, 0, MIB);
    ck_assert_int_eq(vfsrig_state(&r, "f"), STATE_LOADING);
    let_go();
    gives(h, 0, 7 * MIB);
    vfsrig_close(&r, h);
    unlink(release);
}
END_TEST

static void read_ahead(const char *first, const char *second)
{
    const struct load_purpose purpose = {.background = true, .mode = PLAN_PREFIX};
    struct inode *inodes[] = {vfsrig_find(&r, first), vfsrig_find(&r, second)};
    struct load_batch *b = load_batch_create(r.fs, &purpose);

    LOCKED_SCOPE(&r.fs->ns->lock);
    for (size_t i = 0; i < ARRAY_SIZE(inodes); i++)
        ck_assert_int_eq(load_batch_add_locked(b, inodes[i]), 0);
    load_batch_submit_locked(b);
}

/* A key before it is lost, which ends the read-ahead, but not the load of what somebody opened. */
START_TEST(opened_amid_a_read_ahead)
{
    struct handle *h;
    struct read q;

    begin_held();
    put_cold("bad", MIB);
    put_cold("good", MIB);
    spoil_on_disk("bad", 5);
    read_ahead("bad", "good");
    ck_assert_int_eq(vfsrig_open(&r, "good", O_RDONLY, &h), 0);
    waits(&q, h, 0, MIB);
    let_go();
    ck_assert_int_eq(ends(&q), MIB);
    ck_assert(right(0, MIB));
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_open(&r, "bad", O_RDONLY, &h), -ENOENT);
    unlink(release);
}
END_TEST

/* Nor does that end what somebody reads while it lands. */
START_TEST(streamed_amid_a_read_ahead)
{
    static const char *const keys[] = {"k1", "k2", "k3", "k4", "k5"};
    struct handle *h[ARRAY_SIZE(keys)] = {NULL};

    begin_held();
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        put_cold(keys[i], 4 * MIB);
    spoil_on_disk("k4", 5);
    r.cfg.readahead_keys = 8;
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(vfsrig_open(&r, keys[i], O_RDONLY, &h[i]), 0);
    ck_assert_int_eq(vfsrig_state(&r, "k4"), STATE_LOADING);
    ck_assert_int_eq(vfsrig_state(&r, "k5"), STATE_LOADING);
    ck_assert_int_eq(vfsrig_open(&r, "k5", O_RDONLY, &h[4]), 0);
    gives(h[4], 0, MIB);
    let_go();
    gives(h[4], 0, 4 * MIB);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (h[i])
            vfsrig_close(&r, h[i]);
    unlink(release);
}
END_TEST

/* Half of it came, or a byte is wrong. */
START_TEST(spoilt_on_the_way)
{
    static const char *const specs[] = {FAULT("{\"op\":\"load\",\"action\":\"short\"}"),
                                        FAULT("{\"op\":\"load\",\"action\":\"corrupt\"}")};
    int err;

    begin(specs[_i], OPEN_STREAM);
    put_cold("f", 7 * MIB);
    ck_assert_uint_lt(read_through("f", &err), 7 * MIB);
    ck_assert_int_eq(err, -EIO);
}
END_TEST

static void add(Suite *s, const char *what, const TTest *const *tests, int n)
{
    TCase *tc = tcase_create(what);

    tcase_add_checked_fixture(tc, setup, teardown);
    for (; *tests; tests++)
        tcase_add_loop_test(tc, *tests, 0, n);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("stream");

    add(s, "well",
        TESTS(bytes_as_they_land, the_end_stands_for_the_checksum, residents_are_not_streamed,
              without_stream_all_is_waited_for, page_caches_get_what_is_verified),
        1);
    add(s, "fail",
        TESTS(corrupt_is_never_read_to_the_end, nothing_ever_lands, a_tier_that_begins_anew,
              another_size_is_not_streamed, removed_while_it_streams, a_tier_that_stands_still),
        1);
    add(s, "next", TESTS(the_next_tier_is_for_others), 2);
    add(s, "real", TESTS(from_the_fs_adapter), 5);
    add(s, "spoilt", TESTS(spoilt_on_disk), 3);
    add(s, "fault", TESTS(spoilt_on_the_way), 2);
    add(s, "held",
        TESTS(held_by_the_fault_adapter, opened_amid_a_read_ahead, streamed_amid_a_read_ahead), 1);
    return suite_run(s);
}
