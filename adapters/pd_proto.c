/* pd_proto.c - PD messages to msgpack and back, both driven by the table of pd_proto_table.c.
 *
 * Decoding: the limits are checked first (pd_scan.h), then msgpack-c makes objects of the message in
 * a zone that lives as long as the call. Lists are copied out of it, strings stay where they came.
 */
#include "pd_proto_impl.h"

#include <msgpack.h>

#include "pd_scan.h"

static const void *member(const struct pd_message *m, const struct pd_field *f)
{
    return (const char *)m + f->offset;
}

const char *pd_type_name(enum pd_type type)
{
    return (size_t)type < PD_TYPES ? pd_forms[type].tag : "?";
}

/* ---- encode ---- */

static int append(void *out, const char *data, size_t len)
{
    struct text *t = out;

    text_append(t, data, len);
    return t->failed ? -1 : 0;
}

static void pack_str(msgpack_packer *p, const char *data, size_t len)
{
    msgpack_pack_str(p, len);
    msgpack_pack_str_body(p, data, len);
}

static void pack_name(msgpack_packer *p, const char *name)
{
    pack_str(p, name, strlen(name));
}

static void pack_int(msgpack_packer *p, int64_t v, enum pd_range range)
{
    if (range == U64)
        msgpack_pack_uint64(p, (uint64_t)v);
    else
        msgpack_pack_int64(p, v);
}

static void pack_ints(msgpack_packer *p, const struct pd_ints *list, enum pd_range range)
{
    msgpack_pack_array(p, list->n);
    for (size_t i = 0; i < list->n; i++)
        pack_int(p, list->v[i], range);
}

static void pack_strings(msgpack_packer *p, const struct pd_strings *list)
{
    msgpack_pack_array(p, list->n);
    for (size_t i = 0; i < list->n; i++)
        pack_str(p, list->v[i].data, list->v[i].len);
}

static void pack_bytes(msgpack_packer *p, const struct pd_bytes *b, enum pd_kind kind)
{
    if (kind == STR) {
        pack_str(p, b->data, b->len);
    } else {
        msgpack_pack_bin(p, b->len);
        msgpack_pack_bin_body(p, b->data, b->len);
    }
}

static void pack_field(msgpack_packer *p, const struct pd_message *m, const struct pd_field *f)
{
    const void *value = member(m, f);

    pack_name(p, f->name);
    switch (f->kind) {
    case STR:
    case BIN: pack_bytes(p, value, f->kind); break;
    case BOOL: *(const bool *)value ? msgpack_pack_true(p) : msgpack_pack_false(p); break;
    case INT: pack_int(p, *(const int64_t *)value, f->range); break;
    case STRS: pack_strings(p, value); break;
    case INTS: pack_ints(p, value, f->range); break;
    }
}

static bool is_set(const struct pd_message *m, const struct pd_field *f)
{
    const void *value = member(m, f);

    switch (f->kind) {
    case STR:
    case BIN: return ((const struct pd_bytes *)value)->data;
    case BOOL: return *(const bool *)value;
    case INT: return *(const int64_t *)value;
    case STRS: return ((const struct pd_strings *)value)->n;
    case INTS: return ((const struct pd_ints *)value)->n;
    }
    return false;
}

static bool is_written(const struct pd_message *m, const struct pd_field *f)
{
    switch (f->need) {
    case REQUIRED: return true;
    case SYNC: return !m->async;
    case ASYNC: return m->async;
    case EXTRA: return is_set(m, f);
    }
    return false;
}

void pd_encode(const struct pd_message *m, struct text *out)
{
    const struct pd_form *form = &pd_forms[m->type];
    msgpack_packer p;
    size_t n = 1;

    for (const struct pd_field *f = form->fields; f->name; f++)
        n += is_written(m, f);
    msgpack_packer_init(&p, out, append);
    msgpack_pack_map(&p, n);
    pack_name(&p, "type");
    pack_name(&p, form->tag);
    for (const struct pd_field *f = form->fields; f->name; f++) {
        if (is_written(m, f))
            pack_field(&p, m, f);
    }
}

/* ---- decode ---- */

