/* test_nomem.c - what is replaced stays as it was when memory runs out half way. Linked with --wrap:
 * the allocations of a call of this thread fail one after the other, the first, then the second, ...
 */
#include "config.h"

#include "arrive_fixture.h"
#include "suite.h"

static struct vfsrig r;
static __thread unsigned left; /* allocations until the one that fails; 0: none does */

static bool fails(void)
{
    return left && --left == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

struct attempt {
    void (*begin)(void); /* everything as it was before */
    int (*run)(void);
    void (*refused)(void);
    void (*done)(void);
};

/* With the first, second, ... allocation of `run` failing, until it needs no more. How often it was
 * refused. */
static unsigned refusals(const struct attempt *a)
{
    unsigned n = 0;

    for (unsigned at = 1; at < 100; at++) {
        bool enough;
        int err;

        a->begin();
        left = at;
        err = a->run();
        enough = left;
        left = 0;
        if (err)
            ck_assert_int_eq(err, -ENOMEM);
        n += err != 0;
        if (err)
            a->refused();
        else
            a->done();
        if (enough)
            return n;
    }
    ck_abort_msg("it needs ever more");
}

/* The next name in `d` needs a longer list. */
static void setup(void)
{
    char name[8] = "d/a";

    vfsrig_init(&r, "[{\"type\":\"null\"}]");
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    for (; name[2] < 'a' + 8; name[2]++)
        ck_assert_int_eq(vfsrig_put(&r, name, 3000, 7), 0);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

/* --- rename(2) of a file --- */

static void put_both(void)
{
    ck_assert_int_eq(vfsrig_put(&r, "from", 3000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "d/b", 3000, 2), 0);
    vfsrig_wait_stored(&r);
}

static int rename_file(void)
{
    return vfsrig_rename(&r, "from", "d/b");
}

static void both_are_there(void)
{
    ck_assert_int_eq(vfsrig_check(&r, "from", 3000, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "d/b", 3000, 2), 0);
}

static void is_renamed(void)
{
    ck_assert_ptr_null(vfsrig_find(&r, "from"));
    ck_assert_int_eq(vfsrig_check(&r, "d/b", 3000, 1), 0);
}

START_TEST(rename_keeps_both_files)
{
    ck_assert_uint_ge(
        refusals(&(struct attempt){put_both, rename_file, both_are_there, is_renamed}), 2);
}
END_TEST

/* --- of a directory --- */

static void make_dirs(void)
{
    if (!vfsrig_find(&r, "dir"))
        ck_assert_int_eq(vfsrig_mkdir(&r, "dir"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "dir/key", 3000, 1), 0);
    if (vfsrig_find(&r, "d/empty/key"))
        ck_assert_int_eq(vfsrig_unlink(&r, "d/empty/key"), 0);
    if (!vfsrig_find(&r, "d/empty"))
        ck_assert_int_eq(vfsrig_mkdir(&r, "d/empty"), 0);
    vfsrig_wait_stored(&r);
}

static int rename_dir(void)
{
    return vfsrig_rename(&r, "dir", "d/empty");
}

static void dirs_are_there(void)
{
    ck_assert_int_eq(vfsrig_check(&r, "dir/key", 3000, 1), 0);
    ck_assert_ptr_nonnull(vfsrig_find(&r, "d/empty"));
}

static void dir_is_renamed(void)
{
    ck_assert_ptr_null(vfsrig_find(&r, "dir"));
    ck_assert_int_eq(vfsrig_check(&r, "d/empty/key", 3000, 1), 0);
}

START_TEST(rename_keeps_both_directories)
{
    ck_assert_uint_ge(
        refusals(&(struct attempt){make_dirs, rename_dir, dirs_are_there, dir_is_renamed}), 1);
}
END_TEST

/* --- publication --- */

static struct arrival what;

static void reserve_new(void)
{
    if (!strcmp(what.key, "d/b"))
        ck_assert_int_eq(vfsrig_put(&r, "d/b", 3000, 2), 0);
    else if (vfsrig_find(&r, what.key))
        ck_assert_int_eq(vfsrig_unlink(&r, what.key), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(peer_of(&r)->reserve(peer_of(&r), &what), 0);
}

static int publish(void)
{
    struct arrivals *a = peer_of(&r);
    unsigned at = left;
    uint64_t id;
    int err;

    left = 0;
    id = peer_bytes(a, what.size, 1);
    left = at;
    err = a->publish(a, &what, id);
    if (err)
        a->drop(a, what.size, id);
    return err;
}

static void old_is_there(void)
{
    ck_assert_int_eq(vfsrig_check(&r, "d/b", 3000, 2), 0);
    ck_assert_uint_eq(rig_promised(&r), 0);
}

static void nothing_is_there(void)
{
    ck_assert_ptr_null(vfsrig_find(&r, what.key));
    ck_assert_uint_eq(rig_promised(&r), 0);
}

static void new_is_there(void)
{
    ck_assert_int_eq(vfsrig_check(&r, what.key, what.size, 1), 0);
    ck_assert_uint_eq(rig_promised(&r), 0);
}

START_TEST(publication_keeps_the_old_version)
{
    what = peer_describe("d/b", 5000, 1);
    what.ttl = 3600 * NSEC_PER_SEC;
    ck_assert_uint_ge(refusals(&(struct attempt){reserve_new, publish, old_is_there, new_is_there}),
                      4);
}
END_TEST

/* What of its directories is not used is freed (asan looks). */
START_TEST(publication_makes_directories)
{
    what = peer_describe("new/dir/key", 5000, 1);
    ck_assert_uint_ge(
        refusals(&(struct attempt){reserve_new, publish, nothing_is_there, new_is_there}), 5);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nomem");
    TCase *tc = tcase_create("replaced");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, rename_keeps_both_files);
    tcase_add_test(tc, rename_keeps_both_directories);
    tcase_add_test(tc, publication_keeps_the_old_version);
    tcase_add_test(tc, publication_makes_directories);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
