/* test_prefetch_late.c - the prefetch controller over tiers that answer late or never, and requests
 * that are cancelled: deadlines, the next tier, what comes too late, stalled tiers, tiers that go.
 */
#include <stdio.h>

#include "prefetch_rig.h"
#include "suite.h"

#define NEVER(op) PRIG_FAULT("{\"op\":\"" op "\",\"action\":\"never\"}")
#define SOON NSEC_PER_SEC /* the tiers that answer do so earlier, however busy the machine is */

static struct prefetch_rig p;
static struct wanted w;

/* Tier 0 with a rule, tier 1 without one. Both have a and b. */
static void open_two(const char *first)
{
    const char *const specs[] = {first, PRIG_MOCK};

    prig_open(&p, specs, 2);
    prig_put(&p, 0, "a b");
    prig_put(&p, 1, "a b");
    p.params.lookup_timeout = p.params.load_timeout = SOON;
}

static bool nothing_overdue(const struct prefetch_status *s)
{
    return s->overdue[0] == 0;
}

/* What is late arrives, and is given back. */
static void close_after_release(void)
{
    prig_release(&p);
    prig_wait_status(&p, nothing_overdue);
    ck_assert_uint_eq(prig_locked(&p), 0);
    prig_close(&p);
}

/* ---- deadlines ---- */

START_TEST(late_lookup)
{
    struct prefetch_status s;

    open_two(NEVER("lookup"));
    prig_start(&p);
    prig_get(&p, &w, "a b", PLAN_ALL);
    prig_expect(&p, &w, "a1 b1");
    prefetch_ctl_status(p.ctl, &s);
    ck_assert_uint_eq(s.overdue[0], 1);
    ck_assert_uint_eq(prig_locked(&p), 2); /* it was done, nobody was told */
    close_after_release();
}
END_TEST

START_TEST(late_load)
{
    open_two(NEVER("load"));
    prig_start(&p);
    prig_get(&p, &w, "a b", PLAN_PREFIX);
    prig_expect(&p, &w, "a1 b1");
    ck_assert_uint_eq(prig_locked(&p), 0);
    close_after_release();
}
END_TEST

/* It may be there, so this is not -ENOENT. */
START_TEST(late_and_nowhere_else)
{
    open_two(_i ? NEVER("load") : NEVER("lookup"));
    prig_start(&p);
    prig_want(&w, "a", PLAN_ALL);
    w.keys[0].tiers = 1;
    prig_submit(&p, &w);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a-ETIMEDOUT");
    ck_assert_uint_eq(w.keys[0].absent, 0);
    close_after_release();
}
END_TEST

static bool two_overdue(const struct prefetch_status *s)
{
    return s->overdue[0] == 2;
}

/* The tier gives up what it owes, and nothing is left. */
START_TEST(closed_while_overdue)
{
    open_two(PRIG_FAULT("{\"op\":\"lookup\",\"count\":1,\"action\":\"never\"},"
                        "{\"op\":\"load\",\"action\":\"never\"}"));
    prig_start(&p);
    prig_get(&p, &w, "a", PLAN_ALL);
    prig_get(&p, &w, "b", PLAN_ALL);
    prig_expect(&p, &w, "b1");
    prig_wait_status(&p, two_overdue);
    prig_close(&p);
}
END_TEST

static bool is_loading(const struct prefetch_status *s)
{
    return s->load == 1;
}

START_TEST(closed_while_running)
{
    open_two(NEVER("load"));
    p.params.load_timeout = 20 * NSEC_PER_SEC;
    prig_start(&p);
    prig_want(&w, "a b", PLAN_PREFIX);
    prig_submit(&p, &w);
    prig_wait_status(&p, is_loading);
    prig_close(&p);
    ck_assert(w.done);
    prig_expect(&p, &w, "a-ESHUTDOWN b-ESHUTDOWN");
}
END_TEST

/* Only slow, but within its deadline. */
START_TEST(slow_is_waited_for)
{
    open_two(PRIG_FAULT("{\"op\":\"any\",\"action\":\"delay\",\"delay\":\"30ms\"}"));
    p.params.lookup_timeout = p.params.load_timeout = 20 * NSEC_PER_SEC;
    prig_start(&p);
    prig_get(&p, &w, "a b", PLAN_ALL);
    prig_expect(&p, &w, "a0 b0");
    prig_close(&p);
}
END_TEST

/* ---- stalled tiers ---- */

static bool stalled(const struct prefetch_status *s)
{
    return s->stalled == 1;
}

static bool recovered(const struct prefetch_status *s)
{
    return s->stalled == 0 && s->overdue[0] == 0;
}

