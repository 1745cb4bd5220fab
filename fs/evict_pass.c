/* evict_pass.c - one pass of eviction in one tier: how much must go, who goes, and what that
 * leaves behind.
 *
 * Thread model: the tier's own thread (evict_ctl.c). Victims are chosen and settled one at a time
 * under ns->lock; between that they are busy and hold the key guard, so nothing changes them in L2,
 * and the tier is called without ns->lock.
 */
#include "config.h"

#include "clock.h"
#include "evict_impl.h"
#include "log.h"

#define CHUNK 256         /* looked at under ns->lock at once */
#define STEPS_MAX 65536   /* ... and at most, per tenant, before the pass gives up */
#define FAILURES_MAX 4    /* failed removals in a row that end a pass */
#define BARREN_BATCHES 16 /* batches in a row of keys that are all locked in the tier */
#define PAUSE_MAX (30 * NSEC_PER_SEC)
#define VAIN_MAX 3

/* --- how much --- */

static uint64_t held_bytes(const struct l2_usage *u)
{
    return u->used + u->reserved;
}

static uint64_t high_mark(const struct eviction *e, const struct l2_usage *u)
{
    return (uint64_t)(e->watermark * (double)u->capacity);
}

uint64_t evict_goal(const struct eviction *e, const struct l2_usage *u, uint64_t asked)
{
    uint64_t held = held_bytes(u), high = high_mark(e, u);
    uint64_t low = high - MIN((uint64_t)(e->ratio * (double)high), high);

    if (!u->capacity || e->policy == EVICT_NOOP || (!asked && held < high))
        return 0;
    return MAX(held - MIN(low, held) + asked, UINT64_C(1));
}

/* What was asked for was given meanwhile, by the pass before or by others who use the disk. */
static bool has_room(const struct eviction *e, const struct l2_usage *u, uint64_t asked)
{
    return held_bytes(u) + asked <= high_mark(e, u) && (!u->fs_size || u->fs_avail >= asked);
}

static uint64_t take_goal_locked(struct tier_evictor *ev, const struct l2_usage *u, bool *asked)
{
    struct list *l;
    uint64_t goal;

    ev->usage = *u;
    ev->grown = 0;
    *asked = ev->asked != 0;
    if (*asked && has_room(&ev->set, u, ev->asked) && ev->vain++ < VAIN_MAX)
        ev->asked = 0;
    else if (*asked)
        ev->vain = 0;
    ev->why = ev->asked ? CAUSE_SPACE : CAUSE_WATERMARK;
    goal = evict_goal(&ev->set, u, MIN(ev->asked, u->capacity));
    ev->asked = 0;
    list_for_each(l, &ev->fs->tenants) list_entry(l, struct tenant, link)->barren &=
        ~(1u << ev->slot);
    return goal;
}

/* --- who --- */

static bool claim_name(struct tier_evictor *ev, const struct dentry *d)
{
    struct victims *v = &ev->victims;
    char key[KEY_PATH_MAX + 2];

    if (v->nkeys == EVICT_BATCH || name_is_temporary(ev->fs, d) || ns_path(d, key) < 0)
        return false;
    v->keys[v->nkeys] = strdup(key);
    if (v->keys[v->nkeys] && keyguard_try(&ev->fs->guard, &v->tickets[v->nkeys], key)) {
        v->nkeys++;
        return true;
    }
    free(v->keys[v->nkeys]);
    return false;
}

/* Gives back the keys from `first` on. */
static void release_keys(struct tier_evictor *ev, size_t first, size_t n)
{
    struct victims *v = &ev->victims;

    for (size_t i = first; i < first + n; i++) {
        keyguard_leave(&ev->fs->guard, &v->tickets[i]);
        free(v->keys[i]);
        v->keys[i] = NULL;
    }
}

static bool claim(struct tier_evictor *ev, struct inode *inode)
{
    struct victims *v = &ev->victims;
    size_t first = v->nkeys;

    for (const struct dentry *d = inode->names; d; d = d->alias) {
        if (claim_name(ev, d))
            continue;
        release_keys(ev, first, v->nkeys - first);
        v->nkeys = first;
        return false;
    }
    v->victim[v->n++] = (struct victim){inode, first, v->nkeys - first};
    return true;
}

static bool may_go(void *arg, struct order_node *node)
{
    struct tier_evictor *ev = arg;
    struct inode *inode = container_of(node, struct rank, node)->inode;

    return !tier_obstacle_locked(ev->fs, inode, ev->slot) && claim(ev, inode);
}

/* Who gives next; NULL: nobody has anything that may go. */
static struct tenant *giver_locked(const struct tier_evictor *ev)
{
    uint64_t unshared = tier_unshared_locked(ev);
    struct tenant *best = NULL;
    struct list *l;

