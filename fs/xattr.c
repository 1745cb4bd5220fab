/* xattr.c - reading and listing extended attributes.
 *
 * Thread model: any thread; a value is made under ns->lock from what the core knows, and copied out
 * without it. Nothing here waits. Names outside user.* are answered before any lock is taken: the
 * kernel asks for security.capability before every write.
 */
#include "config.h"

#include "xattr.h"

#include <inttypes.h>

#include "clock.h"
#include "tenant.h"
#include "units.h"
#include "xattr_control.h"
#include "xattr_impl.h"
#include "xattr_kept.h"

static bool in_l1(const struct inode *inode)
{
    return inode->state == STATE_RESIDENT;
}

static uint32_t tiers_storing(const struct l2fs *fs, const struct inode *inode)
{
    const struct object *o = inode->object;

    if (!o)
        return 0;
    return o->storing | (o->store ? fs->tiers.active & ~inode->tiers : 0);
}

/* --- values; each returns 0 or -ENODATA --- */

static int put_state(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    text_puts(t, state_name(inode->state));
    return 0;
}

static uint64_t pin_left(const struct inode *inode)
{
    const struct extra *e = inode->extra;
    uint64_t now = clock_now();

    return e && e->pin == PIN_SOFT && e->pin_until > now ? e->pin_until - now : 0;
}

/* Made without ns->lock: xattr_lock.c. Here it is only said to be there. */
static int put_lock(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    return 0;
}

static int put_tiers(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    if (in_l1(inode))
        text_puts(t, "l1");
    tiers_each(i, inode->tiers)
        text_printf(t, "%s%s", t->len ? "," : "", tiers_name(&fs->tiers, i));
    return 0;
}

static int put_store(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    uint32_t stored = inode->tiers, storing = tiers_storing(fs, inode);
    uint32_t failed = inode->object ? inode->object->failed : 0;
    uint32_t sent = object_clean_locked(inode) ? inode->object->sent : 0;

    tiers_each(i, fs->tiers.present)
    {
        uint32_t bit = 1u << i;
        const char *how = stored & bit    ? "stored"
                          : failed & bit  ? "failed"
                          : storing & bit ? "storing"
                          : sent & bit    ? "sent"
                                          : NULL;

        if (how)
            text_printf(t, "%s%s=%s", t->len ? "," : "", tiers_name(&fs->tiers, i), how);
    }
    return 0;
}

static int put_crc32c(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    if (!inode->has_crc)
        return -ENODATA;
    text_printf(t, "%08x", inode->crc32c);
    return 0;
}

static int put_error(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    int error = inode->extra ? -inode->extra->error : 0;
    const char *name = error > 0 ? strerrorname_np(error) : NULL;

    if (error <= 0)
        return -ENODATA;
    text_printf(t, "%s (%s)", name ? name : "error", strerrordesc_np(error));
    return 0;
}

static int put_peer(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    struct kept_item peer;

    if (!xattr_peer(inode, &peer))
        return -ENODATA;
    text_append(t, peer.value, peer.len);
    return 0;
}

static int put_pin(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    uint64_t left = pin_left(inode);
    char buf[32];

    text_puts(t, pin_kind_name(inode_pinned(inode, clock_now()) ? inode->extra->pin : PIN_NONE));
    if (left)
        text_printf(t, "=%s", units_format_duration(left, buf, sizeof(buf)));
    return 0;
}

static int put_expire(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    uint64_t at = inode->extra ? inode->extra->expire_at : 0, now = clock_now();
    char buf[32];

    if (at)
        text_puts(t, units_format_duration(at > now ? at - now : 0, buf, sizeof(buf)));
    else
        text_puts(t, "none");
    return 0;
}

static int put_req_id(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    if (!inode->extra || !inode->extra->req_id)
        return -ENODATA;
    text_puts(t, inode->extra->req_id);
    return 0;
}

static int put_last_prefill(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    text_puts(t, inode->extra && inode->extra->last_prefill ? "1" : "0");
    return 0;
}

static int put_place(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    text_puts(t, inode->dir->place_disk ? "disk" : "l1");
    return 0;
}

/* As short as it can be read back. */
static int put_quota(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    uint64_t quota = tenant_quota_locked(inode), back;
    char buf[32];

    units_format_size(quota, buf, sizeof(buf));
    if (!quota)
        text_puts(t, "none");
    else if (!units_parse_size(buf, 0, &back) && back == quota)
        text_puts(t, buf);
    else
        text_printf(t, "%" PRIu64, quota);
    return 0;
}

