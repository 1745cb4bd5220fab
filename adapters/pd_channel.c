/* pd_channel.c - which implementation, and the envelope of an address.
 *
 * UCX cannot check the address that it is given (ucp_ep_create is not told its length, and trusts
 * it), so what travels has an envelope: what is cut, mixed up or damaged on the way is refused here.
 * A peer that forges the checksum as well is not: the control channel says who may be a peer.
 */
#include "pd_channel_impl.h"

#include <endian.h>

#include "checksum.h"
#include "log.h"

#define ENVELOPE_MAGIC 0x6c326631 /* "l2f1": changes with the layout */
#define ADDRESS_MAX (16 * KIB)

struct envelope {
    uint32_t magic;
    uint32_t kind;
    uint32_t len;
    uint32_t crc32c; /* of what follows, begun with that of what is before */
};

static uint32_t envelope_crc(const struct envelope *e, const void *address, size_t len)
{
    return checksum(checksum(0, e, offsetof(struct envelope, crc32c)), address, len);
}

int pd_conn_seal(struct pd_conn *conn, const void *address, size_t len)
{
    struct envelope e = {.magic = htole32(ENVELOPE_MAGIC),
                         .kind = htole32(conn->channel->kind),
                         .len = htole32((uint32_t)len)};
    char *sealed;

    if (len > ADDRESS_MAX)
        return -EMSGSIZE;
    sealed = malloc(sizeof e + len);
    if (!sealed)
        return -ENOMEM;
    e.crc32c = htole32(envelope_crc(&e, address, len));
    memcpy(sealed, &e, sizeof e);
    memcpy(sealed + sizeof e, address, len);
    conn->address = sealed;
    conn->address_len = sizeof e + len;
    return 0;
}

/* 0, -EINVAL, or -EPROTONOSUPPORT: what is inside is of another kind. */
static int envelope_check(uint32_t kind, const void *sealed, size_t len)
{
    struct envelope e;
    const char *address = (const char *)sealed + sizeof e;

    if (len < sizeof e || len - sizeof e > ADDRESS_MAX)
        return -EINVAL;
    memcpy(&e, sealed, sizeof e);
    if (le32toh(e.magic) != ENVELOPE_MAGIC || le32toh(e.len) != len - sizeof e ||
        le32toh(e.crc32c) != envelope_crc(&e, address, len - sizeof e))
        return -EINVAL;
    return le32toh(e.kind) == kind ? 0 : -EPROTONOSUPPORT;
}

int pd_channel_create(struct loop *loop, bool ucx, const struct pd_channel_config *cfg,
                      struct pd_channel **out)
{
    if (ucx)
        return pd_ucx_create(loop, cfg, out);
    if (!cfg->cuda)
        return pd_memory_create(loop, out);
    log_err("pd: transfer_channel=mock_memory has no memory of a GPU; use buffer_device=cpu");
    return -ENODEV;
}

void pd_channel_destroy(struct pd_channel *c)
{
    if (c)
        c->impl->destroy(c);
}

int pd_conn_create(struct pd_channel *c, const struct pd_conn_ops *ops, void *arg,
                   struct pd_conn **out)
{
    struct pd_conn *conn;
    int rc = c->impl->open(c, &conn);

    if (rc)
        return rc;
    conn->ops = ops;
    conn->arg = arg;
    *out = conn;
    return 0;
}

const void *pd_conn_address(struct pd_conn *c, size_t *len)
{
    *len = c->address_len;
    return c->address;
}

int pd_conn_connect(struct pd_conn *c, const void *address, size_t len)
{
    const struct pd_channel *ch = c->channel;
    int rc = envelope_check(ch->kind, address, len);

    if (rc == -EPROTONOSUPPORT)
        log_warn("pd: the peer has another transfer_channel or release of UCX; both need the same");
    if (rc)
        return rc;
    if (c->connected)
        return -EISCONN;
    rc = ch->impl->connect(c, (const char *)address + sizeof(struct envelope),
                           len - sizeof(struct envelope));
    c->connected = rc == 0;
    return rc;
}

void pd_conn_close(struct pd_conn *c)
{
    void *address;

    if (!c)
        return;
    address = c->address;
    c->channel->impl->close(c);
    free(address);
}

static void start(struct pd_conn *c, struct pd_transfer *t, uint64_t tag, uint64_t size)
{
    list_init(&t->link);
    t->conn = c;
    t->request = NULL;
    t->tag = tag;
    t->size = size;
    t->finished = false;
    t->error = 0;
    c->channel->impl->start(t);
}

void pd_conn_send(struct pd_conn *c, struct pd_transfer *t, uint64_t tag, const void *buf,
                  uint64_t size)
{
    t->from = buf;
    t->receiving = false;
    start(c, t, tag, size);
}

void pd_conn_recv(struct pd_conn *c, struct pd_transfer *t, uint64_t tag, void *buf, uint64_t size)
{
    t->to = buf;
    t->receiving = true;
    start(c, t, tag, size);
}

void pd_transfer_cancel(struct pd_transfer *t)
{
    if (t->conn)
        t->conn->channel->impl->cancel(t);
}
