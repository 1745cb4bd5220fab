/* rename.c - rename(2), the way most engines publish. The tree and the crash records change under
 * ns->lock; L2 follows in the turn taken there. A file that is not in L2 costs no call to a tier.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "log.h"
#include "tenant.h"

struct move {
    struct dentry *from, *to; /* `to` may be NULL */
    struct inode *inode;
    char old_key[KEY_PATH_MAX + 2];
    char new_key[KEY_PATH_MAX + 2];
    struct turn turn;
    bool dir;
    bool only_there;   /* only L2 has its bytes */
    bool in_l2;        /* the source may be there */
    bool drop_l2;      /* what the target name held must go: nothing will be stored over it */
    uint32_t failed;   /* tiers that did not follow ... */
    uint32_t followed; /* ... and that did */
};

static int check_dirs(const struct move *m, const struct vfs_rename *r)
{
    const struct inode *target = m->to ? m->to->inode : NULL;

    if (m->dir && ns_is_below(r->to_dir, m->inode))
        return -EINVAL;
    if (!target)
        return 0;
    if (m->dir && !target->dir)
        return -ENOTDIR;
    if (!m->dir && target->dir)
        return -EISDIR;
    return target->dir && target->dir->live ? -ENOTEMPTY : 0;
}

static int find_locked(struct l2fs *fs, const struct vfs_rename *r, struct move *m)
{
    if (r->flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    if (r->from_dir->dir->reserved || r->to_dir->dir->reserved)
        return -EPERM;
    if (scan_hides_locked(fs, r->from_dir) || scan_hides_locked(fs, r->to_dir))
        return -EBUSY;
    m->from = ns_find(fs->ns, r->from_dir, r->from);
    m->to = ns_find(fs->ns, r->to_dir, r->to);
    if (!m->from)
        return -ENOENT;
    if (m->to && (r->flags & RENAME_NOREPLACE))
        return -EEXIST;
    m->inode = m->from->inode;
    m->dir = m->inode->dir != NULL;
    if ((m->dir && m->inode->dir->reserved) ||
        (m->to && m->to->inode->dir && m->to->inode->dir->reserved))
        return -EPERM;
    if (m->to && inode_pinned(m->to->inode, clock_now()))
        return -EBUSY;
    return check_dirs(m, r);
}

static int path_below(const struct inode *dir, const char *name, char key[KEY_PATH_MAX + 2])
{
    const struct dentry *d = ns_dir_name(dir);
    int len = d ? ns_path(d, key) : 0;

    if (len < 0 || strlen(name) > KEY_NAME_MAX || (size_t)len + 1 + strlen(name) > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    snprintf(key + len, KEY_PATH_MAX + 2 - (size_t)len, "%s%s", len ? "/" : "", name);
    return 0;
}

struct growth {
    size_t bytes; /* of every key below */
    bool too_long;
};

static bool still_fits(void *arg, struct dentry *d)
{
    char key[KEY_PATH_MAX + 2];
    struct growth *g = arg;
    int len = ns_path(d, key);

    g->too_long = len < 0 || (size_t)len + g->bytes > KEY_PATH_MAX;
    return !g->too_long;
}

/* That of all keys for a directory. Where all tiers send there is none to wait for. */
static void enter_turn_locked(struct l2fs *fs, const struct move *m, struct turn *turn)
{
    if (tiers_have_names(&fs->tiers))
        turn_enter_locked(fs, turn, m->dir ? NULL : m->old_key, m->dir ? NULL : m->new_key);
}

/* What lies below a directory must still have keys. */
static int check_below(const struct move *m)
{
    size_t before = strlen(m->old_key), after = strlen(m->new_key);
    struct growth g = {.bytes = after - MIN(before, after)};

    if (m->dir && g.bytes)
        ns_walk(m->inode, still_fits, &g);
    return g.too_long ? -ENAMETOOLONG : 0;
}

static void rewrite_record(struct l2fs *fs, struct object *o)
{
    if (o && o->published)
        file_record_locked(fs, o, o->writers ? RECORD_FLUSHED : RECORD_PUBLISHED);
}

static bool only_in_l2(const struct inode *inode)
{
    return inode->dir || inode->state == STATE_EVICTED || inode->state == STATE_LOADING ||
           inode->state == STATE_DISK;
}

/* A key below a directory that moved. Peers do not rename: what is at hand is sent to them again. */
static bool follow_dir(void *arg, struct dentry *d)
{
    struct l2fs *fs = arg;

    if (only_in_l2(d->inode))
        return true;
    if (d->in_l2)
        store_send_again_locked(fs, d->inode);
    rewrite_record(fs, d->inode->object);
    return true;
}

/* The new name takes over what is known of the old one in L2. */
static int move_name_locked(struct l2fs *fs, const struct vfs_rename *r, struct move *m)
{
    struct object *o = m->inode->object;
    struct inode *target = m->to ? m->to->inode : NULL;
    struct dentry *made;
    int err = ns_name_create(fs->ns, r->to_dir, r->to, &made);

    if (err)
        return err;
    if (target && target->dir) {
        tenant_set_quota_locked(fs, target, 0);
        ns_unlink(fs->ns, m->to);
        ns_forget_unused(fs->ns, target);
    } else if (target) {
        file_unlink_locked(fs, m->to, false);
    }
    ns_name_link(fs->ns, made, m->inode);
    made->gen = m->from->gen;
    made->in_l2 = m->from->in_l2 || m->drop_l2;
    if (o && o->storing_name == m->from)
        o->storing_name = made;
    ns_unlink(fs->ns, m->from);
    tenant_note_locked(fs, m->inode);
    m->to = made;
    if (m->dir) { /* link and unlink of the same inode cancel out but for the count of names */
        m->inode->nlink = 2 + m->inode->dir->subdirs;
        ns_walk(m->inode, follow_dir, fs);
    }
    return 0;
}

static void publish_renamed_locked(struct l2fs *fs, struct move *m)
{
    struct object *o = m->inode->object;
    bool temporary = name_is_temporary(fs, m->to);

    if (!o || m->dir)
        return;
    if (!temporary)
        publish_early_locked(fs, o);
    rewrite_record(fs, o);
    m->drop_l2 = m->drop_l2 && temporary;
    store_queue_locked(fs, m->inode, false);
}

static void renamed_event(struct l2fs *fs, const struct move *m)
{
    struct text detail = {0};

    text_puts(&detail, "\"to\":");
    events_quote(&detail, m->new_key);
    if (!detail.failed)
        events_add(fs, "renamed", m->old_key, detail.data);
    text_fini(&detail);
}

static int rename_locked(struct l2fs *fs, const struct vfs_rename *r, struct move *m)
{
    int err = find_locked(fs, r, m);
    bool temporary;

    if (!err)
        err = path_below(r->from_dir, r->from, m->old_key);
    if (!err)
        err = path_below(r->to_dir, r->to, m->new_key);
    if (!err)
        err = check_below(m);
    if (err)
        return err;
    if (m->to && m->to->inode == m->inode)
        return 1; /* two names of one file: nothing to do, says POSIX */
    err = tenant_move_locked(fs, m->from, r->to_dir, m->to);
    if (err)
        return err;
    m->only_there = only_in_l2(m->inode);
    m->in_l2 = m->dir || name_in_l2(m->from);
    m->drop_l2 = m->to && !m->dir && name_in_l2(m->to);
    if (m->in_l2 || m->drop_l2)
        enter_turn_locked(fs, m, &m->turn);
    temporary = name_is_temporary(fs, m->from);
    err = move_name_locked(fs, r, m);
    if (!err && m->in_l2 && !m->dir)
        store_send_again_locked(fs, m->inode); /* peers do not rename */
    if (!err)
        publish_renamed_locked(fs, m);
    if (!err && temporary)
        published_event_locked(fs, m->to);
    else if (!err)
        renamed_event(fs, m);
    return err;
}

/* What has its bytes in L2 only must not lose its name there. So its turn is waited for before the
 * tree changes too: a tier that hangs refuses the rename, nothing has happened then. */
static int wait_for_l2(struct l2fs *fs, const struct vfs_rename *r)
{
    struct turn turn = {0};
    struct move m = {0};

    lock(&fs->ns->lock);
    if (!find_locked(fs, r, &m) && only_in_l2(m.inode) &&
        !path_below(r->from_dir, r->from, m.old_key) && !path_below(r->to_dir, r->to, m.new_key))
        enter_turn_locked(fs, &m, &turn);
    unlock(&fs->ns->lock);
    return turn_pass(fs, &turn);
}

static int rename_in_tiers(struct l2fs *fs, struct move *m)
{
    const char *keys[1] = {m->new_key};
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);
    int first = 0;

    if (m->dir) {
        strcat(m->old_key, "/");
        strcat(m->new_key, "/");
    }
    tiers_each(i, held.mask)
    {
        int err = m->in_l2 ? tier_rename(fs->tiers.tier[i], m->old_key, m->new_key) : -ENOENT;

        if (err == -ENOENT && m->drop_l2)
            err = tier_remove(fs->tiers.tier[i], keys, 1, NULL);
        if (err && err != -ENOENT && err != -EOPNOTSUPP) {
            m->failed |= 1u << i;
            first = first ? first : err;
        } else if (!err) {
            m->followed |= 1u << i;
        }
    }
    return first;
}

/* L2 did not follow: store again under the new name, the old one is removed when it can be. What a store
 * that runs or waits has done was done under the old one, so a generation of its own begins. */
static void store_again(struct l2fs *fs, struct inode *inode)
{
    struct object *o;

    LOCKED_SCOPE(&fs->ns->lock);
    o = inode->object;
    if (o && o->want_gen) {
        o->want_gen++;
        o->storing_name = NULL;
        inode->tiers = 0;
    }
    store_again_locked(fs, inode, false);
}

/* Only L2 has the bytes. Where a tier followed they are under the new name; else the tree goes back to
 * the old one. */
static int mend(struct l2fs *fs, const struct vfs_rename *r, struct move *m, int err)
{
    const struct vfs_rename back = {
        .from_dir = r->to_dir, .from = r->to, .to_dir = r->from_dir, .to = r->from};
    struct move undo = {0};

    LOCKED_SCOPE(&fs->ns->lock);
    if (m->failed && (m->inode->tiers & ~m->failed)) {
        m->inode->tiers &= ~m->failed;
        return 0;
    }
    if (find_locked(fs, &back, &undo) || undo.to || undo.inode != m->inode)
        return err;
    file_gone_locked(fs, undo.from);
    if (!move_name_locked(fs, &back, &undo))
        log_warn("%s: not renamed to %s: %s", m->old_key, m->new_key, strerror(-err));
    return err;
}

/* A directory is in every tier where it was, or where it is now: those that followed go back too. */
static int move_back(struct l2fs *fs, const struct vfs_rename *r, struct move *m, int err)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);

    tiers_each(i, m->followed & held.mask)
    {
        int rc = tier_rename(fs->tiers.tier[i], m->new_key, m->old_key);

        if (rc && rc != -ENOENT)
            log_err("%s: tier %s cannot take back its move to %s: %s; its keys there are found at "
                    "the next mount",
                    m->old_key, tiers_name(&fs->tiers, i), m->new_key, strerror(-rc));
    }
    return mend(fs, r, m, err);
}

