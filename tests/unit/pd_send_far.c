/* pd_send_far.c - the receivers of pd_send_fixture.h. All on the rig's loop thread. */
#include <stdio.h>

#include "checksum.h"
#include "pd_send_fixture.h"

#define BIT(type) (1U << (type))

/* --- a far end --- */

static void far_send(struct far *f, const struct pd_envelope *to, struct pd_message *m)
{
    struct text out = {0};

    if (f->orders.spoil)
        f->orders.spoil(f, m);
    pd_encode(m, &out);
    ck_assert(!out.failed);
    pd_server_reply(m->type == PD_HELLO_REPLY ? f->init : f->alloc, to, out.data, out.len);
    text_fini(&out);
}

static struct far_key *far_find(struct far *f, struct pd_bytes key)
{
    for (size_t i = f->nkeys; i-- > 0;) {
        struct far_key *k = f->keys[i];

        if (strlen(k->key) == key.len && !memcmp(k->key, key.data, key.len))
            return k;
    }
    return NULL;
}

static void answer_commit(struct far *f)
{
    int64_t errors[FAR_KEYS];
    struct pd_message m = {.type = PD_COMMIT_REPLY, .seq = f->commit_seq, .errors.v = errors};

    if (!f->commit_id)
        return;
    for (size_t i = 0; i < f->nkeys; i++) {
        struct far_key *k = f->keys[i];

        if (k->alloc_id != f->commit_id)
            continue;
        if (k->receiving)
            return;
        k->published = k->arrived && !k->cancelled && checksum(0, k->data, k->size) == k->crc32c;
        errors[m.errors.n++] = k->published ? 0 : k->cancelled ? ECANCELED : EBADMSG;
    }
    f->commit_id = 0;
    far_send(f, &f->commit_from, &m);
}

/* Of a message: the key that it begins with comes right before its fellows. */
static size_t index_of(const struct far_key *k)
{
    size_t i = 0;

    while (k->far->keys[i] != k)
        i++;
    return i;
}

static void arrived(struct pd_transfer *t, int error)
{
    struct far_key *first = container_of(t, struct far_key, transfer);
    struct far *f = first->far;
    const char *from = first->message;

    f->messages += !error;
    for (size_t i = 0, at = index_of(first); i <= first->follow; i++) {
        struct far_key *k = f->keys[at + i];

        k->receiving = false;
        k->arrived = error == 0;
        memcpy(k->data, from, k->size);
        from += k->size;
    }
    answer_commit(f);
    rig_notify(f->rig);
}

static void add_key(struct far *f, const struct pd_message *m, size_t i)
{
    struct far_key *k = calloc(1, sizeof(*k));

    ck_assert(k && f->nkeys < FAR_KEYS);
    k->far = f;
    k->key = strndup(m->keys.v[i].data, m->keys.v[i].len);
    k->size = (uint64_t)m->sizes.v[i];
    k->data = calloc(1, MAX(k->size, 1));
    k->crc32c = (uint32_t)m->crcs.v[i];
    k->alloc_id = f->last_alloc;
    k->tag = 1000 + f->nkeys;
    k->transfer.done = arrived;
    k->arrived = !k->size;
    f->keys[f->nkeys++] = k;
}

static bool may_join(const struct far_key *k)
{
    return k->far->orders.pack && k->size && k->size <= PD_PACK_KEY;
}

/* Receives the message that begins with key i. Gives where the next one does. */
static size_t post(struct far *f, size_t i)
{
    struct far_key *first = f->keys[i];
    uint64_t size = first->size;
    size_t end = i + 1;

    for (; may_join(first) && end < f->nkeys && may_join(f->keys[end]); end++) {
        f->keys[end]->tag = first->tag;
        f->keys[end]->receiving = !f->orders.deaf;
        size += f->keys[end]->size;
    }
    first->follow = end - i - 1;
    if (f->orders.deaf || !size)
        return end;
    first->receiving = true;
    first->message = malloc(size);
    pd_conn_recv(f->conn, &first->transfer, first->tag, first->message, size);
    return end;
}

