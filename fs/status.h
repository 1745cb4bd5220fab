/* status.h - what the files below .l2fs are made of. Level 4, private to status*.c. */
#ifndef L2FS_STATUS_H
#define L2FS_STATUS_H

#include <jansson.h>

#include "core.h"

/* A kind of file below .l2fs; constant. */
struct vfile {
    const char *name;
    /* Appends the whole contents; no lock is held. `tier` is that of adapters/NAME/..., else 0.
     * NULL: the file follows the events. 0 or -ENOMEM. */
    int (*generate)(struct l2fs *fs, size_t tier, struct text *out);
    bool settable;     /* it has attributes that its owner sets (xattr_control.h) */
    bool request;      /* it is below ready/ (ready.c) */
    const char *field; /* it is below peers/HOST, and has this member of the peer */
};

int status_print(struct l2fs *fs, size_t tier, struct text *out);
int status_print_metrics(struct l2fs *fs, size_t tier, struct text *out);
int status_print_config(struct l2fs *fs, size_t tier, struct text *out);
int status_print_victims(struct l2fs *fs, size_t tier, struct text *out);
int status_print_history(struct l2fs *fs, size_t tier, struct text *out);
int status_print_tier(struct l2fs *fs, size_t tier, struct text *out);
int status_print_usage(struct l2fs *fs, size_t tier, struct text *out);

/* ---- status.c: a file that has no name yet; NULL on no memory ---- */
struct inode *status_new_file_locked(struct l2fs *fs, uint32_t mode, const struct vfile *file);
/* ---- status.c: a directory of files below `parent`, and its end. ns->lock; the counts of files are
 * the caller's to restore. 0 or -errno, then there may be a part of it. ---- */
int status_add_dir_locked(struct l2fs *fs, struct inode *parent, const char *name,
                          const struct vfile *files, size_t n);
void status_drop_dir_locked(struct l2fs *fs, struct dentry *d);

/* ---- status_peers.c: who the tiers know, as their last probes told ---- */
/* {"HOST": {"adapter", "state", "inflight", "bytes", "rtt", ...}}; HOST@ADAPTER for one that another
 * adapter knows as well. New reference. */
json_t *status_peers(struct l2fs *fs);
/* The file `field` of peers/NAME, which asks first. 0, -ESTALE: no such peer any more, -ENOMEM. */
int peers_print(struct l2fs *fs, const char *name, const char *field, struct text *out);
void peers_set_metrics(struct l2fs *fs);
bool peer_is_up(json_t *peer);

/* ---- helpers of the generators (status_json.c) ---- */
json_t *status_string(const char *s);                   /* a JSON string of any bytes */
int status_print_json(json_t *value, struct text *out); /* prints and releases; 0 or -ENOMEM */

/* ---- status_probe.c: asks tiers how they are, without waiting for a dead disk ---- */

struct probe_result {
    struct l2_usage usage;
    json_t *status; /* the receiver's; NULL on no memory */
    bool answered;  /* false: within PROBE_TIMEOUT_MS it did not, this is what it said before */
};
int probes_create(struct l2fs *fs); /* 0 or -ENOMEM */
/* Waits for probes under way. Before the tiers are closed; idempotent. */
void probes_destroy(struct l2fs *fs);
/* Asks the tiers of `mask` at the same time and waits, at most PROBE_TIMEOUT_MS. */
void probes_refresh(struct l2fs *fs, uint32_t mask);
/* The latest answer of one tier, as probes_refresh left it. */
void probes_result(struct l2fs *fs, size_t tier, struct probe_result *out);

/* The peers it told of; new reference, NULL when it has none or has not told yet. */
json_t *probes_peers(struct l2fs *fs, size_t tier);

#define PROBE_TIMEOUT_MS 2000

/* ---- status_health.c ---- */
/* Puts is_healthy and, when there is something to say, `health` into what a tier says of itself. */
void health_add_to_tier(struct l2fs *fs, size_t slot, const struct probe_result *r);
/* Sentences about the instance, then about each of `tiers`; empty: it is healthy. */
json_t *health_list(struct l2fs *fs, const json_t *tiers);
int health_watch_create(struct l2fs *fs); /* 0 or -ENOMEM */
void health_watch_destroy(struct l2fs *fs);

#endif
