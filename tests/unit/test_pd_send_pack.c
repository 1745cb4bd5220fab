/* test_pd_send_pack.c - keys whose bytes the receiver wants in one message: the message is as long as
 * what was granted, and every key has its own outcome. */
#include <fcntl.h>

#include "pd_send_fixture.h"
#include "pd_send_impl.h"

static struct rig rig;
static struct far *far = &rig.far[0];

static void setup(void)
{
    rig_open(&rig, 1);
    far_order(far, (struct orders){.pack = true});
    rig_start(&rig);
}

static void teardown(void)
{
    rig_close(&rig);
}

static void check_landed(const struct push *p)
{
    for (size_t i = 0; i < p->n; i++) {
        ck_assert_int_eq(p->errors[i], 0);
        ck_assert(far_has(far, p, i));
    }
}

static void cancel_key(void *arg)
{
    ck_assert_int_eq(pd_send_cancel(rig.send, arg), 0);
}

static void cancel(const struct push *p, size_t i)
{
    rig_call(&rig, cancel_key, (void *)p->keys[i]);
}

START_TEST(small_keys_are_one_message)
{
    struct push *p = push_new(&rig, 30, 4096, "");

    push_set(p, 0, 1);
    push_set(p, 29, 64 * KIB);
    for (size_t i = 0; i < p->n; i += 2)
        p->bufs[i].stable = false;
    push_run(p);
    check_landed(p);
    ck_assert_uint_eq(far->messages, 1);
    ck_assert_uint_eq(p->bytes, 28 * 4096 + 1 + 64 * KIB);
    push_free(p);
}
END_TEST

START_TEST(others_have_their_own)
{
    struct push *p = push_new(&rig, 7, 4096, "");

    push_set(p, 2, 64 * KIB + 1);
    push_set(p, 5, 0);
    push_run(p);
    check_landed(p);
    ck_assert_uint_eq(far->messages, 4); /* 0 and 1, 2, 3 and 4, 6 */
    push_free(p);
}
END_TEST

static const unsigned stops[] = {BATCH_ALLOC, BATCH_DATA};

static struct push *stop_in(unsigned state)
{
    struct push *p = push_new(&rig, 3, 4096, "");

    far_order(far, (struct orders){.pack = true,
                                   .hold = state == BATCH_ALLOC ? 1U << PD_ALLOC_REQUEST : 0,
                                   .hold_data = state == BATCH_DATA});
    push_submit(p);
    rig_wait_state(&rig, (int)state);
    return p;
}

START_TEST(a_cancelled_key_ends_alone)
{
    struct push *p = stop_in(stops[_i]);

    cancel(p, 1);
    ck_assert_uint_eq(far->count[PD_CANCEL_NOTIF], 0); /* not while it may still be sent */
    far_release(far);
    push_wait(p);
    ck_assert_int_eq(p->errors[1], -ECANCELED);
    ck_assert_int_eq(p->errors[0] | p->errors[2], 0);
    ck_assert(far_has(far, p, 0) && !far_has(far, p, 1) && far_has(far, p, 2));
    ck_assert_uint_eq(far->messages, 1);
    ck_assert_uint_eq(far->cancelled_keys, 1);
    push_run(p);
    check_landed(p);
    push_free(p);
}
END_TEST

START_TEST(all_keys_cancelled)
{
    struct push *p = stop_in(stops[_i]);

    for (size_t i = 0; i < p->n; i++)
        cancel(p, i);
    far_release(far);
    push_wait(p);
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], -ECANCELED);
    far_wait(far, PD_CANCEL_NOTIF, 1);
    ck_assert_uint_eq(far->messages, stops[_i] == BATCH_DATA);
    push_run(p);
    check_landed(p);
    push_free(p);
}
END_TEST

START_TEST(a_file_that_is_too_short_fails_alone)
{
    struct push *p = push_new(&rig, 3, 4096, "");

    ck_assert_int_eq(ftruncate(p->bufs[1].fd, 4095), 0);
    push_run(p);
    ck_assert_int_eq(p->errors[1], -ESTALE);
    ck_assert_int_eq(p->errors[0] | p->errors[2], 0);
    ck_assert(far_has(far, p, 0) && far_has(far, p, 2));
    ck_assert_uint_eq(far->cancelled_keys, 1);
    push_free(p);
}
END_TEST

START_TEST(a_connection_that_is_lost)
{
    struct push *p = stop_in(BATCH_DATA);

    far_cut(far);
    push_wait(p);
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], -ECONNRESET);
    far_release(far);
    push_run(p);
    check_landed(p);
    push_free(p);
}
END_TEST

