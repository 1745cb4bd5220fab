/* pd_proxy.h - tells the proxy that a request is ready: ProxyNotif {req_id}, once for each request.
 * Level 2. Loop thread only.
 *
 * Its own queue: never blocks, tried again when the proxy connects and every half second until the
 * deadline, which is stamped once; then one log line and a count.
 */
#ifndef L2FS_PD_PROXY_H
#define L2FS_PD_PROXY_H

#include "pd_ctl.h"

struct pd_proxy;

struct pd_proxy_counts {
    uint64_t sent, failed, waiting;
};

/* `timeout`: ns of each notification. host "" or NULL: notes nothing, tells nobody. 0 or -errno. */
int pd_proxy_create(struct loop *loop, struct pd_ctl *ctl, const char *host, uint16_t port,
                    uint64_t timeout, struct pd_proxy **out);
/* What still waits is tried once more, then logged and counted. */
void pd_proxy_destroy(struct pd_proxy *p);
/* At most 65536 wait; then -ENOBUFS with a log line. 0, -ENOMEM. A req_id that waits already: 0. */
int pd_proxy_notify(struct pd_proxy *p, const char *req_id, size_t len);
struct pd_proxy_counts pd_proxy_counts(const struct pd_proxy *p);

#endif
