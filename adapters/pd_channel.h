/* pd_channel.h - the data plane of PD: tagged messages between two processes' memory. Level 2.
 *
 * Two implementations: ucx.c (UCX tag rendezvous; the only file that names ucp), and pd_memory.c
 * (`mock_memory`: within one process, for tests). Everything is called on the loop thread; callbacks
 * come there, never from within the call that starts a transfer (the closing of a connection is the
 * exception that it states).
 *
 * A connection belongs to one peer and one run of it. The channel makes progress by a loop hook and
 * its event fd; a channel with nothing outstanding uses no processor time.
 */
#ifndef L2FS_PD_CHANNEL_H
#define L2FS_PD_CHANNEL_H

#include "loop.h"

struct pd_channel;
struct pd_conn;

struct pd_channel_config {
    const char *tls;     /* UCX_TLS; NULL: as the environment and UCX say */
    const char *devices; /* UCX_NET_DEVICES; NULL: all */
    bool cuda;           /* what is received goes to memory of a GPU */
};

/* A transfer: embedded by the caller, untouched between start and `done`. */
struct pd_transfer {
    /* 0; -ECONNRESET (the peer or the connection is gone), -ECANCELED, -EMSGSIZE (the message had
     * another length than the buffer; the sender may see 0 all the same), -EIO. It may free the
     * transfer, start it again and close the connection. */
    void (*done)(struct pd_transfer *t, int error);
    /* private: */
    struct list link;
    struct pd_conn *conn; /* NULL: not under way */
    void *request;
    union {
        const void *from;
        void *to;
    };
    uint64_t tag;
    uint64_t size;
    bool receiving;
    bool finished; /* `error` is known, done is about to be called */
    int error;
};

struct pd_conn_ops {
    /* The peer is gone: outstanding sends end with -ECONNRESET; the owner closes the connection,
     * from here or later. At most once. */
    void (*failed)(void *arg, int error);
};

/* 0 or -errno with a log line that says what to do. */
int pd_channel_create(struct loop *loop, bool ucx, const struct pd_channel_config *cfg,
                      struct pd_channel **out);
void pd_channel_destroy(struct pd_channel *c); /* every connection is closed */

/* A new connection, which can receive as soon as the peer knows its address. */
int pd_conn_create(struct pd_channel *c, const struct pd_conn_ops *ops, void *arg,
                   struct pd_conn **out);
/* What the peer needs to connect; valid until close. */
const void *pd_conn_address(struct pd_conn *c, size_t *len);
/* `address` is what the peer's pd_conn_address gave, from a message. 0; -EINVAL: it is damaged;
 * -EPROTONOSUPPORT: the peer's channel is of another kind; or -errno. */
int pd_conn_connect(struct pd_conn *c, const void *address, size_t len);
/* A fence: when it returns nothing reads or writes any buffer of this connection any more. Calls
 * done(-ECONNRESET) of every transfer that was outstanding, from within. Bounded (a second). */
void pd_conn_close(struct pd_conn *c);

/* The buffer stays the channel's until done. Tags are chosen by the receiver, who posts the receive
 * before it tells the tag: a message meets the receive of its own tag only, its length must be that
 * of the buffer, and one without a receive is thrown away (its sender sees 0 or -EMSGSIZE). A peer
 * that sends too many of those loses its connection. */
void pd_conn_send(struct pd_conn *c, struct pd_transfer *t, uint64_t tag, const void *buf,
                  uint64_t size);
void pd_conn_recv(struct pd_conn *c, struct pd_transfer *t, uint64_t tag, void *buf, uint64_t size);
/* A receive that met no message yet ends with -ECANCELED soon; one that did goes on to its end, and
 * so does a send (close the connection to be rid of it). Idempotent. */
void pd_transfer_cancel(struct pd_transfer *t);

#endif
