/* pd_send_answer.c - what a batch asks its receiver, and what it makes of the answers.
 *
 * An answer is checked whole before anything of it is used; one that does not fit the question fails
 * the keys with -EPROTO.
 */
#include "clock.h"
#include "pd_send_impl.h"

#define FORMAT_BINARY 4 /* MemoryFormat of LMCache */

static struct pd_bytes bytes_of(const char *s)
{
    return (struct pd_bytes){s, strlen(s)};
}

/* --- questions --- */

/* The lists of an AllocRequest, in one block. */
struct columns {
    struct pd_bytes *keys;
    int64_t *sizes, *crcs, *modes, *uids, *gids, *mtimes;
};

static void *columns_alloc(struct columns *c, size_t n)
{
    struct pd_bytes *block = calloc(n, sizeof(struct pd_bytes) + 6 * sizeof(int64_t));

    if (!block)
        return NULL;
    c->keys = block;
    c->sizes = (int64_t *)(block + n);
    c->crcs = c->sizes + n;
    c->modes = c->crcs + n;
    c->uids = c->modes + n;
    c->gids = c->uids + n;
    c->mtimes = c->gids + n;
    return block;
}

static void columns_fill(struct columns *c, size_t i, const struct send_key *k)
{
    const struct l2_attr *attr = &k->buf->attr;

    c->keys[i] = bytes_of(k->key);
    c->sizes[i] = (int64_t)k->buf->size;
    c->crcs[i] = k->crc32c;
    c->modes[i] = attr->mode;
    c->uids[i] = attr->uid;
    c->gids[i] = attr->gid;
    c->mtimes[i] = (int64_t)attr->mtime.tv_sec * (int64_t)NSEC_PER_SEC + attr->mtime.tv_nsec;
}

static void granted(struct send_ask *ask, const struct pd_message *m);

int send_batch_ask_room(struct send_batch *b)
{
    struct send_peer *p = b->peer;
    struct columns c;
    AUTO_FREE void *block = columns_alloc(&c, b->n);
    struct pd_message m = {.type = PD_ALLOC_REQUEST, .async = true};

    if (!block)
        return -ENOMEM;
    b->nasked = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->keys[i].error != SEND_OPEN)
            continue;
        columns_fill(&c, b->nasked, &b->keys[i]);
        b->asked[b->nasked++] = &b->keys[i];
    }
    m.keys = (struct pd_strings){c.keys, b->nasked};
    m.fmt = FORMAT_BINARY;
    m.shape = (struct pd_ints){c.sizes, 1};
    m.dtype = bytes_of("uint8");
    m.last_chunk_toks = c.sizes[b->nasked - 1];
    m.total_chunks = (int64_t)b->nasked;
    m.req_id = bytes_of(send_batch_request(b));
    m.sizes = (struct pd_ints){c.sizes, b->nasked};
    m.crcs = (struct pd_ints){c.crcs, b->nasked};
    m.modes = (struct pd_ints){c.modes, b->nasked};
    m.uids = (struct pd_ints){c.uids, b->nasked};
    m.gids = (struct pd_ints){c.gids, b->nasked};
    m.mtimes = (struct pd_ints){c.mtimes, b->nasked};
    m.epoch = (int64_t)p->epoch;
    m.packs = true;
    b->ask.answer = granted;
    return send_peer_ask(p, &b->ask, &m);
}

static void landed(struct send_ask *ask, const struct pd_message *m);

int send_batch_ask_commit(struct send_batch *b)
{
    AUTO_FREE int64_t *crcs = calloc(b->nasked, sizeof(*crcs));
    struct pd_message m = {.type = PD_COMMIT, .alloc_id = b->alloc_id, .crcs.v = crcs};

    if (!crcs)
        return -ENOMEM;
    for (size_t i = 0; i < b->nasked; i++)
        crcs[m.crcs.n++] = b->asked[i]->crc32c;
    b->ask.answer = landed;
    return send_peer_ask(b->peer, &b->ask, &m);
}

static bool to_release(const struct send_batch *b, const struct send_key *k)
{
    return b->state == BATCH_ALLOC || (k->error < 0 && !k->released && !k->sending);
}

