/* l1.h - which resident objects leave L1 next, and how much must. Level 1.
 *
 * Guarded by the namespace lock. Bytes in use are the staging's to tell (staging_space); this
 * keeps the order of leaving and the arithmetic of the watermark and of admission.
 */
#ifndef L2FS_L1_H
#define L2FS_L1_H

#include "instance.h"
#include "object.h"

struct l1 {
    uint64_t capacity;
    double watermark;
    double ratio;
    int policy;        /* enum evict_policy */
    struct list order; /* of object.lru, first leaves first */
    size_t residents;
    struct list writing; /* of object.lru: first writers, not published yet */
    uint64_t promised;   /* expected bytes of first writers and loads under way */
};

void l1_init(struct l1 *l, const struct l2fs_config *cfg);
void l1_add(struct l1 *l, struct object *o);
void l1_remove(struct l1 *l, struct object *o); /* idempotent */
void l1_touch(struct l1 *l, struct object *o);  /* was used now */

/* Bytes to free when `used` are in use and `wanted` more are asked for; 0 below the watermark. */
uint64_t l1_excess(const struct l1 *l, uint64_t used, uint64_t wanted);
/* A writer expected to need `expected` bytes may begin now. */
bool l1_admits(const struct l1 *l, uint64_t used, uint64_t expected);
void l1_promise(struct l1 *l, struct object *o, uint64_t bytes);
void l1_unpromise(struct l1 *l, struct object *o);

#endif
