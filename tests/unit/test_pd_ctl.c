/* test_pd_ctl.c - requests of every kind of peer, garbage, peers that come and go.
 *
 * The server echoes on the loop thread; peers are plain ZMQ sockets of the test's thread. */
#include "pd_ctl.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "clock.h"
#include "ctl_fixture.h"
#include "pd_guard.h"
#include "pd_proto.h"

#define COUNTED(member) offsetof(struct pd_ctl_counts, member)

static void setup(void)
{
    fixture_start(NULL, NULL);
}

static void setup_server(void)
{
    setup();
    ck_assert_int_eq(server_start("127.0.0.1", 0), 0);
}

/* --- peers --- */

START_TEST(req_peer_is_answered)
{
    void *s = peer(ZMQ_REQ, echo.port);
    char answer[32];
    bool more;

    for (int i = 0; i < 100; i++) {
        peer_send(s, "hello", 0);
        ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, &more), 5);
        ck_assert(!more);
        ck_assert_str_eq(answer, "hello");
    }
    zmq_close(s);
}
END_TEST

START_TEST(dealer_is_answered_in_its_own_form)
{
    void *s = peer(ZMQ_DEALER, echo.port);
    char answer[32];
    bool more;

    peer_send(s, "", ZMQ_SNDMORE);
    peer_send(s, "with", 0);
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, &more), 0);
    ck_assert(more);
    peer_receive(s, answer, sizeof answer, &more);
    ck_assert_str_eq(answer, "with");
    peer_send(s, "without", 0);
    peer_receive(s, answer, sizeof answer, &more);
    ck_assert_str_eq(answer, "without");
    ck_assert(!more);
    zmq_close(s);
}
END_TEST

START_TEST(answers_come_in_any_order)
{
    void *dealer = peer(ZMQ_DEALER, echo.port), *req = peer(ZMQ_REQ, echo.port);
    char text[32];
    bool more;

    serve_as(HOLD);
    peer_send(req, "req", 0);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%d", i);
        peer_send(dealer, "", ZMQ_SNDMORE);
        peer_send(dealer, text, 0);
    }
    wait_for(&seen.requests, 101);
    server_release_held();
    peer_receive(req, text, sizeof text, NULL);
    ck_assert_str_eq(text, "req");
    for (int i = 99; i >= 0; i--) {
        peer_receive(dealer, text, sizeof text, &more);
        ck_assert(more);
        peer_receive(dealer, text, sizeof text, NULL);
        ck_assert_int_eq(atoi(text), i);
    }
    zmq_close(dealer);
    zmq_close(req);
}
END_TEST

START_TEST(answer_for_a_peer_that_is_gone_is_dropped)
{
    serve_as(HOLD);
    for (size_t i = 1; i <= 5; i++) {
        void *s = peer(ZMQ_REQ, echo.port);

        peer_send(s, "bye", 0);
        wait_for(&seen.requests, i);
        zmq_close(s);
    }
    server_release_held();
    serve_as(ECHO);
    assert_answered(echo.port);
}
END_TEST

static void *named_peer(void)
{
    void *s = zmq_socket(context, ZMQ_DEALER);
    int none = 0, patience = PATIENCE * 1000;
    char address[64];

    zmq_setsockopt(s, ZMQ_ROUTING_ID, "sender-to-here", 14);
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &patience, sizeof patience);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%u", echo.port);
    ck_assert_int_eq(zmq_connect(s, address), 0);
    return s;
}

START_TEST(a_second_peer_of_the_same_name_takes_over)
{
    void *first = named_peer(), *second;
    char answer[32];

    peer_send(first, "first", 0);
    peer_receive(first, answer, sizeof answer, NULL);
    second = named_peer();
    for (int i = 0; i < 10; i++) {
        peer_send(second, "second", 0);
        peer_receive(second, answer, sizeof answer, NULL);
        ck_assert_str_eq(answer, "second");
    }
    zmq_close(first);
    zmq_close(second);
}
END_TEST

/* --- garbage --- */

START_TEST(strange_frames_are_answered_and_counted)
{
    void *s = peer(ZMQ_DEALER, echo.port);
    char answer[32];
    bool more;

    peer_send(s, "", 0); /* nothing, in the form without an empty frame */
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, &more), 0);
    ck_assert(!more);
    for (int i = 0; i < 50; i++)
        peer_send(s, "x", i < 49 ? ZMQ_SNDMORE : 0);
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, &more), 0);
    ck_assert(!more);
    for (int i = 0; i < 50; i++)
        peer_send(s, "", i < 49 ? ZMQ_SNDMORE : 0);
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, &more), 0);
    ck_assert(more);
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, &more), 0);
    zmq_close(s);
    ck_assert_uint_eq(counts_of(server_ctl).malformed, 2);
    ck_assert_uint_eq(now(&seen.empty_requests), 3);
    assert_answered(echo.port);
}
END_TEST

