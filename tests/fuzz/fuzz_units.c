/* fuzz_units.c - sizes and durations.
 *
 * Invariants: a number printed in digits reads back exactly; what is formatted reads back to no
 * more than the value and to at least 99 % of it less one unit of the last digit; a share is never
 * above the whole; a refused text leaves the output alone.
 */
#include "units.h"

#include <inttypes.h>
#include <stdio.h>

#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two decimals are cut, so that less than 1/100 of the unit, and so of the value, may be lost. */
static void check_close(uint64_t back, uint64_t value)
{
    CHECK(back <= value);
    CHECK(value - back <= value / 100 + 1);
}

static void check_size(uint64_t value)
{
    char buf[32];
    uint64_t back;

    snprintf(buf, sizeof buf, "%" PRIu64, value);
    CHECK(!units_parse_size(buf, 0, &back) && back == value);
    snprintf(buf, sizeof buf, "%" PRIu64 "B", value);
    CHECK(!units_parse_size(buf, 0, &back) && back == value);
    CHECK(!units_parse_size(units_format_size(value, buf, sizeof buf), 0, &back));
    check_close(back, value);
}

static void check_duration(uint64_t value)
{
    char buf[32];
    uint64_t back;

    snprintf(buf, sizeof buf, "%" PRIu64 "ns", value);
    CHECK(!units_parse_duration(buf, &back) && back == value);
    CHECK(!units_parse_duration(units_format_duration(value, buf, sizeof buf), &back));
    check_close(back, value);
}

static void check_cut(uint64_t value, size_t len)
{
    char whole[32], cut[32];

    memset(cut, '#', sizeof cut);
    len = 1 + len % (sizeof cut - 1);
    units_format_size(value, whole, sizeof whole);
    units_format_size(value, cut, len);
    CHECK(!strncmp(whole, cut, len - 1));
    CHECK(memchr(cut, '\0', len) && cut[len] == '#');
}

static void check_text(const char *text, uint64_t whole)
{
    uint64_t bytes = UNTOUCHED, ns = UNTOUCHED;
    int rc = units_parse_size(text, whole, &bytes);

    CHECK(rc == 0 || rc == -EINVAL || rc == -ERANGE);
    CHECK(rc == 0 || bytes == UNTOUCHED);
    if (rc == 0) {
        CHECK(*text >= '0' && *text <= '9');
        check_size(bytes);
        if (strchr(text, '%'))
            CHECK(whole > 0 && bytes <= whole);
    }
    rc = units_parse_duration(text, &ns);
    CHECK(rc == 0 || rc == -EINVAL || rc == -ERANGE);
    CHECK(rc == 0 || ns == UNTOUCHED);
    if (rc == 0)
        check_duration(ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t number = 0;
    char text[256];

    if (size < sizeof number || size - sizeof number >= sizeof text)
        return -1;
    memcpy(&number, data, sizeof number);
    check_size(number);
    check_duration(number);
    check_cut(number, size);
    memcpy(text, data + sizeof number, size - sizeof number);
    text[size - sizeof number] = '\0';
    check_text(text, number);
    return 0;
}