static void on_alloc(struct far *f, const struct pd_envelope *from, const struct pd_message *m)
{
    int64_t present[FAR_KEYS], tags[FAR_KEYS];
    struct pd_message reply = {.type = PD_ALLOC_RESPONSE,
                               .async = true,
                               .seq = m->seq,
                               .already_sent_indexes.v = present,
                               .tags.v = tags};

    size_t first = f->nkeys;

    f->asked_keys += m->keys.n;
    reply.error = !f->conn ? ENOTCONN : f->orders.refuse;
    if (f->orders.refuse_above && m->keys.n > f->orders.refuse_above)
        reply.error = EFBIG;
    reply.alloc_id = reply.error ? 0 : ++f->last_alloc;
    for (size_t i = 0; !reply.error && i < m->keys.n; i++) {
        struct far_key *k = far_find(f, m->keys.v[i]);

        if (k && k->published && k->crc32c == m->crcs.v[i]) {
            present[reply.already_sent_indexes.n++] = (int64_t)i;
            continue;
        }
        add_key(f, m, i);
    }
    for (size_t i = first; i < f->nkeys;)
        i = post(f, i);
    for (size_t i = first; i < f->nkeys; i++)
        tags[reply.tags.n++] = (int64_t)f->keys[i]->tag;
    far_send(f, from, &reply);
}

static void on_cancel(struct far *f, const struct pd_envelope *from, const struct pd_message *m)
{
    struct pd_message reply = {.type = PD_ALLOC_RESPONSE, .async = true, .seq = m->seq};

    f->cancelled_keys += m->keys.n;
    for (size_t i = 0; i < m->keys.n; i++) {
        struct far_key *k = far_find(f, m->keys.v[i]);

        if (!k || k->alloc_id != m->alloc_id)
            continue;
        k->cancelled = true;
        if (k->receiving && !k->follow)
            pd_transfer_cancel(&k->transfer);
    }
    far_send(f, from, &reply);
}

static void on_commit(struct far *f, const struct pd_envelope *from, const struct pd_message *m)
{
    f->commit_from = *from;
    f->commit_seq = m->seq;
    f->commit_id = m->alloc_id;
    answer_commit(f);
}

static void on_done(struct far *f, const struct pd_envelope *from, const struct pd_message *m)
{
    struct pd_message reply = {.type = PD_DONE_REPLY, .seq = m->seq};

    snprintf(f->done, sizeof(f->done), "%.*s", (int)m->req_id.len, m->req_id.data);
    f->done_run = m->run;
    far_send(f, from, &reply);
}

static void on_hello(struct far *f, const struct pd_envelope *from, const struct pd_message *m)
{
    static const struct pd_conn_ops ops = {.failed = NULL};
    struct pd_message reply = {
        .type = PD_HELLO_REPLY, .version = PD_VERSION, .epoch = m->epoch, .limit = f->orders.limit};

    pd_conn_close(f->conn);
    f->conn = NULL;
    ck_assert_int_eq(pd_conn_create(f->rig->channel, &ops, f, &f->conn), 0);
    reply.run = f->run;
    reply.address.data = pd_conn_address(f->conn, &reply.address.len);
    far_send(f, from, &reply);
}

static void dispatch(struct far *f, const struct pd_envelope *from, const struct pd_message *m)
{
    switch (m->type) {
    case PD_HELLO: on_hello(f, from, m); break;
    case PD_ALLOC_REQUEST: on_alloc(f, from, m); break;
    case PD_CANCEL_NOTIF: on_cancel(f, from, m); break;
    case PD_COMMIT: on_commit(f, from, m); break;
    case PD_DONE: on_done(f, from, m); break;
    default: ck_abort_msg("unexpected %s", pd_type_name(m->type));
    }
}

