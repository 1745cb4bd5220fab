/* test_pd_recv_foreign.c - LMCache's senders: both forms of a request, cancel, lease, the cache
 * query, and what nobody understands. */
#include "recv_fixture.h"

#include "suite.h"

#define PAGE UINT64_C(8192) /* bytes of one object of `request` */

static struct recv_rig g;
static struct sender s;

static void setup(void)
{
    recv_rig_prepare(&g, 1, false);
    g.config.buffer_size = 8 * PAGE;
}

static void start(void)
{
    recv_rig_start(&g);
    sender_open(&s, &g, "lmcache", 0);
}

static void finish(void)
{
    recv_rig_expect(&g, "memory", 0);
    recv_rig_expect(&g, "buffer_used", 0);
    sender_close(&s);
    recv_rig_close(&g);
}

static int64_t shape[] = {2, 1, 16, 128};
static struct pd_bytes names[16] = {{"k0", 2}, {"k1", 2}, {"k2", 2}, {"k3", 2}, {"k4", 2},
                                    {"k5", 2}, {"k6", 2}, {"k7", 2}, {"k8", 2}};

static struct pd_message request(size_t n, const char *req_id)
{
    return (struct pd_message){.type = PD_ALLOC_REQUEST,
                               .async = req_id != NULL,
                               .keys = {names, n},
                               .fmt = 1,
                               .shape = {shape, 4},
                               .dtype = {"bfloat16", 8},
                               .last_chunk_toks = 3,
                               .req_id = {req_id, req_id ? strlen(req_id) : 0}};
}

/* An answer carries no seq of theirs. */
static struct answer *ask(struct pd_message *m)
{
    struct text out = {0};

    pd_encode(m, &out);
    sender_post_bytes(&s, false, out.data, out.len);
    text_fini(&out);
    return sender_wait(&s, 0);
}

static void expect(struct answer *a, const int64_t *remote, size_t n)
{
    ck_assert_int_eq(a->m->type, PD_ALLOC_RESPONSE);
    ck_assert_uint_eq(a->m->remote_indexes.n, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(a->m->remote_indexes.v[i], remote[i]);
    answer_free(a);
}

static void cancel(const char *req_id, size_t n)
{
    struct pd_message m = {
        .type = PD_CANCEL_NOTIF, .req_id = {req_id, strlen(req_id)}, .keys = {names, n}};

    expect(ask(&m), NULL, 0);
}

/* The sync form is told what is there; it is published, so it is true. */
START_TEST(sync_request)
{
    struct sender ours;
    struct parcel p;
    struct pd_message m = request(3, NULL);
    struct answer *a;

    g.config.lease = NSEC_PER_SEC;
    start();
    sender_open(&ours, &g, "host", 0);
    ck_assert_int_eq(sender_hello(&ours), 0);
    parcel_init(&p, "k", 1, (const uint64_t[]){3, 4}, 2);
    p.names[0] = (struct pd_bytes){"k1", 2};
    p.names[1] = (struct pd_bytes){"x", 1};
    parcel_land(&p, &ours);
    a = ask(&m);
    ck_assert_uint_eq(a->m->already_sent_indexes.n, 1);
    ck_assert_int_eq(a->m->already_sent_indexes.v[0], 1);
    expect(a, (const int64_t[]){0, 1}, 2);
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 2 * PAGE);
    recv_rig_expect(&g, "buffer_used", 0); /* the lease */
    ck_assert_int_eq(recv_rig_status(&g, "expired_keys"), 2);
    parcel_fini(&p);
    sender_close(&ours);
    finish();
}
END_TEST

START_TEST(async_request_and_cancel)
{
    struct pd_message m = request(3, "r1");

    start();
    expect(ask(&m), (const int64_t[]){0, 1, 2}, 3);
    expect(ask(&m), (const int64_t[]){3, 4, 5}, 3); /* the same keys: pages of their own */
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 6 * PAGE);
    cancel("another", 3);
    cancel("r1", 1);
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 4 * PAGE);
    expect(ask(&m), (const int64_t[]){0, 3, 6}, 3);
    cancel("r1", 0);
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 0);
    cancel("r1", 3);
    finish();
}
END_TEST

