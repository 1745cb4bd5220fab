/*
 * The load under which crash.sh kills the daemon, and the check of what is there afterwards.
 *   crashload write [-w WORKERS] [-s SEED] [-k PID -t MS] DIR LOG   worker processes store keys of
 * their own until the mount fails; after MS milliseconds process PID gets SIGKILL (without -k they
 * just end) crashload verify [--wiped] DIR LOG      reads all back, prints "closed=N lost=N torn=N
 * ..." Exit status: 0 as promised, 1 not, 2 usage.
 */
#include "crashload.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct worker {
    struct crash_key *keys;
    unsigned w;
    int log;
    uint64_t rnd;
    const int *stop; /* shared: the time is over, or the daemon is about to be killed */
    bool killed;     /* ends when the mount fails, and not by itself */
};

static uint64_t rnd(struct worker *me)
{
    return me->rnd = io_mix(me->rnd);
}

/* The mount went away: the end of this worker, and no fault once the kill is under way. */
static void failed(struct worker *me, const char *what, const char *path)
{
    int e = errno;

    if (me->killed && __atomic_load_n(me->stop, __ATOMIC_ACQUIRE) &&
        (e == ENOTCONN || e == ECONNABORTED || e == EIO || e == EINTR || e == ENODEV))
        _exit(0);
    printf("    worker %u: %s %s: %s\n", me->w, what, path, strerror(e));
    fflush(stdout);
    _exit(1);
}

/* 1 byte to 8 MiB, as many of each magnitude. */
static size_t pick_size(struct worker *me)
{
    size_t top = 1UL << (rnd(me) % 23);

    return top + rnd(me) % top;
}

static void write_all(struct worker *me, int fd, const char *path, const char *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = 1 + rnd(me) % MIB;
        ssize_t r = write(fd, buf + at, n < len - at ? n : len - at);

        if (r <= 0)
            failed(me, "write", path);
        at += (size_t)r;
    }
}

/* Opens, writes and reports what was synced; the descriptor stays open. */
static int make(struct worker *me, const char *path, int flags, unsigned k, uint64_t gen,
                size_t len)
{
    char *buf = io_pattern(len, crash_seed(me->w, k, gen));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

    if (fd < 0)
        failed(me, "open", path);
    write_all(me, fd, path, buf, len);
    munmap(buf, len);
    return fd;
}

static void sync_final(struct worker *me, int fd, const char *path, unsigned k, uint64_t gen)
{
    if (fsync(fd) != 0)
        failed(me, "fsync", path);
    crash_log(me->log, 'S', me->w, k, gen);
}

static void finish(struct worker *me, int fd, const char *path)
{
    if (close(fd) != 0)
        failed(me, "close", path);
}

static void store(struct worker *me, unsigned k, char mode)
{
    struct crash_key *key = &me->keys[k];
    size_t len = pick_size(me);
    uint64_t gen = ++key->last;
    bool sync = rnd(me) % 4 == 0;
    char path[64], tmp[96];
    int fd;

    crash_path(path, sizeof(path), me->w, k);
    file_copy_name(tmp, sizeof(tmp), "%s_%llu.tmp", path, (unsigned long long)gen);
    crash_log_begin(me->log, me->w, k, gen, mode, len);
    if (mode == MODE_TMP || mode == MODE_OPEN) {
        fd = make(me, tmp, O_EXCL, k, gen, len);
        if (mode == MODE_TMP)
            finish(me, fd, tmp);
        if (rename(tmp, path) != 0)
            failed(me, "rename", tmp);
        if (mode == MODE_OPEN) {
            if (sync)
                sync_final(me, fd, path, k, gen);
            finish(me, fd, path);
        }
    } else {
        fd = make(me, path, mode == MODE_NEW ? O_EXCL : O_TRUNC, k, gen, len);
        if (sync)
            sync_final(me, fd, path, k, gen);
        finish(me, fd, path);
    }
    crash_log(me->log, 'C', me->w, k, gen);
    if (sync && mode == MODE_TMP) { /* the published file is synced through another descriptor */
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            failed(me, "open", path);
        sync_final(me, fd, path, k, gen);
        close(fd);
    }
    key->gens[0] = (struct crash_gen){gen, len};
    key->n = 1;
    key->current = gen;
}

