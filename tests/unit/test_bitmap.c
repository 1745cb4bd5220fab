/* test_bitmap.c - the tests that LMCache has for its Bitmap, so that the two agree bit for bit:
 * bits, counts, leading runs, prefixes. The operators and lists are in test_bitmap_ops.c. */
#include "bitmap_samples.h"
#include "suite.h"

/* --- set, clear, test --- */

START_TEST(set_and_test)
{
    size_t size = sizes[_i];
    struct bitmap *b = stepped(size, 0, 2);

    ck_assert_uint_eq(bitmap_size(b), size);
    for (size_t i = 0; i < size; i++)
        ck_assert(bitmap_test(b, i) == (i % 2 == 0));
    bitmap_destroy(b);
}
END_TEST

START_TEST(clear)
{
    size_t size = sizes[_i];
    struct bitmap *b = full(size);

    for (size_t i = 0; i < size; i += 2)
        bitmap_clear(b, i);
    for (size_t i = 0; i < size; i++)
        ck_assert(bitmap_test(b, i) == (i % 2 == 1));
    bitmap_destroy(b);
}
END_TEST

START_TEST(out_of_range_no_op)
{
    size_t size = sizes[_i];
    struct bitmap *zeros = bitmap_create(size), *ones = full(size);

    bitmap_set(zeros, size);
    bitmap_set(zeros, size + 10);
    bitmap_set(zeros, SIZE_MAX);
    bitmap_clear(ones, size);
    bitmap_clear(ones, size + 10);
    ck_assert_uint_eq(bitmap_popcount(zeros), 0);
    ck_assert_uint_eq(bitmap_popcount(ones), size);
    ck_assert(!bitmap_test(ones, size));
    ck_assert(!bitmap_test(ones, size + 10));
    bitmap_destroy(zeros);
    bitmap_destroy(ones);
}
END_TEST

START_TEST(single_bit_size_one)
{
    struct bitmap *b = bitmap_create(1);

    ck_assert(!bitmap_test(b, 0));
    bitmap_set(b, 0);
    ck_assert(bitmap_test(b, 0));
    bitmap_clear(b, 0);
    ck_assert(!bitmap_test(b, 0));
    bitmap_destroy(b);
}
END_TEST

START_TEST(size_zero)
{
    struct bitmap *b = bitmap_create(0), *inverted = bitmap_not(b);
    char text[4] = "x";

    bitmap_set(b, 0);
    ck_assert_uint_eq(bitmap_size(b), 0);
    ck_assert_uint_eq(bitmap_popcount(b), 0);
    ck_assert_uint_eq(bitmap_leading_zeros(b), 0);
    ck_assert_uint_eq(bitmap_leading_ones(b), 0);
    ck_assert_int_eq(bitmap_highest(b), -1);
    ck_assert_uint_eq(bitmap_format(b, text, sizeof text), 0);
    ck_assert_str_eq(text, "");
    ck_assert(bitmap_equal(b, inverted));
    bitmap_destroy(b);
    bitmap_destroy(inverted);
    bitmap_destroy(NULL);
}
END_TEST

START_TEST(set_range)
{
    size_t size = sizes[_i];

    for (size_t start = 0; start <= size; start++) {
        for (size_t end = 0; end <= size + 3; end++) {
            struct bitmap *b = bitmap_create(size);
            size_t wrong = 0;

            bitmap_set_range(b, start, end);
            for (size_t i = 0; i < size; i++)
                wrong += bitmap_test(b, i) != (i >= start && i < end);
            ck_assert_uint_eq(wrong, 0);
            bitmap_destroy(b);
        }
    }
}
END_TEST

START_TEST(set_many)
{
    size_t size = sizes[_i];
    const size_t indices[] = {0, size - 1, size / 2, size, SIZE_MAX, 0};
    struct bitmap *b = bitmap_create(size);

    bitmap_set_many(b, indices, ARRAY_SIZE(indices));
    for (size_t i = 0; i < size; i++)
        ck_assert(bitmap_test(b, i) == (i == 0 || i == size - 1 || i == size / 2));
    bitmap_destroy(b);
}
END_TEST

