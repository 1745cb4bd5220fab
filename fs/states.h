/* states.h - the life of an object as a checked table. Level 0. Pure, any thread. */
#ifndef L2FS_STATES_H
#define L2FS_STATES_H

#include "base.h"

enum state {
    STATE_ABSENT,    /* not yet anything */
    STATE_WRITING,   /* first bytes being written, not published */
    STATE_RESIDENT,  /* published, in L1 */
    STATE_EVICTED,   /* in L2 only */
    STATE_LOADING,   /* on its way from L2 into L1 */
    STATE_LANDING,   /* receiver: space given, bytes arriving from a peer */
    STATE_DISK,      /* lives in the fs adapter's own file, never in L1 */
    STATE_DISCARDED, /* removed or given up; only open descriptors still see it */
    STATE_COUNT
};

const char *state_name(enum state s);
bool state_allowed(enum state from, enum state to);
/* Moves *s; a move that the table does not allow is a bug and aborts with a log line. */
void state_move(uint8_t *s, enum state to);

#endif
