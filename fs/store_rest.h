/* store_rest.h - what store.c keeps with each object. Level 1. Guarded by the namespace lock. */
#ifndef L2FS_STORE_REST_H
#define L2FS_STORE_REST_H

#include "list.h"

struct store_rest {
    struct list link;   /* in stores.cold or stores.given: something to store, and no work */
    struct list *in;    /* which of them; NULL: neither */
    uint64_t bytes;     /* counted in stores.unstored_bytes */
    uint64_t room;      /* counted in stores.room; 0: not asked for by eviction */
    uint32_t given_gen; /* the generation that was given up; 0: none */
    uint32_t unwanted;  /* the generation that is not to be sent to peers; 0: none */
    bool unstored;      /* counted in l2fs.unstored */
    bool asked;         /* somebody wants it stored, whatever the policy */
    bool leaving;       /* leaves L1 as soon as it is idle */
};

#endif
