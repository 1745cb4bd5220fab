/* front_request.c - parking and going on with requests that wait; buffers for the copying path.
 *
 * Thread model: see front_request.h; with io_uring a thread of our own stands in for the loop
 * thread. The interrupt callback runs under libfuse's lock of the request and only posts a retry, so
 * that unregistering it (which takes the same lock) before the answer is enough to know that it
 * never sees an answered request. Registering it again after each parking makes libfuse call it at
 * once for an interrupt that came in between.
 */
#include "front_request.h"

#include "clock.h"
#include "process.h"
#include "thread.h"

#define LOOK_NS (100 * NSEC_PER_MSEC)
#define LOOKS 64 /* at a time */

struct buffer {
    struct list link;
};

void parked_init(struct parked *p, struct front *f, void (*retry)(struct waiter *w))
{
    p->w.retry = retry;
    p->front = f;
    lock_init(&p->lock);
    list_init(&p->link);
}

void parked_add(struct parked *p)
{
    struct front *f = p->front;
    bool draining;

    p->listed = true;
    lock(&f->lock);
    if (!list_linked(&p->link)) {
        p->since = clock_now();
        list_push_back(&f->parked, &p->link);
    }
    draining = f->draining;
    unlock(&f->lock);
    if (draining)
        vfs_interrupt(f->fs, &p->w);
}

void parked_done(struct parked *p)
{
    struct front *f = p->front;

    if (p->listed) {
        LOCKED_SCOPE(&f->lock);
        list_remove(&p->link);
        if (list_empty(&f->parked))
            pthread_cond_broadcast(&f->drained);
    }
    pthread_mutex_destroy(&p->lock);
}

void front_drain(struct front *f, uint64_t deadline)
{
    struct list *l;

    LOCKED_SCOPE(&f->lock);
    f->draining = true;
    list_for_each(l, &f->parked)
    {
        vfs_interrupt(f->fs, &list_entry(l, struct parked, link)->w);
    }
    while (!list_empty(&f->parked)) {
        if (cond_wait_until(&f->drained, &f->lock, deadline) == -ETIMEDOUT)
            break;
    }
}

static void on_interrupt(fuse_req_t req, void *data)
{
    struct request *r = data;

    (void)req;
    vfs_interrupt(r->p.front->fs, &r->p.w);
}

static bool is_draining(struct front *f)
{
    LOCKED_SCOPE(&f->lock);
    return f->draining;
}

/* The rings of a session that ends are gone with their requests. */
static bool is_lost(const struct request *r)
{
#if FRONT_HAS(3, 18)
    return fuse_session_exited(r->p.front->se) && fuse_req_is_uring(r->req);
#else
    (void)r;
    return false;
#endif
}

static void finish(struct request *r, int rc)
{
    if (is_lost(r))
        r->req = NULL;
    if (r->armed && r->req)
        fuse_req_interrupt_func(r->req, NULL, NULL);
    /* Nobody asked for it but us: what an unmounted file system says. */
    if (rc == -EINTR && is_draining(r->p.front) && r->req && !fuse_req_interrupted(r->req))
        rc = -ENOTCONN;
    r->op->reply(r, rc);
    parked_done(&r->p);
    free(r);
}

static void retrier_watch(struct retrier *t)
{
    LOCKED_SCOPE(&t->lock);
    if (t->look_at)
        return;
    t->look_at = clock_deadline(LOOK_NS);
    pthread_cond_signal(&t->cond);
}

void request_run(struct request *r)
{
    int rc;

    lock(&r->p.lock);
    rc = r->op->call(r);
    if (rc == -EINPROGRESS) {
        parked_add(&r->p);
        r->armed = r->op->interruptible;
        if (r->armed && !is_lost(r))
            fuse_req_interrupt_func(r->req, on_interrupt, r);
        if (r->p.caller)
            retrier_watch(&r->p.front->retrier);
        unlock(&r->p.lock);
        return;
    }
    unlock(&r->p.lock);
    finish(r, rc);
}

/* ---- signals of those who wait, where nobody tells of interrupts ---- */

struct look {
    const struct parked *parked; /* which may be gone: only `since` tells it from the next one */
    pid_t caller;
    uint64_t since;
};

