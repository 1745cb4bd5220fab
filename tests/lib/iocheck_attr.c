/*
 * Points 4 and 5: setattr (size, mode, owner, times with UTIME_NOW and UTIME_OMIT apart), times
 * that move by themselves, st_blocks, and statvfs with true numbers that move.
 */
#include "iocheck.h"

#include <poll.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <utime.h>

/* A name of the slot-file kind: on an l2fs mount it lives on disk and may be of any size. */
static const char slot[] = "kv_cache.data";

static void b04_grow_shrink(void)
{
    char *buf = io_mem(64 * KIB);
    struct stat st;
    int fd;

    file_write("f", 1, 10000);
    OK(truncate("f", 50000));
    EQ(file_size("f"), 50000);
    fd = OPEN("f", O_RDWR);
    io_pread(fd, buf, 50000, 0);
    PAT(buf, 10000, 1, 0);
    for (unsigned i = 10000; i < 50000; i++)
        EQ(buf[i], 0);
    OK(ftruncate(fd, 5000));
    OK(fstat(fd, &st));
    EQ(st.st_size, 5000);
    EQ(pread(fd, buf, 64 * KIB, 0), 5000);
    PAT(buf, 5000, 1, 0);
    OK(ftruncate(fd, 10000)); /* what was cut off must not come back */
    io_pread(fd, buf, 10000, 0);
    for (unsigned i = 5000; i < 10000; i++)
        EQ(buf[i], 0);
    OK(ftruncate(fd, 0));
    EQ(pread(fd, buf, 10, 0), 0);
    OK(close(fd));
    EQ(file_size("f"), 0);
    ERR(truncate("f", -1), EINVAL);
    ERR(truncate("none", 5), ENOENT);
    OK(mkdir("d", 0755));
    ERR(truncate("d", 5), EISDIR);
    fd = OPEN("f", O_RDONLY);
    ERR(ftruncate(fd, 5), EINVAL);
    OK(close(fd));
}

static void b04_sparse_2t(void)
{
    off_t end = (off_t)(2 * TIB);
    char *buf = io_mem(3 * PAGE);
    struct stat st;
    int fd = OPEN(slot, O_RDWR | O_CREAT);

    OK(ftruncate(fd, end));
    OK(fstat(fd, &st));
    EQ(st.st_size, end);
    CHECK(st.st_blocks < (blkcnt_t)(GIB / 512), "sparse file has %lld blocks",
          (long long)st.st_blocks);
    for (off_t at = 0; at < end; at += (off_t)(256 * GIB) - 4095) {
        pat_fill(buf, PAGE, 5, (uint64_t)at);
        io_pwrite(fd, buf, PAGE, at);
    }
    for (off_t at = 0; at < end; at += (off_t)(256 * GIB) - 4095) {
        io_pread(fd, buf, 3 * PAGE, at);
        PAT(buf, PAGE, 5, (uint64_t)at);
        for (unsigned i = PAGE; i < 3 * PAGE; i++)
            EQ(buf[i], 0);
    }
    EQ(pread(fd, buf, PAGE, end), 0);
    EQ(pread(fd, buf, PAGE, end - 100), 100);
    OK(ftruncate(fd, 100));
    OK(fstat(fd, &st));
    EQ(st.st_size, 100);
    OK(close(fd));
}

static void b04_mode_owner(void)
{
    struct stat st;
    int fd;

    umask(0);
    fd = (int)OK(open("f", O_WRONLY | O_CREAT | O_EXCL, 0640));
    OK(fstat(fd, &st));
    EQ(st.st_mode, S_IFREG | 0640);
    EQ(st.st_nlink, 1);
    EQ(st.st_uid, geteuid());
    OK(fchmod(fd, 0600));
    OK(close(fd));
    OK(stat("f", &st));
    EQ(st.st_mode & 07777, 0600);
    OK(chmod("f", 0664));
    OK(stat("f", &st));
    EQ(st.st_mode & 07777, 0664);
    umask(027);
    OK(close((int)OK(open("g", O_WRONLY | O_CREAT, 0666))));
    OK(stat("g", &st));
    EQ(st.st_mode & 07777, 0640);
    OK(mkdir("d", 0777));
    OK(stat("d", &st));
    EQ(st.st_mode, S_IFDIR | 0750);
    OK(chown("f", geteuid(), getegid()));
    if (geteuid() == 0) {
        OK(chown("f", 1234, 4321));
        OK(stat("f", &st));
        EQ(st.st_uid, 1234);
        EQ(st.st_gid, 4321);
        OK(chown("f", (uid_t)-1, 7));
        OK(stat("f", &st));
        EQ(st.st_uid, 1234);
        EQ(st.st_gid, 7);
    }
}

static void times_are(const char *path, time_t a, long an, time_t m, long mn)
{
    struct stat st;

    OK(stat(path, &st));
    EQ(st.st_atim.tv_sec, a);
    EQ(st.st_atim.tv_nsec, an);
    EQ(st.st_mtim.tv_sec, m);
    EQ(st.st_mtim.tv_nsec, mn);
}

