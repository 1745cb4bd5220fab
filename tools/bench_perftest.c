/* bench_perftest.c - ucx_perftest between two processes of this machine over tcp: what UCX itself does
 * with messages of a size, memory to memory.
 */
#include "bench_pd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "clock.h"

#define TRIES 100                 /* until the server listens */
#define LIMIT (20 * NSEC_PER_SEC) /* it hangs at times */

/* A port that was free a moment ago, or -1. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        return -1;
    return ntohs(at.sin_port);
}

/* Its output goes to `out`. The process, or -1. */
static pid_t start(const char *const argv[], int out)
{
    pid_t pid = fork();
    int null;

    if (pid)
        return pid;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, 0);
    dup2(out >= 0 ? out : null, 1);
    dup2(null, 2);
    setenv("UCX_TLS", "tcp", 1);
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

static bool try_client(const char *const argv[], double *bytes_per_second)
{
    char text[8192];
    int pipes[2];
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC))
        return false;
    pid = start(argv, pipes[1]);
    close(pipes[1]);
    read_all(pipes[0], clock_deadline(LIMIT), text, sizeof(text));
    close(pipes[0]);
    end(pid);
    return parse(text, bytes_per_second);
}

/* A server and a client, once. */
static bool run_pair(const char *const server[], const char *const client[],
                     double *bytes_per_second)
{
    uint64_t deadline = clock_deadline(LIMIT);
    pid_t pid = start(server, -1);
    bool done = false;

    for (int i = 0; i < TRIES && !done && !bench_stop && clock_now() < deadline; i++) {
        if (i)
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        done = try_client(client, bytes_per_second);
    }
    end(pid);
    return done;
}

int perftest_run(uint64_t size, unsigned count, double *bytes_per_second)
{
    char port[16], bytes[32], n[16];
    const char *server[] = {"ucx_perftest", "-p", port, NULL};
    const char *client[] = {"ucx_perftest", "127.0.0.1", "-p", port, "-t", "tag_bw", "-s",
                            bytes,          "-n",        n,    "-w", "2",  NULL};

    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
    snprintf(n, sizeof(n), "%u", count);
    for (int i = 0; i < 3 && !bench_stop; i++) {
        snprintf(port, sizeof(port), "%d", free_port());
        if (run_pair(server, client, bytes_per_second))
            return 0;
    }
    return bench_error(
        "ucx_perftest gives no figure: is it installed (ucx-utils), and not hanging?");
}
