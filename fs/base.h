/* base.h - the few macros every file of l2fs uses. Level 0.
 *
 * Errors everywhere are negative errno values (0 or a positive count is success). Outputs are the
 * last parameters and are set only on success.
 */
#ifndef L2FS_BASE_H
#define L2FS_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define NSEC_PER_SEC UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)

/* Scope cleanup: `AUTO_FREE char *s = ...;` frees on every way out of the scope,
 * `AUTO_CLOSE int fd = -1;` closes a descriptor that is >= 0. */
static inline void auto_free(void *p)
{
    free(*(void **)p);
}

static inline void auto_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define AUTO_FREE __attribute__((cleanup(auto_free)))
#define AUTO_CLOSE __attribute__((cleanup(auto_close)))

/* Hands the descriptor over: returns it and leaves -1 behind for AUTO_CLOSE. */
static inline int steal_fd(int *fd)
{
    int value = *fd;

    *fd = -1;
    return value;
}

#endif
