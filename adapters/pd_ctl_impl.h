/* pd_ctl_impl.h - what the files pd_ctl*.c share: a context and its sockets on the loop. Level 2.
 * Loop thread only, or before it runs.
 */
#ifndef L2FS_PD_CTL_IMPL_H
#define L2FS_PD_CTL_IMPL_H

#include "pd_ctl.h"
#include "pd_keys.h"

/* A ZMQ socket. Its descriptor tells of changes only, so after each of them, and after every call that
 * may have swallowed one (a send), it is read until it is empty. */
struct pd_sock {
    struct loop_fd fd;
    struct pd_ctl *ctl;
    void *zmq; /* NULL: closed */
    struct list link;
    /* Takes one frame; false: there is none. May close the socket, and free it. */
    bool (*take)(struct pd_sock *s);
};

struct pd_ctl {
    struct loop *loop;
    void *context;
    struct list dirty;       /* struct pd_sock: to be read when `now` expires */
    struct loop_timer now;   /* always armed: arming it again cannot fail */
    struct pd_sock *current; /* being read; NULL when it was closed meanwhile */
    uint64_t monitors;       /* names given */
    uint64_t grumbled[3];    /* by enum pd_grumble: when the last log line was */
    struct pd_ctl_counts counts;

    bool curve, server;
    struct pd_key secret;     /* ours */
    struct pd_key server_key; /* client: the server's public one */
    struct pd_key *clients;   /* allowed; NULL: all */
    size_t nclients;
    struct pd_sock zap;
};

int pd_zmq_error(void); /* of the last call, as -errno */

/* Opens a socket of a ZMQ type, without linger. 0 or -errno; closed again by pd_sock_close, which may
 * be called for one that is not open. */
int pd_sock_open(struct pd_ctl *c, int type, struct pd_sock *s);
void pd_sock_close(struct pd_sock *s);
/* Call after each send: reads it soon. */
void pd_sock_touch(struct pd_sock *s);
int pd_sock_set(struct pd_sock *s, int option, int value); /* 0 or -errno */
bool pd_sock_writable(struct pd_sock *s);
/* Opens the events of `of` as a socket of its own. */
int pd_sock_monitor(struct pd_sock *of, int events, struct pd_sock *s);
/* Closes a socket and its monitor. In no other way: ZMQ's thread waits for ever to tell a monitor that
 * was closed first. */
void pd_sock_close_both(struct pd_sock *s, struct pd_sock *monitor);
/* Takes one event with its value; false: there is none. */
bool pd_sock_event(struct pd_sock *monitor, uint16_t *event, uint32_t *value);
/* tcp://HOST:PORT, an address of IPv6 in brackets; port 0: "*". Sets up the socket for it. */
int pd_sock_address(struct pd_sock *s, const char *host, uint16_t port, char out[512]);
/* Options of every TCP socket of ours: limits, keepalive. */
int pd_sock_limits(struct pd_sock *s);

/* Keys: loads the files; the handler that is asked for each client. */
int pd_auth_init(struct pd_ctl *c, const struct pd_curve *curve);
void pd_auth_fini(struct pd_ctl *c);
int pd_auth_server(struct pd_sock *s); /* sets the keys of a socket; 0 or -errno */
int pd_auth_client(struct pd_sock *s);

/* Whether to log again what a peer can bring about as often as it likes: once a minute each. */
enum pd_grumble { PD_GRUMBLE_PLAIN, PD_GRUMBLE_CRYPTO, PD_GRUMBLE_UNLISTED };
bool pd_grumble(struct pd_ctl *c, enum pd_grumble what);

#endif
