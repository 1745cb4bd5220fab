/* prefetch_request.c - the steps of a running request: what is asked of the tiers for its keys, and
 * what their answers mean for each key. Loop thread only, as are the owner's callbacks.
 */
#include "config.h"

#include "prefetch_impl.h"

/* ---- outcomes of keys ---- */

/* Of prefetch_key.step. HELD: loaded, but those before it are not known yet. */
enum { KEY_OPEN, KEY_LOADING, KEY_HELD, KEY_GIVEN };

static void unlock_key(struct prefetch_ctl *c, struct prefetch_key *k, uint32_t tiers)
{
    tiers &= k->locked;
    k->locked &= ~tiers;
    for (size_t i = 0; tiers; i++, tiers >>= 1)
        if (tiers & 1)
            tier_submit_unlock(c->p.tiers[i], &k->key, 1);
}

static void give(struct prefetch_ctl *c, struct prefetch_request *r, size_t i, int error)
{
    struct prefetch_key *k = &r->keys[i];

    unlock_key(c, k, UINT32_MAX);
    if (k->step == KEY_HELD && error)
        prefetch_object_drop(c, &k->object);
    k->step = KEY_GIVEN;
    k->error = error;
    r->given++;
    metric_add(error ? c->misses_total : c->loads_total, 1);
    c->p.owner->key_done(c->p.owner, r, i);
}

void prefetch_give_rest(struct prefetch_ctl *c, struct prefetch_request *r, size_t from, int error)
{
    for (size_t i = from; i < r->n; i++)
        if (r->keys[i].step != KEY_GIVEN)
            give(c, r, i, error);
}

static void key_failed(struct prefetch_ctl *c, struct prefetch_request *r, size_t i, int error)
{
    give(c, r, i, error);
    if (r->mode == PLAN_PREFIX)
        prefetch_give_rest(c, r, i + 1, -ECANCELED);
}

static void key_loaded(struct prefetch_ctl *c, struct prefetch_request *r, size_t i)
{
    if (r->mode == PLAN_ALL) {
        give(c, r, i, 0);
        return;
    }
    r->keys[i].step = KEY_HELD;
    for (; r->next < r->n && r->keys[r->next].step == KEY_HELD; r->next++)
        give(c, r, r->next, 0);
}

static void tier_failed(struct prefetch_key *k, size_t tier, int error)
{
    k->why = plan_worse(k->why, error);
    if (error == -ENOENT || error == -EBADMSG)
        k->absent |= 1u << tier;
}

/* ---- load ---- */

static void load_from(struct prefetch_ctl *c, struct prefetch_request *r, size_t tier,
                      size_t *index)
{
    size_t n = 0;
    int err;

    for (size_t i = 0; i < r->n; i++) {
        struct prefetch_key *k = &r->keys[i];

        if (k->step != KEY_OPEN || !k->left || plan_next(&(struct plan){0}, k->left) != (int)tier)
            continue;
        k->step = KEY_LOADING;
        index[n++] = i;
    }
    err = n ? prefetch_task_start(c, r, tier, L2_LOAD, index, n) : 0;
    for (size_t i = 0; err && i < n; i++)
        prefetch_loaded(c, r, index[i], tier, err, NULL);
}

/* One task per tier for the keys that wait for one, lowest tier first: what one refuses goes to a
 * later one. */
void prefetch_load_keys(struct prefetch_ctl *c, struct prefetch_request *r)
{
    size_t *index = calloc(r->n, sizeof(*index));

    for (size_t t = 0; index && t < TIERS_MAX; t++)
        load_from(c, r, t, index);
    if (!index)
        prefetch_give_rest(c, r, 0, -ENOMEM);
    free(index);
}

void prefetch_landed(struct prefetch_ctl *c, struct prefetch_request *r, size_t i,
                     const struct l2_landed *now)
{
    if (r->stream && r->keys[i].step == KEY_LOADING)
        c->p.owner->landed(c->p.owner, r, i, now);
}

void prefetch_loaded(struct prefetch_ctl *c, struct prefetch_request *r, size_t i, size_t tier,
                     int error, struct l2_object *object)
{
    struct prefetch_key *k = &r->keys[i];

    unlock_key(c, k, 1u << tier);
    if (k->step == KEY_GIVEN) { /* cut off meanwhile */
        if (object)
            prefetch_object_drop(c, object);
        return;
    }
    if (object) {
        k->object = *object;
        k->tier = tier;
        key_loaded(c, r, i);
        return;
    }
    if (error == -EBADMSG)
        metric_add(c->corrupt_total, 1);
    prefetch_landed(c, r, i, &(struct l2_landed){0});
    tier_failed(k, tier, error);
    k->left &= ~(1u << tier);
    k->step = KEY_OPEN;
    if (!k->left)
        key_failed(c, r, i, k->why);
}

/* ---- plan and reserve ---- */

void prefetch_plan_keys(struct prefetch_ctl *c, struct prefetch_request *r)
{
    struct plan plan = {.mode = r->mode};

    for (size_t i = 0; i < r->n; i++) {
        struct prefetch_key *k = &r->keys[i];
        int tier = plan_next(&plan, k->left);

        unlock_key(c, k, tier == PLAN_NONE ? UINT32_MAX : ~(1u << tier));
    }
    for (size_t i = 0; i < r->n; i++)
        if (r->keys[i].step == KEY_OPEN && !r->keys[i].left)
            key_failed(c, r, i, plan_worse(-ENOENT, r->keys[i].why));
}

void prefetch_reserve_keys(struct prefetch_ctl *c, struct prefetch_request *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct prefetch_key *k = &r->keys[i];
        int err;

        if (k->step != KEY_OPEN)
            continue;
        err = c->p.owner->reserve(c->p.owner, r, i, k->size);
        if (err)
            key_failed(c, r, i, err);
    }
}

/* ---- lookup ---- */

void prefetch_looked_up(struct prefetch_request *r, size_t i, size_t tier, int error, uint64_t size)
{
    struct prefetch_key *k = &r->keys[i];

    if (error) {
        tier_failed(k, tier, error);
        return;
    }
    k->left |= 1u << tier;
    k->locked |= 1u << tier;
    k->size = MAX(k->size, size);
}

/* The keys that may be asked of a tier. */
static size_t askable(const struct prefetch_request *r, size_t tier, size_t *index)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        if (r->keys[i].tiers & (1u << tier))
            index[n++] = i;
    return n;
}

static int ask(struct prefetch_ctl *c, struct prefetch_request *r, size_t tier, const size_t *index,
               size_t n)
{
    if (!c->tiers[tier].active)
        return -ESHUTDOWN;
    if (!prefetch_tier_usable(c, tier))
        return -ETIMEDOUT;
    return prefetch_task_start(c, r, tier, L2_LOOKUP, index, n);
}

void prefetch_look_up(struct prefetch_ctl *c, struct prefetch_request *r)
{
    size_t *index = calloc(r->n, sizeof(*index));

    for (size_t t = 0; index && t < TIERS_MAX; t++) {
        size_t n = askable(r, t, index);
        int err = n ? ask(c, r, t, index, n) : 0;

        for (size_t i = 0; err && i < n; i++)
            r->keys[index[i]].why = plan_worse(r->keys[index[i]].why, err);
    }
    for (size_t i = 0; !index && i < r->n; i++)
        r->keys[i].why = -ENOMEM;
    free(index);
}
