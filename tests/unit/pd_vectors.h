/* pd_vectors.h - messages of LMCache's PD backend and their exact bytes, as measured with msgspec
 * (reference pd-protocol.md, section 1.5), and ours beside them.
 */
#ifndef L2FS_PD_VECTORS_H
#define L2FS_PD_VECTORS_H

#include "pd_proto.h"

/* Initialisers of strings and lists. */
#define STRINGS(...)                                                                               \
    {                                                                                              \
        .v = (struct pd_bytes[]){__VA_ARGS__}, .n = ARRAY_SIZE(((struct pd_bytes[]){__VA_ARGS__})) \
    }
#define INTEGERS(...)                                                                              \
    {                                                                                              \
        .v = (int64_t[]){__VA_ARGS__}, .n = ARRAY_SIZE(((int64_t[]){__VA_ARGS__}))                 \
    }
#define LIT(s)                                                                                     \
    {                                                                                              \
        .data = (s), .len = sizeof(s) - 1                                                          \
    }

#define ALLOC_SYNC                                                                                 \
    "a4 74 79 70 65 ac 41 6c 6c 6f 63 52 65 71 75 65 73 74 a4 6b 65 79 73 91 b1 6d 40 31 40 30 "   \
    "40 31 66 40 62 66 6c 6f 61 74 31 36 a3 66 6d 74 01 a5 73 68 61 70 65 94 02 20 cd 01 00 cd "   \
    "04 00 a5 64 74 79 70 65 a8 62 66 6c 6f 61 74 31 36 af 6c 61 73 74 5f 63 68 75 6e 6b 5f 74 "   \
    "6f 6b 73 11 "
#define RESPONSE_ASYNC                                                                             \
    "83 a4 74 79 70 65 ad 41 6c 6c 6f 63 52 65 73 70 6f 6e 73 65 ae 72 65 6d 6f 74 65 5f 69 6e "   \
    "64 65 78 65 73 "
#define ALREADY_NONE "b4 61 6c 72 65 61 64 79 5f 73 65 6e 74 5f 69 6e 64 65 78 65 73 90"
#define KEY_1 LIT("m@1@0@1f@bfloat16")

struct pd_vector {
    const char *hex; /* pd_unhex */
    struct pd_message m;
};

extern const struct pd_vector pd_vectors[]; /* of LMCache, measured */
extern const size_t pd_vectors_count;
extern const struct pd_vector pd_own_vectors[]; /* written by hand */
extern const size_t pd_own_vectors_count;

/* Hexadecimal pairs, and 'text' for its bytes; at most `max`. Their number. */
size_t pd_unhex(const char *hex, uint8_t *out, size_t max);

#endif
