/* pd_ctl_server.c - a ROUTER that takes the requests of REQ and DEALER peers and answers later.
 *
 * A request is [identity, empty, payload] of a REQ, or of a DEALER that speaks like one, or [identity,
 * payload]. Frames are taken one at a time, so that a message of a million frames is no longer turn
 * than any other; what is no request is answered like one without bytes. An answer never blocks: a
 * ROUTER drops what is for a peer that is gone, or has SEND_QUEUE answers waiting.
 */
#include <stdio.h>
#include <zmq.h>

#include "log.h"
#include "pd_ctl_impl.h"
#include "pd_guard.h"
#include "pd_proto.h"

#define BACKLOG 1024

struct pd_server {
    struct pd_sock sock;
    struct pd_sock monitor;
    pd_request_fn *fn;
    void *arg;
    uint16_t port;
    struct pd_guard guard;
    uint32_t refused; /* why the connection that ends next was, 0: it was not */

    /* The message being taken. */
    struct pd_envelope from; /* data[0]: came with an empty frame; then the identity */
    size_t frames;           /* taken of it */
    uint64_t bytes;          /* in them */
    bool malformed;
};

static void take_identity(struct pd_server *s, zmq_msg_t *frame)
{
    size_t len = zmq_msg_size(frame);

    s->malformed = len > PD_ENVELOPE_MAX - 1;
    s->from.data[0] = 0;
    s->from.len = (uint16_t)(s->malformed ? 1 : 1 + len);
    memcpy(s->from.data + 1, zmq_msg_data(frame), s->from.len - 1u);
}

/* A frame between the identity and the last. */
static void take_middle(struct pd_server *s, zmq_msg_t *frame)
{
    if (s->frames == 1 && zmq_msg_size(frame) == 0)
        s->from.data[0] = 1;
    else
        s->malformed = true;
}

static void deliver(struct pd_server *s, zmq_msg_t *frame)
{
    struct pd_envelope from = s->from;
    struct pd_ctl_counts *counts = &s->sock.ctl->counts;
    bool oversized = zmq_msg_size(frame) > PD_MESSAGE_MAX;

    s->frames = 0;
    pd_guard_delivered(&s->guard, zmq_msg_get(frame, ZMQ_SRCFD), s->bytes);
    if (s->malformed)
        counts->malformed++;
    else if (oversized)
        counts->oversized++;
    if (s->malformed || oversized)
        s->fn(s->arg, &from, "", 0);
    else
        s->fn(s->arg, &from, zmq_msg_data(frame), zmq_msg_size(frame));
}

static bool take_request(struct pd_sock *sock)
{
    struct pd_server *s = container_of(sock, struct pd_server, sock);
    zmq_msg_t frame;

    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, sock->zmq, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&frame);
        return false;
    }
    s->bytes = s->frames ? s->bytes + zmq_msg_size(&frame) : 0;
    if (s->frames == 0)
        take_identity(s, &frame);
    else if (zmq_msg_more(&frame))
        take_middle(s, &frame);
    if (zmq_msg_more(&frame))
        s->frames = MIN(s->frames + 1, (size_t)2);
    else
        deliver(s, &frame);
    zmq_msg_close(&frame);
    return true;
}

/* --- connections --- */

static void log_refused(struct pd_server *s, const char *peer)
{
    struct pd_ctl *c = s->sock.ctl;
    bool plain = s->refused != ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC;

    c->counts.refused_keys++;
    if (!pd_grumble(c, plain ? PD_GRUMBLE_PLAIN : PD_GRUMBLE_CRYPTO))
        return;
    if (!plain)
        log_warn("port %u: refused %s, which has a wrong key for this side: set its "
                 "curve_server_key to the public key that belongs to ours",
                 s->port, peer);
    else if (c->curve)
        log_warn("port %u: refused %s, which comes without keys: set curve_server_key and "
                 "curve_client_key there",
                 s->port, peer);
    else
        log_warn("port %u: refused %s, which wants keys: set curve_server_key here, or take it "
                 "away there",
                 s->port, peer);
}

