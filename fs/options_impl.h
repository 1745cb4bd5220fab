/* options_impl.h - what the options*.c files share. Level 5, private to them. */
#ifndef L2FS_OPTIONS_IMPL_H
#define L2FS_OPTIONS_IMPL_H

#include "options.h"

/* --- options_generic.c: mount options that are not ours --- */

/* What has been collected of ro, nosuid, noatime, ...: one bit each. */
struct generic {
    unsigned set;
};
/* True when `name` is a generic mount option (kept in `g`) or one for mount(8), systemd or another
 * tool (dropped). */
bool options_take_generic(struct generic *g, const char *name);
char *options_generic_text(const struct generic *g); /* "nosuid,noatime"; NULL: no memory */
/* The nearest of all names that -o takes, or NULL. */
const char *options_nearest(const char *name);

/* --- options_spec.c: SPEC and the adapters --- */

/* Sets one option of the table, from an -o string. */
int options_set(struct options *o, const char *name, const char *value, struct text *err);
/* Fills cfg.l2 (and what a JSON file says) from o->spec, and o->source. */
int options_read_spec(struct options *o, struct text *err);
/* -o l2=JSON: one more adapter. */
int options_add_l2(struct options *o, const char *json, struct text *err);
/* When all options are known: there is an adapter, its directory is usable, DIR is no part of it.
 */
int options_check_l2(struct options *o, struct text *err);

/* --- options_json.c: reading JSON with places --- */

/* Reads `path` ("FILE: line 3 column 7: ..."). 0, or -errno with `err`. */
int options_load_json(const char *path, char **text, json_t **out, struct text *err);
/* Line and column of the member `name` of the outermost object of `text`, or of its `index`-th
 * element when index >= 0. False when it is not there. */
bool options_locate(const char *text, const char *name, int index, unsigned *line,
                    unsigned *column);

/* --- options_name.c: where the instance lives --- */

/* Fills cfg.name and cfg.staging where they are not given. */
int options_name(struct options *o, struct text *err);
/* systemd-escape --path, shortened with a hash when long. NULL: no memory. */
char *options_escape(const char *path);
/* One of two absolute paths is the other, or lies below it. */
bool options_overlap(const char *a, const char *b);
/* `path` seen from the root: symlinks followed as far as it exists. NULL: no memory. */
char *options_absolute(const char *path);

#endif
