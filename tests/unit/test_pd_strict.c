/* test_pd_strict.c - what the decoder of PD messages takes and what it refuses, as measured with
 * msgspec (reference pd-protocol.md, section 1.6), and our own limits.
 */
#include "pd_vectors.h"

#include "pd_scan.h"
#include "suite.h"

#define HEX_MAX 2048
#define NOTIF "a4 'type' aa 'ProxyNotif' "
#define ID "a6 'req_id' "
#define QUERY "a4 'type' b1 'CacheQueryRequest' "
#define REPLY "a4 'type' ad 'AllocResponse' ae 'remote_indexes' "
#define TEN(x) x x x x x x x x x x

/* The input in a block of its own length, so that reading past it is seen. 0 or -errno. */
static int decode(const void *data, size_t len, struct pd_message **m, const char **why)
{
    AUTO_FREE void *copy = len ? malloc(len) : NULL;
    int rc;

    if (len)
        memcpy(copy, data, len);
    *m = NULL;
    *why = NULL;
    rc = pd_decode(copy, len, m, why);
    ck_assert(rc ? !*m && *why : *m && !*why);
    return rc;
}

static void assert_refused(const void *data, size_t len, const char *expected)
{
    struct pd_message *m;
    const char *why;

    ck_assert_int_eq(decode(data, len, &m, &why), -EBADMSG);
    ck_assert_str_eq(why, expected);
}

static void assert_taken(const void *data, size_t len)
{
    struct pd_message *m;
    const char *why;
    int rc = decode(data, len, &m, &why);

    ck_assert_msg(!rc, "%s", why);
    pd_message_free(m);
}

static const char *const taken[] = {
    "82 " ID "a1 '7' " NOTIF,
    "83 " NOTIF ID "a1 '7' a1 'x' c0",
    "83 " NOTIF "a5 'extra' 82 01 02 c4 01 00 93 c7 01 05 06 ca 00 00 00 00 d4 00 00 " ID "a1 '7'",
    "82 d9 04 'type' d9 0a 'ProxyNotif' d9 06 'req_id' d9 01 '7'",
    "82 da 00 04 'type' db 00 00 00 0a 'ProxyNotif' " ID "db 00 00 00 01 '7'",
    "de 00 02 " NOTIF ID "a1 '7'",
    "df 00 00 00 02 " NOTIF ID "a1 '7'",
    "83 " NOTIF ID "a1 'x' " ID "a1 '7'",
    "83 " NOTIF NOTIF ID "a1 '7'",
    "83 " NOTIF "a4 'deep' " TEN("91 ") "91 91 91 91 91 c0 " ID "a1 '7'",
};

START_TEST(takes)
{
    uint8_t bytes[HEX_MAX];
    size_t len = pd_unhex(taken[_i], bytes, HEX_MAX);
    struct pd_message *m;
    const char *why;

    assert_taken(bytes, len);
    ck_assert_int_eq(pd_decode(bytes, len, &m, &why), 0);
    ck_assert_int_eq(m->type, PD_PROXY_NOTIF);
    ck_assert_uint_eq(m->req_id.len, 1);
    ck_assert_int_eq(m->req_id.data[0], '7');
    pd_message_free(m);
}
END_TEST

static const char *const more_taken[] = {
    "82 " QUERY "a4 'keys' dd 00 00 00 01 a1 'a'",
    "82 " QUERY "a4 'keys' dc 00 00",
    "82 " REPLY "91 d3 ff ff ff ff ff ff ff ff",
    "82 " REPLY "92 cf 00 00 00 00 00 00 00 01 cd 00 01",
    "83 " REPLY "90 a8 'l2fs_seq' cf ff ff ff ff ff ff ff ff",
    "82 a4 'type' af 'NixlInitRequest' b0 'local_meta_bytes' c6 00 00 00 01 00",
    "82 a4 'type' af 'NixlInitRequest' b0 'local_meta_bytes' c4 00",
    "86 " ALLOC_SYNC,
};

START_TEST(takes_other_forms)
{
    uint8_t bytes[HEX_MAX];

    assert_taken(bytes, pd_unhex(more_taken[_i], bytes, HEX_MAX));
}
END_TEST

