/* hotplug_tier.c - the steps of adding and of removing a tier.
 *
 * Thread model: the thread of the change, but for hotplug_begin_removal and hotplug_take_back, which
 * are the caller's. Controllers are told on the loop thread (on_loop), the tree changes under
 * ns->lock.
 */
#include "config.h"

#include "clock.h"
#include "evict_ctl.h"
#include "hotplug_impl.h"
#include "log.h"

#define POLL_NS (10 * NSEC_PER_MSEC)

/* --- the loop thread's part --- */

struct loop_call {
    struct l2fs *fs;
    size_t slot;
    int (*fn)(struct l2fs *fs, size_t slot);
    int result;
};

static void run_call(void *arg)
{
    struct loop_call *c = arg;

    c->result = c->fn(c->fs, c->slot);
}

/* The loop thread waits for nothing, so this takes no longer than its round. */
static int on_loop(struct change *change, int (*fn)(struct l2fs *fs, size_t slot))
{
    struct loop_call c = {.fs = change->owner->fs, .slot = change->slot, .fn = fn};

    mailbox_call(c.fs->mailbox, run_call, &c);
    return c.result;
}

static int controllers_add(struct l2fs *fs, size_t slot)
{
    int err = store_ctl_add_tier(fs->store_ctl, slot);

    return err ? err : prefetch_ctl_add_tier(fs->prefetch_ctl, slot);
}

static int stores_busy(struct l2fs *fs, size_t slot)
{
    return store_ctl_tier_busy(fs->store_ctl, slot) > 0;
}

static int loads_busy(struct l2fs *fs, size_t slot)
{
    return prefetch_ctl_tier_busy(fs->prefetch_ctl, slot);
}

static int drop_loads(struct l2fs *fs, size_t slot)
{
    prefetch_ctl_drop_tier(fs->prefetch_ctl, slot);
    return 0;
}

static int controllers_drop(struct l2fs *fs, size_t slot)
{
    store_ctl_drop_tier(fs->store_ctl, slot);
    prefetch_ctl_forget_tier(fs->prefetch_ctl, slot);
    return 0;
}

static int controllers_closed(struct l2fs *fs, size_t slot)
{
    store_ctl_tier_closed(fs->store_ctl, slot);
    return 0;
}

/* --- the end of a tier: nobody is given it any more --- */

static size_t leave_tree_locked(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    size_t lost = sweep_forget_locked(fs, c->slot);

    status_drop_tier_locked(fs, c->slot);
    tiers_retire(&fs->tiers, c->slot);
    fs->signature = tiers_signature(&fs->tiers);
    return lost;
}

static bool was_left(struct change *c)
{
    LOCKED_SCOPE(&c->owner->mutex);
    return c->owner->left;
}

static void close_tier(struct change *c)
{
    struct l2fs *fs = c->owner->fs;

    if (!evict_ctl_drop_tier(fs, c->slot))
        return; /* a removal is stuck in it: it stays for that one, and its slot with it */
    tiers_close(&fs->tiers, c->slot);
    if (was_left(c))
        return;
    on_loop(c, controllers_closed);
    tiers_vacate(&fs->tiers, c->slot);
}

/* --- adding --- */

static int join_tree(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    int err = on_loop(c, controllers_add);

    if (!err) {
        lock(&fs->ns->lock);
        err = status_add_tier_locked(fs, c->slot);
        unlock(&fs->ns->lock);
    }
    if (!err)
        err = scan_tier(fs, c->slot);
    if (!err)
        err = evict_ctl_add_tier(fs, c->slot);
    if (err)
        text_printf(&c->why, "what %s holds cannot be taken over: %s",
                    tiers_name(&fs->tiers, c->slot), strerror(-err));
    return err;
}

static void activate(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    char name[TIER_NAME_MAX];

    lock(&fs->ns->lock);
    memcpy(name, tiers_name(&fs->tiers, c->slot), sizeof(name));
    tiers_move(&fs->tiers, c->slot, TIER_ACTIVE);
    fs->signature = tiers_signature(&fs->tiers);
    sweep_store_locked(fs);
    events_add(fs, "adapter-added", name, NULL);
    unlock(&fs->ns->lock);
    log_info("adapter %s is added: what is stored from now on goes there too", name);
}

void hotplug_run_add(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    const struct adapter_env env = {
        .staging = fs->staging, .metrics = fs->metrics, .arrivals = &fs->arrive.base};
    int err = tiers_open(&fs->tiers, &env, c->spec, &c->why);

    if (err < 0) {
        hotplug_answer(c, err);
        return;
    }
    c->slot = (size_t)err;
    if (was_left(c)) {
        tiers_retire(&fs->tiers, c->slot);
        tiers_close(&fs->tiers, c->slot);
        hotplug_answer(c, -ESHUTDOWN);
        return;
    }
    err = join_tree(c);
    if (!err) {
        activate(c);
        hotplug_answer(c, 0);
        return;
    }
    lock(&fs->ns->lock);
    leave_tree_locked(c);
    unlock(&fs->ns->lock);
    on_loop(c, drop_loads);
    on_loop(c, controllers_drop);
    close_tier(c);
    hotplug_answer(c, err);
}

