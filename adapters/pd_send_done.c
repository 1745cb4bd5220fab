/* pd_send_done.c - whole requests: which receivers got keys of which, and who is told when the last
 * one has landed.
 *
 * A request is remembered from its first key that landed, until REQUESTS_MAX others came after it. Told
 * of: Done goes to each of its receivers, again every half second until all have answered or the deadline
 * has passed; then the proxy hears of it, once. A receiver that is another run when it is met again
 * within KEEP knows nothing of that Done, and may have lost the keys: it is told again, with the run that
 * had them, and judges itself.
 */
#include "clock.h"
#include "log.h"
#include "pd_send_impl.h"

#define REQUESTS_MAX 16384
#define TRY_EVERY (500 * NSEC_PER_MSEC)
#define KEEP (600 * NSEC_PER_SEC) /* as long as it stays ready at the receiver */

/* A receiver that has keys of a request. */
struct send_notice {
    struct send_ask ask;
    struct list link; /* send_request.notices */
    struct send_request *request;
    struct send_peer *peer;
    int64_t run;  /* where the first of them landed; 0: not known */
    int64_t told; /* the run that has answered */
    bool wanted;  /* it is to be told */
};

enum request_state { REQUEST_OPEN, REQUEST_TELLING, REQUEST_TOLD };

struct send_request {
    struct hash_node node;
    struct list link; /* pd_send.request_age, telling (also of what is told again) or settled */
    struct pd_send *send;
    enum request_state state; /* TOLD: the proxy has heard of it */
    struct loop_timer timer;  /* the next try */
    uint64_t deadline;        /* of telling */
    uint64_t since;           /* told */
    char *req_id;
    struct list notices;
};

/* A request of that id may follow another. */
static struct send_request *find(struct pd_send *s, const char *req_id, enum request_state state)
{
    struct hash_node *n = hash_first(&s->requests, hash_bytes(req_id, strlen(req_id), 0));

    for (; n; n = hash_next(n)) {
        struct send_request *r = container_of(n, struct send_request, node);

        if (!strcmp(r->req_id, req_id) && r->state == state)
            return r;
    }
    return NULL;
}

static struct send_notice *notice_of(const struct send_request *r, const struct send_peer *p)
{
    struct list *node;

    list_for_each(node, &r->notices)
    {
        struct send_notice *n = list_entry(node, struct send_notice, link);

        if (n->peer == p)
            return n;
    }
    return NULL;
}

static void stop_asking(struct send_request *r)
{
    struct list *node;

    loop_timer_cancel(r->send->env.loop, &r->timer);
    list_for_each(node, &r->notices)
    {
        struct send_notice *n = list_entry(node, struct send_notice, link);

        send_peer_unask(n->peer, &n->ask);
    }
}

static void forget(struct send_request *r)
{
    struct list *node;

    stop_asking(r);
    hash_remove(&r->send->requests, &r->node);
    list_remove(&r->link);
    while ((node = list_pop_front(&r->notices)))
        free(list_entry(node, struct send_notice, link));
    free(r->req_id);
    free(r);
}

static void forget_old(struct pd_send *s)
{
    while (!list_empty(&s->settled)) {
        struct send_request *r = list_entry(s->settled.next, struct send_request, link);

        if (clock_now() - r->since < KEEP)
            return;
        forget(r);
    }
}

static void make_room(struct pd_send *s)
{
    struct send_request *oldest;

    if (s->requests.count < REQUESTS_MAX)
        return;
    if (!list_empty(&s->settled)) {
        forget(list_entry(s->settled.next, struct send_request, link));
        return;
    }
    if (list_empty(&s->request_age))
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
    struct send_request *r = calloc(1, sizeof(*r)), *before;

    if (!r)
        return NULL;
    r->req_id = strdup(req_id);
    if (!r->req_id) {
        free(r);
        return NULL;
    }
    before = find(s, req_id, REQUEST_TOLD);
    if (before)
        forget(before);
    forget_old(s);
    make_room(s);
    r->send = s;
    list_init(&r->notices);
    hash_insert(&s->requests, &r->node, hash_bytes(req_id, strlen(req_id), 0));
    list_push_back(&s->request_age, &r->link);
    return r;
}

static int aim(struct send_request *r, struct send_peer *p, int64_t run)
{
    struct send_notice *n = notice_of(r, p);

    if (n)
        return 0;
    n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    *n = (struct send_notice){.request = r, .peer = p, .run = run, .wanted = true};
    list_init(&n->link);
    list_push_back(&r->notices, &n->link);
    return 0;
}

