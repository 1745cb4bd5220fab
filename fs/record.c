/* record.c - the codec of crash records; see record.h. */
#include "config.h"

#include "record.h"

#define RECORD_MAGIC UINT32_C(0x6c326631) /* l2f1 */

struct record_head {
    uint32_t magic;
    uint32_t keys_len;
    struct record record;
};

ssize_t record_encode(const struct record *r, const char *keys, size_t keys_len, const void *xattrs,
                      void *out, size_t max)
{
    struct record_head head = {RECORD_MAGIC, (uint32_t)keys_len, *r};
    size_t len = sizeof(head) + keys_len + r->xattrs_len;

    if (len > max)
        return -E2BIG;
    memcpy(out, &head, sizeof(head));
    memcpy((char *)out + sizeof(head), keys, keys_len);
    if (r->xattrs_len)
        memcpy((char *)out + sizeof(head) + keys_len, xattrs, r->xattrs_len);
    return (ssize_t)len;
}

int record_decode(const void *data, size_t len, struct record *r, const char **keys,
                  size_t *keys_len, const void **xattrs)
{
    struct record_head head;
    const char *text = (const char *)data + sizeof(head);

    if (len < sizeof(head))
        return -EINVAL;
    memcpy(&head, data, sizeof(head));
    if (head.magic != RECORD_MAGIC || head.keys_len == 0 ||
        (uint64_t)head.keys_len + head.record.xattrs_len != len - sizeof(head) ||
        text[head.keys_len - 1] != '\0')
        return -EINVAL;
    *r = head.record;
    *keys = text;
    *keys_len = head.keys_len;
    *xattrs = text + head.keys_len;
    return 0;
}
