/* hotplug_impl.h - what hotplug.c and hotplug_tier.c share. Level 4, private to them. */
#ifndef L2FS_HOTPLUG_IMPL_H
#define L2FS_HOTPLUG_IMPL_H

#include "hotplug.h"

struct hotplug {
    struct l2fs *fs;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a change was answered or has ended, or stopping was set */
    struct list changes;    /* mutex; struct change */
    size_t count;           /* mutex */
    bool stopping;          /* mutex */
    bool left;              /* mutex: the loop has ended without those that are stuck */
};

struct change {
    struct list link;
    struct hotplug *owner;
    void (*run)(struct change *c);
    pthread_t thread;
    json_t *spec; /* of add */
    struct hotplug_removal removal;
    size_t slot;
    uint64_t deadline; /* of a removal */
    struct text why;   /* the thread's until answered */
    int result;
    bool answered;  /* mutex: result and why are there */
    bool ended;     /* mutex: the thread is about to end */
    bool abandoned; /* mutex: the caller has gone */
};

/* ---- hotplug.c ---- */
void hotplug_answer(struct change *c, int result);

/* ---- hotplug_tier.c ---- */
void hotplug_run_add(struct change *c);
/* Nothing new is stored there from here on; ns->lock is taken. 0, or why it stays. */
int hotplug_begin_removal(struct change *c);
void hotplug_run_remove(struct change *c);
void hotplug_take_back(struct change *c); /* a removal that could not go on */

#endif