START_TEST(too_long_is_answered_and_counted)
{
    void *s = peer(ZMQ_REQ, echo.port);
    AUTO_FREE char *data = calloc(1, PD_MESSAGE_MAX + 1);
    char answer[32];

    ck_assert_int_ge(zmq_send(s, data, PD_MESSAGE_MAX + 1, 0), 0);
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, NULL), 0);
    ck_assert_uint_eq(counts_of(server_ctl).oversized, 1);
    ck_assert_int_ge(zmq_send(s, data, PD_MESSAGE_MAX, 0), 0);
    ck_assert_uint_eq(peer_receive(s, answer, sizeof answer, NULL), PD_MESSAGE_MAX);
    ck_assert_uint_eq(counts_of(server_ctl).oversized, 1);
    zmq_close(s);
}
END_TEST

static int on_disconnect(void *s, void *monitor)
{
    int patience = PATIENCE * 1000;

    ck_assert_int_eq(zmq_socket_monitor(s, "inproc://gone", ZMQ_EVENT_DISCONNECTED), 0);
    zmq_setsockopt(monitor, ZMQ_RCVTIMEO, &patience, sizeof patience);
    return zmq_connect(monitor, "inproc://gone");
}

START_TEST(far_too_long_ends_the_connection)
{
    void *s = peer(ZMQ_DEALER, echo.port), *monitor = zmq_socket(context, ZMQ_PAIR);
    size_t size = 100 << 20;
    AUTO_FREE char *data = calloc(1, size);

    ck_assert_int_eq(on_disconnect(s, monitor), 0);
    ck_assert_int_ge(zmq_send(s, data, size, 0), 0);
    ck_assert_int_ge(zmq_recv(monitor, data, size, 0), 0);
    zmq_close(s);
    zmq_close(monitor);
    assert_answered(echo.port);
    ck_assert_uint_eq(now(&seen.requests), 1);
}
END_TEST

static int try_connect(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    if (!connect(fd, (struct sockaddr *)&to, sizeof to))
        return fd;
    close(fd);
    return -1;
}

/* ZMQ's thread closes the port a moment later. */
static void server_stop_and_wait(void)
{
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC);
    int fd;

    server_stop();
    while ((fd = try_connect(echo.port)) >= 0) {
        close(fd);
        ck_assert_uint_lt(clock_now(), until);
    }
}

START_TEST(strangers_only_count)
{
    static const char *const words[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x03",
        "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03 tls", "\x01\x01\x01\x01\x01\x01"};

    for (size_t i = 0; i < 200; i++) {
        const char *word = words[i % ARRAY_SIZE(words)];
        int fd = try_connect(echo.port);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_gt(send(fd, word, strlen(word), MSG_NOSIGNAL), 0);
        close(fd);
    }
    assert_answered(echo.port);
    wait_count(server_ctl, COUNTED(malformed), 1);
    ck_assert_uint_eq(now(&seen.requests), 1);
}
END_TEST

static void send_all(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);

        if (n < 0)
            return;
        at += (size_t)n;
    }
}

/* A peer that speaks ZMTP. */
static int zmtp_connect(void)
{
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\0\x7f\3\0NULL";
    static const char hello[] = "\4\x1c\5READY\xbSocket-Type\0\0\0\6DEALER";
    char theirs[64 + 43]; /* greeting and READY */
    int fd = try_connect(echo.port);
    struct timeval patience = {.tv_sec = PATIENCE};

    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    send_all(fd, greeting, sizeof greeting);
    send_all(fd, hello, sizeof hello - 1);
    ck_assert_int_eq(recv(fd, theirs, sizeof theirs, MSG_WAITALL), sizeof theirs);
    return fd;
}

