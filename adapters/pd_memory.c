/* pd_memory.c - `mock_memory`: a channel within one process, for tests.
 *
 * Thread model: two channels may be on two loop threads, so all connections of the process and their
 * transfers are guarded by one lock. A send copies at once, holding the lock (that is what makes
 * close a fence). What has ended waits in the list of its channel, whose own
 * loop thread is sent a letter and tells the owners, one at a time and without the lock: each may
 * close connections, with what is still in that list.
 */
#include "pd_channel_impl.h"

#include "lock.h"
#include "mailbox.h"

#define KIND_MEMORY 1

struct memory_channel {
    struct pd_channel base;
    struct mailbox *mailbox;
    struct letter letter;
    bool posted;          /* the letter is on its way */
    struct list finished; /* struct pd_transfer */
    struct list lost;     /* struct memory_conn whose peer is gone and who was not told yet */
};

struct memory_conn {
    struct pd_conn base;
    struct list link; /* registry.conns */
    struct list lost; /* memory_channel.lost */
    uint64_t id;
    uint64_t peer;      /* 0: not connected, or gone */
    struct list posted; /* struct pd_transfer: receives that met no message */
};

static struct {
    pthread_mutex_t lock;
    struct list conns;
    uint64_t last_id;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .conns = {&registry.conns, &registry.conns}};

static struct memory_channel *channel_of(const struct memory_conn *c)
{
    return container_of(c->base.channel, struct memory_channel, base);
}

static struct memory_conn *conn_of(const struct pd_transfer *t)
{
    return container_of(t->conn, struct memory_conn, base);
}

/* registry.lock is held, here and below until "loop thread". */
static void wake(struct memory_channel *c)
{
    if (c->posted)
        return;
    c->posted = true;
    mailbox_post(c->mailbox, &c->letter);
}

static void finish(struct pd_transfer *t, int error)
{
    struct memory_channel *c = channel_of(conn_of(t));

    list_remove(&t->link);
    t->finished = true;
    t->error = error;
    list_push_back(&c->finished, &t->link);
    wake(c);
}

static void meet(struct pd_transfer *send, struct pd_transfer *recv)
{
    bool fits = send->size == recv->size;

    if (fits && send->size)
        memcpy(recv->to, send->from, send->size);
    finish(recv, fits ? 0 : -EMSGSIZE);
}

static struct pd_transfer *find_posted(struct memory_conn *c, uint64_t tag)
{
    struct list *node;

    list_for_each(node, &c->posted)
    {
        struct pd_transfer *t = list_entry(node, struct pd_transfer, link);

        if (t->tag == tag)
            return t;
    }
    return NULL;
}

static struct memory_conn *find_conn(uint64_t id)
{
    struct list *node;

    list_for_each(node, &registry.conns)
    {
        struct memory_conn *c = list_entry(node, struct memory_conn, link);

        if (c->id == id)
            return c;
    }
    return NULL;
}

static void send_message(struct pd_transfer *t, struct memory_conn *c)
{
    struct memory_conn *peer = c->peer ? find_conn(c->peer) : NULL;
    struct pd_transfer *recv = peer ? find_posted(peer, t->tag) : NULL;

    if (recv)
        meet(t, recv);
    finish(t, peer ? 0 : -ECONNRESET);
}

static void memory_start(struct pd_transfer *t)
{
    struct memory_conn *c = conn_of(t);

    LOCKED_SCOPE(&registry.lock);
    if (t->receiving)
        list_push_back(&c->posted, &t->link);
    else
        send_message(t, c);
}

static void memory_cancel(struct pd_transfer *t)
{
    LOCKED_SCOPE(&registry.lock);
    if (!t->finished)
        finish(t, -ECANCELED);
}

/* The peer of `c` is gone. */
static void lose(struct memory_conn *c)
{
    c->peer = 0;
    list_push_back(&channel_of(c)->lost, &c->lost);
    wake(channel_of(c));
}

