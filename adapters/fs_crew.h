/* fs_crew.h - one piece of work on several threads: a listing asks for the attributes of many files.
 *
 * Used by one thread at a time.
 */
#ifndef L2FS_FS_CREW_H
#define L2FS_FS_CREW_H

#include "base.h"

struct fs_crew;

/* `helpers` beside the caller; those that cannot be made are missing. NULL on no memory. */
struct fs_crew *fs_crew_create(unsigned helpers);
/* Calls fn(arg, i) once for each i below n, on the caller and the helpers, in no order; returns when all
 * calls have. */
void fs_crew_run(struct fs_crew *c, size_t n, void (*fn)(void *arg, size_t i), void *arg);
void fs_crew_destroy(struct fs_crew *c); /* NULL: nothing */

#endif
