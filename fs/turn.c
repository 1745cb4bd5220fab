/* turn.c - a namespace operation waits for its turn to change names in L2. Entered under ns->lock,
 * waited for without it. The wait is bounded by store_timeout; a turn that did not come is left all
 * the same, which lets the later ones go on.
 */
#include "config.h"

#include "clock.h"
#include "core.h"
#include "log.h"

static void on_turn(struct keyticket *ticket)
{
    struct turn *t = container_of(ticket, struct turn, ticket);

    lock(&t->mutex);
    t->ready = true;
    pthread_cond_signal(&t->cond);
    unlock(&t->mutex);
}

void turn_enter_locked(struct l2fs *fs, struct turn *t, const char *key, const char *other)
{
    memset(t, 0, sizeof(*t));
    lock_init(&t->mutex);
    cond_init(&t->cond);
    t->ticket.turn = on_turn;
    t->used = true;
    if (keyguard_enter(&fs->guard, &t->ticket, key, other))
        on_turn(&t->ticket);
}

int turn_wait(struct l2fs *fs, struct turn *t)
{
    uint64_t deadline = clock_deadline(fs->cfg->store_timeout);
    int err = 0;

    lock(&t->mutex);
    while (!t->ready && !err)
        err = cond_wait_until(&t->cond, &t->mutex, deadline);
    if (t->ready)
        err = 0;
    unlock(&t->mutex);
    if (err)
        log_err("a change of names waited %u s for a store of the same key; L2 keeps the old name "
                "(store_timeout; look at .l2fs/adapters/*/status)",
                (unsigned)(fs->cfg->store_timeout / NSEC_PER_SEC));
    return err;
}

void turn_leave(struct l2fs *fs, struct turn *t)
{
    if (!t->used)
        return;
    keyguard_leave(&fs->guard, &t->ticket);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->mutex);
    t->used = false;
}

int turn_pass(struct l2fs *fs, struct turn *t)
{
    int err = t->used ? turn_wait(fs, t) : 0;

    turn_leave(fs, t);
    return err ? -EBUSY : 0;
}
