/* send_fake.c - see send_fake.h. A held store is a job in `held`; each of its keys ends by itself, and the
 * job with the last one.
 */
#include "send_fake.h"

#include <check.h>
#include <stdio.h>

#include "../../adapters/registry.h"
#include "clock.h"
#include "job.h"
#include "list.h"
#include "lock.h"

#define LOG_MAX 512
#define LINE_MAX_LEN 600
#define PENDING 1 /* as an error: the key is held */

struct fake {
    struct adapter base;
    struct jobs jobs;
};

struct fake_job {
    struct job job;
    struct fake *fake;
    struct list link;
    size_t left;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct list held;
    bool holding;
    int error;
    size_t nheld, nsent, ncancelled, ndone;
    char sent[LOG_MAX][LINE_MAX_LEN], done[LOG_MAX][LINE_MAX_LEN];
    json_t *peers;
} s = {.mutex = PTHREAD_MUTEX_INITIALIZER, .held = {&s.held, &s.held}};

static __attribute__((constructor)) void prepare(void)
{
    cond_init(&s.changed);
}

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

/* --- keys --- */

static void end_key_locked(struct fake_job *f, size_t i, int error)
{
    const struct l2_buf *buf = &f->job.bufs[i];

    f->job.errors[i] = error;
    f->job.crc32c[i] = buf->crc32c;
    f->left--;
    if (error)
        s.ncancelled += error == -ECANCELED;
    else
        snprintf(s.sent[s.nsent++ % LOG_MAX], LINE_MAX_LEN, "%s>%s#%s", f->job.keys[i],
                 or_dash(buf->route.peer), or_dash(buf->route.req_id));
    f->job.bytes += error ? 0 : buf->size;
}

static void end_job_locked(struct fake_job *f)
{
    if (f->left)
        return;
    list_remove(&f->link);
    jobs_finish(&f->fake->jobs, &f->job);
}

static void release_locked(struct fake_job *f, int error)
{
    for (size_t i = 0; i < f->job.n; i++) {
        if (f->job.errors[i] != PENDING)
            continue;
        s.nheld--;
        end_key_locked(f, i, error);
    }
    end_job_locked(f);
}

static void release_all_locked(struct fake *only, int error)
{
    struct list *l, *tmp;

    list_for_each_safe(l, tmp, &s.held)
    {
        struct fake_job *f = list_entry(l, struct fake_job, link);

        if (!only || f->fake == only)
            release_locked(f, error);
    }
    pthread_cond_broadcast(&s.changed);
}

/* --- the contract --- */

static struct fake *to_fake(struct adapter *a)
{
    return container_of(a, struct fake, base);
}

static l2_task submit(struct adapter *a, const struct job_request *req)
{
    struct fake_job *f;
    struct job *j;
    l2_task id;
    int err = job_create(sizeof(*f), req, &j);

    if (err)
        return err;
    f = container_of(j, struct fake_job, job);
    f->fake = to_fake(a);
    list_init(&f->link);
    LOCKED_SCOPE(&s.mutex);
    id = jobs_begin(&f->fake->jobs, j);
    if (id < 0)
        return id;
    f->left = j->n;
    list_push_back(&s.held, &f->link);
    for (size_t i = 0; i < j->n; i++) {
        if (j->family != L2_STORE) {
            j->errors[i] = -ENOENT;
            f->left--;
        } else if (s.holding) {
            j->errors[i] = PENDING;
            s.nheld++;
        } else {
            end_key_locked(f, i, s.error);
        }
    }
    end_job_locked(f);
    pthread_cond_broadcast(&s.changed);
    return id;
}

static l2_task submit_store(struct adapter *a, const char *const *keys, const struct l2_buf *bufs,
                            size_t n)
{
    return submit(a, &(struct job_request){L2_STORE, keys, bufs, n});
}

static l2_task submit_lookup(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

static l2_task submit_load(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOAD, keys, NULL, n});
}

static void submit_unlock(struct adapter *a, const char *const *keys, size_t n)
{
    (void)a;
    (void)keys;
    (void)n;
}

static int event_fd(struct adapter *a, enum l2_family family)
{
    return jobs_event_fd(&to_fake(a)->jobs, family);
}

static int pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return jobs_pop_stored(&to_fake(a)->jobs, out);
}

static int query_lookup(struct adapter *a, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    return jobs_query_lookup(&to_fake(a)->jobs, task, found, sizes);
}

static int query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                      struct l2_object *objects, int *errors)
{
    return jobs_query_load(&to_fake(a)->jobs, task, loaded, objects, errors);
}

