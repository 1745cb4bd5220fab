/*
 * Points 8 and 9: link(2) as publication, unlink while a file is open, mapped or being read, reuse
 * of names, unnamed files, and keys that go away behind an engine's back.
 */
#include "iocheck.h"

#include <pthread.h>
#include <sys/mman.h>

/* LMCache's native NIXL connector: write a temporary, link it to the final name, unlink the
 * temporary. */
static void b08_link_publish(void)
{
    struct stat a, b;

    file_put("k.tmp.1", O_RDWR | O_SYNC, 1, 100000);
    OK(link("k.tmp.1", "k"));
    OK(stat("k.tmp.1", &a));
    OK(stat("k", &b));
    EQ(a.st_ino, b.st_ino);
    EQ(b.st_nlink, 2);
    OK(unlink("k.tmp.1"));
    OK(stat("k", &b));
    EQ(b.st_nlink, 1);
    file_check("k", 1, 100000);
    file_put("k.tmp.2", O_RDWR | O_SYNC, 1, 100000);
    ERR(link("k.tmp.2", "k"), EEXIST);
    EQ(file_size("k"), file_size("k.tmp.2"));
    OK(unlink("k.tmp.2"));
    file_check("k", 1, 100000);
}

static void b08_link_errors(void)
{
    file_write("f", 1, 100);
    OK(mkdir("d", 0755));
    ERR(link("none", "x"), ENOENT);
    ERR(link("f", "f"), EEXIST);
    ERR(link("f", "d"), EEXIST);
    ERR(link("f", "none/x"), ENOENT);
    ERR(link("f", "f/x"), ENOTDIR);
    ERR(link("d", "dd"), EPERM);
    OK(link("f", "d/f"));
    file_check("d/f", 1, 100);
}

/* A second name is a second key of the same bytes: each is removed alone. */
static void b08_link_two_names(void)
{
    file_write("a", 1, 50000);
    OK(link("a", "b"));
    OK(unlink("a"));
    file_check("b", 1, 50000);
    ERR(access("a", F_OK), ENOENT);
    file_write("a", 2, 60000);
    file_check("a", 2, 60000);
    file_check("b", 1, 50000);
    OK(link("b", "c"));
    file_write("n.tmp", 3, 70000);
    OK(rename("n.tmp", "b"));
    file_check("b", 3, 70000);
    file_check("c", 1, 50000);
}

static void link_reader(void *arg)
{
    (void)arg;
    file_check("k", 4, 80000);
}

/* Linked while the writing descriptor is open: whole for another process at once. */
static void b08_link_while_open(void)
{
    char *buf = io_pattern(80000, 4);
    int fd = OPEN("k.tmp.9", O_RDWR | O_CREAT | O_EXCL);

    EQ(write(fd, buf, 80000), 80000);
    OK(link("k.tmp.9", "k"));
    OK(unlink("k.tmp.9"));
    io_join(io_spawn(link_reader, NULL));
    OK(close(fd));
    file_check("k", 4, 80000);
}

static void b08_unlink_open(void)
{
    char *buf = io_pattern(200000, 2);
    struct stat st;
    int r, w, old;

    file_write("f", 1, 100000);
    r = OPEN("f", O_RDONLY);
    w = OPEN("f", O_RDWR);
    OK(unlink("f"));
    ERR(access("f", F_OK), ENOENT);
    ERR(open("f", O_RDONLY), ENOENT);
    ERR(unlink("f"), ENOENT);
    fd_check(r, 1, 100000);
    OK(fstat(r, &st));
    EQ(st.st_nlink, 0);
    io_pwrite(w, buf, 200000, 0);
    OK(ftruncate(w, 150000));
    OK(fsync(w));
    fd_check(r, 2, 150000);
    file_write("f", 3, 5000); /* the name is free at once */
    file_check("f", 3, 5000);
    fd_check(r, 2, 150000);
    OK(close(w));
    fd_check(r, 2, 150000);
    OK(close(r));
    file_check("f", 3, 5000);
    old = OPEN("g", O_RDWR | O_CREAT | O_EXCL); /* never closed before its name goes */
    EQ(write(old, buf, 100000), 100000);
    OK(unlink("g"));
    fd_check(old, 2, 100000);
    OK(ftruncate(old, 0));
    EQ(pwrite(old, buf, 200000, 0), 200000);
    fd_check(old, 2, 200000);
    OK(close(old));
    ERR(access("g", F_OK), ENOENT);
}

static void b08_unlink_mapped(void)
{
    char *map;
    int fd;

    for (unsigned i = 0; i < 6; i++) {
        bool shared = i % 2, populate = i > 3;

        file_write("f", i, 3 * MIB);
        fd = OPEN("f", O_RDONLY);
        map = mmap(NULL, 3 * MIB, PROT_READ,
                   (shared ? MAP_SHARED : MAP_PRIVATE) | (populate ? MAP_POPULATE : 0), fd, 0);
        CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
        OK(close(fd));
        OK(unlink("f"));
        file_write("f", 50 + i, 4096);
        PAT(map, 3 * MIB, i, 0);
        OK(munmap(map, 3 * MIB));
        file_check("f", 50 + i, 4096);
    }
}

