/* conf_value.c - one option's value from text or JSON into its member, and back to JSON.
 *
 * Thread model: pure functions on the caller's struct. Text and JSON come in by two doors that read
 * a value of the option's type and hand it to the same store_* functions, which check range and
 * meaning. Everything refused ends in conf_value_reject, the one place that words a bad value.
 */
#include "conf_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "units.h"

/* --- what is allowed, in words --- */

void conf_value_choices(struct text *t, const struct conf_opt *o, const char *separator)
{
    for (size_t i = 0; o->choices[i]; i++)
        text_printf(t, "%s%s", i ? separator : "", o->choices[i]);
}

static void put_bound(struct text *t, enum conf_type type, double bound)
{
    char buf[32];

    if (type == CONF_SIZE)
        text_puts(t, units_format_size((uint64_t)bound, buf, sizeof buf));
    else
        text_printf(t, "%.15g%s", bound, type == CONF_DURATION ? "s" : "");
}

static void put_range(struct text *t, const struct conf_opt *o)
{
    if (o->min == 0 && o->max == 0)
        return;
    text_puts(t, " from ");
    put_bound(t, o->type, o->min);
    if (o->max < o->min) {
        text_puts(t, " up");
    } else {
        text_puts(t, " to ");
        put_bound(t, o->type, o->max);
    }
}

void conf_value_allowed(struct text *t, const struct conf_opt *o)
{
    static const char *const words[] = {
        [CONF_BOOL] = "true or false (yes/no, on/off, 1/0)",
        [CONF_INT] = "a whole number",
        [CONF_DOUBLE] = "a number",
        [CONF_SIZE] = "a size such as 64M or 1.5G",
        [CONF_GIB] = "a positive number of GiB",
        [CONF_DURATION] = "a duration such as 250ms, 5s or 30m",
        [CONF_STRING] = "text",
        [CONF_ENUM] = "one of ",
        [CONF_JSON] = "a JSON value, in the JSON form of the options only",
    };

    text_puts(t, words[o->type]);
    if (o->type == CONF_ENUM)
        conf_value_choices(t, o, ", ");
    else
        put_range(t, o);
}

static size_t count_choices(const struct conf_opt *o)
{
    size_t n = 0;

    while (o->choices[n])
        n++;
    return n;
}

int conf_value_reject(const struct conf_setting *s)
{
    const struct conf_opt *o = s->opt;
    const char *near = NULL;

    if (!s->err)
        return -EINVAL;
    if (s->shown)
        text_printf(s->err, "option %s: \"%.*s\" is not allowed, expected ", o->name,
                    CONF_SHOWN_MAX, s->shown);
    else
        text_printf(s->err, "option %s: needs a value, expected ", o->name);
    conf_value_allowed(s->err, o);
    if (o->type == CONF_ENUM && s->shown)
        near = text_nearest(s->shown, o->choices, count_choices(o));
    if (near)
        text_printf(s->err, "; did you mean \"%s\"?", near);
    return -EINVAL;
}

/* --- storing a value of the right type --- */

static bool in_range(const struct conf_opt *o, double v)
{
    if (o->min == 0 && o->max == 0)
        return true;
    return v >= o->min && (v <= o->max || o->max < o->min);
}

static int store_int(const struct conf_setting *s, int64_t v)
{
    if (!in_range(s->opt, (double)v))
        return conf_value_reject(s);
    *(int64_t *)s->member = v;
    return 0;
}

static int store_double(const struct conf_setting *s, double v)
{
    if (!isfinite(v) || !in_range(s->opt, v))
        return conf_value_reject(s);
    *(double *)s->member = v;
    return 0;
}

static int store_size(const struct conf_setting *s, uint64_t v)
{
    if (!in_range(s->opt, (double)v))
        return conf_value_reject(s);
    *(uint64_t *)s->member = v;
    return 0;
}

static int store_gib(const struct conf_setting *s, double gib)
{
    double bytes = gib * (double)GIB;

    if (!isfinite(bytes) || bytes >= 0x1p64 || bytes < 0 || !in_range(s->opt, gib))
        return conf_value_reject(s);
    if (bytes < 1 && s->opt->min == 0)
        return conf_value_reject(s);
    *(uint64_t *)s->member = (uint64_t)bytes;
    return 0;
}

