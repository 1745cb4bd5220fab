/* key.c - the shape of keys, and LMCache object keys to and from their names.
 *
 * Thread model: pure functions. The codec is strict: only what the encoder writes is read back
 * (lower-case hex, no padding of the group, ranks of 8 digits), so that one object has one name.
 * A model name that holds a literal "-SEP-" reads back with '/' in its place, as in LMCache.
 */
#include "key.h"

#include <stdio.h>

#define SEP "-SEP-"
#define SEP_LEN (sizeof SEP - 1)
#define SUFFIX ".data"
#define SUFFIX_LEN (sizeof SUFFIX - 1)
#define GROUP_DIGITS 8
#define MAX_FIELDS 5

struct field {
    const char *data;
    size_t len;
};

/* Bytes that did not fit are counted: `len` is what would have been written. */
struct writer {
    char *buf;
    size_t size;
    size_t len;
};

static int check_component(const char *c, size_t len)
{
    if (len == 0 || (len == 1 && c[0] == '.') || (len == 2 && c[0] == '.' && c[1] == '.'))
        return -EINVAL;
    return len > KEY_NAME_MAX ? -ENAMETOOLONG : 0;
}

int key_check(const char *key, bool dir)
{
    size_t len = strnlen(key, KEY_PATH_MAX + 1);
    const char *end = key + len;

    if (len > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    if (dir && (len == 0 || *--end != '/'))
        return -EINVAL;
    for (const char *p = key; p <= end; p++) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        int rc = check_component(p, (size_t)(stop - p));

        if (rc)
            return rc;
        p = stop;
    }
    return 0;
}

bool key_below(const char *key, const char *dir)
{
    size_t len = strlen(dir);

    return len == 0 || (!strncmp(key, dir, len) && (key[len] == '\0' || key[len] == '/'));
}

