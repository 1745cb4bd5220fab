/* pd_ctl.h - the sockets of the PD control plane. Level 2. ZMQ is named only in pd_ctl*.c.
 *
 * Everything is called on the loop thread, or before it runs or after it has ended; callbacks come
 * there, and may destroy whom they come from. Nothing blocks. A request longer than PD_MESSAGE_MAX or
 * of more frames than a request has is counted, and reaches the handler as one of no bytes, so that
 * it is answered; far longer ones end their connection. Peers whose key is not allowed never get that
 * far. A name as host is looked up as IPv4; addresses of IPv6 may stand with brackets or without.
 */
#ifndef L2FS_PD_CTL_H
#define L2FS_PD_CTL_H

#include "loop.h"
#include "metrics.h"

struct pd_ctl;

/* Key files; NULL: none, then plain. With any set, plain peers are refused. */
struct pd_curve {
    const char *server_key; /* server: its secret; client: the server's public key */
    const char *client_key; /* client: its secret */
    const char *clients; /* server: allowed public keys; NULL: any client that has the server's */
    bool server;         /* whose keys these are: one that takes requests, or one that makes them */
};

/* A context with its own io thread. 0 or -errno (log line names the key file). */
int pd_ctl_create(struct loop *loop, const struct pd_curve *curve, struct pd_ctl **out);
/* Servers, clients and pushes are destroyed before. Waits for no unsent message, but at most a quarter
 * of a second for what a push was given. */
void pd_ctl_destroy(struct pd_ctl *c);

/* Whom a request came from; a copy may be kept to answer later. */
#define PD_ENVELOPE_MAX 256
struct pd_envelope {
    uint16_t len;
    uint8_t data[PD_ENVELOPE_MAX]; /* private */
};

/* Takes requests of REQ and DEALER peers (with or without the empty frame) by a ROUTER socket. Each
 * must be answered once, now or later. A peer that is gone: the answer is dropped. */
struct pd_server;
typedef void pd_request_fn(void *arg, const struct pd_envelope *from, const void *data, size_t len);
/* Binds tcp://host:port ("*" or an address or name; port 0: any, see pd_server_port). 0 or -errno,
 * -EADDRINUSE among them, with a log line. */
int pd_server_create(struct pd_ctl *c, const char *host, uint16_t port, pd_request_fn *fn,
                     void *arg, struct pd_server **out);
/* Of a NULL: nothing, like the other destroy functions here. */
void pd_server_destroy(struct pd_server *s);
uint16_t pd_server_port(const struct pd_server *s);
void pd_server_reply(struct pd_server *s, const struct pd_envelope *to, const void *data,
                     size_t len);

/* A DEALER to one server: sends (empty frame, payload), any number of requests at once; whose
 * answer is which is said inside. Reconnects by itself. */
struct pd_client;
struct pd_client_ops {
    void (*reply)(void *arg, const void *data, size_t len);
    /* The connection is there: a send works / was lost (a peer that died, a machine that does
     * not answer TCP): what was sent may never be answered. Alternately, beginning with true. */
    void (*connected)(void *arg, bool yes);
};
int pd_client_create(struct pd_ctl *c, const char *host, uint16_t port,
                     const struct pd_client_ops *ops, void *arg, struct pd_client **out);
void pd_client_destroy(struct pd_client *c);
/* 0, or -EAGAIN (its queue is full, or nobody is connected: the message was not taken). */
int pd_client_send(struct pd_client *c, const void *data, size_t len);

/* A PUSH to a proxy. */
struct pd_push;
int pd_push_create(struct pd_ctl *c, const char *host, uint16_t port, struct pd_push **out);
void pd_push_destroy(struct pd_push *p);
/* `up` is called whenever a connection has come. */
void pd_push_when_up(struct pd_push *p, void (*up)(void *arg), void *arg);
/* 0: handed to a connection that is there; -EAGAIN: nobody is connected, or its queue is full. */
int pd_push_send(struct pd_push *p, const void *data, size_t len);

/* Dropped messages and connections since the start, for status. */
struct pd_ctl_counts {
    uint64_t oversized, malformed, refused_keys;
    uint64_t excess; /* connections: too many at one port, or without an end to their message */
};
struct pd_ctl_counts pd_ctl_counts(const struct pd_ctl *c);

#endif
