/* pd_recv_peer.c - senders as a rank knows them: Hello, connection, and the end of both.
 *
 * A peer is its name, which is new for each run of a sender. Each Hello has a larger epoch than those
 * before and replaces their connection; the same Hello again (its answer was lost) is answered as
 * before, and one that comes after a later one is refused while that has a connection.
 */
#include <stdio.h>

#include "checksum.h"
#include "clock.h"
#include "pd_recv_parts.h"

#define IDLE_KEEP (60 * NSEC_PER_SEC) /* one without connection is remembered for */

static uint64_t name_hash(const struct recv_rank *rank, struct pd_bytes name)
{
    return hash_bytes(name.data, name.len, rank->index);
}

struct recv_peer *recv_peer_find(struct recv_rank *rank, struct pd_bytes name)
{
    struct hash_node *n;

    if (!name.data)
        return NULL;
    n = hash_first(&rank->recv->peer_table, name_hash(rank, name));
    for (; n; n = hash_next(n)) {
        struct recv_peer *p = container_of(n, struct recv_peer, node);

        if (p->rank == rank && recv_equal(name, p->name))
            return p;
    }
    return NULL;
}

/* What waits for room never had a buffer: it is refused. */
static void refuse_waiting(struct recv_peer *p)
{
    struct list *node, *next;

    list_for_each_safe(node, next, &p->allocs)
    {
        struct recv_alloc *a = list_entry(node, struct recv_alloc, link);

        if (a->phase != ALLOC_WAITING)
            continue;
        recv_queue_leave(&a->waiter);
        a->waiter.finish(&a->waiter, -ENOTCONN);
    }
}

void recv_peer_disconnect(struct recv_peer *p)
{
    struct pd_conn *conn = p->conn;

    if (!conn)
        return;
    p->conn = NULL;
    p->heard = clock_now();
    pd_conn_close(conn);
    refuse_waiting(p);
}

static void failed(void *arg, int error)
{
    struct recv_peer *p = arg;

    recv_warn(p->rank->recv, "the connection of %s is gone: %s; it may come back", p->name,
              strerror(-error));
    recv_peer_disconnect(p);
}

static void forget(struct recv_peer *p)
{
    struct pd_recv *r = p->rank->recv;

    recv_peer_disconnect(p);
    hash_remove(&r->peer_table, &p->node);
    list_remove(&p->link);
    r->npeers--;
    free(p);
}

/* The one that was heard of least recently and has nothing here, but for `keep`. */
static struct recv_peer *idlest(struct pd_recv *r, const struct recv_peer *keep)
{
    struct list *node;

    list_for_each(node, &r->peers)
    {
        struct recv_peer *p = list_entry(node, struct recv_peer, link);

        if (!p->nallocs && p != keep)
            return p;
    }
    return NULL;
}

/* Who is connected takes the place of another when there are too many. */
static int take_place(struct recv_peer *p)
{
    struct pd_recv *r = p->rank->recv;
    struct recv_peer *other = r->npeers > PD_PEERS_MAX ? idlest(r, p) : NULL;

    if (other)
        forget(other);
    return r->npeers > PD_PEERS_MAX ? -EUSERS : 0;
}

static struct recv_peer *add(struct recv_rank *rank, struct pd_bytes name)
{
    struct pd_recv *r = rank->recv;
    struct recv_peer *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->rank = rank;
    memcpy(p->name, name.data, name.len);
    list_init(&p->allocs);
    hash_insert(&r->peer_table, &p->node, name_hash(rank, name));
    list_push_back(&r->peers, &p->link);
    r->npeers++;
    recv_sweep_later(r);
    return p;
}

/* Names are shown as directories. */
static bool name_ok(struct pd_bytes name)
{
    if (!name.len || name.len > RECV_NAME_MAX || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~' || name.data[i] == '/')
            return false;
    }
    return true;
}

/* What does not work leaves the connection that there is. */
static int connect(struct recv_peer *p, const struct pd_message *m)
{
    static const struct pd_conn_ops ops = {.failed = failed};
    struct pd_conn *conn;
    int err = pd_conn_create(p->rank->recv->env.channel, &ops, p, &conn);

    if (err)
        return err;
    err = pd_conn_connect(conn, m->address.data, m->address.len);
    if (err) {
        pd_conn_close(conn);
        return err;
    }
    recv_peer_disconnect(p);
    p->conn = conn;
    p->epoch = m->epoch;
    p->address_crc = checksum(0, m->address.data, m->address.len);
    return 0;
}

static int hello(struct recv_rank *rank, const struct pd_message *m, struct recv_peer **out)
{
    struct recv_peer *p = recv_peer_find(rank, m->sender);
    bool again = p && p->conn && p->epoch == m->epoch &&
                 p->address_crc == checksum(0, m->address.data, m->address.len);
    bool known = p;
    int err = 0;

    if (m->version != PD_VERSION)
        return -EPROTO;
    if (m->rank != (int64_t)rank->index)
        return -EDOM;
    if (!name_ok(m->sender) || !m->address.len)
        return -EINVAL;
    if (p && p->conn && (uint64_t)m->epoch < (uint64_t)p->epoch)
        return -ESTALE;
    if (!p)
        p = add(rank, m->sender);
    if (!p)
        return -ENOMEM;
    if (!again)
        err = connect(p, m);
    if (!err && !known)
        err = take_place(p);
    if (err && !known) {
        forget(p);
        return err;
    }
    p->heard = clock_now();
    list_remove(&p->link);
    list_push_back(&rank->recv->peers, &p->link);
    *out = p;
    return err;
}

static const char *why(int error)
{
    switch (error) {
    case -EPROTO: return "another version of the protocol: use the same l2fs on both sides";
    case -EDOM: return "this is the port of another rank: look at peer_init_port and tp_rank";
    case -EINVAL: return "not a name or address";
    case -EUSERS: return "too many senders";
    case -ESTALE: return "it said Hello with a later epoch already";
    case -EHOSTUNREACH:
        return "UCX sees no network device that both sides have: look at tls and devices on both, "
               "and whether /sys is that of the daemon's network namespace";
    default: return strerror(-error);
    }
}

void recv_peer_hello(const struct recv_request *req)
{
    struct pd_recv *r = req->rank->recv;
    const struct pd_message *m = req->m;
    struct pd_message reply = {.type = PD_HELLO_REPLY, .version = PD_VERSION, .epoch = m->epoch};
    struct recv_peer *p;
    int err = hello(req->rank, m, &p);

    if (err) {
        recv_warn(r, "a sender is refused: %s", why(err));
        recv_refuse(&req->origin, PD_HELLO_REPLY, err, why(err));
        return;
    }
    reply.limit = (int64_t)r->env.config->buffer_size;
    reply.run = recv_run(r);
    reply.address.data = pd_conn_address(p->conn, &reply.address.len);
    recv_answer(&req->origin, &reply);
}

void recv_peer_sweep(struct pd_recv *r, uint64_t now)
{
    struct list *node, *next;

    list_for_each_safe(node, next, &r->peers)
    {
        struct recv_peer *p = list_entry(node, struct recv_peer, link);

        if (!p->conn && !p->nallocs && now - p->heard > IDLE_KEEP)
            forget(p);
    }
}

void recv_peer_destroy_all(struct pd_recv *r)
{
    while (!list_empty(&r->peers))
        forget(list_entry(r->peers.next, struct recv_peer, link));
}
