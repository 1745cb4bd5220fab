/* store_ctl.c - batches of stores, and what becomes of them. The counters shown in the status are
 * guarded by `mutex` (leaf); all else but the queue belongs to the loop thread.
 */
#include "config.h"

#include <sys/epoll.h>

#include "clock.h"
#include "lock.h"
#include "log.h"
#include "store_lane.h"
#include "store_queue.h"

#define CHECK_NS (50 * NSEC_PER_MSEC)

struct store_ctl {
    struct store_ctl_params p;
    struct lane_limits limits;
    struct store_queue queue;
    pthread_mutex_t mutex;
    size_t in_flight;         /* mutex; written by the loop thread only */
    uint64_t in_flight_bytes; /* mutex; as above */
    bool kicked;              /* mutex: the letter is under way */
    struct letter kick;
    struct loop_timer check; /* armed while anything is queued or in flight */
    struct lane lanes[TIERS_MAX];
    struct metric *jobs_total;
    struct metric *failed_total;
    struct metric *overdue_total;
};

struct batch {
    struct store_job *jobs[STORE_BATCH_KEYS];
    size_t n;
    uint64_t bytes;
};

static void pump(struct store_ctl *c);

void store_ctl_submit(struct store_ctl *c, struct store_job *job, bool urgent)
{
    bool kick;

    store_queue_push(&c->queue, job, urgent);
    lock(&c->mutex);
    kick = !c->kicked;
    c->kicked = true;
    unlock(&c->mutex);
    if (kick)
        mailbox_post(c->p.mailbox, &c->kick);
}

bool store_ctl_withdraw(struct store_ctl *c, struct store_job *job)
{
    return store_queue_remove(&c->queue, job);
}

/* --- the end of a job --- */

static void account(struct store_ctl *c, const struct store_job *job, int sign)
{
    LOCKED_SCOPE(&c->mutex);
    c->in_flight += (size_t)sign;
    c->in_flight_bytes += (uint64_t)sign * job->flying_bytes;
}

/* Who still reads the parcel is overdue. */
static void finish(struct store_ctl *c, struct store_job *job)
{
    struct store_parcel *parcel = job->parcel;

    account(c, job, -1);
    metric_add(c->jobs_total, 1);
    job->stored |= parcel->arrived;
    job->failed &= ~parcel->arrived;
    job->late = parcel->reading;
    parcel->orphan = true;
    if (job->failed)
        metric_add(c->failed_total, 1);
    else
        job->error = 0;
    c->p.owner->done(c->p.owner, job); /* may free or submit the job, and free the parcel */
}

static void note(struct store_ctl *c, struct store_job *job, size_t tier, int err)
{
    job->waiting &= ~(1u << tier);
    if (!err) {
        job->stored |= 1u << tier;
        return;
    }
    job->failed |= 1u << tier;
    job->errors[tier] = err;
    if (!job->error)
        job->error = err;
    if (err != -EAGAIN && err != -ECANCELED)
        lane_note_error(&c->lanes[tier], err);
}

/* One tier answered one key of a task. */
static void answer(struct store_ctl *c, struct lane *l, struct store_item *item, int err)
{
    struct store_parcel *parcel = item->parcel;
    struct store_job *job = item->job;

    parcel->reading &= ~(1u << l->index);
    if (job) {
        note(c, job, l->index, err);
        if (!job->waiting)
            finish(c, job);
        return;
    }
    if (!err)
        parcel->arrived |= 1u << l->index;
    if (!parcel->reading && parcel->orphan)
        c->p.owner->release(c->p.owner, parcel);
}

static void end_task(struct store_ctl *c, struct lane *l, struct store_task *t,
                     const struct l2_store_result *r)
{
    for (size_t i = 0; i < t->n; i++) {
        struct store_job *job = t->items[i].job;
        int err = r && i < r->n ? r->errors[i] : -ESHUTDOWN;

        if (job && !err && !job->has_crc) {
            job->has_crc = true;
            job->crc32c = r->crc32c[i];
        }
        answer(c, l, &t->items[i], err);
    }
    free(t);
}

