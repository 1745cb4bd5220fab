/* fault.c - the fault adapter: wraps another and spoils some of its operations, by rule and seed.
 *
 * It keeps the contract itself - own eventfds, own tasks, each completed once - whatever it does to
 * the wrapped adapter's. One loop thread owns the wrapped adapter (fault_task.c); unlock and the
 * synchronous operations go through on their caller's thread, where an injected delay is slept.
 */
#include <sys/epoll.h>
#include <time.h>

#include "fault_impl.h"
#include "log.h"
#include "registry.h"

/* --- task families --- */

static l2_task submit_store(struct adapter *a, const char *const *keys, const struct l2_buf *bufs,
                            size_t n)
{
    return fault_submit(to_fault(a), &(struct job_request){L2_STORE, keys, bufs, n});
}

static l2_task submit_lookup(struct adapter *a, const char *const *keys, size_t n)
{
    return fault_submit(to_fault(a), &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

static l2_task submit_load(struct adapter *a, const char *const *keys, size_t n)
{
    return fault_submit(to_fault(a), &(struct job_request){L2_LOAD, keys, NULL, n});
}

static void submit_unlock(struct adapter *a, const char *const *keys, size_t n)
{
    struct adapter *inner = to_fault(a)->inner;

    inner->ops->submit_unlock(inner, keys, n);
}

static int event_fd(struct adapter *a, enum l2_family family)
{
    return jobs_event_fd(&to_fault(a)->jobs, family);
}

static int pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return jobs_pop_stored(&to_fault(a)->jobs, out);
}

static int query_lookup(struct adapter *a, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    return jobs_query_lookup(&to_fault(a)->jobs, task, found, sizes);
}

static int query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                      struct l2_object *objects, int *errors)
{
    return jobs_query_load(&to_fault(a)->jobs, task, loaded, objects, errors);
}

static int query_landed(struct adapter *a, l2_task task, struct l2_landed *landed)
{
    return jobs_query_landed(&to_fault(a)->jobs, task, landed);
}

/* --- synchronous operations --- */

static void pause_for(uint64_t ns)
{
    struct timespec ts = {.tv_sec = (time_t)(ns / NSEC_PER_SEC),
                          .tv_nsec = (long)(ns % NSEC_PER_SEC)};

    while (ns && clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
        continue;
}

/* 0: go on to the wrapped adapter. */
static int meet_fate(struct fault *f, enum fault_op op, const char *key)
{
    struct fault_verdict v;

    fault_decide(f->rules, op, key, &v);
    pause_for(v.delay);
    if (v.action == FAULT_FAIL || v.action == FAULT_REFUSE)
        return v.error;
    if (v.action != FAULT_DROP && v.action != FAULT_NEVER)
        return 0;
    pause_for(f->cfg->drop_timeout);
    return -ETIMEDOUT;
}

static int fault_rename(struct adapter *a, const char *from, const char *to)
{
    struct fault *f = to_fault(a);
    int err = meet_fate(f, FAULT_RENAME, from);

    return err ? err : f->inner->ops->rename(f->inner, from, to);
}

static int remove_one(struct fault *f, const char *key, bool *skipped)
{
    struct bitmap *skip = bitmap_create(1);
    int err = skip ? meet_fate(f, FAULT_REMOVE, key) : -ENOMEM;

    if (!err)
        err = f->inner->ops->remove(f->inner, &key, 1, skip);
    *skipped = skip && bitmap_test(skip, 0);
    bitmap_destroy(skip);
    return err;
}

static int fault_remove(struct adapter *a, const char *const *keys, size_t n,
                        struct bitmap *skipped)
{
    int first = 0;

    for (size_t i = 0; i < n; i++) {
        bool skip;
        int err = remove_one(to_fault(a), keys[i], &skip);

        if (skip && skipped)
            bitmap_set(skipped, i);
        first = first ? first : err;
    }
    return first;
}

static int make_dir(struct adapter *a, const char *dir, const struct l2_attr *attr)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->make_dir(inner, dir, attr);
}

static int set_attr(struct adapter *a, const char *key, const struct l2_attr *attr,
                    const struct l2_xattrs *xattrs, unsigned mask)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->set_attr(inner, key, attr, xattrs, mask);
}

static int list_all(struct adapter *a, l2_list_fn *fn, void *arg)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->list(inner, fn, arg);
}

static void list_first(struct adapter *a, const char *dir)
{
    struct adapter *inner = to_fault(a)->inner;

    if (inner->ops->list_first)
        inner->ops->list_first(inner, dir);
}

static int open_file(struct adapter *a, const char *key, int flags, const struct l2_attr *attr,
                     int *fd)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->open_file(inner, key, flags, attr, fd);
}

static int link_file(struct adapter *a, int fd, const char *key)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->link_file(inner, fd, key);
}

