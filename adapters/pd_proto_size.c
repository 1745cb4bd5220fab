/* pd_proto_size.c - how long the objects of a LMCache peer are, from their shape. Pure. */
#include "pd_proto.h"

/* Bytes of an element, by names of LMCache and of torch. */
static const struct {
    const char *name;
    uint64_t size;
} dtypes[] = {
    {"half", 2},   {"float16", 2}, {"bfloat16", 2},      {"float", 4},       {"float32", 4},
    {"double", 8}, {"float64", 8}, {"fp8", 1},           {"fp8_e4m3", 1},    {"fp8_e5m2", 1},
    {"uint8", 1},  {"int8", 1},    {"float8_e4m3fn", 1}, {"float8_e5m2", 1}, {"int16", 2},
    {"int32", 4},  {"int64", 8},
};

/* The dimension that counts tokens, by LMCache's MemoryFormat number; others: 0. */
static const uint8_t token_dimension[] = {[1] = 2, [2] = 1, [6] = 2};

/* 0: a name we do not know. */
static uint64_t dtype_size(const struct pd_bytes *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(dtypes); i++) {
        if (name->len == strlen(dtypes[i].name) && !memcmp(name->data, dtypes[i].name, name->len))
            return dtypes[i].size;
    }
    return 0;
}

static size_t token_dim(int64_t fmt)
{
    return fmt >= 0 && (size_t)fmt < ARRAY_SIZE(token_dimension) ? token_dimension[fmt] : 0;
}

uint64_t pd_object_size(const struct pd_message *m, bool last)
{
    size_t tokens = token_dim(m->fmt);
    uint64_t size = dtype_size(&m->dtype);

    if (m->shape.n <= tokens)
        return 0;
    for (size_t i = 0; i < m->shape.n; i++) {
        int64_t dim = last && i == tokens ? m->last_chunk_toks : m->shape.v[i];

        if (dim <= 0 || __builtin_mul_overflow(size, (uint64_t)dim, &size))
            return 0;
    }
    return size;
}
