/* store.c - the instance's side of the store controller: which names of which objects are not in L2
 * as they are now, how a job finds its bytes, and what its end means. An object has at most one
 * job; the key guard orders it with unlinks and renames of the same key.
 */
#include "config.h"

#include <fcntl.h>

#include "clock.h"
#include "core.h"
#include "log.h"

#define BACKOFF_MIN (500 * NSEC_PER_MSEC)
#define BACKOFF_MAX (30 * NSEC_PER_SEC)

struct store_work {
    struct store_job job;
    struct keyticket ticket;
    struct list retry_link; /* l2fs.retries */
    struct l2fs *fs;
    struct inode *inode;
    char *ticket_key; /* what the ticket was taken for; NULL: no ticket */
    void *xattrs;
    uint32_t gen;
    uint64_t staging_id; /* whose bytes are on their way */
    bool urgent;
    uint64_t backoff;
    uint64_t retry_at;
};

/* A name that L2 does not have as the object is now; temporary names never are. */
static struct dentry *name_to_store(const struct l2fs *fs, const struct inode *inode)
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
    return (o->fsync_wanted || !o->writers) && name_to_store(fs, inode);
}

void store_note_locked(struct l2fs *fs, struct object *o)
{
    bool unstored = o->store || store_needed_locked(fs, o->inode);

    if (unstored == o->unstored)
        return;
    o->unstored = unstored;
    fs->unstored += unstored ? 1 : (size_t)-1;
    if (!fs->unstored)
        pthread_cond_broadcast(&fs->stored_cond);
}

static void on_turn(struct keyticket *t)
{
    struct store_work *work = container_of(t, struct store_work, ticket);

    store_ctl_submit(work->fs->store_ctl, &work->job, true);
}

void store_queue_locked(struct l2fs *fs, struct inode *inode, bool urgent)
{
    struct object *o = inode->object;
    struct store_work *work;

    if (!o || !store_needed_locked(fs, inode)) {
        if (o)
            store_note_locked(fs, o);
        return;
    }
    work = o->store;
    if (work && list_linked(&work->retry_link) && urgent) {
        list_remove(&work->retry_link);
        store_ctl_submit(fs->store_ctl, &work->job, true);
    } else if (work && urgent && store_ctl_withdraw(fs->store_ctl, &work->job)) {
        store_ctl_submit(fs->store_ctl, &work->job, true);
    }
    if (work)
        return;
    work = calloc(1, sizeof(*work));
    if (!work) {
        log_err("no memory to store a key; it stays in L1");
        return;
    }
    work->fs = fs;
    work->inode = inode;
    work->ticket.turn = on_turn;
    work->backoff = BACKOFF_MIN;
    list_init(&work->retry_link);
    list_init(&work->job.link);
    inode->busy++;
    o->store = work;
    store_note_locked(fs, o);
    store_ctl_submit(fs->store_ctl, &work->job, urgent);
}

static void leave_guard(struct store_work *work)
{
    if (!work->ticket_key)
        return;
    keyguard_leave(&work->fs->guard, &work->ticket);
    free(work->ticket_key);
    work->ticket_key = NULL;
}

static void end_locked(struct store_work *work)
{
    struct l2fs *fs = work->fs;
    struct inode *inode = work->inode;
    struct object *o = inode->object;

    leave_guard(work);
    o->store = NULL;
    inode->busy--;
    free(work->xattrs);
    free(work);
    wake_locked(fs, &o->waiters, 0);
    pthread_cond_broadcast(&fs->stored_cond);
    store_queue_locked(fs, inode, false); /* another name, or changed meanwhile */
    file_settle_locked(fs, inode);
}

static int copy_meta_locked(struct store_work *work, struct l2_buf *buf)
{
    const struct inode *inode = work->inode;
    const struct extra *e = inode->extra;

    buf->attr = file_attr(inode);
    free(work->xattrs);
    work->xattrs = NULL;
    if (!e || !e->xattrs_len)
        return 0;
    work->xattrs = malloc(e->xattrs_len);
    if (!work->xattrs)
        return -ENOMEM;
    memcpy(work->xattrs, e->xattrs, e->xattrs_len);
    buf->xattrs = (struct l2_xattrs){work->xattrs, e->xattrs_len};
    return 0;
}

