/* options_spec.c - SPEC: a directory, TYPE:options, pd-send:// or pd-recv://, or a JSON file, becomes
 * a list of adapters.
 *
 * Runs before there are threads. Every adapter entry is checked against its own option table as it
 * comes in, so that a message can say where it stands; base paths are made absolute, since the
 * daemon leaves the working directory.
 */
#include "options_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "machine.h"
#include "tier.h"

/* What "mock:" means without options. */
static const char mock_defaults[] = "max_size_gb=1,mock_bandwidth_gb=10";

int options_set(struct options *o, const char *name, const char *value, struct text *err)
{
    struct text why = {0};
    const char *near;
    int rc = conf_set(l2fs_config_options, &o->cfg, name, value, machine_memory_available(), &why);

    if (rc == -ENOENT) {
        near = options_nearest(name);
        text_printf(err, "unknown option \"%.80s\"", name);
        if (near)
            text_printf(err, "; did you mean \"%s\"?", near);
        else
            text_puts(err, "; mount.l2fs --help lists them");
    } else if (rc) {
        text_append(err, why.data ? why.data : "", why.len);
    }
    text_fini(&why);
    return rc;
}

/* --- one adapter --- */

static int add_base(struct options *o, const char *base)
{
    char **more = realloc(o->bases, (o->nbases + 1) * sizeof(*more));

    if (!more)
        return -ENOMEM;
    o->bases = more;
    more[o->nbases] = strdup(base);
    if (!more[o->nbases])
        return -ENOMEM;
    o->nbases++;
    return 0;
}

/* Makes base_path of the adapter, and of adapters inside it, absolute, and lists them. */
static int take_bases(struct options *o, json_t *adapter, unsigned depth)
{
    const char *base = json_string_value(json_object_get(adapter, "base_path"));
    const char *key;
    json_t *member;
    int rc = 0;

    if (base && *base) {
        AUTO_FREE char *absolute = options_absolute(base);

        if (!absolute || json_object_set_new(adapter, "base_path", json_string(absolute)))
            return -ENOMEM;
        rc = add_base(o, absolute);
    }
    json_object_foreach(adapter, key, member)
    {
        if (!rc && depth < 8 && json_is_object(member))
            rc = take_bases(o, member, depth + 1);
    }
    return rc;
}

/* Appends `adapter` (reference taken) to the list; `where` leads the message. */
static int add_adapter(struct options *o, json_t *adapter, const char *where, struct text *err)
{
    const char *type = json_string_value(json_object_get(adapter, "type"));
    struct text why = {0};
    int rc = tier_check(adapter, &why);

    if (rc) {
        text_printf(err, "%sl2 #%zu", where, json_array_size(o->cfg.l2));
        if (type)
            text_printf(err, " (%.40s)", type);
        text_printf(err, ": %s", why.data ? why.data : strerror(-rc));
        json_decref(adapter);
        rc = rc == -ENOENT ? -EINVAL : rc;
    } else {
        rc = take_bases(o, adapter, 0);
        if (!o->cfg.l2)
            o->cfg.l2 = json_array();
        if (json_array_append_new(o->cfg.l2, adapter))
            rc = -ENOMEM;
    }
    text_fini(&why);
    return rc;
}

int options_add_l2(struct options *o, const char *json, struct text *err)
{
    json_error_t where;
    json_t *adapter = json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);

    if (!adapter) {
        text_printf(err, "-o l2=%.80s: line %d column %d: %s", json, where.line, where.column,
                    where.text);
        return -EINVAL;
    }
    return add_adapter(o, adapter, "-o ", err);
}

/* --- TYPE:options --- */

static bool is_adapter(const char *name, size_t len)
{
    for (size_t i = 0; adapter_registry[i]; i++) {
        if (strlen(adapter_registry[i]->name) == len &&
            !memcmp(adapter_registry[i]->name, name, len))
            return true;
    }
    return false;
}

/* name=value of TYPE:options: a number, true, false or JSON as it stands, anything else text. */
static int set_member(void *arg, const char *name, const char *value)
{
    json_t *v =
        value ? json_loads(value, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL) : json_true();

    if (!v && value)
        v = json_string(value);
    return v ? json_object_set_new(arg, name, v) ? -ENOMEM : 0 : -EILSEQ;
}

/* Adds the members that `text` names to `adapter` (reference taken; NULL: its text is no UTF-8) and
 * the adapter to the list. */
static int add_typed(struct options *o, json_t *adapter, const char *text, struct text *err)
{
    int rc = adapter ? options_split(text, set_member, adapter, err) : -EILSEQ;

    if (rc == -EILSEQ) {
        text_printf(err, "SPEC \"%.80s\": not UTF-8", o->spec);
        rc = -EINVAL;
    }
    if (rc) {
        json_decref(adapter);
        return rc;
    }
    o->source = strdup(o->spec);
    return o->source ? add_adapter(o, adapter, "SPEC: ", err) : -ENOMEM;
}

