/* test_prefetch.c - warm-ups, read-ahead and loading keys on an instance without a front. Loads that
 * must stand still are held by the fault adapter until its release file appears.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "clock.h"
#include "suite.h"
#include "vfsrig.h"

#define HELD                                                                                       \
    "[{\"type\":\"fault\",\"inner\":{\"type\":\"fs\",\"base_path\":\"@DIR@\"},"                    \
    "\"release\":\"%s\",\"rules\":[{\"op\":\"load\",\"action\":\"never\"}]}]"

static struct vfsrig r;
static char release[64];

static void setup(void)
{
    vfsrig_init(&r, NULL);
    r.cfg.load_timeout = 20 * NSEC_PER_SEC;
}

static void held(int64_t requests)
{
    char spec[512];

    snprintf(release, sizeof(release), "/dev/shm/l2fs-hold-%d", (int)getpid());
    unlink(release);
    snprintf(spec, sizeof(spec), HELD, release);
    vfsrig_init(&r, spec);
    r.cfg.load_timeout = 80 * NSEC_PER_SEC;
    r.cfg.prefetch_requests = requests;
    vfsrig_start(&r);
}

static void setup_held(void)
{
    held(8);
}

static void setup_narrow(void)
{
    held(1);
}

static void teardown(void)
{
    if (*release)
        unlink(release);
    vfsrig_fini(&r);
}

static void let_go(void)
{
    int fd = open(release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static int set(const char *path, const char *value)
{
    struct inode *inode = *path ? vfsrig_find(&r, path) : vfs_root(r.fs);

    ck_assert_ptr_nonnull(inode);
    return vfs_setxattr(r.fs, inode, "user.l2fs.prefetch", value, strlen(value), 0);
}

static const char *name(char buf[32], const char *fmt, int i)
{
    snprintf(buf, 32, fmt, i);
    return buf;
}

/* Keys 0..n-1 named by fmt, in L2 only. */
static void put_many(const char *fmt, int n, size_t size)
{
    char buf[32];

    for (int i = 0; i < n; i++)
        ck_assert_int_eq(vfsrig_put(&r, name(buf, fmt, i), size, (unsigned)i), 0);
    vfsrig_wait_stored(&r);
    for (int i = 0; i < n; i++)
        if (vfsrig_state(&r, name(buf, fmt, i)) == STATE_RESIDENT)
            ck_assert_int_eq(vfsrig_evict(&r, buf), 0);
}

static int count(const char *fmt, int n, enum state state)
{
    char buf[32];
    int found = 0;

    for (int i = 0; i < n; i++)
        found += vfsrig_state(&r, name(buf, fmt, i)) == state;
    return found;
}

/* A load that waits for its turn of the key is known to L1 only. */
static bool idle(void)
{
    struct prefetch_status s;

    prefetch_ctl_status(r.fs->prefetch_ctl, &s);
    LOCKED_SCOPE(&r.fs->ns->lock);
    return !warm_count_locked(r.fs) && !r.fs->l1.promised && !s.queued && !s.lookup && !s.load;
}

static void wait_idle(void)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    while (!idle()) {
        ck_assert_msg(clock_now() < deadline, "a warm-up never ended");
        usleep(2000);
    }
}

static void wait_state(const char *path, enum state state)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    while (vfsrig_state(&r, path) != state) {
        ck_assert_msg(clock_now() < deadline, "%s is %s, not %s", path,
                      state_name(vfsrig_state(&r, path)), state_name(state));
        usleep(1000);
    }
}

static int error_of(const char *path)
{
    const struct inode *inode = vfsrig_find(&r, path);

    LOCKED_SCOPE(&r.fs->ns->lock);
    return inode && inode->extra ? inode->extra->error : 0;
}

/* ---- warm-ups ---- */

START_TEST(warm_a_key)
{
    vfsrig_start(&r);
    put_many("k%d", 2, 10000);
    ck_assert_int_eq(set("k0", "1"), 0);
    wait_state("k0", STATE_RESIDENT);
    wait_idle();
    ck_assert_int_eq(vfsrig_state(&r, "k1"), STATE_EVICTED);
    ck_assert_int_eq(vfsrig_check(&r, "k0", 10000, 0), 0);
    ck_assert_int_eq(set("k0", "1"), 0); /* is there: nothing happens */
    ck_assert_int_eq(set("k0", "2"), -EINVAL);
    ck_assert(idle());
}
END_TEST

