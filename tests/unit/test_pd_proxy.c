/* test_pd_proxy.c - a proxy's PULL socket gets each notification once, late or never, and nobody waits.
 *
 * The proxy is a plain PULL socket of the test's thread. */
#include "pd_proxy.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "ctl_fixture.h"
#include "log.h"

#define SECONDS NSEC_PER_SEC

static struct pd_proxy *proxy;
static void *pull;
static uint16_t port;

static void setup(void)
{
    fixture_start(NULL, NULL);
    proxy = NULL;
    pull = NULL;
}

static void teardown(void)
{
    loop_stop(loop);
    pd_proxy_destroy(proxy);
    if (pull)
        zmq_close(pull);
    fixture_stop();
}

/* Binds the proxy's socket: to a port of its own, or to that of before. */
static void proxy_up(int queue)
{
    int none = 0, patience = PATIENCE * 1000;
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC);
    char address[64];
    size_t len = sizeof address;

    pull = zmq_socket(context, ZMQ_PULL);
    zmq_setsockopt(pull, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(pull, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(pull, ZMQ_RCVHWM, &queue, sizeof queue);
    snprintf(address, sizeof address, port ? "tcp://127.0.0.1:%u" : "tcp://127.0.0.1:*", port);
    while (zmq_bind(pull, address)) { /* whoever had the port may be about to leave it */
        ck_assert_int_eq(zmq_errno(), EADDRINUSE);
        ck_assert_uint_lt(clock_now(), until);
        sched_yield();
    }
    zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, address, &len);
    port = (uint16_t)atoi(strrchr(address, ':') + 1);
}

static bool listens(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    return !connect(fd, (struct sockaddr *)&at, sizeof at);
}

static void proxy_down(void)
{
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC);

    zmq_close(pull);
    pull = NULL;
    while (listens()) { /* ZMQ's thread closes it */
        ck_assert_uint_lt(clock_now(), until);
        sched_yield();
    }
}

/* A port where nobody listens, and which the kernel gives to nobody: a connect to one of its own choice may
 * meet itself. */
static void no_proxy(void)
{
    port = (uint16_t)(10000 + getpid() % 20000);
    proxy_up(1000);
    proxy_down();
}

static void assert_told(const char *req_id)
{
    static const char head[] = "\x82\xa4type\xaaProxyNotif\xa6req_id";
    char want[128], got[128];
    int n = snprintf(want, sizeof want, "%s%c%s", head, 0xa0 + (int)strlen(req_id), req_id);
    size_t len = peer_receive(pull, got, sizeof got, NULL);

    ck_assert_uint_eq(len, (size_t)n);
    ck_assert_mem_eq(got, want, len);
}

static void assert_told_nothing_more(void)
{
    char byte;

    ck_assert_int_eq(zmq_recv(pull, &byte, 1, ZMQ_DONTWAIT), -1);
}

/* --- on the loop thread --- */

struct call {
    const char *host, *req_id;
    uint64_t timeout;
    int rc;
    struct pd_proxy_counts counts;
};

static void call_create(void *arg)
{
    struct call *c = arg;

    c->rc = pd_proxy_create(loop, client_ctl, c->host, port, c->timeout, &proxy);
}

static void create(const char *host, uint64_t timeout)
{
    struct call c = {.host = host, .timeout = timeout};

    mailbox_call(box, call_create, &c);
    ck_assert_int_eq(c.rc, 0);
}

static void call_destroy(void *arg)
{
    (void)arg;
    pd_proxy_destroy(proxy);
    proxy = NULL;
}

static void destroy(void)
{
    mailbox_call(box, call_destroy, NULL);
}

static void call_notify(void *arg)
{
    struct call *c = arg;

    c->rc = pd_proxy_notify(proxy, c->req_id, strlen(c->req_id));
}

static int notify(const char *req_id)
{
    struct call c = {.req_id = req_id};

    mailbox_call(box, call_notify, &c);
    return c.rc;
}

static void call_proxy_counts(void *arg)
{
    struct call *c = arg;

    c->counts = pd_proxy_counts(proxy);
}

static struct pd_proxy_counts counts(void)
{
    struct call c = {0};

    mailbox_call(box, call_proxy_counts, &c);
    return c.counts;
}

/* --- the four of the reference --- */

START_TEST(test_proxy_notif_sent_on_last_prefill)
{
    proxy_up(1000);
    create("127.0.0.1", 10 * SECONDS);
    ck_assert_int_eq(notify("7"), 0);
    assert_told("7");
    ck_assert_int_eq(notify("cmpl-8"), 0);
    assert_told("cmpl-8");
    assert_told_nothing_more();
    ck_assert_uint_eq(counts().sent, 2);
    ck_assert_uint_eq(counts().waiting, 0);
}
END_TEST

/* Nothing goes out but what was asked for: the first that comes is the first that was said. */
START_TEST(test_notif_not_sent_on_nonlast)
{
    proxy_up(1000);
    for (int i = 0; i < 3; i++) {
        create("127.0.0.1", 10 * SECONDS);
        ck_assert_int_eq(notify("last"), 0);
        assert_told("last");
        ck_assert_uint_eq(counts().sent, 1);
        destroy();
        assert_told_nothing_more();
    }
}
END_TEST

