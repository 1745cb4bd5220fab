/* test_pd_send_done.c - whole requests: Done to the receivers that got keys of it, then the proxy. */
#include <zmq.h>

#include "clock.h"
#include "pd_send_fixture.h"

static struct rig rig;
static void *context, *pull;

static void open_proxy(void)
{
    char address[64];
    size_t len = sizeof(address);
    int wait = (int)(WAIT_TIME / NSEC_PER_MSEC);

    context = zmq_ctx_new();
    pull = zmq_socket(context, ZMQ_PULL);
    ck_assert_int_eq(zmq_bind(pull, "tcp://127.0.0.1:*"), 0);
    ck_assert_int_eq(zmq_setsockopt(pull, ZMQ_RCVTIMEO, &wait, sizeof(wait)), 0);
    ck_assert_int_eq(zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, address, &len), 0);
    ck_assert_int_eq(pd_proxy_create(rig.loop, rig.ctl, "127.0.0.1",
                                     (uint16_t)atoi(strrchr(address, ':') + 1), 5 * NSEC_PER_SEC,
                                     &rig.proxy),
                     0);
}

static void setup(void)
{
    rig_open(&rig, 3);
    open_proxy();
}

static void teardown(void)
{
    rig_close(&rig);
    zmq_close(pull);
    zmq_ctx_term(context);
}

static struct push *push_of(const char *req_id, size_t n, const char *prefix)
{
    struct push *p = push_new(&rig, n, 1000, prefix);

    for (size_t i = 0; i < n; i++)
        p->bufs[i].route.req_id = req_id;
    return p;
}

struct done {
    struct l2_route route;
    int rc;
};

static void do_done(void *arg)
{
    struct done *d = arg;

    d->rc = pd_send_request_done(rig.send, &d->route);
}

static int request_done(const char *req_id, const char *peer)
{
    struct done d = {.route = {.peer = peer, .req_id = req_id}};

    rig_call(&rig, do_done, &d);
    return d.rc;
}

static void check_notified(const char *req_id)
{
    char data[256];
    int len = zmq_recv(pull, data, sizeof(data), 0);
    struct pd_message *m;
    const char *why;

    ck_assert_int_gt(len, 0);
    ck_assert_int_eq(pd_decode(data, (size_t)len, &m, &why), 0);
    ck_assert_int_eq(m->type, PD_PROXY_NOTIF);
    ck_assert_uint_eq(m->req_id.len, strlen(req_id));
    ck_assert_mem_eq(m->req_id.data, req_id, m->req_id.len);
    pd_message_free(m);
}

static void check_not_notified(void)
{
    char data[16];

    ck_assert_int_lt(zmq_recv(pull, data, sizeof(data), ZMQ_DONTWAIT), 0);
}

START_TEST(the_receivers_of_a_request_hear_of_it_then_the_proxy)
{
    struct push *a = push_of("r1", 3, "one/"), *b = push_of("r1", 2, "two/");
    struct push *c = push_of("r2", 2, "");

    rig_start(&rig);
    push_run(a);
    push_run(b);
    push_run(c);
    far_order(&rig.far[2], (struct orders){.hold = 1U << PD_DONE});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[1], PD_DONE, 1);
    far_wait(&rig.far[2], PD_DONE, 1);
    ck_assert_int_eq(request_done("r1", NULL), 0); /* while it is under way: one */
    check_not_notified();
    far_release(&rig.far[2]);
    check_notified("r1");
    ck_assert_uint_eq(rig.far[0].count[PD_DONE], 0);
    ck_assert_str_eq(rig.far[1].done, "r1");
    ck_assert_str_eq(rig.far[2].done, "r1");
    ck_assert_int_eq(request_done("r2", NULL), 0);
    check_notified("r2");
    ck_assert_str_eq(rig.far[0].done, "r2");
    check_not_notified();
    push_free(a);
    push_free(b);
    push_free(c);
}
END_TEST

/* The next keys of that id are of a new request, also while the one before is told of. */
START_TEST(a_second_round_is_told_of_too)
{
    struct push *a = push_of("r1", 1, "one/"), *b = push_of("r1", 1, "two/");

    rig_start(&rig);
    push_run(a);
    far_order(&rig.far[1], (struct orders){.hold = 1U << PD_DONE});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[1], PD_DONE, 1);
    push_run(b);
    ck_assert_uint_eq(rig.far[2].count[PD_DONE], 0);
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[2], PD_DONE, 1);
    check_notified("r1");
    far_release(&rig.far[1]);
    check_notified("r1");
    ck_assert_uint_eq(rig.far[0].count[PD_DONE], 0);
    push_free(a);
    push_free(b);
}
END_TEST

START_TEST(a_second_round_is_told_of_after_the_first)
{
    struct push *a = push_of("r1", 1, "one/"), *b = push_of("r1", 1, "two/");

    rig_start(&rig);
    push_run(a);
    far_order(&rig.far[1], (struct orders){.hold = 1U << PD_DONE});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[1], PD_DONE, 1);
    push_run(b);
    far_release(&rig.far[1]);
    check_notified("r1");
    ck_assert_int_eq(request_done("r1", NULL), 0);
    check_notified("r1");
    ck_assert_uint_eq(rig.far[2].count[PD_DONE], 1);
    ck_assert_uint_eq(rig.far[0].count[PD_DONE], 0);
    push_free(a);
    push_free(b);
}
END_TEST

