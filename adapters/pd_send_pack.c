/* pd_send_pack.c - small keys to which the receiver gave one tag go in one message.
 *
 * Its length is that of what was granted, whatever became of the keys meanwhile, since the receive
 * waits for exactly that. What is of no use any more is sent as zeros, and released afterwards.
 */
#include "pd_send_impl.h"

struct send_pack {
    struct pd_transfer transfer;
    struct send_batch *batch;
    struct send_key **keys; /* in batch->asked */
    size_t n;
    uint64_t size;
    char data[];
};

size_t send_pack_count(const struct send_batch *b, size_t first)
{
    size_t n = 1;

    while (first + n < b->nasked && b->asked[first + n]->tag == b->asked[first]->tag)
        n++;
    return n;
}

bool send_packs_fit(const struct send_batch *b, const struct pd_ints *tags, const bool *present)
{
    uint64_t before = 0, sum = 0;
    size_t at = 0;

    for (size_t i = 0; i < b->nasked; i++) {
        uint64_t size = b->asked[i]->buf->size;
        bool joins;

        if (present[i])
            continue;
        joins = at && tags->v[at] == tags->v[at - 1];
        sum = size + (joins ? sum : 0);
        if (joins && (!before || !size || MAX(before, size) > PD_PACK_KEY || sum > PD_PACK_MAX))
            return false;
        before = size;
        at++;
    }
    return true;
}

static void ended(struct pd_transfer *t, int error)
{
    struct send_pack *p = container_of(t, struct send_pack, transfer);
    struct send_batch *b = p->batch;

    b->sending--;
    for (size_t i = 0; i < p->n; i++)
        send_key_sent(p->keys[i], error);
    free(p);
    send_batch_sent(b);
}

static struct send_pack *pack_new(struct send_batch *b, size_t first, size_t n)
{
    struct send_pack *p;
    uint64_t size = 0;

    for (size_t i = 0; i < n; i++)
        size += b->asked[first + i]->buf->size;
    p = malloc(sizeof(*p) + size);
    if (!p)
        return NULL;
    *p = (struct send_pack){
        .transfer.done = ended, .batch = b, .keys = b->asked + first, .n = n, .size = size};
    return p;
}

/* What was copied early is what its checksum is of. */
static void fill(struct send_key *k, char *to)
{
    int err = 0;

    if (k->error == SEND_OPEN && k->data)
        memcpy(to, k->data, k->buf->size);
    else if (k->error == SEND_OPEN)
        err = send_key_read(k, to);
    send_key_drop(k);
    if (err)
        send_key_settle(k, err);
    if (k->error != SEND_OPEN)
        memset(to, 0, k->buf->size);
}

/* Whether any key still wants it. */
static bool fill_all(struct send_pack *p)
{
    char *to = p->data;
    bool wanted = false;

    for (size_t i = 0; i < p->n; i++) {
        fill(p->keys[i], to);
        wanted |= p->keys[i]->error == SEND_OPEN;
        to += p->keys[i]->buf->size;
    }
    return wanted;
}

void send_pack_start(struct send_batch *b, size_t first, size_t n)
{
    struct send_pack *p = pack_new(b, first, n);

    for (size_t i = 0; !p && i < n; i++)
        send_key_settle(b->asked[first + i], -ENOMEM);
    if (!p || !fill_all(p)) {
        free(p);
        return;
    }
    for (size_t i = 0; i < n; i++)
        p->keys[i]->sending = true;
    b->sending++;
    pd_conn_send(b->peer->conn, &p->transfer, p->keys[0]->tag, p->data, p->size);
}