START_TEST(warm_a_tree)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d/e"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d/empty"), 0);
    put_many("d/k%d", 70, 3000); /* more than two batches */
    put_many("d/e/k%d", 40, 3000);
    put_many("x%d", 3, 3000);
    ck_assert_int_eq(set("d", "1"), 0);
    wait_idle();
    ck_assert_int_eq(count("d/k%d", 70, STATE_RESIDENT), 70);
    ck_assert_int_eq(count("d/e/k%d", 40, STATE_RESIDENT), 40);
    ck_assert_int_eq(count("x%d", 3, STATE_RESIDENT), 0);
    for (int i = 0; i < 70; i += 23) {
        char buf[32];

        ck_assert_int_eq(vfsrig_check(&r, name(buf, "d/k%d", i), 3000, (unsigned)i), 0);
    }
    ck_assert_int_eq(set("", "1"), 0); /* the root, .l2fs not */
    wait_idle();
    ck_assert_int_eq(count("x%d", 3, STATE_RESIDENT), 3);
}
END_TEST

/* What was there leaves for it; what it loaded does not; it ends when L1 is full of that. */
START_TEST(warm_more_than_fits)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "old"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    put_many("d/k%02d", 40, 4 * MIB); /* 160 MiB; L1 is 64 */
    for (int i = 0; i < 8; i++) {
        char buf[32];

        ck_assert_int_eq(vfsrig_put(&r, name(buf, "old/k%d", i), 4 * MIB, 1), 0);
    }
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(set("d", "1"), 0);
    wait_idle();
    ck_assert_int_ge(count("d/k%02d", 40, STATE_RESIDENT), 8);
    ck_assert_int_eq(count("d/k%02d", 8, STATE_RESIDENT), 8); /* the first ones stayed */
    ck_assert_int_lt(count("d/k%02d", 40, STATE_RESIDENT), 17);
    ck_assert_int_eq(count("d/k%02d", 40, STATE_LOADING), 0);
    ck_assert_int_lt(count("old/k%d", 8, STATE_RESIDENT), 8);
}
END_TEST

/* No space at all: it waits, gives up, says so, and leaves nothing behind. */
START_TEST(warm_without_space)
{
    struct handle *h[14];
    char buf[32];

    r.cfg.space_wait = 100 * NSEC_PER_MSEC;
    vfsrig_start(&r);
    put_many("k%d", 3, 10 * MIB);
    for (int i = 0; i < 14; i++) { /* open: cannot leave */
        ck_assert_int_eq(vfsrig_put(&r, name(buf, "o%d", i), 4 * MIB, 1), 0);
        ck_assert_int_eq(vfsrig_open(&r, buf, O_RDONLY, &h[i]), 0);
    }
    ck_assert_int_eq(set("", "1"), 0);
    wait_idle();
    ck_assert_int_eq(count("k%d", 3, STATE_EVICTED), 3);
    ck_assert_int_eq(error_of("k0"), -ENOSPC);
    for (int i = 0; i < 14; i++)
        vfsrig_close(&r, h[i]);
    r.cfg.space_wait = 20 * NSEC_PER_SEC; /* now there is something to wait for */
    ck_assert_int_eq(set("k0", "1"), 0);
    wait_state("k0", STATE_RESIDENT);
    ck_assert_int_eq(error_of("k0"), 0);
}
END_TEST

