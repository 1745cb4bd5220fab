/*
 * Clients that do everything at once while tiers misbehave.
 *   soak [-w WORKERS] [-t SECONDS] [-l LIMIT] [-s SEED] DIR
 *       processes that write (temporary name, then rename), read, remove, evict, prefetch and look at
 *       keys of each other; prints "reads=N misses=N puts=N refused=N slowest=SECONDS OP"
 *   soak -c DIR
 *       reads every key that is there once more; prints "whole=N missed=N"
 * Exit status: 0; 1 when bytes were wrong or torn, a call took longer than LIMIT seconds, or failed with
 * an error that is not a miss, a refusal or a timeout; 2 wrong usage.
 */
#include "iolib.h"

#include <dirent.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define KEYS 24
#define WORKERS_MAX 32
#define SIZE_MAX_KIB 1024
#define MAGIC 0x6c326673736f616bull

struct head {
    uint64_t magic;
    uint64_t seed;
    uint64_t size; /* of the whole file */
    uint64_t key;  /* hash of its path: bytes of another key show */
    uint64_t sum;
};

struct tally {
    uint64_t reads, misses, puts, refused;
    double slowest;
    char op[16];
};

struct args {
    unsigned workers;
    double seconds, limit;
    uint64_t seed;
};

static struct args args = {.workers = 4, .seconds = 3, .limit = 20, .seed = 1};
static struct tally *tallies;
static struct tally *mine;
static char *buf;

static uint64_t sum_of(const struct head *h)
{
    return io_mix(h->magic ^ io_mix(h->seed ^ io_mix(h->size ^ io_mix(h->key))));
}

/* Nothing else may come back from a tier that fails, refuses, is full or late. */
static bool is_refusal(int error)
{
    return error == ENOENT || error == EIO || error == ENOSPC || error == EBUSY ||
           error == ETIMEDOUT || error == EINTR || error == EAGAIN || error == ESTALE;
}

static void note(const char *op, double start, long rc)
{
    int error = errno;
    double took = io_now() - start;

    if (took > mine->slowest) {
        mine->slowest = took;
        snprintf(mine->op, sizeof(mine->op), "%s", op);
    }
    CHECK(took <= args.limit, "%s took %.1f s", op, took);
    if (rc >= 0)
        return;
    CHECK(is_refusal(error), "%s: %s", op, strerror(error));
    mine->refused++;
}

static void name_of(char *path, size_t size, unsigned worker, unsigned key)
{
    snprintf(path, size, "w%u/k%02u", worker, key);
}

/* What the file system says of a file whose bytes are wrong. */
static void explain(int fd, const char *path)
{
    char state[64] = "?", lock[512] = "?";
    struct stat st = {0}, now = {0};

    fstat(fd, &st);
    stat(path, &now);
    fgetxattr(fd, "user.l2fs.state", state, sizeof(state) - 1);
    fgetxattr(fd, "user.l2fs.lock", lock, sizeof(lock) - 1);
    fprintf(
        stderr,
        "    %s: inode %lu of %lld bytes, %lu names, %s, %s; the name is inode %lu of %lld bytes\n",
        path, (unsigned long)st.st_ino, (long long)st.st_size, (unsigned long)st.st_nlink, state,
        lock, (unsigned long)now.st_ino, (long long)now.st_size);
}

/* Whole and one version, or the program ends. */
static void check_whole(int fd, const char *path, size_t len)
{
    struct head h = {0};
    long bad = 0;

    if (len >= sizeof(h)) {
        memcpy(&h, buf, sizeof(h));
        if (h.magic == MAGIC && h.sum == sum_of(&h) && h.key == io_hash(path) && h.size == len)
            bad = pat_diff(buf + sizeof(h), len - sizeof(h), h.seed, 0);
    }
    if (bad >= 0 || len < sizeof(h))
        explain(fd, path);
    CHECK(len >= sizeof(h), "%s: %zu bytes are no key", path, len);
    CHECK(h.magic == MAGIC && h.sum == sum_of(&h), "%s: not a key", path);
    CHECK(h.key == io_hash(path), "%s: another key", path);
    CHECK(h.size == len, "%s: %zu bytes of %llu", path, len, (unsigned long long)h.size);
    CHECK(bad < 0, "%s: wrong byte at %ld of %zu", path, bad, len);
}

static long read_key(const char *path)
{
    double start = io_now();
    int fd = open(path, O_RDONLY);
    size_t len = 0;
    ssize_t n;

    if (fd < 0 && errno == ENOENT)
        mine->misses++;
    note("open", start, fd < 0 && errno == ENOENT ? 0 : fd);
    if (fd < 0)
        return -1;
    start = io_now();
    while ((n = read(fd, buf + len, (SIZE_MAX_KIB + 1) * KIB - len)) > 0)
        len += (size_t)n;
    note("read", start, n);
    if (n == 0) {
        check_whole(fd, path, len);
        mine->reads++;
    }
    close(fd);
    return n;
}

