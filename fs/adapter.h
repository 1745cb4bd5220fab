/* adapter.h - the L2 contract: what every storage tier of l2fs implements. Level 2.
 *
 * Model (LMCache's multiprocess L2 layer, reference l2-contract.md section 1): three families of
 * asynchronous tasks - store, lookup-and-lock, load. The owner submits and gets a task id at once;
 * the adapter does the work on its own threads, publishes the result, then signals that family's
 * eventfd; the owner reads the eventfd once and then queries or pops. Every submitted task completes
 * exactly once, also when it fails and also at close. There is no cancel: a task is bounded by the
 * adapter's own deadlines.
 *
 * Keys are paths (key.h). The l2fs rules that go beyond LMCache's:
 *   - a store replaces what the key held, unless size and crc32c are the same (then it is a success
 *     of 0 bytes). LMCache's keys are content-addressed; files may be rewritten.
 *   - the owner never has two mutations (store, remove, rename, set_attr, make_dir) of one key under
 *     way at once; loads and lookups may run beside them and see the old or the new object whole.
 *
 * Threads: the submit/pop/query functions are called from the owner's loop thread, the optional
 * synchronous ones from any thread, all at the same time. None may be called after close.
 * Ownership: keys and buffers given to submit stay the caller's and must stay valid and unchanged
 * (for unstable buffers: merely valid) until the completion was handed out. Adapters copy keys.
 */
#ifndef L2FS_ADAPTER_H
#define L2FS_ADAPTER_H

#include <jansson.h>

#include "arrival.h"
#include "bitmap.h"
#include "conf.h"
#include "l2.h"
#include "metrics.h"
#include "staging.h"

struct adapter;

/* What the owner gives an adapter at open. All of it outlives the adapter. */
struct adapter_env {
    struct staging *staging; /* where loads put their bytes */
    struct metrics *metrics;
    const char *instance;      /* unique name among the adapters of this mount: "fs", "fs.1", ... */
    struct arrivals *arrivals; /* NULL: this mount takes none in (arrival.h) */
};

/* Each family's eventfd: NONBLOCK|CLOEXEC, owned by the adapter, distinct from every other. */
enum l2_family { L2_STORE, L2_LOOKUP, L2_LOAD, L2_FAMILIES };

struct adapter_ops {
    const char *name;    /* "type" in the JSON spec */
    const char *summary; /* one line for --help */
    const struct conf_opt *options;
    size_t config_size;
    unsigned flags; /* enum l2_flags; adapter->flags may differ (wrappers) */

    /* Optional: what the table cannot say about a filled config (nested specs, options that exclude
     * each other). 0 or -EINVAL with one sentence in `err`. Opens nothing. */
    int (*check)(const void *config, struct text *err);

    /* `config` was filled from `options` and stays valid while open. 0 or -errno, having logged
     * one line that names the setting and what to do. */
    int (*open)(const struct adapter_env *env, const void *config, struct adapter **out);
    /* Stops taking tasks, completes or fails what is in flight (within the adapter's deadline),
     * frees. */
    void (*close)(struct adapter *a);

    int (*event_fd)(struct adapter *a, enum l2_family family);

    /* Each submit returns a task id, or -errno (nothing was started: -EINVAL, -ENOMEM,
     * -ESHUTDOWN). n > 0. */
    l2_task (*submit_store)(struct adapter *a, const char *const *keys, const struct l2_buf *bufs,
                            size_t n);
    /* 1 and one completion, or 0 when there is none now. */
    int (*pop_stored)(struct adapter *a, struct l2_store_result *out);

    l2_task (*submit_lookup_and_lock)(struct adapter *a, const char *const *keys, size_t n);
    /* 0: bit i = keys[i] is there and its lock count went up by one; sizes[i] is its size. Without
     * the bit, sizes[i] is L2_LOOKUP_FAILED when nothing is known, else the key is not there. The
     * bitmap goes to the caller, `sizes` has room for n. -EAGAIN: pending. -ENOENT: unknown task
     * or already handed out. */
    int (*query_lookup)(struct adapter *a, l2_task task, struct bitmap **found, uint64_t *sizes);

    /* Once per occurrence, floored at 0, unknown keys ignored. Cannot fail. Any thread; done when
     * it returns. */
    void (*submit_unlock)(struct adapter *a, const char *const *keys, size_t n);

