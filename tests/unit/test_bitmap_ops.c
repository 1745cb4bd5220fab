/* test_bitmap_ops.c - LMCache's tests for what makes something new of a Bitmap: and, or, not, text,
 * index lists, gather. */
#include "bitmap_samples.h"
#include "suite.h"

/* --- and, or, not --- */

START_TEST(and_disjoint)
{
    struct bitmap *even = stepped(sizes[_i], 0, 2), *odd = stepped(sizes[_i], 1, 2);
    struct bitmap *r = bitmap_and(even, odd);

    ck_assert_uint_eq(bitmap_popcount(r), 0);
    ck_assert_uint_eq(bitmap_size(r), sizes[_i]);
    bitmap_destroy(even);
    bitmap_destroy(odd);
    bitmap_destroy(r);
}
END_TEST

START_TEST(and_intersection)
{
    struct bitmap *a = stepped(sizes[_i], 0, 2), *b = stepped(sizes[_i], 0, 3);
    struct bitmap *r = bitmap_and(a, b);

    for (size_t i = 0; i < sizes[_i]; i++)
        ck_assert(bitmap_test(r, i) == (i % 6 == 0));
    bitmap_destroy(a);
    bitmap_destroy(b);
    bitmap_destroy(r);
}
END_TEST

START_TEST(and_different_sizes)
{
    struct bitmap *a = full(10), *b = full(5);
    struct bitmap *ab = bitmap_and(a, b), *ba = bitmap_and(b, a);

    ck_assert_uint_eq(bitmap_size(ab), 5);
    ck_assert_uint_eq(bitmap_popcount(ab), 5);
    ck_assert(bitmap_equal(ab, ba));
    bitmap_destroy(a);
    bitmap_destroy(b);
    bitmap_destroy(ab);
    bitmap_destroy(ba);
}
END_TEST

START_TEST(or_disjoint_and_overlap)
{
    struct bitmap *even = stepped(sizes[_i], 0, 2), *odd = stepped(sizes[_i], 1, 2);
    struct bitmap *all = bitmap_or(even, odd), *same = bitmap_or(even, even);

    ck_assert_uint_eq(bitmap_leading_ones(all), sizes[_i]);
    ck_assert(bitmap_equal(same, even));
    bitmap_destroy(even);
    bitmap_destroy(odd);
    bitmap_destroy(all);
    bitmap_destroy(same);
}
END_TEST

/* The bits of the longer operand beyond the shorter one must not leak into the result. */
START_TEST(or_different_sizes)
{
    struct bitmap *a = full(10), *b = bitmap_create(5);
    struct bitmap *ab = bitmap_or(a, b), *ba = bitmap_or(b, a);

    ck_assert_uint_eq(bitmap_size(ab), 5);
    ck_assert_uint_eq(bitmap_popcount(ab), 5);
    ck_assert_int_eq(bitmap_highest(ab), 4);
    ck_assert(bitmap_equal(ab, ba));
    bitmap_destroy(a);
    bitmap_destroy(b);
    bitmap_destroy(ab);
    bitmap_destroy(ba);
}
END_TEST

START_TEST(or_both_empty)
{
    struct bitmap *a = bitmap_create(sizes[_i]), *r = bitmap_or(a, a);

    ck_assert_uint_eq(bitmap_popcount(r), 0);
    bitmap_destroy(a);
    bitmap_destroy(r);
}
END_TEST

START_TEST(not_zeros_and_ones)
{
    struct bitmap *zeros = bitmap_create(sizes[_i]), *ones = full(sizes[_i]);
    struct bitmap *not_zeros = bitmap_not(zeros), *not_ones = bitmap_not(ones);

    ck_assert(bitmap_equal(not_zeros, ones));
    ck_assert(bitmap_equal(not_ones, zeros));
    bitmap_destroy(zeros);
    bitmap_destroy(ones);
    bitmap_destroy(not_zeros);
    bitmap_destroy(not_ones);
}
END_TEST

START_TEST(not_flips_each_bit)
{
    size_t size = sizes[_i];
    struct bitmap *b = stepped(size, 0, 3), *before = bitmap_copy(b);
    struct bitmap *inverted = bitmap_not(b), *twice = bitmap_not(inverted);

    for (size_t i = 0; i < size; i++)
        ck_assert(bitmap_test(inverted, i) != bitmap_test(b, i));
    ck_assert(bitmap_equal(b, before));
    ck_assert(bitmap_equal(b, twice));
    ck_assert_uint_eq(bitmap_popcount(b) + bitmap_popcount(inverted), size);
    bitmap_destroy(b);
    bitmap_destroy(before);
    bitmap_destroy(inverted);
    bitmap_destroy(twice);
}
END_TEST

