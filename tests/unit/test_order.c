/* test_order.c - LRU, FIFO, S3-FIFO and noop; rotation of what may not go; change of policy. */
#include "order.h"

#include <stdio.h>

#include "hash.h"
#include "suite.h"

#define NODES 4096
#define ALL SIZE_MAX

struct thing {
    struct order_node node;
    bool held; /* may not go */
};

static struct order order;
static struct thing things[NODES];

static void start(int policy)
{
    memset(things, 0, sizeof(things));
    for (size_t i = 0; i < NODES; i++)
        list_init(&things[i].node.link);
    order_init(&order, policy);
}

static uint64_t key_hash(size_t i)
{
    return hash_bytes(&i, sizeof(i), 0);
}

static void add(size_t i, uint64_t bytes)
{
    order_add(&order, &things[i].node, key_hash(i), bytes);
}

static void add_many(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        add(i, 1);
}

static void touch(size_t i)
{
    order_touch(&order, &things[i].node);
}

static size_t index_of(const struct order_node *node)
{
    return (size_t)(container_of(node, struct thing, node) - things);
}

static bool not_held(void *arg, struct order_node *node)
{
    size_t *asked = arg;

    if (asked)
        (*asked)++;
    return !container_of(node, struct thing, node)->held;
}

/* The index of the next that leaves, -1: none. */
static int pick(size_t scan)
{
    struct order_node *node = order_pick(&order, scan, not_held, NULL);

    return node ? (int)index_of(node) : -1;
}

static void assert_leave(const int *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(pick(ALL), expected[i]);
}
#define LEAVE(...)                                                                                 \
    assert_leave((const int[]){__VA_ARGS__}, ARRAY_SIZE(((const int[]){__VA_ARGS__})))

static void finish(void)
{
    for (size_t i = 0; i < NODES; i++)
        order_remove(&order, &things[i].node);
    ck_assert_uint_eq(order.count, 0);
    ck_assert_uint_eq(order.bytes, 0);
    ck_assert_uint_eq(order.small_bytes, 0);
    order_fini(&order);
}

/* --- one policy each --- */

START_TEST(lru)
{
    start(EVICT_LRU);
    add_many(0, 5);
    touch(0);
    touch(2);
    touch(9); /* not linked */
    LEAVE(1, 3, 4, 0, 2, -1);
    finish();
}
END_TEST

START_TEST(fifo)
{
    start(EVICT_FIFO);
    add_many(0, 4);
    touch(0);
    touch(1);
    LEAVE(0, 1, 2, 3, -1);
    finish();
}
END_TEST

START_TEST(noop_never_yields)
{
    start(EVICT_NOOP);
    add_many(0, 4);
    ck_assert_uint_eq(order_round(&order), 0);
    ck_assert_int_eq(pick(ALL), -1);
    ck_assert_uint_eq(order.count, 4);
    order_set_policy(&order, EVICT_LRU);
    LEAVE(0, 1, 2, 3, -1);
    finish();
}
END_TEST

START_TEST(one_hit_wonders_leave_first)
{
    start(EVICT_S3FIFO);
    add_many(0, 6);
    touch(1);
    touch(4);
    LEAVE(0, 2, 3, 5); /* 1 and 4 went to main on the way */
    LEAVE(1, 4, -1);
    finish();
}
END_TEST

START_TEST(used_in_main_goes_round)
{
    start(EVICT_S3FIFO);
    add_many(0, 4);
    for (size_t i = 0; i < 3; i++)
        touch(i);
    LEAVE(3); /* 0, 1, 2 are in main now, unused there */
    touch(0);
    touch(0);
    touch(1);
    LEAVE(2, 1, 0, -1);
    finish();
}
END_TEST

START_TEST(ghost_returns_to_main)
{
    start(EVICT_S3FIFO);
    add_many(0, 10);
    LEAVE(0, 1);
    add(0, 1); /* remembered: main */
    ck_assert_uint_eq(order.small_bytes, 8);
    order_remove(&order, &things[0].node);
    add(0, 1); /* forgotten by the return; removal is not an eviction */
    ck_assert_uint_eq(order.small_bytes, 9);
    order_remove(&order, &things[0].node);
    add(1, 1);
    add(0, 1);
    LEAVE(2, 3, 4, 5, 6, 7, 8, 9, 0, 1, -1);
    finish();
}
END_TEST

