/* load_fake.h - an adapter "slow" for tests: it has one key, FAKE_KEY, and loads it as far as the test
 * says. A program that has it has a registry of its own. Tiers are numbered as they were opened. State
 * is that of the process, any thread.
 */
#ifndef L2FS_TEST_LOAD_FAKE_H
#define L2FS_TEST_LOAD_FAKE_H

#include "adapter.h"

#define FAKE_SLOW "{\"type\":\"slow\"}"
#define FAKE_KEY "k"
#define FAKE_SIZE (8 * MIB)

void fake_reset(void);
/* So many bytes of the key are in the staging file, and the owner may know. Waits for a load of tier
 * `tier` first; fails the test after 20 s. */
void fake_land(int tier, uint64_t bytes);
/* The load begins anew, with another file. */
void fake_again(int tier);
/* The load ends: well, or with that error and without its file. */
void fake_end(int tier, int error);
/* What tier `tier` writes and how long it says that the file will be, from now on. */
void fake_spoil(int tier);
void fake_resize(int tier, uint64_t size);
/* What is right: the bytes at `off`. */
const char *fake_bytes(uint64_t off);

#endif
