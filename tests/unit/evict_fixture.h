/* evict_fixture.h - an instance whose first tier holds 16 MiB, and keys k00, k01, ... of 1 MiB. */
#ifndef L2FS_EVICT_FIXTURE_H
#define L2FS_EVICT_FIXTURE_H

#include "vfsrig.h"

#define CAP "0.015625" /* GiB: 16 MiB */
#define FS_CAP "{\"type\":\"fs\",\"base_path\":\"@DIR@\",\"max_capacity_gb\":" CAP
#define BIG_MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":100}"

extern struct vfsrig r;

void begin(const char *spec);
void teardown(void); /* for tcase_add_checked_fixture */

const char *name_of(unsigned i); /* until the next call */
/* The key is in L2, and not in L1 any more. */
void put(const char *name, unsigned seed);
void put_many(unsigned from, unsigned to);
void touch(const char *name, unsigned seed); /* used, as put leaves it */
uint64_t used_bytes(size_t slot);
void wait_below(uint64_t bytes); /* in slot 0; fails the test after 20 s */
void wait_gone(const char *name);
void wait_left(const char *name); /* no tier has it any more; in the root */
unsigned count_names(unsigned n); /* of k00 to k(n-1) */
size_t ranks(const char *name);   /* orders of leaving that it stands in */
void set(size_t slot, const char *name, const char *value);

#endif