static void near_now(struct timespec ts)
{
    time_t now = time(NULL);

    CHECK(ts.tv_sec >= now - 120 && ts.tv_sec <= now + 2, "time %lld is not now (%lld)",
          (long long)ts.tv_sec, (long long)now);
}

static void b04_utimens(void)
{
    const struct timespec t[2] = {{1500000000, 123456789}, {1600000000, 987654321}};
    const struct timespec u[2] = {{1000, 1}, {2000, 2}};
    int fd;

    file_write("f", 1, 100);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    times_are("f", 1500000000, 123456789, 1600000000, 987654321);
    fd = OPEN("f", O_WRONLY);
    OK(futimens(fd, u));
    OK(close(fd));
    times_are("f", 1000, 1, 2000, 2);
    file_check("f", 1, 100);
    ERR(utimensat(AT_FDCWD, "none", t, 0), ENOENT);
}

/* llm-d: {UTIME_NOW, UTIME_OMIT} touches atime and nothing else. */
static void b04_utimens_omit(void)
{
    const struct timespec t[2] = {{1500000000, 5}, {1600000000, 6}};
    const struct timespec now_omit[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    const struct timespec omit_now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    const struct timespec omit_set[2] = {{0, UTIME_OMIT}, {777, 8}};
    const struct timespec set_omit[2] = {{666, 9}, {0, UTIME_OMIT}};
    const struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    struct stat st;

    file_write("f", 1, 100);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    OK(utimensat(AT_FDCWD, "f", now_omit, 0));
    OK(stat("f", &st));
    near_now(st.st_atim);
    EQ(st.st_mtim.tv_sec, 1600000000);
    EQ(st.st_mtim.tv_nsec, 6);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    OK(utimensat(AT_FDCWD, "f", omit_now, 0));
    OK(stat("f", &st));
    near_now(st.st_mtim);
    EQ(st.st_atim.tv_sec, 1500000000);
    EQ(st.st_atim.tv_nsec, 5);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    OK(utimensat(AT_FDCWD, "f", omit, 0));
    times_are("f", 1500000000, 5, 1600000000, 6);
    OK(utimensat(AT_FDCWD, "f", omit_set, 0));
    times_are("f", 1500000000, 5, 777, 8);
    OK(utimensat(AT_FDCWD, "f", set_omit, 0));
    times_are("f", 666, 9, 777, 8);
}

/* UCM: utime(path, NULL) sets both to now. */
static void b04_utime_null(void)
{
    const struct timespec t[2] = {{1000, 0}, {1000, 0}};
    struct stat st;

    file_write("f", 1, 100);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    OK(utime("f", NULL));
    OK(stat("f", &st));
    near_now(st.st_atim);
    near_now(st.st_mtim);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    OK(utimensat(AT_FDCWD, "f", NULL, 0));
    OK(stat("f", &st));
    near_now(st.st_atim);
    near_now(st.st_mtim);
}

/* atime is at least relatime-like; on an l2fs mount it moves at open already. */
static void b04_atime(void)
{
    const struct timespec t[2] = {{1000, 0}, {2000, 0}};
    struct statvfs vfs;
    struct stat st;
    char c;
    int fd;

    OK(statvfs(".", &vfs));
    if (!on_l2fs && vfs.f_flag & ST_NOATIME)
        io_skip("mounted noatime");
    file_write("f", 1, 100);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    fd = OPEN("f", O_RDONLY);
    if (!on_l2fs)
        EQ(read(fd, &c, 1), 1);
    OK(stat("f", &st));
    near_now(st.st_atim);
    EQ(st.st_mtim.tv_sec, 2000);
    EQ(read(fd, &c, 1), 1);
    OK(close(fd));
    OK(stat("f", &st));
    near_now(st.st_atim);
    EQ(st.st_mtim.tv_sec, 2000);
}

static void b04_mtime(void)
{
    const struct timespec t[2] = {{1000, 0}, {2000, 0}};
    struct stat st;
    int fd;

    file_write("f", 1, 100);
    OK(stat("f", &st));
    near_now(st.st_mtim);
    near_now(st.st_ctim);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    fd = OPEN("f", O_WRONLY);
    OK(close(fd));
    OK(stat("f", &st));
    EQ(st.st_mtim.tv_sec, 2000); /* an open for writing alone changes nothing */
    fd = OPEN("f", O_WRONLY);
    EQ(write(fd, "x", 1), 1);
    OK(close(fd));
    OK(stat("f", &st));
    near_now(st.st_mtim);
    OK(utimensat(AT_FDCWD, "f", t, 0));
    OK(truncate("f", 50));
    OK(stat("f", &st));
    near_now(st.st_mtim);
}

/* An mtime set through the open descriptor after the last write stays (tar, rsync, cp -p). */
static void b04_mtime_kept(void)
{
    const struct timespec t[2] = {{1000, 0}, {2000, 5}};
    char *buf = io_pattern(10000, 1);
    struct stat st;
    int fd = OPEN("f.tmp", O_WRONLY | O_CREAT | O_EXCL);

    io_pwrite(fd, buf, 10000, 0);
    OK(futimens(fd, t));
    OK(fchmod(fd, 0604));
    OK(close(fd));
    OK(rename("f.tmp", "f"));
    OK(stat("f", &st));
    EQ(st.st_mtim.tv_sec, 2000);
    EQ(st.st_mtim.tv_nsec, 5);
    EQ(st.st_mode & 07777, 0604);
    file_check("f", 1, 10000);
    OK(stat("f", &st));
    EQ(st.st_mtim.tv_sec, 2000);
}

static void b04_blocks(void)
{
    struct stat st;
    int fd;

    file_write("f", 1, 1 * MIB);
    fd = OPEN("f", O_RDONLY);
    OK(fsync(fd));
    OK(close(fd));
    OK(stat("f", &st));
    CHECK(st.st_blocks >= (blkcnt_t)(MIB / 512) && st.st_blocks <= (blkcnt_t)(2 * MIB / 512),
          "1 MiB has %lld blocks", (long long)st.st_blocks);
    CHECK(st.st_blksize >= 512 && st.st_blksize <= (blksize_t)(16 * MIB), "st_blksize %lld",
          (long long)st.st_blksize);
    if (on_l2fs)
        CHECK(st.st_blksize >= (blksize_t)PAGE, "st_blksize %lld", (long long)st.st_blksize);
    OK(close(OPEN("empty", O_WRONLY | O_CREAT)));
    OK(stat("empty", &st));
    EQ(st.st_blocks, 0);
}

static void b05_statvfs(void)
{
    struct statvfs v;
    struct statfs s;
    int fd = OPEN(".", O_RDONLY | O_DIRECTORY);

    OK(statvfs(".", &v));
    EQ(v.f_bsize, 4096);
    EQ(v.f_frsize, 4096);
    CHECK(v.f_blocks > 0 && v.f_bfree > 0 && v.f_bavail > 0, "nothing free: %llu %llu %llu",
          (unsigned long long)v.f_blocks, (unsigned long long)v.f_bfree,
          (unsigned long long)v.f_bavail);
    CHECK(v.f_bfree <= v.f_blocks && v.f_bavail <= v.f_bfree,
          "blocks %llu < free %llu < avail %llu", (unsigned long long)v.f_blocks,
          (unsigned long long)v.f_bfree, (unsigned long long)v.f_bavail);
    EQ(v.f_namemax, 255);
    OK(fstatvfs(fd, &v));
    EQ(v.f_bsize, 4096);
    OK(fstatfs(fd, &s));
    EQ(s.f_bsize, 4096);
    EQ(s.f_frsize, 4096);
    EQ(s.f_namelen, 255);
    OK(close(fd));
}

static unsigned long long avail_mib(void)
{
    struct statvfs v;

    OK(statvfs(".", &v));
    return (unsigned long long)v.f_bavail * v.f_frsize / MIB;
}

/* Waits for the number to follow, which a busy disk does late: what is removed may go only when the next one
 * is written. Another user of the disk may move it too, so there are some tries. */
static void b05_free_moves(void)
{
    for (unsigned try = 0;; try++) {
        unsigned long long before = avail_mib(), full, after;
        bool down = false, up = false;
        int fd;

        file_write("f.bin", 1, 96 * MIB);
        fd = OPEN("f.bin", O_RDONLY);
        OK(fsync(fd));
        OK(close(fd));
        for (unsigned i = 0; i < 200 && !down; i++) {
            full = avail_mib();
            down = full + 48 <= before;
            if (!down)
                poll(NULL, 0, 20);
        }
        OK(unlink("f.bin"));
        for (unsigned i = 0; i < 200 && !up; i++) {
            after = avail_mib();
            up = after >= full + 48;
            if (!up)
                poll(NULL, 0, 20);
        }
        if (down && up)
            return;
        CHECK(try < 4, "f_bavail does not move with 96 MiB: %llu, %llu, %llu MiB", before, full,
              after);
    }
}

const struct iocase iocheck_attr[] = {
    {"b04_grow_shrink", b04_grow_shrink, false},
    {"b04_sparse_2t", b04_sparse_2t, false},
    {"b04_mode_owner", b04_mode_owner, false},
    {"b04_utimens", b04_utimens, false},
    {"b04_utimens_omit", b04_utimens_omit, false},
    {"b04_utime_null", b04_utime_null, false},
    {"b04_atime", b04_atime, false},
    {"b04_mtime", b04_mtime, false},
    {"b04_mtime_kept", b04_mtime_kept, false},
    {"b04_blocks", b04_blocks, false},
    {"b05_statvfs", b05_statvfs, false},
    {"b05_free_moves", b05_free_moves, false},
    {NULL, NULL, false},
};