START_TEST(ghost_forgets)
{
    start(EVICT_S3FIFO);
    add_many(0, 2000);
    while (order.count > 100)
        ck_assert_int_ge(pick(ALL), 0);
    add(0, 1); /* left 1900 departures ago */
    ck_assert_uint_eq(order.small_bytes, 101);
    add(1890, 1); /* ten ago */
    ck_assert_uint_eq(order.small_bytes, 101);
    finish();
}
END_TEST

/* Nearly all of the last `count` departures are remembered, also of many. */
START_TEST(ghost_is_large_enough)
{
    size_t hits = 0;

    start(EVICT_S3FIFO);
    add_many(0, NODES);
    for (size_t i = 0; i < NODES / 2; i++)
        ck_assert_int_eq(pick(ALL), (int)i);
    for (size_t i = 0; i < NODES / 2; i++) {
        add(i, 1);
        hits += order.bytes - order.small_bytes == hits + 1;
    }
    ck_assert_uint_gt(hits, NODES / 2 * 9 / 10);
    finish();
}
END_TEST

START_TEST(weights_are_bytes)
{
    start(EVICT_S3FIFO);
    add(0, 1000);
    add(1, 200);
    touch(0);
    LEAVE(1);   /* 0 is in main */
    add(2, 50); /* small holds less than a tenth: main first */
    LEAVE(0);
    add(0, 1000);
    order_resize(&order, &things[2].node, 500);
    ck_assert_uint_eq(order.bytes, 1500);
    ck_assert_uint_eq(order.small_bytes, 1500);
    order_resize(&order, &things[7].node, 500); /* not linked */
    ck_assert_uint_eq(order.bytes, 1500);
    finish();
}
END_TEST

/* --- hit rates on a mixed trace: a hot set, and passes over keys that are used once --- */

#define CACHE 256
#define HOT 200

static unsigned request(size_t i)
{
    if (order_linked(&things[i].node)) {
        touch(i);
        return 1;
    }
    while (order.count >= CACHE)
        ck_assert_int_ge(pick(ALL), 0);
    add(i, 1);
    return 0;
}

static unsigned hot_hits(int policy)
{
    unsigned hits = 0;
    uint64_t random = 1;
    size_t next = HOT;

    start(policy);
    for (size_t round = 0; round < 200; round++) {
        for (size_t i = 0; i < HOT; i++) {
            random = hash_bytes(&random, sizeof(random), round);
            hits += request(random % HOT);
        }
        for (size_t i = 0; i < 2 * HOT; i++) {
            request(next);
            next = next + 1 < NODES ? next + 1 : HOT;
        }
    }
    finish();
    return hits;
}

START_TEST(a_scan_does_not_push_out_the_hot_set)
{
    unsigned lru_hits = hot_hits(EVICT_LRU), s3_hits = hot_hits(EVICT_S3FIFO);

    ck_assert_uint_gt(s3_hits, 200 * HOT * 8 / 10);
    ck_assert_uint_gt(s3_hits, lru_hits * 3 / 2);
}
END_TEST

/* --- passing over, steps --- */

START_TEST(passed_over_go_round)
{
    size_t asked = 0;

    start(EVICT_LRU);
    add_many(0, 100);
    for (size_t i = 0; i < 50; i++)
        things[i].held = true;
    ck_assert_ptr_null(order_pick(&order, 20, not_held, &asked));
    ck_assert_uint_eq(asked, 20);
    ck_assert_ptr_null(order_pick(&order, 20, not_held, &asked));
    ck_assert_ptr_nonnull(order_pick(&order, 20, not_held, &asked)); /* goes on at the 41st */
    ck_assert_uint_eq(asked, 51);
    asked = 0;
    ck_assert_ptr_nonnull(order_pick(&order, 20, not_held, &asked));
    ck_assert_uint_eq(asked, 1);
    finish();
}
END_TEST