static void put_key(const char *path, uint64_t random)
{
    struct head h = {.magic = MAGIC, .seed = random, .key = io_hash(path)};
    char temp[80];
    double start = io_now();
    ssize_t n;
    int fd;

    h.size = sizeof(h) + (io_mix(random) % (SIZE_MAX_KIB * KIB - sizeof(h)));
    h.sum = sum_of(&h);
    memcpy(buf, &h, sizeof(h));
    pat_fill(buf + sizeof(h), h.size - sizeof(h), h.seed, 0);
    snprintf(temp, sizeof(temp), "%s.tmp", path);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    note("create", start, fd);
    if (fd < 0)
        return;
    start = io_now();
    n = write(fd, buf, h.size);
    note("write", start, n);
    if (n == (ssize_t)h.size && random % 16 == 0) {
        start = io_now();
        note("fsync", start, fsync(fd));
    }
    start = io_now();
    if (close(fd))
        n = -1;
    note("close", start, n);
    start = io_now();
    if (n == (ssize_t)h.size) {
        note("rename", start, rename(temp, path));
        mine->puts++;
    } else {
        note("unlink", start, unlink(temp));
    }
}

static void touch_key(const char *path, unsigned what)
{
    double start = io_now();
    char text[512];

    if (what < 4)
        note("unlink", start, unlink(path));
    else if (what < 12)
        note("evict", start, setxattr(path, "user.l2fs.evict", "1", 1, 0));
    else if (what < 16)
        note("prefetch", start, setxattr(path, "user.l2fs.prefetch", "1", 1, 0));
    else
        note("getxattr", start, getxattr(path, "user.l2fs.lock", text, sizeof(text)));
}

static void work(unsigned worker, void *arg)
{
    double end = io_now() + args.seconds;
    uint64_t random = io_mix(args.seed ^ io_mix(worker + 1));
    char path[64];

    (void)arg;
    mine = &tallies[worker];
    buf = io_mem((SIZE_MAX_KIB + 1) * KIB);
    while (io_now() < end) {
        unsigned what = (random = io_mix(random)) % 64;

        name_of(path, sizeof(path), (random >> 16) % args.workers, (random >> 32) % KEYS);
        if (what < 20) {
            touch_key(path, what);
        } else if (what < 36) {
            name_of(path, sizeof(path), worker, (random >> 32) % KEYS);
            put_key(path, random);
        } else {
            read_key(path);
        }
    }
}

static void print_total(void)
{
    struct tally all = {0};

    for (unsigned i = 0; i < args.workers; i++) {
        const struct tally *t = &tallies[i];

        all.reads += t->reads;
        all.misses += t->misses;
        all.puts += t->puts;
        all.refused += t->refused;
        if (t->slowest >= all.slowest) {
            all.slowest = t->slowest;
            memcpy(all.op, t->op, sizeof(all.op));
        }
    }
    printf("reads=%llu misses=%llu puts=%llu refused=%llu slowest=%.2f %s\n",
           (unsigned long long)all.reads, (unsigned long long)all.misses,
           (unsigned long long)all.puts, (unsigned long long)all.refused, all.slowest, all.op);
}

static int soak(void)
{
    char dir[16];

    for (unsigned i = 0; i < args.workers; i++) {
        snprintf(dir, sizeof(dir), "w%u", i);
        CHECK(!mkdir(dir, 0755) || errno == EEXIST, "mkdir %s: %s", dir, strerror(errno));
    }
    io_each(args.workers, work, NULL);
    print_total();
    return 0;
}

static int check_all(void)
{
    unsigned whole = 0, missed = 0;
    char path[64];

    mine = &tallies[0];
    buf = io_mem((SIZE_MAX_KIB + 1) * KIB);
    for (unsigned w = 0; w < WORKERS_MAX; w++)
        for (unsigned k = 0; k < KEYS; k++) {
            name_of(path, sizeof(path), w, k);
            if (!file_exists(path))
                continue;
            if (read_key(path) == 0)
                whole++;
            else
                missed++;
        }
    printf("whole=%u missed=%u\n", whole, missed);
    return 0;
}

int main(int argc, char **argv)
{
    bool check = false;
    int c;

    while ((c = getopt(argc, argv, "w:t:l:s:c")) != -1) {
        if (c == 'w')
            args.workers = (unsigned)atoi(optarg);
        else if (c == 't')
            args.seconds = atof(optarg);
        else if (c == 'l')
            args.limit = atof(optarg);
        else if (c == 's')
            args.seed = strtoull(optarg, NULL, 0);
        else if (c == 'c')
            check = true;
        else
            return 2;
    }
    if (optind + 1 != argc || !args.workers || args.workers > WORKERS_MAX)
        return 2;
    CHECK(!chdir(argv[optind]), "%s: %s", argv[optind], strerror(errno));
    tallies = mmap(NULL, WORKERS_MAX * sizeof(*tallies), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(tallies != MAP_FAILED, "no memory");
    return check ? check_all() : soak();
}
