/* pd_recv.h - the receiver of PD: gives room, takes bytes in, publishes. Level 2. Loop thread only,
 * but for pd_recv_peers.
 *
 * One for all TP ranks of the config: each has its init and alloc server and its own account of
 * buffer_size. Life of a key: reserved (room in the rank's buffer and in L1, a staging file, a
 * receive posted) -> arrived -> verified (crc32c, on a thread of its own) -> published, at Commit.
 * What is not committed within its lease is taken back: its receives are cancelled, and when one has
 * met its message already the connection is closed, which fences it.
 */
#ifndef L2FS_PD_RECV_H
#define L2FS_PD_RECV_H

#include "adapter.h"
#include "pd_channel.h"
#include "pd_config.h"
#include "pd_ctl.h"

struct pd_recv;

struct pd_env {
    const struct adapter_env *adapter;
    const struct pd_config *config;
    struct loop *loop;
    struct mailbox *mailbox;
    struct pd_ctl *ctl;
    struct pd_channel *channel;
};

/* Before the loop runs: binds the sockets. 0 or -errno with a log line. `env` is copied, what it
 * points to outlives the receiver. */
int pd_recv_create(const struct pd_env *env, struct pd_recv **out);
void pd_recv_destroy(struct pd_recv *r); /* on the loop thread, or after it has ended */
/* Adds {"is_healthy", "init_ports", "alloc_ports", "buffer_used", "waiting", ...} to `status`, and peers
 * as adapter_ops.peers says. Loop thread. */
void pd_recv_status(struct pd_recv *r, json_t *status);
json_t *pd_recv_peers(struct pd_recv *r); /* loop thread */

#endif
