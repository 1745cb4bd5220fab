/* load_fake.c - see load_fake.h. A load is a job in `load` of its tier until the test ends it. */
#include "load_fake.h"

#include <check.h>
#include <fcntl.h>

#include "../../adapters/registry.h"
#include "checksum.h"
#include "clock.h"
#include "job.h"
#include "lock.h"
#include "vfsrig.h"

#define TIERS 2

struct slow {
    struct adapter base;
    struct jobs jobs;
    struct staging *staging;
    struct job *load; /* mutex */
    uint64_t id;      /* mutex; its file */
    uint64_t size;    /* mutex */
    bool spoilt;      /* mutex */
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct slow *tiers[TIERS];
    size_t n;
    char bytes[FAKE_SIZE];
    uint32_t crc32c;
} s = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void fake_reset(void)
{
    s.n = 0;
    cond_init(&s.changed);
    vfsrig_fill(s.bytes, FAKE_SIZE, 1);
    s.crc32c = checksum(0, s.bytes, FAKE_SIZE);
}

const char *fake_bytes(uint64_t off)
{
    return s.bytes + off;
}

static struct slow *to_slow(struct adapter *a)
{
    return container_of(a, struct slow, base);
}

/* --- the load of the test --- */

static struct slow *loading_locked(int tier)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    while ((size_t)tier >= s.n || !s.tiers[tier]->load)
        ck_assert_msg(!cond_wait_until(&s.changed, &s.mutex, deadline), "tier %d: no load", tier);
    return s.tiers[tier];
}

static void write_bytes(int fd, const struct slow *t, uint64_t bytes)
{
    ck_assert_int_eq(ftruncate(fd, (off_t)t->size), 0);
    ck_assert_int_eq(pwrite(fd, s.bytes, bytes, 0), (ssize_t)bytes);
    if (t->spoilt)
        ck_assert_int_eq(pwrite(fd, "spoilt", 6, 0), 6);
}

static void drop_file(struct slow *t)
{
    if (!t->id)
        return;
    jobs_landed(&t->jobs, t->load, 0, &(struct l2_landed){0});
    staging_drop(t->staging, t->id);
    t->id = 0;
}

static void land_locked(struct slow *t, uint64_t bytes)
{
    AUTO_CLOSE int fd = -1;

    if (t->id)
        ck_assert_int_eq(staging_get(t->staging, t->id, O_RDWR, &fd), 0);
    else
        ck_assert_int_eq(staging_create(t->staging, &t->id, &fd), 0);
    write_bytes(fd, t, bytes);
    jobs_landed(&t->jobs, t->load, 0, &(struct l2_landed){t->id, t->size, bytes});
}

void fake_land(int tier, uint64_t bytes)
{
    LOCKED_SCOPE(&s.mutex);
    land_locked(loading_locked(tier), bytes);
}

void fake_again(int tier)
{
    LOCKED_SCOPE(&s.mutex);
    drop_file(loading_locked(tier));
}

static void end_locked(struct slow *t, int error)
{
    struct job *j = t->load;

    if (!error) {
        land_locked(t, FAKE_SIZE);
        j->objects[0] =
            (struct l2_object){.staging_id = t->id, .size = FAKE_SIZE, .crc32c = s.crc32c};
        j->objects[0].attr.mode = S_IFREG | 0644;
        t->id = 0;
    }
    drop_file(t);
    j->errors[0] = error;
    t->load = NULL;
    jobs_finish(&t->jobs, j);
}

void fake_end(int tier, int error)
{
    LOCKED_SCOPE(&s.mutex);
    end_locked(loading_locked(tier), error);
}

void fake_spoil(int tier)
{
    LOCKED_SCOPE(&s.mutex);
    s.tiers[tier]->spoilt = true;
}

void fake_resize(int tier, uint64_t size)
{
    LOCKED_SCOPE(&s.mutex);
    s.tiers[tier]->size = size;
}

