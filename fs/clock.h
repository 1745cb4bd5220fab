/* clock.h - the monotonic clock in nanoseconds, deadlines, and times of files in one word. Level 0. */
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

/* --- times of files: nanoseconds since 1970. What is before 1678 or after 2261 is as near as that gets --- */

#define FILE_TIME_MOST ((int64_t)(INT64_MAX / (int64_t)NSEC_PER_SEC) - 1) /* seconds */

static inline int64_t file_time(const struct timespec *ts)
{
    if (ts->tv_sec > FILE_TIME_MOST || ts->tv_sec < -FILE_TIME_MOST)
        return (ts->tv_sec < 0 ? -FILE_TIME_MOST : FILE_TIME_MOST) * (int64_t)NSEC_PER_SEC;
    return ts->tv_sec * (int64_t)NSEC_PER_SEC + ts->tv_nsec;
}

static inline struct timespec file_timespec(int64_t time)
{
    int64_t ns = time % (int64_t)NSEC_PER_SEC, before = ns < 0;

    return (struct timespec){.tv_sec = time / (int64_t)NSEC_PER_SEC - before,
                             .tv_nsec = ns + before * (int64_t)NSEC_PER_SEC};
}

static inline int64_t file_time_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return file_time(&ts);
}

#endif
