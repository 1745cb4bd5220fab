/* store_job.c - one try: how a job finds its key and bytes, and what its end means. The key guard
 * orders it with unlinks and renames of the same key. Loop thread, but for on_turn.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "evict_ctl.h"
#include "log.h"
#include "store_impl.h"
#include "xattr_kept.h"

/* --- parcels --- */

static struct parcel *to_parcel(struct store_parcel *p)
{
    return container_of(p, struct parcel, base);
}

static void on_turn(struct keyticket *t)
{
    struct store_work *work = container_of(t, struct parcel, ticket)->work;

    store_ctl_submit(work->fs->store_ctl, &work->job, true);
}

static struct parcel *parcel_create(struct store_work *work, const char *key)
{
    size_t len = strlen(key) + 1;
    struct parcel *p = calloc(1, sizeof(*p) + len);

    if (!p)
        return NULL;
    memcpy(p->key, key, len);
    p->base.key = p->key;
    p->base.buf.fd = -1;
    list_init(&p->late_link);
    p->ticket.turn = on_turn;
    p->work = work;
    p->fs = work->fs;
    p->inode = work->inode;
    return p;
}

void store_parcel_drop_locked(struct parcel *p)
{
    if (!p)
        return;
    if (p->base.buf.stable && p->base.buf.fd >= 0)
        p->inode->object->store_busy--;
    keyguard_leave(&p->fs->guard, &p->ticket);
    auto_close(&p->base.buf.fd);
    list_remove(&p->late_link);
    free(p->xattrs);
    free(p->peer);
    free(p->req_id);
    p->dropped = true;
    if (!p->cancelling)
        free(p);
}

/* 1: it is our turn for `key`; 0: on_turn submits again. */
static int enter_guard_locked(struct store_work *work, const char *key)
{
    struct parcel *p = work->parcel;

    if (p && !strcmp(p->key, key))
        return 1;
    store_parcel_drop_locked(p);
    p = work->parcel = parcel_create(work, key);
    if (!p)
        return -ENOMEM;
    return keyguard_enter(&work->fs->guard, &p->ticket, key, NULL);
}

static int copy_route_locked(const struct inode *inode, struct parcel *p)
{
    struct kept_item peer;

    if (xattr_peer(inode, &peer) && !(p->peer = strndup(peer.value, peer.len)))
        return -ENOMEM;
    if (inode->extra && inode->extra->req_id && !(p->req_id = strdup(inode->extra->req_id)))
        return -ENOMEM;
    p->base.buf.route = (struct l2_route){p->peer, p->req_id};
    return 0;
}

static int copy_meta_locked(const struct inode *inode, struct parcel *p)
{
    struct l2_buf *buf = &p->base.buf;
    const struct extra *e = inode->extra;

    buf->attr = file_attr(inode);
    if (copy_route_locked(inode, p))
        return -ENOMEM;
    if (!e || !e->xattrs_len)
        return 0;
    p->xattrs = malloc(e->xattrs_len);
    if (!p->xattrs)
        return -ENOMEM;
    memcpy(p->xattrs, e->xattrs, e->xattrs_len);
    buf->xattrs = (struct l2_xattrs){p->xattrs, e->xattrs_len};
    return 0;
}

static int fill_locked(struct l2fs *fs, struct store_work *work)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    struct l2_buf *buf = &work->parcel->base.buf;
    int err = copy_meta_locked(inode, work->parcel);

    if (!err)
        err = staging_get(fs->staging, o->staging_id, O_RDONLY, &buf->fd);
    if (err)
        return err;
    if (o->writers)
        file_refresh_locked(fs, inode);
    buf->size = inode->size;
    buf->stable = !o->writers && !o->dirty && inode->has_crc;
    buf->crc32c = inode->crc32c;
    o->store_busy += buf->stable;
    return 0;
}

/* --- prepare --- */

/* The name that this try is about: that of the try before while it holds. */
static struct dentry *choose_locked(struct l2fs *fs, struct store_work *work)
{
    struct object *o = work->inode->object;
    struct dentry *d = o->storing_name;

