/* fault_rules.h - which operations the fault adapter spoils, and how. Level 2. Any thread.
 *
 * A rule: {"op": "store|lookup|load|remove|rename|any", "key": GLOB, "rate": 0..1, "after": N,
 * "count": N, "action": "fail|refuse|delay|drop|never|corrupt|short|reorder", "errno": "EIO", "delay":
 * "100ms"}. A rule passes over its first `after` matches, then fires `count` times (0: for ever),
 * each time with probability `rate`. The first rule that fires decides. Everything follows from the
 * seed and the order of the calls. Where an action says something about a task, one key of it is
 * enough.
 */
#ifndef L2FS_FAULT_RULES_H
#define L2FS_FAULT_RULES_H

#include "adapter.h"

/* The first three are the task families. */
enum fault_op {
    FAULT_STORE = L2_STORE,
    FAULT_LOOKUP = L2_LOOKUP,
    FAULT_LOAD = L2_LOAD,
    FAULT_REMOVE,
    FAULT_RENAME,
    FAULT_ANY,
};

enum fault_action {
    FAULT_NONE,
    FAULT_FAIL,    /* `error`, the wrapped adapter is not asked */
    FAULT_REFUSE,  /* submit itself returns `error`: there is no task. Else as fail */
    FAULT_DELAY,   /* later by `delay` */
    FAULT_DROP,    /* the request is lost: -ETIMEDOUT after the drop timeout */
    FAULT_NEVER,   /* done, but the task does not complete before close or release. Else as drop */
    FAULT_CORRUPT, /* a flipped byte in what is stored or loaded */
    FAULT_SHORT,   /* half the bytes are stored or loaded */
    FAULT_REORDER, /* the task completes after the next of its family, or after `delay` (100ms) */
    FAULT_ACTIONS,
};

struct fault_verdict {
    enum fault_action action;
    int error;      /* negative errno */
    uint64_t delay; /* ns, with any action */
};

struct fault_rules;

/* `array` NULL: no rules. -EINVAL with one sentence in `err`, -ENOMEM. */
int fault_rules_create(json_t *array, uint64_t seed, struct fault_rules **out, struct text *err);
void fault_rules_destroy(struct fault_rules *r);
void fault_decide(struct fault_rules *r, enum fault_op op, const char *key,
                  struct fault_verdict *out);
/* How often each action was taken, as a new JSON object. */
json_t *fault_rules_status(struct fault_rules *r);

/* The load gaps of LMCache's fault_inject: positions counted from the head, distances from the
 * tail as a share of the task (0: last, 1: first), and a share of all keys picked by seed. */
struct fault_gaps {
    json_t *tail_ratios; /* array of numbers or NULL */
    json_t *indices;     /* array of integers or NULL */
    double rate;
    int64_t seed;
};

int fault_gaps_check(const struct fault_gaps *g, struct text *err); /* 0 or -EINVAL */
bool fault_gaps_hit(const struct fault_gaps *g, const char *key, size_t i, size_t n);

#endif
