/* gate.c - see gate.h. Each stripe keeps its touched objects by time, and gate_sync_locked merges them:
 * the orders of leaving come out as if every open had held ns->lock.
 */
#include "config.h"

#include <fcntl.h>

#include "clock.h"
#include "core.h"
#include "rank.h"

#define TOUCHED_MAX 256          /* in a stripe: bounds what one sync does under ns->lock */
#define AHEAD_MAX 64             /* uses, the latest, that tell where readers are by now */
#define REST (60 * NSEC_PER_SEC) /* without an open; then the kernel is told of the new atime */

void gates_init(struct gates *g)
{
    for (size_t i = 0; i < OPEN_STRIPES; i++) {
        lock_init(&g->stripes[i].lock);
        list_init(&g->stripes[i].touched);
    }
    list_init(&g->ahead);
}

static unsigned stripe_number(const struct inode *inode)
{
    uintptr_t n = (uintptr_t)inode;

    return (unsigned)((n >> 6 ^ n >> 12) % OPEN_STRIPES);
}

static struct open_stripe *stripe_of(struct l2fs *fs, const struct inode *inode)
{
    return &fs->gates.stripes[stripe_number(inode)];
}

/* Before the lock of the stripe is released, so that who takes the bit finds what it is for. */
static void tell(struct l2fs *fs, const struct inode *inode)
{
    uint64_t bit = UINT64_C(1) << stripe_number(inode);

    if (!(atomic_load(&fs->gates.news) & bit))
        atomic_fetch_or(&fs->gates.news, bit);
}

static void touch(struct open_stripe *s, struct touches *t, uint64_t now)
{
    s->ntouched += !t->n;
    list_remove(&t->link);
    list_push_back(&s->touched, &t->link);
    t->at = now;
    t->n++;
}

bool gate_enter(struct l2fs *fs, struct handle *h)
{
    struct open_stripe *s = stripe_of(fs, h->inode);
    struct object *o;
    uint64_t now;

    if (h->write || (h->flags & (O_TRUNC | O_NOATIME)))
        return false;
    LOCKED_SCOPE(&s->lock);
    if (!h->inode->gate || s->ntouched >= TOUCHED_MAX)
        return false;
    o = h->inode->object;
    now = clock_now();
    if (now - o->touches.at > REST)
        return false;
    touch(s, &o->touches, now);
    list_push_back(&o->handles, &h->link);
    o->opens++;
    h->staging_id = o->staging_id;
    s->opened++;
    tell(fs, h->inode);
    return true;
}

bool gate_leave(struct l2fs *fs, struct handle *h)
{
    struct open_stripe *s = stripe_of(fs, h->inode);

    if (h->write || h->mode != HANDLE_BACKED)
        return false;
    LOCKED_SCOPE(&s->lock);
    if (!h->inode->gate)
        return false;
    list_remove(&h->link);
    h->inode->object->opens--;
    s->closed++;
    tell(fs, h->inode);
    return true;
}

static bool is_plain_locked(const struct l2fs *fs, const struct inode *inode)
{
    const struct object *o = inode->object;

    return inode->state == STATE_RESIDENT && inode->names && !inode->landing && !o->writers &&
           !o->unread && !o->aside && !o->rest.leaving && !fs->gates.watchers;
}

void gate_open_locked(struct l2fs *fs, struct inode *inode)
{
    struct open_stripe *s = stripe_of(fs, inode);

    if (inode->gate || !is_plain_locked(fs, inode))
        return;
    LOCKED_SCOPE(&s->lock);
    inode->object->touches.at = clock_now();
    inode->gate = true;
}

void gate_shut_locked(struct l2fs *fs, struct inode *inode)
{
    struct open_stripe *s = stripe_of(fs, inode);

    if (!inode->gate)
        return;
    LOCKED_SCOPE(&s->lock);
    inode->gate = false;
}

