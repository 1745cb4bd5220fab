/* test_pd_send.c - the PD sender with receivers that behave: what arrives where, and how many messages
 * it takes.
 */
#include <sys/stat.h>

#include "checksum.h"
#include "pd_send_fixture.h"

static struct rig rig;

static void setup(void)
{
    rig_open(&rig, 3);
    rig_start(&rig);
}

static void teardown(void)
{
    rig_close(&rig);
}

static void check_landed(struct far *f, struct push *p)
{
    for (size_t i = 0; i < p->n; i++) {
        ck_assert_int_eq(p->errors[i], 0);
        ck_assert_uint_eq(p->crc32c[i], p->bufs[i].crc32c);
        ck_assert(far_has(f, p, i));
    }
}

START_TEST(small_keys_share_one_exchange)
{
    struct push *p = push_new(&rig, 50, 4096, "");
    char state[16];

    ck_assert_str_eq(peer_state(&rig, "127.0.0.1", state), "idle");
    push_run(p);
    check_landed(&rig.far[0], p);
    ck_assert_uint_eq(p->bytes, 50 * 4096);
    ck_assert_uint_eq(rig.far[0].count[PD_ALLOC_REQUEST], 1);
    ck_assert_uint_eq(rig.far[0].count[PD_COMMIT], 1);
    ck_assert_uint_eq(rig.far[0].count[PD_HELLO], 1);
    ck_assert_str_eq(peer_state(&rig, "127.0.0.1", state), "up");
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "keys"), 50);
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "bytes"), 50 * 4096);
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "inflight"), 0);
    push_free(p);
}
END_TEST

START_TEST(sizes_of_all_kinds)
{
    static const uint64_t sizes[] = {0, 1, 4095, 65536, 65537, 5 * MIB + 3, 20 * MIB};
    struct push *p = push_new(&rig, ARRAY_SIZE(sizes), 0, "");

    for (size_t i = 0; i < p->n; i++)
        push_set(p, i, sizes[i]);
    push_run(p);
    check_landed(&rig.far[0], p);
    push_free(p);
}
END_TEST

START_TEST(what_is_there_is_not_sent_again)
{
    struct push *p = push_new(&rig, 4, 1000, "");

    push_run(p);
    push_set(p, 2, 2000);
    push_run(p);
    check_landed(&rig.far[0], p);
    ck_assert_uint_eq(p->bytes, 2000);
    push_run(p);
    ck_assert_uint_eq(p->bytes, 0);
    ck_assert_uint_eq(rig.far[0].count[PD_COMMIT], 2);
    push_free(p);
}
END_TEST

START_TEST(batches_overlap)
{
    struct push *p[8];

    far_order(&rig.far[0], (struct orders){.mute = 1U << PD_COMMIT});
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        char prefix[16];

        snprintf(prefix, sizeof(prefix), "%zu/", i);
        p[i] = push_new(&rig, 2, 1 * MIB, prefix);
        push_submit(p[i]);
    }
    far_wait(&rig.far[0], PD_COMMIT, ARRAY_SIZE(p)); /* none has had its answer */
    far_order(&rig.far[0], (struct orders){0});
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        push_wait(p[i]); /* asked again */
        check_landed(&rig.far[0], p[i]);
        push_free(p[i]);
    }
    ck_assert_uint_eq(rig.far[0].count[PD_COMMIT], 2 * ARRAY_SIZE(p));
}
END_TEST

START_TEST(a_task_larger_than_a_batch_is_several)
{
    struct push *p = push_new(&rig, 12, 3 * MIB, "");

    push_run(p);
    check_landed(&rig.far[0], p);
    ck_assert_uint_eq(rig.far[0].count[PD_ALLOC_REQUEST], 3);
    push_free(p);
}
END_TEST

START_TEST(a_request_keeps_to_the_limit)
{
    struct push *p = push_new(&rig, 8, 1 * MIB, "");

    far_order(&rig.far[0], (struct orders){.limit = 2 * MIB});
    push_run(p);
    check_landed(&rig.far[0], p);
    ck_assert_uint_eq(rig.far[0].count[PD_ALLOC_REQUEST], 4);
    push_free(p);
}
END_TEST

START_TEST(a_key_above_the_limit_fails_alone)
{
    struct push *p = push_new(&rig, 3, 1000, "");

    far_order(&rig.far[0], (struct orders){.limit = 5000});
    push_set(p, 1, 6000);
    push_run(p);
    ck_assert_int_eq(p->errors[0], 0);
    ck_assert_int_eq(p->errors[1], -EFBIG);
    ck_assert_int_eq(p->errors[2], 0);
    push_free(p);
}
END_TEST

