/*
 * LMCache without NIXL: the local disk backend (in place), the fs connector and L2 adapter (a
 * temporary name that all writers of a key share, or a directory of temporaries), the C++
 * connector, and the GDS backend without cuFile.
 */
#include "engines.h"

#include <fnmatch.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

enum { LM_KEYS = 12 };

static size_t lm_len(unsigned i)
{
    return i % 3 == 2 ? 17989632 / 4 : 4 * MIB; /* DeepSeek-V3's chunk is no multiple of anything */
}

static void lm_key(char *dst, size_t cap, unsigned i)
{
    char h[65];

    file_copy_name(dst, cap, "deepseek-ai-DeepSeek-V3@1@0@%s@torch.bfloat16", hex(h, 16, 200 + i));
}

/* ---- local_disk: <key>.pt in place; four threads; statvfs decides about O_DIRECT ---- */

static void disk_put(unsigned i, void *arg)
{
    bool direct = *(bool *)arg;
    size_t len = lm_len(i);
    char key[256], path[300];
    struct statvfs v;
    char *buf = io_pattern(len, i);
    int fd;

    OK(statvfs(".", &v));
    lm_key(key, sizeof(key), i);
    file_copy_name(path, sizeof(path), "%s.pt", key);
    if (direct && len % v.f_bsize == 0) {
        fd = (int)OK(open(path, O_CREAT | O_WRONLY | O_DIRECT, 0644)); /* no O_TRUNC */
        EQ(write(fd, buf, len), len);
    } else {
        fd = py_open(path, O_WRONLY | O_CREAT | O_TRUNC);
        EQ(write(fd, buf, len), len);
    }
    OK(close(fd));
    munmap(buf, len);
}

static void disk_get(unsigned i, void *arg)
{
    bool direct = *(bool *)arg;
    size_t len = lm_len(i);
    char key[256], path[300];
    char *buf = io_mem(len);
    int fd;

    lm_key(key, sizeof(key), i);
    file_copy_name(path, sizeof(path), "%s.pt", key);
    fd = py_open(path, O_RDONLY | (direct && len % PAGE == 0 ? O_DIRECT : 0));
    EQ(read(fd, buf, len), len); /* LMCache ignores the result: short is silent garbage */
    OK(close(fd));
    PAT(buf, len, i, 0);
    munmap(buf, len);
}

static void disk_delete(unsigned i, void *arg)
{
    char key[256], path[300];

    (void)arg;
    lm_key(key, sizeof(key), i);
    file_copy_name(path, sizeof(path), "%s.pt", key);
    OK(unlink(path));
    CHECK(!file_exists(path), "%s is still there", path);
}

static void disk_get_process(void *arg)
{
    pool_run(4, LM_KEYS, disk_get, arg);
}

static void lmcache_local_disk(void)
{
    for (unsigned i = 0; i < 2; i++) {
        bool direct = i;

        pool_run(4, LM_KEYS, disk_put, &direct);
        io_join(io_spawn(disk_get_process, &direct));
        pool_run(4, LM_KEYS, disk_put, &direct); /* again over what is there */
        io_join(io_spawn(disk_get_process, &direct));
        pool_run(4, LM_KEYS / 2, disk_delete, NULL);
    }
}

/* ---- fs: <key>.data, written as <key>.tmp or in a directory of temporaries ---- */

struct fs_mode {
    const char *base[2]; /* several bases: the hash of the key selects */
    const char *tmp_dir; /* relative_tmp_dir, or NULL */
};

static void fs_paths(const struct fs_mode *m, unsigned i, char *path, char *tmp, size_t cap)
{
    const char *base = m->base[i % 2];
    char key[256];

    lm_key(key, sizeof(key), i);
    file_copy_name(path, cap, "%s/%s.data", base, key);
    if (m->tmp_dir)
        file_copy_name(tmp, cap, "%s/%s/%s.data", base, m->tmp_dir, key);
    else
        file_copy_name(tmp, cap, "%s/%s.tmp", base, key);
}

static void fs_put(unsigned i, void *arg)
{
    size_t len = lm_len(i) / 2 + 28;
    char *buf = io_pattern(len, i);
    char path[512], tmp[512];
    int fd;

    fs_paths(arg, i, path, tmp, sizeof(path));
    fd = py_open(tmp, O_WRONLY | O_CREAT | O_TRUNC);
    EQ(write(fd, buf, 28), 28); /* the metadata header */
    EQ(write(fd, buf + 28, len - 28), len - 28);
    OK(close(fd));
    if (rename(tmp, path) != 0) /* the other writer of the key was first */
        CHECK(errno == ENOENT, "rename %s: %s", tmp, strerror(errno));
    munmap(buf, len);
}

