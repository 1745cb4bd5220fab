/* bench_resp.c - the three requests of Redis that a cache needs, as a client in C sends them. */
#include "bench_resp.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HEAD 256
#define TIMEOUT_SECONDS 60

static int failed(const char *what)
{
    return bench_error("redis: %s: %s", what, strerror(errno));
}

static int send_all(struct resp *c, const void *data, size_t len)
{
    for (const char *p = data; len;) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

        if (n <= 0)
            return failed("send");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int receive(struct resp *c, void *data, size_t len)
{
    for (char *p = data; len;) {
        ssize_t n = recv(c->fd, p, len, 0);

        if (n <= 0) {
            errno = n ? errno : ECONNRESET;
            return failed("recv");
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* One line without its end: what a reply begins with. Looks before it takes, so that nothing of a body is taken. */
static int receive_line(struct resp *c, char line[HEAD])
{
    for (;;) {
        ssize_t n = recv(c->fd, line, HEAD - 1, MSG_PEEK);
        char *end;

        if (n <= 0) {
            errno = n ? errno : ECONNRESET;
            return failed("recv");
        }
        line[n] = '\0';
        end = strchr(line, '\n');
        if (!end && n == HEAD - 1)
            return bench_error("redis: a line without end");
        if (receive(c, line, end ? (size_t)(end + 1 - line) : 0))
            return -1;
        if (end) {
            *end = '\0';
            return line[0] == '-' ? bench_error("redis: %s", line) : 0;
        }
    }
}

int resp_open(struct resp *c, const char *socket_path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = TIMEOUT_SECONDS};

    if (strlen(socket_path) >= sizeof(at.sun_path))
        return bench_error("%s: path too long", socket_path);
    strcpy(at.sun_path, socket_path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
        connect(c->fd, (struct sockaddr *)&at, sizeof(at)))
        return failed(socket_path);
    return 0;
}

int resp_set(struct resp *c, const char *key, uint64_t size)
{
    char head[HEAD];
    int n = snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%llu\r\n", strlen(key),
                     key, (unsigned long long)size);
    int rc = send_all(c, head, (size_t)n);

    for (uint64_t left = size; left && !rc; left -= MIN(left, c->piece))
        rc = send_all(c, c->buf, (size_t)MIN(left, c->piece));
    rc = rc ? rc : send_all(c, "\r\n", 2);
    return rc ? rc : receive_line(c, head);
}

int resp_get(struct resp *c, const char *key, uint64_t size)
{
    char head[HEAD], end[2];
    int n = snprintf(head, sizeof(head), "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
    int rc = send_all(c, head, (size_t)n);

    rc = rc ? rc : receive_line(c, head);
    if (!rc && (head[0] != '$' || strtoull(head + 1, NULL, 10) != size))
        return bench_error("redis: %s is not there whole: %s", key, head);
    for (uint64_t left = size; left && !rc; left -= MIN(left, c->piece))
        rc = receive(c, c->buf, (size_t)MIN(left, c->piece));
    return rc ? rc : receive(c, end, 2);
}

int resp_del(struct resp *c, const char *key)
{
    char head[HEAD];
    int n = snprintf(head, sizeof(head), "*2\r\n$3\r\nDEL\r\n$%zu\r\n%s\r\n", strlen(key), key);

    return send_all(c, head, (size_t)n) ? -1 : receive_line(c, head);
}
