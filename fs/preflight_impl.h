/* preflight_impl.h - shared by preflight*.c. Level 5, private to them. */
#ifndef L2FS_PREFLIGHT_IMPL_H
#define L2FS_PREFLIGHT_IMPL_H

#include <stdio.h>

#include "base.h"

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

struct preflight {
    FILE *out;
    unsigned fails;
};

/* One line. */
void preflight_say(struct preflight *p, enum verdict verdict, const char *name, const char *fmt,
                   ...) PRINTF_LIKE(4, 5);

/* preflight_machine.c: one line each (limits: two). */
void preflight_kernel(struct preflight *p);
void preflight_admin(struct preflight *p);
void preflight_limits(struct preflight *p, bool pinning);
void preflight_huge_pages(struct preflight *p);
void preflight_xattrs(struct preflight *p);
void preflight_cuda(struct preflight *p);
void preflight_ucx(struct preflight *p);

#endif