static int fill_locked(struct l2fs *fs, struct store_work *work, struct dentry *d)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    struct l2_buf *buf = &work->job.buf;
    int err = copy_meta_locked(work, buf);

    if (!err)
        err = staging_get(fs->staging, o->staging_id, O_RDONLY, &buf->fd);
    if (err)
        return err;
    if (o->writers)
        file_refresh_locked(fs, inode);
    buf->size = inode->size;
    buf->stable = !o->writers && !o->dirty && inode->has_crc;
    buf->crc32c = inode->crc32c;
    o->store_busy = buf->stable;
    o->storing_name = d;
    d->in_l2 = true;
    o->storing = work->job.targets = fs->tiers.active;
    work->gen = o->want_gen;
    work->staging_id = o->staging_id;
    return 0;
}

/* 1: it is our turn for `key`; 0: on_turn submits again. */
static int enter_guard(struct store_work *work, const char *key)
{
    if (work->ticket_key && !strcmp(work->ticket_key, key))
        return 1;
    leave_guard(work);
    work->ticket_key = strdup(key);
    if (!work->ticket_key)
        return -ENOMEM;
    return keyguard_enter(&work->fs->guard, &work->ticket, key, NULL);
}

static int prepare(struct store_owner *owner, struct store_job *job)
{
    struct l2fs *fs = container_of(owner, struct l2fs, store_owner);
    struct store_work *work = container_of(job, struct store_work, job);
    char path[KEY_PATH_MAX + 2];
    struct dentry *d;
    int err;

    LOCKED_SCOPE(&fs->ns->lock);
    d = store_needed_locked(fs, work->inode) ? name_to_store(fs, work->inode) : NULL;
    if (!d || ns_path(d, path) < 0) {
        end_locked(work);
        return -ESTALE;
    }
    err = enter_guard(work, path);
    if (err == 0)
        return -EAGAIN;
    job->key = err > 0 ? strdup(path) : NULL;
    err = job->key ? fill_locked(fs, work, d) : -ENOMEM;
    if (err) {
        log_err("%s: cannot be stored: %s; it stays in L1", path, strerror(-err));
        free(job->key);
        job->key = NULL;
        end_locked(work);
        return err;
    }
    return 0;
}

static void succeed_locked(struct l2fs *fs, struct store_work *work)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;

    o->store_error = 0;
    o->failed = 0;
    if (o->storing_name) {
        o->storing_name->gen = work->gen;
        events_add(fs, "stored", work->job.key, NULL);
    }
    if (work->gen == o->want_gen)
        inode->tiers |= work->job.stored & fs->tiers.keeping;
    if (work->staging_id == o->staging_id) /* a crash must not bring back what fsync replaced */
        file_drop_prev_locked(fs, o);
    o->storing_name = NULL;
    if (object_clean_locked(inode))
        file_record_locked(fs, o, RECORD_PUBLISHED);
    end_locked(work);
    evict_post_locked(fs);
}

static void fail_locked(struct l2fs *fs, struct store_work *work)
{
    struct object *o = work->inode->object;

    o->store_error = work->job.error;
    o->failed = work->job.failed;
    o->storing_name = NULL;
    file_error_locked(work->inode, work->job.error);
    file_event_error(fs, "store-failed", work->job.key, work->job.error);
    leave_guard(work);
    wake_locked(fs, &o->waiters, 0);
    work->retry_at = clock_deadline(work->backoff);
    work->backoff = MIN(work->backoff * 2, BACKOFF_MAX);
    list_push_back(&fs->retries, &work->retry_link);
}

static void done(struct store_owner *owner, struct store_job *job)
{
    struct l2fs *fs = container_of(owner, struct l2fs, store_owner);
    struct store_work *work = container_of(job, struct store_work, job);
    struct object *o = work->inode->object;

    LOCKED_SCOPE(&fs->ns->lock);
    o->store_busy = false;
    o->storing = 0;
    if (!o->writers)
        o->fsync_wanted = false;
    if (job->failed)
        fail_locked(fs, work);
    else
        succeed_locked(fs, work);
}

void store_owner_init(struct l2fs *fs)
{
    fs->store_owner.prepare = prepare;
    fs->store_owner.done = done;
}

void store_retry_due(struct l2fs *fs, uint64_t now)
{
    struct list *l, *tmp;

    LOCKED_SCOPE(&fs->ns->lock);
    list_for_each_safe(l, tmp, &fs->retries)
    {
        struct store_work *work = list_entry(l, struct store_work, retry_link);

        if (work->retry_at > now && !fs->stopping && work->inode->state != STATE_DISCARDED)
            continue;
        list_remove(&work->retry_link);
        store_ctl_submit(fs->store_ctl, &work->job, false);
    }
}

void store_retries_drop(struct l2fs *fs)
{
    struct list *l;

    while ((l = list_pop_front(&fs->retries))) {
        struct store_work *work = list_entry(l, struct store_work, retry_link);

        work->inode->object->store = NULL;
        free(work->xattrs);
        free(work);
    }
}
