/*
 * Helpers of the programs that test a directory through system calls: iocheck, engines, crashload.
 *
 * A check that fails prints where and what, and ends the process with status 1. Every case runs in
 * a process and a directory of its own, so a check may leave anything behind. Single-threaded
 * unless a case starts threads.
 */
#ifndef L2FS_TEST_IOLIB_H
#define L2FS_TEST_IOLIB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define KIB 1024UL
#define MIB (1024UL * KIB)
#define GIB (1024UL * MIB)
#define TIB (1024UL * GIB)
#define PAGE 4096UL
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define UNUSED __attribute__((unused))

enum { STATUS_SKIP = 77 };

/* One case: fn runs with the case's own empty directory as working directory. */
struct iocase {
    const char *name;
    void (*fn)(void);
    bool l2fs_only; /* holds on an l2fs mount, not on every local directory */
};

/* Set by --l2fs: the directory is on an l2fs mount, so its additional promises are checked too. */
extern bool on_l2fs;
/* Set by --scale N: counts of the large cases are divided by it (sanitizer runs). */
extern unsigned io_scale;

/* Checks: the value of the expression when it holds, the end of the process when not. */
#define OK(e) io_ok((long)(e), #e, __FILE__, __LINE__)
#define ERR(e, want) io_err((long)(e), want, #e, __FILE__, __LINE__)
#define EQ(a, b) io_eq((long long)(a), (long long)(b), #a " == " #b, __FILE__, __LINE__)
#define OPEN(p, f) ((int)io_ok(open(p, f, 0644), "open " #p " " #f, __FILE__, __LINE__))
#define CHECK(c, ...)                                                                              \
    do {                                                                                           \
        if (!(c))                                                                                  \
            io_fail(__FILE__, __LINE__, __VA_ARGS__);                                              \
    } while (0)
#define PAT(buf, len, seed, off) io_pat(buf, len, seed, off, __FILE__, __LINE__)

long io_ok(long r, const char *what, const char *file, int line);
void io_err(long r, int want, const char *what, const char *file, int line);
void io_eq(long long a, long long b, const char *what, const char *file, int line);
void io_pat(const void *buf, size_t len, uint64_t seed, uint64_t off, const char *file, int line);
void io_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void io_skip(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Content that follows from a seed and an offset: any torn, shifted or foreign byte shows. */
void pat_fill(void *buf, size_t len, uint64_t seed, uint64_t off);
long pat_diff(const void *buf, size_t len, uint64_t seed,
              uint64_t off); /* first bad index, or -1 */
uint64_t io_mix(uint64_t x);
uint64_t io_hash(const char *s);

/* Page-aligned memory, zeroed, never freed by a case. */
void *io_mem(size_t len);
/* Page-aligned memory that holds the pattern of seed from offset 0. */
char *io_pattern(size_t len, uint64_t seed);

/* Full-length I/O: anything short fails. */
void io_pwrite(int fd, const void *buf, size_t len, off_t off);
void io_pread(int fd, void *buf, size_t len, off_t off);

/* open(flags | O_CREAT) + one write of the pattern + close. */
void file_put(const char *path, int flags, uint64_t seed, size_t len);
/* A plain new file: O_WRONLY|O_CREAT|O_TRUNC. */
void file_write(const char *path, uint64_t seed, size_t len);
/* Size by stat and fstat, one read of the whole, end of file after it, content. */
void file_check(const char *path, uint64_t seed, size_t len);
/* The same through a descriptor (pread). */
void fd_check(int fd, uint64_t seed, size_t len);
bool file_exists(const char *path);
off_t file_size(const char *path);
void file_copy_name(char *dst, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Processes. join fails unless the child ended with status 0. */
pid_t io_spawn(void (*fn)(void *), void *arg);
void io_join(pid_t pid);
void io_each(unsigned n, void (*fn)(unsigned i, void *arg), void *arg); /* n processes, joined */

/* A counting gate that works between processes: an eventfd used as a semaphore. */
int gate_new(void);
void gate_post(int gate, uint64_t n);
void gate_wait(int gate);

double io_now(void); /* seconds, monotonic */
void io_rmtree(const char *path);
void io_mkdirs(const char *path); /* mkdir -p */
/* Raises RLIMIT_NOFILE; false when n cannot be had. */
bool io_nofile(unsigned long n);

/*
 * Runs one case in a child with the directory dir/name as working directory, prints one line
 * ("ok", "FAIL" or "skip"), removes the directory. Returns 0, 1 or STATUS_SKIP.
 */
int io_run_case(const char *dir, const struct iocase *c, unsigned timeout_s);

#endif
