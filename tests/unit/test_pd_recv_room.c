/* test_pd_recv_room.c - a receiver's room: in line, refused, leased, cancelled. */
#include "recv_fixture.h"

#include "clock.h"
#include "suite.h"

static struct recv_rig g;
static struct sender s, other;

static void setup(void)
{
    recv_rig_prepare(&g, 1, false);
    g.config.buffer_size = 10 * MIB;
}

static void start(void)
{
    recv_rig_start(&g);
    sender_open(&s, &g, "host-1-a", 0);
    ck_assert_int_eq(sender_hello(&s), 0);
    sender_open(&other, &g, "host-2-b", 0);
    ck_assert_int_eq(sender_hello(&other), 0);
}

static void finish(void)
{
    recv_rig_expect(&g, "buffer_used", 0);
    recv_rig_expect(&g, "allocations", 0);
    recv_rig_expect(&g, "memory", 0);
    sender_close(&s);
    sender_close(&other);
    recv_rig_close(&g);
}

static const uint64_t four_mib[] = {4 * MIB};
static const uint64_t two_keys[] = {3 * MIB, 3 * MIB};

static int64_t post(struct parcel *p, struct sender *from)
{
    struct pd_message m = parcel_message(p, from);

    return sender_post(from, &m);
}

static void land(struct parcel *p, struct sender *from)
{
    struct pd_message m = parcel_commit(p, from);

    parcel_send(p, from);
    parcel_sent(p);
    parcel_outcome(p, sender_ask(from, &m));
    ck_assert_int_eq(p->error, 0);
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], 0);
    parcel_fini(p);
}

/* A small one that came later does not overtake. */
START_TEST(a_full_buffer_is_waited_for_in_order)
{
    struct parcel a, b, c, d;
    int64_t seq_c, seq_d;

    start();
    parcel_init(&a, "a", 1, four_mib, 1);
    parcel_init(&b, "b", 2, four_mib, 1);
    parcel_init(&c, "c", 3, four_mib, 1);
    parcel_init(&d, "d", 4, (const uint64_t[]){1}, 1);
    parcel_ask(&a, &s);
    parcel_ask(&b, &s);
    seq_c = post(&c, &s);
    recv_rig_expect(&g, "waiting", 1);
    seq_d = post(&d, &other);
    recv_rig_expect(&g, "waiting", 2);
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 8 * MIB);
    land(&a, &s);
    parcel_take(&c, sender_wait(&s, seq_c));
    parcel_take(&d, sender_wait(&other, seq_d));
    ck_assert_int_eq(c.error | d.error, 0);
    land(&b, &s);
    land(&c, &s);
    land(&d, &other);
    finish();
}
END_TEST

/* A request that is too large for what is left keeps its part and gets the rest. */
START_TEST(a_part_is_kept_while_it_waits)
{
    struct parcel a, b;
    int64_t seq;

    start();
    parcel_init(&a, "a", 1, two_keys, 2);
    parcel_init(&b, "b", 2, two_keys, 2);
    parcel_ask(&a, &s);
    seq = post(&b, &other);
    recv_rig_expect(&g, "buffer_used", 9 * MIB);
    ck_assert(!sender_answered(&other, seq));
    land(&a, &s);
    parcel_take(&b, sender_wait(&other, seq));
    ck_assert_int_eq(b.error, 0);
    land(&b, &other);
    finish();
}
END_TEST

START_TEST(no_room_in_time_is_refused)
{
    struct parcel a, b, c;

    g.config.alloc_timeout = 100 * NSEC_PER_MSEC;
    start();
    parcel_init(&a, "a", 1, two_keys, 2);
    parcel_init(&b, "b", 2, two_keys, 2);
    parcel_init(&c, "c", 3, four_mib, 1);
    parcel_ask(&a, &s);
    parcel_ask(&b, &other);
    ck_assert_int_eq(b.error, ENOSPC);
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 6 * MIB);
    parcel_ask(&c, &other); /* what was refused is in nobody's way */
    ck_assert_int_eq(c.error, 0);
    land(&a, &s);
    land(&c, &other);
    parcel_fini(&b);
    finish();
}
END_TEST

