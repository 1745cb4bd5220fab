/* test_pd_recv_storm.c - many senders that do everything at any time, over both channels: what is
 * published is whole, every question has its answer, and nothing is left. */
#include "recv_fixture.h"

#include <stdio.h>

#include "clock.h"
#include "suite.h"

#define SENDERS 4
#define LENGTH (1500 * NSEC_PER_MSEC)

static struct recv_rig g;

struct actor {
    pthread_t thread;
    struct sender s;
    char name[32];
    unsigned seed;
    uint64_t until;
    unsigned landed;
};

static unsigned any(struct actor *a, unsigned n)
{
    return (unsigned)rand_r(&a->seed) % n;
}

static void reconnect(struct actor *a)
{
    end_close_conn(&a->s.end);
    end_new_conn(&a->s.end);
    ck_assert_int_eq(sender_hello(&a->s), 0);
}

/* Names are shared by all, so one replaces what another brought. */
static void make(struct actor *a, struct parcel *p)
{
    uint64_t sizes[PARCEL_KEYS];
    size_t n = 1 + any(a, PARCEL_KEYS);
    char name[8];

    for (size_t i = 0; i < n; i++)
        sizes[i] = any(a, 4) ? any(a, 20000) : any(a, 2) * (any(a, MIB) + 1);
    snprintf(name, sizeof name, "k%u-", any(a, 5));
    parcel_init(p, name, any(a, 3), sizes, n);
    p->packs = any(a, 3);
}

static void commit(struct actor *a, struct parcel *p)
{
    struct pd_message m = parcel_commit(p, &a->s);

    parcel_outcome(p, sender_ask(&a->s, &m));
    for (size_t i = 0; !p->error && i < p->n; i++)
        a->landed += p->tags[i] && !p->errors[i];
}

static void cancel(struct actor *a, struct parcel *p)
{
    struct pd_message m = {.type = PD_CANCEL_NOTIF,
                           .alloc_id = p->id,
                           .keys = {p->names, any(a, (unsigned)p->n + 1)},
                           .sender = {a->s.name, strlen(a->s.name)}};

    answer_free(sender_ask(&a->s, &m));
}

/* Sends may not end while the receiver does not take them: closing the connection ends them. */
static void end_sends(struct actor *a, struct parcel *p)
{
    reconnect(a);
    for (size_t i = 0; i < p->n; i++) {
        if (parcel_begins(p, i))
            xfer_wait(&p->xfers[i]);
    }
}

static void act(struct actor *a)
{
    unsigned what = any(a, 10);
    struct parcel p;

    make(a, &p);
    parcel_ask(&p, &a->s);
    if (p.error == ENOTCONN)
        reconnect(a);
    if (p.error || what == 0) { /* refused, or forgotten */
        parcel_fini(&p);
        return;
    }
    if (what == 1)
        cancel(a, &p);
    if (what == 2) {
        commit(a, &p); /* without the data */
        parcel_fini(&p);
        return;
    }
    if (what == 3)
        reconnect(a);
    parcel_send(&p, &a->s);
    if (what == 4)
        end_sends(a, &p);
    if (what == 5)
        sender_post_bytes(&a->s, any(a, 2), "garbage", any(a, 8));
    commit(a, &p);
    if (what != 4)
        end_sends(a, &p);
    parcel_fini(&p);
}

static void *run(void *arg)
{
    struct actor *a = arg;

    while (clock_now() < a->until)
        act(a);
    return NULL;
}

START_TEST(storm)
{
    struct actor actors[SENDERS];
    unsigned landed = 0;

    recv_rig_prepare(&g, 1, _i == 1);
    g.objects.limit = 5 * MIB;
    g.config.buffer_size = 4 * MIB;
    g.config.alloc_timeout = 100 * NSEC_PER_MSEC;
    g.config.transfer_timeout = 50 * NSEC_PER_MSEC;
    g.config.lease = 150 * NSEC_PER_MSEC;
    recv_rig_start(&g);
    for (int i = 0; i < SENDERS; i++) {
        struct actor *a = &actors[i];

        *a = (struct actor){.seed = (unsigned)i + 1, .until = clock_deadline(LENGTH)};
        snprintf(a->name, sizeof a->name, "sender-%d", i);
        sender_open(&a->s, &g, a->name, 0);
        ck_assert_int_eq(sender_hello(&a->s), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        ck_assert_int_eq(pthread_create(&actors[i].thread, NULL, run, &actors[i]), 0);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(actors[i].thread, NULL);
        landed += actors[i].landed;
    }
    ck_assert_uint_gt(landed, 0);
    if (_i == 0) /* else the end itself, amid it all */
        recv_rig_expect(&g, "allocations", 0);
    recv_rig_stop(&g);
    for (int i = 0; i < SENDERS; i++)
        sender_close(&actors[i].s);
    recv_rig_close(&g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pd_recv_storm");

    suite_add_loop(suite, "storm", TESTS(storm), 2);
    return suite_run(suite);
}
