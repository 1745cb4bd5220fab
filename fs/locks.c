/* locks.c - counts of descriptors and pins; no locking of its own, see locks.h. */
#include "config.h"

#include "locks.h"

const char *pin_kind_name(enum pin_kind kind)
{
    static const char *const names[] = {
        [PIN_NONE] = "none", [PIN_SOFT] = "soft", [PIN_HARD] = "hard"};

    return names[kind];
}

void locks_init(struct locks *l, uint64_t pin_limit, uint64_t tick, uint64_t now)
{
    l->n = (struct lock_counts){.pin_limit = pin_limit};
    wheel_init(&l->soft, tick, now);
}

/* A file of the disk tier is pinned against removal, and holds nothing in L1. */
static uint64_t held_by(const struct inode *inode)
{
    return inode->state == STATE_DISK || inode->dir ? 0 : inode->size;
}

static void give_back(struct locks *l, struct extra *e)
{
    if (e->pin == PIN_NONE)
        return;
    l->n.pins[e->pin].files--;
    l->n.pins[e->pin].bytes -= e->pin_bytes;
    list_remove(&e->pin_end.link);
    e->pin = PIN_NONE;
    e->pin_until = e->pin_bytes = 0;
}

int locks_pin(struct locks *l, struct inode *inode, enum pin_kind kind, uint64_t until)
{
    uint64_t used = l->n.pins[PIN_SOFT].bytes + l->n.pins[PIN_HARD].bytes;
    uint64_t bytes = held_by(inode);
    struct extra *e = inode->extra;

    if (kind == PIN_NONE) {
        if (e)
            give_back(l, e);
        return 0;
    }
    e = inode_extra(inode);
    if (!e)
        return -ENOMEM;
    if (e->pin == PIN_NONE && bytes && used + bytes > l->n.pin_limit)
        return -ENOSPC;
    give_back(l, e);
    e->pin = kind;
    e->pin_until = kind == PIN_SOFT ? until : 0;
    e->pin_bytes = bytes;
    l->n.pins[kind].files++;
    l->n.pins[kind].bytes += bytes;
    if (kind == PIN_SOFT)
        wheel_add(&l->soft, &e->pin_end, until);
    return 0;
}

void locks_note(struct locks *l, struct inode *inode)
{
    struct extra *e = inode->extra;

    if (!e || e->pin == PIN_NONE)
        return;
    if (inode->state == STATE_DISCARDED) {
        give_back(l, e);
        return;
    }
    l->n.pins[e->pin].bytes += held_by(inode) - e->pin_bytes;
    e->pin_bytes = held_by(inode);
}

void locks_expire(struct locks *l, uint64_t now)
{
    struct wheel_node *ended;

    while ((ended = wheel_take(&l->soft, now)))
        give_back(l, container_of(ended, struct extra, pin_end));
}
