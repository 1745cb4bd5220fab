/* store_ctl.c - the queue of stores and the jobs in flight. The queue and the counters shown in the
 * status are guarded by `mutex` (leaf); the list in flight belongs to the loop thread.
 */
#include "config.h"

#include <sys/epoll.h>

#include "clock.h"
#include "lock.h"
#include "log.h"
#include "store_ctl.h"

struct tier_source {
    struct loop_fd fd;
    struct store_ctl *ctl;
    size_t index;
};

struct store_ctl {
    struct store_ctl_params p;
    pthread_mutex_t mutex;
    struct list queue;        /* mutex */
    size_t queued;            /* mutex */
    size_t in_flight;         /* mutex; written by the loop thread only */
    uint64_t in_flight_bytes; /* mutex; as above */
    bool kicked;              /* mutex: the letter is under way */
    struct letter kick;
    struct list flying; /* loop thread */
    struct tier_source *sources;
    struct metric *jobs_total;
    struct metric *failed_total;
    struct metric *queue_gauge;
};

static void pump(struct store_ctl *c);

static void on_kick(struct letter *l)
{
    struct store_ctl *c = container_of(l, struct store_ctl, kick);

    lock(&c->mutex);
    c->kicked = false;
    unlock(&c->mutex);
    pump(c);
}

void store_ctl_submit(struct store_ctl *c, struct store_job *job, bool urgent)
{
    bool kick;

    lock(&c->mutex);
    if (urgent)
        list_push_front(&c->queue, &job->link);
    else
        list_push_back(&c->queue, &job->link);
    c->queued++;
    kick = !c->kicked;
    c->kicked = true;
    unlock(&c->mutex);
    metric_add(c->queue_gauge, 1);
    if (kick)
        mailbox_post(c->p.mailbox, &c->kick);
}

bool store_ctl_withdraw(struct store_ctl *c, struct store_job *job)
{
    struct list *l;
    bool found = false;

    lock(&c->mutex);
    list_for_each(l, &c->queue)
    {
        found = l == &job->link;
        if (found)
            break;
    }
    if (found) {
        list_remove(&job->link);
        c->queued--;
    }
    unlock(&c->mutex);
    if (found)
        metric_add(c->queue_gauge, -1);
    return found;
}

static struct store_job *take(struct store_ctl *c)
{
    struct list *l = NULL;

    lock(&c->mutex);
    if (c->in_flight < c->p.max_jobs && c->in_flight_bytes < c->p.max_bytes)
        l = list_pop_front(&c->queue);
    if (l)
        c->queued--;
    unlock(&c->mutex);
    if (l)
        metric_add(c->queue_gauge, -1);
    return l ? list_entry(l, struct store_job, link) : NULL;
}

static void account(struct store_ctl *c, const struct store_job *job, int sign)
{
    lock(&c->mutex);
    c->in_flight += (size_t)sign;
    c->in_flight_bytes += (uint64_t)sign * job->buf.size;
    unlock(&c->mutex);
}

static void finish(struct store_ctl *c, struct store_job *job)
{
    char *key = job->key;
    int fd = job->buf.fd;

    account(c, job, -1);
    list_remove(&job->link);
    metric_add(c->jobs_total, 1);
    if (job->failed)
        metric_add(c->failed_total, 1);
    c->p.owner->done(c->p.owner, job); /* may free or submit the job */
    free(key);
    if (fd >= 0)
        close(fd);
}

static void note_failure(struct store_job *job, size_t tier, int err)
{
    job->failed |= 1u << tier;
    if (!job->error)
        job->error = err;
}

static void start(struct store_ctl *c, struct store_job *job)
{
    const char *keys[1] = {job->key};

    job->stored = job->failed = job->waiting = 0;
    job->error = 0;
    job->has_crc = job->buf.stable;
    job->crc32c = job->buf.crc32c;
    job->started = clock_now();
    account(c, job, 1);
    list_push_back(&c->flying, &job->link);
    for (size_t i = 0; i < c->p.ntiers; i++) {
        if (!(job->targets & (1u << i)))
            continue;
        job->tasks[i] = tier_submit_store(c->p.tiers[i], keys, &job->buf, 1);
        if (job->tasks[i] < 0)
            note_failure(job, i, (int)job->tasks[i]);
        else
            job->waiting |= 1u << i;
    }
    if (!job->waiting)
        finish(c, job);
}

