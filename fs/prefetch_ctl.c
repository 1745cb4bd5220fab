/* prefetch_ctl.c - the queues of requests, and each one's way through the state table. The queues and
 * what the status shows are guarded by `mutex` (leaf); running requests belong to the loop thread.
 */
#include "config.h"

#include "log.h"
#include "prefetch_impl.h"

#define BIT(s) (1u << (s))

static const struct {
    const char *name;
    unsigned next;
} table[PREFETCH_STATES] = {
    [PREFETCH_QUEUED] = {"queued",
                         BIT(PREFETCH_LOOKUP) | BIT(PREFETCH_CANCELLED) | BIT(PREFETCH_FAILED)},
    [PREFETCH_LOOKUP] = {"lookup",
                         BIT(PREFETCH_PLAN) | BIT(PREFETCH_CANCELLED) | BIT(PREFETCH_FAILED)},
    [PREFETCH_PLAN] = {"plan", BIT(PREFETCH_RESERVE)},
    [PREFETCH_RESERVE] = {"reserve", BIT(PREFETCH_LOAD)},
    [PREFETCH_LOAD] = {"load", BIT(PREFETCH_DONE) | BIT(PREFETCH_CANCELLED) | BIT(PREFETCH_FAILED)},
    [PREFETCH_DONE] = {"done", 0},
    [PREFETCH_CANCELLED] = {"cancelled", 0},
    [PREFETCH_FAILED] = {"failed", 0},
};

const char *prefetch_state_name(enum prefetch_state s)
{
    return s < PREFETCH_STATES ? table[s].name : "?";
}

bool prefetch_state_allowed(enum prefetch_state from, enum prefetch_state to)
{
    return from < PREFETCH_STATES && to < PREFETCH_STATES && (table[from].next & BIT(to));
}

static void move_locked(struct prefetch_ctl *c, struct prefetch_request *r, enum prefetch_state to)
{
    if (!prefetch_state_allowed(r->state, to)) {
        log_err("bug: a prefetch request may not go from %s to %s", prefetch_state_name(r->state),
                prefetch_state_name(to));
        abort();
    }
    c->count[r->state]--;
    c->count[to]++;
    r->state = to;
}

static void move(struct prefetch_ctl *c, struct prefetch_request *r, enum prefetch_state to)
{
    LOCKED_SCOPE(&c->mutex);
    move_locked(c, r, to);
}

/* ---- a request's way ---- */

static void after_lookup(struct prefetch_ctl *c, struct prefetch_request *r)
{
    move(c, r, PREFETCH_PLAN);
    prefetch_plan_keys(c, r);
    move(c, r, PREFETCH_RESERVE);
    prefetch_reserve_keys(c, r);
    move(c, r, PREFETCH_LOAD);
}

static void finish(struct prefetch_ctl *c, struct prefetch_request *r, enum prefetch_state end)
{
    list_remove(&r->link);
    lock(&c->mutex);
    move_locked(c, r, end);
    if (r->background)
        c->bytes -= r->bytes;
    unlock(&c->mutex);
    if (r->background)
        c->backgrounds--;
    else
        c->opens--;
    c->p.owner->done(c->p.owner, r);
}

void prefetch_ended(struct prefetch_ctl *c, struct prefetch_request *r)
{
    if (r->state == PREFETCH_LOOKUP && !r->tasks)
        after_lookup(c, r);
    if (r->state == PREFETCH_LOAD)
        prefetch_load_keys(c, r);
    if (r->state == PREFETCH_LOAD && r->given == r->n)
        prefetch_tasks_orphan(c, r); /* of keys cut off */
    if (r->state == PREFETCH_LOAD && r->given == r->n)
        finish(c, r, PREFETCH_DONE);
}

static void start(struct prefetch_ctl *c, struct prefetch_request *r)
{
    list_push_back(&c->running, &r->link);
    prefetch_look_up(c, r);
    prefetch_ended(c, r);
}

static struct prefetch_request *next_locked(struct prefetch_ctl *c)
{
    struct prefetch_request *r;

    if (!list_empty(&c->open_queue) && c->opens < c->p.max_opens)
        return list_entry(c->open_queue.next, struct prefetch_request, link);
    if (list_empty(&c->background_queue) || c->backgrounds >= c->p.max_requests)
        return NULL;
    r = list_entry(c->background_queue.next, struct prefetch_request, link);
    return !c->backgrounds || c->bytes + r->bytes <= c->p.max_bytes ? r : NULL;
}

static struct prefetch_request *take(struct prefetch_ctl *c)
{
    struct prefetch_request *r;

    LOCKED_SCOPE(&c->mutex);
    r = next_locked(c);
    if (!r)
        return NULL;
    list_remove(&r->link);
    move_locked(c, r, PREFETCH_LOOKUP);
    if (r->background) {
        c->backgrounds++;
        c->bytes += r->bytes;
    } else {
        c->opens++;
    }
    return r;
}

void prefetch_pump(struct prefetch_ctl *c)
{
    struct prefetch_request *r;

    while ((r = take(c)))
        start(c, r);
}

/* ---- queued and ended before their time ---- */

/* From a queue, all or those that are cancelled; their end is decided here, under the mutex. */
static void take_queued_locked(struct prefetch_ctl *c, struct list *queue, struct list *out,
                               enum prefetch_state end)
{
    struct list *l, *tmp;

    list_for_each_safe(l, tmp, queue)
    {
        struct prefetch_request *r = list_entry(l, struct prefetch_request, link);

        if (end == PREFETCH_CANCELLED && !atomic_load(&r->cancelled))
            continue;
        list_remove(l);
        list_push_back(out, l);
        move_locked(c, r, end);
    }
}

