/*
 * SGLang HiCache on files: the file backend (numpy.tofile, where one file is flushed twice, and
 * scans of the whole directory), fast_file (vectors straight from the host pool), and hf3fs's mock
 * client on a 1 TiB sparse file.
 */
#include "engines.h"

#include <limits.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

/* ---- file ---- */

enum { SG_SMALL = 1000, SG_PAGES = 8 };

static size_t sg_len(unsigned i)
{
    if (i < SG_PAGES)
        return i % 2 ? 20 * MIB : 9 * MIB; /* above 16 MiB numpy reserves the space first */
    return 70272;                          /* page size 1 of DeepSeek-V3: one file for each token */
}

static void sg_name(char *dst, size_t cap, unsigned i)
{
    char h[65];

    file_copy_name(dst, cap, "%s_deepseek-ai-DeepSeek-V3_0_1.bin", hex(h, 64, 700 + i));
}

/* numpy.ndarray.tofile, system call for system call. */
static void numpy_tofile(const char *path, const char *buf, size_t len)
{
    int fd = py_open(path, O_WRONLY | O_CREAT | O_TRUNC), dup;
    struct stat st;

    EQ(lseek(fd, 0, SEEK_CUR), 0);
    dup = (int)OK(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    OK(fstat(dup, &st));
    EQ(st.st_size, 0);
    if (len >= 16 * MIB && fallocate(dup, FALLOC_FL_KEEP_SIZE, 0, (off_t)len) != 0)
        EQ(errno, EOPNOTSUPP);
    EQ(write(dup, buf, len), len);
    EQ(lseek(dup, 0, SEEK_CUR), len);
    OK(close(dup)); /* the first flush */
    EQ(lseek(fd, 0, SEEK_END), len);
    OK(close(fd)); /* the second one */
}

static void sg_set(unsigned i, void *arg)
{
    size_t len = sg_len(i);
    char name[256], tmp[400], h[33];
    char *buf;

    (void)arg;
    sg_name(name, sizeof(name), i);
    if (file_exists(name))
        return;
    buf = io_pattern(len, i);
    file_copy_name(tmp, sizeof(tmp), "%s.tmp.%d.%lu.%s", name, (int)getpid(), 140000000000000UL + i,
                   hex(h, 32, i));
    numpy_tofile(tmp, buf, len);
    OK(rename(tmp, name));
    munmap(buf, len);
}

static void sg_get(unsigned i, void *arg)
{
    char name[256];

    (void)arg;
    sg_name(name, sizeof(name), i);
    await_file(name);
    py_load(name, i, sg_len(i));
}

static void sg_reader(void *arg)
{
    (void)arg;
    pool_run(1, SG_PAGES + SG_SMALL, sg_get, NULL);
}

static void count_bin(int dir, const char *name, void *arg)
{
    size_t n = strlen(name);

    (void)dir;
    *(unsigned *)arg += n > 4 && !strcmp(name + n - 4, ".bin");
}

static void evict_small(int dir, const char *name, void *arg)
{
    struct stat st;

    OK(fstatat(dir, name, &st, 0));
    if (st.st_size == 70272) {
        OK(unlinkat(dir, name, 0));
        (*(unsigned *)arg)++;
    }
}

static void sglang_file(void)
{
    unsigned present = 0, evicted = 0;
    struct statvfs v;
    pid_t pid = io_spawn(sg_reader, NULL);

    pool_run(1, SG_PAGES + SG_SMALL, sg_set, NULL);
    io_join(pid);
    for (unsigned batch = 0; batch < 8; batch++) { /* batch_exists_v2 scans all of it, each time */
        present = 0;
        scan_files(".", count_bin, &present);
        EQ(present, SG_PAGES + SG_SMALL);
    }
    OK(statvfs(".", &v));
    CHECK(v.f_blocks && v.f_frsize && v.f_bavail, "statvfs has zeros");
    scan_files(".", evict_small, &evicted);
    EQ(evicted, SG_SMALL);
    EQ(scan_files(".", NULL, NULL), SG_PAGES);
}

/* ---- fast_file ---- */

enum { FAST_PAGES = 40, FAST_PIECE = 18432 };

static unsigned fast_pieces(unsigned i)
{
    return i % 10 == 9 ? 3 * IOV_MAX / 2 : 61; /* a vector for each layer; some beyond IOV_MAX */
}

static void fast_name(char *dst, size_t cap, unsigned i)
{
    char h[65], n[25];

    file_copy_name(dst, cap, "namespace-%s/%s_0_1.bin", hex(n, 24, 1), hex(h, 64, 800 + i));
}

static struct iovec *fast_vec(char *buf, unsigned n)
{
    struct iovec *v = io_mem(n * sizeof(*v));

    for (unsigned i = 0; i < n; i++)
        v[i] = (struct iovec){buf + (size_t)i * FAST_PIECE, FAST_PIECE};
    return v;
}

static void fast_set(unsigned i, void *arg)
{
    unsigned n = fast_pieces(i);
    size_t len = (size_t)n * FAST_PIECE, done = 0;
    char name[256], tmp[400], h[33];
    char *buf = io_pattern(len, i);
    struct iovec *v = fast_vec(buf, n);
    struct stat st;
    int fd;

    (void)arg;
    fast_name(name, sizeof(name), i);
    if (stat(name, &st) == 0 && st.st_size == (off_t)len)
        return;
    file_copy_name(tmp, sizeof(tmp), "%s.tmp.%d.%u.%s", name, (int)getpid(), i, hex(h, 32, i));
    fd = (int)OK(open(tmp, O_WRONLY | O_CREAT | O_EXCL, 0600));
    while (done < n) {
        unsigned now = n - done < IOV_MAX ? n - (unsigned)done : IOV_MAX;

        EQ(writev(fd, v + done, (int)now), (size_t)now * FAST_PIECE);
        done += now;
    }
    OK(close(fd));
    OK(rename(tmp, name));
    munmap(buf, len);
}

static void fast_get(unsigned i, void *arg)
{
    unsigned n = fast_pieces(i);
    size_t len = (size_t)n * FAST_PIECE, done = 0;
    char *buf = io_mem(len);
    struct iovec *v = fast_vec(buf, n);
    char name[256];
    struct stat st;
    int fd;

    (void)arg;
    fast_name(name, sizeof(name), i);
    await_file(name);
    fd = (int)OK(open(name, O_RDONLY));
    OK(fstat(fd, &st));
    EQ(st.st_size, len);
    while (done < n) {
        unsigned now = n - done < IOV_MAX ? n - (unsigned)done : IOV_MAX;

        EQ(readv(fd, v + done, (int)now), (size_t)now * FAST_PIECE);
        done += now;
    }
    OK(close(fd));
    PAT(buf, len, i, 0);
    munmap(buf, len);
}

static void fast_reader(void *arg)
{
    pool_run(4, FAST_PAGES, fast_get, arg);
}

static void fast_evict(unsigned i, void *arg)
{
    char name[256];

    (void)arg;
    fast_name(name, sizeof(name), i);
    OK(unlink(name));
}

static void sglang_fast_file(void)
{
    char dir[256], name[256];
    pid_t pid;

    fast_name(dir, sizeof(dir), 0);
    *strrchr(dir, '/') = '\0';
    io_mkdirs(dir);
    pid = io_spawn(fast_reader, NULL);
    pool_run(4, FAST_PAGES, fast_set, NULL);
    io_join(pid);
    fast_name(name, sizeof(name), 0);
    file_write(name, 1, 1000); /* a page of the wrong size is replaced */
    fast_set(0, NULL);
    fast_get(0, NULL);
    pool_run(4, FAST_PAGES / 2, fast_evict, NULL);
    EQ(scan_files(dir, NULL, NULL), FAST_PAGES / 2);
}

/* ---- hf3fs mock: one file for each rank, 1 TiB by ftruncate, pages at index times size ---- */

static void hf3fs_rank(unsigned rank, void *arg)
{
    size_t page = 2 * MIB;
    char *buf = io_mem(page), name[64];
    int fd;

    (void)arg;
    file_copy_name(name, sizeof(name), "hicache.%u.bin", rank);
    fd = (int)OK(open(name, O_RDWR | O_CREAT, 0644));
    OK(ftruncate(fd, (off_t)TIB));
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < 16; i++) {
            off_t at = (off_t)(io_mix(i) % (TIB / page) * page);

            EQ(lseek(fd, at, SEEK_SET), at);
            if (pass == 0) {
                pat_fill(buf, page, rank, (uint64_t)at);
                EQ(write(fd, buf, page), page);
            } else {
                EQ(read(fd, buf, page), page);
                PAT(buf, page, rank, (uint64_t)at);
            }
        }
        OK(fsync(fd));
    }
    OK(close(fd));
    EQ(file_size(name), TIB);
}

static void sglang_hf3fs(void)
{
    io_each(2, hf3fs_rank, NULL);
}

const struct engine engines_sglang[] = {
    {"sglang_file", sglang_file, "SGLang file", "*.tmp.*", NULL},
    {"sglang_fast_file", sglang_fast_file, "SGLang fast_file", "*.tmp.*", NULL},
    {"sglang_hf3fs", sglang_hf3fs, "SGLang hf3fs (mock)", NULL, "hicache.*.bin"},
    {NULL, NULL, NULL, NULL, NULL},
};
