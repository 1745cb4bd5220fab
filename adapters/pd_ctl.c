/* pd_ctl.c - a ZMQ context whose sockets are read on the loop thread, and never block it.
 *
 * ZMQ_FD becomes readable when something may have changed, and any call on the socket may take that
 * signal away. So a socket is read until it is empty whenever its descriptor is readable and, from a
 * timer that is due at once, after each send. Between two reads of one socket at most TAKES frames
 * pass, so that no peer keeps the loop for itself. An idle socket costs nothing.
 */
#include "pd_ctl_impl.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "clock.h"
#include "log.h"
#include "pd_proto.h"

#define TAKES 64
#define SOCKETS_MAX 8192 /* two clients of each of 256 peers, with two sockets of a monitor each */
#define SEND_QUEUE 1024  /* messages of a connection */
#define RECEIVE_QUEUE 16
#define GRUMBLE_AGAIN (60 * NSEC_PER_SEC)

int pd_zmq_error(void)
{
    int error = zmq_errno();

    switch (error) {
    case ETERM: return -ESHUTDOWN;
    case EMTHREAD: return -EMFILE;
    default: return error >= ZMQ_HAUSNUMERO ? -EIO : -error;
    }
}

/* --- reading --- */

static void read_empty(struct pd_sock *s)
{
    struct pd_ctl *c = s->ctl;

    list_remove(&s->link);
    c->current = s;
    for (int i = 0; i < TAKES; i++) {
        bool took = s->take(s);

        if (c->current != s)
            return;
        if (!took) {
            c->current = NULL;
            return;
        }
    }
    c->current = NULL;
    pd_sock_touch(s);
}

static void ready(struct loop_fd *f, uint32_t events)
{
    (void)events;
    read_empty(container_of(f, struct pd_sock, fd));
}

static void read_dirty(struct loop_timer *t)
{
    struct pd_ctl *c = container_of(t, struct pd_ctl, now);
    struct list round, *node;

    loop_timer_arm(c->loop, &c->now, UINT64_MAX);
    list_init(&round);
    list_splice(&round, &c->dirty);
    while ((node = list_pop_front(&round)))
        read_empty(list_entry(node, struct pd_sock, link));
}

void pd_sock_touch(struct pd_sock *s)
{
    struct pd_ctl *c = s->ctl;

    if (list_linked(&s->link))
        return;
    list_push_back(&c->dirty, &s->link);
    loop_timer_arm(c->loop, &c->now, 0);
}

/* --- sockets --- */

int pd_sock_set(struct pd_sock *s, int option, int value)
{
    return zmq_setsockopt(s->zmq, option, &value, sizeof value) ? pd_zmq_error() : 0;
}

int pd_sock_open(struct pd_ctl *c, int type, struct pd_sock *s)
{
    size_t len = sizeof s->fd.fd;
    int err;

    s->ctl = c;
    list_init(&s->link);
    s->fd.ready = ready;
    s->zmq = zmq_socket(c->context, type);
    if (!s->zmq)
        return pd_zmq_error();
    err = pd_sock_set(s, ZMQ_LINGER, 0);
    if (!err && zmq_getsockopt(s->zmq, ZMQ_FD, &s->fd.fd, &len))
        err = pd_zmq_error();
    if (!err)
        err = loop_add(c->loop, &s->fd, EPOLLIN);
    if (err) {
        zmq_close(s->zmq);
        s->zmq = NULL;
        return err;
    }
    pd_sock_touch(s); /* ZMQ tells of a change only whom it has told that there is nothing */
    return 0;
}

void pd_sock_close(struct pd_sock *s)
{
    if (!s->zmq)
        return;
    if (s->ctl->current == s)
        s->ctl->current = NULL;
    list_remove(&s->link);
    loop_remove(s->ctl->loop, &s->fd);
    zmq_close(s->zmq);
    s->zmq = NULL;
}

bool pd_sock_writable(struct pd_sock *s)
{
    int events = 0;
    size_t len = sizeof events;

    return !zmq_getsockopt(s->zmq, ZMQ_EVENTS, &events, &len) && (events & ZMQ_POLLOUT);
}

/* Machines that vanish are noticed by TCP, and servers notice those that ping by the time that their
 * pings name. Pings of our own would let a peer end the process: libzmq 4.3.4 aborts when one is due on
 * a connection that was lost while it held the peer back (RCVHWM). They would also lose the connection
 * of a peer that stands still for seconds, or whose ZMTP has no pings. */
