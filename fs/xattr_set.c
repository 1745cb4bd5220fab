/* xattr_set.c - setting and removing extended attributes.
 *
 * Thread model: any thread. A value of user.l2fs.* is parsed before the lock is taken and applied
 * under it; what it starts (a load, an eviction) goes on by itself. Refusals are logged after the
 * lock is released, once, by vfs_setxattr.
 */
#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdio.h>

#include "clock.h"
#include "expire.h"
#include "log.h"
#include "tenant.h"
#include "xattr.h"
#include "xattr_control.h"
#include "xattr_impl.h"
#include "xattr_kept.h"

struct setting {
    struct l2fs *fs;
    struct inode *inode;
    char text[XATTR_TEXT_MAX + 1];
    const char *why; /* what the log says of a refusal other than -EINVAL */
};

/* --- pin, expire and what is only kept --- */

static void pin_event_locked(const struct setting *s, enum pin_kind kind)
{
    char key[KEY_PATH_MAX + 2], detail[48];

    file_key(s->inode, key);
    snprintf(detail, sizeof(detail), "\"kind\":\"%s\"", kind == PIN_HARD ? "hard" : "soft");
    events_add(s->fs, kind == PIN_NONE ? "unpinned" : "pinned", key,
               kind == PIN_NONE ? NULL : detail);
}

static int set_pin_locked(struct setting *s)
{
    struct inode *inode = s->inode;
    struct pin_value pin;
    bool pinned;
    int err = xattr_parse_pin(s->text, &pin);

    if (err || (inode->dir && pin.kind != PIN_NONE))
        return -EINVAL;
    locks_expire(&s->fs->locks, clock_now());
    pinned = inode->extra && inode->extra->pin != PIN_NONE;
    err = locks_pin(&s->fs->locks, inode, pin.kind, clock_deadline(pin.lease));
    if (err == -ENOSPC)
        s->why = "pins hold all that -o pin_max lets them; unpin some files, or raise it";
    if (err)
        return err;
    if (pinned || pin.kind != PIN_NONE)
        pin_event_locked(s, pin.kind);
    if (pin.kind != PIN_NONE && inode->state == STATE_EVICTED)
        load_locked(s->fs, inode, NULL); /* as far as there is space now */
    if (inode->object)
        evict_note_locked(s->fs, inode->object);
    if (pin.kind == PIN_NONE)
        evict_post_locked(s->fs);
    return 0;
}

static int set_expire_locked(struct setting *s)
{
    uint64_t ns;
    int err = xattr_parse_expire(s->text, &ns);

    if (err || (!ns && !s->inode->extra))
        return err;
    return expire_set_locked(s->fs, s->inode, ns ? clock_deadline(ns) : 0);
}

static int join_locked(struct setting *s)
{
    return s->inode->extra->last_prefill ? requests_last_locked(s->fs, s->inode)
                                         : requests_join_locked(s->fs, s->inode);
}

static int set_req_id_locked(struct setting *s)
{
    struct extra *e;
    char *copy;

    if (xattr_parse_name(s->text))
        return -EINVAL;
    e = inode_extra(s->inode);
    copy = e ? strdup(s->text) : NULL;
    if (!copy)
        return -ENOMEM;
    if (e->req_id && strcmp(e->req_id, copy))
        requests_leave_locked(s->fs, s->inode);
    free(e->req_id);
    e->req_id = copy;
    return join_locked(s);
}

static int set_peer_locked(struct setting *s)
{
    return xattr_parse_name(s->text); /* xattr_set_peer does the rest */
}

static int set_last_prefill_locked(struct setting *s)
{
    struct extra *e;
    bool last;

    if (xattr_parse_flag(s->text, &last))
        return -EINVAL;
    e = inode_extra(s->inode);
    if (!e)
        return -ENOMEM;
    if (!last)
        requests_not_last_locked(s->inode);
    e->last_prefill = last;
    return last ? requests_last_locked(s->fs, s->inode) : 0;
}

static int set_place_locked(struct setting *s)
{
    bool disk;

    if (xattr_parse_place(s->text, &disk))
        return -EINVAL;
    if (disk && tiers_disk(&s->fs->tiers) < 0) {
        s->why = "no tier of this mount has files of its own; add one of type fs";
        return -EOPNOTSUPP;
    }
    s->inode->dir->place_disk = disk;
    return 0;
}

static int set_quota_locked(struct setting *s)
{
    uint64_t quota;

    if (xattr_parse_quota(s->text, &quota))
        return -EINVAL;
    return tenant_set_quota_locked(s->fs, s->inode, quota);
}

/* --- prefetch and evict --- */

static int prefetch_locked(struct setting *s)
{
    bool on;

    if (xattr_parse_flag(s->text, &on))
        return -EINVAL;
    if (!on) {
        warm_stop_locked(s->fs, s->inode);
        return 0;
    }
    if (!s->inode->dir && s->inode->state != STATE_EVICTED)
        return 0;
    if (!s->inode->dir && s->inode->size > s->fs->l1.capacity) {
        s->why = "it is larger than L1";
        return -EFBIG;
    }
    return warm_start_locked(s->fs, s->inode);
}

