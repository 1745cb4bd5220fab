/*
 * UCM (every shard of a block on a descriptor of its own, the last one renames), Tair KVCM (writes
 * through a shared mapping, several processes read), and llama.cpp (4 KiB writes through stdio, the
 * model mapped shared).
 */
#include "engines.h"
#include "ioaio.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>
#include <utime.h>

/* ---- UCM ---- */

enum { UCM_BLOCKS = 24, UCM_SHARDS = 8 };
#define UCM_SHARD (256 * KIB)

struct ucm {
    int flags;
    unsigned left[UCM_BLOCKS];
};

static void ucm_path(char *dst, size_t cap, unsigned b, const char *suffix)
{
    char h[33];

    hex(h, 32, 900 + b);
    file_copy_name(dst, cap, "%.3s/%s%s", h, h, suffix);
}

static void ucm_setup(void)
{
    char name[16];

    for (unsigned i = 0; i < 4096; i++) {
        file_copy_name(name, sizeof(name), "%03x", i);
        if (mkdir(name, 0755) != 0)
            EQ(errno, EEXIST);
        OK(chmod(name, 0777));
    }
}

static void ucm_dump(unsigned job, void *arg)
{
    struct ucm *u = arg;
    unsigned b = job / UCM_SHARDS, s = job % UCM_SHARDS;
    char *buf = io_mem(UCM_SHARD), tmp[64], path[64];
    int fd;

    ucm_path(tmp, sizeof(tmp), b, ".tmp");
    ucm_path(path, sizeof(path), b, "");
    pat_fill(buf, UCM_SHARD, b, s * UCM_SHARD);
    fd = (int)OK(open(tmp, O_CREAT | O_WRONLY | u->flags, 0644)); /* no O_EXCL, no O_TRUNC */
    if (u->flags & O_DIRECT) {
        struct iop op = {fd, true, buf, UCM_SHARD, (off_t)(s * UCM_SHARD), -1};

        aio_run(&op, 1, 8);
        iops_check(&op, 1);
    } else {
        EQ(pwrite(fd, buf, UCM_SHARD, (off_t)(s * UCM_SHARD)), UCM_SHARD);
    }
    if (__atomic_sub_fetch(&u->left[b], 1, __ATOMIC_ACQ_REL) == 0)
        OK(rename(tmp, path)); /* other descriptors may still be open */
    OK(close(fd));
    munmap(buf, UCM_SHARD);
}

static void ucm_lookup(unsigned b, void *arg)
{
    char path[64];

    ucm_path(path, sizeof(path), b, "");
    if (*(bool *)arg)
        OK(access(path, F_OK | R_OK | W_OK));
    else
        ERR(access(path, F_OK | R_OK | W_OK), ENOENT);
}

static void ucm_load(unsigned job, void *arg)
{
    unsigned b = job / UCM_SHARDS, s = job % UCM_SHARDS;
    char *buf = io_mem(UCM_SHARD), path[64];
    int fd;

    ucm_path(path, sizeof(path), b, "");
    fd = (int)OK(open(path, O_RDONLY | ((struct ucm *)arg)->flags));
    EQ(pread(fd, buf, UCM_SHARD, (off_t)(s * UCM_SHARD)), UCM_SHARD);
    OK(close(fd));
    PAT(buf, UCM_SHARD, b, s * UCM_SHARD);
    if (s == 0)
        OK(utime(path, NULL)); /* hotness */
    munmap(buf, UCM_SHARD);
}

static void ucm_reader(void *arg)
{
    pool_run(64, UCM_BLOCKS * UCM_SHARDS, ucm_load, arg);
}

static void ucm_gc_one(int dir, const char *name, void *arg)
{
    struct stat st;

    OK(fstatat(dir, name, &st, 0));
    if (st.st_mtim.tv_sec < 100000) {
        OK(unlinkat(dir, name, 0));
        ++*(unsigned *)arg;
    }
}