static int cancel_store(struct adapter *a, const char *key)
{
    struct list *l, *tmp;
    int found = -ENOENT;

    LOCKED_SCOPE(&s.mutex);
    list_for_each_safe(l, tmp, &s.held)
    {
        struct fake_job *f = list_entry(l, struct fake_job, link);

        for (size_t i = 0; f->fake == to_fake(a) && i < f->job.n; i++) {
            if (f->job.errors[i] != PENDING || strcmp(f->job.keys[i], key))
                continue;
            found = 0;
            s.nheld--;
            end_key_locked(f, i, -ECANCELED);
        }
        end_job_locked(f);
    }
    pthread_cond_broadcast(&s.changed);
    return found;
}

static int request_done(struct adapter *a, const struct l2_route *route)
{
    (void)a;
    LOCKED_SCOPE(&s.mutex);
    snprintf(s.done[s.ndone++ % LOG_MAX], LINE_MAX_LEN, "%s#%s", or_dash(route->peer),
             or_dash(route->req_id));
    pthread_cond_broadcast(&s.changed);
    return 0;
}

static json_t *peers(struct adapter *a)
{
    (void)a;
    LOCKED_SCOPE(&s.mutex);
    return s.peers ? json_deep_copy(s.peers) : json_object();
}

static int fake_open(const struct adapter_env *env, const void *config, struct adapter **out);

static void fake_close(struct adapter *a)
{
    struct fake *f = to_fake(a);

    jobs_shut(&f->jobs);
    lock(&s.mutex);
    release_all_locked(f, -ESHUTDOWN);
    unlock(&s.mutex);
    jobs_fini(&f->jobs);
    free(f);
}

static const struct conf_opt options[] = {{0}};

static const struct adapter_ops send_adapter = {
    .name = "send",
    .summary = "sends to nobody, for tests",
    .options = options,
    .flags = L2_DISCARDS,
    .open = fake_open,
    .close = fake_close,
    .event_fd = event_fd,
    .submit_store = submit_store,
    .pop_stored = pop_stored,
    .submit_lookup_and_lock = submit_lookup,
    .query_lookup = query_lookup,
    .submit_unlock = submit_unlock,
    .submit_load = submit_load,
    .query_load = query_load,
    .cancel_store = cancel_store,
    .request_done = request_done,
    .peers = peers,
};

static int fake_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    struct fake *f = calloc(1, sizeof(*f));

    (void)env;
    (void)config;
    ck_assert_ptr_nonnull(f);
    f->base = (struct adapter){.ops = &send_adapter, .flags = L2_DISCARDS | L2_SENDS};
    ck_assert_int_eq(jobs_init(&f->jobs), 0);
    *out = &f->base;
    return 0;
}

const struct adapter_ops *const adapter_registry[] = {&fs_adapter,    &mock_adapter, &null_adapter,
                                                      &fault_adapter, &send_adapter, NULL};

/* --- what tests ask --- */

void fake_hold(bool on)
{
    LOCKED_SCOPE(&s.mutex);
    s.holding = on;
    if (!on)
        release_all_locked(NULL, s.error);
}

void fake_fail(int error)
{
    LOCKED_SCOPE(&s.mutex);
    s.error = error;
}

static void wait_for(const size_t *count, size_t n, const char *what)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    LOCKED_SCOPE(&s.mutex);
    while (*count < n)
        ck_assert_msg(!cond_wait_until(&s.changed, &s.mutex, deadline), "%zu of %zu %s", *count, n,
                      what);
}

void fake_wait_held(size_t n)
{
    wait_for(&s.nheld, n, "held");
}

void fake_wait_sent(size_t n)
{
    wait_for(&s.nsent, n, "sent");
}

void fake_wait_cancelled(size_t n)
{
    wait_for(&s.ncancelled, n, "cancelled");
}

void fake_wait_done(size_t n)
{
    wait_for(&s.ndone, n, "requests done");
}

static size_t read_locked(const size_t *count)
{
    LOCKED_SCOPE(&s.mutex);
    return *count;
}

size_t fake_sent(void)
{
    return read_locked(&s.nsent);
}

size_t fake_cancelled(void)
{
    return read_locked(&s.ncancelled);
}

size_t fake_done(void)
{
    return read_locked(&s.ndone);
}

static const char *copy_of(char lines[LOG_MAX][LINE_MAX_LEN], size_t i)
{
    static char copy[LINE_MAX_LEN];

    LOCKED_SCOPE(&s.mutex);
    memcpy(copy, lines[i % LOG_MAX], sizeof(copy));
    return copy;
}

const char *fake_sent_at(size_t i)
{
    return copy_of(s.sent, i);
}

const char *fake_done_at(size_t i)
{
    return copy_of(s.done, i);
}

void fake_set_peers(const char *json)
{
    LOCKED_SCOPE(&s.mutex);
    json_decref(s.peers);
    s.peers = json_loads(json, 0, NULL);
}
