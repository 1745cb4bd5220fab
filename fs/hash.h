/* hash.h - intrusive chained hash table and a byte hash. Level 0.
 *
 * No locking: the owner says which lock guards the table. The table grows by doubling; it never
 * owns the nodes.
 */
#ifndef L2FS_HASH_H
#define L2FS_HASH_H

#include "base.h"

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash {
    struct hash_node **buckets;
    size_t nbuckets; /* power of two */
    size_t count;
};

/* 64-bit hash of `len` bytes, mixed with `seed`. Not cryptographic. */
uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);

int hash_init(struct hash *h);  /* 0 or -ENOMEM */
void hash_fini(struct hash *h); /* frees the buckets, not the nodes */

/* Inserts under `value`; equal values may repeat. A failed growth keeps the smaller table, so
 * insertion itself cannot fail. */
void hash_insert(struct hash *h, struct hash_node *node, uint64_t value);
void hash_remove(struct hash *h, struct hash_node *node); /* must be in the table */

/* Candidates whose full 64-bit value equals `value`; the caller compares the real key:
 *   for (n = hash_first(h, v); n; n = hash_next(n)) ... */
struct hash_node *hash_first(const struct hash *h, uint64_t value);
struct hash_node *hash_next(const struct hash_node *node);

/* Calls fn for every node; fn may remove and free the node it is given, nothing else. */
void hash_each(struct hash *h, void (*fn)(struct hash_node *node, void *arg), void *arg);

#endif
