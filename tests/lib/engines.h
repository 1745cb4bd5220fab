/*
 * Replays of how inference systems use a directory: the system calls of each, with its names, sizes
 * and patterns of sharing, and what it stored compared when it is read back. One function for each
 * system.
 */
#ifndef L2FS_TEST_ENGINES_H
#define L2FS_TEST_ENGINES_H

#include "iolib.h"

struct engine {
    const char *name;
    void (*fn)(void);
    const char *row;  /* the row of the table in which the system stands */
    const char *tmp;  /* globs of its temporary names, separated by blanks, or NULL */
    const char *disk; /* globs of its slot files */
};

extern const struct engine engines_vllm[];
extern const struct engine engines_llmd[];
extern const struct engine engines_lmcache[];
extern const struct engine engines_nixl[];
extern const struct engine engines_sglang[];
extern const struct engine engines_mooncake[];
extern const struct engine engines_slots[];
extern const struct engine engines_more[];
extern const struct engine engines_tensor[];

/* Runs fn(0..jobs-1, arg) on that many threads. */
void pool_run(unsigned threads, unsigned jobs, void (*fn)(unsigned job, void *arg), void *arg);

/* digits hexadecimal digits that follow from seed. */
char *hex(char *dst, unsigned digits, uint64_t seed);

/* Waits until the name is there (another process is storing it); fails after a minute. */
void await_file(const char *path);

/* What Python's open() does after openat: fstat, ioctl(TCGETS), lseek. */
int py_open(const char *path, int flags);

/* open("rb"), one readinto of the whole; the size and content must fit. */
void py_load(const char *path, uint64_t seed, size_t len);

/* Each entry of a directory that is no directory; the callback may remove it. Returns their number.
 */
unsigned scan_files(const char *dir, void (*fn)(int dirfd, const char *name, void *arg), void *arg);

#endif
