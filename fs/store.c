/* store.c - which objects are not in L2 as they are now, and when each is tried. An object has at
 * most one store_work. What a try does is in store_job.c.
 */
#include "config.h"

#include "clock.h"
#include "log.h"
#include "store_impl.h"

#define SWEEP_MAX 256 /* objects that one call for room looks at */
#define DRAIN_TRIES 3

static const uint64_t pauses[STORE_PAUSES] = {
    500 * NSEC_PER_MSEC, NSEC_PER_SEC,      2 * NSEC_PER_SEC,  4 * NSEC_PER_SEC,
    8 * NSEC_PER_SEC,    16 * NSEC_PER_SEC, 30 * NSEC_PER_SEC,
};

/* --- what there is to store --- */

/* A name that L2 does not have as the object is now; temporary names never are. */
struct dentry *store_name_locked(const struct l2fs *fs, const struct inode *inode)
{
    struct dentry *d = inode->names;

    while (d && (d->gen == inode->object->want_gen || name_is_temporary(fs, d)))
        d = d->alias;
    return d;
}

bool store_needed_locked(const struct l2fs *fs, const struct inode *inode)
{
    const struct object *o = inode->object;

    if (!o || !fs->tiers.active || !o->want_gen ||
        (inode->state != STATE_RESIDENT && inode->state != STATE_WRITING))
        return false;
    return (o->fsync_wanted || !o->writers) && store_name_locked(fs, inode);
}

bool store_given_up_locked(const struct object *o)
{
    return o->rest.given_gen && o->rest.given_gen == o->want_gen;
}

static struct store_facts facts_of(const struct l2fs *fs, const struct object *o)
{
    return (struct store_facts){
        .asked = o->rest.asked || fs->stopping, .room = o->rest.room > 0, .fsynced = o->fsynced};
}

static bool wanted_locked(const struct l2fs *fs, const struct inode *inode)
{
    struct store_facts f;

    if (!store_needed_locked(fs, inode) || store_given_up_locked(inode->object))
        return false;
    f = facts_of(fs, inode->object);
    return store_policy_wants(fs->cfg->store_policy, &f);
}

/* Where an object without a work rests; NULL: it has nothing to store. */
static struct list *place_of(struct l2fs *fs, struct object *o)
{
    if (o->store || !store_needed_locked(fs, o->inode))
        return NULL;
    return store_given_up_locked(o) ? &fs->stores.given : &fs->stores.cold;
}

static void rest_locked(struct l2fs *fs, struct object *o)
{
    struct list *place = place_of(fs, o);

    if (place == o->rest.in)
        return;
    if (place)
        gate_sync_locked(fs); /* not where the drain takes the orders apart */
    if (o->rest.in == &fs->stores.given)
        fs->stores.given_up--;
    list_remove(&o->rest.link);
    o->rest.in = place;
    if (!place)
        return;
    list_push_back(place, &o->rest.link);
    fs->stores.given_up += place == &fs->stores.given;
}

void store_note_locked(struct l2fs *fs, struct object *o)
{
    bool unstored = o->store || store_needed_locked(fs, o->inode);
    uint64_t bytes = unstored ? o->inode->size : 0;
    bool drained = store_drained_locked(fs);

    fs->stores.unstored_bytes += bytes - o->rest.bytes;
    o->rest.bytes = bytes;
    rest_locked(fs, o);
    if (unstored != o->rest.unstored) {
        o->rest.unstored = unstored;
        fs->unstored += unstored ? 1 : (size_t)-1;
    }
    if (!drained && store_drained_locked(fs))
        pthread_cond_broadcast(&fs->stored_cond);
}

void store_touch_locked(struct l2fs *fs, struct object *o)
{
    if (o->rest.in != &fs->stores.cold)
        return;
    list_remove(&o->rest.link);
    list_push_back(&fs->stores.cold, &o->rest.link);
}

/* --- works --- */

static void submit_locked(struct store_work *work, bool urgent)
{
    const struct inode *inode = work->inode;

    work->job.group = inode->names ? inode->names->parent->ino : 0;
    work->job.bytes = inode->size;
    store_ctl_submit(work->fs->store_ctl, &work->job, urgent);
}

static void unpark_locked(struct store_work *work, bool urgent)
{
    list_remove(&work->retry_link);
    work->fs->stores.retrying--;
    submit_locked(work, urgent);
}

static void begin_locked(struct l2fs *fs, struct inode *inode, bool urgent)
{
    struct store_work *work = calloc(1, sizeof(*work));

    if (!work) {
        log_err("no memory to store a key; it stays in L1");
        return;
    }
    work->fs = fs;
    work->inode = inode;
    list_init(&work->retry_link);
    inode->busy++;
    inode->object->store = work;
    store_note_locked(fs, inode->object);
    submit_locked(work, urgent);
}

