/*
 * Point 7: rename. Same directory and across directories, over an existing file, with the writing
 * descriptor still open here or in another process, readers and mappings of the replaced file, and
 * the renameat2 flags.
 */
#include "iocheck.h"

#include <dirent.h>
#include <sys/mman.h>

static void b07_rename_same_dir(void)
{
    struct stat a, b;

    file_write("f.tmp", 1, 70000);
    OK(stat("f.tmp", &a));
    OK(rename("f.tmp", "f"));
    ERR(access("f.tmp", F_OK), ENOENT);
    file_check("f", 1, 70000);
    OK(stat("f", &b));
    EQ(a.st_ino, b.st_ino);
    OK(rename("f", "f")); /* to itself: nothing happens */
    file_check("f", 1, 70000);
    ERR(rename("none", "f"), ENOENT);
    file_check("f", 1, 70000);
}

/* LMCache relative_tmp_dir: from one directory to another. */
static void b07_rename_cross_dir(void)
{
    io_mkdirs("tmp");
    io_mkdirs("a/b/c");
    file_write("tmp/k.data", 1, 70000);
    OK(rename("tmp/k.data", "a/b/c/k.data"));
    ERR(access("tmp/k.data", F_OK), ENOENT);
    file_check("a/b/c/k.data", 1, 70000);
    file_write("tmp/k.data", 2, 50000);
    OK(rename("tmp/k.data", "a/b/c/k.data"));
    file_check("a/b/c/k.data", 2, 50000);
    OK(rename("a/b/c/k.data", "k.data"));
    file_check("k.data", 2, 50000);
    OK(rmdir("tmp"));
    OK(rmdir("a/b/c"));
    ERR(rename("k.data", "none/k.data"), ENOENT);
    ERR(rename("k.data", "k.data/x"), ENOTDIR);
}

