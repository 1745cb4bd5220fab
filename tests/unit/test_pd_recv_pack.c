/* test_pd_recv_pack.c - keys whose bytes come in one message: each has its own outcome, as if it had
 * come alone. */
#include "recv_fixture.h"

#include <sys/mount.h>

#include "pd_recv_impl.h"
#include "staging.h"
#include "suite.h"

static struct recv_rig g;
static struct sender s;
static struct parcel p;

static void setup(void)
{
    recv_rig_prepare(&g, 1, false);
}

static void start(const uint64_t *sizes, size_t n)
{
    recv_rig_start(&g);
    sender_open(&s, &g, "host", 0);
    ck_assert_int_eq(sender_hello(&s), 0);
    parcel_init(&p, "k", 1, sizes, n);
    p.packs = true;
}

static void get_packed(void *arg)
{
    *(size_t *)arg = g.recv->packed;
}

static size_t packed(void)
{
    size_t bytes;

    end_call(&g.host, get_packed, &bytes);
    return bytes;
}

static void finish(void)
{
    if (g.recv) {
        recv_rig_expect(&g, "buffer_used", 0);
        recv_rig_expect(&g, "allocations", 0);
        recv_rig_expect(&g, "buffers", 0);
        recv_rig_expect(&g, "memory", 0);
        ck_assert_uint_eq(packed(), 0);
    }
    parcel_fini(&p);
    sender_close(&s);
    recv_rig_close(&g);
}

static void check_object(size_t i)
{
    const struct object *o = recv_rig_object(&g, p.keys[i]);

    ck_assert_ptr_nonnull(o);
    ck_assert_uint_eq(o->size, p.sizes[i]);
    ck_assert_int_eq(memcmp(o->data, p.data[i], o->size), 0);
}

/* Commits, and compares with what is there. */
static void check_outcome(const int *errors)
{
    struct pd_message m = parcel_commit(&p, &s);

    parcel_outcome(&p, sender_ask(&s, &m));
    ck_assert_int_eq(p.error, 0);
    for (size_t i = 0; i < p.n; i++) {
        ck_assert_int_eq(p.errors[i], errors[i]);
        if (!errors[i])
            check_object(i);
        else
            ck_assert_ptr_null(recv_rig_object(&g, p.keys[i]));
    }
}

static const uint64_t mixed[] = {5, 7, 0, 100, 64 * KIB, 64 * KIB + 1, 7, 8};
static const uint64_t three[] = {1000, 5000, 9};
static const int all_land[PARCEL_KEYS] = {0};

START_TEST(small_neighbours_have_one_tag)
{
    start(mixed, ARRAY_SIZE(mixed));
    parcel_ask(&p, &s);
    for (size_t i = 1; i < p.n; i++)
        ck_assert_int_eq(p.tags[i] == p.tags[i - 1], i == 1 || i == 4 || i == 7);
    parcel_send(&p, &s);
    parcel_sent(&p);
    check_outcome(all_land);
    ck_assert_int_eq(recv_rig_status(&g, "landed_keys"), ARRAY_SIZE(mixed));
    finish();
}
END_TEST

START_TEST(who_knows_no_packs_gets_a_tag_for_each)
{
    start(mixed, ARRAY_SIZE(mixed));
    p.packs = false;
    parcel_ask(&p, &s);
    for (size_t i = 0; i < p.n; i++) {
        for (size_t j = 0; j < i; j++)
            ck_assert_int_ne(p.tags[i], p.tags[j]);
    }
    parcel_send(&p, &s);
    parcel_sent(&p);
    check_outcome(all_land);
    finish();
}
END_TEST

START_TEST(large_keys_come_into_their_files)
{
    static const uint64_t sizes[] = {MIB, MIB + 1, 64 * KIB + 1};

    start(sizes, 3);
    parcel_ask(&p, &s);
    ck_assert_uint_eq(packed(), sizes[0] + sizes[2]);
    ck_assert(p.tags[0] != p.tags[1] && p.tags[1] != p.tags[2] && p.tags[2] != p.tags[0]);
    parcel_send(&p, &s);
    parcel_sent(&p);
    check_outcome(all_land);
    finish();
}
END_TEST

