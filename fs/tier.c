/* tier.c - the front layer over one adapter: opening, status, and the synchronous operations.
 *
 * Holds no lock: the configuration is constant after open, counters are atomics of the metrics
 * registry, and the records of tasks under way (tier_task.c) belong to the owner's loop thread.
 * Every failure that an adapter reports passes tier_done, which counts it and writes the one line
 * about it.
 */
#include "tier_impl.h"

#include <stdio.h>

#include "key.h"
#include "log.h"

static const char *const op_names[TIER_OPS] = {
    [TIER_STORE] = "store",         [TIER_LOOKUP] = "lookup",       [TIER_LOAD] = "load",
    [TIER_UNLOCK] = "unlock",       [TIER_RENAME] = "rename",       [TIER_REMOVE] = "remove",
    [TIER_MAKE_DIR] = "make_dir",   [TIER_SET_ATTR] = "set_attr",   [TIER_LIST] = "list",
    [TIER_OPEN_FILE] = "open_file", [TIER_LINK_FILE] = "link_file",
};

/* --- counters and the log --- */

static const char *advice(int error)
{
    switch (-error) {
    case ENOSPC:
    case EDQUOT: return "free space there or raise its capacity";
    case EIO: return "check the device below it";
    case EBADMSG: return "the stored copy is damaged and counts as a miss";
    case ETIMEDOUT: return "check that it still answers";
    case EROFS:
    case EACCES:
    case EPERM: return "check that the daemon may write there";
    case EMFILE:
    case ENFILE: return "raise the limit of open files";
    case ENOMEM: return "lower -o l1 or add memory";
    case ENAMETOOLONG: return "it cannot hold names this long";
    default: return "see the status of this adapter";
    }
}

static void log_failure(const struct tier *t, const struct tier_outcome *o)
{
    bool asked = o->error == -ESHUTDOWN || o->error == -ECANCELED;
    enum log_level level = asked ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN;
    char more[48] = "";

    if (level > log_get_level())
        return;
    if (o->n > 1)
        snprintf(more, sizeof(more), " (%zu of %zu keys)", o->failed, o->n);
    log_write(level, "%s: %s of \"%s\"%s failed: %s; %s", t->env.instance, op_names[o->op],
              o->key ? o->key : "", more, strerror(-o->error), advice(o->error));
}

void tier_done(struct tier *t, const struct tier_outcome *o)
{
    struct tier_stats *s = &t->stats[o->op];

    metric_observe_ns(s->seconds, clock_now() - o->started);
    metric_add(o->error ? s->failed : s->completed, 1);
    if (o->error)
        log_failure(t, o);
}

static void register_op(struct tier *t, enum tier_op op)
{
    struct tier_stats *s = &t->stats[op];
    struct metrics *m = t->env.metrics;
    struct text labels = {0};
    const char *l;

    metrics_label(&labels, "adapter", t->env.instance);
    metrics_label(&labels, "op", op_names[op]);
    l = labels.data ? labels.data : "";
    s->submitted = metrics_counter(m, "l2fs_tier_submitted", "Operations given to a tier", l);
    s->completed = metrics_counter(m, "l2fs_tier_completed", "Operations ended without error", l);
    s->failed = metrics_counter(m, "l2fs_tier_failed", "Operations ended with an error", l);
    s->seconds = metrics_histogram(m, "l2fs_tier_seconds", "From submit to completion", l);
    if (op == TIER_STORE || op == TIER_LOAD)
        s->bytes = metrics_counter(m, "l2fs_tier_bytes", "Bytes written to or read from a tier", l);
    text_fini(&labels);
}

static void register_metrics(struct tier *t)
{
    struct text labels = {0};
    const char *l;

    for (int op = 0; op < TIER_OPS; op++)
        register_op(t, op);
    metrics_label(&labels, "adapter", t->env.instance);
    l = labels.data ? labels.data : "";
    t->hits =
        metrics_counter(t->env.metrics, "l2fs_tier_lookup_hits", "Keys looked up and held", l);
    t->misses =
        metrics_counter(t->env.metrics, "l2fs_tier_lookup_misses", "Keys looked up, not held", l);
    text_fini(&labels);
}

/* --- opening --- */

int tier_check(json_t *spec, struct text *err)
{
    struct spec s;
    int rc = spec_parse(spec, &s, err);

    if (!rc)
        spec_fini(&s);
    return rc;
}

static void tier_free(struct tier *t)
{
    tier_forget_tasks(t);
    for (int i = 0; i < L2_FAMILIES; i++)
        hash_fini(&t->pending[i]);
    keylocks_destroy(t->held);
    spec_fini(&t->spec);
    free(t);
}

