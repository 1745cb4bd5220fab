/* load.c - the instance's side of the prefetch controller: evicted keys come back into L1, or are
 * found to be lost. A key on its way holds its ticket of the key guard, so stores and removals of it
 * wait their turn. Batches are submitted under ns->lock from any thread, and end on the loop thread.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>

#include "clock.h"
#include "core.h"
#include "log.h"
#include "rank.h"
#include "tenant.h"

struct load_work {
    struct keyticket ticket;
    struct l2fs *fs;
    struct inode *inode;
    struct load_batch *batch;
    uint64_t size; /* as promised */
    struct l2_landed landed;
    char key[];
};

struct load_batch {
    struct prefetch_request request;
    struct l2fs *fs;
    struct load_purpose purpose;
    uint64_t bytes;
    struct load_work *works[LOAD_BATCH_KEYS];
    struct prefetch_key keys[LOAD_BATCH_KEYS];
};

/* ---- batches ---- */

struct load_batch *load_batch_create(struct l2fs *fs, const struct load_purpose *p)
{
    struct load_batch *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    prefetch_request_init(&b->request);
    b->fs = fs;
    b->purpose = *p;
    b->request.keys = b->keys;
    b->request.mode = p->mode;
    b->request.background = p->background;
    b->request.stream = fs->cfg->open == OPEN_STREAM;
    return b;
}

bool load_batch_full(const struct load_batch *b)
{
    return b->request.n == LOAD_BATCH_KEYS || b->bytes >= LOAD_BATCH_BYTES;
}

static void append(struct load_batch *b, struct load_work *work)
{
    size_t i = b->request.n++;

    work->batch = b;
    b->works[i] = work;
    b->keys[i] = (struct prefetch_key){
        .key = work->key, .size = work->inode->size, .tiers = work->inode->tiers};
    b->bytes += work->inode->size;
}

static void submit(struct load_batch *b)
{
    prefetch_ctl_submit(b->fs->prefetch_ctl, &b->request);
}

/* With the guard's lock held. */
static void on_turn(struct keyticket *t)
{
    submit(container_of(t, struct load_work, ticket)->batch);
}

void load_batch_submit_locked(struct load_batch *b)
{
    if (!b->request.n) {
        free(b);
        return;
    }
    if (b->purpose.warm)
        warm_batch_locked(b->purpose.warm);
    submit(b);
}

static struct load_work *work_create(struct l2fs *fs, struct inode *inode)
{
    char key[KEY_PATH_MAX + 2];
    struct load_work *work;

    if (!inode->object && !object_create(inode))
        return NULL;
    file_key(inode, key);
    work = calloc(1, sizeof(*work) + strlen(key) + 1);
    if (!work)
        return NULL;
    strcpy(work->key, key);
    work->fs = fs;
    work->inode = inode;
    work->size = inode->size;
    work->ticket.turn = on_turn;
    return work;
}

int load_batch_add_locked(struct load_batch *b, struct inode *inode)
{
    struct l2fs *fs = b->fs;
    struct load_batch *own = load_batch_create(fs, &b->purpose);
    struct load_work *work = own ? work_create(fs, inode) : NULL;

    if (!work) {
        free(own);
        return -ENOMEM;
    }
    inode->busy++;
    if (inode->extra)
        inode->extra->error = 0;
    inode->object->load = work;
    l1_promise(&fs->l1, inode->object, inode->size);
    state_move(&inode->state, STATE_LOADING);
    append(own, work);
    if (!keyguard_enter(&fs->guard, &work->ticket, work->key, NULL)) {
        if (own->purpose.warm)
            warm_batch_locked(own->purpose.warm);
        return 0; /* on_turn submits it */
    }
    append(b, work);
    free(own);
    return 0;
}

/* Of one key that somebody has open, or is about to. */
static int start_locked(struct l2fs *fs, struct inode *inode)
{
    const struct load_purpose open = {.mode = PLAN_ALL};
    struct load_batch *b = load_batch_create(fs, &open);
    int err;

    if (!b)
        return -ENOMEM;
    err = load_batch_add_locked(b, inode);
    load_batch_submit_locked(b);
    return err;
}

