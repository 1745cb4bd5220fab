/* ucx.c - the channel over UCX: tag-matched messages, a worker and an endpoint per connection.
 *
 * One context per channel at a time. A worker of its own is what makes close a fence: when it is destroyed no
 * socket or queue of this connection is left that could touch a buffer. All workers are driven by one
 * loop hook, which looks at those alone that have something to do (`busy`): it progresses them until
 * nothing has moved for a moment, then waits for their event fds, a millisecond at most while anything
 * is outstanding, since UCX over tcp is known to lose wake-ups.
 *
 * UCX's callbacks come from within its own calls, so they only move a transfer to `finished`; owners
 * are told from the hook, one at a time, and may do what they like, closing included.
 */
#include "pd_channel_impl.h"

#include <sys/epoll.h>

#include "clock.h"
#include "log.h"
#include "ucx_context.h"

#define SPIN_NS 50000                  /* progress without a pause, after the last that moved */
#define LINGER_NS (50 * NSEC_PER_MSEC) /* poll, after the last transfer: its acks may be queued */
#define POLL_NS NSEC_PER_MSEC
#define TURN_NS NSEC_PER_MSEC /* progress of one connection, before the loop looks at the rest */
#define CLOSE_NS NSEC_PER_SEC
#define DRAIN_NS (20 * NSEC_PER_MSEC) /* what a forced close leaves has nobody who could end it */
#define STRAYS_MAX 4096               /* messages without a receive, in a row */
#define ADDRESS_PAD (4 * KIB)
#define DRAINING_MAX 256 /* of those, under way */

struct ucx_channel {
    struct pd_channel base;
    struct ucx_context *context;
    ucs_memory_type_t received_into;
    struct loop_hook hook;
    struct list busy;     /* struct ucx_conn */
    struct list finished; /* struct pd_transfer whose owners were not told yet */
    struct list lost;     /* struct ucx_conn, likewise */
};

struct ucx_conn {
    struct pd_conn base;
    struct list busy;            /* ucx_channel.busy: is progressed before every wait */
    struct list lost;            /* ucx_channel.lost */
    struct ucx_context *context; /* of the worker */
    ucp_worker_h worker;
    ucp_ep_h ep; /* NULL: not connected */
    struct loop_fd event;
    struct list transfers; /* outstanding */
    uint64_t moved_at;     /* when something last made progress */
    unsigned strays;       /* thrown away since a message last found its receive */
    unsigned draining;     /* strays that UCX still works on */
    bool failed;
    unsigned address_version;
};

static struct ucx_channel *channel_of(const struct ucx_conn *c)
{
    return container_of(c->base.channel, struct ucx_channel, base);
}

static struct ucx_conn *conn_of(const struct pd_transfer *t)
{
    return container_of(t->conn, struct ucx_conn, base);
}

static void make_busy(struct ucx_conn *c)
{
    c->moved_at = clock_now();
    if (!list_linked(&c->busy))
        list_push_back(&channel_of(c)->busy, &c->busy);
}

static void finish(struct pd_transfer *t, int error)
{
    t->finished = true;
    t->request = NULL;
    t->error = error;
    list_remove(&t->link);
    list_push_back(&channel_of(conn_of(t))->finished, &t->link);
}

static void fail(struct ucx_conn *c)
{
    if (c->failed)
        return;
    c->failed = true;
    list_push_back(&channel_of(c)->lost, &c->lost);
}

/* --- transfers --- */

static void finish_recv(struct pd_transfer *t, ucs_status_t status, size_t length)
{
    if (status == UCS_OK)
        conn_of(t)->strays = 0;
    finish(t, status == UCS_OK && length != t->size ? -EMSGSIZE : ucx_errno(status));
}

static void sent(void *request, ucs_status_t status, void *arg)
{
    finish(arg, ucx_errno(status));
    ucp_request_free(request);
}

