/* test_evict.c - room in L1: watermark, ratio and policy, who never leaves, waiting for room, live
 * settings, what is told. Each test has an instance of its own, with 64 MiB of L1.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"
#include "suite.h"
#include "vfsrig.h"

#define CONFIG ".l2fs/config"
#define MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":8}"
#define FAULT(rule)                                                                                \
    "[{\"type\":\"fault\",\"inner\":" MOCK ",\"rules\":[{\"op\":\"store\"," rule "}]}]"
#define UNSTORED FAULT("\"key\":\"u*\",\"action\":\"fail\"")

static struct vfsrig r;

static void start(int policy, double watermark, double ratio)
{
    vfsrig_init(&r, "[" MOCK "]");
    r.cfg.l1_policy = policy;
    r.cfg.l1_watermark = watermark;
    r.cfg.l1_ratio = ratio;
    r.cfg.pin_max = 1;
    vfsrig_start(&r);
}

static void teardown(void)
{
    vfsrig_fini(&r);
}

/* --- waiting until the loop thread has done what it was asked --- */

struct barrier {
    struct letter letter;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done; /* mutex */
};

static void arrive(struct letter *l)
{
    struct barrier *b = container_of(l, struct barrier, letter);

    LOCKED_SCOPE(&b->mutex);
    b->done = true;
    pthread_cond_signal(&b->cond);
}

static void pass_barrier(void)
{
    struct barrier b = {.letter.run = arrive};
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    list_init(&b.letter.link);
    lock_init(&b.mutex);
    cond_init(&b.cond);
    mailbox_post(r.fs->mailbox, &b.letter);
    lock(&b.mutex);
    while (!b.done)
        ck_assert_int_eq(cond_wait_until(&b.cond, &b.mutex, deadline), 0);
    unlock(&b.mutex);
}

static bool busy(void)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    return r.fs->evictor.posted || r.fs->evictor.left;
}

/* No run of the evictor is under way. */
static void settle(void)
{
    do
        pass_barrier();
    while (busy());
}

/* --- keys --- */

static void put(const char *key, size_t mib)
{
    ck_assert_int_eq(vfsrig_put(&r, key, mib * MIB, 1), 0);
}

/* It is in every tier; other keys may not be. */
static void wait_stored(const char *key)
{
    struct inode *inode = vfsrig_find(&r, key);
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    LOCKED_SCOPE(&r.fs->ns->lock);
    while (!inode->tiers)
        ck_assert_int_eq(cond_wait_until(&r.fs->stored_cond, &r.fs->ns->lock, deadline), 0);
}

/* PREFIX0, PREFIX1, ... of 1 MiB, each stored before the next. */
static void put_many(const char *prefix, int from, int to)
{
    char key[32];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof(key), "%s%d", prefix, i);
        put(key, 1);
        wait_stored(key);
        settle();
    }
}

static void use(const char *key)
{
    struct handle *h;

    ck_assert_int_eq(vfsrig_open(&r, key, O_RDONLY, &h), 0);
    vfsrig_close(&r, h);
}

static bool resident(const char *key)
{
    return vfsrig_state(&r, key) == STATE_RESIDENT;
}

static uint64_t used(void)
{
    uint64_t bytes, size;

    staging_space(r.fs->staging, &bytes, &size);
    return bytes / MIB;
}

static int set(const char *path, const char *name, const char *value)
{
    return vfs_setxattr(r.fs, vfsrig_find(&r, path), name, value, strlen(value), 0);
}

static void pin(const char *key, const char *value)
{
    ck_assert_int_eq(set(key, "user.l2fs.pin", value), 0);
}

static int64_t evicted(enum evict_cause why)
{
    return metric_value(r.fs->evictor.place.evicted[why]);
}

/* --- when, and how much --- */

START_TEST(watermark_and_ratio)
{
    start(EVICT_LRU, 0.5, 0.25);
    put_many("k", 0, 31); /* beside each writer there is what it was promised */
    ck_assert_uint_eq(used(), 31);
    ck_assert_int_eq(evicted(CAUSE_WATERMARK), 0);
    put_many("k", 31, 33);
    ck_assert_uint_ge(used(), 23); /* three quarters of the watermark, one for what is promised */
    ck_assert_uint_le(used(), 25);
    ck_assert_int_ge(evicted(CAUSE_WATERMARK), 8);
    ck_assert(!resident("k0"));
    ck_assert(resident("k31"));
}
END_TEST

