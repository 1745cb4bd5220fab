/*
 * A burst of writers, the check of what is there afterwards, and the watch over what it takes.
 *   burst write [-w WORKERS] [-b MIB] [-s SEED] [-t SECONDS] DIR LOG
 *       processes that store keys of their own, new ones and old ones again, until MIB are written
 *       in all or the time is over; prints "written=MIB closed=N refused=N"
 *   burst verify [-e] [-d BASE] DIR LOG
 *       every key holds, whole, what was last closed or something later that was tried; with -e it
 *       may also be absent (evicted); prints "whole=N absent=N". What is in the tier only is read
 *       there, below BASE, when that is given: a full L1 has no room to load it.
 *   burst watch PATH MAX USAGE END
 *       until the file END is there: the file system of PATH has given at most MAX bytes since the
 *       start, and no used_bytes of the file USAGE is above MAX; prints "most=BYTES looks=N". PATH
 *       "-": only USAGE.
 * Exit status: 0 as promised, 1 not, 2 wrong usage. The only refusal that is one is ENOSPC.
 */
#include "iolib.h"

#include <getopt.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#define WORKERS_MAX 64
#define KEYS_MAX 8192
#define REFUSALS_MAX 3 /* in a row, then a worker gives up */

struct key {
    uint32_t closed; /* version of the last close that went well; 0: none */
    uint32_t tried;  /* last version begun */
};

struct worker {
    uint64_t refused, closed_bytes, closed;
    struct key keys[KEYS_MAX];
};

/* The log: a file, mapped by every process. */
struct burst {
    uint64_t seed;
    uint32_t workers;
    uint64_t written; /* bytes, atomic */
    struct worker worker[];
};

struct args {
    uint64_t mib, seed;
    unsigned workers, seconds;
    bool evicts;
    const char *base;
};

static struct burst *burst;

static uint64_t id_of(unsigned w, unsigned k, uint32_t version)
{
    return io_mix(burst->seed ^ io_mix((uint64_t)w << 40 | (uint64_t)k << 20 | version));
}

/* 4 KiB to 4 MiB, as many of each magnitude. */
static size_t size_of(uint64_t id)
{
    size_t top = 4 * KIB << (id % 10);

    return top + io_mix(id) % top;
}

static void path_of(char *path, size_t cap, unsigned w, unsigned k)
{
    file_copy_name(path, cap, "w%u/d%u/k%u", w, k / 32, k);
}

static bool refused(const char *what, const char *path)
{
    CHECK(errno == ENOSPC, "%s %s: %s", what, path, strerror(errno));
    return false;
}

static bool store(const char *path, uint64_t id)
{
    size_t size = size_of(id);
    char *data = malloc(size);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = true;

    CHECK(data, "no memory");
    if (fd < 0) {
        free(data);
        return refused("open", path);
    }
    pat_fill(data, size, id, 0);
    for (size_t at = 0; ok && at < size;) {
        ssize_t n = write(fd, data + at, size - at < MIB ? size - at : MIB);

        if (n <= 0)
            ok = refused("write", path);
        else
            at += (size_t)n;
    }
    if (close(fd) && ok)
        ok = refused("close", path);
    free(data);
    __atomic_add_fetch(&burst->written, size, __ATOMIC_RELAXED);
    return ok;
}

static void store_key(struct worker *me, unsigned w, unsigned k)
{
    struct key *key = &me->keys[k];
    uint64_t id = id_of(w, k, ++key->tried);
    char path[128];

    path_of(path, sizeof(path), w, k);
    if (!store(path, id)) {
        me->refused++;
        return;
    }
    key->closed = key->tried;
    me->closed++;
    me->closed_bytes += size_of(id);
}

static void make_dirs(unsigned w, unsigned k)
{
    char path[128];

    file_copy_name(path, sizeof(path), "w%u/d%u", w, k / 32);
    io_mkdirs(path);
}

static void work(unsigned w, void *arg)
{
    const struct args *a = arg;
    struct worker *me = &burst->worker[w];
    double end = io_now() + a->seconds;
    uint64_t rnd = io_mix(a->seed + w);
    unsigned in_a_row = 0;

    for (unsigned k = 0; k < KEYS_MAX && in_a_row < REFUSALS_MAX && io_now() < end;) {
        uint64_t before = me->refused;

        if (__atomic_load_n(&burst->written, __ATOMIC_RELAXED) >= a->mib * MIB)
            break;
        rnd = io_mix(rnd);
        if (k > 8 && rnd % 6 == 0) {
            store_key(me, w, (unsigned)(io_mix(rnd) % k));
        } else {
            if (k % 32 == 0)
                make_dirs(w, k);
            store_key(me, w, k++);
        }
        in_a_row = me->refused > before ? in_a_row + 1 : 0;
    }
}

static int run_write(const struct args *a)
{
    uint64_t closed = 0, refusals = 0;

    io_each(a->workers, work, (void *)(uintptr_t)a);
    for (unsigned w = 0; w < a->workers; w++) {
        closed += burst->worker[w].closed;
        refusals += burst->worker[w].refused;
    }
    printf("written=%llu closed=%llu refused=%llu\n", (unsigned long long)(burst->written / MIB),
           (unsigned long long)closed, (unsigned long long)refusals);
    return 0;
}

/* --- verify --- */

static bool holds(const char *data, size_t len, uint64_t id)
{
    return len == size_of(id) && pat_diff(data, len, id, 0) < 0;
}

static int open_key(const char *path, const char *base)
{
    char file[4096], state[32] = "";

    if (!base || getxattr(path, "user.l2fs.state", state, sizeof(state) - 1) < 0 ||
        strcmp(state, "evicted") != 0)
        return open(path, O_RDONLY | O_CLOEXEC);
    file_copy_name(file, sizeof(file), "%s/%s", base, path);
    return open(file, O_RDONLY | O_CLOEXEC);
}