START_TEST(last_list_wins)
{
    uint8_t bytes[HEX_MAX];
    size_t len =
        pd_unhex("85 " REPLY "93 01 02 03 ae 'remote_indexes' 91 04 " ALREADY_NONE ALREADY_NONE,
                 bytes, HEX_MAX);
    struct pd_message *m;
    const char *why;

    ck_assert_int_eq(pd_decode(bytes, len, &m, &why), 0);
    ck_assert_uint_eq(m->remote_indexes.n, 1);
    ck_assert_int_eq(m->remote_indexes.v[0], 4);
    pd_message_free(m);

    len = pd_unhex("83 " QUERY "a4 'keys' 92 a1 'a' a1 'b' a4 'keys' 91 a1 'c'", bytes, HEX_MAX);
    ck_assert_int_eq(pd_decode(bytes, len, &m, &why), 0);
    ck_assert_uint_eq(m->keys.n, 1);
    ck_assert_mem_eq(m->keys.v[0].data, "c", 1);
    pd_message_free(m);
}
END_TEST

#define TYPE_WHY "the type is no string, or there are two"
#define FIELD_WHY "a field has the wrong type"
#define RANGE_WHY "a number is out of range"

static const struct {
    const char *hex;
    const char *why;
} refused[] = {
    {"", "empty"},
    {"82", "cut short"},
    {"c1", "not msgpack"},
    {"82 " NOTIF ID "c1", "not msgpack"},
    {"82 " NOTIF ID "a1 '7' 00", "bytes after the message"},
    {"c0", "not a map"},
    {"07", "not a map"},
    {"92 aa 'ProxyNotif' a1 '7'", "not a map"},
    {"91 82 " NOTIF ID "a1 '7'", "not a map"},
    {"c7 00 01", "not a map"},
    /* the tag */
    {"80", "no type"},
    {"81 " ID "a1 '7'", "no type"},
    {"82 a4 'type' a9 'Something' " ID "a1 '7'", "unknown type"},
    {"82 a4 'type' aa 'proxynotif' " ID "a1 '7'", "unknown type"},
    {"82 a4 'type' a0 " ID "a1 '7'", "unknown type"},
    {"82 a4 'type' c0 " ID "a1 '7'", TYPE_WHY},
    {"82 a4 'type' 03 " ID "a1 '7'", TYPE_WHY},
    {"82 a4 'type' c4 0a 'ProxyNotif' " ID "a1 '7'", TYPE_WHY},
    {"83 " NOTIF "a4 'type' ab 'CancelNotif' " ID "a1 '7'", TYPE_WHY},
    /* the keys */
    {"82 " NOTIF "c4 06 'req_id' a1 '7'", "a field's name is no string"},
    {"82 c4 04 'type' aa 'ProxyNotif' " ID "a1 '7'", "a field's name is no string"},
    {"83 " NOTIF ID "a1 '7' 01 02", "a field's name is no string"},
    /* required fields */
    {"81 " NOTIF, "a field is missing"},
    {"82 " NOTIF "a5 'reqid' a1 '7'", "a field is missing"},
    {"81 a4 'type' ad 'AllocResponse'", "a field is missing"},
    {"82 a4 'type' ad 'AllocResponse' " ALREADY_NONE, "a field is missing"},
    {"82 a4 'type' ab 'CancelNotif' " ID "a1 '7'", "a field is missing"},
    {"82 a4 'type' aa 'L2fsCommit' a3 'seq' 01", "a field is missing"},
    /* str */
    {"82 " NOTIF ID "c0", FIELD_WHY},
    {"82 " NOTIF ID "07", FIELD_WHY},
    {"82 " NOTIF ID "c4 01 '7'", FIELD_WHY},
    {"82 " NOTIF ID "c2", FIELD_WHY},
    {"82 " NOTIF ID "91 a1 '7'", FIELD_WHY},
    {"83 " NOTIF ID "07 " ID "a1 '7'", FIELD_WHY},
    {"82 " NOTIF ID "a2 '7' 00", "a string has a zero byte"},
    /* bytes */
    {"82 a4 'type' af 'NixlInitRequest' b0 'local_meta_bytes' a1 'x'", FIELD_WHY},
    {"82 a4 'type' af 'NixlInitRequest' b0 'local_meta_bytes' c0", FIELD_WHY},
    {"82 a4 'type' af 'NixlInitRequest' b0 'local_meta_bytes' d4 00 00", FIELD_WHY},
    /* lists */
    {"82 " QUERY "a4 'keys' a1 'a'", FIELD_WHY},
    {"82 " QUERY "a4 'keys' c0", FIELD_WHY},
    {"82 " QUERY "a4 'keys' 81 a1 'a' a1 'b'", FIELD_WHY},
    {"82 " QUERY "a4 'keys' 92 a1 'a' 01", FIELD_WHY},
    {"82 " QUERY "a4 'keys' 91 91 a1 'a'", FIELD_WHY},
    {"82 " QUERY "a4 'keys' 91 a3 'a' 00 'b'", "a string has a zero byte"},
    {"82 " REPLY "05", FIELD_WHY},
    {"82 " REPLY "92 01 a1 '1'", FIELD_WHY},
    {"82 " REPLY "91 cb 3f f0 00 00 00 00 00 00", FIELD_WHY},
    {"82 " REPLY "91 c3", FIELD_WHY},
    {"82 " REPLY "91 c0", FIELD_WHY},
    /* int and bool */
    {"87 " ALLOC_SYNC "ac 'total_chunks' ca 3f 80 00 00", FIELD_WHY},
    {"87 " ALLOC_SYNC "ac 'total_chunks' c3", FIELD_WHY},
    {"87 " ALLOC_SYNC "ac 'total_chunks' a1 '1'", FIELD_WHY},
    {"87 " ALLOC_SYNC "ac 'total_chunks' c0", FIELD_WHY},
    {"87 " ALLOC_SYNC "ad 'is_last_batch' 01", FIELD_WHY},
    {"87 " ALLOC_SYNC "ad 'is_last_batch' c0", FIELD_WHY},
    {"87 " ALLOC_SYNC "ac 'total_chunks' cf ff ff ff ff ff ff ff ff", RANGE_WHY},
    {"83 " REPLY "90 a8 'l2fs_seq' ff", RANGE_WHY},
    {"83 " REPLY "90 a9 'l2fs_tags' 91 ff", RANGE_WHY},
    {"83 " REPLY "90 aa 'l2fs_error' ff", RANGE_WHY},
    {"83 " REPLY "90 aa 'l2fs_error' cd 10 00", RANGE_WHY},
    {"83 " REPLY "90 ad 'l2fs_lease_ms' ff", RANGE_WHY},
    {"84 a4 'type' aa 'L2fsCommit' a3 'seq' 01 a8 'alloc_id' 01 a4 'crcs' 91 cf 00 00 00 01 00 00 "
     "00 00",
     RANGE_WHY},
    /* our limits */
    {"83 " NOTIF "a4 'deep' " TEN("91 ") "91 91 91 91 91 91 c0 " ID "a1 '7'", "nested too deeply"},
    {TEN(TEN("91 ")), "nested too deeply"},
    {"82 " QUERY "a4 'keys' dd ff ff ff ff a1 'a'", "cut short"},
    {"df ff ff ff ff " QUERY "a4 'keys' 90", "cut short"},
    {"df 80 00 00 01 " QUERY "a4 'keys' 90", "cut short"},
    {"82 " QUERY "a4 'keys' 91 db ff ff ff ff 'a'", "cut short"},
    {"82 " NOTIF ID "c6 ff ff ff ff 'a'", "cut short"},
    {"82 " NOTIF ID "c9 ff ff ff ff 'a'", "cut short"},
    {"82 " NOTIF ID "d8 00", "cut short"},
};

