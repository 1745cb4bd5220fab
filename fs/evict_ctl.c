/* evict_ctl.c - the threads that evict from tiers, how they come and go, and their settings.
 *
 * Thread model: struct evict_ctl and most of struct tier_evictor are under ns->lock; each evictor's
 * thread sleeps on its condition until somebody asks or it is time to look. `gate` says whether the
 * thread is in a call of its tier: at the end such a call is waited for, but not for ever.
 */
#include "config.h"

#include <stdio.h>

#include "clock.h"
#include "evict_impl.h"
#include "log.h"
#include "thread.h"

#define STOP_NS (5 * NSEC_PER_SEC)

static struct tier_evictor *evictor_of(const struct l2fs *fs, size_t slot)
{
    return fs->evict_ctl && slot < TIERS_MAX ? fs->evict_ctl->evictor[slot] : NULL;
}

/* --- the thread --- */

static void tier_evictor_free(struct tier_evictor *ev)
{
    pthread_cond_destroy(&ev->wake);
    pthread_cond_destroy(&ev->moved);
    pthread_mutex_destroy(&ev->gate);
    bitmap_destroy(ev->skipped);
    free(ev);
}

void tier_evictor_out(struct tier_evictor *ev)
{
    LOCKED_SCOPE(&ev->gate);
    ev->outside = true;
}

void tier_evictor_in(struct tier_evictor *ev)
{
    bool abandoned;

    lock(&ev->gate);
    ev->outside = false;
    abandoned = ev->abandoned;
    pthread_cond_broadcast(&ev->moved);
    unlock(&ev->gate);
    if (!abandoned)
        return;
    for (size_t i = 0; i < ev->victims.nkeys; i++)
        free(ev->victims.keys[i]);
    tier_evictor_free(ev);
    pthread_exit(NULL);
}

/* Drops ns->lock while it sleeps. False: the end. */
static bool wait_locked_for_work(struct tier_evictor *ev)
{
    while (!ev->stop && !ev->asked && clock_now() < ev->check_at)
        cond_wait_until(&ev->wake, &ev->fs->ns->lock, ev->check_at);
    return !ev->stop;
}

static void *run(void *arg)
{
    struct tier_evictor *ev = arg;
    bool more = true;

    while (more) {
        lock(&ev->fs->ns->lock);
        more = wait_locked_for_work(ev);
        unlock(&ev->fs->ns->lock);
        if (more)
            tier_evictor_pass(ev);
    }
    LOCKED_SCOPE(&ev->gate);
    ev->ended = true;
    pthread_cond_broadcast(&ev->moved);
    return NULL;
}

/* --- coming and going --- */

static struct tier_evictor *tier_evictor_create(struct l2fs *fs, size_t slot,
                                                const struct l2_usage *usage)
{
    struct tier_evictor *ev = calloc(1, sizeof(*ev));
    struct text labels = {0};
    const char *l;

    if (!ev)
        return NULL;
    ev->fs = fs;
    ev->tier = fs->tiers.tier[slot];
    ev->slot = slot;
    ev->usage = *usage;
    ev->pause = EVICT_CHECK_NS;
    lock_init(&ev->gate);
    cond_init(&ev->wake);
    cond_init(&ev->moved);
    ev->skipped = bitmap_create(EVICT_BATCH);
    strcpy(ev->name, tiers_name(&fs->tiers, slot));
    metrics_label(&labels, "from", ev->name);
    l = labels.data ? labels.data : "";
    evict_place_init(&ev->place, fs->metrics, ev->name);
    ev->bytes =
        metrics_counter(fs->metrics, "l2fs_evicted_bytes", "Bytes of keys that left a tier.", l);
    text_fini(&labels);
    if (ev->skipped)
        return ev;
    tier_evictor_free(ev);
    return NULL;
}

/* True: the tier has a capacity, or says what to do with one. */
static bool wants_eviction(struct l2fs *fs, size_t slot, struct eviction *set, struct l2_usage *u)
{
    struct tier *tier = fs->tiers.tier[slot];
    json_t *config = tier_config(tier);
    bool given = spec_eviction(config, set);

    json_decref(config);
    tier_usage(tier, u);
    if (u->capacity)
        return true;
    if (given && set->policy != EVICT_NOOP)
        log_warn("%s has an eviction block but no capacity, so nothing is evicted from it; set "
                 "max_capacity_gb",
                 tier_name(tier));
    return false;
}

