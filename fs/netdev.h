/* netdev.h - which network device has an address, or leads to one, as the kernel says. Level 0.
 *
 * A name is appended to a list with commas, unless it is there. Looks `host` up, so it may wait for a
 * name server. False: none is known, and nothing was appended; no memory: see text.h. Any thread.
 */
#ifndef L2FS_NETDEV_H
#define L2FS_NETDEV_H

#include "text.h"

bool netdev_add_route(const char *host, struct text *out); /* by which packets to `host` go */
bool netdev_add_own(const char *host, struct text *out);   /* that has the address `host` */

#endif