static void fs_get(unsigned i, void *arg)
{
    size_t len = lm_len(i) / 2 + 28;
    char *buf = io_mem(len);
    char path[512], tmp[512];
    int fd;

    fs_paths(arg, i, path, tmp, sizeof(path));
    CHECK(file_exists(path), "%s is not there", path);
    fd = py_open(path, O_RDONLY);
    EQ(read(fd, buf, 28), 28);
    EQ(read(fd, buf + 28, len - 28), len - 28);
    EQ(read(fd, buf, 1), 0);
    OK(close(fd));
    PAT(buf, len, i, 0);
    munmap(buf, len);
}

static void fs_put_process(unsigned i, void *arg)
{
    (void)i;
    pool_run(4, LM_KEYS, fs_put, arg);
}

static void fs_get_process(unsigned i, void *arg)
{
    (void)i;
    pool_run(8, LM_KEYS, fs_get, arg);
}

static void fs_count(int dir, const char *name, void *arg)
{
    (void)dir;
    *(unsigned *)arg += fnmatch("*.data", name, 0) == 0;
}

static void fs_remove(int dir, const char *name, void *arg)
{
    struct stat st;

    (void)arg;
    OK(fstatat(dir, name, &st, 0));
    OK(unlinkat(dir, name, 0));
}

static void lmcache_fs(void)
{
    struct fs_mode plain = {{"a", "b"}, NULL}, with_dir = {{"c", "d"}, "tmp"};
    unsigned listed = 0;

    io_mkdirs("a");
    io_mkdirs("b");
    io_mkdirs("c/tmp");
    io_mkdirs("d/tmp");
    io_each(2, fs_put_process, &plain); /* two processes, the same keys, the same .tmp names */
    io_each(2, fs_get_process, &plain);
    io_each(1, fs_put_process, &with_dir); /* renamed across directories */
    io_each(2, fs_get_process, &with_dir);
    io_each(1, fs_put_process, &with_dir); /* over what is there */
    io_each(2, fs_get_process, &with_dir);
    scan_files("a", fs_count, &listed);
    scan_files("b", fs_count, &listed);
    EQ(listed, LM_KEYS);
    EQ(scan_files("c/tmp", NULL, NULL), 0);
    scan_files("c", fs_remove, NULL);
    EQ(scan_files("c", NULL, NULL), 0);
}

/* ---- fs_native (C++): O_DIRECT where length and address fit, loops, rename; DiskGuard's statvfs
 * ---- */

static void native_path(char *dst, size_t cap, unsigned i)
{
    char h[65];

    file_copy_name(dst, cap, "deepseek-ai-SEP-DeepSeek-V3@0x%08x@%x@%s.data", i % 8, 0U,
                   hex(h, 64, i));
}

static void native_put(unsigned i, void *arg)
{
    size_t len = lm_len(i), done = 0;
    char path[256], tmp[264];
    char *buf = io_pattern(len, i);
    struct statvfs v;
    int fd;

    (void)arg;
    OK(statvfs(".", &v));
    CHECK(v.f_blocks && v.f_bfree && v.f_bavail && v.f_frsize && v.f_bsize, "statvfs has zeros");
    native_path(path, sizeof(path), i);
    file_copy_name(tmp, sizeof(tmp), "%s.tmp", path);
    fd = (int)OK(
        open(tmp, O_CREAT | O_WRONLY | O_TRUNC | (len % v.f_bsize == 0 ? O_DIRECT : 0), 0644));
    while (done < len) {
        ssize_t n = OK(TEMP_FAILURE_RETRY(write(fd, buf + done, len - done)));

        CHECK(n > 0, "write gave 0");
        done += (size_t)n;
    }
    OK(close(fd));
    OK(rename(tmp, path));
    munmap(buf, len);
}

static void native_get(unsigned i, void *arg)
{
    size_t len = lm_len(i), done = 0;
    char *buf = io_mem(len);
    char path[256];
    int fd;

    (void)arg;
    native_path(path, sizeof(path), i);
    await_file(path);
    fd = (int)OK(open(path, O_RDONLY | (len % PAGE == 0 ? O_DIRECT : 0)));
    while (done < len) {
        ssize_t n = OK(TEMP_FAILURE_RETRY(read(fd, buf + done, len - done)));

        CHECK(n > 0, "short read at %zu", done);
        done += (size_t)n;
    }
    OK(close(fd));
    PAT(buf, len, i, 0);
    munmap(buf, len);
}

