/*
 * Point 6: create and open. O_EXCL, O_TRUNC, O_APPEND, reopening without O_TRUNC, several
 * descriptors writing one file, O_DIRECT at open and by fcntl, O_SYNC, O_DSYNC, O_NOATIME, and
 * temporary names of all kinds.
 */
#include "iocheck.h"

#include <pthread.h>
#include <sys/uio.h>

static void b06_excl(void)
{
    int fd = OPEN("f", O_WRONLY | O_CREAT | O_EXCL);

    ERR(open("f", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    OK(close(fd));
    ERR(open("f", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    ERR(open("f", O_WRONLY | O_CREAT | O_EXCL | O_TRUNC | O_DIRECT, 0644), EEXIST);
    OK(mkdir("d", 0755));
    ERR(open("d", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    OK(unlink("f"));
    OK(close(OPEN("f", O_WRONLY | O_CREAT | O_EXCL)));
}

struct excl {
    int go;
};

static void excl_one(unsigned i, void *arg)
{
    struct excl *x = arg;
    unsigned won = 0;
    char name[32];

    gate_wait(x->go);
    for (unsigned f = 0; f < 100; f++) {
        int fd;

        file_copy_name(name, sizeof(name), "r%u", f);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0) {
            CHECK(errno == EEXIST, "open %s: %s", name, strerror(errno));
            continue;
        }
        OK(close(fd));
        won++;
    }
    file_copy_name(name, sizeof(name), "won.%u", i);
    file_write(name, 1, won);
}

static void b06_excl_raced(void)
{
    struct excl x = {.go = gate_new()};
    off_t sum = 0;
    char name[32];

    gate_post(x.go, 8);
    io_each(8, excl_one, &x);
    for (unsigned i = 0; i < 8; i++) {
        file_copy_name(name, sizeof(name), "won.%u", i);
        sum += file_size(name);
    }
    EQ(sum, 100);
}

static void b06_trunc(void)
{
    file_write("f", 1, 100000);
    file_write("f", 2, 5000); /* O_TRUNC */
    file_check("f", 2, 5000);
    OK(close(OPEN("f", O_WRONLY | O_TRUNC)));
    file_check("f", 2, 0);
    file_write("f", 3, 200000);
    file_check("f", 3, 200000);
    OK(close((int)OK(creat("f", 0644))));
    file_check("f", 3, 0);
}

static void b06_append(void)
{
    char *buf = io_pattern(30000, 1), c;
    int a, b;

    file_write("f", 1, 10000);
    a = OPEN("f", O_WRONLY | O_APPEND);
    EQ(write(a, buf + 10000, 10000), 10000);
    b = OPEN("f", O_WRONLY | O_APPEND | O_CREAT);
    EQ(write(b, buf + 20000, 5000), 5000);
    EQ(write(a, buf + 25000, 5000), 5000); /* at the end that the other one made */
    OK(close(a));
    OK(close(b));
    file_check("f", 1, 30000);
    a = OPEN("f", O_RDWR | O_APPEND);
    EQ(lseek(a, 0, SEEK_SET), 0);
    EQ(read(a, &c, 1), 1);
    EQ(write(a, "x", 1), 1);
    EQ(lseek(a, 0, SEEK_CUR), 30001);
    OK(close(a));
    EQ(file_size("f"), 30001);
}

/* Lines of several processes through O_APPEND: none lost, none mixed. */
static void append_lines(unsigned i, void *arg)
{
    int fd = OPEN("log", O_WRONLY | O_APPEND);
    char line[64];

    (void)arg;
    for (unsigned n = 0; n < 200; n++) {
        int len = snprintf(line, sizeof(line), "%u %050u\n", i, n);

        EQ(write(fd, line, (size_t)len), len);
    }
    OK(close(fd));
}

static void b06_append_raced(void)
{
    unsigned next[4] = {0}, i, n;
    char line[128];
    FILE *f;

    OK(close(OPEN("log", O_WRONLY | O_CREAT)));
    io_each(4, append_lines, NULL);
    f = fopen("log", "r");
    CHECK(f, "fopen: %s", strerror(errno));
    while (fgets(line, sizeof(line), f)) {
        EQ(sscanf(line, "%u %u", &i, &n), 2);
        CHECK(i < 4 && n == next[i] && strlen(line) == 53, "line '%s'", line);
        next[i]++;
    }
    fclose(f);
    for (i = 0; i < 4; i++)
        EQ(next[i], 200);
}

/* LMCache, TRT-LLM v1, NIXL: O_CREAT without O_TRUNC on an existing file overwrites in place. */
static void b06_no_trunc(void)
{
    char *buf = io_pattern(20000, 2), *got = io_mem(50000);
    int fd;

    file_write("f", 1, 50000);
    OK(close(OPEN("f", O_WRONLY | O_CREAT)));
    file_check("f", 1, 50000);
    fd = OPEN("f", O_RDWR | O_CREAT);
    io_pwrite(fd, buf + 5000, 10000, 5000);
    io_pread(fd, got, 50000, 0);
    OK(close(fd));
    PAT(got, 5000, 1, 0);
    PAT(got + 5000, 10000, 2, 5000);
    PAT(got + 15000, 35000, 1, 15000);
    fd = OPEN("f", O_RDONLY);
    memset(got, 0, 50000);
    io_pread(fd, got, 50000, 0);
    OK(close(fd));
    PAT(got, 5000, 1, 0);
    PAT(got + 5000, 10000, 2, 5000);
    PAT(got + 15000, 35000, 1, 15000);
    file_put("f", O_WRONLY | O_DIRECT, 3, 49152); /* shorter, so the old tail stays */
    EQ(file_size("f"), 50000);
    fd = OPEN("f", O_RDONLY);
    io_pread(fd, got, 50000, 0);
    OK(close(fd));
    PAT(got, 49152, 3, 0);
    PAT(got + 49152, 848, 1, 49152);
}

/* UCM: every shard of a block has a descriptor of its own on one .tmp; the last one renames. */
struct shards {
    unsigned n;
    size_t len;
    int flags;
    pthread_barrier_t start;
    unsigned left;
};

static void *shard_write(void *arg)
{
    static unsigned next;
    struct shards *s = arg;
    unsigned i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % s->n;
    char *buf = io_mem(s->len);
    int fd;

    pat_fill(buf, s->len, 4, i * s->len);
    fd = OPEN("block.tmp", O_CREAT | O_WRONLY | s->flags);
    pthread_barrier_wait(&s->start);
    for (size_t at = 0; at < s->len; at += 64 * KIB)
        io_pwrite(fd, buf + at, 64 * KIB, (off_t)(i * s->len + at));
    if (__atomic_sub_fetch(&s->left, 1, __ATOMIC_ACQ_REL) == 0)
        OK(rename("block.tmp", "block"));
    pthread_barrier_wait(&s->start);
    OK(close(fd));
    return NULL;
}

static void shards_run(int flags)
{
    struct shards s = {.n = 16, .len = 512 * KIB, .flags = flags, .left = 16};
    pthread_t t[16];

    EQ(pthread_barrier_init(&s.start, NULL, 16), 0);
    for (unsigned i = 0; i < 16; i++)
        EQ(pthread_create(&t[i], NULL, shard_write, &s), 0);
    for (unsigned i = 0; i < 16; i++)
        EQ(pthread_join(t[i], NULL), 0);
    file_check("block", 4, 8 * MIB);
    ERR(access("block.tmp", F_OK), ENOENT);
}

static void b06_many_writers(void)
{
    shards_run(0);
    shards_run(O_DIRECT);
}

/* The same with a process for each descriptor. */
static void shard_process(unsigned i, void *arg)
{
    char *buf = io_mem(512 * KIB);
    int fd = OPEN("p.tmp", O_CREAT | O_WRONLY);

    (void)arg;
    pat_fill(buf, 512 * KIB, 5, i * 512 * KIB);
    io_pwrite(fd, buf, 512 * KIB, (off_t)(i * 512 * KIB));
    OK(close(fd));
}

static void b06_many_writer_processes(void)
{
    io_each(8, shard_process, NULL);
    OK(rename("p.tmp", "p"));
    file_check("p", 5, 4 * MIB);
}

/* The process that writes may read what it wrote, at once, also through another descriptor. */
static void b06_read_own_write(void)
{
    char *buf = io_pattern(100000, 6), *got = io_mem(100000);
    int w = OPEN("f", O_RDWR | O_CREAT | O_EXCL), r;

    io_pwrite(w, buf, 50000, 0);
    io_pread(w, got, 50000, 0);
    PAT(got, 50000, 6, 0);
    r = OPEN("f", O_RDONLY);
    io_pread(r, got, 50000, 0);
    PAT(got, 50000, 6, 0);
    EQ(pread(r, got, 10, 50000), 0);
    io_pwrite(w, buf + 50000, 50000, 50000);
    io_pread(r, got, 50000, 50000);
    PAT(got, 50000, 6, 50000);
    OK(close(w));
    fd_check(r, 6, 100000);
    OK(close(r));
}

/* O_DIRECT with whole aligned pages, as vLLM, FlexKV and PegaFlow do it. */
static void b06_direct(void)
{
    size_t len = 2 * MIB;
    char *buf = io_pattern(len, 7), *got = io_mem(len);
    int fd = OPEN("f.tmp", O_CREAT | O_EXCL | O_WRONLY | O_TRUNC | O_DIRECT);

    EQ(write(fd, buf, len), len);
    OK(close(fd));
    OK(rename("f.tmp", "f"));
    fd = OPEN("f", O_RDONLY | O_DIRECT);
    EQ(read(fd, got, len), len);
    PAT(got, len, 7, 0);
    EQ(read(fd, got, PAGE), 0);
    OK(close(fd));
    file_check("f", 7, len);
}

/* Whether this directory takes O_DIRECT I/O that is not aligned: FUSE does, disks do not. */
static bool direct_any(const char *path)
{
    char *buf = io_mem(2 * PAGE);
    int fd = OPEN(path, O_RDONLY | O_DIRECT);
    ssize_t n = pread(fd, buf + 1, 100, 3);

    CHECK(n == 100 || errno == EINVAL, "unaligned direct read: %zd, %s", n, strerror(errno));
    OK(close(fd));
    CHECK(n == 100 || !on_l2fs, "unaligned direct read refused");
    return n == 100;
}

static void b06_direct_unaligned(void)
{
    static const size_t offs[] = {0, 1, 511, 512, 4095, 4097, 65537};
    static const size_t lens[] = {1, 24, 4095, 4096, 4097, 1124352, 1048577};
    size_t cap = 2 * MIB;
    char *want = io_pattern(cap, 8), *got = io_mem(cap + PAGE);
    int fd;

    file_write("f", 1, cap);
    if (!direct_any("f"))
        io_skip("no unaligned direct I/O here");
    fd = OPEN("f", O_RDWR | O_DIRECT);
    for (size_t o = 0; o < ARRAY_LEN(offs); o++) {
        for (size_t l = 0; l < ARRAY_LEN(lens); l++) {
            for (size_t mem = 0; mem <= 513; mem += 513) {
                memcpy(got + mem, want + offs[o], lens[l]);
                io_pwrite(fd, got + mem, lens[l], (off_t)offs[o]);
                memset(got, 0, cap);
                io_pread(fd, got + mem, lens[l], (off_t)offs[o]);
                PAT(got + mem, lens[l], 8, offs[o]);
            }
        }
    }
    OK(close(fd));
    /* DeepSeek-V3's 1.07 MiB block: not a multiple of 4 KiB, written and read with O_DIRECT in one
     * call */
    fd = OPEN("ds", O_CREAT | O_WRONLY | O_DIRECT);
    EQ(write(fd, want, 1124352), 1124352);
    OK(close(fd));
    fd = OPEN("ds", O_RDONLY | O_DIRECT);
    EQ(read(fd, got, cap), 1124352);
    PAT(got, 1124352, 8, 0);
    OK(close(fd));
}

/* Dynamo: O_DIRECT set by fcntl after the open, and taken off again. */
static void b06_direct_fcntl(void)
{
    char *buf = io_pattern(MIB, 9), *got = io_mem(MIB);
    int fd = OPEN("f", O_RDWR | O_CREAT), fl;

    fl = (int)OK(fcntl(fd, F_GETFL));
    OK(fcntl(fd, F_SETFL, fl | O_DIRECT));
    CHECK(fcntl(fd, F_GETFL) & O_DIRECT, "the flag does not stay");
    io_pwrite(fd, buf, MIB, 0);
    io_pread(fd, got, MIB, 0);
    PAT(got, MIB, 9, 0);
    OK(fcntl(fd, F_SETFL, fl));
    io_pread(fd, got, 1000, 77);
    PAT(got, 1000, 9, 77);
    io_pwrite(fd, buf + 77, 1000, 77);
    OK(fcntl(fd, F_SETFL, fl | O_DIRECT));
    io_pread(fd, got, MIB, 0);
    PAT(got, MIB, 9, 0);
    OK(close(fd));
    file_check("f", 9, MIB);
}

static void b06_sync_flags(void)
{
    static const int flags[] = {O_SYNC,      O_DSYNC,    O_NOATIME,  O_CLOEXEC, O_SYNC | O_DIRECT,
                                O_LARGEFILE, O_NONBLOCK, O_NOFOLLOW, O_NOCTTY,  O_RSYNC};

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        char *got = io_mem(64 * KIB);
        char name[16];
        int fd;

        file_copy_name(name, sizeof(name), "f%zu", i);
        file_put(name, O_WRONLY | O_EXCL | flags[i], i, 64 * KIB);
        file_check(name, i, 64 * KIB);
        fd = OPEN(name, O_RDWR | flags[i]);
        io_pread(fd, got, 64 * KIB, 0);
        PAT(got, 64 * KIB, i, 0);
        io_pwrite(fd, got, 4096, 4096);
        OK(close(fd));
    }
}

static void b06_open_flags(void)
{
    struct stat st;
    char c;
    int fd;

    file_write("f", 1, 100);
    fd = OPEN("f", O_RDONLY);
    ERR(write(fd, "x", 1), EBADF);
    OK(close(fd));
    fd = OPEN("f", O_WRONLY);
    ERR(read(fd, &c, 1), EBADF);
    OK(close(fd));
    fd = OPEN("f", O_PATH);
    OK(fstat(fd, &st));
    EQ(st.st_size, 100);
    ERR(read(fd, &c, 1), EBADF);
    OK(close(fd));
    ERR(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
    ERR(open("f/x", O_RDONLY), ENOTDIR);
    ERR(open("f/", O_RDONLY), ENOTDIR);
    OK(mkdir("d", 0755));
    ERR(open("d", O_WRONLY), EISDIR);
    ERR(open("d", O_RDWR), EISDIR);
    ERR(open("d", O_RDWR | O_CREAT, 0644), EISDIR);
    ERR(open("none/f", O_WRONLY | O_CREAT, 0644), ENOENT);
    ERR(open("none", O_WRONLY), ENOENT);
    ERR(open("none", O_RDONLY), ENOENT);
}

/* vLLM's start-up probe and the mkstemp family. */
static void b06_probe_mkstemp(void)
{
    char a[] = "dynamo-kvbm-disk-cache-XXXXXX", b[] = "tmpXXXXXX.safetensors";
    char *buf = io_pattern(PAGE, 1);
    struct stat st;
    int fd = OPEN(".o_direct_probe_1f.tmp", O_CREAT | O_WRONLY | O_TRUNC | O_DIRECT);

    EQ(write(fd, buf, PAGE), PAGE);
    OK(close(fd));
    OK(unlink(".o_direct_probe_1f.tmp"));
    fd = (int)OK(mkostemp(a, O_CLOEXEC));
    OK(fstat(fd, &st));
    EQ(st.st_mode, S_IFREG | 0600);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC, "not close-on-exec");
    io_pwrite(fd, buf, PAGE, 0);
    OK(close(fd));
    file_check(a, 1, PAGE);
    OK(unlink(a));
    fd = (int)OK(mkstemps(b, 12));
    io_pwrite(fd, buf, PAGE, 0);
    OK(close(fd));
    OK(rename(b, "x.safetensors"));
    file_check("x.safetensors", 1, PAGE);
}

const struct iocase iocheck_create[] = {
    {"b06_excl", b06_excl, false},
    {"b06_excl_raced", b06_excl_raced, false},
    {"b06_trunc", b06_trunc, false},
    {"b06_append", b06_append, false},
    {"b06_append_raced", b06_append_raced, false},
    {"b06_no_trunc", b06_no_trunc, false},
    {"b06_many_writers", b06_many_writers, false},
    {"b06_many_writer_processes", b06_many_writer_processes, false},
    {"b06_read_own_write", b06_read_own_write, false},
    {"b06_direct", b06_direct, false},
    {"b06_direct_unaligned", b06_direct_unaligned, false},
    {"b06_direct_fcntl", b06_direct_fcntl, false},
    {"b06_sync_flags", b06_sync_flags, false},
    {"b06_open_flags", b06_open_flags, false},
    {"b06_probe_mkstemp", b06_probe_mkstemp, false},
    {NULL, NULL, false},
};
