/* remove.c - see remove.h. The tree changes under ns->lock, where the turn to change L2 is taken; the
 * tiers are called after it is released.
 */
#include "config.h"

#include "remove.h"

#include "core.h"

/* False: it was the last name, or the file is in use again. */
static bool remove_name(struct l2fs *fs, struct inode *inode,
                        bool (*idle)(const struct inode *inode),
                        void (*tell)(struct l2fs *fs, const char *key))
{
    char key[KEY_PATH_MAX + 2];
    struct turn turn = {0};
    bool more;

    lock(&fs->ns->lock);
    gate_shut_locked(fs, inode);
    if (inode->names && idle(inode) && ns_path(inode->names, key) > 0) {
        turn_enter_locked(fs, &turn, key, NULL);
        tell(fs, key);
        file_gone_locked(fs, inode->names);
        file_unlink_locked(fs, inode->names, false);
    }
    more = inode->names != NULL;
    unlock(&fs->ns->lock);
    if (!turn.used)
        return false;
    if (!turn_wait(fs, &turn))
        tiers_remove(&fs->tiers, key); /* has logged what went wrong */
    turn_leave(fs, &turn);
    return more;
}

void file_remove(struct l2fs *fs, struct inode *inode, bool (*idle)(const struct inode *inode),
                 void (*tell)(struct l2fs *fs, const char *key))
{
    while (remove_name(fs, inode, idle, tell))
        continue;
}
