/* front_notify.c - tells the kernel that names are gone, and directories changed.
 *
 * Thread model: the loop thread queues and never waits; one thread of our own writes to the kernel,
 * because that takes the directory's inode lock, which a process may hold while it waits for an
 * answer of a FUSE worker or of the loop thread. Node ids are only numbers here: one that the
 * kernel has forgotten meanwhile is answered with ENOENT.
 */

#include "front_impl.h"
#include "thread.h"

#define NOTES_MAX (1u << 20) /* more are dropped: the kernel finds out when its timeout ends */

struct note {
    struct list link;
    fuse_ino_t dir;
    size_t len; /* 0: its attributes */
    char name[];
};

void notifier_gone(void *arg, struct inode *dir, const char *name, struct inode *inode)
{
    struct front *f = arg;
    struct notifier *n = &f->notifier;
    size_t len = name ? strlen(name) : 0;
    struct note *note = calloc(1, sizeof(*note) + len + 1);

    (void)inode;
    if (!note)
        return;
    list_init(&note->link);
    note->dir = nodeid_of(f, dir);
    note->len = len;
    if (name)
        memcpy(note->name, name, len + 1);
    lock(&n->lock);
    if (!n->closed && n->count < NOTES_MAX) {
        list_push_back(&n->notes, &note->link);
        n->count++;
        note = NULL;
        pthread_cond_signal(&n->cond);
    }
    unlock(&n->lock);
    free(note);
}

static struct note *next_note(struct notifier *n)
{
    struct list *l;

    LOCKED_SCOPE(&n->lock);
    while (!n->closed && list_empty(&n->notes))
        pthread_cond_wait(&n->cond, &n->lock);
    if (n->closed)
        return NULL;
    l = list_pop_front(&n->notes);
    n->count--;
    return list_entry(l, struct note, link);
}

static void *run(void *arg)
{
    struct notifier *n = arg;
    struct note *note;

    pthread_setname_np(pthread_self(), "l2fs-notify");
    while ((note = next_note(n))) {
        if (note->len)
            fuse_lowlevel_notify_inval_entry(n->front->se, note->dir, note->name, note->len);
        else
            fuse_lowlevel_notify_inval_inode(n->front->se, note->dir, -1, 0);
        free(note);
    }
    return NULL;
}

int notifier_start(struct front *f)
{
    struct notifier *n = &f->notifier;
    int rc;

    n->front = f;
    lock_init(&n->joining);
    lock_init(&n->lock);
    cond_init(&n->cond);
    list_init(&n->notes);
    rc = thread_start(&n->thread, run, n);
    n->running = rc == 0;
    return rc;
}

void notifier_stop(struct front *f)
{
    struct notifier *n = &f->notifier;
    struct list *l;

    LOCKED_SCOPE(&n->joining);
    if (!n->running)
        return;
    lock(&n->lock);
    n->closed = true;
    pthread_cond_signal(&n->cond);
    unlock(&n->lock);
    pthread_join(n->thread, NULL);
    n->running = false;
    while ((l = list_pop_front(&n->notes)))
        free(list_entry(l, struct note, link));
}

void notifier_fini(struct front *f)
{
    struct notifier *n = &f->notifier;

    notifier_stop(f);
    pthread_cond_destroy(&n->cond);
    pthread_mutex_destroy(&n->lock);
    pthread_mutex_destroy(&n->joining);
}
