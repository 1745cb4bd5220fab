/* text.c - growing strings, glob lists and spelling help.
 *
 * Thread model: none; a struct text belongs to one thread, the rest are pure functions.
 */
#include "text.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>

#define FIRST_CAP 64
#define PATTERN_MAX 4096
#define WORD_MAX 128

/* Room for `more` bytes and a NUL behind them. */
static bool reserve(struct text *t, size_t more)
{
    size_t need, cap;
    char *data;

    if (t->failed)
        return false;
    if (__builtin_add_overflow(t->len, more, &need) || need >= SIZE_MAX / 2) {
        t->failed = true;
        return false;
    }
    if (need < t->cap)
        return true;
    cap = MAX(MAX(t->cap * 2, need + 1), (size_t)FIRST_CAP);
    data = realloc(t->data, cap);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

void text_append(struct text *t, const char *data, size_t len)
{
    if (!reserve(t, len))
        return;
    if (len)
        memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_puts(struct text *t, const char *s)
{
    text_append(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    text_vprintf(t, fmt, ap);
    va_end(ap);
}

void text_vprintf(struct text *t, const char *fmt, va_list ap)
{
    va_list measure;
    int n;

    va_copy(measure, ap);
    n = vsnprintf(NULL, 0, fmt, measure);
    va_end(measure);
    if (n < 0) {
        t->failed = true;
        return;
    }
    if (!reserve(t, (size_t)n))
        return;
    vsnprintf(t->data + t->len, (size_t)n + 1, fmt, ap);
    t->len += (size_t)n;
}

char *text_steal(struct text *t, size_t *len)
{
    char *data = NULL;

    text_append(t, "", 0);
    if (!t->failed) {
        data = t->data;
        if (len)
            *len = t->len;
        t->data = NULL;
    }
    text_fini(t);
    return data;
}

void text_fini(struct text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

/* Length of a character class such as "[:digit:]" at `p`, 0 when there is none: its colons do not
 * separate patterns. */
static size_t class_length(const char *p)
{
    size_t n = 2;

    if (p[0] != '[' || p[1] != ':')
        return 0;
    while (isalpha((unsigned char)p[n]))
        n++;
    return n > 2 && p[n] == ':' && p[n + 1] == ']' ? n + 2 : 0;
}

static size_t pattern_length(const char *globs)
{
    size_t n = 0;

    while (globs[n] && globs[n] != ':') {
        size_t skip = class_length(globs + n);

        n += skip ? skip : 1;
    }
    return n;
}

bool text_match_globs(const char *globs, const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    char pattern[PATTERN_MAX];

    while (globs && *globs) {
        size_t n = pattern_length(globs);

        if (n > 0 && n < sizeof pattern) {
            memcpy(pattern, globs, n);
            pattern[n] = '\0';
            if (strchr(pattern, '/') ? !fnmatch(pattern, name, FNM_PATHNAME)
                                     : !fnmatch(pattern, last, 0))
                return true;
        }
        globs += n;
        globs += *globs == ':';
    }
    return false;
}

/* Levenshtein distance; both shorter than WORD_MAX. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[WORD_MAX], nb = strlen(b);

    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[nb];
}

const char *text_nearest(const char *word, const char *const *names, size_t n)
{
    size_t len = strlen(word), best = len / 2 + 1;
    const char *nearest = NULL;

    if (len >= WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t distance;

        if (strlen(names[i]) >= WORD_MAX)
            continue;
        distance = edit_distance(word, names[i]);
        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}