static int read_typed(struct options *o, struct text *err)
{
    size_t n = strcspn(o->spec, ":");
    json_t *adapter = json_pack("{s:s%}", "type", o->spec, n);

    if (adapter && n == 4 && !memcmp(o->spec, "mock", n) &&
        options_split(mock_defaults, set_member, adapter, err)) {
        json_decref(adapter);
        adapter = NULL;
    }
    return add_typed(o, adapter, o->spec + n + 1, err);
}

/* --- pd-send://HOST:ALLOC[,INIT][,NAME=VALUE...] --- */

static const char *const pd_prefixes[] = {"pd-send://", "pd-recv://"};
static const char *const pd_roles[] = {"sender", "receiver"};

static const char *after_prefix(const char *spec, size_t *role)
{
    for (size_t i = 0; i < ARRAY_SIZE(pd_prefixes); i++) {
        size_t n = strlen(pd_prefixes[i]);

        if (!strncmp(spec, pd_prefixes[i], n)) {
            *role = i;
            return spec + n;
        }
    }
    return NULL;
}

/* Reads digits at *at and moves behind them and a comma; -1: no port. */
static long read_port(const char **at)
{
    size_t digits = strspn(*at, "0123456789");
    long port = digits && digits <= 5 ? strtol(*at, NULL, 10) : -1;

    if (port < 0 || ((*at)[digits] && (*at)[digits] != ','))
        return -1;
    *at += digits;
    *at += **at == ',';
    return port;
}

static int read_pd(struct options *o, const char *at, size_t role, struct text *err)
{
    const char *host = at + (*at == '['), *end = strchr(host, *at == '[' ? ']' : ':');
    long alloc = -1, init = -1;

    if (end) {
        at = end + (*end == ']');
        if (*at++ == ':')
            alloc = read_port(&at);
    }
    if (alloc >= 0 && end > host) {
        init = MAX(alloc - 1, 0);
        if (strspn(at, "0123456789"))
            init = read_port(&at);
    }
    if (init < 0) {
        text_printf(
            err,
            "SPEC \"%.200s\": expected %sHOST:ALLOC[,INIT][,NAME=VALUE...], the ports of the "
            "receiver; INIT is ALLOC - 1 when left out, an IPv6 address stands in brackets",
            o->spec, pd_prefixes[role]);
        return -EINVAL;
    }
    return add_typed(o,
                     json_pack("{s:s, s:s, s:s%, s:[I], s:[I]}", "type", "pd", "role",
                               pd_roles[role], "peer_host", host, (size_t)(end - host),
                               "peer_alloc_port", (json_int_t)alloc, "peer_init_port",
                               (json_int_t)init),
                     at, err);
}

/* --- a directory --- */

static int read_directory(struct options *o, struct text *err)
{
    json_t *adapter;

    o->source = options_absolute(o->spec);
    if (!o->source)
        return -ENOMEM;
    adapter = json_pack("{s:s, s:s}", "type", "fs", "base_path", o->source);
    if (!adapter) {
        text_printf(err, "SPEC \"%.200s\": the path is not UTF-8", o->source);
        return -EINVAL;
    }
    return add_adapter(o, adapter, "SPEC: ", err);
}

/* --- a JSON file --- */

/* A JSON value in -o syntax; "a:b" for ["a", "b"]. NULL: not of that kind, or no memory. */
static char *as_option_text(json_t *v)
{
    struct text t = {0};
    size_t i;
    json_t *item;

    if (json_is_string(v))
        return strdup(json_string_value(v));
    if (json_is_number(v) || json_is_boolean(v))
        return json_dumps(v, JSON_ENCODE_ANY);
    if (!json_is_array(v))
        return NULL;
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item)) {
            text_fini(&t);
            return NULL;
        }
        text_printf(&t, "%s%s", i ? ":" : "", json_string_value(item));
    }
    return text_steal(&t, NULL);
}

/* "FILE: line 3 column 7: " */
static char *place(const char *path, const char *json, const char *name, int index)
{
    struct text t = {0};
    unsigned line, column;

    if (options_locate(json, name, index, &line, &column))
        text_printf(&t, "%s: line %u column %u: ", path, line, column);
    else
        text_printf(&t, "%s: ", path);
    return text_steal(&t, NULL);
}

static int read_member(struct options *o, const char *name, json_t *v, struct text *err)
{
    AUTO_FREE char *value = NULL;

    if (json_is_null(v))
        return 0;
    value = as_option_text(v);
    if (!value) {
        text_printf(err, "option %.80s: expected text, a number, true or false", name);
        return -EINVAL;
    }
    return options_set(o, name, value, err);
}

