/* keyguard.c - tickets in one list in order of entering. There are few at a time (stores in flight
 * and running namespace operations), so a scan is cheaper than an index. One leaf mutex guards it.
 */
#include "config.h"

#include "hash.h"
#include "keyguard.h"

void keyguard_init(struct keyguard *g)
{
    lock_init(&g->mutex);
    list_init(&g->tickets);
}

void keyguard_fini(struct keyguard *g)
{
    pthread_mutex_destroy(&g->mutex);
}

static bool overlap(const struct keyticket *a, const struct keyticket *b)
{
    if (a->whole_tree || b->whole_tree)
        return true;
    return a->hash[0] == b->hash[0] || a->hash[0] == b->hash[1] || a->hash[1] == b->hash[0] ||
           a->hash[1] == b->hash[1];
}

static unsigned prepare_locked(struct keyguard *g, struct keyticket *t)
{
    struct list *l;

    t->blockers = 0;
    list_for_each(l, &g->tickets) t->blockers += overlap(list_entry(l, struct keyticket, link), t);
    return t->blockers;
}

bool keyguard_enter(struct keyguard *g, struct keyticket *t, const char *key, const char *other)
{
    t->whole_tree = !key;
    t->hash[0] = key ? hash_bytes(key, strlen(key), 0) : 0;
    t->hash[1] = other ? hash_bytes(other, strlen(other), 0) : t->hash[0];
    LOCKED_SCOPE(&g->mutex);
    prepare_locked(g, t);
    list_push_back(&g->tickets, &t->link);
    return t->blockers == 0;
}

bool keyguard_try(struct keyguard *g, struct keyticket *t, const char *key)
{
    *t = (struct keyticket){.hash = {hash_bytes(key, strlen(key), 0)}};
    t->hash[1] = t->hash[0];
    LOCKED_SCOPE(&g->mutex);
    if (prepare_locked(g, t))
        return false;
    list_push_back(&g->tickets, &t->link);
    return true;
}

void keyguard_leave(struct keyguard *g, struct keyticket *t)
{
    LOCKED_SCOPE(&g->mutex);
    for (struct list *l = t->link.next; l != &g->tickets; l = l->next) {
        struct keyticket *later = list_entry(l, struct keyticket, link);

        if (overlap(t, later) && --later->blockers == 0)
            later->turn(later);
    }
    list_remove(&t->link);
}
