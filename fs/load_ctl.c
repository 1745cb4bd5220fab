/* load_ctl.c - lookup, plan, load, unlock for one key at a time. The queue is guarded by `mutex`
 * (leaf); jobs in flight belong to the loop thread.
 */
#include "config.h"

#include <sys/epoll.h>

#include "load_ctl.h"
#include "lock.h"
#include "log.h"

struct load_source {
    struct loop_fd fd;
    struct load_ctl *ctl;
    size_t index;
    enum l2_family family;
};

struct load_ctl {
    struct load_ctl_params p;
    pthread_mutex_t mutex;
    struct list queue; /* mutex */
    size_t active;     /* mutex; queued and in flight */
    bool kicked;       /* mutex */
    struct letter kick;
    struct list flying; /* loop thread */
    size_t nflying;     /* loop thread */
    struct load_source *sources;
    struct metric *loads_total;
    struct metric *misses_total;
    struct metric *corrupt_total;
};

static void pump(struct load_ctl *c);

static void on_kick(struct letter *l)
{
    struct load_ctl *c = container_of(l, struct load_ctl, kick);

    lock(&c->mutex);
    c->kicked = false;
    unlock(&c->mutex);
    pump(c);
}

void load_ctl_submit(struct load_ctl *c, struct load_job *job)
{
    bool kick;

    lock(&c->mutex);
    list_push_back(&c->queue, &job->link);
    c->active++;
    kick = !c->kicked;
    c->kicked = true;
    unlock(&c->mutex);
    if (kick)
        mailbox_post(c->p.mailbox, &c->kick);
}

size_t load_ctl_active(struct load_ctl *c)
{
    LOCKED_SCOPE(&c->mutex);
    return c->active;
}

static void unlock_all(struct load_ctl *c, struct load_job *job)
{
    const char *keys[1] = {job->key};

    for (size_t i = 0; i < c->p.ntiers; i++)
        if (job->locked & (1u << i))
            tier_submit_unlock(c->p.tiers[i], keys, 1);
    job->locked = 0;
}

static void finish(struct load_ctl *c, struct load_job *job)
{
    unlock_all(c, job);
    list_remove(&job->link);
    c->nflying--;
    lock(&c->mutex);
    c->active--;
    unlock(&c->mutex);
    metric_add(job->error ? c->misses_total : c->loads_total, 1);
    job->done(job);
}

/* Tries the tiers that have it, lowest index first; `waiting` is reused for the one being tried. */
static void load_next(struct load_ctl *c, struct load_job *job)
{
    const char *keys[1] = {job->key};

    job->loading = true;
    for (size_t i = job->tier; i < c->p.ntiers; i++) {
        if (!(job->found & (1u << i)))
            continue;
        job->tier = i;
        job->tasks[i] = tier_submit_load(c->p.tiers[i], keys, 1);
        if (job->tasks[i] > 0) {
            job->waiting = 1u << i;
            return;
        }
        job->error = (int)job->tasks[i];
    }
    if (!job->error)
        job->error = -ENOENT;
    finish(c, job);
}

static void start(struct load_ctl *c, struct load_job *job)
{
    const char *keys[1] = {job->key};

    job->error = 0;
    job->tier = 0;
    job->found = job->locked = job->waiting = 0;
    job->loading = false;
    c->nflying++;
    list_push_back(&c->flying, &job->link);
    for (size_t i = 0; i < c->p.ntiers; i++) {
        job->tasks[i] = tier_submit_lookup_and_lock(c->p.tiers[i], keys, 1);
        if (job->tasks[i] > 0)
            job->waiting |= 1u << i;
        else
            job->error = (int)job->tasks[i];
    }
    if (!job->waiting)
        load_next(c, job);
}

static void pump(struct load_ctl *c)
{
    while (c->nflying < c->p.max_jobs) {
        struct list *l;

        lock(&c->mutex);
        l = list_pop_front(&c->queue);
        unlock(&c->mutex);
        if (!l)
            return;
        start(c, list_entry(l, struct load_job, link));
    }
}