static void stall(void)
{
    for (int i = 0; i < 4; i++) {
        prig_get(&p, &w, "a", PLAN_ALL);
        prig_expect(&p, &w, "a1");
    }
    prig_wait_status(&p, stalled);
}

/* Passed over, so nobody waits for it, but for one request per probe interval. */
START_TEST(stalled_tier_is_passed_over)
{
    struct prefetch_status s;
    uint64_t started;

    open_two(NEVER("lookup"));
    p.params.probe_interval = 3600 * NSEC_PER_SEC;
    prig_start(&p);
    stall();
    started = clock_now();
    for (int i = 0; i < 20; i++) {
        prig_get(&p, &w, "a b", PLAN_ALL);
        prig_expect(&p, &w, "a1 b1");
    }
    ck_assert_uint_lt(clock_now() - started, 20 * SOON);
    prefetch_ctl_status(p.ctl, &s);
    ck_assert_uint_eq(s.overdue[0], 4);
    prig_want(&w, "a", PLAN_ALL);
    w.keys[0].tiers = 1;
    prig_submit(&p, &w);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a-ETIMEDOUT");
    close_after_release();
}
END_TEST

START_TEST(stalled_tier_is_probed_and_recovers)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    open_two(PRIG_FAULT("{\"op\":\"lookup\",\"count\":5,\"action\":\"never\"}"));
    p.params.probe_interval = NSEC_PER_MSEC;
    prig_start(&p);
    stall();
    do { /* the 5th is the first probe, the 6th is answered, but the debts remain */
        prig_get(&p, &w, "a", PLAN_ALL);
        ck_assert(clock_now() < deadline);
    } while (w.keys[0].tier != 0);
    prig_get(&p, &w, "b", PLAN_ALL);
    prig_expect(&p, &w, "b0");
    close_after_release();
}
END_TEST

START_TEST(stalled_tier_recovers_by_late_answers)
{
    open_two(NEVER("lookup"));
    p.params.probe_interval = 3600 * NSEC_PER_SEC;
    prig_start(&p);
    stall();
    prig_release(&p);
    prig_wait_status(&p, recovered);
    prig_get(&p, &w, "a", PLAN_ALL);
    prig_expect(&p, &w, "a0");
    close_after_release();
}
END_TEST

/* ---- cancel ---- */

static bool one_queued(const struct prefetch_status *s)
{
    return s->queued == 1;
}

static bool is_looking_up(const struct prefetch_status *s)
{
    return s->lookup == 1;
}

START_TEST(cancel_queued)
{
    struct wanted first;

    open_two(NEVER("load"));
    p.params.load_timeout = 20 * NSEC_PER_SEC;
    p.params.max_opens = 1;
    prig_start(&p);
    prig_want(&first, "a", PLAN_ALL);
    prig_submit(&p, &first);
    prig_wait_status(&p, is_loading);
    prig_want(&w, "b", PLAN_ALL);
    prig_submit(&p, &w);
    prig_wait_status(&p, one_queued);
    prefetch_ctl_cancel(p.ctl, &w.r);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "b-ECANCELED");
    ck_assert(!first.done);
    prig_release(&p);
    prig_wait(&p, &first);
    prig_expect(&p, &first, "a0");
    prig_close(&p);
}
END_TEST

static void cancel_when(bool (*cond)(const struct prefetch_status *s), enum plan_mode mode)
{
    p.params.lookup_timeout = p.params.load_timeout = 20 * NSEC_PER_SEC;
    prig_start(&p);
    prig_want(&w, "a b", mode);
    prig_submit(&p, &w);
    prig_wait_status(&p, cond);
    prefetch_ctl_cancel(p.ctl, &w.r);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a-ECANCELED b-ECANCELED");
}

static void check_idle(struct prefetch_rig *rig)
{
    ck_assert(!prefetch_ctl_tier_busy(rig->ctl, 1));
}

static void close_when_idle(void)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    prig_release(&p);
    while (prig_locked(&p)) {
        ck_assert(clock_now() < deadline);
        usleep(1000);
    }
    prig_on_loop(&p, check_idle);
    prig_close(&p);
}

START_TEST(cancel_in_lookup)
{
    open_two(NEVER("lookup"));
    cancel_when(is_looking_up, PLAN_ALL);
    close_when_idle();
}
END_TEST

START_TEST(cancel_in_load)
{
    open_two(NEVER("load"));
    cancel_when(is_loading, _i ? PLAN_PREFIX : PLAN_ALL);
    ck_assert_uint_eq(prig_locked(&p), 0);
    close_when_idle();
}
END_TEST