static int read_l2(struct options *o, const char *json, json_t *l2, struct text *err)
{
    size_t n = json_is_array(l2) ? json_array_size(l2) : 1;
    int rc = 0;

    for (size_t i = 0; i < n && !rc; i++) {
        json_t *entry = json_is_array(l2) ? json_array_get(l2, i) : l2;
        AUTO_FREE char *where = place(o->spec, json, "l2", json_is_array(l2) ? (int)i : -1);

        rc = where ? add_adapter(o, json_deep_copy(entry), where, err) : -ENOMEM;
    }
    return rc;
}

static int read_object(struct options *o, const char *json, json_t *top, struct text *err)
{
    const char *name;
    json_t *v;

    if (!json_is_object(top) || (json_object_get(top, "type") && !json_object_get(top, "l2"))) {
        text_printf(err, "%s: expected {\"l1\": \"8G\", \"l2\": [{\"type\": \"fs\", ...}], ...}",
                    o->spec);
        return -EINVAL;
    }
    json_object_foreach(top, name, v)
    {
        struct text why = {0};
        AUTO_FREE char *where = place(o->spec, json, name, -1);
        int rc;

        if (!strcmp(name, "l2")) {
            rc = read_l2(o, json, v, err);
        } else {
            rc = where ? read_member(o, name, v, &why) : -ENOMEM;
            if (rc)
                text_printf(err, "%s%s", where ? where : "", why.data ? why.data : strerror(-rc));
        }
        text_fini(&why);
        if (rc)
            return rc == -ENOENT ? -EINVAL : rc;
    }
    return 0;
}

static int read_json(struct options *o, struct text *err)
{
    AUTO_FREE char *json = NULL;
    json_t *top;
    int rc = options_load_json(o->spec, &json, &top, err);

    if (rc)
        return rc;
    o->source = options_absolute(o->spec);
    rc = o->source ? read_object(o, json, top, err) : -ENOMEM;
    json_decref(top);
    return rc;
}

/* --- SPEC --- */

static int refuse_spec(const struct options *o, int error, struct text *err)
{
    if (error == ENOENT && !strchr(o->spec, '/') && strchr(o->spec, ':')) {
        text_printf(err, "SPEC \"%.200s\": neither a path nor an adapter, known:", o->spec);
        for (size_t i = 0; adapter_registry[i]; i++)
            text_printf(err, " %s:", adapter_registry[i]->name);
        return -EINVAL;
    }
    text_printf(err, "SPEC \"%.200s\": %s", o->spec, strerror(error));
    if (error == ENOENT)
        text_puts(err, "; make the directory first, or name a JSON file, mock: or null:");
    return -error;
}

int options_read_spec(struct options *o, struct text *err)
{
    struct stat st;
    size_t role;

    if (!o->spec)
        return 0;
    if (!strcmp(o->spec, "none")) {
        o->source = strdup("l2fs");
        return o->source ? 0 : -ENOMEM;
    }
    if (stat(o->spec, &st)) {
        int error = errno;
        const char *pd = after_prefix(o->spec, &role);

        if (pd)
            return read_pd(o, pd, role, err);
        if (is_adapter(o->spec, strcspn(o->spec, ":")) && strchr(o->spec, ':'))
            return read_typed(o, err);
        return refuse_spec(o, error, err);
    }
    if (S_ISDIR(st.st_mode))
        return read_directory(o, err);
    if (S_ISREG(st.st_mode))
        return read_json(o, err);
    text_printf(err, "SPEC \"%.200s\": neither a directory nor a JSON file", o->spec);
    return -EINVAL;
}

/* --- when everything is known --- */

static int check_base(const struct options *o, const char *base, struct text *err)
{
    struct stat st;

    if (o->dir && options_overlap(base, o->dir)) {
        text_printf(err,
                    "the mount point %s and the directory %s lie within each other; "
                    "choose a mount point elsewhere",
                    o->dir, base);
        return -EINVAL;
    }
    if (stat(base, &st))
        return 0; /* the adapter makes it, or says why not */
    if (!S_ISDIR(st.st_mode)) {
        text_printf(err, "base_path %s: not a directory", base);
        return -ENOTDIR;
    }
    if (!o->cfg.read_only && faccessat(AT_FDCWD, base, W_OK | X_OK, AT_EACCESS)) {
        int error = errno;

        text_printf(err, "directory %s cannot be written: %s; change that, or mount with -o ro",
                    base, strerror(error));
        return -error;
    }
    return 0;
}

int options_check_l2(struct options *o, struct text *err)
{
    int rc = 0;

    if (!o->spec)
        return 0;
    if (!json_array_size(o->cfg.l2)) {
        text_printf(err,
                    "SPEC \"%.200s\": no storage tier; give a directory, mock:, null:, a JSON file "
                    "with \"l2\", or -o l2={\"type\": ...}",
                    o->spec);
        return -EINVAL;
    }
    for (size_t i = 0; i < o->nbases && !rc; i++)
        rc = check_base(o, o->bases[i], err);
    return rc;
}
