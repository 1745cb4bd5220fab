/* recv_sender.c - scripted senders: sockets and connection are touched on the end's loop alone. */
#include <stdio.h>

#include "clock.h"
#include "pd_recv_impl.h"
#include "recv_fixture.h"

#define WAIT (30 * NSEC_PER_SEC)

static void took(void *arg, const void *data, size_t len)
{
    struct sender *s = arg;
    struct answer *a = calloc(1, sizeof *a);
    const char *why = "";

    a->data = malloc(len + 1);
    memcpy(a->data, data, len);
    ck_assert_msg(!pd_decode(a->data, len, &a->m, &why), "an answer is garbage: %s", why);
    LOCKED_SCOPE(&s->lock);
    list_push_back(&s->answers, &a->link);
    pthread_cond_broadcast(&s->changed);
}

static void connected(void *arg, bool yes)
{
    struct sender *s = arg;

    LOCKED_SCOPE(&s->lock);
    s->connected += yes ? 1 : -1;
    pthread_cond_broadcast(&s->changed);
}

static const struct pd_client_ops client_ops = {.reply = took, .connected = connected};

static void open_sockets(void *arg)
{
    struct sender *s = arg;
    const struct recv_rank *rank = &s->rig->recv->ranks[s->rank];

    ck_assert_int_eq(pd_ctl_create(s->end.loop, &(struct pd_curve){0}, &s->ctl), 0);
    ck_assert_int_eq(
        pd_client_create(s->ctl, "127.0.0.1", pd_server_port(rank->init), &client_ops, s, &s->init),
        0);
    ck_assert_int_eq(pd_client_create(s->ctl, "127.0.0.1", pd_server_port(rank->alloc), &client_ops,
                                      s, &s->alloc),
                     0);
}

void sender_open(struct sender *s, struct recv_rig *g, const char *name, size_t rank)
{
    uint64_t until = clock_deadline(WAIT);

    *s = (struct sender){.rig = g, .name = name, .rank = rank};
    lock_init(&s->lock);
    cond_init(&s->changed);
    list_init(&s->answers);
    end_open(&s->end, g->ucx);
    end_call(&s->end, open_sockets, s);
    LOCKED_SCOPE(&s->lock);
    while (s->connected < 2)
        ck_assert_int_ne(cond_wait_until(&s->changed, &s->lock, until), -ETIMEDOUT);
}

static void close_sockets(void *arg)
{
    struct sender *s = arg;

    pd_client_destroy(s->init);
    pd_client_destroy(s->alloc);
    pd_ctl_destroy(s->ctl);
}

void sender_close(struct sender *s)
{
    end_call(&s->end, close_sockets, s);
    end_close(&s->end);
    while (!list_empty(&s->answers))
        answer_free(list_entry(s->answers.next, struct answer, link));
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

void answer_free(struct answer *a)
{
    list_remove(&a->link);
    pd_message_free(a->m);
    free(a->data);
    free(a);
}

struct sending {
    struct pd_client *client;
    const void *data;
    size_t len;
};

static void send_call(void *arg)
{
    const struct sending *q = arg;

    ck_assert_int_eq(pd_client_send(q->client, q->data, q->len), 0);
}

void sender_post_bytes(struct sender *s, bool init, const void *data, size_t len)
{
    end_call(&s->end, send_call, &(struct sending){init ? s->init : s->alloc, data, len});
}

int64_t sender_post(struct sender *s, struct pd_message *m)
{
    struct text out = {0};

    if (!m->seq)
        m->seq = ++s->seq;
    pd_encode(m, &out);
    ck_assert(!out.failed);
    sender_post_bytes(s, m->type == PD_HELLO || m->type == PD_NIXL_INIT_REQUEST, out.data, out.len);
    text_fini(&out);
    return m->seq;
}

static struct answer *take(struct sender *s, int64_t seq)
{
    struct list *node;

    list_for_each(node, &s->answers)
    {
        struct answer *a = list_entry(node, struct answer, link);

        if (a->m->seq == seq) {
            list_remove(&a->link);
            return a;
        }
    }
    return NULL;
}

struct answer *sender_wait(struct sender *s, int64_t seq)
{
    uint64_t until = clock_deadline(WAIT);
    struct answer *a;

    LOCKED_SCOPE(&s->lock);
    while (!(a = take(s, seq)))
        ck_assert_int_ne(cond_wait_until(&s->changed, &s->lock, until), -ETIMEDOUT);
    return a;
}

bool sender_answered(struct sender *s, int64_t seq)
{
    struct answer *a;

    LOCKED_SCOPE(&s->lock);
    a = take(s, seq);
    if (a)
        list_push_front(&s->answers, &a->link);
    return a;
}

struct answer *sender_ask(struct sender *s, struct pd_message *m)
{
    return sender_wait(s, sender_post(s, m));
}

int sender_hello(struct sender *s)
{
    struct pd_message m = {.type = PD_HELLO,
                           .version = PD_VERSION,
                           .epoch = ++s->epoch,
                           .sender = {s->name, strlen(s->name)},
                           .rank = (int64_t)s->rank};
    struct answer *a;
    int error;

    m.address.data = pd_conn_address(s->end.conn, &m.address.len);
    a = sender_ask(s, &m);
    ck_assert_int_eq(a->m->type, PD_HELLO_REPLY);
    error = (int)a->m->error;
    if (!error) {
        ck_assert_int_eq(a->m->epoch, s->epoch);
        error = end_connect(&s->end, a->m->address.data, a->m->address.len);
        if (error == -EISCONN) /* an earlier Hello did */
            error = 0;
    }
    answer_free(a);
    return error;
}

/* --- parcels --- */

void parcel_init(struct parcel *p, const char *name, uint32_t seed, const uint64_t *sizes, size_t n)
{
    *p = (struct parcel){.n = n};
    for (size_t i = 0; i < n; i++) {
        snprintf(p->keys[i], sizeof p->keys[i], "%s%zu", name, i);
        p->names[i] = (struct pd_bytes){p->keys[i], strlen(p->keys[i])};
        p->sizes[i] = sizes[i];
        p->data[i] = pattern_new(sizes[i], seed + (uint32_t)i);
        p->v[0][i] = (int64_t)sizes[i];
        p->v[1][i] = checksum(0, p->data[i], sizes[i]);
        p->v[2][i] = 0100640;
        p->v[3][i] = 11;
        p->v[4][i] = 12;
        p->v[5][i] = 1700000000000000005;
    }
}

void parcel_fini(struct parcel *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->data[i]);
        free(p->together[i]);
    }
}

