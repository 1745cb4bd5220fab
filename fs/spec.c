/* spec.c - reading the JSON description of an L2 adapter.
 *
 * Pure functions. The object has "type", the options of that type's table, and the common keys of
 * LMCache; an adapter that has a common key in its own table gets it too. Anything else is refused,
 * naming the nearest known key.
 */
#include "spec.h"

#define COMMON(member) offsetof(struct spec_common, member)

static const struct conf_opt common_options[] = {
    {.name = "shared", .type = CONF_BOOL, .offset = COMMON(shared), .help = "others use this tier"},
    {.name = "persist_enabled",
     .type = CONF_BOOL,
     .offset = COMMON(persist_enabled),
     .def = "true",
     .help = "keep objects when the mount ends"},
    {.name = "affinity_tag",
     .type = CONF_STRING,
     .offset = COMMON(affinity_tag),
     .def = "_default",
     .help = "the L1 that this tier loads into"},
    {.name = "max_capacity_gb",
     .type = CONF_DOUBLE,
     .offset = COMMON(max_capacity_gb),
     .def = "0",
     .min = 0,
     .max = 1e9,
     .help = "capacity in GiB, 0: unknown"},
    {.name = "eviction",
     .type = CONF_JSON,
     .offset = COMMON(eviction),
     .help = "{\"eviction_policy\": LRU|FIFO|S3-FIFO|noop, \"trigger_watermark\": ..., "
             "\"eviction_ratio\": ...}; with a capacity LRU, 0.8 and 0.2 when left out"},
    {.name = "serde", .type = CONF_JSON, .offset = COMMON(serde), .help = "taken, not applied"},
    {0},
};

/* In the order of enum evict_policy; tenants isolate whatever the policy. */
static const char *const eviction_policies[] = {"LRU",  "FIFO",        "S3-FIFO",
                                                "noop", "IsolatedLRU", NULL};

const struct conf_opt spec_eviction_options[] = {
    {.name = "eviction_policy",
     .type = CONF_ENUM,
     .offset = offsetof(struct eviction, policy),
     .choices = eviction_policies,
     .required = true,
     .help = "which objects leave first"},
    {.name = "trigger_watermark",
     .type = CONF_DOUBLE,
     .offset = offsetof(struct eviction, watermark),
     .def = "0.8",
     .min = 0,
     .max = 1,
     .help = "share of the capacity that starts eviction"},
    {.name = "eviction_ratio",
     .type = CONF_DOUBLE,
     .offset = offsetof(struct eviction, ratio),
     .def = "0.2",
     .min = 0,
     .max = 1,
     .help = "share of that which leaves at once"},
    {0},
};

bool spec_eviction(json_t *config, struct eviction *out)
{
    json_t *block = json_object_get(config, "eviction");

    conf_defaults(spec_eviction_options, out);
    for (; !json_is_object(block) && config; config = json_object_get(config, "inner"))
        block = json_object_get(config, "eviction");
    if (!json_is_object(block) ||
        conf_set_json(spec_eviction_options, out, block, NULL, false, NULL))
        return false;
    if (out->policy > EVICT_NOOP)
        out->policy = EVICT_LRU;
    return true;
}

static size_t count_adapters(void)
{
    size_t n = 0;

    while (adapter_registry[n])
        n++;
    return n;
}

static int unknown_type(const char *type, struct text *err)
{
    size_t n = count_adapters();
    AUTO_FREE const char **names = calloc(n + 1, sizeof(*names));
    const char *near;

    if (!names)
        return -ENOMEM;
    text_printf(err, "type: \"%.80s\" is not an adapter, known:", type);
    for (size_t i = 0; i < n; i++) {
        names[i] = adapter_registry[i]->name;
        text_printf(err, "%s %s", i ? "," : "", names[i]);
    }
    near = text_nearest(type, names, n);
    if (near)
        text_printf(err, "; did you mean \"%s\"?", near);
    return -EINVAL;
}

static int find_type(json_t *json, const struct adapter_ops **out, struct text *err)
{
    json_t *type = json_object_get(json, "type");

    if (!json_is_object(json)) {
        text_puts(err, "an L2 adapter is a JSON object such as {\"type\": \"fs\", ...}");
        return -EINVAL;
    }
    if (!json_is_string(type)) {
        text_puts(err, "an L2 adapter needs \"type\", the name of the adapter in quotes");
        return -EINVAL;
    }
    for (size_t i = 0; adapter_registry[i]; i++) {
        if (!strcmp(adapter_registry[i]->name, json_string_value(type))) {
            *out = adapter_registry[i];
            return 0;
        }
    }
    return unknown_type(json_string_value(type), err);
}

