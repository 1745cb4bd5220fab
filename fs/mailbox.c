/* mailbox.c - a locked list and an eventfd.
 *
 * Thread model: any thread posts under the lock (a leaf, held for two pointer writes); the loop
 * thread takes the whole list at once and runs it unlocked. Only the post that finds the box empty
 * signals: whoever takes the list takes all of it, so one signal covers what is behind it.
 */
#include "mailbox.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "lock.h"

struct mailbox {
    struct loop *loop;
    struct loop_fd wake; /* eventfd */
    pthread_mutex_t lock;
    struct list letters; /* guarded by lock */
};

/* Runs what was inside when called; returns false when that was nothing. */
static bool run_letters(struct mailbox *m)
{
    struct list batch, *node;
    bool any;

    list_init(&batch);
    lock(&m->lock);
    list_splice(&batch, &m->letters);
    unlock(&m->lock);
    any = !list_empty(&batch);
    while ((node = list_pop_front(&batch))) {
        struct letter *letter = list_entry(node, struct letter, link);

        letter->run(letter);
    }
    return any;
}

static void mailbox_ready(struct loop_fd *f, uint32_t events)
{
    uint64_t count;

    (void)events;
    if (read(f->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        abort();
    run_letters(container_of(f, struct mailbox, wake));
}

int mailbox_create(struct loop *loop, struct mailbox **out)
{
    struct mailbox *m = calloc(1, sizeof *m);
    int rc;

    if (!m)
        return -ENOMEM;
    m->loop = loop;
    m->wake =
        (struct loop_fd){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = mailbox_ready};
    rc = m->wake.fd < 0 ? -errno : loop_add(loop, &m->wake, EPOLLIN);
    if (rc)
        goto fail;
    lock_init(&m->lock);
    list_init(&m->letters);
    *out = m;
    return 0;
fail:
    if (m->wake.fd >= 0)
        close(m->wake.fd);
    free(m);
    return rc;
}

void mailbox_destroy(struct mailbox *m)
{
    if (!m)
        return;
    while (run_letters(m))
        continue;
    loop_remove(m->loop, &m->wake);
    close(m->wake.fd);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void mailbox_post(struct mailbox *m, struct letter *letter)
{
    uint64_t one = 1;
    bool first;

    lock(&m->lock);
    first = list_empty(&m->letters);
    list_push_back(&m->letters, &letter->link);
    unlock(&m->lock);
    if (first && write(m->wake.fd, &one, sizeof one) < 0 && errno != EAGAIN)
        abort();
}

void mailbox_withdraw(struct mailbox *m, struct letter *letter)
{
    LOCKED_SCOPE(&m->lock);
    list_remove(&letter->link);
}

struct call {
    struct letter letter;
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done; /* lock */
};

static void run_call(struct letter *letter)
{
    struct call *c = container_of(letter, struct call, letter);

    if (c->fn)
        c->fn(c->arg);
    LOCKED_SCOPE(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->ended);
}

void mailbox_call(struct mailbox *m, void (*fn)(void *arg), void *arg)
{
    struct call c = {.letter.run = run_call, .fn = fn, .arg = arg};

    list_init(&c.letter.link);
    lock_init(&c.lock);
    cond_init(&c.ended);
    mailbox_post(m, &c.letter);
    lock(&c.lock);
    while (!c.done)
        pthread_cond_wait(&c.ended, &c.lock);
    unlock(&c.lock);
    pthread_cond_destroy(&c.ended);
    pthread_mutex_destroy(&c.lock);
}
