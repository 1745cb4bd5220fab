/* fuzz_key.c - key shapes and the object key codec.
 *
 * Invariants: an accepted key stays accepted as a directory and lies below each of its parents; a
 * file or wire name that decodes encodes to itself (a legacy name to one that decodes to the same
 * key); a valid key built from the input survives both forms.
 */
#include "key.h"

#include <stdio.h>

#define TEXT_MAX 8192

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shape(const char *key)
{
    size_t len = strlen(key);
    char dir[KEY_PATH_MAX + 2];

    if (key_check(key, false))
        return;
    CHECK(len > 0 && len <= KEY_PATH_MAX);
    CHECK(key_check(key, true) == -EINVAL);
    CHECK(key_below(key, "") && key_below(key, key));
    memcpy(dir, key, len + 1);
    strcpy(dir + len, "/");
    CHECK(key_check(dir, true) == (len < KEY_PATH_MAX ? 0 : -ENAMETOOLONG));
    CHECK(key_check(dir, false) < 0);
    dir[len] = '\0';
    for (char *slash; (slash = strrchr(dir, '/'));) {
        *slash = '\0';
        CHECK(!key_check(dir, false));
        CHECK(key_below(key, dir) && !key_below(dir, key));
    }
}

static size_t count(const char *s, char c)
{
    size_t n = 0;

    for (; *s; s++)
        n += *s == c;
    return n;
}

static void check_file(const char *name)
{
    struct object_key k, again;
    char text[KEY_NAME_MAX + 1];
    size_t fields = count(name, '@') + 1;

    if (object_key_from_file(name, &k))
        return;
    CHECK(!object_key_check(&k));
    CHECK(!key_check(name, false));
    if (object_key_to_file(&k, text, sizeof text)) {
        CHECK(fields == 3 || fields == 4); /* a legacy name grows by "@0" */
        return;
    }
    CHECK(!object_key_from_file(text, &again));
    CHECK(object_key_equal(&k, &again));
    CHECK(!strcmp(name, text) || (fields == (*k.salt ? 4 : 3) && strlen(text) == strlen(name) + 2));
}

static void check_wire(const char *wire)
{
    struct object_key k;
    char text[TEXT_MAX];

    if (object_key_from_wire(wire, &k))
        return;
    CHECK(!object_key_check(&k));
    CHECK(!object_key_to_wire(&k, text, sizeof text));
    CHECK(!strcmp(wire, text));
    CHECK(object_key_to_wire(&k, text, strlen(wire)) == -ENAMETOOLONG);
}

/* Takes a key apart from raw bytes: 8 bytes of numbers, hash, model, salt. */
static void build(const uint8_t *data, size_t size, struct object_key *k)
{
    size_t model_len, salt_len;

    memset(k, 0, sizeof *k);
    memcpy(&k->kv_rank, data, 4);
    memcpy(&k->group, data + 4, 4);
    k->hash_len = 1 + data[8] % sizeof k->hash;
    model_len = data[9];
    data += 10;
    size -= 10;
    memcpy(k->hash, data, MIN(k->hash_len, size));
    data += MIN(k->hash_len, size);
    size -= MIN(k->hash_len, size);
    model_len = MIN(model_len, size);
    memcpy(k->model, data, model_len);
    salt_len = MIN(size - model_len, sizeof k->salt - 1);
    memcpy(k->salt, data + model_len, salt_len);
}

static void check_built(const struct object_key *k)
{
    struct object_key back;
    char text[TEXT_MAX], model[TEXT_MAX] = "";

    if (object_key_check(k)) {
        CHECK(object_key_to_wire(k, text, sizeof text) == -EINVAL);
        CHECK(object_key_to_file(k, text, sizeof text) == -EINVAL);
        return;
    }
    CHECK(!object_key_to_wire(k, text, sizeof text));
    CHECK(!object_key_from_wire(text, &back));
    CHECK(object_key_equal(k, &back));
    if (object_key_to_file(k, text, sizeof text))
        return;
    CHECK(strlen(text) <= KEY_NAME_MAX && !strchr(text, '/'));
    CHECK(!object_key_from_file(text, &back));
    for (const char *p = k->model; *p; p++) /* what the model looks like with '/' replaced */
        strncat(model, *p == '/' ? "-SEP-" : (char[]){*p, 0}, 5);
    CHECK(!strncmp(text, model, strlen(model)));
    if (!strstr(k->model, "SEP"))
        CHECK(object_key_equal(k, &back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct object_key k;
    char text[TEXT_MAX];

    if (size >= sizeof text)
        return -1;
    memcpy(text, data, size);
    text[size] = '\0';
    check_shape(text);
    check_file(text);
    check_wire(text);
    if (size >= 10) {
        build(data, size, &k);
        check_built(&k);
    }
    return 0;
}
