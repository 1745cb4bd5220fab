/* pd_keys.h - files with CURVE keys. Level 2. Any thread; reads the file, so it may block.
 *
 * A key is 40 characters of Z85 on a line of its own, or `public-key = "..."` or `secret-key = "..."`
 * as czmq and pyzmq write certificates. Other lines: empty, `# comment`, behind a key too, and what
 * else a certificate has (`metadata`, `curve`, `name = "..."`).
 */
#ifndef L2FS_PD_KEYS_H
#define L2FS_PD_KEYS_H

#include "base.h"

struct pd_key {
    uint8_t bytes[32];
};

/* The one public key of the file. 0 or -errno with a log line that says what to do. */
int pd_key_load_public(const char *path, struct pd_key *out);
/* The one secret key; refused (-EACCES) when others than the owner may read the file. */
int pd_key_load_secret(const char *path, struct pd_key *out);
/* All public keys, at least one; freed by the caller. */
int pd_key_load_list(const char *path, struct pd_key **out, size_t *n);

#endif
