/* pd_send.h - the sender of PD: brings stored objects to their receivers. Level 2. Loop thread only.
 *
 * A store task is split by receiver (pd_config_route) and request id into batches; small ones of several
 * tasks are joined while they wait. Life of a batch:
 * waiting for the connection (Hello, done lazily and again after a restart) -> alloc -> data -> commit
 * -> done; each step has a deadline stamped once, outcomes are per key. Batches of one receiver
 * overlap. A peer that does not answer costs its batches their deadline, and fails new ones at once
 * (-EHOSTDOWN) until a handshake works again.
 */
#ifndef L2FS_PD_SEND_H
#define L2FS_PD_SEND_H

#include "job.h"
#include "mailbox.h"
#include "pd_proxy.h"
#include "pd_recv.h"

struct pd_send;

int pd_send_create(const struct pd_env *env, struct pd_proxy *proxy, struct pd_send **out);
/* What is in flight ends with -ESHUTDOWN. */
void pd_send_destroy(struct pd_send *s);

/* A store job (job.h): `finish` is called once, on the loop thread, when errors[], crc32c[] and bytes
 * are filled. The buffers' descriptors stay valid until then. */
struct pd_store {
    struct job job;
    struct letter letter; /* the owner's */
    struct pd_send *send;
    void (*finish)(struct pd_store *s);
    size_t left;  /* private: keys that are not done */
    size_t *same; /* private */
};
void pd_send_store(struct pd_send *s, struct pd_store *store);
int pd_send_cancel(struct pd_send *s, const char *key); /* 0 or -ENOENT */
/* Tells the receivers that got keys of it (none: that of the route) with Done, then the proxy. */
int pd_send_request_done(struct pd_send *s, const struct l2_route *route);
/* Somebody is still to be told that a request is complete. */
bool pd_send_telling(const struct pd_send *s);
void pd_send_status(struct pd_send *s, json_t *status);
json_t *pd_send_peers(struct pd_send *s);

#endif
