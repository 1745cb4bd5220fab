/* l1.h - which resident objects leave L1 next, and how much must. Level 1.
 *
 * A resident object is in the order of leaving, or set aside: it was its turn, but it may not leave
 * now. It comes back when it may (l1_back). So one that is open, pinned or not stored is looked at
 * once, however long it stays so, and picking costs the same at a million of them. Bytes in use are
 * the staging's to tell (staging_space). Guarded by the namespace lock.
 */
#ifndef L2FS_L1_H
#define L2FS_L1_H

#include "instance.h"
#include "object.h"

/* Why a resident object may not leave L1 now. */
enum obstacle {
    OBSTACLE_NONE,
    OBSTACLE_WRITING, /* written or loaded */
    OBSTACLE_OPEN,
    OBSTACLE_PINNED,
    OBSTACLE_UNSTORED,
    OBSTACLE_BUSY, /* somebody waits for it, or works on it at this moment */
    OBSTACLES
};
typedef enum obstacle l1_obstacle_fn(void *arg, const struct object *o);

struct l1 {
    uint64_t capacity;
    double watermark;
    double ratio;
    struct order order; /* of object.place */
    struct list aside;  /* of object.l1_link */
    size_t naside;
    struct list writing; /* of object.l1_link: first writers, not published yet */
    uint64_t promised;   /* expected bytes of first writers and loads under way */
};

void l1_init(struct l1 *l, const struct l2fs_config *cfg);
void l1_fini(struct l1 *l);
/* Settings of the running instance: 0, or -EINVAL (0.05 to 1; 0.01 to 1; enum evict_policy). */
int l1_set_watermark(struct l1 *l, double watermark);
int l1_set_ratio(struct l1 *l, double ratio);
int l1_set_policy(struct l1 *l, int policy);

void l1_add(struct l1 *l, struct object *o); /* resident from now on; idempotent */
void l1_add_writer(struct l1 *l, struct object *o);
void l1_remove(struct l1 *l, struct object *o); /* from wherever it is; idempotent */
void l1_touch(struct l1 *l, struct object *o); /* opened; the first time after a load is no reuse */
void l1_resize(struct l1 *l, struct object *o); /* inode.blocks moved */
static inline size_t l1_residents(const struct l1 *l)
{
    return l->order.count + l->naside;
}

/* The next to leave, removed. Who may not is set aside. NULL: none among the next `scan`. */
struct object *l1_pick(struct l1 *l, size_t scan, l1_obstacle_fn *fn, void *arg);
/* There is something to pick from. Each l1_pick brings the end of that nearer. */
static inline bool l1_has_order(const struct l1 *l)
{
    return order_round(&l->order) > 0;
}
/* It may leave again: what waited for its store leaves first, the rest was used meanwhile. Not set
 * aside: nothing. */
void l1_back(struct l1 *l, struct object *o);
/* Looks at up to `n` of those set aside, others each time; who may leave comes back. */
void l1_check_aside(struct l1 *l, size_t n, l1_obstacle_fn *fn, void *arg);

/* Bytes to free when `used` are in use and `wanted` more are asked for; 0 below the watermark. */
uint64_t l1_excess(const struct l1 *l, uint64_t used, uint64_t wanted);
/* A writer expected to need `expected` bytes may begin now. */
bool l1_admits(const struct l1 *l, uint64_t used, uint64_t expected);
void l1_promise(struct l1 *l, struct object *o, uint64_t bytes);
void l1_unpromise(struct l1 *l, struct object *o);

#endif
