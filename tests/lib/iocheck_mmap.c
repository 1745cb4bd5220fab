/*
 * Point 13: mappings. Private and shared, read-only and writable, MAP_POPULATE, msync, coherent
 * with read and write in this and in other processes, through O_DIRECT descriptors too, and beyond
 * the end of the file.
 */
#include "iocheck.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static char *map_fd(int fd, size_t len, int prot, int flags)
{
    char *p = mmap(NULL, len, prot, flags, fd, 0);

    CHECK(p != MAP_FAILED, "mmap %zu prot %d flags 0x%x: %s", len, prot, (unsigned)flags,
          strerror(errno));
    return p;
}

/* safetensors, torch.load, LMCache GDS. */
static void b13_private(void)
{
    size_t len = 2 * MIB + 777;
    char *p;
    int fd;

    file_write("f", 1, len);
    fd = OPEN("f", O_RDONLY);
    p = map_fd(fd, len, PROT_READ, MAP_PRIVATE);
    PAT(p, len, 1, 0);
    EQ(p[len], 0); /* the rest of the last page */
    OK(munmap(p, len));
    p = map_fd(fd, len, PROT_READ | PROT_WRITE, MAP_PRIVATE); /* copy on write */
    memset(p, 0, len);
    OK(munmap(p, len));
    p = map_fd(fd, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE);
    OK(close(fd)); /* the mapping holds the file */
    PAT(p, len, 1, 0);
    OK(munmap(p, len));
    file_check("f", 1, len);
}

/* llama.cpp's model: MAP_SHARED|MAP_POPULATE with advice; numpy.memmap 'r'. */
static void b13_shared_ro(void)
{
    size_t len = 8 * MIB;
    char *p;
    int fd;

    file_write("model.gguf", 2, len);
    fd = OPEN("model.gguf", O_RDONLY);
    EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
    p = map_fd(fd, len, PROT_READ, MAP_SHARED | MAP_POPULATE);
    EQ(posix_madvise(p, len, POSIX_MADV_WILLNEED), 0);
    EQ(posix_madvise(p, len, POSIX_MADV_RANDOM), 0);
    PAT(p, len, 2, 0);
    CHECK(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED &&
              errno == EACCES,
          "a writable shared mapping of a read-only descriptor");
    OK(munmap(p, len));
    OK(close(fd));
    fd = OPEN("model.gguf", O_RDONLY | O_DIRECT);
    p = map_fd(fd, len, PROT_READ, MAP_SHARED);
    PAT(p, len, 2, 0);
    OK(munmap(p, len));
    OK(close(fd));
}

/* Tair: fallocate, write through a shared mapping, msync(MS_SYNC), read(2) sees it. */
static void b13_shared_rw(void)
{
    size_t len = 4 * MIB;
    char *got = io_mem(len), *p;
    int fd = OPEN("f", O_RDWR | O_CREAT);

    OK(fallocate(fd, 0, 0, (off_t)len));
    p = map_fd(fd, len, PROT_READ | PROT_WRITE, MAP_SHARED);
    pat_fill(p, len, 3, 0);
    OK(msync(p, len, MS_SYNC));
    io_pread(fd, got, len, 0);
    PAT(got, len, 3, 0);
    pat_fill(p + PAGE, PAGE, 4, 0);
    OK(msync(p + PAGE, PAGE, MS_SYNC));
    OK(msync(p, len, MS_ASYNC));
    OK(munmap(p, len));
    OK(close(fd));
    fd = OPEN("f", O_RDONLY);
    io_pread(fd, got, len, 0);
    PAT(got, PAGE, 3, 0);
    PAT(got + PAGE, PAGE, 4, 0);
    PAT(got + 2 * PAGE, len - 2 * PAGE, 3, 2 * PAGE);
    OK(close(fd));
}

/* The mapping outlives the descriptor and the dirty pages reach the file without an msync. */
static void b13_shared_no_msync(void)
{
    size_t len = MIB + 100;
    char *p;
    int fd = OPEN("f", O_RDWR | O_CREAT);

    OK(ftruncate(fd, (off_t)len));
    p = map_fd(fd, len, PROT_READ | PROT_WRITE, MAP_SHARED);
    OK(close(fd));
    pat_fill(p, len, 5, 0);
    OK(munmap(p, len));
    file_check("f", 5, len);
}

/* LMCache GDS without cuFile: temporary, ftruncate, MAP_SHARED write, rename, then a private
 * mapping. */
