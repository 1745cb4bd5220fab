/* tiers.c - slots of tiers, their states and who holds them. The masks are written under the mutex
 * and read by anybody; an adapter is opened and closed without it.
 */
#include "config.h"

#include <stdio.h>

#include "hash.h"
#include "log.h"
#include "thread.h"
#include "tiers.h"

void tiers_init(struct tiers *t)
{
    lock_init(&t->mutex);
    cond_init(&t->released);
}

struct closing {
    struct tiers *tiers;
    size_t slot;
    uint64_t deadline;
    pthread_t thread;
    bool started;
    bool left; /* out */
};

static bool await_released(struct tiers *t, size_t slot, uint64_t deadline)
{
    int err = 0;

    LOCKED_SCOPE(&t->mutex);
    while (t->slot[slot].holds && !err)
        err = cond_wait_until(&t->released, &t->mutex, deadline);
    return !t->slot[slot].holds;
}

static void *run_close(void *arg)
{
    struct closing *c = arg;

    c->left = !await_released(c->tiers, c->slot, c->deadline);
    if (c->left)
        log_err("%s: a call has not ended; the tier is given up as it is (look at the device or "
                "service below it)",
                tiers_name(c->tiers, c->slot));
    else
        tiers_close(c->tiers, c->slot);
    return NULL;
}

/* Each may wait for its peers or its disk: they do so beside each other. A slot that is closing
 * belongs to another thread. */
bool tiers_close_all(struct tiers *t, uint64_t deadline)
{
    struct closing all[TIERS_MAX] = {0};
    uint32_t mask = t->present;
    bool left = false;

    tiers_each(i, mask)
    {
        all[i] = (struct closing){.tiers = t, .slot = i, .deadline = deadline};
        tiers_retire(t, i);
        all[i].started = !thread_start(&all[i].thread, run_close, &all[i]);
        if (!all[i].started)
            run_close(&all[i]);
    }
    tiers_each(i, mask)
    {
        if (all[i].started)
            pthread_join(all[i].thread, NULL);
        left |= all[i].left;
    }
    return !left;
}

void tiers_fini(struct tiers *t)
{
    pthread_cond_destroy(&t->released);
    pthread_mutex_destroy(&t->mutex);
}

static void set_bit(_Atomic uint32_t *mask, size_t slot, bool on)
{
    if (on)
        atomic_fetch_or(mask, 1u << slot);
    else
        atomic_fetch_and(mask, ~(1u << slot));
}

static void move_locked(struct tiers *t, size_t slot, enum tier_state state)
{
    struct tier *tier = t->tier[slot];
    bool present = state == TIER_JOINING || state == TIER_ACTIVE || state == TIER_DRAINING;
    bool active = state == TIER_ACTIVE;

    t->slot[slot].state = state;
    set_bit(&t->files, slot, present && tier_has_files(tier));
    set_bit(&t->sending, slot, present && tier_sends(tier));
    set_bit(&t->pushing, slot, present && tier_flags(tier) & L2_SENDS);
    set_bit(&t->keeping, slot, present && !(tier_flags(tier) & L2_DISCARDS));
    set_bit(&t->active, slot, active);
    set_bit(&t->present, slot, present);
}

/* After the last one in use, so that a newcomer does not go before those who were there. */
static int free_slot_locked(const struct tiers *t)
{
    int first = -1, after = 0;

    for (int i = 0; i < TIERS_MAX; i++) {
        if (t->slot[i].state != TIER_EMPTY)
            after = i + 1;
        else if (first < 0)
            first = i;
    }
    return after < TIERS_MAX ? after : first;
}

static int reserve(struct tiers *t, json_t *spec, struct metrics *metrics)
{
    const char *type = json_string_value(json_object_get(spec, "type"));
    AUTO_FREE char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
    struct tier_slot *s;
    int slot;

    LOCKED_SCOPE(&t->mutex);
    slot = free_slot_locked(t);
    if (slot < 0)
        return -ENOSPC;
    t->metrics = metrics;
    s = &t->slot[slot];
    s->state = TIER_OPENING;
    s->serial = t->opened++;
    s->spec = text ? hash_bytes(text, strlen(text), 0) : 0;
    if (s->serial)
        snprintf(s->name, sizeof(s->name), "%s.%u", type ? type : "?", s->serial);
    else
        snprintf(s->name, sizeof(s->name), "%s", type ? type : "?");
    return slot;
}

