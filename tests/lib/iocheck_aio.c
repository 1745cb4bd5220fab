/*
 * Point 11: every way to read and write. Plain and positioned calls, vectors of 1024 pieces, stdio,
 * libaio and io_uring with and without O_DIRECT (their users take a short completion for success,
 * so each must be whole).
 */
#include "iocheck.h"
#include "ioaio.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>

static void b11_positioned(void)
{
    char *buf = io_pattern(1000000, 1), *got = io_mem(1000000);
    int fd = OPEN("f", O_RDWR | O_CREAT);

    io_pwrite(fd, buf + 500000, 500000, 500000);
    io_pwrite(fd, buf, 500000, 0);
    EQ(lseek(fd, 0, SEEK_CUR), 0); /* positioned calls leave the offset alone */
    EQ(read(fd, got, 300000), 300000);
    EQ(lseek(fd, 0, SEEK_CUR), 300000);
    io_pread(fd, got, 1000000, 0);
    EQ(lseek(fd, 0, SEEK_CUR), 300000);
    PAT(got, 1000000, 1, 0);
    ERR(pread(fd, got, 1, -1), EINVAL);
    ERR(pwrite(fd, got, 1, -1), EINVAL);
    OK(close(fd));
}

static void b11_vectors(void)
{
    struct iovec *v = io_mem(sizeof(*v) * IOV_MAX);
    size_t piece = 4096 + 13, len = piece * IOV_MAX;
    char *buf = io_pattern(len, 2), *got = io_mem(len);
    int fd = OPEN("f", O_RDWR | O_CREAT);

    for (size_t i = 0; i < IOV_MAX; i++)
        v[i] = (struct iovec){buf + i * piece, piece};
    EQ(writev(fd, v, IOV_MAX), len);
    for (size_t i = 0; i < IOV_MAX; i++)
        v[i] = (struct iovec){got + i * piece, piece};
    EQ(lseek(fd, 0, SEEK_SET), 0);
    EQ(readv(fd, v, IOV_MAX), len);
    PAT(got, len, 2, 0);
    EQ(readv(fd, v, IOV_MAX), 0);
    memset(got, 0, len);
    EQ(preadv(fd, v, IOV_MAX, 0), len);
    PAT(got, len, 2, 0);
    pat_fill(got, len, 3, 0);
    EQ(pwritev(fd, v, IOV_MAX, 0), len);
    EQ(preadv2(fd, v, 10, 0, 0), 10 * piece);
    ERR(readv(fd, v, IOV_MAX + 1), EINVAL);
    OK(close(fd));
    file_check("f", 3, len);
}

/* llm-d's writev has an empty first piece; one page-aligned vector with O_DIRECT as vLLM's readv.
 */
static void b11_vector_shapes(void)
{
    char *buf = io_pattern(2 * MIB, 4), *got = io_mem(2 * MIB);
    struct iovec w[2] = {{NULL, 0}, {buf, 2 * MIB}};
    struct iovec r[512];
    int fd = OPEN("f", O_WRONLY | O_CREAT | O_TRUNC);

    EQ(writev(fd, w, 2), 2 * MIB);
    OK(close(fd));
    for (size_t i = 0; i < 512; i++)
        r[i] = (struct iovec){got + i * PAGE, PAGE};
    fd = OPEN("f", O_RDONLY | O_DIRECT);
    EQ(readv(fd, r, 512), 2 * MIB);
    PAT(got, 2 * MIB, 4, 0);
    OK(close(fd));
}

static void ops_make(struct iop *ops, unsigned n, size_t len, int fd, bool wr, uint64_t seed)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned at = (i * 7) % n; /* not in order */

        ops[i] = (struct iop){fd, wr, io_mem(len), len, (off_t)(at * len), -1};
        if (wr)
            pat_fill(ops[i].buf, len, seed, at * len);
    }
}

static void ops_verify(const struct iop *ops, unsigned n, uint64_t seed)
{
    iops_check(ops, n);
    for (unsigned i = 0; i < n; i++)
        PAT(ops[i].buf, ops[i].len, seed, (uint64_t)ops[i].off);
}

static bool run_ops(bool uring, struct iop *ops, unsigned n)
{
    if (uring)
        return uring_run(ops, n, 64);
    aio_run(ops, n, 64);
    return true;
}