    if (!store_needed_locked(fs, work->inode))
        return NULL;
    if (d && d->gen != o->want_gen && work->gen == o->want_gen &&
        work->staging_id == o->staging_id && !name_is_temporary(fs, d))
        return d;
    work->have = work->lost = 0;
    work->pause = 0;
    memset(work->tries, 0, sizeof(work->tries));
    work->gen = o->want_gen;
    work->staging_id = o->staging_id;
    return o->storing_name = store_name_locked(fs, work->inode);
}

/* It was cancelled before it flew. */
static void unwanted_locked(struct l2fs *fs, struct store_work *work)
{
    uint32_t mask = fs->tiers.active & fs->tiers.sending & ~work->have;

    work->lost |= mask;
    work->inode->object->store_error = -ECANCELED;
    file_error_locked(work->inode, -ECANCELED);
    tiers_each(i, mask) work->job.errors[i] = -ECANCELED;
}

static int prepare_locked(struct l2fs *fs, struct store_work *work)
{
    char path[KEY_PATH_MAX + 2];
    struct dentry *d = choose_locked(fs, work);
    struct object *o = work->inode->object;
    int err;

    if (!d || ns_path(d, path) < 0)
        return -ESTALE;
    err = enter_guard_locked(work, path);
    if (err == 0)
        return -EAGAIN;
    if (err > 0)
        err = fill_locked(fs, work);
    if (err) {
        log_err("%s: cannot be stored: %s; it stays in L1", path, strerror(-err));
        return err;
    }
    d->in_l2 = true;
    work->parcel->gen = work->gen;
    if (o->rest.unwanted == o->want_gen)
        unwanted_locked(fs, work);
    work->job.targets =
        store_policy_targets(fs->cfg->store_policy, fs->tiers.active, work->have | work->lost);
    o->storing |= work->job.targets;
    work->job.parcel = &work->parcel->base;
    work->flying = work->parcel;
    work->parcel = NULL;
    return 0;
}

/* It needs memory, or a file that cannot be opened: not now. */
static void put_off_locked(struct store_work *work)
{
    store_parcel_drop_locked(work->parcel);
    work->parcel = NULL;
    store_later_locked(work);
}

static int prepare(struct store_owner *owner, struct store_job *job)
{
    struct l2fs *fs = container_of(owner, struct l2fs, stores.owner);
    struct store_work *work = container_of(job, struct store_work, job);
    int err;

    LOCKED_SCOPE(&fs->ns->lock);
    err = prepare_locked(fs, work);
    if (err == -ESTALE)
        store_end_locked(work);
    else if (err && err != -EAGAIN)
        put_off_locked(work);
    return err;
}

/* --- what the tiers said --- */

static bool is_enough(const struct l2fs *fs, uint32_t have)
{
    uint32_t keeping = fs->tiers.keeping;

    return keeping ? have & keeping : have;
}

/* inode.tiers is what tiers hold under every name that is stored, object.sent what they sent. */
static void hold_locked(struct l2fs *fs, struct inode *inode, const struct dentry *d, uint32_t have)
{
    const struct dentry *other = inode->names;
    struct object *o = inode->object;

    while (other && (other == d || other->gen != o->want_gen))
        other = other->alias;
    inode->tiers = have & fs->tiers.keeping & (other ? inode->tiers : UINT32_MAX);
    o->sent = have & fs->tiers.pushing & (other ? o->sent : UINT32_MAX);
}

static void tell_lost_locked(struct l2fs *fs, const struct store_work *work)
{
    char key[KEY_PATH_MAX + 2], detail[160];

    file_key(work->inode, key);
    tiers_each(i, work->lost)
    {
        int err = work->job.errors[i] ? work->job.errors[i] : -EAGAIN;

        snprintf(detail, sizeof(detail), "\"error\":\"%s\",\"tier\":\"%s\",\"final\":true",
                 strerrorname_np(-err), tiers_name(&fs->tiers, i));
        events_add(fs, "store-failed", key, detail);
        metric_add(fs->stores.given_up_total, 1);
        log_warn("%s: given up at %s: %s; %s; \"setfattr -n user.l2fs.retry -v 1\" tries again",
                 key, tiers_name(&fs->tiers, i), strerror(-err),
                 is_enough(fs, work->have) ? "other tiers have it" : "it stays in L1");
    }
}

