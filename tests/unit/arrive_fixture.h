/* arrive_fixture.h - what a receiver does with an instance, in few words. For Check tests. */
#ifndef L2FS_TEST_ARRIVE_FIXTURE_H
#define L2FS_TEST_ARRIVE_FIXTURE_H

#include "vfsrig.h"

struct arrivals *peer_of(struct vfsrig *rig);

/* An object of vfsrig_fill's bytes; it has an owner, a mode with set-id bits, a sender. */
struct arrival peer_describe(const char *key, size_t len, unsigned seed);
uint64_t peer_bytes(struct arrivals *a, size_t len, unsigned seed); /* a staging file of them */
/* After a reserve. Gives the staging file back when it is refused. */
int peer_publish(struct arrivals *a, const struct arrival *what, unsigned seed);
/* Both. */
int peer_land(struct vfsrig *r, const char *key, size_t len, unsigned seed);
int peer_land_for(struct vfsrig *rig, const char *key, size_t len, unsigned seed, uint64_t ttl);
int peer_reserve(struct vfsrig *r, const char *key, size_t len, unsigned seed);
void peer_give_back(struct vfsrig *r, size_t len);

uint64_t rig_promised(struct vfsrig *r);
bool rig_is_unread(struct vfsrig *r, const char *key);
bool rig_history_has(struct vfsrig *r, const char *what); /* a line of .l2fs/history */

#endif