/* A round without a result means that none may go; less does not. */
START_TEST(a_round_sees_all)
{
    static const int policies[] = {EVICT_LRU, EVICT_FIFO, EVICT_S3FIFO};

    for (size_t free_one = 0; free_one < 64; free_one++) {
        start(policies[_i]);
        add_many(0, 64);
        for (size_t i = 0; i < 64; i++) {
            things[i].held = i != free_one;
            for (size_t uses = 0; uses < i % 5; uses++)
                touch(i);
        }
        ck_assert_int_eq(pick(ALL), (int)free_one);
        ck_assert_int_eq(pick(ALL), -1);
        for (size_t i = 0; i < 64; i++)
            for (size_t uses = 0; uses < 3; uses++)
                touch(i);
        things[(free_one + 1) % 64].held = false;
        for (size_t steps = 0; order.count == 63; steps++) {
            ck_assert_uint_lt(steps, order_round(&order));
            pick(1);
        }
        finish();
    }
}
END_TEST

/* Newcomers that may not go (not stored yet) do not hide the main queue, and stay newcomers. */
START_TEST(held_newcomers_do_not_hide_main)
{
    start(EVICT_S3FIFO);
    add_many(0, 11);
    for (size_t i = 0; i < 10; i++)
        touch(i);
    LEAVE(10);
    add_many(20, 60);
    for (size_t i = 20; i < 60; i++)
        things[i].held = true;
    LEAVE(0, 1, 2);
    ck_assert_uint_eq(order.small_bytes, 40);
    finish();
}
END_TEST

/* --- looking ahead and changing the policy --- */

struct seen {
    int index[64];
    size_t n, max;
};

static bool note(void *arg, struct order_node *node)
{
    struct seen *s = arg;

    s->index[s->n++] = (int)index_of(node);
    return s->n < s->max;
}

static struct seen peek(size_t looks, size_t max)
{
    struct seen s = {.max = max};

    order_peek(&order, looks, note, &s);
    return s;
}

START_TEST(peek_is_the_order_of_leaving)
{
    static const int policies[] = {EVICT_LRU, EVICT_FIFO, EVICT_S3FIFO};
    struct seen s;

    start(policies[_i]);
    add_many(0, 30);
    for (size_t i = 5; i < 15; i++)
        touch(i);
    LEAVE(0, 1);
    if (_i == 2)
        LEAVE(2, 3, 4, 15);
    add_many(30, 40);
    s = peek(ALL, 64);
    ck_assert_uint_eq(s.n, order.count);
    ck_assert_uint_eq(peek(ALL, 3).n, 3);
    ck_assert_uint_eq(peek(7, 64).n, 7);
    assert_leave(s.index, s.n);
    ck_assert_int_eq(pick(ALL), -1);
    finish();
}
END_TEST

START_TEST(peek_shows_the_used_last)
{
    struct seen s;

    start(EVICT_S3FIFO);
    add_many(0, 6);
    for (int uses = 0; uses < 3; uses++)
        touch(1);
    touch(3);
    s = peek(ALL, 64);
    assert_leave(s.index, s.n);
    ck_assert_uint_eq(s.n, 6);
    order_set_policy(&order, EVICT_NOOP);
    ck_assert_uint_eq(peek(ALL, 64).n, 0);
    finish();
}
END_TEST

START_TEST(set_policy_keeps_all_in_order)
{
    static const int policies[] = {EVICT_LRU, EVICT_FIFO, EVICT_S3FIFO, EVICT_NOOP};

    for (size_t to = 0; to < ARRAY_SIZE(policies); to++) {
        struct seen s;

        start(policies[_i]);
        add_many(0, 20);
        touch(3);
        add_many(20, 40);
        s = peek(ALL, 64);
        order_set_policy(&order, policies[to]);
        ck_assert_uint_eq(order.count, 40);
        ck_assert_uint_eq(order.bytes, 40);
        order_set_policy(&order, EVICT_LRU);
        if (policies[_i] != EVICT_NOOP)
            assert_leave(s.index, s.n);
        while (pick(ALL) >= 0)
            ;
        ck_assert_uint_eq(order.count, 0);
        finish();
    }
}
END_TEST

