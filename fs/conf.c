/* conf.c - option tables: defaults, setting by name, JSON objects, --help.
 *
 * Thread model: pure functions on the caller's struct. This file finds the option a name means and
 * says so when there is none; what a value may be is conf_value.c.
 */
#include "conf.h"

#include "conf_value.h"

#define HELP_COLUMN 28 /* where help texts start */

static void *member_of(const struct conf_opt *o, void *cfg)
{
    return (char *)cfg + o->offset;
}

static const void *const_member_of(const struct conf_opt *o, const void *cfg)
{
    return (const char *)cfg + o->offset;
}

/* --- finding options --- */

static bool has_name(const struct conf_opt *o, const char *name)
{
    return !strcmp(o->name, name) || (o->alias && !strcmp(o->alias, name));
}

static const struct conf_opt *find(const struct conf_opt *table, const char *name)
{
    for (const struct conf_opt *o = table; o->name; o++) {
        if (has_name(o, name))
            return o;
    }
    return NULL;
}

/* "noname" of a bool option, or NULL. */
static const struct conf_opt *find_negated(const struct conf_opt *table, const char *name)
{
    const struct conf_opt *o = strncmp(name, "no", 2) ? NULL : find(table, name + 2);

    return o && o->type == CONF_BOOL ? o : NULL;
}

static const char *nearest_option(const struct conf_opt *table, const char *name)
{
    const char *best = NULL;

    for (const struct conf_opt *o = table; o->name; o++) {
        const char *const pair[] = {best, o->name, o->alias};
        size_t first = best ? 0 : 1;

        best = text_nearest(name, pair + first, (o->alias ? 3 : 2) - first);
    }
    return best;
}

static int unknown(const struct conf_opt *table, const char *name, struct text *err)
{
    const char *near = nearest_option(table, name);

    if (!err)
        return -ENOENT;
    text_printf(err, "unknown option \"%.*s\"", CONF_SHOWN_MAX, name);
    if (near) {
        text_printf(err, "; did you mean \"%s\"?", near);
        return -ENOENT;
    }
    text_puts(err, "; known:");
    for (const struct conf_opt *o = table; o->name; o++)
        text_printf(err, "%s %s", o == table ? "" : ",", o->name);
    return -ENOENT;
}

/* --- the interface --- */

static int set_default(const struct conf_opt *o, const struct conf_opt *table, void *cfg)
{
    json_t **member = member_of(o, cfg);

    if (o->type != CONF_JSON)
        return conf_set(table, cfg, o->name, o->def, 0, NULL);
    *member = json_loads(o->def, JSON_DECODE_ANY, NULL);
    return *member ? 0 : -EINVAL;
}

int conf_defaults(const struct conf_opt *table, void *cfg)
{
    static const size_t sizes[] = {
        [CONF_BOOL] = sizeof(bool),     [CONF_INT] = sizeof(int64_t),
        [CONF_DOUBLE] = sizeof(double), [CONF_SIZE] = sizeof(uint64_t),
        [CONF_GIB] = sizeof(uint64_t),  [CONF_DURATION] = sizeof(uint64_t),
        [CONF_STRING] = sizeof(char *), [CONF_ENUM] = sizeof(int),
        [CONF_JSON] = sizeof(json_t *),
    };
    int rc = 0;

    for (const struct conf_opt *o = table; o->name; o++)
        memset(member_of(o, cfg), 0, sizes[o->type]);
    for (const struct conf_opt *o = table; o->name && !rc; o++) {
        if (o->def)
            rc = set_default(o, table, cfg);
    }
    if (rc)
        conf_fini(table, cfg);
    return rc;
}

int conf_set(const struct conf_opt *table, void *cfg, const char *name, const char *value,
             uint64_t whole, struct text *err)
{
    const struct conf_opt *o = find(table, name);
    struct conf_setting s = {.opt = o, .whole = whole, .shown = value, .err = err};

    if (!o && !value) {
        s.opt = o = find_negated(table, name);
        value = "false";
    }
    if (!o)
        return unknown(table, name, err);
    if (!value) {
        if (o->type != CONF_BOOL)
            return conf_value_reject(&s);
        value = "true";
    }
    s.member = member_of(o, cfg);
    return conf_value_set_text(&s, value);
}

