/* test_prefetch_ctl.c - requests of the prefetch controller over tiers that answer: plans, prefixes,
 * the next tier, reserve, locks, limits. The cases of l2-contract.md section 7.6 that have a meaning
 * here. What is late or cancelled is in test_prefetch_late.c.
 */
#include <signal.h>

#include "prefetch_rig.h"
#include "suite.h"

static struct prefetch_rig p;
static struct wanted w;

static void open_mocks(size_t n)
{
    const char *const specs[] = {PRIG_MOCK, PRIG_MOCK, PRIG_MOCK};

    prig_open(&p, specs, n);
}

static void close_clean(void)
{
    ck_assert_uint_eq(prig_locked(&p), 0);
    prig_close(&p);
}

/* ---- plan.c ---- */

START_TEST(plan_lowest_tier_wins)
{
    struct plan plan = {.mode = PLAN_ALL};

    ck_assert_int_eq(plan_next(&plan, 6), 1);
    ck_assert_int_eq(plan_next(&plan, 0), PLAN_NONE);
    ck_assert_int_eq(plan_next(&plan, 1u << 31), 31);
    plan_refused(&plan);
    ck_assert_int_eq(plan_next(&plan, 1), 0);
}
END_TEST

START_TEST(plan_prefix_is_cut)
{
    struct plan plan = {.mode = PLAN_PREFIX};

    ck_assert_int_eq(plan_next(&plan, 1), 0);
    ck_assert_int_eq(plan_next(&plan, 0), PLAN_NONE);
    ck_assert_int_eq(plan_next(&plan, 1), PLAN_NONE);
    plan = (struct plan){.mode = PLAN_PREFIX};
    plan_refused(&plan);
    ck_assert_int_eq(plan_next(&plan, 1), PLAN_NONE);
}
END_TEST

START_TEST(plan_what_may_be_there_counts_most)
{
    ck_assert_int_eq(plan_worse(0, -ENOENT), -ENOENT);
    ck_assert_int_eq(plan_worse(-ENOENT, -EBADMSG), -EBADMSG);
    ck_assert_int_eq(plan_worse(-EBADMSG, -ENOENT), -EBADMSG);
    ck_assert_int_eq(plan_worse(-ENOENT, -ETIMEDOUT), -ETIMEDOUT);
    ck_assert_int_eq(plan_worse(-EIO, -EBADMSG), -EIO);
}
END_TEST

/* ---- the state table ---- */

START_TEST(states)
{
    static const char *const allowed[PREFETCH_STATES] = {
        [PREFETCH_QUEUED] = "lookup cancelled failed",
        [PREFETCH_LOOKUP] = "plan cancelled failed",
        [PREFETCH_PLAN] = "reserve",
        [PREFETCH_RESERVE] = "load",
        [PREFETCH_LOAD] = "done cancelled failed",
        [PREFETCH_DONE] = "",
        [PREFETCH_CANCELLED] = "",
        [PREFETCH_FAILED] = "",
    };

    for (unsigned from = 0; from < PREFETCH_STATES; from++)
        for (unsigned to = 0; to < PREFETCH_STATES; to++)
            ck_assert_msg(prefetch_state_allowed(from, to) ==
                              !!strstr(allowed[from], prefetch_state_name(to)),
                          "%s -> %s", prefetch_state_name(from), prefetch_state_name(to));
    ck_assert(!prefetch_state_allowed(PREFETCH_QUEUED, PREFETCH_STATES));
    ck_assert(!prefetch_state_allowed(PREFETCH_STATES, PREFETCH_QUEUED));
    ck_assert_str_eq(prefetch_state_name(PREFETCH_STATES), "?");
}
END_TEST

START_TEST(illegal_move_aborts)
{
    open_mocks(1);
    prig_want(&w, "a", PLAN_ALL);
    w.r.state = PREFETCH_DONE; /* submitted a second time */
    prig_start(&p);
    prig_submit(&p, &w);
    prig_wait(&p, &w);
}
END_TEST

/* ---- lifecycle ---- */

