/* test_tiers.c - slots of tiers: names, order, states, masks, holding; and forced unlock. */
#include <stdio.h>

#include "clock.h"
#include "core_rig.h"
#include "suite.h"
#include "xattr.h"

#define MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":8}"
#define NOTHING "{\"type\":\"null\"}"

struct set {
    struct tiers tiers;
    struct metrics *metrics;
    struct adapter_env env;
};

static void set_open(struct set *s)
{
    memset(s, 0, sizeof(*s));
    tiers_init(&s->tiers);
    s->metrics = metrics_create();
    s->env = (struct adapter_env){NULL, s->metrics, NULL};
}

static void set_close(struct set *s)
{
    ck_assert(tiers_close_all(&s->tiers, clock_deadline(20 * NSEC_PER_SEC)));
    tiers_fini(&s->tiers);
    metrics_destroy(s->metrics);
}

/* Joins with the given spec; the slot or what tiers_open said. */
static int join(struct set *s, const char *spec)
{
    json_t *json = json_loads(spec, 0, NULL);
    struct text err = {0};
    int slot = tiers_open(&s->tiers, &s->env, json, &err);

    ck_assert(slot >= 0 || err.len);
    json_decref(json);
    text_fini(&err);
    return slot;
}

static size_t add(struct set *s, const char *spec)
{
    int slot = join(s, spec);

    ck_assert_int_ge(slot, 0);
    tiers_move(&s->tiers, (size_t)slot, TIER_ACTIVE);
    return (size_t)slot;
}

static void drop(struct set *s, size_t slot)
{
    tiers_retire(&s->tiers, slot);
    tiers_close(&s->tiers, slot);
    tiers_vacate(&s->tiers, slot);
}

static bool has_series(struct set *s, const char *label)
{
    struct text t = {0};
    bool found;

    metrics_print(s->metrics, &t);
    found = strstr(t.data, label);
    text_fini(&t);
    return found;
}

START_TEST(the_end_waits_for_no_call_that_hangs)
{
    struct set s;
    struct tiers_hold hung;

    set_open(&s);
    add(&s, MOCK);
    add(&s, NOTHING);
    hung = tiers_hold(&s.tiers, 1);
    ck_assert(!tiers_close_all(&s.tiers, clock_now()));
    ck_assert_ptr_nonnull(s.tiers.tier[0]);
    ck_assert_ptr_null(s.tiers.tier[1]);
    tiers_release(&hung); /* it comes back to what is still there */
    tiers_close(&s.tiers, 0);
    set_close(&s);
}
END_TEST

START_TEST(names_are_never_given_twice)
{
    struct set s;

    set_open(&s);
    ck_assert_uint_eq(add(&s, MOCK), 0);
    ck_assert_uint_eq(add(&s, NOTHING), 1);
    ck_assert_str_eq(tiers_name(&s.tiers, 0), "mock");
    ck_assert_str_eq(tiers_name(&s.tiers, 1), "null.1");
    ck_assert(has_series(&s, "adapter=\"null.1\""));
    drop(&s, 1);
    ck_assert(!has_series(&s, "adapter=\"null.1\""));
    ck_assert(has_series(&s, "adapter=\"mock\""));
    ck_assert_int_eq(tiers_find(&s.tiers, "null.1"), -ENOENT);
    ck_assert_uint_eq(add(&s, NOTHING), 1);
    ck_assert_str_eq(tiers_name(&s.tiers, 1), "null.2");
    ck_assert_int_eq(tiers_find(&s.tiers, "null.2"), 1);
    ck_assert_int_lt(join(&s, "{\"type\":\"fs\",\"base_path\":\"/proc/none/here\"}"), 0);
    drop(&s, 0);
    ck_assert_uint_eq(add(&s, MOCK), 2); /* behind those who were there */
    ck_assert_str_eq(tier_name(s.tiers.tier[2]), "mock.3");
    set_close(&s);
}
END_TEST

