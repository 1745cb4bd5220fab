/* pd_send_peer.c - one receiver: its connection, and whether it is worth asking.
 *
 * A handshake is: a connection of the channel, Hello on the init socket, the answer's address, and
 * the alloc socket connected. One timer moves it on, and is also its deadline, the pause before the
 * next one, and the pump's second chance. What was lost is connected again at once, then after pauses
 * that grow until something lands.
 */
#include "clock.h"
#include "log.h"
#include "pd_send_impl.h"

#define BACKOFF_MIN (500 * NSEC_PER_MSEC)
#define BACKOFF_MAX (5 * NSEC_PER_SEC)
#define QUEUE_PAUSE (10 * NSEC_PER_MSEC) /* the socket's queue was full */

static void arm(struct send_peer *p, uint64_t deadline)
{
    if (loop_timer_arm(p->send->env.loop, &p->timer, deadline))
        log_err("pd: no memory for a timer of %s; unmount", p->target.name);
}

void send_peer_pump_in(struct send_peer *p, uint64_t ns)
{
    uint64_t when = clock_deadline(ns);

    if (p->state == PEER_UP && !list_empty(&p->waiting) &&
        !(p->timer.heap_index && p->timer.deadline <= when))
        arm(p, when);
}

void send_peer_go_on(struct send_peer *p)
{
    if (p->trying)
        arm(p, clock_now());
}

/* --- ends --- */

static void fail_waiting(struct send_peer *p, int error)
{
    while (!list_empty(&p->waiting))
        send_batch_end(list_entry(p->waiting.next, struct send_batch, link), error);
}

/* The connection is closed. */
static void fail_active(struct send_peer *p, int error)
{
    while (!list_empty(&p->active))
        send_batch_lost(list_entry(p->active.next, struct send_batch, link), error);
}

/* When it returns no buffer is used any more. */
static void fence(struct send_peer *p)
{
    struct pd_conn *conn = p->conn;

    p->conn = NULL;
    p->fencing = true;
    pd_conn_close(conn);
    p->fencing = false;
}

static void stop_trying(struct send_peer *p)
{
    loop_timer_cancel(p->send->env.loop, &p->timer);
    if (p->init)
        pd_client_destroy(p->init);
    p->init = NULL;
    p->trying = p->asked = p->answered = p->refused = p->init_connected = false;
}

static void grow_backoff(struct send_peer *p)
{
    p->backoff = MIN(MAX(2 * p->backoff, BACKOFF_MIN), BACKOFF_MAX);
}

/* New stores fail at once until a handshake works. */
static void go_down(struct send_peer *p, int error)
{
    bool news = p->state != PEER_DOWN && p->state != PEER_REFUSED;

    p->state = p->refused ? PEER_REFUSED : PEER_DOWN;
    p->counts.last_error = error;
    stop_trying(p);
    fence(p);
    grow_backoff(p);
    arm(p, clock_deadline(p->backoff));
    if (news)
        log_warn(
            "pd: %s (%s ports %u and %u) is down: %s; stores to it fail until it answers, check "
            "that l2fs runs there as a receiver",
            p->target.name, p->target.host, p->target.init_port, p->target.alloc_port,
            strerror(-error));
    fail_active(p, -ECONNRESET);
    fail_waiting(p, -EHOSTDOWN);
}

void send_peer_lost(struct send_peer *p, int error)
{
    if (p->state != PEER_UP)
        return;
    if (p->backoff) {
        go_down(p, error);
        return;
    }
    log_info("pd: the connection to %s was lost: %s; connecting again", p->target.name,
             strerror(-error));
    p->counts.last_error = error;
    p->state = PEER_CONNECTING;
    stop_trying(p);
    fence(p);
    grow_backoff(p);
    arm(p, clock_now());
    fail_active(p, error);
}

/* Data under way has a deadline of its own. */
static bool is_sending(const struct send_peer *p)
{
    const struct list *node;

    list_for_each(node, &p->active)
    {
        if (list_entry(node, struct send_batch, link)->sending)
            return true;
    }
    return false;
}

void send_peer_silent(struct send_peer *p, uint64_t since)
{
    if (p->state == PEER_UP && p->heard < since && !is_sending(p))
        go_down(p, -ETIMEDOUT);
}

void send_peer_works(struct send_peer *p)
{
    p->backoff = 0;
}

/* --- the handshake --- */

static void conn_failed(void *arg, int error)
{
    struct send_peer *p = arg;

    if (p->trying) {
        p->hello_error = error;
        p->answered = true;
        send_peer_go_on(p);
    } else {
        send_peer_lost(p, error);
    }
}

static const struct pd_conn_ops conn_ops = {.failed = conn_failed};

/* Both anew: after a cut of the network TCP may go on with an old connection for half a minute before it
 * is of use again, or found dead. */
static int open_sockets(struct send_peer *p)
{
    const struct pd_env *env = &p->send->env;
    int err;

    pd_client_destroy(p->alloc);
    p->alloc = NULL;
    p->alloc_connected = false;
    err = pd_client_create(env->ctl, p->target.host, p->target.alloc_port, &send_alloc_ops, p,
                           &p->alloc);
    if (!err)
        err = pd_client_create(env->ctl, p->target.host, p->target.init_port, &send_init_ops, p,
                               &p->init);
    return err;
}

