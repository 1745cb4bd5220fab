/* pd_recv_foreign.c - senders of LMCache's PD backend: their control plane.
 *
 * Their requests name no sizes, and their bytes would come by NIXL, which is not spoken here: so
 * nothing of theirs ever lands. They are given page numbers, the room of those counts in the buffer
 * of the rank, and it goes back by CancelNotif or when the lease ends. Those that read only the
 * async form of the answer cannot be told from others, so a list of keys that are there already is
 * given to the sync form alone.
 */
#include "bitmap.h"
#include "clock.h"
#include "pd_recv_parts.h"

struct recv_page {
    char *key; /* NULL: it has no page (any more) */
    size_t number;
    bool present, taken;
};

/* A request that has, or waits for, pages. */
struct recv_pages {
    struct recv_waiter waiter;
    struct list link; /* recv_rank.foreign */
    struct loop_timer lease;
    struct recv_origin origin;
    char *req_id;
    bool async;
    uint64_t page; /* bytes */
    size_t n, held;
    struct recv_page pages[];
};

static int compare(const void *a, const void *b)
{
    const struct pd_bytes *x = a, *y = b;

    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->len ? memcmp(x->data, y->data, x->len) : 0;
}

struct pd_bytes *recv_sorted(const struct pd_strings *s)
{
    struct pd_bytes *v = calloc(s->n + 1, sizeof(*v));

    if (!v)
        return NULL;
    if (s->n)
        memcpy(v, s->v, s->n * sizeof(*v));
    qsort(v, s->n, sizeof(*v), compare);
    return v;
}

bool recv_sorted_has(const struct pd_bytes *sorted, size_t n, const char *key)
{
    struct pd_bytes wanted = {key, strlen(key)};

    return bsearch(&wanted, sorted, n, sizeof(wanted), compare);
}

/* --- giving back --- */

static void drop_page(struct recv_pages *f, struct recv_page *p)
{
    struct recv_rank *rank = f->waiter.rank;

    if (!p->key)
        return;
    free(p->key);
    p->key = NULL;
    if (!p->taken)
        return;
    bitmap_clear(rank->pages, p->number);
    rank->npages--;
    rank->used -= f->page;
    f->held--;
}

static void destroy(struct recv_pages *f)
{
    struct pd_recv *r = f->waiter.rank->recv;

    recv_queue_leave(&f->waiter);
    for (size_t i = 0; i < f->n; i++)
        drop_page(f, &f->pages[i]);
    loop_timer_cancel(r->env.loop, &f->lease);
    list_remove(&f->link);
    r->memory -= f->waiter.weight;
    recv_wake(r);
    free(f->req_id);
    free(f);
}

static void lease_ended(struct loop_timer *t)
{
    struct recv_pages *f = container_of(t, struct recv_pages, lease);
    struct pd_recv *r = f->waiter.rank->recv;

    r->counts.expired += f->held;
    recv_warn(r,
              "%zu pages of request %s are taken back: they were neither read nor cancelled in "
              "time",
              f->held, f->req_id);
    destroy(f);
}

/* --- room --- */

static size_t wanted(const struct recv_pages *f)
{
    size_t count = 0;

    for (size_t i = 0; i < f->n; i++)
        count += !f->pages[i].present;
    return count;
}

static int attempt(struct recv_waiter *w)
{
    struct recv_pages *f = container_of(w, struct recv_pages, waiter);
    uint64_t limit = w->rank->recv->env.config->buffer_size;
    size_t n = wanted(f);

    if (n * f->page > limit - w->rank->used || w->rank->npages + n > PD_KEYS_MAX)
        return -EAGAIN;
    return 0;
}

static size_t free_page(const struct recv_rank *rank, size_t from)
{
    while (bitmap_test(rank->pages, from))
        from++;
    return from;
}

