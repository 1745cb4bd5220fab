/* pd_keys.c - reads CURVE keys from text files, line by line.
 *
 * '#' begins a comment and is a Z85 digit too, so a word of 40 digits is taken whole.
 */
#include "pd_keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "log.h"

#define Z85_LEN 40
#define FILE_MAX_BYTES (1 << 20)

enum kind { BARE, PUBLIC, SECRET, KINDS };

/* What a file holds. */
struct found {
    const char *path;
    struct pd_key *keys[KINDS];
    size_t n[KINDS];
};

static void found_fini(struct found *f)
{
    for (int i = 0; i < KINDS; i++) {
        if (f->n[i])
            explicit_bzero(f->keys[i], f->n[i] * sizeof(struct pd_key));
        free(f->keys[i]);
    }
}

static bool decode_group(const char *digits, uint8_t out[4])
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   ".-:+=^!/*?&<>()[]{}@%$#";
    uint64_t value = 0;

    for (int i = 0; i < 5; i++) {
        const char *at = memchr(alphabet, digits[i], sizeof(alphabet) - 1);

        if (!at)
            return false;
        value = value * 85 + (uint64_t)(at - alphabet);
    }
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    return value <= UINT32_MAX;
}

static bool decode_key(const char *word, size_t len, struct pd_key *out)
{
    if (len != Z85_LEN)
        return false;
    for (size_t i = 0; i < Z85_LEN / 5; i++) {
        if (!decode_group(word + i * 5, out->bytes + i * 4))
            return false;
    }
    return true;
}

static int add(struct found *f, enum kind kind, const struct pd_key *key)
{
    struct pd_key *more = reallocarray(f->keys[kind], f->n[kind] + 1, sizeof(*more));

    if (!more)
        return -ENOMEM;
    more[f->n[kind]++] = *key;
    f->keys[kind] = more;
    return 0;
}

/* The rest of a line is nothing but a comment. */
static bool ends(const char *rest)
{
    rest += strspn(rest, " \t\r");
    return *rest == '\0' || *rest == '#';
}

/* NAME = "VALUE" of a certificate: -ENOENT when it is none. */
static int parse_setting(struct found *f, const char *line)
{
    size_t name = strcspn(line, " \t=");
    const char *value = line + name + strspn(line + name, " \t");
    size_t len;
    struct pd_key key;
    enum kind kind;

    if (*value != '=')
        return -ENOENT;
    value += 1 + strspn(value + 1, " \t");
    if (*value++ != '"')
        return -EINVAL;
    len = strcspn(value, "\"");
    if (!value[len] || !ends(value + len + 1))
        return -EINVAL;
    if (name == strlen("public-key") && !memcmp(line, "public-key", name))
        kind = PUBLIC;
    else if (name == strlen("secret-key") && !memcmp(line, "secret-key", name))
        kind = SECRET;
    else
        return 0;
    return decode_key(value, len, &key) ? add(f, kind, &key) : -EINVAL;
}

static int parse_line(struct found *f, const char *line)
{
    size_t len;
    struct pd_key key;
    int err;

    line += strspn(line, " \t\r");
    len = strcspn(line, " \t\r");
    if (decode_key(line, len, &key) && ends(line + len))
        return add(f, BARE, &key);
    if (ends(line))
        return 0;
    err = parse_setting(f, line);
    if (err != -ENOENT)
        return err;
    if ((len == strlen("metadata") && !memcmp(line, "metadata", len)) ||
        (len == strlen("curve") && !memcmp(line, "curve", len)))
        return ends(line + len) ? 0 : -EINVAL;
    return -EINVAL;
}

static int parse(struct found *f, FILE *file)
{
    AUTO_FREE char *line = NULL;
    size_t cap = 0, number = 0;
    int err = 0;

    while (!err && getline(&line, &cap, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        number++;
        err = parse_line(f, line);
        if (err == -EINVAL)
            log_err("%s: line %zu is not a key: write 40 characters of Z85 on a line of its own, "
                    "public-key = \"...\" or secret-key = \"...\"",
                    f->path, number);
    }
    if (!err && ferror(file))
        err = -EIO;
    if (line)
        explicit_bzero(line, cap);
    if (err && err != -EINVAL)
        log_err("cannot read the key file %s: %s", f->path, strerror(-err));
    return err;
}

/* 0 or -errno with a log line. *private: nobody but the owner may read or write it. */
static int read_file(struct found *f, bool *private)
{
    FILE *file = fopen(f->path, "re");
    struct stat st;
    int err;

    if (!file || fstat(fileno(file), &st)) {
        err = -errno;
        log_err("cannot read the key file %s: %s", f->path, strerror(-err));
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES) {
        err = -EINVAL;
        log_err("the key file %s is not a regular file of at most 1 MiB", f->path);
    } else {
        *private = !(st.st_mode & (S_IRWXG | S_IRWXO));
        err = parse(f, file);
    }
    if (file)
        fclose(file);
    return err;
}

/* The key named so, else the one without a name. */
static int pick(const struct found *f, enum kind kind, struct pd_key *out)
{
    enum kind from = f->n[kind] ? kind : BARE;

    if (f->n[from] == 1) {
        *out = f->keys[from][0];
        return 0;
    }
    log_err("the key file %s holds %zu %s keys, and must hold one", f->path, f->n[from],
            kind == SECRET ? "secret" : "public");
    return -EINVAL;
}

int pd_key_load_public(const char *path, struct pd_key *out)
{
    __attribute__((cleanup(found_fini))) struct found f = {.path = path};
    bool private;
    int err = read_file(&f, &private);

    return err ? err : pick(&f, PUBLIC, out);
}

int pd_key_load_secret(const char *path, struct pd_key *out)
{
    __attribute__((cleanup(found_fini))) struct found f = {.path = path};
    bool private;
    int err = read_file(&f, &private);

    if (err)
        return err;
    if (!private) {
        log_err("the secret key in %s can be read or written by others: chmod 600 it, and make a "
                "new one if somebody may have read it",
                path);
        return -EACCES;
    }
    return pick(&f, SECRET, out);
}

int pd_key_load_list(const char *path, struct pd_key **out, size_t *n)
{
    __attribute__((cleanup(found_fini))) struct found f = {.path = path};
    bool private;
    int err = read_file(&f, &private);

    for (size_t i = 0; !err && i < f.n[PUBLIC]; i++)
        err = add(&f, BARE, &f.keys[PUBLIC][i]);
    if (err)
        return err;
    if (!f.n[BARE]) {
        log_err("%s holds no public key: write those of the senders that may connect, one a line",
                path);
        return -EINVAL;
    }
    *out = f.keys[BARE];
    *n = f.n[BARE];
    f.keys[BARE] = NULL;
    f.n[BARE] = 0;
    return 0;
}
