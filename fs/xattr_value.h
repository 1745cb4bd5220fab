/* xattr_value.h - the table of user.l2fs.* and what their values mean. Level 4. Pure functions. */
#ifndef L2FS_XATTR_VALUE_H
#define L2FS_XATTR_VALUE_H

#include "object.h"

#define XATTR_USER "user."
#define XATTR_OWN "user.l2fs."
/* How place, quota and peer are kept in L2 and in crash records, where user.l2fs.* is not. */
#define XATTR_KEPT "user.l2fs_"
#define XATTR_PLACE_KEPT XATTR_KEPT "place"
#define XATTR_QUOTA_KEPT XATTR_KEPT "quota"
#define XATTR_PEER_KEPT XATTR_KEPT "peer" /* also of files */
#define XATTR_TEXT_MAX 1024               /* longest value of an attribute of ours */
#define PIN_LEASE (30 * 60 * NSEC_PER_SEC)

enum xattr_id {
    XATTR_STATE,
    XATTR_LOCK,
    XATTR_TIERS,
    XATTR_STORE,
    XATTR_CRC32C,
    XATTR_ERROR,
    XATTR_PEER,
    XATTR_PIN,
    XATTR_EXPIRE,
    XATTR_REQ_ID,
    XATTR_LAST_PREFILL,
    XATTR_PREFETCH,
    XATTR_EVICT,
    XATTR_RETRY,
    XATTR_PLACE,
    XATTR_UNLOCK,
    XATTR_QUOTA,
    XATTR_IDS
};

enum xattr_flags {
    XATTR_GET = 1 << 0,
    XATTR_SET = 1 << 1,
    XATTR_FILE = 1 << 2, /* files have it */
    XATTR_DIR = 1 << 3,  /* directories have it */
};

struct xattr_def {
    const char *name; /* whole */
    unsigned flags;
    const char *allowed; /* for messages; NULL: cannot be set */
};

extern const struct xattr_def xattr_defs[XATTR_IDS];

/* `name` begins with XATTR_OWN. The id, or -1. */
int xattr_find(const char *name);
/* The nearest name of ours, or NULL. */
const char *xattr_nearest(const char *name);

/* A value as a C string; one newline or NUL at its end is cut. 0; -EINVAL: too long, or a NUL
 * inside. */
int xattr_text(const void *value, size_t size, char out[XATTR_TEXT_MAX + 1]);

struct pin_value {
    enum pin_kind kind;
    uint64_t lease; /* ns, of a soft pin */
};
/* All: 0 or -EINVAL. */
int xattr_parse_pin(const char *text, struct pin_value *out); /* none | soft[=30m] | hard */
int xattr_parse_expire(const char *text, uint64_t *ns);       /* none (0) | duration above 0 */
int xattr_parse_flag(const char *text, bool *out);            /* 0 | 1 */
int xattr_parse_order(const char *text);                      /* 1 */
int xattr_parse_place(const char *text, bool *disk);          /* l1 | disk */
int xattr_parse_quota(const char *text, uint64_t *bytes);     /* none (0) | size */
int xattr_parse_name(const char *text); /* a request or peer: 1-255 bytes, no control ones */

#endif
