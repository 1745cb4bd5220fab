/* pd_send_batch.c - the life of a batch: wait, alloc, data, commit, done; or drain, when it fails
 * with sends under way.
 *
 * Every step but the wait has one timer, armed when it begins: the wait is for others, whose steps
 * are bounded, and for a handshake, which is. A failure never ends a key that may have landed with
 * success; the owner tries again, and the receiver knows what it has.
 */
#include "clock.h"
#include "log.h"
#include "pd_send_impl.h"

#define DRAIN_TIME NSEC_PER_SEC /* for cancelled sends; then the connection is closed */
#define BIT(s) (1U << (s))

static const unsigned allowed[BATCH_STATES] = {
    [BATCH_WAIT] = BIT(BATCH_ALLOC) | BIT(BATCH_DONE),
    [BATCH_ALLOC] = BIT(BATCH_DATA) | BIT(BATCH_WAIT) | BIT(BATCH_DONE),
    [BATCH_DATA] = BIT(BATCH_COMMIT) | BIT(BATCH_DRAIN) | BIT(BATCH_DONE),
    [BATCH_COMMIT] = BIT(BATCH_DONE),
    [BATCH_DRAIN] = BIT(BATCH_DONE),
};

void send_batch_move(struct send_batch *b, enum batch_state to)
{
    if (!(allowed[b->state] & BIT(to))) {
        log_err("pd: a batch may not go from state %d to %d", b->state, to);
        abort();
    }
    b->state = to;
}

/* --- steps, each with a deadline stamped when it begins --- */

static uint64_t transfer_time(const struct send_batch *b)
{
    return b->peer->send->env.config->transfer_timeout + b->bytes / (64 * MIB) * NSEC_PER_SEC;
}

/* False: the batch has failed and may be gone. */
static bool step(struct send_batch *b, uint64_t time)
{
    b->begun = clock_now();
    if (!loop_timer_arm(b->peer->send->env.loop, &b->timer, clock_deadline(time)))
        return true;
    send_batch_fail(b, -ENOMEM);
    return false;
}

static void drain(struct send_batch *b, int error)
{
    send_batch_move(b, BATCH_DRAIN);
    for (size_t i = 0; i < b->n; i++) {
        send_key_settle(&b->keys[i], error);
        if (b->keys[i].sending)
            pd_transfer_cancel(&b->keys[i].transfer);
    }
    if (loop_timer_arm(b->peer->send->env.loop, &b->timer, clock_deadline(DRAIN_TIME)))
        send_peer_lost(b->peer, -ENOMEM);
}

void send_batch_fail(struct send_batch *b, int error)
{
    if (b->state == BATCH_DRAIN)
        return;
    if (b->sending)
        drain(b, error);
    else
        send_batch_end(b, error);
}

static void ask_commit(struct send_batch *b)
{
    if (step(b, transfer_time(b) / 2) && send_batch_ask_commit(b))
        send_peer_lost(b->peer, -ECONNRESET); /* its queue is full: nobody reads it */
}

static void commit_late(struct send_batch *b)
{
    struct send_peer *p = b->peer;
    uint64_t since = b->begun;

    if (!b->again) {
        b->again = true;
        ask_commit(b);
        return;
    }
    send_batch_end(b, -ETIMEDOUT);
    send_peer_silent(p, since);
}

static void late(struct loop_timer *timer)
{
    struct send_batch *b = container_of(timer, struct send_batch, timer);
    struct send_peer *p = b->peer;
    uint64_t since = b->begun;

    switch (b->state) {
    case BATCH_ALLOC:
        send_batch_release(b, NULL);
        send_batch_end(b, -ETIMEDOUT);
        send_peer_silent(p, since);
        break;
    case BATCH_DATA: send_batch_fail(b, -ETIMEDOUT); break;
    case BATCH_COMMIT: commit_late(b); break;
    case BATCH_DRAIN: send_peer_lost(p, -ETIMEDOUT); break;
    default: break;
    }
}

/* --- the way --- */

