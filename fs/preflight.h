/* preflight.h - what this machine can do for l2fs, in words. Level 5. Before there are threads. */
#ifndef L2FS_PREFLIGHT_H
#define L2FS_PREFLIGHT_H

#include <stdio.h>

#include "options.h"

/* mount.l2fs --check: one line per check, "ok | warn | FAIL", its name, and what it means. SPEC and
 * DIR are looked at when they are given. Returns the number of FAILs. */
unsigned preflight_run(const struct options *o, FILE *out);

/* Whether reads and writes will go through the kernel alone; if not, `why` says what is missing. */
bool preflight_passthrough(const struct l2fs_config *cfg, struct text *why);

#endif