/* What a message may be refused for, besides what pd_scan says. */
static const char wrong_type[] = "a field has the wrong type";
static const char out_of_range[] = "a number is out of range";
static const char no_memory[] = "no memory";

static bool is_named(const msgpack_object *o, const char *name)
{
    return o->via.str.size == strlen(name) && !memcmp(o->via.str.ptr, name, o->via.str.size);
}

static const char *take_str(const msgpack_object *o, struct pd_bytes *out)
{
    if (o->type != MSGPACK_OBJECT_STR)
        return wrong_type;
    if (o->via.str.size > PD_STRING_MAX)
        return "a string is too long";
    if (memchr(o->via.str.ptr, '\0', o->via.str.size))
        return "a string has a zero byte";
    *out = (struct pd_bytes){o->via.str.ptr, o->via.str.size};
    return NULL;
}

static const char *take_bin(const msgpack_object *o, struct pd_bytes *out)
{
    if (o->type != MSGPACK_OBJECT_BIN)
        return wrong_type;
    *out = (struct pd_bytes){o->via.bin.ptr, o->via.bin.size};
    return NULL;
}

static const char *take_bool(const msgpack_object *o, bool *out)
{
    if (o->type != MSGPACK_OBJECT_BOOLEAN)
        return wrong_type;
    *out = o->via.boolean;
    return NULL;
}

static uint64_t largest(enum pd_range range)
{
    switch (range) {
    case U32: return UINT32_MAX;
    case U64: return UINT64_MAX;
    case ERRNO: return PD_ERRNO_MAX;
    case ANY:
    case COUNT: break;
    }
    return INT64_MAX;
}

static const char *take_int(const msgpack_object *o, enum pd_range range, int64_t *out)
{
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        if (range != ANY)
            return out_of_range;
        *out = o->via.i64;
    } else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        if (o->via.u64 > largest(range))
            return out_of_range;
        *out = (int64_t)o->via.u64;
    } else {
        return wrong_type;
    }
    return NULL;
}

static const char *check_list(const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_ARRAY)
        return wrong_type;
    return o->via.array.size > PD_KEYS_MAX ? "a list is too long" : NULL;
}

/* What a list of the same name had before is freed: the last one wins. */
static const char *take_strings(const msgpack_object *o, struct pd_strings *out)
{
    const char *why = check_list(o);
    size_t n = why ? 0 : o->via.array.size;
    AUTO_FREE struct pd_bytes *v = calloc(n + 1, sizeof *v);

    if (!v)
        return no_memory;
    for (size_t i = 0; i < n && !why; i++)
        why = take_str(&o->via.array.ptr[i], &v[i]);
    if (why)
        return why;
    free(out->v);
    *out = (struct pd_strings){v, n};
    v = NULL;
    return NULL;
}

static const char *take_ints(const msgpack_object *o, enum pd_range range, struct pd_ints *out)
{
    const char *why = check_list(o);
    size_t n = why ? 0 : o->via.array.size;
    AUTO_FREE int64_t *v = calloc(n + 1, sizeof *v);

    if (!v)
        return no_memory;
    for (size_t i = 0; i < n && !why; i++)
        why = take_int(&o->via.array.ptr[i], range, &v[i]);
    if (why)
        return why;
    free(out->v);
    *out = (struct pd_ints){v, n};
    v = NULL;
    return NULL;
}

static const char *take_field(const msgpack_object *o, const struct pd_field *f,
                              struct pd_message *m)
{
    void *value = (char *)m + f->offset;

    switch (f->kind) {
    case STR: return take_str(o, value);
    case BIN: return take_bin(o, value);
    case BOOL: return take_bool(o, value);
    case INT: return take_int(o, f->range, value);
    case STRS: return take_strings(o, value);
    case INTS: return take_ints(o, f->range, value);
    }
    return wrong_type;
}

