/* bench_markdown.c - l2bench --report: report.md and, for gnuplot, report.dat, from what report.json has. */
#include <math.h>
#include <stdio.h>

#include "bench_report.h"
#include "units.h"

static const struct heading {
    const char *section, *title;
} headings[] = {
    {"a", "Keys in memory, beside a plain tmpfs"},
    {"b", "Names and small keys"},
    {"c", "The disk, beside fio"},
    {"d", "A push between two nodes, beside ucx_perftest"},
    {"e", "What is used today"},
    {"f", "Processor time"},
};

static double number(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *text(json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value ? value : "";
}

static const char *size_text(json_t *row, char buf[32])
{
    json_t *size = json_object_get(row, "size");

    return size ? units_format_size((uint64_t)json_integer_value(size), buf, 32) : "";
}

static void print_count(FILE *f, json_t *count)
{
    if (count)
        fprintf(f, " %d |", (int)json_integer_value(count));
    else
        fputs("  |", f);
}

static void print_row(FILE *f, json_t *row)
{
    const char *unit = text(row, "unit");
    char size[32];

    fprintf(f, "| %s | %s |", text(row, "name"), size_text(row, size));
    print_count(f, json_object_get(row, "streams"));
    if (json_object_get(row, "not_measured"))
        fprintf(f, " not measured: %s | | | | |\n", text(row, "not_measured"));
    else
        fprintf(f, " %.3g %s | %.3g %s | **%.2f** | %.2f - %.2f | %d |\n", number(row, "l2fs"),
                unit, number(row, "beside"), unit, number(row, "ratio"), number(row, "ratio_low"),
                number(row, "ratio_high"), (int)number(row, "pairs"));
}

/* What each name of the section means, once. */
static void print_meanings(FILE *f, json_t *rows, const char *section)
{
    json_t *row, *seen = json_object();
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (strcmp(text(row, "section"), section) != 0 || json_object_get(row, "not_measured") ||
            json_object_get(seen, text(row, "name")))
            continue;
        json_object_set(seen, text(row, "name"), row);
        fprintf(f, "- %s: %s; beside it: %s\n", text(row, "name"), text(row, "what"),
                text(row, "other"));
    }
    json_decref(seen);
}

static void print_section(FILE *f, json_t *rows, const struct heading *h)
{
    bool begun = false;
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (strcmp(text(row, "section"), h->section) != 0)
            continue;
        if (!begun)
            fprintf(f,
                    "\n## %s\n\n| row | key | streams | l2fs | beside it | ratio | middle half | "
                    "pairs |\n"
                    "|---|---|---|---|---|---|---|---|\n",
                    h->title);
        begun = true;
        print_row(f, row);
    }
    if (begun)
        fputc('\n', f);
    print_meanings(f, rows, h->section);
}

static void print_targets(FILE *f, json_t *targets)
{
    json_t *t;
    size_t i;

    fputs("\n## Targets\n\nEach by the worst of its rows.\n\n| target | must be | measured | worst "
          "row | |\n"
          "|---|---|---|---|---|\n",
          f);
    json_array_foreach(targets, i, t)
    {
        bool share = !strcmp(text(t, "of"), "share");
        double scale = share ? 100 : 1;
        char size[32];

        fprintf(f, "| %s | %s %.4g%s |", text(t, "target"), text(t, "must_be"),
                number(t, "limit") * scale,
                share                           ? " %"
                : strcmp(text(t, "of"), "time") ? "x the speed"
                                                : "x the time");
        if (json_object_get(t, "measured"))
            fprintf(f, " %.3g%s | %s %s, %d |", number(t, "measured") * scale, share ? " %" : "x",
                    text(t, "row"), size_text(t, size), MAX((int)number(t, "streams"), 1));
        else
            fputs(" | |", f);
        fprintf(f, " **%s** |\n", text(t, "verdict"));
    }
    json_array_foreach(targets, i, t)
    {
        if (json_object_get(t, "reason"))
            fprintf(f, "\n- %s: %s\n", text(t, "target"), text(t, "reason"));
    }
}

