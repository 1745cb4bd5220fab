/* pd_send_fixture.h - a PD sender and receivers that do as a test says, on one loop.
 *
 * A far end is a receiver made of the control sockets and a channel in memory. It is good by itself:
 * gives room, takes data in, checks, publishes. A test may keep it from answering messages of a type
 * (`mute`), change its answers before they leave (`spoil`), keep it from receiving data, and kill it.
 */
#ifndef L2FS_PD_SEND_FIXTURE_H
#define L2FS_PD_SEND_FIXTURE_H

#include <pthread.h>

#include "pd_proto.h"
#include "pd_send.h"
#include "suite.h"

#define FAR_MAX 3
#define FAR_KEYS 4096
#define WAIT_TIME (10 * NSEC_PER_SEC)

struct far_key {
    struct pd_transfer transfer;
    struct far *far;
    char *key;
    char *data;
    uint64_t size;
    uint32_t crc32c;
    int64_t alloc_id;
    uint64_t tag;
    size_t follow; /* keys behind it that come in its message */
    char *message; /* where it has any */
    bool receiving, arrived, cancelled, published;
};

struct far;

/* What a test says. */
struct orders {
    unsigned mute;       /* bits of enum pd_type: such requests are not answered */
    unsigned hold;       /* such requests are handled at far_release */
    bool hold_data;      /* the sends of all wait until far_release */
    bool deaf;           /* posts no receives */
    bool pack;           /* gives neighbours that may share a message one tag */
    int refuse;          /* errno of every AllocRequest */
    size_t refuse_above; /* with EFBIG, those of more keys */
    int64_t limit;       /* of HelloReply */
    void (*spoil)(struct far *f, struct pd_message *reply);
};

struct held {
    struct pd_envelope from;
    char *data;
    size_t len;
};

struct far {
    struct rig *rig;
    uint16_t init_port, alloc_port;
    struct pd_server *init, *alloc;
    struct pd_conn *conn;
    int64_t last_alloc;
    struct far_key *keys[FAR_KEYS];
    size_t nkeys;
    /* A Commit that came before its data. */
    struct pd_envelope commit_from;
    int64_t commit_seq, commit_id;
    struct orders orders;
    /* What came. */
    size_t count[PD_TYPES];
    size_t cancelled_keys, asked_keys;
    size_t messages;  /* of data */
    char done[64];    /* req_id of the last Done ... */
    int64_t done_run; /* ... and its run */
    int64_t run;      /* of HelloReply */
    struct held held[64];
    size_t nheld;
};

struct rig {
    struct loop *loop;
    struct mailbox *mailbox;
    struct pd_ctl *ctl;
    struct pd_channel *channel;
    struct pd_proxy *proxy;
    struct pd_send *send;
    struct pd_config config;
    struct adapter_env adapter;
    struct far far[FAR_MAX];
    size_t nfar;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t events; /* lock: of the far ends and of finished stores */
};

/* A store under way, owned by the test. */
struct push {
    struct rig *rig;
    size_t n;
    const char **keys;
    struct l2_buf *bufs;
    int *errors;
    uint32_t *crc32c;
    uint64_t bytes;
    bool done; /* rig->lock */
};

void rig_open(struct rig *r, size_t nfar); /* far ends have dirs "", "one/", "two/" */
void rig_open_ucx(struct rig *r);          /* no far ends, and a channel over UCX */
void rig_aim(struct rig *r, uint16_t init_port, uint16_t alloc_port); /* at another receiver */
void rig_start(struct rig *r);                                        /* the sender */
void rig_close(struct rig *r);
void rig_stop_sender(struct rig *r);

/* A file of `size` bytes that `seed` gives; the descriptor is the push's. */
struct push *push_new(struct rig *r, size_t n, uint64_t size, const char *prefix);
void push_set(struct push *p, size_t i, uint64_t size); /* another size and content */
void push_submit(struct push *p);
void push_wait(struct push *p);
void push_free(struct push *p);
void push_run(struct push *p); /* submit and wait */
bool push_done(struct push *p);

void rig_hold_data(struct rig *r, bool hold); /* loop thread: sends wait, or go on */
void rig_notify(struct rig *r);               /* something has happened */
/* Runs fn(arg) on the loop thread. */
void rig_call(struct rig *r, void (*fn)(void *arg), void *arg);
/* Until the far end got `n` messages of the type. */
void far_wait(struct far *f, enum pd_type type, size_t n);
/* Until pred(arg) holds; it is asked on the loop thread after each event and every 10 ms. */
void rig_wait(struct rig *r, bool (*pred)(void *arg), void *arg);
bool far_bind(struct far *f); /* false: the ports are in use */
void far_free(struct far *f);
void far_kill(struct far *f);    /* sockets and connection go */
void far_restart(struct far *f); /* the same ports; knows nothing of what was under way */
void far_order(struct far *f, struct orders orders);
void far_release(struct far *f); /* what was held goes on; hold, mute and deaf end */
void far_cut(struct far *f);     /* the connection of the channel alone */
/* Until the sender has a batch for far[0] in this state (enum batch_state). */
void rig_wait_state(struct rig *r, int state);
/* The published key has exactly the content of push key i. */
bool far_has(struct far *f, const struct push *p, size_t i);
const char *peer_state(struct rig *r, const char *name, char out[16]);
json_int_t peer_number(struct rig *r, const char *name, const char *field);

#endif
