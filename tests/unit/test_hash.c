/* test_hash.c - growth, equal values, removal, iteration, and spread of the byte hash. */
#include "hash.h"

#include "list.h"
#include "suite.h"

#define MANY 10000

struct item {
    struct hash_node node;
    size_t id;
    int seen;
};

static struct hash table;
static struct item items[MANY];

static void setup(void)
{
    memset(items, 0, sizeof items);
    ck_assert_int_eq(hash_init(&table), 0);
}

static void teardown(void)
{
    hash_fini(&table);
}

static uint64_t value_of(size_t id)
{
    return hash_bytes(&id, sizeof id, 7);
}

static struct item *find(size_t id)
{
    struct hash_node *n;

    for (n = hash_first(&table, value_of(id)); n; n = hash_next(n)) {
        struct item *item = container_of(n, struct item, node);

        if (item->id == id)
            return item;
    }
    return NULL;
}

static void insert_many(void)
{
    for (size_t i = 0; i < MANY; i++) {
        items[i].id = i;
        hash_insert(&table, &items[i].node, value_of(i));
    }
}

START_TEST(empty_finds_nothing)
{
    ck_assert_ptr_null(hash_first(&table, 0));
    ck_assert_ptr_null(hash_first(&table, UINT64_MAX));
    ck_assert_uint_eq(table.count, 0);
}
END_TEST

START_TEST(grows_and_keeps_everything)
{
    size_t before = table.nbuckets;

    insert_many();
    ck_assert_uint_eq(table.count, MANY);
    ck_assert_uint_gt(table.nbuckets, before);
    ck_assert_uint_ge(table.nbuckets, MANY);
    ck_assert_uint_eq(table.nbuckets & (table.nbuckets - 1), 0);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_ptr_eq(find(i), &items[i]);
    ck_assert_ptr_null(find(MANY));
}
END_TEST

START_TEST(remove_takes_one)
{
    insert_many();
    for (size_t i = 0; i < MANY; i += 2)
        hash_remove(&table, &items[i].node);
    ck_assert_uint_eq(table.count, MANY / 2);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_ptr_eq(find(i), i % 2 ? &items[i] : NULL);
}
END_TEST

START_TEST(equal_values_repeat)
{
    size_t found = 0;

    for (size_t i = 0; i < 100; i++)
        hash_insert(&table, &items[i].node, 42);
    hash_insert(&table, &items[100].node, 43);
    hash_remove(&table, &items[50].node);
    for (struct hash_node *n = hash_first(&table, 42); n; n = hash_next(n)) {
        struct item *item = container_of(n, struct item, node);

        ck_assert_ptr_ne(item, &items[50]);
        ck_assert_int_eq(item->seen++, 0);
        found++;
    }
    ck_assert_uint_eq(found, 99);
}
END_TEST

static void see(struct hash_node *node, void *arg)
{
    size_t *n = arg;

    container_of(node, struct item, node)->seen++;
    (*n)++;
}

static void see_and_remove(struct hash_node *node, void *arg)
{
    see(node, arg);
    hash_remove(&table, node);
    memset(node, 0xee, sizeof *node); /* as if freed */
}

START_TEST(each_sees_all_once)
{
    size_t n = 0;

    insert_many();
    hash_each(&table, see, &n);
    ck_assert_uint_eq(n, MANY);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_int_eq(items[i].seen, 1);
}
END_TEST

START_TEST(each_may_remove)
{
    size_t n = 0;

    insert_many();
    hash_each(&table, see_and_remove, &n);
    ck_assert_uint_eq(n, MANY);
    ck_assert_uint_eq(table.count, 0);
    n = 0;
    hash_each(&table, see, &n);
    ck_assert_uint_eq(n, 0);
}
END_TEST

/* Sequential numbers and pointers must not all fall into few buckets. */
START_TEST(weak_values_spread)
{
    size_t used = 0;

    for (size_t i = 0; i < 1024; i++)
        hash_insert(&table, &items[i].node, (uint64_t)i << 12);
    for (size_t i = 0; i < table.nbuckets; i++)
        used += table.buckets[i] != NULL;
    ck_assert_uint_gt(used, table.nbuckets / 2);
}
END_TEST

START_TEST(bytes_depend_on_everything)
{
    const char text[] = "Qwen/Qwen3-8B@0x01000100@0@83e44f";
    uint64_t h = hash_bytes(text, sizeof text, 1);

    ck_assert_uint_eq(h, hash_bytes(text, sizeof text, 1));
    ck_assert_uint_ne(h, hash_bytes(text, sizeof text, 2));
    for (size_t i = 0; i < sizeof text; i++) {
        char changed[sizeof text];

        memcpy(changed, text, sizeof text);
        changed[i] ^= 1;
        ck_assert_uint_ne(h, hash_bytes(changed, sizeof text, 1));
        ck_assert_uint_ne(h, hash_bytes(text, i, 1));
    }
    ck_assert_uint_ne(hash_bytes("\0", 1, 0), hash_bytes("\0\0", 2, 0));
    ck_assert_uint_ne(hash_bytes("", 0, 0), hash_bytes("\0", 1, 0));
}
END_TEST

START_TEST(bytes_flip_half_of_the_bits)
{
    uint64_t x = 0, flipped = 0;

    for (unsigned b = 0; b < 64; b++) {
        uint64_t y = x ^ (UINT64_C(1) << b);

        flipped += (uint64_t)__builtin_popcountll(hash_bytes(&x, sizeof x, 0) ^
                                                  hash_bytes(&y, sizeof y, 0));
    }
    ck_assert_uint_gt(flipped / 64, 24);
    ck_assert_uint_lt(flipped / 64, 40);
}
END_TEST

/* --- list.h, which has no .c of its own --- */

START_TEST(list_order_and_splice)
{
    struct list a, b, n[4];

    list_init(&a);
    list_init(&b);
    for (size_t i = 0; i < 4; i++)
        list_init(&n[i]);
    list_push_back(&a, &n[1]);
    list_push_front(&a, &n[0]);
    list_push_back(&b, &n[2]);
    list_push_back(&b, &n[3]);
    list_splice(&a, &b);
    ck_assert(list_empty(&b));
    list_splice(&a, &b);
    list_remove(&n[2]);
    list_remove(&n[2]);
    ck_assert(!list_linked(&n[2]));
    ck_assert_ptr_eq(list_pop_front(&a), &n[0]);
    ck_assert_ptr_eq(list_pop_front(&a), &n[1]);
    ck_assert_ptr_eq(list_pop_front(&a), &n[3]);
    ck_assert_ptr_null(list_pop_front(&a));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("hash");
    TCase *tc = tcase_create("table");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, empty_finds_nothing);
    tcase_add_test(tc, grows_and_keeps_everything);
    tcase_add_test(tc, remove_takes_one);
    tcase_add_test(tc, equal_values_repeat);
    tcase_add_test(tc, each_sees_all_once);
    tcase_add_test(tc, each_may_remove);
    tcase_add_test(tc, weak_values_spread);
    suite_add_tcase(s, tc);
    suite_add(s, "bytes", TESTS(bytes_depend_on_everything, bytes_flip_half_of_the_bits));
    suite_add(s, "list", TESTS(list_order_and_splice));
    return suite_run(s);
}