START_TEST(start_and_stop)
{
    open_mocks((size_t)_i);
    prig_start(&p);
    close_clean();
}
END_TEST

START_TEST(holes_between_tiers)
{
    const char *const specs[] = {NULL, PRIG_MOCK, NULL, PRIG_MOCK};

    prig_open(&p, specs, 4);
    prig_put(&p, 1, "a");
    prig_put(&p, 3, "b");
    prig_start(&p);
    prig_get(&p, &w, "a b", PLAN_ALL);
    prig_expect(&p, &w, "a1 b3");
    close_clean();
}
END_TEST

/* ---- one tier ---- */

START_TEST(full_prefix)
{
    open_mocks(1);
    prig_put(&p, 0, "a b c d e");
    prig_start(&p);
    prig_get(&p, &w, "a b c d e", PLAN_PREFIX);
    prig_expect(&p, &w, "a0 b0 c0 d0 e0");
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(w.order[i], i);
    close_clean();
}
END_TEST

START_TEST(gap_cuts_a_prefix)
{
    open_mocks(1);
    prig_put(&p, 0, "a b d e");
    prig_start(&p);
    prig_get(&p, &w, "a b c d e", PLAN_PREFIX);
    prig_expect(&p, &w, "a0 b0 c-ENOENT d-ECANCELED e-ECANCELED");
    close_clean();
}
END_TEST

START_TEST(gap_does_not_cut_all)
{
    open_mocks(1);
    prig_put(&p, 0, "a b d e");
    prig_start(&p);
    prig_get(&p, &w, "a b c d e", PLAN_ALL);
    prig_expect(&p, &w, "a0 b0 c-ENOENT d0 e0");
    ck_assert_uint_eq(w.keys[2].absent, 1);
    close_clean();
}
END_TEST

#define LOAD_GAP PRIG_FAULT("{\"op\":\"load\",\"key\":\"c\",\"action\":\"fail\"}")

/* Found, but it cannot be loaded: what was loaded behind it is given back. */
START_TEST(load_gap)
{
    const char *const specs[] = {LOAD_GAP};

    prig_open(&p, specs, 1);
    prig_put(&p, 0, "a b c d e");
    prig_start(&p);
    prig_get(&p, &w, "a b c d e", PLAN_ALL);
    prig_expect(&p, &w, "a0 b0 c-EIO d0 e0");
    prig_get(&p, &w, "a b c d e", PLAN_PREFIX);
    prig_expect(&p, &w, "a0 b0 c-EIO d-ECANCELED e-ECANCELED");
    close_clean();
}
END_TEST

START_TEST(first_key_missing)
{
    open_mocks(1);
    prig_put(&p, 0, "b c");
    prig_start(&p);
    prig_get(&p, &w, "a b c", PLAN_PREFIX);
    prig_expect(&p, &w, "a-ENOENT b-ECANCELED c-ECANCELED");
    close_clean();
}
END_TEST

START_TEST(same_key_twice)
{
    open_mocks(1);
    prig_put(&p, 0, "a");
    prig_start(&p);
    prig_get(&p, &w, "a a", PLAN_ALL);
    prig_expect(&p, &w, "a0 a0");
    close_clean();
}
END_TEST

/* ---- several tiers ---- */

START_TEST(disjoint_halves)
{
    open_mocks(2);
    prig_put(&p, 0, "a b");
    prig_put(&p, 1, "c d");
    prig_start(&p);
    prig_get(&p, &w, "a b c d", PLAN_PREFIX);
    prig_expect(&p, &w, "a0 b0 c1 d1");
    close_clean();
}
END_TEST

START_TEST(overlap_first_tier_wins)
{
    open_mocks(2);
    prig_put(&p, 0, "a b");
    prig_put(&p, 1, "b c");
    prig_start(&p);
    prig_get(&p, &w, "a b c", PLAN_PREFIX);
    prig_expect(&p, &w, "a0 b0 c1");
    close_clean();
}
END_TEST

