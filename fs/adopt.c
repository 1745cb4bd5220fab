/* adopt.c - at start: staging files that an earlier daemon left behind when it died. What was
 * published or closed is whole and comes back; what was being written is not, and goes. One thread,
 * beside the scan of the tiers, before the loop and the front run; the directories that its keys are in
 * are listed before.
 */
#include "config.h"

#include <fcntl.h>

#include "checksum.h"
#include "core.h"
#include "log.h"
#include "tenant.h"

struct adoption {
    struct l2fs *fs;
    uint64_t deadline; /* for directories to be listed, all together */
    size_t dropped;
};

static bool crc_matches(struct l2fs *fs, uint64_t id, uint64_t size, uint32_t crc)
{
    AUTO_CLOSE int fd = -1;
    uint32_t now;

    return !staging_get(fs->staging, id, O_RDONLY, &fd) && !checksum_file(fd, size, &now) &&
           now == crc;
}

/* Nobody wrote between the record and the end: size and mtime are still those. */
static bool is_whole(struct l2fs *fs, uint64_t id, const struct stat *st, const struct record *r)
{
    bool same_size = (uint64_t)st->st_size == r->size;
    bool same_time = st->st_mtim.tv_sec == r->mtime_sec && st->st_mtim.tv_nsec == r->mtime_nsec;

    switch (r->kind) {
    case RECORD_PUBLISHED:
    case RECORD_FLUSHED:
        return same_size && (same_time || (r->has_crc && crc_matches(fs, id, r->size, r->crc32c)));
    case RECORD_REWRITE:
        return same_size && r->has_crc ? crc_matches(fs, id, r->size, r->crc32c)
                                       : same_size && same_time;
    default: return false;
    }
}

static int set_xattrs(struct inode *inode, const struct record *r, const void *xattrs)
{
    struct extra *e = inode_extra(inode);
    void *copy = r->xattrs_len ? malloc(r->xattrs_len) : NULL;

    if (!e || (r->xattrs_len && !copy)) {
        free(copy);
        return -ENOMEM;
    }
    if (copy)
        memcpy(copy, xattrs, r->xattrs_len);
    free(e->xattrs);
    e->xattrs = copy;
    e->xattrs_len = r->xattrs_len;
    return 0;
}

/* The inode that gets the bytes: the one that L2 knows under this name, or a new one. An older
 * staging file of the same key makes way, a newer one stays (-EEXIST). */
static int place_locked(struct l2fs *fs, const char *key, uint64_t id, struct inode **inode)
{
    struct inode *dir, *found;
    const char *name;
    struct dentry *d;
    int err = ns_make_parents(fs->ns, key, &dir, &name);

    if (err)
        return err;
    if (dir->dir->reserved)
        return -EPERM;
    d = ns_find(fs->ns, dir, name);
    found = d ? d->inode : NULL;
    if (found && (found->dir || found->state == STATE_DISK))
        return -EEXIST;
    if (found && found->object && found->object->staging_id > id)
        return -EEXIST;
    if (*inode && found != *inode) /* the tiers that have both */
        (*inode)->tiers &= found ? found->tiers : 0;
    if (found && found != *inode && (*inode || found->object)) {
        file_unlink_locked(fs, d, false);
        found = NULL;
    }
    if (!*inode)
        *inode = found ? found : ns_new_inode(fs->ns, S_IFREG | 0644);
    if (!*inode)
        return -ENOMEM;
    return found ? 0 : ns_link(fs->ns, dir, name, *inode, NULL);
}

static int fill_locked(struct l2fs *fs, struct inode *inode, uint64_t id, const struct record *r)
{
    struct object *o = inode->object ? inode->object : object_create(inode);
    bool in_l2, known = inode->tiers && inode->has_crc;

    if (!o)
        return -ENOMEM;
    in_l2 = r->stored && r->signature == fs->signature && inode->tiers &&
            (!known || !r->has_crc || inode->crc32c == r->crc32c);
    o->staging_id = id;
    inode->mode = S_IFREG | (r->mode & 07777);
    inode->uid = r->uid;
    inode->gid = r->gid;
    file_refresh_locked(fs, inode);
    if (!staging_has_mount(fs->staging)) {
        o->charged = inode->size;
        staging_charge(fs->staging, (int64_t)o->charged);
    }
    inode->has_crc = r->has_crc;
    inode->crc32c = r->crc32c;
    o->clean_size = inode->size;
    o->published = true;
    o->want_gen = 1;
    for (struct dentry *d = inode->names; d; d = d->alias)
        d->gen = in_l2 ? 1 : 0;
    if (!in_l2)
        inode->tiers = 0;
    state_move(&inode->state, STATE_RESIDENT);
    tenant_resident_locked(fs, o);
    return 0;
}