static void async_case(bool uring, int flags, bool prealloc)
{
    unsigned n = 64;
    size_t len = 256 * KIB;
    struct iop *ops = io_mem(n * sizeof(*ops));
    int fd = OPEN("f", O_RDWR | O_CREAT | O_TRUNC | flags);

    if (prealloc)
        OK(fallocate(fd, 0, 0, (off_t)(n * len)));
    ops_make(ops, n, len, fd, true, 5);
    if (!run_ops(uring, ops, n))
        io_skip("no io_uring");
    iops_check(ops, n);
    ops_make(ops, n, len, fd, false, 5);
    run_ops(uring, ops, n);
    ops_verify(ops, n, 5);
    OK(fsync(fd));
    OK(close(fd));
    file_check("f", 5, n * len);
    fd = OPEN("f", O_RDONLY | flags);
    ops_make(ops, n, len, fd, false, 5);
    run_ops(uring, ops, n);
    ops_verify(ops, n, 5);
    ops[0].off = (off_t)(n * len - len / 2); /* short at the end of the file only */
    run_ops(uring, ops, 1);
    EQ(ops[0].res, len / 2);
    ops[0].off = (off_t)(n * len);
    run_ops(uring, ops, 1);
    EQ(ops[0].res, 0);
    OK(close(fd));
}

static void b11_libaio(void)
{
    async_case(false, 0, false);
    async_case(false, 0, true);
}

static void b11_libaio_direct(void)
{
    async_case(false, O_DIRECT, true);
    async_case(false, O_DIRECT, false);
}

static void b11_io_uring(void)
{
    async_case(true, 0, false);
    async_case(true, 0, true);
}

static void b11_io_uring_direct(void)
{
    async_case(true, O_DIRECT, true);
    async_case(true, O_DIRECT, false);
}

/* Queue depth 256 on one descriptor (NIXL's default), 4 KiB each, mixed reads and writes. */
static void b11_depth_256(void)
{
    unsigned n = 1024;
    struct iop *ops = io_mem(n * sizeof(*ops));
    int fd;

    file_write("f", 6, 4 * MIB);
    fd = OPEN("f", O_RDWR | O_DIRECT);
    for (unsigned i = 0; i < n; i++) {
        ops[i] = (struct iop){fd, i % 2 == 0, io_mem(PAGE), PAGE, (off_t)(i * PAGE), -1};
        if (i % 2 == 0)
            pat_fill(ops[i].buf, PAGE, 7, i * PAGE);
    }
    aio_run(ops, n, 256);
    iops_check(ops, n);
    for (unsigned i = 0; i < n; i++)
        PAT(ops[i].buf, PAGE, i % 2 ? 6 : 7, i * PAGE);
    for (unsigned i = 0; i < n; i++)
        ops[i].write = false;
    if (!uring_run(ops, n, 256))
        aio_run(ops, n, 256);
    iops_check(ops, n);
    for (unsigned i = 0; i < n; i++)
        PAT(ops[i].buf, PAGE, i % 2 ? 6 : 7, i * PAGE);
    OK(close(fd));
}

/* Threads with pread and pwrite on one descriptor, each in its own part of the file. */
static atomic_uint slot_next;

static void *slot_thread(void *arg)
{
    unsigned i = atomic_fetch_add(&slot_next, 1);
    char *buf = io_mem(64 * KIB);
    int fd = *(int *)arg;

    for (unsigned n = 0; n < 20; n++) {
        pat_fill(buf, 64 * KIB, 1000 * i + n, 0);
        io_pwrite(fd, buf, 64 * KIB, (off_t)(i * 64 * KIB));
        memset(buf, 0, 64 * KIB);
        io_pread(fd, buf, 64 * KIB, (off_t)(i * 64 * KIB));
        PAT(buf, 64 * KIB, 1000 * i + n, 0);
    }
    return NULL;
}

static void b11_threads_one_fd(void)
{
    pthread_t t[16];
    int fd = OPEN("f", O_RDWR | O_CREAT);

    OK(ftruncate(fd, (off_t)MIB));
    for (unsigned i = 0; i < 16; i++)
        EQ(pthread_create(&t[i], NULL, slot_thread, &fd), 0);
    for (unsigned i = 0; i < 16; i++)
        EQ(pthread_join(t[i], NULL), 0);
    OK(close(fd));
    EQ(file_size("f"), MIB);
}

