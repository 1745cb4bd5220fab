/* pd_scan.h - is it one whole msgpack value within our limits? Asked before msgpack-c unpacks it, as
 * that takes memory for as many entries as a header claims. Level 2. A pure function, any thread.
 */
#ifndef L2FS_PD_SCAN_H
#define L2FS_PD_SCAN_H

#include "base.h"

#define PD_DEPTH_MAX 16        /* arrays and maps within each other */
#define PD_ITEMS_MAX (1 << 20) /* values of the message, all together */

/* NULL: it is, and every entry that a header claims is there; otherwise why not (constant). */
const char *pd_scan(const void *data, size_t len);

#endif
