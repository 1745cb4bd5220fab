/* pace.c - the arithmetic of a device of limited bandwidth.
 *
 * Pure arithmetic on the caller's struct pace, which belongs to one thread.
 */
#include "pace.h"

void pace_init(struct pace *p, uint64_t bytes_per_sec)
{
    *p = (struct pace){.bytes_per_sec = bytes_per_sec};
}

uint64_t pace_book(struct pace *p, uint64_t start, uint64_t bytes)
{
    double ns;

    if (!p->bytes_per_sec || !bytes)
        return start;
    p->busy_until = MAX(p->busy_until, start);
    ns = (double)bytes * (double)NSEC_PER_SEC / (double)p->bytes_per_sec;
    if (ns >= (double)(UINT64_MAX - p->busy_until))
        p->busy_until = UINT64_MAX;
    else
        p->busy_until += (uint64_t)ns;
    return p->busy_until;
}
