/* send_fake.h - an adapter "send" for tests: it sends to nobody, and says what it was asked. A program
 * that has it has a registry of its own. State is that of the process, any thread.
 */
#ifndef L2FS_TEST_SEND_FAKE_H
#define L2FS_TEST_SEND_FAKE_H

#include "adapter.h"

#define FAKE_SEND "{\"type\":\"send\"}"
#define FAKE_MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":100}"

/* Stores wait until they are released or cancelled. */
void fake_hold(bool on);
/* Stores end with it, from now on; 0: well. */
void fake_fail(int error);
/* Waits until that many stores are held; fails the test after 20 s. */
void fake_wait_held(size_t n);
/* Waits until that many were sent, or ended otherwise, ever. */
void fake_wait_sent(size_t n);
void fake_wait_cancelled(size_t n);
void fake_wait_done(size_t n); /* of requests */
size_t fake_sent(void);
size_t fake_cancelled(void);
size_t fake_done(void);
/* "KEY>PEER#REQ_ID" of the store with that number that was sent; "-" where not said. Valid until the
 * next call. */
const char *fake_sent_at(size_t i);
const char *fake_done_at(size_t i); /* "PEER#REQ_ID" */
void fake_set_peers(const char *json);

#endif