START_TEST(slots_end_and_begin_again)
{
    struct set s;

    set_open(&s);
    for (size_t i = 0; i < TIERS_MAX; i++)
        ck_assert_uint_eq(add(&s, NOTHING), i);
    ck_assert_int_eq(join(&s, NOTHING), -ENOSPC);
    ck_assert_uint_eq(s.tiers.present, UINT32_MAX);
    drop(&s, 7);
    drop(&s, 3);
    ck_assert_uint_eq(add(&s, NOTHING), 3);
    ck_assert_uint_eq(add(&s, NOTHING), 7);
    ck_assert_int_eq(join(&s, NOTHING), -ENOSPC);
    set_close(&s);
}
END_TEST

START_TEST(states_say_what_a_slot_is_for)
{
    struct set s;
    uint64_t alone;
    int slot;

    set_open(&s);
    ck_assert_int_eq(join(&s, "{\"type\":\"mock\"}"), -EINVAL);
    ck_assert_uint_eq(s.tiers.present, 0);
    add(&s, NOTHING);
    alone = tiers_signature(&s.tiers);
    slot = join(&s, MOCK);
    ck_assert_int_eq(slot, 1);
    ck_assert_int_eq(tiers_state(&s.tiers, 1), TIER_JOINING);
    ck_assert_uint_eq(s.tiers.present, 3);
    ck_assert_uint_eq(s.tiers.active, 1);
    ck_assert_uint_eq(s.tiers.keeping, 2); /* null keeps nothing */
    ck_assert_uint_eq(tiers_signature(&s.tiers), alone);
    tiers_move(&s.tiers, 1, TIER_ACTIVE);
    ck_assert_uint_eq(s.tiers.active, 3);
    ck_assert_uint_eq(s.tiers.keeping, 2);
    ck_assert_uint_ne(tiers_signature(&s.tiers), alone);
    tiers_move(&s.tiers, 1, TIER_DRAINING);
    ck_assert_uint_eq(s.tiers.present, 3);
    ck_assert_uint_eq(s.tiers.active, 1);
    ck_assert_uint_eq(s.tiers.keeping, 2);
    tiers_retire(&s.tiers, 1);
    ck_assert_uint_eq(s.tiers.present, 1);
    ck_assert_uint_eq(s.tiers.keeping, 0);
    ck_assert_uint_eq(tiers_hold(&s.tiers, 2).mask, 0);
    tiers_close(&s.tiers, 1);
    ck_assert_ptr_null(s.tiers.tier[1]);
    ck_assert_int_eq(tiers_state(&s.tiers, 1), TIER_CLOSING);
    tiers_vacate(&s.tiers, 1);
    ck_assert_int_eq(tiers_state(&s.tiers, 1), TIER_EMPTY);
    ck_assert_uint_eq(tiers_signature(&s.tiers), alone);
    set_close(&s);
}
END_TEST

struct closer {
    struct set *set;
    pthread_t thread;
    _Atomic bool closed;
};

static void *close_slot_1(void *arg)
{
    struct closer *c = arg;

    tiers_close(&c->set->tiers, 1);
    c->closed = true;
    return NULL;
}

START_TEST(a_held_tier_is_not_closed)
{
    struct closer c = {0};
    struct tiers_hold held;
    struct l2_usage usage;
    struct set s;

    set_open(&s);
    add(&s, NOTHING);
    add(&s, MOCK);
    held = tiers_hold(&s.tiers, 6); /* slot 2 is empty */
    ck_assert_uint_eq(held.mask, 2);
    tiers_retire(&s.tiers, 1);
    c.set = &s;
    ck_assert_int_eq(pthread_create(&c.thread, NULL, close_slot_1, &c), 0);
    for (int i = 0; i < 50; i++) {
        tier_usage(s.tiers.tier[1], &usage); /* still there */
        ck_assert_uint_eq(usage.capacity, GIB);
        ck_assert(!c.closed);
        usleep(1000);
    }
    tiers_release(&held);
    tiers_release(&held);
    ck_assert_int_eq(pthread_join(c.thread, NULL), 0);
    ck_assert(c.closed);
    ck_assert_ptr_null(s.tiers.tier[1]);
    set_close(&s);
}
END_TEST