bool gate_touched_locked(const struct object *o)
{
    return o->touches.n;
}

/* --- catching up --- */

/* A use that comes from now on is for the next time. */
static void take(struct l2fs *fs, struct open_stripe *s, struct list *due)
{
    struct list *l;

    LOCKED_SCOPE(&s->lock);
    while ((l = list_pop_front(&s->touched))) {
        struct touches *t = list_entry(l, struct touches, link);

        t->due_at = t->at;
        t->due_n = t->n;
        t->n = 0;
        list_remove(&t->due); /* read-ahead did not hear of the use before */
        list_push_back(due, &t->due);
    }
    fs->locks.n.readers += s->opened - s->closed;
    metric_add(fs->m.opens, (int64_t)s->opened);
    s->ntouched = s->opened = s->closed = 0;
}

static struct touches *first_of(const struct list *due)
{
    return list_entry(due->next, struct touches, due);
}

static void merge(struct list *into, struct list *other)
{
    struct list all;

    list_init(&all);
    while (!list_empty(into) && !list_empty(other)) {
        struct list *from = first_of(other)->due_at < first_of(into)->due_at ? other : into;

        list_push_back(&all, list_pop_front(from));
    }
    list_splice(&all, into);
    list_splice(&all, other);
    list_splice(into, &all);
}

/* Those of `n` stripes (a power of two) in the order of time. */
static void gather(struct l2fs *fs, uint64_t news, unsigned first, unsigned n, struct list *due)
{
    struct list other;

    if (!(news >> first & (UINT64_MAX >> (64 - n))))
        return;
    if (n == 1) {
        take(fs, &fs->gates.stripes[first], due);
        return;
    }
    list_init(&other);
    gather(fs, news, first, n / 2, due);
    gather(fs, news, first + n / 2, n / 2, &other);
    merge(due, &other);
}

/* From clock_now() to a file's time. */
static int64_t wall_offset(void)
{
    return file_time_now() - (int64_t)clock_now();
}

static void catch_up_locked(struct l2fs *fs, const struct touches *t, int64_t offset)
{
    struct object *o = container_of(t, struct object, touches);

    for (unsigned i = 0; i < MIN(t->due_n, (unsigned)ORDER_USES_MAX); i++) {
        l1_touch(&fs->l1, o);
        ranks_touch(o->inode);
    }
    store_touch_locked(fs, o);
    o->inode->atime = (int64_t)t->due_at + offset;
}

void gate_sync_locked(struct l2fs *fs)
{
    struct list due, *l;
    int64_t offset;

    if (!atomic_load(&fs->gates.news))
        return;
    offset = wall_offset();
    list_init(&due);
    gather(fs, atomic_exchange(&fs->gates.news, 0), 0, OPEN_STRIPES, &due);
    list_for_each(l, &due) catch_up_locked(fs, list_entry(l, struct touches, due), offset);
    list_splice(&fs->gates.ahead, &due);
}

void gate_ahead_locked(struct l2fs *fs)
{
    struct list *l, *first = &fs->gates.ahead;
    bool wanted = false;

    gate_sync_locked(fs);
    for (int n = 0; n < AHEAD_MAX && first->prev != &fs->gates.ahead; n++)
        first = first->prev;
    while ((l = list_pop_front(&fs->gates.ahead))) {
        wanted |= l == first;
        if (wanted && !fs->stopping)
            readahead_locked(fs, list_entry(l, struct object, touches.due)->inode);
    }
}

void gate_tick(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    gate_ahead_locked(fs);
}

void gate_atime_locked(struct l2fs *fs, struct inode *inode)
{
    struct open_stripe *s = stripe_of(fs, inode);

    if (!inode->object || !atomic_load(&fs->gates.news))
        return;
    LOCKED_SCOPE(&s->lock);
    if (inode->object->touches.n)
        inode->atime = (int64_t)inode->object->touches.at + wall_offset();
}
