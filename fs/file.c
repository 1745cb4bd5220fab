/* file.c - objects of the namespace: their staging files, crash records and ends. Every function
 * runs under ns->lock; staging calls are memory operations of a tmpfs.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "evict_ctl.h"
#include "log.h"
#include "tenant.h"

bool name_is_temporary(const struct l2fs *fs, const struct dentry *d)
{
    return fs->cfg->tmp && text_match_globs(fs->cfg->tmp, d->name);
}

bool name_in_l2(const struct dentry *d)
{
    return d->in_l2 || d->inode->state == STATE_DISK;
}

int file_disk_tier(const struct inode *inode)
{
    return inode->tiers ? __builtin_ctz(inode->tiers) : -1;
}

void file_key(const struct inode *inode, char out[KEY_PATH_MAX + 2])
{
    if (!inode->names || ns_path(inode->names, out) < 0)
        strcpy(out, "(removed)");
}

void file_error_locked(struct inode *inode, int error)
{
    struct extra *e = inode_extra(inode);

    if (e)
        e->error = error;
}

struct l2_attr file_attr(const struct inode *inode)
{
    return (struct l2_attr){.mode = inode->mode,
                            .uid = inode->uid,
                            .gid = inode->gid,
                            .atime = file_timespec(inode->atime),
                            .mtime = file_timespec(inode->mtime)};
}

void file_event_error(struct l2fs *fs, const char *event, const char *key, int error)
{
    char detail[64];

    snprintf(detail, sizeof(detail), "\"error\":\"%s\"", strerrorname_np(-error));
    events_add(fs, event, key, detail);
}

int file_begin_locked(struct l2fs *fs, struct inode *inode, uint64_t expected)
{
    struct object *o = inode->object;
    uint64_t id;
    int fd, err;

    if (!o) {
        o = object_create(inode);
        for (struct dentry *d = inode->names; d; d = d->alias)
            d->gen = 0; /* generations begin again */
        if (o)
            o->clean_size = inode->size;
    }
    if (!o)
        return -ENOMEM;
    err = staging_create(fs->staging, &id, &fd);
    if (err)
        return err;
    close(fd);
    pin_remove(fs->pinner, &o->pin);
    file_drop_prev_locked(fs, o); /* of a version that was published but not yet summed up */
    o->prev_id = o->staging_id;
    o->prev_charged = o->charged;
    o->staging_id = id;
    o->charged = 0;
    o->published = false;
    o->suspect = o->aborted = o->fsynced = false;
    state_move(&inode->state, STATE_WRITING);
    inode->size = inode->blocks = 0;
    inode->has_crc =
        false; /* of the bytes before: a store may start before the new ones are summed */
    l1_add_writer(&fs->l1, o);
    l1_promise(&fs->l1, o, expected);
    tenant_note_locked(fs, inode);
    return 0;
}

static void drop_one(struct l2fs *fs, uint64_t *id, uint64_t *charged)
{
    if (*charged)
        staging_charge(fs->staging, -(int64_t)*charged);
    if (*id)
        staging_drop(fs->staging, *id);
    *id = *charged = 0;
}

void file_drop_locked(struct l2fs *fs, struct object *o)
{
    pin_remove(fs->pinner, &o->pin);
    drop_one(fs, &o->staging_id, &o->charged);
}

void file_drop_prev_locked(struct l2fs *fs, struct object *o)
{
    drop_one(fs, &o->prev_id, &o->prev_charged);
}

void file_refresh_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    struct stat st;
    int err = -ENOENT;

    if (o && o->disk_fd >= 0)
        err = fstat(o->disk_fd, &st);
    else if (o && o->staging_id)
        err = staging_stat(fs->staging, o->staging_id, &st);
    if (err)
        return;
    inode->size = (uint64_t)st.st_size;
    inode->blocks = (uint64_t)st.st_blocks;
    inode->mtime = file_time(&st.st_mtim);
    l1_resize(&fs->l1, o);
    tenant_note_locked(fs, inode);
    locks_note(&fs->locks, inode);
}

/* Every name, NUL-terminated, one after the other. */
static size_t collect_keys(const struct inode *inode, struct text *keys)
{
    char path[KEY_PATH_MAX + 2];

    for (const struct dentry *d = inode->names; d; d = d->alias)
        if (ns_path(d, path) > 0)
            text_append(keys, path, strlen(path) + 1);
    return keys->failed ? 0 : keys->len;
}

void file_record_locked(struct l2fs *fs, struct object *o, uint32_t kind)
{
    const struct inode *inode = o->inode;
    struct text keys = {0};
    char data[STAGING_RECORD_MAX];
    const struct timespec mtime = file_timespec(inode->mtime);
    struct record r = {.kind = kind,
                       .mode = inode->mode,
                       .uid = inode->uid,
                       .gid = inode->gid,
                       .has_crc = inode->has_crc,
                       .crc32c = inode->crc32c,
                       .stored = object_clean_locked(inode) && inode->tiers,
                       .signature = fs->signature,
                       .size = inode->size,
                       .mtime_sec = mtime.tv_sec,
                       .mtime_nsec = mtime.tv_nsec};
    ssize_t len = 0;

    if (!o->staging_id || !staging_can_record(fs->staging))
        return;
    if (inode->extra)
        r.xattrs_len = (uint32_t)inode->extra->xattrs_len;
    if (kind && collect_keys(inode, &keys)) {
        len = record_encode(&r, keys.data, keys.len, inode->extra ? inode->extra->xattrs : NULL,
                            data, sizeof(data));
        if (len < 0 && r.xattrs_len) { /* the keys matter more than engine xattrs */
            r.xattrs_len = 0;
            len = record_encode(&r, keys.data, keys.len, NULL, data, sizeof(data));
        }
    }
    staging_set_record(fs->staging, o->staging_id, data, len > 0 ? (size_t)len : 0);
    text_fini(&keys);
}

