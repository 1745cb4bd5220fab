/* pd_recv_commit.c - the second half of an allocation: Commit, lease, cancel, and the end.
 *
 * One timer for each: until all items have their outcome it is the end of the lease (a Commit may
 * bring it nearer); then the fence for what a receive still has. Who was told nothing of a Commit's
 * outcome may ask again: outcomes are kept for a while.
 */
#include "clock.h"
#include "pd_recv_parts.h"

#define FENCE NSEC_PER_SEC       /* a cancelled receive has so long to end */
#define KEEP (60 * NSEC_PER_SEC) /* outcomes, for a Commit that is asked again */
#define PER_SECOND (64 * MIB)

/* --- the end --- */

static void reply_outcome(struct recv_alloc *a, const struct recv_origin *to)
{
    struct pd_message m = {.type = PD_COMMIT_REPLY};
    AUTO_FREE int64_t *errors = calloc(a->ntags + 1, sizeof(*errors));

    if (!errors) {
        recv_refuse(to, PD_COMMIT_REPLY, -ENOMEM, "out of memory");
        return;
    }
    for (size_t i = 0; i < a->ntags; i++)
        errors[i] = -a->errors[i];
    m.errors = (struct pd_ints){errors, a->ntags};
    recv_answer(to, &m);
}

/* From here on there is one for each tag. */
static void compact_errors(struct recv_alloc *a)
{
    size_t to = 0;

    for (size_t i = 0; i < a->n; i++) {
        if (!a->items[i].present)
            a->errors[to++] = a->errors[i];
    }
}

static void fence(struct loop_timer *t)
{
    struct recv_alloc *a = container_of(t, struct recv_alloc, timer);

    for (size_t i = 0; i < a->n; i++) {
        if (a->items[i].state != ITEM_POSTED)
            continue;
        recv_warn(a->recv, "%s: %s still sends it: its connection is closed", a->items[i].what.key,
                  a->name);
        recv_peer_disconnect(a->peer); /* may have freed the items */
        return;
    }
}

void recv_alloc_end(struct recv_alloc *a)
{
    struct recv_origin to = a->committed;

    a->phase = ALLOC_ENDED;
    compact_errors(a);
    a->committed.server = NULL;
    if (to.server)
        reply_outcome(a, &to);
    a->timer.expired = fence;
    if (loop_timer_arm(a->recv->env.loop, &a->timer, clock_deadline(FENCE)))
        recv_warn(a->recv, "out of memory: what %s still sends is waited for", a->name);
}

void recv_alloc_give_up(struct recv_alloc *a, int error)
{
    a->busy++;
    for (size_t i = 0; i < a->n; i++)
        recv_item_give_up(&a->items[i], error);
    a->busy--;
    recv_alloc_progress(a);
}

/* --- time --- */

/* What has arrived and was committed is on its way to its name, and gets there. */
static void lease_ended(struct loop_timer *t)
{
    struct recv_alloc *a = container_of(t, struct recv_alloc, timer);

    recv_warn(a->recv, "%zu keys of %s from %s on were not %s in time: their room is taken back",
              a->unsettled, a->name, a->items[0].what.key, a->commit ? "sent" : "committed");
    a->busy++;
    for (size_t i = 0; i < a->n; i++) {
        if (!a->commit || a->items[i].state == ITEM_POSTED)
            recv_item_give_up(&a->items[i], -ETIMEDOUT);
    }
    a->busy--;
    recv_alloc_progress(a);
}

void recv_alloc_lease(struct recv_alloc *a)
{
    a->timer.expired = lease_ended;
    if (loop_timer_arm(a->recv->env.loop, &a->timer, clock_deadline(a->recv->env.config->lease)))
        recv_alloc_give_up(a, -ENOMEM);
}

/* The data of a batch that was committed has its own time, within the lease. */
static void hasten(struct recv_alloc *a)
{
    uint64_t timeout = a->recv->env.config->transfer_timeout;
    uint64_t more = a->room / PER_SECOND * NSEC_PER_SEC;
    uint64_t until = clock_deadline(timeout > UINT64_MAX - more ? UINT64_MAX : timeout + more);

    if (until < a->timer.deadline)
        loop_timer_arm(a->recv->env.loop, &a->timer, until);
}

/* --- Commit --- */

static struct recv_alloc *find(const struct recv_request *req)
{
    const struct pd_message *m = req->m;
    struct hash_node *n = hash_first(&req->rank->recv->allocs, (uint64_t)m->alloc_id);
    struct recv_alloc *a = n ? container_of(n, struct recv_alloc, node) : NULL;

    if (!a || a->waiter.rank != req->rank || !recv_equal(m->sender, a->name))
        return NULL;
    return a;
}

