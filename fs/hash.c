/* hash.c - chained buckets that double, and a byte hash.
 *
 * Thread model: none; the owner's lock guards a table. A bucket is picked by the high bits of
 * value * golden ratio, so that weak values (inode numbers, pointers) spread as well. Doubling
 * happens when there are more nodes than buckets; when it cannot have the memory the table stays
 * as it is and only gets slower.
 */
#include "hash.h"

#include <assert.h>

#define MIN_BUCKETS 16
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)
#define MIX_A UINT64_C(0xbf58476d1ce4e5b9)
#define MIX_B UINT64_C(0x94d049bb133111eb)

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * MIX_A;
    x = (x ^ (x >> 27)) * MIX_B;
    return x ^ (x >> 31);
}

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t h = mix(seed + GOLDEN) ^ (len * GOLDEN);
    uint64_t word;

    for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
        memcpy(&word, p, sizeof word);
        h = mix(h ^ word) + GOLDEN;
    }
    word = 0;
    if (len)
        memcpy(&word, p, len);
    return mix(h ^ word);
}

static size_t slot(size_t nbuckets, uint64_t value)
{
    return (size_t)((value * GOLDEN) >> (__builtin_clzll(nbuckets) + 1));
}

int hash_init(struct hash *h)
{
    h->buckets = calloc(MIN_BUCKETS, sizeof *h->buckets);
    if (!h->buckets)
        return -ENOMEM;
    h->nbuckets = MIN_BUCKETS;
    h->count = 0;
    return 0;
}

void hash_fini(struct hash *h)
{
    free(h->buckets);
    memset(h, 0, sizeof *h);
}

static void push(struct hash_node **bucket, struct hash_node *node)
{
    node->next = *bucket;
    *bucket = node;
}

static void grow(struct hash *h)
{
    size_t n = h->nbuckets * 2;
    struct hash_node **buckets = calloc(n, sizeof *buckets);

    if (!buckets)
        return;
    for (size_t i = 0; i < h->nbuckets; i++) {
        struct hash_node *node = h->buckets[i];

        while (node) {
            struct hash_node *next = node->next;

            push(&buckets[slot(n, node->hash)], node);
            node = next;
        }
    }
    free(h->buckets);
    h->buckets = buckets;
    h->nbuckets = n;
}

void hash_insert(struct hash *h, struct hash_node *node, uint64_t value)
{
    if (h->count >= h->nbuckets)
        grow(h);
    node->hash = value;
    push(&h->buckets[slot(h->nbuckets, value)], node);
    h->count++;
}

void hash_remove(struct hash *h, struct hash_node *node)
{
    struct hash_node **link = &h->buckets[slot(h->nbuckets, node->hash)];

    while (*link != node) {
        assert(*link);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    h->count--;
}

static struct hash_node *skip_to(struct hash_node *node, uint64_t value)
{
    while (node && node->hash != value)
        node = node->next;
    return node;
}

struct hash_node *hash_first(const struct hash *h, uint64_t value)
{
    return skip_to(h->buckets[slot(h->nbuckets, value)], value);
}

struct hash_node *hash_next(const struct hash_node *node)
{
    return skip_to(node->next, node->hash);
}

void hash_each(struct hash *h, void (*fn)(struct hash_node *node, void *arg), void *arg)
{
    for (size_t i = 0; i < h->nbuckets; i++) {
        struct hash_node *node = h->buckets[i];

        while (node) {
            struct hash_node *next = node->next;

            fn(node, arg);
            node = next;
        }
    }
}