START_TEST(what_is_there_is_not_in_the_pack)
{
    struct parcel one;

    start(three, 3);
    parcel_init(&one, "k", 1, three, 1);
    snprintf(one.keys[0], sizeof(one.keys[0]), "k1");
    one.names[0].len = 2;
    one.v[0][0] = (int64_t)p.sizes[1];
    one.v[1][0] = p.v[1][1];
    one.sizes[0] = p.sizes[1];
    free(one.data[0]);
    one.data[0] = pattern_new(p.sizes[1], 2);
    parcel_land(&one, &s);
    parcel_ask(&p, &s);
    ck_assert(!p.present[0] && p.present[1] && !p.present[2]);
    ck_assert_int_eq(p.tags[0], p.tags[2]);
    parcel_send(&p, &s);
    parcel_sent(&p);
    check_outcome(all_land);
    parcel_fini(&one);
    finish();
}
END_TEST

static void cancel(size_t first, size_t n)
{
    struct pd_message m = {.type = PD_CANCEL_NOTIF,
                           .alloc_id = p.id,
                           .keys = {p.names + first, n},
                           .sender = {s.name, strlen(s.name)}};

    answer_free(sender_ask(&s, &m));
}

/* Before and after the bytes have come. */
START_TEST(a_cancelled_key_is_missed_by_none)
{
    static const int errors[] = {0, ECANCELED, 0};

    start(three, 3);
    parcel_ask(&p, &s);
    if (!_i)
        cancel(1, 1);
    parcel_send(&p, &s);
    parcel_sent(&p);
    if (_i)
        cancel(1, 1);
    check_outcome(errors);
    finish();
}
END_TEST

START_TEST(a_pack_that_nobody_wants_any_more)
{
    static const int errors[] = {ECANCELED, ECANCELED, ECANCELED};

    start(three, 3);
    parcel_ask(&p, &s);
    cancel(0, 2);
    cancel(2, 1);
    recv_rig_expect(&g, "buffers", 0);
    parcel_send(&p, &s); /* thrown away */
    check_outcome(errors);
    finish();
}
END_TEST

START_TEST(a_damaged_key_fails_alone)
{
    static const int errors[] = {0, EBADMSG, 0};

    start(three, 3);
    parcel_ask(&p, &s);
    p.data[1][4999] ^= 1;
    parcel_send(&p, &s);
    parcel_sent(&p);
    check_outcome(errors);
    finish();
}
END_TEST

START_TEST(a_pack_of_another_length)
{
    static const int errors[] = {EMSGSIZE, EMSGSIZE, EMSGSIZE};

    start(three, 3);
    parcel_ask(&p, &s);
    p.sizes[_i]--;
    parcel_send(&p, &s);
    p.sizes[_i] = three[_i];
    check_outcome(errors);
    finish();
}
END_TEST

START_TEST(a_connection_that_is_lost)
{
    static const int errors[] = {ECONNRESET, ECONNRESET, ECONNRESET};

    start(three, 3);
    parcel_ask(&p, &s);
    end_close_conn(&s.end);
    recv_rig_expect(&g, "buffer_used", 0);
    check_outcome(errors);
    end_new_conn(&s.end);
    finish();
}
END_TEST

START_TEST(a_pack_that_is_never_sent)
{
    static const int errors[] = {ETIMEDOUT, ETIMEDOUT, ETIMEDOUT};

    g.config.lease = 50 * NSEC_PER_MSEC;
    start(three, 3);
    parcel_ask(&p, &s);
    recv_rig_expect(&g, "buffers", 0);
    check_outcome(errors);
    finish();
}
END_TEST

START_TEST(a_receiver_that_ends)
{
    start(three, 3);
    parcel_ask(&p, &s);
    if (_i) {
        parcel_send(&p, &s);
        parcel_sent(&p);
    }
    recv_rig_stop(&g);
    finish();
}
END_TEST