static struct tier *tier_alloc(const struct adapter_env *env)
{
    struct tier *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->env = *env;
    t->held = keylocks_create();
    if (!t->held) {
        free(t);
        return NULL;
    }
    for (int i = 0; i < L2_FAMILIES; i++) {
        if (hash_init(&t->pending[i])) {
            tier_free(t);
            return NULL;
        }
    }
    return t;
}

int tier_open(const struct adapter_env *env, json_t *spec, struct tier **out, struct text *err)
{
    struct tier *t = tier_alloc(env);
    int rc = -ENOMEM;

    if (!t) {
        text_puts(err, "out of memory");
        return rc;
    }
    rc = spec_parse(spec, &t->spec, err);
    if (rc)
        goto fail;
    register_metrics(t);
    rc = t->spec.ops->open(&t->env, t->spec.config, &t->adapter);
    if (rc) {
        text_printf(err, "adapter %s cannot be opened: %s; the log says why", env->instance,
                    strerror(-rc));
        goto fail;
    }
    if (t->spec.common.serde)
        log_warn("%s: serde is taken but not applied, objects are stored as they are",
                 env->instance);
    *out = t;
    return 0;

fail:
    tier_free(t);
    return rc;
}

void tier_close(struct tier *t)
{
    if (!t)
        return;
    t->adapter->ops->close(t->adapter);
    tier_free(t);
}

/* --- what it is and how it is --- */

const char *tier_name(const struct tier *t)
{
    return t->env.instance;
}

unsigned tier_flags(const struct tier *t)
{
    return t->adapter->flags;
}

json_t *tier_config(const struct tier *t)
{
    return spec_to_json(&t->spec);
}

void tier_usage(struct tier *t, struct l2_usage *out)
{
    *out = (struct l2_usage){0};
    if (t->adapter->ops->usage)
        t->adapter->ops->usage(t->adapter, out);
    if (!out->capacity)
        out->capacity = (uint64_t)(t->spec.common.max_capacity_gb * (double)GIB);
}

static json_t *usage_json(struct tier *t)
{
    struct l2_usage u;

    tier_usage(t, &u);
    return json_pack("{s:I, s:I, s:I, s:I}", "used_bytes", (json_int_t)u.used, "capacity_bytes",
                     (json_int_t)u.capacity, "objects", (json_int_t)u.objects, "locked",
                     (json_int_t)u.locked);
}

static json_t *tasks_json(const struct tier *t)
{
    json_t *tasks = json_object();

    for (int op = 0; op < L2_FAMILIES; op++) {
        const struct tier_stats *s = &t->stats[op];
        int64_t completed = metric_value(s->completed), failed = metric_value(s->failed);

        json_object_set_new(tasks, op_names[op],
                            json_pack("{s:I, s:I, s:I}", "in_flight",
                                      (json_int_t)(metric_value(s->submitted) - completed - failed),
                                      "completed", (json_int_t)completed, "failed",
                                      (json_int_t)failed));
    }
    return tasks;
}

json_t *tier_status(struct tier *t)
{
    const struct adapter_ops *ops = t->adapter->ops;
    json_t *status = ops->status ? ops->status(t->adapter) : NULL;

    if (!status)
        status = json_pack("{s:b, s:s}", "is_healthy", 1, "type", t->spec.ops->name);
    if (!status)
        return NULL;
    json_object_set_new(status, "name", json_string(t->env.instance));
    json_object_set_new(status, "usage", usage_json(t));
    json_object_set_new(status, "tasks", tasks_json(t));
    return status;
}

size_t tier_force_unlock(struct tier *t, const char *key)
{
    const struct adapter_ops *ops = t->adapter->ops;

    keylocks_drop(t->held, key);
    return ops->force_unlock ? ops->force_unlock(t->adapter, key) : 0;
}

struct tier_locks tier_locks(struct tier *t, const char *key)
{
    struct tier_locks locks;

    locks.n = keylocks_look(t->held, key, &locks.since, &locks.deadline);
    return locks;
}

void tier_locks_until(struct tier *t, const char *const *keys, size_t n, uint64_t deadline)
{
    for (size_t i = 0; i < n; i++)
        keylocks_until(t->held, keys[i], deadline);
}

size_t tier_locked_keys(struct tier *t)
{
    return keylocks_count(t->held);
}

bool tier_has_files(const struct tier *t)
{
    return t->adapter->ops->open_file != NULL;
}

bool tier_sends(const struct tier *t)
{
    return t->adapter->ops->request_done != NULL;
}

/* --- the synchronous operations --- */

static bool is_dir_key(const char *key)
{
    size_t len = strlen(key);

    return len && key[len - 1] == '/';
}

static int check_key(const char *key)
{
    return key ? key_check(key, is_dir_key(key)) : -EINVAL;
}

