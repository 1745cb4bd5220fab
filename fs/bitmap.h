/* bitmap.h - bit per key: results of lookups and loads. Level 0.
 *
 * Semantics are those of LMCache's Bitmap (reference l2-contract.md section 3): indexes out of
 * range are silent no-ops or false, operators truncate to the shorter operand, "leading" means from
 * index 0, text form is '0'/'1' with bit 0 leftmost. No locking. Ownership: bitmap_create /
 * bitmap_destroy.
 */
#ifndef L2FS_BITMAP_H
#define L2FS_BITMAP_H

#include "base.h"

struct bitmap;

struct bitmap *bitmap_create(size_t size); /* all zero; size 0 allowed; NULL on no memory */
struct bitmap *bitmap_create_prefix(size_t size, size_t ones); /* first min(ones,size) set */
struct bitmap *bitmap_copy(const struct bitmap *b);
void bitmap_destroy(struct bitmap *b); /* NULL is fine */

size_t bitmap_size(const struct bitmap *b);
void bitmap_set(struct bitmap *b, size_t i);
void bitmap_clear(struct bitmap *b, size_t i);
bool bitmap_test(const struct bitmap *b, size_t i);
void bitmap_set_range(struct bitmap *b, size_t start, size_t end); /* half open, end clamped */
void bitmap_set_many(struct bitmap *b, const size_t *indices, size_t n);
size_t bitmap_popcount(const struct bitmap *b);
size_t bitmap_leading_zeros(const struct bitmap *b);               /* = size when none is set */
size_t bitmap_leading_ones(const struct bitmap *b);                /* = size when all are set */
ptrdiff_t bitmap_highest(const struct bitmap *b);                  /* -1 when none is set */
bool bitmap_equal(const struct bitmap *a, const struct bitmap *b); /* size and bits */

/* New bitmaps of min(size a, size b) bits; NULL on no memory. */
struct bitmap *bitmap_and(const struct bitmap *a, const struct bitmap *b);
struct bitmap *bitmap_or(const struct bitmap *a, const struct bitmap *b);
struct bitmap *bitmap_not(const struct bitmap *a);

/* Writes the ascending indexes of the set bits, at most `max`; returns how many are set. */
size_t bitmap_indices(const struct bitmap *b, size_t *out, size_t max);
/* out[k] = items[index of the k-th set bit]; returns how many were written (items has n). */
size_t bitmap_gather(const struct bitmap *b, void *const *items, size_t n, void **out);
/* '0'/'1' text into buf of `len` bytes (NUL terminated, cut); returns size. */
size_t bitmap_format(const struct bitmap *b, char *buf, size_t len);

#endif