/* --- submitting --- */

/* The keys that wait for this tier, in one task; a probe has one. */
static void submit_to(struct store_ctl *c, struct lane *l, struct batch *b)
{
    enum lane_way way = lane_way(l, &c->limits, clock_now());
    const int refusal = way == LANE_LAGS ? -EAGAIN : -ETIMEDOUT;
    bool refuse = way == LANE_LAGS || way == LANE_STALLED;
    struct store_task *t = refuse ? NULL : lane_task_create(b->n);
    const char *keys[STORE_BATCH_KEYS];
    struct l2_buf bufs[STORE_BATCH_KEYS];

    for (size_t i = 0; i < b->n; i++) {
        struct store_job *job = b->jobs[i];

        if (!(job->waiting & (1u << l->index)))
            continue;
        if (!t || (way == LANE_PROBE && t->n)) {
            job->refused |= (t || refuse ? 1u : 0) << l->index;
            note(c, job, l->index, t || refuse ? refusal : -ENOMEM);
            continue;
        }
        keys[t->n] = job->parcel->key;
        bufs[t->n] = job->parcel->buf;
        t->items[t->n++] = (struct store_item){job->parcel, job};
        t->bytes += job->parcel->buf.size;
    }
    if (t && t->n)
        t->id = tier_submit_store(l->tier, keys, bufs, t->n);
    for (size_t i = 0; t && i < t->n; i++) {
        if (t->id < 0)
            note(c, t->items[i].job, l->index, (int)t->id);
        else
            t->items[i].parcel->reading |= 1u << l->index;
    }
    if (t && t->n && t->id >= 0)
        lane_add(l, t, &c->limits, clock_now());
    else
        free(t);
    lane_show(l, &c->limits);
}

static void submit_batch(struct store_ctl *c, struct batch *b)
{
    for (size_t i = 0; i < TIERS_MAX; i++)
        if (c->lanes[i].tier)
            submit_to(c, &c->lanes[i], b);
    for (size_t i = 0; i < b->n; i++)
        if (!b->jobs[i]->waiting)
            finish(c, b->jobs[i]);
}

/* --- from the queue to the tiers --- */

static uint32_t open_lanes(const struct store_ctl *c)
{
    uint32_t mask = 0;

    for (size_t i = 0; i < TIERS_MAX; i++)
        mask |= (c->lanes[i].tier ? 1u : 0) << i;
    return mask;
}

static void prepare(struct store_ctl *c, struct store_job *job, struct batch *b)
{
    job->parcel = NULL;
    if (c->p.owner->prepare(c->p.owner, job))
        return;
    job->stored = job->failed = job->late = job->refused = 0;
    job->error = 0;
    job->has_crc = job->parcel->buf.stable;
    job->crc32c = job->parcel->buf.crc32c;
    job->waiting = job->targets & open_lanes(c);
    for (size_t i = 0; i < TIERS_MAX; i++)
        job->errors[i] = job->targets & (1u << i) ? 0 : job->errors[i];
    job->parcel->reading = job->parcel->arrived = 0;
    job->parcel->orphan = false;
    job->flying_bytes = job->parcel->buf.size;
    account(c, job, 1);
    b->jobs[b->n++] = job;
    b->bytes += job->flying_bytes;
}

static bool fill_batch(struct store_ctl *c, struct batch *b)
{
    struct store_job *job = store_queue_pop(&c->queue);
    uint64_t group;

    b->n = 0;
    b->bytes = 0;
    if (!job)
        return false;
    group = store_queue_group(job);
    while (job) {
        prepare(c, job, b);
        job = b->n < STORE_BATCH_KEYS ? store_queue_pop_fellow(&c->queue, group, b->bytes) : NULL;
    }
    return true;
}