/* Series of an adapter that is gone would stay for ever, one set for each that came and went. */
static void forget_metrics(struct tiers *t, size_t slot)
{
    static const char *const labels[] = {"adapter", "from"};

    for (size_t i = 0; t->metrics && i < ARRAY_SIZE(labels); i++) {
        struct text label = {0};

        metrics_label(&label, labels[i], t->slot[slot].name);
        if (!label.failed)
            metrics_forget(t->metrics, label.data);
        text_fini(&label);
    }
}

int tiers_open(struct tiers *t, const struct adapter_env *env, json_t *spec, struct text *err)
{
    struct adapter_env named = *env;
    struct tier *tier = NULL;
    int rc = tier_check(spec, err), slot;

    if (rc)
        return rc;
    slot = reserve(t, spec, env->metrics);
    if (slot < 0) {
        text_printf(err, "at most %d tiers", TIERS_MAX);
        return slot;
    }
    named.instance = t->slot[slot].name;
    rc = tier_open(&named, spec, &tier, err);
    if (rc)
        forget_metrics(t, (size_t)slot);
    LOCKED_SCOPE(&t->mutex);
    t->tier[slot] = tier;
    if (rc) {
        t->slot[slot].state = TIER_EMPTY;
        t->opened -= t->slot[slot].serial + 1 == t->opened; /* nobody has seen the name */
        return rc;
    }
    move_locked(t, (size_t)slot, TIER_JOINING);
    return slot;
}

void tiers_move(struct tiers *t, size_t slot, enum tier_state state)
{
    LOCKED_SCOPE(&t->mutex);
    move_locked(t, slot, state);
}

void tiers_retire(struct tiers *t, size_t slot)
{
    tiers_move(t, slot, TIER_CLOSING);
}

void tiers_close(struct tiers *t, size_t slot)
{
    struct tier_slot *s = &t->slot[slot];
    struct tier *tier;

    lock(&t->mutex);
    while (s->holds)
        pthread_cond_wait(&t->released, &t->mutex);
    tier = t->tier[slot];
    t->tier[slot] = NULL;
    unlock(&t->mutex);
    tier_close(tier);
    forget_metrics(t, slot);
}

void tiers_vacate(struct tiers *t, size_t slot)
{
    LOCKED_SCOPE(&t->mutex);
    t->slot[slot].state = TIER_EMPTY;
}

void tiers_abandon(struct tiers *t, size_t slot)
{
    LOCKED_SCOPE(&t->mutex);
    move_locked(t, slot, TIER_CLOSING);
    t->tier[slot] = NULL;
}

enum tier_state tiers_state(struct tiers *t, size_t slot)
{
    LOCKED_SCOPE(&t->mutex);
    return t->slot[slot].state;
}

unsigned tiers_serial(struct tiers *t, size_t slot)
{
    LOCKED_SCOPE(&t->mutex);
    return t->slot[slot].serial;
}

int tiers_find(struct tiers *t, const char *name)
{
    LOCKED_SCOPE(&t->mutex);
    tiers_each(i, t->present)
    {
        if (!strcmp(t->slot[i].name, name))
            return (int)i;
    }
    return -ENOENT;
}

const char *tier_state_name(enum tier_state state)
{
    static const char *const names[] = {"empty",  "opening",  "joining",
                                        "active", "draining", "closing"};

    return names[state];
}

/* --- holding --- */

struct tiers_hold tiers_hold(struct tiers *t, uint32_t mask)
{
    struct tiers_hold h = {.tiers = t};

    LOCKED_SCOPE(&t->mutex);
    h.mask = mask & t->present;
    tiers_each(i, h.mask) t->slot[i].holds++;
    return h;
}

void tiers_release(struct tiers_hold *h)
{
    struct tiers *t = h->tiers;

    if (!h->mask)
        return;
    LOCKED_SCOPE(&t->mutex);
    tiers_each(i, h->mask) t->slot[i].holds--;
    h->mask = 0;
    pthread_cond_broadcast(&t->released);
}

/* --- what is done to all of them --- */

int tiers_remove(struct tiers *t, const char *key)
{
    TIERS_HELD(held, t, t->present);
    int first = 0;

    tiers_each(i, held.mask)
    {
        int err = tier_remove(t->tier[i], &key, 1, NULL);

        if (err && err != -EOPNOTSUPP && err != -ENOENT && !first)
            first = err;
    }
    return first;
}

uint64_t tiers_signature(struct tiers *t)
{
    uint64_t signature = 0, place = 0;

    LOCKED_SCOPE(&t->mutex);
    tiers_each(i, t->active) signature =
        hash_bytes(&t->slot[i].spec, sizeof(t->slot[i].spec), signature + place++);
    return signature;
}