/* Told by the other side's end alone: a full window may keep TCP silent for long after it. */
static bool is_ended(int fd)
{
    ssize_t n = recv(fd, &(char){0}, 1, MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* It never comes to the end of its message. */
START_TEST(endless_message_ends_its_connection)
{
    static char frame[9 + 65536] = "\3\0\0\0\0\0\1\0\0";
    uint64_t sent = 0, until = clock_deadline(PATIENCE * NSEC_PER_SEC);
    int fd = zmtp_connect();

    while (!is_ended(fd)) {
        size_t at = sent % sizeof frame;
        ssize_t n = send(fd, frame + at, sizeof frame - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        sent += n > 0 ? (uint64_t)n : 0;
        poll(&(struct pollfd){.fd = fd, .events = POLLOUT | POLLRDHUP}, 1, PATIENCE * 1000);
        ck_assert_uint_lt(clock_now(), until);
    }
    ck_assert_uint_gt(sent, PD_GUARD_BYTES);
    close(fd);
    ck_assert_uint_eq(counts_of(server_ctl).excess, 1);
    assert_answered(echo.port);
    ck_assert_uint_eq(now(&seen.requests), 1);
}
END_TEST

/* None of them is too much, all of them are; who has little stays. */
START_TEST(halves_of_messages_are_not_without_number)
{
    enum { HALF = 8 * MIB, MANY = PD_GUARD_ALL / HALF + 2 };
    static char message[3 + 9 + HALF - 1] =
        "\0\1x\2\0\0\0\0\0\x80\0\0"; /* and a whole one before */
    int fds[MANY];

    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 1);
    for (int i = 0; i < MANY; i++) {
        fds[i] = zmtp_connect();
        send_all(fds[i], message, sizeof message);
    }
    wait_for(&seen.requests, MANY);
    wait_count(server_ctl, COUNTED(excess), 3);
    ck_assert_int_eq(client_send("still there"), 0);
    wait_for(&seen.replies, 1);
    ck_assert_uint_eq(now(&seen.downs), 0);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
}
END_TEST

START_TEST(connections_are_not_without_number)
{
    enum { MANY = PD_GUARD_CONNECTIONS + 50 };
    struct rlimit limit;
    int fds[MANY];

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY + 100)
        return;
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 1);
    for (int i = 0; i < MANY; i++)
        fds[i] = try_connect(echo.port);
    wait_count(server_ctl, COUNTED(excess), 50);
    ck_assert_int_eq(client_send("still there"), 0);
    wait_for(&seen.replies, 1);
    for (int i = 0; i < MANY; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    assert_answered(echo.port);
    ck_assert_uint_eq(now(&seen.downs), 0);
}
END_TEST

/* --- the server's address --- */

START_TEST(a_port_in_use_is_said)
{
    uint16_t port = echo.port;
    struct pd_server *first = echo.server;

    ck_assert_int_eq(server_start("127.0.0.1", port), -EADDRINUSE);
    ck_assert_uint_eq(log_lines("another program has the port"), 1);
    ck_assert_int_eq(server_start("192.0.2.1", 0), -EADDRNOTAVAIL);
    echo.server = first;
    assert_answered(port);
}
END_TEST

START_TEST(addresses_of_ipv6_with_brackets_and_without)
{
    static const char *const hosts[] = {"::1", "[::1]"};
    AUTO_CLOSE int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address))
        return; /* this machine has none */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(server_start(hosts[i], 0), 0);
        ck_assert_int_eq(client_start(hosts[1 - i], echo.port), 0);
        wait_for(&seen.ups, (size_t)i + 1);
        ck_assert_int_eq(client_send("six"), 0);
        wait_for(&seen.replies, (size_t)i + 1);
        client_stop();
        server_stop();
    }
}
END_TEST

START_TEST(any_address_takes_both_families)
{
    ck_assert_int_eq(server_start("*", 0), 0);
    assert_answered(echo.port);
    ck_assert_int_eq(client_start("localhost", echo.port), 0);
    wait_for(&seen.ups, 1);
}
END_TEST

/* --- the client --- */

START_TEST(client_gets_its_answers)
{
    char text[32];

    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 1);
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof text, "%d", i);
        ck_assert_int_eq(client_send(text), 0);
    }
    wait_for(&seen.replies, 300);
    ck_assert_str_eq(seen.last, "299");
    ck_assert_uint_eq(now(&seen.ups), 1);
    ck_assert_uint_eq(now(&seen.downs), 0);
}
END_TEST

START_TEST(client_follows_a_server_that_restarts)
{
    uint16_t port = echo.port;

    ck_assert_int_eq(client_start("127.0.0.1", port), 0);
    for (size_t i = 1; i <= 3; i++) {
        wait_for(&seen.ups, i);
        ck_assert_int_eq(client_send("hello"), 0);
        wait_for(&seen.replies, i);
        server_stop_and_wait();
        wait_for(&seen.downs, i);
        ck_assert_int_eq(client_send("nobody"), -EAGAIN);
        ck_assert_int_eq(server_start("127.0.0.1", port), 0);
    }
    wait_for(&seen.ups, 4);
    ck_assert_uint_eq(now(&seen.replies), 3);
}
END_TEST

