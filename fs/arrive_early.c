/* arrive_early.c - requests that become ready while the mount starts: the receiver listens before the tree is
 * there. Any thread.
 */
#include "config.h"

#include "core.h"
#include "log.h"
#include "ready.h"

struct early {
    struct list link;
    int error;
    char req_id[];
};

/* -EALREADY: the mount is built by now. */
static int keep_early(struct arrive *a, const char *req_id, int error)
{
    size_t len = strlen(req_id) + 1;
    struct early *e;

    LOCKED_SCOPE(&a->mutex);
    if (atomic_load(&a->open))
        return -EALREADY;
    e = a->nearly < READY_MAX ? malloc(sizeof(*e) + len) : NULL;
    if (!e)
        return -ENOMEM;
    memcpy(e->req_id, req_id, len);
    e->error = error;
    list_init(&e->link);
    list_push_back(&a->early, &e->link);
    a->nearly++;
    return 0;
}

void arrive_end_early(struct arrive *a, struct list *early, bool say)
{
    struct list *l;

    while ((l = list_pop_front(early))) {
        struct early *e = list_entry(l, struct early, link);

        if (say && ready_say(a->fs, e->req_id, e->error))
            log_err("out of memory: .l2fs/ready/%s is not known", e->req_id);
        free(e);
    }
}

int arrive_ready(struct arrivals *base, const char *req_id, int error)
{
    struct arrive *a = container_of(base, struct arrive, base);
    int err = atomic_load(&a->open) ? -EALREADY : keep_early(a, req_id, error);

    return err == -EALREADY ? ready_say(a->fs, req_id, error) : err;
}
