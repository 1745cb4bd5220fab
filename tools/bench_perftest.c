/* bench_perftest.c - ucx_perftest between two processes of this machine over tcp: what UCX itself does
 * with messages of a size, memory to memory. Each runs where the daemon of its mount runs: in the same
 * network namespace, over the interface that leads to the peer.
 */
#include "bench_pd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "clock.h"
#include "netdev.h"

#define TRIES 100                 /* until the server listens */
#define LIMIT (20 * NSEC_PER_SEC) /* it hangs at times */

int perftest_free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        return -1;
    return ntohs(at.sin_port);
}

/* The mount namespace as well: UCX looks for interfaces in /sys. */
static bool join(int pid, const char *ns, int type)
{
    char theirs[64], ours[64];
    struct stat a, b;
    AUTO_CLOSE int fd = -1;

    snprintf(theirs, sizeof(theirs), "/proc/%d/ns/%s", pid, ns);
    snprintf(ours, sizeof(ours), "/proc/self/ns/%s", ns);
    if (!pid || stat(theirs, &a) || stat(ours, &b) || a.st_ino == b.st_ino)
        return true;
    fd = open(theirs, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && !setns(fd, type);
}

/* UCX would take any. */
static void choose_device(const char *host)
{
    struct text device = {0};

    if (netdev_add_route(host, &device) && !device.failed)
        setenv("UCX_NET_DEVICES", device.data, 1);
    text_fini(&device);
}

struct place {
    int pid;          /* runs where this does */
    const char *host; /* of the server */
};

/* Its output goes to `out`. The process, or -1. */
static pid_t start(const struct place *place, const char *const argv[], int out)
{
    pid_t pid = fork();
    int null;

    if (pid)
        return pid;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, 0);
    dup2(out >= 0 ? out : null, 1);
    dup2(null, 2);
    if (!join(place->pid, "net", CLONE_NEWNET) || !join(place->pid, "mnt", CLONE_NEWNS))
        _exit(126);
    setenv("UCX_TLS", "tcp", 1);
    choose_device(place->host);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

static void end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* What it prints until it ends, or the deadline. */
static void read_all(int fd, uint64_t deadline, char *buf, size_t cap)
{
    size_t have = 0;
    ssize_t n = 1;

    while (n > 0 && have < cap - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (poll(&p, 1, clock_left_ms(deadline)) <= 0)
            break;
        n = read(fd, buf + have, cap - 1 - have);
        have += n > 0 ? (size_t)n : 0;
    }
    buf[have] = '\0';
}

/* Final: iterations, three times in us, MB/s average and overall (of 2^20), two rates. */
static bool parse(const char *text, double *bytes_per_second)
{
    const char *final = strstr(text, "Final:");
    double mb = 0;

    if (!final || sscanf(final, "Final: %*s %*s %*s %*s %*s %lf", &mb) != 1 || !(mb > 0))
        return false;
    *bytes_per_second = mb * (double)MIB;
    return true;
}

static bool try_client(const struct place *place, const char *const argv[],
                       double *bytes_per_second)
{
    char text[8192];
    int pipes[2];
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC))
        return false;
    pid = start(place, argv, pipes[1]);
    close(pipes[1]);
    read_all(pipes[0], clock_deadline(LIMIT), text, sizeof(text));
    close(pipes[0]);
    end(pid);
    return parse(text, bytes_per_second);
}

/* A server and a client, once. */
static bool run_pair(const struct perftest *t, const char *const server[],
                     const char *const client[], double *bytes_per_second)
{
    struct place receives = {t->receiver, t->host}, sends = {t->sender, t->host};
    uint64_t deadline = clock_deadline(LIMIT);
    pid_t pid = start(&receives, server, -1);
    bool done = false;

    for (int i = 0; i < TRIES && !done && !bench_stop && clock_now() < deadline; i++) {
        if (i)
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        done = try_client(&sends, client, bytes_per_second);
    }
    end(pid);
    return done;
}

int perftest_run(const struct perftest *t, double *bytes_per_second)
{
    char port[16], bytes[32], n[16];
    const char *server[] = {"ucx_perftest", "-p", port, NULL};
    const char *client[] = {"ucx_perftest", t->host, "-p", port, "-t", "tag_bw", "-s",
                            bytes,          "-n",    n,    "-w", "2",  NULL};

    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)t->size);
    snprintf(n, sizeof(n), "%u", t->count);
    for (int i = 0; i < 3 && !bench_stop; i++) {
        snprintf(port, sizeof(port), "%d", perftest_free_port());
        if (run_pair(t, server, client, bytes_per_second))
            return 0;
    }
    return bench_error(
        "ucx_perftest gives no figure: is it installed (ucx-utils), and not hanging?");
}