static void received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *arg)
{
    finish_recv(arg, status, info->length);
    ucp_request_free(request);
}

static void start_send(struct pd_transfer *t, struct ucx_conn *c)
{
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                        UCP_OP_ATTR_FIELD_MEMORY_TYPE,
        .cb.send = sent,
        .user_data = t,
        .memory_type = UCS_MEMORY_TYPE_HOST,
    };
    void *request;

    if (!c->ep || c->failed) {
        finish(t, -ECONNRESET);
        return;
    }
    request = ucp_tag_send_nbx(c->ep, t->from, t->size, t->tag, &param);
    if (UCS_PTR_IS_PTR(request))
        t->request = request;
    else
        finish(t, ucx_errno(UCS_PTR_STATUS(request)));
}

static void start_recv(struct pd_transfer *t, struct ucx_conn *c)
{
    ucp_tag_recv_info_t info = {0};
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                        UCP_OP_ATTR_FIELD_MEMORY_TYPE | UCP_OP_ATTR_FIELD_RECV_INFO,
        .cb.recv = received,
        .user_data = t,
        .memory_type = channel_of(c)->received_into,
        .recv_info.tag_info = &info,
    };
    void *request = ucp_tag_recv_nbx(c->worker, t->to, t->size, t->tag, UINT64_MAX, &param);

    if (UCS_PTR_IS_PTR(request))
        t->request = request;
    else
        finish_recv(t, UCS_PTR_STATUS(request), info.length);
}

static void ucx_start(struct pd_transfer *t)
{
    struct ucx_conn *c = conn_of(t);

    list_push_back(&c->transfers, &t->link);
    make_busy(c);
    if (t->receiving)
        start_recv(t, c);
    else
        start_send(t, c);
}

static void ucx_cancel(struct pd_transfer *t)
{
    if (t->receiving && t->request)
        ucp_request_cancel(conn_of(t)->worker, t->request);
}

/* --- messages that nobody waits for --- */

static void drained(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *arg)
{
    struct ucx_conn *c = arg;

    c->draining--;
    ucp_request_free(request);
}

/* Received into no buffer: UCX drops what it holds of it, and the sender's request ends. */
static void throw_away(struct ucx_conn *c, ucp_tag_message_h message)
{
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                        UCP_OP_ATTR_FIELD_MEMORY_TYPE,
        .cb.recv = drained,
        .user_data = c,
        .memory_type = UCS_MEMORY_TYPE_HOST,
    };

    c->strays++;
    if (UCS_PTR_IS_PTR(ucp_tag_msg_recv_nbx(c->worker, NULL, 0, message, &param)))
        c->draining++;
}

static void drain(struct ucx_conn *c)
{
    ucp_tag_recv_info_t info;
    ucp_tag_message_h message;

    while ((message = ucp_tag_probe_nb(c->worker, 0, 0, 1, &info)))
        throw_away(c, message);
    if (c->strays > STRAYS_MAX || c->draining > DRAINING_MAX)
        fail(c);
}

/* --- progress --- */

static bool progress(struct ucx_conn *c)
{
    uint64_t end = clock_deadline(TURN_NS);
    bool any = false;

    while (ucp_worker_progress(c->worker)) {
        any = true;
        drain(c);
        if (clock_now() > end)
            break;
    }
    return any;
}

/* It would have to be looked at all the time. */
static uint64_t give_up(struct ucx_conn *c, ucs_status_t status)
{
    log_err("pd: UCX cannot wait for a connection (%s): it is ended", ucs_status_string(status));
    fail(c);
    list_remove(&c->busy);
    return UINT64_MAX;
}