static int adopt_locked(struct l2fs *fs, uint64_t id, const struct record *r, const char *keys,
                        size_t keys_len)
{
    struct inode *inode = NULL;
    int err = -ENOENT;

    for (const char *key = keys; key < keys + keys_len; key += strlen(key) + 1) {
        const char *slash = strrchr(key, '/');
        int e;

        if (key_check(key, false) ||
            (fs->cfg->tmp && text_match_globs(fs->cfg->tmp, slash ? slash + 1 : key)))
            continue;
        e = place_locked(fs, key, id, &inode);
        if (err)
            err = e;
    }
    if (err)
        return err;
    return fill_locked(fs, inode, id, r);
}

/* A file that was closed but not yet summed up when the daemon died. */
static bool sum_up(struct l2fs *fs, uint64_t id, struct record *r)
{
    AUTO_CLOSE int fd = -1;

    if (r->kind == RECORD_PUBLISHED && r->has_crc)
        return true;
    r->has_crc =
        !staging_get(fs->staging, id, O_RDONLY, &fd) && !checksum_file(fd, r->size, &r->crc32c);
    r->stored = r->stored && r->kind == RECORD_REWRITE; /* unchanged, as is_whole found */
    return r->has_crc;
}

/* True: what is in L2 on the way to the keys is known. If not, the key is stored again. */
static bool await_dirs(const struct adoption *a, const char *keys, size_t keys_len)
{
    int err = 0;

    for (const char *key = keys; !err && key < keys + keys_len; key += strlen(key) + 1)
        err = scan_await_key(a->fs, key, a->deadline);
    return !err;
}

static bool on_file(void *arg, uint64_t id, const struct stat *st, const void *record, size_t len)
{
    struct adoption *a = arg;
    struct l2fs *fs = a->fs;
    const void *xattrs;
    const char *keys;
    size_t keys_len;
    struct record r;
    bool known, hidden;
    int err;

    if (record_decode(record, len, &r, &keys, &keys_len, &xattrs) || !is_whole(fs, id, st, &r) ||
        !sum_up(fs, id, &r)) {
        a->dropped++;
        return false;
    }
    known = await_dirs(a, keys, keys_len);
    lock(&fs->ns->lock);
    hidden = fs->ns->unlisted;
    fs->ns->unlisted = hidden && !known;
    err = adopt_locked(fs, id, &r, keys, keys_len);
    fs->ns->unlisted = hidden;
    if (!err) {
        struct dentry *d = NULL;
        struct inode *dir;
        const char *name;

        if (!ns_make_parents(fs->ns, keys, &dir, &name))
            d = ns_find(fs->ns, dir, name);
        if (d && !d->inode->dir)
            err = set_xattrs(d->inode, &r, xattrs);
    }
    unlock(&fs->ns->lock);
    if (err) {
        a->dropped++;
        return false;
    }
    fs->adopted++;
    return true;
}

static bool settle_one(void *arg, struct dentry *d)
{
    struct l2fs *fs = arg;
    struct object *o = d->inode->dir ? NULL : d->inode->object;

    if (o && o->staging_id) {
        file_record_locked(fs, o, RECORD_PUBLISHED);
        store_queue_locked(fs, d->inode, false);
    }
    return true;
}

int adopt_staging(struct l2fs *fs)
{
    struct adoption a = {.fs = fs, .deadline = clock_deadline(SCAN_DIR_NS)};

    staging_scan(fs->staging, on_file, &a);
    if (fs->adopted || a.dropped)
        log_info("%zu keys taken over from the daemon before, %zu unfinished files removed",
                 fs->adopted, a.dropped);
    return 0;
}

void adopt_store(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (fs->adopted)
        ns_walk(fs->ns->root, settle_one, fs);
    evict_post_locked(fs);
}