static int64_t *take_pages(struct recv_pages *f)
{
    struct recv_rank *rank = f->waiter.rank;
    int64_t *remote = calloc(f->n + 1, sizeof(*remote));
    size_t number = 0, k = 0;

    for (size_t i = 0; remote && i < f->n; i++) {
        struct recv_page *p = &f->pages[i];

        if (p->present)
            continue;
        number = free_page(rank, number);
        bitmap_set(rank->pages, number);
        p->number = number;
        p->taken = true;
        rank->npages++;
        remote[k++] = (int64_t)number;
        rank->used += f->page;
        f->held++;
    }
    return remote;
}

static void refuse(const struct recv_origin *to, size_t n)
{
    struct pd_message m = {.type = PD_ALLOC_RESPONSE, .async = true};
    AUTO_FREE int64_t *none = malloc((n + 1) * sizeof(*none));

    if (!none) {
        recv_refuse(to, PD_ALLOC_RESPONSE, -ENOMEM, "out of memory");
        return;
    }
    m.remote_indexes = (struct pd_ints){none, MAX(n, (size_t)1)};
    for (size_t i = 0; i <= n; i++)
        none[i] = -1;
    recv_answer(to, &m);
}

/* `numbers`: one for each page that was taken; behind them room for the list of what is there. */
static void answer(struct recv_pages *f, int64_t *remote)
{
    struct pd_message m = {.type = PD_ALLOC_RESPONSE, .async = f->async};
    AUTO_FREE int64_t *already = calloc(f->n + 1, sizeof(*already));
    size_t there = 0;

    for (size_t i = 0; already && i < f->n; i++) {
        if (f->pages[i].present)
            already[there++] = (int64_t)i;
    }
    m.remote_indexes = (struct pd_ints){remote, f->held};
    m.already_sent_indexes = (struct pd_ints){already, there};
    recv_answer(&f->origin, &m);
}

static void finish(struct recv_waiter *w, int error)
{
    struct recv_pages *f = container_of(w, struct recv_pages, waiter);
    struct pd_recv *r = w->rank->recv;
    AUTO_FREE int64_t *remote = NULL;

    if (!error) {
        list_push_back(&w->rank->foreign, &f->link);
        remote = take_pages(f);
        f->lease.expired = lease_ended;
        if (!remote || loop_timer_arm(r->env.loop, &f->lease, clock_deadline(r->env.config->lease)))
            error = -ENOMEM;
    }
    if (error) {
        r->counts.refused++;
        refuse(&f->origin, f->n);
        destroy(f);
        return;
    }
    answer(f, remote);
    if (!f->held)
        destroy(f);
}

/* --- requests --- */

/* Pages that the request has on this rank. */
static size_t pages_of(const struct recv_rank *rank, struct pd_bytes req_id)
{
    struct list *node;
    size_t count = 0;

    list_for_each(node, &rank->foreign)
    {
        struct recv_pages *f = list_entry(node, struct recv_pages, link);

        count += recv_equal(req_id, f->req_id) ? f->n : 0;
    }
    return count;
}

/* Gives back the pages of these keys (n 0: of all) of the request. */
static void give_back(struct recv_rank *rank, struct pd_bytes req_id, const struct pd_bytes *keys,
                      size_t n)
{
    struct list *node, *next;

    list_for_each_safe(node, next, &rank->foreign)
    {
        struct recv_pages *f = list_entry(node, struct recv_pages, link);

        if (!recv_equal(req_id, f->req_id))
            continue;
        for (size_t i = 0; i < f->n; i++) {
            if (f->pages[i].key && (!n || recv_sorted_has(keys, n, f->pages[i].key)))
                drop_page(f, &f->pages[i]);
        }
        if (!f->held)
            destroy(f);
    }
    recv_wake(rank->recv);
}

static size_t weight_of(const struct pd_message *m)
{
    size_t weight =
        sizeof(struct recv_pages) + m->keys.n * sizeof(struct recv_page) + m->req_id.len;

    for (size_t i = 0; i < m->keys.n; i++)
        weight += m->keys.v[i].len + 1;
    return weight;
}

