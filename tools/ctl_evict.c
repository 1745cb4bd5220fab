/* ctl_evict.c - drops keys from memory, or tells which would go.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- why a key stays --- */

static const char *text_of(json_t *key, const char *name)
{
    const char *s = json_string_value(json_object_get(key, name));

    return s ? s : "";
}

static json_int_t readers_of(json_t *lock)
{
    return json_integer_value(json_object_get(lock, "readers"));
}

bool ctl_would_leave(json_t *key, char *why, size_t len)
{
    const char *state = text_of(key, "state"), *store = text_of(key, "store");
    json_t *lock = json_object_get(key, "lock");

    *why = '\0';
    if (!strcmp(state, "evicted") || !strcmp(state, "disk"))
        snprintf(why, len, "is not in memory");
    else if (strcmp(state, "resident"))
        snprintf(why, len, "stays: it is %s", state);
    else if (json_is_true(json_object_get(lock, "writer")))
        snprintf(why, len, "stays: it is open for writing");
    else if (readers_of(lock))
        snprintf(why, len, "stays: it is open (readers: %lld)", (long long)readers_of(lock));
    else if (strncmp(text_of(key, "pin"), "none", 4))
        snprintf(why, len, "stays: it is pinned (%s)", text_of(key, "pin"));
    else if (!*store || strstr(store, "=storing") || strstr(store, "=failed"))
        snprintf(why, len, "stays: it is not stored everywhere yet (%s)",
                 *store ? store : "nowhere");
    return !*why;
}

bool ctl_path_would_leave(const char *path, char *why, size_t len)
{
    static const char *const names[] = {"state", "lock", "pin", "store"};
    json_t *key = json_object();
    char attribute[64];
    bool leaves;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        json_t *v;

        snprintf(attribute, sizeof(attribute), CTL_PREFIX "%s", names[i]);
        v = ctl_attribute(path, attribute);
        if (v)
            json_object_set_new(key, names[i], v);
    }
    leaves = ctl_would_leave(key, why, len);
    json_decref(key);
    return leaves;
}

/* --- dry run of paths --- */

struct rehearsal {
    const struct ctl *c;
    json_t *rows;
    size_t leave, stay;
    double bytes; /* of those that would leave */
};

static void rehearse_key(struct rehearsal *r, const char *path, uint64_t size)
{
    const char *shown = ctl_shown(r->c, path);
    json_t *row = json_object(), *name = json_string(shown);
    char why[160];
    bool leaves = ctl_path_would_leave(path, why, sizeof(why));

    r->leave += leaves;
    r->stay += !leaves;
    r->bytes += leaves ? (double)size : 0;
    if (!r->c->json)
        printf("%s: %s\n", shown, leaves ? "would leave" : why);
    json_object_set_new(row, "path", name ? name : json_string("(not UTF-8)"));
    json_object_set_new(row, "leaves", json_boolean(leaves));
    json_object_set_new(row, "outcome", json_string(leaves ? "would leave" : why));
    json_object_set_new(row, "size", json_integer((json_int_t)size));
    json_array_append_new(r->rows, row);
}

static int rehearse(struct rehearsal *r, char *path)
{
    char *const roots[] = {path, NULL};
    int rc = ctl_check(path);
    FTS *fts = rc ? NULL : fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *e;

    if (!rc && !fts)
        rc = ctl_complain(path, errno);
    while (fts && (e = fts_read(fts))) {
        if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
            rc = ctl_worse(rc, ctl_complain(e->fts_path, e->fts_errno));
        if (e->fts_info == FTS_F)
            rehearse_key(r, e->fts_path, (uint64_t)e->fts_statp->st_size);
    }
    if (fts)
        fts_close(fts);
    return rc;
}

static int rehearse_all(const struct ctl *c, int n, char *args[])
{
    struct rehearsal r = {.c = c, .rows = json_array()};
    char size[16];
    int rc = CTL_OK;

    for (int i = 0; i < n; i++) {
        char *path = ctl_path(c, args[i]);

        rc = ctl_worse(rc, path ? rehearse(&r, path) : CTL_FAILED);
        free(path);
    }
    if (c->json)
        ctl_print_json(json_incref(r.rows));
    else
        printf("%zu would leave (%s), %zu not\n", r.leave, ctl_size(r.bytes, size, sizeof(size)),
               r.stay);
    json_decref(r.rows);
    return rc;
}

/* --- what the daemon would take --- */

static void show_kept(json_t *kept)
{
    const char *why, *comma = "stay: ";
    json_t *tally;

    json_object_foreach(kept, why, tally)
    {
        if (!json_integer_value(json_object_get(tally, "keys")))
            continue;
        printf("%s%s ", comma, why);
        ctl_fill(stdout, "{keys} ({bytes})", tally);
        comma = ", ";
    }
    if (*comma == ',')
        putchar('\n');
}

static void show_place(json_t *place)
{
    json_t *next = json_object_get(place, "next");

    ctl_fill(stdout,
             "{from}: {used} of {capacity} used|, evicts above {watermark}|, {policy}|; {to_free} "
             "to free now\n",
             place);
    show_kept(json_object_get(place, "kept"));
    if (json_array_size(next)) {
        puts("would leave next, in this order:");
        ctl_show_table(stdout, next);
    } else {
        puts("nothing would leave");
    }
}

static int show_victims(const struct ctl *c)
{
    char *mount = ctl_find_mount(c);
    json_t *victims = mount ? ctl_read_json(mount, "victims") : NULL, *place;
    size_t i;

    free(mount);
    if (!victims)
        return CTL_MISSING;
    if (c->json) {
        ctl_print_json(victims);
        return CTL_OK;
    }
    json_array_foreach(json_object_get(victims, "places"), i, place)
    {
        fputs(i ? "\n" : "", stdout);
        show_place(place);
    }
    json_decref(victims);
    return CTL_OK;
}

int ctl_evict(const struct ctl *c, int n, char *args[])
{
    if (c->dry_run)
        return n ? rehearse_all(c, n, args) : show_victims(c);
    if (!n) {
        ctl_fail("evict: needs a PATH; --dry-run without one tells what would leave next");
        return CTL_USAGE;
    }
    return ctl_evict_paths(c, n, args);
}
