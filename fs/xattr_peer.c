/* xattr_peer.c - user.l2fs.peer: where tiers that send take a file, or what is made below a directory.
 *
 * Thread model: any thread, under ns->lock. It is kept among the attributes of engines under a name
 * that is not shown, so crash records and tiers have it.
 */
#include "config.h"

#include "requests.h"
#include "xattr_impl.h"
#include "xattr_kept.h"

bool xattr_peer(const struct inode *inode, struct kept_item *out)
{
    struct l2_xattrs set = xattr_set_of(inode);

    return kept_find(&set, XATTR_PEER_KEPT, out);
}

int xattr_inherit_peer(struct inode *inode, const struct inode *dir)
{
    struct l2_xattrs set = xattr_set_of(inode), changed;
    struct kept_item peer;
    struct extra *e;
    int err;

    if (!xattr_peer(dir, &peer) || kept_find(&set, XATTR_PEER_KEPT, &(struct kept_item){0}))
        return 0;
    err = kept_put(&set, &peer, 0, &changed);
    e = err ? NULL : inode_extra(inode);
    if (!e) {
        free(err ? NULL : changed.data);
        return err ? err : -ENOMEM;
    }
    free(e->xattrs);
    e->xattrs = changed.data;
    e->xattrs_len = changed.len;
    return 0;
}

static bool is_waiting(const struct inode *inode)
{
    const struct object *o = inode->object;

    return inode->resend || (o && o->want_gen && !object_clean_locked(inode));
}

static int set_of_file_locked(struct l2fs *fs, struct inode *inode, const struct xattr_change *c)
{
    struct kept_item before;
    bool there = xattr_peer(inode, &before);
    bool same =
        there && c->value && before.len == c->size && !memcmp(before.value, c->value, c->size);
    int err = same ? 0 : xattr_keep_locked(fs, inode, c);

    if (err || (same && is_waiting(inode)))
        return err;
    store_send_again_locked(fs, inode);
    return requests_join_locked(fs, inode);
}

int xattr_set_peer(struct l2fs *fs, struct inode *inode, const char *peer)
{
    struct xattr_change c = {XATTR_PEER_KEPT, peer, peer ? strlen(peer) : 0, 0};

    if (inode->dir)
        return xattr_engine_change(fs, inode, &c);
    LOCKED_SCOPE(&fs->ns->lock);
    return set_of_file_locked(fs, inode, &c);
}
