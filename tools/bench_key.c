/* bench_key.c - key files whose contents follow from their name and size, so that any later reader
 * can tell whether they are whole without a copy to compare with.
 *
 * A file is written the way one of the engines does it, and read back in all three ways that
 * engines use. The size is part of the seed: a file that was cut short differs from its first byte.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PIECE MIB
#define ALIGNMENT 4096

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9;
    x ^= x >> 27;
    x *= 0x94d049bb133111eb;
    return x ^ x >> 31;
}

uint64_t key_seed(const char *name, uint64_t size)
{
    const char *slash = strrchr(name, '/');
    uint64_t h = 0xcbf29ce484222325;

    for (const char *p = slash ? slash + 1 : name; *p; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3;
    return mix(h + size * 0x9e3779b97f4a7c15);
}

static uint64_t word_at(uint64_t seed, uint64_t index)
{
    return mix(seed + index * 0x9e3779b97f4a7c15);
}

void key_fill(void *buf, size_t len, uint64_t off, uint64_t seed)
{
    uint64_t *words = buf, last;
    size_t n = len / 8;

    for (size_t i = 0; i < n; i++)
        words[i] = word_at(seed, off / 8 + i);
    last = word_at(seed, off / 8 + n);
    memcpy(words + n, &last, len % 8);
}

bool key_same(const void *buf, size_t len, uint64_t off, uint64_t seed)
{
    const uint64_t *words = buf;
    size_t n = len / 8;
    uint64_t last = word_at(seed, off / 8 + n), differ = 0;

    for (size_t i = 0; i < n; i++)
        differ |= words[i] ^ word_at(seed, off / 8 + i);
    return !differ && !memcmp(words + n, &last, len % 8);
}

/* --- writing --- */

/* How an engine publishes a key. */
struct style {
    const char *name;
    const char *temporary; /* suffix of the name it is written under, NULL: written in place */
    int flags;
    bool whole;     /* in one call */
    bool keep_size; /* fallocate(KEEP_SIZE) first */
};

static const struct style styles[] = {
    {"plain", NULL, O_WRONLY | O_CREAT | O_TRUNC, false, false},
    {"lmcache", NULL, O_WRONLY | O_CREAT | O_TRUNC, true, false},
    {"sglang", ".tmp.", O_WRONLY | O_CREAT | O_TRUNC, true, true},
    {"vllm", "_", O_WRONLY | O_CREAT | O_EXCL | O_TRUNC | O_DIRECT, true, false},
};

static const struct style *find_style(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(styles); i++) {
        if (!strcmp(styles[i].name, name))
            return &styles[i];
    }
    return NULL;
}

bool key_style_known(const char *style)
{
    return find_style(style) != NULL;
}

static int make_parents(const char *path)
{
    AUTO_FREE char *copy = strdup(path);

    for (char *p = copy ? strchr(copy + 1, '/') : NULL; p; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(copy, 0755) && errno != EEXIST)
            return bench_error("cannot make the directory %s: %s", copy, strerror(errno));
        *p = '/';
    }
    return copy ? 0 : -1;
}

static void *aligned(size_t len)
{
    void *p = NULL;

    return posix_memalign(&p, ALIGNMENT, MAX(len, (size_t)1)) ? NULL : p;
}

static int write_pieces(int fd, uint64_t size, uint64_t seed, size_t piece)
{
    AUTO_FREE unsigned char *buf = aligned(piece);

    if (!buf)
        return -ENOMEM;
    for (uint64_t off = 0; off < size; off += piece) {
        size_t len = (size_t)MIN(piece, size - off);
        ssize_t n;

        key_fill(buf, len, off, seed);
        n = write(fd, buf, len);
        if (n != (ssize_t)len)
            return n < 0 ? -errno : -EIO;
    }
    return 0;
}

static int open_as(const char *path, const struct style *s)
{
    int fd = open(path, s->flags | O_CLOEXEC, 0644);

    if (fd < 0 && errno == EINVAL && (s->flags & O_DIRECT))
        fd = open(path, (s->flags & ~O_DIRECT) | O_CLOEXEC, 0644);
    return fd;
}

