/* mock.c - the mock adapter: objects in memory, behind a device of a given bandwidth.
 *
 * One thread (loop.c) takes tasks in order of submission and does their work at once; the task's
 * completion then waits until the simulated device would be done, one transfer after the other in
 * each direction. The objects have a mutex of their own (mock_table.c), so the synchronous
 * operations run on their caller's thread. `waiting`, the timers and the pacers belong to the loop
 * thread, and to close once that has ended.
 */
#include "checksum.h"
#include "clock.h"
#include "job.h"
#include "log.h"
#include "loop.h"
#include "mailbox.h"
#include "mock_table.h"
#include "pace.h"
#include "registry.h"

struct mock_config {
    uint64_t max_size;
    uint64_t bandwidth;
    bool fifo;
};

struct mock {
    struct adapter base;
    struct staging *staging;
    struct keylocks *locks;
    struct mock_table *table;
    struct jobs jobs;
    struct loop *loop;
    struct mailbox *mailbox;
    struct pace write;
    struct pace read;
    struct list waiting; /* struct mock_job, work done */
    bool stopped;        /* set when the loop thread has ended */
};

struct mock_job {
    struct job job;
    struct mock *mock;
    struct letter letter;
    struct loop_timer timer;
    struct list link;
};

static struct mock *to_mock(struct adapter *a)
{
    return container_of(a, struct mock, base);
}

/* --- the work of one key --- */