int pd_sock_limits(struct pd_sock *s)
{
    static const struct {
        int option, value;
    } ints[] = {
        {ZMQ_SNDHWM, SEND_QUEUE},   {ZMQ_RCVHWM, RECEIVE_QUEUE},  {ZMQ_HEARTBEAT_IVL, 0},
        {ZMQ_TCP_KEEPALIVE, 1},     {ZMQ_TCP_KEEPALIVE_IDLE, 10}, {ZMQ_TCP_KEEPALIVE_INTVL, 5},
        {ZMQ_TCP_KEEPALIVE_CNT, 3}, {ZMQ_HANDSHAKE_IVL, 5000},    {ZMQ_CONNECT_TIMEOUT, 5000},
        {ZMQ_TCP_MAXRT, 15000},     {ZMQ_RECONNECT_IVL, 100},     {ZMQ_RECONNECT_IVL_MAX, 2000},
    };
    /* What is somewhat too long can still be answered; what is far too long ends its connection. */
    int64_t most = 2 * PD_MESSAGE_MAX;
    int err = zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &most, sizeof most) ? pd_zmq_error() : 0;

    for (size_t i = 0; !err && i < ARRAY_SIZE(ints); i++)
        err = pd_sock_set(s, ints[i].option, ints[i].value);
    return err;
}

/* Names are looked up as IPv4 alone, like those of a ZMQ peer that sets no option: where a name has
 * both, the two sides must not choose differently. */
int pd_sock_address(struct pd_sock *s, const char *host, uint16_t port, char out[512])
{
    bool v6 = strchr(host, ':') || !strcmp(host, "*");
    bool bare = strchr(host, ':') && host[0] != '[';
    char number[8] = "*";
    int n;

    if (port)
        snprintf(number, sizeof number, "%u", port);
    n = snprintf(out, 512, bare ? "tcp://[%s]:%s" : "tcp://%s:%s", host, number);
    if (n >= 512)
        return -ENAMETOOLONG;
    return pd_sock_set(s, ZMQ_IPV6, v6);
}

/* --- monitors --- */

int pd_sock_monitor(struct pd_sock *of, int events, struct pd_sock *s)
{
    char name[64];
    int err = pd_sock_open(of->ctl, ZMQ_PAIR, s);

    if (err)
        return err;
    snprintf(name, sizeof name, "inproc://l2fs-monitor-%llu",
             (unsigned long long)++of->ctl->monitors);
    /* Without a limit: a monitor that is full blocks the thread that tells it something. */
    err = pd_sock_set(s, ZMQ_RCVHWM, 0);
    if (!err && (zmq_socket_monitor(of->zmq, name, events) || zmq_connect(s->zmq, name)))
        err = pd_zmq_error();
    if (err)
        pd_sock_close(s);
    return err;
}

void pd_sock_close_both(struct pd_sock *s, struct pd_sock *monitor)
{
    if (monitor->zmq)
        zmq_socket_monitor(s->zmq, NULL, 0);
    pd_sock_close(monitor);
    pd_sock_close(s);
}

static bool skip_frame(struct pd_sock *s)
{
    zmq_msg_t msg;
    bool more;

    zmq_msg_init(&msg);
    more = zmq_msg_recv(&msg, s->zmq, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&msg);
    zmq_msg_close(&msg);
    return more;
}

bool pd_sock_event(struct pd_sock *monitor, uint16_t *event, uint32_t *value)
{
    uint8_t data[6];
    int n = zmq_recv(monitor->zmq, data, sizeof data, ZMQ_DONTWAIT);

    if (n < 0)
        return false;
    while (skip_frame(monitor)) {
    }
    if (n != sizeof data)
        memset(data, 0, sizeof data);
    memcpy(event, data, sizeof *event);
    memcpy(value, data + sizeof *event, sizeof *value);
    return true;
}

/* --- the context --- */

bool pd_grumble(struct pd_ctl *c, enum pd_grumble what)
{
    uint64_t now = clock_now();

    if (c->grumbled[what] && now - c->grumbled[what] < GRUMBLE_AGAIN)
        return false;
    c->grumbled[what] = now;
    return true;
}

int pd_ctl_create(struct loop *loop, const struct pd_curve *curve, struct pd_ctl **out)
{
    struct pd_ctl *c = calloc(1, sizeof *c);
    int err;

    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->now.expired = read_dirty;
    list_init(&c->dirty);
    err = loop_timer_arm(loop, &c->now, UINT64_MAX);
    if (!err) {
        c->context = zmq_ctx_new();
        if (!c->context || zmq_ctx_set(c->context, ZMQ_MAX_SOCKETS, SOCKETS_MAX) ||
            zmq_ctx_set(c->context, ZMQ_BLOCKY, 0))
            err = pd_zmq_error();
    }
    if (!err)
        err = pd_auth_init(c, curve);
    if (err) {
        pd_ctl_destroy(c);
        return err;
    }
    *out = c;
    return 0;
}

void pd_ctl_destroy(struct pd_ctl *c)
{
    if (!c)
        return;
    pd_auth_fini(c);
    loop_timer_cancel(c->loop, &c->now);
    if (c->context) {
        while (zmq_ctx_term(c->context) && zmq_errno() == EINTR) {
        }
    }
    free(c);
}

struct pd_ctl_counts pd_ctl_counts(const struct pd_ctl *c)
{
    return c->counts;
}