static int write_as(const char *path, uint64_t size, uint64_t seed, const struct style *s)
{
    int fd = open_as(path, s), rc = 0;

    if (fd < 0)
        return bench_error("cannot create %s: %s", path, strerror(errno));
    if (s->keep_size && size >= 16 * MIB && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) &&
        errno != EOPNOTSUPP)
        rc = -errno;
    if (!rc)
        rc = write_pieces(fd, size, seed, s->whole ? (size_t)MAX(size, UINT64_C(1)) : PIECE);
    if (close(fd) && !rc)
        rc = -errno;
    return rc ? bench_error("cannot write %s: %s", path, strerror(-rc)) : 0;
}

int key_write(const char *path, uint64_t size, const char *style)
{
    const struct style *s = find_style(style);
    uint64_t seed = key_seed(path, size);
    AUTO_FREE char *temporary = NULL;
    int rc = make_parents(path);

    if (rc || !s->temporary)
        return rc ? rc : write_as(path, size, seed, s);
    if (asprintf(&temporary, "%s%s%ld.tmp", path, s->temporary, (long)getpid()) < 0)
        return bench_error("out of memory");
    rc = write_as(temporary, size, seed, s);
    if (!rc && rename(temporary, path))
        rc = bench_error("cannot rename %s: %s", temporary, strerror(errno));
    return rc;
}

/* --- reading back --- */

struct verify {
    const char *path;
    uint64_t size, seed;
};

static int differs(const struct verify *v, const char *how, uint64_t off)
{
    return bench_error("%s: not what was written, seen through %s between bytes %llu and %llu",
                       v->path, how, (unsigned long long)off, (unsigned long long)(off + PIECE));
}

static int verify_read(const struct verify *v, const char *how, int flags)
{
    AUTO_FREE unsigned char *buf = aligned(PIECE);
    AUTO_CLOSE int fd = open(v->path, O_RDONLY | O_CLOEXEC | flags);

    if (fd < 0)
        return bench_error("cannot open %s for %s: %s", v->path, how, strerror(errno));
    if (!buf)
        return bench_error("out of memory");
    for (uint64_t off = 0; off < v->size; off += PIECE) {
        size_t len = (size_t)MIN(PIECE, v->size - off);
        ssize_t n = pread(fd, buf, PIECE, (off_t)off);

        if (n < 0)
            return bench_error("cannot read %s through %s: %s", v->path, how, strerror(errno));
        if ((size_t)n != len)
            return bench_error("%s: %s at byte %llu gave %zd bytes of %zu", v->path, how,
                               (unsigned long long)off, n, len);
        if (!key_same(buf, len, off, v->seed))
            return differs(v, how, off);
    }
    return 0;
}

static int verify_mmap(const struct verify *v)
{
    AUTO_CLOSE int fd = open(v->path, O_RDONLY | O_CLOEXEC);
    unsigned char *map;
    int rc = 0;

    if (fd < 0)
        return bench_error("cannot open %s for mmap: %s", v->path, strerror(errno));
    if (!v->size)
        return 0;
    map = mmap(NULL, v->size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return bench_error("cannot map %s: %s", v->path, strerror(errno));
    for (uint64_t off = 0; off < v->size && !rc; off += PIECE) {
        if (!key_same(map + off, (size_t)MIN(PIECE, v->size - off), off, v->seed))
            rc = differs(v, "mmap", off);
    }
    munmap(map, v->size);
    return rc;
}

int key_verify(const char *path)
{
    struct verify v = {.path = path};
    struct stat st;
    int rc;

    if (stat(path, &st))
        return bench_error("%s: %s", path, strerror(errno));
    v.size = (uint64_t)st.st_size;
    v.seed = key_seed(path, v.size);
    rc = verify_read(&v, "read", 0);
    if (!rc)
        rc = verify_mmap(&v);
    if (!rc)
        rc = verify_read(&v, "O_DIRECT", O_DIRECT);
    return rc;
}