START_TEST(test_notif_exception_logs)
{
    no_proxy();
    create("127.0.0.1", SECONDS);
    ck_assert_int_eq(notify("7"), 0);
    ck_assert_uint_eq(counts().waiting, 1);
    wait_log("not told that request 7 is ready");
    ck_assert_uint_eq(counts().failed, 1);
    ck_assert_uint_eq(counts().waiting, 0);
    ck_assert_uint_eq(counts().sent, 0);
    ck_assert_uint_eq(log_lines("request 7"), 1);
}
END_TEST

static size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void wait_fds(size_t most)
{
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC);

    while (count_fds() > most) { /* ZMQ's thread closes them */
        ck_assert_uint_lt(clock_now(), until);
        sched_yield();
    }
}

START_TEST(test_proxy_socket_lifecycle)
{
    size_t fds;

    no_proxy();
    for (int i = 0; i < 20; i++) {
        create("127.0.0.1", 10 * SECONDS);
        ck_assert_int_eq(notify("early"), 0);
        destroy();
        if (i == 0)
            fds = count_fds();
    }
    ck_assert_uint_eq(log_lines("request early is ready: the mount ends"), 20);
    wait_fds(fds);
    proxy_up(1000);
    for (int i = 0; i < 20; i++) {
        create("127.0.0.1", 10 * SECONDS);
        ck_assert_int_eq(notify("7"), 0);
        assert_told("7");
        destroy();
    }
    assert_told_nothing_more();
}
END_TEST

/* --- a proxy that is not there, or does not listen --- */

START_TEST(arrives_when_the_proxy_comes_up)
{
    no_proxy();
    create("127.0.0.1", 20 * SECONDS);
    ck_assert_int_eq(notify("1"), 0);
    ck_assert_int_eq(notify("2"), 0);
    ck_assert_uint_eq(counts().waiting, 2);
    proxy_up(1000);
    assert_told("1");
    assert_told("2");
    proxy_down();
    ck_assert_uint_eq(counts().failed, 0);
}
END_TEST

START_TEST(said_twice_while_waiting_is_told_once)
{
    no_proxy();
    create("127.0.0.1", 20 * SECONDS);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(notify("same"), 0);
        ck_assert_int_eq(notify("other"), 0);
    }
    ck_assert_uint_eq(counts().waiting, 2);
    proxy_up(1000);
    assert_told("same");
    assert_told("other");
    ck_assert_int_eq(notify("end"), 0);
    assert_told("end");
}
END_TEST

START_TEST(each_has_its_own_deadline)
{
    no_proxy();
    create("127.0.0.1", SECONDS);
    ck_assert_int_eq(notify("old"), 0);
    wait_log("request old is ready");
    ck_assert_int_eq(notify("new"), 0);
    ck_assert_uint_eq(counts().waiting, 1);
    wait_log("request new is ready");
    ck_assert_uint_eq(counts().failed, 2);
}
END_TEST

static void call_notify_many(void *arg)
{
    struct call *c = arg;
    char req_id[32];

    for (int i = 0; i < 65536; i++) {
        snprintf(req_id, sizeof req_id, "%d", i);
        ck_assert_int_eq(pd_proxy_notify(proxy, req_id, strlen(req_id)), 0);
    }
    c->rc = pd_proxy_notify(proxy, "one more", 8);
}

START_TEST(many_wait_and_no_more_than_that)
{
    struct call c = {0};

    no_proxy();
    create("127.0.0.1", 9 * SECONDS);
    log_set_level(LOG_LEVEL_ERROR);
    mailbox_call(box, call_notify_many, &c);
    ck_assert_int_eq(c.rc, -ENOBUFS);
    ck_assert_uint_eq(counts().waiting, 65536);
    ck_assert_uint_eq(counts().failed, 1);
    destroy();
    log_set_level(LOG_LEVEL_INFO);
}
END_TEST

/* Its queue is full; the loop thread answers all the while. */
START_TEST(a_proxy_that_does_not_read_holds_nobody)
{
    struct call c = {0};

    port = 0;
    proxy_up(1);
    create("127.0.0.1", 9 * SECONDS);
    ck_assert_int_eq(notify("first"), 0);
    assert_told("first");
    mailbox_call(box, call_notify_many, &c);
    ck_assert(c.rc == 0 || c.rc == -ENOBUFS);
    for (int i = 0; i < 100; i++) {
        char req_id[32];

        snprintf(req_id, sizeof req_id, "%d", i);
        assert_told(req_id);
    }
    log_set_level(LOG_LEVEL_ERROR);
    destroy();
    log_set_level(LOG_LEVEL_INFO);
}
END_TEST

START_TEST(without_a_proxy_nobody_is_told)
{
    static const char *const hosts[] = {"", NULL};

    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        create(hosts[i], SECONDS);
        ck_assert_int_eq(notify("7"), 0);
        ck_assert_uint_eq(counts().waiting, 0);
        ck_assert_uint_eq(counts().sent, 0);
        destroy();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_proxy");
    TCase *tc = tcase_create("proxy");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_proxy_notif_sent_on_last_prefill);
    tcase_add_test(tc, test_notif_not_sent_on_nonlast);
    tcase_add_test(tc, test_notif_exception_logs);
    tcase_add_test(tc, test_proxy_socket_lifecycle);
    tcase_add_test(tc, arrives_when_the_proxy_comes_up);
    tcase_add_test(tc, said_twice_while_waiting_is_told_once);
    tcase_add_test(tc, each_has_its_own_deadline);
    tcase_add_test(tc, many_wait_and_no_more_than_that);
    tcase_add_test(tc, a_proxy_that_does_not_read_holds_nobody);
    tcase_add_test(tc, without_a_proxy_nobody_is_told);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
