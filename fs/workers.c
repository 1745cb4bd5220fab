/* workers.c - a thread pool that runs blocking one-key functions as L2 tasks.
 *
 * Threads take one key at a time: lookups first, then loads, then stores, oldest task first within
 * a family, so a task's keys run side by side and a big store never stands before a read. All but
 * one thread may be in stores. One mutex guards the queues and the progress of every task; results
 * of a key are written without it, by the thread that ran the key, and are published by the thread
 * that completes the task's last key, after it has taken the mutex.
 */
#include "workers.h"

#include "job.h"
#include "lock.h"
#include "log.h"
#include "thread.h"

struct wtask {
    struct job job;
    struct list link; /* in workers.queue while it has keys to start; lock */
    size_t next;      /* first key not started; lock */
    size_t left;      /* keys not done; lock */
};

struct workers {
    struct adapter *adapter;
    const struct worker_ops *ops;
    struct jobs jobs;
    pthread_t *threads;
    unsigned n_threads;
    unsigned max_stores;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue[L2_FAMILIES]; /* struct wtask; lock */
    unsigned running_stores;        /* lock */
    bool stopping;                  /* lock */
};

struct step {
    struct wtask *task;
    size_t index;
};

struct worker_load {
    struct workers *w;
    struct job *job;
    size_t index;
};

static bool pick_locked(struct workers *w, struct step *out)
{
    static const enum l2_family order[] = {L2_LOOKUP, L2_LOAD, L2_STORE};

    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        struct list *queue = &w->queue[order[i]];
        struct wtask *t;

        if (list_empty(queue) || (order[i] == L2_STORE && w->running_stores >= w->max_stores))
            continue;
        t = list_entry(queue->next, struct wtask, link);
        *out = (struct step){t, t->next++};
        if (t->next == t->job.n)
            list_remove(&t->link);
        if (order[i] == L2_STORE)
            w->running_stores++;
        return true;
    }
    return false;
}

static bool wait_step(struct workers *w, struct step *out)
{
    LOCKED_SCOPE(&w->lock);
    while (!w->stopping) {
        if (pick_locked(w, out))
            return true;
        pthread_cond_wait(&w->wake, &w->lock);
    }
    return false;
}

static int run_load(struct workers *w, struct job *j, size_t i)
{
    struct worker_load load = {w, j, i};

    return w->ops->load_one(w->adapter, j->keys[i], &load, &j->objects[i]);
}

void workers_landed(struct worker_load *load, const struct l2_landed *now)
{
    jobs_landed(&load->w->jobs, load->job, load->index, now);
}

static int run_key(struct workers *w, struct job *j, size_t i, uint64_t *bytes)
{
    switch (j->family) {
    case L2_STORE:
        return w->ops->store_one(w->adapter, j->keys[i], &j->bufs[i], &j->crc32c[i], bytes);
    case L2_LOOKUP: return w->ops->find_one(w->adapter, j->keys[i], &j->sizes[i]);
    default: return run_load(w, j, i);
    }
}

/* True when that was the task's last key. */
static bool key_done(struct workers *w, struct wtask *t, uint64_t bytes)
{
    LOCKED_SCOPE(&w->lock);
    if (t->job.family == L2_STORE) {
        w->running_stores--;
        if (!list_empty(&w->queue[L2_STORE]))
            pthread_cond_signal(&w->wake);
    }
    t->job.bytes += bytes;
    return --t->left == 0;
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    struct step step;

    while (wait_step(w, &step)) {
        uint64_t bytes = 0;
        int err = run_key(w, &step.task->job, step.index, &bytes);

        step.task->job.errors[step.index] = err;
        if (key_done(w, step.task, err ? 0 : bytes))
            jobs_finish(&w->jobs, &step.task->job);
    }
    return NULL;
}

static void join_all(struct workers *w)
{
    lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    unlock(&w->lock);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    w->n_threads = 0;
}

static int start_threads(struct workers *w, unsigned threads, const char *name)
{
    char short_name[16];
    int err = 0;

    snprintf(short_name, sizeof(short_name), "%s", name);
    while (w->n_threads < threads && !err) {
        err = thread_start(&w->threads[w->n_threads], worker_main, w);
        if (!err)
            pthread_setname_np(w->threads[w->n_threads++], short_name);
    }
    if (err)
        log_err("cannot start thread %u of %u of %s: %s; lower the number of threads", w->n_threads,
                threads, name, strerror(-err));
    return err;
}

