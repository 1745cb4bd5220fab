/*
 * llm-d's file system backend (rename while the stream is still open, presence by utimensat, files
 * that hold only the tail of a group, the GDS variant) and its evictor process.
 */
#include "engines.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>

enum { LLMD_FILES = 16, LLMD_NOMINAL = 8 * 1024 * 1024 };
#define LLMD_BASE "meta-llama_Meta-Llama-3-70B_90ab12cd34ef"

static size_t llmd_len(unsigned i)
{
    return i % 5 == 4 ? LLMD_NOMINAL / 4 : LLMD_NOMINAL; /* some hold only the tail of the group */
}

static void llmd_path(char *dst, size_t cap, unsigned i)
{
    char h[17];

    hex(h, 16, 1000 + i);
    file_copy_name(dst, cap, LLMD_BASE "_r0/%.3s/%.2s_g0/%s.bin", h, h + 3, h);
}

static void llmd_store(unsigned i, void *arg)
{
    const struct timespec touch[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    size_t len = llmd_len(i);
    char path[512], tmp[520], dir[512];
    struct iovec v[2] = {{NULL, 0}, {NULL, len}};
    int fd;

    (void)arg;
    llmd_path(path, sizeof(path), i);
    if (utimensat(AT_FDCWD, path, touch, 0) == 0)
        return;
    EQ(errno, ENOENT);
    file_copy_name(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = '\0';
    io_mkdirs(dir);
    file_copy_name(tmp, sizeof(tmp), "%s_%u.tmp", path, (unsigned)io_mix(i));
    v[1].iov_base = io_pattern(len, i);
    fd = (int)OK(open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0666));
    EQ(writev(fd, v, 2), len);
    OK(rename(tmp, path)); /* the stream is still open */
    OK(close(fd));
    munmap(v[1].iov_base, len);
}

static void llmd_load(unsigned i, void *arg)
{
    size_t len = llmd_len(i), want = len / 2;
    char *buf = io_mem(len);
    char path[512];
    int fd;

    (void)arg;
    llmd_path(path, sizeof(path), i);
    await_file(path);
    fd = (int)OK(open(path, O_RDONLY)); /* the worker's presence check */
    OK(close(fd));
    fd = (int)OK(open(path, O_RDONLY));
    EQ(lseek(fd, 0, SEEK_END), len);
    EQ(lseek(fd, (off_t)(len - want), SEEK_SET), len - want);
    EQ(read(fd, buf, want), want);
    OK(close(fd));
    PAT(buf, want, i, len - want);
    munmap(buf, len);
}

static void llmd_store_process(void *arg)
{
    (void)arg;
    io_mkdirs(LLMD_BASE);
    file_write(LLMD_BASE "/config.json", 1, 300);
    pool_run(8, LLMD_FILES, llmd_store, NULL);
}

static void llmd_load_process(void *arg)
{
    (void)arg;
    pool_run(8, LLMD_FILES, llmd_load, NULL);
}

/* GDS mode: O_DIRECT temporary opened read-write, one write for each block and layer, rename. */
static void llmd_gds(void)
{
    size_t len = 4 * MIB, piece = 64 * KIB;
    char *buf = io_pattern(len, 77), *got = io_mem(len);
    int fd = (int)OK(open("gds.bin_99.tmp", O_RDWR | O_CREAT | O_DIRECT, 0644));

    for (size_t at = 0; at < len; at += piece)
        io_pwrite(fd, buf + at, piece, (off_t)at);
    OK(rename("gds.bin_99.tmp", "gds.bin"));
    OK(close(fd));
    fd = (int)OK(open("gds.bin", O_RDONLY | O_DIRECT));
    for (size_t at = 0; at < len; at += piece)
        io_pread(fd, got + at, piece, (off_t)at);
    OK(close(fd));
    PAT(got, len, 77, 0);
}

static void llmd_fs(void)
{
    pid_t a = io_spawn(llmd_store_process, NULL), b = io_spawn(llmd_load_process, NULL);
    struct stat before, after;
    char path[512];

    io_join(a);
    io_join(b);
    llmd_path(path, sizeof(path), 0);
    OK(stat(path, &before));
    llmd_store(0, NULL); /* present: atime touched, mtime and content left alone */
    OK(stat(path, &after));
    EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    EQ(before.st_ino, after.st_ino);
    CHECK(after.st_atim.tv_sec >= before.st_atim.tv_sec, "atime went back");
    llmd_load(0, NULL);
    llmd_gds();
}

/* ---- pvc_evictor ---- */

enum { EVICT_FILES = 200, CRAWLERS = 8 };

static void evict_path(char *dst, size_t cap, unsigned i)
{
    char h[17];

    hex(h, 16, 5000 + i);
    file_copy_name(dst, cap, LLMD_BASE "_r0/%.3s/%.2s_g0/%s.bin", h, h + 3, h);
}

static void evict_fill(void *arg)
{
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_nsec = UTIME_OMIT}};
    char path[512];

    (void)arg;
    for (unsigned i = 0; i < EVICT_FILES; i++) {
        evict_path(path, sizeof(path), i);
        *strrchr(path, '/') = '\0';
        io_mkdirs(path);
        evict_path(path, sizeof(path), i);
        file_write(path, i, 64 * KIB + i);
        if (i % 2) /* not read for an hour */
            OK(utimensat(AT_FDCWD, path, old, 0));
    }
}

static void crawl(const char *dir, unsigned part, bool top)
{
    struct dirent *e;
    DIR *d = opendir(dir);

    if (!d) {
        EQ(errno, ENOENT); /* another crawler removed it */
        return;
    }
    while ((e = readdir(d)) != NULL) {
        char path[1024];
        struct stat st;

        if (e->d_name[0] == '.')
            continue;
        if (top && io_hash(e->d_name) % CRAWLERS != part)
            continue;
        file_copy_name(path, sizeof(path), "%s/%s", dir, e->d_name);
        CHECK(e->d_type == DT_DIR || e->d_type == DT_REG, "d_type %u of %s", e->d_type, path);
        if (e->d_type == DT_DIR) {
            crawl(path, part, false);
            if (rmdir(path) != 0)
                CHECK(errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT, "rmdir %s: %s",
                      path, strerror(errno));
            continue;
        }
        OK(stat(path, &st));
        if (st.st_atim.tv_sec > time(NULL) - 3600)
            continue;
        OK(fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW)); /* rm -f */
        OK(unlinkat(AT_FDCWD, path, 0));
    }
    closedir(d);
}

static void crawler(unsigned i, void *arg)
{
    struct statvfs v;

    (void)arg;
    OK(statvfs(".", &v));
    CHECK(v.f_frsize > 0 && v.f_blocks > 0 && v.f_bfree > 0, "statvfs has zeros");
    crawl(LLMD_BASE "_r0", i, true);
}

static void llmd_evictor(void)
{
    char path[512];

    io_join(io_spawn(evict_fill, NULL));
    io_each(CRAWLERS, crawler, NULL);
    for (unsigned i = 0; i < EVICT_FILES; i++) {
        evict_path(path, sizeof(path), i);
        if (i % 2)
            CHECK(!file_exists(path), "%s was not evicted", path);
        else
            file_check(path, i, 64 * KIB + i);
    }
}

const struct engine engines_llmd[] = {
    {"llmd_fs", llmd_fs, "llm-d fs backend", "*.tmp", NULL},
    {"llmd_evictor", llmd_evictor, "llm-d pvc_evictor", NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
