/* ctl_fixture.c - see ctl_fixture.h. */
#include "ctl_fixture.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "log.h"

struct loop *loop;
struct mailbox *box;
struct pd_ctl *server_ctl, *client_ctl;
struct seen seen;
struct echo echo;
struct caller caller;
void *context;

static char log_path[64];

/* --- the log --- */

size_t log_lines(const char *part)
{
    static char text[1 << 20];
    AUTO_CLOSE int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    size_t lines = 0;

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        lines += strstr(line, part) != NULL;
    return lines;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

void wait_log(const char *part)
{
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC);

    while (!log_lines(part)) {
        ck_assert_msg(clock_now() < until, "nothing in the log about \"%s\"", part);
        pause_ms(5);
    }
}

/* --- what happens on the loop --- */

static void note(size_t *counter)
{
    LOCKED_SCOPE(&seen.lock);
    (*counter)++;
    pthread_cond_broadcast(&seen.changed);
}

size_t now(const size_t *counter)
{
    LOCKED_SCOPE(&seen.lock);
    return *counter;
}

void serve_as(enum manner manner)
{
    LOCKED_SCOPE(&seen.lock);
    echo.manner = manner;
}

void wait_for(const size_t *counter, size_t n)
{
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC);
    LOCKED_SCOPE(&seen.lock);

    while (*counter < n)
        ck_assert_msg(!cond_wait_until(&seen.changed, &seen.lock, until), "%zu of %zu came",
                      *counter, n);
}

static void on_request(void *arg, const struct pd_envelope *from, const void *data, size_t len)
{
    struct echo *e = arg;
    enum manner manner;

    lock(&seen.lock);
    seen.empty_requests += len == 0;
    manner = e->manner;
    unlock(&seen.lock);
    switch (manner) {
    case ECHO: pd_server_reply(e->server, from, data, len); break;
    case HOLD:
        ck_assert_uint_lt(e->nheld, HELD_MAX);
        snprintf(e->held_data[e->nheld], sizeof e->held_data[0], "%.*s", (int)len,
                 (const char *)data);
        e->held[e->nheld++] = *from;
        break;
    case DESTROY_SERVER:
        pd_server_destroy(e->server);
        e->server = NULL;
        break;
    }
    note(&seen.requests);
}

static void on_reply(void *arg, const void *data, size_t len)
{
    struct caller *c = arg;

    lock(&seen.lock);
    snprintf(seen.last, sizeof seen.last, "%.*s", (int)len, (const char *)data);
    unlock(&seen.lock);
    if (c->destroy_on_reply) {
        pd_client_destroy(c->client);
        c->client = NULL;
    }
    note(&seen.replies);
}

static void on_connected(void *arg, bool yes)
{
    struct caller *c = arg;

    if (c->destroy_on_up) {
        pd_client_destroy(c->client);
        c->client = NULL;
    }
    note(yes ? &seen.ups : &seen.downs);
}

static const struct pd_client_ops client_ops = {on_reply, on_connected};

/* --- calls on the loop thread --- */

struct call {
    struct pd_ctl *ctl;
    const char *text;
    uint16_t port;
    int rc;
    struct pd_ctl_counts counts;
};

static void call_serve(void *arg)
{
    struct call *c = arg;

    c->rc = pd_server_create(server_ctl, c->text, c->port, on_request, &echo, &echo.server);
    echo.port = c->rc ? 0 : pd_server_port(echo.server);
}

int server_start(const char *host, uint16_t port)
{
    struct call c = {.text = host, .port = port};

    mailbox_call(box, call_serve, &c);
    return c.rc;
}

static void call_server_stop(void *arg)
{
    (void)arg;
    pd_server_destroy(echo.server);
    echo.server = NULL;
}

void server_stop(void)
{
    mailbox_call(box, call_server_stop, NULL);
}

static void call_release(void *arg)
{
    (void)arg;
    while (echo.nheld) {
        echo.nheld--;
        pd_server_reply(echo.server, &echo.held[echo.nheld], echo.held_data[echo.nheld],
                        strlen(echo.held_data[echo.nheld]));
    }
}

void server_release_held(void)
{
    mailbox_call(box, call_release, NULL);
}

static void call_client(void *arg)
{
    struct call *c = arg;

    c->rc = pd_client_create(client_ctl, c->text, c->port, &client_ops, &caller, &caller.client);
}

int client_start(const char *host, uint16_t port)
{
    struct call c = {.text = host, .port = port};

    mailbox_call(box, call_client, &c);
    return c.rc;
}