START_TEST(noop_evicts_nothing)
{
    start(EVICT_NOOP, 0.5, 0.25);
    r.cfg.space_wait = 100 * NSEC_PER_MSEC;
    put_many("k", 0, 63);
    ck_assert_uint_eq(used(), 63);
    ck_assert_int_eq(vfsrig_put(&r, "more", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "too much", MIB, 1), -ENOSPC);
    ck_assert_int_eq(evicted(CAUSE_WATERMARK) + evicted(CAUSE_SPACE), 0);
    ck_assert(resident("k0"));
}
END_TEST

/* --- which --- */

static const int policies[] = {EVICT_LRU, EVICT_FIFO, EVICT_S3FIFO};

START_TEST(used_ones_stay_but_for_fifo)
{
    start(policies[_i], 0.5, 0.25);
    put_many("k", 0, 31);
    use("k0");
    use("k2");
    put_many("k", 31, 33);
    ck_assert(resident("k0") == (policies[_i] != EVICT_FIFO));
    ck_assert(resident("k2") == (policies[_i] != EVICT_FIFO));
    ck_assert(!resident("k1"));
    ck_assert(!resident("k3"));
}
END_TEST

/* Keys that are written and never read push out what is used only under LRU and FIFO. */
START_TEST(a_pass_of_new_keys_leaves_the_hot_ones_to_s3fifo)
{
    start(policies[_i], 0.5, 0.25);
    put_many("hot", 0, 4);
    for (int i = 0; i < 4; i++)
        for (int times = 0; times < 3; times++) {
            char key[16];

            snprintf(key, sizeof(key), "hot%d", i);
            use(key);
        }
    put_many("k", 0, 60);
    for (int i = 0; i < 4; i++) {
        char key[16];

        snprintf(key, sizeof(key), "hot%d", i);
        ck_assert(resident(key) == (policies[_i] == EVICT_S3FIFO));
    }
}
END_TEST

/* The open that a load is for is no second use. */
START_TEST(loaded_once_is_a_newcomer)
{
    start(EVICT_S3FIFO, 0.5, 0.25);
    put_many("k", 0, 2);
    ck_assert_int_eq(vfsrig_evict(&r, "k0"), 0);
    use("k0");
    put_many("l", 0, 31);
    ck_assert(!resident("k0"));
}
END_TEST

/* --- who never leaves --- */

START_TEST(open_pinned_and_unstored_never_leave)
{
    struct handle *h;

    vfsrig_init(&r, UNSTORED);
    r.cfg.l1_watermark = 0.5;
    r.cfg.drain_timeout = NSEC_PER_MSEC;
    vfsrig_start(&r);
    put_many("o", 0, 1);
    ck_assert_int_eq(vfsrig_open(&r, "o0", O_RDONLY, &h), 0);
    put_many("p", 0, 1);
    pin("p0", "hard");
    put_many("s", 0, 1);
    pin("s0", "soft=1h");
    put("u0", 1);
    settle();
    put_many("k", 0, 80);
    ck_assert_int_gt(evicted(CAUSE_WATERMARK), 45);
    ck_assert(resident("o0") && resident("p0") && resident("s0") && resident("u0"));
    vfsrig_close(&r, h);
    pin("p0", "none");
    pin("s0", "none");
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_ratio", "1"), 0);
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_watermark", "0.05"), 0);
    settle();
    ck_assert(!resident("o0") && !resident("p0") && !resident("s0"));
    ck_assert(resident("u0"));
}
END_TEST

/* A soft pin that ends asks nobody; it is found. */
START_TEST(soft_pin_ends)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    start(EVICT_LRU, 0.5, 0.25);
    put_many("p", 0, 1);
    pin("p0", "soft=1h");
    put_many("k", 0, 4);
    for (int i = 0; i < 4; i++)
        pin((char[]){'k', (char)('0' + i), 0}, "hard");
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_watermark", "0.05"), 0);
    settle();
    ck_assert(resident("p0"));
    pin("p0", "soft=300ms");
    while (resident("p0")) {
        ck_assert(clock_now() < deadline);
        pass_barrier();
    }
    ck_assert(resident("k0"));
}
END_TEST

