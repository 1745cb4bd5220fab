/* pd_send_ask.c - what goes over the two control sockets of a peer: questions with a number of their
 * own, and the answers that come back in any order.
 *
 * The handshake's callbacks only take note and let the peer's timer go on, so that no socket is freed
 * under its own callback.
 */
#include "clock.h"
#include "log.h"
#include "pd_send_impl.h"

#define TELL_EVERY NSEC_PER_SEC

int send_peer_errno(int64_t error)
{
    if (error < 0 || error > 4095)
        return -EPROTO;
    switch (error) {
    case ECANCELED: /* nobody here cancelled it */
    case ENOTCONN: return -ECONNRESET;
    case ESHUTDOWN: return -EHOSTDOWN;
    default: return -(int)error;
    }
}

void send_peer_tell(struct send_peer *p, const char *what, const char *reason)
{
    if (clock_now() - p->told < TELL_EVERY)
        return;
    p->told = clock_now();
    log_warn("pd: %s (%s port %u) %s: %s; the stores are tried again", p->target.name,
             p->target.host, p->target.alloc_port, what, reason);
}

void send_peer_quote(struct send_peer *p, const char *what, const struct pd_message *m)
{
    char reason[128] = "no reason given";

    if (m->reason.len) {
        size_t len = MIN(m->reason.len, sizeof(reason) - 1);

        memcpy(reason, m->reason.data, len);
        reason[len] = 0;
    }
    send_peer_tell(p, what, reason);
}

/* --- questions --- */

static int send_to(struct send_peer *p, struct pd_client *client, struct pd_message *m)
{
    struct text out = {0};
    int err;

    m->sender = (struct pd_bytes){p->send->name, strlen(p->send->name)};
    pd_encode(m, &out);
    if (out.failed)
        err = -ENOMEM;
    else if (out.len > PD_MESSAGE_MAX)
        err = -EMSGSIZE;
    else
        err = pd_client_send(client, out.data, out.len);
    text_fini(&out);
    return err;
}

void send_peer_unask(struct send_peer *p, struct send_ask *ask)
{
    if (ask->seq)
        hash_remove(&p->asks, &ask->node);
    ask->seq = 0;
}

int send_peer_ask(struct send_peer *p, struct send_ask *ask, struct pd_message *m)
{
    bool fresh = ask && !ask->seq;
    int err;

    if (fresh) {
        ask->seq = ++p->send->seq;
        hash_insert(&p->asks, &ask->node, (uint64_t)ask->seq);
    }
    if (ask)
        m->seq = ask->seq;
    else if (!m->seq)
        m->seq = ++p->send->seq;
    err = p->alloc ? send_to(p, p->alloc, m) : -EAGAIN;
    if (ask)
        ask->asked = clock_now();
    if (err && fresh)
        send_peer_unask(p, ask);
    return err;
}

int send_peer_hello(struct send_peer *p)
{
    struct pd_message m = {.type = PD_HELLO, .version = PD_VERSION, .epoch = (int64_t)p->epoch};
    size_t len;

    m.rank = p->send->env.config->tp_rank;
    m.address.data = pd_conn_address(p->conn, &len);
    m.address.len = len;
    return send_to(p, p->init, &m);
}

/* --- answers on the alloc socket --- */

/* Room that came too late, all of it. */
static void give_back(struct send_peer *p, int64_t alloc_id)
{
    struct pd_message m = {.type = PD_CANCEL_NOTIF, .alloc_id = alloc_id, .req_id = {"", 0}};

    (void)send_peer_ask(p, NULL, &m);
}

static void alloc_answer(struct send_peer *p, const struct pd_message *m)
{
    struct hash_node *node = m->seq ? hash_first(&p->asks, (uint64_t)m->seq) : NULL;
    struct send_ask *ask;

    if (!node) {
        p->send->strays++;
        if (m->type == PD_ALLOC_RESPONSE && m->alloc_id && m->tags.n)
            give_back(p, m->alloc_id);
        return;
    }
    ask = container_of(node, struct send_ask, node);
    p->heard = clock_now();
    if (m->type != PD_COMMIT_REPLY) {
        uint64_t us = (p->heard - ask->asked) / 1000;

        p->counts.rtt = p->counts.rtt ? (7 * p->counts.rtt + us) / 8 : us;
    }
    ask->answer(ask, m);
}

/* The message, or NULL when it cannot be read: that is counted. */
static struct pd_message *read_message(struct send_peer *p, const void *data, size_t len)
{
    struct pd_message *m;
    const char *why;

    if (!pd_decode(data, len, &m, &why))
        return m;
    p->send->garbage++;
    return NULL;
}

static void alloc_reply(void *arg, const void *data, size_t len)
{
    struct send_peer *p = arg;
    struct pd_message *m = read_message(p, data, len);

    if (m)
        alloc_answer(p, m);
    pd_message_free(m);
}

static void alloc_connected(void *arg, bool yes)
{
    struct send_peer *p = arg;

    p->alloc_connected = yes;
    if (yes)
        send_peer_go_on(p);
    else if (p->state == PEER_UP)
        send_peer_lost(p, -ECONNRESET);
}

const struct pd_client_ops send_alloc_ops = {.reply = alloc_reply, .connected = alloc_connected};

/* --- the handshake --- */

static int take_hello(struct send_peer *p, const struct pd_message *m)
{
    if (m->type != PD_HELLO_REPLY || m->epoch != (int64_t)p->epoch)
        return -EPROTO;
    if (m->error)
        return send_peer_errno(m->error);
    if (m->version != PD_VERSION)
        return -EPROTONOSUPPORT;
    p->run = m->run;
    p->limit = m->limit > 0 ? (uint64_t)m->limit : UINT64_MAX;
    return pd_conn_connect(p->conn, m->address.data, m->address.len);
}

static void init_reply(void *arg, const void *data, size_t len)
{
    struct send_peer *p = arg;
    struct pd_message *m;

    if (!p->asked || p->answered)
        return;
    m = read_message(p, data, len);
    if (!m)
        return;
    p->heard = clock_now();
    p->counts.rtt = p->counts.rtt ? p->counts.rtt : (p->heard - p->hello_sent) / 1000;
    p->hello_error = take_hello(p, m);
    p->refused = p->hello_error != 0;
    p->answered = true;
    if (m->error)
        send_peer_quote(p, "refuses the handshake", m);
    pd_message_free(m);
    send_peer_go_on(p);
}

static void init_connected(void *arg, bool yes)
{
    struct send_peer *p = arg;

    p->init_connected = yes;
    p->asked = p->asked && yes; /* what is said to one that is gone is said again */
    if (yes)
        send_peer_go_on(p);
}

const struct pd_client_ops send_init_ops = {.reply = init_reply, .connected = init_connected};