static void pump(struct store_ctl *c)
{
    struct store_job *job;

    while ((job = take(c))) {
        job->key = NULL;
        job->buf = (struct l2_buf){.fd = -1};
        if (c->p.owner->prepare(c->p.owner, job) == 0)
            start(c, job);
    }
}

static struct store_job *find_job(struct store_ctl *c, size_t tier, l2_task task)
{
    struct list *l;

    list_for_each(l, &c->flying)
    {
        struct store_job *job = list_entry(l, struct store_job, link);

        if ((job->waiting & (1u << tier)) && job->tasks[tier] == task)
            return job;
    }
    return NULL;
}

static void on_result(struct store_ctl *c, size_t tier, const struct l2_store_result *r)
{
    struct store_job *job = find_job(c, tier, r->task);

    if (!job) {
        log_warn("tier %s reported an unknown store task %lld; ignored",
                 tier_name(c->p.tiers[tier]), (long long)r->task);
        return;
    }
    job->waiting &= ~(1u << tier);
    if (r->errors[0])
        note_failure(job, tier, r->errors[0]);
    else
        job->stored |= 1u << tier;
    if (!r->errors[0] && !job->has_crc) {
        job->has_crc = true;
        job->crc32c = r->crc32c[0];
    }
    if (!job->waiting)
        finish(c, job);
}

static void on_stored(struct loop_fd *f, uint32_t events)
{
    struct tier_source *s = container_of(f, struct tier_source, fd);
    struct store_ctl *c = s->ctl;
    struct l2_store_result r;
    uint64_t count;

    (void)events;
    if (read(f->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_warn("tier %s: store event: %s", tier_name(c->p.tiers[s->index]), strerror(errno));
    while (tier_pop_stored(c->p.tiers[s->index], &r) > 0) {
        on_result(c, s->index, &r);
        l2_store_result_fini(&r);
    }
    pump(c);
}

int store_ctl_create(const struct store_ctl_params *p, struct store_ctl **out)
{
    struct store_ctl *c = calloc(1, sizeof(*c));
    int err = 0;

    if (!c)
        return -ENOMEM;
    c->p = *p;
    c->kick.run = on_kick;
    list_init(&c->queue);
    list_init(&c->flying);
    lock_init(&c->mutex);
    c->jobs_total = metrics_counter(p->metrics, "l2fs_store_jobs", "Objects handed to L2.", "");
    c->failed_total = metrics_counter(p->metrics, "l2fs_store_failures",
                                      "Stores that at least one tier refused.", "");
    c->queue_gauge = metrics_gauge(p->metrics, "l2fs_store_queue", "Objects waiting for L2.", "");
    c->sources = calloc(p->ntiers + 1, sizeof(*c->sources));
    if (!c->sources)
        err = -ENOMEM;
    for (size_t i = 0; !err && i < p->ntiers; i++) {
        c->sources[i] = (struct tier_source){
            .fd = {tier_event_fd(p->tiers[i], L2_STORE), on_stored}, .ctl = c, .index = i};
        err = loop_add(p->loop, &c->sources[i].fd, EPOLLIN);
    }
    if (err) {
        free(c->sources);
        free(c);
        return err;
    }
    *out = c;
    return 0;
}

void store_ctl_destroy(struct store_ctl *c)
{
    struct list *l;

    if (!c)
        return;
    list_splice(&c->flying, &c->queue);
    while ((l = list_pop_front(&c->flying))) {
        struct store_job *job = list_entry(l, struct store_job, link);
        char *key = job->key;

        job->failed = c->p.ntiers ? 1 : 0;
        job->error = -ESHUTDOWN;
        if (job->buf.fd > 0)
            close(job->buf.fd);
        c->p.owner->done(c->p.owner, job);
        free(key);
    }
    pthread_mutex_destroy(&c->mutex);
    free(c->sources);
    free(c);
}

void store_ctl_status(struct store_ctl *c, struct store_ctl_status *out)
{
    LOCKED_SCOPE(&c->mutex);
    out->queued = c->queued;
    out->in_flight = c->in_flight;
    out->in_flight_bytes = c->in_flight_bytes;
}