static void b13_map_then_rename(void)
{
    size_t len = 4096 + 1124352;
    char *p;
    int fd = OPEN("k.tmp0a1b2c3d", O_RDWR | O_CREAT | O_TRUNC);

    OK(ftruncate(fd, (off_t)len));
    p = map_fd(fd, len, PROT_READ | PROT_WRITE, MAP_SHARED);
    pat_fill(p, len, 6, 0);
    OK(munmap(p, len));
    OK(close(fd));
    OK(rename("k.tmp0a1b2c3d", "k"));
    fd = OPEN("k", O_RDONLY);
    p = map_fd(fd, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE);
    PAT(p, len, 6, 0);
    OK(munmap(p, len));
    OK(close(fd));
    file_check("k", 6, len);
}

static void b13_coherent(void)
{
    char *buf = io_pattern(MIB, 7), *got = io_mem(MIB), *p, *q;
    int a = OPEN("f", O_RDWR | O_CREAT), b;

    OK(ftruncate(a, (off_t)MIB));
    p = map_fd(a, MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    b = OPEN("f", O_RDWR);
    q = map_fd(b, MIB, PROT_READ, MAP_SHARED);
    EQ(p[0] | q[0] | p[MIB - 1] | q[MIB - 1], 0); /* faulted in before the write */
    io_pwrite(b, buf, MIB, 0);
    PAT(p, MIB, 7, 0);
    PAT(q, MIB, 7, 0);
    memcpy(p + 1000, "mapped", 6);
    CHECK(!memcmp(q + 1000, "mapped", 6), "two shared mappings differ");
    OK(msync(p, MIB, MS_SYNC));
    io_pread(b, got, MIB, 0);
    CHECK(!memcmp(got, p, MIB), "read differs from the mapping");
    OK(munmap(p, MIB));
    OK(munmap(q, MIB));
    OK(close(a));
    OK(close(b));
}

struct pair {
    int go, done;
};

static void map_other(void *arg)
{
    struct pair *g = arg;
    int fd = OPEN("f", O_RDWR);
    char *p = map_fd(fd, MIB, PROT_READ | PROT_WRITE, MAP_SHARED);

    for (unsigned i = 0; i < 10; i++) {
        gate_wait(g->go);
        PAT(p, MIB / 2, i, 0);
        pat_fill(p + MIB / 2, MIB / 2, 100 + i, MIB / 2);
        gate_post(g->done, 1);
    }
    OK(munmap(p, MIB));
    OK(close(fd));
}

static void b13_two_processes(void)
{
    struct pair g = {.go = gate_new(), .done = gate_new()};
    pid_t pid;
    char *p;
    int fd;

    file_write("f", 1, MIB);
    pid = io_spawn(map_other, &g);
    fd = OPEN("f", O_RDWR);
    p = map_fd(fd, MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (unsigned i = 0; i < 10; i++) {
        pat_fill(p, MIB / 2, i, 0);
        gate_post(g.go, 1);
        gate_wait(g.done);
        PAT(p + MIB / 2, MIB / 2, 100 + i, MIB / 2);
    }
    io_join(pid);
    OK(munmap(p, MIB));
    OK(close(fd));
}

/* Growing a mapped file: the new pages are there after ftruncate. */
static void b13_grow_mapped(void)
{
    char *p;
    int fd = OPEN("f", O_RDWR | O_CREAT);

    OK(ftruncate(fd, (off_t)PAGE));
    p = map_fd(fd, MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    pat_fill(p, PAGE, 8, 0);
    OK(ftruncate(fd, (off_t)MIB));
    pat_fill(p + PAGE, MIB - PAGE, 8, PAGE);
    OK(msync(p, MIB, MS_SYNC));
    fd_check(fd, 8, MIB);
    OK(munmap(p, MIB));
    OK(close(fd));
    file_check("f", 8, MIB);
}

static sigjmp_buf on_bus;

static void bus(int sig)
{
    siglongjmp(on_bus, sig);
}

static void b13_sigbus(void)
{
    volatile char *p;
    int fd;

    file_write("f", 9, 3 * PAGE);
    fd = OPEN("f", O_RDONLY);
    p = map_fd(fd, 5 * PAGE, PROT_READ, MAP_SHARED);
    OK(close(fd));
    PAT((const void *)p, 3 * PAGE, 9, 0);
    signal(SIGBUS, bus);
    if (sigsetjmp(on_bus, 1) == 0)
        CHECK(0, "a read beyond the end gave %d", p[4 * PAGE]);
    signal(SIGBUS, SIG_DFL);
    OK(munmap((void *)p, 5 * PAGE));
}

/* What a new file is given shows at once, by whatever call it comes; nobody asked before it did. */
static void b13_new_attributes(void)
{
    for (int how = 0; how < 3; how++) {
        struct stat st;
        char name[16], *p;
        int fd;

        file_copy_name(name, sizeof(name), "new.%u", (unsigned)how);
        fd = OPEN(name, O_RDWR | O_CREAT | O_EXCL);
        if (how == 0)
            EQ(pwrite(fd, "", 1, (off_t)(16 * PAGE) - 1), 1);
        else if (how == 1)
            OK(ftruncate(fd, (off_t)(16 * PAGE)));
        else
            EQ(posix_fallocate(fd, 0, (off_t)(16 * PAGE)), 0);
        p = map_fd(fd, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
        pat_fill(p, 16 * PAGE, 5, 0);
        OK(msync(p, 16 * PAGE, MS_SYNC));
        OK(stat(name, &st));
        EQ(st.st_size, 16 * PAGE);
        CHECK(st.st_blocks >= 16 * (blkcnt_t)(PAGE / 512), "%s: %lld blocks", name,
              (long long)st.st_blocks);
        OK(munmap(p, 16 * PAGE));
        OK(close(fd));
        file_check(name, 5, 16 * PAGE);
    }
}

static void b13_offsets(void)
{
    char *p;
    int fd;

    file_write("f", 10, MIB);
    fd = OPEN("f", O_RDWR);
    p = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 512 * KIB);
    CHECK(p != MAP_FAILED, "mmap at an offset: %s", strerror(errno));
    PAT(p, 64 * KIB, 10, 512 * KIB);
    OK(mprotect(p, 64 * KIB, PROT_READ));
    PAT(p, 64 * KIB, 10, 512 * KIB);
    OK(munmap(p, 64 * KIB));
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED && errno == EINVAL,
          "an unaligned offset");
    p = map_fd(fd, MIB, PROT_READ, MAP_PRIVATE | MAP_LOCKED);
    PAT(p, MIB, 10, 0);
    OK(munmap(p, MIB));
    OK(close(fd));
}

/* Random touches of a cold file: a demand fault each. */
static void b13_random_touch(void)
{
    size_t len = 32 * MIB;
    char *p;
    int fd;

    file_write("f", 11, len);
    fd = OPEN("f", O_RDONLY);
    EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    p = map_fd(fd, len, PROT_READ, MAP_SHARED);
    for (unsigned i = 0; i < 500; i++) {
        size_t at = io_mix(i) % (len - 100);

        PAT(p + at, 100, 11, at);
    }
    OK(munmap(p, len));
    OK(close(fd));
}

/* O_DIRECT reads and writes beside a mapping of the same file. */
static void b13_direct_and_map(void)
{
    char *buf = io_pattern(MIB, 12), *got = io_mem(MIB), *p;
    int m, d;

    file_write("f", 1, MIB);
    m = OPEN("f", O_RDWR);
    p = map_fd(m, MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    PAT(p, MIB, 1, 0);
    d = OPEN("f", O_RDWR | O_DIRECT);
    io_pwrite(d, buf, MIB, 0);
    PAT(p, MIB, 12, 0);
    pat_fill(p, MIB, 13, 0);
    OK(msync(p, MIB, MS_SYNC));
    io_pread(d, got, MIB, 0);
    PAT(got, MIB, 13, 0);
    OK(munmap(p, MIB));
    OK(close(d));
    OK(close(m));
    file_check("f", 13, MIB);
}

const struct iocase iocheck_mmap[] = {
    {"b13_private", b13_private, false},
    {"b13_shared_ro", b13_shared_ro, false},
    {"b13_shared_rw", b13_shared_rw, false},
    {"b13_shared_no_msync", b13_shared_no_msync, false},
    {"b13_map_then_rename", b13_map_then_rename, false},
    {"b13_coherent", b13_coherent, false},
    {"b13_two_processes", b13_two_processes, false},
    {"b13_grow_mapped", b13_grow_mapped, false},
    {"b13_sigbus", b13_sigbus, false},
    {"b13_new_attributes", b13_new_attributes, false},
    {"b13_offsets", b13_offsets, false},
    {"b13_random_touch", b13_random_touch, false},
    {"b13_direct_and_map", b13_direct_and_map, false},
    {NULL, NULL, false},
};