/* --- no room --- */

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

START_TEST(all_pinned_is_enospc_after_space_wait)
{
    uint64_t begun, cpu;

    start(EVICT_LRU, 0.5, 0.25);
    r.cfg.space_wait = NSEC_PER_SEC;
    for (int i = 0; i < 64; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        put_many("k", i, i + 1);
        pin(key, "hard");
    }
    begun = clock_now();
    cpu = cpu_ns();
    ck_assert_int_eq(vfsrig_put(&r, "more", MIB, 1), -ENOSPC);
    ck_assert_uint_ge(clock_now() - begun, NSEC_PER_SEC);
    ck_assert_uint_lt(cpu_ns() - cpu, 300 * NSEC_PER_MSEC); /* it slept */
    ck_assert_uint_eq(used(), 64);
    pin("k7", "none");
    r.cfg.space_wait = 30 * NSEC_PER_SEC;
    put("more", 1);
    ck_assert(!resident("k7"));
}
END_TEST

/* Writers faster than the tier wait at create until something was stored and has left. */
START_TEST(create_waits_for_stores)
{
    vfsrig_init(&r, FAULT("\"key\":\"*\",\"action\":\"delay\",\"delay\":\"300ms\""));
    r.cfg.l1_watermark = 1; /* nothing leaves before somebody waits */
    vfsrig_start(&r);
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        put(key, 1);
    }
    ck_assert_int_ge(evicted(CAUSE_SPACE), 1);
}
END_TEST

/* Others' promises, not bytes in use, keep a create waiting: nothing to evict, nothing to spin on. */
START_TEST(promised_room_is_waited_for)
{
    struct handle *h;
    uint64_t cpu;

    start(EVICT_LRU, 0.8, 0.2);
    r.cfg.space_wait = 500 * NSEC_PER_MSEC;
    put("first", 40); /* what is written here needs 40 MiB */
    ck_assert_int_eq(vfsrig_evict(&r, "first"), 0);
    ck_assert_int_eq(vfsrig_create(&r, "a", O_WRONLY, &h), 0);
    cpu = cpu_ns();
    ck_assert_int_eq(vfsrig_put(&r, "b", MIB, 1), -ENOSPC);
    ck_assert_uint_lt(cpu_ns() - cpu, 200 * NSEC_PER_MSEC);
    vfsrig_close(&r, h);
    put("b", 1);
}
END_TEST

/* With open=stream as well: where there is no room yet, a blocking open waits, and one with O_NONBLOCK says so. */
START_TEST(streamed_open_waits_for_room)
{
    struct handle *h;

    start(EVICT_LRU, 1, 0.2);
    r.cfg.open = OPEN_STREAM;
    put("a", 40);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    put("b", 40);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "b", O_RDONLY, &h), 0);
    ck_assert_int_eq(vfsrig_open(&r, "a", O_RDONLY | O_NONBLOCK, &(struct handle *){0}), -EAGAIN);
    vfsrig_close(&r, h);
    ck_assert_int_eq(vfsrig_open(&r, "a", O_RDONLY, &h), 0);
    vfsrig_close(&r, h);
}
END_TEST

/* --- live settings --- */

START_TEST(settings_take_effect)
{
    char value[32];

    start(EVICT_LRU, 1, 0.5);
    put_many("k", 0, 40);
    ck_assert_uint_eq(used(), 40);
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_policy", "FIFO"), 0);
    use("k0");
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_watermark", "0.5"), 0);
    settle();
    ck_assert_uint_le(used(), 17); /* half of the watermark, and one promised */
    ck_assert(!resident("k0"));    /* so the policy did, too */
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_ratio", "0.01"), 0);
    put_many("l", 0, 32);
    ck_assert_uint_ge(used(), 30);
    ck_assert_int_eq(
        vfs_getxattr(r.fs, vfsrig_find(&r, CONFIG), "user.l2fs.l1_watermark", value, sizeof(value)),
        3);
    ck_assert(!memcmp(value, "0.5", 3));
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_policy", "S3-FIFO"), 0);
    ck_assert_int_eq(r.fs->l1.policy, EVICT_S3FIFO);
}
END_TEST

