/* bench_crew.c - threads that share out numbered items.
 *
 * They are made before the clock starts and wait at a gate; each then takes the next item until
 * none is left. Time runs from the first thread's start to the last one's end, since with more
 * threads than cores some start late. `gate` guards `open`; `next` and `failed` are atomics.
 */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>

#include "clock.h"

struct shared {
    struct crew *crew;
    pthread_mutex_t gate;
    pthread_cond_t opened;
    bool open;
    _Atomic unsigned next;
    atomic_bool failed;
};

struct worker {
    struct shared *shared;
    pthread_t thread;
    unsigned number;
    uint64_t began, ended;
};

static void wait_at_gate(struct shared *s)
{
    pthread_mutex_lock(&s->gate);
    while (!s->open)
        pthread_cond_wait(&s->opened, &s->gate);
    pthread_mutex_unlock(&s->gate);
}

static void open_gate(struct shared *s)
{
    pthread_mutex_lock(&s->gate);
    s->open = true;
    pthread_cond_broadcast(&s->opened);
    pthread_mutex_unlock(&s->gate);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->shared;
    struct crew *c = s->crew;
    unsigned i;

    wait_at_gate(s);
    w->began = clock_now();
    while ((i = atomic_fetch_add(&s->next, 1)) < c->items && !atomic_load(&s->failed)) {
        uint64_t t = c->item_ns ? clock_now() : 0;

        if (c->item(c, w->number, i))
            atomic_store(&s->failed, true);
        if (c->item_ns)
            c->item_ns[i] = clock_now() - t;
    }
    w->ended = clock_now();
    return NULL;
}

static int start_and_join(struct shared *s, struct worker *workers, unsigned n)
{
    unsigned started = 0;

    for (; started < n; started++) {
        workers[started] = (struct worker){.shared = s, .number = started};
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started])) {
            bench_error("cannot start %u threads", n);
            atomic_store(&s->failed, true);
            break;
        }
    }
    open_gate(s);
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    return atomic_load(&s->failed) ? -1 : 0;
}

int crew_run(struct crew *c, double *seconds)
{
    struct shared s = {
        .crew = c, .gate = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    unsigned n = MIN(c->threads, c->items);
    AUTO_FREE struct worker *workers = calloc(n, sizeof(*workers));
    uint64_t began = UINT64_MAX, ended = 0;

    if (!workers)
        return bench_error("out of memory");
    if (start_and_join(&s, workers, n))
        return -1;
    for (unsigned i = 0; i < n; i++) {
        began = MIN(began, workers[i].began);
        ended = MAX(ended, workers[i].ended);
    }
    *seconds = (double)(ended - began) / 1e9;
    return 0;
}

unsigned char **crew_bufs(unsigned n, size_t len)
{
    unsigned char **bufs = calloc(n, sizeof(*bufs));

    for (unsigned i = 0; bufs && i < n; i++) {
        void *p = NULL;

        if (posix_memalign(&p, 4096, len)) {
            crew_bufs_free(bufs, n);
            return NULL;
        }
        bufs[i] = p;
        memset(p, 1 + (int)i, len); /* every page is there before the clock runs */
    }
    return bufs;
}

void crew_bufs_free(unsigned char **bufs, unsigned n)
{
    for (unsigned i = 0; bufs && i < n; i++)
        free(bufs[i]);
    free(bufs);
}
