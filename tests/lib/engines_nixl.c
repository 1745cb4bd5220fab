/*
 * NIXL's POSIX plugin (libaio, io_uring and POSIX aio on registered descriptors or path modes) and
 * what sits on it: LMCache's NIXL backends (slot pool, file per key, link as publication) and
 * SGLang's.
 */
#include "engines.h"
#include "ioaio.h"

#include <aio.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

/* One transfer: len bytes of the descriptor in pieces, all submitted at once. */
static void nixl_xfer(int fd, bool wr, void *buf, size_t len, off_t off, size_t piece)
{
    unsigned n = (unsigned)((len + piece - 1) / piece);
    struct iop *ops = io_mem(n * sizeof(*ops));

    for (unsigned i = 0; i < n; i++) {
        size_t at = i * piece, l = len - at < piece ? len - at : piece;

        ops[i] = (struct iop){fd, wr, (char *)buf + at, l, off + (off_t)at, -1};
    }
    aio_run(ops, n, 256);
    iops_check(ops, n); /* NIXL itself takes any count for success */
    munmap(ops, n * sizeof(*ops));
}

/* ---- LMCache NIXL, static: a pool of files kept open, each a slot that is overwritten ---- */

enum { STATIC_FILES = 24 };

static void static_run(int direct, const char *run)
{
    int fd[STATIC_FILES];
    size_t len = 2 * MIB;
    char *buf = io_mem(len), *got = io_mem(len), name[64], h[5];

    for (unsigned i = 0; i < STATIC_FILES; i++) {
        file_copy_name(name, sizeof(name), "obj_%u_%s.bin", i, hex(h, 4, i + io_hash(run)));
        fd[i] = (int)OK(open(name, O_CREAT | O_RDWR | direct, 0644));
    }
    for (unsigned gen = 0; gen < 3; gen++) {
        for (unsigned i = 0; i < STATIC_FILES; i++) {
            pat_fill(buf, len, 100 * gen + i, 0);
            nixl_xfer(fd[i], true, buf, len, 0, 128 * KIB);
        }
        for (unsigned i = 0; i < STATIC_FILES; i++) {
            nixl_xfer(fd[i], false, got, len, 0, 128 * KIB);
            PAT(got, len, 100 * gen + i, 0);
        }
    }
    for (unsigned i = 0; i < STATIC_FILES; i++)
        OK(close(fd[i]));
}

static void lmcache_nixl_static(void)
{
    static_run(0, "buffered");
    static_run(O_DIRECT, "direct");
}

/* ---- LMCache NIXL, dynamic: one file per key, in place, or temporary and rename (MP) ---- */

enum { DYN_KEYS = 16 };

static void dyn_path(char *dst, size_t cap, unsigned i, bool mp)
{
    char h[65];

    hex(h, 64, 400 + i);
    if (mp) {
        file_copy_name(dst, cap, "%.2s/%.2s/Qwen_Qwen3-8B_0_%s", h, h + 2, h);
        *strrchr(dst, '/') = '\0';
        io_mkdirs(dst);
        file_copy_name(dst, cap, "%.2s/%.2s/Qwen_Qwen3-8B_0_%s", h, h + 2, h);
    } else {
        file_copy_name(dst, cap, "Qwen_Qwen3-8B_1_0_%s_bfloat16", h);
    }
}

static void dyn_store(unsigned i, bool mp, int direct)
{
    size_t len = 36 * MIB / 16;
    char *buf = io_pattern(len, i), path[256], tmp[320], h[33];
    int fd;

    dyn_path(path, sizeof(path), i, mp);
    file_copy_name(tmp, sizeof(tmp), mp ? "%s.tmp.%s" : "%s", path, hex(h, 32, i));
    fd = (int)OK(open(tmp, O_RDWR | O_CREAT | direct | (mp ? O_TRUNC : 0), 0644));
    nixl_xfer(fd, true, buf, len, 0, 64 * KIB);
    OK(close(fd));
    if (mp)
        OK(rename(tmp, path));
    munmap(buf, len);
}

static void dyn_load(unsigned i, bool mp, int direct)
{
    size_t len = 36 * MIB / 16;
    char *buf = io_mem(len), path[256];
    struct stat st;
    int fd;

    dyn_path(path, sizeof(path), i, mp);
    OK(stat(path, &st)); /* NIXL query */
    EQ(st.st_size, len);
    fd = (int)OK(open(path, O_RDONLY | direct));
    nixl_xfer(fd, false, buf, len, 0, 64 * KIB);
    OK(close(fd));
    PAT(buf, len, i, 0);
    munmap(buf, len);
}

