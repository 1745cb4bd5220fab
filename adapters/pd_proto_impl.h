/* pd_proto_impl.h - the table that pd_proto.c encodes and decodes by. Level 2. */
#ifndef L2FS_PD_PROTO_IMPL_H
#define L2FS_PD_PROTO_IMPL_H

#include "pd_proto.h"

/* Of the member in struct pd_message: pd_bytes, pd_bytes, bool, int64_t, pd_strings, pd_ints. */
enum pd_kind { STR, BIN, BOOL, INT, STRS, INTS };

enum pd_need {
    REQUIRED, /* always written, must be there */
    SYNC,     /* written in the sync form */
    ASYNC,    /* written in the async form */
    EXTRA     /* ours: written where it is set */
};

/* What the integers of a field may be. ANY, which the table leaves out: an int64_t. ERRNO: 0 to
 * PD_ERRNO_MAX. */
enum pd_range { ANY, COUNT, U32, U64, ERRNO };
#define PD_ERRNO_MAX 4095

struct pd_field {
    const char *name;
    enum pd_kind kind;
    enum pd_need need;
    size_t offset; /* in struct pd_message */
    enum pd_range range;
};

#define PD_FIELDS_MAX 23

struct pd_form {
    const char *tag;
    struct pd_field fields[PD_FIELDS_MAX + 1]; /* in the order they are written; NULL name: end */
};

extern const struct pd_form pd_forms[PD_TYPES];

#endif
