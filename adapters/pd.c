/* pd.c - the pd adapter: from prefill to decode, one push. Opens and closes the parts of a role, and
 * is the contract in front of them.
 *
 * One engine thread (loop.c) has all that talks to peers: the sockets (pd_ctl.c), the transfers
 * (pd_channel.h), and the state of the role (pd_send.c or pd_recv.c). Whatever is asked of it from
 * another thread is a letter. A sender's stores go there; what either role cannot do - find and
 * load keys - and the stores of a receiver, which send nothing, are answered where they are asked.
 */
#include "clock.h"
#include "lock.h"
#include "log.h"
#include "mailbox.h"
#include "pd_send.h"
#include "pd_transport.h"
#include "pin.h"
#include "registry.h"

struct pd {
    struct adapter base;
    struct adapter_env env;
    const struct pd_config *cfg;
    struct jobs jobs;
    struct loop *loop;
    struct mailbox *mailbox;
    struct pd_ctl *ctl;
    struct pd_channel *channel;
    struct pd_proxy *proxy; /* sender */
    struct pd_send *send;   /* sender */
    struct pd_recv *recv;   /* receiver */
};

static struct pd *to_pd(struct adapter *a)
{
    return container_of(a, struct pd, base);
}

/* --- tasks --- */

static void store_finished(struct pd_store *s)
{
    jobs_finish(s->job.owner, &s->job);
}

static void run_store(struct letter *letter)
{
    struct pd_store *s = container_of(letter, struct pd_store, letter);

    pd_send_store(s->send, s);
}

static l2_task submit(struct adapter *a, const struct job_request *req)
{
    struct pd *pd = to_pd(a);
    bool pushes = req->family == L2_STORE && pd->send;
    struct job *j;
    l2_task id;
    int err = job_create(pushes ? sizeof(struct pd_store) : sizeof(*j), req, &j);

    if (err)
        return err;
    id = jobs_begin(&pd->jobs, j);
    if (id < 0)
        return id;
    if (pushes) {
        struct pd_store *s = container_of(j, struct pd_store, job);

        s->send = pd->send;
        s->finish = store_finished;
        s->letter.run = run_store;
        list_init(&s->letter.link);
        mailbox_post(pd->mailbox, &s->letter);
        return id;
    }
    job_keep_nothing(j);
    jobs_finish(&pd->jobs, j);
    return id;
}

static l2_task pd_submit_store(struct adapter *a, const char *const *keys,
                               const struct l2_buf *bufs, size_t n)
{
    return submit(a, &(struct job_request){L2_STORE, keys, bufs, n});
}

static l2_task pd_submit_lookup(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

static l2_task pd_submit_load(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOAD, keys, NULL, n});
}

static int pd_event_fd(struct adapter *a, enum l2_family family)
{
    return jobs_event_fd(&to_pd(a)->jobs, family);
}

static int pd_pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return jobs_pop_stored(&to_pd(a)->jobs, out);
}

static int pd_query_lookup(struct adapter *a, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    return jobs_query_lookup(&to_pd(a)->jobs, task, found, sizes);
}

static int pd_query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                         struct l2_object *objects, int *errors)
{
    return jobs_query_load(&to_pd(a)->jobs, task, loaded, objects, errors);
}

/* No lookup ever took a lock. */
static void pd_submit_unlock(struct adapter *a, const char *const *keys, size_t n)
{
    (void)a;
    (void)keys;
    (void)n;
}

/* Nothing is held that could be removed. */
static int pd_remove(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped)
{
    (void)a;
    (void)keys;
    (void)n;
    (void)skipped;
    return 0;
}

/* --- requests that do not wait --- */

struct request {
    struct letter letter;
    struct pd_send *send;
    char **words; /* one block: the key; or req_id and peer ("": not said) */
    void (*run)(struct request *r);
};

static void run_request(struct letter *letter)
{
    struct request *r = container_of(letter, struct request, letter);

    r->run(r);
    free(r->words);
    free(r);
}

static int post(struct pd *pd, void (*run)(struct request *r), const char *const *words, size_t n)
{
    struct request *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->words = job_copy_keys(words, n);
    if (!r->words) {
        free(r);
        return -ENOMEM;
    }
    r->letter.run = run_request;
    list_init(&r->letter.link);
    r->send = pd->send;
    r->run = run;
    mailbox_post(pd->mailbox, &r->letter);
    return 0;
}