START_TEST(warm_larger_than_l1)
{
    struct inode *big;

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    put_many("d/k%d", 3, MIB);
    big = vfsrig_find(&r, "d/k1");
    lock(&r.fs->ns->lock);
    big->size = r.cfg.l1 + 1; /* as another mount with more memory made it */
    unlock(&r.fs->ns->lock);
    ck_assert_int_eq(set("d/k1", "1"), -EFBIG);
    ck_assert_int_eq(set("d", "1"), 0);
    wait_idle();
    ck_assert_int_eq(vfsrig_state(&r, "d/k0"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_state(&r, "d/k2"), STATE_RESIDENT);
    ck_assert_int_eq(error_of("d/k1"), -EFBIG);
}
END_TEST

START_TEST(warm_is_stopped)
{
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    r.cfg.prefetch_requests = 1;
    put_many("d/k%02d", 40, 1000);
    ck_assert_int_eq(set("d", "1"), 0);
    wait_state("d/k00", STATE_LOADING);
    ck_assert_int_eq(set("d", "0"), 0);
    let_go();
    wait_idle();
    ck_assert_int_eq(count("d/k%02d", 40, STATE_EVICTED), 8); /* one batch was under way */
}
END_TEST

START_TEST(removed_while_warming)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    put_many("d/k%02d", 60, 1000);
    ck_assert_int_eq(set("d", "1"), 0);
    for (int i = 59; i >= 0; i--) {
        char buf[32];

        ck_assert_int_eq(vfsrig_unlink(&r, name(buf, "d/k%02d", i)), 0);
    }
    wait_idle();
    ck_assert_int_eq(count("d/k%02d", 60, STATE_ABSENT), 60);
}
END_TEST

START_TEST(stopped_while_warming)
{
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    put_many("d/k%02d", 60, 100000);
    ck_assert_int_eq(set("d", "1"), 0);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "d/k00", 100000, 0), 0);
}
END_TEST

/* ---- loading keys ---- */

START_TEST(open_joins_a_warm_up)
{
    struct handle *h;

    put_many("k%d", 1, 5000);
    ck_assert_int_eq(set("k0", "1"), 0);
    wait_state("k0", STATE_LOADING);
    ck_assert_int_eq(vfsrig_open(&r, "k0", O_RDONLY | O_NONBLOCK, &h), 0);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), 0);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_DATA), -ENXIO);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_HOLE), 0);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 1, SEEK_HOLE), 1);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 5000, SEEK_HOLE), -ENXIO);
    let_go();
    ck_assert_int_eq(vfsrig_check(&r, "k0", 5000, 0), 0);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), POLLIN);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_DATA), 0);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_HOLE), 5000);
    vfsrig_close(&r, h);
}
END_TEST

static void wait_loads(size_t queued, size_t load)
{
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);
    struct prefetch_status s;

    for (;;) {
        prefetch_ctl_status(r.fs->prefetch_ctl, &s);
        if (s.queued == queued && s.load == load)
            return;
        ck_assert_msg(clock_now() < deadline, "%zu queued, %zu loading", s.queued, s.load);
        usleep(1000);
    }
}

/* Also one that does not wait is not behind warm-ups. */
START_TEST(open_overtakes_warm_ups)
{
    struct handle *h;

    put_many("k%d", 2, 5000);
    ck_assert_int_eq(set("k0", "1"), 0);
    ck_assert_int_eq(set("k1", "1"), 0);
    wait_loads(1, 1);
    wait_state("k1", STATE_LOADING);
    ck_assert_int_eq(vfsrig_open(&r, "k1", O_RDONLY | O_NONBLOCK, &h), 0);
    wait_loads(0, 2);
    let_go();
    vfsrig_close(&r, h);
    wait_idle();
}
END_TEST

/* Opened while it was loading, it is a file like any other once it has loaded. */
START_TEST(unlinked_after_it_loaded)
{
    struct handle *h;
    char buf[5000], want[5000];

    put_many("k%d", 1, 5000);
    ck_assert_int_eq(vfsrig_open(&r, "k0", O_RDONLY | O_NONBLOCK, &h), 0);
    let_go();
    ck_assert_int_eq(vfsrig_read(&r, h, buf, 1, 0), 1);
    ck_assert_int_eq(vfsrig_unlink(&r, "k0"), 0);
    vfsrig_fill(want, 5000, 0);
    ck_assert_int_eq(vfsrig_read(&r, h, buf, 5000, 0), 5000);
    ck_assert_mem_eq(buf, want, 5000);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), POLLIN);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_HOLE), 5000);
    vfsrig_close(&r, h);
}
END_TEST

