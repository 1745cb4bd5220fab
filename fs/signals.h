/* signals.h - SIGTERM, SIGINT and SIGHUP end the mount in order. Level 5.
 *
 * The first one unmounts and stores what is left; one more while storing ends the process at once,
 * and what was not stored waits in the staging directory for the next mount.
 */
#ifndef L2FS_SIGNALS_H
#define L2FS_SIGNALS_H

#include "base.h"

struct front;
struct signals;

/* Blocks the three in this thread and all that it makes, ignores SIGPIPE, and starts a thread that
 * waits for them. Before any other thread. 0 or -errno. */
int signals_start(struct signals **out);
/* From now on a signal calls front_stop. False when one came before: do not serve. */
bool signals_serving(struct signals *s, struct front *front);
/* front_run has returned; `front` is not used any more. */
void signals_draining(struct signals *s);
void signals_stop(struct signals *s); /* NULL is fine */

#endif
