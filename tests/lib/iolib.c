/*
 * Checks, patterned content, whole-file helpers, processes and the case runner shared by the
 * programs that test a directory through system calls. Single-threaded, except that the checks may
 * be used by any thread.
 */
#include "iolib.h"

#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

bool on_l2fs;
unsigned io_scale = 1;

void io_fail(const char *file, int line, const char *fmt, ...)
{
    char msg[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    printf("    %s:%d: %s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, msg);
    fflush(stdout);
    _exit(1);
}

void io_skip(const char *fmt, ...)
{
    va_list ap;

    printf("    skip: ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
    _exit(STATUS_SKIP);
}

long io_ok(long r, const char *what, const char *file, int line)
{
    if (r < 0)
        io_fail(file, line, "%s: %s", what, strerror(errno));
    return r;
}

void io_err(long r, int want, const char *what, const char *file, int line)
{
    int got = errno;

    if (r >= 0)
        io_fail(file, line, "%s: gave %ld, wanted %s", what, r, strerrorname_np(want));
    if (got != want)
        io_fail(file, line, "%s: %s, wanted %s", what, strerrorname_np(got), strerrorname_np(want));
}

void io_eq(long long a, long long b, const char *what, const char *file, int line)
{
    if (a != b)
        io_fail(file, line, "%s: %lld != %lld (errno %s)", what, a, b, strerror(errno));
}

uint64_t io_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

uint64_t io_hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
    return io_mix(h);
}

static uint64_t pat_word(uint64_t seed, uint64_t index)
{
    return io_mix(seed * 0x2545f4914f6cdd1dULL + index);
}

void pat_fill(void *buf, size_t len, uint64_t seed, uint64_t off)
{
    unsigned char *p = buf;

    while (len) {
        uint64_t w = pat_word(seed, off / 8);
        size_t skip = off % 8, n = 8 - skip < len ? 8 - skip : len;

        memcpy(p, (unsigned char *)&w + skip, n);
        p += n;
        off += n;
        len -= n;
    }
}

long pat_diff(const void *buf, size_t len, uint64_t seed, uint64_t off)
{
    const unsigned char *p = buf;
    size_t done = 0;

    while (done < len) {
        uint64_t w = pat_word(seed, off / 8);
        size_t skip = off % 8, n = 8 - skip < len - done ? 8 - skip : len - done;

        if (memcmp(p + done, (unsigned char *)&w + skip, n) != 0) {
            for (size_t i = 0; i < n; i++)
                if (p[done + i] != ((unsigned char *)&w)[skip + i])
                    return (long)(done + i);
        }
        off += n;
        done += n;
    }
    return -1;
}

void io_pat(const void *buf, size_t len, uint64_t seed, uint64_t off, const char *file, int line)
{
    long bad = pat_diff(buf, len, seed, off);

    if (bad >= 0)
        io_fail(file, line, "wrong byte at %llu: 0x%02x (seed %llu, %zu bytes from %llu)",
                (unsigned long long)off + (unsigned long long)bad,
                ((const unsigned char *)buf)[bad], (unsigned long long)seed, len,
                (unsigned long long)off);
}

void *io_mem(size_t len)
{
    void *p = mmap(NULL, len ? len : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED, "no memory for %zu bytes", len);
    return p;
}

char *io_pattern(size_t len, uint64_t seed)
{
    char *p = io_mem(len);

    pat_fill(p, len, seed, 0);
    return p;
}

void io_pwrite(int fd, const void *buf, size_t len, off_t off)
{
    EQ(pwrite(fd, buf, len, off), len);
}

void io_pread(int fd, void *buf, size_t len, off_t off)
{
    EQ(pread(fd, buf, len, off), len);
}

void file_put(const char *path, int flags, uint64_t seed, size_t len)
{
    char *buf = io_pattern(len, seed);
    int fd = open(path, flags | O_CREAT, 0644);

    CHECK(fd >= 0, "open %s for writing (0%o): %s", path, (unsigned)flags, strerror(errno));
    EQ(write(fd, buf, len), len);
    OK(close(fd));
    munmap(buf, len ? len : 1);
}

void file_write(const char *path, uint64_t seed, size_t len)
{
    file_put(path, O_WRONLY | O_TRUNC, seed, len);
}

void fd_check(int fd, uint64_t seed, size_t len)
{
    struct stat st;
    char *buf = io_mem(len + PAGE);

    OK(fstat(fd, &st));
    EQ(st.st_size, len);
    EQ(pread(fd, buf, len + PAGE, 0), len);
    EQ(pread(fd, buf + len, 16, (off_t)len), 0);
    PAT(buf, len, seed, 0);
    munmap(buf, len + PAGE);
}

void file_check(const char *path, uint64_t seed, size_t len)
{
    struct stat st;
    int fd;

    CHECK(stat(path, &st) == 0, "stat %s: %s", path, strerror(errno));
    CHECK(st.st_size == (off_t)len, "%s: size %lld, wanted %zu", path, (long long)st.st_size, len);
    CHECK(S_ISREG(st.st_mode), "%s: mode 0%o is no file", path, st.st_mode);
    fd = open(path, O_RDONLY);
    CHECK(fd >= 0, "open %s for reading: %s", path, strerror(errno));
    fd_check(fd, seed, len);
    OK(close(fd));
}

bool file_exists(const char *path)
{
    if (access(path, F_OK) == 0)
        return true;
    CHECK(errno == ENOENT, "access %s: %s, wanted ENOENT", path, strerror(errno));
    return false;
}

off_t file_size(const char *path)
{
    struct stat st;

    CHECK(stat(path, &st) == 0, "stat %s: %s", path, strerror(errno));
    return st.st_size;
}

void file_copy_name(char *dst, size_t cap, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(dst, cap, fmt, ap);
    va_end(ap);
    CHECK(n >= 0 && (size_t)n < cap, "name too long for %zu bytes", cap);
}

pid_t io_spawn(void (*fn)(void *), void *arg)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    OK(pid);
    if (pid == 0) {
        fn(arg);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

void io_join(pid_t pid)
{
    int status;

    EQ(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIP)
        _exit(STATUS_SKIP);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %d ended with status 0x%x",
          (int)pid, (unsigned)status);
}

void io_each(unsigned n, void (*fn)(unsigned i, void *arg), void *arg)
{
    pid_t *pids = io_mem(n * sizeof(*pids));

    fflush(stdout);
    for (unsigned i = 0; i < n; i++) {
        pids[i] = fork();
        OK(pids[i]);
        if (pids[i] == 0) {
            fn(i, arg);
            fflush(stdout);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < n; i++)
        io_join(pids[i]);
}

int gate_new(void)
{
    return (int)OK(eventfd(0, EFD_SEMAPHORE));
}

void gate_post(int gate, uint64_t n)
{
    EQ(write(gate, &n, sizeof(n)), sizeof(n));
}

void gate_wait(int gate)
{
    uint64_t one;

    EQ(TEMP_FAILURE_RETRY(read(gate, &one, sizeof(one))), sizeof(one));
}

double io_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (flag == FTW_DP ? rmdir(path) : unlink(path))
        fprintf(stderr, "    cannot remove %s: %s\n", path, strerror(errno));
    return 0;
}

void io_rmtree(const char *path)
{
    nftw(path, rm_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void io_mkdirs(const char *path)
{
    char buf[4096];

    file_copy_name(buf, sizeof(buf), "%s", path);
    for (char *p = buf + 1;; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(buf, 0755) != 0)
            CHECK(errno == EEXIST, "mkdir %s: %s", buf, strerror(errno));
        *p = c;
        if (c == '\0')
            return;
    }
}

bool io_nofile(unsigned long n)
{
    struct rlimit rl;

    OK(getrlimit(RLIMIT_NOFILE, &rl));
    if (rl.rlim_cur >= n)
        return true;
    rl.rlim_cur = n;
    if (rl.rlim_max < n)
        rl.rlim_max = n;
    return setrlimit(RLIMIT_NOFILE, &rl) == 0;
}

static int case_status(int status, bool late, const char *name, double took)
{
    const char *word = "ok  ";
    int r = 0;

    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIP) {
        word = "skip";
        r = STATUS_SKIP;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        word = "FAIL";
        r = 1;
        if (late)
            printf("    timed out\n");
        else if (WIFSIGNALED(status))
            printf("    killed by signal %d\n", WTERMSIG(status));
    }
    printf("%s %s (%.2f s)\n", word, name, took);
    fflush(stdout);
    return r;
}

/* Waits for the end of pid, at most timeout_s seconds; kills it after that. Returns its status. */
static int case_wait(pid_t pid, unsigned timeout_s, bool *late)
{
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int status = 0;

    *late = p.fd >= 0 && poll(&p, 1, (int)timeout_s * 1000) == 0;
    if (*late)
        kill(pid, SIGKILL);
    if (p.fd >= 0)
        close(p.fd);
    waitpid(pid, &status, 0);
    kill(-pid, SIGKILL); /* what the case left running: it is ours as a subreaper */
    while (waitpid(-pid, NULL, 0) > 0)
        ;
    return status;
}

int io_run_case(const char *dir, const struct iocase *c, unsigned timeout_s)
{
    double start = io_now();
    char sub[4096];
    bool late;
    int status;
    pid_t pid;

    if (snprintf(sub, sizeof(sub), "%s/%s", dir, c->name) >= (int)sizeof(sub))
        return 1;
    if (access(sub, F_OK) == 0)
        io_rmtree(sub);
    if (mkdir(sub, 0755) != 0) {
        printf("FAIL %s: mkdir %s: %s\n", c->name, sub, strerror(errno));
        return 1;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        if (chdir(sub) != 0)
            _exit(1);
        if (c->l2fs_only && !on_l2fs)
            io_skip("holds on an l2fs mount only (--l2fs)");
        c->fn();
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0) {
        printf("FAIL %s: fork: %s\n", c->name, strerror(errno));
        return 1;
    }
    setpgid(pid, pid);
    status = case_wait(pid, timeout_s, &late);
    io_rmtree(sub);
    return case_status(status, late, c->name, io_now() - start);
}
