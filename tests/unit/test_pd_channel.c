/* test_pd_channel.c - the same cases over both channels: _i is 0 for memory, 1 for UCX over tcp. */
#include "pd_channel.h"

#include "channel_fixture.h"
#include "clock.h"
#include "suite.h"

static struct end a, b; /* b receives */

static void open_both(int kind)
{
    end_open(&a, kind == 1);
    end_open(&b, kind == 1);
    ends_connect(&a, &b);
}

static void close_both(void)
{
    end_close(&a);
    end_close(&b);
}

static void check_moves_to(struct end *there, struct end *here, uint64_t size)
{
    AUTO_FREE char *from = pattern_new(size, 7);
    AUTO_FREE char *to = calloc(1, size + 1);
    struct xfer send, recv;

    xfer_init(&send, here);
    xfer_init(&recv, there);
    xfer_recv(&recv, 42, to, size);
    xfer_send(&send, 42, from, size);
    ck_assert_int_eq(xfer_wait(&send), 0);
    ck_assert_int_eq(xfer_wait(&recv), 0);
    ck_assert(pattern_is(to, size, 7));
}

static void check_moves(uint64_t size)
{
    check_moves_to(&b, &a, size);
}

/* Both ways: UCX 1.13 may end the process when a socket fails while its connection is being made. */
static void open_made(int kind)
{
    open_both(kind);
    check_moves_to(&b, &a, 1);
    check_moves_to(&a, &b, 1);
}

static const uint64_t sizes[] = {0, 1, 7, 4 * KIB, MIB, 64 * MIB};

START_TEST(every_size_arrives)
{
    open_both(_i);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        check_moves(sizes[i]);
    close_both();
}
END_TEST

START_TEST(both_directions)
{
    static const uint64_t size = 3 * MIB;
    AUTO_FREE char *from = pattern_new(size, 1);
    AUTO_FREE char *to_a = calloc(1, size);
    AUTO_FREE char *to_b = calloc(1, size);
    struct xfer x[4];

    open_both(_i);
    for (int i = 0; i < 4; i++)
        xfer_init(&x[i], i % 2 ? &b : &a);
    xfer_recv(&x[0], 5, to_a, size);
    xfer_recv(&x[1], 5, to_b, size);
    xfer_send(&x[2], 5, from, size);
    xfer_send(&x[3], 5, from, size);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(xfer_wait(&x[i]), 0);
    ck_assert(pattern_is(to_a, size, 1));
    ck_assert(pattern_is(to_b, size, 1));
    close_both();
}
END_TEST

#define MANY 200

/* Sent in another order than their receives were posted. */
START_TEST(many_find_their_tag)
{
    static struct xfer send[MANY], recv[MANY];
    char *from[MANY], *to[MANY];

    open_both(_i);
    for (uint32_t i = 0; i < MANY; i++) {
        xfer_init(&send[i], &a);
        xfer_init(&recv[i], &b);
        from[i] = pattern_new(1000 * i, i);
        to[i] = calloc(1, 1000 * i + 1);
    }
    for (uint32_t i = 0; i < MANY; i++)
        xfer_recv(&recv[i], 1000 + i, to[i], 1000 * i);
    for (uint32_t i = MANY; i-- > 0;)
        xfer_send(&send[i], 1000 + i, from[i], 1000 * i);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_int_eq(xfer_wait(&send[i]), 0);
        ck_assert_int_eq(xfer_wait(&recv[i]), 0);
        ck_assert(pattern_is(to[i], 1000 * i, i));
        free(from[i]);
        free(to[i]);
    }
    close_both();
}
END_TEST

static void check_length(uint64_t sent, uint64_t posted)
{
    AUTO_FREE char *from = pattern_new(sent, 3);
    AUTO_FREE char *to = calloc(1, posted + 1);
    struct xfer send, recv;

    xfer_init(&send, &a);
    xfer_init(&recv, &b);
    xfer_recv(&recv, 9, to, posted);
    xfer_send(&send, 9, from, sent);
    ck_assert_int_eq(xfer_wait(&recv), -EMSGSIZE);
    ck_assert_int_eq(to[posted], 0);
    xfer_wait(&send);
    check_moves(MIB); /* the connection goes on */
}

START_TEST(another_length_is_refused)
{
    open_both(_i);
    check_length(MIB, MIB - 1);
    check_length(MIB - 1, MIB);
    check_length(10, 0);
    check_length(0, 10);
    check_length(16 * MIB, MIB);
    close_both();
}
END_TEST

START_TEST(cancelled_before_its_message)
{
    char to[16];
    struct xfer recv;

    open_both(_i);
    xfer_init(&recv, &b);
    xfer_recv(&recv, 1, to, sizeof to);
    ck_assert(!xfer_ended(&recv));
    xfer_cancel(&recv);
    ck_assert_int_eq(xfer_wait(&recv), -ECANCELED);
    xfer_cancel(&recv); /* too late: nothing */
    xfer_recv(&recv, 2, to, sizeof to);
    xfer_cancel(&recv);
    xfer_cancel(&recv);
    ck_assert_int_eq(xfer_wait(&recv), -ECANCELED);
    check_moves(MIB);
    ck_assert(!xfer_ended(&recv));
    close_both();
}
END_TEST

