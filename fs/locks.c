/* locks.c - counts of descriptors and pins; no locking of its own, see locks.h. */
#include "config.h"

#include "locks.h"

const char *pin_kind_name(enum pin_kind kind)
{
    static const char *const names[] = {
        [PIN_NONE] = "none", [PIN_SOFT] = "soft", [PIN_HARD] = "hard"};

    return names[kind];
}

void locks_init(struct locks *l, uint64_t pin_limit)
{
    memset(l, 0, sizeof(*l));
    l->pin_limit = pin_limit;
    list_init(&l->soft);
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
    l->pins[e->pin].files--;
    l->pins[e->pin].bytes -= e->pin_bytes;
    list_remove(&e->pin_link);
    e->pin = PIN_NONE;
    e->pin_until = e->pin_bytes = 0;
}

static void add_soft(struct locks *l, struct extra *e)
{
    struct list *after = l->soft.prev;

    while (after != &l->soft && list_entry(after, struct extra, pin_link)->pin_until > e->pin_until)
        after = after->prev;
    list_insert(after, &e->pin_link);
}

int locks_pin(struct locks *l, struct inode *inode, enum pin_kind kind, uint64_t until)
{
    uint64_t used = l->pins[PIN_SOFT].bytes + l->pins[PIN_HARD].bytes;
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
    if (e->pin == PIN_NONE && bytes && used + bytes > l->pin_limit)
        return -ENOSPC;
    give_back(l, e);
    e->pin = kind;
    e->pin_until = kind == PIN_SOFT ? until : 0;
    e->pin_bytes = bytes;
    l->pins[kind].files++;
    l->pins[kind].bytes += bytes;
    if (kind == PIN_SOFT)
        add_soft(l, e);
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
    l->pins[e->pin].bytes += held_by(inode) - e->pin_bytes;
    e->pin_bytes = held_by(inode);
}

void locks_expire(struct locks *l, uint64_t now)
{
    while (!list_empty(&l->soft)) {
        struct extra *e = list_entry(l->soft.next, struct extra, pin_link);

        if (e->pin_until > now)
            break;
        give_back(l, e);
    }
}