bool send_batch_begin(struct send_batch *b)
{
    struct send_peer *p = b->peer;
    const struct pd_config *cfg = p->send->env.config;
    int err;

    for (size_t i = 0; i < b->n; i++) {
        struct send_key *k = &b->keys[i];

        err = k->error == SEND_OPEN && !k->data ? send_key_prepare(k) : 0;
        if (err)
            send_key_settle(k, err);
    }
    err = b->open ? send_batch_ask_room(b) : 0;
    if (err == -EAGAIN)
        return false;
    if (err || !b->open) {
        send_batch_end(b, err);
        return true;
    }
    list_remove(&b->link);
    list_push_back(&p->active, &b->link);
    p->nactive++;
    p->counts.inflight += b->bytes;
    send_batch_move(b, BATCH_ALLOC);
    step(b, cfg->alloc_timeout + cfg->connect_timeout);
    return true;
}

/* When the last key fails here the batch ends; the others are the receiver's to judge. */
void send_batch_sent(struct send_batch *b)
{
    bool wanted = false;

    if (b->sending || b->peer->fencing)
        return;
    for (size_t i = 0; i < b->nasked; i++)
        wanted |= b->asked[i]->error == SEND_OPEN;
    send_batch_release(b, NULL);
    if (b->state == BATCH_DATA && wanted) {
        send_batch_move(b, BATCH_COMMIT);
        ask_commit(b);
    } else {
        send_batch_end(b, -EPROTO);
    }
}

static void start_one(struct send_key *k)
{
    int err = k->error == SEND_OPEN ? send_key_start(k, k->batch->peer->conn) : 0;

    if (err)
        send_key_settle(k, err);
}

void send_batch_data(struct send_batch *b)
{
    send_batch_move(b, BATCH_DATA);
    if (!step(b, transfer_time(b)))
        return;
    for (size_t i = 0, n; i < b->nasked; i += n) {
        n = send_pack_count(b, i);
        if (n > 1)
            send_pack_start(b, i, n);
        else
            start_one(b->asked[i]);
    }
    send_batch_release(b, NULL);
    send_batch_sent(b);
}

/* --- from and to the store --- */

static void report(const struct send_batch *b, struct send_key *k)
{
    struct peer_counts *c = &b->peer->counts;
    struct job *j = &k->store->job;

    j->errors[k->index] = k->error;
    j->crc32c[k->index] = k->crc32c;
    if (k->error) {
        c->failures++;
        c->last_error = k->error;
        metric_add(b->peer->failures, 1);
        return;
    }
    c->keys++;
    metric_add(b->peer->keys, 1);
    if (!k->granted)
        return;
    j->bytes += k->buf->size;
    metric_add(b->peer->bytes, (int64_t)k->buf->size);
}

static void leave_window(struct send_batch *b)
{
    if (b->state == BATCH_WAIT)
        return;
    b->peer->nactive--;
    b->peer->counts.inflight -= b->bytes;
}

static void settle_all(struct send_batch *b, int error)
{
    for (size_t i = 0; i < b->n; i++)
        send_key_settle(&b->keys[i], b->keys[i].cancelled ? -ECANCELED : error);
}

void send_batch_lost(struct send_batch *b, int error)
{
    settle_all(b, error);
    if (b->peer->alloc_connected)
        send_batch_release(b, NULL);
    send_batch_end(b, error);
}

static void batch_free(struct send_batch *b)
{
    free(b->asked);
    free(b->keys);
    free(b);
}

void send_batch_end(struct send_batch *b, int error)
{
    struct send_peer *p = b->peer;

    loop_timer_cancel(p->send->env.loop, &b->timer);
    send_peer_unask(p, &b->ask);
    leave_window(b);
    send_batch_move(b, BATCH_DONE);
    list_remove(&b->link);
    settle_all(b, error);
    for (size_t i = 0; i < b->n; i++) {
        struct send_key *k = &b->keys[i];

        send_key_drop(k);
        hash_remove(&p->send->keys, &k->node);
        report(b, k);
    }
    send_request_landed(b);
    for (size_t i = 0; i < b->n; i++)
        send_store_put(b->keys[i].store);
    batch_free(b);
    send_peer_pump_in(p, 0);
}

static struct send_batch *batch_alloc(struct send_peer *p, size_t n)
{
    struct send_batch *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->keys = calloc(n, sizeof(*b->keys));
    b->asked = calloc(n, sizeof(struct send_key *));
    if (!b->keys || !b->asked) {
        batch_free(b);
        return NULL;
    }
    b->peer = p;
    b->n = n;
    b->timer.expired = late;
    list_init(&b->link);
    return b;
}

