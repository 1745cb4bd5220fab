/* evict_quota.h - room inside a quota: a tenant's coldest keys are removed altogether. Level 4.
 *
 * Only where a tier evicts: elsewhere what is stored is kept, and the quota refuses. Never leave:
 * keys that are open, pinned, or not stored. It goes on until the tenant is down to its quota less
 * the eviction_ratio of that tier.
 */
#ifndef L2FS_EVICT_QUOTA_H
#define L2FS_EVICT_QUOTA_H

#include "handle.h"
#include "tenant.h"

/* The tenant is full, `bytes` more are wanted. False: nothing will leave. */
bool quota_ask_locked(struct l2fs *fs, struct tenant *t, uint64_t bytes);
/* After quota_ask_locked: as wait_locked, -EDQUOT in the end. */
int quota_wait_locked(struct l2fs *fs, struct waiter *w);
/* Ends the thread; before the tiers are closed. Idempotent. */
void quota_stop(struct l2fs *fs);

#endif
