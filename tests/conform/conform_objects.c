/* conform_objects.c - what is stored comes back, whole and under its own name, or not at all. */
#include "conform.h"

#include <fcntl.h>
#include <stdio.h>

#include "checksum.h"

static void store_and_check(const char *key, size_t size, uint64_t seed)
{
    uint64_t found_size;
    int err = rig_store(&rig, key, size, seed);

    ck_assert_msg(!err, "store %s: %s", key, strerror(-err));
    if (conform_discards())
        return;
    ck_assert_msg(rig_lookup(&rig, key, &found_size), "%s is not found", key);
    rig_unlock(&rig, key);
    ck_assert_uint_eq(found_size, size);
    rig_check(&rig, key, size, seed);
}

START_TEST(sizes_around_the_edges)
{
    static const size_t sizes[] = {0,    1,    511,  512,     513,          4095,
                                   4096, 4097, 8192, 1 << 20, (1 << 20) + 1};

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char key[32];

        snprintf(key, sizeof(key), "size/%zu", sizes[i]);
        store_and_check(key, sizes[i], i);
    }
}
END_TEST

START_TEST(large_object)
{
    store_and_check("large", 64 << 20, 9);
}
END_TEST

START_TEST(keys_with_odd_bytes)
{
    static const char *const keys[] = {
        "with space",
        "-dash",
        ".hidden",
        "..twodots",
        "new\nline",
        "tab\there",
        "quote\"'`$",
        "back\\slash",
        "per%cent",
        "\x01\x02\x7f",
        "latin\xe9",
        "broken\xff\xfeutf8",
        "k\xc3\xb6nig\xe2\x82\xac",
        "a@0x00000001@0@00ff@salt.data",
        "x.tmp",
        "#hash",
        "~tilde~",
        "CON",
        "star*?[a]",
        "a:b,c;d=e",
    };

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        store_and_check(keys[i], 100 + i, i);
    for (size_t i = 0; i < ARRAY_SIZE(keys) && !conform_discards(); i++)
        rig_check(&rig, keys[i], 100 + i, i);
}
END_TEST

START_TEST(every_byte_in_a_name)
{
    for (int c = 1; c < 256; c++) {
        char key[] = "x?y";

        key[1] = (char)c;
        if (c != '/')
            store_and_check(key, 10, (uint64_t)c);
    }
}
END_TEST

START_TEST(long_and_nested_keys)
{
    char name[256], path[1024] = "";

    memset(name, 'n', 255);
    name[255] = '\0';
    store_and_check(name, 100, 1);
    for (int i = 0; i < 20; i++)
        strcat(path, "deep/er and/");
    strcat(path, "leaf");
    store_and_check(path, 100, 2);
    store_and_check("deep/er and/leaf", 100, 3);
    store_and_check("deep/leaf", 100, 4);
}
END_TEST

START_TEST(same_name_in_many_directories)
{
    static const char *const keys[] = {"same", "a/same", "a/b/same", "b/same"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        store_and_check(keys[i], 64, i);
    for (size_t i = 0; i < ARRAY_SIZE(keys) && !conform_discards(); i++)
        rig_check(&rig, keys[i], 64, i);
}
END_TEST

/* --- replacing --- */

START_TEST(same_bytes_again_write_nothing)
{
    struct l2_buf buf = rig_buf(&rig, 5000, 1);
    uint64_t bytes;

    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, conform_writes() ? 5000 : 0);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, 0);
    if (!conform_discards())
        rig_check(&rig, "k", 5000, 1);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(different_bytes_replace)
{
    struct l2_buf buf = rig_buf(&rig, 5000, 1);
    uint64_t bytes;

    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    rig_buf_refill(&buf, 2);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, conform_writes() ? 5000 : 0);
    if (!conform_discards())
        rig_check(&rig, "k", 5000, 2);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(other_sizes_replace)
{
    store_and_check("k", 5000, 1);
    store_and_check("k", 70000, 1);
    store_and_check("k", 1, 1);
    store_and_check("k", 0, 1);
    store_and_check("k", 5000, 1);
}
END_TEST

