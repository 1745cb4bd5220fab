/* fault_task.c - the way of a task through the fault adapter.
 *
 * The owner's thread decides each key's fate at submit, so that it follows the order of submission.
 * The loop thread is the wrapped adapter's owner: it passes on the keys that are to reach it, takes
 * their results, spoils them, and completes the task at once, when its delay is over, after another,
 * or not before it is released. A task is in `asked`, `waiting`, `held` or `stuck`, all of the loop
 * thread.
 */
#include "fault_impl.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "checksum.h"
#include "clock.h"

#define REORDER_DELAY (100 * NSEC_PER_MSEC)

static void fault_job_free_parts(struct fault_job *t)
{
    for (size_t i = 0; t->copies && i < t->job.n; i++)
        auto_close(&t->copies[i]);
    free(t->verdicts);
    free(t->index);
    free(t->keys);
    free(t->bufs);
    free(t->copies);
    free(t->sizes);
    free(t->objects);
    free(t->landed);
    free(t->errors);
}

/* --- completing --- */

static void finish(struct fault_job *t)
{
    list_remove(&t->link);
    fault_job_free_parts(t);
    jobs_finish(&t->fault->jobs, &t->job);
}

static void move_to(struct fault_job *t, struct list *to)
{
    list_remove(&t->link);
    list_push_back(to, &t->link);
}

/* Those that were to be overtaken have been. */
static void finish_held(struct fault *f, enum l2_family family)
{
    struct list *link;

    while ((link = list_pop_front(&f->held[family]))) {
        struct fault_job *t = list_entry(link, struct fault_job, link);

        loop_timer_cancel(f->loop, &t->timer);
        finish(t);
    }
}

static void finish_now(struct fault_job *t)
{
    struct fault *f = t->fault;
    enum l2_family family = t->job.family;
    bool overtakes = !t->reorder;

    finish(t);
    if (overtakes)
        finish_held(f, family);
}

static void expired(struct loop_timer *timer)
{
    finish_now(container_of(timer, struct fault_job, timer));
}

void fault_end_job(struct fault_job *t)
{
    struct fault *f = t->fault;

    if (t->never && !fault_is_released(f)) {
        move_to(t, &f->stuck);
        return;
    }
    move_to(t, t->reorder ? &f->held[t->job.family] : &f->waiting);
    if (t->due <= clock_now() || loop_timer_arm(f->loop, &t->timer, t->due))
        finish_now(t);
}

/* --- before the wrapped adapter --- */

static int flip_byte(int fd, uint64_t size)
{
    off_t at = (off_t)(size / 2);
    unsigned char byte;

    if (pread(fd, &byte, 1, at) != 1)
        return -EIO;
    byte ^= 0x40;
    return pwrite(fd, &byte, 1, at) == 1 ? 0 : -EIO;
}

