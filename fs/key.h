/* key.h - cache keys: paths below the mount, and LMCache object keys as file names. Level 1.
 * Level 1.
 *
 * A key is the path of a file below the mount root: no leading or trailing '/', no empty, "." or
 * ".." component, each component at most 255 bytes, the whole at most KEY_PATH_MAX. A key that ends
 * in '/' names a directory (only in the adapter's make_dir/remove/rename/list). Pure functions.
 */
#ifndef L2FS_KEY_H
#define L2FS_KEY_H

#include "base.h"

#define KEY_PATH_MAX 4095
#define KEY_NAME_MAX 255
#define KEY_MODEL_MAX 1024
#define KEY_SALT_MAX 128

/* 0, -EINVAL (shape), -ENAMETOOLONG. `dir` allows and requires the trailing '/'. */
int key_check(const char *key, bool dir);
/* True when `key` is `dir` itself or lies below it (dir without trailing '/'; "" is the root). */
bool key_below(const char *key, const char *dir);

/* ObjectKey and its file name (l2-contract.md 4.1, 4.2):
 * <model, "/" -> "-SEP-">@0x<kv_rank 8 hex>@<group hex>@<hash hex>[@<salt>].data */
struct object_key {
    uint8_t hash[64];
    size_t hash_len; /* 1..64 */
    char model[KEY_MODEL_MAX];
    uint32_t kv_rank; /* world<<24 | global<<16 | local_world<<8 | local */
    uint32_t group;
    char salt[KEY_SALT_MAX * 4 + 1]; /* at most 128 UTF-8 characters; "" = none */
};

/* 0 or -EINVAL (an invariant of 4.1 is broken). */
int object_key_check(const struct object_key *k);
/* File name (".data" form) into buf; -ENAMETOOLONG when it does not fit `len` or is longer than
 * KEY_NAME_MAX; else as object_key_check. */
int object_key_to_file(const struct object_key *k, char *buf, size_t len);
/* Accepts the 4/5-field form and the legacy forms without group (3 fields, or 4 with a salt when
 * the third is too long for a group). Strict: lower-case hex, nothing padded, so that only what
 * object_key_to_file writes is read. -EINVAL: not such a name. */
int object_key_from_file(const char *name, struct object_key *k);
/* Native connector form: <model>@<kv_rank 8 hex>@<group hex>@<hash hex>[@<salt>]. */
int object_key_to_wire(const struct object_key *k, char *buf, size_t len);
int object_key_from_wire(const char *text, struct object_key *k);
uint32_t kv_rank_pack(uint8_t world, uint8_t global, uint8_t local_world, uint8_t local);
bool object_key_equal(const struct object_key *a, const struct object_key *b);

#endif
