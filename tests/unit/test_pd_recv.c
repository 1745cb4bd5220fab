/* test_pd_recv.c - what a receiver does for senders that keep to the protocol. */
#include "recv_fixture.h"

#include "pd_recv_parts.h"
#include "staging.h"
#include "suite.h"

static struct recv_rig g;
static struct sender s, other;

static void setup(void)
{
    recv_rig_prepare(&g, 1, false);
}

static void start(void)
{
    recv_rig_start(&g);
    sender_open(&s, &g, "host-1-a", 0);
    ck_assert_int_eq(sender_hello(&s), 0);
}

static void start_other(void)
{
    sender_open(&other, &g, "host-2-b", 0);
    ck_assert_int_eq(sender_hello(&other), 0);
}

/* Nothing is left when everything has its outcome. */
static void finish(void)
{
    recv_rig_expect(&g, "buffer_used", 0);
    recv_rig_expect(&g, "allocations", 0);
    recv_rig_expect(&g, "buffers", 0);
    recv_rig_expect(&g, "memory", 0);
    sender_close(&s);
    recv_rig_close(&g);
}

static void check_object(const char *key, const struct parcel *p, size_t i)
{
    const struct object *o = recv_rig_object(&g, key);

    ck_assert_ptr_nonnull(o);
    ck_assert_uint_eq(o->size, p->sizes[i]);
    ck_assert_int_eq(memcmp(o->data, p->data[i], o->size), 0);
    ck_assert_uint_eq(o->crc32c, (uint32_t)p->v[1][i]);
}

static const uint64_t three[] = {5, 0, 3 * MIB + 1};

START_TEST(keys_land)
{
    struct parcel p;
    const struct object *o;

    start();
    parcel_init(&p, "k", 1, three, 3);
    parcel_land(&p, &s);
    for (size_t i = 0; i < 3; i++)
        check_object(p.keys[i], &p, i);
    o = recv_rig_object(&g, "k0");
    ck_assert_uint_eq(o->attr.mode, 0100640);
    ck_assert_uint_eq(o->attr.uid, 11);
    ck_assert_uint_eq(o->attr.gid, 12);
    ck_assert_int_eq(o->attr.mtime.tv_sec, 1700000000);
    ck_assert_int_eq(o->attr.mtime.tv_nsec, 5);
    ck_assert_int_eq(recv_rig_status(&g, "landed_keys"), 3);
    ck_assert_int_eq(recv_rig_status(&g, "landed_bytes"), 3 * MIB + 6);
    parcel_fini(&p);
    finish();
}
END_TEST

START_TEST(what_is_there_is_not_sent_again)
{
    static const uint64_t four[] = {5, 0, 3 * MIB + 1, 9};
    struct parcel p, again;

    start();
    parcel_init(&p, "k", 1, three, 3);
    parcel_init(&again, "k", 1, four, 4);
    parcel_land(&p, &s);
    parcel_land(&again, &s);
    ck_assert(again.present[0] && again.present[1] && again.present[2] && !again.present[3]);
    ck_assert_int_eq(recv_rig_status(&g, "landed_keys"), 4);
    parcel_fini(&again);
    parcel_init(&again, "k", 1, three, 3);
    parcel_land(&again, &s);
    ck_assert_int_eq(recv_rig_status(&g, "landed_keys"), 4);
    parcel_fini(&again);
    parcel_fini(&p);
    finish();
}
END_TEST

/* Neither waits for the other, and a key is "there" only when it was published. */
START_TEST(two_senders_of_one_key)
{
    struct parcel p, q;
    struct pd_message m;

    start();
    start_other();
    parcel_init(&p, "k", 1, three, 3);
    parcel_init(&q, "k", 1, three, 3);
    parcel_ask(&p, &s);
    parcel_land(&q, &other);
    ck_assert(!q.present[0] && !q.present[2]);
    parcel_send(&p, &s);
    m = parcel_commit(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.error, 0);
    ck_assert_int_eq(p.errors[0] | p.errors[1] | p.errors[2], 0);
    ck_assert_uint_eq(g.objects.published, 3);
    parcel_sent(&p);
    parcel_fini(&p);
    parcel_fini(&q);
    sender_close(&other);
    finish();
}
END_TEST

