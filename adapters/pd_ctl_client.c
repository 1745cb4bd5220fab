/* pd_ctl_client.c - a DEALER to one server, and a PUSH to one proxy.
 *
 * Both are a link: a socket that connects, and its events. ZMQ reconnects by itself, but never after
 * an error of the protocol (somebody else had the port for a while, keys did not fit), so a link that
 * was lost and is not back after REOPEN_AFTER gets new sockets.
 */
#include <stdio.h>
#include <zmq.h>

#include "clock.h"
#include "log.h"
#include "pd_ctl_impl.h"
#include "pd_proto.h"

#define REOPEN_AFTER NSEC_PER_SEC
#define PUSH_LINGER 250 /* ms */

struct link {
    struct pd_ctl *ctl;
    int type;
    struct pd_sock sock;
    struct pd_sock monitor;
    struct loop_timer reopen;
    char *host;
    uint16_t port;
    bool greeted;  /* the handshake is done */
    bool up;       /* and a message can be sent; `changed` was told */
    bool grumbled; /* since it was up: why not */
    void (*changed)(struct link *l, bool up);
};

struct pd_client {
    struct link link;
    const struct pd_client_ops *ops;
    void *arg;
    size_t frames; /* of the reply being taken */
    bool malformed;
};

struct pd_push {
    struct link link;
    void (*up)(void *arg); /* may be NULL */
    void *arg;
};

static int link_open(struct link *l);

static void link_close(struct link *l)
{
    pd_sock_close_both(&l->sock, &l->monitor);
    l->greeted = false;
}

static void reopen(struct loop_timer *t)
{
    struct link *l = container_of(t, struct link, reopen);

    link_close(l);
    if (link_open(l))
        loop_timer_arm(l->ctl->loop, t, clock_deadline(REOPEN_AFTER));
}

static void tell(struct link *l, bool up)
{
    l->up = up;
    l->changed(l, up);
}

/* The socket learns of the handshake after its monitor does. May free the link. */
static void tell_when_up(struct link *l)
{
    if (l->greeted && !l->up && pd_sock_writable(&l->sock))
        tell(l, true);
}

/* Which of the two sides sees why, and which only the end of the connection, is a matter of luck. */
static void grumble(struct link *l, uint16_t event)
{
    if (l->grumbled)
        return;
    l->grumbled = true;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        log_warn("%s port %u refuses our key: add the public key of curve_client_key to the file "
                 "curve_clients there",
                 l->host, l->port);
    else if (l->ctl->curve && l->type == ZMQ_DEALER)
        log_warn("%s port %u ends the handshake: it needs a curve_server_key of its own, whose "
                 "public key is curve_server_key here",
                 l->host, l->port);
    else
        log_warn("%s port %u ends the handshake: it wants keys (set curve_server_key and "
                 "curve_client_key here), or does not speak ZMQ",
                 l->host, l->port);
}

/* The link is lost, or could not be made. May free the link. */
static void lost(struct link *l)
{
    l->greeted = false;
    if (!l->reopen.heap_index)
        loop_timer_arm(l->ctl->loop, &l->reopen, clock_deadline(REOPEN_AFTER));
    if (l->up)
        tell(l, false);
}

static bool take_event(struct pd_sock *monitor)
{
    struct link *l = container_of(monitor, struct link, monitor);
    uint16_t event;
    uint32_t value;

    if (!pd_sock_event(monitor, &event, &value))
        return false;
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        l->greeted = true;
        l->grumbled = false;
        loop_timer_cancel(l->ctl->loop, &l->reopen);
        tell_when_up(l);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        grumble(l, event);
        lost(l);
        break;
    default: lost(l); break;
    }
    return true;
}

static int link_open(struct link *l)
{
    char address[512];
    int err = pd_sock_open(l->ctl, l->type, &l->sock);

    if (err)
        return err;
    err = pd_sock_limits(&l->sock);
    if (!err)
        err = pd_sock_set(&l->sock, ZMQ_IMMEDIATE, 1);
    if (!err && l->type == ZMQ_PUSH)
        err = pd_sock_set(&l->sock, ZMQ_LINGER, PUSH_LINGER);
    if (!err && l->type == ZMQ_DEALER)
        err = pd_auth_client(&l->sock);
    if (!err)
        err = pd_sock_monitor(&l->sock,
                              ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                  ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                  ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_DISCONNECTED,
                              &l->monitor);
    if (!err)
        err = pd_sock_address(&l->sock, l->host, l->port, address);
    if (!err && zmq_connect(l->sock.zmq, address))
        err = pd_zmq_error();
    if (err)
        link_close(l);
    return err;
}

static int link_init(struct link *l, const char *host, uint16_t port)
{
    int err;

    l->monitor.take = take_event;
    l->reopen.expired = reopen;
    l->port = port;
    l->host = strdup(host);
    err = l->host ? link_open(l) : -ENOMEM;
    if (err)
        log_err("cannot make a socket to %s port %u: %s", host, port, strerror(-err));
    return err;
}

