/* units.c - decimal numbers with a unit, exactly, without floating point.
 *
 * Thread model: pure functions. A number is kept as whole + fraction / scale and scaled by the unit
 * in 128 bits, so "1.5T" is exact and an overflow is seen. Formatting cuts (never rounds up), so
 * what is printed can be read back and is never above the true value.
 */
#include "units.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define MAX_FRACTION UINT64_C(1000000000000000000) /* digits beyond 18 are cut */

__extension__ typedef unsigned __int128 u128;

struct decimal {
    uint64_t whole;
    uint64_t fraction;
    uint64_t scale; /* power of ten */
};

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"d", 86400 * NSEC_PER_SEC},
    {"h", 3600 * NSEC_PER_SEC},
    {"m", 60 * NSEC_PER_SEC},
    {"s", NSEC_PER_SEC},
    {"ms", NSEC_PER_MSEC},
    {"us", 1000},
    {"ns", 1},
};

/* Reads "digits[.digits]" and leaves `*text` behind it. */
static int parse_decimal(const char **text, struct decimal *out)
{
    struct decimal d = {.scale = 1};
    const char *p = *text;

    if (!isdigit((unsigned char)*p))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++) {
        if (__builtin_mul_overflow(d.whole, 10, &d.whole) ||
            __builtin_add_overflow(d.whole, (uint64_t)(*p - '0'), &d.whole))
            return -ERANGE;
    }
    if (*p == '.') {
        if (!isdigit((unsigned char)*++p))
            return -EINVAL;
        for (; isdigit((unsigned char)*p); p++) {
            if (d.scale < MAX_FRACTION) {
                d.fraction = d.fraction * 10 + (uint64_t)(*p - '0');
                d.scale *= 10;
            }
        }
    }
    *text = p;
    *out = d;
    return 0;
}

/* value * factor / divisor, cut to an integer. */
static int scale(const struct decimal *d, uint64_t factor, uint64_t divisor, uint64_t *out)
{
    u128 v = (u128)d->whole * factor / divisor;
    u128 rest = (u128)d->whole * factor % divisor;

    v += (rest + (u128)d->fraction * factor / d->scale) / divisor;
    if (v > UINT64_MAX)
        return -ERANGE;
    *out = (uint64_t)v;
    return 0;
}

/* "", "B", "K", "KB", "KiB", ... -> factor, 0 when unknown. */
static uint64_t size_factor(const char *unit)
{
    static const char letters[] = "KMGTPE";
    const char *found = *unit ? strchr(letters, toupper((unsigned char)*unit)) : NULL;
    uint64_t factor = 1;

    if (found) {
        factor = KIB << (10 * (found - letters));
        unit++;
        if (!strcasecmp(unit, "ib"))
            return factor;
    }
    return *unit == '\0' || !strcasecmp(unit, "b") ? factor : 0;
}

static int parse_share(const struct decimal *d, uint64_t whole, uint64_t *bytes)
{
    if (whole == 0)
        return -EINVAL;
    if (d->whole > 100 || (d->whole == 100 && d->fraction))
        return -ERANGE;
    return scale(d, whole, 100, bytes);
}

int units_parse_size(const char *text, uint64_t whole, uint64_t *bytes)
{
    struct decimal d;
    uint64_t factor;
    int rc = parse_decimal(&text, &d);

    if (rc)
        return rc;
    if (!strcmp(text, "%"))
        return parse_share(&d, whole, bytes);
    factor = size_factor(text);
    return factor ? scale(&d, factor, 1, bytes) : -EINVAL;
}

int units_parse_duration(const char *text, uint64_t *ns)
{
    struct decimal d;
    int rc = parse_decimal(&text, &d);

    if (rc)
        return rc;
    if (*text == '\0')
        return scale(&d, NSEC_PER_SEC, 1, ns);
    for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
        if (!strcmp(text, duration_units[i].name))
            return scale(&d, duration_units[i].factor, 1, ns);
    }
    return -EINVAL;
}

static const char *format(uint64_t value, const struct unit *unit, char *buf, size_t len)
{
    unsigned hundredths = (unsigned)((u128)(value % unit->factor) * 100 / unit->factor);
    unsigned long long whole = value / unit->factor;

    if (hundredths == 0)
        snprintf(buf, len, "%llu%s", whole, unit->name);
    else if (hundredths % 10 == 0)
        snprintf(buf, len, "%llu.%u%s", whole, hundredths / 10, unit->name);
    else
        snprintf(buf, len, "%llu.%02u%s", whole, hundredths, unit->name);
    return buf;
}

/* Formats in the first (largest) unit that is not above the value. */
static const char *format_in(uint64_t value, const struct unit *units, char *buf, size_t len)
{
    while (units->factor > 1 && units->factor > value)
        units++;
    return format(value, units, buf, len);
}

const char *units_format_size(uint64_t bytes, char *buf, size_t len)
{
    static const struct unit units[] = {
        {"E", KIB << 50}, {"P", KIB << 40}, {"T", KIB << 30}, {"G", GIB},
        {"M", MIB},       {"K", KIB},       {"", 1},
    };

    return format_in(bytes, units, buf, len);
}

const char *units_format_duration(uint64_t ns, char *buf, size_t len)
{
    if (ns == 0)
        return format(0, &(struct unit){"s", NSEC_PER_SEC}, buf, len);
    return format_in(ns, duration_units, buf, len);
}