void store_queue_locked(struct l2fs *fs, struct inode *inode, bool urgent)
{
    struct object *o = inode->object;
    struct store_work *work;

    if (!o)
        return;
    if (urgent) {
        o->rest.asked = true;
        o->rest.given_gen = o->rest.unwanted = 0;
    }
    work = o->store;
    if (!work && wanted_locked(fs, inode))
        begin_locked(fs, inode, urgent);
    else if (!work)
        store_note_locked(fs, o);
    else if (urgent && list_linked(&work->retry_link))
        unpark_locked(work, true);
    else if (urgent && store_ctl_withdraw(fs->store_ctl, &work->job))
        submit_locked(work, true);
}

/* What is stored leaves L1 now, or at its last close, if the policy says so. */
static void leave_locked(struct l2fs *fs, struct object *o)
{
    struct store_facts f = facts_of(fs, o);

    o->rest.leaving =
        object_clean_locked(o->inode) && store_policy_drops_l1(fs->cfg->store_policy, &f);
}

void store_end_locked(struct store_work *work)
{
    struct l2fs *fs = work->fs;
    struct inode *inode = work->inode;
    struct object *o = inode->object;

    store_parcel_drop_locked(work->parcel);
    o->store = NULL;
    o->storing_name = NULL;
    inode->busy--;
    free(work);
    fs->stores.room -= o->rest.room;
    o->rest.room = 0;
    wake_locked(fs, &o->waiters, 0);
    pthread_cond_broadcast(&fs->stored_cond);
    store_queue_locked(fs, inode, false); /* another name, or changed meanwhile */
    if (o->store)
        return;
    o->rest.asked = o->rest.asked && store_needed_locked(fs, inode);
    leave_locked(fs, o);
    file_settle_locked(fs, inode);
}

/* --- another try --- */

void store_later_locked(struct store_work *work)
{
    struct stores *s = &work->fs->stores;

    work->retry_at = clock_deadline(pauses[work->pause]);
    list_push_back(&s->retries[work->pause], &work->retry_link);
    s->retrying++;
    work->pause = MIN(work->pause + 1, STORE_PAUSES - 1u);
}

void store_give_up_locked(struct l2fs *fs, struct object *o)
{
    o->rest.given_gen = o->want_gen;
    store_note_locked(fs, o);
}

static void afresh(struct store_work *work)
{
    memset(work->tries, 0, sizeof(work->tries));
    work->lost = 0;
    work->pause = 0;
}

void store_retry_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    struct store_work *work = o ? o->store : NULL;

    if (!o && inode->unsent)
        store_send_again_locked(fs, inode);
    if (!o || (!o->failed && !o->rest.given_gen))
        return;
    o->rest.unwanted = 0;
    if (work) {
        afresh(work);
        if (list_linked(&work->retry_link))
            unpark_locked(work, false);
        return;
    }
    o->rest.given_gen = 0;
    o->failed = 0;
    o->rest.asked = true;
    store_again_locked(fs, inode, false);
}

void store_unwanted_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;

    inode->resend = false;
    if (!o)
        return;
    o->rest.unwanted = o->want_gen;
    store_cancel_locked(fs, inode, NULL);
    if (o->store && list_linked(&o->store->retry_link))
        unpark_locked(o->store, false);
}

void store_forget_tier_locked(struct object *o, size_t slot)
{
    uint32_t others = ~(1u << slot);

    o->failed &= others;
    o->sent &= others;
    if (!o->store)
        return;
    o->store->have &= others;
    o->store->lost &= others;
    o->store->tries[slot] = 0;
    if (list_linked(&o->store->retry_link))
        unpark_locked(o->store, false);
}

void store_retry_due(struct l2fs *fs, uint64_t now)
{
    LOCKED_SCOPE(&fs->ns->lock);
    for (int i = 0; i < STORE_PAUSES; i++) {
        struct list *q = &fs->stores.retries[i];

        while (!list_empty(q)) {
            struct store_work *work = list_entry(q->next, struct store_work, retry_link);

            if (work->retry_at > now)
                break;
            unpark_locked(work, false);
        }
    }
}

void store_again_locked(struct l2fs *fs, struct inode *inode, bool urgent)
{
    for (struct dentry *d = inode->names; d; d = d->alias)
        d->gen = 0;
    store_queue_locked(fs, inode, urgent);
}

/* --- room --- */