typedef int put_fn(const struct l2fs *fs, const struct inode *inode, struct text *t);

static put_fn *const put[XATTR_IDS] = {
    [XATTR_STATE] = put_state,   [XATTR_LOCK] = put_lock,
    [XATTR_TIERS] = put_tiers,   [XATTR_STORE] = put_store,
    [XATTR_CRC32C] = put_crc32c, [XATTR_ERROR] = put_error,
    [XATTR_PEER] = put_peer,     [XATTR_PIN] = put_pin,
    [XATTR_EXPIRE] = put_expire, [XATTR_REQ_ID] = put_req_id,
    [XATTR_PLACE] = put_place,   [XATTR_LAST_PREFILL] = put_last_prefill,
    [XATTR_QUOTA] = put_quota,
};

static int put_own_locked(const struct l2fs *fs, const struct inode *inode, int id, struct text *t)
{
    if (id < 0 || !put[id] || !xattr_fits(inode, id))
        return -ENODATA;
    return put[id](fs, inode, t);
}

static int put_kept_locked(const struct inode *inode, const char *name, struct text *t)
{
    struct l2_xattrs set = xattr_set_of(inode);
    struct kept_item item;

    if (!kept_find(&set, name, &item))
        return -ENODATA;
    text_append(t, item.value, item.len);
    return 0;
}

/* --- listing --- */

/* These have a value all the time, but say something only when it was set. */
static bool is_worth_listing(const struct inode *inode, int id)
{
    const struct extra *e = inode->extra;

    if (id == XATTR_EXPIRE)
        return e && e->expire_at;
    if (id == XATTR_LAST_PREFILL)
        return e && e->last_prefill;
    if (id == XATTR_QUOTA)
        return inode->dir && tenant_quota_locked(inode);
    return true;
}

static void list_locked(const struct l2fs *fs, const struct inode *inode, struct text *t)
{
    struct l2_xattrs set = xattr_set_of(inode);
    struct kept_item item;

    for (int id = 0; id < XATTR_IDS; id++) {
        struct text value = {0};

        if (is_worth_listing(inode, id) && !put_own_locked(fs, inode, id, &value))
            text_append(t, xattr_defs[id].name, strlen(xattr_defs[id].name) + 1);
        text_fini(&value);
    }
    for (size_t pos = 0; kept_next(&set, &pos, &item);)
        if (!xattr_is_kept(item.name))
            text_append(t, item.name, strlen(item.name) + 1);
}

/* --- the calls --- */

/* The answer as getxattr(2) gives it; releases `t`. */
static ssize_t answer(struct text *t, int err, void *buf, size_t size)
{
    ssize_t len = (ssize_t)t->len;

    if (!err && t->failed)
        err = -ENOMEM;
    if (!err && size && t->len > size)
        err = -ERANGE;
    if (!err && size && t->len)
        memcpy(buf, t->data, t->len);
    text_fini(t);
    return err ? err : len;
}

ssize_t vfs_getxattr(struct l2fs *fs, struct inode *inode, const char *name, void *buf, size_t size)
{
    struct text t = {0};
    int err;

    if (!xattr_is_user(name))
        return -ENODATA;
    if (xattr_is_virtual(inode))
        return answer(&t, control_get(fs, inode, name, &t), buf, size);
    if (!inode->dir && !strcmp(name, xattr_defs[XATTR_LOCK].name))
        return answer(&t, lock_print(fs, inode, &t), buf, size);
    lock(&fs->ns->lock);
    if (xattr_is_own(name))
        err = put_own_locked(fs, inode, xattr_find(name), &t);
    else
        err = xattr_is_kept(name) ? -ENODATA : put_kept_locked(inode, name, &t);
    unlock(&fs->ns->lock);
    return answer(&t, err, buf, size);
}

ssize_t vfs_listxattr(struct l2fs *fs, struct inode *inode, char *buf, size_t size)
{
    struct text t = {0};

    if (xattr_is_virtual(inode)) {
        control_list(fs, inode, &t);
        return answer(&t, 0, buf, size);
    }
    lock(&fs->ns->lock);
    list_locked(fs, inode, &t);
    unlock(&fs->ns->lock);
    return answer(&t, 0, buf, size);
}
