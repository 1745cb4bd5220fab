/* ctl.h - parts of l2fsctl. It talks to a mount through files and extended attributes alone.
 *
 * Verbs return the exit status, having said on stderr what is wrong. One thread, but for ctl_top.c.
 */
#ifndef L2FS_CTL_H
#define L2FS_CTL_H

#include <jansson.h>
#include <stdio.h>

#include "base.h"

#define CTL_PREFIX "user.l2fs."
#define CTL_VALUE_MAX 65536 /* longest value of an attribute */

/* Exit status. */
enum {
    CTL_OK = 0,
    CTL_FAILED = 1, /* something failed, or the mount is not healthy */
    CTL_USAGE = 2,
    CTL_MISSING = 3, /* no such mount, or it is dead; no such key */
};

/* What the command line says; constant after main has read it. */
struct ctl {
    const char *mount; /* -m, or NULL */
    bool json;
    /* of verbs */
    bool once, follow, batch, force, dry_run, prefix, hard;
    const char *types, *from, *lasting;
    uint64_t delay, timeout; /* ns; 0: not given */
    uint64_t count;          /* 0: not given */
};

/* --- ctl_verbs.c: the table --- */

enum ctl_kind { CTL_FLAG, CTL_TEXT, CTL_TIME, CTL_COUNT };
struct ctl_option {
    const char *name;
    char letter;     /* 0: none */
    const char *arg; /* what its argument is called; NULL: it has none */
    enum ctl_kind kind;
    size_t member; /* of struct ctl */
    const char *help;
};
struct ctl_verb {
    const char *name, *other; /* `other` name, or NULL */
    const char *args;
    int min, max;
    const char *summary;              /* one line */
    const char *about;                /* more, or NULL */
    const struct ctl_option *options; /* up to one without name; NULL: none */
    int (*run)(const struct ctl *c, int n, char *args[]);
};
extern const struct ctl_option ctl_globals[];
extern const struct ctl_verb ctl_verbs[];               /* up to one without name */
const struct ctl_verb *ctl_find_verb(const char *name); /* NULL: none */
const char *ctl_nearest_verb(const char *name);         /* NULL: none is near */
void ctl_help(FILE *out);
void ctl_help_verb(FILE *out, const struct ctl_verb *v);

/* --- ctl_mount.c --- */

/* Says what is wrong on stderr; returns CTL_FAILED. */
int ctl_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* ... of a path, by errno; CTL_MISSING when there is none. */
int ctl_complain(const char *path, int error);
/* The path is there and on an l2fs mount: 0; else what ctl_complain says. */
int ctl_check(const char *path);
/* The status of two things done. */
int ctl_worse(int a, int b);
/* The mount that -m, the working directory, or the only l2fs mount of this machine means. NULL,
 * having said why. The caller frees. */
char *ctl_find_mount(const struct ctl *c);
/* A key below -m, or a path as it stands. The caller frees; NULL: no memory, said. */
char *ctl_path(const struct ctl *c, const char *arg);
/* How messages call a path that ctl_path or a walk below it gave: without -m. */
const char *ctl_shown(const struct ctl *c, const char *path);
/* The whole of MOUNT/.l2fs/NAME. NULL, having said why. The caller frees. */
char *ctl_read(const char *mount, const char *name);
char *ctl_read_quietly(const char *mount, const char *name); /* NULL: errno */
json_t *ctl_read_json(const char *mount, const char *name);
/* An attribute as JSON when it is, else as a string; NULL: there is none. `name` is whole. */
json_t *ctl_attribute(const char *path, const char *name);
/* Prints and releases. */
void ctl_print_json(json_t *value);

/* --- ctl_text.c: pure functions --- */

const char *ctl_size(double bytes, char *buf, size_t len);         /* "1.5G" */
const char *ctl_duration(uint64_t seconds, char *buf, size_t len); /* "1d 2h 3m 4s" */
/* "[####....|..]" of `width` signs inside; share and mark are 0 to 1, a mark outside is not shown. */
const char *ctl_bar(double share, double mark, size_t width, char *buf, size_t len);
/* Fills "{used} of {capacity}|, promised {promised}" from an object's members, which it removes.
 * A piece between bars whose members are not all there is left out. */
void ctl_fill(FILE *out, const char *pieces, json_t *object);
/* `word` is one of the words of "a,b,c". */
bool ctl_in_list(const char *list, const char *word);
/* The value of a sample such as `l2fs_opens_total` or `l2fs_tier_bytes_total{adapter="fs",op="load"}`
 * in OpenMetrics text; without labels, the sum over all of them. -1 when it is not there. */
double ctl_sample(const char *metrics, const char *name);
double ctl_rate(double before, double now, double seconds); /* of a counter; 0 when it began anew */

/* --- ctl_show.c --- */

/* A value as people read it; what numbers are goes by the name. */
void ctl_put_value(FILE *out, const char *name, json_t *v);
/* "a=1 b=2" */
void ctl_put_members(FILE *out, json_t *object);
/* Text as it stands, but nothing that a terminal would obey. */
void ctl_put_text(FILE *out, const char *s);
/* Adds the members of `object`, and those of objects in it as a.b, to `flat`. */
void ctl_flatten(json_t *flat, const char *prefix, json_t *object);
/* An object as "name  value" lines, a.b for what is inside, lists of objects as tables. */
void ctl_show_object(json_t *object);
/* A list of objects as a table with the columns of all of them. */
void ctl_show_table(FILE *out, json_t *rows);
/* One event in one line. */
void ctl_show_event(FILE *out, json_t *event);

/* --- verbs --- */

void ctl_show_status(FILE *out, const char *mount, json_t *status); /* ctl_status.c; eats of it */
int ctl_status(const struct ctl *c, int n, char *args[]);
json_t *ctl_tier_row(json_t *tier); /* ctl_adapters.c: a new row for a table, of a tier's status */
json_t *ctl_read_adapters(const char *mount); /* all by name; NULL having said why */
int ctl_show_adapters(const struct ctl *c, const char *mount);
int ctl_adapters(const struct ctl *c, int n, char *args[]); /* ctl_settings.c */
int ctl_config(const struct ctl *c, int n, char *args[]);
int ctl_metrics(const struct ctl *c, int n, char *args[]);
int ctl_bench(const struct ctl *c, int n, char *args[]);
int ctl_events(const struct ctl *c, int n, char *args[]); /* ctl_events.c */
int ctl_top(const struct ctl *c, int n, char *args[]);    /* ctl_top.c */
int ctl_ls(const struct ctl *c, int n, char *args[]);     /* ctl_keys.c */
int ctl_info(const struct ctl *c, int n, char *args[]);
int ctl_pin(const struct ctl *c, int n, char *args[]); /* ctl_set.c */
int ctl_unpin(const struct ctl *c, int n, char *args[]);
int ctl_evict_paths(const struct ctl *c, int n, char *args[]);
int ctl_retry(const struct ctl *c, int n, char *args[]);
int ctl_cancel(const struct ctl *c, int n, char *args[]);
int ctl_unlock(const struct ctl *c, int n, char *args[]);
int ctl_quota(const struct ctl *c, int n, char *args[]);
int ctl_evict(const struct ctl *c, int n, char *args[]); /* ctl_evict.c */
/* By state, lock, pin and store of a key. False: `why` says why not. Pure. */
bool ctl_would_leave(json_t *key, char *why, size_t len);
bool ctl_path_would_leave(const char *path, char *why, size_t len); /* not pure */
int ctl_warm(const struct ctl *c, int n, char *args[]);             /* ctl_warm.c */

#endif
