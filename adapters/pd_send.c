/* pd_send.c - stores come in, are taken apart by receiver and request, and come back whole.
 *
 * All of the sender runs on the loop thread of its adapter.
 */
#include "pd_send.h"

#include <stdio.h>
#include <sys/random.h>

#include "clock.h"
#include "log.h"
#include "pd_send_impl.h"

#define TELL_EVERY NSEC_PER_SEC

/* A key of a store on its way into a batch. */
struct routed {
    size_t index;
    size_t target;
    const char *key;
    const char *req_id;
};

/* --- taking apart --- */

static int by_key(const void *a, const void *b)
{
    const struct routed *x = a, *y = b;

    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return strcmp(x->key, y->key) ? strcmp(x->key, y->key) : (x->index < y->index ? -1 : 1);
}

static int by_request(const void *a, const void *b)
{
    const struct routed *x = a, *y = b;
    int cmp = strcmp(x->req_id, y->req_id);

    if (x->target != y->target)
        return x->target < y->target ? -1 : 1;
    return cmp ? cmp : (x->index < y->index ? -1 : 1);
}

static void log_unknown(struct pd_send *s, const char *key, const char *peer)
{
    if (clock_now() - s->told < TELL_EVERY)
        return;
    s->told = clock_now();
    log_warn(
        "pd: \"%s\" is for peer \"%s\", which is not in `peers`; set user.l2fs.peer to one that is",
        key, peer ? peer : "");
}

/* The target of key i, or -errno that the key fails with. */
static int route(struct pd_send *s, const struct pd_store *store, size_t i)
{
    const struct job *j = &store->job;
    int target = pd_config_route(s->env.config, j->keys[i], j->bufs[i].route.peer);

    if (s->stopping)
        return -ESHUTDOWN;
    if (target < 0) {
        log_unknown(s, j->keys[i], j->bufs[i].route.peer);
        return -EHOSTUNREACH;
    }
    if (s->peers[target].state == PEER_DOWN || s->peers[target].state == PEER_REFUSED) {
        s->peers[target].counts.failures++;
        metric_add(s->peers[target].failures, 1);
        return -EHOSTDOWN;
    }
    return target;
}

static size_t route_all(struct pd_send *s, struct pd_store *store, struct routed *out)
{
    size_t n = 0;

    for (size_t i = 0; i < store->job.n; i++) {
        int target = route(s, store, i);
        const char *req_id = store->job.bufs[i].route.req_id;

        store->job.errors[i] = MIN(target, 0);
        if (target >= 0)
            out[n++] = (struct routed){.index = i,
                                       .target = (size_t)target,
                                       .key = store->job.keys[i],
                                       .req_id = req_id ? req_id : ""};
    }
    return n;
}

/* Of a key that is there more than once the last goes, and the others have its outcome. */
static size_t drop_same(struct pd_store *store, struct routed *v, size_t n)
{
    size_t kept = 0;

    qsort(v, n, sizeof(*v), by_key);
    for (size_t i = 0; i < n; i++) {
        bool same = i + 1 < n && v[i].target == v[i + 1].target && !strcmp(v[i].key, v[i + 1].key);

        if (same)
            store->same[v[i].index] = v[i + 1].index + 1;
        else
            v[kept++] = v[i];
    }
    return kept;
}

/* How many of v[0..n) go into one batch. */
static size_t cut(const struct pd_store *store, const struct routed *v, size_t n)
{
    uint64_t bytes = 0, text = 0;
    size_t i;

    for (i = 0; i < MIN(n, SEND_BATCH_KEYS); i++) {
        if (v[i].target != v[0].target || strcmp(v[i].req_id, v[0].req_id))
            break;
        bytes += store->job.bufs[v[i].index].size;
        text += strlen(v[i].key);
        if (i && (bytes > SEND_BATCH_BYTES || text > SEND_BATCH_TEXT))
            break;
    }
    return i;
}

static void make_batches(struct pd_send *s, struct pd_store *store, struct routed *v, size_t n)
{
    size_t index[SEND_BATCH_KEYS];

    while (n) {
        struct send_pick pick = {.store = store, .index = index, .n = cut(store, v, n)};

        for (size_t i = 0; i < pick.n; i++)
            index[i] = v[i].index;
        if (send_batch_create(&s->peers[v->target], &pick))
            for (size_t i = 0; i < pick.n; i++)
                store->job.errors[index[i]] = -ENOMEM;
        v += pick.n;
        n -= pick.n;
    }
}

void send_store_put(struct pd_store *store)
{
    struct job *j = &store->job;

    if (--store->left)
        return;
    for (size_t i = j->n; store->same && i-- > 0;) {
        if (!store->same[i])
            continue;
        j->errors[i] = j->errors[store->same[i] - 1];
        j->crc32c[i] = j->crc32c[store->same[i] - 1];
    }
    free(store->same);
    store->same = NULL;
    store->finish(store);
}

