/* status_probe.c - asks the tiers for status and usage on threads of their own.
 *
 * Thread model: an adapter may look at its disk to answer, and a dead disk answers never. So each
 * question runs on a short-lived thread; readers wait for it with a deadline and otherwise show
 * what the tier said last. One question per tier is under way at a time, readers share it.
 * Everything in struct probe is guarded by the mutex (a leaf), json values are copied under it.
 */
#include "config.h"

#include <signal.h>

#include "clock.h"
#include "status.h"

struct probe {
    struct probes *owner;
    struct tier *tier;
    pthread_t thread;
    bool started; /* the thread is to be joined */
    bool busy;    /* and has not answered yet */
    struct l2_usage usage;
    json_t *status; /* NULL: never answered */
};

struct probes {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    size_t n;
    struct probe probe[TIERS_MAX]; /* mutex */
};

int probes_create(struct l2fs *fs)
{
    struct probes *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    lock_init(&p->mutex);
    cond_init(&p->answered);
    p->n = fs->ntiers;
    for (size_t i = 0; i < p->n; i++)
        p->probe[i] = (struct probe){.owner = p, .tier = fs->tiers[i]};
    fs->probes = p;
    return 0;
}

void probes_destroy(struct l2fs *fs)
{
    struct probes *p = fs->probes;

    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        if (p->probe[i].started)
            pthread_join(p->probe[i].thread, NULL);
        json_decref(p->probe[i].status);
    }
    pthread_cond_destroy(&p->answered);
    pthread_mutex_destroy(&p->mutex);
    free(p);
    fs->probes = NULL;
}

static void *run_probe(void *arg)
{
    struct probe *probe = arg;
    struct probes *p = probe->owner;
    struct l2_usage usage;
    json_t *status;

    tier_usage(probe->tier, &usage);
    status = tier_status(probe->tier);
    lock(&p->mutex);
    probe->usage = usage;
    json_decref(probe->status);
    probe->status = status;
    probe->busy = false;
    pthread_cond_broadcast(&p->answered);
    unlock(&p->mutex);
    return NULL;
}

static void start_locked(struct probe *probe)
{
    sigset_t all, before;

    if (probe->busy)
        return;
    if (probe->started)
        pthread_join(probe->thread, NULL); /* it has answered: no wait */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    probe->started = !pthread_create(&probe->thread, NULL, run_probe, probe);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    probe->busy = probe->started;
}

static bool busy_locked(const struct probes *p, uint32_t mask)
{
    for (size_t i = 0; i < p->n; i++)
        if ((mask & (1u << i)) && p->probe[i].busy)
            return true;
    return false;
}

void probes_refresh(struct l2fs *fs, uint32_t mask)
{
    struct probes *p = fs->probes;
    uint64_t deadline = clock_deadline(PROBE_TIMEOUT_MS * NSEC_PER_MSEC);

    LOCKED_SCOPE(&p->mutex);
    for (size_t i = 0; i < p->n; i++)
        if (mask & (1u << i))
            start_locked(&p->probe[i]);
    while (busy_locked(p, mask))
        if (cond_wait_until(&p->answered, &p->mutex, deadline) == -ETIMEDOUT)
            break;
}

void probes_result(struct l2fs *fs, size_t tier, struct probe_result *out)
{
    struct probes *p = fs->probes;
    struct probe *probe = &p->probe[tier];

    LOCKED_SCOPE(&p->mutex);
    out->usage = probe->usage;
    out->answered = !probe->busy;
    out->status = probe->status ? json_deep_copy(probe->status) : json_object();
    if (out->answered || !out->status)
        return;
    json_object_set_new(out->status, "is_healthy", json_false());
    json_object_set_new(out->status, "error",
                        json_sprintf("no answer within %d ms; check the device or service below it",
                                     PROBE_TIMEOUT_MS));
}
