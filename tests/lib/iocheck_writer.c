/*
 * Point 1 as l2fs promises it: a file that another process writes for the first time is not there
 * yet. An open waits for its writer and then sees all of it, or gives ENOENT; with O_NONBLOCK it
 * gives EAGAIN; a part is never seen. The process that writes sees its own file at once.
 */
#include "iocheck.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct half {
    const char *name;
    int go, opening;
};

/*
 * The waiting reader: must come back with the whole file after the writer's close. It is started before the file
 * is made, so that it does not inherit the writer's descriptor.
 */
static void half_reader(void *arg)
{
    struct half *h = arg;
    int fd;

    gate_wait(h->go);
    ERR(open(h->name, O_RDONLY | O_NONBLOCK), EAGAIN);
    gate_post(h->opening, 1);
    fd = OPEN(h->name, O_RDONLY);
    fd_check(fd, 1, 300000);
    OK(close(fd));
}

/* In the middle of openat? That is where a reader waits. Bounded: there is no event for it. */
static void await_openat(pid_t pid)
{
    char path[64], buf[16];

    file_copy_name(path, sizeof(path), "/proc/%d/syscall", (int)pid);
    for (unsigned i = 0; i < 2000; i++) {
        int fd = open(path, O_RDONLY);
        long nr = -1;

        if (fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0)
            nr = strtol(buf, NULL, 10);
        close(fd);
        if (nr == SYS_openat)
            return;
        usleep(1000);
    }
    CHECK(0, "process %d does not open anything", (int)pid);
}

static void b01_writer_half(void)
{
    struct half h = {"k.bin", gate_new(), gate_new()};
    char *buf = io_pattern(300000, 1);
    pid_t pid = io_spawn(half_reader, &h);
    int fd = OPEN("k.bin", O_WRONLY | O_CREAT | O_EXCL);

    io_pwrite(fd, buf, 100000, 0);
    gate_post(h.go, 1);
    gate_wait(h.opening);
    await_openat(pid);
    io_pwrite(fd, buf + 100000, 200000, 100000);
    OK(close(fd));
    io_join(pid);
}

/* The same, with publication by a rename while the descriptor stays open: the waiting open was of
 * the old name. */
static void b01_writer_renames(void)
{
    struct half h = {"k.bin_5.tmp", gate_new(), gate_new()};
    char *buf = io_pattern(300000, 1);
    pid_t pid = io_spawn(half_reader, &h);
    int fd = OPEN("k.bin_5.tmp", O_WRONLY | O_CREAT | O_EXCL);

    io_pwrite(fd, buf, 100000, 0);
    gate_post(h.go, 1);
    gate_wait(h.opening);
    await_openat(pid);
    io_pwrite(fd, buf + 100000, 200000, 100000);
    OK(rename("k.bin_5.tmp", "k.bin"));
    io_join(pid); /* the descriptor is still open */
    OK(close(fd));
    file_check("k.bin", 1, 300000);
}

/* Readers beside writers that write in place, in steps, without a temporary name: whole or ENOENT.
 */
static void race_writer(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 60 / io_scale + 10; i++) {
        char *buf = io_pattern(400000, 7), name[16];
        int fd;

        file_copy_name(name, sizeof(name), "r%u.bin", i % 8);
        if (i >= 8)
            OK(unlink(name));
        fd = OPEN(name, O_WRONLY | O_CREAT | O_EXCL);
        for (unsigned at = 0; at < 400000; at += 20000)
            io_pwrite(fd, buf + at, 20000, at);
        OK(close(fd));
    }
    file_write("stop", 1, 0);
}

static void race_reader(unsigned i, void *arg)
{
    unsigned whole = 0;

    (void)arg;
    while (!file_exists("stop")) {
        char name[16];
        int fd;

        file_copy_name(name, sizeof(name), "r%u.bin", i++ % 8);
        fd = open(name, O_RDONLY | (i % 3 ? 0 : O_NONBLOCK));
        if (fd < 0) {
            CHECK(errno == ENOENT || (i % 3 == 0 && errno == EAGAIN), "open: %s", strerror(errno));
            continue;
        }
        fd_check(fd, 7, 400000);
        OK(close(fd));
        whole++;
    }
    CHECK(whole > 0, "never read one");
}

static void b01_writer_race(void)
{
    pid_t pid = io_spawn(race_writer, NULL);

    io_each(3, race_reader, NULL);
    io_join(pid);
}

/* FUSE_INTERRUPT: a signal with a handler ends a waiting open with EINTR, at once. */
static void handler(int sig UNUSED)
{
}

static void interrupted_reader(void *arg)
{
    struct half *h = arg;
    struct sigaction sa = {.sa_handler = handler};

    OK(sigaction(SIGUSR1, &sa, NULL));
    gate_post(h->opening, 1);
    ERR(open("k.bin", O_RDONLY), EINTR);
}

static void b01_writer_interrupt(void)
{
    struct half h = {"k.bin", gate_new(), gate_new()};
    int fd = OPEN("k.bin", O_WRONLY | O_CREAT | O_EXCL);
    double start;
    pid_t pid;

    EQ(write(fd, "x", 1), 1);
    pid = io_spawn(interrupted_reader, &h);
    gate_wait(h.opening);
    await_openat(pid);
    start = io_now();
    OK(kill(pid, SIGUSR1));
    io_join(pid);
    CHECK(io_now() - start < 1, "the signal was answered after %.1f s", io_now() - start);
    OK(close(fd));
}

/* stat and readdir never wait, and the writer's threads are the writer. */
static void *own_thread(void *arg)
{
    char got[1000];
    int fd = OPEN("k.bin", O_RDONLY);

    (void)arg;
    EQ(read(fd, got, 1000), 1000);
    PAT(got, 1000, 1, 0);
    OK(close(fd));
    return NULL;
}

static void stat_only(void *arg)
{
    double start = io_now();
    struct stat st;

    (void)arg;
    OK(stat("k.bin", &st));
    CHECK(io_now() - start < 0.5, "stat took %.1f s", io_now() - start);
}

static void b01_writer_own_threads(void)
{
    char *buf = io_pattern(1000, 1);
    int fd = OPEN("k.bin", O_WRONLY | O_CREAT | O_EXCL);
    pthread_t t;

    io_pwrite(fd, buf, 1000, 0);
    EQ(pthread_create(&t, NULL, own_thread, NULL), 0);
    EQ(pthread_join(t, NULL), 0);
    io_join(io_spawn(stat_only, NULL));
    OK(close(fd));
}

const struct iocase iocheck_writer[] = {
    {"b01_writer_half", b01_writer_half, true},
    {"b01_writer_renames", b01_writer_renames, true},
    {"b01_writer_race", b01_writer_race, true},
    {"b01_writer_interrupt", b01_writer_interrupt, true},
    {"b01_writer_own_threads", b01_writer_own_threads, true},
    {NULL, NULL, false},
};