/* The removal does not wait for the load; what arrives later is given back. */
START_TEST(unlinked_while_loading)
{
    struct handle *h;

    put_many("k%d", 1, 5000);
    ck_assert_int_eq(vfsrig_open(&r, "k0", O_RDONLY | O_NONBLOCK, &h), 0);
    ck_assert_int_eq(vfsrig_state(&r, "k0"), STATE_LOADING);
    ck_assert_int_eq(vfsrig_unlink(&r, "k0"), 0);
    ck_assert_uint_eq(vfs_poll(r.fs, h, NULL), POLLERR);
    ck_assert_int_eq(vfs_lseek(r.fs, h, 0, SEEK_DATA), -EIO);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_put(&r, "k0", 77, 3), 0);
    let_go();
    wait_idle();
    ck_assert_int_eq(vfsrig_check(&r, "k0", 77, 3), 0);
    ck_assert_uint_eq(r.fs->l1.promised, 0);
}
END_TEST

START_TEST(sparse_file_keeps_its_data)
{
    struct handle *h;
    char *got = calloc(1, 3 * MIB);

    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_create(&r, "k", O_RDWR, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "begin", 5, 0), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "end", 3, 3 * MIB - 3), 0);
    vfsrig_close(&r, h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDONLY, &h), 0);
    for (off_t off = 0;
         off < (off_t)(3 * MIB);) { /* all that is not zero is in what counts as data */
        off_t data = vfs_lseek(r.fs, h, off, SEEK_DATA);
        off_t hole = data >= 0 ? vfs_lseek(r.fs, h, data, SEEK_HOLE) : (off_t)(3 * MIB);

        if (data < 0)
            break;
        ck_assert_int_eq(vfsrig_read(&r, h, got + data, (size_t)(hole - data), data), hole - data);
        off = hole;
    }
    ck_assert_mem_eq(got, "begin", 6);
    ck_assert_mem_eq(got + 3 * MIB - 4, "\0end", 4);
    vfsrig_close(&r, h);
    free(got);
}
END_TEST

/* ---- read-ahead ---- */

START_TEST(names_that_follow)
{
    static const struct {
        const char *from;
        unsigned run;
        const char *to;
    } cases[] = {
        {"k1", 0, "k2"},         {"k09.bin", 0, "k10.bin"},
        {"k99", 0, "k100"},      {"000", 0, "001"},
        {"999", 0, "1000"},      {"l3_k7", 0, "l4_k7"},
        {"l3_k7", 1, "l3_k8"},   {"l3_k7", 2, NULL},
        {"key", 0, NULL},        {"", 0, NULL},
        {"9", 0, "10"},          {"a0b", 0, "a1b"},
        {"x1y2z3", 2, "x1y2z4"},
    };
    char long_name[KEY_NAME_MAX + 1], out[KEY_NAME_MAX + 1];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert(readahead_name(cases[i].from, cases[i].run, out) == !!cases[i].to);
        if (cases[i].to)
            ck_assert_str_eq(out, cases[i].to);
    }
    memset(long_name, '9', KEY_NAME_MAX);
    long_name[KEY_NAME_MAX] = '\0';
    ck_assert(!readahead_name(long_name, 0, out));
}
END_TEST

static void read_one(const char *fmt, int i)
{
    char buf[32];

    ck_assert_int_eq(vfsrig_check(&r, name(buf, fmt, i), 2000, (unsigned)i), 0);
    wait_idle();
}

/* 1, 2, 4, ... keys ahead, once two opens followed each other. */
static void check_window(const char *fmt)
{
    read_one(fmt, 0);
    ck_assert_int_eq(count(fmt, 32, STATE_RESIDENT), 1);
    read_one(fmt, 1);
    ck_assert_int_eq(count(fmt, 32, STATE_RESIDENT), 3);
    read_one(fmt, 2);
    ck_assert_int_eq(count(fmt, 5, STATE_RESIDENT), 5);
    ck_assert_int_eq(count(fmt, 32, STATE_RESIDENT), 5);
    read_one(fmt, 3);
    ck_assert_int_eq(count(fmt, 8, STATE_RESIDENT), 8);
    ck_assert_int_eq(count(fmt, 32, STATE_RESIDENT), 8);
    read_one(fmt, 4);
    ck_assert_int_eq(count(fmt, 32, STATE_RESIDENT), 13);
    read_one(fmt, 5);
    ck_assert_int_eq(count(fmt, 32, STATE_RESIDENT), 14); /* never more than 8 */
}

