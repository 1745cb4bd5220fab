/* keylocks.c - lock counts by key: the lock half of the L2 contract.
 *
 * A key is in the table while its count is above 0. One mutex guards the table and the counts; it
 * is a leaf: nothing is called with it held. Locks have no owner and no deadline.
 */
#include "clock.h"
#include "hash.h"
#include "lock.h"
#include "workers.h"

struct keylock {
    struct hash_node node;
    size_t count;
    uint64_t since, until;
    char key[];
};

struct keylocks {
    pthread_mutex_t lock;
    struct hash table; /* struct keylock by hash of the key; lock */
};

struct keylocks *keylocks_create(void)
{
    struct keylocks *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    if (hash_init(&l->table)) {
        free(l);
        return NULL;
    }
    lock_init(&l->lock);
    return l;
}

static void drop(struct hash_node *node, void *arg)
{
    hash_remove(arg, node);
    free(container_of(node, struct keylock, node));
}

void keylocks_destroy(struct keylocks *l)
{
    if (!l)
        return;
    hash_each(&l->table, drop, &l->table);
    hash_fini(&l->table);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static uint64_t key_hash(const char *key)
{
    return hash_bytes(key, strlen(key), 0);
}

static struct keylock *find_locked(const struct keylocks *l, const char *key, uint64_t value)
{
    struct hash_node *node;

    for (node = hash_first(&l->table, value); node; node = hash_next(node)) {
        struct keylock *k = container_of(node, struct keylock, node);

        if (!strcmp(k->key, key))
            return k;
    }
    return NULL;
}

int keylocks_get(struct keylocks *l, const char *key)
{
    uint64_t value = key_hash(key);
    size_t len = strlen(key);
    struct keylock *k;

    LOCKED_SCOPE(&l->lock);
    k = find_locked(l, key, value);
    if (!k) {
        k = malloc(sizeof(*k) + len + 1);
        if (!k)
            return -ENOMEM;
        k->count = 0;
        k->since = clock_now();
        k->until = 0;
        memcpy(k->key, key, len + 1);
        hash_insert(&l->table, &k->node, value);
    }
    k->count++;
    return 0;
}

void keylocks_put(struct keylocks *l, const char *key)
{
    uint64_t value = key_hash(key);
    struct keylock *k;

    LOCKED_SCOPE(&l->lock);
    k = find_locked(l, key, value);
    if (!k || --k->count)
        return;
    hash_remove(&l->table, &k->node);
    free(k);
}

size_t keylocks_drop(struct keylocks *l, const char *key)
{
    uint64_t value = key_hash(key);
    struct keylock *k;
    size_t count;

    LOCKED_SCOPE(&l->lock);
    k = find_locked(l, key, value);
    if (!k)
        return 0;
    count = k->count;
    hash_remove(&l->table, &k->node);
    free(k);
    return count;
}

bool keylocks_held(struct keylocks *l, const char *key)
{
    uint64_t value = key_hash(key);

    LOCKED_SCOPE(&l->lock);
    return find_locked(l, key, value) != NULL;
}

size_t keylocks_look(struct keylocks *l, const char *key, uint64_t *since, uint64_t *until)
{
    uint64_t value = key_hash(key);
    const struct keylock *k;

    LOCKED_SCOPE(&l->lock);
    k = find_locked(l, key, value);
    *since = k ? k->since : 0;
    *until = k ? k->until : 0;
    return k ? k->count : 0;
}

void keylocks_until(struct keylocks *l, const char *key, uint64_t until)
{
    uint64_t value = key_hash(key);
    struct keylock *k;

    LOCKED_SCOPE(&l->lock);
    k = find_locked(l, key, value);
    if (k)
        k->until = until;
}

size_t keylocks_count(struct keylocks *l)
{
    LOCKED_SCOPE(&l->lock);
    return l->table.count;
}
