/* test_workers.c - the pool: order of work, threads kept for reads, stopping; and key locks. */
#include "workers.h"

#include <poll.h>
#include <pthread.h>

#include "clock.h"
#include "job.h"
#include "lock.h"
#include "suite.h"

#define WAIT_NS (60 * NSEC_PER_SEC)

/* An adapter of nothing: keys that begin with "wait" stop in the middle until released; all are
 * written down in the order in which they began. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char began[64]; /* one letter per key: the one after the last '/'; lock */
    size_t n_began; /* lock */
    int waiting;    /* keys that stand at the gate; lock */
    bool open;      /* the gate; lock */
    int together;   /* keys that meet before any goes on; lock */
    int dropped;    /* lock */
} fake;

static struct workers *pool;
static struct adapter owner;

static void begin(const char *key)
{
    LOCKED_SCOPE(&fake.lock);
    ck_assert_uint_lt(fake.n_began, sizeof(fake.began) - 1);
    fake.began[fake.n_began++] = key[strlen(key) - 1];
    pthread_cond_broadcast(&fake.changed);
    if (!strncmp(key, "wait", 4)) {
        fake.waiting++;
        while (!fake.open)
            pthread_cond_wait(&fake.changed, &fake.lock);
        fake.waiting--;
    }
    if (!strncmp(key, "meet", 4)) {
        fake.together--;
        while (fake.together > 0)
            pthread_cond_wait(&fake.changed, &fake.lock);
    }
}

static int result_of(const char *key)
{
    return strstr(key, "fail") ? -EIO : 0;
}

static int store_one(struct adapter *a, const char *key, const struct l2_buf *buf, uint32_t *crc32c,
                     uint64_t *bytes)
{
    ck_assert_ptr_eq(a, &owner);
    begin(key);
    *crc32c = buf->crc32c + 1;
    *bytes = buf->size;
    return result_of(key);
}

static int find_one(struct adapter *a, const char *key, uint64_t *size)
{
    ck_assert_ptr_eq(a, &owner);
    begin(key);
    *size = strlen(key);
    return result_of(key);
}

static int load_one(struct adapter *a, const char *key, struct worker_load *load,
                    struct l2_object *out)
{
    const struct l2_landed half = {.staging_id = 77, .size = 2 * LANDED_STEP, .bytes = LANDED_STEP};

    ck_assert_ptr_eq(a, &owner);
    workers_landed(load, &half);
    begin(key);
    *out = (struct l2_object){.staging_id = 77, .size = strlen(key)};
    out->xattrs.data = strdup("x");
    if (!result_of(key))
        return 0;
    free(out->xattrs.data);
    return result_of(key);
}

static void drop_one(struct adapter *a, struct l2_object *o)
{
    ck_assert_ptr_eq(a, &owner);
    ck_assert_uint_eq(o->staging_id, 77);
    LOCKED_SCOPE(&fake.lock);
    fake.dropped++;
}

static const struct worker_ops ops = {store_one, find_one, load_one, drop_one};

static void setup(void)
{
    memset(&fake, 0, sizeof(fake));
    lock_init(&fake.lock);
    cond_init(&fake.changed);
}

static void start(unsigned threads)
{
    ck_assert_int_eq(workers_start(&owner, &ops, threads, "test", &pool), 0);
}

static void open_gate(void)
{
    LOCKED_SCOPE(&fake.lock);
    fake.open = true;
    pthread_cond_broadcast(&fake.changed);
}

static void wait_began(size_t n)
{
    uint64_t deadline = clock_deadline(WAIT_NS);

    LOCKED_SCOPE(&fake.lock);
    while (fake.n_began < n)
        ck_assert_int_eq(cond_wait_until(&fake.changed, &fake.lock, deadline), 0);
}

static void wait_fd(enum l2_family family)
{
    struct pollfd p = {.fd = workers_event_fd(pool, family), .events = POLLIN};
    uint64_t count;

    ck_assert_int_eq(poll(&p, 1, 60000), 1);
    ck_assert_int_eq(read(p.fd, &count, sizeof(count)), sizeof(count));
}

static struct l2_store_result wait_store(void)
{
    struct l2_store_result r;

    while (!workers_pop_stored(pool, &r))
        wait_fd(L2_STORE);
    return r;
}

static size_t wait_lookup(l2_task task, uint64_t *sizes)
{
    struct bitmap *found;
    size_t n;
    int rc;

    while ((rc = workers_query_lookup(pool, task, &found, sizes)) == -EAGAIN)
        wait_fd(L2_LOOKUP);
    ck_assert_int_eq(rc, 0);
    n = bitmap_popcount(found);
    bitmap_destroy(found);
    return n;
}

