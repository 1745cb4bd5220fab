/*
 * engines DIR [SYSTEM...]: replays how each inference system stores, looks up, loads and evicts
 * under DIR, with the names that it uses. --names prints the globs of its temporary files and of
 * its slot files. Exit status: 0 all passed or skipped, 1 something failed, 2 usage.
 */
#include "engines.h"

#include <dirent.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

static const struct engine *const tables[] = {
    engines_vllm,     engines_llmd,  engines_lmcache, engines_nixl,   engines_sglang,
    engines_mooncake, engines_slots, engines_more,    engines_tensor,
};

struct pool {
    unsigned jobs, next;
    void (*fn)(unsigned job, void *arg);
    void *arg;
};

static void *pool_thread(void *arg)
{
    struct pool *p = arg;

    for (;;) {
        unsigned job = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);

        if (job >= p->jobs)
            return NULL;
        p->fn(job, p->arg);
    }
}

void pool_run(unsigned threads, unsigned jobs, void (*fn)(unsigned job, void *arg), void *arg)
{
    struct pool p = {.jobs = jobs, .fn = fn, .arg = arg};
    pthread_t t[64];

    if (threads > ARRAY_LEN(t))
        threads = ARRAY_LEN(t);
    for (unsigned i = 0; i < threads; i++)
        EQ(pthread_create(&t[i], NULL, pool_thread, &p), 0);
    for (unsigned i = 0; i < threads; i++)
        EQ(pthread_join(t[i], NULL), 0);
}

char *hex(char *dst, unsigned digits, uint64_t seed)
{
    for (unsigned i = 0; i < digits; i++)
        dst[i] = "0123456789abcdef"[io_mix(seed * 1000003 + i) % 16];
    dst[digits] = '\0';
    return dst;
}

void await_file(const char *path)
{
    double end = io_now() + 60;

    while (!file_exists(path)) {
        CHECK(io_now() < end, "%s did not come", path);
        poll(NULL, 0, 1);
    }
}

int py_open(const char *path, int flags)
{
    struct termios t;
    struct stat st;
    int fd = open(path, flags | O_CLOEXEC, 0666);

    CHECK(fd >= 0, "open %s: %s", path, strerror(errno));
    OK(fstat(fd, &st));
    CHECK(!S_ISDIR(st.st_mode), "%s is a directory", path);
    ERR(ioctl(fd, TCGETS, &t), ENOTTY);
    EQ(lseek(fd, 0, SEEK_CUR), 0);
    return fd;
}

void py_load(const char *path, uint64_t seed, size_t len)
{
    char *buf = io_mem(len);
    int fd = py_open(path, O_RDONLY);

    EQ(read(fd, buf, len), len);
    EQ(read(fd, buf, 0), 0);
    PAT(buf, len, seed, 0);
    OK(close(fd));
    munmap(buf, len);
}

unsigned scan_files(const char *dir, void (*fn)(int dirfd, const char *name, void *arg), void *arg)
{
    unsigned n = 0;
    struct dirent *e;
    DIR *d = opendir(dir);

    CHECK(d, "opendir %s: %s", dir, strerror(errno));
    while ((e = readdir(d)) != NULL) {
        CHECK(e->d_type != DT_UNKNOWN, "no d_type for %s", e->d_name);
        if (e->d_type == DT_DIR)
            continue;
        n++;
        if (fn)
            fn(dirfd(d), e->d_name, arg);
    }
    closedir(d);
    return n;
}

static void names(void)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (const struct engine *e = tables[t]; e->name; e++) {
            if (e->tmp)
                printf("tmp\t%s\t%s\t%s\n", e->name, e->tmp, e->row);
            if (e->disk)
                printf("disk\t%s\t%s\t%s\n", e->name, e->disk, e->row);
        }
}

static void list(void)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (const struct engine *e = tables[t]; e->name; e++)
            printf("%s\n", e->name);
}

static bool wanted(const char *name, char **pick, int n)
{
    for (int i = 0; i < n; i++)
        if (strncmp(name, pick[i], strlen(pick[i])) == 0)
            return true;
    return n == 0;
}

static int run(const char *dir, char **pick, int n, unsigned timeout_s)
{
    unsigned passed = 0, failed = 0, skipped = 0;

    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const struct engine *e = tables[t]; e->name; e++) {
            const struct iocase c = {e->name, e->fn, false};
            int r;

            if (!wanted(e->name, pick, n))
                continue;
            r = io_run_case(dir, &c, timeout_s);
            passed += r == 0;
            skipped += r == STATUS_SKIP;
            failed += r != 0 && r != STATUS_SKIP;
        }
    }
    printf("engines: %u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed != 0 || passed + skipped == 0;
}

static void usage(FILE *to)
{
    fprintf(to, "usage: engines [--l2fs] [--timeout SECONDS] DIR [SYSTEM...]\n"
                "       engines --list | --names\n");
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        {"list", no_argument, NULL, 'l'}, {"names", no_argument, NULL, 'n'},
        {"l2fs", no_argument, NULL, 'm'}, {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    unsigned timeout_s = 120;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", opts, NULL)) != -1) {
        switch (opt) {
        case 'l': list(); return 0;
        case 'n': names(); return 0;
        case 'm': on_l2fs = true; break;
        case 't': timeout_s = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'h': usage(stdout); return 0;
        default: usage(stderr); return 2;
        }
    }
    if (optind >= argc || timeout_s == 0) {
        usage(stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return run(argv[optind], argv + optind + 1, argc - optind - 1, timeout_s);
}