START_TEST(window_by_listing)
{
    vfsrig_start(&r);
    put_many("k%x-h", 32, 2000); /* 9, a, ...: not by number */
    check_window("k%x-h");
}
END_TEST

START_TEST(window_by_number)
{
    char buf[32];

    vfsrig_start(&r);
    for (int i = 31; i >= 0; i--) /* listed the other way round */
        ck_assert_int_eq(vfsrig_put(&r, name(buf, "c%04d.bin", i), 2000, (unsigned)i), 0);
    vfsrig_wait_stored(&r);
    for (int i = 0; i < 32; i++)
        ck_assert_int_eq(vfsrig_evict(&r, name(buf, "c%04d.bin", i)), 0);
    check_window("c%04d.bin");
}
END_TEST

START_TEST(window_ends_with_the_sequence)
{
    vfsrig_start(&r);
    put_many("k%02d", 32, 2000);
    read_one("k%02d", 0);
    read_one("k%02d", 1);
    read_one("k%02d", 2);
    ck_assert_int_eq(count("k%02d", 32, STATE_RESIDENT), 5);
    read_one("k%02d", 20);
    read_one("k%02d", 10);
    read_one("k%02d", 30);
    ck_assert_int_eq(count("k%02d", 32, STATE_RESIDENT), 8);
    read_one("k%02d", 31); /* and begins again; there is nothing after the last */
    ck_assert_int_eq(count("k%02d", 32, STATE_RESIDENT), 9);
}
END_TEST

START_TEST(readers_side_by_side)
{
    static const int order[] = {0, 1, 3, 2, 5, 4};

    vfsrig_start(&r);
    put_many("k%02d", 32, 2000);
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        read_one("k%02d", order[i]);
    ck_assert_int_ge(count("k%02d", 32, STATE_RESIDENT), 6 + 4);
}
END_TEST

START_TEST(readahead_off)
{
    r.cfg.readahead_keys = 0;
    vfsrig_start(&r);
    put_many("k%02d", 8, 2000);
    for (int i = 0; i < 4; i++)
        read_one("k%02d", i);
    ck_assert_int_eq(count("k%02d", 8, STATE_RESIDENT), 4);
}
END_TEST

START_TEST(readahead_is_bounded_in_bytes)
{
    r.cfg.prefetch_bytes = 3000; /* one key */
    vfsrig_start(&r);
    put_many("k%02d", 16, 2000);
    for (int i = 0; i < 4; i++)
        read_one("k%02d", i);
    ck_assert_int_eq(count("k%02d", 16, STATE_RESIDENT), 5);
}
END_TEST

static void add(Suite *s, const char *what, void (*begin)(void), const TTest *const *tests)
{
    TCase *tc = tcase_create(what);

    tcase_add_checked_fixture(tc, begin, teardown);
    tcase_set_timeout(tc, 60);
    for (; *tests; tests++)
        tcase_add_test(tc, *tests);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("prefetch");

    add(s, "warm", setup,
        TESTS(warm_a_key, warm_a_tree, warm_more_than_fits, warm_without_space, warm_larger_than_l1,
              removed_while_warming, stopped_while_warming));
    add(s, "held", setup_held,
        TESTS(warm_is_stopped, open_joins_a_warm_up, unlinked_after_it_loaded,
              unlinked_while_loading));
    add(s, "narrow", setup_narrow, TESTS(open_overtakes_warm_ups));
    add(s, "data", setup, TESTS(sparse_file_keeps_its_data));
    add(s, "readahead", setup,
        TESTS(window_by_listing, window_by_number, window_ends_with_the_sequence,
              readers_side_by_side, readahead_off, readahead_is_bounded_in_bytes));
    suite_add(s, "names", TESTS(names_that_follow));
    return suite_run(s);
}
