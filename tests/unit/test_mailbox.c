/* test_mailbox.c - every letter once, in order per sender, on the loop's thread. */
#include "mailbox.h"

#include <pthread.h>
#include <semaphore.h>

#include "lock.h"
#include "suite.h"

#define SENDERS 4
#define LETTERS 5000

struct numbered {
    struct letter letter;
    int sender;
    int number;
};

static struct loop *loop;
static struct mailbox *box;
static sem_t done;

/* Touched by the loop thread, read by the test after `done` or loop_stop. */
static int next_number[SENDERS];
static int received, wanted;
static bool all_on_thread;

static struct numbered letters[SENDERS][LETTERS];

static void setup(void)
{
    memset(next_number, 0, sizeof next_number);
    memset(letters, 0, sizeof letters);
    received = wanted = 0;
    all_on_thread = true;
    ck_assert_int_eq(sem_init(&done, 0, 0), 0);
    ck_assert_int_eq(loop_create("mailbox", &loop), 0);
    ck_assert_int_eq(mailbox_create(loop, &box), 0);
}

static void teardown(void)
{
    loop_stop(loop);
    mailbox_destroy(box);
    loop_destroy(loop);
    sem_destroy(&done);
}

static void wait_done(void)
{
    while (sem_wait(&done))
        ck_assert_int_eq(errno, EINTR);
}

static void receive(struct letter *letter)
{
    struct numbered *n = container_of(letter, struct numbered, letter);

    all_on_thread = all_on_thread && loop_on_thread(loop);
    ck_assert_int_eq(n->number, next_number[n->sender]);
    next_number[n->sender]++;
    if (++received == wanted)
        sem_post(&done);
}

static void post_from(int sender, int first, int last)
{
    for (int i = first; i < last; i++) {
        letters[sender][i] =
            (struct numbered){.letter.run = receive, .sender = sender, .number = i};
        mailbox_post(box, &letters[sender][i].letter);
    }
}

static void *send_all(void *arg)
{
    post_from(*(int *)arg, 0, LETTERS);
    return NULL;
}

START_TEST(many_senders_keep_their_order)
{
    pthread_t threads[SENDERS];
    int ids[SENDERS];

    wanted = SENDERS * LETTERS;
    ck_assert_int_eq(loop_start(loop), 0);
    for (int i = 0; i < SENDERS; i++) {
        ids[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_all, &ids[i]), 0);
    }
    wait_done();
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    loop_stop(loop);
    ck_assert_int_eq(received, wanted);
    ck_assert(all_on_thread);
}
END_TEST

START_TEST(posted_before_start)
{
    wanted = 10;
    post_from(0, 0, 10);
    ck_assert_int_eq(received, 0);
    ck_assert_int_eq(loop_start(loop), 0);
    wait_done();
    loop_stop(loop);
    ck_assert_int_eq(received, 10);
}
END_TEST

/* One at a time, so that every post finds the box empty and must signal. */
START_TEST(ping_pong)
{
    ck_assert_int_eq(loop_start(loop), 0);
    for (int i = 0; i < 1000; i++) {
        wanted = i + 1;
        post_from(0, i, i + 1);
        wait_done();
    }
}
END_TEST

START_TEST(destroy_runs_what_is_left)
{
    struct mailbox *second;
    struct mailbox *first = box;

    ck_assert_int_eq(mailbox_create(loop, &second), 0);
    box = second;
    post_from(1, 0, 100);
    mailbox_destroy(second);
    box = first;
    ck_assert_int_eq(received, 100);
    ck_assert(!all_on_thread);
}
END_TEST

struct reposter {
    struct letter letter;
    int left;
};

static void repost(struct letter *letter)
{
    struct reposter *r = container_of(letter, struct reposter, letter);

    if (r->left-- > 0) {
        mailbox_post(box, letter);
        return;
    }
    free(r); /* and the last run frees its letter */
    sem_post(&done);
}

START_TEST(letter_may_repost_and_free_itself)
{
    struct reposter *r = malloc(sizeof *r);

    *r = (struct reposter){.letter.run = repost, .left = 1000};
    ck_assert_int_eq(loop_start(loop), 0);
    mailbox_post(box, &r->letter);
    wait_done();
}
END_TEST

START_TEST(destroy_runs_reposted_letters)
{
    struct reposter *r = malloc(sizeof *r);

    *r = (struct reposter){.letter.run = repost, .left = 3};
    mailbox_post(box, &r->letter);
    mailbox_destroy(box);
    box = NULL;
    wait_done();
}
END_TEST

/* --- lock.h, which has no .c of its own --- */

START_TEST(condition_times_out)
{
    pthread_mutex_t m;
    pthread_cond_t c;

    lock_init(&m);
    cond_init(&c);
    {
        LOCKED_SCOPE(&m);
        ck_assert_int_eq(cond_wait_until(&c, &m, 1), -ETIMEDOUT);
    }
    lock(&m);
    unlock(&m);
    pthread_cond_destroy(&c);
    pthread_mutex_destroy(&m);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("mailbox");
    TCase *tc = tcase_create("mailbox");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, many_senders_keep_their_order);
    tcase_add_test(tc, posted_before_start);
    tcase_add_test(tc, ping_pong);
    tcase_add_test(tc, destroy_runs_what_is_left);
    tcase_add_test(tc, letter_may_repost_and_free_itself);
    tcase_add_test(tc, destroy_runs_reposted_letters);
    suite_add_tcase(s, tc);
    suite_add(s, "lock", TESTS(condition_times_out));
    return suite_run(s);
}