static int set_json_member(const struct conf_opt *o, void *cfg, json_t *v, struct text *err)
{
    AUTO_FREE char *dumped = json_is_string(v) ? strdup(json_string_value(v))
                                               : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    struct conf_setting s = {.opt = o, .member = member_of(o, cfg), .shown = dumped, .err = err};

    return dumped ? conf_value_set_json(&s, v) : -ENOMEM;
}

static bool is_listed(const char *const *names, const char *name)
{
    for (; names && *names; names++) {
        if (!strcmp(*names, name))
            return true;
    }
    return false;
}

static bool is_given(const struct conf_opt *o, json_t *object)
{
    json_t *v = json_object_get(object, o->name);

    if (!v && o->alias)
        v = json_object_get(object, o->alias);
    return v && !json_is_null(v);
}

static int check_required(const struct conf_opt *table, json_t *object, struct text *err)
{
    for (const struct conf_opt *o = table; o->name; o++) {
        if (!o->required || is_given(o, object))
            continue;
        if (err) {
            text_printf(err, "option %s is required, expected ", o->name);
            conf_value_allowed(err, o);
        }
        return -EINVAL;
    }
    return 0;
}

int conf_set_json(const struct conf_opt *table, void *cfg, json_t *object,
                  const char *const *ignore, bool strict, struct text *err)
{
    const char *name;
    json_t *v;

    if (!json_is_object(object)) {
        if (err)
            text_puts(err, "expected a JSON object with options");
        return -EINVAL;
    }
    json_object_foreach(object, name, v)
    {
        const struct conf_opt *o = find(table, name);
        int rc = 0;

        if (is_listed(ignore, name))
            continue;
        if (o)
            rc = set_json_member(o, cfg, v, err);
        else if (strict)
            rc = unknown(table, name, err);
        if (rc)
            return rc;
    }
    return check_required(table, object, err);
}

json_t *conf_to_json(const struct conf_opt *table, const void *cfg)
{
    json_t *object = json_object();

    for (const struct conf_opt *o = table; object && o->name; o++) {
        if (json_object_set_new(object, o->name, conf_value_to_json(o, const_member_of(o, cfg)))) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

static void put_help_line(const struct conf_opt *o, bool optional, struct text *out)
{
    static const char *const words[] = {
        [CONF_BOOL] = "",        [CONF_INT] = "=INT", [CONF_DOUBLE] = "=NUMBER",
        [CONF_SIZE] = "=SIZE",   [CONF_GIB] = "=GIB", [CONF_DURATION] = "=TIME",
        [CONF_STRING] = "=TEXT", [CONF_ENUM] = "=",   [CONF_JSON] = "=JSON",
    };
    size_t start = out->len;

    text_printf(out, "  %s%s", o->name, words[o->type]);
    if (o->type == CONF_ENUM)
        conf_value_choices(out, o, "|");
    do {
        text_puts(out, " ");
    } while (!out->failed && out->len - start < HELP_COLUMN);
    text_puts(out, o->help ? o->help : "");
    if (o->required)
        text_puts(out, " (required)");
    else if (o->def && *o->def)
        text_printf(out, " (default: %s)", o->def);
    else if (optional)
        text_puts(out, " (optional)");
    text_puts(out, "\n");
}

void conf_help(const struct conf_opt *table, struct text *out)
{
    bool required = false;

    for (const struct conf_opt *o = table; o->name; o++)
        required |= o->required;
    for (const struct conf_opt *o = table; o->name; o++)
        put_help_line(o, required, out);
}

void conf_fini(const struct conf_opt *table, void *cfg)
{
    for (const struct conf_opt *o = table; o->name; o++) {
        void *member = member_of(o, cfg);

        if (o->type == CONF_STRING) {
            free(*(char **)member);
            *(char **)member = NULL;
        } else if (o->type == CONF_JSON) {
            json_decref(*(json_t **)member);
            *(json_t **)member = NULL;
        }
    }
}
