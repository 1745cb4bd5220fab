/*
 * vLLM's tiering connector with a file system as the second tier: 16 threads that store one block
 * each with one O_DIRECT write to a temporary and a rename, 16 that load with one O_DIRECT read,
 * and a thread that looks names up.
 */
#include "engines.h"

#include <sys/mman.h>
#include <utime.h>

enum { VLLM_BLOCKS = 48, VLLM_THREADS = 16 };
#define VLLM_BASE "meta-llama_Meta-Llama-3-8B_3f1c9ab27de0"

static size_t vllm_len(unsigned i)
{
    return i % 4 == 3 ? 1126400
                      : 2 * MIB; /* DeepSeek-V3's 16 tokens padded to pages; Llama-3-8B's */
}

static void vllm_path(char *dst, size_t cap, unsigned i)
{
    char h[65];

    hex(h, 64, i);
    file_copy_name(dst, cap, VLLM_BASE "_r0/%.3s/%.2s_g%u/%s.bin", h, h + 3, i % 2, h);
}

static void vllm_store(unsigned i, void *arg)
{
    size_t len = vllm_len(i);
    char path[512], tmp[512], dir[512];
    char *buf;
    int fd;

    (void)arg;
    vllm_path(path, sizeof(path), i);
    if (file_exists(path))
        return;
    file_copy_name(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = '\0';
    io_mkdirs(dir);
    file_copy_name(tmp, sizeof(tmp), "%s_%llu.tmp", path,
                   (unsigned long long)(io_mix(i + 7) & INT64_MAX));
    buf = io_pattern(len, i);
    fd = (int)OK(open(tmp, O_CREAT | O_EXCL | O_WRONLY | O_TRUNC | O_DIRECT, 0644));
    EQ(write(fd, buf, len), len); /* exactly one write: fewer bytes are an error */
    OK(close(fd));
    OK(rename(tmp, path));
    munmap(buf, len);
}

static void vllm_load(unsigned i, void *arg)
{
    size_t len = vllm_len(i);
    char *buf = io_mem(len);
    char path[512];
    int fd;

    (void)arg;
    vllm_path(path, sizeof(path), i);
    await_file(path);
    fd = (int)OK(open(path, O_RDONLY | O_DIRECT));
    EQ(read(fd, buf, len), len); /* exactly one read: a short one makes vLLM remove the file */
    OK(close(fd));
    PAT(buf, len, i, 0);
    munmap(buf, len);
}

static void vllm_config(void)
{
    FILE *f;

    if (file_exists(VLLM_BASE "/config.json"))
        return;
    io_mkdirs(VLLM_BASE);
    f = fopen(VLLM_BASE "/config.json", "w");
    CHECK(f, "config.json: %s", strerror(errno));
    EQ(fputs("{\"block_size\": 16}\n", f) >= 0, 1);
    EQ(fclose(f), 0);
}

static void vllm_probe(void)
{
    char *buf = io_pattern(PAGE, 1);
    int fd =
        (int)OK(open(".o_direct_probe_5d1f.tmp", O_CREAT | O_WRONLY | O_TRUNC | O_DIRECT, 0644));

    EQ(write(fd, buf, PAGE), PAGE);
    OK(close(fd));
    OK(unlink(".o_direct_probe_5d1f.tmp"));
}

static void vllm_engine(void *arg)
{
    (void)arg;
    vllm_probe();
    vllm_config();
    pool_run(VLLM_THREADS, VLLM_BLOCKS, vllm_store, NULL);
    pool_run(VLLM_THREADS, VLLM_BLOCKS, vllm_store, NULL); /* all present: skipped */
}

/* The second engine loads while the first one stores. */
static void vllm_other_engine(void *arg)
{
    (void)arg;
    pool_run(VLLM_THREADS, VLLM_BLOCKS, vllm_load, NULL);
}

/* The eviction of the open pull requests: recency kept as mtime, the oldest removed. */
static void vllm_evict(void)
{
    char path[512];

    for (unsigned i = 0; i < VLLM_BLOCKS; i++) {
        const struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000 + i}};

        vllm_path(path, sizeof(path), i);
        OK(utimensat(AT_FDCWD, path, t, 0));
    }
    for (unsigned i = 0; i < VLLM_BLOCKS; i++) {
        struct stat st;

        vllm_path(path, sizeof(path), i);
        OK(stat(path, &st));
        EQ(st.st_mtim.tv_sec, 1000 + i);
        EQ(st.st_size, vllm_len(i));
        if (st.st_mtim.tv_sec < 1000 + VLLM_BLOCKS / 2)
            OK(unlink(path));
    }
    for (unsigned i = 0; i < VLLM_BLOCKS; i++) {
        vllm_path(path, sizeof(path), i);
        EQ(file_exists(path), i >= VLLM_BLOCKS / 2);
    }
}

static void vllm_fs(void)
{
    pid_t engine = io_spawn(vllm_engine, NULL), other = io_spawn(vllm_other_engine, NULL);

    io_join(engine);
    io_join(other);
    vllm_evict();
    vllm_engine(NULL); /* stores again what went */
    pool_run(VLLM_THREADS, VLLM_BLOCKS, vllm_load, NULL);
}

const struct engine engines_vllm[] = {
    {"vllm_fs", vllm_fs, "vLLM fs tier", "*.tmp", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
