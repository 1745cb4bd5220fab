/* pd_send_fixture.c - a sender under test and its stores; see pd_send_fixture.h.
 *
 * Far ends and sender live on the rig's loop thread; tests call there, and wait on the condition.
 */
#include "pd_send_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "checksum.h"
#include "clock.h"
#include "lock.h"
#include "pd_channel_impl.h"
#include "pd_send_impl.h"

/* --- a channel whose sends can be held --- */

/* Of the one rig of the process. Loop thread. */
static struct {
    struct pd_channel_impl impl;
    const struct pd_channel_impl *real;
    struct list sends; /* struct pd_transfer */
    bool hold;
} gate;

static void gate_start(struct pd_transfer *t)
{
    if (gate.hold && !t->receiving)
        list_push_back(&gate.sends, &t->link);
    else
        gate.real->start(t);
}

static bool is_held(const struct pd_transfer *t)
{
    struct list *node;

    list_for_each(node, &gate.sends)
    {
        if (node == &t->link)
            return true;
    }
    return false;
}

/* As with UCX, a send that has begun goes on. */
static void gate_cancel(struct pd_transfer *t)
{
    if (!is_held(t))
        gate.real->cancel(t);
}

static void gate_close(struct pd_conn *conn)
{
    struct list ended, *node, *next;

    list_init(&ended);
    list_for_each_safe(node, next, &gate.sends)
    {
        if (list_entry(node, struct pd_transfer, link)->conn != conn)
            continue;
        list_remove(node);
        list_push_back(&ended, node);
    }
    gate.real->close(conn);
    while ((node = list_pop_front(&ended)))
        pd_transfer_done(list_entry(node, struct pd_transfer, link), -ECONNRESET);
}

static void gate_open(struct pd_channel *c)
{
    list_init(&gate.sends);
    gate.real = c->impl;
    gate.impl = *c->impl;
    gate.impl.start = gate_start;
    gate.impl.cancel = gate_cancel;
    gate.impl.close = gate_close;
    c->impl = &gate.impl;
}

void rig_hold_data(struct rig *r, bool hold)
{
    struct list *node;

    (void)r;
    gate.hold = hold;
    while (!hold && (node = list_pop_front(&gate.sends)))
        gate.real->start(list_entry(node, struct pd_transfer, link));
}

/* --- the rig --- */

void rig_call(struct rig *r, void (*fn)(void *arg), void *arg)
{
    if (r->running)
        mailbox_call(r->mailbox, fn, arg);
    else
        fn(arg);
}

void rig_notify(struct rig *r)
{
    LOCKED_SCOPE(&r->lock);
    r->events++;
    pthread_cond_broadcast(&r->changed);
}

struct question {
    bool (*pred)(void *arg);
    void *arg;
    bool holds;
};

static void ask(void *arg)
{
    struct question *q = arg;

    q->holds = q->pred(q->arg);
}

void rig_wait(struct rig *r, bool (*pred)(void *arg), void *arg)
{
    uint64_t deadline = clock_deadline(WAIT_TIME);
    struct question q = {.pred = pred, .arg = arg};
    size_t seen;

    while (true) {
        lock(&r->lock);
        seen = r->events;
        unlock(&r->lock);
        rig_call(r, ask, &q);
        if (q.holds)
            return;
        ck_assert_msg(clock_now() < deadline, "waited in vain");
        lock(&r->lock);
        if (seen == r->events)
            cond_wait_until(&r->changed, &r->lock, clock_deadline(10 * NSEC_PER_MSEC));
        unlock(&r->lock);
    }
}

struct awaited {
    struct far *far;
    enum pd_type type;
    size_t n;
};

static bool has_come(void *arg)
{
    struct awaited *a = arg;

    return a->far->count[a->type] >= a->n;
}

void far_wait(struct far *f, enum pd_type type, size_t n)
{
    struct awaited a = {f, type, n};

    rig_wait(f->rig, has_come, &a);
}

struct wanted {
    struct rig *rig;
    enum batch_state state;
};

static bool in_state(void *arg)
{
    struct wanted *w = arg;
    struct send_peer *p = &w->rig->send->peers[0];
    struct list *list = w->state == BATCH_WAIT ? &p->waiting : &p->active;

    return !list_empty(list) && list_entry(list->next, struct send_batch, link)->state == w->state;
}