START_TEST(what_cannot_be_is_refused_at_once)
{
    static const int64_t none[9] = {-1, -1, -1, -1, -1, -1, -1, -1, -1};
    struct pd_message m = request(9, "r1");

    start();
    expect(ask(&m), none, 9); /* larger than the buffer */
    m = request(1, "r1");
    m.total_chunks = 9;
    expect(ask(&m), none, 1);
    m = request(2, "r1");
    m.total_chunks = 3;
    expect(ask(&m), (const int64_t[]){0, 1}, 2);
    expect(ask(&m), none, 2); /* more than it said: all of it goes */
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 0);
    m = request(2, "r1");
    m.dtype = (struct pd_bytes){"int3", 4};
    expect(ask(&m), none, 2);
    m = request(0, "r1");
    expect(ask(&m), NULL, 0);
    finish();
}
END_TEST

START_TEST(waits_and_is_refused)
{
    struct pd_message m = request(6, "r1");
    struct pd_message more = request(3, "r2");

    g.config.alloc_timeout = 50 * NSEC_PER_MSEC;
    start();
    expect(ask(&m), (const int64_t[]){0, 1, 2, 3, 4, 5}, 6);
    expect(ask(&more), (const int64_t[]){-1, -1, -1}, 3);
    cancel("r1", 0);
    expect(ask(&more), (const int64_t[]){0, 1, 2}, 3);
    cancel("r2", 0);
    finish();
}
END_TEST

START_TEST(cache_query)
{
    struct pd_message m = {.type = PD_CACHE_QUERY_REQUEST, .keys = {names, 3}};
    struct sender ours;
    struct parcel p;
    struct answer *a;

    start();
    sender_open(&ours, &g, "host", 0);
    ck_assert_int_eq(sender_hello(&ours), 0);
    parcel_init(&p, "k", 1, (const uint64_t[]){3, 4}, 2);
    p.names[0] = (struct pd_bytes){"k2", 2};
    p.names[1] = (struct pd_bytes){"k0", 2};
    parcel_land(&p, &ours);
    a = ask(&m);
    ck_assert_int_eq(a->m->type, PD_CACHE_QUERY_RESPONSE);
    ck_assert_uint_eq(a->m->keys.n, 2);
    ck_assert_int_eq(memcmp(a->m->keys.v[0].data, "k0", 2), 0);
    ck_assert_int_eq(memcmp(a->m->keys.v[1].data, "k2", 2), 0);
    ck_assert_uint_eq(a->m->remote_indexes.n, 2);
    answer_free(a);
    parcel_fini(&p);
    sender_close(&ours);
    finish();
}
END_TEST

static const struct {
    bool init;
    const char *data;
    size_t len;
} garbage[] = {{false, "", 0},
               {true, "", 0},
               {false, "\xc1", 1},
               {true, "GET / HTTP/1.1\r\n", 16},
               {false, "\x81\xa4type\xa4What", 11},
               {true, "\x81\xa4type\xa4What", 11},
               {false,
                "\x82\xa4type\xac"
                "AllocRequest\xa4keys\xdf\xff\xff\xff\xff",
                29}};

START_TEST(garbage_has_an_answer)
{
    struct answer *a;

    start();
    sender_post_bytes(&s, garbage[_i].init, garbage[_i].data, garbage[_i].len);
    a = sender_wait(&s, 0);
    ck_assert_int_eq(a->m->error, EBADMSG);
    if (garbage[_i].init) {
        ck_assert_int_eq(a->m->type, PD_HELLO_REPLY);
        answer_free(a);
    } else {
        expect(a, (const int64_t[]){-1}, 1);
    }
    ck_assert_int_eq(recv_rig_status(&g, "garbage"), 1);
    finish();
}
END_TEST

START_TEST(what_is_not_served_has_an_answer)
{
    struct pd_message nixl = {.type = PD_NIXL_INIT_REQUEST, .a = {"\1", 1}};
    struct pd_message notif = {.type = PD_PROXY_NOTIF, .req_id = {"r", 1}};
    struct text out = {0};
    struct answer *a;

    start();
    pd_encode(&nixl, &out);
    sender_post_bytes(&s, true, out.data, out.len);
    text_fini(&out);
    a = sender_wait(&s, 0);
    ck_assert_int_eq(a->m->type, PD_HELLO_REPLY);
    ck_assert_int_ne(a->m->error, 0);
    answer_free(a);
    expect(ask(&notif), (const int64_t[]){-1}, 1);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pd_recv_foreign");
    TCase *tc = tcase_create("foreign");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, sync_request);
    tcase_add_test(tc, async_request_and_cancel);
    tcase_add_test(tc, what_cannot_be_is_refused_at_once);
    tcase_add_test(tc, waits_and_is_refused);
    tcase_add_test(tc, cache_query);
    tcase_add_loop_test(tc, garbage_has_an_answer, 0, ARRAY_SIZE(garbage));
    tcase_add_test(tc, what_is_not_served_has_an_answer);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
