/* test_pd_send_faults.c - the PD sender when receivers are silent, gone, new or cancelled on, in each
 * phase of a batch.
 */
#include "clock.h"
#include "pd_send_batch.h"
#include "pd_send_fixture.h"

#define BIT(type) (1U << (type))

static struct rig rig;
static struct far *far = &rig.far[0];

/* The phases a batch can be stopped in, and what stops it there. */
static const struct phase {
    int state;
    unsigned type; /* is held or not answered */
    bool data;     /* is held */
} phases[] = {
    {BATCH_WAIT, BIT(PD_HELLO), false},
    {BATCH_ALLOC, BIT(PD_ALLOC_REQUEST), false},
    {BATCH_DATA, 0, true},
    {BATCH_COMMIT, BIT(PD_COMMIT), false},
};

static void setup(void)
{
    rig_open(&rig, 1);
}

static void setup_started(void)
{
    setup();
    rig_start(&rig);
}

static void teardown(void)
{
    rig_close(&rig);
}

/* Of what the phase waits for; the others are long. */
static void short_timeouts(int state)
{
    if (state <= BATCH_ALLOC)
        rig.config.connect_timeout = 500 * NSEC_PER_MSEC;
    if (state == BATCH_ALLOC)
        rig.config.alloc_timeout = 100 * NSEC_PER_MSEC;
    if (state >= BATCH_DATA)
        rig.config.transfer_timeout = 600 * NSEC_PER_MSEC;
}

static struct push *stop_in(const struct phase *p, bool hold)
{
    struct push *push = push_new(&rig, 2, 100000, "");

    far_order(far, (struct orders){.hold_data = p->data,
                                   .hold = hold ? p->type : 0,
                                   .mute = hold ? 0 : p->type});
    rig_start(&rig);
    push_submit(push);
    rig_wait_state(&rig, p->state);
    if (p->state == BATCH_WAIT)
        far_wait(far, PD_HELLO, 1);
    return push;
}

static void check_all(const struct push *p, int error)
{
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], error);
}

/* The next store may be too early for a peer that is down: until one lands. */
static void check_recovers(struct push *p)
{
    uint64_t deadline = clock_deadline(WAIT_TIME);

    do {
        push_run(p);
        ck_assert(clock_now() < deadline);
    } while (p->errors[0] == -EHOSTDOWN || p->errors[0] == -ECONNRESET);
    check_all(p, 0);
    for (size_t i = 0; i < p->n; i++)
        ck_assert(far_has(far, p, i));
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "inflight"), 0);
}