static void run_cancel(struct request *r)
{
    pd_send_cancel(r->send, r->words[0]);
}

static int pd_cancel_store(struct adapter *a, const char *key)
{
    struct pd *pd = to_pd(a);

    return pd->send ? post(pd, run_cancel, &key, 1) : -ENOENT;
}

static void run_done(struct request *r)
{
    const struct l2_route route = {.req_id = r->words[0],
                                   .peer = *r->words[1] ? r->words[1] : NULL};

    pd_send_request_done(r->send, &route);
}

static int pd_request_done(struct adapter *a, const struct l2_route *route)
{
    const char *words[] = {route->req_id, route->peer ? route->peer : ""};
    struct pd *pd = to_pd(a);

    return pd->send ? post(pd, run_done, words, ARRAY_SIZE(words)) : 0;
}

/* --- what is asked of the engine thread and waited for --- */

struct question {
    struct pd *pd;
    json_t *answer;
};

static void ask_peers(void *arg)
{
    struct question *q = arg;

    q->answer = q->pd->send ? pd_send_peers(q->pd->send) : pd_recv_peers(q->pd->recv);
}

static json_t *pd_peers(struct adapter *a)
{
    struct question q = {.pd = to_pd(a)};

    mailbox_call(q.pd->mailbox, ask_peers, &q);
    return q.answer;
}

static void ask_status(void *arg)
{
    struct question *q = arg;
    struct pd *pd = q->pd;
    struct pd_ctl_counts c = pd_ctl_counts(pd->ctl);

    q->answer =
        json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I}", "is_healthy", 1, "type", "pd", "role",
                  pd->send ? "sender" : "receiver", "messages_oversized", (json_int_t)c.oversized,
                  "messages_malformed", (json_int_t)c.malformed, "messages_refused",
                  (json_int_t)c.refused_keys, "connections_shut", (json_int_t)c.excess);
    if (q->answer && pd->send)
        pd_send_status(pd->send, q->answer);
    else if (q->answer)
        pd_recv_status(pd->recv, q->answer);
    if (q->answer && pd->proxy) {
        struct pd_proxy_counts p = pd_proxy_counts(pd->proxy);

        json_object_set_new(q->answer, "proxy_sent", json_integer((json_int_t)p.sent));
        json_object_set_new(q->answer, "proxy_failed", json_integer((json_int_t)p.failed));
        json_object_set_new(q->answer, "proxy_waiting", json_integer((json_int_t)p.waiting));
    }
}

static json_t *pd_status(struct adapter *a)
{
    struct question q = {.pd = to_pd(a)};

    mailbox_call(q.pd->mailbox, ask_status, &q);
    return q.answer;
}

/* --- open and close --- */

static void destroy_role(struct pd *pd)
{
    if (pd->send)
        pd_send_destroy(pd->send);
    if (pd->recv)
        pd_recv_destroy(pd->recv);
    if (pd->proxy)
        pd_proxy_destroy(pd->proxy);
    if (pd->channel)
        pd_channel_destroy(pd->channel);
    if (pd->ctl)
        pd_ctl_destroy(pd->ctl);
}

static void pd_free(struct pd *pd)
{
    jobs_fini(&pd->jobs);
    mailbox_destroy(pd->mailbox);
    if (pd->loop)
        loop_destroy(pd->loop);
    free(pd);
}

static void stop(void *arg)
{
    destroy_role(arg);
}

/* Who closes waits for the loop to have nothing left to tell anybody. */
struct closing {
    struct loop_hook hook;
    struct pd *pd;
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool quiet; /* lock */
};

static uint64_t look(struct loop_hook *hook)
{
    struct closing *c = container_of(hook, struct closing, hook);

    if (!pd_send_telling(c->pd->send) && !pd_proxy_counts(c->pd->proxy).waiting) {
        LOCKED_SCOPE(&c->lock);
        c->quiet = true;
        pthread_cond_signal(&c->told);
    }
    return UINT64_MAX;
}

static void look_on(void *arg)
{
    struct closing *c = arg;

    loop_add_hook(c->pd->loop, &c->hook);
}

static void look_no_more(void *arg)
{
    struct closing *c = arg;

    loop_remove_hook(c->pd->loop, &c->hook);
}