void file_dirty_locked(struct l2fs *fs, struct object *o)
{
    if (o->dirty && !o->writers) /* what the last writer left may be stored, and is not summed up */
        o->inode->has_crc = false;
    if (o->dirty)
        return;
    o->dirty = true;
    file_record_locked(fs, o, RECORD_REWRITE);
}

bool object_clean_locked(const struct inode *inode)
{
    const struct object *o = inode->object;

    if (!o || o->dirty || o->writers || !o->want_gen || !inode->names)
        return false;
    for (const struct dentry *d = inode->names; d; d = d->alias)
        if (d->gen != o->want_gen)
            return false;
    return true;
}

struct gone_letter {
    struct letter letter;
    struct l2fs *fs;
    struct inode *dir;
    struct inode *inode;
    char name[];
};

static void tell_gone(struct letter *l)
{
    struct gone_letter *g = container_of(l, struct gone_letter, letter);
    struct l2fs *fs = g->fs;

    if (!g->inode) {
        lock(&fs->ns->lock);
        g->dir->dir->changed = false;
        unlock(&fs->ns->lock);
    }
    lock(&fs->gone_lock);
    if (fs->gone)
        fs->gone(fs->gone_arg, g->dir, g->inode ? g->name : NULL, g->inode);
    unlock(&fs->gone_lock);
    lock(&fs->ns->lock);
    g->dir->busy--;
    if (g->inode) {
        g->inode->busy--;
        file_settle_locked(fs, g->inode);
    }
    ns_forget_unused(fs->ns, g->dir);
    unlock(&fs->ns->lock);
    free(g);
}

/* `inode` NULL: the directory changed. */
static void post_gone_locked(struct l2fs *fs, struct inode *dir, struct inode *inode,
                             const char *name)
{
    size_t len = strlen(name) + 1;
    struct gone_letter *g = malloc(sizeof(*g) + len);

    if (!g)
        return; /* the kernel finds out when its timeout ends */
    memset(g, 0, sizeof(*g));
    g->letter.run = tell_gone;
    list_init(&g->letter.link);
    g->fs = fs;
    g->dir = dir;
    g->inode = inode;
    memcpy(g->name, name, len);
    g->dir->busy++;
    if (inode)
        inode->busy++;
    else
        dir->dir->changed = true;
    mailbox_post(fs->mailbox, &g->letter);
}

void file_gone_locked(struct l2fs *fs, const struct dentry *d)
{
    post_gone_locked(fs, d->parent, d->inode, d->name);
}

void file_dir_changed_locked(struct l2fs *fs, struct inode *dir)
{
    if (!dir->dir->changed && (dir == fs->ns->root || dir->nlookup))
        post_gone_locked(fs, dir, NULL, "");
}

void file_lost_locked(struct l2fs *fs, struct inode *inode)
{
    gate_shut_locked(fs, inode);
    while (inode->names) {
        file_gone_locked(fs, inode->names);
        ns_unlink(fs->ns, inode->names);
    }
    if (inode->object)
        l1_remove(&fs->l1, inode->object);
    tenant_note_locked(fs, inode);
    state_move(&inode->state, STATE_DISCARDED);
}

void file_pin_locked(struct l2fs *fs, struct object *o)
{
    AUTO_CLOSE int fd = -1;

    if (!fs->pinner)
        return;
    pin_remove(fs->pinner, &o->pin);
    if (!staging_get(fs->staging, o->staging_id, O_RDWR, &fd))
        pin_add(fs->pinner, fd, o->inode->size, &o->pin);
}

void file_settle_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    bool gone = inode->state == STATE_DISCARDED;

    if (gone)
        unread_end_locked(fs, inode);
    locks_note(&fs->locks, inode);
    evict_ctl_note_locked(fs, inode);
    requests_note_locked(fs, inode);
    if (o) {
        store_note_locked(fs, o);
        evict_note_locked(fs, o);
        if (o->rest.leaving && object_clean_locked(inode) &&
            !evict_one_locked(fs, o, CAUSE_SKIP_L1))
            return; /* it settled there */
    }
    if (o &&
        ((gone && !inode->nlookup) || inode->state == STATE_EVICTED ||
         inode->state == STATE_DISK) &&
        !o->opens && !inode->busy && !o->store && list_empty(&o->waiters)) {
        if (gate_touched_locked(o))
            gate_sync_locked(fs);
        file_drop_locked(fs, o);
        file_drop_prev_locked(fs, o);
        l1_remove(&fs->l1, o);
        object_destroy(o);
    }
    ns_forget_unused(fs->ns, inode);
}