static bool has_option(const struct conf_opt *table, const char *name)
{
    for (const struct conf_opt *o = table; o->name; o++)
        if (!strcmp(o->name, name) || (o->alias && !strcmp(o->alias, name)))
            return true;
    return false;
}

static size_t option_names(const struct conf_opt *table, const char **names)
{
    size_t n = 0;

    for (const struct conf_opt *o = table; o->name; o++)
        names[n++] = o->name;
    return n;
}

static int unknown_key(const struct conf_opt *table, const char *key, struct text *err)
{
    const char *names[64];
    size_t n = 0, own = 0;
    const char *near;

    while (table[own].name)
        own++;
    if (own + ARRAY_SIZE(common_options) <= ARRAY_SIZE(names))
        n = option_names(table, names);
    near = text_nearest(key, names, n + option_names(common_options, names + n));
    text_printf(err, "unknown option \"%.80s\"", key);
    if (near)
        text_printf(err, "; did you mean \"%s\"?", near);
    else if (!own)
        text_puts(err, "; this adapter has no options of its own");
    for (size_t i = 0; !near && i < own; i++)
        text_printf(err, "%s %s", i ? "," : "; known:", table[i].name);
    return -EINVAL;
}

static int check_keys(const struct conf_opt *table, json_t *json, struct text *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(json, key, value)
    {
        if (strcmp(key, "type") && !has_option(table, key) && !has_option(common_options, key))
            return unknown_key(table, key, err);
    }
    return 0;
}

/* Replaces the given eviction object by the effective one. */
static int read_eviction(struct spec_common *c, struct text *err)
{
    struct eviction ev;
    AUTO_FREE char *why = NULL;
    struct text t = {0};
    json_t *effective;
    int rc;

    if (!c->eviction)
        return 0;
    rc = conf_defaults(spec_eviction_options, &ev);
    if (rc)
        return rc;
    rc = conf_set_json(spec_eviction_options, &ev, c->eviction, NULL, true, &t);
    why = text_steal(&t, NULL);
    if (rc) {
        text_printf(err, "eviction: %s", why ? why : "not understood");
        return rc == -ENOENT ? -EINVAL : rc;
    }
    effective = conf_to_json(spec_eviction_options, &ev);
    if (!effective)
        return -ENOMEM;
    json_decref(c->eviction);
    c->eviction = effective;
    return 0;
}

static int read_common(json_t *json, struct spec_common *c, struct text *err)
{
    int rc = conf_defaults(common_options, c);

    if (!rc)
        rc = conf_set_json(common_options, c, json, NULL, false, err);
    if (!rc)
        rc = read_eviction(c, err);
    if (!rc && c->serde && !json_is_string(json_object_get(c->serde, "type"))) {
        text_puts(err, "serde: expected an object with \"type\", or leave it out");
        rc = -EINVAL;
    }
    return rc;
}

static const struct conf_opt *options_of(const struct adapter_ops *ops)
{
    static const struct conf_opt none[] = {{0}};

    return ops->options ? ops->options : none;
}

static int read_own(json_t *json, struct spec *s, struct text *err)
{
    const struct conf_opt *table = options_of(s->ops);
    int rc;

    s->config = calloc(1, s->ops->config_size + 1);
    if (!s->config)
        return -ENOMEM;
    rc = conf_defaults(table, s->config);
    if (!rc)
        rc = conf_set_json(table, s->config, json, NULL, false, err);
    if (!rc && s->ops->check)
        rc = s->ops->check(s->config, err);
    return rc;
}

int spec_parse(json_t *json, struct spec *out, struct text *err)
{
    struct spec s = {0};
    int rc = find_type(json, &s.ops, err);

    if (rc)
        return rc;
    rc = check_keys(options_of(s.ops), json, err);
    if (!rc)
        rc = read_common(json, &s.common, err);
    if (!rc)
        rc = read_own(json, &s, err);
    if (rc) {
        spec_fini(&s);
        if (rc == -ENOMEM)
            text_puts(err, "out of memory");
        return rc;
    }
    *out = s;
    return 0;
}

void spec_fini(struct spec *s)
{
    conf_fini(common_options, &s->common);
    if (s->config)
        conf_fini(options_of(s->ops), s->config);
    free(s->config);
    *s = (struct spec){0};
}

json_t *spec_to_json(const struct spec *s)
{
    json_t *all = json_object();
    json_t *common = conf_to_json(common_options, &s->common);
    json_t *own = conf_to_json(options_of(s->ops), s->config);
    int failed = !all || !common || !own;

    failed = failed || json_object_set_new(all, "type", json_string(s->ops->name));
    failed = failed || json_object_update(all, common) || json_object_update(all, own);
    json_decref(common);
    json_decref(own);
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}