static bool copy(struct recv_pages *f, const struct pd_message *m)
{
    struct arrivals *a = f->waiter.rank->recv->env.adapter->arrivals;

    f->req_id = strndup(m->req_id.data ? m->req_id.data : "", m->req_id.len);
    for (size_t i = 0; i < f->n; i++) {
        f->pages[i].key = strndup(m->keys.v[i].data, m->keys.v[i].len);
        if (!f->pages[i].key)
            return false;
        f->pages[i].present = !m->async && !a->has(a, f->pages[i].key);
    }
    return f->req_id;
}

/* Whether it can ever be given: the first batch of a request says how many there will be. */
static bool sane(const struct recv_request *req, uint64_t page)
{
    const struct pd_message *m = req->m;
    uint64_t most = page ? req->rank->recv->env.config->buffer_size / page : 0;

    if (!page || !pd_object_size(m, true) || m->keys.n > most || m->total_chunks < 0 ||
        m->total_chunks > (int64_t)MIN(most, (uint64_t)PD_KEYS_MAX))
        return false;
    if (!m->req_id.len || !m->total_chunks ||
        pages_of(req->rank, m->req_id) + m->keys.n <= (size_t)m->total_chunks)
        return true;
    give_back(req->rank, m->req_id, NULL, 0);
    return false;
}

void recv_foreign_request(const struct recv_request *req)
{
    const struct pd_message *m = req->m;
    struct pd_recv *r = req->rank->recv;
    struct recv_pages *f = NULL;
    uint64_t page = pd_object_size(m, false);
    size_t weight = weight_of(m);

    r->counts.foreign++;
    if (!m->keys.n) {
        recv_answer(&req->origin,
                    &(struct pd_message){.type = PD_ALLOC_RESPONSE, .async = m->async});
        return;
    }
    if (sane(req, page) && recv_weigh(r, weight)) {
        f = calloc(1, sizeof(*f) + m->keys.n * sizeof(f->pages[0]));
        if (!f)
            r->memory -= weight;
    }
    if (!f) {
        r->counts.refused++;
        refuse(&req->origin, m->keys.n);
        return;
    }
    f->waiter = (struct recv_waiter){
        .rank = req->rank, .weight = weight, .attempt = attempt, .finish = finish};
    list_init(&f->waiter.link);
    list_init(&f->link);
    f->origin = req->origin;
    f->async = m->async;
    f->page = page;
    f->n = m->keys.n;
    if (copy(f, m))
        recv_queue_join(&f->waiter);
    else
        finish(&f->waiter, -ENOMEM);
}

void recv_foreign_cancel(const struct recv_request *req)
{
    const struct pd_message *m = req->m;
    AUTO_FREE struct pd_bytes *keys = recv_sorted(&m->keys);

    if (keys && m->req_id.len)
        give_back(req->rank, m->req_id, keys, m->keys.n);
    recv_answer(&req->origin, &(struct pd_message){.type = PD_ALLOC_RESPONSE, .async = true});
}

/* What is here whole; the numbers are the places in the question, since nothing can be read. */
void recv_foreign_query(const struct recv_request *req)
{
    struct arrivals *a = req->rank->recv->env.adapter->arrivals;
    const struct pd_strings *asked = &req->m->keys;
    struct pd_message reply = {.type = PD_CACHE_QUERY_RESPONSE};
    AUTO_FREE struct pd_bytes *found = calloc(asked->n + 1, sizeof(*found));
    AUTO_FREE int64_t *numbers = calloc(asked->n + 1, sizeof(*numbers));

    for (size_t i = 0; found && numbers && i < asked->n; i++) {
        AUTO_FREE char *key = strndup(asked->v[i].data, asked->v[i].len);

        if (!key || a->has(a, key))
            continue;
        found[reply.keys.n++] = asked->v[i];
        numbers[reply.remote_indexes.n++] = (int64_t)i;
    }
    reply.keys.v = found;
    reply.remote_indexes.v = numbers;
    recv_answer(&req->origin, &reply);
}

void recv_foreign_destroy(struct recv_rank *rank)
{
    while (!list_empty(&rank->foreign))
        destroy(list_entry(rank->foreign.next, struct recv_pages, link));
}
