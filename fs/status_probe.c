/* status_probe.c - asks the tiers for status and usage on threads of their own.
 *
 * Thread model: an adapter may look at its disk to answer, and a dead disk answers never. So each
 * question runs on a short-lived thread; readers wait for it with a deadline and otherwise show
 * what the tier said last. One question per tier is under way at a time, readers share it.
 * Everything in struct probe is guarded by the mutex (before that of the tiers, else a leaf), json
 * values are copied under it. A probe holds its tier.
 */
#include "config.h"

#include "clock.h"
#include "status.h"
#include "thread.h"

struct probe {
    struct probes *owner;
    struct tiers_hold held;
    unsigned serial; /* of the tier that answered */
    pthread_t thread;
    bool started; /* the thread is to be joined */
    bool busy;    /* and has not answered yet */
    struct l2_usage usage;
    json_t *status; /* NULL: never answered */
    json_t *peers;  /* NULL: it has none */
};

struct probes {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    struct l2fs *fs;
    struct probe probe[TIERS_MAX]; /* mutex */
};

int probes_create(struct l2fs *fs)
{
    struct probes *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    lock_init(&p->mutex);
    cond_init(&p->answered);
    p->fs = fs;
    for (size_t i = 0; i < TIERS_MAX; i++)
        p->probe[i].owner = p;
    fs->probes = p;
    return 0;
}

void probes_destroy(struct l2fs *fs)
{
    struct probes *p = fs->probes;

    if (!p)
        return;
    for (size_t i = 0; i < TIERS_MAX; i++) {
        if (p->probe[i].started)
            pthread_join(p->probe[i].thread, NULL);
        json_decref(p->probe[i].status);
        json_decref(p->probe[i].peers);
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
    size_t slot = (size_t)(probe - p->probe);
    struct tier *tier = p->fs->tiers.tier[slot];
    struct l2_usage usage;
    json_t *status, *peers;

    tier_usage(tier, &usage);
    status = tier_status(tier);
    peers = tier_peers(tier);
    lock(&p->mutex);
    probe->serial = tiers_serial(&p->fs->tiers, slot);
    tiers_release(&probe->held); /* from here on it may be closed */
    probe->usage = usage;
    json_decref(probe->status);
    json_decref(probe->peers);
    probe->status = status;
    probe->peers = peers;
    probe->busy = false;
    pthread_cond_broadcast(&p->answered);
    unlock(&p->mutex);
    return NULL;
}

static void start_locked(struct l2fs *fs, struct probe *probe)
{
    if (probe->busy)
        return;
    if (probe->started)
        pthread_join(probe->thread, NULL); /* it has answered: no wait */
    probe->started = false;
    probe->held = tiers_hold(&fs->tiers, 1u << (probe - probe->owner->probe));
    if (!probe->held.mask)
        return;
    probe->started = !thread_start(&probe->thread, run_probe, probe);
    probe->busy = probe->started;
    if (!probe->started)
        tiers_release(&probe->held);
}

static bool busy_locked(const struct probes *p, uint32_t mask)
{
    for (size_t i = 0; i < TIERS_MAX; i++)
        if ((mask & (1u << i)) && p->probe[i].busy)
            return true;
    return false;
}

void probes_refresh(struct l2fs *fs, uint32_t mask)
{
    struct probes *p = fs->probes;
    uint64_t deadline = clock_deadline(PROBE_TIMEOUT_MS * NSEC_PER_MSEC);

    LOCKED_SCOPE(&p->mutex);
    tiers_each(i, mask) start_locked(fs, &p->probe[i]);
    while (busy_locked(p, mask))
        if (cond_wait_until(&p->answered, &p->mutex, deadline) == -ETIMEDOUT)
            break;
}

json_t *probes_peers(struct l2fs *fs, size_t tier)
{
    struct probes *p = fs->probes;
    struct probe *probe = &p->probe[tier];

    LOCKED_SCOPE(&p->mutex);
    if (!probe->peers || probe->serial != tiers_serial(&fs->tiers, tier))
        return NULL;
    return json_deep_copy(probe->peers);
}

void probes_result(struct l2fs *fs, size_t tier, struct probe_result *out)
{
    struct probes *p = fs->probes;
    struct probe *probe = &p->probe[tier];
    bool known;

    LOCKED_SCOPE(&p->mutex);
    known = probe->status && probe->serial == tiers_serial(&fs->tiers, tier);
    out->usage = known ? probe->usage : (struct l2_usage){0};
    out->answered = !probe->busy;
    out->status = known ? json_deep_copy(probe->status) : json_object();
    if (out->answered || !out->status)
        return;
    json_object_set_new(out->status, "is_healthy", json_false());
    json_object_set_new(out->status, "error",
                        json_sprintf("no answer within %d ms; check the device or service below it",
                                     PROBE_TIMEOUT_MS));
}
