/* conf_value.h - one value of one option. Level 0, private to conf*.c. Pure functions. */
#ifndef L2FS_CONF_VALUE_H
#define L2FS_CONF_VALUE_H

#include "conf.h"

#define CONF_SHOWN_MAX 80 /* bytes of a name or value repeated in a message */

/* One value on its way into its member. */
struct conf_setting {
    const struct conf_opt *opt;
    void *member;
    uint64_t whole;    /* what a share of a size refers to, 0: shares are refused */
    const char *shown; /* the value as it was written, NULL: none was */
    struct text *err;  /* may be NULL */
};

/* 0, -EINVAL (told in `err`) or -ENOMEM; the member changes only on success. */
int conf_value_set_text(const struct conf_setting *s, const char *v);
int conf_value_set_json(const struct conf_setting *s, json_t *v);
/* Words what is wrong (option, value, what is allowed, nearest choice); returns -EINVAL. */
int conf_value_reject(const struct conf_setting *s);

json_t *conf_value_to_json(const struct conf_opt *o, const void *member); /* NULL: no memory */
void conf_value_allowed(struct text *t,
                        const struct conf_opt *o); /* "a whole number from 1 to 9" */
void conf_value_choices(struct text *t, const struct conf_opt *o, const char *separator);

#endif
