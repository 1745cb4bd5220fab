/* rank.c - the ranks of a file in the orders of leaving; no locking of its own, see rank.h. */
#include "config.h"

#include "rank.h"

struct rank *rank_find(const struct inode *inode, size_t tier)
{
    struct rank *p = inode->ranks;

    while (p && p->tier != tier)
        p = p->next;
    return p;
}

struct rank *rank_create(struct inode *inode, size_t tier)
{
    struct rank *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    list_init(&p->node.link);
    p->inode = inode;
    p->tier = (uint8_t)tier;
    p->next = inode->ranks;
    inode->ranks = p;
    return p;
}

void rank_destroy(struct rank *p)
{
    struct rank **at = &p->inode->ranks;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->order)
        order_remove(p->order, &p->node);
    free(p);
}

void ranks_drop(struct inode *inode, uint32_t keep)
{
    struct rank *p = inode->ranks;

    while (p) {
        struct rank *next = p->next;

        if (!p->leaving && !(keep & (1u << p->tier)))
            rank_destroy(p);
        p = next;
    }
}

void ranks_move(struct inode *inode, struct order *orders)
{
    for (struct rank *p = inode->ranks; p; p = p->next) {
        struct order *to = &orders[p->tier];

        if (order_linked(&p->node) && p->order != to) {
            order_remove(p->order, &p->node);
            order_add(to, &p->node, p->node.hash, p->node.bytes);
        }
        p->order = to;
    }
}

void ranks_touch(struct inode *inode)
{
    for (struct rank *p = inode->ranks; p; p = p->next)
        order_touch(p->order, &p->node);
}