/* False: absent. */
static bool verify_key(unsigned w, unsigned k, const struct args *a)
{
    const struct key *key = &burst->worker[w].keys[k];
    char path[128];
    struct stat st;
    char *data;
    int fd;

    path_of(path, sizeof(path), w, k);
    fd = open_key(path, a->base);
    if (fd < 0) {
        CHECK(errno == ENOENT, "open %s: %s", path, strerror(errno));
        CHECK(a->evicts || !key->closed, "%s is gone: it was closed at version %u", path,
              key->closed);
        return false;
    }
    OK(fstat(fd, &st));
    data = malloc((size_t)st.st_size + 1);
    CHECK(data, "no memory");
    io_pread(fd, data, (size_t)st.st_size, 0);
    close(fd);
    for (uint32_t v = key->closed ? key->closed : 1; v <= key->tried; v++) {
        if (holds(data, (size_t)st.st_size, id_of(w, k, v))) {
            free(data);
            return true;
        }
    }
    io_fail(__FILE__, __LINE__, "%s has %lld bytes that are neither version %u nor one up to %u",
            path, (long long)st.st_size, key->closed, key->tried);
}

static int run_verify(const struct args *a)
{
    unsigned whole = 0, absent = 0;

    for (unsigned w = 0; w < burst->workers; w++) {
        for (unsigned k = 0; k < KEYS_MAX && burst->worker[w].keys[k].tried; k++) {
            if (verify_key(w, k, a))
                whole++;
            else
                absent++;
        }
    }
    printf("whole=%u absent=%u\n", whole, absent);
    return 0;
}

/* --- watch --- */

static uint64_t disk_used(const char *path)
{
    struct statvfs v;

    OK(statvfs(path, &v));
    return (v.f_blocks - v.f_bfree) * v.f_frsize;
}

/* 0 when the file is not there (the mount has gone) or says nothing. */
static uint64_t used_bytes(const char *file)
{
    char text[4096];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    const char *at;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    at = strstr(text, "\"used_bytes\":");
    return at ? strtoull(at + 13, NULL, 10) : 0;
}

static int run_watch(char **argv)
{
    bool disk = strcmp(argv[0], "-") != 0;
    uint64_t max = strtoull(argv[1], NULL, 10), before = disk ? disk_used(argv[0]) : 0;
    uint64_t most = 0, most_said = 0, looks = 0;
    const struct timespec pause = {.tv_nsec = 2000000};

    while (!file_exists(argv[3])) {
        uint64_t now = disk ? disk_used(argv[0]) : 0;

        most = now > before && now - before > most ? now - before : most;
        if (looks++ % 16 == 0) {
            now = used_bytes(argv[2]);
            most_said = now > most_said ? now : most_said;
        }
        nanosleep(&pause, NULL);
    }
    printf("most=%llu said=%llu looks=%llu\n", (unsigned long long)most,
           (unsigned long long)most_said, (unsigned long long)looks);
    CHECK(most <= max, "%llu bytes on the disk, %llu allowed", (unsigned long long)most,
          (unsigned long long)max);
    CHECK(most_said <= max, "it said %llu bytes, %llu allowed", (unsigned long long)most_said,
          (unsigned long long)max);
    CHECK(!disk || most > max / 2, "only %llu bytes of %llu were ever used",
          (unsigned long long)most, (unsigned long long)max);
    return 0;
}

/* --- start --- */

static int wrong_use(void)
{
    fprintf(stderr, "usage: burst write [-w WORKERS] [-b MIB] [-s SEED] [-t SECONDS] DIR LOG\n"
                    "       burst verify [-e] [-d BASE] DIR LOG\n"
                    "       burst watch PATH MAX USAGE END\n");
    return 2;
}

static void open_log(const char *path, const struct args *a, bool fresh)
{
    size_t len = sizeof(*burst) + WORKERS_MAX * sizeof(burst->worker[0]);
    int fd = OPEN(path, O_RDWR | O_CLOEXEC | (fresh ? O_CREAT | O_TRUNC : 0));

    if (fresh)
        OK(ftruncate(fd, (off_t)len));
    burst = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(burst != MAP_FAILED, "mmap %s: %s", path, strerror(errno));
    close(fd);
    if (fresh) {
        burst->seed = a->seed;
        burst->workers = a->workers;
    }
}

int main(int argc, char **argv)
{
    struct args a = {.mib = 256, .seed = 1, .workers = 8, .seconds = 30};
    const char *verb = argc > 1 ? argv[1] : "";
    int c;

    setvbuf(stdout, NULL, _IOLBF, 0);
    optind = 2;
    while ((c = getopt(argc, argv, "w:b:s:t:ed:")) != -1) {
        switch (c) {
        case 'w': a.workers = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'b': a.mib = strtoull(optarg, NULL, 10); break;
        case 's': a.seed = strtoull(optarg, NULL, 10); break;
        case 't': a.seconds = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'd': a.base = optarg; break;
        case 'e': a.evicts = true; break;
        default: return wrong_use();
        }
    }
    argv += optind;
    argc -= optind;
    if (!strcmp(verb, "watch"))
        return argc == 4 ? run_watch(argv) : wrong_use();
    if (argc != 2 || !a.workers || a.workers > WORKERS_MAX)
        return wrong_use();
    open_log(argv[1], &a, !strcmp(verb, "write"));
    OK(chdir(argv[0]));
    if (!strcmp(verb, "write"))
        return run_write(&a);
    return strcmp(verb, "verify") ? wrong_use() : run_verify(&a);
}