START_TEST(a_removed_key_can_be_stored_again)
{
    store_and_check("k", 5000, 1);
    ck_assert_int_eq(rig_remove(&rig, "k", NULL), 0);
    ck_assert(!rig_has(&rig, "k"));
    store_and_check("k", 5000, 1);
}
END_TEST

/* Loads beside stores of the same key give the old or the new object. */
START_TEST(loads_beside_stores_are_whole)
{
    enum { SIZE = 100000, ROUNDS = 30 };
    struct l2_buf bufs[2] = {rig_buf(&rig, SIZE, 0), rig_buf(&rig, SIZE, 1)};
    const char *key = "k";

    ck_assert_int_eq(rig_store_buf(&rig, key, &bufs[0], NULL), 0);
    for (int i = 1; i < ROUNDS; i++) {
        l2_task store = rig_submit_store(&rig, &key, &bufs[i % 2], 1);
        struct l2_store_result r;
        struct l2_object o;
        int err = rig_load(&rig, key, &o);

        ck_assert_int_eq(err, conform_discards() ? -ENOENT : 0);
        if (!err) {
            ck_assert(o.crc32c == bufs[0].crc32c || o.crc32c == bufs[1].crc32c);
            rig_check_object(&rig, &o, SIZE, o.crc32c == bufs[1].crc32c);
            rig_object_drop(&rig, &o);
        }
        rig_wait_store(&rig, store, &r);
        ck_assert_int_eq(r.errors[0], 0);
        l2_store_result_fini(&r);
    }
    rig_buf_close(&bufs[0]);
    rig_buf_close(&bufs[1]);
}
END_TEST

/* --- unstable buffers --- */

START_TEST(unstable_buffers_get_the_right_checksum)
{
    static const size_t sizes[] = {0, 1, 4096, 300001};

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct l2_buf buf = rig_buf(&rig, sizes[i], i);
        uint32_t right = buf.crc32c;
        const char *key = "u";
        struct l2_store_result r;

        buf.stable = false;
        buf.crc32c = ~right;
        rig_wait_store(&rig, rig_submit_store(&rig, &key, &buf, 1), &r);
        ck_assert_int_eq(r.errors[0], 0);
        ck_assert_uint_eq(r.crc32c[0], right);
        l2_store_result_fini(&r);
        rig_buf_close(&buf);
        if (!conform_discards())
            rig_check(&rig, "u", sizes[i], i);
    }
}
END_TEST

/* A writer goes on writing while the store runs: what is stored is what is checksummed. */
START_TEST(buffers_that_change_during_the_store)
{
    enum { SIZE = 4 << 20 };
    struct l2_buf buf = rig_buf(&rig, SIZE, 0);
    const char *key = "u";
    struct l2_store_result r;
    struct l2_object o;
    uint32_t crc;
    int fd;

    buf.stable = false;
    for (uint64_t round = 1; round < 8; round++) {
        l2_task task = rig_submit_store(&rig, &key, &buf, 1);

        rig_buf_refill(&buf, round);
        rig_wait_store(&rig, task, &r);
        ck_assert_int_eq(r.errors[0], 0);
        if (!conform_discards()) {
            ck_assert_int_eq(rig_load(&rig, key, &o), 0);
            ck_assert_uint_eq(o.crc32c, r.crc32c[0]);
            ck_assert_int_eq(staging_get(rig.staging, o.staging_id, O_RDONLY, &fd), 0);
            ck_assert_int_eq(checksum_file(fd, SIZE, &crc), 0);
            ck_assert_uint_eq(crc, o.crc32c);
            close(fd);
            rig_object_drop(&rig, &o);
        }
        l2_store_result_fini(&r);
    }
    rig_buf_close(&buf);
}
END_TEST

/* --- failures --- */

/* The same file, but a descriptor that cannot be read. */
static void make_unreadable(struct l2_buf *buf)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", buf->fd);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(dup3(fd, buf->fd, O_CLOEXEC), buf->fd);
    close(fd);
}