static int store_duration(const struct conf_setting *s, uint64_t ns)
{
    if (!in_range(s->opt, (double)ns / 1e9))
        return conf_value_reject(s);
    *(uint64_t *)s->member = ns;
    return 0;
}

static int store_string(const struct conf_setting *s, const char *v)
{
    char *copy = v ? strdup(v) : NULL;

    if (v && !copy)
        return -ENOMEM;
    free(*(char **)s->member);
    *(char **)s->member = copy;
    return 0;
}

static int store_enum(const struct conf_setting *s, const char *v)
{
    for (int i = 0; s->opt->choices[i]; i++) {
        if (!strcmp(v, s->opt->choices[i])) {
            *(int *)s->member = i;
            return 0;
        }
    }
    return conf_value_reject(s);
}

static int store_json(const struct conf_setting *s, json_t *v)
{
    json_t **member = s->member;

    json_decref(*member);
    *member = json_is_null(v) ? NULL : json_incref(v);
    return 0;
}

/* --- text --- */

static int text_bool(const struct conf_setting *s, const char *v)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (!strcmp(v, yes[i]) || !strcmp(v, no[i])) {
            *(bool *)s->member = !strcmp(v, yes[i]);
            return 0;
        }
    }
    return conf_value_reject(s);
}

static int text_int(const struct conf_setting *s, const char *v)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(v, &end, 10);
    if (errno || end == v || *end || strchr(" \t\n\v\f\r+", *v))
        return conf_value_reject(s);
    return store_int(s, n);
}

/* A number without the leading space, hex, "inf" and "nan" that strtod would take. */
static int text_number(const struct conf_setting *s, const char *v,
                       int (*store)(const struct conf_setting *s, double n))
{
    char *end;
    double n;

    if (!*v || v[strspn(v, "0123456789.eE+-")])
        return conf_value_reject(s);
    n = strtod(v, &end);
    return *end ? conf_value_reject(s) : store(s, n);
}

static int text_size(const struct conf_setting *s, const char *v)
{
    uint64_t bytes;

    return units_parse_size(v, s->whole, &bytes) ? conf_value_reject(s) : store_size(s, bytes);
}

static int text_duration(const struct conf_setting *s, const char *v)
{
    uint64_t ns;

    return units_parse_duration(v, &ns) ? conf_value_reject(s) : store_duration(s, ns);
}

int conf_value_set_text(const struct conf_setting *s, const char *v)
{
    switch (s->opt->type) {
    case CONF_BOOL: return text_bool(s, v);
    case CONF_INT: return text_int(s, v);
    case CONF_DOUBLE: return text_number(s, v, store_double);
    case CONF_SIZE: return text_size(s, v);
    case CONF_GIB: return text_number(s, v, store_gib);
    case CONF_DURATION: return text_duration(s, v);
    case CONF_STRING: return store_string(s, v);
    case CONF_ENUM: return store_enum(s, v);
    case CONF_JSON: return conf_value_reject(s);
    }
    return -EINVAL;
}

/* --- JSON --- */

static bool fits_u64(double v)
{
    return v >= 0 && v < 0x1p64;
}

static int json_size(const struct conf_setting *s, json_t *v)
{
    double n = json_number_value(v);

    if (json_is_integer(v) && json_integer_value(v) >= 0)
        return store_size(s, (uint64_t)json_integer_value(v));
    if (json_is_real(v) && fits_u64(n) && (double)(uint64_t)n == n)
        return store_size(s, (uint64_t)n);
    return conf_value_reject(s);
}

/* The nearest nanosecond; false when negative or too large. */
static bool seconds_to_ns(double seconds, uint64_t *ns)
{
    double v = seconds * 1e9 + 0.5;

    if (seconds < 0 || !fits_u64(v))
        return false;
    *ns = (uint64_t)v;
    return true;
}