/* Nobody waits for the answer; what is lost on the way the lease gives back. */
void send_batch_release(struct send_batch *b, struct send_key *k)
{
    AUTO_FREE struct pd_bytes *keys = calloc(b->n, sizeof(*keys));
    struct pd_message m = {.type = PD_CANCEL_NOTIF, .alloc_id = b->alloc_id};
    size_t n = 0;

    if (!keys)
        return;
    for (size_t i = 0; i < b->nasked; i++) {
        if ((k && b->asked[i] != k) || !to_release(b, b->asked[i]))
            continue;
        keys[n++] = bytes_of(b->asked[i]->key);
        b->asked[i]->released = b->state != BATCH_ALLOC;
    }
    if (!n)
        return;
    m.req_id = bytes_of(send_batch_request(b));
    m.keys = (struct pd_strings){keys, n};
    m.seq = b->state == BATCH_ALLOC ? b->ask.seq : 0;
    (void)send_peer_ask(b->peer, NULL, &m);
}

/* --- answers --- */

/* Which keys are there already; false: the answer does not fit. */
static bool present_of(const struct send_batch *b, const struct pd_message *m, bool *present)
{
    for (size_t i = 0; i < m->already_sent_indexes.n; i++) {
        uint64_t at = (uint64_t)m->already_sent_indexes.v[i];

        if (at >= b->nasked || present[at])
            return false;
        present[at] = true;
    }
    return m->tags.n == b->nasked - m->already_sent_indexes.n && (!m->tags.n || m->alloc_id) &&
           send_packs_fit(b, &m->tags, present);
}

/* From here on only the keys with a tag are asked for. */
static void take_grant(struct send_batch *b, const struct pd_message *m, const bool *present)
{
    size_t n = 0;

    b->alloc_id = m->alloc_id;
    for (size_t i = 0; i < b->nasked; i++) {
        struct send_key *k = b->asked[i];

        if (present[i]) {
            send_key_settle(k, 0);
            continue;
        }
        k->granted = true;
        k->tag = (uint64_t)m->tags.v[n];
        b->asked[n++] = k;
    }
    b->nasked = n;
}

static void wrong_answer(struct send_batch *b, const struct pd_message *m)
{
    if (b->open)
        send_peer_quote(b->peer, "gave an answer that does not fit the question", m);
    send_batch_end(b, -EPROTO);
}

/* Errors that one key may have and its fellows not, or all of them together only. */
static bool parts_may_do(int error)
{
    switch (error) {
    case -EFBIG:
    case -EDQUOT:
    case -EINVAL:
    case -EBUSY:
    case -EISDIR:
    case -ENOTDIR:
    case -ENAMETOOLONG: return true;
    default: return false;
    }
}

static void refused(struct send_batch *b, const struct pd_message *m)
{
    int error = send_peer_errno(m->error);

    if (m->error == ENOTCONN) {
        send_peer_lost(b->peer, -ECONNRESET);
        return;
    }
    if (b->state == BATCH_ALLOC && b->n > 1 && parts_may_do(error) && !send_batch_again(b))
        return;
    if (b->open)
        send_peer_quote(b->peer, b->state == BATCH_ALLOC ? "gives no room" : "does not publish", m);
    send_batch_end(b, error);
}

static void granted(struct send_ask *ask, const struct pd_message *m)
{
    struct send_batch *b = container_of(ask, struct send_batch, ask);
    AUTO_FREE bool *present = calloc(b->nasked, sizeof(*present));

    send_peer_unask(b->peer, ask);
    if (!present) {
        send_batch_end(b, -ENOMEM);
    } else if (m->type == PD_ALLOC_RESPONSE && m->error) {
        refused(b, m);
    } else if (m->type != PD_ALLOC_RESPONSE || !present_of(b, m, present)) {
        wrong_answer(b, m);
    } else {
        take_grant(b, m, present);
        send_batch_data(b);
    }
}

static void landed(struct send_ask *ask, const struct pd_message *m)
{
    struct send_batch *b = container_of(ask, struct send_batch, ask);
    bool some = false, failed = false;

    send_peer_unask(b->peer, ask);
    if (m->type == PD_COMMIT_REPLY && m->error) {
        refused(b, m);
        return;
    }
    if (m->type != PD_COMMIT_REPLY || m->errors.n != b->nasked) {
        wrong_answer(b, m);
        return;
    }
    for (size_t i = 0; i < b->nasked; i++) {
        struct send_key *k = b->asked[i];
        int64_t error = m->errors.v[i];

        if (k->error != SEND_OPEN)
            continue;
        some |= !error;
        failed |= error && !k->cancelled;
        send_key_settle(k, error && k->cancelled ? -ECANCELED : send_peer_errno(error));
    }
    if (some)
        send_peer_works(b->peer);
    if (failed)
        send_peer_quote(b->peer, "could not take some keys", m);
    send_batch_end(b, -EPROTO);
}
