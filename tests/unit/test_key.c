/* test_key.c - object keys to file and wire names and back, against the facts of LMCache's
 * encodings. Paths are in test_key_path.c. */
#include "key.h"

#include <stdio.h>

#include "suite.h"

#define HASH32 "83e44f0b00112233445566778899aabbccddeeff00112233445566778899aabb"

/* LMCache's test key: a 4-byte big-endian integer as hash. */
static struct object_key int_key(uint32_t n)
{
    struct object_key k = {.model = "test_model", .hash_len = 4};

    for (size_t i = 0; i < 4; i++)
        k.hash[i] = (uint8_t)(n >> (24 - 8 * i));
    return k;
}

static void assert_round_trip(const struct object_key *k)
{
    struct object_key back;
    char text[4096];

    ck_assert_int_eq(object_key_to_wire(k, text, sizeof text), 0);
    ck_assert_int_eq(object_key_from_wire(text, &back), 0);
    ck_assert(object_key_equal(k, &back));
    if (object_key_to_file(k, text, sizeof text))
        return;
    ck_assert_int_eq(key_check(text, false), 0);
    ck_assert_int_eq(object_key_from_file(text, &back), 0);
    ck_assert(object_key_equal(k, &back));
}

START_TEST(rank_packing)
{
    ck_assert_uint_eq(kv_rank_pack(1, 0, 1, 0), 0x01000100);
    ck_assert_uint_eq(kv_rank_pack(255, 254, 253, 252), 0xfffefdfc);
    ck_assert_uint_eq(kv_rank_pack(0, 0, 0, 0), 0);
}
END_TEST

START_TEST(names_as_lmcache_writes_them)
{
    struct object_key k = int_key(0x83e44f0b);
    char text[300];

    strcpy(k.model, "Qwen/Qwen3-8B");
    k.kv_rank = kv_rank_pack(1, 0, 1, 0);
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), 0);
    ck_assert_str_eq(text, "Qwen-SEP-Qwen3-8B@0x01000100@0@83e44f0b.data");
    ck_assert_int_eq(object_key_to_wire(&k, text, sizeof text), 0);
    ck_assert_str_eq(text, "Qwen/Qwen3-8B@01000100@0@83e44f0b");
    k.group = 0x1f;
    strcpy(k.salt, "alice");
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), 0);
    ck_assert_str_eq(text, "Qwen-SEP-Qwen3-8B@0x01000100@1f@83e44f0b@alice.data");
    ck_assert_int_eq(object_key_to_wire(&k, text, sizeof text), 0);
    ck_assert_str_eq(text, "Qwen/Qwen3-8B@01000100@1f@83e44f0b@alice");
    assert_round_trip(&k);
}
END_TEST

START_TEST(every_hash_length)
{
    for (size_t n = 1; n <= 64; n++) {
        struct object_key k = int_key(0);

        k.hash_len = n;
        for (size_t i = 0; i < n; i++)
            k.hash[i] = (uint8_t)(i * 37 + n);
        assert_round_trip(&k);
    }
}
END_TEST

START_TEST(extreme_numbers)
{
    struct object_key k = int_key(UINT32_MAX);

    k.kv_rank = UINT32_MAX;
    k.group = UINT32_MAX;
    assert_round_trip(&k);
    k.kv_rank = 0;
    k.group = 0;
    assert_round_trip(&k);
}
END_TEST

START_TEST(absolute_model_path)
{
    const char *name = "-SEP-data-medium-SEP-models-SEP-llama@0x02010201@0@00000001.data";
    struct object_key k;
    char text[300];

    ck_assert_int_eq(object_key_from_file(name, &k), 0);
    ck_assert_str_eq(k.model, "/data-medium/models/llama");
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), 0);
    ck_assert_str_eq(text, name);
    assert_round_trip(&k);
}
END_TEST

/* As in LMCache, a literal "-SEP-" in a model comes back as '/' from a file name, not from the wire
 * form. The name itself is stable. */
