/*
 * Points 14, 16 and 17: many flushes per open, the fsync family, extended attributes, ioctl, lseek
 * with holes, poll, side files, and the exact error numbers.
 */
#include "iocheck.h"

#include <dirent.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <termios.h>

/* numpy.tofile closes two descriptors of one open: flushes arrive twice, the last write may come
 * between. */
static void b14_flush_many(void)
{
    char *buf = io_pattern(100000, 1);
    int fd = OPEN("f", O_WRONLY | O_CREAT | O_TRUNC);

    for (unsigned i = 0; i < 100; i++) {
        int dup = (int)OK(fcntl(fd, F_DUPFD_CLOEXEC, 0));

        EQ(write(dup, buf + i * 1000, 1000), 1000);
        OK(close(dup));
    }
    OK(close(fd));
    file_check("f", 1, 100000);
}

/* A child that inherits the descriptor closes it: a flush, not the end of the writing. */
static void close_inherited(void *arg)
{
    OK(close(*(int *)arg));
}

static void b14_flush_fork(void)
{
    char *buf = io_pattern(20000, 2);
    int fd = OPEN("f.tmp", O_WRONLY | O_CREAT | O_EXCL);

    EQ(write(fd, buf, 10000), 10000);
    io_join(io_spawn(close_inherited, &fd));
    EQ(write(fd, buf + 10000, 10000), 10000);
    OK(close(fd));
    OK(rename("f.tmp", "f"));
    file_check("f", 2, 20000);
}

static void b14_fsync(void)
{
    char *buf = io_pattern(100000, 3);
    int fd = OPEN("f", O_RDWR | O_CREAT), dir = OPEN(".", O_RDONLY | O_DIRECTORY);

    OK(fsync(fd));
    io_pwrite(fd, buf, 50000, 0);
    OK(fdatasync(fd));
    io_pwrite(fd, buf + 50000, 50000, 50000);
    OK(fsync(fd));
    OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    fd_check(fd, 3, 100000);
    OK(close(fd));
    OK(rename("f", "g"));
    OK(fsync(dir));
    OK(fdatasync(dir));
    OK(syncfs(dir));
    OK(close(dir));
    fd = OPEN("g", O_RDONLY); /* ktransformers syncs after reads */
    OK(fdatasync(fd));
    OK(fsync(fd));
    fd_check(fd, 3, 100000);
    OK(close(fd));
    OK(unlink("g"));
}

static void b14_fsync_unlinked(void)
{
    char *buf = io_pattern(100000, 3);
    int fd = OPEN("f", O_RDWR | O_CREAT);

    io_pwrite(fd, buf, 100000, 0);
    OK(unlink("f"));
    OK(fsync(fd));
    OK(fdatasync(fd));
    fd_check(fd, 3, 100000);
    OK(close(fd));
}

/* user.* is either refused as a whole or kept; on an l2fs mount it is kept, and follows a rename.
 */
static void b16_xattr(void)
{
    char val[256], list[4096], *p;
    bool found = false;
    ssize_t n;

    file_write("f", 1, 100);
    if (setxattr("f", "user.engine.model", "llama", 5, 0) < 0) {
        CHECK(errno == EOPNOTSUPP && !on_l2fs, "setxattr: %s", strerror(errno));
        ERR(getxattr("f", "user.engine.model", val, sizeof(val)), EOPNOTSUPP);
        return;
    }
    EQ(getxattr("f", "user.engine.model", val, sizeof(val)), 5);
    CHECK(!memcmp(val, "llama", 5), "value");
    EQ(getxattr("f", "user.engine.model", NULL, 0), 5);
    ERR(getxattr("f", "user.engine.model", val, 3), ERANGE);
    ERR(getxattr("f", "user.engine.none", val, sizeof(val)), ENODATA);
    ERR(setxattr("f", "user.engine.model", "x", 1, XATTR_CREATE), EEXIST);
    ERR(setxattr("f", "user.engine.new", "x", 1, XATTR_REPLACE), ENODATA);
    OK(rename("f", "g"));
    EQ(getxattr("g", "user.engine.model", val, sizeof(val)), 5);
    n = OK(listxattr("g", list, sizeof(list)));
    for (p = list; p < list + n; p += strlen(p) + 1)
        found |= !strcmp(p, "user.engine.model");
    CHECK(found, "not listed");
    OK(removexattr("g", "user.engine.model"));
    ERR(getxattr("g", "user.engine.model", val, sizeof(val)), ENODATA);
    ERR(removexattr("g", "user.engine.model"), ENODATA);
    file_check("g", 1, 100);
}