static int copy_file(int from, int to, uint64_t size)
{
    size_t piece = (size_t)MIN(size, MIB);
    AUTO_FREE char *buf = malloc(piece ? piece : 1);

    if (!buf)
        return -ENOMEM;
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(from, buf, (size_t)MIN(size - at, (uint64_t)piece), (off_t)at);

        if (n <= 0)
            return n ? -errno : -EIO;
        if (pwrite(to, buf, (size_t)n, (off_t)at) != n)
            return -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

/* The bytes with one flipped, or the first half, under the checksum of the whole: what a bad disk
 * would hold. */
static int spoil_buffer(struct l2_buf *buf, bool cut, int *copy)
{
    AUTO_CLOSE int fd = memfd_create("l2fs-fault", MFD_CLOEXEC);
    int err;

    if (fd < 0)
        return -errno;
    err = copy_file(buf->fd, fd, buf->size);
    if (!err && !buf->stable)
        err = checksum_file(fd, buf->size, &buf->crc32c);
    if (!err && !cut)
        err = flip_byte(fd, buf->size);
    if (err)
        return err;
    if (cut)
        buf->size /= 2;
    buf->stable = true;
    buf->fd = *copy = steal_fd(&fd);
    return 0;
}

static void delay_until(struct fault_job *t, uint64_t ns)
{
    if (ns)
        t->due = MAX(t->due, clock_deadline(ns));
}

/* 0: key i goes to the wrapped adapter; else its error. */
static int meet_fate(struct fault_job *t, size_t i, struct l2_buf *buf)
{
    const struct fault_verdict *v = &t->verdicts[i];

    delay_until(t, v->delay);
    switch (v->action) {
    case FAULT_FAIL: return v->error;
    case FAULT_DROP: delay_until(t, t->fault->cfg->drop_timeout); return -ETIMEDOUT;
    case FAULT_NEVER: t->never = true; return 0;
    case FAULT_REORDER:
        t->reorder = true;
        delay_until(t, v->delay ? 0 : REORDER_DELAY);
        return 0;
    case FAULT_CORRUPT:
    case FAULT_SHORT:
        if (buf && buf->size)
            return spoil_buffer(buf, v->action == FAULT_SHORT, &t->copies[i]);
        return 0;
    default: return 0;
    }
}

static void select_keys(struct fault_job *t)
{
    struct job *j = &t->job;

    for (size_t i = 0; i < j->n; i++) {
        struct l2_buf *buf = NULL;

        if (t->bufs) {
            buf = &t->bufs[t->n];
            *buf = j->bufs[i];
        }
        j->errors[i] = meet_fate(t, i, buf);
        if (j->errors[i])
            continue;
        t->keys[t->n] = j->keys[i];
        t->index[t->n++] = i;
    }
}

static l2_task ask(struct fault_job *t)
{
    struct adapter *a = t->fault->inner;

    switch (t->job.family) {
    case L2_STORE: return a->ops->submit_store(a, t->keys, t->bufs, t->n);
    case L2_LOOKUP: return a->ops->submit_lookup_and_lock(a, t->keys, t->n);
    default: return a->ops->submit_load(a, t->keys, t->n);
    }
}

/* What lands is passed on; what has arrived is spoiled. The first call asks to be told. */
static void pass_landed(struct fault_job *t)
{
    struct adapter *inner = t->fault->inner;

    if (!inner->ops->query_landed || inner->ops->query_landed(inner, t->inner, t->landed))
        return;
    for (size_t k = 0; k < t->n; k++)
        jobs_landed(&t->fault->jobs, &t->job, t->index[k], &t->landed[k]);
}

static void run(struct letter *letter)
{
    struct fault_job *t = container_of(letter, struct fault_job, letter);
    struct fault *f = t->fault;

    if (f->stopped) {
        job_fail(&t->job, -ESHUTDOWN);
        finish(t);
        return;
    }
    select_keys(t);
    t->inner = t->n ? ask(t) : 0;
    if (t->inner > 0) {
        list_push_back(&f->asked[t->job.family], &t->link);
        if (t->job.family == L2_LOAD)
            pass_landed(t);
        return;
    }
    for (size_t k = 0; k < t->n; k++)
        t->job.errors[t->index[k]] = (int)t->inner;
    fault_end_job(t);
}

static bool make_store_parts(struct fault_job *t)
{
    size_t n = t->job.n;

    t->bufs = calloc(n, sizeof(*t->bufs));
    t->copies = malloc(n * sizeof(*t->copies));
    for (size_t i = 0; t->copies && i < n; i++)
        t->copies[i] = -1;
    return t->bufs && t->copies;
}

static bool make_parts(struct fault_job *t)
{
    size_t n = t->job.n;

    t->verdicts = calloc(n, sizeof(*t->verdicts));
    t->index = calloc(n, sizeof(*t->index));
    t->keys = calloc(n, sizeof(*t->keys));
    if (!t->verdicts || !t->index || !t->keys)
        return false;
    if (t->job.family == L2_STORE)
        return make_store_parts(t);
    t->sizes = calloc(n, sizeof(*t->sizes));
    t->objects = calloc(n, sizeof(*t->objects));
    t->landed = calloc(n, sizeof(*t->landed));
    t->errors = calloc(n, sizeof(*t->errors));
    return t->sizes && t->objects && t->landed && t->errors;
}

/* 0, or what submit is to return. */
static int decide(struct fault_job *t)
{
    struct job *j = &t->job;
    int refused = 0;

    for (size_t i = 0; i < j->n; i++) {
        fault_decide(t->fault->rules, (enum fault_op)j->family, j->keys[i], &t->verdicts[i]);
        if (j->family == L2_LOAD && fault_gaps_hit(&t->fault->cfg->gaps, j->keys[i], i, j->n))
            t->verdicts[i] = (struct fault_verdict){.action = FAULT_FAIL, .error = -EIO};
        if (t->verdicts[i].action == FAULT_REFUSE && !refused)
            refused = t->verdicts[i].error;
    }
    return refused;
}

l2_task fault_submit(struct fault *f, const struct job_request *req)
{
    struct fault_job *t;
    struct job *j;
    l2_task id;
    int err = job_create(sizeof(*t), req, &j);

    if (err)
        return err;
    t = container_of(j, struct fault_job, job);
    t->fault = f;
    t->letter.run = run;
    t->timer.expired = expired;
    list_init(&t->link);
    id = make_parts(t) ? decide(t) : -ENOMEM;
    if (id) {
        fault_job_free_parts(t);
        job_destroy(j);
        return id;
    }
    id = jobs_begin(&f->jobs, j);
    if (id >= 0)
        mailbox_post(f->mailbox, &t->letter);
    return id;
}

/* --- after the wrapped adapter --- */

static void take_stores(struct fault *f)
{
    struct l2_store_result r;

    while (f->inner->ops->pop_stored(f->inner, &r) > 0) {
        struct list *link;

        list_for_each(link, &f->asked[L2_STORE])
        {
            if (list_entry(link, struct fault_job, link)->inner == r.task)
                break;
        }
        if (link != &f->asked[L2_STORE]) {
            struct fault_job *t = list_entry(link, struct fault_job, link);

            for (size_t k = 0; k < t->n; k++) {
                t->job.errors[t->index[k]] = r.errors[k];
                t->job.crc32c[t->index[k]] = r.crc32c[k];
            }
            t->job.bytes = r.bytes;
            fault_end_job(t);
        }
        l2_store_result_fini(&r);
    }
}

/* -EAGAIN: not yet. */
static int take_lookup(struct fault_job *t)
{
    struct adapter *inner = t->fault->inner;
    struct bitmap *found;
    int err = inner->ops->query_lookup(inner, t->inner, &found, t->sizes);

    if (err)
        return err;
    for (size_t k = 0; k < t->n; k++) {
        int missing = t->sizes[k] == L2_LOOKUP_FAILED ? -EIO : -ENOENT;

        t->job.errors[t->index[k]] = bitmap_test(found, k) ? 0 : missing;
        t->job.sizes[t->index[k]] = t->sizes[k];
    }
    bitmap_destroy(found);
    return 0;
}

/* Damages what was loaded, then does what every adapter does: verifies it. It keeps its length: who
 * reads what has landed may have it mapped. */
static int spoil_object(struct fault *f, struct l2_object *o, bool cut)
{
    AUTO_CLOSE int fd = -1;
    uint32_t crc = ~o->crc32c;
    int err;

    if (!o->size)
        return 0;
    err = staging_get(f->staging, o->staging_id, O_RDWR, &fd);
    if (!err && !cut)
        err = flip_byte(fd, o->size);
    if (!err)
        err = checksum_file(fd, cut ? o->size / 2 : o->size, &crc);
    if (!err && crc == o->crc32c)
        return 0;
    staging_drop(f->staging, o->staging_id);
    l2_object_fini(o);
    return err ? err : -EBADMSG;
}

static void take_object(struct fault_job *t, size_t k, struct l2_object *o, int error)
{
    size_t i = t->index[k];
    enum fault_action action = t->verdicts[i].action;
    struct l2_landed landed = {0};

    if (!error && (action == FAULT_CORRUPT || action == FAULT_SHORT))
        error = spoil_object(t->fault, o, action == FAULT_SHORT);
    t->job.errors[i] = error;
    if (!error) {
        t->job.objects[i] = *o;
        landed = (struct l2_landed){o->staging_id, o->size, o->size};
    }
    jobs_landed(&t->fault->jobs, &t->job, i, &landed); /* it may be long until it is handed out */
}

static int take_load(struct fault_job *t)
{
    struct adapter *inner = t->fault->inner;
    struct bitmap *loaded;
    int err = inner->ops->query_load(inner, t->inner, &loaded, t->objects, t->errors);

    if (err)
        return err;
    for (size_t k = 0; k < t->n; k++) {
        int error = t->errors[k] ? t->errors[k] : -ENOENT;

        take_object(t, k, &t->objects[k], bitmap_test(loaded, k) ? 0 : error);
    }
    bitmap_destroy(loaded);
    return 0;
}

static void take_queries(struct fault *f, enum l2_family family)
{
    struct list *link, *tmp;

    list_for_each_safe(link, tmp, &f->asked[family])
    {
        struct fault_job *t = list_entry(link, struct fault_job, link);
        int err = family == L2_LOOKUP ? take_lookup(t) : take_load(t);

        if (err == -EAGAIN && family == L2_LOAD)
            pass_landed(t);
        if (err == -EAGAIN)
            continue;
        if (err)
            job_fail(&t->job, err);
        fault_end_job(t);
    }
}

void fault_watch_ready(struct loop_fd *event, uint32_t events)
{
    struct fault_watch *w = container_of(event, struct fault_watch, event);
    uint64_t count;

    (void)events;
    if (read(event->fd, &count, sizeof(count)) < 0)
        return;
    if (w->family == L2_STORE)
        take_stores(w->fault);
    else
        take_queries(w->fault, w->family);
}

static void finish_all(struct list *jobs)
{
    struct list *link;

    while ((link = list_pop_front(jobs)))
        finish(list_entry(link, struct fault_job, link));
}

void fault_end_jobs(struct fault *f)
{
    struct list *link;

    for (int i = 0; i < L2_FAMILIES; i++) {
        while ((link = list_pop_front(&f->asked[i]))) {
            struct fault_job *t = list_entry(link, struct fault_job, link);

            job_fail(&t->job, -ESHUTDOWN);
            finish(t);
        }
        finish_all(&f->held[i]);
    }
    finish_all(&f->waiting);
    finish_all(&f->stuck);
}
