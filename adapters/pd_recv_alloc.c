/* pd_recv_alloc.c - an AllocRequest: read, in line for room, staged, answered.
 *
 * It has room for all its keys or for none. The same key may be on its way in two allocations at a
 * time, each with a file of its own: whoever publishes first wins, and a key is said to be there
 * only when it was published.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "clock.h"
#include "key.h"
#include "pd_recv_parts.h"

#define ENDED_MAX 4096 /* outcomes kept */

/* --- reading --- */

static bool whole(const struct pd_message *m)
{
    size_t n = m->keys.n;

    return m->sizes.n == n && m->crcs.n == n && m->modes.n == n && m->uids.n == n &&
           m->gids.n == n && m->mtimes.n == n;
}

static bool in_word(int64_t v)
{
    return v >= 0 && v <= UINT32_MAX;
}

static int read_attr(const struct pd_message *m, size_t i, struct l2_attr *attr)
{
    int64_t mode = m->modes.v[i], mtime = MAX(m->mtimes.v[i], 0);

    if (!in_word(mode) || !in_word(m->uids.v[i]) || !in_word(m->gids.v[i]))
        return -EINVAL;
    if (mode & ~(int64_t)(S_IFMT | 07777) || ((mode & S_IFMT) && (mode & S_IFMT) != S_IFREG))
        return -EINVAL;
    attr->mode = S_IFREG | ((uint32_t)mode & 0777);
    attr->uid = (uint32_t)m->uids.v[i];
    attr->gid = (uint32_t)m->gids.v[i];
    attr->mtime.tv_sec = (time_t)(mtime / (int64_t)NSEC_PER_SEC);
    attr->mtime.tv_nsec = (long)(mtime % (int64_t)NSEC_PER_SEC);
    attr->atime = attr->mtime;
    return 0;
}

static int read_item(struct recv_alloc *a, const struct pd_message *m, size_t i, char *key)
{
    struct recv_item *it = &a->items[i];
    const struct pd_bytes *k = &m->keys.v[i];

    if (memchr(k->data, '\0', k->len) || m->sizes.v[i] < 0 || !in_word(m->crcs.v[i]))
        return -EINVAL;
    it->alloc = a;
    it->what.key = memcpy(key, k->data, k->len);
    it->what.size = (uint64_t)m->sizes.v[i];
    it->what.crc32c = (uint32_t)m->crcs.v[i];
    it->what.ttl = a->recv->env.config->ttl;
    it->what.from = a->name;
    a->errors[i] = -EINPROGRESS;
    return read_attr(m, i, &it->what.attr);
}

static int read_items(struct recv_alloc *a, const struct pd_message *m)
{
    char *key = a->keys;

    for (size_t i = 0; i < a->n; i++) {
        int err = read_item(a, m, i, key);

        if (err)
            return err;
        key += m->keys.v[i].len + 1;
    }
    return 0;
}

static size_t keys_size(const struct pd_message *m)
{
    size_t len = 0;

    for (size_t i = 0; i < m->keys.n; i++)
        len += m->keys.v[i].len + 1;
    return len;
}

void recv_alloc_free(struct recv_alloc *a)
{
    struct pd_recv *r = a->recv;

    recv_queue_leave(&a->waiter);
    loop_timer_cancel(r->env.loop, &a->timer);
    if (a->id)
        hash_remove(&r->allocs, &a->node);
    list_remove(&a->link);
    if (a->peer) {
        a->peer->nallocs--;
        r->nallocs--;
    }
    r->memory -= a->waiter.weight;
    recv_packs_free(a);
    free(a->items);
    free(a->keys);
    free(a->errors);
    free(a);
}

/* --- in line for room --- */

/* The buffer of its rank, for this item. */
static bool is_full(const struct recv_alloc *a, const struct recv_item *it)
{
    return it->what.size > a->recv->env.config->buffer_size - a->waiter.rank->used;
}

/* Room for one item: 0 also when it is there already. */
static int reserve(struct recv_alloc *a, struct recv_item *it)
{
    struct recv_rank *rank = a->waiter.rank;
    struct pd_recv *r = a->recv;
    struct arrivals *arrivals = r->env.adapter->arrivals;
    int err;

    if (it->what.size > r->env.config->buffer_size - a->room)
        return -EFBIG;
    if (is_full(a, it) || r->mapped >= RECV_MAPPED_MAX)
        return -EAGAIN;
    err = arrivals->reserve(arrivals, &it->what);
    if (err == -EEXIST) {
        it->present = true;
        recv_item_settle(it, 0);
        return 0;
    }
    if (err)
        return err;
    it->state = ITEM_RESERVED;
    it->charged = it->reserved = true;
    rank->used += it->what.size;
    r->mapped++;
    a->room += it->what.size;
    a->busy++;
    return 0;
}

