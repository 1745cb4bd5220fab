/* pd_recv_impl.h - what the files of the receiver share. Level 2. Loop thread only, but where said. */
#ifndef L2FS_PD_RECV_IMPL_H
#define L2FS_PD_RECV_IMPL_H

#include <stdatomic.h>

#include "hash.h"
#include "mailbox.h"
#include "pd_proto.h"
#include "pd_recv.h"

#define RECV_MAPPED_MAX 16384       /* buffers at a time: the kernel counts mappings */
#define RECV_MEMORY_MAX (128 * MIB) /* what requests take in memory, waiting or under way */
#define RECV_ALLOCS_MAX 8192        /* allocations at a time; a peer may have 1/8 */
#define RECV_NAME_MAX 128           /* sender */
#define RECV_RUNS_MAX 64            /* of this receiver, over crashes */

struct recv_rank {
    struct pd_recv *recv;
    size_t index;
    struct pd_server *init, *alloc;
    uint64_t used;        /* bytes reserved and not landed */
    struct list waiting;  /* struct recv_waiter, in order */
    struct bitmap *pages; /* numbers that foreign peers have: PD_KEYS_MAX */
    size_t npages;
    struct list foreign; /* struct recv_pages that have room */
};

/* Where an answer goes. */
struct recv_origin {
    struct pd_server *server;
    struct pd_envelope to;
    int64_t seq;
};

/* A message being handled. */
struct recv_request {
    struct recv_rank *rank;
    struct recv_origin origin;
    const struct pd_message *m;
};

/* Waits for room of a rank, pd_recv_queue.c. Refused at its deadline. */
struct recv_waiter {
    struct list link;
    struct recv_rank *rank;
    struct loop_timer timer;
    size_t weight; /* bytes of memory, given back by the owner with recv_weigh */
    int (*attempt)(struct recv_waiter *w);            /* 0, -EAGAIN: later; else refused */
    void (*finish)(struct recv_waiter *w, int error); /* has left the queue; may free it */
};

/* One run of a sender, as one rank knows it. */
struct recv_peer {
    struct hash_node node;
    struct list link; /* pd_recv.peers, who was heard of last is last */
    struct recv_rank *rank;
    char name[RECV_NAME_MAX + 1];
    int64_t epoch;
    uint32_t address_crc;
    struct pd_conn *conn; /* NULL: gone */
    struct list allocs;   /* struct recv_alloc, not ended */
    size_t nallocs;
    uint64_t heard; /* clock_now */
    uint64_t bytes, keys, failed;
};

enum recv_state {
    ITEM_WANTED,
    ITEM_RESERVED,   /* room */
    ITEM_STAGING,    /* at the lander */
    ITEM_POSTED,     /* a receive has the buffer, or that of its pack */
    ITEM_CHECKING,   /* at the lander */
    ITEM_CHECKED,    /* `sum` is known, the buffer is gone, the file is there */
    ITEM_PUBLISHING, /* at the lander */
    ITEM_OVER,       /* holds nothing */
};

/* A key on its way. `settled`: its outcome is known, while it may still hold what it has. */
struct recv_item {
    struct hash_node node; /* pd_recv.tags, while POSTED and in no pack */
    struct recv_alloc *alloc;
    struct pd_transfer transfer; /* not used in a pack */
    struct recv_pack *pack;      /* what its bytes come in; NULL: a message of their own */
    struct letter letter;
    enum recv_state state;
    bool settled, present;
    /* The lander's too, while it is there: */
    bool charged, reserved, staged; /* holds room of the rank; room of L1, then a file */
    int result;
    struct arrival what; /* its key is in recv_alloc.keys */
    uint64_t tag, staging_id;
    void *buffer;
    bool on_device; /* the buffer is memory of a GPU */
    uint32_t sum;
};

struct recv_alloc {
    struct recv_waiter waiter;
    struct hash_node node; /* pd_recv.allocs, by id */
    struct list link;      /* recv_peer.allocs; pd_recv.ended once nothing is held */
    struct pd_recv *recv;
    struct recv_peer *peer;       /* NULL: in pd_recv.ended */
    char name[RECV_NAME_MAX + 1]; /* of the peer */
    enum { ALLOC_WAITING, ALLOC_STAGING, ALLOC_GRANTED, ALLOC_ENDED } phase;
    int64_t id, epoch;
    struct recv_origin asked;     /* the AllocRequest */
    struct recv_origin committed; /* server NULL: no Commit waits */
    bool commit, may_pack;        /* came; the sender knows of packs */
    struct loop_timer timer;      /* lease, then fence */
    struct letter letter;
    struct list packs;       /* struct recv_pack */
    struct recv_item *items; /* NULL: none holds anything any more */
    char *keys;
    int *errors; /* of each item */
    size_t n, next, ntags, unsettled;
    size_t busy;          /* items that hold something, and who goes over them */
    uint64_t room, since; /* bytes of what needs room; when it was retired */
};

struct recv_counts {
    uint64_t keys, bytes, present, refused, expired, cancelled, reset, corrupt, failed;
    uint64_t garbage, foreign;
};

struct pd_recv {
    struct pd_env env;
    struct recv_rank *ranks;
    size_t nranks;
    struct mailbox *mailbox; /* to this loop: room, and back from the lander */
    struct letter room;
    atomic_bool room_posted;
    struct loop_timer retry, sweep;
    struct recv_waiter *starved;                 /* waits for L1, keeping what it has */
    struct hash peer_table, allocs, tags, ready; /* tags: those that are in use */
    struct list peers, ended, ready_list;
    size_t npeers, nended, nallocs, nruns, mapped, memory, packed; /* packed: bytes of packs */
    int64_t last_id, runs[RECV_RUNS_MAX]; /* runs: whose keys are here, this one is last */
    struct {                              /* a thread of its own, pd_recv_land.c */
        struct loop *loop;
        struct mailbox *mailbox;
        atomic_bool stop;
    } lander;
    struct recv_counts counts;
    uint64_t said_since, said, unsaid, left_out; /* lines of the log */
    struct metric *keys, *bytes, *failures, *used;
    bool stopping;
};
#endif
