/* job.c - tasks with their keys and results; see job.h.
 *
 * A job belongs to the adapter from begin to finish and to its queue (taskq.c) from finish until it
 * is handed out, and the queue's mutex orders the two. Only how far a load has come is seen by both
 * sides meanwhile, under a mutex of the job.
 */
#include "job.h"

#include "checksum.h"

char **job_copy_keys(const char *const *keys, size_t n)
{
    size_t bytes = n * sizeof(char *);
    char **copy;
    char *at;

    for (size_t i = 0; i < n; i++)
        bytes += strlen(keys[i]) + 1;
    copy = malloc(bytes);
    if (!copy)
        return NULL;
    at = (char *)(copy + n);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(keys[i]) + 1;

        copy[i] = memcpy(at, keys[i], len);
        at += len;
    }
    return copy;
}

static bool make_store_room(struct job *j, const struct l2_buf *bufs)
{
    j->bufs = malloc(j->n * sizeof(*bufs));
    j->crc32c = calloc(j->n, sizeof(*j->crc32c));
    if (!j->bufs || !j->crc32c)
        return false;
    memcpy(j->bufs, bufs, j->n * sizeof(*bufs));
    return true;
}

static bool make_room(struct job *j, const struct l2_buf *bufs)
{
    if (j->family == L2_STORE)
        return make_store_room(j, bufs);
    j->bits = bitmap_create(j->n);
    if (j->family == L2_LOOKUP) {
        j->sizes = calloc(j->n, sizeof(*j->sizes));
        return j->bits && j->sizes;
    }
    j->objects = calloc(j->n, sizeof(*j->objects));
    j->landed = calloc(j->n, sizeof(*j->landed));
    return j->bits && j->objects && j->landed;
}

int job_create(size_t size, const struct job_request *req, struct job **out)
{
    struct job *j;

    if (!req->n)
        return -EINVAL;
    j = calloc(1, size);
    if (!j)
        return -ENOMEM;
    lock_init(&j->landing);
    j->family = req->family;
    j->n = req->n;
    j->keys = job_copy_keys(req->keys, req->n);
    j->errors = calloc(req->n, sizeof(*j->errors));
    if (!j->keys || !j->errors || !make_room(j, req->bufs)) {
        job_destroy(j);
        return -ENOMEM;
    }
    *out = j;
    return 0;
}

void job_destroy(struct job *j)
{
    if (!j)
        return;
    free(j->keys);
    free(j->errors);
    free(j->bufs);
    free(j->crc32c);
    free(j->sizes);
    free(j->objects);
    free(j->landed);
    bitmap_destroy(j->bits);
    pthread_mutex_destroy(&j->landing);
    free(j);
}

void job_fail(struct job *j, int error)
{
    for (size_t i = 0; i < j->n; i++)
        j->errors[i] = error;
}

static int keep_nothing(struct job *j, size_t i)
{
    const struct l2_buf *buf = &j->bufs[i];

    if (!buf->stable)
        return checksum_file(buf->fd, buf->size, &j->crc32c[i]);
    j->crc32c[i] = buf->crc32c;
    return 0;
}

void job_keep_nothing(struct job *j)
{
    for (size_t i = 0; i < j->n; i++)
        j->errors[i] = j->family == L2_STORE ? keep_nothing(j, i) : -ENOENT;
}

int jobs_init(struct jobs *s)
{
    for (int i = 0; i < L2_FAMILIES; i++)
        s->q[i] = NULL;
    for (int i = 0; i < L2_FAMILIES; i++) {
        int err = taskq_create(&s->q[i]);

        if (err) {
            jobs_fini(s);
            return err;
        }
    }
    return 0;
}

static void drop(struct taskq_item *item)
{
    struct job *j = container_of(item, struct job, item);
    struct jobs *s = j->owner;

    for (size_t i = 0; j->family == L2_LOAD && i < j->n; i++) {
        if (j->errors[i])
            continue;
        if (s->drop_object)
            s->drop_object(s->arg, &j->objects[i]);
        l2_object_fini(&j->objects[i]);
    }
    job_destroy(j);
}