START_TEST(client_waits_for_a_server_that_starts_later)
{
    uint16_t port = echo.port;

    server_stop_and_wait();
    ck_assert_int_eq(client_start("127.0.0.1", port), 0);
    ck_assert_int_eq(client_send("nobody"), -EAGAIN);
    ck_assert_int_eq(server_start("127.0.0.1", port), 0);
    wait_for(&seen.ups, 1);
    ck_assert_int_eq(client_send("hello"), 0);
    wait_for(&seen.replies, 1);
}
END_TEST

/* A program that speaks something else has the port for a while: after words of the second kind ZMQ
 * does not come back by itself. */
START_TEST(client_survives_a_stranger)
{
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\0\x7f\3\0STRANGE";
    static const char http[64] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    getsockname(listener, (struct sockaddr *)&at, &len);
    ck_assert_int_eq(client_start("127.0.0.1", ntohs(at.sin_port)), 0);
    for (int i = 0; i < 4; i++) {
        int fd = accept(listener, NULL, NULL);

        ck_assert_int_gt(send(fd, i % 2 ? http : greeting, sizeof http, MSG_NOSIGNAL), 0);
        close(fd);
    }
    close(listener);
    wait_log("ends the handshake");
    ck_assert_uint_eq(now(&seen.ups), 0);
    server_stop();
    ck_assert_int_eq(server_start("127.0.0.1", ntohs(at.sin_port)), 0);
    wait_for(&seen.ups, 1);
    ck_assert_uint_eq(log_lines("ends the handshake"), 1);
}
END_TEST

START_TEST(destroyed_from_callbacks)
{
    caller.destroy_on_up = true;
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 1);
    caller.destroy_on_up = false;
    caller.destroy_on_reply = true;
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 2);
    ck_assert_int_eq(client_send("1"), 0);
    wait_for(&seen.replies, 1);
    caller.destroy_on_reply = false;
    serve_as(DESTROY_SERVER);
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 3);
    ck_assert_int_eq(client_send("2"), 0);
    wait_for(&seen.requests, 2);
    wait_for(&seen.downs, 1);
    ck_assert_ptr_null(echo.server);
}
END_TEST

/* --- cost --- */

static uint64_t process_time(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* With a connection, and a client that finds nobody. The best of three: the machine may be busy. */
START_TEST(idle_uses_no_processor)
{
    uint64_t best = UINT64_MAX;

    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 1);
    ck_assert_int_eq(client_send("hello"), 0);
    wait_for(&seen.replies, 1);
    for (int i = 0; i < 3; i++) {
        uint64_t before = process_time();

        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        best = MIN(best, process_time() - before);
    }
    ck_assert_uint_lt(best, 10 * NSEC_PER_MSEC);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_ctl");
    TCase *tc = tcase_create("server");

    tcase_add_checked_fixture(tc, setup_server, fixture_stop);
    tcase_add_test(tc, req_peer_is_answered);
    tcase_add_test(tc, dealer_is_answered_in_its_own_form);
    tcase_add_test(tc, answers_come_in_any_order);
    tcase_add_test(tc, answer_for_a_peer_that_is_gone_is_dropped);
    tcase_add_test(tc, a_second_peer_of_the_same_name_takes_over);
    tcase_add_test(tc, strange_frames_are_answered_and_counted);
    tcase_add_test(tc, too_long_is_answered_and_counted);
    tcase_add_test(tc, far_too_long_ends_the_connection);
    tcase_add_test(tc, strangers_only_count);
    tcase_add_test(tc, endless_message_ends_its_connection);
    tcase_add_test(tc, halves_of_messages_are_not_without_number);
    tcase_add_test(tc, connections_are_not_without_number);
    tcase_add_test(tc, a_port_in_use_is_said);
    tcase_add_test(tc, client_gets_its_answers);
    tcase_add_test(tc, client_follows_a_server_that_restarts);
    tcase_add_test(tc, client_waits_for_a_server_that_starts_later);
    tcase_add_test(tc, client_survives_a_stranger);
    tcase_add_test(tc, destroyed_from_callbacks);
    tcase_add_test(tc, idle_uses_no_processor);
    suite_add_tcase(s, tc);
    tc = tcase_create("addresses");
    tcase_add_checked_fixture(tc, setup, fixture_stop);
    tcase_add_test(tc, addresses_of_ipv6_with_brackets_and_without);
    tcase_add_test(tc, any_address_takes_both_families);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
