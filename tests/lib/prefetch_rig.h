/* prefetch_rig.h - a prefetch controller over real adapters, with this as its owner. For Check
 * tests.
 *
 * prig_open, prig_put for what the tiers hold, prig_start, then requests. prig_close checks that no
 * lock, descriptor or staging file is left.
 */
#ifndef L2FS_TEST_PREFETCH_RIG_H
#define L2FS_TEST_PREFETCH_RIG_H

#include "clock.h"
#include "lock.h"
#include "prefetch_ctl.h"
#include "rig.h"

#define PRIG_KEYS 8
#define PRIG_SIZE 5000
#define PRIG_MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":1000}"
/* A mock tier with rules; "never" ends at prig_release. */
#define PRIG_FAULT(rules)                                                                          \
    "{\"type\":\"fault\",\"inner\":" PRIG_MOCK ",\"release\":\"@RELEASE@\",\"rules\":[" rules "]}"

struct wanted {
    struct prefetch_request r;
    struct prefetch_key keys[PRIG_KEYS];
    char names[PRIG_KEYS][8];
    int outcome[PRIG_KEYS];
    size_t given;            /* outcomes told so far */
    size_t order[PRIG_KEYS]; /* ... of which keys */
    bool done;
};

struct prefetch_rig {
    struct rig base;
    struct loop *loop;
    struct mailbox *mailbox;
    struct tier *tiers[TIERS_MAX];
    char names[TIERS_MAX][8];
    char release[64];
    struct prefetch_params params; /* changed between open and start */
    struct prefetch_owner owner;
    struct prefetch_ctl *ctl;
    const char *refused;   /* reserve says -ENOSPC to this key */
    size_t running, most;  /* mutex; requests whose first key was reserved and that are not done */
    pthread_mutex_t mutex; /* and of every wanted */
    pthread_cond_t cond;
};

void prig_open(struct prefetch_rig *p, const char *const *specs, size_t n);
void prig_tier(struct prefetch_rig *p, size_t i, const char *spec); /* opens one in slot i */
/* Stores keys "a b c" in tier i, with bytes that follow from the name. Before the start. */
void prig_put(struct prefetch_rig *p, size_t i, const char *keys);
void prig_start(struct prefetch_rig *p);
void prig_close(struct prefetch_rig *p);
void prig_release(struct prefetch_rig *p); /* tasks that never complete do */

void prig_want(struct wanted *w, const char *keys, enum plan_mode mode);
void prig_submit(struct prefetch_rig *p, struct wanted *w);
void prig_wait(struct prefetch_rig *p, struct wanted *w);
void prig_get(struct prefetch_rig *p, struct wanted *w, const char *keys, enum plan_mode mode);
/* "a1 b0 c-ENOENT": where each key came from, or why it did not; the objects were right. */
void prig_expect(struct prefetch_rig *p, const struct wanted *w, const char *text);
size_t prig_locked(struct prefetch_rig *p); /* in all tiers */
/* Until cond(p) on the loop thread's data, told by prefetch_ctl_status. */
void prig_wait_status(struct prefetch_rig *p, bool (*cond)(const struct prefetch_status *s));
/* Runs fn on the loop thread and waits for it. */
void prig_on_loop(struct prefetch_rig *p, void (*fn)(struct prefetch_rig *p));

#endif
