/* wheel.h - things that are due at a time: putting one in or taking it out costs the same however
 * many there are. Level 0.
 *
 * A circle of lists, one for each tick; what is due later than one turn of it is passed over once
 * in a turn. Times are those of clock.h. No locking of its own; the nodes are the owner's, and
 * list_remove of a node's link takes it out.
 */
#ifndef L2FS_WHEEL_H
#define L2FS_WHEEL_H

#include "list.h"

#define WHEEL_SLOTS 4096

struct wheel_node {
    struct list link; /* list_init before the first use */
    uint64_t due;
};

struct wheel {
    uint64_t tick;
    uint64_t at; /* the next slot to be emptied, counted in ticks */
    struct list ripe;
    struct list slots[WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t tick, uint64_t now);
void wheel_fini(struct wheel *w); /* takes out what is left */
/* node must not be linked. */
void wheel_add(struct wheel *w, struct wheel_node *node, uint64_t due);
/* One that was due when the last whole tick ended, taken out; NULL: none. */
struct wheel_node *wheel_take(struct wheel *w, uint64_t now);
/* wheel_take finds nothing before; UINT64_MAX: it is empty. */
uint64_t wheel_next(const struct wheel *w);

#endif
