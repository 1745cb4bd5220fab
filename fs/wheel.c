/* wheel.c - a circle of lists; no locking of its own, see wheel.h. */
#include "config.h"

#include "wheel.h"

void wheel_init(struct wheel *w, uint64_t tick, uint64_t now)
{
    w->tick = tick;
    w->at = now / tick;
    list_init(&w->ripe);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
}

static void empty(struct list *l)
{
    while (list_pop_front(l))
        continue;
}

void wheel_fini(struct wheel *w)
{
    empty(&w->ripe);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        empty(&w->slots[i]);
}

static struct list *slot(struct wheel *w, uint64_t number)
{
    return &w->slots[number % WHEEL_SLOTS];
}

void wheel_add(struct wheel *w, struct wheel_node *node, uint64_t due)
{
    node->due = due;
    list_push_back(slot(w, MAX(due / w->tick, w->at)), &node->link);
}

/* The next whole tick is over: false, it is not. */
static bool turn(struct wheel *w, uint64_t now)
{
    uint64_t present = now / w->tick;

    if (w->at >= present)
        return false;
    if (present - w->at > WHEEL_SLOTS) /* every slot once is enough */
        w->at = present - WHEEL_SLOTS;
    list_splice(&w->ripe, slot(w, w->at));
    w->at++;
    return true;
}

struct wheel_node *wheel_take(struct wheel *w, uint64_t now)
{
    do {
        struct list *l;

        while ((l = list_pop_front(&w->ripe))) {
            struct wheel_node *node = list_entry(l, struct wheel_node, link);

            if (node->due <= now)
                return node;
            wheel_add(w, node, node->due); /* in a later turn */
        }
    } while (turn(w, now));
    return NULL;
}

uint64_t wheel_next(const struct wheel *w)
{
    if (!list_empty(&w->ripe))
        return w->at * w->tick;
    for (uint64_t i = 0; i < WHEEL_SLOTS; i++)
        if (!list_empty(&w->slots[(w->at + i) % WHEEL_SLOTS]))
            return (w->at + i + 1) * w->tick;
    return UINT64_MAX;
}