START_TEST(not_with_and_or)
{
    struct bitmap *b = stepped(sizes[_i], 0, 3), *inverted = bitmap_not(b);
    struct bitmap *none = bitmap_and(b, inverted), *all = bitmap_or(b, inverted);

    ck_assert_uint_eq(bitmap_popcount(none), 0);
    ck_assert_uint_eq(bitmap_popcount(all), sizes[_i]);
    bitmap_destroy(b);
    bitmap_destroy(inverted);
    bitmap_destroy(none);
    bitmap_destroy(all);
}
END_TEST

/* --- text --- */

START_TEST(format_by_index)
{
    size_t size = sizes[_i];
    struct bitmap *b = stepped(size, 0, 3);
    char text[256];

    ck_assert_uint_eq(bitmap_format(b, text, sizeof text), size);
    ck_assert_uint_eq(strlen(text), size);
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(text[i], i % 3 ? '0' : '1');
    bitmap_destroy(b);
}
END_TEST

START_TEST(format_is_cut)
{
    struct bitmap *b = full(10);
    char text[8] = "zzzzzzz";

    ck_assert_uint_eq(bitmap_format(b, text, 4), 10);
    ck_assert_str_eq(text, "111");
    ck_assert_int_eq(text[4], 'z');
    ck_assert_uint_eq(bitmap_format(b, NULL, 0), 10);
    bitmap_destroy(b);
}
END_TEST

/* --- indices, gather --- */

static void check_indices(const struct bitmap *b)
{
    size_t out[256], n = bitmap_indices(b, out, ARRAY_SIZE(out)), k = 0;

    ck_assert_uint_eq(n, bitmap_popcount(b));
    for (size_t i = 0; i < bitmap_size(b); i++) {
        if (bitmap_test(b, i))
            ck_assert_uint_eq(out[k++], i);
    }
    ck_assert_uint_eq(k, n);
}

START_TEST(indices)
{
    size_t size = sizes[_i];
    struct bitmap *cases[] = {bitmap_create(size), full(size), stepped(size, 0, 2),
                              stepped(size, 3, 7), stepped(size, size - 1, 1)};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_indices(cases[i]);
        bitmap_destroy(cases[i]);
    }
}
END_TEST

START_TEST(indices_are_cut)
{
    struct bitmap *b = full(10);
    size_t out[4] = {99, 99, 99, 99};

    ck_assert_uint_eq(bitmap_indices(b, out, 3), 10);
    ck_assert_uint_eq(out[2], 2);
    ck_assert_uint_eq(out[3], 99);
    bitmap_destroy(b);
}
END_TEST

START_TEST(gather_keeps_order)
{
    size_t size = sizes[_i], n;
    struct bitmap *b = stepped(size, 0, 2);
    char cells[256];
    void *items[256], *out[256];

    for (size_t i = 0; i < size; i++)
        items[i] = &cells[i];
    n = bitmap_gather(b, items, size, out);
    ck_assert_uint_eq(n, (size + 1) / 2);
    for (size_t k = 0; k < n; k++)
        ck_assert_ptr_eq(out[k], &cells[2 * k]);
    bitmap_destroy(b);
}
END_TEST

START_TEST(gather_all_none_single)
{
    struct bitmap *all = full(9), *none = bitmap_create(9), *single = bitmap_create(9);
    char cells[9];
    void *items[9], *out[9];

    for (size_t i = 0; i < 9; i++)
        items[i] = &cells[i];
    bitmap_set(single, 8);
    ck_assert_uint_eq(bitmap_gather(all, items, 9, out), 9);
    ck_assert_mem_eq(out, items, sizeof items);
    ck_assert_uint_eq(bitmap_gather(none, items, 9, out), 0);
    ck_assert_uint_eq(bitmap_gather(single, items, 9, out), 1);
    ck_assert_ptr_eq(out[0], &cells[8]);
    ck_assert_uint_eq(bitmap_gather(all, items, 4, out), 4);
    bitmap_destroy(all);
    bitmap_destroy(none);
    bitmap_destroy(single);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bitmap_ops");
    size_t n = ARRAY_SIZE(sizes);

    suite_add_loop(s, "operators",
                   TESTS(and_disjoint, and_intersection, or_disjoint_and_overlap, or_both_empty,
                         not_zeros_and_ones, not_flips_each_bit, not_with_and_or),
                   n);
    suite_add(s, "operators_sizes", TESTS(and_different_sizes, or_different_sizes));
    suite_add_loop(s, "text_and_lists", TESTS(format_by_index, indices, gather_keeps_order), n);
    suite_add(s, "cuts", TESTS(format_is_cut, indices_are_cut, gather_all_none_single));
    return suite_run(s);
}
