/* ucx_context.h - how l2fs sets UCX up, its errors and its log. For ucx.c. Level 2. */
#ifndef L2FS_UCX_CONTEXT_H
#define L2FS_UCX_CONTEXT_H

#include <ucp/api/ucp.h>

#include "pd_channel.h"

/* What workers are made from, and how many use it. */
struct ucx_context {
    ucp_context_h ucp;
    struct pd_channel_config cfg;
    unsigned users;
};

/* Where the config names no tls or devices: what the environment says, else all devices and all
 * transports but shared memory, which cannot report a peer that died. 0, or -errno with a log line;
 * -ENODEV: cuda is wanted, and this UCX knows no memory of a GPU. From creation to destruction UCX's
 * own messages go to the log. */
int ucx_context_create(const struct pd_channel_config *cfg, struct ucx_context **out);
void ucx_context_put(struct ucx_context *c); /* the last user's destroys it */

/* A worker and the context that it uses, to be put when it was destroyed. A context knows the devices
 * there were when it was made, and makes no worker when one is gone, such as that of a container which
 * ended: then `*context` is replaced. 0 or -errno. */
int ucx_worker_create(struct ucx_context **context, ucp_worker_h *out, struct ucx_context **of);

/* What both sides must have in common: the release of UCX and our settings of it. */
uint32_t ucx_wire(void);

int ucx_errno(ucs_status_t status); /* 0 or -errno */
void ucx_log_endpoint(ucp_ep_h ep); /* its transports, at debug level */

#endif