static void usage(struct adapter *a, struct l2_usage *out)
{
    struct adapter *inner = to_fault(a)->inner;

    inner->ops->usage(inner, out);
}

static size_t force_unlock(struct adapter *a, const char *key)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->force_unlock(inner, key);
}

static int cancel_store(struct adapter *a, const char *key)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->cancel_store(inner, key);
}

static int request_done(struct adapter *a, const struct l2_route *route)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->request_done(inner, route);
}

static json_t *peers(struct adapter *a)
{
    struct adapter *inner = to_fault(a)->inner;

    return inner->ops->peers(inner);
}

static json_t *status(struct adapter *a)
{
    struct fault *f = to_fault(a);
    json_t *inner = f->inner->ops->status ? f->inner->ops->status(f->inner) : NULL;

    if (!inner)
        inner = json_pack("{s:b, s:s}", "is_healthy", 1, "type", f->spec.ops->name);
    return json_pack("{s:b, s:s, s:o, s:o}", "is_healthy",
                     json_is_true(json_object_get(inner, "is_healthy")), "type", "fault",
                     "injected", fault_rules_status(f->rules), "inner", inner);
}

/* --- open and close --- */

static void hide_missing(struct adapter_ops *ops, const struct adapter_ops *inner)
{
    if (!inner->rename)
        ops->rename = NULL;
    if (!inner->remove)
        ops->remove = NULL;
    if (!inner->make_dir)
        ops->make_dir = NULL;
    if (!inner->set_attr)
        ops->set_attr = NULL;
    if (!inner->list)
        ops->list = NULL;
    if (!inner->open_file)
        ops->open_file = NULL;
    if (!inner->link_file)
        ops->link_file = NULL;
    if (!inner->usage)
        ops->usage = NULL;
    if (!inner->force_unlock)
        ops->force_unlock = NULL;
    if (!inner->cancel_store)
        ops->cancel_store = NULL;
    if (!inner->request_done)
        ops->request_done = NULL;
    if (!inner->peers)
        ops->peers = NULL;
    if (!inner->query_landed)
        ops->query_landed = NULL;
}

static int check(const void *config, struct text *err)
{
    const struct fault_config *cfg = config;
    AUTO_FREE char *why = NULL;
    struct fault_rules *rules;
    struct text t = {0};
    struct spec inner;
    int rc = fault_gaps_check(&cfg->gaps, err);

    if (rc)
        return rc;
    rc = fault_rules_create(cfg->rules, 0, &rules, err);
    if (rc)
        return rc;
    fault_rules_destroy(rules);
    rc = spec_parse(cfg->inner, &inner, &t);
    why = text_steal(&t, NULL);
    if (rc)
        text_printf(err, "inner: %s", why ? why : "not understood");
    else
        spec_fini(&inner);
    return rc;
}

static void drop_object(void *arg, struct l2_object *o)
{
    staging_drop(arg, o->staging_id);
}

static void fault_free(struct fault *f)
{
    fault_release_close(f);
    jobs_fini(&f->jobs);
    mailbox_destroy(f->mailbox);
    loop_destroy(f->loop);
    fault_rules_destroy(f->rules);
    spec_fini(&f->spec);
    free(f->instance);
    free(f);
}

/* The wrapped adapter is closed before the tasks that it still has are ended, since until then it
 * may use their buffers. */
static void fault_close(struct adapter *a)
{
    struct fault *f = to_fault(a);

    jobs_shut(&f->jobs);
    loop_stop(f->loop);
    f->stopped = true;
    mailbox_destroy(f->mailbox);
    f->mailbox = NULL;
    f->inner->ops->close(f->inner);
    fault_end_jobs(f);
    fault_free(f);
}

static int watch_inner(struct fault *f)
{
    for (int i = 0; i < L2_FAMILIES; i++) {
        struct fault_watch *w = &f->watch[i];
        int err;

        *w = (struct fault_watch){.fault = f, .family = (enum l2_family)i};
        w->event.fd = f->inner->ops->event_fd(f->inner, (enum l2_family)i);
        w->event.ready = fault_watch_ready;
        err = loop_add(f->loop, &w->event, EPOLLIN);
        if (err)
            return err;
    }
    return 0;
}

static int read_config(struct fault *f, const struct adapter_env *env)
{
    struct text why = {0};
    uint64_t seed = (uint64_t)f->cfg->gaps.seed;
    int err = fault_rules_create(f->cfg->rules, seed, &f->rules, &why);

    if (!err)
        err = spec_parse(f->cfg->inner, &f->spec, &why);
    if (err)
        log_err("%s: %s", env->instance, why.data ? why.data : strerror(-err));
    text_fini(&why);
    return err;
}

static int open_inner(struct fault *f, const struct adapter_env *env)
{
    f->inner_env = *env;
    f->inner_env.instance = f->instance;
    return f->spec.ops->open(&f->inner_env, f->spec.config, &f->inner);
}

