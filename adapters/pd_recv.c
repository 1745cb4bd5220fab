/* pd_recv.c - the receiver: its servers, which message goes where, its beginning and end.
 *
 * Everything runs on the adapter's loop but for the lander (pd_recv_land.c). Letters to the loop go
 * through a mailbox of the receiver's own, so that none is left when it is destroyed. Room that is
 * given back never leads to another's turn from within: a letter does.
 */
#include <assert.h>
#include <inttypes.h>
#include <sys/random.h>

#include "bitmap.h"
#include "clock.h"
#include "log.h"
#include "pd_recv_parts.h"

#define SWEEP (5 * NSEC_PER_SEC)
#define LINES_A_SECOND 50

/* --- answers --- */

bool recv_equal(struct pd_bytes a, const char *b)
{
    return a.len == strlen(b) && (!a.len || !memcmp(a.data, b, a.len));
}

void recv_answer(const struct recv_origin *to, struct pd_message *m)
{
    struct text out = {0};

    m->seq = to->seq;
    pd_encode(m, &out);
    if (out.failed)
        log_err("out of memory: a sender's request stays without an answer");
    else
        pd_server_reply(to->server, &to->to, out.data, out.len);
    text_fini(&out);
}

void recv_refuse(const struct recv_origin *to, enum pd_type type, int error, const char *reason)
{
    int64_t none = -1;
    struct pd_message m = {.type = type, .error = -error, .reason = {reason, strlen(reason)}};

    if (type == PD_ALLOC_RESPONSE) {
        m.async = true;
        m.remote_indexes = (struct pd_ints){&none, 1};
    }
    recv_answer(to, &m);
}

void recv_warn(struct pd_recv *r, const char *fmt, ...)
{
    uint64_t now = clock_now();
    struct text line = {0};
    va_list ap;

    if (now - r->said_since >= NSEC_PER_SEC) {
        if (r->unsaid)
            log_warn("%s: %" PRIu64 " more lines about senders were left out",
                     r->env.adapter->instance, r->unsaid);
        r->said_since = now;
        r->said = r->unsaid = 0;
    }
    if (r->said >= LINES_A_SECOND) {
        r->unsaid++;
        r->left_out++;
        return;
    }
    r->said++;
    va_start(ap, fmt);
    text_vprintf(&line, fmt, ap);
    va_end(ap);
    if (line.data)
        log_warn("%s: %s", r->env.adapter->instance, line.data);
    text_fini(&line);
}

/* --- requests --- */

static void unknown(const struct recv_request *req, enum pd_type type, const char *why)
{
    struct pd_recv *r = req->rank->recv;

    r->counts.garbage++;
    log_debug("%s: a message is not understood: %s", r->env.adapter->instance, why);
    recv_refuse(&req->origin, type, -EBADMSG, why);
}

/* Of LMCache's handshakes none can be served; any answer ends the wait for one. */
static void dispatch_init(const struct recv_request *req)
{
    if (req->m->type == PD_HELLO)
        recv_peer_hello(req);
    else
        unknown(req, PD_HELLO_REPLY, "only l2fs senders can be served on the init port");
}

static void dispatch_alloc(const struct recv_request *req)
{
    const struct pd_message *m = req->m;

    switch (m->type) {
    case PD_ALLOC_REQUEST:
        if (m->sizes.n)
            recv_alloc_request(req);
        else
            recv_foreign_request(req);
        break;
    case PD_COMMIT: recv_alloc_commit(req); break;
    case PD_CANCEL_NOTIF:
        if (m->sender.data)
            recv_alloc_cancel(req);
        else
            recv_foreign_cancel(req);
        break;
    case PD_CACHE_QUERY_REQUEST: recv_foreign_query(req); break;
    case PD_DONE: recv_ready_done(req); break;
    default: unknown(req, PD_ALLOC_RESPONSE, "not a request for the alloc port");
    }
}