static void drop(struct worker *me, unsigned k)
{
    struct crash_key *key = &me->keys[k];
    char path[64];

    crash_path(path, sizeof(path), me->w, k);
    crash_log_begin(me->log, me->w, k, ++key->last, MODE_UNLINK, 0);
    if (unlink(path) != 0)
        failed(me, "unlink", path);
    crash_log(me->log, 'D', me->w, k, key->last);
    key->current = 0;
}

static void check(struct worker *me, unsigned k)
{
    struct crash_key *key = &me->keys[k];
    const struct crash_gen *g = crash_find(key, key->current);
    char path[64], *buf;
    ssize_t n;
    int fd;

    crash_path(path, sizeof(path), me->w, k);
    if (!g)
        return;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        failed(me, "open for reading", path);
    buf = io_mem(g->size + 1);
    n = read(fd, buf, g->size + 1);
    if (n >= 0 && n < (ssize_t)g->size) { /* the kill came between two requests of one read */
        ssize_t more = read(fd, buf + n, g->size + 1 - (size_t)n);

        n = more < 0 ? more : n;
    }
    if (n < 0)
        failed(me, "read", path);
    CHECK(n == (ssize_t)g->size, "%s: read %zd of %zu", path, n, g->size);
    PAT(buf, g->size, crash_seed(me->w, k, g->gen), 0);
    munmap(buf, g->size + 1);
    close(fd);
}

static void work(struct worker *me)
{
    static const char modes[] = {MODE_TMP, MODE_TMP, MODE_OPEN, MODE_PLACE};
    char dir[16];

    file_copy_name(dir, sizeof(dir), "w%u", me->w);
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        failed(me, "mkdir", dir);
    while (me->killed || !__atomic_load_n(me->stop, __ATOMIC_ACQUIRE)) {
        unsigned k = (unsigned)(rnd(me) % CRASH_KEYS);
        struct crash_key *key = &me->keys[k];
        unsigned what = (unsigned)(rnd(me) % 8);

        if (key->cap == 0) {
            key->gens = calloc(1, sizeof(*key->gens));
            key->cap = 1;
        }
        if (key->current == 0)
            store(me, k, what % 2 ? MODE_NEW : MODE_TMP);
        else if (what == 0)
            drop(me, k);
        else if (what <= 3)
            check(me, k);
        else
            store(me, k, modes[rnd(me) % ARRAY_LEN(modes)]);
    }
}

struct job {
    unsigned workers, ms;
    uint64_t seed;
    pid_t victim;
};

static int load(const char *dir, const char *log, const struct job *j)
{
    struct crash_state *s = io_mem(sizeof(*s));
    int *stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[CRASH_WORKERS];
    int fd = crash_log_open(log), bad = 0, status;

    crash_log_read(s, log);
    OK(chdir(dir));
    for (unsigned w = 0; w < j->workers; w++) {
        struct worker me = {s->key[w], w, fd, io_mix(j->seed * 1000 + w), stop, j->victim > 0};

        fflush(stdout);
        pids[w] = fork();
        OK(pids[w]);
        if (pids[w] == 0) {
            work(&me);
            _exit(0);
        }
    }
    poll(NULL, 0, (int)j->ms); /* how long the load runs */
    __atomic_store_n(stop, 1, __ATOMIC_RELEASE);
    if (j->victim > 0)
        OK(kill(j->victim, SIGKILL));
    for (unsigned w = 0; w < j->workers; w++) {
        waitpid(pids[w], &status, 0);
        if (status != 0)
            bad = 1;
    }
    return bad;
}

static int usage(void)
{
    fprintf(stderr, "usage: crashload write [-w WORKERS] [-s SEED] [-t MS] [-k PID] DIR LOG\n"
                    "       crashload verify [--wiped] DIR LOG\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {{"wiped", no_argument, NULL, 'W'}, {NULL, 0, NULL, 0}};
    struct job j = {.workers = 4, .ms = 1000, .seed = 1};
    bool wiped = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "w:s:t:k:", opts, NULL)) != -1) {
        switch (opt) {
        case 'w': j.workers = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': j.seed = strtoull(optarg, NULL, 10); break;
        case 't': j.ms = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'k': j.victim = (pid_t)strtol(optarg, NULL, 10); break;
        case 'W': wiped = true; break;
        default: return usage();
        }
    }
    if (argc - optind != 3 || j.workers == 0 || j.workers > CRASH_WORKERS)
        return usage();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(argv[optind], "write"))
        return load(argv[optind + 1], argv[optind + 2], &j);
    if (!strcmp(argv[optind], "verify"))
        return crash_verify(argv[optind + 1], argv[optind + 2], wiped);
    return usage();
}