/* The name is stored as far as it can be. */
static void stored_locked(struct l2fs *fs, struct store_work *work)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    struct dentry *d = o->storing_name;
    char key[KEY_PATH_MAX + 2];

    if (!work->lost)
        o->store_error = 0;
    o->failed = work->lost;
    inode->stale |= work->lost != 0; /* they may have the version before */
    inode->unsent = work->lost & fs->tiers.sending;
    inode->resend = false;
    d->gen = work->gen;
    if (ns_path(d, key) > 0)
        events_add(fs, "stored", key, NULL);
    if (work->staging_id == o->staging_id) /* a crash must not bring back what fsync replaced */
        file_drop_prev_locked(fs, o);
    if (object_clean_locked(inode))
        file_record_locked(fs, o, RECORD_PUBLISHED);
    store_end_locked(work);
    evict_post_locked(fs);
}

/* Tiers that were full and make room have not failed. */
static void ask_for_room_locked(struct l2fs *fs, struct store_work *work)
{
    struct inode *inode = work->inode;

    work->no_room = 0;
    tiers_each(i, work->job.failed)
    {
        if (work->job.errors[i] == -ENOSPC &&
            evict_ctl_ask_locked(fs, i, inode->size, tenant_of_locked(fs, inode)))
            work->no_room |= 1u << i;
    }
}

/* The tier that let the deadline pass is not asked again: its late answer counts. */
static void count_failures_locked(struct l2fs *fs, struct store_work *work)
{
    const struct store_job *job = &work->job;

    tiers_each(i, job->failed & ~job->late & fs->tiers.present)
    {
        if ((job->refused & (1u << i) && !fs->stopping) || (work->no_room & (1u << i)))
            continue;
        work->lost |= (job->errors[i] == -ECANCELED ? 1u : 0) << i; /* as it was asked for */
        work->tries[i] = MIN(work->tries[i] + 1, 255);
        if (fs->stores.max_tries && work->tries[i] >= fs->stores.max_tries)
            work->lost |= 1u << i;
    }
    work->lost |= job->late & fs->tiers.present;
}

static void report_failure_locked(struct l2fs *fs, struct store_work *work)
{
    struct object *o = work->inode->object;
    char key[KEY_PATH_MAX + 2];

    o->store_error = work->job.error;
    o->failed |= work->job.failed;
    file_error_locked(work->inode, work->job.error);
    if (ns_path(o->storing_name, key) > 0)
        file_event_error(fs, "store-failed", key, work->job.error);
    wake_locked(fs, &o->waiters, 0);
}

static void conclude_locked(struct l2fs *fs, struct store_work *work)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    bool enough;

    hold_locked(fs, inode, o->storing_name, work->have);
    enough = is_enough(fs, work->have) && (inode->tiers || !fs->tiers.keeping);
    if (fs->tiers.active & ~work->have & ~work->lost) {
        store_later_locked(work);
    } else if (enough) {
        tell_lost_locked(fs, work);
        stored_locked(fs, work);
    } else if (work->job.late) {
        work->lost &= ~work->job.late; /* its turn comes when the late answer does */
        store_later_locked(work);
    } else {
        o->failed |= work->lost;
        tell_lost_locked(fs, work);
        store_give_up_locked(fs, o);
        store_end_locked(work);
    }
}

bool store_settle_for_locked(struct store_work *work)
{
    struct l2fs *fs = work->fs;
    struct object *o = work->inode->object;

    if (!is_enough(fs, work->have) || !o->storing_name || work->gen != o->want_gen ||
        !work->inode->tiers)
        return false;
    list_remove(&work->retry_link);
    fs->stores.retrying--;
    work->lost |= fs->tiers.active & ~work->have;
    tell_lost_locked(fs, work);
    stored_locked(fs, work);
    return true;
}