static void b16_security_xattr(void)
{
    char val[64];

    file_write("f", 1, 100);
    CHECK(getxattr("f", "security.capability", val, sizeof(val)) < 0 &&
              (errno == ENODATA || errno == EOPNOTSUPP),
          "security.capability: %s", strerror(errno));
}

/* Every open() of Python asks whether the file is a terminal. */
static void b16_ioctl(void)
{
    struct termios t;
    int fd, n;

    file_write("f", 1, 100);
    fd = OPEN("f", O_RDWR);
    ERR(ioctl(fd, TCGETS, &t), ENOTTY);
    ERR(ioctl(fd, TIOCGWINSZ, &n), ENOTTY);
    CHECK(ioctl(fd, 0x5d01, 0) < 0 && (errno == ENOTTY || errno == EINVAL), "unknown ioctl: %s",
          strerror(errno));
    EQ(isatty(fd), 0);
    fd_check(fd, 1, 100);
    OK(close(fd));
}

static void b16_lseek(void)
{
    off_t data, hole;
    char *buf = io_pattern(64 * KIB, 1);
    int fd = OPEN("f", O_RDWR | O_CREAT);

    io_pwrite(fd, buf, 64 * KIB, 2 * (off_t)MIB);
    OK(ftruncate(fd, 4 * (off_t)MIB));
    OK(fsync(fd));
    EQ(lseek(fd, 100, SEEK_SET), 100);
    EQ(lseek(fd, 50, SEEK_CUR), 150);
    EQ(lseek(fd, -10, SEEK_END), 4 * MIB - 10);
    ERR(lseek(fd, -1, SEEK_SET), EINVAL);
    data = lseek(fd, 0, SEEK_DATA);
    CHECK(data >= 0 && data <= 2 * (off_t)MIB, "first data at %lld", (long long)data);
    hole = lseek(fd, data, SEEK_HOLE);
    CHECK(hole == 4 * (off_t)MIB || (hole >= 2 * (off_t)MIB + 65536 && hole < 4 * (off_t)MIB),
          "first hole after it at %lld", (long long)hole);
    ERR(lseek(fd, 4 * (off_t)MIB, SEEK_DATA), ENXIO);
    ERR(lseek(fd, 4 * (off_t)MIB + 1, SEEK_HOLE), ENXIO);
    OK(close(fd));
}

static void b16_poll(void)
{
    struct pollfd p = {.events = POLLIN | POLLOUT};

    file_write("f", 1, 100);
    p.fd = OPEN("f", O_RDWR);
    EQ(poll(&p, 1, 1000), 1);
    EQ(p.revents, POLLIN | POLLOUT);
    OK(close(p.fd));
    p.fd = OPEN("f", O_RDONLY | O_NONBLOCK);
    p.events = POLLIN;
    EQ(poll(&p, 1, 1000), 1);
    EQ(p.revents, POLLIN);
    fd_check(p.fd, 1, 100);
    OK(close(p.fd));
}