void rig_wait_state(struct rig *r, int state)
{
    struct wanted w = {r, (enum batch_state)state};

    rig_wait(r, in_state, &w);
}

static json_t *ports(uint16_t port)
{
    return json_pack("[i]", port);
}

static void make_config(struct rig *r)
{
    static const char *const names[] = {"", "one", "two"};
    struct pd_config *c = &r->config;

    *c = (struct pd_config){.role = PD_SENDER,
                            .peer_host = (char *)"127.0.0.1",
                            .init_port = ports(r->far[0].init_port),
                            .alloc_port = ports(r->far[0].alloc_port),
                            .buffer_size = 64 * MIB,
                            .transport = PD_MOCK_MEMORY,
                            .alloc_timeout = 5 * NSEC_PER_SEC,
                            .transfer_timeout = 5 * NSEC_PER_SEC,
                            .connect_timeout = 5 * NSEC_PER_SEC,
                            .notify_timeout = 5 * NSEC_PER_SEC,
                            .close_timeout = NSEC_PER_SEC,
                            .peers = json_object()};
    for (size_t i = 1; i < r->nfar; i++)
        json_object_set_new(c->peers, names[i],
                            json_pack("{s:s, s:[i], s:[i], s:s}", "peer_host", "127.0.0.1",
                                      "peer_init_port", r->far[i].init_port, "peer_alloc_port",
                                      r->far[i].alloc_port, "dir", names[i]));
}

static void open_rig(struct rig *r, size_t nfar, bool ucx)
{
    memset(r, 0, sizeof(*r));
    lock_init(&r->lock);
    cond_init(&r->changed);
    ck_assert_int_eq(loop_create("pd-test", &r->loop), 0);
    ck_assert_int_eq(mailbox_create(r->loop, &r->mailbox), 0);
    ck_assert_int_eq(pd_ctl_create(r->loop, &(struct pd_curve){0}, &r->ctl), 0);
    ck_assert_int_eq(pd_channel_create(r->loop, ucx,
                                       &(struct pd_channel_config){.tls = "tcp", .devices = "lo"},
                                       &r->channel),
                     0);
    if (!ucx)
        gate_open(r->channel);
    for (r->nfar = 0; r->nfar < nfar; r->nfar++) {
        r->far[r->nfar].rig = r;
        ck_assert(far_bind(&r->far[r->nfar]));
    }
    make_config(r);
    r->adapter = (struct adapter_env){.instance = "pd", .metrics = metrics_create()};
}

void rig_open(struct rig *r, size_t nfar)
{
    open_rig(r, nfar, false);
}

void rig_open_ucx(struct rig *r)
{
    open_rig(r, 0, true);
}

void rig_aim(struct rig *r, uint16_t init_port, uint16_t alloc_port)
{
    json_decref(r->config.init_port);
    json_decref(r->config.alloc_port);
    r->config.init_port = ports(init_port);
    r->config.alloc_port = ports(alloc_port);
}

void rig_start(struct rig *r)
{
    struct pd_env env = {.adapter = &r->adapter,
                         .config = &r->config,
                         .loop = r->loop,
                         .mailbox = r->mailbox,
                         .ctl = r->ctl,
                         .channel = r->channel};

    ck_assert_int_eq(pd_send_create(&env, r->proxy, &r->send), 0);
    ck_assert_int_eq(loop_start(r->loop), 0);
    r->running = true;
}

static void stop_sender(void *arg)
{
    struct rig *r = arg;

    pd_send_destroy(r->send);
    r->send = NULL;
}

void rig_stop_sender(struct rig *r)
{
    rig_call(r, stop_sender, r);
}

void rig_close(struct rig *r)
{
    rig_stop_sender(r);
    for (size_t i = 0; i < r->nfar; i++)
        far_kill(&r->far[i]);
    loop_stop(r->loop);
    r->running = false;
    for (size_t i = 0; i < r->nfar; i++)
        far_free(&r->far[i]);
    pd_proxy_destroy(r->proxy);
    pd_channel_destroy(r->channel);
    pd_ctl_destroy(r->ctl);
    mailbox_destroy(r->mailbox);
    loop_destroy(r->loop);
    metrics_destroy(r->adapter.metrics);
    json_decref(r->config.init_port);
    json_decref(r->config.alloc_port);
    json_decref(r->config.peers);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
}

/* --- stores --- */