/* What cannot be decoded is answered by a refusal of type `reply`. */
static void receive(struct recv_request *req, enum pd_type reply, struct pd_bytes data,
                    void (*dispatch)(const struct recv_request *req))
{
    const char *why = "";
    struct pd_message *m;

    if (pd_decode(data.data, data.len, &m, &why)) {
        unknown(req, reply, why);
        return;
    }
    req->m = m;
    req->origin.seq = m->seq;
    dispatch(req);
    pd_message_free(m);
}

static void on_init(void *arg, const struct pd_envelope *from, const void *data, size_t len)
{
    struct recv_rank *rank = arg;
    struct recv_request req = {.rank = rank, .origin = {rank->init, *from, 0}};

    receive(&req, PD_HELLO_REPLY, (struct pd_bytes){data, len}, dispatch_init);
}

static void on_alloc(void *arg, const struct pd_envelope *from, const void *data, size_t len)
{
    struct recv_rank *rank = arg;
    struct recv_request req = {.rank = rank, .origin = {rank->alloc, *from, 0}};

    receive(&req, PD_ALLOC_RESPONSE, (struct pd_bytes){data, len}, dispatch_alloc);
}

/* --- room and time --- */

bool recv_weigh(struct pd_recv *r, size_t bytes)
{
    if (bytes > RECV_MEMORY_MAX - r->memory)
        return false;
    r->memory += bytes;
    return true;
}

void recv_wake(struct pd_recv *r)
{
    if (!atomic_exchange(&r->room_posted, true))
        mailbox_post(r->mailbox, &r->room);
}

static void run_queues(struct letter *letter)
{
    struct pd_recv *r = container_of(letter, struct pd_recv, room);

    atomic_store(&r->room_posted, false);
    if (r->stopping)
        return;
    for (size_t i = 0; i < r->nranks; i++)
        recv_queue_run(&r->ranks[i]);
    recv_metrics_update(r);
}

static void on_room(void *arg)
{
    recv_wake(arg);
}

static void retry(struct loop_timer *t)
{
    recv_wake(container_of(t, struct pd_recv, retry));
}

static void sweep(struct loop_timer *t)
{
    struct pd_recv *r = container_of(t, struct pd_recv, sweep);
    uint64_t now = clock_now();

    recv_peer_sweep(r, now);
    recv_alloc_sweep(r, now);
    recv_ready_sweep(r, now);
    if (!list_empty(&r->peers) || !list_empty(&r->ended) || !list_empty(&r->ready_list))
        recv_sweep_later(r);
}

/* Without memory for the timer the next event tries again. */
void recv_sweep_later(struct pd_recv *r)
{
    if (!r->sweep.heap_index)
        loop_timer_arm(r->env.loop, &r->sweep, clock_deadline(SWEEP));
}

/* --- beginning and end --- */

static int open_rank(struct pd_recv *r, size_t i)
{
    const struct pd_config *cfg = r->env.config;
    struct recv_rank *rank = &r->ranks[i];
    int err;

    rank->pages = bitmap_create(PD_KEYS_MAX + 1);
    if (!rank->pages)
        return -ENOMEM;
    err = pd_server_create(r->env.ctl, cfg->peer_host, pd_config_port(cfg->init_port, i), on_init,
                           rank, &rank->init);
    if (err)
        return err;
    return pd_server_create(r->env.ctl, cfg->peer_host, pd_config_port(cfg->alloc_port, i),
                            on_alloc, rank, &rank->alloc);
}

static int open_ranks(struct pd_recv *r)
{
    size_t n = pd_config_ranks(r->env.config);

    r->ranks = calloc(n, sizeof(*r->ranks));
    if (!r->ranks)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int err;

        r->ranks[i].recv = r;
        r->ranks[i].index = i;
        list_init(&r->ranks[i].waiting);
        list_init(&r->ranks[i].foreign);
        r->nranks = i + 1;
        err = open_rank(r, i);
        if (err)
            return err;
    }
    return 0;
}

