/* keyguard.c - tickets in one list in order of entering, and in buckets by the hash of their keys. A
 * ticket knows how many earlier ones it waits for; who leaves tells the later ones. One leaf mutex
 * guards all of it.
 */
#include "config.h"

#include "hash.h"
#include "keyguard.h"

void keyguard_init(struct keyguard *g)
{
    memset(g, 0, sizeof(*g));
    lock_init(&g->mutex);
    list_init(&g->tickets);
    for (size_t i = 0; i < KEYGUARD_BUCKETS; i++)
        list_init(&g->buckets[i]);
}

void keyguard_fini(struct keyguard *g)
{
    pthread_mutex_destroy(&g->mutex);
}

static struct list *bucket(struct keyguard *g, uint64_t hash)
{
    return &g->buckets[hash % KEYGUARD_BUCKETS];
}

static bool has_hash(const struct keyticket *t, uint64_t hash)
{
    return t->hash[0] == hash || t->hash[1] == hash;
}

/* Calls fn once for each ticket other than `t` with a key in common. fn must not unlink any. */
static void each_rival_locked(struct keyguard *g, struct keyticket *t,
                              void (*fn)(struct keyticket *t, struct keyticket *rival))
{
    for (int i = 0; i < (t->hash[0] == t->hash[1] ? 1 : 2); i++) {
        struct list *b = bucket(g, t->hash[i]), *l;

        list_for_each(l, b)
        {
            struct keyslot *slot = list_entry(l, struct keyslot, link);
            struct keyticket *rival = slot->ticket;
            uint64_t hash = rival->hash[slot - rival->slot];

            if (rival == t || hash != t->hash[i] || (i && has_hash(rival, t->hash[0])))
                continue;
            fn(t, rival);
        }
    }
}

static void add_blocker(struct keyticket *t, struct keyticket *earlier)
{
    (void)earlier;
    t->blockers++;
}

static void unblock(struct keyticket *t, struct keyticket *rival)
{
    if (rival->number > t->number && --rival->blockers == 0)
        rival->turn(rival);
}

static void count_blockers_locked(struct keyguard *g, struct keyticket *t)
{
    t->blockers = t->whole_tree ? g->count : g->wholes;
    if (!t->whole_tree)
        each_rival_locked(g, t, add_blocker);
}

static void join_locked(struct keyguard *g, struct keyticket *t)
{
    t->number = ++g->entered;
    for (int i = 0; i < 2; i++) {
        list_init(&t->slot[i].link);
        t->slot[i].ticket = t;
        if (!t->whole_tree && (i == 0 || t->hash[1] != t->hash[0]))
            list_push_back(bucket(g, t->hash[i]), &t->slot[i].link);
    }
    list_push_back(&g->tickets, &t->link);
    g->count++;
    g->wholes += t->whole_tree;
}

bool keyguard_enter(struct keyguard *g, struct keyticket *t, const char *key, const char *other)
{
    t->whole_tree = !key;
    t->hash[0] = key ? hash_bytes(key, strlen(key), 0) : 0;
    t->hash[1] = other ? hash_bytes(other, strlen(other), 0) : t->hash[0];
    LOCKED_SCOPE(&g->mutex);
    count_blockers_locked(g, t);
    join_locked(g, t);
    return t->blockers == 0;
}

bool keyguard_try(struct keyguard *g, struct keyticket *t, const char *key)
{
    *t = (struct keyticket){.hash = {hash_bytes(key, strlen(key), 0)}};
    t->hash[1] = t->hash[0];
    LOCKED_SCOPE(&g->mutex);
    count_blockers_locked(g, t);
    if (t->blockers)
        return false;
    join_locked(g, t);
    return true;
}

void keyguard_leave(struct keyguard *g, struct keyticket *t)
{
    LOCKED_SCOPE(&g->mutex);
    if (!t->whole_tree)
        each_rival_locked(g, t, unblock);
    for (struct list *l = t->link.next; l != &g->tickets && (t->whole_tree || g->wholes);
         l = l->next) {
        struct keyticket *later = list_entry(l, struct keyticket, link);

        if (t->whole_tree || later->whole_tree)
            unblock(t, later);
    }
    list_remove(&t->slot[0].link);
    list_remove(&t->slot[1].link);
    list_remove(&t->link);
    g->count--;
    g->wholes -= t->whole_tree;
}
