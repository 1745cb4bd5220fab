/* ctl_text.c - pure functions of l2fsctl: how numbers are written, and what metrics say. */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

const char *ctl_size(double bytes, char *buf, size_t len)
{
    static const char units[] = "\0KMGTPE";
    const char *unit = units;

    while (bytes >= 1024 && unit[1]) {
        bytes /= 1024;
        unit++;
    }
    if (*unit)
        snprintf(buf, len, bytes < 10 ? "%.2f%c" : "%.1f%c", bytes, *unit);
    else
        snprintf(buf, len, "%.0f", bytes);
    return buf;
}

const char *ctl_duration(uint64_t s, char *buf, size_t len)
{
    static const struct {
        uint64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t at = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(units) && at < len; i++) {
        if (s < units[i].seconds && !at && units[i].seconds > 1)
            continue;
        at += (size_t)snprintf(buf + at, len - at, "%s%llu%c", at ? " " : "",
                               (unsigned long long)(s / units[i].seconds), units[i].unit);
        s %= units[i].seconds;
    }
    return buf;
}

const char *ctl_bar(double share, double mark, size_t width, char *buf, size_t len)
{
    size_t full, at;

    if (len < width + 3)
        return "";
    share = share > 0 ? MIN(share, 1.0) : 0;
    full = (size_t)(share * (double)width + 0.5);
    if (!full && share > 0)
        full = 1;
    buf[0] = '[';
    memset(buf + 1, '#', full);
    memset(buf + 1 + full, '.', width - full);
    if (mark > 0 && mark < 1) {
        at = (size_t)(mark * (double)width);
        buf[1 + at] = '|';
    }
    buf[width + 1] = ']';
    buf[width + 2] = '\0';
    return buf;
}

/* Writes one piece when all that it names is there. */
static void fill_piece(FILE *out, const char *piece, size_t len, json_t *object)
{
    char name[64];
    const char *end = piece + len;

    for (int writing = 0; writing < 2; writing++) {
        for (const char *p = piece; p < end;) {
            const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
            json_t *v;

            if (!close) {
                if (writing)
                    fputc(*p, out);
                p++;
                continue;
            }
            snprintf(name, sizeof(name), "%.*s", (int)(close - p - 1), p + 1);
            v = json_object_get(object, name);
            if (!v)
                return;
            if (writing) {
                ctl_put_value(out, name, v);
                json_object_del(object, name);
            }
            p = close + 1;
        }
    }
}

void ctl_fill(FILE *out, const char *pieces, json_t *object)
{
    for (;;) {
        size_t len = strcspn(pieces, "|");

        fill_piece(out, pieces, len, object);
        if (!pieces[len])
            return;
        pieces += len + 1;
    }
}

bool ctl_in_list(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = list; *p; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");

        if (len == n && !strncmp(p, word, n))
            return true;
        p += len;
    }
    return false;
}

double ctl_sample(const char *metrics, const char *name)
{
    size_t n = strlen(name);
    double sum = -1;

    for (const char *line = metrics; line && *line;) {
        const char *value = NULL;

        if (!strncmp(line, name, n))
            value = line[n] == ' ' ? line + n : line[n] == '{' ? strstr(line + n, "} ") : NULL;
        if (value)
            sum = MAX(sum, 0.0) + strtod(value + 1, NULL);
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return sum;
}

double ctl_rate(double before, double now, double seconds)
{
    return seconds > 0 && now > before ? (now - before) / seconds : 0;
}