START_TEST(commit_waits_for_the_data)
{
    struct parcel p;
    struct pd_message m;
    int64_t seq;

    start();
    parcel_init(&p, "k", 1, three, 3);
    parcel_ask(&p, &s);
    m = parcel_commit(&p, &s);
    seq = sender_post(&s, &m);
    recv_rig_expect(&g, "landed_keys", 1); /* the empty one */
    ck_assert(!sender_answered(&s, seq));
    parcel_send(&p, &s);
    parcel_outcome(&p, sender_wait(&s, seq));
    ck_assert_int_eq(p.error, 0);
    parcel_sent(&p);
    parcel_fini(&p);
    finish();
}
END_TEST

START_TEST(commit_again_has_the_same_outcome)
{
    struct parcel p;
    struct pd_message m;
    int64_t first;

    g.objects.publish_error = -ENOSPC;
    start();
    parcel_init(&p, "bad", 1, three, 3);
    parcel_ask(&p, &s);
    m = parcel_commit(&p, &s);
    first = sender_post(&s, &m);
    recv_rig_expect(&g, "failed_keys", 1); /* so it is there */
    m.seq = 0;
    sender_post(&s, &m); /* as when the answer takes long */
    parcel_outcome(&p, sender_wait(&s, first));
    ck_assert_int_eq(p.error, EALREADY);
    parcel_send(&p, &s);
    parcel_outcome(&p, sender_wait(&s, m.seq));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(p.error, 0);
        ck_assert_int_eq(p.errors[0], ENOSPC);
        ck_assert_int_eq(p.errors[1], ENOSPC);
        ck_assert_int_eq(p.errors[2], ENOSPC);
        m.seq = 0;
        parcel_outcome(&p, sender_ask(&s, &m));
    }
    ck_assert_int_eq(recv_rig_status(&g, "failed_keys"), 3);
    parcel_sent(&p);
    parcel_fini(&p);
    finish();
}
END_TEST

START_TEST(commit_of_nothing)
{
    struct parcel p;
    struct pd_message m;

    start();
    start_other();
    parcel_init(&p, "k", 1, three, 3);
    parcel_ask(&p, &s);
    m = parcel_commit(&p, &other); /* not its own */
    parcel_outcome(&p, sender_ask(&other, &m));
    ck_assert_int_eq(p.error, ESTALE);
    m = parcel_commit(&p, &s);
    m.alloc_id++;
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.error, ESTALE);
    m = parcel_commit(&p, &s);
    m.crcs.n = 2;
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.error, EINVAL);
    m.seq = 0;
    m.crcs.n = 3;
    parcel_send(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.error, 0);
    parcel_sent(&p);
    parcel_fini(&p);
    sender_close(&other);
    finish();
}
END_TEST

START_TEST(wrong_bytes_are_not_taken)
{
    struct parcel p;
    struct pd_message m;

    start();
    parcel_init(&p, "k", 1, three, 3);
    p.v[1][0] ^= 1; /* as said with the request */
    parcel_ask(&p, &s);
    parcel_send(&p, &s);
    m = parcel_commit(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.errors[0], EBADMSG);
    ck_assert_int_eq(p.errors[1], 0);
    ck_assert_int_eq(p.errors[2], 0);
    ck_assert_ptr_null(recv_rig_object(&g, "k0"));
    ck_assert_int_eq(recv_rig_status(&g, "corrupt_keys"), 1);
    parcel_sent(&p);
    parcel_fini(&p);
    finish();
}
END_TEST