static const char *why_not_evicted(const struct l2fs *fs, const struct inode *inode)
{
    const struct object *o = inode->object;

    if (o->opens)
        return "it is open";
    if (inode_pinned(inode, clock_now()))
        return "it is pinned (user.l2fs.pin)";
    if (inode->state != STATE_RESIDENT)
        return "it is being written or loaded";
    if (!fs->tiers.keeping)
        return "no tier of this mount keeps objects";
    return "it is not stored yet (user.l2fs.store)";
}

#define SETTLE_NS (500 * NSEC_PER_MSEC)

/* The release of a file follows its close(2) by a moment, and the end of its store that of fsync. */
static int evict_settled_locked(struct l2fs *fs, struct inode *inode)
{
    uint64_t deadline = clock_deadline(SETTLE_NS);
    int err = -EBUSY, late = 0;

    for (;;) {
        struct object *o = inode->object;

        if (!o || inode->state == STATE_EVICTED)
            return 0;
        if (inode->tiers) /* never the only copy */
            err = evict_one_locked(fs, o, CAUSE_ASKED);
        if (!err || late || inode_pinned(inode, clock_now()) || !fs->tiers.keeping)
            return err;
        fs->gates.watchers++;
        late = cond_wait_until(&fs->stored_cond, &fs->ns->lock, deadline);
        fs->gates.watchers--;
    }
}

static int evict_locked(struct setting *s)
{
    struct object *o = s->inode->object;
    int err;

    if (xattr_parse_order(s->text))
        return -EINVAL;
    if (s->inode->dir) {
        size_t kept, done = evict_below_locked(s->fs, s->inode, &kept);

        if (kept)
            log_debug("evict: %zu files left L1, %zu are in use, pinned or not stored", done, kept);
        return 0;
    }
    if (!o || s->inode->state == STATE_EVICTED || s->inode->state == STATE_DISK)
        return 0;
    err = evict_settled_locked(s->fs, s->inode);
    gate_shut_locked(s->fs, s->inode);
    if (err)
        s->why = why_not_evicted(s->fs, s->inode);
    return err;
}

static bool retry_one(void *arg, struct dentry *d)
{
    if (!d->inode->dir)
        store_retry_locked(arg, d->inode);
    return true;
}

static int retry_locked(struct setting *s)
{
    if (xattr_parse_order(s->text))
        return -EINVAL;
    if (s->inode->dir)
        ns_walk(s->inode, retry_one, s->fs);
    else
        store_retry_locked(s->fs, s->inode);
    return 0;
}

typedef int set_fn(struct setting *s);

static set_fn *const set_locked[XATTR_IDS] = {
    [XATTR_PIN] = set_pin_locked,       [XATTR_EXPIRE] = set_expire_locked,
    [XATTR_REQ_ID] = set_req_id_locked, [XATTR_LAST_PREFILL] = set_last_prefill_locked,
    [XATTR_PREFETCH] = prefetch_locked, [XATTR_EVICT] = evict_locked,
    [XATTR_RETRY] = retry_locked,       [XATTR_PLACE] = set_place_locked,
    [XATTR_QUOTA] = set_quota_locked,   [XATTR_PEER] = set_peer_locked,
};

/* --- the calls --- */

static void log_unknown(const char *key, const char *name)
{
    const char *near = xattr_nearest(name);

    log_warn("%s: there is no attribute %s%s%s%s", key, name, near ? "; did you mean " : "",
             near ? near : "", near ? "?" : "");
}

static void log_refusal(const char *key, int id, const struct setting *s, int err)
{
    const struct xattr_def *def = &xattr_defs[id];

    if (!def->allowed)
        log_warn("%s: %s can only be read", key, def->name);
    else if (!xattr_fits(s->inode, id))
        log_warn("%s: %s is for %s only", key, def->name, s->inode->dir ? "files" : "directories");
    else if (err == -EINVAL)
        log_warn("%s: %s cannot be \"%s\"; allowed: %s", key, def->name, s->text, def->allowed);
    else
        log_warn("%s: %s=%s: %s", key, def->name, s->text, s->why ? s->why : strerror(-err));
}

static int apply_locked(struct setting *s, int id)
{
    int err;

    if (!set_locked[id])
        return -EPERM;
    if (!xattr_fits(s->inode, id))
        return -EINVAL;
    err = set_locked[id](s);
    if (!err)
        ns_touch(s->inode, false);
    return err;
}

static int keep_place(struct l2fs *fs, struct inode *dir, const char *place)
{
    struct xattr_change c = {XATTR_PLACE_KEPT, place, strlen(place), 0};

    return xattr_engine_change(fs, dir, &c);
}