static int open_tables(struct pd_recv *r)
{
    if (hash_init(&r->peer_table) || hash_init(&r->allocs) || hash_init(&r->tags) ||
        hash_init(&r->ready))
        return -ENOMEM;
    return mailbox_create(r->env.loop, &r->mailbox);
}

static void close_rank(struct recv_rank *rank)
{
    while (!list_empty(&rank->waiting)) {
        struct recv_waiter *w = list_entry(rank->waiting.next, struct recv_waiter, link);

        recv_queue_leave(w);
        w->finish(w, -ESHUTDOWN);
    }
    recv_foreign_destroy(rank);
}

/* Who waits for an answer gets one; then every buffer is fenced, and the lander is the last that has
 * any. */
static void stop(struct pd_recv *r)
{
    struct arrivals *a = r->env.adapter->arrivals;
    struct list *node, *p, *next;

    r->stopping = true;
    a->set_room(a, NULL, r);
    for (size_t i = 0; i < r->nranks; i++)
        close_rank(&r->ranks[i]);
    list_for_each(p, &r->peers)
    {
        struct recv_peer *peer = list_entry(p, struct recv_peer, link);

        list_for_each_safe(node, next, &peer->allocs)
            recv_alloc_give_up(list_entry(node, struct recv_alloc, link), -ESHUTDOWN);
        recv_peer_disconnect(peer);
    }
    recv_lander_stop(r);
    mailbox_destroy(r->mailbox);
    r->mailbox = NULL;
}

static void free_all(struct pd_recv *r)
{
    loop_timer_cancel(r->env.loop, &r->retry);
    loop_timer_cancel(r->env.loop, &r->sweep);
    recv_alloc_sweep(r, UINT64_MAX);
    recv_ready_sweep(r, UINT64_MAX);
    recv_peer_destroy_all(r);
    for (size_t i = 0; i < r->nranks; i++) {
        assert(!r->ranks[i].used && !r->ranks[i].npages);
        bitmap_destroy(r->ranks[i].pages);
        if (r->ranks[i].init)
            pd_server_destroy(r->ranks[i].init);
        if (r->ranks[i].alloc)
            pd_server_destroy(r->ranks[i].alloc);
    }
    hash_fini(&r->peer_table);
    hash_fini(&r->allocs);
    hash_fini(&r->tags);
    hash_fini(&r->ready);
    assert(!r->nallocs && !r->mapped && !r->memory && !r->packed);
    free(r->ranks);
    free(r);
}

void pd_recv_destroy(struct pd_recv *r)
{
    if (!r)
        return;
    if (r->mailbox)
        stop(r);
    free_all(r);
}

static int start(struct pd_recv *r)
{
    struct arrivals *a = r->env.adapter->arrivals;
    int err = open_tables(r);

    if (!err)
        err = recv_lander_start(r);
    if (err)
        log_err("%s: cannot start: %s; raise the limit of open files", r->env.adapter->instance,
                strerror(-err));
    else
        err = open_ranks(r);
    if (!err)
        a->set_room(a, on_room, r);
    return err;
}

int pd_recv_create(const struct pd_env *env, struct pd_recv **out)
{
    struct pd_recv *r;
    int err;

    if (!env->adapter->arrivals) {
        log_err("%s: this mount takes no objects in; use role sender", env->adapter->instance);
        return -EINVAL;
    }
    r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->env = *env;
    r->room.run = run_queues;
    r->retry.expired = retry;
    r->sweep.expired = sweep;
    list_init(&r->peers);
    list_init(&r->ended);
    list_init(&r->ready_list);
    recv_metrics_init(r);
    if (getrandom(&r->last_id, sizeof(r->last_id), 0) < 0)
        r->last_id = (int64_t)clock_now();
    r->last_id &= INT64_MAX >> 1; /* ids of another run mean nothing here */
    recv_runs_init(r, r->last_id + 1);
    err = start(r);
    if (err) {
        pd_recv_destroy(r);
        return err;
    }
    *out = r;
    return 0;
}