static int read_all(int fd, void *data, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, (char *)data + at, size - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

static int write_all(int fd, const void *data, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, (const char *)data + at, size - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

static int store_one(struct mock *m, struct job *j, size_t i)
{
    const struct l2_buf *buf = &j->bufs[i];
    struct mock_object *o;
    int err;

    j->crc32c[i] = buf->crc32c;
    if (buf->stable && mock_table_has(m->table, j->keys[i], buf))
        return 0;
    err = mock_object_create(m->table, j->keys[i], buf, &o);
    if (err)
        return err;
    err = read_all(buf->fd, o->data, buf->size);
    if (err) {
        mock_object_destroy(m->table, o);
        return err;
    }
    o->crc32c = buf->stable ? buf->crc32c : checksum(0, o->data, buf->size);
    j->crc32c[i] = o->crc32c;
    j->bytes += mock_table_put(m->table, o);
    return 0;
}

static int write_staging(struct mock *m, const struct mock_object *o, uint64_t *id)
{
    AUTO_CLOSE int fd = -1;
    int err = staging_create(m->staging, id, &fd);

    if (err)
        return err;
    err = write_all(fd, o->data, o->size);
    if (err)
        staging_drop(m->staging, *id);
    return err;
}

static int load_one(struct mock *m, const char *key, struct l2_object *out)
{
    struct mock_object *o;
    struct l2_object loaded;
    int err = mock_table_get(m->table, key, &o, &loaded);

    if (err)
        return err;
    if (checksum(0, o->data, o->size) != loaded.crc32c) {
        mock_table_discard(m->table, o);
        err = -EBADMSG;
    } else {
        err = write_staging(m, o, &loaded.staging_id);
    }
    mock_table_release(m->table, o);
    if (err)
        l2_object_fini(&loaded);
    else
        *out = loaded;
    return err;
}

/* --- tasks on the loop thread --- */

static void finish(struct mock_job *t)
{
    list_remove(&t->link);
    jobs_finish(&t->mock->jobs, &t->job);
}

static void expired(struct loop_timer *timer)
{
    finish(container_of(timer, struct mock_job, timer));
}

static void finish_at(struct mock_job *t, uint64_t due)
{
    list_push_back(&t->mock->waiting, &t->link);
    if (due <= clock_now() || loop_timer_arm(t->mock->loop, &t->timer, due))
        finish(t);
}

static uint64_t do_stores(struct mock *m, struct job *j)
{
    uint64_t start = clock_now();

    for (size_t i = 0; i < j->n; i++)
        j->errors[i] = store_one(m, j, i);
    return pace_book(&m->write, start, j->bytes);
}

static uint64_t do_lookups(struct mock *m, struct job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->errors[i] = mock_table_find(m->table, j->keys[i], &j->sizes[i]);
    return 0;
}

static uint64_t do_loads(struct mock *m, struct job *j)
{
    uint64_t start = clock_now(), bytes = 0;

    for (size_t i = 0; i < j->n; i++) {
        j->errors[i] = load_one(m, j->keys[i], &j->objects[i]);
        bytes += j->errors[i] ? 0 : j->objects[i].size;
    }
    return pace_book(&m->read, start, bytes);
}

static void run(struct letter *letter)
{
    static uint64_t (*const work[])(struct mock * m, struct job * j) = {
        [L2_STORE] = do_stores, [L2_LOOKUP] = do_lookups, [L2_LOAD] = do_loads};
    struct mock_job *t = container_of(letter, struct mock_job, letter);

    if (t->mock->stopped) {
        job_fail(&t->job, -ESHUTDOWN);
        jobs_finish(&t->mock->jobs, &t->job);
        return;
    }
    finish_at(t, work[t->job.family](t->mock, &t->job));
}

/* --- the contract --- */

static l2_task submit(struct adapter *a, const struct job_request *req)
{
    struct mock *m = to_mock(a);
    struct mock_job *t;
    struct job *j;
    l2_task id;
    int err = job_create(sizeof(*t), req, &j);

    if (err)
        return err;
    t = container_of(j, struct mock_job, job);
    t->mock = m;
    t->letter.run = run;
    t->timer.expired = expired;
    list_init(&t->link);
    id = jobs_begin(&m->jobs, j);
    if (id >= 0)
        mailbox_post(m->mailbox, &t->letter);
    return id;
}

static l2_task mock_submit_store(struct adapter *a, const char *const *keys,
                                 const struct l2_buf *bufs, size_t n)
{
    return submit(a, &(struct job_request){L2_STORE, keys, bufs, n});
}

static l2_task mock_submit_lookup(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

static l2_task mock_submit_load(struct adapter *a, const char *const *keys, size_t n)
{
    return submit(a, &(struct job_request){L2_LOAD, keys, NULL, n});
}

static void mock_submit_unlock(struct adapter *a, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        keylocks_put(to_mock(a)->locks, keys[i]);
}

static int mock_event_fd(struct adapter *a, enum l2_family family)
{
    return jobs_event_fd(&to_mock(a)->jobs, family);
}

static int mock_pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return jobs_pop_stored(&to_mock(a)->jobs, out);
}

static int mock_query_lookup(struct adapter *a, l2_task task, struct bitmap **found,
                             uint64_t *sizes)
{
    return jobs_query_lookup(&to_mock(a)->jobs, task, found, sizes);
}

static int mock_query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                           struct l2_object *objects, int *errors)
{
    return jobs_query_load(&to_mock(a)->jobs, task, loaded, objects, errors);
}

static int mock_rename(struct adapter *a, const char *from, const char *to)
{
    return mock_table_rename(to_mock(a)->table, from, to);
}

static int mock_remove(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped)
{
    return mock_table_remove(to_mock(a)->table, keys, n, skipped);
}

static int mock_make_dir(struct adapter *a, const char *dir, const struct l2_attr *attr)
{
    return mock_table_make_dir(to_mock(a)->table, dir, attr);
}

static int mock_set_attr(struct adapter *a, const char *key, const struct l2_attr *attr,
                         const struct l2_xattrs *xattrs, unsigned mask)
{
    return mock_table_set_attr(to_mock(a)->table, key, attr, xattrs, mask);
}

static int mock_list(struct adapter *a, l2_list_fn *fn, void *arg)
{
    return mock_table_list(to_mock(a)->table, fn, arg);
}

static void mock_usage(struct adapter *a, struct l2_usage *out)
{
    mock_table_usage(to_mock(a)->table, out);
}

static size_t mock_force_unlock(struct adapter *a, const char *key)
{
    return keylocks_drop(to_mock(a)->locks, key);
}

static json_t *mock_status(struct adapter *a)
{
    struct l2_usage u;

    mock_table_usage(to_mock(a)->table, &u);
    return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I}", "is_healthy", 1, "type", "mock",
                     "stored_object_count", (json_int_t)u.objects, "locked_key_count",
                     (json_int_t)u.locked, "current_size_bytes", (json_int_t)u.used,
                     "max_capacity_bytes", (json_int_t)u.capacity);
}