/* False: there was none. */
static bool end_queued(struct prefetch_ctl *c, enum prefetch_state end, int error)
{
    struct list ended, *l;
    bool any;

    list_init(&ended);
    lock(&c->mutex);
    take_queued_locked(c, &c->open_queue, &ended, end);
    take_queued_locked(c, &c->background_queue, &ended, end);
    unlock(&c->mutex);
    any = !list_empty(&ended);
    while ((l = list_pop_front(&ended))) {
        struct prefetch_request *r = list_entry(l, struct prefetch_request, link);

        prefetch_give_rest(c, r, 0, error);
        c->p.owner->done(c->p.owner, r);
    }
    return any;
}

static void end_running(struct prefetch_ctl *c, enum prefetch_state end, int error)
{
    struct list *l, *tmp;

    list_for_each_safe(l, tmp, &c->running)
    {
        struct prefetch_request *r = list_entry(l, struct prefetch_request, link);

        if (end == PREFETCH_CANCELLED && !atomic_load(&r->cancelled))
            continue;
        prefetch_tasks_orphan(c, r);
        prefetch_give_rest(c, r, 0, error);
        finish(c, r, end);
    }
}

static void on_kick(struct letter *l)
{
    struct prefetch_ctl *c = container_of(l, struct prefetch_ctl, kick);
    bool cancelling;

    lock(&c->mutex);
    c->kicked = false;
    cancelling = c->cancelling;
    c->cancelling = false;
    unlock(&c->mutex);
    if (cancelling) {
        end_queued(c, PREFETCH_CANCELLED, -ECANCELED);
        end_running(c, PREFETCH_CANCELLED, -ECANCELED);
    }
    prefetch_pump(c);
}

static void kick_locked(struct prefetch_ctl *c)
{
    if (!c->kicked)
        mailbox_post(c->p.mailbox, &c->kick);
    c->kicked = true;
}

/* ---- from any thread ---- */

void prefetch_ctl_submit(struct prefetch_ctl *c, struct prefetch_request *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->bytes += r->keys[i].size;
    LOCKED_SCOPE(&c->mutex);
    c->cancelling |= atomic_load(&r->cancelled);
    list_push_back(r->background ? &c->background_queue : &c->open_queue, &r->link);
    c->count[PREFETCH_QUEUED]++;
    kick_locked(c);
}

void prefetch_ctl_cancel(struct prefetch_ctl *c, struct prefetch_request *r)
{
    atomic_store(&r->cancelled, true);
    LOCKED_SCOPE(&c->mutex);
    c->cancelling = true;
    kick_locked(c);
}

void prefetch_ctl_hurry(struct prefetch_ctl *c, struct prefetch_request *r)
{
    LOCKED_SCOPE(&c->mutex);
    if (r->state != PREFETCH_QUEUED || !r->background)
        return;
    r->background = false;
    if (!list_linked(&r->link))
        return; /* not submitted yet */
    list_remove(&r->link);
    list_push_back(&c->open_queue, &r->link);
    kick_locked(c);
}

void prefetch_ctl_status(struct prefetch_ctl *c, struct prefetch_status *out)
{
    LOCKED_SCOPE(&c->mutex);
    out->queued = c->count[PREFETCH_QUEUED];
    out->lookup = c->count[PREFETCH_LOOKUP] + c->count[PREFETCH_PLAN];
    out->load = c->count[PREFETCH_RESERVE] + c->count[PREFETCH_LOAD];
    out->bytes = c->bytes;
    out->stalled = c->stalled;
    memcpy(out->overdue, c->overdue, sizeof(out->overdue));
}

/* ---- start and end ---- */

static void register_metrics(struct prefetch_ctl *c)
{
    struct metrics *m = c->p.metrics;

    c->loads_total = metrics_counter(m, "l2fs_loads", "Objects loaded from L2.", "");
    c->misses_total =
        metrics_counter(m, "l2fs_load_misses", "Loads that found no usable object.", "");
    c->corrupt_total =
        metrics_counter(m, "l2fs_load_corrupt", "Objects that failed verification.", "");
    c->timeouts_total = metrics_counter(m, "l2fs_load_timeouts",
                                        "Lookups and loads that missed their deadline.", "");
}

int prefetch_ctl_create(const struct prefetch_params *p, struct prefetch_ctl **out)
{
    struct prefetch_ctl *c = calloc(1, sizeof(*c));
    int err = 0;

    if (!c)
        return -ENOMEM;
    c->p = *p;
    c->kick.run = on_kick;
    c->timer.expired = prefetch_timer_expired;
    list_init(&c->kick.link);
    list_init(&c->running);
    list_init(&c->open_queue);
    list_init(&c->background_queue);
    lock_init(&c->mutex);
    register_metrics(c);
    for (size_t i = 0; !err && i < TIERS_MAX; i++)
        if (p->tiers[i])
            err = prefetch_ctl_add_tier(c, i);
    if (err) {
        prefetch_ctl_destroy(c);
        return err;
    }
    *out = c;
    return 0;
}

void prefetch_ctl_end(struct prefetch_ctl *c)
{
    struct list *l;

    prefetch_tasks_free(c);
    list_for_each(l, &c->running)
    {
        struct prefetch_request *r = list_entry(l, struct prefetch_request, link);

        for (size_t i = 0; i < r->n; i++)
            r->keys[i].locked = 0; /* their tiers are closed */
    }
    end_running(c, PREFETCH_FAILED, -ESHUTDOWN);
    while (end_queued(c, PREFETCH_FAILED, -ESHUTDOWN))
        continue;
}

void prefetch_ctl_destroy(struct prefetch_ctl *c)
{
    if (!c)
        return;
    mailbox_withdraw(c->p.mailbox, &c->kick);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}