/* ---- ends ---- */

static void set_file_times(struct l2fs *fs, const struct inode *inode)
{
    const struct timespec times[2] = {file_timespec(inode->atime), file_timespec(inode->mtime)};
    AUTO_CLOSE int fd = -1;

    if (!staging_get(fs->staging, inode->object->staging_id, O_RDWR, &fd))
        futimens(fd, times);
}

static void loaded_event(struct l2fs *fs, const struct load_work *work,
                         const struct prefetch_key *k)
{
    const struct load_purpose *p = &work->batch->purpose;
    struct text detail = {0};

    text_puts(&detail, "\"from\":");
    events_quote(&detail, tiers_name(&fs->tiers, k->tier));
    text_printf(&detail, ",\"bytes\":%" PRIu64, k->object.size);
    if (!p->warm)
        text_printf(&detail, ",\"why\":\"%s\"", p->background ? "read ahead" : "asked");
    events_add(fs, p->warm ? "warmed" : "loaded", work->key, detail.data);
    text_fini(&detail);
}

static void arrived_locked(struct l2fs *fs, struct load_work *work, const struct prefetch_key *k)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    const struct l2_object *got = &k->object;

    o->staging_id = got->staging_id;
    o->charged = staging_has_mount(fs->staging) ? 0 : got->size;
    inode->size = o->clean_size = got->size;
    inode->has_crc = true;
    inode->crc32c = got->crc32c;
    inode->tiers &= ~k->absent;
    o->published = true;
    o->want_gen = 1;
    for (struct dentry *d = inode->names; d; d = d->alias)
        d->gen = 1;
    state_move(&inode->state, STATE_RESIDENT);
    set_file_times(fs, inode);
    file_refresh_locked(fs, inode);
    tenant_resident_locked(fs, o);
    o->unread = true;
    file_record_locked(fs, o, RECORD_PUBLISHED);
    file_pin_locked(fs, o);
    loaded_event(fs, work, k);
    wake_locked(fs, &o->waiters, 0);
    store_loaded_locked(fs, inode);
}

static void failed_locked(struct l2fs *fs, struct load_work *work, int error)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    bool eio = error == -EBADMSG && fs->cfg->on_corrupt == CORRUPT_EIO;

    if (error == -ECANCELED) { /* nothing is wrong with it: who wants it gets a load of its own */
        state_move(&inode->state, STATE_EVICTED);
        if (o->opens)
            (void)start_locked(fs, inode);
        wake_locked(fs, &o->waiters, 0);
        return;
    }
    file_error_locked(inode, error);
    file_event_error(fs, "load-failed", work->key, error);
    if (error == -ENOENT || error == -EBADMSG)
        file_lost_locked(fs, inode);
    else
        state_move(&inode->state, STATE_EVICTED);
    wake_locked(fs, &o->waiters, eio ? -EIO : -ENOENT);
}

static bool is_readahead(const struct load_purpose *p)
{
    return p->background && !p->warm;
}

static void key_done_locked(struct l2fs *fs, struct load_work *work, const struct prefetch_key *k,
                            int err)
{
    struct inode *inode = work->inode;

    l1_unpromise(&fs->l1, inode->object);
    inode->object->load = NULL;
    inode->busy--;
    if (inode->state != STATE_LOADING) { /* unlinked meanwhile */
        if (!err) {
            staging_charge(fs->staging, -(int64_t)k->object.size);
            staging_drop(fs->staging, k->object.staging_id);
        }
    } else if (!err) {
        arrived_locked(fs, work, k);
    } else {
        failed_locked(fs, work, err);
    }
    if (work->batch->purpose.warm)
        warm_key_done_locked(work->batch->purpose.warm, work->size, err);
    evict_post_locked(fs);
    if (!is_readahead(&work->batch->purpose)) { /* nobody used it yet */
        gate_sync_locked(fs);
        ranks_touch(inode);
    }
    file_settle_locked(fs, inode);
}

