/* pd_scan.c - walks the headers of a msgpack value without unpacking it.
 *
 * No memory, no recursion: a small stack of how many values each open array or map still has.
 */
#include "pd_scan.h"

struct cursor {
    const uint8_t *at, *end;
};

/* What a header says of what follows it. */
struct head {
    uint64_t bytes;  /* of payload */
    uint64_t values; /* inside */
};

/* The headers c0 to df: a number of `count` bytes (the length of a string, or how many entries a
 * container has, each of `values` values), then `bytes` more. */
#define FIRST 0xc0
#define INVALID 0xc1
static const struct {
    uint8_t count, bytes, values;
} heads[0x20] = {
    [0xc4 - FIRST] = {.count = 1},
    [0xc5 - FIRST] = {.count = 2},
    [0xc6 - FIRST] = {.count = 4},
    [0xc7 - FIRST] = {.count = 1, .bytes = 1},
    [0xc8 - FIRST] = {.count = 2, .bytes = 1},
    [0xc9 - FIRST] = {.count = 4, .bytes = 1},
    [0xca - FIRST] = {.bytes = 4},
    [0xcb - FIRST] = {.bytes = 8},
    [0xcc - FIRST] = {.bytes = 1},
    [0xcd - FIRST] = {.bytes = 2},
    [0xce - FIRST] = {.bytes = 4},
    [0xcf - FIRST] = {.bytes = 8},
    [0xd0 - FIRST] = {.bytes = 1},
    [0xd1 - FIRST] = {.bytes = 2},
    [0xd2 - FIRST] = {.bytes = 4},
    [0xd3 - FIRST] = {.bytes = 8},
    [0xd4 - FIRST] = {.bytes = 2},
    [0xd5 - FIRST] = {.bytes = 3},
    [0xd6 - FIRST] = {.bytes = 5},
    [0xd7 - FIRST] = {.bytes = 9},
    [0xd8 - FIRST] = {.bytes = 17},
    [0xd9 - FIRST] = {.count = 1},
    [0xda - FIRST] = {.count = 2},
    [0xdb - FIRST] = {.count = 4},
    [0xdc - FIRST] = {.count = 2, .values = 1},
    [0xdd - FIRST] = {.count = 4, .values = 1},
    [0xde - FIRST] = {.count = 2, .values = 2},
    [0xdf - FIRST] = {.count = 4, .values = 2},
};

static bool read_long(struct cursor *c, uint8_t first, struct head *h)
{
    size_t i = first - FIRST;
    uint64_t count = 0;

    if ((size_t)(c->end - c->at) < heads[i].count)
        return false;
    for (size_t n = heads[i].count; n; n--)
        count = count << 8 | *c->at++;
    h->bytes = heads[i].bytes + (heads[i].values ? 0 : count);
    h->values = heads[i].values * count;
    return true;
}

/* False: the input ends within it. */
static bool read_head(struct cursor *c, struct head *h)
{
    uint8_t first;

    if (c->at == c->end)
        return false;
    first = *c->at++;
    *h = (struct head){0};
    if (first >= FIRST && first < FIRST + ARRAY_SIZE(heads))
        return read_long(c, first, h);
    if ((first & 0xe0) == 0xa0)
        h->bytes = first & 0x1f;
    else if ((first & 0xf0) == 0x90)
        h->values = first & 0x0f;
    else if ((first & 0xf0) == 0x80)
        h->values = UINT64_C(2) * (first & 0x0f);
    return true;
}

const char *pd_scan(const void *data, size_t len)
{
    struct cursor c = {data, (const uint8_t *)data + len};
    uint64_t left[PD_DEPTH_MAX + 1] = {1}, items = 1;
    size_t depth = 0;
    struct head h;

    if (!len)
        return "empty";
    while (left[0] || depth) {
        if (!left[depth]) {
            depth--;
            continue;
        }
        left[depth]--;
        if (c.at < c.end && *c.at == INVALID)
            return "not msgpack";
        if (!read_head(&c, &h) || h.bytes + h.values > (uint64_t)(c.end - c.at))
            return "cut short";
        c.at += h.bytes;
        items += h.values;
        if (items > PD_ITEMS_MAX)
            return "too many values";
        if (h.values && depth == PD_DEPTH_MAX)
            return "nested too deeply";
        if (h.values)
            left[++depth] = h.values;
    }
    return c.at == c.end ? NULL : "bytes after the message";
}