    /* No lock is needed. Missing keys and keys whose bytes fail verification leave their bit 0. */
    l2_task (*submit_load)(struct adapter *a, const char *const *keys, size_t n);
    /* As query_lookup; objects[i] (room for n) is filled where bit i is set and belongs to the
     * caller; errors[i] says why not elsewhere: -ENOENT, -EBADMSG (corrupt, moved aside), -ENOSPC
     * (no staging space), -EIO, ... */
    int (*query_load)(struct adapter *a, l2_task task, struct bitmap **loaded,
                      struct l2_object *objects, int *errors);
    /* Optional. How far the keys of a pending load have come: landed[i] has room for n. What has landed
     * is right but for the verification at the end, and stays as it is while the file is there; the
     * file is the adapter's, who may drop it at any time and begin again with another one. From the
     * first call on the family's eventfd also says that more has landed, not for every byte. 0;
     * -EAGAIN: nothing new; -ENOENT as in query_load. */
    int (*query_landed)(struct adapter *a, l2_task task, struct l2_landed *landed);

    /* ---- optional and synchronous; NULL means -EOPNOTSUPP ---- */

    /* Atomic, replaces `to`; directories ("a/" -> "b/") with all below them. -ENOENT: not held,
     * which callers take as success. */
    int (*rename)(struct adapter *a, const char *from, const char *to);
    /* Removes keys and empty directories ("a/"). Skips locked keys: sets their bit in `skipped`
     * (may be NULL) and goes on. Unknown keys are fine. First other error, after trying all. */
    int (*remove)(struct adapter *a, const char *const *keys, size_t n, struct bitmap *skipped);
    /* "a/b/": parents exist. -EEXIST is success. */
    int (*make_dir)(struct adapter *a, const char *dir, const struct l2_attr *attr);
    /* -ENOENT when not held. `mask` of enum l2_attr_mask. */
    int (*set_attr)(struct adapter *a, const char *key, const struct l2_attr *attr,
                    const struct l2_xattrs *xattrs, unsigned mask);
    /* Everything held, parents before children; calls of fn do not overlap. `listed` is told by adapters
     * with list_first. */
    int (*list)(struct adapter *a, l2_list_fn *fn, void *arg);
    /* Optional. The listing under way goes to the directory `dir` ("a/b/" or "") next, if it has told of
     * it and not been there. Any thread, waits for nothing. */
    void (*list_first)(struct adapter *a, const char *dir);
    /* For state `disk`: opens (O_CREAT with `attr`, O_TMPFILE with key = directory) the adapter's
     * own file of that key; it carries no checksum from then on. */
    int (*open_file)(struct adapter *a, const char *key, int flags, const struct l2_attr *attr,
                     int *fd);
    /* Gives an open O_TMPFILE file of open_file the name `key`. */
    int (*link_file)(struct adapter *a, int fd, const char *key);
    void (*usage)(struct adapter *a, struct l2_usage *out);
    /* Drops every lock of a key, whoever took them; how many there were. Who lost one may still
     * unlock: that is floored at 0. */
    size_t (*force_unlock)(struct adapter *a, const char *key);
    /* Gives up the store of `key` that is in flight: it ends with -ECANCELED, unless it was done.
     * 0: passed on; -ENOENT, -ENOMEM. Any thread, does not wait. */
    int (*cancel_store)(struct adapter *a, const char *key);
    /* Every key of a request has been stored here, the last one said last_prefill: whoever waits for
     * the request is told, once. `route->req_id` is set, `route->peer` that of the last key. 0 or
     * -errno; any thread, does not wait. */
    int (*request_done)(struct adapter *a, const struct l2_route *route);
    /* The peers as {"HOST": {"state": ..., "inflight": bytes, "bytes": sent or received, "rtt": us,
     * ...}}; new reference. Any thread. */
    json_t *(*peers)(struct adapter *a);
    /* At least {"is_healthy": bool, "type": name}; new reference. */
    json_t *(*status)(struct adapter *a);
};

/* Embedded as first member by every implementation. */
struct adapter {
    const struct adapter_ops *ops;
    unsigned flags; /* enum l2_flags */
};

/* Every adapter of this build, NULL-terminated; adapters/registry.c. */
extern const struct adapter_ops *const adapter_registry[];

#endif
