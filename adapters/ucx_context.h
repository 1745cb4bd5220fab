/* ucx_context.h - how l2fs sets UCX up, its errors and its log. For ucx.c. Level 2. */
#ifndef L2FS_UCX_CONTEXT_H
#define L2FS_UCX_CONTEXT_H

#include <ucp/api/ucp.h>

#include "pd_channel.h"

/* Where the config names no tls or devices: what the environment says, else all devices and all
 * transports but shared memory, which cannot report a peer that died. 0, or -errno with a log line;
 * -ENODEV: cuda is wanted, and this UCX knows no memory of a GPU. From creation to destruction UCX's
 * own messages go to the log. */
int ucx_context_create(const struct pd_channel_config *cfg, ucp_context_h *out);
void ucx_context_destroy(ucp_context_h context);

/* What both sides must have in common: the release of UCX and our settings of it. */
uint32_t ucx_wire(void);

int ucx_errno(ucs_status_t status); /* 0 or -errno */
void ucx_log_endpoint(ucp_ep_h ep); /* its transports, at debug level */

#endif
