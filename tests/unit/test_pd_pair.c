/* test_pd_pair.c - the PD sender and the PD receiver together, in memory and over UCX: thousands of
 * keys, each compared byte by byte as soon as it was said to have landed, while connections are lost
 * and the receiver is restarted.
 */
#include "clock.h"
#include "pd_recv_impl.h"
#include "pd_send_fixture.h"
#include "pd_send_impl.h"
#include "recv_fixture.h"

#define TASKS 8 /* under way at a time */
#define TASK_KEYS 40

static struct rig rig;
static struct recv_rig host;

static void learn_ports(void *arg)
{
    const struct recv_rank *rank = &host.recv->ranks[0];
    uint16_t *ports = arg;

    ports[0] = pd_server_port(rank->init);
    ports[1] = pd_server_port(rank->alloc);
}

static void open_pair(bool ucx)
{
    uint16_t ports[2];

    recv_rig_prepare(&host, 1, ucx);
    recv_rig_start(&host);
    end_call(&host.host, learn_ports, ports);
    json_array_set_new(host.config.init_port, 0, json_integer(ports[0]));
    json_array_set_new(host.config.alloc_port, 0, json_integer(ports[1]));
    if (ucx)
        rig_open_ucx(&rig);
    else
        rig_open(&rig, 0);
    rig_aim(&rig, ports[0], ports[1]);
    rig_start(&rig);
}

static void close_pair(void)
{
    rig_close(&rig);
    recv_rig_close(&host);
}

static void check_key(const struct push *p, size_t i)
{
    const struct object *o = recv_rig_object(&host, p->keys[i]);
    uint64_t size = p->bufs[i].size;
    AUTO_FREE char *data = malloc(size + 1);

    ck_assert_msg(o != NULL, "%s is not there", p->keys[i]);
    ck_assert_uint_eq(o->size, size);
    ck_assert_int_eq(pread(p->bufs[i].fd, data, size, 0), (ssize_t)size);
    ck_assert_int_eq(memcmp(o->data, data, size), 0);
    ck_assert_uint_eq(o->attr.mode & 07777, 0640);
}

static struct push *make_task(size_t number)
{
    char prefix[32];
    struct push *p;

    snprintf(prefix, sizeof(prefix), "d%zu/", number);
    p = push_new(&rig, TASK_KEYS, 0, prefix);
    for (size_t i = 0; i < p->n; i++)
        push_set(p, i, (number * 7919 + i * 104729) % 20000);
    if (number % 10 == 3)
        push_set(p, 5, 2 * MIB + number);
    if (number % 30 == 7)
        push_set(p, 6, 20 * MIB + number);
    return p;
}

static size_t check_task(const struct push *p)
{
    size_t failed = 0;

    for (size_t i = 0; i < p->n; i++) {
        if (p->errors[i])
            failed++;
        else
            check_key(p, i);
    }
    return failed;
}

/* Every key lands; what failed is stored again. `disturb` is called after each task. */
static void run_tasks(size_t tasks, void (*disturb)(size_t number))
{
    struct push *window[TASKS] = {NULL};
    uint64_t deadline = clock_deadline(30 * NSEC_PER_SEC);

    for (size_t t = 0; t < tasks + TASKS; t++) {
        struct push **p = &window[t % TASKS];

        if (*p) {
            push_wait(*p);
            while (check_task(*p)) {
                ck_assert(clock_now() < deadline);
                push_run(*p);
            }
            push_free(*p);
            *p = NULL;
        }
        if (t >= tasks)
            continue;
        *p = make_task(t);
        push_submit(*p);
        if (disturb)
            disturb(t);
    }
}

static void lose(void *arg)
{
    (void)arg;
    send_peer_lost(&rig.send->peers[0], -ECONNRESET);
}

static void lose_connection(size_t number)
{
    if (number % 5 == 2)
        rig_call(&rig, lose, NULL);
}

static void restart_receiver(size_t number)
{
    if (number % 9 != 4)
        return;
    recv_rig_stop(&host);
    recv_rig_start(&host);
}

/* What either side counts is nothing when nothing is under way. */
static void check_quiet(void)
{
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "inflight"), 0);
    recv_rig_expect(&host, "buffer_used", 0);
    recv_rig_expect(&host, "allocations", 0);
}

START_TEST(keys_arrive)
{
    open_pair(_i);
    run_tasks(60, NULL);
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "handshakes"), 1);
    ck_assert_int_eq(peer_number(&rig, "127.0.0.1", "keys"), 60 * TASK_KEYS);
    check_quiet();
    close_pair();
}
END_TEST

START_TEST(keys_arrive_while_connections_are_lost)
{
    open_pair(_i);
    run_tasks(30, lose_connection);
    ck_assert_int_gt(peer_number(&rig, "127.0.0.1", "handshakes"), 2);
    check_quiet();
    close_pair();
}
END_TEST

START_TEST(keys_arrive_while_the_receiver_is_restarted)
{
    open_pair(_i);
    run_tasks(20, restart_receiver);
    check_quiet();
    close_pair();
}
END_TEST

START_TEST(a_receiver_that_ends_fails_what_is_under_way)
{
    struct push *p[TASKS];
    uint64_t start;

    open_pair(_i);
    run_tasks(1, NULL);
    for (size_t i = 0; i < TASKS; i++) {
        p[i] = make_task(100 + i);
        push_submit(p[i]);
    }
    recv_rig_stop(&host);
    start = clock_now();
    for (size_t i = 0; i < TASKS; i++) {
        push_wait(p[i]);
        check_task(p[i]);
        push_free(p[i]);
    }
    ck_assert_uint_lt(clock_now() - start, 20 * NSEC_PER_SEC);
    close_pair();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_pair");

    suite_add_loop(s, "pair",
                   TESTS(keys_arrive, keys_arrive_while_connections_are_lost,
                         keys_arrive_while_the_receiver_is_restarted,
                         a_receiver_that_ends_fails_what_is_under_way),
                   2);
    return suite_run(s);
}