static void on_key_done(struct prefetch_owner *owner, struct prefetch_request *r, size_t i)
{
    struct load_work *work = container_of(r, struct load_batch, request)->works[i];
    struct l2fs *fs = container_of(owner, struct l2fs, prefetch_owner);
    struct prefetch_key *k = &r->keys[i];
    int err = k->error;

    if (!err)
        err = staging_charge(fs->staging, (int64_t)k->object.size);
    if (err && !k->error)
        staging_drop(fs->staging, k->object.staging_id);
    lock(&fs->ns->lock);
    key_done_locked(fs, work, k, err);
    unlock(&fs->ns->lock);
    if (!k->error)
        l2_object_fini(&k->object);
    keyguard_leave(&fs->guard, &work->ticket);
}

const struct l2_landed *load_landed_locked(const struct inode *inode)
{
    return &inode->object->load->landed;
}

/* A file of another size is another version: it is looked at when it is whole. */
static void on_landed(struct prefetch_owner *owner, struct prefetch_request *r, size_t i,
                      const struct l2_landed *now)
{
    struct load_work *work = container_of(r, struct load_batch, request)->works[i];
    struct l2fs *fs = container_of(owner, struct l2fs, prefetch_owner);
    uint64_t before;

    LOCKED_SCOPE(&fs->ns->lock);
    before = work->landed.staging_id;
    work->landed = now->size == work->size ? *now : (struct l2_landed){0};
    wake_landed_locked(fs, &work->inode->object->waiters,
                       before && before != now->staging_id ? UINT64_MAX : work->landed.bytes);
}

/* Space was promised for the size that the tree knows. */
static int on_reserve(struct prefetch_owner *owner, struct prefetch_request *r, size_t i,
                      uint64_t size)
{
    struct load_work *work = container_of(r, struct load_batch, request)->works[i];
    struct l2fs *fs = container_of(owner, struct l2fs, prefetch_owner);

    LOCKED_SCOPE(&fs->ns->lock);
    if (work->inode->state != STATE_LOADING)
        return -ECANCELED;
    return size > fs->l1.capacity ? -ENOSPC : 0;
}

static void on_done(struct prefetch_owner *owner, struct prefetch_request *r)
{
    struct load_batch *b = container_of(r, struct load_batch, request);

    (void)owner;
    if (b->purpose.warm)
        warm_batch_done(b->purpose.warm);
    for (size_t i = 0; i < r->n; i++)
        free(b->works[i]);
    free(b);
}

void load_init(struct l2fs *fs)
{
    fs->prefetch_owner.reserve = on_reserve;
    fs->prefetch_owner.landed = on_landed;
    fs->prefetch_owner.key_done = on_key_done;
    fs->prefetch_owner.done = on_done;
}

/* ---- one key, for an open ---- */

void load_cancel_locked(struct l2fs *fs, struct inode *inode)
{
    struct load_work *work = inode->object ? inode->object->load : NULL;

    if (work && work->batch->request.n == 1)
        prefetch_ctl_cancel(fs->prefetch_ctl, &work->batch->request);
}

int load_locked(struct l2fs *fs, struct inode *inode, struct waiter *w)
{
    char key[KEY_PATH_MAX + 2];
    int err;

    if (inode->state == STATE_EVICTED) {
        if (inode->size > fs->l1.capacity) {
            file_key(inode, key);
            log_warn("%s: %llu bytes do not fit into L1; raise -o l1, or name it in -o disk", key,
                     (unsigned long long)inode->size);
            return -EFBIG;
        }
        if (w)
            w->whose = inode;
        err = space_locked(fs, inode->size, w, fs->cfg->load_timeout, -ENOENT);
        if (!err)
            err = start_locked(fs, inode);
        if (err)
            return err;
    }
    if (inode->object->load)
        prefetch_ctl_hurry(fs->prefetch_ctl, &inode->object->load->batch->request);
    if (!w)
        return -EINPROGRESS;
    return wait_locked(fs, &inode->object->waiters, w, fs->cfg->load_timeout, -ENOENT);
}