/* b is there, and held until a is known. */
START_TEST(cancel_gives_back_what_is_held)
{
    const char *const specs[] = {NEVER("load"), PRIG_MOCK};
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    prig_open(&p, specs, 2);
    prig_put(&p, 0, "a");
    prig_put(&p, 1, "b");
    prig_start(&p);
    prig_want(&w, "a b", PLAN_PREFIX);
    prig_submit(&p, &w);
    while (prig_locked(&p) != 1 || !is_loading(&(struct prefetch_status){.load = 1})) {
        ck_assert(clock_now() < deadline);
        usleep(1000);
    }
    prefetch_ctl_cancel(p.ctl, &w.r);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a-ECANCELED b-ECANCELED");
    close_when_idle();
}
END_TEST

START_TEST(cancel_before_submit)
{
    open_two(PRIG_MOCK);
    prig_start(&p);
    prig_want(&w, "a", PLAN_ALL);
    prefetch_ctl_cancel(p.ctl, &w.r);
    prig_submit(&p, &w);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a-ECANCELED");
    prig_close(&p);
}
END_TEST

/* ---- tiers that come and go ---- */

static void drop_first(struct prefetch_rig *rig)
{
    prefetch_ctl_drop_tier(rig->ctl, 0);
}

static void check_busy(struct prefetch_rig *rig)
{
    ck_assert(prefetch_ctl_tier_busy(rig->ctl, 0));
}

static void forget_first(struct prefetch_rig *rig)
{
    prefetch_ctl_forget_tier(rig->ctl, 0);
    ck_assert(!prefetch_ctl_tier_busy(rig->ctl, 0));
    tier_close(rig->tiers[0]);
    rig->tiers[0] = NULL;
}

static void add_third(struct prefetch_rig *rig)
{
    prig_tier(rig, 2, PRIG_MOCK);
    prig_put(rig, 2, "c");
    ck_assert_int_eq(prefetch_ctl_add_tier(rig->ctl, 2), 0);
}

START_TEST(dropped_tier_is_not_asked)
{
    open_two(PRIG_MOCK);
    prig_start(&p);
    prig_on_loop(&p, drop_first);
    prig_get(&p, &w, "a", PLAN_ALL);
    prig_expect(&p, &w, "a1");
    prig_want(&w, "a", PLAN_ALL);
    w.keys[0].tiers = 1;
    prig_submit(&p, &w);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a-ESHUTDOWN"); /* it may be there */
    prig_on_loop(&p, forget_first);
    prig_get(&p, &w, "a", PLAN_ALL);
    prig_expect(&p, &w, "a1");
    prig_close(&p);
}
END_TEST

START_TEST(forgotten_while_it_loads)
{
    open_two(_i ? NEVER("load") : NEVER("lookup"));
    p.params.lookup_timeout = p.params.load_timeout = 20 * NSEC_PER_SEC;
    prig_start(&p);
    prig_want(&w, "a b", PLAN_PREFIX);
    prig_submit(&p, &w);
    prig_wait_status(&p, _i ? is_loading : is_looking_up);
    prig_on_loop(&p, drop_first);
    prig_on_loop(&p, check_busy);
    prig_on_loop(&p, forget_first);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a1 b1");
    prig_close(&p);
}
END_TEST

START_TEST(added_tier_is_asked)
{
    open_two(PRIG_MOCK);
    prig_start(&p);
    prig_get(&p, &w, "c", PLAN_ALL);
    prig_expect(&p, &w, "c-ENOENT");
    prig_on_loop(&p, add_third);
    prig_get(&p, &w, "a c", PLAN_ALL);
    prig_expect(&p, &w, "a0 c2");
    prig_close(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prefetch_late");
    int rc;

    rig_base_create();
    suite_add(s, "deadlines",
              TESTS(late_lookup, late_load, closed_while_overdue, closed_while_running,
                    slow_is_waited_for));
    suite_add_loop(s, "nowhere else",
                   TESTS(late_and_nowhere_else, forgotten_while_it_loads, cancel_in_load), 2);
    suite_add(s, "stalled",
              TESTS(stalled_tier_is_passed_over, stalled_tier_is_probed_and_recovers,
                    stalled_tier_recovers_by_late_answers));
    suite_add(s, "cancel",
              TESTS(cancel_queued, cancel_in_lookup, cancel_gives_back_what_is_held,
                    cancel_before_submit));
    suite_add(s, "tiers", TESTS(dropped_tier_is_not_asked, added_tier_is_asked));
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
