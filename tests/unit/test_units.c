/* test_units.c - what people write for sizes and durations, what is refused, and what is printed.
 */
#include "units.h"

#include "suite.h"

#define UNTOUCHED UINT64_C(0xabcdef)

struct sample {
    const char *text;
    uint64_t value;
};

static const struct sample sizes[] = {
    {"0", 0},
    {"4096", 4096},
    {"64K", 64 * KIB},
    {"64k", 64 * KIB},
    {"64KB", 64 * KIB},
    {"64KiB", 64 * KIB},
    {"64kib", 64 * KIB},
    {"512B", 512},
    {"8G", 8 * GIB},
    {"1.5T", 1536 * GIB},
    {"0.5K", 512},
    {"0.1K", 102},
    {"2P", UINT64_C(2) << 50},
    {"15E", UINT64_C(15) << 60},
    {"0.000000000000000000000001G", 0},
    {"18446744073709551615", UINT64_MAX},
};

static const char *const bad_sizes[] = {"",     " 1",  "1 ",    "-1",  "+1",  "K",    ".5G",
                                        "1.",   "1.G", "1..5G", "1Q",  "1 K", "1KK",  "1iB",
                                        "0x10", "1e3", "1K B",  "1%%", "%",   "1,5G", "64Ki"};

static const char *const huge_sizes[] = {"18446744073709551616", "16E", "99999999999999999999999",
                                         "17592186044416M", "1000000P"};

START_TEST(size_accepts)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_size(sizes[_i].text, 0, &v), 0);
    ck_assert_uint_eq(v, sizes[_i].value);
}
END_TEST

START_TEST(size_refuses)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_size(bad_sizes[_i], 100, &v), -EINVAL);
    ck_assert_uint_eq(v, UNTOUCHED);
}
END_TEST

START_TEST(size_too_large)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_size(huge_sizes[_i], 0, &v), -ERANGE);
    ck_assert_uint_eq(v, UNTOUCHED);
}
END_TEST

START_TEST(size_share)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_size("25%", 0, &v), -EINVAL);
    ck_assert_int_eq(units_parse_size("101%", GIB, &v), -ERANGE);
    ck_assert_int_eq(units_parse_size("100.1%", GIB, &v), -ERANGE);
    ck_assert_uint_eq(v, UNTOUCHED);
    ck_assert_int_eq(units_parse_size("25%", 8 * GIB, &v), 0);
    ck_assert_uint_eq(v, 2 * GIB);
    ck_assert_int_eq(units_parse_size("12.5%", 8 * GIB, &v), 0);
    ck_assert_uint_eq(v, GIB);
    ck_assert_int_eq(units_parse_size("100%", UINT64_MAX, &v), 0);
    ck_assert_uint_eq(v, UINT64_MAX);
    ck_assert_int_eq(units_parse_size("50%", 3, &v), 0);
    ck_assert_uint_eq(v, 1);
}
END_TEST

static const struct sample durations[] = {
    {"0", 0},
    {"5", 5 * NSEC_PER_SEC},
    {"5s", 5 * NSEC_PER_SEC},
    {"1.5", 1500 * NSEC_PER_MSEC},
    {"250ms", 250 * NSEC_PER_MSEC},
    {"0.5ms", 500000},
    {"7us", 7000},
    {"7ns", 7},
    {"30m", 1800 * NSEC_PER_SEC},
    {"2h", 7200 * NSEC_PER_SEC},
    {"1d", 86400 * NSEC_PER_SEC},
    {"18446744073709551615ns", UINT64_MAX},
};

static const char *const bad_durations[] = {"",     "s",    "-5s",   "5 s", "5S", "5M",
                                            "5sec", "5min", "1h30m", ".5s", "1.s"};

START_TEST(duration_accepts)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_duration(durations[_i].text, &v), 0);
    ck_assert_uint_eq(v, durations[_i].value);
}
END_TEST

START_TEST(duration_refuses)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_duration(bad_durations[_i], &v), -EINVAL);
    ck_assert_uint_eq(v, UNTOUCHED);
}
END_TEST

START_TEST(duration_too_large)
{
    uint64_t v = UNTOUCHED;

    ck_assert_int_eq(units_parse_duration("213504d", &v), -ERANGE);
    ck_assert_int_eq(units_parse_duration("18446744073.709551616", &v), -ERANGE);
    ck_assert_uint_eq(v, UNTOUCHED);
}
END_TEST

static const struct sample shown_sizes[] = {
    {"0", 0},
    {"512", 512},
    {"1023", 1023},
    {"1K", KIB},
    {"1.5K", 1536},
    {"1.99K", 2047},
    {"64M", 64 * MIB},
    {"1023.99M", GIB - 1},
    {"1.5G", 3 * GIB / 2},
    {"1.25G", 5 * GIB / 4},
    {"15.99E", UINT64_MAX},
    {"1.01M", MIB + MIB / 64},
};

START_TEST(size_format)
{
    char buf[32];

    ck_assert_str_eq(units_format_size(shown_sizes[_i].value, buf, sizeof buf),
                     shown_sizes[_i].text);
}
END_TEST

static const struct sample shown_durations[] = {
    {"0s", 0},
    {"7ns", 7},
    {"1.5us", 1500},
    {"250ms", 250 * NSEC_PER_MSEC},
    {"5s", 5 * NSEC_PER_SEC},
    {"1.5m", 90 * NSEC_PER_SEC},
    {"2h", 7200 * NSEC_PER_SEC},
    {"1d", 86400 * NSEC_PER_SEC},
};

START_TEST(duration_format)
{
    char buf[32];

    ck_assert_str_eq(units_format_duration(shown_durations[_i].value, buf, sizeof buf),
                     shown_durations[_i].text);
}
END_TEST

START_TEST(format_is_cut)
{
    char buf[4] = "xxx";

    ck_assert_ptr_eq(units_format_size(1234567, buf, 3), buf);
    ck_assert_str_eq(buf, "1.");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("units");

    suite_add_loop(s, "size_accepts", TESTS(size_accepts), ARRAY_SIZE(sizes));
    suite_add_loop(s, "size_refuses", TESTS(size_refuses), ARRAY_SIZE(bad_sizes));
    suite_add_loop(s, "size_too_large", TESTS(size_too_large), ARRAY_SIZE(huge_sizes));
    suite_add_loop(s, "duration_accepts", TESTS(duration_accepts), ARRAY_SIZE(durations));
    suite_add_loop(s, "duration_refuses", TESTS(duration_refuses), ARRAY_SIZE(bad_durations));
    suite_add_loop(s, "size_format", TESTS(size_format), ARRAY_SIZE(shown_sizes));
    suite_add_loop(s, "duration_format", TESTS(duration_format), ARRAY_SIZE(shown_durations));
    suite_add(s, "rest", TESTS(size_share, duration_too_large, format_is_cut));
    return suite_run(s);
}
