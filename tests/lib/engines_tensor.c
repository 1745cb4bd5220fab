/*
 * safetensors, torch and numpy: a temporary with ftruncate first and a rename under mappings of the
 * old file, or the final name at once; private mappings for loading; numpy's shared ones. vLLM's
 * ExampleConnector uses the first.
 */
#include "engines.h"

#include <sys/mman.h>

/* The file format: length of the header, JSON, bytes. */
static size_t st_header(char *dst, size_t cap, size_t data)
{
    uint64_t n;
    int len =
        snprintf(dst + 8, cap - 8,
                 "{\"kv_cache\":{\"dtype\":\"BF16\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}",
                 data / 2, data);

    while (len % 8)
        dst[8 + len++] = ' ';
    n = (uint64_t)len;
    memcpy(dst, &n, 8);
    return 8 + (size_t)len;
}

/* 0.8: NamedTempFile beside the target, its final size first, 1 MiB writes, rename. */
static void st_save(const char *path, uint64_t seed, size_t data)
{
    char head[256], tmp[512], *buf = io_pattern(data, seed);
    size_t n = st_header(head, sizeof(head), data);
    char *dir;
    int fd;

    file_copy_name(tmp, sizeof(tmp), "%s", path);
    dir = strrchr(tmp, '/');
    strcpy(dir ? dir + 1 : tmp, ".tmpXXXXXX");
    fd = (int)OK(mkostemp(tmp, O_CLOEXEC));
    OK(ftruncate(fd, (off_t)(n + data)));
    EQ(write(fd, head, n), n);
    for (size_t at = 0; at < data; at += MIB) {
        size_t l = data - at < MIB ? data - at : MIB;

        EQ(write(fd, buf + at, l), l);
    }
    OK(rename(tmp, path));
    OK(close(fd));
    munmap(buf, data);
}

/* Before: fs::write on the target. */
static void st_save_old(const char *path, uint64_t seed, size_t data)
{
    char head[256], *buf = io_pattern(data, seed);
    size_t n = st_header(head, sizeof(head), data);
    int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));

    EQ(write(fd, head, n), n);
    EQ(write(fd, buf, data), data);
    OK(close(fd));
    munmap(buf, data);
}

static char *st_map(const char *path, size_t *len, int prot, int flags)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *map;

    CHECK(fd >= 0, "open %s: %s", path, strerror(errno));
    OK(fstat(fd, &st));
    *len = (size_t)st.st_size;
    map = mmap(NULL, *len, prot, flags, fd, 0);
    CHECK(map != MAP_FAILED, "mmap %s: %s", path, strerror(errno));
    OK(close(fd));
    return map;
}

static void st_verify(const char *map, size_t len, uint64_t seed, size_t data)
{
    char head[256];
    size_t n = st_header(head, sizeof(head), data);

    EQ(len, n + data);
    CHECK(!memcmp(map, head, n), "the header differs");
    PAT(map + n, data, seed, 0);
}

static void st_load(const char *path, uint64_t seed, size_t data)
{
    size_t len;
    char *map = st_map(path, &len, PROT_READ, MAP_PRIVATE); /* safe_open */

    st_verify(map, len, seed, data);
    OK(munmap(map, len));
    map = st_map(path, &len, PROT_READ | PROT_WRITE, MAP_PRIVATE); /* torch's UntypedStorage */
    st_verify(map, len, seed, data);
    memset(map, 0, PAGE); /* private */
    OK(munmap(map, len));
}

static void st_pread(const char *path, uint64_t seed, size_t data)
{
    char head[256];
    size_t n = st_header(head, sizeof(head), data);
    char *buf = io_mem(n + data);
    int fd = (int)OK(open(path, O_RDONLY | O_CLOEXEC)); /* backend="pread" */

    EQ(pread(fd, buf, 8, 0), 8);
    EQ(pread(fd, buf + 8, n - 8, 8), n - 8);
    EQ(pread(fd, buf + n, data, (off_t)n), data);
    OK(close(fd));
    st_verify(buf, n + data, seed, data);
    munmap(buf, n + data);
}

static void safetensors_reader(void *arg)
{
    uint64_t seed = *(uint64_t *)arg;

    st_load("model.safetensors", seed, 24 * MIB);
    st_pread("model.safetensors", seed, 24 * MIB);
}

static void safetensors_torch(void)
{
    size_t len[3];
    char *old[3];

    for (uint64_t gen = 0; gen < 3; gen++) { /* mappings of what was replaced stay valid */
        st_save("model.safetensors", gen, 24 * MIB);
        io_join(io_spawn(safetensors_reader, &gen));
        old[gen] =
            st_map("model.safetensors", &len[gen], PROT_READ, gen == 1 ? MAP_SHARED : MAP_PRIVATE);
    }
    st_save_old("direct.safetensors", 9, 8 * MIB + 2);
    st_load("direct.safetensors", 9, 8 * MIB + 2);
    for (uint64_t gen = 0; gen < 3; gen++) {
        st_verify(old[gen], len[gen], gen, 24 * MIB);
        OK(munmap(old[gen], len[gen]));
    }
    EQ(scan_files(".", NULL, NULL), 2);
}