    list_for_each(l, &ev->fs->tenants)
    {
        struct tenant *t = list_entry(l, struct tenant, link);

        if ((t->barren & (1u << ev->slot)) || !t->tiers[ev->slot].count)
            continue;
        if (t == ev->asker)
            return t;
        if (!best ||
            tier_above_share(t, ev->slot, unshared) > tier_above_share(best, ev->slot, unshared))
            best = t;
    }
    return best;
}

/* 0: one more victim. -EAGAIN: not found yet. -ENOENT: there is none. */
static int choose_locked(struct tier_evictor *ev)
{
    struct tenant *t = ev->stop ? NULL : giver_locked(ev);
    struct order *order = t ? &t->tiers[ev->slot] : NULL;
    struct order_node *node;
    struct rank *p;

    if (!t)
        return -ENOENT;
    gate_sync_locked(ev->fs);
    node = order_pick(order, CHUNK, may_go, ev);
    if (!node) {
        ev->steps += CHUNK;
        if (ev->steps >= MIN(order_round(order), STEPS_MAX)) {
            t->barren |= 1u << ev->slot;
            ev->steps = 0;
        }
        return -EAGAIN;
    }
    ev->steps = 0;
    p = container_of(node, struct rank, node);
    p->leaving = true;
    p->inode->busy++;
    ev->victims.bytes += node->bytes;
    return 0;
}

static void choose(struct tier_evictor *ev, uint64_t goal)
{
    struct victims *v = &ev->victims;
    int err = 0;

    v->n = v->nkeys = 0;
    v->bytes = 0;
    while (err != -ENOENT && v->nkeys < EVICT_BATCH && v->bytes < goal) {
        LOCKED_SCOPE(&ev->fs->ns->lock);
        err = choose_locked(ev);
    }
}

/* --- the tier --- */

/* The batch failed, which does not say for which keys: one at a time. A tier that fails each time
 * is not asked for all of them. */
static void remove_each(struct tier_evictor *ev)
{
    struct victims *v = &ev->victims;
    size_t failed = 0;

    for (size_t i = 0; i < v->nkeys; i++) {
        const char *keys[1] = {v->keys[i]};

        if (v->errors[i])
            continue;
        v->errors[i] = failed < FAILURES_MAX ? tier_remove(ev->tier, keys, 1, ev->skipped) : -EIO;
        if (!v->errors[i] && bitmap_test(ev->skipped, 0))
            v->errors[i] = -EBUSY;
        bitmap_clear(ev->skipped, 0);
        failed = v->errors[i] && v->errors[i] != -EBUSY ? failed + 1 : 0;
    }
}

static int remove_keys(struct tier_evictor *ev)
{
    struct victims *v = &ev->victims;
    int err;

    err = tier_remove(ev->tier, (const char *const *)v->keys, v->nkeys, ev->skipped);
    for (size_t i = 0; i < v->nkeys; i++) {
        v->errors[i] = bitmap_test(ev->skipped, i) ? -EBUSY : 0;
        bitmap_clear(ev->skipped, i);
        if (err == -EOPNOTSUPP)
            v->errors[i] = err;
    }
    if (err && err != -EOPNOTSUPP)
        remove_each(ev);
    return err;
}

static bool is_last_locked(const struct tier_evictor *ev, const struct inode *inode)
{
    return inode->state == STATE_EVICTED && inode->tiers == 1u << ev->slot;
}

/* Other tiers hold other versions of these, which must not come back at the next mount. */
static void remove_stale(struct tier_evictor *ev)
{
    struct victims *v = &ev->victims;

    for (size_t i = 0; i < v->n; i++) {
        const struct victim *victim = &v->victim[i];
        bool stale;

        lock(&ev->fs->ns->lock);
        stale = victim->inode->stale && is_last_locked(ev, victim->inode);
        unlock(&ev->fs->ns->lock);
        for (size_t k = 0; stale && k < victim->nkeys; k++)
            tiers_remove(&ev->fs->tiers, v->keys[victim->first + k]);
    }
}

/* --- afterwards --- */

static int outcome(const struct tier_evictor *ev, const struct victim *victim)
{
    for (size_t i = 0; i < victim->nkeys; i++)
        if (ev->victims.errors[victim->first + i])
            return ev->victims.errors[victim->first + i];
    return 0;
}

/* The tier does not have the file any more. */
static void left_locked(struct tier_evictor *ev, struct inode *inode)
{
    char key[KEY_PATH_MAX + 2];
    bool last = is_last_locked(ev, inode);

    inode->tiers &= ~(1u << ev->slot);
    if (!inode->names)
        return;
    file_key(inode, key);
    evict_tell(ev->fs, &ev->place, key, ev->why);
    if (last)
        evict_gone_locked(ev->fs, inode, key);
    else if (inode->state == STATE_RESIDENT && object_clean_locked(inode))
        file_record_locked(ev->fs, inode->object, RECORD_PUBLISHED);
}

