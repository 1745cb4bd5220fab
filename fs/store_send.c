/* store_send.c - what tiers that send need beyond storing: to be stopped, and to be asked again.
 *
 * A parcel is known to the adapters while its bit in `reading` is set, which belongs to the loop thread.
 * So a store is cancelled there, by a letter that is part of the parcel: it can only meet what it was
 * meant for.
 */
#include "config.h"

#include "store_impl.h"

/* --- cancelling what flies --- */

static void on_cancel(struct letter *letter)
{
    struct parcel *p = container_of(letter, struct parcel, cancel);
    struct l2fs *fs = p->fs;
    uint32_t reading;

    lock(&fs->ns->lock);
    p->cancelling = false;
    reading = p->dropped ? 0 : p->base.reading & fs->tiers.sending;
    if (p->dropped)
        free(p);
    unlock(&fs->ns->lock);
    tiers_each(i, reading) tier_cancel_store(fs->tiers.tier[i], p->key);
}

static void cancel_locked(struct parcel *p)
{
    if (p->cancelling)
        return;
    p->cancelling = true;
    p->cancel.run = on_cancel;
    list_init(&p->cancel.link);
    mailbox_post(p->fs->mailbox, &p->cancel);
}

void store_cancel_locked(struct l2fs *fs, const struct inode *inode, const char *key)
{
    const struct store_work *work = inode->object ? inode->object->store : NULL;
    struct list *l;

    if (!fs->tiers.sending || !inode->object || !inode->object->storing)
        return;
    if (work && work->flying && (!key || !strcmp(work->flying->key, key)))
        cancel_locked(work->flying);
    list_for_each(l, &fs->stores.late)
    {
        struct parcel *p = list_entry(l, struct parcel, late_link);

        if (p->inode == inode && (!key || !strcmp(p->key, key)))
            cancel_locked(p);
    }
}

/* --- again --- */

static bool in_l1(const struct inode *inode)
{
    return inode->state == STATE_RESIDENT || inode->state == STATE_WRITING;
}

void store_send_again_locked(struct l2fs *fs, struct inode *inode)
{
    struct object *o = inode->object;

    if (!fs->tiers.sending || inode->state == STATE_DISCARDED || inode->state == STATE_DISK)
        return;
    if (!in_l1(inode)) {
        inode->resend = true;
        warm_start_locked(fs, inode);
        return;
    }
    if (!o->want_gen) /* its publication is still to come */
        return;
    store_cancel_locked(fs, inode, NULL);
    o->want_gen++;
    o->rest.asked = true;
    store_queue_locked(fs, inode, false);
}

void store_loaded_locked(struct l2fs *fs, struct inode *inode)
{
    bool resend = inode->resend;

    inode->resend = false;
    if (resend)
        store_send_again_locked(fs, inode);
}