START_TEST(next_tier_after_failure)
{
    static const char *const rules[] = {
        PRIG_FAULT("{\"op\":\"load\",\"action\":\"fail\"}"),
        PRIG_FAULT("{\"op\":\"load\",\"action\":\"corrupt\"}"),
        PRIG_FAULT("{\"op\":\"load\",\"action\":\"refuse\",\"errno\":\"ENOMEM\"}"),
        PRIG_FAULT("{\"op\":\"lookup\",\"action\":\"refuse\"}"),
    };
    const char *const specs[] = {rules[_i], rules[_i], PRIG_MOCK};

    prig_open(&p, specs, 3);
    for (size_t i = 0; i < 3; i++)
        prig_put(&p, i, "a b");
    prig_start(&p);
    prig_get(&p, &w, "a b", _i % 2 ? PLAN_PREFIX : PLAN_ALL);
    prig_expect(&p, &w, "a2 b2");
    close_clean();
}
END_TEST

/* A version that is not the tree's is not asked for. */
START_TEST(only_tiers_that_may_be_asked)
{
    open_mocks(3);
    for (size_t i = 0; i < 3; i++)
        prig_put(&p, i, "a b");
    prig_start(&p);
    prig_want(&w, "a b", PLAN_ALL);
    w.keys[0].tiers = 1 << 2;
    w.keys[1].tiers = 0;
    prig_submit(&p, &w);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a2 b-ENOENT");
    close_clean();
}
END_TEST

START_TEST(corrupt_everywhere)
{
    const char *const specs[] = {
        PRIG_FAULT("{\"op\":\"load\",\"action\":\"fail\",\"errno\":\"EBADMSG\"}"), PRIG_MOCK};

    prig_open(&p, specs, 2);
    prig_put(&p, 0, "a");
    prig_start(&p);
    prig_get(&p, &w, "a", PLAN_ALL);
    prig_expect(&p, &w, "a-EBADMSG");
    ck_assert_uint_eq(w.keys[0].absent, 3);
    close_clean();
}
END_TEST

/* ---- no hits ---- */

START_TEST(nothing_found)
{
    open_mocks((size_t)_i);
    prig_start(&p);
    prig_get(&p, &w, "a b", PLAN_ALL);
    prig_expect(&p, &w, "a-ENOENT b-ENOENT");
    prig_get(&p, &w, "a b", PLAN_PREFIX);
    prig_expect(&p, &w, "a-ENOENT b-ECANCELED");
    close_clean();
}
END_TEST

/* ---- reserve ---- */

START_TEST(refused_key_is_dropped)
{
    open_mocks(2);
    prig_put(&p, 0, "a b c");
    prig_put(&p, 1, "b");
    p.refused = "b";
    prig_start(&p);
    prig_get(&p, &w, "a b c", PLAN_ALL);
    prig_expect(&p, &w, "a0 b-ENOSPC c0");
    prig_get(&p, &w, "a b c", PLAN_PREFIX);
    prig_expect(&p, &w, "a0 b-ENOSPC c-ECANCELED");
    close_clean();
}
END_TEST

/* ---- limits ---- */