/* The type of the message; every key of the map is seen to be a string on the way. */
static const char *take_type(const msgpack_object_map *map, enum pd_type *out)
{
    const msgpack_object *tag = NULL;
    size_t type = 0;

    for (size_t i = 0; i < map->size; i++) {
        const msgpack_object *key = &map->ptr[i].key, *val = &map->ptr[i].val;

        if (key->type != MSGPACK_OBJECT_STR)
            return "a field's name is no string";
        if (!is_named(key, "type"))
            continue;
        if (val->type != MSGPACK_OBJECT_STR || (tag && !msgpack_object_equal(*tag, *val)))
            return "the type is no string, or there are two";
        tag = val;
    }
    if (!tag)
        return "no type";
    while (type < PD_TYPES && !is_named(tag, pd_forms[type].tag))
        type++;
    if (type == PD_TYPES)
        return "unknown type";
    *out = (enum pd_type)type;
    return NULL;
}

static const struct pd_field *find_field(const struct pd_form *form, const msgpack_object *name)
{
    const struct pd_field *f = form->fields;

    while (f->name && !is_named(name, f->name))
        f++;
    return f->name ? f : NULL;
}

static const char *take_fields(const msgpack_object_map *map, struct pd_message *m)
{
    const struct pd_form *form = &pd_forms[m->type];
    bool there[PD_FIELDS_MAX] = {false};

    for (size_t i = 0; i < map->size; i++) {
        const struct pd_field *f = find_field(form, &map->ptr[i].key);
        const char *why = f ? take_field(&map->ptr[i].val, f, m) : NULL;

        if (why)
            return why;
        if (f) {
            there[f - form->fields] = true;
            m->async |= f->need == ASYNC;
        }
    }
    for (size_t i = 0; form->fields[i].name; i++) {
        if (form->fields[i].need == REQUIRED && !there[i])
            return "a field is missing";
    }
    return NULL;
}

/* The lists of an l2fs sender are all there, each as long as `keys`, or none is. */
static bool has_equal_counts(const struct pd_message *m)
{
    size_t n = m->sizes.n ? m->keys.n : 0;

    if (m->type == PD_CACHE_QUERY_RESPONSE)
        return m->keys.n == m->remote_indexes.n;
    if (m->type != PD_ALLOC_REQUEST)
        return true;
    return m->sizes.n == n && m->crcs.n == n && m->modes.n == n && m->uids.n == n &&
           m->gids.n == n && m->mtimes.n == n;
}

static const char *take_message(const msgpack_object *o, struct pd_message *m)
{
    const char *why;

    if (o->type != MSGPACK_OBJECT_MAP)
        return "not a map";
    why = take_type(&o->via.map, &m->type);
    if (!why)
        why = take_fields(&o->via.map, m);
    if (!why && !has_equal_counts(m))
        why = "lists differ in length";
    return why;
}

/* NULL or why not. */
static const char *unpack(const void *data, size_t len, struct pd_message *m)
{
    msgpack_unpacked object;
    size_t off = 0;
    const char *why;

    msgpack_unpacked_init(&object);
    switch (msgpack_unpack_next(&object, data, len, &off)) {
    case MSGPACK_UNPACK_SUCCESS: why = take_message(&object.data, m); break;
    case MSGPACK_UNPACK_NOMEM_ERROR: why = no_memory; break;
    default: why = "not msgpack";
    }
    msgpack_unpacked_destroy(&object);
    return why;
}

int pd_decode(const void *data, size_t len, struct pd_message **out, const char **why)
{
    const char *fault = len > PD_MESSAGE_MAX ? "longer than a message may be" : pd_scan(data, len);
    struct pd_message *m = fault ? NULL : calloc(1, sizeof *m);

    if (!fault)
        fault = m ? unpack(data, len, m) : no_memory;
    if (!fault) {
        *out = m;
        return 0;
    }
    pd_message_free(m);
    *why = fault;
    return fault == no_memory ? -ENOMEM : -EBADMSG;
}

void pd_message_free(struct pd_message *m)
{
    if (!m)
        return;
    free(m->keys.v);
    for (const struct pd_field *f = pd_forms[m->type].fields; f->name; f++) {
        struct pd_ints *list = (struct pd_ints *)((char *)m + f->offset);

        if (f->kind == INTS) {
            free(list->v);
            list->v = NULL;
        }
    }
    free(m);
}