/* A handshake failed; the connection's end is the next event. Of two sides that do not fit one sees
 * why, and the other may only see the end. What the one that is asked for a client's key refuses
 * (FAILED_AUTH) it has logged and counted. */
static void handshake_failed(struct pd_server *s, uint16_t event, uint32_t why)
{
    struct pd_ctl *c = s->sock.ctl;
    bool told = event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL &&
                (why == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ||
                 why == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC);

    s->refused = 0;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        return;
    if (told || c->curve)
        s->refused = told ? why : ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH;
    else
        c->counts.malformed++;
}

static bool take_event(struct pd_sock *monitor)
{
    struct pd_server *s = container_of(monitor, struct pd_server, monitor);
    char peer[64];
    uint16_t event;
    uint32_t value;

    if (!pd_sock_event(monitor, &event, &value))
        return false;
    switch (event) {
    case ZMQ_EVENT_ACCEPTED: pd_guard_accepted(&s->guard, (int)value); break;
    case ZMQ_EVENT_DISCONNECTED:
        pd_guard_gone(&s->guard, (int)value, peer);
        if (s->refused)
            log_refused(s, peer);
        s->refused = 0;
        break;
    default: handshake_failed(s, event, value); break;
    }
    return true;
}

/* --- life --- */

static int read_port(struct pd_server *s)
{
    char address[512];
    size_t len = sizeof address;
    const char *colon;

    if (zmq_getsockopt(s->sock.zmq, ZMQ_LAST_ENDPOINT, address, &len))
        return pd_zmq_error();
    colon = strrchr(address, ':');
    s->port = (uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 0);
    return 0;
}

static int bind_server(struct pd_server *s, const char *host, uint16_t port)
{
    char address[512];
    int err = pd_sock_limits(&s->sock);

    if (!err)
        err = pd_sock_set(&s->sock, ZMQ_ROUTER_HANDOVER, 1);
    if (!err)
        err = pd_sock_set(&s->sock, ZMQ_BACKLOG, BACKLOG);
    if (!err)
        err = pd_auth_server(&s->sock);
    if (!err)
        err = pd_sock_monitor(
            &s->sock,
            ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH,
            &s->monitor);
    if (!err)
        err = pd_sock_address(&s->sock, host, port, address);
    if (!err && zmq_bind(s->sock.zmq, address))
        err = pd_zmq_error();
    if (!err)
        err = read_port(s);
    if (!err)
        pd_guard_init(&s->guard, s->sock.ctl->loop, s->port, &s->sock.ctl->counts.excess);
    return err;
}

int pd_server_create(struct pd_ctl *c, const char *host, uint16_t port, pd_request_fn *fn,
                     void *arg, struct pd_server **out)
{
    struct pd_server *s = calloc(1, sizeof *s);
    int err;

    if (!s)
        return -ENOMEM;
    s->fn = fn;
    s->arg = arg;
    s->sock.take = take_request;
    s->monitor.take = take_event;
    err = pd_sock_open(c, ZMQ_ROUTER, &s->sock);
    if (!err)
        err = bind_server(s, host, port);
    if (err) {
        log_err("cannot take requests at %s port %u: %s; %s", host, port, strerror(-err),
                err == -EADDRINUSE ? "another program has the port: choose another, or end it"
                                   : "peer_host must be an address of this machine");
        pd_server_destroy(s);
        return err;
    }
    *out = s;
    return 0;
}

void pd_server_destroy(struct pd_server *s)
{
    if (!s)
        return;
    pd_sock_close_both(&s->sock, &s->monitor);
    pd_guard_fini(&s->guard);
    free(s);
}

uint16_t pd_server_port(const struct pd_server *s)
{
    return s->port;
}

void pd_server_reply(struct pd_server *s, const struct pd_envelope *to, const void *data,
                     size_t len)
{
    void *zmq = s->sock.zmq;

    if (zmq_send(zmq, to->data + 1, to->len - 1u, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
        (!to->data[0] || zmq_send(zmq, NULL, 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0))
        zmq_send(zmq, data, len, ZMQ_DONTWAIT);
    pd_sock_touch(&s->sock);
}
