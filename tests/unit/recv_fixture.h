/* recv_fixture.h - a receiver on a loop of its own over a mount that is made up, and scripted senders,
 * for Check tests. Every wait has a deadline, and running into it fails the test. */
#ifndef L2FS_TEST_RECV_FIXTURE_H
#define L2FS_TEST_RECV_FIXTURE_H

#include "channel_fixture.h"
#include "checksum.h"
#include "lock.h"
#include "pd_proto.h"
#include "pd_recv.h"

/* A mount: what was published is kept in memory. */
struct objects {
    struct arrivals base;
    struct staging *staging;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list all; /* struct object */
    uint64_t limit, reserved;
    size_t published, ready, lost;
    char last_ready[300];
    int reserve_error, publish_error; /* of keys that begin with "bad" */
    int ready_error;
    bool hold; /* publish waits */
    bool held; /* it does */
    void (*room)(void *arg);
    void *room_arg;
};

struct object {
    struct list link;
    char *key, *data;
    uint64_t size;
    uint32_t crc32c;
    struct l2_attr attr;
};

struct recv_rig {
    bool ucx;
    struct end host;
    char *dir;
    struct objects objects;
    struct metrics *metrics;
    struct adapter_env env;
    struct pd_config config;
    struct pd_ctl *ctl;
    struct pd_recv *recv;
};

/* Sets up all but the receiver, with `config` of so many ranks. */
void recv_rig_prepare(struct recv_rig *g, size_t ranks, bool ucx);
void recv_rig_start(struct recv_rig *g);
void recv_rig_stop(struct recv_rig *g); /* destroys the receiver on its loop; idempotent */
/* Checks that neither room, files nor descriptors are left. */
void recv_rig_close(struct recv_rig *g);
int64_t recv_rig_status(struct recv_rig *g, const char *name);
void recv_rig_expect(struct recv_rig *g, const char *name, int64_t value); /* soon */
/* The object, or NULL; it stays. */
const struct object *recv_rig_object(struct recv_rig *g, const char *key);
size_t recv_rig_ready(struct recv_rig *g);         /* requests that are, so far */
size_t recv_rig_lost(struct recv_rig *g);          /* and that will not be */
void recv_rig_hold(struct recv_rig *g, bool hold); /* publishing */
void recv_rig_wait_held(struct recv_rig *g);

struct answer {
    struct list link;
    char *data;
    struct pd_message *m;
};

struct sender {
    struct end end;
    struct recv_rig *rig;
    struct pd_ctl *ctl;
    struct pd_client *init, *alloc;
    const char *name;
    size_t rank;
    int64_t epoch, seq;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list answers;
    int connected; /* sockets */
};

void sender_open(struct sender *s, struct recv_rig *g, const char *name, size_t rank);
void sender_close(struct sender *s);
/* Sends; gives the seq of the answer (0 for messages that have none). */
int64_t sender_post(struct sender *s, struct pd_message *m);
void sender_post_bytes(struct sender *s, bool init, const void *data, size_t len);
struct answer *sender_wait(struct sender *s, int64_t seq);
bool sender_answered(struct sender *s, int64_t seq);
struct answer *sender_ask(struct sender *s, struct pd_message *m);
void answer_free(struct answer *a);

/* Hello with the end's connection; connects it. The error of the reply. */
int sender_hello(struct sender *s);

#define PARCEL_KEYS 8
/* A request as a sender makes it. */
struct parcel {
    size_t n;
    char keys[PARCEL_KEYS][32];
    uint64_t sizes[PARCEL_KEYS];
    char *data[PARCEL_KEYS];
    int64_t id, tags[PARCEL_KEYS]; /* of the answer; 0: no tag */
    int errors[PARCEL_KEYS];
    bool present[PARCEL_KEYS];
    int error;
    bool packs;                     /* the sender knows of them */
    char *together[PARCEL_KEYS];    /* what xfers has, where a message is begun */
    struct xfer xfers[PARCEL_KEYS]; /* of the first key of each message */
    int64_t v[6][PARCEL_KEYS];      /* sizes, crcs, modes, uids, gids, mtimes */
    int64_t crcs[PARCEL_KEYS];      /* of what has a tag */
    size_t ntags;
    struct pd_bytes names[PARCEL_KEYS];
};
/* Keys NAME0 .. of these sizes, their bytes from `seed`. */
void parcel_init(struct parcel *p, const char *name, uint32_t seed, const uint64_t *sizes,
                 size_t n);
void parcel_fini(struct parcel *p);
struct pd_message parcel_message(struct parcel *p, struct sender *s); /* the AllocRequest */
void parcel_take(struct parcel *p, struct answer *a);                 /* reads the answer, frees */
void parcel_ask(struct parcel *p, struct sender *s);                  /* all of that */
bool parcel_begins(const struct parcel *p, size_t i); /* a message begins with its bytes */
void parcel_send(struct parcel *p, struct sender *s); /* starts every send */
void parcel_sent(struct parcel *p);                   /* waits for them: 0 */
struct pd_message parcel_commit(struct parcel *p, struct sender *s);
void parcel_outcome(struct parcel *p,
                    struct answer *a);                /* of Commit, into error and errors; frees */
void parcel_land(struct parcel *p, struct sender *s); /* ask, send, commit: all 0 */

#endif
