/* tier.h - the front layer over an adapter: what the rest of l2fs calls. Level 2.
 *
 * Meanings, threads and ownership are those of adapter.h; this layer checks arguments, counts, logs
 * each failed task once, and fills in what an adapter leaves out.
 */
#ifndef L2FS_TIER_H
#define L2FS_TIER_H

#include "adapter.h"

#define TIERS_MAX 32 /* of one instance: a mask of tiers is 32 bits */

/* One configured tier: argument checks, counters, one log line per failed task, per-adapter
 * metrics, defaults for the optional operations. */
struct tier;

/* Opens the tier that a JSON spec {"type": "fs", ...} describes. Common keys "shared", "eviction",
 * "persist_enabled", "serde", "affinity_tag" of LMCache are taken; of them `eviction` is kept for
 * the controllers. On failure `err` has one sentence that names the option, value and what is
 * allowed. 0, -EINVAL (spec), or the adapter's open error. */
int tier_open(const struct adapter_env *env, json_t *spec, struct tier **out, struct text *err);
/* Checks a spec without opening it. */
int tier_check(json_t *spec, struct text *err);
void tier_close(struct tier *t);

const char *tier_name(const struct tier *t); /* env.instance */
unsigned tier_flags(const struct tier *t);
json_t *tier_config(const struct tier *t); /* effective options, new reference */
json_t *tier_status(struct tier *t);       /* never NULL unless no memory */
void tier_usage(struct tier *t, struct l2_usage *out);

int tier_event_fd(struct tier *t, enum l2_family family);
l2_task tier_submit_store(struct tier *t, const char *const *keys, const struct l2_buf *bufs,
                          size_t n);
int tier_pop_stored(struct tier *t, struct l2_store_result *out);
l2_task tier_submit_lookup_and_lock(struct tier *t, const char *const *keys, size_t n);
int tier_query_lookup(struct tier *t, l2_task task, struct bitmap **found, uint64_t *sizes);
void tier_submit_unlock(struct tier *t, const char *const *keys, size_t n);
l2_task tier_submit_load(struct tier *t, const char *const *keys, size_t n);
int tier_query_load(struct tier *t, l2_task task, struct bitmap **loaded, struct l2_object *objects,
                    int *errors);
int tier_query_landed(struct tier *t, l2_task task, struct l2_landed *landed);

/* -EOPNOTSUPP where the adapter lacks the operation. */
int tier_rename(struct tier *t, const char *from, const char *to);
int tier_remove(struct tier *t, const char *const *keys, size_t n, struct bitmap *skipped);
int tier_make_dir(struct tier *t, const char *dir, const struct l2_attr *attr);
int tier_set_attr(struct tier *t, const char *key, const struct l2_attr *attr,
                  const struct l2_xattrs *xattrs, unsigned mask);
int tier_list(struct tier *t, l2_list_fn *fn, void *arg);
void tier_list_first(struct tier *t, const char *dir); /* nothing where it is not known */
int tier_open_file(struct tier *t, const char *key, int flags, const struct l2_attr *attr, int *fd);
int tier_link_file(struct tier *t, int fd, const char *key);
/* The locks that we hold of a key now: taken by lookups, not given back yet. Since when there is one,
 * and the deadline of the load (0: not begun); how many keys there are of that kind. Any thread. */
struct tier_locks {
    size_t n;
    uint64_t since, deadline;
};
struct tier_locks tier_locks(struct tier *t, const char *key);
void tier_locks_until(struct tier *t, const char *const *keys, size_t n, uint64_t deadline);
size_t tier_locked_keys(struct tier *t);
/* How many locks the key had; 0 where the adapter has none. */
size_t tier_force_unlock(struct tier *t, const char *key);
int tier_cancel_store(struct tier *t, const char *key);
int tier_request_done(struct tier *t, const struct l2_route *route);
json_t *tier_peers(struct tier *t);        /* NULL where the adapter has none, or no memory */
bool tier_has_files(const struct tier *t); /* open_file is there: state `disk` is possible */
bool tier_sends(const struct tier *t);     /* request_done is there: stored is sent to a peer */

#endif
