/* rig.h - an adapter over a staging directory of its own, driven as its owner would. For Check
 * tests.
 *
 * One thread submits and collects; every wait has a deadline, and running into it fails the test.
 * Closing checks that neither descriptors nor staging files are left.
 */
#ifndef L2FS_TEST_RIG_H
#define L2FS_TEST_RIG_H

#include <check.h>

#include "lock.h"
#include "spec.h"

#define RIG_WAIT_MS 60000
#define RIG_KEY_MAX 512

/* The mount of an adapter that receives: takes every object, and remembers what it was. */
struct rig_arrival {
    char *key;
    uint64_t size;
    uint32_t crc32c;
};

struct rig_arrivals {
    struct arrivals base;
    struct staging *staging;
    pthread_mutex_t lock;
    struct rig_arrival *v; /* lock */
    size_t n;              /* lock */
    size_t ready;          /* lock: requests */
};

struct rig {
    char *staging_dir;
    char *data_dir; /* replaces @DIR@ in the spec */
    struct staging *staging;
    struct metrics *metrics;
    struct rig_arrivals arrivals;
    struct adapter_env env;
    struct spec spec;
    struct adapter *a;
    size_t open_fds;
};

/* Where rigs make their directories; rig_base_remove takes all of it away, also after a failed
 * test. Call both from main. */
void rig_base_create(void);
void rig_base_remove(void);

void rig_open(struct rig *r, const char *spec_json);
void rig_close(struct rig *r);
void rig_reopen(struct rig *r); /* the adapter alone, over the same directory */
json_t *rig_spec(const struct rig *r, const char *spec_json); /* parsed, with @DIR@ replaced */

/* --- objects: `size` bytes that follow from `seed` --- */

void rig_fill(void *data, size_t size, uint64_t seed);
/* A stable buffer in a staging file of its own; close rig_buf_close. */
struct l2_buf rig_buf(struct rig *r, size_t size, uint64_t seed);
void rig_buf_close(struct l2_buf *b);
void rig_buf_refill(struct l2_buf *b, uint64_t seed); /* new bytes, right checksum */
/* Appends to an xattr set. */
void rig_xattr_add(struct l2_xattrs *x, const char *name, const void *value, size_t len);
/* NULL when there is no such xattr. */
const void *rig_xattr_get(const struct l2_xattrs *x, const char *name, size_t *len);

/* --- tasks --- */

/* Waits for the eventfd and reads it; false after `ms`. */
bool rig_signalled(struct rig *r, enum l2_family family, int ms);
l2_task rig_submit_store(struct rig *r, const char *const *keys, const struct l2_buf *bufs,
                         size_t n);
l2_task rig_submit_lookup(struct rig *r, const char *const *keys, size_t n);
l2_task rig_submit_load(struct rig *r, const char *const *keys, size_t n);
/* Wait for that task; the only one of its family under way (stores), or one of several. */
void rig_wait_store(struct rig *r, l2_task task, struct l2_store_result *out);
struct bitmap *rig_wait_lookup(struct rig *r, l2_task task, uint64_t *sizes);
struct bitmap *rig_wait_load(struct rig *r, l2_task task, struct l2_object *objects, int *errors);

/* --- one key, start to end --- */

int rig_store_buf(struct rig *r, const char *key, const struct l2_buf *buf, uint64_t *bytes);
int rig_store(struct rig *r, const char *key, size_t size, uint64_t seed); /* must not be short */
bool rig_lookup(struct rig *r, const char *key, uint64_t *size);           /* and lock */
bool rig_has(struct rig *r, const char *key);                              /* and unlock */
void rig_unlock(struct rig *r, const char *key);
/* The object is the caller's: rig_object_drop. */
int rig_load(struct rig *r, const char *key, struct l2_object *out);
void rig_object_drop(struct rig *r, struct l2_object *o);
/* The staging file has just the bytes of `seed`, and size and checksum say so too. */
void rig_check_object(struct rig *r, const struct l2_object *o, size_t size, uint64_t seed);
/* Loads and checks; the key must be there. */
void rig_check(struct rig *r, const char *key, size_t size, uint64_t seed);
int rig_remove(struct rig *r, const char *key, bool *skipped);

/* One integer of the adapter's status; the test fails when there is none. */
int64_t rig_status_int(struct rig *r, const char *name);
/* `spec_json` with the ports of a pd receiver in place of @PORTS@; to be freed. */
char *rig_towards(struct rig *receiver, const char *spec_json);
size_t rig_landed(struct rig *r); /* keys that arrived */
size_t rig_ready(struct rig *r);  /* requests that are complete there */

#endif