void push_set(struct push *p, size_t i, uint64_t size)
{
    struct l2_buf *b = &p->bufs[i];
    AUTO_FREE unsigned char *data = malloc(MAX(size, 1));

    for (uint64_t at = 0; at < size; at++)
        data[at] = (unsigned char)((at >> 8) * 31 + at * 7 + i * 13 + size);
    ck_assert_int_eq(ftruncate(b->fd, 0), 0);
    ck_assert_int_eq(pwrite(b->fd, data, size, 0), (ssize_t)size);
    b->size = size;
    b->crc32c = checksum(0, data, size);
}

struct push *push_new(struct rig *r, size_t n, uint64_t size, const char *prefix)
{
    struct push *p = calloc(1, sizeof(*p));

    p->rig = r;
    p->n = n;
    p->keys = calloc(n, sizeof(char *));
    p->bufs = calloc(n, sizeof(*p->bufs));
    p->errors = calloc(n, sizeof(int));
    p->crc32c = calloc(n, sizeof(uint32_t));
    for (size_t i = 0; i < n; i++) {
        char key[64];

        snprintf(key, sizeof(key), "%skey%zu", prefix, i);
        p->keys[i] = strdup(key);
        p->bufs[i] = (struct l2_buf){.fd = memfd_create("key", MFD_CLOEXEC),
                                     .stable = true,
                                     .attr = {.mode = S_IFREG | 0640, .mtime = {.tv_sec = 1}}};
        push_set(p, i, size);
    }
    return p;
}

struct submission {
    struct pd_store store;
    struct push *push;
};

static void finished(struct pd_store *store)
{
    struct submission *s = container_of(store, struct submission, store);
    struct push *p = s->push;
    struct rig *r = p->rig;

    memcpy(p->errors, store->job.errors, p->n * sizeof(int));
    memcpy(p->crc32c, store->job.crc32c, p->n * sizeof(uint32_t));
    p->bytes = store->job.bytes;
    job_destroy(&store->job);
    LOCKED_SCOPE(&r->lock);
    p->done = true;
    r->events++;
    pthread_cond_broadcast(&r->changed);
}

static void run_store(struct letter *letter)
{
    struct pd_store *store = container_of(letter, struct pd_store, letter);
    struct submission *s = container_of(store, struct submission, store);

    pd_send_store(s->push->rig->send, store);
}

void push_submit(struct push *p)
{
    struct job_request req = {.family = L2_STORE, .keys = p->keys, .bufs = p->bufs, .n = p->n};
    struct submission *s;
    struct job *j;

    p->done = false;
    ck_assert_int_eq(job_create(sizeof(*s), &req, &j), 0);
    s = container_of(container_of(j, struct pd_store, job), struct submission, store);
    s->push = p;
    s->store.finish = finished;
    s->store.letter.run = run_store;
    list_init(&s->store.letter.link);
    mailbox_post(p->rig->mailbox, &s->store.letter);
}

bool push_done(struct push *p)
{
    LOCKED_SCOPE(&p->rig->lock);
    return p->done;
}

static bool is_done(void *arg)
{
    return push_done(arg);
}

void push_wait(struct push *p)
{
    rig_wait(p->rig, is_done, p);
}

void push_run(struct push *p)
{
    push_submit(p);
    push_wait(p);
}

void push_free(struct push *p)
{
    for (size_t i = 0; i < p->n; i++) {
        close(p->bufs[i].fd);
        free((char *)p->keys[i]);
    }
    free(p->keys);
    free(p->bufs);
    free(p->errors);
    free(p->crc32c);
    free(p);
}

/* --- what the sender shows --- */

struct shown {
    struct rig *rig;
    json_t *peers;
};

static void get_peers(void *arg)
{
    struct shown *s = arg;

    s->peers = pd_send_peers(s->rig->send);
}

const char *peer_state(struct rig *r, const char *name, char out[16])
{
    struct shown s = {.rig = r};

    rig_call(r, get_peers, &s);
    snprintf(out, 16, "%s",
             json_string_value(json_object_get(json_object_get(s.peers, name), "state")));
    json_decref(s.peers);
    return out;
}

json_int_t peer_number(struct rig *r, const char *name, const char *field)
{
    struct shown s = {.rig = r};
    json_int_t value;

    rig_call(r, get_peers, &s);
    value = json_integer_value(json_object_get(json_object_get(s.peers, name), field));
    json_decref(s.peers);
    return value;
}