START_TEST(literal_sep_in_model)
{
    struct object_key k = int_key(1), back;
    char text[300], again[300];

    strcpy(k.model, "a-SEP-b");
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), 0);
    ck_assert_int_eq(object_key_from_file(text, &back), 0);
    ck_assert_str_eq(back.model, "a/b");
    ck_assert_int_eq(object_key_to_file(&back, again, sizeof again), 0);
    ck_assert_str_eq(text, again);
    ck_assert_int_eq(object_key_to_wire(&k, text, sizeof text), 0);
    ck_assert_int_eq(object_key_from_wire(text, &back), 0);
    ck_assert_str_eq(back.model, "a-SEP-b");
}
END_TEST

START_TEST(overlapping_sep_reads_from_the_left)
{
    struct object_key k;

    ck_assert_int_eq(object_key_from_file("-SEP-SEP-@0x00000000@0@01.data", &k), 0);
    ck_assert_str_eq(k.model, "/SEP-");
    ck_assert_int_eq(object_key_from_file("-SEP@0x00000000@0@01.data", &k), 0);
    ck_assert_str_eq(k.model, "-SEP");
}
END_TEST

START_TEST(suffix_inside_the_name)
{
    struct object_key k = int_key(1);

    strcpy(k.model, "m.data");
    strcpy(k.salt, "s.data");
    assert_round_trip(&k);
}
END_TEST

/* --- invariants --- */

START_TEST(model_with_at)
{
    struct object_key k = int_key(1);
    char text[300] = "untouched";

    strcpy(k.model, "org@model");
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), -EINVAL);
    ck_assert_int_eq(object_key_to_wire(&k, text, sizeof text), -EINVAL);
    ck_assert_str_eq(text, "untouched");
}
END_TEST

START_TEST(model_unterminated)
{
    struct object_key k = int_key(1);

    memset(k.model, 'm', sizeof k.model);
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
    k.model[sizeof k.model - 1] = '\0';
    assert_round_trip(&k);
}
END_TEST

START_TEST(hash_length_limits)
{
    struct object_key k = int_key(1);

    k.hash_len = 0;
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
    k.hash_len = sizeof k.hash + 1;
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
    k.hash_len = sizeof k.hash;
    ck_assert_int_eq(object_key_check(&k), 0);
}
END_TEST

static const char *const bad_salts[] = {"a@b", "a/b", "a\\b", "@", "/"};

START_TEST(salt_bytes)
{
    struct object_key k = int_key(1);

    strcpy(k.salt, bad_salts[_i]);
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
}
END_TEST

/* The limit is 128 characters, whatever they take in UTF-8. */
START_TEST(salt_length)
{
    struct object_key k = int_key(1);

    memset(k.salt, 's', KEY_SALT_MAX);
    assert_round_trip(&k);
    k.salt[KEY_SALT_MAX] = 's';
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
    k.salt[0] = '\0';
    for (size_t i = 0; i < KEY_SALT_MAX; i++)
        memcpy(k.salt + 4 * i, "\xf0\x9f\x94\x91", 5);
    ck_assert_int_eq(object_key_check(&k), 0);
    assert_round_trip(&k);
    memset(k.salt, 's', sizeof k.salt);
    ck_assert_int_eq(object_key_check(&k), -EINVAL);
}
END_TEST

/* --- lengths --- */

START_TEST(file_name_at_name_max)
{
    struct object_key k = int_key(1);
    size_t rest = strlen("@0x00000000@0@00000001.data");
    char text[1024] = "untouched";

    memset(k.model, 'm', KEY_NAME_MAX - rest);
    k.model[KEY_NAME_MAX - rest] = '\0';
    ck_assert_int_eq(object_key_to_file(&k, text, KEY_NAME_MAX), -ENAMETOOLONG);
    ck_assert_str_eq(text, "untouched");
    ck_assert_int_eq(object_key_to_file(&k, text, KEY_NAME_MAX + 1), 0);
    ck_assert_uint_eq(strlen(text), KEY_NAME_MAX);
    assert_round_trip(&k);
    strcat(k.model, "m");
    strcpy(text, "untouched");
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), -ENAMETOOLONG);
    ck_assert_str_eq(text, "untouched");
    ck_assert_int_eq(object_key_to_wire(&k, text, sizeof text), 0);
}
END_TEST

