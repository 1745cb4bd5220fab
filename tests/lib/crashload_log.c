/*
 * The log of crashload: writing its lines, reading them back into what must be true of every key,
 * and finding out which generation a file holds. No threads.
 */
#include "crashload.h"

#include <sys/mman.h>

int crash_log_open(const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    CHECK(fd >= 0, "open %s: %s", log, strerror(errno));
    return fd;
}

void crash_log(int fd, char what, unsigned w, unsigned k, uint64_t gen)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "%c %u %u %llu\n", what, w, k, (unsigned long long)gen);

    EQ(write(fd, line, (size_t)n), n);
}

void crash_log_begin(int fd, unsigned w, unsigned k, uint64_t gen, char mode, size_t size)
{
    char line[96];
    int n = snprintf(line, sizeof(line), "B %u %u %llu %c %zu\n", w, k, (unsigned long long)gen,
                     mode, size);

    EQ(write(fd, line, (size_t)n), n);
}

static void key_begin(struct crash_key *key, uint64_t gen, char mode, size_t size)
{
    if (mode != MODE_UNLINK) {
        if (key->n == key->cap) {
            key->cap = key->cap ? 2 * key->cap : 16;
            key->gens = realloc(key->gens, key->cap * sizeof(*key->gens));
            CHECK(key->gens, "no memory");
        }
        key->gens[key->n++] = (struct crash_gen){gen, size};
    }
    key->last = gen;
    key->pending = gen;
    key->mode = mode;
}

static void key_line(struct crash_key *key, char what, uint64_t gen)
{
    switch (what) {
    case 'S': key->synced = gen; break;
    case 'C':
        key->current = gen;
        key->pending = 0;
        break;
    case 'D':
        key->current = 0;
        key->synced = 0;
        key->pending = 0;
        break;
    case 'V':
        key->current = gen;
        key->pending = 0;
        if (gen < key->synced)
            key->synced = gen;
        break;
    default: CHECK(0, "log line '%c'", what);
    }
}

void crash_log_read(struct crash_state *s, const char *log)
{
    FILE *f = fopen(log, "re");
    char line[128];

    if (!f)
        return;
    while (fgets(line, sizeof(line), f)) {
        unsigned long long gen;
        unsigned w, k;
        size_t size;
        char what, mode;

        CHECK(sscanf(line, "%c %u %u %llu", &what, &w, &k, &gen) == 4, "log line '%s'", line);
        CHECK(w < CRASH_WORKERS && k < CRASH_KEYS, "log line '%s'", line);
        if (what != 'B') {
            key_line(&s->key[w][k], what, gen);
            continue;
        }
        EQ(sscanf(line, "%*c %*u %*u %*u %c %zu", &mode, &size), 2);
        key_begin(&s->key[w][k], gen, mode, size);
    }
    fclose(f);
}

void crash_path(char *dst, size_t cap, unsigned w, unsigned k)
{
    file_copy_name(dst, cap, "w%u/k%03u.bin", w, k);
}

uint64_t crash_seed(unsigned w, unsigned k, uint64_t gen)
{
    return io_mix(io_mix(w * 1000 + k) + gen);
}

const struct crash_gen *crash_find(const struct crash_key *key, uint64_t gen)
{
    for (size_t i = key->n; i > 0; i--)
        if (key->gens[i - 1].gen == gen)
            return &key->gens[i - 1];
    return NULL;
}

uint64_t crash_inspect(const struct crash_key *key, const char *path, unsigned w, unsigned k)
{
    uint64_t found = UINT64_MAX;
    struct stat st;
    char *buf;
    int fd;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            return 0;
        printf("    %s: open: %s\n", path, strerror(errno));
        return UINT64_MAX;
    }
    OK(fstat(fd, &st));
    buf = io_mem((size_t)st.st_size + 1);
    if (read(fd, buf, (size_t)st.st_size + 1) != st.st_size)
        printf("    %s: short read of %lld\n", path, (long long)st.st_size);
    else
        for (size_t i = key->n; i > 0 && found == UINT64_MAX; i--)
            if (key->gens[i - 1].size == (size_t)st.st_size &&
                pat_diff(buf, (size_t)st.st_size, crash_seed(w, k, key->gens[i - 1].gen), 0) < 0)
                found = key->gens[i - 1].gen;
    if (found == UINT64_MAX)
        printf("    %s: %lld bytes that are no generation of it\n", path, (long long)st.st_size);
    munmap(buf, (size_t)st.st_size + 1);
    close(fd);
    return found;
}
