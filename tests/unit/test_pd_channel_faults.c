/* test_pd_channel_faults.c - UCX with a peer in a process of its own, which is killed or stopped in the
 * middle of a transfer; and what waiting costs.
 */
#include "pd_channel.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <ucp/api/ucp.h>

#include "channel_fixture.h"
#include "clock.h"
#include "suite.h"

#define SIZE (64 * MIB)
#define TAG 42

/* The other process: it has the end `a` and moves the whole of `shared`. */
struct peer {
    pid_t pid;
    int sock;
    char *shared; /* our view of its buffer */
};

static void say(int sock, const void *data, size_t len)
{
    ck_assert_int_eq(send(sock, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static size_t hear(int sock, void *buf, size_t cap)
{
    ssize_t n = recv(sock, buf, cap, 0);

    ck_assert_int_gt(n, 0);
    return (size_t)n;
}

/* Tells our address, takes the other's. */
static void swap_addresses(struct end *e, int sock)
{
    char other[4096];
    size_t len;
    const void *mine = pd_conn_address(e->conn, &len);

    say(sock, mine, len);
    len = hear(sock, other, sizeof other);
    ck_assert_int_eq(end_connect(e, other, len), 0);
}

/* Never comes back: it is killed. */
static void run_peer(int sock, char *shared, bool sends)
{
    struct end a;
    struct xfer x;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    end_open(&a, true);
    swap_addresses(&a, sock);
    xfer_init(&x, &a);
    if (sends) {
        hear(sock, &(char){0}, 1); /* the receive is posted */
        xfer_send(&x, TAG, shared, SIZE);
    } else {
        xfer_recv(&x, TAG, shared, SIZE);
        say(sock, "r", 1);
    }
    for (;;)
        pause();
}

static void peer_start(struct peer *p, bool sends)
{
    int sv[2];

    p->shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(p->shared, MAP_FAILED);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
    p->pid = fork();
    ck_assert_int_ge(p->pid, 0);
    if (p->pid == 0) {
        close(sv[0]);
        run_peer(sv[1], p->shared, sends);
    }
    close(sv[1]);
    p->sock = sv[0];
}

static void peer_kill(struct peer *p)
{
    kill(p->pid, SIGKILL);
    ck_assert_int_eq(waitpid(p->pid, NULL, 0), p->pid);
    close(p->sock);
    munmap(p->shared, SIZE);
}

/* The first bytes are there, the last are not yet (unless it was faster than we look). */
static void await_byte(const char *at)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    while (__atomic_load_n(at, __ATOMIC_RELAXED) == 0) {
        ck_assert_uint_lt(clock_now(), deadline);
        sched_yield();
    }
}

/* Two views of one memory: one that is received into and freed, one to look at. */
struct landing {
    char *buf;
    char *look;
};

static void landing_open(struct landing *l)
{
    AUTO_CLOSE int fd = memfd_create("landing", MFD_CLOEXEC);

    ck_assert_int_eq(ftruncate(fd, SIZE), 0);
    l->buf = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    l->look = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(l->buf, MAP_FAILED);
    ck_assert_ptr_ne(l->look, MAP_FAILED);
}

static void landing_close(struct landing *l)
{
    munmap(l->buf, SIZE);
    munmap(l->look, SIZE);
}

static struct end b;
static struct peer peer;

/* A transfer from the peer that has begun. */
static void begin_receiving(struct xfer *x, struct landing *l)
{
    peer_start(&peer, true);
    end_open(&b, true);
    landing_open(l);
    memset(peer.shared, 7, SIZE);
    swap_addresses(&b, peer.sock);
    xfer_init(x, &b);
    xfer_recv(x, TAG, l->buf, SIZE);
    say(peer.sock, "r", 1);
    await_byte(l->look);
}

static void begin_sending(struct xfer *x, char *from)
{
    peer_start(&peer, false);
    end_open(&b, true);
    swap_addresses(&b, peer.sock);
    hear(peer.sock, &(char){0}, 1);
    xfer_init(x, &b);
    xfer_send(x, TAG, from, SIZE);
    await_byte(peer.shared);
}

/* Closing is quick, and nothing reaches the buffer after it: its pages are gone. */
static void close_fence(struct xfer *x)
{
    uint64_t before = clock_now();

    end_close_conn(&b);
    ck_assert_uint_lt(clock_now() - before, 3 * NSEC_PER_SEC);
    ck_assert(xfer_wait(x) == 0 || x->error == -ECONNRESET);
}

START_TEST(sender_killed)
{
    struct landing l;
    struct xfer x;

    begin_receiving(&x, &l);
    peer_kill(&peer);
    sem_expect(&b.failed);
    close_fence(&x);
    landing_close(&l);
    end_close(&b);
}
END_TEST

START_TEST(receiver_killed)
{
    char *from = pattern_new(SIZE, 1);
    struct xfer x;

    begin_sending(&x, from);
    peer_kill(&peer);
    ck_assert(xfer_wait(&x) == 0 || x.error == -ECONNRESET);
    sem_expect(&b.failed);
    end_close_conn(&b);
    free(from);
    end_close(&b);
}
END_TEST

/* A peer that stands still says nothing: its owner has a deadline, and closes. */
START_TEST(sender_stopped)
{
    struct landing l;
    struct xfer x;

    begin_receiving(&x, &l);
    kill(peer.pid, SIGSTOP);
    xfer_cancel(&x);
    close_fence(&x);
    landing_close(&l);
    end_close(&b);
    peer_kill(&peer);
}
END_TEST

START_TEST(receiver_stopped)
{
    char *from = pattern_new(SIZE, 1);
    struct xfer x;

    begin_sending(&x, from);
    kill(peer.pid, SIGSTOP);
    xfer_cancel(&x);
    close_fence(&x);
    free(from);
    end_close(&b);
    peer_kill(&peer);
}
END_TEST

static size_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* A channel that outlives its connections keeps nothing of them. */
START_TEST(connections_leave_nothing)
{
    struct end a;
    size_t before = 0;
    char byte = 1, to;
    struct xfer send, recv;

    end_open(&a, true);
    end_open(&b, true);
    for (int i = 0; i < 20; i++) {
        ends_connect(&a, &b);
        xfer_init(&send, &a);
        xfer_init(&recv, &b);
        xfer_recv(&recv, TAG, &to, 1);
        xfer_send(&send, TAG, &byte, 1);
        ck_assert_int_eq(xfer_wait(&recv), 0);
        ck_assert_int_eq(xfer_wait(&send), 0);
        end_close_conn(&a);
        end_close_conn(&b);
        if (i == 1)
            before = open_files();
        ck_assert(i < 2 || open_files() == before);
        end_new_conn(&a);
        end_new_conn(&b);
    }
    end_close(&a);
    end_close(&b);
}
END_TEST

static uint64_t process_cpu(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Processor time per second of doing nothing, in percent. The pause is what is measured. */
static double idle_percent(void)
{
    uint64_t cpu = process_cpu(), wall = clock_now();

    usleep(400000);
    return 100.0 * (double)(process_cpu() - cpu) / (double)(clock_now() - wall);
}

START_TEST(idle_costs_nothing)
{
    struct end a;
    char byte = 1, to;
    struct xfer send, recv;

    end_open(&a, true);
    end_open(&b, true);
    ends_connect(&a, &b);
    xfer_init(&send, &a);
    xfer_init(&recv, &b);
    xfer_recv(&recv, TAG, &to, 1);
    xfer_send(&send, TAG, &byte, 1);
    ck_assert_int_eq(xfer_wait(&recv), 0);
    ck_assert_int_eq(xfer_wait(&send), 0);
    usleep(100000); /* until it has settled */
    ck_assert_double_lt(idle_percent(), 1);
    xfer_recv(&recv, TAG, &to, 1); /* and it wakes up again */
    xfer_send(&send, TAG, &byte, 1);
    ck_assert_int_eq(xfer_wait(&recv), 0);
    end_close(&a);
    end_close(&b);
}
END_TEST

#define PEERS 30

static struct end many[PEERS];

static void open_conn_of(void *arg)
{
    struct end *e = arg;

    ck_assert_int_eq(pd_conn_create(e->channel, &(struct pd_conn_ops){.failed = NULL}, e, &e->conn),
                     0);
}

static void close_conn_of(void *arg)
{
    struct end *e = arg;

    pd_conn_close(e->conn);
}

/* Leases: receives that wait for long, of many peers on one channel. */
START_TEST(waiting_costs_little)
{
    static struct xfer recv[PEERS];
    char to[PEERS];

    end_open(&b, true);
    for (size_t i = 0; i < PEERS; i++) {
        many[i] = b;
        end_call(&b, open_conn_of, &many[i]);
        xfer_init(&recv[i], &many[i]);
        xfer_recv(&recv[i], TAG, &to[i], 1);
    }
    usleep(200000); /* until it has settled */
    printf("%d receives that wait: %.1f %% of a processor\n", PEERS, idle_percent());
    ck_assert_double_lt(idle_percent(), 30);
    for (size_t i = 0; i < PEERS; i++) {
        end_call(&b, close_conn_of, &many[i]);
        ck_assert_int_eq(xfer_wait(&recv[i]), -ECONNRESET);
    }
    end_close(&b);
}
END_TEST

static atomic_bool arm_fails;

/* In place of UCX's own. */
ucs_status_t ucp_worker_arm(ucp_worker_h worker)
{
    ucs_status_t (*real)(ucp_worker_h) =
        (ucs_status_t(*)(ucp_worker_h))dlsym(RTLD_NEXT, "ucp_worker_arm");

    return atomic_load(&arm_fails) ? UCS_ERR_IO_ERROR : real(worker);
}

/* It is given up, not looked at for ever; the next one works. */
START_TEST(one_that_cannot_be_waited_for)
{
    struct end a;
    struct xfer recv, sent;
    char to;

    end_open(&b, true);
    xfer_init(&recv, &b);
    xfer_recv(&recv, TAG, &to, 1);
    atomic_store(&arm_fails, true);
    sem_expect(&b.failed);
    end_close_conn(&b);
    ck_assert_int_eq(xfer_wait(&recv), -ECONNRESET);
    atomic_store(&arm_fails, false);
    end_new_conn(&b);
    end_open(&a, true);
    ends_connect(&a, &b);
    xfer_init(&recv, &b);
    xfer_recv(&recv, TAG, &to, 1);
    xfer_init(&sent, &a);
    xfer_send(&sent, TAG, "x", 1);
    ck_assert_int_eq(xfer_wait(&sent) | xfer_wait(&recv), 0);
    end_close(&a);
    end_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_channel_faults");

    suite_add(s, "killed", TESTS(sender_killed, receiver_killed));
    suite_add(s, "stopped", TESTS(sender_stopped, receiver_stopped));
    suite_add(s, "arm", TESTS(one_that_cannot_be_waited_for));
    suite_add(s, "leaks", TESTS(connections_leave_nothing));
    suite_add(s, "cost", TESTS(idle_costs_nothing, waiting_costs_little));
    return suite_run(s);
}
