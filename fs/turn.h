/* turn.h - the turn to change names in L2: entered under ns->lock, waited for without. Level 4. */
#ifndef L2FS_TURN_H
#define L2FS_TURN_H

#include "keyguard.h"

struct l2fs;

struct turn {
    struct keyticket ticket;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool ready; /* mutex */
    bool used;
};
void turn_enter_locked(struct l2fs *fs, struct turn *t, const char *key, const char *other);
int turn_wait(struct l2fs *fs, struct turn *t); /* 0, or -ETIMEDOUT with a log line */
void turn_leave(struct l2fs *fs, struct turn *t);
/* Waits and leaves: what was asked for before has happened. 0, or -EBUSY; not entered: 0. */
int turn_pass(struct l2fs *fs, struct turn *t);

#endif