/* --- popcount --- */

START_TEST(popcount_all_zeros)
{
    struct bitmap *b = bitmap_create(sizes[_i]);

    ck_assert_uint_eq(bitmap_popcount(b), 0);
    bitmap_destroy(b);
}
END_TEST

START_TEST(popcount_all_ones)
{
    struct bitmap *b = full(sizes[_i]);

    ck_assert_uint_eq(bitmap_popcount(b), sizes[_i]);
    bitmap_destroy(b);
}
END_TEST

START_TEST(popcount_partial)
{
    struct bitmap *b = stepped(sizes[_i], 0, 2);

    ck_assert_uint_eq(bitmap_popcount(b), (sizes[_i] + 1) / 2);
    bitmap_destroy(b);
}
END_TEST

START_TEST(popcount_random)
{
    size_t size = sizes[_i], expected = 0;
    struct bitmap *b = bitmap_create(size);
    uint32_t x = 12345;

    for (int k = 0; k < 5; k++) {
        size_t i;

        x = x * 1103515245 + 12345;
        i = (x >> 16) % size;
        expected += !bitmap_test(b, i);
        bitmap_set(b, i);
    }
    ck_assert_uint_eq(bitmap_popcount(b), expected);
    bitmap_destroy(b);
}
END_TEST

/* --- leading runs --- */

START_TEST(leading_zeros_all_zeros)
{
    struct bitmap *b = bitmap_create(sizes[_i]);

    ck_assert_uint_eq(bitmap_leading_zeros(b), sizes[_i]);
    bitmap_destroy(b);
}
END_TEST

START_TEST(leading_zeros_first_bit)
{
    struct bitmap *b = bitmap_create(sizes[_i]);

    bitmap_set(b, 0);
    ck_assert_uint_eq(bitmap_leading_zeros(b), 0);
    bitmap_destroy(b);
}
END_TEST

/* With size 1, set(1) does nothing and the answer, the size, is 1 as well. */
START_TEST(leading_zeros_second_bit_only)
{
    struct bitmap *b = bitmap_create(sizes[_i]);

    bitmap_set(b, 1);
    ck_assert_uint_eq(bitmap_leading_zeros(b), 1);
    bitmap_destroy(b);
}
END_TEST

START_TEST(leading_zeros_every_bit)
{
    size_t size = sizes[_i];

    for (size_t i = 0; i < size; i++) {
        struct bitmap *b = bitmap_create(size);

        bitmap_set_range(b, i, size);
        ck_assert_uint_eq(bitmap_leading_zeros(b), i);
        bitmap_destroy(b);
    }
}
END_TEST

START_TEST(leading_zeros_middle_and_last)
{
    struct bitmap *middle = bitmap_create(9), *last = bitmap_create(9);

    bitmap_set_range(middle, 3, 6);
    bitmap_set(last, 8);
    ck_assert_uint_eq(bitmap_leading_zeros(middle), 3);
    ck_assert_uint_eq(bitmap_leading_zeros(last), 8);
    bitmap_destroy(middle);
    bitmap_destroy(last);
}
END_TEST

START_TEST(leading_ones_all)
{
    struct bitmap *ones = full(sizes[_i]), *zeros = bitmap_create(sizes[_i]);

    ck_assert_uint_eq(bitmap_leading_ones(ones), sizes[_i]);
    ck_assert_uint_eq(bitmap_leading_ones(zeros), 0);
    bitmap_destroy(ones);
    bitmap_destroy(zeros);
}
END_TEST

START_TEST(leading_ones_first_zero)
{
    size_t size = sizes[_i];

    for (size_t i = 0; i < size; i++) {
        struct bitmap *b = full(size);

        bitmap_clear(b, i);
        ck_assert_uint_eq(bitmap_leading_ones(b), i);
        bitmap_destroy(b);
    }
}
END_TEST

