/* fs_crew.c - helpers that wait for a piece of work and take its parts one by one.
 *
 * Thread model: `lock` guards all but what `work` points to. A helper is at work or waits for `posted`;
 * the caller takes parts as well and then waits for `done`.
 */
#include "fs_crew.h"

#include "lock.h"
#include "thread.h"

struct work {
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t n;
};

struct fs_crew {
    pthread_mutex_t lock;
    pthread_cond_t posted, done;
    struct work work;
    size_t next;   /* first part that nobody has taken; work.n: none */
    unsigned busy; /* threads at a part */
    bool ending;
    unsigned helpers;
    pthread_t thread[];
};

/* Takes part after part until there is none. */
static void take_parts_locked(struct fs_crew *c)
{
    c->busy++;
    while (c->next < c->work.n) {
        size_t part = c->next++;

        unlock(&c->lock);
        c->work.fn(c->work.arg, part);
        lock(&c->lock);
    }
    if (--c->busy == 0)
        pthread_cond_signal(&c->done);
}

static void *help(void *arg)
{
    struct fs_crew *c = arg;

    pthread_setname_np(pthread_self(), "fs-list");
    LOCKED_SCOPE(&c->lock);
    while (!c->ending) {
        if (c->next < c->work.n)
            take_parts_locked(c);
        else
            pthread_cond_wait(&c->posted, &c->lock);
    }
    return NULL;
}

struct fs_crew *fs_crew_create(unsigned helpers)
{
    struct fs_crew *c = calloc(1, sizeof(*c) + helpers * sizeof(c->thread[0]));

    if (!c)
        return NULL;
    lock_init(&c->lock);
    cond_init(&c->posted);
    cond_init(&c->done);
    while (c->helpers < helpers && !thread_start(&c->thread[c->helpers], help, c))
        c->helpers++;
    return c;
}

void fs_crew_run(struct fs_crew *c, size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
    LOCKED_SCOPE(&c->lock);
    c->work = (struct work){fn, arg, n};
    c->next = 0;
    if (n > 1)
        pthread_cond_broadcast(&c->posted);
    take_parts_locked(c);
    while (c->busy)
        pthread_cond_wait(&c->done, &c->lock);
}

void fs_crew_destroy(struct fs_crew *c)
{
    if (!c)
        return;
    lock(&c->lock);
    c->ending = true;
    pthread_cond_broadcast(&c->posted);
    unlock(&c->lock);
    while (c->helpers)
        pthread_join(c->thread[--c->helpers], NULL);
    pthread_cond_destroy(&c->done);
    pthread_cond_destroy(&c->posted);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