/* Until when the loop may sleep, as far as `c` is concerned. */
static uint64_t advance(struct ucx_conn *c)
{
    bool waits = !list_empty(&c->transfers) || c->draining;
    ucs_status_t status;
    uint64_t now;

    if (progress(c))
        make_busy(c);
    now = clock_now();
    if (waits && now - c->moved_at < SPIN_NS)
        return 0;
    status = ucp_worker_arm(c->worker);
    if (status == UCS_ERR_BUSY) /* there is something by now */
        return 0;
    if (status != UCS_OK)
        return give_up(c, status);
    if (waits || now - c->moved_at < LINGER_NS)
        return now + POLL_NS;
    list_remove(&c->busy);
    return UINT64_MAX;
}

static void event_ready(struct loop_fd *f, uint32_t events)
{
    make_busy(container_of(f, struct ucx_conn, event));
}

/* Whether anybody was told, who may have begun something. */
static bool tell(struct ucx_channel *ch)
{
    struct list *node;
    bool any = false;

    while ((node = list_pop_front(&ch->finished))) {
        struct pd_transfer *t = list_entry(node, struct pd_transfer, link);

        pd_transfer_done(t, t->error);
        any = true;
    }
    while ((node = list_pop_front(&ch->lost))) {
        struct ucx_conn *c = list_entry(node, struct ucx_conn, lost);

        c->base.ops->failed(c->base.arg, -ECONNRESET);
        any = true;
    }
    return any;
}

static uint64_t before_wait(struct loop_hook *h)
{
    struct ucx_channel *ch = container_of(h, struct ucx_channel, hook);
    uint64_t until = UINT64_MAX;
    struct list *node, *next;

    list_for_each_safe(node, next, &ch->busy)
    {
        until = MIN(until, advance(list_entry(node, struct ucx_conn, busy)));
    }
    return tell(ch) ? 0 : until;
}

/* --- connections --- */

static unsigned ucx_address_version(const void *address)
{
    return *(const uint8_t *)address & 0xf;
}

static int seal_address(struct ucx_conn *c)
{
    ucp_address_t *address;
    size_t len;
    int rc = ucx_errno(ucp_worker_get_address(c->worker, &address, &len));

    if (rc)
        return rc;
    c->address_version = ucx_address_version(address);
    rc = pd_conn_seal(&c->base, address, len);
    ucp_worker_release_address(c->worker, address);
    return rc;
}

static int add_event(struct ucx_conn *c)
{
    int rc = ucx_errno(ucp_worker_get_efd(c->worker, &c->event.fd));

    c->event.ready = event_ready;
    return rc ? rc : loop_add(c->base.channel->loop, &c->event, EPOLLIN);
}

static void destroy_worker(struct ucx_conn *c)
{
    ucp_worker_destroy(c->worker);
    ucx_context_put(c->context);
}

static int ucx_open(struct pd_channel *channel, struct pd_conn **out)
{
    struct ucx_channel *ch = container_of(channel, struct ucx_channel, base);
    struct ucx_conn *c = calloc(1, sizeof *c);
    int rc;

    if (!c)
        return -ENOMEM;
    c->base.channel = channel;
    list_init(&c->busy);
    list_init(&c->lost);
    list_init(&c->transfers);
    rc = ucx_worker_create(&ch->context, &c->worker, &c->context);
    if (rc)
        goto fail_free;
    rc = seal_address(c);
    if (rc)
        goto fail_worker;
    rc = add_event(c);
    if (rc)
        goto fail_address;
    make_busy(c); /* arms it */
    *out = &c->base;
    return 0;
fail_address:
    free(c->base.address);
fail_worker:
    destroy_worker(c);
fail_free:
    free(c);
    return rc;
}

static void ep_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    fail(arg);
}

static int create_endpoint(struct ucx_conn *c, const void *address)
{
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = address,
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = ep_failed, .arg = c},
    };

    return ucx_errno(ucp_ep_create(c->worker, &params, &c->ep));
}

/* UCX aborts the process when it does not know the version of an address, and takes its length from
 * its content. So it gets a version that it has itself, and what it reads beyond the end is of ones,
 * which mean the last of everything. */
