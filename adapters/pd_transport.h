/* pd_transport.h - the channel that a config asks for. Level 2. */
#ifndef L2FS_PD_TRANSPORT_H
#define L2FS_PD_TRANSPORT_H

#include "pd_channel.h"
#include "pd_config.h"

/* Appends the network device that has the address `host`; nothing for one that none has, and for *.
 * Looks a name up, so it may wait for a name server. 0 or -ENOMEM. */
int pd_transport_device(const char *host, struct text *out);
/* Appends the devices by which the receivers of a sender are reached now; nothing when that is not known
 * of one of them. Looks names up. 0 or -ENOMEM. */
int pd_transport_routes(const struct pd_config *c, struct text *out);
/* As pd_channel_create. The devices are those above, where tcp is all that `tls` allows, and neither
 * `devices` nor UCX_NET_DEVICES says which. */
int pd_transport_create(const struct pd_config *c, struct loop *loop, struct pd_channel **out);

#endif