static void l1_room(uint64_t limit)
{
    void (*room)(void *arg);
    void *arg;

    lock(&g.objects.lock);
    g.objects.limit = limit;
    room = g.objects.room;
    arg = g.objects.room_arg;
    unlock(&g.objects.lock);
    room(arg);
}

START_TEST(l1_says_when_it_has_room)
{
    struct parcel a;
    int64_t seq;

    g.objects.limit = 5 * MIB;
    start();
    parcel_init(&a, "a", 1, two_keys, 2);
    seq = post(&a, &s);
    recv_rig_expect(&g, "buffer_used", 3 * MIB);
    ck_assert(!sender_answered(&s, seq));
    l1_room(6 * MIB);
    parcel_take(&a, sender_wait(&s, seq));
    ck_assert_int_eq(a.error, 0);
    land(&a, &s);
    finish();
}
END_TEST

static void start_ranks(uint64_t buffer_size, uint64_t l1)
{
    recv_rig_prepare(&g, 2, false);
    g.objects.limit = l1;
    g.config.buffer_size = buffer_size;
    recv_rig_start(&g);
    sender_open(&s, &g, "host-1-a", 0);
    sender_open(&other, &g, "host-1-b", 1);
    ck_assert_int_eq(sender_hello(&s) | sender_hello(&other), 0);
}

/* Two ranks that each wait for what the other has of L1: one lets go. */
START_TEST(ranks_do_not_starve_each_other_of_l1)
{
    struct parcel a, b;
    int64_t seq_a, seq_b;

    start_ranks(5 * MIB, 5 * MIB);
    parcel_init(&a, "a", 1, (const uint64_t[]){2 * MIB, 2 * MIB}, 2);
    parcel_init(&b, "b", 2, (const uint64_t[]){2 * MIB, 2 * MIB}, 2);
    seq_a = post(&a, &s);
    parcel_take(&a, sender_wait(&s, seq_a));
    seq_b = post(&b, &other);
    recv_rig_expect(&g, "waiting", 1);
    ck_assert(!sender_answered(&other, seq_b));
    land(&a, &s);
    parcel_take(&b, sender_wait(&other, seq_b));
    ck_assert_int_eq(b.error, 0);
    land(&b, &other);
    finish();
}
END_TEST

START_TEST(a_full_buffer_is_of_its_rank_alone)
{
    struct parcel a, b, c;
    int64_t seq;

    start_ranks(5 * MIB, GIB);
    parcel_init(&a, "a", 1, four_mib, 1);
    parcel_init(&b, "b", 2, four_mib, 1);
    parcel_init(&c, "c", 3, four_mib, 1);
    parcel_ask(&a, &s);
    seq = post(&b, &s);
    recv_rig_expect(&g, "waiting", 1);
    parcel_ask(&c, &other);
    ck_assert_int_eq(c.error, 0);
    ck_assert(!sender_answered(&s, seq));
    land(&c, &other);
    land(&a, &s);
    parcel_take(&b, sender_wait(&s, seq));
    land(&b, &s);
    finish();
}
END_TEST

/* Who waited for L1, has got it, and waits for its own buffer now. */
START_TEST(who_is_fed_keeps_l1_from_nobody)
{
    struct parcel a, b, x, y;
    int64_t seq;

    start_ranks(5 * MIB, 7 * MIB);
    parcel_init(&a, "a", 1, (const uint64_t[]){2 * MIB}, 1);
    parcel_init(&b, "b", 2, (const uint64_t[]){2 * MIB, 2 * MIB}, 2);
    parcel_init(&x, "x", 3, four_mib, 1);
    parcel_init(&y, "y", 4, (const uint64_t[]){MIB}, 1);
    parcel_ask(&a, &s);
    parcel_ask(&x, &other);
    seq = post(&b, &s); /* L1 has no room for the first, the buffer none for the second */
    recv_rig_expect(&g, "waiting", 1);
    l1_room(9 * MIB);
    recv_rig_expect(&g, "buffer_used", 8 * MIB);
    parcel_ask(&y, &other);
    ck_assert_int_eq(y.error, 0);
    ck_assert(!sender_answered(&s, seq));
    land(&y, &other);
    land(&x, &other);
    land(&a, &s);
    parcel_take(&b, sender_wait(&s, seq));
    land(&b, &s);
    finish();
}
END_TEST