static void ucm_run(int flags)
{
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct ucm u = {.flags = flags};
    unsigned gone = 0;
    bool there = false;
    char path[64];

    for (unsigned b = 0; b < UCM_BLOCKS; b++)
        u.left[b] = UCM_SHARDS;
    pool_run(16, UCM_BLOCKS, ucm_lookup, &there);
    pool_run(64, UCM_BLOCKS * UCM_SHARDS, ucm_dump, &u);
    there = true;
    pool_run(16, UCM_BLOCKS, ucm_lookup, &there);
    io_join(io_spawn(ucm_reader, &u));
    for (unsigned b = 0; b < UCM_BLOCKS; b++) {
        struct stat st;

        ucm_path(path, sizeof(path), b, "");
        OK(stat(path, &st));
        EQ(st.st_size, UCM_SHARDS * UCM_SHARD);
        OK(utimensat(AT_FDCWD, path, old, 0));
        *strchr(path, '/') = '\0';
        scan_files(path, ucm_gc_one, &gone);
    }
    EQ(gone, UCM_BLOCKS);
}

static void ucm(void)
{
    ucm_setup();
    ucm_setup(); /* a second worker of the same node */
    ucm_run(0);
    ucm_run(O_DIRECT);
}

/* ---- Tair KVCM ---- */

enum { TAIR_FILES = 6, TAIR_PER_FILE = 8 };
#define TAIR_BLOCK (2 * MIB)

static void tair_path(char *dst, size_t cap, unsigned f)
{
    char h[17];

    file_copy_name(dst, cap, "kvcm/%llu_%s", (unsigned long long)(io_mix(f) % 1000000007),
                   hex(h, 16, f));
}

/* One block of a file that eight of them share. */
static void tair_put(unsigned job, void *arg)
{
    unsigned f = job / TAIR_PER_FILE, b = job % TAIR_PER_FILE;
    size_t cap = TAIR_BLOCK * TAIR_PER_FILE;
    char path[128], *map;
    int fd;

    (void)arg;
    tair_path(path, sizeof(path), f);
    if (!file_exists(path)) {
        io_mkdirs("kvcm");
        OK(close((int)OK(open(path, O_WRONLY | O_CREAT | O_APPEND, 0666)))); /* ofstream(app) */
    }
    fd = (int)OK(open(path, O_RDWR));
    OK(fallocate(fd, 0, 0, (off_t)cap)); /* a failure is fatal there */
    map = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED, "shared mapping: %s", strerror(errno));
    pat_fill(map + b * TAIR_BLOCK, TAIR_BLOCK, f, b * TAIR_BLOCK);
    OK(msync(map + b * TAIR_BLOCK, TAIR_BLOCK, MS_SYNC));
    OK(munmap(map, cap));
    OK(close(fd));
}

static void tair_get(unsigned process, void *arg)
{
    size_t cap = TAIR_BLOCK * TAIR_PER_FILE;

    (void)arg;
    for (unsigned n = 0; n < TAIR_FILES; n++) {
        unsigned f = (n + process) % TAIR_FILES;
        char path[128], *map;
        struct stat st;
        int fd;

        tair_path(path, sizeof(path), f);
        CHECK(file_exists(path), "%s is not there", path);
        fd = (int)OK(open(path, O_RDONLY));
        OK(fstat(fd, &st));
        EQ(st.st_size, cap);
        map = mmap(NULL, cap, PROT_READ, MAP_PRIVATE, fd, 0);
        CHECK(map != MAP_FAILED, "private mapping: %s", strerror(errno));
        PAT(map, cap, f, 0);
        OK(munmap(map, cap));
        OK(close(fd));
    }
}

static void tair_registry(void)
{
    char text[64], got[64];
    int fd = (int)OK(open("registry.json", O_RDWR | O_CREAT, 0644));

    for (unsigned i = 0; i < 5; i++) {
        int n = snprintf(text, sizeof(text), "{\"generation\": %u}", 1U << (4 * i));

        OK(ftruncate(fd, 0));
        EQ(pwrite(fd, text, (size_t)n, 0), n);
        EQ(pread(fd, got, sizeof(got), 0), n);
        CHECK(!memcmp(text, got, (size_t)n), "read '%.*s'", n, got);
    }
    OK(close(fd));
}

