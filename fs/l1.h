/* l1.h - which resident objects leave L1 next, and how much must. Level 1.
 *
 * A resident object is in the order of leaving, or set aside: it was its turn, but it may not leave
 * now. It comes back when it may (l1_back). So one that is open, pinned or not stored is looked at
 * once, however long it stays so, and picking costs the same at a million of them. There is an order
 * for each who shares L1 (tenant.h). Bytes in use are the staging's to tell (staging_space). Guarded
 * by the namespace lock.
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
    OBSTACLE_UNREAD, /* it landed, nobody opened it so far, and it is nowhere else */
    OBSTACLE_BUSY,   /* somebody waits for it, or works on it at this moment */
    OBSTACLES
};
typedef enum obstacle l1_obstacle_fn(void *arg, const struct object *o);

/* The residents of one who shares L1, and what part of it is due to them. */
struct l1_share {
    struct list link;   /* l1.shares */
    struct order order; /* of object.place */
    uint64_t due;       /* bytes, above 0; who holds most of what is due to it gives way first */
};

struct l1 {
    uint64_t capacity;
    double watermark;
    double ratio;
    int policy;         /* enum evict_policy, of every order */
    struct list shares; /* of l1_share.link */
    struct list aside;  /* of object.l1_link */
    size_t naside;
    struct list writing; /* of object.l1_link: first writers, not published yet */
    uint64_t promised;   /* expected bytes of first writers and loads under way */
};

void l1_init(struct l1 *l, const struct l2fs_config *cfg);
/* Settings of the running instance: 0, or -EINVAL (0.05 to 1; 0.01 to 1; enum evict_policy). */
int l1_set_watermark(struct l1 *l, double watermark);
int l1_set_ratio(struct l1 *l, double ratio);
int l1_set_policy(struct l1 *l, int policy);

void l1_share_init(struct l1 *l, struct l1_share *s, uint64_t due);
void l1_share_fini(struct l1_share *s); /* nothing is in it */

/* Resident from now on; idempotent. */
void l1_add(struct l1 *l, struct l1_share *s, struct object *o);
/* Where it is, or will come back to: another share. Never added: nothing. */
void l1_move(struct object *o, struct l1_share *s);
void l1_add_writer(struct l1 *l, struct object *o);
void l1_remove(struct l1 *l, struct object *o); /* from wherever it is; idempotent */
void l1_touch(struct l1 *l, struct object *o); /* opened; the first time after a load is no reuse */
void l1_resize(struct l1 *l, struct object *o); /* inode.blocks moved */
size_t l1_residents(const struct l1 *l);

/* Who gives way next: `first` (or NULL) while there is something to pick from it, else who holds
 * most of what is due to it. NULL: nothing can be picked. Each l1_pick brings that nearer. */
struct l1_share *l1_next_share(const struct l1 *l, struct l1_share *first);
/* The next to leave, removed. Who may not is set aside. NULL: none among the next L1_SCAN. */
#define L1_SCAN 32
struct object *l1_pick(struct l1 *l, struct l1_share *s, l1_obstacle_fn *fn, void *arg);
/* It may leave again: what waited for its store leaves first, the rest was used meanwhile. Not set
 * aside: nothing. */
void l1_back(struct l1 *l, struct object *o);
/* order_peek of every share, one after the other: who gives way now comes first. */
void l1_peek(const struct l1 *l, size_t max, order_may_go_fn *fn, void *arg);
/* Looks at up to `n` of those set aside, others each time; who may leave comes back. */
void l1_check_aside(struct l1 *l, size_t n, l1_obstacle_fn *fn, void *arg);

/* Bytes above what eviction leaves when `used` are in use and `wanted` more are asked for. */
uint64_t l1_above_target(const struct l1 *l, uint64_t used, uint64_t wanted);
/* The same, to free now: 0 below the watermark. */
uint64_t l1_excess(const struct l1 *l, uint64_t used, uint64_t wanted);
/* A writer expected to need `expected` bytes may begin now. */
bool l1_admits(const struct l1 *l, uint64_t used, uint64_t expected);
void l1_promise(struct l1 *l, struct object *o, uint64_t bytes);
void l1_unpromise(struct l1 *l, struct object *o);

#endif