/* Whatever comes first, each end is told once and the connection goes on. */
START_TEST(cancelled_while_it_moves)
{
    static const uint64_t size = 16 * MIB;
    AUTO_FREE char *from = pattern_new(size, 3);
    AUTO_FREE char *to = calloc(1, size);
    struct xfer send, recv;
    int error;

    open_both(_i);
    for (int i = 0; i < 4; i++) {
        xfer_init(&send, &a);
        xfer_init(&recv, &b);
        xfer_recv(&recv, 1, to, size);
        xfer_send(&send, 1, from, size);
        xfer_cancel(&recv);
        error = xfer_wait(&recv);
        ck_assert(error == 0 || error == -ECANCELED);
        ck_assert(xfer_wait(&send) == 0 || error);
        ck_assert(error || pattern_is(to, size, 3));
    }
    close_both();
}
END_TEST

/* Small ones and such as would be asked for; the connection stays usable. */
START_TEST(without_a_receive)
{
    static const uint64_t size = 2 * MIB;
    AUTO_FREE char *from = pattern_new(size, 3);
    struct xfer send;

    open_both(_i);
    xfer_init(&send, &a);
    for (uint64_t i = 0; i < 200; i++) {
        xfer_send(&send, i, from, i % 2 ? size : i);
        ck_assert(xfer_wait(&send) == 0 || send.error == -EMSGSIZE);
    }
    check_moves(MIB);
    close_both();
}
END_TEST

/* Nobody makes a receiver hold messages. */
START_TEST(too_many_without_a_receive)
{
    AUTO_FREE char *from = pattern_new(KIB, 3);
    struct xfer send;
    int n = 0;

    open_both(1);
    xfer_init(&send, &a);
    do {
        xfer_send(&send, 5, from, KIB);
    } while (xfer_wait(&send) == 0 && ++n < 20000 && sem_trywait(&b.failed));
    ck_assert_int_lt(n, 20000);
    end_close_conn(&b);
    close_both();
}
END_TEST

START_TEST(close_ends_what_is_outstanding)
{
    static const uint64_t size = 64 * MIB;
    AUTO_FREE char *from = pattern_new(size, 3);
    char *to = calloc(1, size);
    struct xfer send, recv, never;

    open_made(_i);
    xfer_init(&send, &a);
    xfer_init(&recv, &b);
    xfer_init(&never, &b);
    xfer_recv(&never, 77, to, 16);
    xfer_recv(&recv, 1, to, size);
    xfer_send(&send, 1, from, size);
    end_close_conn(&b); /* the fence: nobody writes to it any more */
    free(to);
    ck_assert_int_eq(xfer_wait(&never), -ECONNRESET);
    ck_assert(xfer_wait(&recv) == 0 || recv.error == -ECONNRESET);
    ck_assert(xfer_wait(&send) == 0 || send.error == -ECONNRESET);
    sem_expect(&a.failed);
    close_both();
}
END_TEST

START_TEST(close_while_sending)
{
    static const uint64_t size = 64 * MIB;
    char *from = pattern_new(size, 3);
    AUTO_FREE char *to = calloc(1, size);
    struct xfer send, recv;

    open_made(_i);
    xfer_init(&send, &a);
    xfer_init(&recv, &b);
    xfer_recv(&recv, 1, to, size);
    xfer_send(&send, 1, from, size);
    end_close_conn(&a);
    ck_assert(xfer_wait(&send) == 0 || send.error == -ECONNRESET);
    memset(from, 0, size); /* nothing reads it any more */
    free(from);
    sem_expect(&b.failed);
    end_close_conn(&b);
    ck_assert(xfer_wait(&recv) == 0 || recv.error == -ECONNRESET);
    if (recv.error == 0)
        ck_assert(pattern_is(to, size, 3));
    close_both();
}
END_TEST

/* A peer that is away: what is sent to it ends, the owner hears of it, and a new pair works. */
START_TEST(peer_closes_then_a_new_connection)
{
    char byte = 1;
    struct xfer send;

    open_both(_i);
    check_moves(MIB);
    end_close_conn(&b);
    sem_expect(&a.failed);
    xfer_init(&send, &a);
    xfer_send(&send, 5, &byte, 1);
    ck_assert_int_eq(xfer_wait(&send), -ECONNRESET);
    end_close_conn(&a);
    end_new_conn(&a);
    end_new_conn(&b);
    ends_connect(&a, &b);
    check_moves(MIB);
    close_both();
}
END_TEST

START_TEST(not_connected)
{
    char byte = 1;
    struct xfer send;

    end_open(&a, _i == 1);
    xfer_init(&send, &a);
    xfer_send(&send, 5, &byte, 1);
    ck_assert_int_eq(xfer_wait(&send), -ECONNRESET);
    end_close(&a);
}
END_TEST

