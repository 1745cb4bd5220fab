/* fuzz_conf_json.c - option tables fed with JSON and text.
 *
 * Invariants: a refusal says why; an accepted configuration, printed as JSON text and read again
 * strictly, prints the same and has the same numbers; accepted values are inside their range; after
 * a refusal the configuration is still valid (it prints, and can be freed).
 */
#include "conf.h"

#include <math.h>
#include <stdio.h>

#define TEXT_MAX 4096

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct cfg {
    bool flag;
    int64_t count;
    int64_t any;
    double ratio;
    double number;
    uint64_t size;
    uint64_t all_sizes;
    uint64_t max_size;
    uint64_t timeout;
    uint64_t all_times;
    char *name;
    int policy;
    json_t *nested;
};

static const char *const policies[] = {"lru", "fifo", "noop", NULL};
static const char *const ignored[] = {"type", "eviction", NULL};

#define AT(member) .offset = offsetof(struct cfg, member)

static const struct conf_opt table[] = {
    {.name = "flag", .type = CONF_BOOL, AT(flag)},
    {.name = "count", .type = CONF_INT, AT(count), .def = "1", .min = 1, .max = 64, .alias = "n"},
    {.name = "any", .type = CONF_INT, AT(any)},
    {.name = "ratio", .type = CONF_DOUBLE, AT(ratio), .max = 1},
    {.name = "number", .type = CONF_DOUBLE, AT(number)},
    {.name = "size", .type = CONF_SIZE, AT(size), .def = "64K", .min = 4096, .max = 1e12},
    {.name = "all_sizes", .type = CONF_SIZE, AT(all_sizes)},
    {.name = "max_size_gb", .type = CONF_GIB, AT(max_size)},
    {.name = "timeout", .type = CONF_DURATION, AT(timeout), .def = "5s", .min = 0.001, .max = 3600},
    {.name = "all_times", .type = CONF_DURATION, AT(all_times)},
    {.name = "name", .type = CONF_STRING, AT(name), .required = true},
    {.name = "policy", .type = CONF_ENUM, AT(policy), .choices = policies},
    {.name = "nested", .type = CONF_JSON, AT(nested)},
    {.name = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ranges(const struct cfg *cfg)
{
    CHECK(cfg->count >= 1 && cfg->count <= 64);
    CHECK(cfg->ratio >= 0 && cfg->ratio <= 1);
    CHECK(isfinite(cfg->number));
    CHECK(cfg->size >= 4096 && cfg->size <= UINT64_C(1000000000000));
    CHECK(cfg->timeout >= NSEC_PER_MSEC && cfg->timeout <= 3600 * NSEC_PER_SEC);
    CHECK(cfg->policy >= 0 && cfg->policy < 3);
    CHECK(!json_is_null(cfg->nested));
}

static void check_same(const struct cfg *a, const struct cfg *b)
{
    CHECK(a->flag == b->flag && a->count == b->count && a->any == b->any);
    CHECK(a->ratio == b->ratio && a->number == b->number);
    CHECK(a->size == b->size && a->all_sizes == b->all_sizes && a->max_size == b->max_size);
    CHECK(a->timeout == b->timeout && a->all_times == b->all_times && a->policy == b->policy);
    CHECK(!a->name == !b->name && (!a->name || !strcmp(a->name, b->name)));
    CHECK(!a->nested == !b->nested && (!a->nested || json_equal(a->nested, b->nested)));
}

static bool is_utf8(const char *s)
{
    json_t *json = json_string(s);

    json_decref(json);
    return json != NULL;
}

/* Prints the configuration and reads it back. The name may be unset, which reading does not allow,
 * or not UTF-8, which JSON cannot say: then it only has to print. */
static void check_reads_back(const struct cfg *cfg)
{
    json_t *json = conf_to_json(table, cfg), *parsed;
    char *dump = json_dumps(json, JSON_COMPACT);
    struct text err = {0};
    struct cfg back;
    int rc;

    CHECK(dump);
    parsed = json_loads(dump, 0, NULL);
    CHECK(parsed && json_equal(json, parsed));
    CHECK(!conf_defaults(table, &back));
    rc = conf_set_json(table, &back, parsed, NULL, true, &err);
    CHECK(rc == (cfg->name ? 0 : -EINVAL));
    CHECK(!rc == !err.data);
    if (!cfg->name || is_utf8(cfg->name))
        check_same(cfg, &back);
    conf_fini(table, &back);
    text_fini(&err);
    free(dump);
    json_decref(json);
    json_decref(parsed);
}

static void check_json(const char *text, size_t len, bool strict)
{
    json_t *object = json_loadb(text, len, JSON_DECODE_ANY, NULL);
    struct text err = {0};
    struct cfg cfg;
    int rc;

    if (!object)
        return;
    CHECK(!conf_defaults(table, &cfg));
    rc = conf_set_json(table, &cfg, object, ignored, strict, &err);
    CHECK(rc == 0 || rc == -EINVAL || rc == -ENOENT);
    CHECK(!rc == !err.data && !err.failed);
    CHECK(rc != -ENOENT || strict);
    check_ranges(&cfg);
    check_reads_back(&cfg);
    conf_fini(table, &cfg);
    text_fini(&err);
    json_decref(object);
}

/* "name=value", or the bare name, as an -o option. */
static void check_option(const char *option)
{
    AUTO_FREE char *name = strdup(option);
    char *value = name ? strchr(name, '=') : NULL;
    struct text err = {0};
    struct cfg cfg;
    int rc;

    if (!name)
        return;
    if (value)
        *value++ = '\0';
    CHECK(!conf_defaults(table, &cfg));
    rc = conf_set(table, &cfg, name, value, GIB, &err);
    CHECK(rc == 0 || rc == -EINVAL || rc == -ENOENT);
    CHECK(!rc == !err.data && !err.failed);
    check_ranges(&cfg);
    check_reads_back(&cfg);
    conf_fini(table, &cfg);
    text_fini(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX];

    if (size < 1 || size > sizeof text)
        return -1;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] & 1)
        check_option(text);
    else
        check_json(text, size - 1, data[0] & 2);
    return 0;
}