int evict_ctl_add_tier(struct l2fs *fs, size_t slot)
{
    struct evict_ctl *c = fs->evict_ctl;
    struct eviction set;
    struct l2_usage usage;
    struct tier_evictor *ev;
    int err;

    if (!wants_eviction(fs, slot, &set, &usage))
        return 0;
    ev = tier_evictor_create(fs, slot, &usage);
    if (!ev)
        return -ENOMEM;
    ev->set = set;
    lock(&fs->ns->lock);
    c->evictor[slot] = ev;
    tier_evictor_policy_locked(ev, set.policy);
    err = tier_evictor_order_all_locked(fs, set.policy == EVICT_NOOP ? 0 : 1u << slot);
    if (!err)
        err = thread_start(&ev->thread, run, ev);
    ev->ended = err != 0;
    unlock(&fs->ns->lock);
    if (err)
        evict_ctl_drop_tier(fs, slot);
    return err;
}

int evict_ctl_start(struct l2fs *fs)
{
    struct evict_ctl *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    lock(&fs->ns->lock); /* the scan of the start runs */
    fs->evict_ctl = c;
    unlock(&fs->ns->lock);
    tiers_each(i, fs->cfg->read_only ? 0 : fs->tiers.present & ~fs->scan.tiers)
    {
        int err = evict_ctl_add_tier(fs, i);

        if (err)
            return err;
    }
    return 0;
}

static bool wait_ended(struct tier_evictor *ev)
{
    uint64_t deadline = clock_deadline(STOP_NS);

    LOCKED_SCOPE(&ev->gate);
    while (!ev->ended)
        if (cond_wait_until(&ev->moved, &ev->gate, deadline) == -ETIMEDOUT)
            break;
    return ev->ended;
}

/* False: the thread is not in a call of its tier, it comes to an end. Else it frees `ev` when the
 * call ends, which may be at once. */
static bool abandon(struct tier_evictor *ev)
{
    bool outside;

    LOCKED_SCOPE(&ev->fs->ns->lock);
    lock(&ev->gate);
    outside = ev->outside;
    if (outside) {
        tier_evictor_give_up_locked(ev);
        pthread_detach(ev->thread);
        ev->abandoned = true;
    }
    unlock(&ev->gate);
    return outside;
}

static void drop_ranks_locked(struct l2fs *fs, size_t slot)
{
    struct list *l;

    list_for_each(l, &fs->tenants)
    {
        struct order *o = &list_entry(l, struct tenant, link)->tiers[slot];

        while (o->count) {
            struct list *first = list_empty(&o->main) ? o->small.next : o->main.next;

            rank_destroy(container_of(first, struct rank, node.link));
        }
    }
}

bool evict_ctl_drop_tier(struct l2fs *fs, size_t slot)
{
    struct tier_evictor *ev;

    lock(&fs->ns->lock);
    ev = evictor_of(fs, slot);
    if (ev) {
        ev->stop = true;
        pthread_cond_signal(&ev->wake);
        fs->evict_ctl->evictor[slot] = NULL;
        fs->evict_ctl->ordered &= ~(1u << slot);
        drop_ranks_locked(fs, slot);
    }
    unlock(&fs->ns->lock);
    if (!ev)
        return true;
    while (!wait_ended(ev)) {
        if (!abandon(ev))
            continue;
        log_err("%s: a removal has not ended within %d s; the tier is given up as it is (look at "
                "the device or service below it)",
                tiers_name(&fs->tiers, slot), (int)(STOP_NS / NSEC_PER_SEC));
        tiers_abandon(&fs->tiers, slot);
        return false;
    }
    if (ev->thread)
        pthread_join(ev->thread, NULL);
    tier_evictor_free(ev);
    return true;
}

bool evict_ctl_stop(struct l2fs *fs)
{
    bool stuck = false;

    if (!fs->evict_ctl)
        return false;
    for (size_t i = 0; i < TIERS_MAX; i++)
        stuck |= !evict_ctl_drop_tier(fs, i);
    free(fs->evict_ctl);
    fs->evict_ctl = NULL;
    return stuck;
}

