/* ctl_status.c - the screen of `l2fsctl status`.
 *
 * Single-threaded. Members of .l2fs/status that have no place in the screen are shown behind those
 * that have, so what a newer daemon adds is seen, and what an older one lacks is left out.
 */
#include "ctl.h"

#include <stdlib.h>

#define BAR 30
#define LABEL 10

/* Nothing to tell: what is not known here is shown when it is something. */
static bool is_dull(json_t *v)
{
    return json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_array(v) && !json_is_string(json_array_get(v, 0)));
}

/* What is left of an object, behind what was shown of it. */
static void put_rest(FILE *out, json_t *object)
{
    const char *name;
    json_t *v;

    json_object_foreach(object, name, v)
    {
        if (is_dull(v))
            continue;
        fprintf(out, ", %s ", name);
        ctl_put_value(out, name, v);
    }
    fputc('\n', out);
}

static const char *const sections[][2] = {
    {"l1",
     "{used} of {capacity} used|, {promised} promised to writers|, {residents} objects|, evicts "
     "above {watermark}|, {ratio} at a time|, {policy}|, in {staging}"},
    {"objects", "{files} files| in {directories} directories|, {unstored} not stored yet| "
                "({unstored_bytes})"},
    {"store",
     "{queued} queued|, {in_flight} under way| ({in_flight_bytes})|, {retrying} to be tried "
     "again|, {given_up} given up"},
    {"requests", "{known} not sent yet|, {failed} of them failed"},
    {"scan", "{found} keys found in L2| in {seconds} s|, still running: {running}"},
    {"load", "{active} under way|, {queued} queued|, {background_bytes} read ahead"},
    {"locks", "{readers} readers|, {writers} writers|; pinned {pins.soft.files} for a time "
              "({pins.soft.bytes}), {pins.hard.files} for good ({pins.hard.bytes})| of at most "
              "{pins.limit}"},
};

/* One line made of a section of the status; takes the section out of it. */
static void put_section(FILE *out, json_t *status, const char *section, const char *pieces)
{
    json_t *object = json_object_get(status, section), *flat = json_object();

    if (json_is_object(object)) {
        ctl_flatten(flat, "", object);
        fprintf(out, "%-*s", LABEL, section);
        ctl_fill(out, pieces, flat);
        put_rest(out, flat);
        json_object_del(status, section);
    }
    json_decref(flat);
}

static double number_of(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void put_l1_bar(FILE *out, json_t *l1)
{
    double capacity = number_of(l1, "capacity");
    char bar[BAR + 3];

    if (capacity <= 0)
        return;
    fprintf(out, "%-*s%s %.0f%%\n", LABEL, "memory",
            ctl_bar(number_of(l1, "used") / capacity, number_of(l1, "watermark"), BAR, bar,
                    sizeof(bar)),
            100 * number_of(l1, "used") / capacity);
}

/* --- the screen --- */

static void put_title(FILE *out, const char *title)
{
    fprintf(out, "\n%s\n", title);
}

static void put_tiers(FILE *out, json_t *status)
{
    json_t *rows = json_array(), *tier;
    size_t i;

    json_array_foreach(json_object_get(status, "tiers"), i, tier)
    {
        json_array_append_new(rows, ctl_tier_row(tier));
    }
    if (json_array_size(rows)) {
        put_title(out, "tiers");
        ctl_show_table(out, rows);
    }
    json_object_del(status, "tiers");
    json_decref(rows);
}

/* {"HOST": {...}} as rows with the name first. */
static void put_peers(FILE *out, json_t *peers)
{
    json_t *rows = json_array(), *peer;
    const char *name;

    json_object_foreach(peers, name, peer)
    {
        json_t *row = json_pack("{s:s}", "name", name);

        json_object_update_missing(row, peer);
        json_array_append_new(rows, row);
    }
    if (json_array_size(rows)) {
        put_title(out, "peers");
        ctl_show_table(out, rows);
    }
    json_decref(rows);
}

static void put_sentences(FILE *out, json_t *list)
{
    size_t i;
    json_t *sentence;

    json_array_foreach(list, i, sentence)
    {
        fputs("  ", out);
        ctl_put_value(out, "", sentence);
        fputc('\n', out);
    }
}

static void put_errors(FILE *out, json_t *errors)
{
    json_t *event;
    size_t i;

    if (json_array_size(errors))
        put_title(out, "last errors");
    json_array_foreach(errors, i, event) ctl_show_event(out, event);
}

/* Sections that are not known here. */
static void put_other_sections(FILE *out, json_t *status)
{
    json_t *copy = json_copy(status), *v;
    const char *name;

    json_object_foreach(copy, name, v) put_section(out, status, name, "");
    json_decref(copy);
}

static void put_other_lists(FILE *out, json_t *status)
{
    const char *name;
    json_t *v;

    json_object_foreach(status, name, v)
    {
        if (!json_array_size(v))
            continue;
        put_title(out, name);
        if (json_is_object(json_array_get(v, 0)))
            ctl_show_table(out, v);
        else
            put_sentences(out, v);
    }
}

void ctl_show_status(FILE *out, const char *mount, json_t *status)
{
    bool healthy = json_is_true(json_object_get(status, "is_healthy"));
    json_t *errors, *peers;

    fprintf(out, "%s: %s", mount, healthy ? "healthy" : "NOT HEALTHY");
    ctl_fill(out, "| ({name})|, {mode}|, up {uptime_s}|, l2fs {version}|\n", status);
    json_object_del(status, "is_healthy");
    put_sentences(out, json_object_get(status, "health"));
    json_object_del(status, "health");
    put_l1_bar(out, json_object_get(status, "l1"));
    json_object_del(json_object_get(status, "l1"), "own_mount");
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
        put_section(out, status, sections[i][0], sections[i][1]);
    ctl_fill(out, "waiters   {waiters} requests wait for memory, a writer or a load\n", status);
    peers = json_incref(json_object_get(status, "peers"));
    json_object_del(status, "peers");
    put_other_sections(out, status);
    put_tiers(out, status);
    put_peers(out, peers);
    json_decref(peers);
    errors = json_incref(json_object_get(status, "errors"));
    json_object_del(status, "errors");
    put_other_lists(out, status);
    put_errors(out, errors);
    json_decref(errors);
}

int ctl_status(const struct ctl *c, int n, char *args[])
{
    char *mount = ctl_find_mount(c);
    json_t *status = mount ? ctl_read_json(mount, "status") : NULL;
    int rc = CTL_MISSING;

    if (status) {
        rc = json_is_true(json_object_get(status, "is_healthy")) ? CTL_OK : CTL_FAILED;
        if (c->json)
            ctl_print_json(status);
        else
            ctl_show_status(stdout, mount, status);
        if (!c->json)
            json_decref(status);
    }
    free(mount);
    return rc;
}