/* Without memory the request is told of along its route. */
void send_request_landed(struct send_batch *b)
{
    struct pd_send *s = b->peer->send;
    struct send_request *r;
    const char *req_id = send_batch_request(b);
    bool any = false;

    for (size_t i = 0; i < b->n && !any; i++)
        any = !b->keys[i].error;
    if (!any || !*req_id || s->stopping)
        return;
    r = find(s, req_id, REQUEST_OPEN);
    if (!r)
        r = add(s, req_id);
    if (r)
        (void)aim(r, b->peer, b->peer->run);
}

/* --- telling --- */

/* Every receiver has been told, or was tried for long enough. */
static void settle(struct send_request *r)
{
    struct pd_send *s = r->send;

    if (r->state == REQUEST_TELLING) {
        if (s->proxy)
            (void)pd_proxy_notify(s->proxy, r->req_id, strlen(r->req_id));
        r->since = clock_now();
    }
    r->state = REQUEST_TOLD;
    stop_asking(r);
    list_remove(&r->link);
    list_push_back(&s->settled, &r->link);
}

static bool all_answered(const struct send_request *r)
{
    struct list *node;

    list_for_each(node, &r->notices)
    {
        if (list_entry(node, struct send_notice, link)->wanted)
            return false;
    }
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
    n->told = n->peer->run;
    if (all_answered(r))
        settle(r);
}

static void ask_all(struct send_request *r)
{
    struct list *node;

    list_for_each(node, &r->notices)
    {
        struct send_notice *n = list_entry(node, struct send_notice, link);
        struct pd_message m = {
            .type = PD_DONE, .rank = r->send->env.config->tp_rank, .run = n->run};

        if (!n->wanted)
            continue;
        n->ask.answer = done_answer;
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
    if (r->state == REQUEST_TELLING)
        log_warn("pd: request %s is complete, but a receiver did not take note of it in time: "
                 ".l2fs/ready there may not open; is it up?",
                 r->req_id);
    settle(r);
}

static void start_telling(struct send_request *r)
{
    list_remove(&r->link);
    list_push_back(&r->send->telling, &r->link);
    r->timer.expired = expired;
    r->deadline = clock_deadline(r->send->env.config->notify_timeout);
    if (!try_again(r))
        expired(&r->timer);
}

static int target_of(struct pd_send *s, const struct l2_route *route)
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
    r = find(s, route->req_id, REQUEST_OPEN);
    if (!r && find(s, route->req_id, REQUEST_TELLING))
        return 0;
    if (!r)
        target = target_of(s, route);
    if (target < 0)
        return target;
    if (!r && !(r = add(s, route->req_id)))
        return -ENOMEM;
    if (list_empty(&r->notices) && aim(r, &s->peers[target], 0))
        return -ENOMEM;
    r->state = REQUEST_TELLING;
    start_telling(r);
    return 0;
}

/* --- a peer is up --- */

/* It is another run than the one that has answered, or has never answered. */
static bool is_news(struct send_request *r, const struct send_peer *p)
{
    struct send_notice *n = notice_of(r, p);

    if (n && p->run && n->told != p->run)
        n->wanted = true;
    return n && n->wanted;
}

void send_requests_poke(struct send_peer *p)
{
    struct pd_send *s = p->send;
    struct list round, *node;

    list_for_each(node, &s->telling)
    {
        struct send_request *r = list_entry(node, struct send_request, link);

        if (is_news(r, p))
            ask_all(r);
    }
    forget_old(s);
    list_init(&round);
    list_splice(&round, &s->settled);
    while ((node = list_pop_front(&round))) {
        struct send_request *r = list_entry(node, struct send_request, link);

        list_push_back(&s->settled, node);
        if (is_news(r, p))
            start_telling(r);
    }
}

bool pd_send_telling(const struct pd_send *s)
{
    return !list_empty(&s->telling);
}

void send_requests_init(struct pd_send *s)
{
    list_init(&s->request_age);
    list_init(&s->telling);
    list_init(&s->settled);
}

void send_requests_fini(struct pd_send *s)
{
    while (!list_empty(&s->telling))
        settle(list_entry(s->telling.next, struct send_request, link));
    while (!list_empty(&s->settled))
        forget(list_entry(s->settled.next, struct send_request, link));
    while (!list_empty(&s->request_age))
        forget(list_entry(s->request_age.next, struct send_request, link));
}