/* --- open and close --- */

static void drop_object(void *arg, struct l2_object *o)
{
    staging_drop(arg, o->staging_id);
}

static void mock_free(struct mock *m)
{
    jobs_fini(&m->jobs);
    if (m->loop)
        loop_destroy(m->loop);
    mock_table_destroy(m->table);
    keylocks_destroy(m->locks);
    free(m);
}

/* What was posted and not begun fails; what waits for its time ends now. */
static void mock_close(struct adapter *a)
{
    struct mock *m = to_mock(a);

    jobs_shut(&m->jobs);
    loop_stop(m->loop);
    m->stopped = true;
    mailbox_destroy(m->mailbox);
    while (!list_empty(&m->waiting))
        finish(list_entry(m->waiting.next, struct mock_job, link));
    mock_free(m);
}

static int start(struct mock *m)
{
    int err = loop_create("l2fs-mock", &m->loop);

    if (err)
        return err;
    err = mailbox_create(m->loop, &m->mailbox);
    if (err)
        return err;
    err = loop_start(m->loop);
    if (err)
        mailbox_destroy(m->mailbox);
    return err;
}

static int mock_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    const struct mock_config *cfg = config;
    struct mock *m = calloc(1, sizeof(*m));
    int err = -ENOMEM;

    if (!m)
        return err;
    m->base = (struct adapter){.ops = &mock_adapter};
    m->staging = env->staging;
    m->jobs.drop_object = drop_object;
    m->jobs.arg = env->staging;
    list_init(&m->waiting);
    pace_init(&m->write, cfg->bandwidth);
    pace_init(&m->read, cfg->bandwidth);
    m->locks = keylocks_create();
    m->table = m->locks ? mock_table_create(cfg->max_size, cfg->fifo, m->locks) : NULL;
    if (m->table)
        err = jobs_init(&m->jobs);
    if (!err)
        err = start(m);
    if (err) {
        log_err("%s: cannot start: %s; lower -o l1 or raise the limit of open files", env->instance,
                strerror(-err));
        mock_free(m);
        return err;
    }
    *out = &m->base;
    return 0;
}

static const struct conf_opt options[] = {
    {.name = "max_size_gb",
     .type = CONF_GIB,
     .offset = offsetof(struct mock_config, max_size),
     .help = "capacity in GiB, never exceeded",
     .required = true},
    {.name = "mock_bandwidth_gb",
     .type = CONF_GIB,
     .offset = offsetof(struct mock_config, bandwidth),
     .help = "simulated bandwidth in GiB/s, for each direction",
     .required = true},
    {.name = "fifo",
     .type = CONF_BOOL,
     .offset = offsetof(struct mock_config, fifo),
     .def = "false",
     .help =
         "when it is full the oldest unlocked objects leave, and nobody is told; else a store has "
         "no space until something is removed"},
    {0},
};

const struct adapter_ops mock_adapter = {
    .name = "mock",
    .summary = "memory of the daemon behind a simulated bandwidth, for tests",
    .options = options,
    .config_size = sizeof(struct mock_config),
    .open = mock_open,
    .close = mock_close,
    .event_fd = mock_event_fd,
    .submit_store = mock_submit_store,
    .pop_stored = mock_pop_stored,
    .submit_lookup_and_lock = mock_submit_lookup,
    .query_lookup = mock_query_lookup,
    .submit_unlock = mock_submit_unlock,
    .submit_load = mock_submit_load,
    .query_load = mock_query_load,
    .rename = mock_rename,
    .remove = mock_remove,
    .make_dir = mock_make_dir,
    .set_attr = mock_set_attr,
    .list = mock_list,
    .usage = mock_usage,
    .force_unlock = mock_force_unlock,
    .status = mock_status,
};
