/* pd_channel_impl.h - what an implementation of pd_channel.h is. For pd_channel.c, pd_memory.c and
 * ucx*.c only. Level 2.
 */
#ifndef L2FS_PD_CHANNEL_IMPL_H
#define L2FS_PD_CHANNEL_IMPL_H

#include "pd_channel.h"

/* The functions of pd_channel.h, behind the checks of pd_channel.c: `address` has lost its envelope,
 * a transfer's own members are filled. */
struct pd_channel_impl {
    void (*destroy)(struct pd_channel *c);
    int (*open)(struct pd_channel *c, struct pd_conn **out); /* its address by pd_conn_seal */
    int (*connect)(struct pd_conn *conn, const void *address, size_t len);
    void (*close)(struct pd_conn *conn);  /* frees it, but not what is in struct pd_conn */
    void (*start)(struct pd_transfer *t); /* as t->receiving says */
    void (*cancel)(struct pd_transfer *t);
};

/* The first members of the implementation's own structures. */
struct pd_channel {
    const struct pd_channel_impl *impl;
    struct loop *loop;
    uint32_t kind; /* in the envelope: what a peer must have as well */
};

struct pd_conn {
    struct pd_channel *channel;
    const struct pd_conn_ops *ops;
    void *arg;
    void *address; /* in its envelope */
    size_t address_len;
    bool connected;
};

int pd_memory_create(struct loop *loop, struct pd_channel **out);
int pd_ucx_create(struct loop *loop, const struct pd_channel_config *cfg, struct pd_channel **out);

/* Puts the implementation's address into its envelope. 0, -ENOMEM, or -EMSGSIZE. */
int pd_conn_seal(struct pd_conn *conn, const void *address, size_t len);

/* Ends the transfer for its owner, who may free all that is named here. */
static inline void pd_transfer_done(struct pd_transfer *t, int error)
{
    t->conn = NULL;
    t->done(t, error);
}

#endif