/* Takes `c` out of the process, and what was outstanding into `left`. */
static void detach(struct memory_conn *c, struct list *left)
{
    struct list *node, *next;

    LOCKED_SCOPE(&registry.lock);
    list_remove(&c->link);
    list_remove(&c->lost);
    list_for_each(node, &registry.conns)
    {
        struct memory_conn *other = list_entry(node, struct memory_conn, link);

        if (other->peer == c->id)
            lose(other);
    }
    list_splice(left, &c->posted);
    list_for_each_safe(node, next, &channel_of(c)->finished)
    {
        if (list_entry(node, struct pd_transfer, link)->conn == &c->base) {
            list_remove(node);
            list_push_back(left, node);
        }
    }
}

/* Loop thread. */
static void memory_close(struct pd_conn *conn)
{
    struct memory_conn *c = container_of(conn, struct memory_conn, base);
    struct list left, *node;

    list_init(&left);
    detach(c, &left);
    free(c);
    while ((node = list_pop_front(&left)))
        pd_transfer_done(list_entry(node, struct pd_transfer, link), -ECONNRESET);
}

static bool tell_finished(struct memory_channel *c)
{
    struct list *node;

    lock(&registry.lock);
    node = list_pop_front(&c->finished);
    unlock(&registry.lock);
    if (node) {
        struct pd_transfer *t = list_entry(node, struct pd_transfer, link);

        pd_transfer_done(t, t->error);
    }
    return node;
}

static bool tell_lost(struct memory_channel *c)
{
    struct list *node;

    lock(&registry.lock);
    node = list_pop_front(&c->lost);
    unlock(&registry.lock);
    if (node) {
        struct memory_conn *conn = list_entry(node, struct memory_conn, lost);

        conn->base.ops->failed(conn->base.arg, -ECONNRESET);
    }
    return node;
}

static void tell(struct letter *letter)
{
    struct memory_channel *c = container_of(letter, struct memory_channel, letter);

    lock(&registry.lock);
    c->posted = false;
    unlock(&registry.lock);
    while (tell_finished(c))
        continue;
    while (tell_lost(c))
        continue;
}

static int memory_open(struct pd_channel *channel, struct pd_conn **out)
{
    struct memory_conn *c = calloc(1, sizeof *c);
    int rc;

    if (!c)
        return -ENOMEM;
    c->base.channel = channel;
    list_init(&c->lost);
    list_init(&c->posted);
    LOCKED_SCOPE(&registry.lock);
    c->id = ++registry.last_id;
    rc = pd_conn_seal(&c->base, &c->id, sizeof c->id);
    if (rc) {
        free(c);
        return rc;
    }
    list_push_back(&registry.conns, &c->link);
    *out = &c->base;
    return 0;
}

static int memory_connect(struct pd_conn *conn, const void *address, size_t len)
{
    struct memory_conn *c = container_of(conn, struct memory_conn, base);
    uint64_t id;

    if (len != sizeof id)
        return -EINVAL;
    memcpy(&id, address, sizeof id);
    LOCKED_SCOPE(&registry.lock);
    if (!find_conn(id))
        return -ECONNREFUSED;
    c->peer = id;
    return 0;
}

static void memory_destroy(struct pd_channel *channel)
{
    struct memory_channel *c = container_of(channel, struct memory_channel, base);

    mailbox_destroy(c->mailbox);
    free(c);
}

static const struct pd_channel_impl memory_impl = {
    .destroy = memory_destroy,
    .open = memory_open,
    .connect = memory_connect,
    .close = memory_close,
    .start = memory_start,
    .cancel = memory_cancel,
};

int pd_memory_create(struct loop *loop, struct pd_channel **out)
{
    struct memory_channel *c = calloc(1, sizeof *c);
    int rc;

    if (!c)
        return -ENOMEM;
    rc = mailbox_create(loop, &c->mailbox);
    if (rc) {
        free(c);
        return rc;
    }
    c->base.impl = &memory_impl;
    c->base.kind = KIND_MEMORY;
    c->base.loop = loop;
    c->letter.run = tell;
    list_init(&c->letter.link);
    list_init(&c->finished);
    list_init(&c->lost);
    *out = &c->base;
    return 0;
}
