/*
 * Point 15: flock and POSIX record locks between processes, as RTP-LLM and lock-file users need
 * them, and that a lock dies with its holder.
 */
#include "iocheck.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

struct lock {
    int ready, go;
};

/* RTP-LLM's start: the second instance is refused. The holder has just made the file and keeps it
 * open. */
static void flock_holder(void *arg)
{
    struct lock *l = arg;
    int fd = OPEN(".lock", O_RDWR | O_CREAT | O_CLOEXEC);

    OK(flock(fd, LOCK_EX | LOCK_NB));
    gate_post(l->ready, 1);
    gate_wait(l->go);
}

static void b15_flock(void)
{
    struct lock l = {.ready = gate_new(), .go = gate_new()};
    pid_t pid = io_spawn(flock_holder, &l);
    int fd, again;

    gate_wait(l.ready);
    fd = OPEN(".lock", O_RDWR | O_CREAT | O_CLOEXEC);
    ERR(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    ERR(flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    gate_post(l.go, 1);
    io_join(pid); /* its end released the lock */
    OK(flock(fd, LOCK_EX | LOCK_NB));
    again = OPEN(".lock", O_RDWR);
    ERR(flock(again, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    OK(flock(fd, LOCK_UN));
    OK(flock(again, LOCK_SH | LOCK_NB));
    OK(flock(fd, LOCK_SH | LOCK_NB));
    ERR(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    OK(close(again));
    OK(flock(fd, LOCK_EX | LOCK_NB));
    OK(close(fd));
}

static void flock_waiter(void *arg)
{
    struct lock *l = arg;
    int fd = OPEN(".lock", O_RDWR | O_CREAT);

    gate_post(l->ready, 1);
    OK(flock(fd, LOCK_EX)); /* waits */
    EQ(file_size("released"), 0);
}

static void b15_flock_waits(void)
{
    struct lock l = {.ready = gate_new(), .go = gate_new()};
    int fd = OPEN(".lock", O_RDWR | O_CREAT);
    pid_t pid;

    OK(flock(fd, LOCK_EX));
    pid = io_spawn(flock_waiter, &l);
    gate_wait(l.ready);
    file_write("released", 1, 0);
    OK(flock(fd, LOCK_UN));
    io_join(pid);
    OK(close(fd));
}

static int record(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock f = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    return fcntl(fd, cmd, &f);
}

static void posix_holder(void *arg)
{
    struct lock *l = arg;
    int fd = OPEN("f", O_RDWR);

    OK(record(fd, F_SETLK, F_WRLCK, 0, 100));
    OK(record(fd, F_SETLK, F_RDLCK, 200, 100));
    gate_post(l->ready, 1);
    gate_wait(l->go);
}

static void b15_posix(void)
{
    struct lock l = {.ready = gate_new(), .go = gate_new()};
    struct flock q = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 50, .l_len = 1};
    pid_t pid;
    int fd;

    file_write("f", 1, 1000);
    pid = io_spawn(posix_holder, &l);
    gate_wait(l.ready);
    fd = OPEN("f", O_RDWR);
    CHECK(record(fd, F_SETLK, F_WRLCK, 50, 10) < 0 && (errno == EAGAIN || errno == EACCES),
          "F_SETLK of a locked range: %s", strerror(errno));
    OK(record(fd, F_SETLK, F_WRLCK, 100, 100));
    OK(record(fd, F_SETLK, F_RDLCK, 200, 10));
    CHECK(record(fd, F_SETLK, F_WRLCK, 250, 10) < 0 && (errno == EAGAIN || errno == EACCES),
          "F_SETLK over a read lock: %s", strerror(errno));
    OK(fcntl(fd, F_GETLK, &q));
    EQ(q.l_type, F_WRLCK);
    EQ(q.l_pid, pid);
    EQ(q.l_start, 0);
    EQ(q.l_len, 100);
    gate_post(l.go, 1);
    io_join(pid);
    OK(record(fd, F_SETLK, F_WRLCK, 0, 1000));
    OK(record(fd, F_SETLK, F_UNLCK, 0, 0));
    OK(close(fd));
}

static void posix_waiter(void *arg)
{
    struct lock *l = arg;
    int fd = OPEN("f", O_RDWR);

    gate_post(l->ready, 1);
    OK(record(fd, F_SETLKW, F_WRLCK, 0, 0));
    EQ(file_size("released"), 0);
}

static void b15_posix_waits(void)
{
    struct lock l = {.ready = gate_new(), .go = gate_new()};
    pid_t pid;
    int fd;

    file_write("f", 1, 1000);
    fd = OPEN("f", O_RDWR);
    OK(record(fd, F_SETLK, F_WRLCK, 0, 0));
    pid = io_spawn(posix_waiter, &l);
    gate_wait(l.ready);
    file_write("released", 1, 0);
    OK(close(fd)); /* closing any descriptor of the file releases the lock */
    io_join(pid);
}

static void b15_ofd(void)
{
    int a, b;

    file_write("f", 1, 1000);
    a = OPEN("f", O_RDWR);
    b = OPEN("f", O_RDWR);
    OK(record(a, F_OFD_SETLK, F_WRLCK, 0, 0));
    ERR(record(b, F_OFD_SETLK, F_WRLCK, 0, 0), EAGAIN);
    OK(close(a));
    OK(record(b, F_OFD_SETLK, F_WRLCK, 0, 0));
    OK(close(b));
}

/* A holder that is killed holds nothing. */
static void b15_killed(void)
{
    struct lock l = {.ready = gate_new(), .go = gate_new()};
    pid_t pid = io_spawn(flock_holder, &l);
    int fd, status;

    gate_wait(l.ready);
    OK(kill(pid, SIGKILL));
    EQ(waitpid(pid, &status, 0), pid);
    fd = OPEN(".lock", O_RDWR | O_CREAT);
    OK(flock(fd, LOCK_EX | LOCK_NB));
    OK(close(fd));
}

/* Lock files are rewritten in place: ftruncate(0) and a new text (Tair's lock-file backend). */
static void b15_lock_file(void)
{
    char got[64];

    for (unsigned i = 0; i < 20; i++) {
        int fd = OPEN("registry.lock", O_RDWR | O_CREAT), n;
        char text[64];

        OK(flock(fd, LOCK_EX));
        n = snprintf(text, sizeof(text), "{\"owner\": %u}", 1U << i);
        OK(ftruncate(fd, 0));
        EQ(write(fd, text, (size_t)n), n);
        EQ(pread(fd, got, sizeof(got), 0), n);
        CHECK(!memcmp(got, text, (size_t)n), "read back '%.*s'", n, got);
        OK(flock(fd, LOCK_UN));
        OK(close(fd));
    }
}

const struct iocase iocheck_locks[] = {
    {"b15_flock", b15_flock, false},
    {"b15_flock_waits", b15_flock_waits, false},
    {"b15_posix", b15_posix, false},
    {"b15_posix_waits", b15_posix_waits, false},
    {"b15_ofd", b15_ofd, false},
    {"b15_killed", b15_killed, false},
    {"b15_lock_file", b15_lock_file, false},
    {NULL, NULL, false},
};