/* Those who were not looked at for longest; they go to the end. */
static size_t choose_looks(struct front *f, struct look looks[LOOKS])
{
    struct list *l, *tmp;
    struct list looked;
    size_t n = 0;

    list_init(&looked);
    LOCKED_SCOPE(&f->lock);
    list_for_each_safe(l, tmp, &f->parked)
    {
        const struct parked *p = list_entry(l, struct parked, link);

        if (!p->caller || n == LOOKS)
            continue;
        looks[n++] = (struct look){p, p->caller, p->since};
        list_remove(l);
        list_push_back(&looked, l);
    }
    list_splice(&f->parked, &looked);
    return n;
}

/* Twice in a row: another thread of the process may have been about to take it. */
static void note_look(struct front *f, const struct look *look, bool signalled)
{
    struct list *l;

    LOCKED_SCOPE(&f->lock);
    list_for_each(l, &f->parked)
    {
        struct parked *p = list_entry(l, struct parked, link);

        if (p != look->parked || p->since != look->since)
            continue;
        if (p->signalled && signalled)
            vfs_interrupt(f->fs, &p->w);
        p->signalled = signalled;
        return;
    }
}

/* False: nobody waits whom a signal would end. */
static bool look_for_signals(struct front *f)
{
    struct look looks[LOOKS];
    size_t n = choose_looks(f, looks);

    for (size_t i = 0; i < n; i++)
        note_look(f, &looks[i], process_has_signal(looks[i].caller));
    return n;
}

/* Until there is something to do again. */
static void rest_locked(struct retrier *t)
{
    struct front *f = container_of(t, struct front, retrier);
    bool more;

    if (!t->look_at) {
        pthread_cond_wait(&t->cond, &t->lock);
        return;
    }
    if (cond_wait_until(&t->cond, &t->lock, t->look_at) != -ETIMEDOUT)
        return;
    t->look_at = 0; /* whoever waits from now on says so again */
    unlock(&t->lock);
    more = look_for_signals(f);
    lock(&t->lock);
    if (more)
        t->look_at = clock_deadline(LOOK_NS);
}

static void *run_again(void *arg)
{
    struct retrier *t = arg;
    struct list *l;

    pthread_setname_np(pthread_self(), "l2fs-retry");
    lock(&t->lock);
    while (!t->closed) {
        l = list_pop_front(&t->requests);
        if (!l) {
            rest_locked(t);
            continue;
        }
        unlock(&t->lock);
        request_run(list_entry(l, struct request, again));
        lock(&t->lock);
    }
    unlock(&t->lock);
    return NULL;
}

int retrier_start(struct front *f)
{
    struct retrier *t = &f->retrier;
    int rc = 0;

    lock_init(&t->lock);
    cond_init(&t->cond);
    list_init(&t->requests);
    if (f->cfg->io_uring)
        rc = thread_start(&t->thread, run_again, t);
    t->running = f->cfg->io_uring && !rc;
    return rc;
}

void retrier_fini(struct front *f)
{
    struct retrier *t = &f->retrier;

    lock(&t->lock);
    t->closed = true;
    pthread_cond_signal(&t->cond);
    unlock(&t->lock);
    if (t->running)
        pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->lock);
}

static void retry(struct waiter *w)
{
    struct request *r = container_of(w, struct request, p.w);
    struct retrier *t = &r->p.front->retrier;

    if (!t->running) {
        request_run(r);
        return;
    }
    LOCKED_SCOPE(&t->lock);
    list_push_back(&t->requests, &r->again);
    pthread_cond_signal(&t->cond);
}

void *request_create(fuse_req_t req, const struct request_op *op, size_t size)
{
    struct request *r = calloc(1, size);

    if (!r) {
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    parked_init(&r->p, front_of(req), retry);
    r->op = op;
    if (op->interruptible && r->p.front->retrier.running)
        r->p.caller = fuse_req_ctx(req)->pid;
    list_init(&r->again);
    r->req = req;
    return r;
}

void request_reply_status(struct request *r, int rc)
{
    if (r->req)
        fuse_reply_err(r->req, -rc);
}

void *buffer_get(struct front *f)
{
    struct list *l;
    void *buf;

    lock(&f->lock);
    l = list_pop_front(&f->buffers);
    unlock(&f->lock);
    if (l)
        return list_entry(l, struct buffer, link);
    return posix_memalign(&buf, 4096, FRONT_IO_MAX) ? NULL : buf;
}

void buffer_put(struct front *f, void *buf)
{
    struct buffer *b = buf;

    if (!b)
        return;
    LOCKED_SCOPE(&f->lock);
    list_push_front(&f->buffers, &b->link);
}

void buffers_free(struct front *f)
{
    struct list *l;

    while ((l = list_pop_front(&f->buffers)))
        free(list_entry(l, struct buffer, link));
}
