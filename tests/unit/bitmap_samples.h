/* bitmap_samples.h - the sizes that bitmap tests run over, and bitmaps to start from. */
#ifndef L2FS_TEST_BITMAP_SAMPLES_H
#define L2FS_TEST_BITMAP_SAMPLES_H

#include "bitmap.h"

/* LMCache's sizes, around byte boundaries, and some around ours, 64. */
static const size_t sizes[] = {1,  2,  3,  5,  7,  8,  9,  10, 11,  12,  15,  16,
                               17, 20, 23, 24, 25, 63, 64, 65, 127, 128, 129, 200};

static inline struct bitmap *full(size_t size)
{
    return bitmap_create_prefix(size, size);
}

/* Sets the bits at i % step == first. */
static inline struct bitmap *stepped(size_t size, size_t first, size_t step)
{
    struct bitmap *b = bitmap_create(size);

    for (size_t i = first; i < size; i += step)
        bitmap_set(b, i);
    return b;
}

#endif