/* One process reads in a loop while another removes: whole bytes or ENOENT, nothing else. */
static void read_until_stop(unsigned i, void *arg)
{
    char *buf = io_mem(300000);

    (void)i;
    (void)arg;
    while (!file_exists("stop")) {
        int fd = open("k", O_RDONLY);

        if (fd < 0) {
            EQ(errno, ENOENT);
            continue;
        }
        for (size_t at = 0; at < 250000; at += 50000)
            io_pread(fd, buf + at, 50000, (off_t)at);
        PAT(buf, 250000, 5, 0);
        OK(close(fd));
    }
}

static void unlink_loop(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < 200 / io_scale + 20; i++) {
        file_write("k.tmp", 5, 250000);
        OK(rename("k.tmp", "k"));
        OK(unlink("k"));
    }
    file_write("stop", 1, 0);
}

static void b08_unlink_being_read(void)
{
    pid_t pid = io_spawn(unlink_loop, NULL);

    io_each(3, read_until_stop, NULL);
    io_join(pid);
}

/* Inode numbers may come again, but never old bytes under a new file. */
static void b08_reuse(void)
{
    for (unsigned i = 0; i < 300 / io_scale + 20; i++) {
        size_t len = 1 + io_mix(i) % 100000;

        file_write("k", i, len);
        file_check("k", i, len);
        OK(unlink("k"));
        ERR(access("k", F_OK), ENOENT);
    }
}

static void b08_mkstemp(void)
{
    char name[16][32];
    int fd[16];

    for (unsigned i = 0; i < 16; i++) {
        char *buf = io_pattern(5000, i);

        strcpy(name[i], "tmpXXXXXX");
        fd[i] = (int)OK(mkstemp(name[i]));
        OK(unlink(name[i]));
        io_pwrite(fd[i], buf, 5000, 0);
    }
    for (unsigned i = 0; i < 16; i++) {
        fd_check(fd[i], i, 5000);
        OK(close(fd[i]));
    }
}

/* TRT-LLM v2: an unnamed file, grown by posix_fallocate, shrunk; or EOPNOTSUPP and mkstemp +
 * unlink. */
static void b08_tmpfile(void)
{
    char *buf = io_pattern(100000, 6), path[64];
    struct stat st;
    int fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0664);

    if (fd < 0) {
        EQ(errno, EOPNOTSUPP);
        return;
    }
    io_pwrite(fd, buf, 100000, 0);
    fd_check(fd, 6, 100000);
    OK(fstat(fd, &st));
    EQ(st.st_nlink, 0);
    OK(close(fd));
    fd = (int)OK(open(".", O_TMPFILE | O_RDWR, 0644));
    io_pwrite(fd, buf, 100000, 0);
    file_copy_name(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0) {
        file_check("named", 6, 100000);
        OK(close(fd));
        file_check("named", 6, 100000);
    } else {
        CHECK(errno == EOPNOTSUPP || errno == ENOENT, "linkat: %s", strerror(errno));
        ERR(access("named", F_OK), ENOENT);
    }
}

/* A key that another process removes: gone for all at once, open descriptors keep whole data. */
static void gone_remove(void *arg)
{
    (void)arg;
    OK(unlink("k"));
}

static void b09_gone(void)
{
    struct stat st;
    char *map;
    int fd;

    file_write("k", 1, 2 * MIB);
    OK(stat("k", &st));
    OK(access("k", F_OK));
    fd = OPEN("k", O_RDONLY);
    map = mmap(NULL, 2 * MIB, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
    io_join(io_spawn(gone_remove, NULL));
    ERR(stat("k", &st), ENOENT);
    ERR(access("k", F_OK), ENOENT);
    ERR(open("k", O_RDONLY), ENOENT);
    fd_check(fd, 1, 2 * MIB);
    PAT(map, 2 * MIB, 1, 0);
    OK(close(fd));
}

const struct iocase iocheck_link[] = {
    {"b08_link_publish", b08_link_publish, false},
    {"b08_link_errors", b08_link_errors, false},
    {"b08_link_two_names", b08_link_two_names, false},
    {"b08_link_while_open", b08_link_while_open, false},
    {"b08_unlink_open", b08_unlink_open, false},
    {"b08_unlink_mapped", b08_unlink_mapped, false},
    {"b08_unlink_being_read", b08_unlink_being_read, false},
    {"b08_reuse", b08_reuse, false},
    {"b08_mkstemp", b08_mkstemp, false},
    {"b08_tmpfile", b08_tmpfile, false},
    {"b09_gone", b09_gone, false},
    {NULL, NULL, false},
};