int send_batch_create(struct send_peer *p, const struct send_pick *pick)
{
    struct send_batch *b = batch_alloc(p, pick->n);

    if (!b)
        return -ENOMEM;
    b->open = pick->n;
    for (size_t i = 0; i < pick->n; i++) {
        struct send_key *k = &b->keys[i];

        k->batch = b;
        k->store = pick->store;
        k->index = pick->index[i];
        k->key = pick->store->job.keys[k->index];
        k->buf = &pick->store->job.bufs[k->index];
        k->error = SEND_OPEN;
        b->bytes += k->buf->size;
        hash_insert(&p->send->keys, &k->node, hash_bytes(k->key, strlen(k->key), 0));
    }
    pick->store->left += pick->n;
    list_push_back(&p->waiting, &b->link);
    return 0;
}

const char *send_batch_request(const struct send_batch *b)
{
    const char *req_id = b->keys[0].buf->route.req_id;

    return req_id ? req_id : "";
}

/* --- while it waits --- */

/* Keys of another batch become those of `b` from `at` on. */
static void take_keys(struct send_batch *b, size_t at, struct send_key *from, size_t n)
{
    struct hash *table = &b->peer->send->keys;

    for (size_t i = 0; i < n; i++) {
        struct send_key *to = &b->keys[at + i];

        hash_remove(table, &from[i].node);
        *to = from[i];
        to->batch = b;
        hash_insert(table, &to->node, to->node.hash);
        b->bytes += to->buf->size;
        b->open += to->error == SEND_OPEN;
    }
}

int send_batch_split(struct send_batch *b)
{
    size_t first = b->n / 2;
    struct send_batch *rest = batch_alloc(b->peer, b->n - first);

    if (!rest)
        return -ENOMEM;
    rest->apart = b->apart;
    take_keys(rest, 0, b->keys + first, rest->n);
    b->n = first;
    b->bytes -= rest->bytes;
    b->open -= rest->open;
    list_insert(&b->link, &rest->link);
    return 0;
}

/* Two of them are within all limits but those of the peer and of the text. */
static bool is_small(const struct send_batch *b)
{
    return b->bytes <= PD_PACK_MAX / 2 && b->n <= SEND_BATCH_KEYS / 2;
}

static bool same_request(const struct send_batch *a, const struct send_batch *b)
{
    return !strcmp(send_batch_request(a), send_batch_request(b));
}

bool send_batch_rests(const struct send_batch *b)
{
    const struct list *node;
    size_t n = 0;

    if (!is_small(b))
        return false;
    list_for_each(node, &b->peer->active)
    {
        const struct send_batch *other = list_entry(node, struct send_batch, link);

        n += is_small(other) && same_request(b, other);
    }
    return n >= SEND_SMALL;
}

static size_t text_of(const struct send_batch *b)
{
    size_t len = 0;

    for (size_t i = 0; i < b->n; i++)
        len += strlen(b->keys[i].key);
    return len;
}

static bool may_join(const struct send_batch *b, const struct send_batch *other)
{
    return is_small(b) && is_small(other) && !b->apart && !other->apart && same_request(b, other) &&
           b->bytes + other->bytes <= b->peer->limit &&
           text_of(b) + text_of(other) <= SEND_BATCH_TEXT;
}

/* The one that both are then; `b` when there is no memory. */
static struct send_batch *join(struct send_batch *b, struct send_batch *other)
{
    struct send_batch *both = batch_alloc(b->peer, b->n + other->n);

    if (!both)
        return b;
    take_keys(both, 0, b->keys, b->n);
    take_keys(both, b->n, other->keys, other->n);
    list_insert(&b->link, &both->link);
    list_remove(&b->link);
    list_remove(&other->link);
    batch_free(b);
    batch_free(other);
    return both;
}

struct send_batch *send_batch_gather(struct send_batch *b)
{
    for (struct list *node = b->link.next, *next; node != &b->peer->waiting; node = next) {
        struct send_batch *other = list_entry(node, struct send_batch, link);

        next = node->next;
        if (may_join(b, other))
            b = join(b, other);
    }
    return b;
}

int send_batch_again(struct send_batch *b)
{
    struct send_peer *p = b->peer;

    loop_timer_cancel(p->send->env.loop, &b->timer);
    leave_window(b);
    send_batch_move(b, BATCH_WAIT);
    b->apart = true;
    list_remove(&b->link);
    list_push_front(&p->waiting, &b->link);
    send_peer_pump_in(p, 0);
    return send_batch_split(b);
}
