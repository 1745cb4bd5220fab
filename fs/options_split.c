/* options_split.c - cuts an -o string at its commas.
 *
 * Pure functions. JSON values carry commas of their own, and mount(8) hands them through as they
 * stand in fstab, so a value that opens with a bracket runs to the bracket that closes it.
 */
#include "options_impl.h"

#include <stdio.h>

/* The bytes of a bracketed value at `p`, quotes and nesting minded; 0: it never closes. */
static size_t bracketed_length(const char *p)
{
    size_t depth = 0, n = 0;
    bool quoted = false;

    do {
        if (p[n] == '\0')
            return 0;
        if (quoted && p[n] == '\\' && p[n + 1])
            n++;
        else if (p[n] == '"')
            quoted = !quoted;
        else if (!quoted && (p[n] == '{' || p[n] == '['))
            depth++;
        else if (!quoted && (p[n] == '}' || p[n] == ']'))
            depth--;
        n++;
    } while (depth > 0);
    return n;
}

/* Appends plain text up to a comma; returns what is left. */
static const char *take_plain(const char *p, struct text *value)
{
    for (; *p && *p != ','; p++) {
        p += *p == '\\' && p[1] == ',';
        text_append(value, p, 1);
    }
    return p;
}

/* Reads the value at `*text` and leaves it at the comma or the end. */
static int take_value(const char **text, const char *name, struct text *value, struct text *err)
{
    const char *p = *text, *end;
    size_t n;

    text_append(value, "", 0);
    if (*p == '{' || *p == '[') {
        n = bracketed_length(p);
        if (!n) {
            text_printf(err, "option %.80s: the value %.80s has no closing %s", name, p,
                        *p == '{' ? "}" : "]");
            return -EINVAL;
        }
        text_append(value, p, n);
        p += n;
    } else if (*p == '"') {
        end = strchr(p + 1, '"');
        if (!end) {
            text_printf(err, "option %.80s: the value %.80s has no closing quote", name, p);
            return -EINVAL;
        }
        text_append(value, p + 1, (size_t)(end - p - 1));
        p = end + 1;
    }
    *text = take_plain(p, value);
    return 0;
}

/* Reads one option at `*text`, which is not at a comma. */
static int take_option(const char **text, options_fn *fn, void *arg, struct text *err)
{
    size_t n = strcspn(*text, "=,");
    AUTO_FREE char *name = strndup(*text, n);
    AUTO_FREE char *owned = NULL;
    struct text value = {0};
    int rc;

    if (!name)
        return -ENOMEM;
    if (!n) {
        text_printf(err, "-o %.80s: an option has a name before the \"=\"", *text);
        return -EINVAL;
    }
    *text += n;
    if (**text != '=')
        return fn(arg, name, NULL);
    (*text)++;
    rc = take_value(text, name, &value, err);
    owned = text_steal(&value, NULL);
    if (rc)
        return rc;
    return owned ? fn(arg, name, owned) : -ENOMEM;
}

int options_split(const char *text, options_fn *fn, void *arg, struct text *err)
{
    int rc = 0;

    while (*text && !rc) {
        if (*text == ',')
            text++;
        else
            rc = take_option(&text, fn, arg, err);
    }
    return rc;
}
