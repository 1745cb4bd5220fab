/* channel_fixture.c - what a test does to a channel is done on its loop thread. */
#include "channel_fixture.h"

#include <time.h>

#include "clock.h"

#define WAIT_S 30

void sem_expect(sem_t *s)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    while (sem_timedwait(s, &until))
        ck_assert_int_eq(errno, EINTR);
}

static void conn_failed(void *arg, int error)
{
    struct end *e = arg;

    ck_assert_int_lt(error, 0);
    sem_post(&e->failed);
}

static const struct pd_conn_ops conn_ops = {.failed = conn_failed};

static void new_conn(void *arg)
{
    struct end *e = arg;

    ck_assert_int_eq(pd_conn_create(e->channel, &conn_ops, e, &e->conn), 0);
}

void end_new_conn(struct end *e)
{
    end_call(e, new_conn, e);
}

/* As pd does it, but over lo: other interfaces may come and go while the test runs. */
void end_open(struct end *e, bool ucx)
{
    *e = (struct end){0};
    sem_init(&e->failed, 0, 0);
    ck_assert_int_eq(loop_create("channel", &e->loop), 0);
    ck_assert_int_eq(mailbox_create(e->loop, &e->box), 0);
    ck_assert_int_eq(pd_channel_create(e->loop, ucx,
                                       &(struct pd_channel_config){.tls = "tcp", .devices = "lo"},
                                       &e->channel),
                     0);
    ck_assert_int_eq(loop_start(e->loop), 0);
    end_new_conn(e);
}

void end_call(struct end *e, void (*fn)(void *arg), void *arg)
{
    mailbox_call(e->box, fn, arg);
}

static void close_conn(void *arg)
{
    struct end *e = arg;

    pd_conn_close(e->conn);
    e->conn = NULL;
}

void end_close_conn(struct end *e)
{
    end_call(e, close_conn, e);
}

void end_close(struct end *e)
{
    end_close_conn(e);
    loop_stop(e->loop);
    pd_channel_destroy(e->channel);
    mailbox_destroy(e->box);
    loop_destroy(e->loop);
    sem_destroy(&e->failed);
}

struct connecting {
    struct end *end;
    const void *address;
    size_t len;
    int rc;
};

static void connect_call(void *arg)
{
    struct connecting *c = arg;

    c->rc = pd_conn_connect(c->end->conn, c->address, c->len);
}

int end_connect(struct end *e, const void *address, size_t len)
{
    struct connecting c = {.end = e, .address = address, .len = len};

    end_call(e, connect_call, &c);
    return c.rc;
}

void ends_connect(struct end *a, struct end *b)
{
    size_t len;
    const void *address = pd_conn_address(b->conn, &len);

    ck_assert_int_eq(end_connect(a, address, len), 0);
    address = pd_conn_address(a->conn, &len);
    ck_assert_int_eq(end_connect(b, address, len), 0);
}

static void xfer_done(struct pd_transfer *t, int error)
{
    struct xfer *x = container_of(t, struct xfer, t);

    x->on_thread = loop_on_thread(x->end->loop);
    x->error = error;
    if (x->then)
        x->then(x, error);
    else
        sem_post(&x->ended);
}

void xfer_init(struct xfer *x, struct end *e)
{
    *x = (struct xfer){.t.done = xfer_done, .end = e};
    sem_init(&x->ended, 0, 0);
}

struct starting {
    struct xfer *x;
    uint64_t tag;
    const void *from;
    void *to;
    uint64_t size;
};

static void send_call(void *arg)
{
    struct starting *s = arg;

    pd_conn_send(s->x->end->conn, &s->x->t, s->tag, s->from, s->size);
}

static void recv_call(void *arg)
{
    struct starting *s = arg;

    pd_conn_recv(s->x->end->conn, &s->x->t, s->tag, s->to, s->size);
}

void xfer_send(struct xfer *x, uint64_t tag, const void *buf, uint64_t size)
{
    end_call(x->end, send_call, &(struct starting){.x = x, .tag = tag, .from = buf, .size = size});
}

void xfer_recv(struct xfer *x, uint64_t tag, void *buf, uint64_t size)
{
    end_call(x->end, recv_call, &(struct starting){.x = x, .tag = tag, .to = buf, .size = size});
}

static void cancel_call(void *arg)
{
    pd_transfer_cancel(arg);
}

void xfer_cancel(struct xfer *x)
{
    end_call(x->end, cancel_call, &x->t);
}

bool xfer_ended(struct xfer *x)
{
    return sem_trywait(&x->ended) == 0;
}

int xfer_wait(struct xfer *x)
{
    sem_expect(&x->ended);
    ck_assert(x->on_thread);
    return x->error;
}

static uint64_t word_of(uint64_t i, uint32_t seed)
{
    return (i + 1) * UINT64_C(0x9e3779b97f4a7c15) + seed;
}

void *pattern_new(uint64_t size, uint32_t seed)
{
    char *buf = malloc(size + 1);

    ck_assert_ptr_nonnull(buf);
    for (uint64_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = word_of(at, seed);

        memcpy(buf + at, &word, MIN(size - at, sizeof word));
    }
    return buf;
}

bool pattern_is(const void *buf, uint64_t size, uint32_t seed)
{
    for (uint64_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = word_of(at, seed);

        if (memcmp((const char *)buf + at, &word, MIN(size - at, sizeof word)))
            return false;
    }
    return true;
}
