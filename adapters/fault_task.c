/* fault_task.c - the way of a task through the fault adapter.
 *
 * The owner's thread decides each key's fate at submit, so that it follows the order of submission.
 * The loop thread is the wrapped adapter's owner: it passes on the keys that are to reach it, takes
 * their results, spoils them, and completes the task at once or when its delay is over. A task is
 * in `asked` or in `waiting`, both of the loop thread.
 */
#include "fault_impl.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "checksum.h"
#include "clock.h"

struct fault_job {
    struct job job;
    struct fault *fault;
    struct letter letter;
    struct loop_timer timer;
    struct list link;
    struct fault_verdict *verdicts; /* per key */
    uint64_t due;                   /* 0: at once */
    /* What the wrapped adapter is asked for: */
    size_t n;
    size_t *index; /* position in the job */
    const char **keys;
    struct l2_buf *bufs;       /* store */
    int *copies;               /* store: descriptors of spoiled copies, else -1 */
    uint64_t *sizes;           /* lookup: what it answers */
    struct l2_object *objects; /* load: what it answers */
    int *errors;
    l2_task inner;
};

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
    free(t->errors);
}

static void finish(struct fault_job *t)
{
    list_remove(&t->link);
    fault_job_free_parts(t);
    jobs_finish(&t->fault->jobs, &t->job);
}

static void expired(struct loop_timer *timer)
{
    finish(container_of(timer, struct fault_job, timer));
}

static void finish_when_due(struct fault_job *t)
{
    struct fault *f = t->fault;

    list_remove(&t->link);
    list_push_back(&f->waiting, &t->link);
    if (t->due <= clock_now() || loop_timer_arm(f->loop, &t->timer, t->due))
        finish(t);
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

/* The bytes with one flipped, under the checksum they had before: what a bad disk would hold. */
static int spoil_buffer(struct l2_buf *buf, int *copy)
{
    AUTO_CLOSE int fd = memfd_create("l2fs-fault", MFD_CLOEXEC);
    int err;

    if (fd < 0)
        return -errno;
    err = copy_file(buf->fd, fd, buf->size);
    if (!err && !buf->stable)
        err = checksum_file(fd, buf->size, &buf->crc32c);
    if (!err)
        err = flip_byte(fd, buf->size);
    if (err)
        return err;
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
    case FAULT_CORRUPT:
        if (buf && buf->size)
            return spoil_buffer(buf, &t->copies[i]);
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
        return;
    }
    for (size_t k = 0; k < t->n; k++)
        t->job.errors[t->index[k]] = (int)t->inner;
    finish_when_due(t);
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
    t->errors = calloc(n, sizeof(*t->errors));
    return t->sizes && t->objects && t->errors;
}

static void decide(struct fault_job *t)
{
    struct job *j = &t->job;

    for (size_t i = 0; i < j->n; i++) {
        fault_decide(t->fault->rules, (enum fault_op)j->family, j->keys[i], &t->verdicts[i]);
        if (j->family == L2_LOAD && fault_gaps_hit(&t->fault->cfg->gaps, j->keys[i], i, j->n))
            t->verdicts[i] = (struct fault_verdict){.action = FAULT_FAIL, .error = -EIO};
    }
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
    id = make_parts(t) ? 0 : -ENOMEM;
    if (id) {
        fault_job_free_parts(t);
        job_destroy(j);
        return id;
    }
    decide(t);
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
            finish_when_due(t);
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
        t->job.errors[t->index[k]] = bitmap_test(found, k) ? 0 : -ENOENT;
        t->job.sizes[t->index[k]] = t->sizes[k];
    }
    bitmap_destroy(found);
    return 0;
}

/* Damages what was loaded, then does what every adapter does: verifies it. */
static int spoil_object(struct fault *f, struct l2_object *o)
{
    AUTO_CLOSE int fd = -1;
    uint32_t crc = ~o->crc32c;
    int err;

    if (!o->size)
        return 0;
    err = staging_get(f->staging, o->staging_id, O_RDWR, &fd);
    if (!err)
        err = flip_byte(fd, o->size);
    if (!err)
        err = checksum_file(fd, o->size, &crc);
    if (!err && crc == o->crc32c)
        return 0;
    staging_drop(f->staging, o->staging_id);
    l2_object_fini(o);
    return err ? err : -EBADMSG;
}

static void take_object(struct fault_job *t, size_t k, struct l2_object *o, int error)
{
    size_t i = t->index[k];

    if (!error && t->verdicts[i].action == FAULT_CORRUPT)
        error = spoil_object(t->fault, o);
    t->job.errors[i] = error;
    if (!error)
        t->job.objects[i] = *o;
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

        if (err == -EAGAIN)
            continue;
        if (err)
            job_fail(&t->job, err);
        finish_when_due(t);
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

void fault_end_jobs(struct fault *f)
{
    struct list *link;

    for (int i = 0; i < L2_FAMILIES; i++) {
        while ((link = list_pop_front(&f->asked[i]))) {
            struct fault_job *t = list_entry(link, struct fault_job, link);

            job_fail(&t->job, -ESHUTDOWN);
            finish(t);
        }
    }
    while ((link = list_pop_front(&f->waiting)))
        finish(list_entry(link, struct fault_job, link));
}