START_TEST(removal_reaches_every_tier)
{
    struct set s;

    set_open(&s);
    add(&s, MOCK);
    add(&s, NOTHING);
    tiers_move(&s.tiers, add(&s, MOCK), TIER_DRAINING);
    ck_assert_int_eq(tiers_remove(&s.tiers, "a/key"), 0);
    ck_assert_int_eq(tiers_remove(&s.tiers, ""), -EINVAL);
    set_close(&s);
}
END_TEST

/* --- forced unlock --- */

static void lock_in_tier(struct core_rig *r, const char *key)
{
    uint64_t deadline = clock_deadline(CORE_WAIT_MS * NSEC_PER_MSEC), size;
    struct tier *t = r->fs->tiers.tier[0];
    l2_task task = tier_submit_lookup_and_lock(t, &key, 1);
    struct bitmap *found;
    int err;

    ck_assert_int_gt(task, 0);
    while ((err = tier_query_lookup(t, task, &found, &size)) == -EAGAIN) {
        ck_assert(clock_now() < deadline);
        usleep(1000);
    }
    ck_assert_int_eq(err, 0);
    ck_assert(bitmap_test(found, 0));
    bitmap_destroy(found);
}

static uint64_t locked_keys(struct core_rig *r)
{
    struct l2_usage usage;

    tier_usage(r->fs->tiers.tier[0], &usage);
    return usage.locked;
}

static int force(struct core_rig *r, const char *value, uid_t uid)
{
    const struct xattr_change c = {XATTR_UNLOCK_NAME, value, strlen(value), 0};
    const struct caller who = {.uid = uid, .pid = 1};
    struct inode *inode = core_lookup(r, "key");
    int err = vfs_unlock(r->fs, inode, &c, &who);

    core_forget(r, inode);
    return err;
}

START_TEST(root_drops_locks_and_pin)
{
    struct handle *h;
    struct core_rig r;
    char buf[64];

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "0123456789", 10);
    core_wait_attr(&r, "key", "user.l2fs.store", "mock=stored");
    ck_assert_int_eq(core_set(&r, "key", "user.l2fs.pin", "hard"), 0);
    lock_in_tier(&r, "key");
    lock_in_tier(&r, "key");
    ck_assert_uint_eq(locked_keys(&r), 1);
    ck_assert_int_eq(core_set(&r, "key", XATTR_UNLOCK_NAME, "force"), -EPERM);
    ck_assert_int_eq(force(&r, "force", 1000), -EPERM);
    ck_assert_int_eq(force(&r, "please", 0), -EINVAL);
    ck_assert_uint_eq(locked_keys(&r), 1);
    ck_assert_int_eq(core_open_file(&r, "key", 0, &h), 0);
    ck_assert_int_eq(force(&r, "force", 0), 0);
    ck_assert_uint_eq(locked_keys(&r), 0);
    ck_assert_int_eq(core_get(&r, "key", "user.l2fs.pin", buf, sizeof(buf)), 4);
    ck_assert_str_eq(buf, "none");
    vfs_release(r.fs, h);
    ck_assert_int_eq(core_read(&r, "key", buf, sizeof(buf)), 10);
    core_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tiers");

    suite_add(s, "slots",
              TESTS(the_end_waits_for_no_call_that_hangs, names_are_never_given_twice,
                    slots_end_and_begin_again, states_say_what_a_slot_is_for));
    suite_add(s, "held", TESTS(a_held_tier_is_not_closed, removal_reaches_every_tier));
    suite_add(s, "unlock", TESTS(root_drops_locks_and_pin));
    return suite_run(s);
}