struct pd_message parcel_message(struct parcel *p, struct sender *s)
{
    return (struct pd_message){.type = PD_ALLOC_REQUEST,
                               .async = true,
                               .keys = {p->names, p->n},
                               .sizes = {p->v[0], p->n},
                               .crcs = {p->v[1], p->n},
                               .modes = {p->v[2], p->n},
                               .uids = {p->v[3], p->n},
                               .gids = {p->v[4], p->n},
                               .mtimes = {p->v[5], p->n},
                               .epoch = s->epoch,
                               .packs = p->packs,
                               .sender = {s->name, strlen(s->name)}};
}

void parcel_take(struct parcel *p, struct answer *a)
{
    const struct pd_message *m = a->m;

    ck_assert_int_eq(m->type, PD_ALLOC_RESPONSE);
    p->error = (int)m->error;
    p->id = m->alloc_id;
    p->ntags = 0;
    for (size_t i = 0; i < m->already_sent_indexes.n; i++)
        p->present[m->already_sent_indexes.v[i]] = true;
    for (size_t i = 0; !p->error && i < p->n; i++) {
        if (!p->present[i])
            p->tags[i] = m->tags.v[p->ntags++];
    }
    ck_assert_uint_eq(p->ntags, m->tags.n);
    answer_free(a);
}

void parcel_ask(struct parcel *p, struct sender *s)
{
    struct pd_message m = parcel_message(p, s);

    parcel_take(p, sender_ask(s, &m));
}

bool parcel_begins(const struct parcel *p, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (p->tags[j] == p->tags[i])
            return false;
    }
    return p->tags[i] && p->sizes[i];
}

/* The keys that have the tag of this one. */
static uint64_t put_together(struct parcel *p, size_t first)
{
    uint64_t size = 0;

    free(p->together[first]);
    p->together[first] = NULL;
    for (size_t i = first; i < p->n; i++) {
        if (p->tags[i] != p->tags[first])
            continue;
        p->together[first] = realloc(p->together[first], size + p->sizes[i]);
        memcpy(p->together[first] + size, p->data[i], p->sizes[i]);
        size += p->sizes[i];
    }
    return size;
}

void parcel_send(struct parcel *p, struct sender *s)
{
    for (size_t i = 0; i < p->n; i++) {
        uint64_t size;

        xfer_init(&p->xfers[i], &s->end);
        if (!parcel_begins(p, i))
            continue;
        size = put_together(p, i);
        xfer_send(&p->xfers[i], (uint64_t)p->tags[i], p->together[i], size);
    }
}

void parcel_sent(struct parcel *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (parcel_begins(p, i))
            ck_assert_int_eq(xfer_wait(&p->xfers[i]), 0);
    }
}

struct pd_message parcel_commit(struct parcel *p, struct sender *s)
{
    struct pd_message m = {
        .type = PD_COMMIT, .alloc_id = p->id, .sender = {s->name, strlen(s->name)}};

    m.crcs.v = p->crcs;
    for (size_t i = 0; i < p->n; i++) {
        if (p->tags[i])
            p->crcs[m.crcs.n++] = p->v[1][i];
    }
    return m;
}

void parcel_outcome(struct parcel *p, struct answer *a)
{
    size_t tag = 0;

    ck_assert_int_eq(a->m->type, PD_COMMIT_REPLY);
    p->error = (int)a->m->error;
    for (size_t i = 0; !p->error && i < p->n; i++)
        p->errors[i] = p->tags[i] ? (int)a->m->errors.v[tag++] : 0;
    ck_assert_uint_eq(tag, a->m->errors.n);
    answer_free(a);
}

void parcel_land(struct parcel *p, struct sender *s)
{
    struct pd_message m;

    parcel_ask(p, s);
    ck_assert_int_eq(p->error, 0);
    parcel_send(p, s);
    parcel_sent(p);
    m = parcel_commit(p, s);
    parcel_outcome(p, sender_ask(s, &m));
    ck_assert_int_eq(p->error, 0);
    for (size_t i = 0; i < p->n; i++)
        ck_assert_int_eq(p->errors[i], 0);
}