/* Its crc32c is known to the sender only when the bytes went out: Commit corrects the request. */
START_TEST(commit_corrects_the_crc)
{
    struct parcel p;
    struct pd_message m;
    int64_t right;

    start();
    parcel_init(&p, "k", 1, three, 3);
    right = p.v[1][2];
    p.v[1][2] = 0;
    parcel_ask(&p, &s);
    parcel_send(&p, &s);
    parcel_sent(&p);
    p.v[1][2] = right;
    m = parcel_commit(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.errors[2], 0);
    check_object("k2", &p, 2);
    parcel_fini(&p);
    finish();
}
END_TEST

static const struct {
    const char *key;
    uint64_t size;
    int64_t mode;
    int error;
} refused[] = {{"k", 65 * MIB, 0644, EFBIG}, /* larger than the buffer */
               {"k", 62 * MIB, 0644, EFBIG}, /* with the others */
               {"bad", 1, 0644, EBUSY},
               {"k", 1, 0040755, EINVAL}, /* a directory */
               {"k", 1, 1 << 20, EINVAL}};

START_TEST(one_bad_key_refuses_its_request)
{
    struct parcel p;
    struct answer *a;
    struct pd_message m;

    g.objects.reserve_error = -EBUSY;
    start();
    parcel_init(&p, "k", 1, three, 3);
    p.names[1] = (struct pd_bytes){refused[_i].key, strlen(refused[_i].key)};
    p.v[0][1] = (int64_t)refused[_i].size;
    p.v[2][1] = refused[_i].mode;
    m = parcel_message(&p, &s);
    a = sender_ask(&s, &m);
    ck_assert_int_eq(a->m->error, refused[_i].error);
    ck_assert_uint_gt(a->m->reason.len, 0);
    ck_assert_uint_eq(a->m->tags.n, 0);
    answer_free(a);
    ck_assert_int_eq(recv_rig_status(&g, "refused_requests"), 1);
    parcel_fini(&p);
    finish();
}
END_TEST

START_TEST(too_many_keys)
{
    static int64_t numbers[PD_BATCH_KEYS + 1];
    static struct pd_bytes names[PD_BATCH_KEYS + 1];
    struct pd_ints list = {numbers, PD_BATCH_KEYS + 1};
    struct pd_message m = {.type = PD_ALLOC_REQUEST,
                           .async = true,
                           .keys = {names, PD_BATCH_KEYS + 1},
                           .sizes = list,
                           .crcs = list,
                           .modes = list,
                           .uids = list,
                           .gids = list,
                           .mtimes = list};
    struct answer *a;

    start();
    for (size_t i = 0; i < PD_BATCH_KEYS + 1; i++)
        names[i] = (struct pd_bytes){"key", 3};
    m.sender = (struct pd_bytes){s.name, strlen(s.name)};
    a = sender_ask(&s, &m);
    ck_assert_int_eq(a->m->error, ENOBUFS);
    answer_free(a);
    finish();
}
END_TEST

static const struct {
    size_t ranks, rank;
} done_cases[] = {{1, 0}, {2, 1}, {3, 2}};

START_TEST(ready_when_every_rank_is_done)
{
    size_t ranks = done_cases[_i].ranks;
    struct sender of[3];

    recv_rig_prepare(&g, ranks, false);
    recv_rig_start(&g);
    for (size_t i = 0; i < ranks; i++) {
        struct pd_message m = {.type = PD_DONE, .req_id = {"req-1", 5}, .rank = (int64_t)i};

        sender_open(&of[i], &g, "host", i);
        for (int again = 0; again < 2; again++) {
            struct answer *a = sender_ask(&of[i], &m);

            ck_assert_int_eq(a->m->type, PD_DONE_REPLY);
            ck_assert_int_eq(a->m->error, 0);
            answer_free(a);
            m.seq = 0;
        }
        ck_assert_uint_eq(recv_rig_ready(&g), i + 1 == ranks);
    }
    ck_assert_str_eq(g.objects.last_ready, "req-1");
    for (size_t i = 0; i < ranks; i++)
        sender_close(&of[i]);
    recv_rig_close(&g);
}
END_TEST