static void wait_until_told(struct pd *pd, uint64_t deadline)
{
    struct closing c = {.hook.before_wait = look, .pd = pd};

    lock_init(&c.lock);
    cond_init(&c.told);
    mailbox_call(pd->mailbox, look_on, &c);
    lock(&c.lock);
    while (!c.quiet && !cond_wait_until(&c.told, &c.lock, deadline))
        ;
    unlock(&c.lock);
    mailbox_call(pd->mailbox, look_no_more, &c);
    pthread_cond_destroy(&c.told);
    pthread_mutex_destroy(&c.lock);
}

/* What is on its way gets close_timeout: stores, then what receivers and the proxy are to be told. What
 * is left then fails. */
static void pd_close(struct adapter *a)
{
    struct pd *pd = to_pd(a);
    uint64_t deadline = clock_deadline(pd->cfg->close_timeout);

    jobs_shut(&pd->jobs);
    jobs_drain(&pd->jobs, deadline);
    if (pd->send)
        wait_until_told(pd, deadline);
    mailbox_call(pd->mailbox, stop, pd);
    loop_stop(pd->loop);
    pd_free(pd);
}

/* What the machine must have for these settings. */
static int check_machine(const struct pd *pd)
{
    const char *why = pd->cfg->buffer_device == PD_CUDA ? pin_device_missing() : NULL;

    if (pd->cfg->role == PD_RECEIVER && !pd->env.arrivals) {
        log_err("%s: role=receiver needs a mount that takes files in", pd->env.instance);
        return -EOPNOTSUPP;
    }
    if (why) {
        log_err("%s: buffer_device=cuda: %s; use buffer_device=cpu", pd->env.instance, why);
        return -ENODEV;
    }
    return 0;
}

static int create_role(struct pd *pd)
{
    const struct pd_config *c = pd->cfg;
    const struct pd_curve curve = {.server_key = c->curve_server_key,
                                   .client_key = c->curve_client_key,
                                   .clients = c->curve_clients,
                                   .server = c->role == PD_RECEIVER};
    struct pd_env env = {&pd->env, c, pd->loop, pd->mailbox, NULL, NULL};
    int err = pd_ctl_create(pd->loop, &curve, &pd->ctl);

    if (!err)
        err = pd_transport_create(c, pd->loop, &pd->channel);
    env.ctl = pd->ctl;
    env.channel = pd->channel;
    if (!err && c->role == PD_RECEIVER)
        return pd_recv_create(&env, &pd->recv);
    if (!err)
        err = pd_proxy_create(pd->loop, pd->ctl, c->proxy_host, (uint16_t)c->proxy_port,
                              c->notify_timeout, &pd->proxy);
    return err ? err : pd_send_create(&env, pd->proxy, &pd->send);
}

static int start(struct pd *pd)
{
    int err = jobs_init(&pd->jobs);

    if (!err)
        err = loop_create("l2fs-pd", &pd->loop);
    if (!err)
        err = mailbox_create(pd->loop, &pd->mailbox);
    if (err)
        log_err("%s: cannot start: %s; raise the limit of open files", pd->env.instance,
                strerror(-err));
    if (!err)
        err = check_machine(pd);
    if (!err)
        err = create_role(pd);
    return err ? err : loop_start(pd->loop);
}

static int pd_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    struct pd *pd = calloc(1, sizeof(*pd));
    int err;

    if (!pd)
        return -ENOMEM;
    pd->env = *env;
    pd->cfg = config;
    pd->base = (struct adapter){.ops = &pd_adapter,
                                .flags = L2_DISCARDS | (pd->cfg->role == PD_SENDER ? L2_SENDS : 0)};
    err = start(pd);
    if (err) {
        destroy_role(pd);
        pd_free(pd);
        return err;
    }
    *out = &pd->base;
    return 0;
}

const struct adapter_ops pd_adapter = {
    .name = "pd",
    .summary = "pushes files to the mounts of other machines, or takes them in",
    .options = pd_config_options,
    .config_size = sizeof(struct pd_config),
    .flags = L2_DISCARDS,
    .check = pd_config_check,
    .open = pd_open,
    .close = pd_close,
    .event_fd = pd_event_fd,
    .submit_store = pd_submit_store,
    .pop_stored = pd_pop_stored,
    .submit_lookup_and_lock = pd_submit_lookup,
    .query_lookup = pd_query_lookup,
    .submit_unlock = pd_submit_unlock,
    .submit_load = pd_submit_load,
    .query_load = pd_query_load,
    .remove = pd_remove,
    .cancel_store = pd_cancel_store,
    .request_done = pd_request_done,
    .peers = pd_peers,
    .status = pd_status,
};