static void link_fini(struct link *l)
{
    loop_timer_cancel(l->ctl->loop, &l->reopen);
    link_close(l);
    free(l->host);
}

/* What ZMQ has not been told yet may let it take the message after all. */
static int send_frame(struct link *l, const void *data, size_t len, int flags)
{
    void *zmq = l->sock.zmq;

    if (!l->up)
        return -EAGAIN;
    if (zmq_send(zmq, data, len, flags | ZMQ_DONTWAIT) >= 0)
        return 0;
    if (zmq_errno() == EAGAIN && pd_sock_writable(&l->sock) &&
        zmq_send(zmq, data, len, flags | ZMQ_DONTWAIT) >= 0)
        return 0;
    return pd_zmq_error();
}

/* --- the client --- */

static void deliver(struct pd_client *c, zmq_msg_t *frame)
{
    struct pd_ctl_counts *counts = &c->link.ctl->counts;
    bool malformed = c->malformed;

    c->frames = 0;
    c->malformed = false;
    if (malformed)
        counts->malformed++;
    else if (zmq_msg_size(frame) > PD_MESSAGE_MAX)
        counts->oversized++;
    else
        c->ops->reply(c->arg, zmq_msg_data(frame), zmq_msg_size(frame));
}

/* [empty, payload] or [payload]. */
static bool take_reply(struct pd_sock *sock)
{
    struct pd_client *c = container_of(sock, struct pd_client, link.sock);
    zmq_msg_t frame;

    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, sock->zmq, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&frame);
        tell_when_up(&c->link);
        return false;
    }
    if (zmq_msg_more(&frame)) {
        c->malformed = c->malformed || c->frames > 0 || zmq_msg_size(&frame) > 0;
        c->frames = 1;
    } else {
        deliver(c, &frame);
    }
    zmq_msg_close(&frame);
    return true;
}

static void client_changed(struct link *l, bool up)
{
    struct pd_client *c = container_of(l, struct pd_client, link);

    c->frames = 0;
    c->malformed = false;
    if (c->ops->connected)
        c->ops->connected(c->arg, up);
}

int pd_client_create(struct pd_ctl *c, const char *host, uint16_t port,
                     const struct pd_client_ops *ops, void *arg, struct pd_client **out)
{
    struct pd_client *client = calloc(1, sizeof *client);
    int err;

    if (!client)
        return -ENOMEM;
    client->ops = ops;
    client->arg = arg;
    client->link.ctl = c;
    client->link.type = ZMQ_DEALER;
    client->link.sock.take = take_reply;
    client->link.changed = client_changed;
    err = link_init(&client->link, host, port);
    if (err)
        pd_client_destroy(client);
    else
        *out = client;
    return err;
}

void pd_client_destroy(struct pd_client *c)
{
    if (!c)
        return;
    link_fini(&c->link);
    free(c);
}

int pd_client_send(struct pd_client *c, const void *data, size_t len)
{
    int err = send_frame(&c->link, NULL, 0, ZMQ_SNDMORE);

    if (!err)
        err = send_frame(&c->link, data, len, 0);
    if (c->link.sock.zmq)
        pd_sock_touch(&c->link.sock);
    return err;
}

/* --- the push --- */

/* Nothing is ever received: asking lets ZMQ learn what its thread has told. */
static bool take_nothing(struct pd_sock *sock)
{
    pd_sock_writable(sock);
    tell_when_up(container_of(sock, struct link, sock));
    return false;
}

static void push_changed(struct link *l, bool up)
{
    struct pd_push *p = container_of(l, struct pd_push, link);

    if (up && p->up)
        p->up(p->arg);
}

int pd_push_create(struct pd_ctl *c, const char *host, uint16_t port, struct pd_push **out)
{
    struct pd_push *push = calloc(1, sizeof *push);
    int err;

    if (!push)
        return -ENOMEM;
    push->link.ctl = c;
    push->link.type = ZMQ_PUSH;
    push->link.sock.take = take_nothing;
    push->link.changed = push_changed;
    err = link_init(&push->link, host, port);
    if (err)
        pd_push_destroy(push);
    else
        *out = push;
    return err;
}

void pd_push_destroy(struct pd_push *p)
{
    if (!p)
        return;
    link_fini(&p->link);
    free(p);
}

void pd_push_when_up(struct pd_push *p, void (*up)(void *arg), void *arg)
{
    p->up = up;
    p->arg = arg;
}

int pd_push_send(struct pd_push *p, const void *data, size_t len)
{
    int err = send_frame(&p->link, data, len, 0);

    if (p->link.sock.zmq)
        pd_sock_touch(&p->link.sock);
    return err;
}