START_TEST(a_failed_key_leaves_the_others)
{
    static const char *const keys[] = {"a", "bad", "c"};
    struct l2_buf bufs[3];
    struct l2_store_result r;

    for (size_t i = 0; i < 3; i++)
        bufs[i] = rig_buf(&rig, 1000, i);
    make_unreadable(&bufs[1]);
    rig_wait_store(&rig, rig_submit_store(&rig, keys, bufs, 3), &r);
    ck_assert_int_eq(r.errors[0], 0);
    ck_assert((r.errors[1] == 0) == !conform_writes());
    ck_assert_int_eq(r.errors[2], 0);
    l2_store_result_fini(&r);
    ck_assert(!rig_has(&rig, "bad"));
    for (size_t i = 0; i < 3; i++) {
        rig_buf_close(&bufs[i]);
        if (i != 1 && !conform_discards())
            rig_check(&rig, keys[i], 1000, i);
    }
}
END_TEST

static void expect_corrupt(struct rig *r, const char *key)
{
    struct l2_object o;

    ck_assert_int_eq(rig_load(r, key, &o), -EBADMSG);
    ck_assert_int_eq(rig_load(r, key, &o), -ENOENT); /* moved aside */
    ck_assert(!rig_has(r, key));
}

/* A bit flips on the way to the medium; the adapter was told the right checksum. */
START_TEST(corrupted_stores_are_never_delivered)
{
    struct text spec = {0};
    struct rig spoilt;

    text_printf(&spec,
                "{\"type\": \"fault\", \"inner\": %s, \"rules\": "
                "[{\"op\": \"store\", \"key\": \"bad*\", \"action\": \"corrupt\"}]}",
                conform_spec());
    rig_open(&spoilt, spec.data);
    text_fini(&spec);
    ck_assert_int_eq(rig_store(&spoilt, "good", 10000, 1), 0);
    /* A peer looks at what came, and there is nothing to have back. */
    ck_assert_int_eq(rig_store(&spoilt, "bad1", 10000, 2), conform->receiver ? -EBADMSG : 0);
    ck_assert_int_eq(rig_store(&spoilt, "bad2", 1, 3), conform->receiver ? -EBADMSG : 0);
    if (!conform_discards()) {
        rig_check(&spoilt, "good", 10000, 1);
        expect_corrupt(&spoilt, "bad1");
        expect_corrupt(&spoilt, "bad2");
        rig_check(&spoilt, "good", 10000, 1);
    }
    rig_close(&spoilt);
}
END_TEST

static void change_file(const char *key, bool cut)
{
    struct text path = {0};
    int fd;

    text_printf(&path, "%s/%s", rig.data_dir, key);
    fd = open(path.data, O_WRONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s: %s", path.data, strerror(errno));
    if (cut)
        ck_assert_int_eq(ftruncate(fd, 5000), 0);
    else
        ck_assert_int_eq(pwrite(fd, "!?", 2, 7000), 2);
    close(fd);
    text_fini(&path);
}

START_TEST(files_changed_on_disk_are_never_delivered)
{
    if (!conform->plain_files)
        return;
    for (int cut = 0; cut < 2; cut++) {
        struct l2_object o;
        int err;

        ck_assert_int_eq(rig_store(&rig, "dir/k", 10000, 1), 0);
        change_file("dir/k", cut);
        err = rig_load(&rig, "dir/k", &o);
        ck_assert_msg(err == -EBADMSG || err == -ENOENT, "load: %s", strerror(-err));
        ck_assert_int_eq(rig_load(&rig, "dir/k", &o), -ENOENT);
    }
    store_and_check("dir/k", 10000, 2);
}
END_TEST

void conform_add_objects(Suite *s)
{
    conform_add(s, "objects",
                TESTS(sizes_around_the_edges, large_object, keys_with_odd_bytes,
                      every_byte_in_a_name, long_and_nested_keys, same_name_in_many_directories));
    conform_add(s, "replacing",
                TESTS(same_bytes_again_write_nothing, different_bytes_replace, other_sizes_replace,
                      a_removed_key_can_be_stored_again, loads_beside_stores_are_whole));
    conform_add(
        s, "unstable buffers",
        TESTS(unstable_buffers_get_the_right_checksum, buffers_that_change_during_the_store));
    conform_add(s, "failures",
                TESTS(a_failed_key_leaves_the_others, corrupted_stores_are_never_delivered,
                      files_changed_on_disk_are_never_delivered));
}
