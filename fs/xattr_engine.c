/* xattr_engine.c - attributes that engines set: kept with the file, in the crash record, and in L2.
 *
 * Thread model: any thread. The set changes under ns->lock; a file that is stored already has its
 * new set written to the tiers in a turn of the key guard, like every change of a key in L2, before
 * the caller is answered. What is stored later takes the set along.
 */
#include "config.h"

#include "xattr_impl.h"
#include "xattr_kept.h"

/* --- the tiers --- */

/* Some tier holds it, or may when the store under way is done. */
static bool is_in_l2(const struct l2fs *fs, const struct inode *inode)
{
    const struct object *o = inode->object;

    return fs->tiers.keeping &&
           (inode->dir || inode->tiers || inode->state == STATE_DISK || (o && o->store));
}

static uint32_t targets_locked(const struct l2fs *fs, const struct inode *inode)
{
    return inode->dir ? fs->tiers.keeping : inode->tiers;
}

/* Enters a turn for name number `n` of the inode. False: there are not so many. */
static bool enter_locked(struct l2fs *fs, struct inode *inode, size_t n, struct turn *turn,
                         char *key)
{
    const struct dentry *d = inode->names;

    while (d && n--)
        d = d->alias;
    if (!d || ns_path(d, key) < 0)
        return false;
    if (inode->dir)
        strcat(key, "/");
    turn_enter_locked(fs, turn, key, NULL);
    return true;
}

/* The set as it is now, copied; *targets 0 when nothing is to be done. */
static int copy_set(struct l2fs *fs, struct inode *inode, struct l2_xattrs *out, uint32_t *targets)
{
    struct l2_xattrs set;

    LOCKED_SCOPE(&fs->ns->lock);
    set = xattr_set_of(inode);
    *out = (struct l2_xattrs){.data = malloc(set.len + 1), .len = set.len};
    if (!out->data)
        return -ENOMEM;
    if (set.len)
        memcpy(out->data, set.data, set.len);
    *targets = targets_locked(fs, inode);
    return 0;
}

static void write_to_tiers(struct l2fs *fs, struct inode *inode, const char *key)
{
    struct l2_xattrs set;
    uint32_t targets;

    if (copy_set(fs, inode, &set, &targets))
        return;
    TIERS_HELD(held, &fs->tiers, targets);
    tiers_each(i, held.mask) tier_set_attr(fs->tiers.tier[i], key, NULL, &set, L2_ATTR_XATTRS);
    free(set.data);
}

/* The inode is busy. */
static void store_set(struct l2fs *fs, struct inode *inode)
{
    char key[KEY_PATH_MAX + 2];
    bool more = true;

    for (size_t n = 0; more; n++) {
        struct turn turn = {0};

        lock(&fs->ns->lock);
        more = is_in_l2(fs, inode) && enter_locked(fs, inode, n, &turn, key);
        unlock(&fs->ns->lock);
        if (more && !turn_wait(fs, &turn))
            write_to_tiers(fs, inode, key);
        turn_leave(fs, &turn);
    }
}

/* --- the set --- */

static int change_locked(struct l2fs *fs, struct inode *inode, const struct xattr_change *c)
{
    struct l2_xattrs set = xattr_set_of(inode), changed;
    struct kept_item item = {c->name, c->value, c->size};
    struct extra *e;
    int err;

    if (c->value)
        err = kept_put(&set, &item, c->flags, &changed);
    else
        err = kept_drop(&set, c->name, &changed);
    if (err)
        return err;
    e = inode_extra(inode);
    if (!e) {
        free(changed.data);
        return -ENOMEM;
    }
    free(e->xattrs);
    e->xattrs = changed.data;
    e->xattrs_len = changed.len;
    ns_touch(inode, false);
    return 0;
}

/* Brings the crash record of a whole object up to date; what is being written gets one when it is
 * published. */
static void record_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;
    bool changing = o && (o->dirty || o->writers);

    if (!o || inode->state != STATE_RESIDENT)
        return;
    file_record_locked(fs, o,
                       !changing        ? RECORD_PUBLISHED
                       : inode->has_crc ? RECORD_REWRITE
                                        : RECORD_FLUSHED);
}

int xattr_keep_locked(struct l2fs *fs, struct inode *inode, const struct xattr_change *c)
{
    int err = change_locked(fs, inode, c);

    if (!err)
        record_locked(fs, inode);
    return err;
}

int xattr_engine_change(struct l2fs *fs, struct inode *inode, const struct xattr_change *c)
{
    bool stored;
    int err;

    lock(&fs->ns->lock);
    err = xattr_keep_locked(fs, inode, c);
    stored = !err && is_in_l2(fs, inode);
    inode->busy += stored;
    unlock(&fs->ns->lock);
    if (!stored)
        return err;
    store_set(fs, inode);
    lock(&fs->ns->lock);
    inode->busy--;
    if (inode->dir)
        ns_forget_unused(fs->ns, inode);
    else
        file_settle_locked(fs, inode);
    unlock(&fs->ns->lock);
    return 0;
}
