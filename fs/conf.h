/* conf.h - one option table serves -o strings, JSON objects, --help and the man page. Level 0.
 *
 * A table describes a plain struct: every entry names a member by offset. Pure functions; the
 * struct's strings are owned by it (conf_fini frees them). Errors are told in words into `err`:
 * the option, the value, what is allowed, and the nearest known name.
 */
#ifndef L2FS_CONF_H
#define L2FS_CONF_H

#include <jansson.h>

#include "text.h"

enum conf_type {
    CONF_BOOL,     /* bool;     -o name, -o name=true|false|yes|no|on|off|1|0, -o noname */
    CONF_INT,      /* int64_t;  min..max */
    CONF_DOUBLE,   /* double;   min..max */
    CONF_SIZE,     /* uint64_t; units_parse_size, min..max, JSON number = bytes; "25%" is that share
                      of the `whole` given to conf_set, refused where there is none */
    CONF_GIB,      /* uint64_t bytes; a number of GiB (LMCache's max_size_gb), > 0 when min is 0;
                      0 bytes = not set, in JSON null */
    CONF_DURATION, /* uint64_t ns; units_parse_duration, JSON number = seconds */
    CONF_STRING,   /* char *;   any; NULL = not set, in JSON null */
    CONF_ENUM,     /* int;      one of `choices` (NULL-terminated), value = index */
    CONF_JSON, /* json_t *; any JSON value (nested adapter specs), null = NULL; JSON form only */
};

struct conf_opt {
    const char *name;
    enum conf_type type;
    size_t offset;
    const char *def; /* default in -o syntax (CONF_JSON: JSON), NULL: zero/NULL */
    const char *help;
    double min, max; /* inclusive, in what a plain number means (bytes, GiB, seconds); both 0:
                        unbounded; max below min: no upper bound */
    const char *const *choices;
    bool required;
    const char *alias; /* another accepted name, or NULL */
};

/* A table ends with an entry whose name is NULL. `whole` is what "25%" of a size refers to. */

/* Fills the members of `cfg` (whatever was in them) with the defaults. 0 or -ENOMEM; -EINVAL is a
 * default that its own entry refuses, a bug in the table. */
int conf_defaults(const struct conf_opt *table, void *cfg);
/* Sets one option from text; `value` NULL means the bare name. 0, -EINVAL (bad value), -ENOENT
 * (no such option), -ENOMEM; the first two append one sentence to `err` (may be NULL). */
int conf_set(const struct conf_opt *table, void *cfg, const char *name, const char *value,
             uint64_t whole, struct text *err);
/* Sets every member of a JSON object except the names in `ignore` (NULL-terminated, may be NULL)
 * and checks that required ones are there. Unknown names are an error when `strict`. Numbers and
 * booleans must be JSON numbers and booleans; sizes and durations may also be strings. After an
 * error `cfg` is valid but partly set. */
int conf_set_json(const struct conf_opt *table, void *cfg, json_t *object,
                  const char *const *ignore, bool strict, struct text *err);
/* The effective configuration as a new JSON object. NULL on no memory. */
json_t *conf_to_json(const struct conf_opt *table, const void *cfg);
/* --help lines: "  name=TYPE        help (default: def)", or (required); where some
 * options are, those without a default say (optional). */
void conf_help(const struct conf_opt *table, struct text *out);
void conf_fini(const struct conf_opt *table, void *cfg);

#endif