/* ---- vLLM ExampleConnector: a directory for each prompt prefix, a file for each layer ---- */

enum { EX_PREFIXES = 4, EX_LAYERS = 32 };

static void ex_path(char *dst, size_t cap, unsigned prefix, unsigned layer)
{
    char h[65];

    file_copy_name(dst, cap, "%s/model.layers.%u.self_attn.attn.safetensors",
                   hex(h, 64, 50 + prefix), layer);
}

static void ex_prefill(void *arg)
{
    char path[256];

    (void)arg;
    for (unsigned p = 0; p < EX_PREFIXES; p++) {
        for (unsigned l = 0; l < EX_LAYERS; l++) {
            ex_path(path, sizeof(path), p, l);
            *strrchr(path, '/') = '\0';
            io_mkdirs(path);
            ex_path(path, sizeof(path), p, l);
            if (p % 2)
                st_save_old(path, p * 100 + l, MIB);
            else
                st_save(path, p * 100 + l, MIB);
        }
    }
}

static void ex_decode(void *arg)
{
    char path[256];

    (void)arg;
    for (unsigned p = 0; p < EX_PREFIXES; p++) {
        ex_path(path, sizeof(path), p, 0);
        *strrchr(path, '/') = '\0';
        CHECK(file_exists(path), "%s is not there", path); /* the only presence check */
        for (unsigned l = 0; l < EX_LAYERS; l++) {
            ex_path(path, sizeof(path), p, l);
            st_load(path, p * 100 + l, MIB);
        }
    }
}

static void vllm_example(void)
{
    io_join(io_spawn(ex_prefill, NULL));
    io_join(io_spawn(ex_decode, NULL));
    ex_prefill(NULL); /* the same prompts again, over what is there */
    ex_decode(NULL);
}

/* ---- FlexGen: numpy.lib.format.open_memmap ---- */

#define NPY_HEADER 128

static char *npy_map(const char *path, const char *mode, size_t len)
{
    bool create = mode[0] == 'w', rw = create || mode[1] == '+';
    int fd = py_open(path, create ? O_RDWR | O_CREAT | O_TRUNC : rw ? O_RDWR : O_RDONLY);
    char head[NPY_HEADER];
    char *map;

    if (create) {
        memset(head, ' ', sizeof(head));
        memcpy(head, "\x93NUMPY\x01\x00v\x00{'descr': '<f2', 'fortran_order': False, }", 52);
        head[NPY_HEADER - 1] = '\n';
        EQ(write(fd, head, NPY_HEADER), NPY_HEADER);
        OK(close(fd)); /* open_memmap writes the header, then memmap opens again with r+ */
        fd = py_open(path, O_RDWR);
        EQ(lseek(fd, 0, SEEK_END), NPY_HEADER);
        EQ(lseek(fd, (off_t)len - 1, SEEK_SET), len - 1);
        EQ(write(fd, "", 1), 1);
    } else {
        EQ(read(fd, head, NPY_HEADER), NPY_HEADER);
        CHECK(!memcmp(head, "\x93NUMPY", 6), "no npy file");
        EQ(lseek(fd, 0, SEEK_END), len);
    }
    map = mmap(NULL, len, PROT_READ | (rw ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED, "mmap %s %s: %s", path, mode, strerror(errno));
    OK(close(fd));
    return map;
}

static void flexgen_copy(unsigned job, void *arg)
{
    size_t len = NPY_HEADER + 12 * MIB, part = 3 * MIB;
    char path[64], *map;

    (void)arg;
    file_copy_name(path, sizeof(path), "t_%u", job / 4);
    map = npy_map(path, "r+", len);
    pat_fill(map + NPY_HEADER + job % 4 * part, part, job / 4, job % 4 * part);
    OK(munmap(map, len));
}

static void flexgen_load(void *arg)
{
    size_t len = NPY_HEADER + 12 * MIB;
    char path[64], *map;

    (void)arg;
    for (unsigned t = 0; t < 8; t++) {
        file_copy_name(path, sizeof(path), "t_%u", t);
        map = npy_map(path, "r", len);
        PAT(map + NPY_HEADER, len - NPY_HEADER, t, 0);
        OK(munmap(map, len));
    }
}

static void flexgen(void)
{
    size_t len = NPY_HEADER + 12 * MIB;
    char path[64];

    for (unsigned t = 0; t < 8; t++) {
        file_copy_name(path, sizeof(path), "t_%u", t);
        OK(munmap(npy_map(path, "w+", len), len));
        EQ(file_size(path), len);
    }
    pool_run(4, 8 * 4, flexgen_copy, NULL);
    flexgen_load(NULL);
    io_join(io_spawn(flexgen_load, NULL));
    for (unsigned t = 0; t < 8; t++) {
        file_copy_name(path, sizeof(path), "t_%u", t);
        OK(unlink(path));
    }
}

const struct engine engines_tensor[] = {
    {"vllm_example", vllm_example, "vLLM Example (safetensors)", ".tmp??????", NULL},
    {"flexgen", flexgen, "FlexGen, numpy users", NULL, NULL},
    {"safetensors_torch", safetensors_torch, "safetensors/torch", ".tmp??????", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