/* --- the contract --- */

static l2_task submit(struct adapter *a, const struct job_request *req)
{
    struct slow *t = to_slow(a);
    struct job *j;
    l2_task id;

    ck_assert_int_eq(job_create(sizeof(*j), req, &j), 0);
    LOCKED_SCOPE(&s.mutex);
    id = jobs_begin(&t->jobs, j);
    if (id < 0)
        return id;
    if (j->family == L2_LOAD) {
        ck_assert_ptr_null(t->load);
        t->load = j;
        pthread_cond_broadcast(&s.changed);
        return id;
    }
    for (size_t i = 0; j->family == L2_LOOKUP && i < j->n; i++)
        j->sizes[i] = FAKE_SIZE;
    jobs_finish(&t->jobs, j);
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
    return jobs_event_fd(&to_slow(a)->jobs, family);
}

static int pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return jobs_pop_stored(&to_slow(a)->jobs, out);
}

static int query_lookup(struct adapter *a, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    return jobs_query_lookup(&to_slow(a)->jobs, task, found, sizes);
}

static int query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                      struct l2_object *objects, int *errors)
{
    return jobs_query_load(&to_slow(a)->jobs, task, loaded, objects, errors);
}

static int query_landed(struct adapter *a, l2_task task, struct l2_landed *landed)
{
    return jobs_query_landed(&to_slow(a)->jobs, task, landed);
}

static int list_all(struct adapter *a, l2_list_fn *fn, void *arg)
{
    (void)a;
    fn(arg, &(struct l2_entry){.key = FAKE_KEY,
                               .size = FAKE_SIZE,
                               .blocks = FAKE_SIZE / 512,
                               .attr = {.mode = S_IFREG | 0644},
                               .has_crc = true,
                               .crc32c = s.crc32c});
    return 0;
}

static int remove_keys(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped)
{
    (void)a;
    (void)keys;
    (void)n;
    (void)skipped;
    return 0;
}

static void slow_close(struct adapter *a)
{
    struct slow *t = to_slow(a);

    jobs_shut(&t->jobs);
    lock(&s.mutex);
    if (t->load)
        end_locked(t, -ESHUTDOWN);
    unlock(&s.mutex);
    jobs_fini(&t->jobs);
    free(t);
}

static void drop_object(void *arg, struct l2_object *o)
{
    staging_drop(arg, o->staging_id);
}

static int slow_open(const struct adapter_env *env, const void *config, struct adapter **out);

static const struct conf_opt options[] = {{0}};

static const struct adapter_ops slow_adapter = {
    .name = "slow",
    .summary = "loads as fast as a test says",
    .options = options,
    .flags = L2_PERSISTENT,
    .open = slow_open,
    .close = slow_close,
    .event_fd = event_fd,
    .submit_store = submit_store,
    .pop_stored = pop_stored,
    .submit_lookup_and_lock = submit_lookup,
    .query_lookup = query_lookup,
    .submit_unlock = submit_unlock,
    .submit_load = submit_load,
    .query_load = query_load,
    .query_landed = query_landed,
    .remove = remove_keys,
    .list = list_all,
};

static int slow_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    struct slow *t = calloc(1, sizeof(*t));

    (void)config;
    ck_assert_ptr_nonnull(t);
    ck_assert_uint_lt(s.n, TIERS);
    t->base = (struct adapter){.ops = &slow_adapter, .flags = L2_PERSISTENT};
    t->staging = env->staging;
    t->size = FAKE_SIZE;
    t->jobs.drop_object = drop_object;
    t->jobs.arg = env->staging;
    ck_assert_int_eq(jobs_init(&t->jobs), 0);
    s.tiers[s.n++] = t;
    *out = &t->base;
    return 0;
}

const struct adapter_ops *const adapter_registry[] = {&fs_adapter, &fault_adapter, &slow_adapter,
                                                      NULL};
