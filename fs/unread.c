/* unread.c - see unread.h. Everything runs under ns->lock. */
#include "config.h"

#include "unread.h"

#include "clock.h"
#include "core.h"
#include "expire.h"

int unread_begin_locked(struct l2fs *fs, struct inode *inode, uint64_t ttl, bool goes)
{
    uint64_t until = ttl ? clock_deadline(ttl) : UINT64_MAX;
    struct landing *l = inode->landing;
    int err = 0;

    gate_shut_locked(fs, inode);
    if (l && l->due.due >= until)
        return 0;
    if (!l) {
        l = calloc(1, sizeof(*l));
        if (!l)
            return -ENOMEM;
        list_init(&l->due.link);
        l->inode = inode;
        l->bytes = inode->size;
        l->goes = goes;
        inode->landing = l;
        fs->arrive.unread++;
        fs->arrive.unread_bytes += l->bytes;
    }
    list_remove(&l->due.link);
    l->due.due = until;
    if (ttl)
        err = expire_unread_locked(fs, l, until);
    if (err)
        unread_end_locked(fs, inode);
    return err;
}

void unread_end_locked(struct l2fs *fs, struct inode *inode)
{
    struct landing *l = inode->landing;

    if (!l)
        return;
    fs->arrive.unread--;
    fs->arrive.unread_bytes -= l->bytes;
    list_remove(&l->due.link);
    free(l);
    inode->landing = NULL;
}
