/* xattr_unlock.c - user.l2fs.unlock: root drops the locks of a key that nobody gives back.
 *
 * Thread model: any thread. The names are copied and the pin goes under ns->lock; the tiers are
 * asked without it. Open descriptors are locks of their own kind: they are told of, not revoked.
 */
#include "config.h"

#include "log.h"
#include "xattr.h"
#include "xattr_impl.h"

static int check(const struct inode *inode, const struct xattr_change *c, const struct caller *who,
                 const char *key)
{
    char text[XATTR_TEXT_MAX + 1] = "";
    bool forced = !xattr_text(c->value, c->size, text) && !strcmp(text, "force");

    if (who->uid) {
        log_warn("%s: user.l2fs.unlock is for root, not for uid %u", key, (unsigned)who->uid);
        return -EPERM;
    }
    if (inode->dir || !forced) {
        log_warn("%s: user.l2fs.unlock cannot be \"%s\"; allowed: force, on a file", key, text);
        return -EINVAL;
    }
    return 0;
}

/* What there was of locks that only we know, for the log line. */
struct found {
    bool pinned;
    unsigned opens;
};

/* Every name, NUL-terminated, one after the other; the pin is gone then. */
static void take_locked(struct l2fs *fs, struct inode *inode, struct text *keys, struct found *out)
{
    char key[KEY_PATH_MAX + 2];

    for (const struct dentry *d = inode->names; d; d = d->alias)
        if (ns_path(d, key) > 0)
            text_append(keys, key, strlen(key) + 1);
    gate_shut_locked(fs, inode);
    out->opens = inode->object ? inode->object->opens : 0;
    out->pinned = inode->extra && inode->extra->pin != PIN_NONE;
    if (!out->pinned)
        return;
    locks_pin(&fs->locks, inode, PIN_NONE, 0);
    evict_post_locked(fs);
}

static size_t unlock_in_tiers(struct l2fs *fs, const struct text *keys)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);
    size_t n = 0;

    for (const char *key = keys->data; key && key < keys->data + keys->len; key += strlen(key) + 1)
        tiers_each(i, held.mask) n += tier_force_unlock(fs->tiers.tier[i], key);
    return n;
}

int vfs_unlock(struct l2fs *fs, struct inode *inode, const struct xattr_change *c,
               const struct caller *who)
{
    struct text keys = {0};
    char key[KEY_PATH_MAX + 2];
    struct found found = {0};
    size_t locks;
    int err;

    if (xattr_is_virtual(inode))
        return -EPERM;
    lock(&fs->ns->lock);
    file_key(inode, key);
    err = check(inode, c, who, key);
    if (!err)
        take_locked(fs, inode, &keys, &found);
    unlock(&fs->ns->lock);
    if (err)
        return err;
    locks = unlock_in_tiers(fs, &keys);
    log_warn("%s: unlocked by force (uid %u, thread %d): %zu locks in tiers, %s", key,
             (unsigned)who->uid, (int)who->pid, locks, found.pinned ? "pinned" : "not pinned");
    if (found.opens)
        log_warn("%s: %u descriptors are still open; they are locks too, and end when they are "
                 "closed",
                 key, found.opens);
    events_add(fs, "unlocked", key, NULL);
    text_fini(&keys);
    return 0;
}
