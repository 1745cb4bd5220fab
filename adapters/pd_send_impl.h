/* pd_send_impl.h - what the files of the PD sender share. Level 2. Loop thread only.
 *
 * pd_send.c takes stores apart into batches and routes them; pd_send_peer.c keeps one peer per target
 * connected, pd_send_ask.c has its questions; pd_send_batch.c is the life of a batch, pd_send_answer.c
 * what it asks and hears, pd_send_key.c the bytes of one key, pd_send_pack.c those of several in one
 * message; pd_send_done.c tells of whole requests.
 */
#ifndef L2FS_PD_SEND_IMPL_H
#define L2FS_PD_SEND_IMPL_H

#include "mailbox.h"
#include "pd_send_batch.h"

#define SEND_BATCHES 256 /* of one peer under way */

/* IDLE: nobody wanted it yet. CONNECTING: batches wait for it. DOWN, REFUSED: they fail at once. */
enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_UP, PEER_DOWN, PEER_REFUSED };

struct peer_counts {
    uint64_t inflight, bytes, keys, failures, handshakes;
    uint64_t rtt; /* us, smoothed */
    int last_error;
};

struct send_peer {
    struct pd_send *send;
    struct pd_target target;
    enum peer_state state;
    struct pd_client *init, *alloc; /* init: while a handshake is under way */
    struct pd_conn *conn;
    bool init_connected, alloc_connected;
    bool trying;     /* a handshake is under way */
    bool asked;      /* it has said Hello */
    bool answered;   /* and heard `hello_error` */
    bool refused;    /* which is the receiver's own */
    bool fencing;    /* the connection is being closed: ended sends change no batch */
    int hello_error; /* 0 or -errno */
    uint64_t begun;  /* when the handshake was */
    uint64_t hello_sent;
    uint64_t stuck;          /* since when the socket's queue is full; 0: it is not */
    uint64_t epoch;          /* of the connection */
    int64_t run;             /* of the receiver, as it said last */
    uint64_t limit;          /* bytes of one AllocRequest */
    uint64_t heard;          /* when it said something valid last */
    uint64_t backoff;        /* ns until the next handshake, after a failure */
    struct loop_timer timer; /* handshake deadline, next try, or another try to send */
    struct hash asks;
    struct list waiting, active; /* struct send_batch */
    size_t nactive;
    uint64_t told; /* when the log heard of a refusal last */
    struct peer_counts counts;
    struct metric *bytes, *keys, *failures;
};

struct pd_send {
    struct pd_env env;
    struct pd_proxy *proxy;
    char name[96]; /* unique per run */
    uint64_t window;
    int64_t seq;
    uint64_t strays;  /* answers to no question */
    uint64_t garbage; /* messages that could not be read */
    bool stopping;
    struct hash keys;     /* struct send_key */
    struct hash requests; /* struct send_request */
    struct list request_age, telling, settled;
    uint64_t forgotten; /* requests */
    uint64_t told;      /* when the log heard of an unknown peer last */
    size_t npeers;
    struct send_peer *peers;
};

void send_store_put(struct pd_store *store); /* finishes it when no batch has it any more */

/* --- pd_send_peer.c --- */

int send_peer_init(struct send_peer *p, struct pd_send *s, size_t index); /* 0 or -ENOMEM */
void send_peer_shut(struct send_peer *p); /* what is in flight ends with -ESHUTDOWN */
void send_peer_fini(struct send_peer *p); /* after shut, or an init that failed */
void send_peer_wake(struct send_peer *p); /* a handshake, when none was tried yet */
void send_peer_pump(struct send_peer *p); /* begins what may begin */
void send_peer_pump_in(struct send_peer *p, uint64_t ns);
void send_peer_go_on(struct send_peer *p);           /* the handshake, from the timer */
void send_peer_lost(struct send_peer *p, int error); /* fences, and connects again */
/* A step that began at `since` had no answer: the peer is down, unless it said other things or data
 * is under way. */
void send_peer_silent(struct send_peer *p, uint64_t since);
void send_peer_works(struct send_peer *p); /* something landed there */

/* --- pd_send_ask.c --- */

extern const struct pd_client_ops send_init_ops, send_alloc_ops;
/* Registers `ask` (NULL: nobody waits for the answer) unless it is. 0, -EAGAIN, -ENOMEM. */
int send_peer_ask(struct send_peer *p, struct send_ask *ask, struct pd_message *m);
void send_peer_unask(struct send_peer *p, struct send_ask *ask); /* idempotent */
int send_peer_hello(struct send_peer *p);                        /* as send_peer_ask */
/* An errno that a peer gave, as it may be shown here. */
int send_peer_errno(int64_t error);
/* One line about a refusal, at most one a second; quote: with the reason that the peer gave. */
void send_peer_tell(struct send_peer *p, const char *what, const char *reason);
void send_peer_quote(struct send_peer *p, const char *what, const struct pd_message *m);

/* --- pd_send_done.c --- */

void send_requests_init(struct pd_send *s);
void send_requests_fini(struct pd_send *s); /* the proxy hears of those that were to be told */
void send_request_landed(struct send_batch *b);
void send_requests_poke(struct send_peer *p); /* it is up */

#endif
