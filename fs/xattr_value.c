/* xattr_value.c - names and values of user.l2fs.*, as constant tables and parsers.
 *
 * Thread model: pure functions over constant data. What is refused here is said to the user by
 * xattr_set.c, with the `allowed` column.
 */
#include "config.h"

#include "xattr_value.h"

#include "text.h"
#include "units.h"

#define NAME_MAX_LEN 255
#define LOOK (XATTR_GET | XATTR_FILE)
#define CHANGE (XATTR_GET | XATTR_SET | XATTR_FILE)

const struct xattr_def xattr_defs[XATTR_IDS] = {
    [XATTR_STATE] = {XATTR_OWN "state", LOOK, NULL},
    [XATTR_LOCK] = {XATTR_OWN "lock", LOOK, NULL},
    [XATTR_TIERS] = {XATTR_OWN "tiers", LOOK, NULL},
    [XATTR_STORE] = {XATTR_OWN "store", LOOK, NULL},
    [XATTR_CRC32C] = {XATTR_OWN "crc32c", LOOK, NULL},
    [XATTR_ERROR] = {XATTR_OWN "error", LOOK, NULL},
    [XATTR_PEER] = {XATTR_OWN "peer", CHANGE | XATTR_DIR, "1 to 255 bytes of text"},
    [XATTR_PIN] = {XATTR_OWN "pin", CHANGE | XATTR_DIR,
                   "none, soft, soft=DURATION such as soft=30m, or hard (directories: none)"},
    [XATTR_EXPIRE] = {XATTR_OWN "expire", CHANGE, "none or a duration such as 90s, 30m, 2h"},
    [XATTR_REQ_ID] = {XATTR_OWN "req_id", CHANGE, "1 to 255 bytes of text"},
    [XATTR_LAST_PREFILL] = {XATTR_OWN "last_prefill", CHANGE, "0 or 1"},
    [XATTR_PREFETCH] = {XATTR_OWN "prefetch", XATTR_SET | XATTR_FILE | XATTR_DIR,
                        "1, or 0 to stop"},
    [XATTR_EVICT] = {XATTR_OWN "evict", XATTR_SET | XATTR_FILE | XATTR_DIR, "1"},
    [XATTR_RETRY] = {XATTR_OWN "retry", XATTR_SET | XATTR_FILE | XATTR_DIR, "1"},
    [XATTR_PLACE] = {XATTR_OWN "place", XATTR_GET | XATTR_SET | XATTR_DIR, "l1 or disk"},
    [XATTR_UNLOCK] = {XATTR_OWN "unlock", XATTR_SET | XATTR_FILE, "force, by root"},
    [XATTR_QUOTA] = {XATTR_OWN "quota", XATTR_GET | XATTR_SET | XATTR_DIR,
                     "none or a size such as 100G (not for the root of the mount)"},
};

int xattr_find(const char *name)
{
    for (int i = 0; i < XATTR_IDS; i++)
        if (!strcmp(xattr_defs[i].name, name))
            return i;
    return -1;
}

const char *xattr_nearest(const char *name)
{
    const char *names[XATTR_IDS];
    const char *found;

    for (int i = 0; i < XATTR_IDS; i++)
        names[i] = xattr_defs[i].name + strlen(XATTR_OWN);
    found = text_nearest(name + strlen(XATTR_OWN), names, ARRAY_SIZE(names));
    for (int i = 0; found && i < XATTR_IDS; i++)
        if (names[i] == found)
            return xattr_defs[i].name;
    return NULL;
}

int xattr_text(const void *value, size_t size, char out[XATTR_TEXT_MAX + 1])
{
    const char *s = value;

    if (size && (s[size - 1] == '\0' || s[size - 1] == '\n'))
        size--;
    if (size > XATTR_TEXT_MAX || (size && memchr(s, '\0', size)))
        return -EINVAL;
    if (size)
        memcpy(out, s, size);
    out[size] = '\0';
    return 0;
}

int xattr_parse_pin(const char *text, struct pin_value *out)
{
    uint64_t lease = 0;

    if (!strcmp(text, "none")) {
        *out = (struct pin_value){.kind = PIN_NONE};
    } else if (!strcmp(text, "hard")) {
        *out = (struct pin_value){.kind = PIN_HARD};
    } else if (!strcmp(text, "soft")) {
        *out = (struct pin_value){.kind = PIN_SOFT, .lease = PIN_LEASE};
    } else if (!strncmp(text, "soft=", 5) && !units_parse_duration(text + 5, &lease) && lease) {
        *out = (struct pin_value){.kind = PIN_SOFT, .lease = lease};
    } else {
        return -EINVAL;
    }
    return 0;
}

int xattr_parse_expire(const char *text, uint64_t *ns)
{
    uint64_t value = 0;

    if (strcmp(text, "none") && (units_parse_duration(text, &value) || !value))
        return -EINVAL;
    *ns = value;
    return 0;
}

int xattr_parse_flag(const char *text, bool *out)
{
    if (strcmp(text, "0") && strcmp(text, "1"))
        return -EINVAL;
    *out = *text == '1';
    return 0;
}

int xattr_parse_order(const char *text)
{
    return strcmp(text, "1") ? -EINVAL : 0;
}

int xattr_parse_place(const char *text, bool *disk)
{
    if (strcmp(text, "l1") && strcmp(text, "disk"))
        return -EINVAL;
    *disk = *text == 'd';
    return 0;
}

int xattr_parse_quota(const char *text, uint64_t *bytes)
{
    uint64_t value = 0;

    if (strcmp(text, "none") && units_parse_size(text, 0, &value))
        return -EINVAL;
    *bytes = value;
    return 0;
}

int xattr_parse_name(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return -EINVAL;
    return len && len <= NAME_MAX_LEN ? 0 : -EINVAL;
}
