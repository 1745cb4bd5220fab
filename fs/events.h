/* events.h - the stream behind .l2fs/events: one JSON line for each thing that happened. Level 4.
 *
 * A line is {"seq":N,"time":"2024-05-01T10:00:00.123Z","event":NAME,"key":KEY, detail...}, made
 * when it is read. The last EVENTS_KEPT are kept, for .l2fs/history and for slow followers; who was
 * lapped gets {"event":"lost","count":N}. Errors have a ring of their own, for the status. l2fs(5)
 * lists the names; a test compares.
 */
#ifndef L2FS_EVENTS_H
#define L2FS_EVENTS_H

#include <sys/types.h>

#include "list.h"
#include "text.h"

#define EVENTS_KEPT 1024
#define EVENTS_ERRORS 16

struct events;
struct l2fs;
struct waiter;

int events_create(struct events **out); /* 0 or -ENOMEM */
/* After the mailbox is gone. */
void events_destroy(struct events *e);
/* `detail` is a JSON fragment such as "\"tier\":\"fs\"" or NULL. A name with "fail" in
 * it, "discarded", and a detail "error" count as errors. Some 200 ns. Any thread, also under
 * ns->lock. */
void events_add(struct l2fs *fs, const char *name, const char *key, const char *detail);
/* Calls fn for the lines of the last errors, oldest first, under a lock: fn must not call back. */
void events_errors(struct events *e, void (*fn)(void *arg, const char *line), void *arg);
void events_history(struct events *e, struct text *out); /* the lines that are kept, oldest first */
/* `s` as a JSON string with its quotes; bytes that are not UTF-8 become \u00XX. Pure. */
void events_quote(struct text *t, const char *s);

/* One reader of the stream, which begins where it opens. Zero-initialise. */
struct follower {
    struct list link;    /* ns->lock */
    struct list waiting; /* ns->lock; of struct waiter */
    uint64_t next;       /* events' own lock: number of the next line to give */
    struct text pending; /* events' own lock: lines taken, given up to `given` */
    size_t given;
};
void follower_open_locked(struct l2fs *fs, struct follower *f);
/* Bytes (lines may be cut anywhere), -EINPROGRESS with the waiter queued, or -EAGAIN: nothing there
 * and `w` is NULL. */
ssize_t follower_read(struct l2fs *fs, struct follower *f, void *buf, size_t len, struct waiter *w);
/* True when a read would give bytes; else queues `w` unless it is NULL. */
bool follower_poll_locked(struct l2fs *fs, struct follower *f, struct waiter *w);
void follower_close_locked(struct l2fs *fs, struct follower *f); /* wakes who still waits */

#endif
