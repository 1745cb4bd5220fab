/* pd_send_done.c - whole requests: which receivers got keys of which, and who is told when the last
 * one has landed.
 *
 * A request is remembered from its first key that landed until it was told of, or REQUESTS_MAX others
 * came after it. Told: Done goes to each of its receivers, again every half second until all have
 * answered or the deadline has passed; then the proxy hears of it, once.
 */
#include "clock.h"
#include "log.h"
#include "pd_send_impl.h"

#define REQUESTS_MAX 16384
#define TRY_EVERY (500 * NSEC_PER_MSEC)

struct send_notice {
    struct send_ask ask;
    struct send_request *request;
    struct send_peer *peer;
    bool wanted; /* the receiver has keys of it and has not answered */
};

struct send_request {
    struct hash_node node;
    struct list link; /* pd_send.request_age while it is not told of, else pd_send.telling */
    struct pd_send *send;
    struct loop_timer timer; /* the next try */
    uint64_t deadline;       /* 0: not told of yet */
    char *req_id;
    struct bitmap *targets;
    struct send_notice *notices; /* npeers entries, when told of */
};

/* The one that is told of, or the one that is not yet: a request of that id may follow another. */
static struct send_request *find(struct pd_send *s, const char *req_id, bool telling)
{
    struct hash_node *n = hash_first(&s->requests, hash_bytes(req_id, strlen(req_id), 0));

    for (; n; n = hash_next(n)) {
        struct send_request *r = container_of(n, struct send_request, node);

        if (!strcmp(r->req_id, req_id) && telling == (r->deadline != 0))
            return r;
    }
    return NULL;
}

static void forget(struct send_request *r)
{
    struct pd_send *s = r->send;

    loop_timer_cancel(s->env.loop, &r->timer);
    for (size_t i = 0; r->notices && i < s->npeers; i++)
        send_peer_unask(&s->peers[i], &r->notices[i].ask);
    hash_remove(&s->requests, &r->node);
    list_remove(&r->link);
    bitmap_destroy(r->targets);
    free(r->notices);
    free(r->req_id);
    free(r);
}

static void make_room(struct pd_send *s)
{
    struct send_request *oldest;

    if (s->requests.count < REQUESTS_MAX || list_empty(&s->request_age))
        return;
    oldest = list_entry(s->request_age.next, struct send_request, link);
    if (!s->forgotten++)
        log_warn(
            "pd: request %s and others are forgotten before they were complete: no file of them "
            "came with user.l2fs.last_prefill",
            oldest->req_id);
    forget(oldest);
}

static struct send_request *add(struct pd_send *s, const char *req_id)
{
    struct send_request *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->req_id = strdup(req_id);
    r->targets = bitmap_create(s->npeers);
    if (!r->req_id || !r->targets) {
        free(r->req_id);
        bitmap_destroy(r->targets);
        free(r);
        return NULL;
    }
    make_room(s);
    r->send = s;
    hash_insert(&s->requests, &r->node, hash_bytes(req_id, strlen(req_id), 0));
    list_push_back(&s->request_age, &r->link);
    return r;
}

/* Without memory the request is told of along its route. */
void send_request_landed(struct send_batch *b)
{
    struct pd_send *s = b->peer->send;
    struct send_request *r;
    bool any = false;

    for (size_t i = 0; i < b->n && !any; i++)
        any = !b->keys[i].error;
    if (!any || !*b->req_id || s->stopping)
        return;
    r = find(s, b->req_id, false);
    if (!r)
        r = add(s, b->req_id);
    if (r)
        bitmap_set(r->targets, (size_t)(b->peer - s->peers));
}

/* --- telling --- */

static void tell_proxy(struct send_request *r)
{
    if (r->send->proxy)
        (void)pd_proxy_notify(r->send->proxy, r->req_id, strlen(r->req_id));
    forget(r);
}

static bool all_answered(const struct send_request *r)
{
    for (size_t i = 0; i < r->send->npeers; i++)
        if (r->notices[i].wanted)
            return false;
    return true;
}

