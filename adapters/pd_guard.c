/* pd_guard.c - looks at each connection of a port every TICK: how many bytes came since its last
 * message.
 *
 * ZMQ's thread may close a descriptor at any time, and its number be used again, so it is duplicated
 * for each use and told by its inode. One look that finds too many may mean that the loop was busy and
 * messages wait; a second one soon after, with nothing delivered in between, does not.
 */
#include "pd_guard.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "clock.h"

#define TICK (100 * NSEC_PER_MSEC)
#define OVERHEAD (64 * KIB) /* headers of frames, and pings */
#define SECOND_LOOK (30 * NSEC_PER_MSEC)

struct pd_guard_conn {
    ino_t inode; /* 0: no connection */
    char address[INET6_ADDRSTRLEN];
    bool delivered;
    bool suspect;
    uint64_t base; /* bytes up to the end of the last message that was delivered */
    uint64_t held; /* that came since, at the last look */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static struct pd_guard_conn *find(struct pd_guard *g, int number)
{
    if (number < 0 || (size_t)number >= g->cap || !g->conns[number].inode)
        return NULL;
    return &g->conns[number];
}

static void drop(struct pd_guard *g, struct pd_guard_conn *c)
{
    *c = (struct pd_guard_conn){0};
    if (--g->n == 0)
        loop_timer_cancel(g->loop, &g->tick);
}

/* What ZMQ has read of the connection. */
static uint64_t bytes_read(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int unread = 0;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) || ioctl(fd, FIONREAD, &unread))
        return 0;
    return info.tcpi_bytes_received - MIN((uint64_t)unread, info.tcpi_bytes_received);
}

static ino_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? 0 : st.st_ino;
}

static void shut(struct pd_guard *g, int fd)
{
    shutdown(fd, SHUT_RDWR);
    (*g->shut)++;
}

/* -1: the connection is gone. */
static int open_conn(struct pd_guard *g, int number)
{
    struct pd_guard_conn *c = find(g, number);
    int fd = c ? fcntl(number, F_DUPFD_CLOEXEC, 0) : -1;

    if (fd >= 0 && inode_of(fd) == c->inode)
        return fd;
    if (fd >= 0)
        close(fd);
    if (c)
        drop(g, c);
    return -1;
}

static uint64_t look(struct pd_guard *g)
{
    uint64_t all = 0;

    for (size_t i = 0; i < g->cap; i++) {
        AUTO_CLOSE int fd = open_conn(g, (int)i);
        uint64_t bytes = fd < 0 ? 0 : bytes_read(fd);

        if (fd < 0)
            continue;
        g->conns[i].held = bytes - MIN(bytes, g->conns[i].base);
        all += g->conns[i].held;
    }
    return all;
}

static void shut_conn(struct pd_guard *g, int number)
{
    AUTO_CLOSE int fd = open_conn(g, number);

    if (fd < 0)
        return;
    shut(g, fd);
    drop(g, find(g, number));
}

/* Whether any is to be looked at again soon. */
static bool judge(struct pd_guard *g, uint64_t most)
{
    bool any = false;

    for (size_t i = 0; i < g->cap; i++) {
        struct pd_guard_conn *c = find(g, (int)i);
        bool over = c && !c->delivered && c->held > most;

        if (!c)
            continue;
        if (over && c->suspect) {
            shut_conn(g, (int)i);
            continue;
        }
        c->suspect = over;
        c->delivered = false;
        any |= over;
    }
    return any;
}

static void tick(struct loop_timer *t)
{
    struct pd_guard *g = container_of(t, struct pd_guard, tick);
    bool full = look(g) > PD_GUARD_ALL;
    bool soon = g->n && judge(g, full ? MIN(PD_GUARD_ALL / g->n, PD_GUARD_BYTES) : PD_GUARD_BYTES);

    if (g->n)
        loop_timer_arm(g->loop, t, clock_deadline(soon ? SECOND_LOOK : TICK));
}

static uint16_t port_of(const union address *a)
{
    return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

/* The number may name something else by now, which is left alone. */
static bool is_ours(const struct pd_guard *g, int fd)
{
    union address at = {0};
    socklen_t len = sizeof at;
    int listening = 0;
    socklen_t size = sizeof listening;

    return !getsockname(fd, &at.any, &len) &&
           (at.any.sa_family == AF_INET || at.any.sa_family == AF_INET6) &&
           port_of(&at) == g->port &&
           !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) && !listening;
}

static int reserve(struct pd_guard *g, size_t number)
{
    size_t cap = MAX(g->cap * 2, number + 64);
    struct pd_guard_conn *conns;

    if (number < g->cap)
        return 0;
    conns = reallocarray(g->conns, cap, sizeof *conns);
    if (!conns)
        return -ENOMEM;
    memset(conns + g->cap, 0, (cap - g->cap) * sizeof *conns);
    g->conns = conns;
    g->cap = cap;
    return 0;
}

static void print_address(int fd, char out[INET6_ADDRSTRLEN])
{
    union address peer = {0};
    socklen_t len = sizeof peer;
    const void *host = &peer.v4.sin_addr;

    if (getpeername(fd, &peer.any, &len))
        return;
    if (peer.any.sa_family == AF_INET6)
        host = &peer.v6.sin6_addr;
    inet_ntop(peer.any.sa_family, host, out, INET6_ADDRSTRLEN);
}

void pd_guard_accepted(struct pd_guard *g, int number)
{
    AUTO_CLOSE int fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
    struct pd_guard_conn *c = find(g, number);

    if (c)
        drop(g, c);
    if (fd < 0 || !is_ours(g, fd))
        return;
    if (g->n >= PD_GUARD_CONNECTIONS || reserve(g, (size_t)number)) {
        shut(g, fd);
        return;
    }
    c = &g->conns[number];
    c->inode = inode_of(fd);
    print_address(fd, c->address);
    if (g->n++ == 0)
        loop_timer_arm(g->loop, &g->tick, clock_deadline(TICK));
}

/* What was read already of the next message counts for that. */
void pd_guard_delivered(struct pd_guard *g, int number, uint64_t size)
{
    AUTO_CLOSE int fd = open_conn(g, number);
    struct pd_guard_conn *c;
    uint64_t bytes;

    if (fd < 0)
        return;
    c = &g->conns[number];
    c->delivered = true;
    c->base += size;
    bytes = bytes_read(fd);
    if (bytes > c->base && bytes - c->base < OVERHEAD)
        c->base = bytes;
}

void pd_guard_gone(struct pd_guard *g, int number, char address[64])
{
    struct pd_guard_conn *c = find(g, number);

    snprintf(address, 64, "%s", c && c->address[0] ? c->address : "a peer");
    if (c)
        drop(g, c);
}

void pd_guard_init(struct pd_guard *g, struct loop *loop, uint16_t port, uint64_t *shut)
{
    *g = (struct pd_guard){.loop = loop, .port = port, .shut = shut, .tick.expired = tick};
}

void pd_guard_fini(struct pd_guard *g)
{
    if (g->loop)
        loop_timer_cancel(g->loop, &g->tick);
    free(g->conns);
}