/* Nobody need be waited for, and somebody can take it. */
static bool has_room(const struct store_ctl *c)
{
    bool open = false, lags = false;
    uint64_t now = clock_now();

    for (size_t i = 0; i < TIERS_MAX; i++) {
        enum lane_way way;

        if (!c->lanes[i].tier)
            continue;
        way = lane_way(&c->lanes[i], &c->limits, now);
        if (way == LANE_FULL)
            return false;
        open |= way == LANE_OPEN;
        lags |= way == LANE_LAGS;
    }
    return open || !lags;
}

static void arm(struct store_ctl *c)
{
    bool idle = !store_queue_count(&c->queue);

    for (size_t i = 0; i < TIERS_MAX && idle; i++)
        idle = !c->lanes[i].ntasks;
    if (!idle && !c->check.heap_index)
        loop_timer_arm(c->p.loop, &c->check, clock_deadline(CHECK_NS));
}

static void pump(struct store_ctl *c)
{
    struct batch b;

    while (has_room(c) && fill_batch(c, &b))
        if (b.n)
            submit_batch(c, &b);
    arm(c);
}

static void on_kick(struct letter *l)
{
    struct store_ctl *c = container_of(l, struct store_ctl, kick);

    lock(&c->mutex);
    c->kicked = false;
    unlock(&c->mutex);
    pump(c);
}

/* --- answers and deadlines --- */

