/* bench_report.c - l2bench --report: runs the sections, keeps their rows, and writes report.json and what is made of it. */
#include "bench_report.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "machine.h"
#include "units.h"

static const struct section {
    char letter;
    const char *name;
    int (*run)(struct report *r);
} sections[] = {
    {'a', "data", report_data},   {'a', "sustained", report_sustained},
    {'b', "names", report_names}, {'c', "disk", report_disk},
    {'d', "push", report_push},   {'e', "peers", report_peers},
    {'f', "usage", report_usage},
};

char *report_path(const struct report *r, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", r->base, name) < 0 ? NULL : path;
}

char *report_missing(const struct report *r, const char *name)
{
    AUTO_FREE char *path = NULL;
    char why[256];

    if (asprintf(&path, "%s/missing/%s", r->base, name) < 0)
        return NULL;
    return machine_read_line(path, why, sizeof(why)) ? NULL : strdup(why);
}

unsigned report_rounds(const struct report *r, unsigned most)
{
    return r->quick ? 2 : MAX(most, 9u);
}

/* --- rows --- */

static json_t *row_of(const struct subject *s)
{
    json_t *out = json_pack("{s:s#, s:s, s:s, s:s}", "section", &s->section, 1, "name", s->name,
                            "what", s->what ? s->what : s->name, "other", s->other ? s->other : "");

    if (s->size)
        json_object_set_new(out, "size", json_integer((json_int_t)s->size));
    if (s->streams)
        json_object_set_new(out, "streams", json_integer(s->streams));
    return out;
}

int report_not_measured(struct report *r, const struct subject *s, const char *why)
{
    json_t *out = row_of(s);

    json_object_set_new(out, "not_measured", json_string(why));
    json_array_append_new(r->rows, out);
    fprintf(stderr, "          %c %-18s not measured: %s\n", s->section, s->name, why);
    return 0;
}

static void say(const struct report *r, const struct subject *s, json_t *row)
{
    char size[32] = "";

    if (s->size)
        units_format_size(s->size, size, sizeof(size));
    fprintf(stderr, "  %4.0f s  %c %-18s %6s %2u  ratio %6.2f\n",
            (double)(clock_now() - r->begun) / 1e9, s->section, s->name, size, s->streams,
            json_real_value(json_object_get(row, "ratio")));
}

/* What row_measure left in b.rows, with what it is about. */
static void keep(struct report *r, const struct subject *s)
{
    static const char *const same[] = {"unit", "ratio", "ratio_low", "ratio_high"};
    json_t *taken = json_array_get(r->b.rows, 0), *out = row_of(s);

    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        json_object_set(out, same[i], json_object_get(taken, same[i]));
    json_object_set(out, "l2fs", json_object_get(taken, "mount"));
    json_object_set(out, "beside", json_object_get(taken, "tmpfs"));
    json_object_set_new(out, "pairs", json_integer(r->b.rounds));
    say(r, s, out);
    json_array_append_new(r->rows, out);
    json_array_clear(r->b.rows);
}

int report_taken(struct report *r, const struct subject *s, int rc)
{
    if (rc)
        return bench_stop ? -1 : report_not_measured(r, s, bench_last_error());
    keep(r, s);
    return 0;
}

int report_row(struct report *r, const struct subject *s, bench_pass *pass, void *arg)
{
    struct row row;
    int rc = row_init(&row, &r->b, s->name);

    row.work = s->work;
    row.latency = s->latency;
    row.arg = arg;
    if (!rc)
        rc = row_measure(&r->b, &row, pass);
    row_fini(&row);
    return report_taken(r, s, rc);
}

void report_fact(struct report *r, const char *what, double value, const char *unit)
{
    json_array_append_new(r->facts,
                          json_pack("{s:s, s:f, s:s}", "what", what, "value", value, "unit", unit));
}

/* --- where it ran --- */

static json_t *machine_facts(const struct report *r)
{
    AUTO_FREE char *disk = report_path(r, "disk");
    struct utsname u = {0};
    struct statfs fs = {0};
    char model[256] = "", line[256], when[32];
    time_t now = time(NULL);
    FILE *f = fopen("/proc/cpuinfo", "re");

    while (f && !model[0] && fgets(line, sizeof(line), f))
        sscanf(line, "model name : %255[^\n]", model);
    if (f)
        fclose(f);
    uname(&u);
    statfs(disk ? disk : "/", &fs);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    return json_pack("{s:s, s:s, s:I, s:s, s:f, s:s, s:s}", "kernel", u.release, "processor", model,
                     "processors", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "disk_fs",
                     fs.f_type == 0xEF53       ? "ext4"
                     : fs.f_type == 0x58465342 ? "xfs"
                                               : "another",
                     "memory_available_gib", (double)machine_memory_available() / GIB, "l2fs",
                     PACKAGE_VERSION, "begun", when);
}

/* --- all of it --- */

static int run_sections(struct report *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(sections) && !bench_stop; i++) {
        const struct section *s = &sections[i];
        const struct subject subject = {.section = s->letter, .name = s->name};

        if (r->only && !strchr(r->only, s->letter))
            continue;
        if (s->run(r) && !bench_stop)
            report_not_measured(r, &subject, bench_last_error());
    }
    return bench_stop ? bench_error("stopped by a signal") : 0;
}

static int write_report(struct report *r, json_t *machine, double seconds, const char *dir)
{
    AUTO_FREE char *path = NULL;
    json_t *all = json_pack("{s:O, s:f, s:b, s:O, s:o, s:O, s:O}", "machine", machine, "seconds",
                            seconds, "quick", r->quick, "rows", r->rows, "targets",
                            report_verdicts(r->rows), "facts", r->facts, "notes", r->b.notes);
    int rc = 0;

    if (asprintf(&path, "%s/report.json", dir) < 0)
        rc = bench_error("out of memory");
    else if (!all || json_dump_file(all, path, JSON_INDENT(2) | JSON_REAL_PRECISION(6)))
        rc = bench_error("cannot write %s", path);
    rc = rc ? rc : report_markdown(all, dir);
    json_decref(all);
    return rc;
}

int bench_report(struct report *r, const char *out_dir)
{
    json_t *machine = machine_facts(r);
    int rc;

    r->begun = clock_now();
    r->rows = json_array();
    r->facts = json_array();
    key_fill(r->b.buf, r->b.piece, 0, 1);
    rc = run_sections(r);
    rc = rc ? rc : write_report(r, machine, (double)(clock_now() - r->begun) / 1e9, out_dir);
    json_decref(machine);
    json_decref(r->rows);
    json_decref(r->facts);
    return rc;
}