START_TEST(settings_are_checked)
{
    start(EVICT_LRU, 0.8, 0.2);
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_watermark", "0.04"), -EINVAL);
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_watermark", "1.01"), -EINVAL);
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_ratio", "0"), -EINVAL);
    ck_assert_int_eq(set(CONFIG, "user.l2fs.l1_policy", "MRU"), -EINVAL);
    ck_assert_int_eq(l1_set_watermark(&r.fs->l1, 0.0 / 0.0), -EINVAL);
    ck_assert_int_eq(l1_set_ratio(&r.fs->l1, 1.5), -EINVAL);
    ck_assert_int_eq(l1_set_policy(&r.fs->l1, EVICT_NOOP + 1), -EINVAL);
    ck_assert(r.fs->l1.watermark == 0.8 && r.fs->l1.ratio == 0.2);
    ck_assert_int_eq(r.fs->l1.policy, EVICT_LRU);
}
END_TEST

/* --- what is told --- */

/* All lines that are there now. */
static void read_events(struct handle *h, char *buf, size_t size)
{
    ssize_t n, len = 0;

    while ((n = vfsrig_read(&r, h, buf + len, size - 1 - (size_t)len, 0)) > 0)
        len += n;
    ck_assert_int_eq(n, -EAGAIN);
    buf[len] = '\0';
}

START_TEST(events_say_why)
{
    static char lines[256 * KIB];
    struct handle *h;

    start(EVICT_LRU, 0.5, 0.25);
    ck_assert_int_eq(vfsrig_open(&r, ".l2fs/events", O_RDONLY | O_NONBLOCK, &h), 0);
    put_many("k", 0, 33);
    ck_assert_int_eq(vfsrig_evict(&r, "k32"), 0);
    read_events(h, lines, sizeof(lines));
    vfsrig_close(&r, h);
    ck_assert_ptr_nonnull(strstr(lines, "\"event\":\"evicted\",\"key\":\"k0\",\"from\":\"l1\","
                                        "\"why\":\"watermark\"}"));
    ck_assert_ptr_nonnull(strstr(lines, "\"event\":\"evicted\",\"key\":\"k32\",\"from\":\"l1\","
                                        "\"why\":\"asked\"}"));
    ck_assert_int_eq(evicted(CAUSE_ASKED), 1);
}
END_TEST

static json_t *read_json(const char *path)
{
    static char text[256 * KIB];
    struct handle *h;
    json_t *value;
    ssize_t n;

    ck_assert_int_eq(vfsrig_open(&r, path, O_RDONLY, &h), 0);
    n = vfsrig_read(&r, h, text, sizeof(text), 0);
    vfsrig_close(&r, h);
    ck_assert_int_gt(n, 0);
    value = json_loadb(text, (size_t)n, 0, NULL);
    ck_assert_ptr_nonnull(value);
    return value;
}

static json_int_t kept(json_t *place, const char *why)
{
    json_t *tally = json_object_get(json_object_get(place, "kept"), why);

    ck_assert_ptr_nonnull(tally);
    return json_integer_value(json_object_get(tally, "keys"));
}

START_TEST(victims_are_those_that_leave)
{
    json_t *value, *place, *next;
    struct handle *h;

    start(EVICT_LRU, 0.5, 0.25);
    put_many("k", 0, 31);
    ck_assert_int_eq(vfsrig_open(&r, "k3", O_RDONLY, &h), 0);
    pin("k4", "hard");
    use("k0");
    value = read_json(".l2fs/victims");
    place = json_array_get(json_object_get(value, "places"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(place, "from")), "l1");
    ck_assert_str_eq(json_string_value(json_object_get(place, "policy")), "LRU");
    ck_assert_int_eq(json_integer_value(json_object_get(place, "keys")), 31);
    ck_assert_int_eq(json_integer_value(json_object_get(place, "looked_at")), 31);
    ck_assert_int_eq(kept(place, "open"), 1);
    ck_assert_int_eq(kept(place, "pinned"), 1);
    ck_assert_int_eq(kept(place, "unstored"), 0);
    next = json_object_get(place, "next");
    ck_assert_uint_eq(json_array_size(next), 29);
    set(CONFIG, "user.l2fs.l1_watermark", "0.25");
    settle();
    for (size_t i = 0; i < 29; i++) {
        json_t *victim = json_array_get(next, i);
        const char *key = json_string_value(json_object_get(victim, "key"));

        ck_assert_int_eq(json_integer_value(json_object_get(victim, "bytes")), MIB);
        ck_assert_msg(resident(key) == (used() >= 31 - i), "%s is number %zu, %zu MiB", key, i,
                      (size_t)used());
    }
    ck_assert(resident("k3") && resident("k4"));
    vfsrig_close(&r, h);
    json_decref(value);
}
END_TEST

