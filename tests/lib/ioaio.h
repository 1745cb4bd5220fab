/*
 * Asynchronous I/O for the tests: libaio's system calls used directly, and io_uring through
 * liburing. Both submit all operations at once and wait for all of them. Used by one thread at a
 * time.
 */
#ifndef L2FS_TEST_IOAIO_H
#define L2FS_TEST_IOAIO_H

#include "iolib.h"

struct iop {
    int fd;
    bool write;
    void *buf;
    size_t len;
    off_t off;
    long res; /* out: bytes, or -errno */
};

/* Submits the operations, at most depth at a time, and waits for all of them. */
void aio_run(struct iop *ops, unsigned n, unsigned depth);
/* The same; false (and nothing done) when there is no io_uring here. */
bool uring_run(struct iop *ops, unsigned n, unsigned depth);
/* Every operation moved its whole length. */
void iops_check(const struct iop *ops, unsigned n);

#endif