static void drop_object(void *arg, struct l2_object *o)
{
    struct workers *w = arg;

    if (w->ops->drop_one)
        w->ops->drop_one(w->adapter, o);
}

static void workers_free(struct workers *w)
{
    jobs_fini(&w->jobs);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->threads);
    free(w);
}

static struct workers *workers_alloc(struct adapter *a, const struct worker_ops *ops,
                                     unsigned threads)
{
    struct workers *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->threads = calloc(threads, sizeof(*w->threads));
    if (!w->threads) {
        free(w);
        return NULL;
    }
    w->adapter = a;
    w->ops = ops;
    w->max_stores = threads > 1 ? threads - 1 : 1;
    w->jobs.drop_object = drop_object;
    w->jobs.arg = w;
    lock_init(&w->lock);
    cond_init(&w->wake);
    for (int i = 0; i < L2_FAMILIES; i++)
        list_init(&w->queue[i]);
    return w;
}

int workers_start(struct adapter *a, const struct worker_ops *ops, unsigned threads,
                  const char *name, struct workers **out)
{
    struct workers *w;
    int err;

    if (threads < 1 || threads > 256)
        return -EINVAL;
    w = workers_alloc(a, ops, threads);
    if (!w)
        return -ENOMEM;
    err = jobs_init(&w->jobs);
    if (!err)
        err = start_threads(w, threads, name);
    if (err) {
        join_all(w);
        workers_free(w);
        return err;
    }
    *out = w;
    return 0;
}

/* Ends the keys nobody has started; tasks that have none running go to `finished`. */
static void cancel_queued(struct workers *w, struct list *finished)
{
    struct list *link;

    LOCKED_SCOPE(&w->lock);
    for (int i = 0; i < L2_FAMILIES; i++) {
        while ((link = list_pop_front(&w->queue[i]))) {
            struct wtask *t = list_entry(link, struct wtask, link);

            t->left -= t->job.n - t->next;
            while (t->next < t->job.n)
                t->job.errors[t->next++] = -ESHUTDOWN;
            if (!t->left)
                list_push_back(finished, &t->link);
        }
    }
}

void workers_stop(struct workers *w)
{
    struct list finished, *link;

    if (!w)
        return;
    list_init(&finished);
    jobs_shut(&w->jobs);
    cancel_queued(w, &finished);
    while ((link = list_pop_front(&finished)))
        jobs_finish(&w->jobs, &list_entry(link, struct wtask, link)->job);
    join_all(w);
    workers_free(w);
}

static l2_task submit(struct workers *w, const struct job_request *req)
{
    struct job *j;
    struct wtask *t;
    l2_task id;
    int err = job_create(sizeof(*t), req, &j);

    if (err)
        return err;
    t = container_of(j, struct wtask, job);
    t->left = req->n;
    id = jobs_begin(&w->jobs, j);
    if (id < 0)
        return id;
    LOCKED_SCOPE(&w->lock);
    list_push_back(&w->queue[req->family], &t->link);
    if (req->n > 1)
        pthread_cond_broadcast(&w->wake);
    else
        pthread_cond_signal(&w->wake);
    return id;
}

int workers_event_fd(struct workers *w, enum l2_family family)
{
    return jobs_event_fd(&w->jobs, family);
}

l2_task workers_submit_store(struct workers *w, const char *const *keys, const struct l2_buf *bufs,
                             size_t n)
{
    return submit(w, &(struct job_request){L2_STORE, keys, bufs, n});
}

int workers_pop_stored(struct workers *w, struct l2_store_result *out)
{
    return jobs_pop_stored(&w->jobs, out);
}

l2_task workers_submit_lookup(struct workers *w, const char *const *keys, size_t n)
{
    return submit(w, &(struct job_request){L2_LOOKUP, keys, NULL, n});
}

int workers_query_lookup(struct workers *w, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    return jobs_query_lookup(&w->jobs, task, found, sizes);
}

l2_task workers_submit_load(struct workers *w, const char *const *keys, size_t n)
{
    return submit(w, &(struct job_request){L2_LOAD, keys, NULL, n});
}

int workers_query_load(struct workers *w, l2_task task, struct bitmap **loaded,
                       struct l2_object *objects, int *errors)
{
    return jobs_query_load(&w->jobs, task, loaded, objects, errors);
}

int workers_query_landed(struct workers *w, l2_task task, struct l2_landed *landed)
{
    return jobs_query_landed(&w->jobs, task, landed);
}