START_TEST(refuses)
{
    uint8_t bytes[HEX_MAX];

    assert_refused(bytes, pd_unhex(refused[_i].hex, bytes, HEX_MAX), refused[_i].why);
}
END_TEST

static const char *const lists[] = {
    "aa 'l2fs_sizes' ", "a9 'l2fs_crcs' ", "aa 'l2fs_modes' ",
    "a9 'l2fs_uids' ",  "a9 'l2fs_gids' ", "ab 'l2fs_mtimes' ",
};

static void check_lists(const char *count, const char *const entries[], bool good)
{
    char hex[HEX_MAX];
    uint8_t bytes[HEX_MAX];
    size_t len;

    strcpy(hex, count);
    strcat(hex, ALLOC_SYNC);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        if (entries[i]) {
            strcat(hex, lists[i]);
            strcat(hex, entries[i]);
        }
    }
    len = pd_unhex(hex, bytes, HEX_MAX);
    if (good)
        assert_taken(bytes, len);
    else
        assert_refused(bytes, len, "lists differ in length");
}

/* One key: each list of an l2fs sender must have one entry. */
START_TEST(lists_of_one_length)
{
    const char *entries[] = {"91 01 ", "91 01 ", "91 01 ", "91 01 ", "91 01 ", "91 01 "};

    check_lists("8c ", entries, true);
    entries[_i] = "92 01 01 ";
    check_lists("8c ", entries, false);
    entries[_i] = "90 ";
    check_lists("8c ", entries, false);
    entries[_i] = NULL;
    check_lists("8b ", entries, false);
    memset(entries, 0, sizeof entries);
    check_lists("86 ", entries, true);
    entries[_i] = "91 01 ";
    check_lists("87 ", entries, false);
}
END_TEST