static void tair(void)
{
    pool_run(1, TAIR_FILES * TAIR_PER_FILE, tair_put, NULL);
    io_each(3, tair_get, NULL);
    pool_run(4, TAIR_FILES * TAIR_PER_FILE, tair_put, NULL); /* in place, again */
    io_each(3, tair_get, NULL);
    tair_registry();
}

/* ---- llama.cpp ---- */

#define LLAMA_MAGIC 0x67677371U

/* Slot save without flash attention: the V cache row by row, 4 KiB at a time; 16 MiB. */
static void llama_save(const char *name, uint64_t seed, unsigned rows)
{
    uint32_t head[3] = {LLAMA_MAGIC, 2, rows};
    char *row = io_mem(4096);
    FILE *f = fopen(name, "wb");

    CHECK(f, "fopen %s: %s", name, strerror(errno));
    EQ(fwrite(head, 1, sizeof(head), f), sizeof(head));
    for (unsigned i = 0; i < rows; i++) {
        pat_fill(row, 4096, seed, i * 4096UL);
        EQ(fwrite(row, 1, 4096, f), 4096);
    }
    EQ(fclose(f), 0);
    munmap(row, 4096);
}

static void llama_restore(const char *name, uint64_t seed, unsigned rows)
{
    char *row = io_mem(4096);
    uint32_t head[3];
    FILE *f = fopen(name, "rb");
    long size;

    CHECK(f, "fopen %s: %s", name, strerror(errno));
    EQ(fseek(f, 0, SEEK_END), 0);
    size = ftell(f);
    EQ(size, (long)sizeof(head) + 4096L * rows);
    EQ(fseek(f, 0, SEEK_SET), 0);
    EQ(fread(head, 1, sizeof(head), f), sizeof(head));
    EQ(head[0], LLAMA_MAGIC);
    EQ(head[2], rows);
    for (unsigned i = 0; i < rows; i++) {
        EQ(fread(row, 1, 4096, f), 4096);
        PAT(row, 4096, seed, i * 4096UL);
    }
    EQ(fclose(f), 0);
    munmap(row, 4096);
}

static void llama_server(void *arg)
{
    (void)arg;
    llama_restore("slot0.bin", 1, 4096);
    llama_restore("slot1.bin", 2, 100);
}

static void llama_model(void *arg)
{
    size_t len = 48 * MIB;
    int fd = (int)OK(open("model-q4_k_m.gguf", O_RDONLY));
    char *map;

    (void)arg;
    EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
    map = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    CHECK(map != MAP_FAILED, "mmap failed: %s", strerror(errno)); /* fatal without --no-mmap */
    EQ(posix_madvise(map, len, POSIX_MADV_RANDOM), 0);
    PAT(map, len, 3, 0);
    OK(munmap(map, len));
    OK(close(fd));
}

static void llamacpp(void)
{
    llama_save("slot0.bin", 9, 5000);
    llama_save("slot0.bin", 1, 4096); /* over the longer one */
    llama_save("slot1.bin", 2, 100);
    io_join(io_spawn(llama_server, NULL));
    OK(rename("slot1.bin", "renamed.bin")); /* ik_llama's server */
    llama_restore("renamed.bin", 2, 100);
    EQ(scan_files(".", NULL, NULL), 2);
    OK(unlink("renamed.bin"));
    file_write("model-q4_k_m.gguf", 3, 48 * MIB);
    io_join(io_spawn(llama_model, NULL));
    llama_model(NULL);
}

const struct engine engines_more[] = {
    {"ucm", ucm, "UCM", "*.tmp", NULL},
    {"tair", tair, "Tair KVCM file", NULL, NULL},
    {"llamacpp", llamacpp, "llama.cpp family", NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