static int ucx_connect(struct pd_conn *conn, const void *address, size_t len)
{
    struct ucx_conn *c = container_of(conn, struct ucx_conn, base);
    AUTO_FREE char *padded = NULL;
    int rc;

    if (len < 1 || ucx_address_version(address) != c->address_version)
        return -EPROTONOSUPPORT;
    padded = malloc(len + ADDRESS_PAD);
    if (!padded)
        return -ENOMEM;
    memcpy(padded, address, len);
    memset(padded + len, 0xff, ADDRESS_PAD);
    rc = create_endpoint(c, padded);
    if (rc)
        return rc;
    make_busy(c);
    ucx_log_endpoint(c->ep);
    return 0;
}

static void close_endpoint(struct ucx_conn *c)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                 .flags = UCP_EP_CLOSE_FLAG_FORCE};
    uint64_t deadline = clock_deadline(CLOSE_NS);
    void *request = c->ep ? ucp_ep_close_nbx(c->ep, &param) : NULL;

    if (!UCS_PTR_IS_PTR(request))
        return;
    while (ucp_request_check_status(request) == UCS_INPROGRESS && clock_now() < deadline)
        ucp_worker_progress(c->worker);
    ucp_request_free(request);
}

/* The requests that UCX can still end; the rest ends with the worker. */
static void end_requests(struct ucx_conn *c)
{
    uint64_t deadline = clock_deadline(DRAIN_NS);
    struct list *node, *next;

    list_for_each_safe(node, next, &c->transfers)
    {
        ucx_cancel(list_entry(node, struct pd_transfer, link));
    }
    close_endpoint(c);
    while ((!list_empty(&c->transfers) || c->draining) && clock_now() < deadline)
        ucp_worker_progress(c->worker);
}

static void ucx_close(struct pd_conn *conn)
{
    struct ucx_conn *c = container_of(conn, struct ucx_conn, base);
    struct list left, *node, *next;

    loop_remove(conn->channel->loop, &c->event);
    end_requests(c);
    destroy_worker(c);
    list_init(&left);
    list_splice(&left, &c->transfers);
    list_for_each_safe(node, next, &channel_of(c)->finished)
    {
        if (list_entry(node, struct pd_transfer, link)->conn == conn) {
            list_remove(node);
            list_push_back(&left, node);
        }
    }
    list_remove(&c->busy);
    list_remove(&c->lost);
    free(c);
    while ((node = list_pop_front(&left)))
        pd_transfer_done(list_entry(node, struct pd_transfer, link), -ECONNRESET);
}

/* --- the channel --- */

static void ucx_destroy(struct pd_channel *channel)
{
    struct ucx_channel *ch = container_of(channel, struct ucx_channel, base);

    loop_remove_hook(channel->loop, &ch->hook);
    ucx_context_put(ch->context);
    free(ch);
}

static const struct pd_channel_impl ucx_impl = {
    .destroy = ucx_destroy,
    .open = ucx_open,
    .connect = ucx_connect,
    .close = ucx_close,
    .start = ucx_start,
    .cancel = ucx_cancel,
};

int pd_ucx_create(struct loop *loop, const struct pd_channel_config *cfg, struct pd_channel **out)
{
    struct ucx_channel *ch = calloc(1, sizeof *ch);
    int rc;

    if (!ch)
        return -ENOMEM;
    rc = ucx_context_create(cfg, &ch->context);
    if (rc) {
        free(ch);
        return rc;
    }
    ch->received_into = cfg->cuda ? UCS_MEMORY_TYPE_CUDA : UCS_MEMORY_TYPE_HOST;
    ch->base.impl = &ucx_impl;
    ch->base.kind = ucx_wire();
    ch->base.loop = loop;
    list_init(&ch->busy);
    list_init(&ch->finished);
    list_init(&ch->lost);
    ch->hook.before_wait = before_wait;
    loop_add_hook(loop, &ch->hook);
    *out = &ch->base;
    return 0;
}