static void done_answer(struct send_ask *ask, const struct pd_message *m)
{
    struct send_notice *n = container_of(ask, struct send_notice, ask);
    struct send_request *r = n->request;

    send_peer_unask(n->peer, ask);
    if (m->error == ENOTCONN)
        send_peer_lost(n->peer, -ECONNRESET);
    if (m->type != PD_DONE_REPLY || m->error == ENOTCONN || m->error == ENOMEM)
        return; /* the timer tries again */
    if (m->error)
        send_peer_quote(n->peer, "cannot say that a request is ready", m);
    n->wanted = false;
    if (all_answered(r))
        tell_proxy(r);
}

static void ask_all(struct send_request *r)
{
    for (size_t i = 0; i < r->send->npeers; i++) {
        struct send_notice *n = &r->notices[i];
        struct pd_message m = {.type = PD_DONE, .rank = r->send->env.config->tp_rank};

        if (!n->wanted)
            continue;
        send_peer_wake(n->peer);
        m.req_id = (struct pd_bytes){r->req_id, strlen(r->req_id)};
        if (n->peer->state == PEER_UP)
            (void)send_peer_ask(n->peer, &n->ask, &m);
    }
}

/* False: it was the last try. */
static bool try_again(struct send_request *r)
{
    uint64_t now = clock_now();

    if (now >= r->deadline)
        return false;
    ask_all(r);
    return !loop_timer_arm(r->send->env.loop, &r->timer, MIN(now + TRY_EVERY, r->deadline));
}

static void expired(struct loop_timer *timer)
{
    struct send_request *r = container_of(timer, struct send_request, timer);

    if (try_again(r))
        return;
    log_warn("pd: request %s is complete, but a receiver did not take note of it in time: "
             ".l2fs/ready there may not open; is it up?",
             r->req_id);
    tell_proxy(r);
}

static int make_notices(struct send_request *r)
{
    r->notices = calloc(r->send->npeers, sizeof(*r->notices));
    if (!r->notices)
        return -ENOMEM;
    for (size_t i = 0; i < r->send->npeers; i++)
        r->notices[i] = (struct send_notice){.ask.answer = done_answer,
                                             .request = r,
                                             .peer = &r->send->peers[i],
                                             .wanted = bitmap_test(r->targets, i)};
    return 0;
}

static int route_of(struct pd_send *s, const struct l2_route *route)
{
    return pd_config_route(s->env.config, "", route->peer);
}

int pd_send_request_done(struct pd_send *s, const struct l2_route *route)
{
    struct send_request *r;
    int target = 0;

    if (s->stopping)
        return -ESHUTDOWN;
    if (!route->req_id || !*route->req_id)
        return -EINVAL;
    r = find(s, route->req_id, false);
    if (!r && find(s, route->req_id, true))
        return 0;
    if (!r)
        target = route_of(s, route);
    if (target < 0)
        return target;
    if (!r && !(r = add(s, route->req_id)))
        return -ENOMEM;
    if (!bitmap_popcount(r->targets))
        bitmap_set(r->targets, (size_t)target);
    if (make_notices(r))
        return -ENOMEM;
    list_remove(&r->link);
    list_push_back(&s->telling, &r->link);
    r->timer.expired = expired;
    r->deadline = clock_deadline(s->env.config->notify_timeout);
    if (!try_again(r))
        expired(&r->timer);
    return 0;
}

void send_requests_poke(struct pd_send *s)
{
    struct list *node;

    list_for_each(node, &s->telling) ask_all(list_entry(node, struct send_request, link));
}

bool pd_send_telling(const struct pd_send *s)
{
    return !list_empty(&s->telling);
}

void send_requests_init(struct pd_send *s)
{
    list_init(&s->request_age);
    list_init(&s->telling);
}

void send_requests_fini(struct pd_send *s)
{
    while (!list_empty(&s->telling))
        tell_proxy(list_entry(s->telling.next, struct send_request, link));
    while (!list_empty(&s->request_age))
        forget(list_entry(s->request_age.next, struct send_request, link));
}