/* --- asking --- */

bool evict_ctl_ask_locked(struct l2fs *fs, size_t slot, uint64_t bytes, struct tenant *t)
{
    struct tier_evictor *ev = evictor_of(fs, slot);

    if (!ev) /* it evicts when the scan has ended */
        return fs->scan.running && !fs->scan.error && (fs->scan.tiers & (1u << slot));
    if (ev->set.policy == EVICT_NOOP || bytes > ev->usage.capacity)
        return false;
    if (ev->asked && ev->asker != t)
        t = NULL;
    ev->asker = t;
    ev->asked += MAX(bytes, UINT64_C(1));
    pthread_cond_signal(&ev->wake);
    return ev->pause <= EVICT_CHECK_NS;
}

/* --- settings and status --- */

static const struct {
    const char *name, *option;
} settings[] = {
    {"policy", "eviction_policy"},
    {"watermark", "trigger_watermark"},
    {"ratio", "eviction_ratio"},
};

static const char *option_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        if (!strcmp(settings[i].name, name))
            return settings[i].option;
    return NULL;
}

int evict_ctl_get(struct l2fs *fs, size_t slot, const char *name, struct text *out)
{
    const struct tier_evictor *ev;
    struct eviction set;
    const char *option = option_of(name);
    json_t *all, *value;

    lock(&fs->ns->lock);
    ev = evictor_of(fs, slot);
    if (ev)
        set = ev->set;
    unlock(&fs->ns->lock);
    if (!ev || !option)
        return -ENODATA;
    all = conf_to_json(spec_eviction_options, &set);
    value = json_object_get(all, option);
    if (json_is_string(value))
        text_puts(out, json_string_value(value));
    else
        text_printf(out, "%.15g", json_number_value(value));
    json_decref(all);
    return 0;
}

static int apply_locked(struct tier_evictor *ev, struct eviction set)
{
    uint32_t bit = 1u << ev->slot;
    int err = 0;

    if (set.policy > EVICT_NOOP)
        set.policy = EVICT_LRU;
    if (set.policy != ev->set.policy)
        tier_evictor_policy_locked(ev, set.policy);
    if (set.policy != EVICT_NOOP && !(ev->fs->evict_ctl->ordered & bit))
        err = tier_evictor_order_all_locked(ev->fs, bit);
    ev->set = set;
    ev->pause = EVICT_CHECK_NS;
    ev->check_at = 0;
    pthread_cond_signal(&ev->wake);
    return err;
}

int evict_ctl_set(struct l2fs *fs, size_t slot, const char *name, const char *value,
                  struct text *out)
{
    const char *option = option_of(name);
    struct eviction set;
    struct tier_evictor *ev;
    int err = scan_await_all(fs, out);

    if (err)
        return err;
    LOCKED_SCOPE(&fs->ns->lock);
    ev = evictor_of(fs, slot);
    if (!ev) {
        text_puts(out, "this tier has no capacity, so nothing is evicted from it");
        return -EOPNOTSUPP;
    }
    set = ev->set;
    err = option ? conf_set(spec_eviction_options, &set, option, value, 0, out) : -EINVAL;
    return err ? err : apply_locked(ev, set);
}

void evict_ctl_describe(struct l2fs *fs, size_t slot, const struct l2_usage *u, json_t *to)
{
    struct eviction set = {.policy = EVICT_NOOP};
    const struct tier_evictor *ev;
    json_t *all;

    lock(&fs->ns->lock);
    ev = evictor_of(fs, slot);
    if (ev)
        set = ev->set;
    unlock(&fs->ns->lock);
    all = conf_to_json(spec_eviction_options, &set);
    json_object_update(to, all);
    json_decref(all);
    json_object_set_new(to, "current_usage",
                        json_real(u->capacity ? (double)u->used / (double)u->capacity : -1.0));
    json_object_set_new(to, "total_bytes_used", json_integer((json_int_t)u->used));
    json_object_set_new(to, "total_capacity_bytes", json_integer((json_int_t)u->capacity));
}