static void b16_fadvise(void)
{
    static const int advice[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                 POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
    int fd;

    file_write("f", 1, MIB);
    fd = OPEN("f", O_RDONLY);
    for (size_t i = 0; i < ARRAY_LEN(advice); i++) {
        EQ(posix_fadvise(fd, 0, 0, advice[i]), 0);
        fd_check(fd, 1, MIB);
    }
    EQ(readahead(fd, 0, MIB), 0);
    OK(close(fd));
}

/* Small files beside the blocks: config.json written with "w", rewritten, read as text. */
static void b16_side_files(void)
{
    static const char json[] = "{\"block_size\": 256, \"model\": \"m\"}\n";
    static const char *const names[] = {"config.json", "k.metadata", ".lock", "model.gguf",
                                        "kv_cache.meta"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (unsigned n = 0; n < 3; n++) {
            char got[100];
            FILE *f = fopen(names[i], "w");

            CHECK(f, "fopen: %s", strerror(errno));
            EQ(fputs(json + n, f) >= 0, 1);
            EQ(fclose(f), 0);
            f = fopen(names[i], "r");
            CHECK(f, "fopen: %s", strerror(errno));
            CHECK(fgets(got, sizeof(got), f), "fgets");
            CHECK(!strcmp(got, json + n), "%s: '%s'", names[i], got);
            EQ(fclose(f), 0);
        }
    }
}

static void b17_errnos(void)
{
    struct stat st;
    char c;
    int fd;

    OK(mkdir("d", 0755));
    file_write("f", 1, 10);
    ERR(open("none", O_RDONLY), ENOENT);
    ERR(stat("none", &st), ENOENT);
    ERR(stat("d/none", &st), ENOENT);
    ERR(stat("f/none", &st), ENOTDIR);
    ERR(stat("", &st), ENOENT);
    ERR(unlink("none"), ENOENT);
    ERR(unlink("d"), EISDIR);
    ERR(unlink("f/x"), ENOTDIR);
    ERR(rmdir("f"), ENOTDIR);
    ERR(rmdir("none"), ENOENT);
    ERR(mkdir("d", 0755), EEXIST);
    ERR(mkdir("f", 0755), EEXIST);
    ERR(mkdir("none/x", 0755), ENOENT);
    ERR(mkdir("f/x", 0755), ENOTDIR);
    ERR(truncate("d", 0), EISDIR);
    ERR(chmod("none", 0644), ENOENT);
    ERR(chown("none", 0, 0), ENOENT);
    ERR(access("none", F_OK), ENOENT);
    ERR(opendir("f") ? 0 : -1, ENOTDIR);
    ERR(opendir("none") ? 0 : -1, ENOENT);
    fd = OPEN("d", O_RDONLY);
    ERR(read(fd, &c, 1), EISDIR);
    ERR(write(fd, &c, 1), EBADF);
    OK(close(fd));
    ERR(readlink("f", &c, 1), EINVAL);
    if (geteuid() != 0) {
        OK(chmod("f", 0));
        ERR(open("f", O_RDONLY), EACCES);
    }
}

/* A process of another user: permission bits are enforced, and the mount lets it in at all
 * (allow_other). */
static void other_user(void *arg)
{
    (void)arg;
    OK(syscall(SYS_setresgid, 12345, 12345, 12345));
    OK(syscall(SYS_setresuid, 12345, 12345, 12345));
    ERR(open("secret", O_RDONLY), EACCES);
    ERR(open("readable", O_WRONLY), EACCES);
    ERR(open("new", O_WRONLY | O_CREAT, 0644), EACCES);
    ERR(unlink("readable"), EACCES);
    file_check("readable", 1, 5000);
    file_write("open/mine", 2, 5000);
    file_check("open/mine", 2, 5000);
    CHECK(chmod("readable", 0666) < 0 && errno == EPERM, "chmod of another's file: %s",
          strerror(errno));
}

static void b17_permissions(void)
{
    struct stat st;

    if (geteuid() != 0)
        io_skip("needs root");
    umask(0);
    OK(chmod(".", 0755));
    file_write("secret", 1, 5000);
    OK(chmod("secret", 0600));
    file_write("readable", 1, 5000);
    OK(mkdir("open", 0777));
    io_join(io_spawn(other_user, NULL));
    OK(stat("open/mine", &st));
    EQ(st.st_uid, 12345);
    EQ(st.st_gid, 12345);
}

static void b17_symlink(void)
{
    char buf[64];

    file_write("f", 1, 10);
    if (on_l2fs) {
        ERR(symlink("f", "s"), EPERM);
        ERR(access("s", F_OK), ENOENT);
        return;
    }
    OK(symlink("f", "s"));
    EQ(readlink("s", buf, sizeof(buf)), 1);
}

const struct iocase iocheck_misc[] = {
    {"b14_flush_many", b14_flush_many, false},
    {"b14_flush_fork", b14_flush_fork, false},
    {"b14_fsync", b14_fsync, false},
    {"b14_fsync_unlinked", b14_fsync_unlinked, false},
    {"b16_xattr", b16_xattr, false},
    {"b16_security_xattr", b16_security_xattr, false},
    {"b16_ioctl", b16_ioctl, false},
    {"b16_lseek", b16_lseek, false},
    {"b16_poll", b16_poll, false},
    {"b16_fadvise", b16_fadvise, false},
    {"b16_side_files", b16_side_files, false},
    {"b17_errnos", b17_errnos, false},
    {"b17_permissions", b17_permissions, false},
    {"b17_symlink", b17_symlink, false},
    {NULL, NULL, false},
};
