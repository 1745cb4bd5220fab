/* clock.h - the monotonic clock in nanoseconds, and deadlines. Level 0. */
#ifndef L2FS_CLOCK_H
#define L2FS_CLOCK_H

#include <time.h>

#include "base.h"

/* Nanoseconds of CLOCK_MONOTONIC. Any thread. */
static inline uint64_t clock_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* The point `ns` nanoseconds from now, saturating: UINT64_MAX means never. */
static inline uint64_t clock_deadline(uint64_t ns)
{
    uint64_t now = clock_now();

    return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

/* Milliseconds left until `deadline`, rounded up, 0 when past, capped for poll(2). */
static inline int clock_left_ms(uint64_t deadline)
{
    uint64_t now = clock_now();

    if (deadline <= now)
        return 0;
    return (int)MIN((deadline - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, (uint64_t)INT32_MAX);
}

#endif