static void on_stored(struct loop_fd *f, uint32_t events)
{
    struct lane *l = container_of(f, struct lane, fd);
    struct store_ctl *c = l->ctl;
    struct l2_store_result r;
    struct store_task *t;
    uint64_t count;
    bool late;

    (void)events;
    if (read(f->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_warn("tier %s: store event: %s", tier_name(l->tier), strerror(errno));
    while (tier_pop_stored(l->tier, &r) > 0) {
        t = lane_take(l, r.task, &late);
        if (late && t)
            log_info("%s: a store of %zu keys that was given up has ended after all",
                     tier_name(l->tier), t->n);
        if (t) /* the tier has logged an unknown one */
            end_task(c, l, t, &r);
        l2_store_result_fini(&r);
    }
    lane_show(l, &c->limits);
    pump(c);
}

/* Its jobs go on without this tier. */
static void give_up(struct store_ctl *c, struct lane *l, struct store_task *t, int err)
{
    for (size_t i = 0; i < t->n; i++) {
        struct store_job *job = t->items[i].job;

        t->items[i].job = NULL;
        if (!job)
            continue;
        note(c, job, l->index, err);
        if (!job->waiting)
            finish(c, job);
    }
}

static void check_lane(struct store_ctl *c, struct lane *l)
{
    struct store_task *t;

    while ((t = lane_overdue(l, clock_now()))) {
        log_warn(
            "%s: a store of %zu keys (\"%s\"%s) has not ended in time; its memory stays in use "
            "until it does, check that the tier still answers",
            tier_name(l->tier), t->n, t->items[0].parcel->key, t->n > 1 ? ", ..." : "");
        metric_add(c->overdue_total, 1);
        give_up(c, l, t, -ETIMEDOUT);
    }
    lane_show(l, &c->limits);
}

static void on_check(struct loop_timer *timer)
{
    struct store_ctl *c = container_of(timer, struct store_ctl, check);

    for (size_t i = 0; i < TIERS_MAX; i++)
        if (c->lanes[i].tier)
            check_lane(c, &c->lanes[i]);
    pump(c);
}

/* --- tiers that come and go --- */

int store_ctl_add_tier(struct store_ctl *c, size_t i)
{
    struct lane *l = &c->lanes[i];
    int err;

    if (store_ctl_tier_busy(c, i))
        return -EBUSY;
    l->fd = (struct loop_fd){tier_event_fd(c->p.tiers[i], L2_STORE), on_stored};
    err = loop_add(c->p.loop, &l->fd, EPOLLIN);
    if (!err)
        lane_open(l, c->p.tiers[i]);
    lane_show(l, &c->limits);
    return err;
}

void store_ctl_drop_tier(struct store_ctl *c, size_t i)
{
    struct lane *l = &c->lanes[i];
    struct list *t;

    if (!l->tier)
        return;
    loop_remove(c->p.loop, &l->fd);
    l->tier = NULL;
    list_for_each(t, &l->tasks) give_up(c, l, list_entry(t, struct store_task, link), -ESHUTDOWN);
    pump(c);
}

void store_ctl_tier_closed(struct store_ctl *c, size_t i)
{
    struct lane *l = &c->lanes[i];
    struct list *t;

    list_splice(&l->late, &l->tasks);
    while ((t = list_pop_front(&l->late)))
        end_task(c, l, list_entry(t, struct store_task, link), NULL);
    l->ntasks = l->nlate = 0;
    l->bytes = l->late_bytes = 0;
    lane_show(l, &c->limits);
}

size_t store_ctl_tier_busy(const struct store_ctl *c, size_t i)
{
    return c->lanes[i].ntasks + c->lanes[i].nlate;
}

/* --- beginning, end, status --- */

static void register_metrics(struct store_ctl *c, struct metrics *m)
{
    c->jobs_total = metrics_counter(m, "l2fs_store_jobs", "Objects handed to L2.", "");
    c->failed_total =
        metrics_counter(m, "l2fs_store_failures", "Stores that at least one tier refused.", "");
    c->overdue_total =
        metrics_counter(m, "l2fs_store_overdue", "Tasks that a tier did not answer in time.", "");
}

int store_ctl_create(const struct store_ctl_params *p, struct store_ctl **out)
{
    struct store_ctl *c = calloc(1, sizeof(*c));
    int err;

    if (!c)
        return -ENOMEM;
    err = store_queue_init(
        &c->queue, metrics_gauge(p->metrics, "l2fs_store_queue", "Objects waiting for L2.", ""));
    if (err) {
        free(c);
        return err;
    }
    c->p = *p;
    c->limits = (struct lane_limits){p->max_bytes, p->max_tasks, p->timeout};
    c->kick.run = on_kick;
    list_init(&c->kick.link);
    c->check.expired = on_check;
    lock_init(&c->mutex);
    register_metrics(c, p->metrics);
    for (size_t i = 0; i < TIERS_MAX; i++)
        lane_init(&c->lanes[i], c, i);
    for (size_t i = 0; !err && i < TIERS_MAX; i++)
        if (p->tiers[i])
            err = store_ctl_add_tier(c, i);
    if (err) {
        store_ctl_destroy(c);
        return err;
    }
    *out = c;
    return 0;
}

/* A released parcel may let a job go that waited for its key: that one is queued, then done. */
void store_ctl_end(struct store_ctl *c)
{
    struct store_job *job;

    for (size_t i = 0; i < TIERS_MAX; i++) {
        c->lanes[i].tier = NULL;
        store_ctl_tier_closed(c, i);
    }
    while ((job = store_queue_pop(&c->queue))) {
        job->parcel = NULL;
        job->targets = job->stored = job->late = 0;
        job->failed = 1;
        job->error = -ESHUTDOWN;
        c->p.owner->done(c->p.owner, job);
    }
}

void store_ctl_destroy(struct store_ctl *c)
{
    if (!c)
        return;
    loop_timer_cancel(c->p.loop, &c->check);
    mailbox_withdraw(c->p.mailbox, &c->kick);
    for (size_t i = 0; i < TIERS_MAX; i++)
        lane_fini(&c->lanes[i]);
    store_queue_fini(&c->queue);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

void store_ctl_status(struct store_ctl *c, struct store_ctl_status *out)
{
    out->queued = store_queue_count(&c->queue);
    LOCKED_SCOPE(&c->mutex);
    out->in_flight = c->in_flight;
    out->in_flight_bytes = c->in_flight_bytes;
}

void store_ctl_tier_status(struct store_ctl *c, size_t i, struct store_tier_status *out)
{
    lane_status(&c->lanes[i], out);
}
