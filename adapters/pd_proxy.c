/* pd_proxy.c - the queue of notifications for the proxy.
 *
 * What cannot be handed over at once waits in order of arrival, which is the order of its deadlines;
 * the first is tried again when the proxy connects, and every RETRY. Handed over is not delivered: ZMQ loses what it holds
 * when the proxy dies.
 */
#include "pd_proxy.h"

#include "clock.h"
#include "hash.h"
#include "log.h"
#include "pd_proto.h"

#define WAITING_MAX 65536
#define RETRY (500 * NSEC_PER_MSEC)

struct notice {
    struct hash_node node;
    struct list link;
    uint64_t deadline;
    size_t len;
    char req_id[];
};

struct pd_proxy {
    struct loop *loop;
    struct pd_push *push; /* NULL: nobody is told */
    struct loop_timer timer;
    uint64_t timeout;
    struct list queue;   /* struct notice, oldest first */
    struct hash waiting; /* the same by req_id */
    struct pd_proxy_counts counts;
};

static struct notice *first(struct pd_proxy *p)
{
    return list_empty(&p->queue) ? NULL : list_entry(p->queue.next, struct notice, link);
}

static struct notice *find(const struct pd_proxy *p, uint64_t hash, const char *req_id, size_t len)
{
    for (struct hash_node *n = hash_first(&p->waiting, hash); n; n = hash_next(n)) {
        struct notice *notice = container_of(n, struct notice, node);

        if (notice->len == len && !memcmp(notice->req_id, req_id, len))
            return notice;
    }
    return NULL;
}

static void drop(struct pd_proxy *p, struct notice *n)
{
    list_remove(&n->link);
    hash_remove(&p->waiting, &n->node);
    free(n);
    p->counts.waiting--;
}

static void fail(struct pd_proxy *p, struct notice *n, const char *why)
{
    log_warn("the proxy was not told that request %.*s is ready: %s; its client waits until the "
             "proxy gives up",
             (int)MIN(n->len, (size_t)256), n->req_id, why);
    p->counts.failed++;
    drop(p, n);
}

static int send_notice(struct pd_proxy *p, const struct notice *n)
{
    struct pd_message m = {.type = PD_PROXY_NOTIF, .req_id = {n->req_id, n->len}};
    struct text bytes = {0};
    int err = -ENOMEM;

    pd_encode(&m, &bytes);
    if (!bytes.failed)
        err = pd_push_send(p->push, bytes.data, bytes.len);
    text_fini(&bytes);
    return err;
}

/* Sends what goes, in order. */
static void flush(struct pd_proxy *p)
{
    struct notice *n;

    while ((n = first(p)) && !send_notice(p, n)) {
        p->counts.sent++;
        drop(p, n);
    }
}

static void flush_and_wait(struct pd_proxy *p)
{
    struct notice *n;
    uint64_t now;

    flush(p);
    now = clock_now();
    while ((n = first(p)) && n->deadline <= now)
        fail(p, n, "it did not take it in time, see proxy_host and proxy_port");
    if (!n)
        loop_timer_cancel(p->loop, &p->timer);
    else if (loop_timer_arm(p->loop, &p->timer, MIN(n->deadline, now + RETRY)))
        fail(p, n, strerror(ENOMEM));
}

static void expired(struct loop_timer *t)
{
    flush_and_wait(container_of(t, struct pd_proxy, timer));
}

static void up(void *arg)
{
    flush_and_wait(arg);
}

int pd_proxy_notify(struct pd_proxy *p, const char *req_id, size_t len)
{
    uint64_t hash = hash_bytes(req_id, len, 0);
    struct notice *n;

    if (!p->push || find(p, hash, req_id, len))
        return 0;
    if (p->counts.waiting == WAITING_MAX) {
        log_warn("the proxy is not told that request %.*s is ready: %d notifications wait already",
                 (int)MIN(len, (size_t)256), req_id, WAITING_MAX);
        p->counts.failed++;
        return -ENOBUFS;
    }
    n = malloc(sizeof(*n) + len);
    if (!n)
        return -ENOMEM;
    n->deadline = clock_deadline(p->timeout);
    n->len = len;
    memcpy(n->req_id, req_id, len);
    list_push_back(&p->queue, &n->link);
    hash_insert(&p->waiting, &n->node, hash);
    p->counts.waiting++;
    if (p->counts.waiting == 1)
        flush_and_wait(p);
    return 0;
}

struct pd_proxy_counts pd_proxy_counts(const struct pd_proxy *p)
{
    return p->counts;
}

int pd_proxy_create(struct loop *loop, struct pd_ctl *ctl, const char *host, uint16_t port,
                    uint64_t timeout, struct pd_proxy **out)
{
    struct pd_proxy *p = calloc(1, sizeof(*p));
    int err;

    if (!p)
        return -ENOMEM;
    p->loop = loop;
    p->timeout = timeout;
    p->timer.expired = expired;
    list_init(&p->queue);
    err = hash_init(&p->waiting);
    if (!err && host && *host)
        err = pd_push_create(ctl, host, port, &p->push);
    if (!err && p->push)
        pd_push_when_up(p->push, up, p);
    if (err) {
        pd_proxy_destroy(p);
        return err;
    }
    *out = p;
    return 0;
}

void pd_proxy_destroy(struct pd_proxy *p)
{
    struct notice *n;

    if (!p)
        return;
    loop_timer_cancel(p->loop, &p->timer);
    flush(p);
    while ((n = first(p)))
        fail(p, n, "the mount ends");
    pd_push_destroy(p->push);
    hash_fini(&p->waiting);
    free(p);
}
