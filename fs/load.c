/* load.c - the instance's side of the load controller: an evicted key comes back into L1, or is
 * found to be lost. Submitted under ns->lock from any thread; ends on the loop thread.
 */
#include "config.h"

#include <fcntl.h>

#include "core.h"
#include "log.h"

struct load_work {
    struct load_job job;
    struct keyticket ticket;
    struct l2fs *fs;
    struct inode *inode;
    char key[KEY_PATH_MAX + 2];
};

static void on_turn(struct keyticket *t)
{
    struct load_work *work = container_of(t, struct load_work, ticket);

    load_ctl_submit(work->fs->load_ctl, &work->job);
}

static void set_file_times(struct l2fs *fs, const struct inode *inode)
{
    const struct timespec times[2] = {inode->atime, inode->mtime};
    AUTO_CLOSE int fd = -1;

    if (!staging_get(fs->staging, inode->object->staging_id, O_RDWR, &fd))
        futimens(fd, times);
}

static void arrived_locked(struct l2fs *fs, struct load_work *work)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    const struct l2_object *got = &work->job.object;

    o->staging_id = got->staging_id;
    o->charged = staging_has_mount(fs->staging) ? 0 : got->size;
    inode->size = o->clean_size = got->size;
    inode->has_crc = true;
    inode->crc32c = got->crc32c;
    inode->tiers = work->job.found;
    o->published = true;
    o->want_gen = 1;
    for (struct dentry *d = inode->names; d; d = d->alias)
        d->gen = 1;
    state_move(&inode->state, STATE_RESIDENT);
    set_file_times(fs, inode);
    file_refresh_locked(fs, inode);
    l1_add(&fs->l1, o);
    o->unread = true;
    file_record_locked(fs, o, RECORD_PUBLISHED);
    file_pin_locked(fs, o);
    events_add(fs, "loaded", work->key, NULL);
    wake_locked(fs, &o->waiters, 0);
}

static void failed_locked(struct l2fs *fs, struct load_work *work, int error)
{
    struct inode *inode = work->inode;
    struct object *o = inode->object;
    bool eio = error == -EBADMSG && fs->cfg->on_corrupt == CORRUPT_EIO;

    file_error_locked(inode, error);
    file_event_error(fs, "load-failed", work->key, error);
    if (error == -ENOENT || error == -EBADMSG)
        file_lost_locked(fs, inode);
    else
        state_move(&inode->state, STATE_EVICTED);
    wake_locked(fs, &o->waiters, eio ? -EIO : -ENOENT);
}

static void on_done(struct load_job *job)
{
    struct load_work *work = container_of(job, struct load_work, job);
    struct l2fs *fs = work->fs;
    struct inode *inode = work->inode;
    int err = job->error;

    if (!err)
        err = staging_charge(fs->staging, (int64_t)job->object.size);
    if (err && !job->error)
        staging_drop(fs->staging, job->object.staging_id);
    lock(&fs->ns->lock);
    l1_unpromise(&fs->l1, inode->object);
    inode->busy--;
    if (inode->state != STATE_LOADING) { /* unlinked meanwhile */
        if (!err) {
            staging_charge(fs->staging, -(int64_t)job->object.size);
            staging_drop(fs->staging, job->object.staging_id);
        }
    } else if (!err) {
        arrived_locked(fs, work);
    } else {
        failed_locked(fs, work, err);
    }
    evict_post_locked(fs);
    file_settle_locked(fs, inode);
    unlock(&fs->ns->lock);
    if (!job->error)
        l2_object_fini(&job->object);
    keyguard_leave(&fs->guard, &work->ticket);
    free(work);
}

static int start_locked(struct l2fs *fs, struct inode *inode)
{
    struct load_work *work = calloc(1, sizeof(*work));

    if (!work || (!inode->object && !object_create(inode))) {
        free(work);
        return -ENOMEM;
    }
    work->fs = fs;
    work->inode = inode;
    work->job.key = work->key;
    work->job.done = on_done;
    work->ticket.turn = on_turn;
    file_key(inode, work->key);
    inode->busy++;
    l1_promise(&fs->l1, inode->object, inode->size);
    state_move(&inode->state, STATE_LOADING);
    if (keyguard_enter(&fs->guard, &work->ticket, work->key, NULL))
        on_turn(&work->ticket);
    return 0;
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
        err = space_locked(fs, inode->size, w, fs->cfg->load_timeout, -ENOENT);
        if (!err)
            err = start_locked(fs, inode);
        if (err)
            return err;
    }
    if (!w)
        return -EINPROGRESS;
    return wait_locked(fs, &inode->object->waiters, w, fs->cfg->load_timeout, -ENOENT);
}