static l2_task submit_store(const char *key)
{
    static const struct l2_buf buf = {.fd = 0, .size = 10, .crc32c = 5, .stable = true};
    l2_task task = workers_submit_store(pool, &key, &buf, 1);

    ck_assert_int_gt(task, 0);
    return task;
}

static l2_task submit_lookup(const char *key)
{
    l2_task task = workers_submit_lookup(pool, &key, 1);

    ck_assert_int_gt(task, 0);
    return task;
}

/* --- tests --- */

START_TEST(arguments)
{
    const char *key = "k";

    ck_assert_int_eq(workers_start(&owner, &ops, 0, "test", &pool), -EINVAL);
    ck_assert_int_eq(workers_start(&owner, &ops, 257, "test", &pool), -EINVAL);
    start(256);
    ck_assert_int_eq(workers_submit_lookup(pool, &key, 0), -EINVAL);
    ck_assert_int_eq(workers_submit_load(pool, &key, 0), -EINVAL);
    workers_stop(pool);
    workers_stop(NULL);
}
END_TEST

START_TEST(results_are_per_key)
{
    static const char *const keys[] = {"aa", "fail", "cccc"};
    struct l2_buf bufs[3] = {{.size = 10, .crc32c = 1}, {.size = 20}, {.size = 30, .crc32c = 3}};
    struct l2_object objects[3];
    struct l2_store_result r;
    struct bitmap *loaded;
    uint64_t sizes[3];
    l2_task task;
    int errors[3], rc;

    start(3);
    task = workers_submit_store(pool, keys, bufs, 3);
    r = wait_store();
    ck_assert_int_eq(r.task, task);
    ck_assert(r.n == 3 && r.errors[0] == 0 && r.errors[1] == -EIO && r.errors[2] == 0);
    ck_assert(r.crc32c[0] == 2 && r.crc32c[2] == 4 && r.bytes == 40);
    l2_store_result_fini(&r);
    ck_assert_uint_eq(wait_lookup(workers_submit_lookup(pool, keys, 3), sizes), 2);
    ck_assert(sizes[0] == 2 && sizes[2] == 4);
    task = workers_submit_load(pool, keys, 3);
    while ((rc = workers_query_load(pool, task, &loaded, objects, errors)) == -EAGAIN)
        wait_fd(L2_LOAD);
    ck_assert(bitmap_test(loaded, 0) && !bitmap_test(loaded, 1) && bitmap_test(loaded, 2));
    ck_assert(errors[1] == -EIO && objects[2].size == 4);
    bitmap_destroy(loaded);
    l2_object_fini(&objects[0]);
    l2_object_fini(&objects[2]);
    workers_stop(pool);
    ck_assert_int_eq(fake.dropped, 0);
}
END_TEST

START_TEST(how_far_a_load_has_come)
{
    const char *key = "wait/a";
    struct l2_landed landed;
    struct l2_object o;
    struct bitmap *loaded;
    l2_task task;
    int error;

    start(1);
    task = workers_submit_load(pool, &key, 1);
    wait_began(1);
    ck_assert_int_eq(workers_query_landed(pool, task + 1, &landed), -ENOENT);
    ck_assert_int_eq(workers_query_landed(pool, task, &landed), 0);
    ck_assert(landed.staging_id == 77 && landed.bytes == LANDED_STEP);
    ck_assert_int_eq(workers_query_landed(pool, task, &landed), -EAGAIN);
    open_gate();
    while (workers_query_load(pool, task, &loaded, &o, &error) == -EAGAIN)
        wait_fd(L2_LOAD);
    ck_assert_int_eq(workers_query_landed(pool, task, &landed), -ENOENT);
    bitmap_destroy(loaded);
    l2_object_fini(&o);
    workers_stop(pool);
}
END_TEST

START_TEST(reads_go_before_stores)
{
    const char *load = "load/l";
    struct l2_object o;
    struct bitmap *loaded;
    l2_task task;
    int error;

    start(1);
    submit_store("wait/0");
    wait_began(1);
    submit_store("store/s");
    task = workers_submit_load(pool, &load, 1);
    submit_lookup("lookup/f");
    open_gate();
    wait_began(4);
    ck_assert_str_eq(fake.began, "0fls");
    while (workers_query_load(pool, task, &loaded, &o, &error) == -EAGAIN)
        wait_fd(L2_LOAD);
    bitmap_destroy(loaded);
    l2_object_fini(&o);
    workers_stop(pool);
}
END_TEST

