/* options_json.c - JSON files, and where in one a thing stands.
 *
 * Pure functions. jansson tells line and column of a syntax error but forgets the places of what it
 * read; for a value that parses and is wrong, options_locate finds the place again in the text.
 */
#include "options_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (16 * MIB)

/* The whole file with a NUL behind it. */
static int read_file(const char *path, char **out, size_t *len)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO_FREE char *text = NULL;
    struct stat st;
    size_t n = 0;

    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if ((uint64_t)st.st_size > FILE_MAX_BYTES)
        return -EFBIG;
    text = malloc((size_t)st.st_size + 1);
    if (!text)
        return -ENOMEM;
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    text[n] = '\0';
    *len = n;
    *out = text;
    text = NULL;
    return 0;
}

int options_load_json(const char *path, char **text, json_t **out, struct text *err)
{
    AUTO_FREE char *data = NULL;
    json_error_t where;
    size_t len = 0;
    int rc = read_file(path, &data, &len);

    if (rc) {
        text_printf(err, "%s: cannot read it: %s", path, strerror(-rc));
        return rc;
    }
    *out = json_loadb(data, len, JSON_REJECT_DUPLICATES, &where);
    if (!*out) {
        text_printf(err, "%s: line %d column %d: %s", path, where.line, where.column, where.text);
        return -EINVAL;
    }
    *text = data;
    data = NULL;
    return 0;
}

/* --- places --- */

/* A walk over JSON text that is known to be valid. */
struct walk {
    const char *p;
    unsigned line, column; /* of p, from 1 */
};

static void step(struct walk *w)
{
    if (*w->p == '\n') {
        w->line++;
        w->column = 0;
    }
    w->p++;
    w->column++;
}

static void skip_space(struct walk *w)
{
    while (*w->p && strchr(" \t\r\n,:", *w->p))
        step(w);
}

static void skip_string(struct walk *w)
{
    step(w);
    while (*w->p && *w->p != '"') {
        if (*w->p == '\\' && w->p[1])
            step(w);
        step(w);
    }
    if (*w->p)
        step(w);
}

/* One value of any kind. */
static void skip_value(struct walk *w)
{
    size_t depth = 0;

    do {
        skip_space(w);
        if (*w->p == '"') {
            skip_string(w);
        } else if (*w->p && strchr("{[", *w->p)) {
            depth++;
            step(w);
        } else if (*w->p && strchr("}]", *w->p)) {
            depth -= depth > 0;
            step(w);
        } else {
            while (*w->p && !strchr(" \t\r\n,:{}[]\"", *w->p))
                step(w);
        }
    } while (*w->p && depth > 0);
}

/* Moves to the value of `name` in the object at `w`. */
static bool enter_member(struct walk *w, const char *name)
{
    size_t n = strlen(name);

    skip_space(w);
    if (*w->p != '{')
        return false;
    step(w);
    for (skip_space(w); *w->p == '"'; skip_space(w)) {
        const char *key = w->p + 1;

        skip_string(w);
        if (!strncmp(key, name, n) && key[n] == '"') {
            skip_space(w);
            return true;
        }
        skip_value(w);
    }
    return false;
}

bool options_locate(const char *text, const char *name, int index, unsigned *line, unsigned *column)
{
    struct walk w = {.p = text, .line = 1, .column = 1};

    if (!enter_member(&w, name))
        return false;
    if (index >= 0 && *w.p == '[') {
        step(&w);
        skip_space(&w);
        for (int i = 0; i < index && *w.p; i++) {
            skip_value(&w);
            skip_space(&w);
        }
    }
    *line = w.line;
    *column = w.column;
    return *w.p != '\0';
}