static void dyn_reader(void *arg)
{
    bool mp = *(bool *)arg;

    for (unsigned i = 0; i < DYN_KEYS; i++)
        dyn_load(i, mp, i % 2 ? O_DIRECT : 0);
}

static void lmcache_nixl_dynamic(void)
{
    for (unsigned round = 0; round < 4; round++) {
        bool mp = round % 2;
        char path[256];

        for (unsigned i = 0; i < DYN_KEYS; i++)
            dyn_store(i, mp, round / 2 ? O_DIRECT : 0);
        io_join(io_spawn(dyn_reader, &mp));
        dyn_path(path, sizeof(path), 0, mp);
        OK(unlink(path));
        CHECK(!file_exists(path), "%s is still there", path);
    }
}

/* ---- LMCache's native NIXL connector: O_SYNC temporary, link(2), EEXIST means that it is there
 * ---- */

static void link_store(unsigned i, void *arg)
{
    static unsigned serial;
    size_t len = 3 * MIB + 4096;
    char *buf = io_pattern(len, i), path[128], tmp[160], h[33];
    int fd;

    (void)arg;
    file_copy_name(path, sizeof(path), "Qwen_Qwen3-8B_%s", hex(h, 32, 500 + i));
    file_copy_name(tmp, sizeof(tmp), "%s.tmp.%u%u", path, (unsigned)getpid(),
                   __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    fd = (int)OK(open(tmp, O_RDWR | O_CREAT | O_SYNC | (i % 2 ? O_DIRECT : 0), 0644));
    nixl_xfer(fd, true, buf, len, 0, MIB);
    OK(close(fd));
    if (link(tmp, path) != 0) {
        struct stat st;

        EQ(errno, EEXIST);
        OK(stat(path, &st));
        EQ(st.st_size, len);
    }
    OK(unlink(tmp));
    munmap(buf, len);
}

static void link_load(unsigned i, void *arg)
{
    char path[128], h[33];

    (void)arg;
    file_copy_name(path, sizeof(path), "Qwen_Qwen3-8B_%s", hex(h, 32, 500 + i));
    await_file(path);
    file_check(path, i, 3 * MIB + 4096);
}

static void link_writer(unsigned i, void *arg)
{
    if (i < 2)
        pool_run(4, 12, link_store, arg);
    else
        pool_run(4, 12, link_load, arg);
}

static void lmcache_nixl_native_link(void)
{
    io_each(3, link_writer, NULL); /* two processes store the same keys, one loads them */
    EQ(scan_files(".", NULL, NULL), 12);
}

/* ---- SGLang's NIXL plugin: bucket/key, O_DIRECT, in place; a cleaner by mtime with eight threads
 * ---- */

enum { SG_KEYS = 32 };

static void sg_path(char *dst, size_t cap, unsigned i)
{
    char h[65];

    file_copy_name(dst, cap, "base%u/bucket/%s_Qwen3-8B_0_1", i % 2, hex(h, 64, 600 + i));
}

static void sg_store(unsigned i, void *arg)
{
    size_t len = 2 * MIB;
    char *buf = io_pattern(len, i + *(unsigned *)arg), path[256];
    int fd;

    sg_path(path, sizeof(path), i);
    fd = (int)OK(open(path, O_RDWR | O_CREAT | O_DIRECT, 0644));
    nixl_xfer(fd, true, buf, len, 0, 256 * KIB);
    OK(close(fd));
    munmap(buf, len);
}

static void sg_load(unsigned i, void *arg)
{
    size_t len = 2 * MIB;
    char *buf = io_mem(len), path[256];
    struct stat st;
    int fd;

    sg_path(path, sizeof(path), i);
    OK(stat(path, &st));
    EQ(st.st_size, len);
    fd = (int)OK(open(path, O_RDWR | O_DIRECT));
    nixl_xfer(fd, false, buf, len, 0, 256 * KIB);
    OK(close(fd));
    PAT(buf, len, i + *(unsigned *)arg, 0);
    munmap(buf, len);
}

static void sg_load_process(void *arg)
{
    pool_run(2, SG_KEYS, sg_load, arg);
}

static void sg_unlink(unsigned i, void *arg)
{
    char path[256];

    (void)arg;
    sg_path(path, sizeof(path), i);
    OK(unlink(path));
}

static void sglang_nixl(void)
{
    struct statvfs v;

    io_mkdirs("base0/bucket");
    io_mkdirs("base1/bucket");
    for (unsigned gen = 0; gen < 2; gen++) {
        unsigned seed = gen * 1000;

        pool_run(2, SG_KEYS, sg_store, &seed);
        io_join(io_spawn(sg_load_process, &seed));
    }
    OK(statvfs(".", &v));
    CHECK(v.f_blocks > 0 && v.f_bavail > 0, "statvfs has zeros");
    pool_run(8, SG_KEYS, sg_unlink, NULL);
    EQ(scan_files("base0/bucket", NULL, NULL) + scan_files("base1/bucket", NULL, NULL), 0);
}

/* ---- the plugin itself, with each of its three engines ---- */

static void posix_aio(int fd, bool wr, char *buf, size_t len, size_t piece)
{
    unsigned n = (unsigned)(len / piece);
    struct aiocb *cb = io_mem(n * sizeof(*cb));

    for (unsigned i = 0; i < n; i++) {
        cb[i].aio_fildes = fd;
        cb[i].aio_buf = buf + i * piece;
        cb[i].aio_nbytes = piece;
        cb[i].aio_offset = (off_t)(i * piece);
        OK(wr ? aio_write(&cb[i]) : aio_read(&cb[i]));
    }
    for (unsigned i = 0; i < n; i++) {
        const struct aiocb *one[1] = {&cb[i]};

        while (aio_error(&cb[i]) == EINPROGRESS)
            OK(aio_suspend(one, 1, NULL));
        EQ(aio_error(&cb[i]), 0);
        EQ(aio_return(&cb[i]), piece);
    }
}

static bool engine_xfer(unsigned engine, int fd, bool wr, char *buf, size_t len)
{
    unsigned n = (unsigned)(len / (128 * KIB));
    struct iop *ops = io_mem(n * sizeof(*ops));
    bool done = true;

    for (unsigned i = 0; i < n; i++)
        ops[i] = (struct iop){fd, wr, buf + i * 128 * KIB, 128 * KIB, (off_t)(i * 128 * KIB), -1};
    if (engine == 0)
        aio_run(ops, n, 256);
    else if (engine == 1)
        done = uring_run(ops, n, 256);
    else
        posix_aio(fd, wr, buf, len, 128 * KIB);
    if (done && engine < 2)
        iops_check(ops, n);
    return done;
}

static void nixl_posix(void)
{
    static const int modes[] = {0, O_DIRECT, O_SYNC, O_NOATIME, O_DIRECT | O_SYNC};
    size_t len = 4 * MIB;
    char *buf = io_mem(len), *got = io_mem(len);

    for (unsigned engine = 0; engine < 3; engine++) {
        for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
            char name[64];
            struct stat st;
            int fd;

            file_copy_name(name, sizeof(name), "nixl_%u_%zu", engine, m);
            pat_fill(buf, len, engine * 10 + m, 0);
            fd = (int)OK(open(name, O_RDWR | O_CREAT | O_LARGEFILE | modes[m], 0644));
            if (m % 2)
                EQ(posix_fallocate(fd, 0, (off_t)len), 0);
            if (!engine_xfer(engine, fd, true, buf, len)) {
                OK(close(fd));
                continue;
            }
            OK(fsync(fd));
            OK(close(fd));
            OK(stat(name, &st));
            EQ(st.st_size, len);
            fd = (int)OK(open(name, O_RDONLY | modes[m]));
            engine_xfer(engine, fd, false, got, len);
            OK(close(fd));
            PAT(got, len, engine * 10 + m, 0);
            OK(unlink(name));
        }
    }
}

const struct engine engines_nixl[] = {
    {"lmcache_nixl_static", lmcache_nixl_static, "LMCache NIXL", NULL, "obj_*_????.bin"},
    {"lmcache_nixl_dynamic", lmcache_nixl_dynamic, "LMCache NIXL", "*.tmp.*", NULL},
    {"lmcache_nixl_native_link", lmcache_nixl_native_link, "LMCache NIXL", "*.tmp.*", NULL},
    {"sglang_nixl", sglang_nixl, "SGLang nixl", NULL, NULL},
    {"nixl_posix", nixl_posix, "NIXL POSIX/GDS", NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