static void check_gone(struct parcel *p, struct sender *from, int error)
{
    struct pd_message m = parcel_commit(p, from);

    parcel_outcome(p, sender_ask(from, &m));
    ck_assert_int_eq(p->error, 0);
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], error);
}

START_TEST(an_uncommitted_lease_ends)
{
    struct parcel none, all;

    g.config.lease = 100 * NSEC_PER_MSEC;
    start();
    parcel_init(&none, "n", 1, four_mib, 1);
    parcel_init(&all, "a", 2, two_keys, 2);
    parcel_ask(&none, &s); /* nothing is sent */
    parcel_ask(&all, &other);
    parcel_send(&all, &other); /* all is sent */
    recv_rig_expect(&g, "expired_keys", 3);
    recv_rig_expect(&g, "buffer_used", 0);
    check_gone(&none, &s, ETIMEDOUT);
    check_gone(&all, &other, ETIMEDOUT);
    ck_assert_uint_eq(g.objects.published, 0);
    parcel_fini(&none);
    parcel_fini(&all);
    finish();
}
END_TEST

/* What has come is published, what has not is taken back. */
START_TEST(a_commit_has_a_deadline)
{
    struct parcel p;
    struct pd_message m;

    g.config.transfer_timeout = 100 * NSEC_PER_MSEC;
    start();
    parcel_init(&p, "p", 1, two_keys, 2);
    parcel_ask(&p, &s);
    p.sizes[1] = 0; /* not sent */
    parcel_send(&p, &s);
    m = parcel_commit(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.errors[0], 0);
    ck_assert_int_eq(p.errors[1], ETIMEDOUT);
    parcel_sent(&p);
    parcel_fini(&p);
    finish();
}
END_TEST

struct stall {
    struct parcel *parcel;
    sem_t go;
};

/* Offers the first key, and then makes no progress. */
static void send_and_stop(void *arg)
{
    struct stall *stall = arg;
    struct parcel *p = stall->parcel;

    pd_conn_send(s.end.conn, &p->xfers[0].t, (uint64_t)p->tags[0], p->data[0], p->sizes[0]);
    sem_expect(&stall->go);
}

static void *stall_sender(void *arg)
{
    end_call(&s.end, send_and_stop, arg);
    return NULL;
}

/* Over UCX a message that was met is received until the connection is closed. */
START_TEST(a_lease_ends_amid_a_transfer)
{
    struct parcel p, q;
    struct stall stall = {.parcel = &p};
    pthread_t thread;

    sem_init(&stall.go, 0, 0);
    recv_rig_close(&g);
    recv_rig_prepare(&g, 1, true);
    g.config.lease = 2 * NSEC_PER_SEC;
    start();
    parcel_init(&p, "p", 1, (const uint64_t[]){48 * MIB}, 1);
    parcel_init(&q, "q", 1, four_mib, 1);
    parcel_land(&q, &s); /* connected from here on: what is sent is offered at once */
    parcel_ask(&p, &s);
    xfer_init(&p.xfers[0], &s.end);
    ck_assert_int_eq(pthread_create(&thread, NULL, stall_sender, &stall), 0);
    recv_rig_expect(&g, "expired_keys", 1);
    recv_rig_expect(&g, "buffer_used", 0);
    sem_post(&stall.go);
    pthread_join(thread, NULL);
    ck_assert_int_ne(xfer_wait(&p.xfers[0]), 0);
    check_gone(&p, &s, ETIMEDOUT);
    parcel_fini(&q);
    parcel_init(&q, "r", 1, four_mib, 1);
    parcel_land(&q, &other);
    parcel_fini(&p);
    parcel_fini(&q);
    finish();
    sem_destroy(&stall.go);
}
END_TEST

static struct pd_message cancel_message(struct parcel *p, struct sender *from)
{
    return (struct pd_message){
        .type = PD_CANCEL_NOTIF, .alloc_id = p->id, .sender = {from->name, strlen(from->name)}};
}

static void cancel(struct sender *from, struct pd_message *m)
{
    struct answer *a = sender_ask(from, m);

    ck_assert_int_eq(a->m->type, PD_ALLOC_RESPONSE);
    ck_assert_int_eq(a->m->error, 0);
    ck_assert_uint_eq(a->m->remote_indexes.n + a->m->already_sent_indexes.n, 0);
    answer_free(a);
}

