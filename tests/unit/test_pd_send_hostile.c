/* test_pd_send_hostile.c - answers that no receiver should give: no key is taken for landed, nothing is
 * lost for good, and a later store works.
 */
#include "clock.h"
#include "pd_send_fixture.h"

static struct rig rig;
static struct far *far = &rig.far[0];

static void setup(void)
{
    rig_open(&rig, 1);
    rig.config.connect_timeout = 500 * NSEC_PER_MSEC;
    rig.config.alloc_timeout = 100 * NSEC_PER_MSEC;
    rig.config.transfer_timeout = 600 * NSEC_PER_MSEC;
}

static void teardown(void)
{
    rig_close(&rig);
}

/* Each changes an answer to two keys (or a Hello) into a wrong one. */
static int64_t numbers[] = {0, 0, 7, -1, 1};

static void index_out_of_range(struct pd_message *m)
{
    m->already_sent_indexes = (struct pd_ints){&numbers[2], 1};
    m->tags.n = 1;
}

static void index_negative(struct pd_message *m)
{
    m->already_sent_indexes = (struct pd_ints){&numbers[3], 1};
    m->tags.n = 1;
}

static void index_twice(struct pd_message *m)
{
    m->already_sent_indexes = (struct pd_ints){&numbers[0], 2};
    m->tags.n = 0;
}

static void tags_missing(struct pd_message *m)
{
    m->tags.n = 1;
}

static void tags_missing_all(struct pd_message *m)
{
    m->tags.n = 0;
}

static void tags_too_many(struct pd_message *m)
{
    m->tags = (struct pd_ints){&numbers[0], 3};
}

static void present_and_tags(struct pd_message *m)
{
    m->already_sent_indexes = (struct pd_ints){&numbers[0], 1};
}

static void one_tag_for_large_keys(struct pd_message *m)
{
    m->tags.v[1] = m->tags.v[0];
}

static void no_alloc_id(struct pd_message *m)
{
    m->alloc_id = 0;
}

static void of_another_type(struct pd_message *m)
{
    m->type = m->type == PD_COMMIT_REPLY ? PD_ALLOC_RESPONSE : PD_COMMIT_REPLY;
}

static void of_no_question(struct pd_message *m)
{
    m->seq += 1000;
}

static void without_number(struct pd_message *m)
{
    m->seq = 0;
}

static void odd_error(struct pd_message *m)
{
    m->error = 1 << 30;
}

static void seems_cancelled(struct pd_message *m)
{
    m->error = ECANCELED;
}

static void seems_shut(struct pd_message *m)
{
    m->error = ESHUTDOWN;
}

static void unknown_here(struct pd_message *m)
{
    m->error = ENOTCONN;
}

static void errors_missing(struct pd_message *m)
{
    m->errors.n = 0;
}

static void errors_too_few(struct pd_message *m)
{
    m->errors.n = 1;
}

static void errors_too_many(struct pd_message *m)
{
    m->errors = (struct pd_ints){numbers, 5};
}

static void all_failed(struct pd_message *m)
{
    for (size_t i = 0; i < m->errors.n; i++)
        m->errors.v[i] = EBADMSG;
}

static void another_version(struct pd_message *m)
{
    m->version = 7;
}

static void another_epoch(struct pd_message *m)
{
    m->epoch++;
}

static void no_address(struct pd_message *m)
{
    m->address = (struct pd_bytes){"", 0};
}

static void odd_address(struct pd_message *m)
{
    m->address = (struct pd_bytes){"0123456789012345678901234567890123456789", 40};
}

static void refused(struct pd_message *m)
{
    m->error = EUSERS;
    m->reason = (struct pd_bytes){"too many senders", 16};
}

static const struct wrong {
    enum pd_type type;
    void (*change)(struct pd_message *m);
} wrongs[] = {
    {PD_ALLOC_RESPONSE, index_out_of_range},
    {PD_ALLOC_RESPONSE, index_negative},
    {PD_ALLOC_RESPONSE, index_twice},
    {PD_ALLOC_RESPONSE, tags_missing},
    {PD_ALLOC_RESPONSE, tags_missing_all},
    {PD_ALLOC_RESPONSE, tags_too_many},
    {PD_ALLOC_RESPONSE, present_and_tags},
    {PD_ALLOC_RESPONSE, no_alloc_id},
    {PD_ALLOC_RESPONSE, one_tag_for_large_keys},
    {PD_ALLOC_RESPONSE, of_another_type},
    {PD_ALLOC_RESPONSE, of_no_question},
    {PD_ALLOC_RESPONSE, without_number},
    {PD_ALLOC_RESPONSE, odd_error},
    {PD_ALLOC_RESPONSE, seems_cancelled},
    {PD_ALLOC_RESPONSE, seems_shut},
    {PD_ALLOC_RESPONSE, unknown_here},
    {PD_COMMIT_REPLY, errors_missing},
    {PD_COMMIT_REPLY, errors_too_few},
    {PD_COMMIT_REPLY, errors_too_many},
    {PD_COMMIT_REPLY, all_failed},
    {PD_COMMIT_REPLY, of_another_type},
    {PD_COMMIT_REPLY, of_no_question},
    {PD_COMMIT_REPLY, odd_error},
    {PD_COMMIT_REPLY, unknown_here},
    {PD_HELLO_REPLY, another_version},
    {PD_HELLO_REPLY, another_epoch},
    {PD_HELLO_REPLY, no_address},
    {PD_HELLO_REPLY, odd_address},
    {PD_HELLO_REPLY, refused},
};

static const struct wrong *now;

static void spoil(struct far *f, struct pd_message *reply)
{
    (void)f;
    if (reply->type == now->type)
        now->change(reply);
}

START_TEST(wrong_answers_fail_the_keys)
{
    struct push *p = push_new(&rig, 2, 100000, "");
    uint64_t deadline = clock_deadline(WAIT_TIME);

    now = &wrongs[_i];
    far_order(far, (struct orders){.spoil = spoil});
    rig_start(&rig);
    push_run(p);
    for (size_t i = 0; i < p->n; i++) {
        ck_assert_int_lt(p->errors[i], 0);
        ck_assert_int_gt(p->errors[i], -4096);
        ck_assert_int_ne(p->errors[i], -ECANCELED);
        ck_assert_int_ne(p->errors[i], -ESHUTDOWN);
    }
    ck_assert_uint_eq(p->bytes, 0);
    far_order(far, (struct orders){0});
    do {
        push_run(p);
        ck_assert(clock_now() < deadline);
    } while (p->errors[0] == -EHOSTDOWN || p->errors[0] == -ECONNRESET);
    for (size_t i = 0; i < p->n; i++) {
        ck_assert_int_eq(p->errors[i], 0);
        ck_assert(far_has(far, p, i));
    }
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "inflight"), 0);
    push_free(p);
}
END_TEST

START_TEST(a_refused_handshake_is_shown)
{
    struct push *p = push_new(&rig, 1, 100, "");
    char state[16];

    now = &wrongs[ARRAY_SIZE(wrongs) - 1];
    far_order(far, (struct orders){.spoil = spoil});
    rig_start(&rig);
    push_run(p);
    ck_assert_int_eq(p->errors[0], -EHOSTDOWN);
    ck_assert_str_eq(peer_state(&rig, "127.0.0.1", state), "refused");
    push_free(p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_send_hostile");
    TCase *tc = tcase_create("answers");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, wrong_answers_fail_the_keys, 0, ARRAY_SIZE(wrongs));
    tcase_add_test(tc, a_refused_handshake_is_shown);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