/* Holds the inode over the call; one more when the caller must wait for its store. */
static struct inode *hold_locked(struct l2fs *fs, struct move *m)
{
    struct object *o = m->inode->object;

    m->inode->busy++;
    if (!o || !o->synced || name_is_temporary(fs, m->to))
        return NULL;
    o->synced = false;
    m->inode->busy++;
    return m->inode;
}

static int follow_in_tiers(struct l2fs *fs, const struct vfs_rename *r, struct move *m)
{
    int err = turn_wait(fs, &m->turn);

    if (!err)
        err = rename_in_tiers(fs, m);
    if (!err)
        return 0;
    if (m->dir)
        return move_back(fs, r, m, err);
    if (m->only_there && mend(fs, r, m, err))
        return err;
    if (m->only_there) {
        tiers_remove(&fs->tiers, m->old_key);
        return 0;
    }
    log_warn("%s: renamed to %s here, but not in L2 (%s); it is stored again under the new name",
             m->old_key, m->new_key, strerror(-err));
    tiers_remove(&fs->tiers, m->old_key); /* it must not come back at the next mount */
    store_again(fs, m->inode);
    return 0;
}

static bool moves_dir(struct l2fs *fs, const struct vfs_rename *r)
{
    struct dentry *d;

    LOCKED_SCOPE(&fs->ns->lock);
    d = ns_find(fs->ns, r->from_dir, r->from);
    return d && d->inode->dir;
}