START_TEST(cancel_gives_room_back_and_again_does_nothing)
{
    struct parcel p, q;
    struct pd_message m;

    start();
    parcel_init(&p, "p", 1, two_keys, 2);
    parcel_init(&q, "p", 1, two_keys, 2); /* the same keys */
    parcel_ask(&p, &s);
    m = cancel_message(&p, &s);
    cancel(&s, &m);
    recv_rig_expect(&g, "buffer_used", 0);
    parcel_ask(&q, &other);
    m.seq = 0;
    cancel(&s, &m);
    ck_assert_int_eq(recv_rig_status(&g, "buffer_used"), 6 * MIB);
    ck_assert_int_eq(recv_rig_status(&g, "cancelled_keys"), 2);
    check_gone(&p, &s, ECANCELED);
    land(&q, &other);
    m.seq = 0;
    cancel(&s, &m);
    ck_assert_ptr_nonnull(recv_rig_object(&g, "p0"));
    parcel_fini(&p);
    finish();
}
END_TEST

START_TEST(cancel_of_one_key_leaves_the_others)
{
    struct parcel p;
    struct pd_message m;

    start();
    parcel_init(&p, "p", 1, two_keys, 2);
    parcel_ask(&p, &s);
    m = cancel_message(&p, &s);
    m.keys = (struct pd_strings){&p.names[1], 1};
    cancel(&s, &m);
    recv_rig_expect(&g, "buffer_used", 3 * MIB);
    p.sizes[1] = 0;
    parcel_send(&p, &s);
    m = parcel_commit(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.errors[0], 0);
    ck_assert_int_eq(p.errors[1], ECANCELED);
    ck_assert_ptr_nonnull(recv_rig_object(&g, "p0"));
    ck_assert_ptr_null(recv_rig_object(&g, "p1"));
    parcel_sent(&p);
    parcel_fini(&p);
    finish();
}
END_TEST

/* With a number of its own, or with that of the request: that is answered once. */
START_TEST(cancel_of_who_waits)
{
    struct parcel a, b;
    struct pd_message m;
    int64_t seq;

    start();
    parcel_init(&a, "a", 1, two_keys, 2);
    parcel_init(&b, "b", 2, (const uint64_t[]){MIB, 6 * MIB}, 2); /* the second alone has no room */
    parcel_ask(&a, &s);
    seq = post(&b, &other);
    recv_rig_expect(&g, "waiting", 1);
    m = cancel_message(&b, &other);
    m.keys = (struct pd_strings){b.names, 1};
    m.seq = seq;
    sender_post(&other, &m);
    answer_free(sender_wait(&other, 0));
    ck_assert(!sender_answered(&other, seq));
    m.seq = 0;
    m.keys = (struct pd_strings){b.names, 2};
    cancel(&other, &m);
    parcel_take(&b, sender_wait(&other, seq));
    check_gone(&b, &other, ECANCELED);
    recv_rig_expect(&g, "waiting", 0);
    recv_rig_expect(&g, "buffer_used", 6 * MIB);
    land(&a, &s);
    parcel_fini(&b);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pd_recv_room");
    TCase *tc = tcase_create("room");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_full_buffer_is_waited_for_in_order);
    tcase_add_test(tc, a_part_is_kept_while_it_waits);
    tcase_add_test(tc, no_room_in_time_is_refused);
    tcase_add_test(tc, l1_says_when_it_has_room);
    tcase_add_test(tc, an_uncommitted_lease_ends);
    tcase_add_test(tc, a_commit_has_a_deadline);
    tcase_add_test(tc, cancel_gives_room_back_and_again_does_nothing);
    tcase_add_test(tc, cancel_of_one_key_leaves_the_others);
    tcase_add_test(tc, cancel_of_who_waits);
    tcase_add_test(tc, a_lease_ends_amid_a_transfer);
    suite_add_tcase(suite, tc);
    suite_add(suite, "ranks",
              TESTS(ranks_do_not_starve_each_other_of_l1, a_full_buffer_is_of_its_rank_alone,
                    who_is_fed_keeps_l1_from_nobody));
    return suite_run(suite);
}
