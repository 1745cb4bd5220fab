/* mailbox.h - hands work to the thread that owns a loop. Level 0.
 *
 * Any thread posts; the loop thread runs each letter once, in order of posting. Letters are
 * embedded in the caller's structures and belong to the mailbox from post until `run` is called
 * (run may free or re-post the letter).
 */
#ifndef L2FS_MAILBOX_H
#define L2FS_MAILBOX_H

#include "list.h"
#include "loop.h"

struct letter {
    struct list link;
    void (*run)(struct letter *letter);
};

struct mailbox;

int mailbox_create(struct loop *loop, struct mailbox **out); /* 0 or -errno */
/* Must be called after the loop has stopped; letters still inside are run by it, in order. */
void mailbox_destroy(struct mailbox *m);
/* Never blocks, never fails. */
void mailbox_post(struct mailbox *m, struct letter *letter);
/* Takes a letter back that may have been posted (its link was initialised): it is not run any more.
 * Only after the loop has stopped, before its owner is freed. */
void mailbox_withdraw(struct mailbox *m, struct letter *letter);
/* Runs fn(arg) on the loop thread, after what was posted before, and returns when it has run. NULL:
 * merely waits for what was posted before. Any thread but the loop's, while the loop runs. */
void mailbox_call(struct mailbox *m, void (*fn)(void *arg), void *arg);

#endif