/* Keys of a pack are given up while the others are at the lander. */
START_TEST(a_receiver_that_ends_while_files_are_made)
{
    static const uint64_t sizes[] = {1000, 5000, 8 * MIB, 1000, 8 * MIB};
    struct pd_message m;

    start(sizes, ARRAY_SIZE(sizes));
    m = parcel_message(&p, &s);
    sender_post(&s, &m);
    recv_rig_expect(&g, "allocations", 1);
    recv_rig_stop(&g);
    for (size_t i = 0; i < p.n; i++)
        ck_assert_ptr_null(recv_rig_object(&g, p.keys[i]));
    finish();
}
END_TEST

/* A tmpfs smaller than what L1 promises. */
START_TEST(no_space_for_the_file)
{
    struct staging_config cfg = {.dir = g.dir, .own_mount = true, .size = 128 * KIB};
    static const uint64_t sizes[] = {40 * KIB, 40 * KIB, 40 * KIB, 40 * KIB, 40 * KIB};
    struct pd_message m;
    int failed = 0;

    staging_close(g.objects.staging, false);
    if (staging_open(&cfg, &g.objects.staging)) { /* only root mounts */
        cfg.own_mount = false;
        ck_assert_int_eq(staging_open(&cfg, &g.objects.staging), 0);
        recv_rig_close(&g);
        return;
    }
    g.env.staging = g.objects.staging;
    start(sizes, ARRAY_SIZE(sizes));
    parcel_ask(&p, &s);
    parcel_send(&p, &s);
    parcel_sent(&p);
    m = parcel_commit(&p, &s);
    parcel_outcome(&p, sender_ask(&s, &m));
    for (size_t i = 0; i < p.n; i++) {
        ck_assert(!p.errors[i] || p.errors[i] == ENOSPC);
        failed += p.errors[i] != 0;
        if (!p.errors[i])
            check_object(i);
    }
    ck_assert(failed && failed < (int)p.n);
    finish();
}
END_TEST

/* Beyond what packs may take in memory keys come as large ones do. */
START_TEST(memory_is_bounded)
{
    static struct parcel many[140];
    static const uint64_t sizes[] = {64 * KIB, 64 * KIB, 64 * KIB, 64 * KIB,
                                     64 * KIB, 64 * KIB, 64 * KIB, 64 * KIB};
    size_t together = 0;

    g.config.buffer_size = 128 * MIB;
    start(three, 3);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        char name[8];

        snprintf(name, sizeof(name), "m%zu-", i);
        parcel_init(&many[i], name, 1, sizes, ARRAY_SIZE(sizes));
        many[i].packs = true;
        parcel_ask(&many[i], &s);
        ck_assert_int_eq(many[i].error, 0);
        together += many[i].tags[0] == many[i].tags[1];
    }
    ck_assert_uint_eq(together, 64 * MIB / (ARRAY_SIZE(sizes) * sizes[0]));
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        parcel_fini(&many[i]);
    end_close_conn(&s.end);
    recv_rig_expect(&g, "buffer_used", 0);
    end_new_conn(&s.end);
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pd_recv_pack");
    TCase *tc = tcase_create("packs");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, small_neighbours_have_one_tag);
    tcase_add_test(tc, who_knows_no_packs_gets_a_tag_for_each);
    tcase_add_test(tc, large_keys_come_into_their_files);
    tcase_add_test(tc, what_is_there_is_not_in_the_pack);
    tcase_add_loop_test(tc, a_cancelled_key_is_missed_by_none, 0, 2);
    tcase_add_test(tc, a_pack_that_nobody_wants_any_more);
    tcase_add_test(tc, a_damaged_key_fails_alone);
    tcase_add_loop_test(tc, a_pack_of_another_length, 0, 2);
    tcase_add_test(tc, a_connection_that_is_lost);
    tcase_add_test(tc, a_pack_that_is_never_sent);
    tcase_add_loop_test(tc, a_receiver_that_ends, 0, 2);
    tcase_add_test(tc, a_receiver_that_ends_while_files_are_made);
    tcase_add_test(tc, no_space_for_the_file);
    tcase_add_test(tc, memory_is_bounded);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
