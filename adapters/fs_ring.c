/* fs_ring.c - transfers through io_uring.
 *
 * A ring belongs to one transfer at a time and goes back to a free list after it, so there are
 * never more rings than threads that were at work at once. Threads: any; the lock guards the free
 * list. Nothing is in flight when fs_rings_run returns, whatever happened: the memory is the
 * caller's.
 */
#include "config.h"

#include "fs_ring.h"

#include "list.h"
#include "lock.h"

#ifdef HAVE_LIBURING

#include <liburing.h>

struct ring {
    struct list link;
    struct io_uring uring;
    bool broken;
};

struct fs_rings {
    pthread_mutex_t lock;
    struct list idle; /* lock */
};

/* One transfer on one ring. Pieces are a queue in order of offset: `head` is the oldest. */
struct run {
    struct fs_xfer *x;
    struct ring *ring;
    bool direct;
    uint64_t next; /* offset of the next piece to begin */
    unsigned head;
    unsigned count;
    unsigned in_flight;
    struct fs_piece pieces[FS_IO_DEPTH];
};

static int ring_create(struct ring **out)
{
    struct ring *r = calloc(1, sizeof(*r));
    int err;

    if (!r)
        return -ENOMEM;
    list_init(&r->link);
    err = io_uring_queue_init(FS_IO_DEPTH, &r->uring,
                              IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
    if (err == -EINVAL)
        err = io_uring_queue_init(FS_IO_DEPTH, &r->uring, 0);
    if (err) {
        free(r);
        return err;
    }
    *out = r;
    return 0;
}

static void ring_destroy(struct ring *r)
{
    io_uring_queue_exit(&r->uring);
    free(r);
}

int fs_rings_create(struct fs_rings **out)
{
    struct fs_rings *rs = calloc(1, sizeof(*rs));
    struct ring *first;
    int err;

    if (!rs)
        return -ENOMEM;
    err = ring_create(&first);
    if (err) {
        free(rs);
        return err;
    }
    lock_init(&rs->lock);
    list_init(&rs->idle);
    list_push_back(&rs->idle, &first->link);
    *out = rs;
    return 0;
}

void fs_rings_destroy(struct fs_rings *rs)
{
    struct list *node;

    if (!rs)
        return;
    while ((node = list_pop_front(&rs->idle)))
        ring_destroy(list_entry(node, struct ring, link));
    pthread_mutex_destroy(&rs->lock);
    free(rs);
}

static int take_ring(struct fs_rings *rs, struct ring **out)
{
    struct list *node;

    lock(&rs->lock);
    node = list_pop_front(&rs->idle);
    unlock(&rs->lock);
    if (!node)
        return ring_create(out);
    *out = list_entry(node, struct ring, link);
    return 0;
}

static void give_ring(struct fs_rings *rs, struct ring *r)
{
    if (r->broken) {
        ring_destroy(r);
        return;
    }
    lock(&rs->lock);
    list_push_front(&rs->idle, &r->link);
    unlock(&rs->lock);
}

/* Half of the window is on its way, the other half is done and waits for its turn: new pieces set off
 * before finished ones are looked at, so that the disk is never idle meanwhile. Each is submitted at
 * once; should that fail, wait_some tries again. */
static int begin_pieces(struct run *run)
{
    struct fs_xfer *x = run->x;
    unsigned most = MAX(x->depth / 2, 1u);

    while (run->count < x->depth && run->in_flight < most && run->next < x->end) {
        unsigned slot = (run->head + run->count) % x->depth;
        struct fs_piece *p = &run->pieces[slot];
        struct io_uring_sqe *sqe;
        int err = fs_piece_start(x, run->direct, run->next, FS_IO_PIECE, slot, p);

        if (err)
            return err;
        sqe = io_uring_get_sqe(&run->ring->uring);
        if (!sqe)
            return -ENOSYS;
        if (x->write)
            io_uring_prep_write(sqe, x->fd, p->mem, (unsigned)p->io_len, p->off);
        else
            io_uring_prep_read(sqe, x->fd, p->mem, (unsigned)p->io_len, p->off);
        io_uring_sqe_set_data(sqe, p);
        run->count++;
        run->in_flight++;
        run->next += p->len;
        io_uring_submit(&run->ring->uring);
    }
    return 0;
}

static void take_completions(struct run *run)
{
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&run->ring->uring, &cqe) == 0) {
        struct fs_piece *p = io_uring_cqe_get_data(cqe);

        p->err = cqe->res < 0 ? cqe->res : 0;
        p->got = cqe->res < 0 ? 0 : (size_t)cqe->res;
        p->ready = true;
        io_uring_cqe_seen(&run->ring->uring, cqe);
        run->in_flight--;
    }
}

/* Waits for a completion. What could not be handed to the kernel is never seen by it once the ring is
 * given up. */
static int wait_some(struct run *run)
{
    struct io_uring *uring = &run->ring->uring;
    struct io_uring_cqe *cqe;
    int n = io_uring_submit_and_wait(uring, 1);

    if (n < 0 && n != -EINTR) {
        if (run->in_flight == io_uring_sq_ready(uring)) {
            run->ring->broken = true;
            run->in_flight = 0;
            return -ENOSYS;
        }
        io_uring_wait_cqe(uring, &cqe);
    }
    take_completions(run);
    return 0;
}

static bool head_is_ready(const struct run *run)
{
    return run->count && run->pieces[run->head].ready;
}

static int retire_head(struct run *run)
{
    struct fs_piece *p = &run->pieces[run->head];
    int err = p->err == -EINTR || p->err == -EAGAIN ? 0 : p->err;

    if (!err)
        err = fs_piece_move(run->x, run->direct, p);
    if (!err)
        err = fs_piece_done(run->x, p);
    if (err)
        return err;
    run->head = (run->head + 1) % run->x->depth;
    run->count--;
    return 0;
}

static void wait_all(struct run *run)
{
    while (run->in_flight)
        wait_some(run);
}

int fs_rings_run(struct fs_rings *rs, struct fs_xfer *x, bool direct)
{
    struct run run = {.x = x, .direct = direct, .next = x->off};
    int err = take_ring(rs, &run.ring);

    if (err)
        return -ENOSYS;
    while (!err && x->off < x->end) {
        err = begin_pieces(&run);
        if (!err)
            take_completions(&run);
        while (!err && !head_is_ready(&run))
            err = wait_some(&run);
        if (!err)
            err = retire_head(&run);
    }
    wait_all(&run);
    give_ring(rs, run.ring);
    return err;
}

#else

int fs_rings_create(struct fs_rings **out)
{
    (void)out;
    return -ENOSYS;
}

void fs_rings_destroy(struct fs_rings *rs)
{
    (void)rs;
}

int fs_rings_run(struct fs_rings *rs, struct fs_xfer *x, bool direct)
{
    (void)rs, (void)x, (void)direct;
    return -ENOSYS;
}

#endif