static int start(struct fault *f)
{
    int err = jobs_init(&f->jobs);

    if (!err)
        err = loop_create("l2fs-fault", &f->loop);
    if (!err)
        err = mailbox_create(f->loop, &f->mailbox);
    if (!err)
        err = watch_inner(f);
    if (!err && f->release.fd >= 0)
        err = loop_add(f->loop, &f->release, EPOLLIN);
    if (!err)
        err = loop_start(f->loop);
    return err;
}

static struct fault *fault_alloc(const struct adapter_env *env, const struct fault_config *cfg)
{
    struct fault *f = calloc(1, sizeof(*f));
    struct text name = {0};

    if (!f)
        return NULL;
    f->cfg = cfg;
    f->staging = env->staging;
    f->jobs.drop_object = drop_object;
    f->jobs.arg = env->staging;
    f->release.fd = -1;
    list_init(&f->waiting);
    list_init(&f->stuck);
    for (int i = 0; i < L2_FAMILIES; i++)
        list_init(&f->asked[i]), list_init(&f->held[i]);
    text_printf(&name, "%s.inner", env->instance);
    f->instance = text_steal(&name, NULL);
    if (f->instance)
        return f;
    free(f);
    return NULL;
}

static int fault_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    struct fault *f = fault_alloc(env, config);
    int err = -ENOMEM;

    if (!f)
        return err;
    err = read_config(f, env);
    if (!err)
        err = fault_release_open(f);
    if (!err)
        err = open_inner(f, env);
    if (err)
        goto fail;
    err = start(f);
    if (err) {
        log_err("%s: cannot start: %s; raise the limit of open files", env->instance,
                strerror(-err));
        f->inner->ops->close(f->inner);
        goto fail;
    }
    f->ops = fault_adapter;
    hide_missing(&f->ops, f->inner->ops);
    f->base = (struct adapter){.ops = &f->ops, .flags = f->inner->flags};
    *out = &f->base;
    return 0;

fail:
    fault_free(f);
    return err;
}

#define FAULT(member) offsetof(struct fault_config, member)

static const struct conf_opt options[] = {
    {.name = "inner",
     .type = CONF_JSON,
     .offset = FAULT(inner),
     .help = "the adapter to wrap, a full specification",
     .required = true},
    {.name = "rules",
     .type = CONF_JSON,
     .offset = FAULT(rules),
     .help = "[{\"op\", \"key\", \"rate\", \"after\", \"count\", \"action\", \"errno\", "
             "\"delay\"}, ...]"},
    {.name = "drop_timeout",
     .type = CONF_DURATION,
     .offset = FAULT(drop_timeout),
     .def = "5s",
     .help = "when a dropped request is given up"},
    {.name = "release",
     .type = CONF_STRING,
     .offset = FAULT(release),
     .help = "while this file exists, tasks that were never to complete do so"},
    {.name = "seed",
     .type = CONF_INT,
     .offset = FAULT(gaps.seed),
     .def = "0",
     .help = "of everything that is left to chance"},
    {.name = "gap_tail_ratios",
     .type = CONF_JSON,
     .offset = FAULT(gaps.tail_ratios),
     .help = "loads that fail, as distance from the end of the task: 0 last, 1 first"},
    {.name = "gap_indices",
     .type = CONF_JSON,
     .offset = FAULT(gaps.indices),
     .help = "loads that fail, as positions in the task"},
    {.name = "rate",
     .type = CONF_DOUBLE,
     .offset = FAULT(gaps.rate),
     .def = "0",
     .min = 0,
     .max = 1,
     .help = "share of the keys whose loads fail"},
    {0},
};

#define FAULT_OPS                                                                                  \
    .options = options, .config_size = sizeof(struct fault_config), .check = check,                \
    .open = fault_open, .close = fault_close, .event_fd = event_fd, .submit_store = submit_store,  \
    .pop_stored = pop_stored, .submit_lookup_and_lock = submit_lookup,                             \
    .query_lookup = query_lookup, .submit_unlock = submit_unlock, .submit_load = submit_load,      \
    .query_load = query_load, .query_landed = query_landed, .rename = fault_rename,                \
    .remove = fault_remove, .make_dir = make_dir, .set_attr = set_attr, .list = list_all,          \
    .list_first = list_first, .open_file = open_file, .link_file = link_file, .usage = usage,      \
    .force_unlock = force_unlock, .cancel_store = cancel_store, .request_done = request_done,      \
    .peers = peers, .status = status

const struct adapter_ops fault_adapter = {
    .name = "fault", .summary = "wraps another adapter and injects faults, for tests", FAULT_OPS};

/* LMCache's name. */
const struct adapter_ops fault_inject_adapter = {
    .name = "fault_inject", .summary = "another name of fault", FAULT_OPS};
