/* xattr_kept.c - name NUL, u32 length, value; one after the other.
 *
 * Thread model: pure functions. A change makes a new set, so that the old one can be kept when
 * there is no memory.
 */
#include "config.h"

#include "xattr_kept.h"

#include <sys/xattr.h>

bool kept_next(const struct l2_xattrs *set, size_t *pos, struct kept_item *out)
{
    size_t left = set->len - *pos, name_len;
    const char *start;
    uint32_t value_len;

    if (!set->data || left == 0)
        return false;
    start = (const char *)set->data + *pos;
    name_len = strnlen(start, left);
    if (name_len == 0 || left - name_len < 1 + sizeof(value_len))
        return false;
    left -= name_len + 1 + sizeof(value_len);
    memcpy(&value_len, start + name_len + 1, sizeof(value_len));
    if (value_len > left)
        return false;
    out->name = start;
    out->value = start + name_len + 1 + sizeof(value_len);
    out->len = value_len;
    *pos += name_len + 1 + sizeof(value_len) + value_len;
    return true;
}

bool kept_find(const struct l2_xattrs *set, const char *name, struct kept_item *out)
{
    struct kept_item item;

    for (size_t pos = 0; kept_next(set, &pos, &item);) {
        if (!strcmp(item.name, name)) {
            *out = item;
            return true;
        }
    }
    return false;
}

static size_t item_size(const struct kept_item *item)
{
    return strlen(item->name) + 1 + sizeof(uint32_t) + item->len;
}

static char *pack(char *to, const struct kept_item *item)
{
    size_t name_len = strlen(item->name) + 1;
    uint32_t value_len = (uint32_t)item->len;

    memcpy(to, item->name, name_len);
    memcpy(to + name_len, &value_len, sizeof(value_len));
    if (item->len)
        memcpy(to + name_len + sizeof(value_len), item->value, item->len);
    return to + item_size(item);
}

/* The items of `set` but `name`, and `item` behind them unless it is NULL. */
static int rebuild(const struct l2_xattrs *set, const char *name, const struct kept_item *item,
                   struct l2_xattrs *out)
{
    size_t len = item ? item_size(item) : 0;
    struct kept_item old;
    char *data, *to;

    for (size_t pos = 0; kept_next(set, &pos, &old);)
        len += strcmp(old.name, name) ? item_size(&old) : 0;
    if (item && len > KEPT_MAX)
        return -ENOSPC;
    *out = (struct l2_xattrs){0};
    if (!len)
        return 0;
    data = to = malloc(len);
    if (!data)
        return -ENOMEM;
    for (size_t pos = 0; kept_next(set, &pos, &old);)
        if (strcmp(old.name, name))
            to = pack(to, &old);
    if (item)
        pack(to, item);
    *out = (struct l2_xattrs){data, len};
    return 0;
}

int kept_put(const struct l2_xattrs *set, const struct kept_item *item, int flags,
             struct l2_xattrs *out)
{
    struct kept_item old;
    bool there = kept_find(set, item->name, &old);

    if (there && (flags & XATTR_CREATE))
        return -EEXIST;
    if (!there && (flags & XATTR_REPLACE))
        return -ENODATA;
    if (!*item->name || strlen(item->name) > KEPT_NAME_MAX)
        return -ERANGE;
    if (item->len > KEPT_VALUE_MAX)
        return -E2BIG;
    return rebuild(set, item->name, item, out);
}

int kept_drop(const struct l2_xattrs *set, const char *name, struct l2_xattrs *out)
{
    struct kept_item old;

    if (!kept_find(set, name, &old))
        return -ENODATA;
    return rebuild(set, name, NULL, out);
}
