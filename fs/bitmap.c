/* bitmap.c - bits in 64-bit words, bit i in word i / 64.
 *
 * Thread model: none. Invariant: the bits of the last word beyond `size` are zero, so counting and
 * comparing need no special case for the tail.
 */
#include "bitmap.h"

#define WORD_BITS 64
#define FULL_WORD UINT64_MAX

struct bitmap {
    size_t size;
    uint64_t words[];
};

static size_t word_count(size_t size)
{
    return size / WORD_BITS + (size % WORD_BITS != 0);
}

static uint64_t bit(size_t i)
{
    return UINT64_C(1) << (i % WORD_BITS);
}

static void clear_tail(struct bitmap *b)
{
    if (b->size % WORD_BITS)
        b->words[b->size / WORD_BITS] &= bit(b->size) - 1;
}

struct bitmap *bitmap_create(size_t size)
{
    struct bitmap *b = calloc(1, sizeof *b + word_count(size) * sizeof b->words[0]);

    if (b)
        b->size = size;
    return b;
}

struct bitmap *bitmap_create_prefix(size_t size, size_t ones)
{
    struct bitmap *b = bitmap_create(size);

    if (b)
        bitmap_set_range(b, 0, ones);
    return b;
}

struct bitmap *bitmap_copy(const struct bitmap *b)
{
    struct bitmap *copy = bitmap_create(b->size);

    if (copy)
        memcpy(copy->words, b->words, word_count(b->size) * sizeof b->words[0]);
    return copy;
}

void bitmap_destroy(struct bitmap *b)
{
    free(b);
}

size_t bitmap_size(const struct bitmap *b)
{
    return b->size;
}

void bitmap_set(struct bitmap *b, size_t i)
{
    if (i < b->size)
        b->words[i / WORD_BITS] |= bit(i);
}

void bitmap_clear(struct bitmap *b, size_t i)
{
    if (i < b->size)
        b->words[i / WORD_BITS] &= ~bit(i);
}

bool bitmap_test(const struct bitmap *b, size_t i)
{
    return i < b->size && (b->words[i / WORD_BITS] & bit(i));
}

void bitmap_set_range(struct bitmap *b, size_t start, size_t end)
{
    size_t i = start;

    end = MIN(end, b->size);
    while (i < end) {
        if (i % WORD_BITS == 0 && end - i >= WORD_BITS) {
            b->words[i / WORD_BITS] = FULL_WORD;
            i += WORD_BITS;
        } else {
            bitmap_set(b, i++);
        }
    }
}

void bitmap_set_many(struct bitmap *b, const size_t *indices, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bitmap_set(b, indices[i]);
}

size_t bitmap_popcount(const struct bitmap *b)
{
    size_t n = 0;

    for (size_t w = 0; w < word_count(b->size); w++)
        n += (size_t)__builtin_popcountll(b->words[w]);
    return n;
}

/* Index of the lowest bit that differs from `fill` (all zeros or all ones), at most `size`. */
static size_t run_length(const struct bitmap *b, uint64_t fill)
{
    for (size_t w = 0; w < word_count(b->size); w++) {
        uint64_t other = b->words[w] ^ fill;

        if (other)
            return MIN(w * WORD_BITS + (size_t)__builtin_ctzll(other), b->size);
    }
    return b->size;
}

size_t bitmap_leading_zeros(const struct bitmap *b)
{
    return run_length(b, 0);
}

size_t bitmap_leading_ones(const struct bitmap *b)
{
    return run_length(b, FULL_WORD);
}

ptrdiff_t bitmap_highest(const struct bitmap *b)
{
    for (size_t w = word_count(b->size); w > 0; w--) {
        uint64_t word = b->words[w - 1];

        if (word)
            return (ptrdiff_t)(w * WORD_BITS) - 1 - __builtin_clzll(word);
    }
    return -1;
}

bool bitmap_equal(const struct bitmap *a, const struct bitmap *b)
{
    return a->size == b->size &&
           !memcmp(a->words, b->words, word_count(a->size) * sizeof a->words[0]);
}

struct bitmap *bitmap_and(const struct bitmap *a, const struct bitmap *b)
{
    struct bitmap *r = bitmap_create(MIN(a->size, b->size));

    if (!r)
        return NULL;
    for (size_t w = 0; w < word_count(r->size); w++)
        r->words[w] = a->words[w] & b->words[w];
    clear_tail(r);
    return r;
}

struct bitmap *bitmap_or(const struct bitmap *a, const struct bitmap *b)
{
    struct bitmap *r = bitmap_create(MIN(a->size, b->size));

    if (!r)
        return NULL;
    for (size_t w = 0; w < word_count(r->size); w++)
        r->words[w] = a->words[w] | b->words[w];
    clear_tail(r);
    return r;
}

struct bitmap *bitmap_not(const struct bitmap *a)
{
    struct bitmap *r = bitmap_create(a->size);

    if (!r)
        return NULL;
    for (size_t w = 0; w < word_count(r->size); w++)
        r->words[w] = ~a->words[w];
    clear_tail(r);
    return r;
}

/* The lowest set bit at or after `from`, or `size`. */
static size_t next_set(const struct bitmap *b, size_t from)
{
    for (size_t i = from; i < b->size; i = (i / WORD_BITS + 1) * WORD_BITS) {
        uint64_t word = b->words[i / WORD_BITS] & ~(bit(i) - 1);

        if (word)
            return i / WORD_BITS * WORD_BITS + (size_t)__builtin_ctzll(word);
    }
    return b->size;
}

size_t bitmap_indices(const struct bitmap *b, size_t *out, size_t max)
{
    size_t n = 0;

    for (size_t i = next_set(b, 0); i < b->size; i = next_set(b, i + 1)) {
        if (n < max)
            out[n] = i;
        n++;
    }
    return n;
}

size_t bitmap_gather(const struct bitmap *b, void *const *items, size_t n, void **out)
{
    size_t written = 0;

    for (size_t i = next_set(b, 0); i < b->size && i < n; i = next_set(b, i + 1))
        out[written++] = items[i];
    return written;
}

size_t bitmap_format(const struct bitmap *b, char *buf, size_t len)
{
    size_t n;

    if (len == 0)
        return b->size;
    n = MIN(b->size, len - 1);
    for (size_t i = 0; i < n; i++)
        buf[i] = bitmap_test(b, i) ? '1' : '0';
    buf[n] = '\0';
    return b->size;
}