START_TEST(leading_ones_partial_byte)
{
    struct bitmap *b = full(10);

    ck_assert_uint_eq(bitmap_leading_ones(b), 10);
    bitmap_clear(b, 5);
    ck_assert_uint_eq(bitmap_leading_ones(b), 5);
    bitmap_clear(b, 3);
    ck_assert_uint_eq(bitmap_leading_ones(b), 3);
    bitmap_destroy(b);
}
END_TEST

START_TEST(highest)
{
    size_t size = sizes[_i];
    struct bitmap *b = bitmap_create(size);

    ck_assert_int_eq(bitmap_highest(b), -1);
    for (size_t i = 0; i < size; i++) {
        bitmap_set(b, i);
        ck_assert_int_eq(bitmap_highest(b), (ptrdiff_t)i);
    }
    bitmap_destroy(b);
}
END_TEST

/* --- prefix, copy, equality --- */

START_TEST(prefix)
{
    size_t size = sizes[_i];

    for (size_t ones = 0; ones <= size + 10; ones++) {
        struct bitmap *b = bitmap_create_prefix(size, ones), *manual = bitmap_create(size);

        for (size_t i = 0; i < ones; i++)
            bitmap_set(manual, i);
        ck_assert(bitmap_equal(b, manual));
        ck_assert_uint_eq(bitmap_popcount(b), MIN(ones, size));
        ck_assert_uint_eq(bitmap_leading_ones(b), MIN(ones, size));
        bitmap_destroy(b);
        bitmap_destroy(manual);
    }
}
END_TEST

START_TEST(prefix_of_nothing)
{
    struct bitmap *b = bitmap_create_prefix(0, 0);

    ck_assert_uint_eq(bitmap_size(b), 0);
    ck_assert_uint_eq(bitmap_popcount(b), 0);
    bitmap_destroy(b);
}
END_TEST

START_TEST(round_trip_at_every_position)
{
    size_t size = sizes[_i];
    struct bitmap *b = bitmap_create(size);

    for (size_t i = 0; i < size; i++) {
        bitmap_set(b, i);
        ck_assert(bitmap_test(b, i));
        ck_assert_uint_eq(bitmap_popcount(b), 1);
        bitmap_clear(b, i);
        ck_assert(!bitmap_test(b, i));
    }
    ck_assert_uint_eq(bitmap_popcount(b), 0);
    bitmap_destroy(b);
}
END_TEST

START_TEST(copy_is_independent)
{
    struct bitmap *b = stepped(sizes[_i], 0, 2), *copy = bitmap_copy(b);

    ck_assert(bitmap_equal(b, copy));
    bitmap_clear(copy, 0);
    ck_assert(!bitmap_equal(b, copy));
    ck_assert(bitmap_test(b, 0));
    bitmap_destroy(b);
    bitmap_destroy(copy);
}
END_TEST

START_TEST(equality_needs_equal_size)
{
    struct bitmap *a = bitmap_create(8), *b = bitmap_create(9);

    ck_assert(!bitmap_equal(a, b));
    bitmap_destroy(a);
    bitmap_destroy(b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bitmap");
    size_t n = ARRAY_SIZE(sizes);

    suite_add_loop(s, "set_clear_test",
                   TESTS(set_and_test, clear, out_of_range_no_op, set_range, set_many), n);
    suite_add(s, "edges", TESTS(single_bit_size_one, size_zero));
    suite_add_loop(s, "popcount",
                   TESTS(popcount_all_zeros, popcount_all_ones, popcount_partial, popcount_random),
                   n);
    suite_add_loop(s, "leading",
                   TESTS(leading_zeros_all_zeros, leading_zeros_first_bit,
                         leading_zeros_second_bit_only, leading_zeros_every_bit, leading_ones_all,
                         leading_ones_first_zero, highest),
                   n);
    suite_add(s, "leading_fixed", TESTS(leading_zeros_middle_and_last, leading_ones_partial_byte));
    suite_add_loop(s, "whole", TESTS(prefix, round_trip_at_every_position, copy_is_independent), n);
    suite_add(s, "whole_fixed", TESTS(prefix_of_nothing, equality_needs_equal_size));
    return suite_run(s);
}
