/* hotplug_sweep.c - the files that a tier has and no other tier: counted, stored elsewhere, or lost.
 *
 * Each function goes once through the whole tree under ns->lock: about 0.1 us per file, and only
 * when an adapter is added or removed.
 */
#include "config.h"

#include "evict_ctl.h"
#include "hotplug.h"

struct sweep {
    struct l2fs *fs;
    size_t slot;
    uint32_t bit;
    void (*visit)(struct sweep *s, struct inode *inode);
    struct census *census;
    size_t lost;
};

/* Files with several names are met several times. A visit may take names away. */
static void walk(struct sweep *s, struct inode *dir)
{
    for (uint32_t i = 0; i < dir->dir->nslots; i++) {
        struct dentry *d = dir->dir->slots[i];

        if (!d)
            continue;
        if (!d->inode->dir)
            s->visit(s, d->inode);
        else if (!d->inode->dir->reserved)
            walk(s, d->inode);
    }
}

static void sweep(struct l2fs *fs, size_t slot, void (*visit)(struct sweep *, struct inode *),
                  struct sweep *s)
{
    s->fs = fs;
    s->slot = slot;
    s->bit = 1u << slot;
    s->visit = visit;
    walk(s, fs->ns->root);
}

static bool only_there(const struct sweep *s, const struct inode *inode)
{
    return (inode->tiers & s->bit) && !(inode->tiers & s->fs->tiers.keeping & ~s->bit);
}

static bool in_l1(const struct inode *inode)
{
    return inode->state == STATE_RESIDENT || inode->state == STATE_WRITING;
}

static void count(struct sweep *s, struct inode *inode)
{
    struct census *c = s->census;

    if (!only_there(s, inode))
        return;
    if (inode->state == STATE_DISK) {
        c->disk++;
        c->disk_open += inode->object && inode->object->opens;
    } else if (in_l1(inode)) {
        c->resident++;
    } else {
        c->evicted++;
    }
}

void census_take_locked(struct l2fs *fs, size_t slot, struct census *out)
{
    struct sweep s = {.census = out};

    *out = (struct census){0};
    sweep(fs, slot, count, &s);
}

int census_judge(const struct census *c, const char *name, bool force, bool others,
                 struct text *why)
{
    size_t only = c->evicted + c->disk + (others ? 0 : c->resident);

    if (c->disk_open) {
        text_printf(why, "open files of state disk on %2$s: %1$zu; close them first", c->disk_open,
                    name);
        return -EBUSY;
    }
    if (!only || force)
        return 0;
    text_printf(why,
                "%zu %s on %s only; read them into memory while another adapter keeps "
                "them, remove them, or add the word force to lose them",
                only, only == 1 ? "key is" : "keys are", name);
    return -EBUSY;
}

static void restore(struct sweep *s, struct inode *inode)
{
    struct object *o = inode->object;

    if (!in_l1(inode) || !only_there(s, inode))
        return;
    for (struct dentry *d = inode->names; d; d = d->alias)
        d->gen = 0;
    if (inode->state == STATE_RESIDENT && !o->dirty && !o->writers)
        file_record_locked(s->fs, o, RECORD_PUBLISHED); /* it says now that it is not stored */
    store_queue_locked(s->fs, inode, true);             /* the removal waits */
}

void sweep_restore_locked(struct l2fs *fs, size_t slot)
{
    struct sweep s = {0};

    sweep(fs, slot, restore, &s);
}

static void lose_locked(struct l2fs *fs, struct inode *inode)
{
    char key[KEY_PATH_MAX + 2];

    while (inode->names) {
        bool last = !inode->names->alias;

        file_key(inode, key);
        events_add(fs, "gone", key, "\"why\":\"adapter removed\"");
        file_gone_locked(fs, inode->names); /* keeps the inode until it was told */
        file_unlink_locked(fs, inode->names, false);
        if (last)
            return;
    }
}

static void forget(struct sweep *s, struct inode *inode)
{
    bool only = only_there(s, inode);

    if (inode->object)
        store_forget_tier_locked(inode->object, s->slot);
    if (!(inode->tiers & s->bit))
        return;
    if (only && in_l1(inode))
        restore(s, inode);
    inode->tiers &= ~s->bit;
    evict_ctl_note_locked(s->fs, inode);
    if (!only || in_l1(inode))
        return;
    s->lost++;
    lose_locked(s->fs, inode);
}

size_t sweep_forget_locked(struct l2fs *fs, size_t slot)
{
    struct sweep s = {0};

    sweep(fs, slot, forget, &s);
    return s.lost;
}

static void store(struct sweep *s, struct inode *inode)
{
    store_queue_locked(s->fs, inode, false);
}

void sweep_store_locked(struct l2fs *fs)
{
    struct sweep s = {0};

    sweep(fs, 0, store, &s);
}