/* Readers of the replaced file keep its bytes, in descriptors and in mappings. */
static void b07_rename_over(void)
{
    struct stat old, new;
    char *map;
    int fd;

    file_write("f", 1, 200000);
    OK(stat("f", &old));
    fd = OPEN("f", O_RDONLY);
    map = mmap(NULL, 200000, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
    file_write("f.tmp", 2, 300000);
    OK(rename("f.tmp", "f"));
    file_check("f", 2, 300000);
    OK(stat("f", &new));
    CHECK(old.st_ino != new.st_ino, "the new file has the old one's inode number");
    fd_check(fd, 1, 200000);
    PAT(map, 200000, 1, 0);
    OK(fstat(fd, &old));
    EQ(old.st_nlink, 0);
    OK(close(fd));
    PAT(map, 200000, 1, 0);
    OK(munmap(map, 200000));
    file_check("f", 2, 300000);
}

/* A mapping made before the replacement that was never touched until after it. */
static void b07_rename_over_mapped(void)
{
    for (unsigned i = 0; i < 10; i++) {
        char *map;
        int fd;

        file_write("f", i, 2 * MIB);
        fd = OPEN("f", O_RDONLY);
        map = mmap(NULL, 2 * MIB, PROT_READ, i % 2 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
        OK(close(fd));
        file_write("f.tmp", 100 + i, MIB);
        OK(rename("f.tmp", "f"));
        PAT(map, 2 * MIB, i, 0);
        file_check("f", 100 + i, MIB);
        OK(munmap(map, 2 * MIB));
    }
}

/* llm-d: one write, then rename while the stream is still open; another process reads right after.
 */
struct handover {
    int renamed, seen;
};

static void handover_reader(void *arg)
{
    struct handover *h = arg;

    for (unsigned i = 0; i < 50; i++) {
        char name[32];

        gate_wait(h->renamed);
        file_copy_name(name, sizeof(name), "k%u.bin", i);
        file_check(name, i, 200000 + i);
        file_copy_name(name, sizeof(name), "k%u.bin_1.tmp", i);
        ERR(access(name, F_OK), ENOENT);
        gate_post(h->seen, 1);
    }
}

static void b07_rename_while_open(void)
{
    struct handover h = {.renamed = gate_new(), .seen = gate_new()};
    pid_t pid = io_spawn(handover_reader, &h);

    for (unsigned i = 0; i < 50; i++) {
        char tmp[32], name[32];
        size_t len = 200000 + i;
        char *buf = io_pattern(len, i);
        int fd;

        file_copy_name(tmp, sizeof(tmp), "k%u.bin_1.tmp", i);
        file_copy_name(name, sizeof(name), "k%u.bin", i);
        fd = OPEN(tmp, O_WRONLY | O_CREAT | O_TRUNC);
        EQ(write(fd, buf, len), len);
        OK(rename(tmp, name));
        gate_post(h.renamed, 1);
        gate_wait(h.seen);
        OK(close(fd)); /* only now */
        file_check(name, i, len);
        munmap(buf, len);
    }
    io_join(pid);
}

/* As before, over an existing key. */
static void b07_rename_over_while_open(void)
{
    char *buf = io_pattern(150000, 2);
    int fd, r;

    file_write("k", 1, 100000);
    r = OPEN("k", O_RDONLY);
    fd = OPEN("k.tmp", O_WRONLY | O_CREAT | O_EXCL);
    EQ(write(fd, buf, 100000), 100000);
    OK(rename("k.tmp", "k"));
    file_check("k", 2, 100000);
    fd_check(r, 1, 100000);
    EQ(write(fd, buf + 100000, 50000), 50000); /* the descriptor goes on with the published file */
    OK(close(fd));
    file_check("k", 2, 150000);
    fd_check(r, 1, 100000);
    OK(close(r));
}

/* LMCache FSConnector's shared .tmp: two writers, one name; the second rename gets ENOENT. */
static void b07_shared_tmp(void)
{
    char *buf = io_pattern(100000, 3);
    int a = OPEN("k.tmp", O_WRONLY | O_CREAT | O_TRUNC);
    int b = OPEN("k.tmp", O_WRONLY | O_CREAT | O_TRUNC);

    EQ(write(a, buf, 100000), 100000);
    EQ(write(b, buf, 60000), 60000);
    OK(close(a));
    OK(rename("k.tmp", "k"));
    file_check("k", 3, 100000);
    EQ(write(b, buf + 60000, 40000), 40000);
    OK(close(b));
    ERR(rename("k.tmp", "k"), ENOENT);
    file_check("k", 3, 100000);
}

/* The target is there at every moment while it is replaced again and again. */
static void replace_forever(void *arg)
{
    (void)arg;
    while (!file_exists("stop")) {
        file_write("k.tmp2", 8, 30000);
        OK(rename("k.tmp2", "k"));
    }
}

static void b07_rename_atomic(void)
{
    char *buf = io_mem(40000);
    pid_t pid;

    file_write("k", 8, 30000);
    pid = io_spawn(replace_forever, NULL);
    for (unsigned i = 0; i < 500 / io_scale + 20; i++) {
        int fd = OPEN("k", O_RDONLY);

        EQ(read(fd, buf, 40000), 30000);
        PAT(buf, 30000, 8, 0);
        OK(close(fd));
        OK(access("k", F_OK));
    }
    file_write("stop", 1, 0);
    io_join(pid);
}

static void b07_noreplace(void)
{
    file_write("a", 1, 1000);
    file_write("b", 2, 2000);
    ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
    file_check("a", 1, 1000);
    file_check("b", 2, 2000);
    OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
    file_check("c", 1, 1000);
    ERR(access("a", F_OK), ENOENT);
    OK(mkdir("d", 0755));
    ERR(renameat2(AT_FDCWD, "c", AT_FDCWD, "d", RENAME_NOREPLACE), EEXIST);
}

static void b07_exchange(void)
{
    file_write("a", 1, 1000);
    file_write("b", 2, 2000);
    if (renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0) {
        file_check("a", 2, 2000);
        file_check("b", 1, 1000);
    } else {
        EQ(errno, EINVAL);
        file_check("a", 1, 1000);
        file_check("b", 2, 2000);
    }
    ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
    ERR(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 1U << 30), EINVAL);
}

static void b07_rename_kinds(void)
{
    file_write("f", 1, 10);
    OK(mkdir("d", 0755));
    OK(mkdir("e", 0755));
    ERR(rename("f", "d"), EISDIR);
    ERR(rename("d", "f"), ENOTDIR);
    file_write("e/x", 1, 10);
    CHECK(rename("d", "e") < 0 && (errno == ENOTEMPTY || errno == EEXIST), "dir over full dir: %s",
          strerror(errno));
    OK(unlink("e/x"));
    OK(rename("d", "e"));
    ERR(access("d", F_OK), ENOENT);
    file_check("f", 1, 10);
}

/* The name that was renamed away is free at once, many times, and lists show each file once. */
static void b07_name_reuse(void)
{
    unsigned seen = 0;
    struct dirent *e;
    char name[32];
    DIR *d;

    for (unsigned i = 0; i < 200; i++) {
        file_copy_name(name, sizeof(name), "k%u", i);
        file_put("same.tmp", O_WRONLY | O_EXCL, i, 1000 + i);
        OK(rename("same.tmp", name));
    }
    for (unsigned i = 0; i < 200; i++) {
        file_copy_name(name, sizeof(name), "k%u", i);
        file_check(name, i, 1000 + i);
    }
    d = opendir(".");
    CHECK(d, "opendir: %s", strerror(errno));
    while ((e = readdir(d)) != NULL)
        seen += e->d_name[0] == 'k';
    closedir(d);
    EQ(seen, 200);
}

/* A descriptor opened for reading before the rename goes on after it. */
static void b07_rename_reader_open(void)
{
    int fd;

    file_write("a", 1, 100000);
    fd = OPEN("a", O_RDONLY);
    OK(rename("a", "b"));
    fd_check(fd, 1, 100000);
    OK(unlink("b"));
    fd_check(fd, 1, 100000);
    OK(close(fd));
}

const struct iocase iocheck_rename[] = {
    {"b07_rename_same_dir", b07_rename_same_dir, false},
    {"b07_rename_cross_dir", b07_rename_cross_dir, false},
    {"b07_rename_over", b07_rename_over, false},
    {"b07_rename_over_mapped", b07_rename_over_mapped, false},
    {"b07_rename_while_open", b07_rename_while_open, false},
    {"b07_rename_over_while_open", b07_rename_over_while_open, false},
    {"b07_shared_tmp", b07_shared_tmp, false},
    {"b07_rename_atomic", b07_rename_atomic, false},
    {"b07_noreplace", b07_noreplace, false},
    {"b07_exchange", b07_exchange, false},
    {"b07_rename_kinds", b07_rename_kinds, false},
    {"b07_name_reuse", b07_name_reuse, false},
    {"b07_rename_reader_open", b07_rename_reader_open, false},
    {NULL, NULL, false},
};