/* Lets go all the room it has, to ask again later. */
static void roll_back(struct recv_alloc *a)
{
    for (size_t i = 0; i < a->next; i++) {
        struct recv_item *it = &a->items[i];

        if (it->state != ITEM_RESERVED)
            continue;
        recv_item_over(it);
        it->state = ITEM_WANTED;
    }
    a->next = 0;
    a->room = 0;
}

static bool connected(const struct recv_alloc *a)
{
    return a->peer->conn && a->peer->epoch == a->epoch;
}

static int attempt(struct recv_waiter *w)
{
    struct recv_alloc *a = container_of(w, struct recv_alloc, waiter);
    int err = connected(a) ? 0 : -ENOTCONN;

    if (!err && !recv_queue_l1(w, false)) {
        roll_back(a);
        return -EAGAIN;
    }
    for (; !err && a->next < a->n; a->next++) {
        struct recv_item *it = &a->items[a->next];

        err = it->settled ? 0 : reserve(a, it);
        if (err)
            break;
    }
    if (err == -EAGAIN && is_full(a, &a->items[a->next]))
        recv_queue_fed(w);
    else if (err == -EAGAIN && !recv_queue_l1(w, true))
        roll_back(a);
    return err;
}

/* --- the answer --- */

static const char *why(int error)
{
    switch (error) {
    case -ENOSPC: return "no room in time: the receiver's buffer_size or L1 is full";
    case -EFBIG: return "larger than the receiver's buffer_size or L1";
    case -EBUSY: return "written or pinned at the receiver";
    case -EINVAL: return "a key, size or attribute that cannot be";
    case -ENOTCONN: return "not connected: say Hello";
    case -ENOBUFS: return "too many requests or keys at a time";
    case -ESHUTDOWN: return "the receiver ends";
    default: return strerror(-error);
    }
}

/* As a whole: what it had is given back. */
static void refuse(struct recv_alloc *a, int error)
{
    struct pd_recv *r = a->recv;
    const char *key = a->items[MIN(a->next, a->n - 1)].what.key;
    char reason[KEY_PATH_MAX + 100];

    snprintf(reason, sizeof(reason), "%s: %s", key, why(error));
    if (error != -ESHUTDOWN && error != -ENOTCONN) {
        r->counts.refused++;
        recv_warn(r, "a request of %s for %zu keys is refused: %s", a->name, a->n, reason);
    }
    recv_refuse(&a->asked, PD_ALLOC_RESPONSE, error, reason);
    for (size_t i = 0; i < a->n; i++) {
        a->items[i].settled = true;
        if (a->items[i].state != ITEM_WANTED && a->items[i].state != ITEM_OVER)
            recv_item_over(&a->items[i]);
    }
    recv_alloc_free(a);
}

static void answer(struct recv_alloc *a)
{
    struct pd_message m = {.type = PD_ALLOC_RESPONSE, .async = true, .alloc_id = a->id};
    AUTO_FREE int64_t *numbers = calloc(a->n, 2 * sizeof(*numbers));

    if (!numbers) {
        recv_refuse(&a->asked, PD_ALLOC_RESPONSE, -ENOMEM, why(-ENOMEM));
        return; /* its lease takes the room back */
    }
    m.already_sent_indexes.v = numbers;
    m.tags.v = numbers + a->n;
    for (size_t i = 0; i < a->n; i++) {
        if (a->items[i].present)
            m.already_sent_indexes.v[m.already_sent_indexes.n++] = (int64_t)i;
        else
            m.tags.v[m.tags.n++] = (int64_t)a->items[i].tag;
    }
    a->ntags = m.tags.n;
    m.lease_ms = (int64_t)(a->recv->env.config->lease / NSEC_PER_MSEC);
    recv_answer(&a->asked, &m);
}

static void grant(struct recv_alloc *a)
{
    struct pd_recv *r = a->recv;

    a->busy++;
    recv_packs_post(a);
    for (size_t i = 0; i < a->n; i++) {
        if (!a->items[i].present && !a->items[i].tag)
            recv_item_post(&a->items[i], a->peer->conn);
    }
    a->id = ++r->last_id;
    hash_insert(&r->allocs, &a->node, (uint64_t)a->id);
    answer(a);
    a->phase = ALLOC_GRANTED;
    recv_alloc_lease(a);
    a->busy--;
    recv_alloc_progress(a);
}