static void print_machine(FILE *f, json_t *report)
{
    json_t *m = json_object_get(report, "machine");

    fprintf(f,
            "# l2fs beside its limit and its peers\n\n"
            "Written by `sudo ./tools/l2bench --report%s` at %s in %.0f s: l2fs %s, Linux %s, %d x "
            "%s, %.1f GiB of\n"
            "memory available, the disk has %s.\n\n"
            "Each row is the median of pairs taken in turns. The ratio is the speed of l2fs "
            "through that of what is\n"
            "beside it, so more is better; its median, and the range of the middle half of the "
            "pairs.\n",
            json_is_true(json_object_get(report, "quick")) ? " --quick" : "", text(m, "begun"),
            number(report, "seconds"), text(m, "l2fs"), text(m, "kernel"),
            (int)number(m, "processors"), text(m, "processor"), number(m, "memory_available_gib"),
            text(m, "disk_fs"));
    if (json_is_true(json_object_get(report, "quick")))
        fputs("\nThis is a quick run, with 2 pairs a row: it shows that all of it works, and no "
              "figure.\n",
              f);
}

static void print_rest(FILE *f, json_t *report)
{
    json_t *item;
    size_t i;

    if (json_array_size(json_object_get(report, "facts")))
        fputs("\n## Memory\n\n", f);
    json_array_foreach(json_object_get(report, "facts"), i, item) fprintf(
        f, "- %s: %.3g %s\n", text(item, "what"), number(item, "value"), text(item, "unit"));
    fputs("\n## Notes\n\n", f);
    json_array_foreach(json_object_get(report, "notes"), i, item)
        fprintf(f, "- %s\n", json_string_value(item));
}

static FILE *create(const char *dir, const char *name)
{
    AUTO_FREE char *path = NULL;
    FILE *f = asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : fopen(path, "we");

    if (!f)
        bench_error("cannot write %s/%s: %s", dir, name, strerror(errno));
    return f;
}

static int finish(FILE *f)
{
    bool bad = ferror(f);

    return fclose(f) || bad ? bench_error("cannot write: %s", strerror(errno)) : 0;
}

/* --- what is plotted --- */

static const char *const plotted[] = {"read", "mmap", "direct", "write", "publish"};

/* The ratio of a row of one stream, NaN when there is none. */
static double ratio_of(json_t *rows, const char *name, json_int_t size)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (!strcmp(text(row, "section"), "a") && !strcmp(text(row, "name"), name) &&
            number(row, "streams") == 1 && number(row, "size") == (double)size &&
            json_object_get(row, "ratio"))
            return number(row, "ratio");
    }
    return NAN;
}

static int write_data(json_t *rows, const char *dir)
{
    FILE *f = create(dir, "report.dat");

    if (!f)
        return -1;
    fputs("size", f);
    for (size_t k = 0; k < ARRAY_SIZE(plotted); k++)
        fprintf(f, " %s", plotted[k]);
    fputc('\n', f);
    for (json_int_t size = 4096; size <= (json_int_t)GIB; size *= 2) {
        char label[32];

        if (isnan(ratio_of(rows, plotted[0], size)))
            continue;
        fputs(units_format_size((uint64_t)size, label, sizeof(label)), f);
        for (size_t k = 0; k < ARRAY_SIZE(plotted); k++)
            fprintf(f, " %.4f", ratio_of(rows, plotted[k], size));
        fputc('\n', f);
    }
    return finish(f);
}

int report_markdown(json_t *report, const char *dir)
{
    json_t *rows = json_object_get(report, "rows");
    FILE *f = create(dir, "report.md");

    if (!f)
        return -1;
    print_machine(f, report);
    for (size_t i = 0; i < ARRAY_SIZE(headings); i++)
        print_section(f, rows, &headings[i]);
    print_targets(f, json_object_get(report, "targets"));
    print_rest(f, report);
    return finish(f) ? -1 : write_data(rows, dir);
}