/* --- removing --- */

static bool others_keep(const struct l2fs *fs, size_t slot)
{
    return fs->tiers.keeping & fs->tiers.active & ~(1u << slot);
}

/* 0 when the tier may go as far as its files are concerned; else it is active again. */
static int judge_locked(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    struct census census;
    int err;

    tiers_move(&fs->tiers, c->slot, TIER_DRAINING);
    census_take_locked(fs, c->slot, &census);
    err =
        census_judge(&census, c->removal.name, c->removal.force, others_keep(fs, c->slot), &c->why);
    tiers_move(&fs->tiers, c->slot, err ? TIER_ACTIVE : TIER_DRAINING);
    fs->signature = tiers_signature(&fs->tiers);
    return err;
}

int hotplug_begin_removal(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    int slot, err;

    LOCKED_SCOPE(&fs->ns->lock);
    slot = tiers_find(&fs->tiers, c->removal.name);
    if (slot < 0) {
        text_printf(&c->why, "there is no adapter %s", c->removal.name);
        return slot;
    }
    c->slot = (size_t)slot;
    switch (tiers_state(&fs->tiers, c->slot)) {
    case TIER_ACTIVE: break;
    case TIER_JOINING: text_printf(&c->why, "%s is being added", c->removal.name); return -EBUSY;
    default: text_printf(&c->why, "%s is being removed already", c->removal.name); return -EALREADY;
    }
    err = judge_locked(c);
    if (!err)
        sweep_restore_locked(fs, c->slot);
    return err;
}

void hotplug_take_back(struct change *c)
{
    struct l2fs *fs = c->owner->fs;

    LOCKED_SCOPE(&fs->ns->lock);
    tiers_move(&fs->tiers, c->slot, TIER_ACTIVE);
    fs->signature = tiers_signature(&fs->tiers);
}

/* Something of L1 that only this tier has is still to be stored in the others. */
static bool restoring(struct change *c)
{
    struct l2fs *fs = c->owner->fs;
    struct census census;

    LOCKED_SCOPE(&fs->ns->lock);
    if (!fs->tiers.active || !fs->unstored)
        return false;
    census_take_locked(fs, c->slot, &census);
    return census.resident > 0;
}

/* False: there is no time left. */
static bool wait_a_moment(struct change *c, uint64_t pause)
{
    struct hotplug *h = c->owner;

    LOCKED_SCOPE(&h->mutex);
    if (!h->stopping && clock_now() < c->deadline)
        cond_wait_until(&h->changed, &h->mutex, MIN(clock_deadline(pause), c->deadline));
    return !h->stopping && clock_now() < c->deadline;
}

static void drain_stores(struct change *c)
{
    uint64_t began, pause;
    bool busy;

    do {
        began = clock_now();
        busy = on_loop(c, stores_busy) || restoring(c);
        pause = MAX(POLL_NS, 20 * (clock_now() - began)); /* big trees are looked at less often */
    } while (busy && wait_a_moment(c, pause));
}

static int end_in_tree(struct change *c, size_t *lost)
{
    struct l2fs *fs = c->owner->fs;
    int err;

    LOCKED_SCOPE(&fs->ns->lock);
    err = judge_locked(c);
    if (err)
        return err;
    *lost = leave_tree_locked(c);
    events_add(fs, "adapter-removed", c->removal.name, NULL);
    return 0;
}

static void drain_loads(struct change *c)
{
    on_loop(c, drop_loads);
    while (on_loop(c, loads_busy) && wait_a_moment(c, POLL_NS))
        continue;
}

void hotplug_run_remove(struct change *c)
{
    size_t lost;
    int err;

    drain_stores(c);
    err = end_in_tree(c, &lost);
    if (err) {
        log_warn("adapter %s stays: %s", c->removal.name, c->why.data ? c->why.data : "?");
        hotplug_answer(c, err);
        return;
    }
    drain_loads(c);
    if (on_loop(c, stores_busy) || on_loop(c, loads_busy))
        log_warn("adapter %s has not ended what it was asked in time; it goes without that",
                 c->removal.name);
    on_loop(c, controllers_drop);
    if (lost)
        log_warn("adapter %s is removed, and with it %zu keys that were nowhere else",
                 c->removal.name, lost);
    else
        log_info("adapter %s is removed", c->removal.name);
    hotplug_answer(c, 0);
    close_tier(c);
}