static struct tier_outcome start(struct tier *t, enum tier_op op, const char *key)
{
    metric_add(t->stats[op].submitted, 1);
    return (struct tier_outcome){.op = op, .started = clock_now(), .key = key, .n = 1, .failed = 1};
}

/* Counts and logs the end of `o`; `fine` is an error that is none. Returns rc. */
static int end(struct tier *t, struct tier_outcome *o, int rc, int fine)
{
    o->error = rc == fine ? 0 : rc;
    tier_done(t, o);
    return rc;
}

int tier_rename(struct tier *t, const char *from, const char *to)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;
    int rc = check_key(from);

    if (!rc)
        rc = check_key(to);
    if (!rc && is_dir_key(from) != is_dir_key(to))
        rc = -EINVAL;
    if (rc)
        return rc;
    if (!ops->rename)
        return -EOPNOTSUPP;
    o = start(t, TIER_RENAME, from);
    return end(t, &o, ops->rename(t->adapter, from, to), -ENOENT);
}

int tier_remove(struct tier *t, const char *const *keys, size_t n, struct bitmap *skipped)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;

    if (!n || !keys)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        int rc = check_key(keys[i]);

        if (rc)
            return rc;
    }
    if (!ops->remove)
        return -EOPNOTSUPP;
    o = start(t, TIER_REMOVE, keys[0]);
    return end(t, &o, ops->remove(t->adapter, keys, n, skipped), -ENOTEMPTY);
}

int tier_make_dir(struct tier *t, const char *dir, const struct l2_attr *attr)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;
    int rc = dir && attr ? key_check(dir, true) : -EINVAL;

    if (rc)
        return rc;
    if (!ops->make_dir)
        return -EOPNOTSUPP;
    o = start(t, TIER_MAKE_DIR, dir);
    rc = ops->make_dir(t->adapter, dir, attr);
    return end(t, &o, rc == -EEXIST ? 0 : rc, 0);
}

int tier_set_attr(struct tier *t, const char *key, const struct l2_attr *attr,
                  const struct l2_xattrs *xattrs, unsigned mask)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;
    int rc = check_key(key);

    if (rc)
        return rc;
    if (((mask & ~(unsigned)L2_ATTR_XATTRS) && !attr) || ((mask & L2_ATTR_XATTRS) && !xattrs))
        return -EINVAL;
    if (!ops->set_attr)
        return -EOPNOTSUPP;
    o = start(t, TIER_SET_ATTR, key);
    return end(t, &o, ops->set_attr(t->adapter, key, attr, xattrs, mask), -ENOENT);
}

int tier_list(struct tier *t, l2_list_fn *fn, void *arg)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;

    if (!ops->list)
        return -EOPNOTSUPP;
    o = start(t, TIER_LIST, "");
    return end(t, &o, ops->list(t->adapter, fn, arg), 0);
}

void tier_list_first(struct tier *t, const char *dir)
{
    const struct adapter_ops *ops = t->adapter->ops;

    if (ops->list_first)
        ops->list_first(t->adapter, dir);
}

int tier_open_file(struct tier *t, const char *key, int flags, const struct l2_attr *attr, int *fd)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;

    if (!key || !fd)
        return -EINVAL;
    if (!ops->open_file)
        return -EOPNOTSUPP;
    o = start(t, TIER_OPEN_FILE, key);
    return end(t, &o, ops->open_file(t->adapter, key, flags, attr, fd), -ENOENT);
}

int tier_link_file(struct tier *t, int fd, const char *key)
{
    const struct adapter_ops *ops = t->adapter->ops;
    struct tier_outcome o;
    int rc = key && fd >= 0 ? key_check(key, false) : -EINVAL;

    if (rc)
        return rc;
    if (!ops->link_file)
        return -EOPNOTSUPP;
    o = start(t, TIER_LINK_FILE, key);
    return end(t, &o, ops->link_file(t->adapter, fd, key), -EEXIST);
}

int tier_cancel_store(struct tier *t, const char *key)
{
    const struct adapter_ops *ops = t->adapter->ops;
    int rc = check_key(key);

    if (rc)
        return rc;
    return ops->cancel_store ? ops->cancel_store(t->adapter, key) : -EOPNOTSUPP;
}

int tier_request_done(struct tier *t, const struct l2_route *route)
{
    const struct adapter_ops *ops = t->adapter->ops;

    if (!route || !route->req_id)
        return -EINVAL;
    return ops->request_done ? ops->request_done(t->adapter, route) : -EOPNOTSUPP;
}

json_t *tier_peers(struct tier *t)
{
    const struct adapter_ops *ops = t->adapter->ops;

    return ops->peers ? ops->peers(t->adapter) : NULL;
}