static void begin(struct send_peer *p)
{
    struct timespec now;
    int err;

    clock_gettime(CLOCK_REALTIME, &now);
    p->epoch = MAX(p->epoch + 1, (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec);
    p->trying = true;
    p->begun = clock_now();
    p->hello_error = 0;
    p->counts.handshakes++;
    err = open_sockets(p);
    if (err)
        go_down(p, err);
    else
        arm(p, clock_deadline(p->send->env.config->connect_timeout));
}

static void come_up(struct send_peer *p)
{
    if (p->state == PEER_DOWN || p->state == PEER_REFUSED)
        log_info("pd: %s answers again", p->target.name);
    stop_trying(p);
    p->state = PEER_UP;
    p->stuck = 0;
    send_requests_poke(p);
    send_peer_pump(p);
}

/* Somebody is there. 0, also when it could not be said yet. */
static int say_hello(struct send_peer *p)
{
    int err = p->conn ? 0 : pd_conn_create(p->send->env.channel, &conn_ops, p, &p->conn);

    if (!err)
        err = send_peer_hello(p);
    if (err)
        return err == -EAGAIN ? 0 : err;
    p->asked = true;
    p->hello_sent = clock_now();
    return 0;
}

/* What the handshake waits for next; its deadline stays where it was. */
static void go(struct send_peer *p)
{
    uint64_t deadline = p->begun + p->send->env.config->connect_timeout;
    int err = p->answered ? p->hello_error : 0;

    if (!err && !p->asked && p->init_connected)
        err = say_hello(p);
    if (err)
        go_down(p, err);
    else if (p->answered && p->alloc_connected)
        come_up(p);
    else if (clock_now() >= deadline)
        go_down(p, -ETIMEDOUT);
    else
        arm(p, deadline);
}

static void tick(struct loop_timer *timer)
{
    struct send_peer *p = container_of(timer, struct send_peer, timer);

    if (p->trying)
        go(p);
    else if (p->state == PEER_UP)
        send_peer_pump(p);
    else
        begin(p);
}

void send_peer_wake(struct send_peer *p)
{
    if (p->state != PEER_IDLE)
        return;
    p->state = PEER_CONNECTING;
    begin(p);
}

/* --- the pump --- */

static bool fits(const struct send_peer *p, const struct send_batch *b)
{
    return !p->nactive ||
           (p->nactive < SEND_BATCHES && p->counts.inflight + b->bytes <= p->send->window);
}

static void queue_full(struct send_peer *p)
{
    uint64_t now = clock_now();

    p->stuck = p->stuck ? p->stuck : now;
    if (now - p->stuck > p->send->env.config->connect_timeout)
        send_peer_lost(p, -ETIMEDOUT);
    else
        send_peer_pump_in(p, QUEUE_PAUSE);
}

/* The first that need not rest, cut and joined as it may be; NULL: none. */
static struct send_batch *next_batch(struct send_peer *p)
{
    for (struct list *node = p->waiting.next; node != &p->waiting;) {
        struct send_batch *b = list_entry(node, struct send_batch, link);

        if (b->n > 1 && b->bytes > p->limit && !send_batch_split(b))
            continue;
        b = send_batch_gather(b);
        if (!send_batch_rests(b))
            return b;
        node = b->link.next;
    }
    return NULL;
}

void send_peer_pump(struct send_peer *p)
{
    struct send_batch *b;

    while (p->state == PEER_UP && (b = next_batch(p))) {
        if (!fits(p, b))
            return;
        if (!send_batch_begin(b)) {
            queue_full(p);
            return;
        }
        p->stuck = 0;
    }
}

/* --- create and destroy --- */

static struct metric *counter(const struct send_peer *p, const char *name, const char *help)
{
    const struct adapter_env *env = p->send->env.adapter;
    struct text labels = {0};
    struct metric *m;

    metrics_label(&labels, "adapter", env->instance);
    metrics_label(&labels, "peer", p->target.name);
    m = metrics_counter(env->metrics, name, help, labels.data ? labels.data : "");
    text_fini(&labels);
    return m;
}

int send_peer_init(struct send_peer *p, struct pd_send *s, size_t index)
{
    p->send = s;
    p->target = pd_config_target(s->env.config, index);
    p->timer.expired = tick;
    p->limit = UINT64_MAX;
    list_init(&p->waiting);
    list_init(&p->active);
    p->bytes = counter(p, "l2fs_pd_sent_bytes", "Bytes that landed at a receiver.");
    p->keys = counter(p, "l2fs_pd_sent_keys", "Keys that landed at a receiver.");
    p->failures = counter(p, "l2fs_pd_send_failures", "Keys that did not land at a receiver.");
    return hash_init(&p->asks);
}

void send_peer_shut(struct send_peer *p)
{
    p->state = PEER_DOWN;
    stop_trying(p);
    fence(p);
    fail_active(p, -ESHUTDOWN);
    fail_waiting(p, -ESHUTDOWN);
}

void send_peer_fini(struct send_peer *p)
{
    if (p->alloc)
        pd_client_destroy(p->alloc);
    hash_fini(&p->asks);
}