START_TEST(what_is_refused_together_is_asked_for_in_parts)
{
    struct push *p = push_new(&rig, 9, 1000, "");

    far_order(&rig.far[0], (struct orders){.refuse_above = 2});
    push_run(p);
    check_landed(&rig.far[0], p);
    push_free(p);
}
END_TEST

START_TEST(the_last_of_duplicates_goes)
{
    struct push *p = push_new(&rig, 3, 1000, "");

    free((char *)p->keys[0]);
    p->keys[0] = strdup(p->keys[2]);
    push_set(p, 2, 3000);
    push_run(p);
    ck_assert_int_eq(p->errors[0], 0);
    ck_assert_int_eq(p->errors[2], 0);
    ck_assert_uint_eq(p->crc32c[0], p->bufs[2].crc32c);
    ck_assert(far_has(&rig.far[0], p, 2));
    ck_assert_uint_eq(p->bytes, 4000);
    ck_assert_uint_eq(rig.far[0].asked_keys, 2);
    push_free(p);
}
END_TEST

START_TEST(unstable_buffers_are_summed_up_here)
{
    struct push *p = push_new(&rig, 2, 300000, "");

    for (size_t i = 0; i < p->n; i++) {
        p->bufs[i].stable = false;
        p->bufs[i].crc32c = 1;
    }
    push_run(p);
    for (size_t i = 0; i < p->n; i++) {
        uint32_t sum;

        ck_assert_int_eq(checksum_file(p->bufs[i].fd, p->bufs[i].size, &sum), 0);
        ck_assert_int_eq(p->errors[i], 0);
        ck_assert_uint_eq(p->crc32c[i], sum);
        ck_assert(far_has(&rig.far[0], p, i));
    }
    push_free(p);
}
END_TEST

START_TEST(a_file_that_is_too_short_fails_alone)
{
    struct push *p = push_new(&rig, 4, 100000, "");

    p->bufs[1].size = 200000;
    p->bufs[2].size = 101000;
    p->bufs[2].stable = false;
    push_run(p);
    ck_assert_int_eq(p->errors[0], 0);
    ck_assert_int_eq(p->errors[1], -ESTALE);
    ck_assert_int_eq(p->errors[2], -ESTALE);
    ck_assert_int_eq(p->errors[3], 0);
    ck_assert(far_has(&rig.far[0], p, 3));
    ck_assert_uint_eq(rig.far[0].cancelled_keys, 1); /* only one had been asked for */
    push_free(p);
}
END_TEST

START_TEST(keys_go_where_their_directory_or_peer_says)
{
    struct push *p = push_new(&rig, 5, 5000, "");
    static const char *const keys[] = {"one/a", "two/b", "c", "one/d", "e"};

    for (size_t i = 0; i < p->n; i++) {
        free((char *)p->keys[i]);
        p->keys[i] = strdup(keys[i]);
    }
    p->bufs[3].route.peer = "two";
    p->bufs[4].route.peer = "nobody";
    push_run(p);
    ck_assert(far_has(&rig.far[1], p, 0));
    ck_assert(far_has(&rig.far[2], p, 1));
    ck_assert(far_has(&rig.far[0], p, 2));
    ck_assert(far_has(&rig.far[2], p, 3));
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(p->errors[i], 0);
    ck_assert_int_eq(p->errors[4], -EHOSTUNREACH);
    ck_assert_uint_eq(rig.far[1].nkeys, 1);
    push_free(p);
}
END_TEST

START_TEST(thousands_of_keys_in_one_task)
{
    struct push *p = push_new(&rig, 2000, 100, "");

    push_run(p);
    check_landed(&rig.far[0], p);
    ck_assert_uint_eq(rig.far[0].count[PD_ALLOC_REQUEST], 4);
    push_free(p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_send");
    TCase *tc = tcase_create("good");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, small_keys_share_one_exchange);
    tcase_add_test(tc, sizes_of_all_kinds);
    tcase_add_test(tc, what_is_there_is_not_sent_again);
    tcase_add_test(tc, batches_overlap);
    tcase_add_test(tc, a_task_larger_than_a_batch_is_several);
    tcase_add_test(tc, a_request_keeps_to_the_limit);
    tcase_add_test(tc, a_key_above_the_limit_fails_alone);
    tcase_add_test(tc, what_is_refused_together_is_asked_for_in_parts);
    tcase_add_test(tc, the_last_of_duplicates_goes);
    tcase_add_test(tc, unstable_buffers_are_summed_up_here);
    tcase_add_test(tc, a_file_that_is_too_short_fails_alone);
    tcase_add_test(tc, keys_go_where_their_directory_or_peer_says);
    tcase_add_test(tc, thousands_of_keys_in_one_task);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