static int keep_quota(struct l2fs *fs, struct inode *dir, const char *value)
{
    struct xattr_change c = {.name = XATTR_QUOTA_KEPT};
    char text[24];
    uint64_t quota = 0;
    int err;

    xattr_parse_quota(value, &quota);
    if (quota) {
        c.value = text;
        c.size = (size_t)snprintf(text, sizeof(text), "%" PRIu64, quota);
    }
    err = xattr_engine_change(fs, dir, &c);
    return err == -ENODATA ? 0 : err;
}

static int restore_quota(struct l2fs *fs, struct inode *dir, const struct l2_xattrs *set)
{
    char text[XATTR_TEXT_MAX + 1];
    struct kept_item item;
    uint64_t quota;

    if (!kept_find(set, XATTR_QUOTA_KEPT, &item) || xattr_text(item.value, item.len, text) ||
        xattr_parse_quota(text, &quota))
        return 0;
    return tenant_set_quota_locked(fs, dir, quota);
}

int xattr_restore_dir(struct l2fs *fs, struct inode *dir)
{
    const struct dentry *d = ns_dir_name(dir);
    struct l2_xattrs set = xattr_set_of(dir);
    struct kept_item item;

    if (d)
        dir->dir->place_disk = d->parent->dir->place_disk;
    if (kept_find(&set, XATTR_PLACE_KEPT, &item))
        dir->dir->place_disk = item.len == 4 && !memcmp(item.value, "disk", 4);
    if (d && xattr_inherit_peer(dir, d->parent))
        return -ENOMEM;
    return d ? restore_quota(fs, dir, &set) : 0;
}

static int set_own(struct l2fs *fs, struct inode *inode, const char *name,
                   const struct xattr_change *c)
{
    struct setting s = {.fs = fs, .inode = inode};
    char key[KEY_PATH_MAX + 2];
    int id = xattr_find(name);
    int err = xattr_text(c->value, c->size, s.text);

    lock(&fs->ns->lock);
    file_key(inode, key);
    if (!err && id >= 0)
        err = apply_locked(&s, id);
    unlock(&fs->ns->lock);
    if (id < 0) {
        log_unknown(key, name);
        return -EINVAL;
    }
    if (err)
        log_refusal(key, id, &s, err);
    else if (id == XATTR_PLACE)
        err = keep_place(fs, inode, s.text);
    else if (id == XATTR_QUOTA)
        err = keep_quota(fs, inode, s.text);
    else if (id == XATTR_PEER)
        err = xattr_set_peer(fs, inode, s.text);
    return err;
}

bool xattr_is_admins(const char *name)
{
    return !strcmp(name, xattr_defs[XATTR_QUOTA].name);
}

int vfs_setxattr(struct l2fs *fs, struct inode *inode, const char *name, const void *value,
                 size_t size, int flags)
{
    struct xattr_change c = {name, value ? value : "", size, flags};

    if (!xattr_is_user(name))
        return -EOPNOTSUPP;
    if (xattr_is_virtual(inode))
        return control_set(fs, inode, name, c.value, size);
    if (xattr_is_own(name))
        return set_own(fs, inode, name, &c);
    return xattr_is_kept(name) ? -EPERM : xattr_engine_change(fs, inode, &c);
}

/* What removing an attribute means as a value of it; NULL: it cannot be removed. */
static const char *removed_value(int id)
{
    switch (id) {
    case XATTR_PIN:
    case XATTR_QUOTA:
    case XATTR_EXPIRE: return "none";
    case XATTR_LAST_PREFILL: return "0";
    case XATTR_PLACE: return "l1";
    default: return NULL;
    }
}

static int remove_req_id(struct l2fs *fs, struct inode *inode)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (!inode->extra || !inode->extra->req_id)
        return -ENODATA;
    requests_leave_locked(fs, inode);
    free(inode->extra->req_id);
    inode->extra->req_id = NULL;
    return 0;
}

static int remove_own(struct l2fs *fs, struct inode *inode, const char *name)
{
    int id = xattr_find(name);
    const char *value = id >= 0 ? removed_value(id) : NULL;

    if (id < 0 || !xattr_fits(inode, id))
        return -ENODATA;
    if (id == XATTR_REQ_ID)
        return remove_req_id(fs, inode);
    if (id == XATTR_PEER)
        return xattr_set_peer(fs, inode, NULL);
    if (!value)
        return -EPERM;
    return vfs_setxattr(fs, inode, name, value, strlen(value), 0);
}

int vfs_removexattr(struct l2fs *fs, struct inode *inode, const char *name)
{
    struct xattr_change c = {.name = name};

    if (!xattr_is_user(name) || xattr_is_virtual(inode))
        return -ENODATA;
    if (xattr_is_own(name))
        return remove_own(fs, inode, name);
    return xattr_is_kept(name) ? -ENODATA : xattr_engine_change(fs, inode, &c);
}