static void keep(struct far *f, const struct pd_envelope *from, const void *data, size_t len)
{
    struct held *h = &f->held[f->nheld++];

    ck_assert(f->nheld <= ARRAY_SIZE(f->held));
    *h = (struct held){.from = *from, .data = malloc(len), .len = len};
    memcpy(h->data, data, len);
}

static void request(void *arg, const struct pd_envelope *from, const void *data, size_t len)
{
    struct far *f = arg;
    struct pd_message *m;
    const char *why;

    ck_assert_int_eq(pd_decode(data, len, &m, &why), 0);
    f->count[m->type]++;
    if (f->orders.hold & BIT(m->type))
        keep(f, from, data, len);
    else if (!(f->orders.mute & BIT(m->type)))
        dispatch(f, from, m);
    pd_message_free(m);
    rig_notify(f->rig);
}

bool far_bind(struct far *f)
{
    if (!f->init && pd_server_create(f->rig->ctl, "127.0.0.1", f->init_port, request, f, &f->init))
        return false;
    if (!f->alloc &&
        pd_server_create(f->rig->ctl, "127.0.0.1", f->alloc_port, request, f, &f->alloc))
        return false;
    f->init_port = pd_server_port(f->init);
    f->alloc_port = pd_server_port(f->alloc);
    return true;
}

static void close_far(void *arg)
{
    struct far *f = arg;

    pd_conn_close(f->conn);
    f->conn = NULL;
    if (f->init)
        pd_server_destroy(f->init);
    if (f->alloc)
        pd_server_destroy(f->alloc);
    f->init = f->alloc = NULL;
    f->commit_id = 0;
}

static void cut(void *arg)
{
    struct far *f = arg;

    pd_conn_close(f->conn);
    f->conn = NULL;
}

void far_cut(struct far *f)
{
    rig_call(f->rig, cut, f);
}

static void release(void *arg)
{
    struct far *f = arg;
    size_t n = f->nheld;

    f->orders = (struct orders){.pack = f->orders.pack};
    rig_hold_data(f->rig, false);
    f->nheld = 0;
    for (size_t i = 0; i < n; i++) {
        request(f, &f->held[i].from, f->held[i].data, f->held[i].len);
        free(f->held[i].data);
    }
}

struct order {
    struct far *far;
    struct orders orders;
};

static void order(void *arg)
{
    struct order *o = arg;

    o->far->orders = o->orders;
    rig_hold_data(o->far->rig, o->orders.hold_data);
}

void far_order(struct far *f, struct orders orders)
{
    rig_call(f->rig, order, &(struct order){f, orders});
}

void far_release(struct far *f)
{
    rig_call(f->rig, release, f);
}

void far_kill(struct far *f)
{
    rig_call(f->rig, close_far, f);
}

static bool try_bind(void *arg)
{
    return far_bind(arg);
}

void far_restart(struct far *f)
{
    far_kill(f);
    rig_wait(f->rig, try_bind, f); /* the old socket lets go of the port in its own time */
}

bool far_has(struct far *f, const struct push *p, size_t i)
{
    struct pd_bytes key = {p->keys[i], strlen(p->keys[i])};
    struct far_key *k = far_find(f, key);
    uint64_t size = p->bufs[i].size;
    AUTO_FREE char *data = malloc(MAX(size, 1));

    if (!k || !k->published || k->size != size)
        return false;
    ck_assert_int_eq(pread(p->bufs[i].fd, data, size, 0), (ssize_t)size);
    return !memcmp(k->data, data, size);
}

void far_free(struct far *f)
{
    for (size_t i = 0; i < f->nheld; i++)
        free(f->held[i].data);
    for (size_t i = 0; i < f->nkeys; i++) {
        free(f->keys[i]->key);
        free(f->keys[i]->data);
        free(f->keys[i]->message);
        free(f->keys[i]);
    }
}