static int64_t run_of(struct sender *of)
{
    struct pd_message m = {.type = PD_HELLO,
                           .version = PD_VERSION,
                           .epoch = ++of->epoch,
                           .sender = {of->name, strlen(of->name)},
                           .rank = (int64_t)of->rank};
    struct answer *a;
    int64_t run;

    m.address.data = pd_conn_address(of->end.conn, &m.address.len);
    a = sender_ask(of, &m);
    run = a->m->run;
    ck_assert_int_ne(run, 0);
    answer_free(a);
    return run;
}

static int64_t done_at(struct sender *of, int64_t run)
{
    struct pd_message m = {
        .type = PD_DONE, .req_id = {"req-1", 5}, .rank = (int64_t)of->rank, .run = run};
    struct answer *a = sender_ask(of, &m);
    int64_t error = a->m->error;

    ck_assert_int_eq(a->m->type, PD_DONE_REPLY);
    answer_free(a);
    return error;
}

/* The receiver ends between two ranks: amid everything, or by an unmount, when the keys went. */
static const bool crashed[] = {true, false};

START_TEST(a_restart_between_the_ranks)
{
    struct sender of[2];
    int64_t run;

    recv_rig_prepare(&g, 2, false);
    recv_rig_start(&g);
    for (size_t i = 0; i < 2; i++)
        sender_open(&of[i], &g, "host", i);
    run = run_of(&of[0]);
    ck_assert_int_eq(run_of(&of[1]), run);
    ck_assert_int_eq(done_at(&of[0], run), 0);
    for (size_t i = 0; i < 2; i++)
        sender_close(&of[i]);
    recv_rig_stop(&g);
    if (!crashed[_i])
        ck_assert_int_eq(staging_set_note(g.objects.staging, "", 0), 0);
    recv_rig_start(&g);
    for (size_t i = 0; i < 2; i++)
        sender_open(&of[i], &g, "host", i);
    ck_assert_int_ne(run_of(&of[1]), run);
    ck_assert_int_eq(done_at(&of[1], run_of(&of[1])), 0);
    ck_assert_uint_eq(recv_rig_ready(&g), 0); /* rank 0 has not said it to this run */
    ck_assert_int_eq(done_at(&of[0], run), crashed[_i] ? 0 : ESTALE);
    ck_assert_uint_eq(recv_rig_ready(&g), crashed[_i]);
    ck_assert_uint_eq(recv_rig_lost(&g), !crashed[_i]);
    ck_assert_int_eq(done_at(&of[0], run), crashed[_i] ? 0 : ESTALE); /* nothing more happens */
    ck_assert_int_eq(done_at(&of[0], run_of(&of[0])), 0);             /* it was sent again */
    ck_assert_uint_eq(recv_rig_ready(&g), 1);
    ck_assert_uint_eq(recv_rig_lost(&g), !crashed[_i]);
    for (size_t i = 0; i < 2; i++)
        sender_close(&of[i]);
    recv_rig_close(&g);
}
END_TEST

/* The oldest runs are forgotten. */
START_TEST(many_runs)
{
    int64_t runs[RECV_RUNS_MAX + 1];

    recv_rig_prepare(&g, 1, false);
    for (size_t i = 0; i <= RECV_RUNS_MAX; i++) {
        recv_rig_stop(&g);
        recv_rig_start(&g);
        runs[i] = recv_run(g.recv);
    }
    sender_open(&s, &g, "host", 0);
    ck_assert_int_eq(done_at(&s, runs[0]), ESTALE);
    ck_assert_int_eq(done_at(&s, runs[1]), 0);
    sender_close(&s);
    recv_rig_close(&g);
}
END_TEST