void pd_send_store(struct pd_send *s, struct pd_store *store)
{
    AUTO_FREE struct routed *v = calloc(store->job.n, sizeof(*v));
    size_t n = 0;

    store->send = s;
    store->left = 1;
    store->job.bytes = 0;
    store->same = calloc(store->job.n, sizeof(*store->same));
    if (v && store->same) {
        n = drop_same(store, v, route_all(s, store, v));
        qsort(v, n, sizeof(*v), by_request);
        make_batches(s, store, v, n);
    } else {
        job_fail(&store->job, -ENOMEM);
    }
    for (size_t i = 0; i < n; i++) {
        if (i && v[i].target == v[i - 1].target)
            continue;
        send_peer_wake(&s->peers[v[i].target]);
        send_peer_pump(&s->peers[v[i].target]);
    }
    send_store_put(store);
}

int pd_send_cancel(struct pd_send *s, const char *key)
{
    uint64_t value = hash_bytes(key, strlen(key), 0);
    struct hash_node *node = hash_first(&s->keys, value), *next;
    int rc = -ENOENT;

    for (; node; node = next) {
        struct send_key *k = container_of(node, struct send_key, node);

        next = hash_next(node);
        if (k->error != SEND_OPEN || strcmp(k->key, key))
            continue;
        rc = 0;
        send_key_cancel(k);
    }
    return rc;
}

/* --- status --- */

static const char *const state_names[] = {[PEER_IDLE] = "idle",
                                          [PEER_CONNECTING] = "connecting",
                                          [PEER_UP] = "up",
                                          [PEER_DOWN] = "down",
                                          [PEER_REFUSED] = "refused"};

static json_t *peer_json(const struct send_peer *p)
{
    const struct peer_counts *c = &p->counts;

    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I}", "state",
                     state_names[p->state], "inflight", (json_int_t)c->inflight, "bytes",
                     (json_int_t)c->bytes, "rtt", (json_int_t)c->rtt, "keys", (json_int_t)c->keys,
                     "failures", (json_int_t)c->failures, "handshakes", (json_int_t)c->handshakes,
                     "last_error", c->last_error ? strerror(-c->last_error) : "", "epoch",
                     (json_int_t)(p->state == PEER_UP ? p->epoch : 0));
}

json_t *pd_send_peers(struct pd_send *s)
{
    json_t *all = json_object();

    for (size_t i = 0; i < s->npeers; i++)
        json_object_set_new(all, s->peers[i].target.name, peer_json(&s->peers[i]));
    return all;
}

void pd_send_status(struct pd_send *s, json_t *status)
{
    uint64_t inflight = 0, down = 0, under_way = 0;

    for (size_t i = 0; i < s->npeers; i++) {
        const struct send_peer *p = &s->peers[i];

        inflight += p->counts.inflight;
        under_way += p->nactive;
        down += p->state == PEER_DOWN || p->state == PEER_REFUSED;
    }
    json_object_set_new(status, "is_healthy", json_boolean(down == 0));
    json_object_set_new(status, "peers_down", json_integer((json_int_t)down));
    json_object_set_new(status, "inflight", json_integer((json_int_t)inflight));
    json_object_set_new(status, "keys_under_way", json_integer((json_int_t)s->keys.count));
    json_object_set_new(status, "batches_under_way", json_integer((json_int_t)under_way));
    json_object_set_new(status, "requests", json_integer((json_int_t)s->requests.count));
    json_object_set_new(status, "requests_forgotten", json_integer((json_int_t)s->forgotten));
    json_object_set_new(status, "late_answers", json_integer((json_int_t)s->strays));
    json_object_set_new(status, "garbage", json_integer((json_int_t)s->garbage));
}

/* --- create and destroy --- */

static void make_name(struct pd_send *s)
{
    char host[32] = "";
    uint64_t random = 0;

    gethostname(host, sizeof(host) - 1);
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = clock_now();
    snprintf(s->name, sizeof(s->name), "%s-%d-%016llx", host, (int)getpid(),
             (unsigned long long)random);
}

static void send_free(struct pd_send *s)
{
    free(s->peers);
    hash_fini(&s->keys);
    hash_fini(&s->requests);
    free(s);
}

int pd_send_create(const struct pd_env *env, struct pd_proxy *proxy, struct pd_send **out)
{
    struct pd_send *s = calloc(1, sizeof(*s));
    int err;

    if (!s)
        return -ENOMEM;
    s->env = *env;
    s->proxy = proxy;
    s->window = 2 * MAX(env->config->buffer_size, 64 * MIB);
    make_name(s);
    send_requests_init(s);
    s->peers = calloc(pd_config_targets(env->config), sizeof(*s->peers));
    err = s->peers ? hash_init(&s->keys) : -ENOMEM;
    if (!err)
        err = hash_init(&s->requests);
    for (size_t n = pd_config_targets(env->config); !err && s->npeers < n; s->npeers++)
        err = send_peer_init(&s->peers[s->npeers], s, s->npeers);
    if (err) {
        for (size_t i = 0; i < s->npeers; i++)
            send_peer_fini(&s->peers[i]);
        send_free(s);
        return err;
    }
    *out = s;
    return 0;
}

void pd_send_destroy(struct pd_send *s)
{
    if (!s)
        return;
    s->stopping = true;
    for (size_t i = 0; i < s->npeers; i++)
        send_peer_shut(&s->peers[i]);
    send_requests_fini(s);
    for (size_t i = 0; i < s->npeers; i++)
        send_peer_fini(&s->peers[i]);
    send_free(s);
}
