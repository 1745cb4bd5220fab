/* publish.c - the end of writing: close(2), the last writer's release, and publication under a
 * final name. publish_locked decides under ns->lock; publish_finish then takes the checksum without
 * it.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "checksum.h"
#include "core.h"
#include "log.h"
#include "process.h"
#include "tenant.h"

/* A write fails when less than one page is left, but a huge folio may be charged for a moment. */
#define TIGHT_BYTES (4 * MIB)

bool space_is_tight(struct l2fs *fs)
{
    uint64_t used, size;

    if (!staging_has_mount(fs->staging))
        return false; /* every write goes through vfs_write, which knows */
    staging_space(fs->staging, &used, &size);
    return used + TIGHT_BYTES > size;
}

static void learn_size_locked(struct l2fs *fs, const struct inode *inode)
{
    struct dir *dir = inode->names ? inode->names->parent->dir : NULL;

    if (dir)
        dir->expect = MAX(inode->size, dir->expect - dir->expect / 8);
    fs->expect = MAX(inode->size, fs->expect - fs->expect / 8);
}

/* The version before counts again. True: it is in L1, and must be summed up and stored, since L2 may
 * lack it or have what fsync stored of the refused one. */
static bool refuse_locked(struct l2fs *fs, struct object *o, const char *why, int error)
{
    struct inode *inode = o->inode;
    char key[KEY_PATH_MAX + 2];
    bool kept = o->prev_id || inode->tiers;

    file_key(inode, key);
    log_warn("%s: %s; %s", key, why,
             kept ? "the version before stays" : "the key is not there, write it again");
    file_event_error(fs, "discarded", key, error);
    metric_add(fs->m.discards, 1);
    file_error_locked(inode, error);
    requests_lost_locked(fs, inode);
    l1_unpromise(&fs->l1, o);
    l1_remove(&fs->l1, o);
    file_drop_locked(fs, o);
    o->staging_id = o->prev_id;
    o->charged = o->prev_charged;
    o->prev_id = o->prev_charged = 0;
    o->suspect = o->aborted = false;
    if (o->staging_id) {
        state_move(&inode->state, STATE_RESIDENT);
        o->published = true;
        o->dirty = false;
        o->want_gen++;
        inode->has_crc = false;
        file_refresh_locked(fs, inode);
        tenant_resident_locked(fs, o);
        inode->busy++;
        return true;
    }
    if (inode->tiers) {
        state_move(&inode->state, STATE_EVICTED);
        inode->size = o->clean_size;
        inode->blocks = (o->clean_size + 511) / 512;
        tenant_note_locked(fs, inode);
    } else if (inode->names) {
        file_lost_locked(fs, inode);
    }
    return false;
}

void published_event_locked(struct l2fs *fs, const struct dentry *d)
{
    const struct inode *inode = d->inode;
    char key[KEY_PATH_MAX + 2], detail[48];

    if (inode->dir || (inode->object && inode->object->writers) || name_is_temporary(fs, d) ||
        ns_path(d, key) < 0)
        return;
    snprintf(detail, sizeof(detail), "\"bytes\":%" PRIu64, inode->size);
    events_add(fs, "published", key, detail);
}

bool publish_locked(struct l2fs *fs, struct object *o)
{
    struct inode *inode = o->inode;
    bool first = inode->state == STATE_WRITING;

    if (inode->state != STATE_WRITING && inode->state != STATE_RESIDENT)
        return false;
    wake_locked(fs, &o->waiters, 0);
    o->suspect |= first && space_is_tight(fs);
    if (first && o->suspect && !o->fsynced) {
        metric_add(fs->m.enospc, 1);
        return refuse_locked(
            fs, o, "L1 was full while it was written, so it may be cut short (raise -o l1)",
            -ENOSPC);
    }
    if (first && o->aborted && !o->fsynced)
        return refuse_locked(fs, o, "its writer was killed half way, so it may be cut short", -EIO);
    if (first) {
        l1_unpromise(&fs->l1, o);
        l1_remove(&fs->l1, o);
        state_move(&inode->state, STATE_RESIDENT);
    }
    file_refresh_locked(fs, inode);
    if (first)
        tenant_resident_locked(fs, o);
    o->published = true;
    o->want_gen++;
    learn_size_locked(fs, inode);
    metric_add(fs->m.publishes, 1);
    for (const struct dentry *d = inode->names; d; d = d->alias)
        published_event_locked(fs, d);
    requests_join_locked(fs, inode);
    inode->busy++;
    return true;
}

void publish_early_locked(struct l2fs *fs, struct object *o)
{
    struct inode *inode = o->inode;

    if (inode->state != STATE_WRITING)
        return;
    l1_unpromise(&fs->l1, o);
    l1_remove(&fs->l1, o);
    state_move(&inode->state, STATE_RESIDENT);
    file_refresh_locked(fs, inode);
    tenant_resident_locked(fs, o);
    o->published = true;
    o->dirty = true;
    o->want_gen++;
    inode->has_crc = false;
    inode->tiers = 0;
    requests_join_locked(fs, inode);
    wake_locked(fs, &o->waiters, 0);
}

static int checksum_staging(struct l2fs *fs, uint64_t id, uint64_t size, uint32_t *crc)
{
    AUTO_CLOSE int fd = -1;
    int err = staging_get(fs->staging, id, O_RDONLY, &fd);

    return err ? err : checksum_file(fd, size, crc);
}