START_TEST(one_thread_is_left_for_reads)
{
    uint64_t size;

    start(3);
    submit_store("wait/1");
    wait_began(1); /* two threads that take two jobs begin them in either order */
    submit_store("wait/2");
    wait_began(2);
    submit_store("wait/3");
    ck_assert_uint_eq(wait_lookup(submit_lookup("lookup/f"), &size), 1);
    ck_assert_uint_eq(wait_lookup(submit_lookup("lookup/g"), &size), 1);
    ck_assert_str_eq(fake.began, "12fg");
    open_gate();
    wait_began(5);
    ck_assert_str_eq(fake.began, "12fg3");
    workers_stop(pool);
}
END_TEST

START_TEST(keys_of_a_task_run_side_by_side)
{
    static const char *const keys[] = {"meet/1", "meet/2", "meet/3", "meet/4"};
    uint64_t sizes[4];

    fake.together = 4;
    start(4);
    ck_assert_uint_eq(wait_lookup(workers_submit_lookup(pool, keys, 4), sizes), 4);
    workers_stop(pool);
}
END_TEST

static void *stop_main(void *arg)
{
    workers_stop(arg);
    return NULL;
}

START_TEST(stop_fails_what_is_queued)
{
    static const char *const loads[] = {"wait/1", "x/2", "x/3"};
    const char *late = "x/6";
    pthread_t stopper;
    l2_task task;
    int loaded = 0;

    start(1);
    task = workers_submit_load(pool, loads, 3);
    ck_assert_int_gt(task, 0);
    wait_began(1);
    submit_store("x/4");
    submit_lookup("x/5");
    ck_assert_int_eq(pthread_create(&stopper, NULL, stop_main, pool), 0);
    /* The queue is emptied before the running key is waited for: a submit tells when. */
    while (workers_submit_lookup(pool, &late, 1) != -ESHUTDOWN)
        sched_yield();
    open_gate();
    pthread_join(stopper, NULL);
    for (const char *c = fake.began; *c; c++)
        loaded += *c >= '1' && *c <= '3';
    ck_assert_int_ge(loaded, 1);
    ck_assert_int_eq(fake.dropped, loaded);
}
END_TEST

START_TEST(stop_gives_up_objects_nobody_took)
{
    static const char *const keys[] = {"a", "fail", "c"};

    start(2);
    ck_assert_int_gt(workers_submit_load(pool, keys, 3), 0);
    wait_fd(L2_LOAD);
    workers_stop(pool);
    ck_assert_int_eq(fake.dropped, 2);
}
END_TEST

/* --- key locks --- */

START_TEST(keylocks_count_and_stop_at_zero)
{
    struct keylocks *l = keylocks_create();

    ck_assert_ptr_nonnull(l);
    keylocks_put(l, "k");
    ck_assert(!keylocks_held(l, "k"));
    ck_assert_int_eq(keylocks_get(l, "k"), 0);
    ck_assert_int_eq(keylocks_get(l, "k"), 0);
    ck_assert_int_eq(keylocks_get(l, "other"), 0);
    ck_assert_uint_eq(keylocks_count(l), 2);
    keylocks_put(l, "k");
    ck_assert(keylocks_held(l, "k"));
    keylocks_put(l, "k");
    ck_assert(!keylocks_held(l, "k"));
    keylocks_put(l, "k");
    ck_assert_int_eq(keylocks_get(l, "k"), 0);
    ck_assert(keylocks_held(l, "k"));
    ck_assert_int_eq(keylocks_get(l, "k"), 0);
    ck_assert_uint_eq(keylocks_drop(l, "k"), 2);
    ck_assert_uint_eq(keylocks_drop(l, "k"), 0);
    ck_assert(!keylocks_held(l, "k"));
    keylocks_destroy(l);
    keylocks_destroy(NULL);
}
END_TEST

static void *lock_and_unlock(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        char key[2] = {(char)('a' + i % 7)};

        ck_assert_int_eq(keylocks_get(arg, key), 0);
        ck_assert(keylocks_held(arg, key));
        keylocks_put(arg, key);
    }
    return NULL;
}

START_TEST(keylocks_from_many_threads)
{
    struct keylocks *l = keylocks_create();
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, lock_and_unlock, l), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(keylocks_count(l), 0);
    keylocks_destroy(l);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        arguments,
        results_are_per_key,
        how_far_a_load_has_come,
        reads_go_before_stores,
        one_thread_is_left_for_reads,
        keys_of_a_task_run_side_by_side,
        stop_fails_what_is_queued,
        stop_gives_up_objects_nobody_took,
        keylocks_count_and_stop_at_zero,
        keylocks_from_many_threads,
    };
    Suite *s = suite_create("workers");
    TCase *tc = tcase_create("workers");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 120);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
