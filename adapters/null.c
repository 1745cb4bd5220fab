/* null.c - the null adapter: takes every store, finds nothing.
 *
 * The floor of benchmarks, and the template of an adapter: jobs (fs/job.c) carry the contract, so
 * an adapter fills in results and finishes. Here that takes no time, so it happens inside submit
 * on the caller's thread and there is no thread, lock or state but the three queues.
 */
#include "job.h"
#include "log.h"
#include "registry.h"

struct null {
    struct adapter base;
    struct jobs jobs;
};

static struct null *to_null(struct adapter *a)
{
    return container_of(a, struct null, base);
}

static int null_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    struct null *s = calloc(1, sizeof(*s));
    int err;

    (void)config;
    if (!s)
        return -ENOMEM;
    s->base = (struct adapter){.ops = &null_adapter, .flags = L2_DISCARDS};
    err = jobs_init(&s->jobs);
    if (err) {
        log_err("%s: cannot start: %s; raise the limit of open files", env->instance,
                strerror(-err));
        free(s);
        return err;
    }
    *out = &s->base;
    return 0;
}

static void null_close(struct adapter *a)
{
    struct null *s = to_null(a);

    jobs_fini(&s->jobs);
    free(s);
}

static int null_event_fd(struct adapter *a, enum l2_family family)
{
    return jobs_event_fd(&to_null(a)->jobs, family);
}

static l2_task submit(struct adapter *a, const struct job_request *req)
{
    struct null *s = to_null(a);
    struct job *j;
    l2_task id;
    int err = job_create(sizeof(*j), req, &j);

    if (err)
        return err;
    id = jobs_begin(&s->jobs, j);
    if (id < 0)
        return id;
    job_keep_nothing(j);
    jobs_finish(&s->jobs, j);
    return id;
}

static l2_task null_submit_store(struct adapter *a, const char *const *keys,
                                 const struct l2_buf *bufs, size_t n)
{
    return submit(a, &(struct job_request){L2_STORE, keys, bufs, n});
}

static int null_pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return jobs_pop_stored(&to_null(a)->jobs, out);
}

static l2_task null_submit_lookup(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

static int null_query_lookup(struct adapter *a, l2_task task, struct bitmap **found,
                             uint64_t *sizes)
{
    return jobs_query_lookup(&to_null(a)->jobs, task, found, sizes);
}

static void null_submit_unlock(struct adapter *a, const char *const *keys, size_t n)
{
    (void)a;
    (void)keys;
    (void)n;
}

static l2_task null_submit_load(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOAD, keys, NULL, n});
}

static int null_query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                           struct l2_object *objects, int *errors)
{
    return jobs_query_load(&to_null(a)->jobs, task, loaded, objects, errors);
}

static int null_remove(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped)
{
    (void)a;
    (void)keys;
    (void)n;
    (void)skipped;
    return 0;
}

static const struct conf_opt options[] = {{0}};

const struct adapter_ops null_adapter = {
    .name = "null",
    .summary = "stores nothing and finds nothing, for benchmarks",
    .options = options,
    .flags = L2_DISCARDS,
    .open = null_open,
    .close = null_close,
    .event_fd = null_event_fd,
    .submit_store = null_submit_store,
    .pop_stored = null_pop_stored,
    .submit_lookup_and_lock = null_submit_lookup,
    .query_lookup = null_query_lookup,
    .submit_unlock = null_submit_unlock,
    .submit_load = null_submit_load,
    .query_load = null_query_load,
    .remove = null_remove,
};
