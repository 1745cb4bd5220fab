/* fs_health.c - running operations, counters and the last error of the fs adapter.
 *
 * Threads: any. Counters are atomics; the rest is guarded by one leaf lock. The lock is held while
 * a running operation is logged, so that its key stays valid.
 */
#include "fs_health.h"

#include "clock.h"
#include "log.h"

#define FULL_EVERY (60 * NSEC_PER_SEC)

static const char *const counter_names[FS_COUNTERS] = {
    [FS_STORED] = "stored_objects",       [FS_STORED_BYTES] = "stored_bytes",
    [FS_UNCHANGED] = "unchanged_objects", [FS_LOADED] = "loaded_objects",
    [FS_LOADED_BYTES] = "loaded_bytes",   [FS_UNVERIFIED] = "unverified_objects",
    [FS_CORRUPT] = "corrupt_objects",     [FS_FAILED] = "failed_operations",
};

void fs_health_init(struct fs_health *h)
{
    *h = (struct fs_health){0};
    lock_init(&h->lock);
    list_init(&h->running);
}

void fs_health_fini(struct fs_health *h)
{
    pthread_mutex_destroy(&h->lock);
}

void fs_op_begin(struct fs_health *h, struct fs_op *op, const char *what, const char *key)
{
    *op = (struct fs_op){.what = what, .key = key, .started = clock_now()};
    LOCKED_SCOPE(&h->lock);
    list_push_back(&h->running, &op->link);
}

/* Outcomes that say nothing against the disk. */
static bool is_usual(int err)
{
    switch (-err) {
    case 0:
    case ENOENT:
    case EEXIST:
    case ENOTEMPTY:
    case EISDIR:
    case ENOTDIR:
    case ENOSPC:
    case EDQUOT:
    case EINVAL:
    case ENAMETOOLONG:
    case EBADMSG:
    case ENOMEM: return true;
    default: return false;
    }
}

int fs_op_end(struct fs_health *h, struct fs_op *op, int err)
{
    LOCKED_SCOPE(&h->lock);

    list_remove(&op->link);
    if (err && err != -ENOENT) {
        h->last_error = err;
        h->last_error_at = time(NULL);
        fs_count(h, FS_FAILED, 1);
    }
    h->failing = !is_usual(err);
    return err;
}

void fs_count(struct fs_health *h, enum fs_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&h->counters[counter], n, memory_order_relaxed);
}

bool fs_health_say_full(struct fs_health *h, uint64_t *quiet)
{
    uint64_t now = clock_now();
    LOCKED_SCOPE(&h->lock);

    if (h->full_said && now - h->full_said < FULL_EVERY) {
        h->full_quiet++;
        return false;
    }
    *quiet = h->full_quiet;
    h->full_quiet = 0;
    h->full_said = now;
    return true;
}

void fs_health_log_running(struct fs_health *h, const char *base)
{
    struct list *node;
    LOCKED_SCOPE(&h->lock);

    list_for_each(node, &h->running)
    {
        const struct fs_op *op = list_entry(node, struct fs_op, link);

        log_err("fs: %s: %s of \"%s\" has not returned for %llu s: the disk or its network hangs",
                base, op->what, op->key,
                (unsigned long long)((clock_now() - op->started) / NSEC_PER_SEC));
    }
}

static void add_time(json_t *status, const char *name, time_t when)
{
    char text[32];
    struct tm tm;

    gmtime_r(&when, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_object_set_new(status, name, json_string(text));
}

void fs_health_status(struct fs_health *h, json_t *status)
{
    lock(&h->lock);
    json_object_set_new(status, "is_healthy", json_boolean(!h->failing));
    if (h->last_error) {
        json_object_set_new(status, "last_error", json_string(strerror(-h->last_error)));
        add_time(status, "last_error_at", h->last_error_at);
    }
    unlock(&h->lock);
    for (int i = 0; i < FS_COUNTERS; i++)
        json_object_set_new(status, counter_names[i],
                            json_integer((json_int_t)atomic_load(&h->counters[i])));
}
