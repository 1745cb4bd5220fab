/* tiers.h - the tiers of an instance: up to 32 slots that are filled and emptied while it runs.
 * Level 2.
 *
 * A slot's number is its bit in every mask of tiers and its place in the order of reads (lowest
 * first). What a slot may be used for:
 *
 *   state      read from, told of   stored to
 *              names that change
 *   opening    no                   no         an adapter is being opened
 *   joining    yes                  no         what it holds is being found
 *   active     yes                  yes
 *   draining   yes                  no         it is on its way out
 *   closing    no                   no         its last users and tasks are waited for
 *
 * Names ("fs", "fs.1", "mock.2") are never given twice. The loop thread and its controllers use
 * tier[] directly: they are told before a slot is retired. Every other thread holds what it calls,
 * and a held tier is not closed. The mutex is a leaf; masks are read without it.
 */
#ifndef L2FS_TIERS_H
#define L2FS_TIERS_H

#include <stdatomic.h>

#include "lock.h"
#include "tier.h"

#define TIER_NAME_MAX 80

enum tier_state {
    TIER_EMPTY,
    TIER_OPENING,
    TIER_JOINING,
    TIER_ACTIVE,
    TIER_DRAINING,
    TIER_CLOSING,
};

struct tier_slot {
    enum tier_state state;    /* mutex */
    unsigned holds;           /* mutex */
    unsigned serial;          /* mutex; of the adapter in it, never used again */
    uint64_t spec;            /* mutex; hash of its JSON */
    char name[TIER_NAME_MAX]; /* constant while not empty */
};

struct tiers {
    struct tier *tier[TIERS_MAX]; /* NULL: none; constant while held or not retired */
    _Atomic uint32_t present;     /* joining, active, draining: bit per slot */
    _Atomic uint32_t active;
    _Atomic uint32_t keeping; /* present, and without L2_DISCARDS */
    _Atomic uint32_t files;   /* present, and with files of their own (state `disk`) */
    _Atomic uint32_t sending; /* present, and what they store goes to a peer */
    _Atomic uint32_t pushing; /* present, and with L2_SENDS: not a receiver */
    struct metrics *metrics;  /* of the first tiers_open; what a tier left there goes with it */
    pthread_mutex_t mutex;
    pthread_cond_t released;          /* a hold ended */
    struct tier_slot slot[TIERS_MAX]; /* mutex */
    unsigned opened;                  /* mutex; adapters so far, for names and serials */
};

#define tiers_each(i, mask)                                                                        \
    for (uint32_t i, rest_ = (mask); rest_ && (i = (uint32_t)__builtin_ctz(rest_), true);          \
         rest_ &= rest_ - 1)

void tiers_init(struct tiers *t);
/* Closes what is there, all at once, waiting for holders. False: one that is still held after the deadline
 * stays open, and `t` must stay. */
bool tiers_close_all(struct tiers *t, uint64_t deadline);
void tiers_fini(struct tiers *t); /* closed; nobody uses it any more */

/* Opens an adapter in the slot after the last one in use (the first free one when there is none
 * after it). `env` says staging and metrics. The slot, in state joining, or -errno with one
 * sentence in `err` (-EINVAL for a spec, -ENOSPC when all slots are in use). May take as long as
 * the adapter does. */
int tiers_open(struct tiers *t, const struct adapter_env *env, json_t *spec, struct text *err);
/* Between joining, active and draining. */
void tiers_move(struct tiers *t, size_t slot, enum tier_state state);
/* No new holds; to be followed by tiers_close, on a thread that may wait long. */
void tiers_retire(struct tiers *t, size_t slot);
/* Waits for those who hold it and closes the adapter. The slot is in use until tiers_vacate. */
void tiers_close(struct tiers *t, size_t slot);
void tiers_vacate(struct tiers *t, size_t slot);

/* Forgets a tier without closing it: a thread is stuck in it, and it stays for that one. */
void tiers_abandon(struct tiers *t, size_t slot);

/* While the slot is present, or a mask with it was read under a lock that its removal takes. */
static inline const char *tiers_name(const struct tiers *t, size_t slot)
{
    return t->slot[slot].name;
}
enum tier_state tiers_state(struct tiers *t, size_t slot);
unsigned tiers_serial(struct tiers *t, size_t slot);
/* The slot of that name that is present, or -ENOENT. */
int tiers_find(struct tiers *t, const char *name);
const char *tier_state_name(enum tier_state state);

/* What they hold has names that change with the tree's: not what was sent. */
static inline bool tiers_have_names(const struct tiers *t)
{
    return t->present & ~t->sending;
}

/* The active tier whose own files are files of state `disk`, or -1. */
static inline int tiers_disk(const struct tiers *t)
{
    uint32_t mask = t->files & t->active;

    return mask ? __builtin_ctz(mask) : -1;
}

/* ---- holding, from any thread ---- */
struct tiers_hold {
    struct tiers *tiers;
    uint32_t mask; /* what is held of what was asked for */
};
struct tiers_hold tiers_hold(struct tiers *t, uint32_t mask);
void tiers_release(struct tiers_hold *h); /* idempotent */
/* Until the end of the scope: TIERS_HELD(held, &fs->tiers, mask); tiers_each (i, held.mask) ... */
#define TIERS_HELD(var, tiers, mask)                                                               \
    __attribute__((cleanup(tiers_release))) struct tiers_hold var = tiers_hold(tiers, mask)

/* Removes the key (or directory "a/") in every tier that is present; tiers that do not have it or
 * cannot remove are fine. First other error, after trying all. */
int tiers_remove(struct tiers *t, const char *key);
/* Hash of what is active, in order: crash records name the tiers that have an object by it. */
uint64_t tiers_signature(struct tiers *t);

#endif