START_TEST(an_unknown_request_goes_along_its_route)
{
    rig_start(&rig);
    ck_assert_int_eq(request_done("new", "two"), 0);
    check_notified("new");
    ck_assert_str_eq(rig.far[2].done, "new");
    ck_assert_int_eq(request_done("new", "nobody"), -ENOENT);
    ck_assert_int_eq(request_done("", NULL), -EINVAL);
    ck_assert_int_eq(request_done(NULL, NULL), -EINVAL);
}
END_TEST

START_TEST(keys_of_two_requests_are_two_batches)
{
    struct push *p = push_of("r1", 4, "");

    p->bufs[1].route.req_id = "r2";
    p->bufs[3].route.req_id = "r2";
    rig_start(&rig);
    push_run(p);
    ck_assert_uint_eq(rig.far[0].count[PD_ALLOC_REQUEST], 2);
    ck_assert_int_eq(request_done("r2", NULL), 0);
    check_notified("r2");
    push_free(p);
}
END_TEST

START_TEST(a_lost_done_is_said_again)
{
    struct push *p = push_of("r1", 1, "");

    rig_start(&rig);
    push_run(p);
    far_order(&rig.far[0], (struct orders){.mute = 1U << PD_DONE});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[0], PD_DONE, 2);
    far_release(&rig.far[0]);
    check_notified("r1");
    push_free(p);
}
END_TEST

static void no_memory(struct far *f, struct pd_message *reply)
{
    (void)f;
    if (reply->type == PD_DONE_REPLY)
        reply->error = ENOMEM;
}

START_TEST(a_done_that_found_no_memory_is_said_again)
{
    struct push *p = push_of("r1", 1, "");

    rig_start(&rig);
    push_run(p);
    far_order(&rig.far[0], (struct orders){.spoil = no_memory});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[0], PD_DONE, 2);
    check_not_notified();
    far_release(&rig.far[0]);
    check_notified("r1");
    push_free(p);
}
END_TEST

START_TEST(a_receiver_that_comes_back_hears_of_it)
{
    struct push *p = push_of("r1", 1, "");

    rig_start(&rig);
    push_run(p);
    far_kill(&rig.far[0]);
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_restart(&rig.far[0]);
    far_wait(&rig.far[0], PD_DONE, 1);
    check_notified("r1");
    push_free(p);
}
END_TEST

/* Another run knows nothing of what the one before was told, and must know where the keys landed. */
START_TEST(another_run_is_told_again)
{
    struct push *a = push_of("r1", 1, ""), *b = push_of("r2", 1, "");

    rig.far[0].run = 7;
    rig_start(&rig);
    push_run(a);
    ck_assert_int_eq(request_done("r1", NULL), 0);
    check_notified("r1");
    ck_assert_int_eq(rig.far[0].done_run, 7);
    far_restart(&rig.far[0]);
    rig.far[0].done[0] = 0;
    push_run(b); /* connected again: the same run */
    ck_assert_int_eq(request_done("r2", NULL), 0);
    check_notified("r2");
    ck_assert_uint_eq(rig.far[0].count[PD_DONE], 2);
    far_kill(&rig.far[0]);
    rig.far[0].run = 8;
    far_restart(&rig.far[0]);
    far_wait(&rig.far[0], PD_DONE, 4);
    ck_assert_int_eq(rig.far[0].done_run, 7);
    check_not_notified();
    push_free(a);
    push_free(b);
}
END_TEST

START_TEST(after_the_deadline_the_proxy_hears_of_it)
{
    struct push *p = push_of("r1", 1, "");

    rig.config.notify_timeout = 100 * NSEC_PER_MSEC;
    rig_start(&rig);
    push_run(p);
    far_order(&rig.far[0], (struct orders){.mute = 1U << PD_DONE});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    check_notified("r1");
    push_free(p);
}
END_TEST

START_TEST(what_is_pending_at_the_end_is_told)
{
    struct push *p = push_of("r1", 1, "");

    rig_start(&rig);
    push_run(p);
    far_order(&rig.far[0], (struct orders){.mute = 1U << PD_DONE});
    ck_assert_int_eq(request_done("r1", NULL), 0);
    far_wait(&rig.far[0], PD_DONE, 1);
    rig_stop_sender(&rig);
    check_notified("r1");
    push_free(p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_send_done");
    TCase *tc = tcase_create("requests");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_receivers_of_a_request_hear_of_it_then_the_proxy);
    tcase_add_test(tc, a_second_round_is_told_of_too);
    tcase_add_test(tc, a_second_round_is_told_of_after_the_first);
    tcase_add_test(tc, an_unknown_request_goes_along_its_route);
    tcase_add_test(tc, keys_of_two_requests_are_two_batches);
    tcase_add_test(tc, a_lost_done_is_said_again);
    tcase_add_test(tc, a_done_that_found_no_memory_is_said_again);
    tcase_add_test(tc, a_receiver_that_comes_back_hears_of_it);
    tcase_add_test(tc, another_run_is_told_again);
    tcase_add_test(tc, after_the_deadline_the_proxy_hears_of_it);
    tcase_add_test(tc, what_is_pending_at_the_end_is_told);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
