/* workers.h - a thread pool that turns blocking one-key functions into the L2 contract. Level 2.
 *
 * An adapter embeds a `struct workers *` and forwards its submit/pop/query/event_fd operations. The
 * keys of one task are spread over the threads; loads and lookups go before stores, and at least one
 * thread is left for them while stores are queued (llm-d gives readers 75 %).
 */
#ifndef L2FS_WORKERS_H
#define L2FS_WORKERS_H

#include "adapter.h"

struct workers;
struct worker_load; /* one key that a thread is loading */

/* Called on pool threads, several at once, for different keys or the same key. */
struct worker_ops {
    /* 0 or -errno. *crc32c: what was stored; *bytes: really written (0: was there already). */
    int (*store_one)(struct adapter *a, const char *key, const struct l2_buf *buf, uint32_t *crc32c,
                     uint64_t *bytes);
    /* 0 and the size, having raised the key's lock count; -ENOENT. */
    int (*find_one)(struct adapter *a, const char *key, uint64_t *size);
    /* 0 and an object for the owner, or -errno as in query_load. `load` is for workers_landed. */
    int (*load_one)(struct adapter *a, const char *key, struct worker_load *load,
                    struct l2_object *out);
    /* Optional: gives up the staging file of an object that nobody queried before workers_stop. */
    void (*drop_one)(struct adapter *a, struct l2_object *o);
};

/* `threads` 1..256. `name` names the threads. 0 or -errno. */
int workers_start(struct adapter *a, const struct worker_ops *ops, unsigned threads,
                  const char *name, struct workers **out);
/* Fails queued tasks with -ESHUTDOWN, waits for the running ones, frees. */
void workers_stop(struct workers *w);

int workers_event_fd(struct workers *w, enum l2_family family);
l2_task workers_submit_store(struct workers *w, const char *const *keys, const struct l2_buf *bufs,
                             size_t n);
int workers_pop_stored(struct workers *w, struct l2_store_result *out);
l2_task workers_submit_lookup(struct workers *w, const char *const *keys, size_t n);
int workers_query_lookup(struct workers *w, l2_task task, struct bitmap **found, uint64_t *sizes);
l2_task workers_submit_load(struct workers *w, const char *const *keys, size_t n);
int workers_query_load(struct workers *w, l2_task task, struct bitmap **loaded,
                       struct l2_object *objects, int *errors);
int workers_query_landed(struct workers *w, l2_task task, struct l2_landed *landed);
/* From load_one: so much has landed, in a file of that id. */
void workers_landed(struct worker_load *load, const struct l2_landed *now);

/* Refcount per key, the lock half of the contract; no adapter needs its own. Any thread. */
struct keylocks;

struct keylocks *keylocks_create(void); /* NULL on no memory */
void keylocks_destroy(struct keylocks *l);
int keylocks_get(struct keylocks *l, const char *key);     /* +1; 0 or -ENOMEM */
void keylocks_put(struct keylocks *l, const char *key);    /* -1, floored at 0 */
size_t keylocks_drop(struct keylocks *l, const char *key); /* to 0; how many there were */
bool keylocks_held(struct keylocks *l, const char *key);
/* How many; since when there is one, and until when whoever holds it means to (clock_now; 0: not
 * said). */
size_t keylocks_look(struct keylocks *l, const char *key, uint64_t *since, uint64_t *until);
void keylocks_until(struct keylocks *l, const char *key, uint64_t until);
size_t keylocks_count(struct keylocks *l); /* distinct locked keys */

#endif
