/* ctl_fixture.h - a loop with PD control sockets, a server that echoes, and peers made of plain ZMQ. */
#ifndef L2FS_CTL_FIXTURE_H
#define L2FS_CTL_FIXTURE_H

#include <zmq.h>

#include "lock.h"
#include "mailbox.h"
#include "pd_ctl.h"
#include "suite.h"

#define PATIENCE 20 /* seconds, for what is expected to happen */
#define HELD_MAX 512

/* What has happened on the loop thread; waited for by the test. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t requests, replies, ups, downs;
    size_t empty_requests; /* of them */
    char last[256];        /* reply */
};

/* What the server does with a request. */
enum manner { ECHO, HOLD, DESTROY_SERVER };

struct echo {
    struct pd_server *server;
    uint16_t port;
    enum manner manner;
    size_t nheld;
    struct pd_envelope held[HELD_MAX];
    char held_data[HELD_MAX][32];
};

struct caller {
    struct pd_client *client;
    bool destroy_on_reply, destroy_on_up;
};

extern struct loop *loop;
extern struct mailbox *box;
extern struct pd_ctl *server_ctl, *client_ctl;
extern struct seen seen;
extern struct echo echo;
extern struct caller caller;
extern void *context; /* of plain peers */

/* Two contexts on a running loop, the log in a file. */
void fixture_start(const struct pd_curve *server, const struct pd_curve *client);
void fixture_stop(void); /* what is left is destroyed; checks that this takes no time */

int server_start(const char *host, uint16_t port); /* fills `echo` */
void server_stop(void);
void server_release_held(void);                    /* answers them, the last first */
int client_start(const char *host, uint16_t port); /* fills `caller` */
void client_stop(void);
int client_send(const char *text);
struct pd_ctl_counts counts_of(struct pd_ctl *c);

size_t now(const size_t *counter); /* a member of `seen` */
void serve_as(enum manner manner);
/* Waits until *counter (a member of `seen`) is at least `n`. */
void wait_for(const size_t *counter, size_t n);
void wait_count(struct pd_ctl *c, size_t offset, uint64_t n); /* of struct pd_ctl_counts */
size_t log_lines(const char *part);
void wait_log(const char *part);

/* A plain ZMQ socket, connected to a port of this machine. */
void *peer(int type, uint16_t port);
void peer_send(void *s, const char *data, int flags);
size_t peer_receive(void *s, char *data, size_t size,
                    bool *more);     /* aborts the test after PATIENCE */
void assert_answered(uint16_t port); /* a new REQ is */

#endif