/* Slashes take five bytes each in a file name: a path that fits on the wire may not fit as a file.
 */
START_TEST(long_path_with_salt)
{
    struct object_key k = int_key(1);
    char text[1024];

    k.hash_len = 32;
    for (int i = 0; i < 12; i++)
        strcat(k.model, "/models");
    memset(k.salt, 'f', 64);
    ck_assert_int_eq(object_key_to_file(&k, text, sizeof text), -ENAMETOOLONG);
    assert_round_trip(&k);
}
END_TEST

START_TEST(wire_buffer)
{
    struct object_key k = int_key(1);
    const char *expected = "test_model@00000000@0@00000001";
    char text[64] = "untouched";

    for (size_t len = 0; len <= strlen(expected); len++) {
        ck_assert_int_eq(object_key_to_wire(&k, text, len), -ENAMETOOLONG);
        ck_assert_str_eq(text, "untouched");
    }
    ck_assert_int_eq(object_key_to_wire(&k, text, strlen(expected) + 1), 0);
    ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(name_longer_than_a_file_name)
{
    struct object_key k;
    char name[KEY_NAME_MAX + 2];

    memset(name, 'm', sizeof name);
    memcpy(name + sizeof name - 24, "@0x00000000@0@00aa.data", 24);
    ck_assert_int_eq(object_key_from_file(name, &k), -EINVAL);
    ck_assert_int_eq(object_key_from_file(name + 1, &k), 0);
}
END_TEST

/* --- decoding --- */

START_TEST(legacy_three_fields)
{
    struct object_key k, modern;

    ck_assert_int_eq(object_key_from_file("Qwen-SEP-Q@0x01000100@" HASH32 ".data", &k), 0);
    ck_assert_str_eq(k.model, "Qwen/Q");
    ck_assert_uint_eq(k.group, 0);
    ck_assert_uint_eq(k.hash_len, 32);
    ck_assert_str_eq(k.salt, "");
    ck_assert_int_eq(object_key_from_file("Qwen-SEP-Q@0x01000100@0@" HASH32 ".data", &modern), 0);
    ck_assert(object_key_equal(&k, &modern));
}
END_TEST

START_TEST(legacy_with_salt)
{
    struct object_key k;

    ck_assert_int_eq(object_key_from_file("m@0x01000100@" HASH32 "@alice.data", &k), 0);
    ck_assert_uint_eq(k.group, 0);
    ck_assert_uint_eq(k.hash_len, 32);
    ck_assert_str_eq(k.salt, "alice");
}
END_TEST

/* With a short hash the third field may be a group: then it is one. */
START_TEST(four_fields_are_modern_when_they_can_be)
{
    struct object_key k;

    ck_assert_int_eq(object_key_from_file("m@0x01000100@10@abcd.data", &k), 0);
    ck_assert_uint_eq(k.group, 0x10);
    ck_assert_int_eq(object_key_from_file("m@0x01000100@10@salt.data", &k), -EINVAL);
}
END_TEST

static const char *const bad_files[] = {
    "",
    ".data",
    "plain.data",
    "m@0x00000000.data",
    "m@0x00000000@0@01", /* no suffix */
    "m@0x00000000@0@01.DATA",
    "m@0x00000000@0@01.data.tmp",
    "m@0x00000000@0@01@s@t.data", /* six fields */
    "m@0x00000000@0@01@.data",    /* empty salt */
    "m@0x00000000@0@01@a\\b.data",
    "m@0x00000000@0@.data",   /* no hash */
    "m@0x00000000@0@0.data",  /* half a byte */
    "m@0x00000000@0@zz.data", /* bad hex */
    "m@0x00000000@0@0g.data",
    "m@0x00000000@0@AB.data",
    "m@0x00000000@0@ 1.data",
    "m@0x00000000@@01.data", /* group */
    "m@0x00000000@g@01.data",
    "m@0x00000000@-1@01.data",
    "m@0x00000000@00@01.data",
    "m@0x00000000@0x1@01.data",
    "m@0x00000000@123456789@01.data",
    "m@00000000@0@01.data", /* rank */
    "m@0x0000000@0@01.data",
    "m@0x000000000@0@01.data",
    "m@0x0000000g@0@01.data",
    "m@0X00000000@0@01.data",
    "m@@0@01.data",
    "a/m@0x00000000@0@01.data", /* a path, not a name */
    "m@0x00000000@" HASH32 "g.data",
    "m@0x00000000@0@" HASH32 HASH32 "00.data", /* 65 bytes */
};

START_TEST(file_refuses)
{
    struct object_key k = int_key(5), before = k;

    ck_assert_int_eq(object_key_from_file(bad_files[_i], &k), -EINVAL);
    ck_assert_mem_eq(&k, &before, sizeof k);
}
END_TEST

static const char *const bad_wires[] = {
    "",
    "m",
    "m@00000000",
    "m@00000000@01", /* the wire form has no legacy */
    "m@00000000@" HASH32,
    "m@00000000@" HASH32 "@s",
    "m@0x00000000@0@01", /* that is the file form */
    "m@00000000@0@01.data",
    "m@00000000@0@01@s@t",
    "prefix@m@00000000@0@01@s", /* a key prefix is cut by whoever set it */
    "m@00000000@0@01@a/b",
    "m@00000000@0@0",
    "m@00000000@0@XY",
};

START_TEST(wire_refuses)
{
    struct object_key k = int_key(5), before = k;

    ck_assert_int_eq(object_key_from_wire(bad_wires[_i], &k), -EINVAL);
    ck_assert_mem_eq(&k, &before, sizeof k);
}
END_TEST

START_TEST(wire_model_too_long)
{
    char text[KEY_MODEL_MAX + 64];
    struct object_key k;

    memset(text, 'm', sizeof text);
    strcpy(text + KEY_MODEL_MAX - 1, "@00000000@0@01");
    ck_assert_int_eq(object_key_from_wire(text, &k), 0);
    memset(text, 'm', sizeof text);
    strcpy(text + KEY_MODEL_MAX, "@00000000@0@01");
    ck_assert_int_eq(object_key_from_wire(text, &k), -EINVAL);
}
END_TEST

START_TEST(equality_sees_every_field)
{
    struct object_key a = int_key(1), b = a;

    ck_assert(object_key_equal(&a, &b));
    b.hash[3] ^= 1;
    ck_assert(!object_key_equal(&a, &b));
    b = a;
    b.hash_len = 3;
    ck_assert(!object_key_equal(&a, &b));
    b = a;
    b.kv_rank = 1;
    ck_assert(!object_key_equal(&a, &b));
    b = a;
    b.group = 1;
    ck_assert(!object_key_equal(&a, &b));
    b = a;
    strcpy(b.model, "other");
    ck_assert(!object_key_equal(&a, &b));
    b = a;
    strcpy(b.salt, "s");
    ck_assert(!object_key_equal(&a, &b));
    b = a;
    b.hash[5] = 1; /* beyond hash_len */
    ck_assert(object_key_equal(&a, &b));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("key");

    suite_add(s, "names",
              TESTS(rank_packing, names_as_lmcache_writes_them, every_hash_length, extreme_numbers,
                    absolute_model_path, literal_sep_in_model, overlapping_sep_reads_from_the_left,
                    suffix_inside_the_name));
    suite_add(s, "invariants",
              TESTS(model_with_at, model_unterminated, hash_length_limits, salt_length,
                    equality_sees_every_field));
    suite_add_loop(s, "salts", TESTS(salt_bytes), ARRAY_SIZE(bad_salts));
    suite_add(s, "lengths",
              TESTS(file_name_at_name_max, long_path_with_salt, wire_buffer,
                    name_longer_than_a_file_name, wire_model_too_long));
    suite_add(
        s, "legacy",
        TESTS(legacy_three_fields, legacy_with_salt, four_fields_are_modern_when_they_can_be));
    suite_add_loop(s, "file_refuses", TESTS(file_refuses), ARRAY_SIZE(bad_files));
    suite_add_loop(s, "wire_refuses", TESTS(wire_refuses), ARRAY_SIZE(bad_wires));
    return suite_run(s);
}
