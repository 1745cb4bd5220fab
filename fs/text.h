/* text.h - a growing string, path globs, and "did you mean". Level 0. */
#ifndef L2FS_TEXT_H
#define L2FS_TEXT_H

#include <stdarg.h>

#include "base.h"

/* A growing byte string. Zero-initialise; text_fini frees. An allocation failure latches
 * `failed`: later appends do nothing and text_steal returns NULL, so callers check once. */
struct text {
    char *data; /* NUL terminated when not NULL */
    size_t len;
    size_t cap;
    bool failed;
};

void text_append(struct text *t, const char *data, size_t len);
void text_puts(struct text *t, const char *s);
void text_printf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_vprintf(struct text *t, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
char *text_steal(struct text *t, size_t *len); /* ownership to the caller; t is empty again */
void text_fini(struct text *t);

/* True when `name` matches one of the colon-separated fnmatch(3) patterns (an empty list matches
 * nothing). The patterns see the last path component only, unless a pattern contains '/', which is
 * then matched (FNM_PATHNAME) against the whole key. */
bool text_match_globs(const char *globs, const char *name);

/* The nearest of `n` names by edit distance, or NULL when none is near (distance > 1/2 length). */
const char *text_nearest(const char *word, const char *const *names, size_t n);

#endif
