/* requests.h - which files of a request (user.l2fs.req_id) are not sent yet. Level 4, embedded in struct
 * l2fs. Everything is guarded by ns->lock.
 *
 * A file joins its request when req_id or last_prefill is set on it, when it is published, and when it
 * is to be sent again. It leaves when every tier that sends has it; also when it is removed or gets
 * another req_id, which are as if it had never been there. When no file is left and one said
 * last_prefill=1, the tiers that send are told (adapter op request_done), once. With that, or when
 * nobody said it, the request is forgotten: the next file of that id begins a new one, which needs a
 * last_prefill of its own. So setting last_prefill=1 on a file that is sent already tells at once.
 *
 * A file that was given up fails its request (event, counter): nobody is told, unless a later try
 * brings it there. One that was lost (its writer was killed, L1 was full) fails it for good. At most
 * REQUESTS_MAX are known; the oldest is forgotten, and failed, for a new one.
 */
#ifndef L2FS_REQUESTS_H
#define L2FS_REQUESTS_H

#include "hash.h"
#include "list.h"
#include "mailbox.h"
#include "metrics.h"
#include "object.h"

#define REQUESTS_MAX 16384

struct l2fs;

struct requests {
    struct hash table; /* of struct request, by id */
    struct list all;   /* oldest first */
    struct list done;  /* to be told, in order; out of the table */
    struct letter letter;
    bool posted; /* the letter is under way */
    size_t failed;
    struct metric *completed_total, *failed_total, *cancelled_total;
};

int requests_init(struct l2fs *fs);  /* 0 or -ENOMEM */
void requests_fini(struct l2fs *fs); /* after the mailbox is gone; also when never initialised */

/* It carries a req_id and waits to be sent, or just was. 0, also without a req_id; -ENOMEM. */
int requests_join_locked(struct l2fs *fs, struct inode *inode);
/* The last key is among them: user.l2fs.last_prefill=1 was set on a file with a req_id. 0, -ENOMEM. */
int requests_last_locked(struct l2fs *fs, struct inode *inode);
void requests_not_last_locked(struct inode *inode); /* it was taken back */
/* As if it had never been there. */
void requests_leave_locked(struct l2fs *fs, struct inode *inode);
/* Its bytes will never come: the request fails for good. */
void requests_lost_locked(struct l2fs *fs, struct inode *inode);
/* How far the file is may have changed. */
void requests_note_locked(struct l2fs *fs, struct inode *inode);
/* Stops the stores of its files to tiers that send and forgets it; nobody is told. How many files. */
size_t requests_cancel_locked(struct l2fs *fs, const char *id);

#endif
