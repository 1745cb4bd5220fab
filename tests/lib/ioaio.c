/*
 * libaio by its system calls (io_setup, io_submit, io_getevents), as NIXL's POSIX
 * plugin uses it, and io_uring with one read or write for each operation. No threads, no state
 * between calls.
 */
#include "ioaio.h"

#include <linux/aio_abi.h>
#include <sys/syscall.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

enum { AIO_DEPTH = 256 };

static void aio_submit(aio_context_t ctx, struct iop *op)
{
    struct iocb cb = {
        .aio_data = (uintptr_t)op,
        .aio_lio_opcode = op->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
        .aio_fildes = (uint32_t)op->fd,
        .aio_buf = (uintptr_t)op->buf,
        .aio_nbytes = op->len,
        .aio_offset = op->off,
    };
    struct iocb *list[1] = {&cb};

    EQ(syscall(SYS_io_submit, ctx, 1, list), 1);
}

/* A context for each thread, kept as its users keep theirs: making and destroying one takes a long
 * time. */
static aio_context_t aio_context(void)
{
    static __thread aio_context_t ctx;
    static __thread pid_t owner;

    if (owner != getpid()) { /* after a fork the context is the parent's */
        ctx = 0;
        OK(syscall(SYS_io_setup, AIO_DEPTH, &ctx));
        owner = getpid();
    }
    return ctx;
}

void aio_run(struct iop *ops, unsigned n, unsigned depth)
{
    aio_context_t ctx = aio_context();
    unsigned sent = 0, done = 0;

    CHECK(depth <= AIO_DEPTH, "depth %u", depth);
    while (done < n) {
        struct io_event ev[16];
        long got;

        while (sent < n && sent - done < depth)
            aio_submit(ctx, &ops[sent++]);
        got = OK(TEMP_FAILURE_RETRY(syscall(SYS_io_getevents, ctx, 1, 16, ev, NULL)));
        for (long i = 0; i < got; i++)
            ((struct iop *)(uintptr_t)ev[i].data)->res = (long)ev[i].res;
        done += (unsigned)got;
    }
}

#ifdef HAVE_LIBURING
static void uring_push(struct io_uring *ring, struct iop *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    CHECK(sqe, "no submission entry");
    if (op->write)
        io_uring_prep_write(sqe, op->fd, op->buf, (unsigned)op->len, (uint64_t)op->off);
    else
        io_uring_prep_read(sqe, op->fd, op->buf, (unsigned)op->len, (uint64_t)op->off);
    io_uring_sqe_set_data(sqe, op);
}

bool uring_run(struct iop *ops, unsigned n, unsigned depth)
{
    unsigned sent = 0, done = 0;
    struct io_uring ring;

    if (io_uring_queue_init(depth, &ring, 0) < 0)
        return false;
    while (done < n) {
        struct io_uring_cqe *cqe;
        int r;

        while (sent < n && sent - done < depth)
            uring_push(&ring, &ops[sent++]);
        r = io_uring_submit_and_wait(&ring, 1);
        CHECK(r >= 0 || r == -EINTR, "io_uring_submit_and_wait: %s", strerror(-r));
        while (io_uring_peek_cqe(&ring, &cqe) == 0) {
            ((struct iop *)io_uring_cqe_get_data(cqe))->res = cqe->res;
            io_uring_cqe_seen(&ring, cqe);
            done++;
        }
    }
    io_uring_queue_exit(&ring);
    return true;
}
#else
bool uring_run(struct iop *ops UNUSED, unsigned n UNUSED, unsigned depth UNUSED)
{
    return false;
}
#endif

void iops_check(const struct iop *ops, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        CHECK(ops[i].res == (long)ops[i].len, "operation %u at %lld: %ld of %zu (%s)", i,
              (long long)ops[i].off, ops[i].res, ops[i].len,
              ops[i].res < 0 ? strerror((int)-ops[i].res) : "short");
}