/* The same while somebody looks at the file, which must not bring back what was there before. */
struct onlooker {
    atomic_bool stop;
    int fd;
};

static void *look_thread(void *arg)
{
    struct onlooker *o = arg;
    struct stat st;

    while (!atomic_load(&o->stop)) {
        OK(fstat(o->fd, &st));
        OK(close(OPEN("f", O_RDONLY)));
    }
    return NULL;
}

static void b11_threads_beside_opens(void)
{
    struct onlooker o = {.fd = -1};
    pthread_t looks, t[4];

    for (unsigned round = 0; round < 40; round++) {
        o.fd = OPEN("f", O_RDWR | O_CREAT | O_TRUNC);
        OK(ftruncate(o.fd, (off_t)MIB));
        atomic_store(&o.stop, false);
        EQ(pthread_create(&looks, NULL, look_thread, &o), 0);
        slot_next = 0;
        for (unsigned i = 0; i < 4; i++)
            EQ(pthread_create(&t[i], NULL, slot_thread, &o.fd), 0);
        for (unsigned i = 0; i < 4; i++)
            EQ(pthread_join(t[i], NULL), 0);
        atomic_store(&o.stop, true);
        EQ(pthread_join(looks, NULL), 0);
        OK(close(o.fd));
    }
}

static void b11_stdio(void)
{
    char *buf = io_pattern(1000000, 8), *got = io_mem(1000000);
    FILE *f = fopen("f", "wb");

    CHECK(f, "fopen: %s", strerror(errno));
    for (size_t at = 0; at < 1000000; at += 1000)
        EQ(fwrite(buf + at, 1, 1000, f), 1000);
    EQ(fflush(f), 0);
    EQ(file_size("f"), 1000000);
    EQ(fclose(f), 0);
    f = fopen("f", "rb");
    CHECK(f, "fopen: %s", strerror(errno));
    EQ(fseek(f, 0, SEEK_END), 0);
    EQ(ftell(f), 1000000);
    rewind(f);
    EQ(fread(got, 1, 1000000, f), 1000000);
    EQ(fgetc(f), EOF);
    EQ(fclose(f), 0);
    PAT(got, 1000000, 8, 0);
    f = fopen("f", "r+b");
    CHECK(f, "fopen: %s", strerror(errno));
    EQ(fseek(f, 500000, SEEK_SET), 0);
    EQ(fwrite(buf + 500000, 1, 5000, f), 5000);
    EQ(fclose(f), 0);
    file_check("f", 8, 1000000);
}

/* I/O between two files of the directory through a mapping of one as the buffer of the other. */
static void b11_mapped_buffer(void)
{
    char *map, *got = io_mem(MIB);
    int a, b;

    file_write("a", 9, MIB);
    a = OPEN("a", O_RDONLY);
    map = mmap(NULL, MIB, PROT_READ, MAP_SHARED, a, 0);
    CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
    b = OPEN("b", O_RDWR | O_CREAT | O_DIRECT);
    EQ(write(b, map, MIB), MIB);
    OK(close(b));
    file_check("b", 9, MIB);
    b = OPEN("b", O_RDONLY);
    EQ(write(OPEN("c", O_WRONLY | O_CREAT), map, MIB), MIB);
    file_check("c", 9, MIB);
    io_pread(b, got, MIB, 0);
    PAT(got, MIB, 9, 0);
    OK(munmap(map, MIB));
}

const struct iocase iocheck_aio[] = {
    {"b11_positioned", b11_positioned, false},
    {"b11_vectors", b11_vectors, false},
    {"b11_vector_shapes", b11_vector_shapes, false},
    {"b11_libaio", b11_libaio, false},
    {"b11_libaio_direct", b11_libaio_direct, false},
    {"b11_io_uring", b11_io_uring, false},
    {"b11_io_uring_direct", b11_io_uring_direct, false},
    {"b11_depth_256", b11_depth_256, false},
    {"b11_threads_one_fd", b11_threads_one_fd, false},
    {"b11_threads_beside_opens", b11_threads_beside_opens, false},
    {"b11_stdio", b11_stdio, false},
    {"b11_mapped_buffer", b11_mapped_buffer, false},
    {NULL, NULL, false},
};
