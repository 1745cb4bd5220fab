/*
 * Mooncake Store's storage backends: a file for each key, buckets of many keys written with one
 * pwritev, one large file with records at unaligned offsets, and the shard files of its distributed
 * backend's POSIX adapter.
 */
#include "engines.h"
#include "ioaio.h"

#include <dirent.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

enum { MC_KEYS = 64 };

/* ---- file per key: <fsdir>/<a-p>/<a-p>/<key>, in place ---- */

static void key_path(char *dst, size_t cap, unsigned i)
{
    uint64_t h = io_mix(i);

    file_copy_name(dst, cap, "root/cluster/%c/%c/Qwen3-8B_%016llx_0_1", (char)('a' + h % 16),
                   (char)('a' + h / 16 % 16), (unsigned long long)h);
}

static void key_put(unsigned i, unsigned gen)
{
    size_t len = 512 * KIB + 1000 * i - 500 * gen, done = 0;
    char path[256], dir[256];
    char *buf = io_pattern(len, 100 * gen + i);
    int fd;

    key_path(path, sizeof(path), i);
    file_copy_name(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = '\0';
    io_mkdirs(dir);
    fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    while (done < len)
        done += (size_t)OK(write(fd, buf + done, len - done));
    OK(close(fd));
    munmap(buf, len);
}

static void key_get(unsigned i, unsigned gen)
{
    size_t len = 512 * KIB + 1000 * i - 500 * gen, half = len / 2;
    char path[256];
    char *buf = io_mem(len);
    struct iovec v[2] = {{buf, half}, {buf + half, len - half}};
    int fd;

    key_path(path, sizeof(path), i);
    fd = (int)OK(open(path, O_RDONLY | O_CLOEXEC));
    EQ(preadv(fd, v, 2, 0), len); /* the count must match */
    OK(close(fd));
    PAT(buf, len, 100 * gen + i, 0);
    munmap(buf, len);
}

static void keys_reader(void *arg)
{
    for (unsigned i = 0; i < MC_KEYS; i++)
        key_get(i, *(unsigned *)arg);
}

/* recursive_directory_iterator + file_size at start. */
static unsigned long long tree_size(const char *dir, unsigned *files)
{
    unsigned long long sum = 0;
    struct dirent *e;
    DIR *d = opendir(dir);

    CHECK(d, "opendir %s: %s", dir, strerror(errno));
    while ((e = readdir(d)) != NULL) {
        char path[1024];

        if (e->d_name[0] == '.')
            continue;
        file_copy_name(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (e->d_type == DT_DIR) {
            sum += tree_size(path, files);
        } else {
            sum += (unsigned long long)file_size(path);
            ++*files;
        }
    }
    closedir(d);
    return sum;
}

static void mooncake_file(void)
{
    unsigned long long want = 0;
    unsigned files = 0;
    struct statvfs v;
    char path[256];

    for (unsigned gen = 0; gen < 2; gen++) {
        for (unsigned i = 0; i < MC_KEYS; i++)
            key_put(i, gen);
        io_join(io_spawn(keys_reader, &gen));
    }
    for (unsigned i = 0; i < MC_KEYS; i++)
        want += 512 * KIB + 1000 * i - 500;
    EQ(tree_size("root", &files), want);
    EQ(files, MC_KEYS);
    OK(statvfs("root", &v));
    CHECK(v.f_bavail > 0, "no space");
    for (unsigned i = 0; i < MC_KEYS; i++) {
        key_path(path, sizeof(path), i);
        OK(remove(path));
    }
    ERR(unlink("root/cluster"), EISDIR);
    files = 0;
    EQ(tree_size("root", &files), 0);
}

/* ---- bucket: <id>.bucket by one pwritev, <id>.meta ---- */

enum { BUCKETS = 4, PER_BUCKET = 32, MC_KEY_LEN = 45, MC_VAL_LEN = 1124352 / 2 };

static size_t bucket_vec(struct iovec *v, char *mem)
{
    size_t one = 24 + MC_KEY_LEN + MC_VAL_LEN;

    for (unsigned k = 0; k < PER_BUCKET; k++) {
        char *p = mem + k * one;

        v[3 * k] = (struct iovec){p, 24};
        v[3 * k + 1] = (struct iovec){p + 24, MC_KEY_LEN};
        v[3 * k + 2] = (struct iovec){p + 24 + MC_KEY_LEN, MC_VAL_LEN};
    }
    return one * PER_BUCKET;
}

static void bucket_put(unsigned id)
{
    struct iovec v[3 * PER_BUCKET];
    char *mem = io_mem((24 + MC_KEY_LEN + MC_VAL_LEN) * (size_t)PER_BUCKET), name[64];
    size_t len = bucket_vec(v, mem);
    struct stat st;
    int fd;

    pat_fill(mem, len, id, 0);
    file_copy_name(name, sizeof(name), "%u.bucket", 1700000000 + id);
    fd = (int)OK(open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    EQ(pwritev(fd, v, 3 * PER_BUCKET, 0), len);
    OK(fdatasync(fd));
    OK(close(fd));
    OK(stat(name, &st));
    CHECK((size_t)st.st_blocks * 512 >= len, "st_blocks %lld for %zu bytes",
          (long long)st.st_blocks, len);
    file_copy_name(name, sizeof(name), "%u.meta", 1700000000 + id);
    file_write(name, id, 5000);
    munmap(mem, len);
}

static void bucket_get(unsigned id, int cached)
{
    size_t one = 24 + MC_KEY_LEN + MC_VAL_LEN;
    char *buf = io_mem(MC_VAL_LEN + PAGE * 2), name[64];

    for (unsigned k = 0; k < PER_BUCKET; k += 3) {
        off_t at = (off_t)(k * one + 24 + MC_KEY_LEN), from = at / (off_t)PAGE * (off_t)PAGE;
        size_t skip = (size_t)(at - from);
        struct iovec v[1] = {{buf, MC_VAL_LEN}};
        struct iop op = {-1, false, buf, (skip + MC_VAL_LEN + PAGE - 1) / PAGE * PAGE, from, -1};

        EQ(preadv(cached, v, 1, at), MC_VAL_LEN);
        PAT(buf, MC_VAL_LEN, id, (uint64_t)at);
        file_copy_name(name, sizeof(name), "%u.bucket", 1700000000 + id);
        op.fd = (int)OK(open(name, O_RDONLY | O_DIRECT)); /* the io_uring variant */
        if (!uring_run(&op, 1, 32))
            aio_run(&op, 1, 32);
        CHECK(op.res >= (long)(skip + MC_VAL_LEN), "read %ld", op.res);
        PAT(buf + skip, MC_VAL_LEN, id, (uint64_t)at);
        OK(close(op.fd));
    }
    munmap(buf, MC_VAL_LEN + PAGE * 2);
}

static void mooncake_bucket(void)
{
    int fd[BUCKETS], probe;
    char name[64];

    probe = (int)OK(open("temp_for_registration", O_RDWR | O_CREAT | O_DIRECT, 0644));
    OK(unlink("temp_for_registration"));
    OK(close(probe));
    for (unsigned id = 0; id < BUCKETS; id++) {
        bucket_put(id);
        file_copy_name(name, sizeof(name), "%u.bucket", 1700000000 + id);
        fd[id] = (int)OK(open(name, O_RDONLY)); /* kept open: read fds are cached */
        file_copy_name(name, sizeof(name), "%u.meta", 1700000000 + id);
        file_check(name, id, 5000);
    }
    for (unsigned id = 0; id < BUCKETS; id++)
        bucket_get(id, fd[id]);
    OK(unlink("1700000000.bucket")); /* FIFO eviction while a read fd is cached */
    OK(unlink("1700000000.meta"));
    fd_check(fd[0], 0, (24 + MC_KEY_LEN + MC_VAL_LEN) * (size_t)PER_BUCKET);
    for (unsigned id = 0; id < BUCKETS; id++)
        OK(close(fd[id]));
    EQ(scan_files(".", NULL, NULL), 2 * (BUCKETS - 1));
}

/* ---- offset allocator: kv_cache.data, unaligned records; kv_cache.meta by temporary and fsync of
 * both ---- */

static void offset_meta(unsigned gen)
{
    char *buf = io_pattern(20000, gen);
    int fd = (int)OK(open("kv_cache.meta.tmp", O_WRONLY | O_CREAT | O_TRUNC, 0644)), dir;

    EQ(write(fd, buf, 20000), 20000);
    OK(fsync(fd));
    OK(close(fd));
    OK(rename("kv_cache.meta.tmp", "kv_cache.meta"));
    dir = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
    OK(fsync(dir));
    OK(close(dir));
    file_check("kv_cache.meta", gen, 20000);
    munmap(buf, 20000);
}

static void offset_reader(void *arg)
{
    unsigned gen = *(unsigned *)arg;
    char *buf = io_mem(300000);
    int fd = (int)OK(open("kv_cache.data", O_RDONLY));

    for (unsigned i = 0; i < 200; i++) {
        struct iovec v[3] = {{buf, 24}, {buf + 24, 37}, {buf + 61, 250003}};

        EQ(preadv(fd, v, 3, (off_t)i * 250064 + 7), 250064);
        PAT(buf, 250064, gen * 1000 + i, 0);
    }
    OK(close(fd));
}

static void mooncake_offset(void)
{
    char *buf = io_mem(300000);
    int fd = (int)OK(open("kv_cache.data", O_RDWR | O_CREAT | O_TRUNC, 0644));

    if (fallocate(fd, 0, 0, (off_t)(128 * MIB)) != 0) {
        CHECK(!on_l2fs, "fallocate: %s", strerror(errno));
        OK(ftruncate(fd, (off_t)(128 * MIB)));
    }
    for (unsigned gen = 0; gen < 2; gen++) {
        for (unsigned i = 0; i < 200; i++) {
            struct iovec v[3] = {{buf, 24}, {buf + 24, 37}, {buf + 61, 250003}};

            pat_fill(buf, 250064, gen * 1000 + i, 0);
            EQ(pwritev(fd, v, 3, (off_t)i * 250064 + 7), 250064);
        }
        offset_meta(gen);
        io_join(io_spawn(offset_reader, &gen)); /* the writer's descriptor stays open */
    }
    OK(close(fd));
    EQ(file_size("kv_cache.data"), 128 * MIB);
}

/* ---- DFS: shard files of 4 GiB by ftruncate, each opened, truncated and closed at start ---- */

static void mooncake_dfs(void)
{
    char *buf = io_mem(MIB), name[64];
    int fd[8];

    io_mkdirs("dfs");
    for (unsigned i = 0; i < 8; i++) {
        file_copy_name(name, sizeof(name), "dfs/dfs_shard_%02u.data", i);
        fd[i] = (int)OK(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
        OK(ftruncate(fd[i], (off_t)(4 * GIB)));
        OK(close(fd[i]));
    }
    EQ(scan_files("dfs", NULL, NULL), 8);
    for (unsigned i = 0; i < 8; i++) {
        file_copy_name(name, sizeof(name), "dfs/dfs_shard_%02u.data", i);
        EQ(file_size(name), 4 * GIB);
        fd[i] = (int)OK(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    }
    for (unsigned n = 0; n < 128; n++) {
        struct iovec v[1] = {{buf, MIB}};
        off_t at = (off_t)(io_mix(n / 2) % 4096 * MIB);

        if (n % 2 == 0) {
            pat_fill(buf, MIB, 9, (uint64_t)at);
            EQ(pwritev(fd[n / 2 % 8], v, 1, at), MIB);
        } else {
            EQ(preadv(fd[n / 2 % 8], v, 1, at), MIB);
            PAT(buf, MIB, 9, (uint64_t)at);
        }
    }
    for (unsigned i = 0; i < 8; i++)
        OK(close(fd[i]));
}

const struct engine engines_mooncake[] = {
    {"mooncake_file", mooncake_file, "Mooncake file/bucket/offset", NULL, NULL},
    {"mooncake_bucket", mooncake_bucket, "Mooncake file/bucket/offset", NULL, NULL},
    {"mooncake_offset", mooncake_offset, "Mooncake file/bucket/offset", "*.tmp", "kv_cache.data"},
    {"mooncake_dfs", mooncake_dfs, "Mooncake file/bucket/offset", NULL, "dfs_shard_*.data"},
    {NULL, NULL, NULL, NULL, NULL},
};
