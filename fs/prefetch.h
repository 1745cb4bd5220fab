/* prefetch.h - bringing keys into L1: loads, warm-ups, read-ahead. Level 4.
 *
 * `_locked` functions are called with ns->lock held, from any thread.
 */
#ifndef L2FS_PREFETCH_H
#define L2FS_PREFETCH_H

#include "namespace.h"
#include "prefetch_ctl.h"

struct l2fs;
struct waiter;
struct warm;

/* ---- load.c: keys on their way, in batches of one request each ---- */

#define LOAD_BATCH_KEYS 32
#define LOAD_BATCH_BYTES (16 * MIB) /* a batch with this much takes no further key */

struct load_batch;

/* What a batch is for. */
struct load_purpose {
    struct warm *warm; /* its warm-up; NULL: none */
    bool background;
    enum plan_mode mode;
};

void load_init(struct l2fs *fs);
/* Starts the load of an evicted inode, waits for it or for space. w may be NULL: only starts. */
int load_locked(struct l2fs *fs, struct inode *inode, struct waiter *w);
/* How much of a loading inode is there to be read before it is verified: with open=stream. */
const struct l2_landed *load_landed_locked(const struct inode *inode);
/* Nobody wants the key any more: a load under way is given up. */
void load_cancel_locked(struct l2fs *fs, struct inode *inode);

struct load_batch *load_batch_create(struct l2fs *fs, const struct load_purpose *p); /* or NULL */
/* The inode is evicted and L1 has space for it: loading from now on. A key that is being changed in
 * L2 right now goes into a batch of its own. 0 or -ENOMEM. */
int load_batch_add_locked(struct load_batch *b, struct inode *inode);
bool load_batch_full(const struct load_batch *b);
/* The batch is the controller's; an empty one is freed. */
void load_batch_submit_locked(struct load_batch *b);

/* ---- warm.c ---- */

/* Loads the file, or all files below the directory, in the background, as far as L1 goes: clean
 * residents leave for it, but nothing of what it loaded itself. Each key ends with the event
 * "warmed" or "load-failed", the whole with "warm-done". 0 or -ENOMEM. */
int warm_start_locked(struct l2fs *fs, struct inode *top);
/* Warm-ups that were started at `top` take no further key. */
void warm_stop_locked(struct l2fs *fs, struct inode *top);
size_t warm_count_locked(const struct l2fs *fs);
void warm_drop_all(struct l2fs *fs); /* at the end, without the loop */

/* A batch of it was submitted; a key of it, of so many bytes, came to its end; the batch did. */
void warm_batch_locked(struct warm *w);
void warm_key_done_locked(struct warm *w, uint64_t bytes, int error);
void warm_batch_done(struct warm *w);

/* ---- readahead.c ---- */

/* A file was opened for reading: when opens follow the order of its directory, the next keys are
 * loaded. */
void readahead_locked(struct l2fs *fs, struct inode *inode);
/* The name that follows: the number that is the run-th of `name` (from 0) grows by one, and keeps its
 * width. False: there is no such number. Pure. */
bool readahead_name(const char *name, unsigned run, char out[KEY_NAME_MAX + 1]);

#endif
