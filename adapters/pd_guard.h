/* pd_guard.h - bounds what the connections of one port may cost. Level 2. Loop thread only.
 *
 * ZMQ bounds a frame and the messages that wait, not the frames of a message that never ends, and not
 * the connections. So a connection that brings PD_GUARD_BYTES without a whole message is shut; where all
 * together hold PD_GUARD_ALL of those, each that has more than its equal share of it; and so are those
 * beyond PD_GUARD_CONNECTIONS. It takes up to 0.13 s, in which a fast peer brings more. Connections are
 * named by the descriptors' numbers that ZMQ's monitor gives.
 */
#ifndef L2FS_PD_GUARD_H
#define L2FS_PD_GUARD_H

#include "loop.h"

#define PD_GUARD_CONNECTIONS 512
#define PD_GUARD_BYTES (12 * MIB)
#define PD_GUARD_ALL (128 * MIB)

struct pd_guard_conn;

struct pd_guard {
    struct loop *loop;
    uint16_t port;
    struct pd_guard_conn *conns; /* by number */
    size_t cap;
    size_t n;
    struct loop_timer tick; /* while there are connections */
    uint64_t *shut;         /* counts connections */
};

void pd_guard_init(struct pd_guard *g, struct loop *loop, uint16_t port, uint64_t *shut);
void pd_guard_fini(struct pd_guard *g);
void pd_guard_accepted(struct pd_guard *g, int number);
/* A whole message came from it, of so many bytes in its frames. */
void pd_guard_delivered(struct pd_guard *g, int number, uint64_t size);
/* The connection has ended; its address, "a peer" when that is not known. */
void pd_guard_gone(struct pd_guard *g, int number, char address[64]);

#endif