static void close_and_free(struct xfer *x, int error)
{
    pd_conn_close(x->end->conn);
    x->end->conn = NULL;
    sem_post(&x->ended);
}

/* From `done` an owner may close, with other transfers about to be told. */
START_TEST(closed_from_done)
{
    char to[2] = {0}, from[2] = {1, 2};
    struct xfer send[2], recv[2];

    open_both(_i);
    for (int i = 0; i < 2; i++) {
        xfer_init(&send[i], &a);
        xfer_init(&recv[i], &b);
        xfer_recv(&recv[i], (uint64_t)i, &to[i], 1);
    }
    recv[0].then = close_and_free;
    for (int i = 0; i < 2; i++)
        xfer_send(&send[i], (uint64_t)i, &from[i], 1);
    ck_assert_int_eq(xfer_wait(&recv[0]), 0);
    ck_assert(xfer_wait(&recv[1]) == 0 || recv[1].error == -ECONNRESET);
    sem_expect(&a.failed);
    close_both();
}
END_TEST

static void send_again(struct xfer *x, int error)
{
    x->then = NULL;
    ck_assert_int_eq(error, 0);
    pd_conn_send(x->end->conn, &x->t, 2, x->t.from, x->t.size);
    ck_assert_ptr_nonnull(x->t.conn); /* told later, not from within the call */
}

START_TEST(started_again_from_done)
{
    char to[2] = {0}, from = 9;
    struct xfer send, recv[2];

    open_both(_i);
    xfer_init(&send, &a);
    send.then = send_again;
    for (int i = 0; i < 2; i++) {
        xfer_init(&recv[i], &b);
        xfer_recv(&recv[i], (uint64_t)i + 1, &to[i], 1);
    }
    xfer_send(&send, 1, &from, 1);
    ck_assert_int_eq(xfer_wait(&recv[0]), 0);
    ck_assert_int_eq(xfer_wait(&recv[1]), 0);
    ck_assert_int_eq(xfer_wait(&send), 0);
    ck_assert_int_eq(to[1], 9);
    close_both();
}
END_TEST

START_TEST(connect_to_nobody)
{
    char address[4096], byte = 1;
    const void *at;
    size_t len;
    struct xfer send;

    end_open(&a, _i == 1);
    end_open(&b, _i == 1);
    at = pd_conn_address(b.conn, &len);
    ck_assert_uint_le(len, sizeof address);
    memcpy(address, at, len);
    end_close_conn(&b);
    if (end_connect(&a, address, len) == 0)
        sem_expect(&a.failed);
    xfer_init(&send, &a);
    xfer_send(&send, 5, &byte, 1);
    ck_assert_int_eq(xfer_wait(&send), -ECONNRESET);
    close_both();
}
END_TEST

/* Every single byte changed, and every length but the right one. */
START_TEST(a_damaged_address_is_refused)
{
    size_t len;
    const char *address;
    AUTO_FREE char *bad = NULL;

    end_open(&a, _i == 1);
    end_open(&b, _i == 1);
    address = pd_conn_address(b.conn, &len);
    bad = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        memcpy(bad, address, len);
        bad[i] ^= (char)(1 << i % 8);
        ck_assert_int_eq(end_connect(&a, bad, len), -EINVAL);
        ck_assert_int_eq(end_connect(&a, address, i), -EINVAL);
    }
    memcpy(bad, address, len);
    bad[len] = 0;
    ck_assert_int_eq(end_connect(&a, bad, len + 1), -EINVAL);
    ends_connect(&a, &b);
    ck_assert_int_eq(end_connect(&a, address, len), -EISCONN);
    check_moves(MIB);
    close_both();
}
END_TEST

START_TEST(another_kind_is_refused)
{
    size_t len;
    const void *address;

    end_open(&a, false);
    end_open(&b, true);
    address = pd_conn_address(b.conn, &len);
    ck_assert_int_eq(end_connect(&a, address, len), -EPROTONOSUPPORT);
    address = pd_conn_address(a.conn, &len);
    ck_assert_int_eq(end_connect(&b, address, len), -EPROTONOSUPPORT);
    close_both();
}
END_TEST

#define KINDS 2

int main(void)
{
    Suite *s = suite_create("pd_channel");

    suite_add_loop(s, "moves",
                   TESTS(every_size_arrives, both_directions, many_find_their_tag,
                         another_length_is_refused, started_again_from_done),
                   KINDS);
    suite_add_loop(s, "cancel", TESTS(cancelled_before_its_message, cancelled_while_it_moves),
                   KINDS);
    suite_add_loop(s, "stray", TESTS(without_a_receive), KINDS);
    suite_add(s, "flood", TESTS(too_many_without_a_receive));
    suite_add_loop(s, "close",
                   TESTS(close_ends_what_is_outstanding, close_while_sending,
                         peer_closes_then_a_new_connection, closed_from_done),
                   KINDS);
    suite_add_loop(s, "connect",
                   TESTS(not_connected, connect_to_nobody, a_damaged_address_is_refused), KINDS);
    suite_add(s, "kinds", TESTS(another_kind_is_refused));
    return suite_run(s);
}