void recv_alloc_staged(struct recv_alloc *a)
{
    int err = a->recv->stopping ? -ESHUTDOWN : connected(a) ? 0 : -ENOTCONN;

    for (a->next = 0; !err && a->next < a->n; a->next++) {
        if (a->items[a->next].state != ITEM_STAGING)
            continue;
        err = a->items[a->next].result;
        if (err)
            break;
    }
    if (err)
        refuse(a, err);
    else
        grant(a);
}

/* Its turn has come. */
static void finish(struct recv_waiter *w, int error)
{
    struct recv_alloc *a = container_of(w, struct recv_alloc, waiter);

    if (error) {
        refuse(a, error);
        return;
    }
    a->phase = ALLOC_STAGING;
    recv_packs_make(a);
    if (!recv_land_stage(a))
        grant(a);
}

/* Nothing is held any more: what stays is the outcome. */
static void retire(struct recv_alloc *a)
{
    struct pd_recv *r = a->recv;

    loop_timer_cancel(r->env.loop, &a->timer);
    list_remove(&a->link);
    a->peer->nallocs--;
    r->nallocs--;
    a->peer = NULL;
    free(a->items);
    free(a->keys);
    a->items = NULL;
    a->keys = NULL;
    r->memory -= a->waiter.weight;
    a->waiter.weight = 0;
    a->since = clock_now();
    list_push_back(&r->ended, &a->link);
    if (++r->nended > ENDED_MAX) {
        r->nended--;
        recv_alloc_free(list_entry(r->ended.next, struct recv_alloc, link));
    }
}

void recv_alloc_progress(struct recv_alloc *a)
{
    if (a->phase == ALLOC_GRANTED && !a->unsettled)
        recv_alloc_end(a);
    if (a->phase == ALLOC_ENDED && !a->busy && a->peer)
        retire(a);
}

/* --- a new one --- */

static bool make_arrays(struct recv_alloc *a, const struct pd_message *m)
{
    a->items = calloc(a->n + 1, sizeof(*a->items));
    a->keys = calloc(1, keys_size(m) + 1);
    a->errors = calloc(a->n + 1, sizeof(*a->errors));
    return a->items && a->keys && a->errors;
}

static int create(const struct recv_request *req, struct recv_peer *p, struct recv_alloc **out)
{
    const struct pd_message *m = req->m;
    struct pd_recv *r = req->rank->recv;
    struct recv_alloc *a;
    size_t weight =
        sizeof(*a) + m->keys.n * (sizeof(*a->items) + sizeof(*a->errors)) + keys_size(m);
    int err;

    if (r->nallocs >= RECV_ALLOCS_MAX || p->nallocs >= RECV_ALLOCS_MAX / 8 ||
        !recv_weigh(r, weight))
        return -ENOBUFS;
    a = calloc(1, sizeof(*a));
    if (!a) {
        r->memory -= weight;
        return -ENOMEM;
    }
    a->waiter = (struct recv_waiter){
        .rank = req->rank, .weight = weight, .attempt = attempt, .finish = finish};
    list_init(&a->waiter.link);
    list_init(&a->packs);
    a->may_pack = m->packs;
    a->recv = r;
    a->peer = p;
    a->epoch = p->epoch;
    a->asked = req->origin;
    a->n = a->unsettled = m->keys.n;
    snprintf(a->name, sizeof(a->name), "%s", p->name);
    list_push_back(&p->allocs, &a->link);
    p->nallocs++;
    r->nallocs++;
    err = make_arrays(a, m) ? read_items(a, m) : -ENOMEM;
    if (err)
        recv_alloc_free(a);
    else
        *out = a;
    return err;
}

void recv_alloc_request(const struct recv_request *req)
{
    const struct pd_message *m = req->m;
    struct recv_peer *p = recv_peer_find(req->rank, m->sender);
    struct recv_alloc *a;
    int err;

    if (!p || !p->conn || (m->epoch && m->epoch != p->epoch))
        err = -ENOTCONN;
    else if (!whole(m))
        err = -EINVAL;
    else
        err = m->keys.n > PD_BATCH_KEYS ? -ENOBUFS : create(req, p, &a);
    if (err) {
        req->rank->recv->counts.refused += err != -ENOTCONN;
        recv_refuse(&req->origin, PD_ALLOC_RESPONSE, err, why(err));
        return;
    }
    p->heard = clock_now();
    recv_queue_join(&a->waiter);
}
