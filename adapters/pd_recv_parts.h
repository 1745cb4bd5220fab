/* pd_recv_parts.h - what each file of the receiver does for the others. Level 2. Loop thread only,
 * but where said.
 */
#ifndef L2FS_PD_RECV_PARTS_H
#define L2FS_PD_RECV_PARTS_H

#include "pd_recv_impl.h"

/* --- pd_recv.c --- */

/* Answers with `m`, whose seq is set here. */
void recv_answer(const struct recv_origin *to, struct pd_message *m);
/* Answers with an error: a reply of this type with error and reason (constant). */
void recv_refuse(const struct recv_origin *to, enum pd_type type, int error, const char *reason);
/* A line of the log, for what peers do; so many a second at most, the others are counted. */
void recv_warn(struct pd_recv *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room may have come: who waits is tried, soon. Any thread. */
void recv_wake(struct pd_recv *r);
/* Takes memory for a request. false: too much is taken. */
bool recv_weigh(struct pd_recv *r, size_t bytes);
void recv_sweep_later(struct pd_recv *r); /* there is something to forget one day */
bool recv_equal(struct pd_bytes a, const char *b);

/* --- pd_recv_queue.c --- */

/* Joins the end of its rank's queue, and is tried at once when it is first there. `finish` may have
 * been called when this returns. */
void recv_queue_join(struct recv_waiter *w);
void recv_queue_leave(struct recv_waiter *w); /* idempotent; finish is not called */
void recv_queue_run(struct recv_rank *rank);
/* Whether `w` may ask L1 for room; one that was told -EAGAIN says so with `told`, and must give back
 * what it has when the answer is false. */
bool recv_queue_l1(struct recv_waiter *w, bool told);
void recv_queue_fed(struct recv_waiter *w); /* it waits for L1 no more; others may have it */

/* --- pd_recv_peer.c --- */

void recv_peer_hello(const struct recv_request *req);
/* The peer of this name, connected or not, or NULL. */
struct recv_peer *recv_peer_find(struct recv_rank *rank, struct pd_bytes name);
/* Fences every buffer of the peer; what had not arrived ends with -ECONNRESET. Idempotent. */
void recv_peer_disconnect(struct recv_peer *p);
void recv_peer_sweep(struct pd_recv *r, uint64_t now);
void recv_peer_destroy_all(struct pd_recv *r);

/* --- pd_recv_alloc.c --- */

void recv_alloc_request(const struct recv_request *req);
/* An item was settled or is over. May free the items, and the allocation when it was waiting. */
void recv_alloc_progress(struct recv_alloc *a);
void recv_alloc_staged(struct recv_alloc *a);
void recv_alloc_free(struct recv_alloc *a);

/* --- pd_recv_commit.c --- */

void recv_alloc_commit(const struct recv_request *req);
void recv_alloc_cancel(const struct recv_request *req);
/* Its time begins: what is not landed by then is taken back. */
void recv_alloc_lease(struct recv_alloc *a);
/* Every item that has no outcome gets this one. */
void recv_alloc_give_up(struct recv_alloc *a, int error);
/* An item's bytes are known: compares and publishes when the Commit has come. */
void recv_alloc_checked(struct recv_alloc *a, struct recv_item *it);
void recv_alloc_end(struct recv_alloc *a); /* every item has its outcome */
void recv_alloc_sweep(struct pd_recv *r, uint64_t now);

/* --- pd_recv_land.c --- */

int recv_lander_start(struct pd_recv *r);
void recv_lander_stop(struct pd_recv *r);
/* Files and buffers for all RESERVED items of no pack, which are STAGING until recv_alloc_staged is
 * called. false: there are none. */
bool recv_land_stage(struct recv_alloc *a);
int recv_item_stage(struct recv_item *it, struct arrivals *arrivals, int *fd); /* on the lander */
uint64_t recv_fresh_tag(const struct pd_recv *r);
void recv_item_post(struct recv_item *it, struct pd_conn *conn); /* gives it a tag */
void recv_item_checked(struct recv_item *it); /* CHECKING -> CHECKED, by result */
void recv_item_publish(struct recv_item *it); /* CHECKED -> PUBLISHING */
/* The outcome: once. */
void recv_item_settle(struct recv_item *it, int error);
/* Settles, if it was not, and lets go what it holds as soon as that can be. */
void recv_item_give_up(struct recv_item *it, int error);
void recv_item_over(struct recv_item *it); /* gives back all it holds; at nobody's now */

/* --- pd_recv_pack.c --- */

/* Which of the RESERVED items come in packs: they are staged when their bytes are here. */
void recv_packs_make(struct recv_alloc *a);
void recv_packs_post(struct recv_alloc *a); /* gives their items tags */
void recv_packs_free(struct recv_alloc *a); /* that were not posted */
/* An item of it was settled: nobody may want it any more. */
void recv_pack_left(struct recv_pack *p);

/* --- pd_recv_foreign.c --- */

void recv_foreign_request(const struct recv_request *req);
void recv_foreign_cancel(const struct recv_request *req);
void recv_foreign_query(const struct recv_request *req);
void recv_foreign_destroy(struct recv_rank *rank);
/* A set of the strings for lookups; frees with free(). NULL on no memory. */
struct pd_bytes *recv_sorted(const struct pd_strings *s);
bool recv_sorted_has(const struct pd_bytes *sorted, size_t n, const char *key);

/* --- pd_recv_ready.c --- */

void recv_runs_init(struct pd_recv *r, int64_t run);
int64_t recv_run(const struct pd_recv *r); /* of now */
void recv_ready_done(const struct recv_request *req);
void recv_ready_sweep(struct pd_recv *r, uint64_t now);

/* --- pd_recv_status.c --- */

void recv_metrics_init(struct pd_recv *r);
void recv_metrics_update(struct pd_recv *r); /* the gauges */
#endif
