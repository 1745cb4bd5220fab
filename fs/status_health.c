/* status_health.c - collects what health.c judges, for .l2fs/status and .l2fs/adapters/NAME/status.
 *
 * Thread model: how long something lasts is noted by the loop thread (health_tick) in struct
 * health_watch, whose fields are atomics; everything else is looked at by who reads the status.
 */
#include "config.h"

#include <stdatomic.h>

#include "clock.h"
#include "evict_ctl.h"
#include "health.h"
#include "status.h"

#define LOOK_MAX 16384 /* steps under the lock */
#define TICK_LEAST NSEC_PER_SEC

/* When it began, 0: it is not so. */
struct health_watch {
    _Atomic uint64_t ticked; /* the last tick, whatever it found */
    _Atomic uint64_t looked;
    _Atomic uint64_t l1_stuck, retrying, given_up;
    _Atomic uint64_t late[TIERS_MAX];
};

int health_watch_create(struct l2fs *fs)
{
    fs->health = calloc(1, sizeof(*fs->health));
    if (fs->health)
        fs->health->ticked = clock_now();
    return fs->health ? 0 : -ENOMEM;
}

void health_watch_destroy(struct l2fs *fs)
{
    free(fs->health);
    fs->health = NULL;
}

static void note(_Atomic uint64_t *since, bool is_so, uint64_t now)
{
    if (!is_so)
        atomic_store(since, 0);
    else if (!atomic_load(since))
        atomic_store(since, now);
}

static uint64_t lasted(const _Atomic uint64_t *since, uint64_t now)
{
    uint64_t began = atomic_load(since);

    return began && began < now ? now - began : 0;
}

void health_tick(struct l2fs *fs, uint64_t now)
{
    struct health_watch *w = fs->health;
    struct prefetch_status loads;
    uint64_t used, size;

    atomic_store(&w->ticked, now);
    if (now - atomic_load(&w->looked) < TICK_LEAST)
        return;
    atomic_store(&w->looked, now);
    prefetch_ctl_status(fs->prefetch_ctl, &loads);
    for (size_t i = 0; i < TIERS_MAX; i++)
        note(&w->late[i], loads.overdue[i] || (loads.stalled & (1u << i)), now);
    staging_space(fs->staging, &used, &size);
    LOCKED_SCOPE(&fs->ns->lock);
    note(&w->l1_stuck, l1_excess(&fs->l1, used, 0) && fs->l1.naside == l1_residents(&fs->l1), now);
    note(&w->retrying, fs->stores.retrying > 0, now);
    note(&w->given_up, fs->stores.given_up > 0, now);
}

/* --- a tier --- */

static bool evicts(struct l2fs *fs, size_t slot)
{
    struct text policy = {0};
    bool noop = evict_ctl_get(fs, slot, "policy", &policy) == 0 && policy.data &&
                !strcmp(policy.data, "noop");

    text_fini(&policy);
    return !noop;
}

static void add_sentence(void *arg, const char *sentence)
{
    struct text *t = arg;

    text_printf(t, "%s%s", t->len ? "; " : "", sentence);
}

/* Figures that the controllers have of it. */
static void ask_controllers(struct l2fs *fs, size_t slot, struct health_tier *t)
{
    uint64_t now = clock_now();
    struct store_tier_status s;
    struct prefetch_status p;

    store_ctl_tier_status(fs->store_ctl, slot, &s);
    prefetch_ctl_status(fs->prefetch_ctl, &p);
    t->stores_stalled = s.stalled;
    t->stores_lagging = s.lagging;
    t->stores_overdue = s.overdue;
    t->oldest_store = s.oldest && s.oldest < now ? now - s.oldest : 0;
    t->store_error = s.last_error;
    t->retrying = lasted(&fs->health->retrying, now);
    t->loads_stalled = p.stalled & (1u << slot);
    t->loads_overdue = p.overdue[slot];
    t->loads_late = lasted(&fs->health->late[slot], now);
}

void health_add_to_tier(struct l2fs *fs, size_t slot, const struct probe_result *r)
{
    struct health_tier t = {.name = tiers_name(&fs->tiers, slot),
                            .answers = r->answered,
                            .well = json_is_true(json_object_get(r->status, "is_healthy")),
                            .says = json_string_value(json_object_get(r->status, "last_error")),
                            .used = r->usage.used,
                            .capacity = r->usage.capacity,
                            .evicts = evicts(fs, slot)};
    struct text sentences = {0};

    ask_controllers(fs, slot, &t);
    health_of_tier(&t, add_sentence, &sentences);
    json_object_set_new(r->status, "is_healthy", json_boolean(!sentences.len));
    if (sentences.len)
        json_object_set_new(r->status, "health", status_string(sentences.data));
    text_fini(&sentences);
}

/* --- the instance --- */

static void count_obstacles_locked(struct l2fs *fs, struct health_instance *h)
{
    uint64_t now = clock_now();
    size_t left = LOOK_MAX;
    struct list *l;

    list_for_each(l, &fs->l1.aside)
    {
        if (!left--)
            return;
        switch (evict_obstacle_locked(fs, list_entry(l, struct object, l1_link), now)) {
        case OBSTACLE_OPEN: h->open++; break;
        case OBSTACLE_PINNED: h->pinned++; break;
        case OBSTACLE_UNSTORED: h->unstored++; break;
        case OBSTACLE_UNREAD: h->unread++; break;
        default: h->other++; break;
        }
    }
}

static size_t waiting_locked(const struct l2fs *fs)
{
    const struct list *l;
    size_t n = 0;

    for (l = fs->space_waiters.next; l != &fs->space_waiters; l = l->next)
        n++;
    return n;
}

static void collect(struct l2fs *fs, struct health_instance *h)
{
    uint64_t now = clock_now(), ticked = atomic_load(&fs->health->ticked), size;

    *h = (struct health_instance){.loop_silent = now > ticked ? now - ticked : 0,
                                  .no_tiers = !fs->tiers.present && json_array_size(fs->cfg->l2),
                                  .l1_stuck = lasted(&fs->health->l1_stuck, now),
                                  .given_up_for = lasted(&fs->health->given_up, now)};
    staging_space(fs->staging, &h->l1_used, &size);
    LOCKED_SCOPE(&fs->ns->lock);
    h->l1_high = (uint64_t)(fs->l1.watermark * (double)fs->l1.capacity);
    h->given_up = fs->stores.given_up;
    h->list_error = fs->scan.error;
    h->unlisted = fs->scan.error ? tiers_name(&fs->tiers, fs->scan.tier) : NULL;
    h->space_waiters = waiting_locked(fs);
    if (h->l1_stuck)
        count_obstacles_locked(fs, h);
}

static void append_sentence(void *arg, const char *sentence)
{
    json_array_append_new(arg, status_string(sentence));
}

json_t *health_list(struct l2fs *fs, const json_t *tiers)
{
    json_t *list = json_array();
    struct health_instance h;
    const json_t *tier;
    size_t i;

    collect(fs, &h);
    health_of_instance(&h, append_sentence, list);
    json_array_foreach(tiers, i, tier)
    {
        json_t *sentences = json_object_get(tier, "health");

        if (sentences)
            json_array_append(list, sentences);
    }
    return list;
}
