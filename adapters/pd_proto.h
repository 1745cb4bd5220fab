/* pd_proto.h - the messages of the PD control plane: msgpack maps with a "type", as msgspec writes
 * them. Level 2. Pure functions, any thread.
 *
 * Source of names, fields, order and bytes: reference pd-protocol.md sections 1.4 to 1.6. Messages
 * and fields that begin with "l2fs" or are marked + are ours; a msgspec peer ignores extra fields.
 * Encoded: fields in the order of the table, integers and headers in their smallest form, our extra
 * fields only where set. Decoded as strictly as msgspec (section 1.6), with caps of our own; also
 * refused: a zero byte in a string, an error that is no errno, a negative size, lists of an
 * AllocRequest with sizes that are not all as long as keys.
 *
 * Between two l2fs: AllocResponse has already + tags = keys, tags in the order of the keys that are
 * not there; or error and reason, and nothing was given. Where the request has `packs`, tags next to
 * each other that are equal are of a pack: the bytes of its keys, none empty, each within PD_PACK_KEY
 * and all within PD_PACK_MAX, are one message, also when some were cancelled meanwhile. The smaller batches or the single keys of a
 * refused one may be asked for again. For a key of size 0 no data message is sent. Commit has a
 * crc32c per tag and CommitReply an errno per tag; a Commit may arrive before the last data, and
 * twice. CancelNotif comes when no send of those keys is under way any more; the other keys of its
 * alloc_id go on, and are in the Commit with those cancelled (ECANCELED); no keys: all of them;
 * alloc_id 0: those keys of the sender that wait for room. Every Hello of a sender replaces its
 * connection and has a larger epoch than those before; one with a smaller is refused (ESTALE). error
 * ENOTCONN: the sender is not known, it says Hello again; ESTALE of Commit: no such alloc_id.
 */
#ifndef L2FS_PD_PROTO_H
#define L2FS_PD_PROTO_H

#include "text.h"

#define PD_VERSION 1
#define PD_MESSAGE_MAX (4 * MIB) /* bytes */
#define PD_KEYS_MAX 65536        /* entries of a list */
#define PD_STRING_MAX 65535      /* bytes of a string */
#define PD_BATCH_KEYS 1024       /* keys of an AllocRequest with sizes */
#define PD_PACK_KEY (64 * KIB)   /* bytes of a key in a pack */
#define PD_PACK_MAX (1 * MIB)    /* of all its keys */

enum pd_type {
    /* of LMCache's PD backend */
    PD_ALLOC_REQUEST,
    PD_ALLOC_RESPONSE,
    PD_CANCEL_NOTIF,
    PD_PROXY_NOTIF,
    PD_CACHE_QUERY_REQUEST,
    PD_CACHE_QUERY_RESPONSE,
    PD_NIXL_INIT_REQUEST,
    PD_NIXL_INIT_RESPONSE,
    PD_NIXL_MEM_REG_REQUEST,
    PD_NIXL_MEM_REG_RESPONSE,
    PD_P2P_INIT_SIDE_MSG,
    PD_P2P_INIT_SIDE_RET_MSG,
    PD_PY_SOCKET_INIT_REQUEST,
    PD_PY_SOCKET_INIT_RESPONSE,
    PD_MOONCAKE_INIT_REQUEST,
    PD_MOONCAKE_INIT_RESPONSE,
    /* ours */
    PD_HELLO,        /* init socket: version, epoch, sender, rank, address */
    PD_HELLO_REPLY,  /* version, epoch, address, error */
    PD_COMMIT,       /* alloc socket: seq, alloc_id, crcs (per tag) */
    PD_COMMIT_REPLY, /* seq, errors (errno per tag, 0: landed) */
    PD_DONE,         /* alloc socket: seq, req_id, rank: all keys of the request have landed */
    PD_DONE_REPLY,   /* seq, error */
    PD_TYPES
};

/* Borrowed bytes: of the message decoded, or of the caller. Not NUL terminated; data NULL: absent. */
struct pd_bytes {
    const char *data;
    size_t len;
};
struct pd_strings {
    struct pd_bytes *v;
    size_t n;
};
struct pd_ints {
    int64_t *v; /* u64 values (tags, times) keep their bits */
    size_t n;
};

/* One message: the members of its type are set, the rest is zero. */
struct pd_message {
    enum pd_type type;
    bool async; /* Alloc*: the form with req_id; decoded AllocRequest: a field of it was there */
    struct pd_strings keys; /* also cached_keys */
    struct pd_ints shape;
    int64_t fmt, last_chunk_toks, total_chunks;
    struct pd_bytes dtype;
    struct pd_bytes req_id;
    bool is_last_batch;
    struct pd_ints already_sent_indexes, remote_indexes; /* also cached_indexes */
    /* + AllocRequest: given by l2fs senders only (sizes.n != 0 tells); all of keys.n entries */
    struct pd_ints sizes, crcs, modes, uids, gids, mtimes; /* mtimes: ns since 1970 */
    bool packs; /* + AllocRequest: tags of the answer may be equal */
    /* + request and reply */
    int64_t seq;         /* echoed; 0: absent */
    int64_t alloc_id;    /* AllocResponse, Commit, CancelNotif */
    struct pd_ints tags; /* AllocResponse: one per key that is not already there, in order */
    /* CommitReply: positive errno per tag */
    struct pd_ints errors;
    int64_t error;          /* replies: positive errno of the whole, 0 */
    struct pd_bytes reason; /* replies: words for the log */
    int64_t lease_ms;       /* AllocResponse */
    int64_t limit;          /* HelloReply: most bytes of one AllocRequest */
    /* epoch: Hello: of this connection, new for each; echoed by HelloReply, given by AllocRequest
     * (error ENOTCONN: that connection is not there, say Hello). */
    int64_t version, epoch, rank;
    /* HelloReply: this run of the receiver. Done: of the one where the request's keys began to land;
     * error ESTALE: what had landed there is not sure to be here. */
    int64_t run;
    struct pd_bytes
        sender; /* Hello, AllocRequest, Commit, CancelNotif, Done: who, unique per run */
    struct pd_bytes address; /* Hello, HelloReply: of the channel; bin */
    /* of the handshakes we only know: */
    struct pd_bytes a, b, c; /* their str and bin fields in order */
    int64_t x, y;            /* their int fields in order */
};

/* Appends the message; out->failed on no memory. One longer than PD_MESSAGE_MAX no peer takes. */
void pd_encode(const struct pd_message *m, struct text *out);

/* The message, to be freed with pd_message_free; strings point into `data`, which must outlive it.
 * 0, -EBADMSG with a short reason in *why (constant), or -ENOMEM. */
int pd_decode(const void *data, size_t len, struct pd_message **out, const char **why);
void pd_message_free(struct pd_message *m);
const char *pd_type_name(enum pd_type type);

/* Bytes of one object of an AllocRequest without sizes (a LMCache peer): shape x dtype, the last one
 * with last_chunk_toks along the token dimension of fmt (sections 1.4, 2.5). 0: cannot be told. */
uint64_t pd_object_size(const struct pd_message *m, bool last);

#endif