static void call_client_stop(void *arg)
{
    (void)arg;
    pd_client_destroy(caller.client);
    caller.client = NULL;
}

void client_stop(void)
{
    mailbox_call(box, call_client_stop, NULL);
}

static void call_send(void *arg)
{
    struct call *c = arg;

    c->rc = pd_client_send(caller.client, c->text, strlen(c->text));
}

int client_send(const char *text)
{
    struct call c = {.text = text};

    mailbox_call(box, call_send, &c);
    return c.rc;
}

static void call_counts(void *arg)
{
    struct call *c = arg;

    c->counts = pd_ctl_counts(c->ctl);
}

struct pd_ctl_counts counts_of(struct pd_ctl *ctl)
{
    struct call c = {.ctl = ctl};

    mailbox_call(box, call_counts, &c);
    return c.counts;
}

void wait_count(struct pd_ctl *c, size_t offset, uint64_t n)
{
    uint64_t until = clock_deadline(PATIENCE * NSEC_PER_SEC), value;

    for (;;) {
        struct pd_ctl_counts counts = counts_of(c);

        memcpy(&value, (char *)&counts + offset, sizeof value);
        if (value >= n)
            return;
        ck_assert_msg(clock_now() < until, "%llu of %llu were counted", (unsigned long long)value,
                      (unsigned long long)n);
        pause_ms(5);
    }
}

/* --- plain peers --- */

void *peer(int type, uint16_t port)
{
    void *s = zmq_socket(context, type);
    int none = 0, patience = PATIENCE * 1000;
    char address[64];

    ck_assert_ptr_nonnull(s);
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(s, ZMQ_SNDTIMEO, &patience, sizeof patience);
    snprintf(address, sizeof address, "tcp://127.0.0.1:%u", port);
    ck_assert_int_eq(zmq_connect(s, address), 0);
    return s;
}

void peer_send(void *s, const char *data, int flags)
{
    ck_assert_int_ge(zmq_send(s, data, strlen(data), flags), 0);
}

size_t peer_receive(void *s, char *data, size_t size, bool *more)
{
    int n = zmq_recv(s, data, size - 1, 0);
    int rest = 0;
    size_t len = sizeof rest;

    ck_assert_msg(n >= 0, "no answer: %s", zmq_strerror(zmq_errno()));
    data[MIN((size_t)n, size - 1)] = '\0';
    zmq_getsockopt(s, ZMQ_RCVMORE, &rest, &len);
    if (more)
        *more = rest;
    return (size_t)n;
}

void assert_answered(uint16_t port)
{
    void *s = peer(ZMQ_REQ, port);
    char answer[32];

    peer_send(s, "are you there", 0);
    peer_receive(s, answer, sizeof answer, NULL);
    ck_assert_str_eq(answer, "are you there");
    zmq_close(s);
}

/* --- life --- */

void fixture_start(const struct pd_curve *server, const struct pd_curve *client)
{
    int fd;

    memset(&seen, 0, sizeof seen);
    memset(&echo, 0, sizeof echo);
    memset(&caller, 0, sizeof caller);
    lock_init(&seen.lock);
    cond_init(&seen.changed);
    strcpy(log_path, "/tmp/l2fs-test-pd-XXXXXX");
    fd = mkstemp(log_path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(log_open_file(log_path), 0);
    context = zmq_ctx_new();
    ck_assert_int_eq(loop_create("test-pd", &loop), 0);
    ck_assert_int_eq(mailbox_create(loop, &box), 0);
    ck_assert_int_eq(pd_ctl_create(loop, server, &server_ctl), 0);
    ck_assert_int_eq(pd_ctl_create(loop, client, &client_ctl), 0);
    ck_assert_int_eq(loop_start(loop), 0);
}

void fixture_stop(void)
{
    uint64_t start;

    loop_stop(loop);
    mailbox_destroy(box);
    start = clock_now();
    pd_client_destroy(caller.client);
    pd_server_destroy(echo.server);
    pd_ctl_destroy(client_ctl);
    pd_ctl_destroy(server_ctl);
    ck_assert_uint_lt(clock_now() - start, 5 * NSEC_PER_SEC);
    loop_destroy(loop);
    zmq_ctx_term(context);
    log_set_sink(LOG_SINK_STDERR);
    unlink(log_path);
    pthread_mutex_destroy(&seen.lock);
    pthread_cond_destroy(&seen.changed);
}
