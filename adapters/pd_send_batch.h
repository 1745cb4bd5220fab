/* pd_send_batch.h - keys of one request on their way to one receiver. Level 2. Loop thread
 * only. Part of the PD sender, see pd_send_impl.h.
 */
#ifndef L2FS_PD_SEND_BATCH_H
#define L2FS_PD_SEND_BATCH_H

#include "hash.h"
#include "pd_proto.h"
#include "pd_send.h"

#define SEND_BATCH_KEYS 512
#define SEND_BATCH_TEXT (512 * KIB) /* bytes of keys in one message */
#define SEND_BATCH_BYTES (16 * MIB) /* of data; a larger key is a batch of its own */
#define SEND_SMALL 3                /* such batches under way: one asks, one sends, one commits */
#define SEND_OPEN 1                 /* send_key.error: not known yet */

struct send_peer;
struct send_batch;

/* A question on the alloc socket that waits for its answer; `seq` tells which. */
struct send_ask {
    struct hash_node node; /* of peer->asks while seq is not 0 */
    int64_t seq;
    uint64_t asked; /* when */
    void (*answer)(struct send_ask *ask, const struct pd_message *m);
};

struct send_key {
    struct pd_transfer transfer; /* not used in a pack */
    struct hash_node node;       /* of pd_send.keys while its batch lives */
    struct send_batch *batch;
    struct pd_store *store;
    const char *key;
    const struct l2_buf *buf;
    size_t index; /* in the store */
    uint64_t tag;
    void *data; /* what is sent; a mapping when `mapped`, else malloc'ed */
    uint32_t crc32c;
    int error; /* 0: landed; SEND_OPEN; -errno */
    bool granted, mapped, sending, cancelled;
    bool released; /* the receiver knows that it failed */
};

enum batch_state {
    BATCH_WAIT,   /* for the connection and for its place in the window */
    BATCH_ALLOC,  /* asked for room */
    BATCH_DATA,   /* sends under way */
    BATCH_COMMIT, /* asked to publish */
    BATCH_DRAIN,  /* failed; sends that are under way still come to their end */
    BATCH_DONE,
    BATCH_STATES
};

struct send_batch {
    struct list link; /* of peer->waiting or peer->active */
    struct send_peer *peer;
    struct send_ask ask;
    struct loop_timer timer;
    enum batch_state state;
    uint64_t bytes;
    uint64_t begun; /* when the current step was */
    int64_t alloc_id;
    size_t open;    /* keys without an outcome */
    size_t sending; /* messages under way */
    bool again;     /* Commit was sent twice */
    bool apart;     /* of one that was refused: is not joined */
    size_t nasked;
    struct send_key **asked; /* keys of the AllocRequest, then those with a tag, in order */
    size_t n;
    struct send_key *keys;
};

/* Which keys of a store go into a batch. */
struct send_pick {
    struct pd_store *store;
    const size_t *index;
    size_t n;
};

/* Waits at the peer; each key has its part of store->left. 0 or -ENOMEM. */
int send_batch_create(struct send_peer *p, const struct send_pick *pick);
const char *send_batch_request(const struct send_batch *b); /* "": none */
bool send_batch_begin(struct send_batch *b); /* WAIT -> ALLOC; false: the queue is full, it waits */
/* A batch of up to half of PD_PACK_MAX waits while SEND_SMALL such of its request are under way, for more to
 * join it. */
bool send_batch_rests(const struct send_batch *b);
/* Others that wait join it as far as they may. The batch that it is then. */
struct send_batch *send_batch_gather(struct send_batch *b);
/* Makes two of a batch that waits, by number of keys. 0 or -ENOMEM. */
int send_batch_split(struct send_batch *b);
int send_batch_again(struct send_batch *b); /* ALLOC -> WAIT, in two parts. 0 or -ENOMEM */
void send_batch_move(struct send_batch *b, enum batch_state to);
void send_batch_data(struct send_batch *b); /* room was given: ALLOC -> DATA */
void send_batch_sent(struct send_batch *b); /* a send has ended */
/* Every key without an outcome gets `error`; the batch goes when its sends have ended. */
void send_batch_fail(struct send_batch *b, int error);
void send_batch_end(struct send_batch *b, int error);  /* no send is under way */
void send_batch_lost(struct send_batch *b, int error); /* the same, and gives the room back */
/* Tells the receiver, once, that it need not keep the room of granted keys that have failed here.
 * k NULL: of all. */
void send_batch_release(struct send_batch *b, struct send_key *k);

/* --- pd_send_answer.c --- */

int send_batch_ask_room(struct send_batch *b);   /* 0, -EAGAIN, -ENOMEM */
int send_batch_ask_commit(struct send_batch *b); /* the same */

/* --- pd_send_key.c --- */

/* Makes the checksum known; copies the bytes of an unstable buffer. 0 or -errno. */
int send_key_prepare(struct send_key *k);
/* Starts the send of a granted key; one without bytes needs none. 0 or -errno. */
int send_key_start(struct send_key *k, struct pd_conn *conn);
int send_key_read(const struct send_key *k, void *to); /* its file. 0 or -errno */
void send_key_sent(struct send_key *k, int error);     /* the message with its bytes has ended */
void send_key_drop(struct send_key *k);                /* its bytes; no send has them */
void send_key_settle(struct send_key *k, int error);   /* the first outcome counts */
void send_key_cancel(struct send_key *k);

/* --- pd_send_pack.c --- */

/* How many of the keys that were asked for, from this one on, go in one message. */
size_t send_pack_count(const struct send_batch *b, size_t first);
/* Whether the packs of an answer are such as pd_proto.h allows; keys with `present` have no tag. */
bool send_packs_fit(const struct send_batch *b, const struct pd_ints *tags, const bool *present);
/* Starts the send of granted keys in one message. Those that have failed are in it as zeros; when all
 * have, none is sent. */
void send_pack_start(struct send_batch *b, size_t first, size_t n);

#endif