static size_t utf8_length(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

int object_key_check(const struct object_key *k)
{
    if (k->hash_len < 1 || k->hash_len > sizeof k->hash)
        return -EINVAL;
    if (strnlen(k->model, sizeof k->model) == sizeof k->model || strchr(k->model, '@'))
        return -EINVAL;
    if (strnlen(k->salt, sizeof k->salt) == sizeof k->salt || strpbrk(k->salt, "@/\\"))
        return -EINVAL;
    return utf8_length(k->salt) > KEY_SALT_MAX ? -EINVAL : 0;
}

static void put(struct writer *w, const char *data, size_t len)
{
    if (w->len < w->size)
        memcpy(w->buf + w->len, data, MIN(len, w->size - w->len));
    w->len += len;
}

static void put_string(struct writer *w, const char *s)
{
    put(w, s, strlen(s));
}

static void put_file_model(struct writer *w, const char *model)
{
    for (; *model; model++) {
        if (*model == '/')
            put(w, SEP, SEP_LEN);
        else
            put(w, model, 1);
    }
}

/* What both forms share: "<rank>@<group>@<hash>[@<salt>]". */
static void put_tail(struct writer *w, const struct object_key *k)
{
    char digits[32];

    snprintf(digits, sizeof digits, "%08x@%x@", k->kv_rank, k->group);
    put_string(w, digits);
    for (size_t i = 0; i < k->hash_len; i++) {
        snprintf(digits, sizeof digits, "%02x", k->hash[i]);
        put_string(w, digits);
    }
    if (*k->salt) {
        put_string(w, "@");
        put_string(w, k->salt);
    }
}

static int finish(struct writer *w)
{
    if (w->len >= w->size)
        return -ENAMETOOLONG;
    w->buf[w->len] = '\0';
    return 0;
}

int object_key_to_file(const struct object_key *k, char *buf, size_t len)
{
    char name[KEY_NAME_MAX + 1];
    struct writer w = {.buf = name, .size = sizeof name};
    int rc = object_key_check(k);

    if (rc)
        return rc;
    put_file_model(&w, k->model);
    put_string(&w, "@0x");
    put_tail(&w, k);
    put_string(&w, SUFFIX);
    rc = finish(&w);
    if (rc)
        return rc;
    if (w.len >= len)
        return -ENAMETOOLONG;
    memcpy(buf, name, w.len + 1);
    return 0;
}

static size_t wire_length(const struct object_key *k)
{
    struct writer w = {0};

    put_string(&w, k->model);
    put_string(&w, "@");
    put_tail(&w, k);
    return w.len;
}

int object_key_to_wire(const struct object_key *k, char *buf, size_t len)
{
    struct writer w = {.buf = buf, .size = len};
    int rc = object_key_check(k);

    if (rc)
        return rc;
    if (wire_length(k) >= len)
        return -ENAMETOOLONG;
    put_string(&w, k->model);
    put_string(&w, "@");
    put_tail(&w, k);
    return finish(&w);
}

/* Cuts `text` at every '@'. The number of fields, 0 when there are more than MAX_FIELDS. */
static size_t split(const char *text, size_t len, struct field *fields)
{
    const char *end = text + len;
    size_t n = 0;

    while (n < MAX_FIELDS) {
        const char *at = memchr(text, '@', (size_t)(end - text));

        fields[n].data = text;
        fields[n++].len = (size_t)((at ? at : end) - text);
        if (!at)
            return n;
        text = at + 1;
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_hex32(struct field f, uint32_t *out)
{
    uint32_t v = 0;

    if (f.len == 0 || f.len > 8)
        return -EINVAL;
    for (size_t i = 0; i < f.len; i++) {
        int d = hex_digit(f.data[i]);

        if (d < 0)
            return -EINVAL;
        v = v << 4 | (uint32_t)d;
    }
    *out = v;
    return 0;
}

static int parse_rank(struct field f, bool prefix, uint32_t *out)
{
    if (prefix) {
        if (f.len < 2 || memcmp(f.data, "0x", 2))
            return -EINVAL;
        f.data += 2;
        f.len -= 2;
    }
    return f.len == 8 ? parse_hex32(f, out) : -EINVAL;
}

static int parse_group(struct field f, uint32_t *out)
{
    if (f.len > 1 && f.data[0] == '0')
        return -EINVAL;
    return parse_hex32(f, out);
}

static int parse_hash(struct field f, struct object_key *k)
{
    if (f.len == 0 || f.len % 2 || f.len > 2 * sizeof k->hash)
        return -EINVAL;
    for (size_t i = 0; i < f.len; i += 2) {
        int high = hex_digit(f.data[i]), low = hex_digit(f.data[i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        k->hash[i / 2] = (uint8_t)(high << 4 | low);
    }
    k->hash_len = f.len / 2;
    return 0;
}

static int parse_salt(struct field f, struct object_key *k)
{
    if (f.len == 0 || f.len >= sizeof k->salt)
        return -EINVAL;
    memcpy(k->salt, f.data, f.len);
    k->salt[f.len] = '\0';
    return 0;
}

/* Copies the model, in a file name with "-SEP-" as '/' (and no '/' of its own). */
static int parse_model(struct field f, bool file, struct object_key *k)
{
    size_t n = 0;

    for (size_t i = 0; i < f.len;) {
        bool sep = file && f.len - i >= SEP_LEN && !memcmp(f.data + i, SEP, SEP_LEN);

        if (n + 1 >= sizeof k->model || (file && f.data[i] == '/'))
            return -EINVAL;
        k->model[n++] = sep ? '/' : f.data[i];
        i += sep ? SEP_LEN : 1;
    }
    k->model[n] = '\0';
    return 0;
}

/* The fields behind model and rank: [group] hash [salt]. */
static int parse_tail(const struct field *f, size_t n, bool legacy, struct object_key *k)
{
    int rc = 0;

    if (!legacy) {
        rc = parse_group(*f++, &k->group);
        n--;
    }
    if (!rc)
        rc = parse_hash(*f++, k);
    if (!rc && n > 1)
        rc = parse_salt(*f, k);
    return rc;
}

/* A name without group has three fields, or four with a salt; then its third is the hash, which
 * shows by being longer than a group can be. */
static bool is_legacy(const struct field *f, size_t n)
{
    return n == 3 || (n == 4 && f[2].len > GROUP_DIGITS);
}

static int parse(const char *text, size_t len, bool file, struct object_key *out)
{
    struct field f[MAX_FIELDS];
    struct object_key k = {0};
    size_t n = split(text, len, f);
    bool legacy = file && is_legacy(f, n);
    int rc;

    if (n < 4 && !legacy)
        return -EINVAL;
    rc = parse_model(f[0], file, &k);
    if (!rc)
        rc = parse_rank(f[1], file, &k.kv_rank);
    if (!rc)
        rc = parse_tail(f + 2, n - 2, legacy, &k);
    if (!rc)
        rc = object_key_check(&k);
    if (!rc)
        *out = k;
    return rc;
}

int object_key_from_file(const char *name, struct object_key *k)
{
    size_t len = strnlen(name, KEY_NAME_MAX + 1);

    if (len > KEY_NAME_MAX || len < SUFFIX_LEN || strcmp(name + len - SUFFIX_LEN, SUFFIX))
        return -EINVAL;
    return parse(name, len - SUFFIX_LEN, true, k);
}

int object_key_from_wire(const char *text, struct object_key *k)
{
    return parse(text, strlen(text), false, k);
}

uint32_t kv_rank_pack(uint8_t world, uint8_t global, uint8_t local_world, uint8_t local)
{
    return (uint32_t)world << 24 | (uint32_t)global << 16 | (uint32_t)local_world << 8 | local;
}

bool object_key_equal(const struct object_key *a, const struct object_key *b)
{
    return a->hash_len == b->hash_len && !memcmp(a->hash, b->hash, a->hash_len) &&
           a->kv_rank == b->kv_rank && a->group == b->group && !strcmp(a->model, b->model) &&
           !strcmp(a->salt, b->salt);
}