void store_room_locked(struct l2fs *fs, uint64_t bytes)
{
    uint64_t taken = 0;
    size_t n = 0;

    for (int i = 0; i < STORE_PAUSES; i++) {
        struct list *l, *tmp;

        list_for_each_safe(l, tmp, &fs->stores.retries[i])
        {
            struct store_work *work = list_entry(l, struct store_work, retry_link);

            if (taken >= bytes || n++ == SWEEP_MAX)
                return;
            if (!work->no_room)
                continue;
            taken += work->inode->size;
            unpark_locked(work, false);
        }
    }
}

static void let_failing_tiers_go_locked(struct l2fs *fs, uint64_t bytes)
{
    uint64_t freed = 0;
    size_t n = 0;

    for (int i = STORE_PAUSES - 1; i >= 0; i--) {
        struct list *l, *tmp;

        list_for_each_safe(l, tmp, &fs->stores.retries[i])
        {
            struct store_work *work = list_entry(l, struct store_work, retry_link);
            uint64_t size = work->inode->size;

            if (freed >= bytes || n++ == SWEEP_MAX)
                return;
            if (!work->no_room)
                freed += store_settle_for_locked(work) ? size : 0;
        }
    }
}

static void store_cold_locked(struct l2fs *fs, uint64_t bytes)
{
    uint64_t now = clock_now();

    gate_sync_locked(fs);
    for (size_t n = 0; n < SWEEP_MAX && fs->stores.room < bytes; n++) {
        struct object *o;

        if (list_empty(&fs->stores.cold))
            return;
        o = list_entry(fs->stores.cold.next, struct object, rest.link);
        gate_shut_locked(fs, o->inode);
        if (o->opens || o->dirty || o->inode->busy || inode_pinned(o->inode, now)) {
            store_touch_locked(fs, o);
            continue;
        }
        o->rest.room = MAX(o->inode->size, UINT64_C(1));
        fs->stores.room += o->rest.room;
        store_queue_locked(fs, o->inode, false);
    }
}

void store_make_room_locked(struct l2fs *fs, uint64_t bytes)
{
    let_failing_tiers_go_locked(fs, bytes);
    store_cold_locked(fs, bytes);
}

/* --- the end --- */

bool store_drained_locked(const struct l2fs *fs)
{
    return fs->unstored == fs->stores.given_up;
}

static void wake_all_locked(struct l2fs *fs, struct list *resting)
{
    struct list here, *l;

    list_init(&here);
    list_splice(&here, resting);
    while (!list_empty(&here)) {
        struct object *o = list_entry(here.next, struct object, rest.link);

        o->rest.given_gen = 0;
        store_queue_locked(fs, o->inode, false);
        l = &o->rest.link;
        if (l == here.next) { /* no memory for a work */
            list_remove(l);
            list_push_back(resting, l);
        }
    }
}

void store_drain_locked(struct l2fs *fs)
{
    fs->stores.max_tries = DRAIN_TRIES;
    for (int i = 0; i < STORE_PAUSES; i++) {
        while (!list_empty(&fs->stores.retries[i])) {
            struct store_work *work =
                list_entry(fs->stores.retries[i].next, struct store_work, retry_link);

            afresh(work);
            unpark_locked(work, false);
        }
    }
    wake_all_locked(fs, &fs->stores.cold);
    wake_all_locked(fs, &fs->stores.given);
}

void store_drain_end_locked(struct l2fs *fs)
{
    struct list *l, *tmp;

    for (int i = 0; i < STORE_PAUSES; i++)
        list_for_each_safe(l, tmp, &fs->stores.retries[i])
            store_settle_for_locked(list_entry(l, struct store_work, retry_link));
}

void stores_init(struct l2fs *fs)
{
    store_owner_init(&fs->stores.owner);
    fs->stores.max_tries = (unsigned)fs->cfg->store_retries;
    for (int i = 0; i < STORE_PAUSES; i++)
        list_init(&fs->stores.retries[i]);
    list_init(&fs->stores.cold);
    list_init(&fs->stores.given);
    list_init(&fs->stores.late);
    fs->stores.given_up_total = metrics_counter(fs->metrics, "l2fs_store_given_up",
                                                "Stores of a key that a tier failed for good.", "");
}

void stores_drop(struct l2fs *fs)
{
    struct list *l;

    for (int i = 0; i < STORE_PAUSES; i++) {
        while ((l = list_pop_front(&fs->stores.retries[i]))) {
            struct store_work *work = list_entry(l, struct store_work, retry_link);

            store_parcel_drop_locked(work->parcel);
            work->inode->object->store = NULL;
            free(work);
        }
    }
}
