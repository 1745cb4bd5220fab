/* ctl.h - parts of l2fsctl. It talks to a mount through files and extended attributes alone. */
#ifndef L2FS_CTL_H
#define L2FS_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What the command line says; constant after main has read it. */
struct ctl {
    const char *mount; /* -m, or NULL */
    bool json;
    bool once; /* events: what is there, then end */
};

/* --- ctl_mount.c --- */

/* Says what is wrong on stderr; returns 1, the exit status. */
int ctl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The mount that -m, the working directory, or the only l2fs mount of this machine means. NULL,
 * having said why. The caller frees. */
char *ctl_find_mount(const struct ctl *c);
/* A key below -m, or a path as it stands. The caller frees; NULL: no memory, said. */
char *ctl_path(const struct ctl *c, const char *arg);
/* The whole of MOUNT/.l2fs/NAME. NULL, having said why. The caller frees. */
char *ctl_read(const char *mount, const char *name);
json_t *ctl_read_json(const char *mount, const char *name);

/* --- ctl_show.c --- */

/* "1.5G" */
const char *ctl_size(double bytes, char *buf, size_t len);
/* An object as "name  value" lines, a.b for what is inside, lists of objects as tables. */
void ctl_show_object(json_t *object);
/* A list of objects as a table with the columns of all of them. */
void ctl_show_table(json_t *rows);
/* One event in one line. */
void ctl_show_event(const char *line);

/* --- ctl_keys.c: commands on paths, return the exit status --- */

int ctl_ls(const struct ctl *c, const char *path);
int ctl_stat(const struct ctl *c, const char *path);
/* Sets user.l2fs.NAME to `value` on every path. */
int ctl_set(const struct ctl *c, const char *name, const char *value, char *const paths[]);

#endif