/* Room of the receiver's own making. */
static int64_t same[40];

static void one_tag_for_all(struct far *f, struct pd_message *reply)
{
    (void)f;
    if (reply->type == PD_ALLOC_RESPONSE && !reply->error && reply->alloc_id)
        reply->tags.v = same;
}

static const struct {
    size_t n;
    uint64_t size;
    int error;
} wrong[] = {
    {2, 64 * KIB + 1, -EPROTO}, {2, 0, -EPROTO}, {17, 64 * KIB, -EPROTO}, {16, 64 * KIB, 0}};

START_TEST(packs_beyond_the_limits_are_refused)
{
    struct push *p = push_new(&rig, wrong[_i].n, wrong[_i].size, "");

    far_order(far, (struct orders){.pack = true, .spoil = one_tag_for_all});
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        same[i] = 1000;
    push_run(p);
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], wrong[_i].error);
    push_free(p);
}
END_TEST

static struct push *submit_one(size_t number, uint64_t size)
{
    char prefix[16];
    struct push *p;

    snprintf(prefix, sizeof(prefix), "%zu/", number);
    p = push_new(&rig, 1, size, prefix);
    push_submit(p);
    return p;
}

static void land(struct push **p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        push_wait(p[i]);
        check_landed(p[i]);
        ck_assert_uint_eq(p[i]->bytes, p[i]->bufs[0].size);
        push_free(p[i]);
    }
}

#define HOLD_COMMIT ((struct orders){.pack = true, .hold = 1U << PD_COMMIT})

/* Each store of its own has one key; they wait only while others are on their way. */
START_TEST(small_stores_join_while_they_wait)
{
    struct push *p[SEND_SMALL + 20];

    far_order(far, HOLD_COMMIT);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        p[i] = submit_one(i, 4096);
        if (i < SEND_SMALL)
            far_wait(far, PD_COMMIT, i + 1);
    }
    ck_assert_uint_eq(far->count[PD_ALLOC_REQUEST], SEND_SMALL);
    far_release(far);
    land(p, ARRAY_SIZE(p));
    ck_assert_uint_eq(far->count[PD_ALLOC_REQUEST], SEND_SMALL + 1);
    ck_assert_uint_eq(far->messages, SEND_SMALL + 1);
}
END_TEST

/* Half of a message each: two that wait fill it, and go. */
START_TEST(what_is_large_enough_does_not_wait)
{
    struct push *p[SEND_SMALL + 2];

    far_order(far, HOLD_COMMIT);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        p[i] = submit_one(i, PD_PACK_MAX / 2);
        if (i < SEND_SMALL)
            far_wait(far, PD_COMMIT, i + 1);
    }
    far_wait(far, PD_COMMIT, SEND_SMALL + 1);
    ck_assert_uint_eq(far->asked_keys, ARRAY_SIZE(p));
    far_release(far);
    land(p, ARRAY_SIZE(p));
}
END_TEST

START_TEST(requests_do_not_join)
{
    struct push *p[SEND_SMALL + 2];

    far_order(far, HOLD_COMMIT);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        p[i] = push_new(&rig, 1, 4096, (const char *[]){"a/", "b/", "c/", "d/", "e/"}[i]);
        p[i]->bufs[0].route.req_id = i < SEND_SMALL ? "a" : "b";
        push_submit(p[i]);
        far_wait(far, PD_COMMIT, i + 1); /* of the other request none was under way */
    }
    far_release(far);
    land(p, ARRAY_SIZE(p));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_send_pack");
    TCase *tc = tcase_create("packs");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, small_keys_are_one_message);
    tcase_add_test(tc, others_have_their_own);
    tcase_add_loop_test(tc, a_cancelled_key_ends_alone, 0, ARRAY_SIZE(stops));
    tcase_add_loop_test(tc, all_keys_cancelled, 0, ARRAY_SIZE(stops));
    tcase_add_test(tc, a_file_that_is_too_short_fails_alone);
    tcase_add_test(tc, a_connection_that_is_lost);
    tcase_add_test(tc, small_stores_join_while_they_wait);
    tcase_add_test(tc, requests_do_not_join);
    tcase_add_test(tc, what_is_large_enough_does_not_wait);
    tcase_add_loop_test(tc, packs_beyond_the_limits_are_refused, 0, ARRAY_SIZE(wrong));
    suite_add_tcase(s, tc);
    return suite_run(s);
}