/* It is not taken for said what the mount has not heard. */
START_TEST(done_without_memory_is_refused)
{
    struct pd_message m = {.type = PD_DONE, .req_id = {"r", 1}};
    struct answer *a;

    g.objects.ready_error = -ENOMEM;
    start();
    a = sender_ask(&s, &m);
    ck_assert_int_eq(a->m->error, ENOMEM);
    answer_free(a);
    lock(&g.objects.lock);
    g.objects.ready_error = 0;
    unlock(&g.objects.lock);
    m.seq = 0;
    a = sender_ask(&s, &m);
    ck_assert_int_eq(a->m->error, 0);
    answer_free(a);
    ck_assert_uint_eq(recv_rig_ready(&g), 1);
    finish();
}
END_TEST

START_TEST(done_of_no_request)
{
    static char longer[300];
    struct pd_message m = {.type = PD_DONE, .rank = 1, .req_id = {"r", 1}};
    struct answer *a;

    start();
    a = sender_ask(&s, &m); /* of another rank */
    ck_assert_int_eq(a->m->error, EDOM);
    answer_free(a);
    memset(longer, 'r', sizeof longer);
    m = (struct pd_message){.type = PD_DONE, .req_id = {longer, sizeof longer}};
    a = sender_ask(&s, &m);
    ck_assert_int_eq(a->m->error, EINVAL);
    answer_free(a);
    m = (struct pd_message){.type = PD_DONE, .req_id = {"", 0}};
    a = sender_ask(&s, &m);
    ck_assert_int_eq(a->m->error, EINVAL);
    answer_free(a);
    ck_assert_uint_eq(recv_rig_ready(&g), 0);
    finish();
}
END_TEST

START_TEST(no_arrivals_no_receiver)
{
    struct pd_env env = {.adapter = &g.env, .config = &g.config, .loop = g.host.loop};
    struct pd_recv *recv;

    g.env.arrivals = NULL;
    ck_assert_int_eq(pd_recv_create(&env, &recv), -EINVAL);
    recv_rig_close(&g);
}
END_TEST

/* Its first port is free, its second is not: all of it is undone. */
static void create_second(void *arg)
{
    struct pd_config config = g.config;
    struct pd_env env = {.adapter = &g.env, .config = &config, .loop = g.host.loop, .ctl = g.ctl};
    struct pd_recv *second;

    config.alloc_port = json_pack("[i]", *(int *)arg);
    ck_assert_int_eq(pd_recv_create(&env, &second), -EADDRINUSE);
    json_decref(config.alloc_port);
}

START_TEST(a_port_that_is_taken)
{
    int port;

    start();
    port = pd_server_port(g.recv->ranks[0].alloc);
    end_call(&g.host, create_second, &port);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pd_recv");
    TCase *tc = tcase_create("recv");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, keys_land);
    tcase_add_test(tc, what_is_there_is_not_sent_again);
    tcase_add_test(tc, two_senders_of_one_key);
    tcase_add_test(tc, commit_waits_for_the_data);
    tcase_add_test(tc, commit_again_has_the_same_outcome);
    tcase_add_test(tc, commit_of_nothing);
    tcase_add_test(tc, wrong_bytes_are_not_taken);
    tcase_add_test(tc, commit_corrects_the_crc);
    tcase_add_loop_test(tc, one_bad_key_refuses_its_request, 0, ARRAY_SIZE(refused));
    tcase_add_test(tc, too_many_keys);
    tcase_add_test(tc, done_without_memory_is_refused);
    tcase_add_test(tc, done_of_no_request);
    tcase_add_test(tc, no_arrivals_no_receiver);
    tcase_add_test(tc, a_port_that_is_taken);
    suite_add_tcase(suite, tc);
    suite_add(suite, "runs", TESTS(many_runs));
    suite_add_loop(suite, "restart", TESTS(a_restart_between_the_ranks), ARRAY_SIZE(crashed));
    suite_add_loop(suite, "ready", TESTS(ready_when_every_rank_is_done), ARRAY_SIZE(done_cases));
    return suite_run(suite);
}