static void take_lookup(struct load_ctl *c, struct load_job *job, size_t tier)
{
    struct bitmap *found;
    uint64_t size;
    int err = tier_query_lookup(c->p.tiers[tier], job->tasks[tier], &found, &size);

    if (err == -EAGAIN)
        return;
    job->waiting &= ~(1u << tier);
    if (!err && bitmap_test(found, 0)) {
        job->found |= 1u << tier;
        job->locked |= 1u << tier;
    }
    if (!err)
        bitmap_destroy(found);
    if (!job->waiting)
        load_next(c, job);
}

static void take_load(struct load_ctl *c, struct load_job *job, size_t tier)
{
    struct bitmap *loaded;
    int key_error = -EIO;
    int err =
        tier_query_load(c->p.tiers[tier], job->tasks[tier], &loaded, &job->object, &key_error);

    if (err == -EAGAIN)
        return;
    job->waiting = 0;
    if (!err && bitmap_test(loaded, 0)) {
        job->error = 0;
        bitmap_destroy(loaded);
        finish(c, job);
        return;
    }
    if (!err)
        bitmap_destroy(loaded);
    job->error = err ? err : key_error;
    if (job->error == -EBADMSG)
        metric_add(c->corrupt_total, 1);
    job->found &= ~(1u << tier);
    job->tier = tier + 1;
    load_next(c, job);
}

static void on_event(struct loop_fd *f, uint32_t events)
{
    struct load_source *s = container_of(f, struct load_source, fd);
    struct load_ctl *c = s->ctl;
    struct list *l, *tmp;
    uint64_t count;

    (void)events;
    if (read(f->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_warn("tier %s: load event: %s", tier_name(c->p.tiers[s->index]), strerror(errno));
    list_for_each_safe(l, tmp, &c->flying)
    {
        struct load_job *job = list_entry(l, struct load_job, link);

        if (!(job->waiting & (1u << s->index)) || job->loading != (s->family == L2_LOAD))
            continue;
        if (job->loading)
            take_load(c, job, s->index);
        else
            take_lookup(c, job, s->index);
    }
    pump(c);
}

static int watch(struct load_ctl *c, size_t tier, enum l2_family family)
{
    struct load_source *s = &c->sources[tier * 2 + (family == L2_LOAD)];

    *s = (struct load_source){.fd = {tier_event_fd(c->p.tiers[tier], family), on_event},
                              .ctl = c,
                              .index = tier,
                              .family = family};
    return loop_add(c->p.loop, &s->fd, EPOLLIN);
}

int load_ctl_create(const struct load_ctl_params *p, struct load_ctl **out)
{
    struct load_ctl *c = calloc(1, sizeof(*c));
    int err = 0;

    if (!c)
        return -ENOMEM;
    c->p = *p;
    c->kick.run = on_kick;
    list_init(&c->queue);
    list_init(&c->flying);
    lock_init(&c->mutex);
    c->loads_total = metrics_counter(p->metrics, "l2fs_loads", "Objects loaded from L2.", "");
    c->misses_total =
        metrics_counter(p->metrics, "l2fs_load_misses", "Loads that found no usable object.", "");
    c->corrupt_total =
        metrics_counter(p->metrics, "l2fs_load_corrupt", "Objects that failed verification.", "");
    c->sources = calloc(p->ntiers * 2 + 1, sizeof(*c->sources));
    if (!c->sources)
        err = -ENOMEM;
    for (size_t i = 0; !err && i < p->ntiers; i++) {
        err = watch(c, i, L2_LOOKUP);
        if (!err)
            err = watch(c, i, L2_LOAD);
    }
    if (err) {
        free(c->sources);
        free(c);
        return err;
    }
    *out = c;
    return 0;
}

void load_ctl_destroy(struct load_ctl *c)
{
    struct list *l;

    if (!c)
        return;
    list_splice(&c->flying, &c->queue);
    while ((l = list_pop_front(&c->flying))) {
        struct load_job *job = list_entry(l, struct load_job, link);

        job->error = -ESHUTDOWN;
        job->done(job);
    }
    pthread_mutex_destroy(&c->mutex);
    free(c->sources);
    free(c);
}