/* A store may have been quicker than the checksum. */
static bool stored_already(const struct inode *inode)
{
    const struct dentry *d = inode->names;

    while (d && d->gen != inode->object->want_gen)
        d = d->alias;
    return d;
}

static void finish_locked(struct l2fs *fs, struct inode *inode, uint32_t crc, uint64_t size)
{
    struct object *o = inode->object;
    bool unchanged = o->dirty && inode->has_crc && inode->crc32c == crc && o->clean_size == size;

    if (unchanged) { /* generations are never used again: a store of this one may be in flight */
        for (struct dentry *d = inode->names; d; d = d->alias)
            if (d->gen == o->want_gen - 1)
                d->gen = o->want_gen;
    } else {
        if (!stored_already(inode))
            inode->tiers = 0;
        inode->has_crc = true;
        inode->crc32c = crc;
    }
    o->clean_size = size;
    o->dirty = false;
    file_record_locked(fs, o, RECORD_PUBLISHED);
    file_drop_prev_locked(fs, o);
    file_pin_locked(fs, o);
}

void publish_finish(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object; /* busy keeps it */
    uint32_t crc = 0, epoch;
    uint64_t size, id;
    int err;

    lock(&fs->ns->lock);
    epoch = o->epoch;
    size = inode->size;
    id = o->staging_id;
    unlock(&fs->ns->lock);
    err = checksum_staging(fs, id, size, &crc);
    lock(&fs->ns->lock);
    if (!err && o->epoch == epoch && !o->writers && inode->state == STATE_RESIDENT) {
        finish_locked(fs, inode, crc, size);
        store_queue_locked(fs, inode, false);
        wake_locked(fs, &o->waiters, 0);
        evict_post_locked(fs);
    } else if (err && inode->state == STATE_RESIDENT && !o->writers) {
        log_err("cannot read a staging file back: %s; its key stays in L1 only", strerror(-err));
    }
    inode->busy--;
    pthread_cond_broadcast(&fs->stored_cond);
    file_settle_locked(fs, inode);
    unlock(&fs->ns->lock);
}

int vfs_flush(struct l2fs *fs, struct handle *h, const struct caller *c)
{
    struct inode *inode = h->inode;
    struct object *o;
    bool killed;

    if (!h->write || h->mode != HANDLE_BACKED)
        return 0;
    killed = c->pid > 0 && process_was_killed(c->pid);
    LOCKED_SCOPE(&fs->ns->lock);
    o = inode->object;
    h->killed = killed;
    if (inode->state != STATE_WRITING && inode->state != STATE_RESIDENT)
        return 0;
    if (inode->state == STATE_WRITING && (o->suspect || space_is_tight(fs))) {
        o->suspect = true;
        return -ENOSPC;
    }
    if (killed)
        return 0;
    file_refresh_locked(fs, inode);
    file_record_locked(fs, o, RECORD_FLUSHED);
    h->flushed = true;
    h->flushed_size = inode->size;
    h->flushed_at = inode->mtime;
    return 0;
}

bool vfs_unchanged_since_flush(struct l2fs *fs, const struct handle *h)
{
    const struct inode *inode = h->inode;

    LOCKED_SCOPE(&fs->ns->lock);
    file_refresh_locked(fs, h->inode);
    return h->flushed && inode->size == h->flushed_size && inode->mtime == h->flushed_at;
}

static void release_disk_locked(struct l2fs *fs, struct object *o)
{
    file_refresh_locked(fs, o->inode);
    if (o->opens)
        return;
    close(o->disk_fd);
    o->disk_fd = -1;
}

/* True: publish_finish must follow, unlocked. */
static bool release_in_turn(struct l2fs *fs, struct handle *h)
{
    struct inode *inode = h->inode;
    struct object *o = inode->object;
    bool finish = false;

    LOCKED_SCOPE(&fs->ns->lock);
    gate_shut_locked(fs, inode);
    list_remove(&h->link);
    o->opens--;
    o->writers -= h->write;
    *(h->write ? &fs->locks.n.writers : &fs->locks.n.readers) -= 1;
    if (h->write && !o->writers) {
        o->aborted |= h->killed;
        finish = publish_locked(fs, o);
    }
    if (h->mode == HANDLE_DIRECT)
        wake_locked(fs, &o->waiters, 0); /* a poll may wait */
    if (o->disk_fd >= 0)
        release_disk_locked(fs, o);
    if (!inode->names && !o->opens && inode->state != STATE_DISCARDED) /* O_TMPFILE, never named */
        state_move(&inode->state, STATE_DISCARDED);
    pthread_cond_broadcast(&fs->stored_cond);
    file_settle_locked(fs, inode);
    return finish;
}

void vfs_release(struct l2fs *fs, struct handle *h)
{
    struct inode *inode = h->inode;
    bool finish;

    if (h->mode == HANDLE_VIRTUAL) {
        virtual_release(fs, h);
        free(h);
        return;
    }
    finish = !gate_leave(fs, h) && release_in_turn(fs, h);
    if (h->map)
        munmap(h->map, h->map_len);
    free(h);
    if (finish)
        publish_finish(fs, inode);
}
