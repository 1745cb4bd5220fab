/* ctl_show.c - JSON as people read it.
 *
 * Single-threaded. Nothing here knows the members of .l2fs/status by heart, so what a newer daemon
 * adds is shown too; only how numbers of bytes and times are written goes by the name.
 */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 32
#define WIDE 14 /* columns that no terminal has room for */

static bool is_bytes(const char *whole)
{
    const char *dot = strrchr(whole, '.'), *name = dot ? dot + 1 : whole;
    static const char *const names[] = {"capacity",   "used",  "promised",  "size", "l1",
                                        "max_object", "quota", "available", "limit"};
    size_t n = strlen(name);

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!strcmp(name, names[i]))
            return true;
    }
    return n >= 5 && !strcmp(name + n - 5, "bytes");
}

static bool is_seconds(const char *name)
{
    size_t n = strlen(name);

    return n > 2 && !strcmp(name + n - 2, "_s");
}

static void put_list(FILE *out, const char *name, json_t *list)
{
    size_t i;
    json_t *item;

    if (!json_array_size(list))
        fputc('-', out);
    json_array_foreach(list, i, item)
    {
        fputs(i ? "," : "", out);
        ctl_put_value(out, name, item);
    }
}

void ctl_put_members(FILE *out, json_t *object)
{
    const char *name, *separator = "";
    json_t *v;

    json_object_foreach(object, name, v)
    {
        fprintf(out, "%s%s=", separator, name);
        ctl_put_value(out, name, v);
        separator = " ";
    }
}

void ctl_put_text(FILE *out, const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\x%02x", (unsigned char)*s);
        else
            fputc(*s, out);
    }
}

void ctl_put_value(FILE *out, const char *name, json_t *v)
{
    char buf[32];

    if (json_is_string(v))
        ctl_put_text(out, *json_string_value(v) ? json_string_value(v) : "-");
    else if (json_is_boolean(v))
        fputs(json_is_true(v) ? "yes" : "no", out);
    else if (json_is_integer(v) && is_bytes(name))
        fputs(ctl_size(json_number_value(v), buf, sizeof(buf)), out);
    else if (json_is_integer(v) && is_seconds(name))
        fputs(ctl_duration((uint64_t)json_integer_value(v), buf, sizeof(buf)), out);
    else if (json_is_integer(v))
        fprintf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        fprintf(out, "%g", json_real_value(v));
    else if (json_is_array(v))
        put_list(out, name, v);
    else if (json_is_object(v))
        ctl_put_members(out, v);
    else
        fputc('-', out);
}

/* The caller frees; never NULL. */
static char *value_text(const char *name, json_t *v)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (out) {
        ctl_put_value(out, name, v);
        fclose(out);
    }
    if (!text)
        abort();
    return text;
}

/* --- objects --- */

static bool is_table(json_t *v)
{
    return json_is_array(v) && json_is_object(json_array_get(v, 0));
}

void ctl_flatten(json_t *flat, const char *prefix, json_t *object)
{
    const char *name;
    json_t *v;

    json_object_foreach(object, name, v)
    {
        char full[256];

        snprintf(full, sizeof(full), "%s%s%s", prefix, *prefix ? "." : "", name);
        if (json_is_object(v))
            ctl_flatten(flat, full, v);
        else
            json_object_set(flat, full, v);
    }
}

static void show_scalars(const char *prefix, json_t *object)
{
    json_t *flat = json_object(), *v;
    const char *name;

    ctl_flatten(flat, prefix, object);
    json_object_foreach(flat, name, v)
    {
        char *text = is_table(v) ? NULL : value_text(name, v);

        if (text)
            printf("%-24s %s\n", name, text);
        free(text);
    }
    json_decref(flat);
}

/* A list whose objects have too many members for a table. */
static void show_rows(json_t *rows)
{
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        char index[32];

        snprintf(index, sizeof(index), "%zu", i);
        show_scalars(index, row);
    }
}

void ctl_show_object(json_t *object)
{
    const char *name;
    json_t *v;

    show_scalars("", object);
    json_object_foreach(object, name, v)
    {
        if (!is_table(v))
            continue;
        printf("\n%s\n", name);
        if (json_object_size(json_array_get(v, 0)) > WIDE)
            show_rows(v);
        else
            ctl_show_table(stdout, v);
    }
}

/* --- tables --- */

struct columns {
    const char *names[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    size_t n;
};

/* "name" leads. */
static void add_column(struct columns *c, const char *name)
{
    size_t at = !strcmp(name, "name") ? 0 : c->n;

    for (size_t i = 0; i < c->n; i++) {
        if (!strcmp(c->names[i], name))
            return;
    }
    if (c->n == COLUMNS_MAX)
        return;
    memmove(c->names + at + 1, c->names + at, (c->n - at) * sizeof(*c->names));
    c->names[at] = name;
    c->n++;
}

static void measure(struct columns *c, json_t *row)
{
    for (size_t i = 0; i < c->n; i++) {
        char *text = value_text(c->names[i], json_object_get(row, c->names[i]));
        size_t n = strlen(text);

        c->widths[i] = n > c->widths[i] ? n : c->widths[i];
        free(text);
    }
}

/* Numbers stand at the right end of their column. */
static void show_cell(FILE *out, const char *text, int width, bool right, bool last)
{
    if (right)
        fprintf(out, "%*s", width, text);
    else if (last)
        fputs(text, out);
    else
        fprintf(out, "%-*s", width, text);
    fputs(last ? "\n" : "  ", out);
}

static void show_row(FILE *out, const struct columns *c, json_t *row)
{
    for (size_t i = 0; i < c->n; i++) {
        json_t *v = json_object_get(row, c->names[i]);
        char *text = value_text(c->names[i], v);

        show_cell(out, text, (int)c->widths[i], json_is_number(v), i + 1 == c->n);
        free(text);
    }
}

static bool is_number_column(json_t *rows, const char *name)
{
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        if (!json_is_number(json_object_get(row, name)))
            return false;
    }
    return true;
}

void ctl_show_table(FILE *out, json_t *rows)
{
    struct columns c = {0};
    size_t i;
    json_t *row, *v;
    const char *name;

    json_array_foreach(rows, i, row)
    {
        json_object_foreach(row, name, v) add_column(&c, name);
    }
    for (i = 0; i < c.n; i++)
        c.widths[i] = strlen(c.names[i]);
    json_array_foreach(rows, i, row) measure(&c, row);
    for (i = 0; i < c.n; i++)
        show_cell(out, c.names[i], (int)c.widths[i], is_number_column(rows, c.names[i]),
                  i + 1 == c.n);
    json_array_foreach(rows, i, row) show_row(out, &c, row);
}

void ctl_show_event(FILE *out, json_t *event)
{
    const char *when = json_string_value(json_object_get(event, "time"));
    const char *what = json_string_value(json_object_get(event, "event"));
    json_t *rest = json_copy(event), *key;

    json_object_del(rest, "seq");
    json_object_del(rest, "time");
    json_object_del(rest, "event");
    key = json_incref(json_object_get(rest, "key"));
    json_object_del(rest, "key");
    fprintf(out, "%s %-12s ", when ? when : "-", what ? what : "-");
    if (key)
        ctl_put_value(out, "key", key);
    if (key && json_object_size(rest))
        fputs("  ", out);
    ctl_put_members(out, rest);
    fputc('\n', out);
    json_decref(key);
    json_decref(rest);
}