START_TEST(cached_lists_of_one_length)
{
    uint8_t bytes[HEX_MAX];

    assert_refused(bytes,
                   pd_unhex("83 a4 'type' b2 'CacheQueryResponse' ab 'cached_keys' 91 a1 'a' "
                            "ae 'cached_indexes' 90",
                            bytes, HEX_MAX),
                   "lists differ in length");
}
END_TEST

/* Every message cut at every length, with a byte too many, and with every bit flipped. */
static void spoil(const struct pd_vector *v)
{
    uint8_t bytes[HEX_MAX];
    size_t len = pd_unhex(v->hex, bytes, HEX_MAX);
    struct pd_message *m;
    const char *why;

    for (size_t i = 1; i < len; i++)
        assert_refused(bytes, i, "cut short");
    bytes[len] = 0;
    assert_refused(bytes, len + 1, "bytes after the message");
    for (size_t i = 0; i < len * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert_int_ne(decode(bytes, len, &m, &why), -ENOMEM);
        pd_message_free(m);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

START_TEST(spoiled)
{
    spoil(&pd_vectors[_i]);
}
END_TEST

START_TEST(spoiled_ours)
{
    spoil(&pd_own_vectors[_i]);
}
END_TEST

/* prefix, then `n` times `unit`. */
static void build(struct text *t, const char *prefix, const char *unit, size_t n)
{
    uint8_t bytes[HEX_MAX];
    size_t len = pd_unhex(prefix, bytes, HEX_MAX);

    text_append(t, (const char *)bytes, len);
    len = pd_unhex(unit, bytes, HEX_MAX);
    for (size_t i = 0; i < n; i++)
        text_append(t, (const char *)bytes, len);
    ck_assert(!t->failed);
}

static const struct {
    const char *prefix, *unit;
    size_t n;
    const char *why; /* NULL: taken */
} limits[] = {
    {"82 " QUERY "a4 'keys' dd 00 01 00 00", "a1 'k'", PD_KEYS_MAX, NULL},
    {"82 " QUERY "a4 'keys' dd 00 01 00 01", "a1 'k'", PD_KEYS_MAX + 1, "a list is too long"},
    {"82 " REPLY "dd 00 01 00 01", "01", PD_KEYS_MAX + 1, "a list is too long"},
    {"82 " NOTIF ID "da ff ff", "'k'", PD_STRING_MAX, NULL},
    {"82 " NOTIF ID "db 00 01 00 00", "'k'", PD_STRING_MAX + 1, "a string is too long"},
    {"82 a4 'type' af 'NixlInitRequest' b0 'local_meta_bytes' c6 00 10 00 00", "00", 1 << 20, NULL},
    {"dd 00 10 00 00", "01", PD_ITEMS_MAX, "too many values"},
    {"dd 00 0f ff ff", "01", PD_ITEMS_MAX - 1, "not a map"},
    {"83 " NOTIF ID "a0 a1 'x' dd 00 10 00 00", "01", PD_ITEMS_MAX, "too many values"},
    {"", "91", 1 << 20, "nested too deeply"},
    {"", "df 00 00 00 01", 1 << 19, "nested too deeply"},
    {"db 00 3f ff fb", "'k'", PD_MESSAGE_MAX - 5, "not a map"},
    {"db 00 3f ff fc", "'k'", PD_MESSAGE_MAX - 4, "longer than a message may be"},
};

START_TEST(limit)
{
    struct text t = {0};

    build(&t, limits[_i].prefix, limits[_i].unit, limits[_i].n);
    if (limits[_i].why)
        assert_refused(t.data, t.len, limits[_i].why);
    else
        assert_taken(t.data, t.len);
    text_fini(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_strict");

    suite_add_loop(s, "taken", TESTS(takes), ARRAY_SIZE(taken));
    suite_add_loop(s, "forms", TESTS(takes_other_forms), ARRAY_SIZE(more_taken));
    suite_add(s, "twice", TESTS(last_list_wins, cached_lists_of_one_length));
    suite_add_loop(s, "refused", TESTS(refuses), ARRAY_SIZE(refused));
    suite_add_loop(s, "counts", TESTS(lists_of_one_length), ARRAY_SIZE(lists));
    suite_add_loop(s, "spoiled", TESTS(spoiled), pd_vectors_count);
    suite_add_loop(s, "spoiled_ours", TESTS(spoiled_ours), pd_own_vectors_count);
    suite_add_loop(s, "limits", TESTS(limit), ARRAY_SIZE(limits));
    return suite_run(s);
}