/* What the sender has learnt of the bytes while it sent them. */
static bool take_crcs(struct recv_alloc *a, const struct pd_ints *crcs)
{
    size_t next = 0;

    if (crcs->n != a->ntags)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->items[i].present)
            continue;
        if (crcs->v[next] < 0 || crcs->v[next] > UINT32_MAX)
            return false;
        a->items[i].what.crc32c = (uint32_t)crcs->v[next++];
    }
    return true;
}

void recv_alloc_checked(struct recv_alloc *a, struct recv_item *it)
{
    if (a->recv->stopping) {
        recv_item_give_up(it, -ESHUTDOWN);
    } else if (a->commit && it->sum != it->what.crc32c) {
        recv_warn(a->recv,
                  "%s: bytes from %s do not have the crc32c that it says: not taken; look at the "
                  "network and the memory of both machines",
                  it->what.key, a->name);
        recv_item_give_up(it, -EBADMSG);
    } else if (a->commit) {
        recv_item_publish(it);
    }
}

static void commit(struct recv_alloc *a)
{
    a->commit = true;
    hasten(a);
    a->busy++;
    for (size_t i = 0; i < a->n; i++) {
        if (a->items[i].state == ITEM_CHECKED && !a->items[i].settled)
            recv_alloc_checked(a, &a->items[i]);
    }
    a->busy--;
    recv_alloc_progress(a);
}

/* The same Commit again, with another number: the older question is told so. */
static void ask_again(struct recv_alloc *a, const struct recv_origin *origin)
{
    if (a->committed.seq != origin->seq)
        recv_refuse(&a->committed, PD_COMMIT_REPLY, -EALREADY, "it was committed again");
    a->committed = *origin;
}

void recv_alloc_commit(const struct recv_request *req)
{
    struct recv_alloc *a = find(req);

    if (!a) {
        recv_refuse(&req->origin, PD_COMMIT_REPLY, -ESTALE, "no such allocation (any more)");
    } else if (a->phase == ALLOC_ENDED) {
        reply_outcome(a, &req->origin);
    } else if (a->commit) {
        ask_again(a, &req->origin);
    } else if (!take_crcs(a, &req->m->crcs)) {
        recv_refuse(&req->origin, PD_COMMIT_REPLY, -EINVAL, "not a crc32c for each tag");
    } else {
        a->peer->heard = clock_now();
        a->committed = req->origin;
        commit(a);
    }
}

/* --- cancel --- */

static bool meant(const struct recv_alloc *a, const struct pd_message *m)
{
    return m->alloc_id ? a->id == m->alloc_id : !a->id && m->keys.n;
}

static void cancel(struct recv_alloc *a, const struct pd_bytes *keys, size_t n)
{
    a->busy++;
    for (size_t i = 0; i < a->n; i++) {
        if (!n || recv_sorted_has(keys, n, a->items[i].what.key))
            recv_item_give_up(&a->items[i], -ECANCELED);
    }
    a->busy--;
    if (a->phase == ALLOC_WAITING && !a->unsettled) {
        recv_queue_leave(&a->waiter);
        a->waiter.finish(&a->waiter, 0);
    } else {
        recv_alloc_progress(a);
    }
}

/* False: no memory. `*twin`: the request has the number of one that it cancelled. */
static bool cancel_all(const struct recv_request *req, bool *twin)
{
    struct recv_peer *p = recv_peer_find(req->rank, req->m->sender);
    AUTO_FREE struct pd_bytes *keys = recv_sorted(&req->m->keys);
    struct list *node, *next;

    if (!keys)
        return false;
    if (!p)
        return true;
    list_for_each_safe(node, next, &p->allocs)
    {
        struct recv_alloc *a = list_entry(node, struct recv_alloc, link);

        if (a->phase == ALLOC_ENDED || !meant(a, req->m))
            continue;
        *twin |= a->asked.seq == req->m->seq;
        cancel(a, keys, req->m->keys.n);
    }
    return true;
}

/* An AllocResponse with the number of a request that waits would be taken for its answer. */
void recv_alloc_cancel(const struct recv_request *req)
{
    struct pd_message reply = {.type = PD_ALLOC_RESPONSE, .async = true};
    struct recv_origin to = req->origin;
    bool twin = false;

    if (!cancel_all(req, &twin)) {
        recv_refuse(&to, PD_ALLOC_RESPONSE, -ENOMEM, "out of memory");
        return;
    }
    if (twin)
        to.seq = 0;
    recv_answer(&to, &reply);
}

void recv_alloc_sweep(struct pd_recv *r, uint64_t now)
{
    while (!list_empty(&r->ended)) {
        struct recv_alloc *a = list_entry(r->ended.next, struct recv_alloc, link);

        if (now - a->since < KEEP)
            return;
        r->nended--;
        recv_alloc_free(a);
    }
}
