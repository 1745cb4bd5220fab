/* pd_recv_ready.c - which ranks have said that a request is all here; when the last has, the mount
 * is told, once.
 *
 * What they said ends with a run of the receiver, so they say it to the next again. What had landed is
 * there then when the run before crashed, and L1 was adopted. Which runs that holds for is noted beside
 * the staging files, and ends with them. Who names another run, as after an unmount, may miss keys:
 * the mount is told so, for whoever waits.
 */
#include "clock.h"
#include "pd_recv_parts.h"
#include "staging.h"

#define REQUESTS_MAX 65536
#define KEEP (600 * NSEC_PER_SEC)
#define REQ_ID_MAX 255

struct recv_ready {
    struct hash_node node; /* pd_recv.ready, by req_id */
    struct list link;      /* pd_recv.ready_list, oldest first */
    uint64_t since;
    uint64_t ranks; /* bit r: rank r said Done */
    bool told, lost;
    char req_id[];
};

_Static_assert(PD_RANKS_MAX <= 64, "ranks are the bits of a word");

/* --- runs --- */

void recv_runs_init(struct pd_recv *r, int64_t run)
{
    struct staging *staging = r->env.adapter->staging;
    size_t room = sizeof(r->runs) - sizeof(run);

    r->nruns = staging_get_note(staging, r->runs, sizeof(r->runs)) / sizeof(run);
    if (r->nruns == RECV_RUNS_MAX)
        memmove(r->runs, r->runs + 1, room);
    r->nruns -= r->nruns == RECV_RUNS_MAX;
    r->runs[r->nruns++] = run;
    (void)staging_set_note(staging, r->runs, r->nruns * sizeof(run));
}

int64_t recv_run(const struct pd_recv *r)
{
    return r->runs[r->nruns - 1];
}

static bool is_here(const struct pd_recv *r, int64_t run)
{
    for (size_t i = 0; i < r->nruns; i++) {
        if (r->runs[i] == run)
            return true;
    }
    return false;
}

/* --- requests --- */

static struct recv_ready *find(struct pd_recv *r, struct pd_bytes id, uint64_t hash)
{
    struct hash_node *n;

    for (n = hash_first(&r->ready, hash); n; n = hash_next(n)) {
        struct recv_ready *e = container_of(n, struct recv_ready, node);

        if (recv_equal(id, e->req_id))
            return e;
    }
    return NULL;
}

static void forget(struct pd_recv *r, struct recv_ready *e)
{
    if (!e->told && !e->lost && !r->stopping)
        recv_warn(r,
                  "request %s did not become ready: not every rank said that it is done; "
                  "its files are there",
                  e->req_id);
    hash_remove(&r->ready, &e->node);
    list_remove(&e->link);
    free(e);
}

static struct recv_ready *get(struct pd_recv *r, struct pd_bytes id)
{
    uint64_t hash = hash_bytes(id.data, id.len, 0);
    struct recv_ready *e = find(r, id, hash);

    if (e)
        return e;
    if (r->ready.count >= REQUESTS_MAX)
        forget(r, list_entry(r->ready_list.next, struct recv_ready, link));
    e = calloc(1, sizeof(*e) + id.len + 1);
    if (!e)
        return NULL;
    memcpy(e->req_id, id.data, id.len);
    e->since = clock_now();
    hash_insert(&r->ready, &e->node, hash);
    list_push_back(&r->ready_list, &e->link);
    recv_sweep_later(r);
    return e;
}

/* A request of that id may have become ready since. */
static int lose(struct pd_recv *r, struct recv_ready *e)
{
    struct arrivals *a = r->env.adapter->arrivals;

    if (e->told || e->lost)
        return -ESTALE;
    if (a->ready(a, e->req_id, -EIO))
        return -ENOMEM;
    e->lost = true;
    recv_warn(
        r,
        "request %s does not become ready: keys of it landed before this mount was made, and may "
        "be lost; .l2fs/ready/%s gives EIO, send the request again",
        e->req_id, e->req_id);
    return -ESTALE;
}

static int done(struct recv_rank *rank, const struct pd_message *m)
{
    struct pd_recv *r = rank->recv;
    struct arrivals *a = r->env.adapter->arrivals;
    uint64_t all = r->nranks == 64 ? UINT64_MAX : (UINT64_C(1) << r->nranks) - 1;
    struct recv_ready *e;
    int err;

    if (!m->req_id.len || m->req_id.len > REQ_ID_MAX || memchr(m->req_id.data, '\0', m->req_id.len))
        return -EINVAL;
    if (m->rank != (int64_t)rank->index)
        return -EDOM;
    e = get(r, m->req_id);
    if (!e)
        return -ENOMEM;
    if (m->run && !is_here(r, m->run))
        return lose(r, e);
    e->ranks |= UINT64_C(1) << rank->index;
    if (e->told || e->ranks != all)
        return 0;
    err = a->ready(a, e->req_id, 0);
    e->told = !err;
    return err;
}

static const char *why(int error)
{
    switch (error) {
    case -EDOM: return "this is the port of another rank";
    case -ENOMEM: return "the receiver is out of memory";
    case -ESTALE:
        return "the receiver was mounted anew since keys of it landed, and they may be lost";
    default: return "";
    }
}

void recv_ready_done(const struct recv_request *req)
{
    int err = done(req->rank, req->m);

    recv_refuse(&req->origin, PD_DONE_REPLY, err, why(err));
}

void recv_ready_sweep(struct pd_recv *r, uint64_t now)
{
    struct list *node, *next;

    list_for_each_safe(node, next, &r->ready_list)
    {
        struct recv_ready *e = list_entry(node, struct recv_ready, link);

        if (now - e->since < KEEP)
            return;
        forget(r, e);
    }
}