/* --- at random, against counters and a plain model of LRU and FIFO --- */

#define MODEL 200

struct model {
    uint64_t rank[MODEL]; /* 0: not in it */
    uint64_t bytes[MODEL];
    uint64_t next;
};

static int model_first(const struct model *m)
{
    int first = -1;

    for (int i = 0; i < MODEL; i++)
        if (m->rank[i] && !things[i].held && (first < 0 || m->rank[i] < m->rank[first]))
            first = i;
    return first;
}

/* Those passed over go to the far end, in their order. */
static void model_rotate(struct model *m, uint64_t before)
{
    for (uint64_t rank = 1; rank < before; rank++)
        for (int i = 0; i < MODEL; i++)
            if (m->rank[i] == rank)
                m->rank[i] = ++m->next;
}

static void assert_counts(const struct model *m)
{
    uint64_t bytes = 0;
    size_t count = 0;

    for (int i = 0; i < MODEL; i++) {
        ck_assert_int_eq(order_linked(&things[i].node), m->rank[i] != 0);
        bytes += m->rank[i] ? m->bytes[i] : 0;
        count += m->rank[i] != 0;
    }
    ck_assert_uint_eq(order.bytes, bytes);
    ck_assert_uint_eq(order.count, count);
    ck_assert_uint_le(order.small_bytes, bytes);
}

static void step_pick(struct model *m, int policy)
{
    int expected = model_first(m), got = pick(ALL);

    if (policy == EVICT_S3FIFO) {
        ck_assert_int_eq(got >= 0, expected >= 0);
        ck_assert(got < 0 || (m->rank[got] && !things[got].held));
    } else {
        ck_assert_int_eq(got, expected);
        model_rotate(m, got < 0 ? m->next + 1 : m->rank[got]);
    }
    if (got >= 0)
        m->rank[got] = 0;
}

static void step(struct model *m, int policy, uint64_t random)
{
    size_t i = random % MODEL;
    unsigned op = random >> 32 & 7;

    if (op < 3 && !m->rank[i]) {
        m->rank[i] = ++m->next;
        m->bytes[i] = random >> 40 & 0xfff;
        add(i, m->bytes[i]);
    } else if (op == 3) {
        order_remove(&order, &things[i].node);
        m->rank[i] = 0;
    } else if (op == 4) {
        things[i].held = !things[i].held;
    } else if (op == 5) {
        m->bytes[i] = random >> 40 & 0xfff;
        order_resize(&order, &things[i].node, m->bytes[i]);
    } else if (op == 6) {
        step_pick(m, policy);
    } else if (m->rank[i]) {
        touch(i);
        m->rank[i] = policy == EVICT_LRU ? ++m->next : m->rank[i];
    }
}

START_TEST(at_random)
{
    static const int policies[] = {EVICT_LRU, EVICT_FIFO, EVICT_S3FIFO};
    struct model m = {0};
    uint64_t random = (uint64_t)_i;

    start(policies[_i]);
    for (size_t n = 0; n < 3000; n++) {
        random = hash_bytes(&random, sizeof(random), n);
        step(&m, policies[_i], random);
        assert_counts(&m);
    }
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("order");

    suite_add(s, "policies",
              TESTS(lru, fifo, noop_never_yields, one_hit_wonders_leave_first,
                    used_in_main_goes_round, weights_are_bytes));
    suite_add(s, "ghost", TESTS(ghost_returns_to_main, ghost_forgets, ghost_is_large_enough));
    suite_add(s, "trace", TESTS(a_scan_does_not_push_out_the_hot_set));
    suite_add(
        s, "passing",
        TESTS(passed_over_go_round, held_newcomers_do_not_hide_main, peek_shows_the_used_last));
    suite_add_loop(s, "each", TESTS(a_round_sees_all, peek_is_the_order_of_leaving, at_random), 3);
    suite_add_loop(s, "change", TESTS(set_policy_keeps_all_in_order), 4);
    return suite_run(s);
}