static void native_get_process(void *arg)
{
    pool_run(4, LM_KEYS, native_get, arg);
}

static void lmcache_fs_native(void)
{
    pid_t pid = io_spawn(native_get_process, NULL);

    pool_run(4, LM_KEYS, native_put, NULL);
    io_join(pid);
    pool_run(4, LM_KEYS, native_put, NULL);
    native_get_process(NULL);
    scan_files(".", fs_remove, NULL);
}

/* ---- GDS and Weka without cuFile: shared mapping of a temporary, metadata beside it ---- */

static void gds_path(char *dst, size_t cap, unsigned i)
{
    char h[17];

    hex(h, 16, 300 + i);
    file_copy_name(dst, cap,
                   "%.2s/%.2s/meta-llama%%2FMeta-Llama-3-8B%%401%%400%%40%s%%40bfloat16%s", h,
                   h + 2, h, i % 4 == 3 ? ".weka1" : ".kvcache.safetensors");
}

static void gds_put(unsigned i, void *arg)
{
    size_t len = PAGE + lm_len(i);
    char path[400], tmp[420], meta[420], h[9], dir[400];
    char *src = io_pattern(len, i), *map;
    int fd;

    (void)arg;
    gds_path(path, sizeof(path), i);
    file_copy_name(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = '\0';
    io_mkdirs(dir);
    file_copy_name(meta, sizeof(meta), "%s.metadata", path);
    fd = py_open(meta, O_WRONLY | O_CREAT | O_TRUNC);
    EQ(write(fd, src, PAGE), PAGE);
    OK(close(fd));
    file_copy_name(tmp, sizeof(tmp), "%s.tmp%s", path, hex(h, 8, i));
    fd = (int)OK(open(tmp, O_RDWR | O_CREAT | O_TRUNC, 0644));
    OK(ftruncate(fd, (off_t)len));
    map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED, "shared mapping: %s", strerror(errno));
    memcpy(map, src, len);
    OK(munmap(map, len));
    OK(close(fd));
    OK(rename(tmp, path));
    munmap(src, len);
}

static void gds_get(unsigned i, void *arg)
{
    size_t len = PAGE + lm_len(i);
    char path[400], meta[420], *buf = io_mem(PAGE), *map;
    struct stat st;
    int fd;

    (void)arg;
    gds_path(path, sizeof(path), i);
    file_copy_name(meta, sizeof(meta), "%s.metadata", path);
    CHECK(file_exists(meta), "%s is not there", meta);
    fd = open(meta, O_RDONLY | O_NOATIME);
    if (fd < 0)
        fd = (int)OK(open(meta, O_RDONLY));
    EQ(read(fd, buf, PAGE), PAGE);
    OK(close(fd));
    PAT(buf, PAGE, i, 0);
    fd = (int)OK(open(path, O_RDONLY));
    OK(fstat(fd, &st));
    EQ(st.st_size, len);
    map = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    CHECK(map != MAP_FAILED, "private mapping: %s", strerror(errno));
    PAT(map, len, i, 0);
    OK(munmap(map, len));
    OK(close(fd));
    munmap(buf, PAGE);
}

static void gds_get_process(void *arg)
{
    pool_run(4, LM_KEYS, gds_get, arg);
}

static void lmcache_gds_posix(void)
{
    pool_run(4, LM_KEYS, gds_put, NULL);
    io_join(io_spawn(gds_get_process, NULL));
    pool_run(4, LM_KEYS, gds_put, NULL);
    io_join(io_spawn(gds_get_process, NULL));
}

const struct engine engines_lmcache[] = {
    {"lmcache_local_disk", lmcache_local_disk, "LMCache local_disk", NULL, NULL},
    {"lmcache_fs", lmcache_fs, "LMCache fs://, fs L2, fs_native", "*.tmp", NULL},
    {"lmcache_fs_native", lmcache_fs_native, "LMCache fs://, fs L2, fs_native", "*.tmp", NULL},
    {"lmcache_gds_posix", lmcache_gds_posix, "LMCache GDS/Weka (POSIX)", "*.tmp????????", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
