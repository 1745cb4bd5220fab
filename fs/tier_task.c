/* tier_task.c - the task half of the front layer: argument checks, and a record per task.
 *
 * A record keeps when the task was submitted and copies of its keys, for the latency and for the
 * line about a failure. Records are used by the owner's loop thread alone, as are submit, pop and
 * query in the contract, so they need no lock.
 */
#include "tier_impl.h"

#include "job.h"
#include "key.h"
#include "log.h"

struct record {
    struct hash_node node;
    l2_task id;
    uint64_t started;
    size_t n;
    char **keys; /* one block */
};

static void record_free(struct record *r)
{
    if (!r)
        return;
    free(r->keys);
    free(r);
}

static struct record *record_create(const char *const *keys, size_t n)
{
    struct record *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->started = clock_now();
    r->n = n;
    r->keys = job_copy_keys(keys, n);
    if (r->keys)
        return r;
    free(r);
    return NULL;
}

static struct record *record_find(const struct tier *t, enum l2_family family, l2_task id)
{
    struct hash_node *node = hash_first(&t->pending[family], (uint64_t)id);

    while (node && container_of(node, struct record, node)->id != id)
        node = hash_next(node);
    return node ? container_of(node, struct record, node) : NULL;
}

static void drop_record(struct hash_node *node, void *arg)
{
    hash_remove(arg, node);
    record_free(container_of(node, struct record, node));
}

void tier_forget_tasks(struct tier *t)
{
    for (int i = 0; i < L2_FAMILIES; i++)
        if (t->pending[i].count)
            hash_each(&t->pending[i], drop_record, &t->pending[i]);
}

static int check_keys(const char *const *keys, size_t n)
{
    if (!n || !keys)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        int rc = keys[i] ? key_check(keys[i], false) : -EINVAL;

        if (rc)
            return rc;
    }
    return 0;
}

static int check_bufs(const struct l2_buf *bufs, size_t n)
{
    if (!bufs)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (bufs[i].fd < 0 || (bufs[i].xattrs.len && !bufs[i].xattrs.data))
            return -EINVAL;
    return 0;
}

static l2_task call_submit(struct tier *t, const struct job_request *req)
{
    struct adapter *a = t->adapter;

    switch (req->family) {
    case L2_STORE: return a->ops->submit_store(a, req->keys, req->bufs, req->n);
    case L2_LOOKUP: return a->ops->submit_lookup_and_lock(a, req->keys, req->n);
    default: return a->ops->submit_load(a, req->keys, req->n);
    }
}

static l2_task submit(struct tier *t, const struct job_request *req)
{
    struct record *r;
    l2_task id;
    int rc = check_keys(req->keys, req->n);

    if (!rc && req->family == L2_STORE)
        rc = check_bufs(req->bufs, req->n);
    if (rc)
        return rc;
    r = record_create(req->keys, req->n);
    if (!r)
        return -ENOMEM;
    metric_add(t->stats[req->family].submitted, 1);
    id = call_submit(t, req);
    if (id < 0) {
        tier_done(t, &(struct tier_outcome){(enum tier_op)req->family, r->started, (int)id,
                                            r->keys[0], req->n, req->n});
        record_free(r);
        return id;
    }
    r->id = id;
    hash_insert(&t->pending[req->family], &r->node, (uint64_t)id);
    return id;
}

/* The end of task `id`. errors[i] equal to `fine` is no failure; errors may be NULL. */
static void finish(struct tier *t, enum l2_family family, struct record *r, const int *errors,
                   int fine)
{
    struct tier_outcome o = {.op = (enum tier_op)family, .started = r->started, .n = r->n};

    for (size_t i = 0; errors && i < r->n; i++) {
        if (!errors[i] || errors[i] == fine)
            continue;
        if (!o.failed++) {
            o.error = errors[i];
            o.key = r->keys[i];
        }
    }
    tier_done(t, &o);
    drop_record(&r->node, &t->pending[family]);
}

int tier_event_fd(struct tier *t, enum l2_family family)
{
    return t->adapter->ops->event_fd(t->adapter, family);
}

l2_task tier_submit_store(struct tier *t, const char *const *keys, const struct l2_buf *bufs,
                          size_t n)
{
    return submit(t, &(struct job_request){L2_STORE, keys, bufs, n});
}

int tier_pop_stored(struct tier *t, struct l2_store_result *out)
{
    struct record *r;
    int rc = t->adapter->ops->pop_stored(t->adapter, out);

    if (rc <= 0)
        return 0;
    metric_add(t->stats[TIER_STORE].bytes, (int64_t)out->bytes);
    r = record_find(t, L2_STORE, out->task);
    if (r)
        finish(t, L2_STORE, r, out->errors, 0);
    else
        log_err("%s: completed store task %lld, which is not under way; report this as a bug",
                t->env.instance, (long long)out->task);
    return 1;
}

l2_task tier_submit_lookup_and_lock(struct tier *t, const char *const *keys, size_t n)
{
    return submit(t, &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

int tier_query_lookup(struct tier *t, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    struct record *r = record_find(t, L2_LOOKUP, task);
    size_t hits;
    int rc;

    if (!r)
        return -ENOENT;
    rc = t->adapter->ops->query_lookup(t->adapter, task, found, sizes);
    if (rc)
        return rc;
    hits = bitmap_popcount(*found);
    metric_add(t->hits, (int64_t)hits);
    metric_add(t->misses, (int64_t)(r->n - hits));
    for (size_t i = 0; i < r->n; i++)
        if (bitmap_test(*found, i))
            keylocks_get(t->held, r->keys[i]); /* on no memory it is not shown */
    finish(t, L2_LOOKUP, r, NULL, 0);
    return 0;
}

void tier_submit_unlock(struct tier *t, const char *const *keys, size_t n)
{
    if (!n || !keys)
        return;
    metric_add(t->stats[TIER_UNLOCK].submitted, 1);
    t->adapter->ops->submit_unlock(t->adapter, keys, n);
    for (size_t i = 0; i < n; i++)
        keylocks_put(t->held, keys[i]);
    metric_add(t->stats[TIER_UNLOCK].completed, 1);
}

l2_task tier_submit_load(struct tier *t, const char *const *keys, size_t n)
{
    return submit(t, &(struct job_request){L2_LOAD, keys, NULL, n});
}

static uint64_t loaded_bytes(const struct bitmap *loaded, const struct l2_object *objects, size_t n)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += bitmap_test(loaded, i) ? objects[i].size : 0;
    return bytes;
}

int tier_query_load(struct tier *t, l2_task task, struct bitmap **loaded, struct l2_object *objects,
                    int *errors)
{
    struct record *r = record_find(t, L2_LOAD, task);
    int rc;

    if (!r)
        return -ENOENT;
    rc = t->adapter->ops->query_load(t->adapter, task, loaded, objects, errors);
    if (rc)
        return rc;
    metric_add(t->stats[TIER_LOAD].bytes, (int64_t)loaded_bytes(*loaded, objects, r->n));
    finish(t, L2_LOAD, r, errors, -ENOENT);
    return 0;
}

int tier_query_landed(struct tier *t, l2_task task, struct l2_landed *landed)
{
    const struct adapter_ops *ops = t->adapter->ops;

    return ops->query_landed ? ops->query_landed(t->adapter, task, landed) : -EOPNOTSUPP;
}
