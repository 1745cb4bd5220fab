/* fuzz_xattr.c - values of user.l2fs.*, unknown names, and packed sets of engine attributes. */
#include <stdio.h>

#include "clock.h"
#include "events.h"
#include "xattr_kept.h"
#include "xattr_value.h"

static void check(bool right)
{
    if (!right)
        abort();
}

static void parse_value(const uint8_t *data, size_t size)
{
    char text[XATTR_TEXT_MAX + 1];
    struct pin_value pin;
    uint64_t ns = 0;
    bool flag;

    if (xattr_text(data, size, text))
        return;
    check(strlen(text) <= size);
    if (!xattr_parse_pin(text, &pin))
        check((pin.kind == PIN_SOFT) == (pin.lease > 0));
    if (!xattr_parse_expire(text, &ns))
        check(ns > 0 || !strcmp(text, "none"));
    xattr_parse_flag(text, &flag);
    xattr_parse_place(text, &flag);
    xattr_parse_order(text);
    xattr_parse_name(text);
}

static void find_name(const uint8_t *data, size_t size)
{
    char name[512];

    snprintf(name, sizeof(name), "%s%.*s", XATTR_OWN, (int)(size < 400 ? size : 400),
             (const char *)data);
    check(xattr_find(name) < XATTR_IDS);
    xattr_nearest(name);
}

/* Any bytes as a set: reading stays inside, a changed set holds what was put. */
static void change_set(const uint8_t *data, size_t size)
{
    size_t value_len = size ? data[0] : 0;
    struct kept_item item = {"user.fuzz", data, value_len < size ? value_len : size}, found;
    struct l2_xattrs set = {(void *)(uintptr_t)data, size}, more, less;
    size_t n = 0;

    for (size_t pos = 0; kept_next(&set, &pos, &found);) {
        check(pos <= size);
        n++;
    }
    if (kept_put(&set, &item, 0, &more))
        return;
    check(kept_find(&more, item.name, &found));
    check(found.len == item.len && (!item.len || !memcmp(found.value, item.value, item.len)));
    check(!kept_drop(&more, item.name, &less));
    check(!kept_find(&less, item.name, &found));
    check(less.len <= size);
    free(more.data);
    free(less.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    switch (data[0] % 3) {
    case 0: parse_value(data + 1, size - 1); break;
    case 1: find_name(data + 1, size - 1); break;
    default: change_set(data + 1, size - 1); break;
    }
    return 0;
}