/* --- done --- */

static void take_parcel_back_locked(struct store_work *work)
{
    struct parcel *p = to_parcel(work->job.parcel);

    work->flying = NULL;
    work->inode->object->storing &= ~(work->job.targets & ~work->job.late);
    if (!work->job.late) {
        store_parcel_drop_locked(p);
        return;
    }
    p->work = NULL;
    p->late = work->job.late;
    list_push_back(&work->fs->stores.late, &p->late_link);
    p->inode->busy++;
}

static void take_results_locked(struct l2fs *fs, struct store_work *work)
{
    struct object *o = work->inode->object;

    if (work->job.stored & ~work->have)
        fs->stores.stored += work->job.parcel->buf.size;
    work->have |= work->job.stored & fs->tiers.present;
    ask_for_room_locked(fs, work);
    if (work->job.failed)
        count_failures_locked(fs, work);
    if (!o->writers)
        o->fsync_wanted = false;
    o->failed &= ~work->job.stored;
}

/* A newer version waits: what this try has done counts for fsync, what it lacks does not matter. */
static void overtaken_locked(struct store_work *work)
{
    struct object *o = work->inode->object;

    if (o->storing_name && !work->job.failed)
        o->storing_name->gen = work->gen;
    store_end_locked(work);
}

static bool is_cancelled(const struct store_job *job)
{
    bool all = true;

    tiers_each(i, job->failed) all &= job->errors[i] == -ECANCELED;
    return all;
}

static void done(struct store_owner *owner, struct store_job *job)
{
    struct l2fs *fs = container_of(owner, struct l2fs, stores.owner);
    struct store_work *work = container_of(job, struct store_work, job);
    struct object *o = work->inode->object;
    bool overtaken;

    LOCKED_SCOPE(&fs->ns->lock);
    if (!job->parcel || !fs->tiers.present) { /* the end */
        if (job->parcel)
            take_parcel_back_locked(work);
        store_later_locked(work);
        return;
    }
    take_results_locked(fs, work);
    take_parcel_back_locked(work);
    overtaken = !o->storing_name || work->gen != o->want_gen;
    if ((job->failed & ~work->no_room) && o->storing_name && !(overtaken && is_cancelled(job)))
        report_failure_locked(fs, work);
    if (overtaken)
        overtaken_locked(work);
    else
        conclude_locked(fs, work);
}

/* The bytes of the parcel are what the object still is. */
static void arrived_late_locked(struct l2fs *fs, struct parcel *p)
{
    struct inode *inode = p->inode;
    struct object *o = inode->object;
    const struct dentry *d = inode->names;
    char key[KEY_PATH_MAX + 2];

    if (!p->base.arrived || !d || d->alias || d->gen != p->gen || d->gen != o->want_gen ||
        ns_path(d, key) < 0 || strcmp(key, p->key) != 0)
        return;
    inode->tiers |= p->base.arrived & fs->tiers.keeping;
    o->sent |= p->base.arrived & fs->tiers.pushing;
    o->failed &= ~p->base.arrived;
    if (object_clean_locked(inode))
        file_record_locked(fs, o, RECORD_PUBLISHED);
}

static void release(struct store_owner *owner, struct store_parcel *parcel)
{
    struct l2fs *fs = container_of(owner, struct l2fs, stores.owner);
    struct parcel *p = to_parcel(parcel);
    struct inode *inode = p->inode;

    LOCKED_SCOPE(&fs->ns->lock);
    arrived_late_locked(fs, p);
    inode->object->storing &= ~p->late;
    store_parcel_drop_locked(p);
    inode->busy--;
    wake_locked(fs, &inode->object->waiters, 0);
    pthread_cond_broadcast(&fs->stored_cond);
    file_settle_locked(fs, inode);
    evict_post_locked(fs);
}

void store_owner_init(struct store_owner *o)
{
    o->prepare = prepare;
    o->done = done;
    o->release = release;
}
