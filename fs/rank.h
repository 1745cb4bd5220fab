/* rank.h - where a file stands in the order of leaving of each tier that evicts. Level 1.
 *
 * One small node per file and tier that evicts, so that the cost of a decision does not depend on
 * how many files there are. Guarded by the namespace lock; freed with the inode at the latest.
 */
#ifndef L2FS_RANK_H
#define L2FS_RANK_H

#include "object.h"
#include "order.h"

struct rank {
    struct order_node node;
    struct order *order; /* of its tenant and tier */
    struct inode *inode;
    struct rank *next; /* in inode.ranks */
    uint8_t tier;
    bool leaving; /* picked: its removal from the tier is under way, it is in no order */
};

struct rank *rank_find(const struct inode *inode, size_t tier);
/* In no order yet. NULL on no memory. */
struct rank *rank_create(struct inode *inode, size_t tier);
void rank_destroy(struct rank *p);
/* Drops those of tiers that are not in `keep`, but for those that are leaving. */
void ranks_drop(struct inode *inode, uint32_t keep);
/* The file is another tenant's now: orders[tier] is where each of its ranks belongs. */
void ranks_move(struct inode *inode, struct order *orders);
void ranks_touch(struct inode *inode); /* the file is used now */

#endif
