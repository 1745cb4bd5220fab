/* pd_transport.h - the channel that a config asks for. Level 2. */
#ifndef L2FS_PD_TRANSPORT_H
#define L2FS_PD_TRANSPORT_H

#include "pd_channel.h"
#include "pd_config.h"

/* Appends the network device that has the address `host`; nothing for one that none has, and for *.
 * Looks a name up, so it may wait for a name server. 0 or -ENOMEM. */
int pd_transport_device(const char *host, struct text *out);
/* As pd_channel_create. A receiver that binds one address gets its data there too, where tcp is all
 * that `tls` allows and `devices` says nothing. */
int pd_transport_create(const struct pd_config *c, struct loop *loop, struct pd_channel **out);

#endif
