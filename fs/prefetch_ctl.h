/* prefetch_ctl.h - the prefetch controller: brings keys from the tiers into staging files. Level 3.
 *
 * A request has n keys (an open: 1). Its life: lookup-and-lock of all keys on every tier, one task
 * per tier -> plan (plan.h) -> reserve, the owner's word per key -> unlock of what is locked but not
 * planned -> one load task per tier with work; a key that fails there goes to the next tier that has
 * it -> unlock. Outcomes are told per key, as soon as they are known; in prefix mode a loaded key is
 * known once those before it are.
 *
 * Every task has a deadline. A tier that misses it counts as failed with -ETIMEDOUT; what it
 * delivers later is given back: locks are dropped, staging files removed. A tier that misses several
 * in a row is stalled: it is passed over but for one try per probe interval, until it answers.
 *
 * Requests are submitted and cancelled from any thread. Everything else happens on the loop thread.
 */
#ifndef L2FS_PREFETCH_CTL_H
#define L2FS_PREFETCH_CTL_H

#include <stdatomic.h>

#include "loop.h"
#include "mailbox.h"
#include "plan.h"
#include "tier.h"

enum prefetch_state {
    PREFETCH_QUEUED,
    PREFETCH_LOOKUP,
    PREFETCH_PLAN,
    PREFETCH_RESERVE,
    PREFETCH_LOAD,
    PREFETCH_DONE,      /* every key was tried */
    PREFETCH_CANCELLED, /* by its submitter */
    PREFETCH_FAILED,    /* the controller ended */
    PREFETCH_STATES
};

const char *prefetch_state_name(enum prefetch_state s);
bool prefetch_state_allowed(enum prefetch_state from, enum prefetch_state to);

struct prefetch_key {
    const char *key; /* the submitter's, valid until the request is done */
    uint64_t size;   /* expected, for the limit of bytes */
    uint32_t tiers;  /* bit per tier that may be asked: others may have another version */
    /* The outcome, for key_done: */
    int error; /* 0; -ENOENT and -EBADMSG (corrupt): no tier has it; -ETIMEDOUT, -EIO, ...: one may
                  have it; -ENOSPC or what reserve said; -ECANCELED: cut off or cancelled */
    struct l2_object object; /* the receiver's when error is 0, as is its staging file */
    size_t tier;             /* where it came from */
    uint32_t absent;         /* bit per tier that turned out not to have it */
    /* Private: */
    uint32_t left;   /* have it, not tried yet */
    uint32_t locked; /* bit per tier */
    int why;         /* the outcome if no tier delivers it */
    uint8_t step;
};

struct prefetch_request {
    struct prefetch_key *keys;
    size_t n;
    enum plan_mode mode;
    bool background; /* behind every other request, within max_requests and max_bytes */
    bool stream;     /* its owner is told what has landed */
    /* Private; prefetch_request_init: */
    struct list link;
    enum prefetch_state state; /* controller's mutex */
    atomic_bool cancelled;
    unsigned tasks; /* in flight, not overdue */
    size_t given;   /* keys told */
    size_t next;    /* prefix: the first not told */
    uint64_t bytes;
};

static inline void prefetch_request_init(struct prefetch_request *r)
{
    *r = (struct prefetch_request){0};
    list_init(&r->link);
}

/* Called on the loop thread, without locks. */
struct prefetch_owner {
    /* Key i, `size` bytes long, is about to be loaded: 0, or the error that refuses it. */
    int (*reserve)(struct prefetch_owner *o, struct prefetch_request *r, size_t i, uint64_t size);
    /* More of key i has landed (adapter.h), or a tier failed and what had landed of it is void
     * (staging_id 0). Before its key_done, from tiers that can tell. */
    void (*landed)(struct prefetch_owner *o, struct prefetch_request *r, size_t i,
                   const struct l2_landed *now);
    /* The outcome of key i; once per key. */
    void (*key_done)(struct prefetch_owner *o, struct prefetch_request *r, size_t i);
    /* After every key_done; r is the submitter's again. */
    void (*done)(struct prefetch_owner *o, struct prefetch_request *r);
};

struct prefetch_ctl;

struct prefetch_params {
    struct loop *loop;
    struct mailbox *mailbox;
    struct staging *staging;
    struct metrics *metrics;
    struct prefetch_owner *owner;
    struct tier **tiers;     /* TIERS_MAX, NULL where there is none */
    size_t max_opens;        /* requests in flight that are not background */
    size_t max_requests;     /* background ones */
    uint64_t max_bytes;      /* of background ones, but for one that is larger */
    uint64_t lookup_timeout; /* ns, of a lookup task */
    uint64_t load_timeout;   /* ns, of a load task, besides what its bytes take at a crawl */
    uint64_t probe_interval; /* ns, for stalled tiers */
};

int prefetch_ctl_create(const struct prefetch_params *p, struct prefetch_ctl **out); /* 0, -errno */
/* The loop has stopped, the tiers are closed; what is left ends with -ESHUTDOWN, also what is submitted
 * because of that. */
void prefetch_ctl_end(struct prefetch_ctl *c);
void prefetch_ctl_destroy(struct prefetch_ctl *c); /* after an end, or never used */

void prefetch_ctl_submit(struct prefetch_ctl *c, struct prefetch_request *r);
/* These two may come before the submit, and as long as done does not return. */
void prefetch_ctl_cancel(struct prefetch_ctl *c, struct prefetch_request *r);
/* Somebody waits: a background request that is still queued stands with the others now. */
void prefetch_ctl_hurry(struct prefetch_ctl *c, struct prefetch_request *r);

/* ---- tiers that come and go; loop thread (not in a callback), or before it runs ---- */
int prefetch_ctl_add_tier(struct prefetch_ctl *c, size_t i); /* tiers[i] is open. 0 or -errno */
/* Nothing more is asked of it; what it was asked goes on. */
void prefetch_ctl_drop_tier(struct prefetch_ctl *c, size_t i);
bool prefetch_ctl_tier_busy(struct prefetch_ctl *c, size_t i); /* tasks in flight, also overdue */
/* A dropped tier is about to be closed: its tasks in flight count as failed (-ESHUTDOWN), nothing of
 * it is used any more. */
void prefetch_ctl_forget_tier(struct prefetch_ctl *c, size_t i);

struct prefetch_status {
    size_t queued;       /* requests ... */
    size_t lookup, load; /* ... in these phases */
    uint64_t bytes;      /* of background requests in flight */
    size_t overdue[TIERS_MAX];
    uint32_t stalled; /* bit per tier */
};
void prefetch_ctl_status(struct prefetch_ctl *c, struct prefetch_status *out); /* any thread */

#endif