START_TEST(four_requests_limit_two)
{
    const char *const specs[] = {
        PRIG_FAULT("{\"op\":\"load\",\"action\":\"delay\",\"delay\":\"20ms\"}")};
    struct wanted many[4];

    prig_open(&p, specs, 1);
    prig_put(&p, 0, "a b");
    p.params.max_requests = 2;
    prig_start(&p);
    for (size_t i = 0; i < 4; i++) {
        prig_want(&many[i], "a b", PLAN_ALL);
        many[i].r.background = true;
        prig_submit(&p, &many[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        prig_wait(&p, &many[i]);
        prig_expect(&p, &many[i], "a0 b0");
    }
    ck_assert_uint_eq(p.most, 2);
    close_clean();
}
END_TEST

START_TEST(bytes_limit)
{
    const char *const specs[] = {
        PRIG_FAULT("{\"op\":\"load\",\"action\":\"delay\",\"delay\":\"20ms\"}")};
    struct wanted many[3];

    prig_open(&p, specs, 1);
    prig_put(&p, 0, "a b");
    p.params.max_bytes = 2 * PRIG_SIZE + 1; /* the first has as much: only one at a time */
    prig_start(&p);
    for (size_t i = 0; i < 3; i++) {
        prig_want(&many[i], "a b", PLAN_ALL);
        many[i].r.background = true;
        prig_submit(&p, &many[i]);
    }
    for (size_t i = 0; i < 3; i++)
        prig_wait(&p, &many[i]);
    ck_assert_uint_eq(p.most, 1);
    close_clean();
}
END_TEST

static bool one_loads(const struct prefetch_status *s)
{
    return s->load == 1 && s->queued == 1;
}

/* An open goes before what is queued in the background, and takes a queued request with it. */
START_TEST(opens_go_first)
{
    const char *const specs[] = {
        PRIG_FAULT("{\"op\":\"load\",\"key\":\"a\",\"action\":\"never\"}")};
    struct wanted first, second, open;
    struct prefetch_status s;

    prig_open(&p, specs, 1);
    prig_put(&p, 0, "a b c");
    p.params.max_requests = 1;
    prig_start(&p);
    prig_want(&first, "a", PLAN_ALL);
    prig_want(&second, "b", PLAN_ALL);
    first.r.background = second.r.background = true;
    prig_submit(&p, &first);
    prig_submit(&p, &second);
    prig_wait_status(&p, one_loads);
    prefetch_ctl_status(p.ctl, &s);
    ck_assert_uint_eq(s.bytes, PRIG_SIZE);
    prig_get(&p, &open, "c", PLAN_ALL);
    prig_expect(&p, &open, "c0");
    ck_assert(!first.done && !second.done);
    prefetch_ctl_hurry(p.ctl, &second.r);
    prig_wait(&p, &second);
    ck_assert(!first.done);
    prig_release(&p);
    prig_wait(&p, &first);
    prig_expect(&p, &first, "a0");
    close_clean();
}
END_TEST

/* Outcomes are told as they are known: not held up by another tier's. */
START_TEST(outcomes_as_they_come)
{
    const char *const specs[] = {PRIG_FAULT("{\"op\":\"load\",\"action\":\"never\"}"), PRIG_MOCK};
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    prig_open(&p, specs, 2);
    prig_put(&p, 0, "a");
    prig_put(&p, 1, "b");
    prig_start(&p);
    prig_want(&w, "a b c", PLAN_ALL);
    prig_submit(&p, &w);
    lock(&p.mutex);
    while (w.given < 2)
        ck_assert(!cond_wait_until(&p.cond, &p.mutex, deadline));
    ck_assert_int_eq(w.outcome[0], 1);
    ck_assert_int_eq(w.outcome[1], 0);
    ck_assert_int_eq(w.outcome[2], -ENOENT);
    unlock(&p.mutex);
    ck_assert_uint_eq(prig_locked(&p), 1); /* only what is still loading */
    prig_release(&p);
    prig_wait(&p, &w);
    prig_expect(&p, &w, "a0 b1 c-ENOENT");
    close_clean();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prefetch_ctl");
    TCase *tc = tcase_create("abort");
    int rc;

    rig_base_create();
    suite_add(s, "plan",
              TESTS(plan_lowest_tier_wins, plan_prefix_is_cut, plan_what_may_be_there_counts_most));
    suite_add(s, "states", TESTS(states));
    tcase_add_test_raise_signal(tc, illegal_move_aborts, SIGABRT);
    suite_add_tcase(s, tc);
    suite_add_loop(s, "lifecycle", TESTS(start_and_stop, nothing_found), 3);
    suite_add(s, "one tier",
              TESTS(full_prefix, gap_cuts_a_prefix, gap_does_not_cut_all, load_gap,
                    first_key_missing, same_key_twice));
    suite_add(s, "several tiers",
              TESTS(holes_between_tiers, disjoint_halves, overlap_first_tier_wins,
                    only_tiers_that_may_be_asked, corrupt_everywhere));
    suite_add_loop(s, "next tier", TESTS(next_tier_after_failure), 4);
    suite_add(s, "limits",
              TESTS(refused_key_is_dropped, four_requests_limit_two, bytes_limit, opens_go_first,
                    outcomes_as_they_come));
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