static int json_duration(const struct conf_setting *s, json_t *v)
{
    uint64_t ns;

    if (json_is_integer(v) && json_integer_value(v) >= 0 &&
        !__builtin_mul_overflow(json_integer_value(v), NSEC_PER_SEC, &ns))
        return store_duration(s, ns);
    if (json_is_real(v) && seconds_to_ns(json_real_value(v), &ns))
        return store_duration(s, ns);
    return conf_value_reject(s);
}

/* null, as conf_value_to_json writes it, is "not set". */
static int json_gib(const struct conf_setting *s, json_t *v)
{
    if (json_is_null(v)) {
        *(uint64_t *)s->member = 0;
        return 0;
    }
    return json_is_number(v) ? store_gib(s, json_number_value(v)) : conf_value_reject(s);
}

static int json_text(const struct conf_setting *s, json_t *v)
{
    if (json_is_null(v))
        return store_string(s, NULL);
    return json_is_string(v) ? store_string(s, json_string_value(v)) : conf_value_reject(s);
}

int conf_value_set_json(const struct conf_setting *s, json_t *v)
{
    switch (s->opt->type) {
    case CONF_BOOL:
        if (!json_is_boolean(v))
            return conf_value_reject(s);
        *(bool *)s->member = json_is_true(v);
        return 0;
    case CONF_INT:
        return json_is_integer(v) ? store_int(s, json_integer_value(v)) : conf_value_reject(s);
    case CONF_DOUBLE:
        return json_is_number(v) ? store_double(s, json_number_value(v)) : conf_value_reject(s);
    case CONF_SIZE: return json_is_string(v) ? text_size(s, json_string_value(v)) : json_size(s, v);
    case CONF_GIB: return json_gib(s, v);
    case CONF_DURATION:
        return json_is_string(v) ? text_duration(s, json_string_value(v)) : json_duration(s, v);
    case CONF_STRING: return json_text(s, v);
    case CONF_ENUM:
        return json_is_string(v) ? store_enum(s, json_string_value(v)) : conf_value_reject(s);
    case CONF_JSON: return store_json(s, v);
    }
    return -EINVAL;
}

/* --- back to JSON --- */

static json_t *size_to_json(uint64_t bytes)
{
    if (bytes <= INT64_MAX)
        return json_integer((json_int_t)bytes);
    return json_sprintf("%" PRIu64, bytes);
}

/* Seconds, as long as that says it exactly. */
static json_t *duration_to_json(uint64_t ns)
{
    double seconds = (double)ns / 1e9;
    uint64_t back;

    if (ns % NSEC_PER_SEC == 0)
        return json_integer((json_int_t)(ns / NSEC_PER_SEC));
    if (seconds_to_ns(seconds, &back) && back == ns)
        return json_real(seconds);
    return json_sprintf("%" PRIu64 "ns", ns);
}

static json_t *gib_to_json(uint64_t bytes)
{
    return bytes ? json_real((double)bytes / (double)GIB) : json_null();
}

/* A path need not be UTF-8, JSON must: then what is not ASCII shows as '?'. */
static json_t *string_to_json(const char *v)
{
    json_t *json = v ? json_string(v) : json_null();
    AUTO_FREE char *ascii = NULL;

    if (json)
        return json;
    ascii = strdup(v);
    for (char *p = ascii; p && *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    return ascii ? json_string(ascii) : NULL;
}

json_t *conf_value_to_json(const struct conf_opt *o, const void *member)
{
    switch (o->type) {
    case CONF_BOOL: return json_boolean(*(const bool *)member);
    case CONF_INT: return json_integer(*(const int64_t *)member);
    case CONF_DOUBLE: return json_real(*(const double *)member);
    case CONF_SIZE: return size_to_json(*(const uint64_t *)member);
    case CONF_GIB: return gib_to_json(*(const uint64_t *)member);
    case CONF_DURATION: return duration_to_json(*(const uint64_t *)member);
    case CONF_STRING: return string_to_json(*(char *const *)member);
    case CONF_ENUM: return json_string(o->choices[*(const int *)member]);
    case CONF_JSON:
        return *(json_t *const *)member ? json_deep_copy(*(json_t *const *)member) : json_null();
    }
    return NULL;
}