void jobs_fini(struct jobs *s)
{
    for (int i = 0; i < L2_FAMILIES; i++) {
        taskq_destroy(s->q[i], drop);
        s->q[i] = NULL;
    }
}

int jobs_event_fd(const struct jobs *s, enum l2_family family)
{
    return taskq_fd(s->q[family]);
}

l2_task jobs_begin(struct jobs *s, struct job *j)
{
    l2_task id;

    j->owner = s;
    id = taskq_begin(s->q[j->family], &j->item);
    if (id < 0)
        job_destroy(j);
    return id;
}

void jobs_finish(struct jobs *s, struct job *j)
{
    for (size_t i = 0; j->bits && i < j->n; i++)
        if (!j->errors[i])
            bitmap_set(j->bits, i);
    taskq_finish(s->q[j->family], &j->item);
}

static bool landed_locked(struct job *j, size_t i, const struct l2_landed *now)
{
    struct l2_landed *was = &j->landed[i];

    if (now->staging_id == was->staging_id && now->bytes < was->bytes + LANDED_STEP)
        return false;
    *was = *now;
    j->news = true;
    return j->watched;
}

void jobs_landed(struct jobs *s, struct job *j, size_t i, const struct l2_landed *now)
{
    bool tell;

    lock(&j->landing);
    tell = landed_locked(j, i, now);
    unlock(&j->landing);
    if (tell)
        taskq_signal(s->q[L2_LOAD]);
}

int jobs_query_landed(struct jobs *s, l2_task task, struct l2_landed *landed)
{
    struct taskq_item *item = taskq_find(s->q[L2_LOAD], task);
    struct job *j = item ? container_of(item, struct job, item) : NULL;

    if (!j)
        return -ENOENT;
    LOCKED_SCOPE(&j->landing);
    j->watched = true;
    if (!j->news)
        return -EAGAIN;
    j->news = false;
    memcpy(landed, j->landed, j->n * sizeof(*landed));
    return 0;
}

void jobs_shut(struct jobs *s)
{
    for (int i = 0; i < L2_FAMILIES; i++)
        taskq_shut(s->q[i]);
}

int jobs_drain(struct jobs *s, uint64_t deadline)
{
    int err = 0;

    for (int i = 0; i < L2_FAMILIES && !err; i++)
        err = taskq_drain(s->q[i], deadline);
    return err;
}

int jobs_pop_stored(struct jobs *s, struct l2_store_result *out)
{
    struct taskq_item *item = taskq_pop(s->q[L2_STORE]);
    struct job *j;

    if (!item)
        return 0;
    j = container_of(item, struct job, item);
    *out = (struct l2_store_result){
        .task = item->id, .n = j->n, .errors = j->errors, .crc32c = j->crc32c, .bytes = j->bytes};
    j->errors = NULL;
    j->crc32c = NULL;
    job_destroy(j);
    return 1;
}

static int take(struct taskq *q, l2_task task, struct bitmap **bits, struct job **out)
{
    struct taskq_item *item;
    int err = taskq_take(q, task, &item);

    if (err)
        return err;
    *out = container_of(item, struct job, item);
    *bits = (*out)->bits;
    (*out)->bits = NULL;
    return 0;
}

int jobs_query_lookup(struct jobs *s, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    struct job *j;
    int err = take(s->q[L2_LOOKUP], task, found, &j);

    if (err)
        return err;
    for (size_t i = 0; i < j->n; i++)
        sizes[i] = j->errors[i] && j->errors[i] != -ENOENT ? L2_LOOKUP_FAILED : j->sizes[i];
    job_destroy(j);
    return 0;
}

int jobs_query_load(struct jobs *s, l2_task task, struct bitmap **loaded, struct l2_object *objects,
                    int *errors)
{
    struct job *j;
    int err = take(s->q[L2_LOAD], task, loaded, &j);

    if (err)
        return err;
    memcpy(objects, j->objects, j->n * sizeof(*objects));
    memcpy(errors, j->errors, j->n * sizeof(*errors));
    job_destroy(j);
    return 0;
}