/* --- cost: each of those that may not leave is looked at once --- */

#define MANY 20000

struct blocked {
    struct inode inode;
    struct object object;
    bool may_leave;
};

static enum obstacle look(void *arg, const struct object *o)
{
    (*(size_t *)arg)++;
    return container_of(o, struct blocked, object)->may_leave ? OBSTACLE_NONE : OBSTACLE_UNSTORED;
}

START_TEST(those_that_stay_are_looked_at_once)
{
    struct l2fs_config cfg = {.l1 = GIB, .l1_watermark = 0.8, .l1_ratio = 0.2};
    struct blocked *all = calloc(MANY, sizeof(*all));
    size_t looks = 0;
    struct l1 l1;
    struct l1_share share;

    ck_assert_ptr_nonnull(all);
    cfg.l1_policy = policies[_i];
    l1_init(&l1, &cfg);
    l1_share_init(&l1, &share, GIB);
    for (size_t i = 0; i < MANY; i++) {
        all[i].inode.ino = i + 1;
        all[i].object.inode = &all[i].inode;
        list_init(&all[i].object.place.link);
        list_init(&all[i].object.l1_link);
        l1_add(&l1, &share, &all[i].object);
    }
    for (size_t i = 0; i < MANY; i++)
        ck_assert_ptr_null(l1_pick(&l1, &share, look, &looks));
    ck_assert_uint_eq(looks, MANY);
    ck_assert_ptr_null(l1_next_share(&l1, &share));
    ck_assert_uint_eq(l1_residents(&l1), MANY);
    for (size_t i = MANY; i-- > 0;) { /* stored, one by one: each leaves at once */
        all[i].may_leave = true;
        l1_back(&l1, &all[i].object);
        ck_assert_ptr_eq(l1_pick(&l1, &share, look, &looks), &all[i].object);
    }
    ck_assert_uint_eq(looks, 2 * MANY);
    ck_assert_uint_eq(l1_residents(&l1), 0);
    l1_share_fini(&share);
    free(all);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("evict");
    TCase *one = tcase_create("instance"), *each = tcase_create("policies");
    TCase *cost = tcase_create("cost");

    tcase_add_checked_fixture(one, NULL, teardown);
    tcase_add_checked_fixture(each, NULL, teardown);
    tcase_set_timeout(one, 60);
    tcase_set_timeout(each, 60);
    tcase_add_test(one, watermark_and_ratio);
    tcase_add_test(one, noop_evicts_nothing);
    tcase_add_test(one, loaded_once_is_a_newcomer);
    tcase_add_test(one, open_pinned_and_unstored_never_leave);
    tcase_add_test(one, soft_pin_ends);
    tcase_add_test(one, all_pinned_is_enospc_after_space_wait);
    tcase_add_test(one, create_waits_for_stores);
    tcase_add_test(one, promised_room_is_waited_for);
    tcase_add_test(one, streamed_open_waits_for_room);
    tcase_add_test(one, settings_take_effect);
    tcase_add_test(one, settings_are_checked);
    tcase_add_test(one, events_say_why);
    tcase_add_test(one, victims_are_those_that_leave);
    tcase_add_loop_test(each, used_ones_stay_but_for_fifo, 0, 3);
    tcase_add_loop_test(each, a_pass_of_new_keys_leaves_the_hot_ones_to_s3fifo, 0, 3);
    tcase_add_loop_test(cost, those_that_stay_are_looked_at_once, 0, 3);
    suite_add_tcase(s, one);
    suite_add_tcase(s, each);
    suite_add_tcase(s, cost);
    return suite_run(s);
}