/* 0, or why it is still there: it goes to the far end of the order. */
static int settle_locked(struct tier_evictor *ev, const struct victim *victim, uint64_t *freed)
{
    struct inode *inode = victim->inode;
    struct rank *p = rank_find(inode, ev->slot);
    int err = outcome(ev, victim);

    if (p)
        p->leaving = false;
    if (!err) {
        *freed += p ? p->node.bytes : 0;
        metric_add(ev->bytes, p ? (int64_t)p->node.bytes : 0);
        left_locked(ev, inode);
    }
    release_keys(ev, victim->first, victim->nkeys);
    inode->busy--;
    file_settle_locked(ev->fs, inode);
    return err;
}

void tier_evictor_give_up_locked(struct tier_evictor *ev)
{
    struct victims *v = &ev->victims;

    for (size_t i = 0; i < v->nkeys; i++)
        keyguard_leave(&ev->fs->guard, &v->tickets[i]);
    for (size_t i = 0; i < v->n; i++) {
        struct inode *inode = v->victim[i].inode;
        struct rank *p = rank_find(inode, ev->slot);

        if (p)
            p->leaving = false;
        inode->busy--;
        file_settle_locked(ev->fs, inode);
    }
}

/* Bytes that went, of at least one file; `failed`: for another reason than locks. */
static uint64_t settle(struct tier_evictor *ev, bool *failed)
{
    uint64_t freed = 0;

    for (size_t i = 0; i < ev->victims.n; i++) {
        LOCKED_SCOPE(&ev->fs->ns->lock);
        int err = settle_locked(ev, &ev->victims.victim[i], &freed);

        *failed |= err && err != -EBUSY;
        freed += !err; /* an empty file went too */
    }
    ev->victims.n = ev->victims.nkeys = 0;
    return freed;
}

/* --- a pass --- */

static void cannot_remove(struct tier_evictor *ev)
{
    log_warn(
        "%s cannot remove keys, so nothing is evicted from it; set its eviction_policy to noop",
        tier_name(ev->tier));
    LOCKED_SCOPE(&ev->fs->ns->lock);
    ev->set.policy = EVICT_NOOP;
}

/* What was freed of `goal`. */
static uint64_t make_room(struct tier_evictor *ev, uint64_t goal, bool *failed)
{
    uint64_t freed = 0;

    for (unsigned barren = 0; freed < goal && barren < BARREN_BATCHES;) {
        uint64_t before = freed;
        int err;

        choose(ev, goal - freed);
        if (!ev->victims.n)
            break;
        tier_evictor_out(ev);
        err = remove_keys(ev);
        tier_evictor_in(ev);
        remove_stale(ev);
        freed += settle(ev, failed);
        if (err == -EOPNOTSUPP)
            cannot_remove(ev);
        barren = freed > before ? 0 : *failed ? BARREN_BATCHES : barren + 1;
    }
    return freed;
}

/* When to look again, and what to say when there is nothing that may go. */
static void plan_locked(struct tier_evictor *ev, uint64_t goal, uint64_t freed, bool failed)
{
    bool first = ev->pause <= EVICT_CHECK_NS;

    ev->pause = goal && !freed ? MIN(ev->pause * 2, PAUSE_MAX) : EVICT_CHECK_NS;
    ev->check_at = freed >= goal && goal ? clock_now() : clock_deadline(ev->pause);
    if (goal && !freed && first && !failed && !ev->stop)
        log_warn("%s is full and nothing in it may leave: all is open, pinned, locked or of state "
                 "disk; raise its capacity or unpin keys",
                 tiers_name(&ev->fs->tiers, ev->slot));
}

void tier_evictor_pass(struct tier_evictor *ev)
{
    struct l2_usage usage;
    uint64_t goal, freed = 0;
    bool asked, failed = false;

    tier_evictor_out(ev);
    tier_usage(ev->tier, &usage);
    tier_evictor_in(ev);
    lock(&ev->fs->ns->lock);
    goal = take_goal_locked(ev, &usage, &asked);
    unlock(&ev->fs->ns->lock);
    if (goal)
        freed = make_room(ev, goal, &failed);
    LOCKED_SCOPE(&ev->fs->ns->lock);
    ev->asker = ev->asked ? ev->asker : NULL;
    plan_locked(ev, goal, freed, failed);
    pthread_cond_broadcast(&ev->fs->stored_cond);
    if (asked && freed)
        store_room_locked(ev->fs, freed);
}