START_TEST(silence_costs_a_deadline)
{
    static const int errors[] = {-EHOSTDOWN, -ETIMEDOUT, -ETIMEDOUT, -ETIMEDOUT};
    uint64_t start = clock_now();
    struct push *p;

    short_timeouts(phases[_i].state);
    p = stop_in(&phases[_i], false);
    push_wait(p);
    check_all(p, errors[_i]);
    ck_assert_uint_lt(clock_now() - start, 5 * NSEC_PER_SEC);
    ck_assert_uint_eq(far->count[PD_COMMIT], phases[_i].state == BATCH_COMMIT ? 2 : 0);
    if (phases[_i].state != BATCH_DATA) {
        push_run(p);
        check_all(p, -EHOSTDOWN); /* at once */
    }
    far_release(far);
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(a_restart_fails_what_was_under_way)
{
    struct push *p = stop_in(&phases[_i], false);

    far_kill(far);
    far_order(far, (struct orders){0});
    far_restart(far);
    push_wait(p);
    check_all(p, phases[_i].state == BATCH_WAIT ? 0 : -ECONNRESET);
    check_recovers(p);
    ck_assert_uint_ge(far->count[PD_HELLO], 2);
    push_free(p);
}
END_TEST

START_TEST(a_cut_connection_fails_what_was_under_way)
{
    struct push *p = stop_in(&phases[_i + 1], false);

    far_cut(far);
    far_order(far, (struct orders){0});
    push_wait(p);
    check_all(p, -ECONNRESET);
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(destroy_ends_what_is_under_way)
{
    struct push *p = stop_in(&phases[_i], false);
    uint64_t start = clock_now();

    rig_stop_sender(&rig);
    ck_assert(push_done(p));
    check_all(p, -ESHUTDOWN);
    ck_assert_uint_lt(clock_now() - start, rig.config.close_timeout);
    push_free(p);
}
END_TEST

struct cancelled {
    const char *key;
    int rc;
};

static void do_cancel(void *arg)
{
    struct cancelled *c = arg;

    c->rc = pd_send_cancel(rig.send, c->key);
}

static int cancel(const char *key)
{
    struct cancelled c = {.key = key};

    rig_call(&rig, do_cancel, &c);
    return c.rc;
}

START_TEST(a_cancelled_key_ends_alone)
{
    struct push *p = stop_in(&phases[_i], true);
    bool late = phases[_i].state == BATCH_COMMIT;

    ck_assert_int_eq(cancel(p->keys[0]), 0);
    ck_assert_int_eq(cancel("no such key"), -ENOENT);
    ck_assert_int_eq(cancel(p->keys[0]), late ? 0 : -ENOENT); /* again */
    far_release(far);                                         /* a send that has begun goes on */
    push_wait(p);
    ck_assert_int_eq(p->errors[0], late ? 0 : -ECANCELED);
    ck_assert_int_eq(p->errors[1], 0);
    ck_assert(far_has(far, p, 1));
    ck_assert(far_has(far, p, 0) == late);
    if (phases[_i].state == BATCH_WAIT)
        ck_assert_uint_eq(far->asked_keys, 1);
    else
        ck_assert_uint_eq(far->cancelled_keys, late ? 0 : 1);
    push_free(p);
}
END_TEST

START_TEST(all_keys_cancelled)
{
    struct push *p = stop_in(&phases[_i], true);

    ck_assert_int_eq(cancel(p->keys[0]), 0);
    ck_assert_int_eq(cancel(p->keys[1]), 0);
    if (phases[_i].state == BATCH_ALLOC)
        far_wait(far, PD_CANCEL_NOTIF, 1);
    far_release(far);
    push_wait(p);
    check_all(p, phases[_i].state == BATCH_COMMIT ? 0 : -ECANCELED);
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(a_slow_transfer_is_not_taken_for_silence)
{
    struct push *slow = push_new(&rig, 1, 100000, "slow/"), *p = push_new(&rig, 1, 100, "");
    char state[16];

    rig.config.connect_timeout = 500 * NSEC_PER_MSEC;
    rig.config.alloc_timeout = 100 * NSEC_PER_MSEC;
    far_order(far, (struct orders){.hold_data = true});
    rig_start(&rig);
    push_submit(slow);
    rig_wait_state(&rig, BATCH_DATA);
    far_order(far, (struct orders){.hold_data = true, .mute = BIT(PD_ALLOC_REQUEST)});
    push_run(p);
    check_all(p, -ETIMEDOUT);
    ck_assert_str_eq(peer_state(&rig, "127.0.0.1", state), "up");
    far_release(far);
    push_wait(slow);
    check_all(slow, 0);
    push_free(slow);
    push_free(p);
}
END_TEST

/* The fence of the far end gives back what was posted; a key without bytes has nothing posted. */
START_TEST(room_that_comes_too_late_is_given_back)
{
    struct push *p = push_new(&rig, 1, 0, "");

    rig.config.connect_timeout = 500 * NSEC_PER_MSEC;
    rig.config.alloc_timeout = 100 * NSEC_PER_MSEC;
    far_order(far, (struct orders){.hold = BIT(PD_ALLOC_REQUEST)});
    rig_start(&rig);
    push_run(p);
    check_all(p, -ETIMEDOUT);
    far_wait(far, PD_CANCEL_NOTIF, 1);
    far_release(far);
    far_wait(far, PD_CANCEL_NOTIF, 2);
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(data_that_was_not_taken_fails)
{
    struct push *p = push_new(&rig, 2, 1000, "");

    far_order(far, (struct orders){.deaf = true});
    push_run(p);
    check_all(p, -EBADMSG);
    far_order(far, (struct orders){0});
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(nobody_there_at_first)
{
    struct push *p = push_new(&rig, 2, 1000, "");
    char state[16];

    short_timeouts(BATCH_WAIT);
    rig_start(&rig);
    far_kill(far);
    push_run(p);
    check_all(p, -EHOSTDOWN);
    ck_assert_str_eq(peer_state(&rig, "127.0.0.1", state), "down");
    far_restart(far);
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(refusals_carry_their_error)
{
    struct push *p = push_new(&rig, 3, 1000, "");
    uint64_t bytes = peer_number(&rig, "127.0.0.1", "bytes");

    far_order(far, (struct orders){.refuse = _i ? ENOSPC : EFBIG});
    push_run(p);
    check_all(p, _i ? -ENOSPC : -EFBIG);
    ck_assert_uint_eq(far->count[PD_ALLOC_REQUEST], _i ? 1 : 5); /* EFBIG may be of one alone */
    ck_assert_uint_eq(bytes, 0);
    far_order(far, (struct orders){0});
    check_recovers(p);
    push_free(p);
}
END_TEST

START_TEST(many_restarts_under_load)
{
    struct push *p[16];

    rig_start(&rig);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        char prefix[16];

        snprintf(prefix, sizeof(prefix), "%zu/", i);
        p[i] = push_new(&rig, 3, 70000, prefix);
    }
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(p); i++)
            push_submit(p[i]);
        far_wait(far, PD_HELLO, 1);
        far_restart(far);
        for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
            push_wait(p[i]);
            for (size_t j = 0; j < p[i]->n; j++)
                ck_assert(p[i]->errors[j] || far_has(far, p[i], j));
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        check_recovers(p[i]);
        push_free(p[i]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_send_faults");
    TCase *tc = tcase_create("faults"), *started = tcase_create("started");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, silence_costs_a_deadline, 0, ARRAY_SIZE(phases));
    tcase_add_loop_test(tc, a_restart_fails_what_was_under_way, 0, ARRAY_SIZE(phases));
    tcase_add_loop_test(tc, a_cut_connection_fails_what_was_under_way, 0, ARRAY_SIZE(phases) - 1);
    tcase_add_loop_test(tc, destroy_ends_what_is_under_way, 0, ARRAY_SIZE(phases));
    tcase_add_loop_test(tc, a_cancelled_key_ends_alone, 0, ARRAY_SIZE(phases));
    tcase_add_loop_test(tc, all_keys_cancelled, 0, ARRAY_SIZE(phases));
    tcase_add_test(tc, a_slow_transfer_is_not_taken_for_silence);
    tcase_add_test(tc, room_that_comes_too_late_is_given_back);
    tcase_add_test(tc, nobody_there_at_first);
    tcase_add_test(tc, many_restarts_under_load);
    suite_add_tcase(s, tc);
    tcase_add_checked_fixture(started, setup_started, teardown);
    tcase_add_test(started, data_that_was_not_taken_fails);
    tcase_add_loop_test(started, refusals_carry_their_error, 0, 2);
    suite_add_tcase(s, started);
    return suite_run(s);
}
