/* channel_fixture.h - two ends of a channel, each on a loop of its own, for Check tests. */
#ifndef L2FS_TEST_CHANNEL_FIXTURE_H
#define L2FS_TEST_CHANNEL_FIXTURE_H

#include <check.h>
#include <semaphore.h>

#include "mailbox.h"
#include "pd_channel.h"

struct end {
    struct loop *loop;
    struct mailbox *box;
    struct pd_channel *channel;
    struct pd_conn *conn;
    sem_t failed; /* posted by the connection's `failed` */
};

/* A transfer that a test waits for. */
struct xfer {
    struct pd_transfer t;
    struct end *end;
    void (*then)(struct xfer *x, int error); /* NULL: `ended` is posted */
    sem_t ended;
    int error;
    bool on_thread; /* done was called on the loop thread */
};

void end_open(struct end *e, bool ucx); /* a running loop with a channel and a connection */
void end_close(struct end *e);
void end_call(struct end *e, void (*fn)(void *arg), void *arg); /* on its loop */
void end_new_conn(struct end *e);
int end_connect(struct end *e, const void *address, size_t len);
void end_close_conn(struct end *e);              /* idempotent */
void ends_connect(struct end *a, struct end *b); /* each to the other */

void xfer_init(struct xfer *x, struct end *e);
void xfer_send(struct xfer *x, uint64_t tag, const void *buf, uint64_t size);
void xfer_recv(struct xfer *x, uint64_t tag, void *buf, uint64_t size);
void xfer_cancel(struct xfer *x);
bool xfer_ended(struct xfer *x); /* without waiting; once */
int xfer_wait(struct xfer *x);   /* its error; fails the test after half a minute */
void sem_expect(sem_t *s);       /* the same for any event */

/* `size` bytes that follow from the seed, in memory of their own. */
void *pattern_new(uint64_t size, uint32_t seed);
bool pattern_is(const void *buf, uint64_t size, uint32_t seed);

#endif