/* What is below a directory moves with it, so all of that must be known. */
static int wait_for_scan(struct l2fs *fs, const struct vfs_rename *r)
{
    int err = moves_dir(fs, r) ? scan_await_end(fs, clock_deadline(fs->cfg->load_timeout)) : 0;

    return err == -ETIMEDOUT ? -EBUSY : err;
}

int vfs_rename(struct l2fs *fs, const struct vfs_rename *r, struct inode **sync)
{
    struct move m = {0};
    int err;

    *sync = NULL;
    err = wait_for_scan(fs, r);
    if (!err)
        err = wait_for_l2(fs, r);
    if (err)
        return err;
    lock(&fs->ns->lock);
    err = rename_locked(fs, r, &m);
    if (!err)
        *sync = hold_locked(fs, &m);
    unlock(&fs->ns->lock);
    if (!err && m.turn.used)
        err = follow_in_tiers(fs, r, &m);
    else if (err)
        m.inode = NULL;
    turn_leave(fs, &m.turn);
    if (m.inode)
        vfs_put(fs, m.inode);
    return err == 1 ? 0 : err;
}

void vfs_put(struct l2fs *fs, struct inode *inode)
{
    LOCKED_SCOPE(&fs->ns->lock);
    inode->busy--;
    file_settle_locked(fs, inode);
}

void vfs_doubt(struct l2fs *fs, struct inode *inode)
{
    LOCKED_SCOPE(&fs->ns->lock);
    inode->doubted = true;
}
