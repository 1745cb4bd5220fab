/*
 * Point 3: directories. Raced mkdir, the thousands of directories that some engines make at start,
 * rmdir, readdir with d_type, stable under concurrent unlink, and large flat directories in linear
 * time.
 */
#include "iocheck.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { RACERS = 8, RACE_DIRS = 64 };

struct race {
    int go;
    unsigned *won; /* shared memory: winners per directory */
};

static void race_mkdir(unsigned i, void *arg)
{
    struct race *r = arg;
    char name[64];

    (void)i;
    gate_wait(r->go);
    for (unsigned d = 0; d < RACE_DIRS; d++) {
        file_copy_name(name, sizeof(name), "race/%03x", d);
        if (mkdir(name, 0755) == 0)
            __atomic_fetch_add(&r->won[d], 1, __ATOMIC_RELAXED);
        else
            CHECK(errno == EEXIST, "mkdir %s: %s", name, strerror(errno));
        file_copy_name(name, sizeof(name), "race/%03x/%u.bin", d, i);
        file_write(name, i, 100);
    }
}

static void b03_mkdir_raced(void)
{
    struct race r = {.go = gate_new()};

    r.won = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    OK(mkdir("race", 0755));
    gate_post(r.go, RACERS);
    io_each(RACERS, race_mkdir, &r);
    for (unsigned d = 0; d < RACE_DIRS; d++) {
        EQ(r.won[d], 1);
        for (unsigned i = 0; i < RACERS; i++) {
            char name[64];

            file_copy_name(name, sizeof(name), "race/%03x/%u.bin", d, i);
            file_check(name, i, 100);
        }
    }
}

static void *race_thread(void *arg)
{
    unsigned *won = arg;

    for (unsigned d = 0; d < RACE_DIRS; d++) {
        char name[64];

        file_copy_name(name, sizeof(name), "t%03x", d);
        if (mkdir(name, 0755) == 0)
            __atomic_fetch_add(&won[d], 1, __ATOMIC_RELAXED);
        else
            CHECK(errno == EEXIST, "mkdir %s: %s", name, strerror(errno));
    }
    return NULL;
}

static void b03_mkdir_raced_threads(void)
{
    static unsigned won[RACE_DIRS];
    pthread_t t[16];

    for (unsigned i = 0; i < ARRAY_LEN(t); i++)
        EQ(pthread_create(&t[i], NULL, race_thread, won), 0);
    for (unsigned i = 0; i < ARRAY_LEN(t); i++)
        EQ(pthread_join(t[i], NULL), 0);
    for (unsigned d = 0; d < RACE_DIRS; d++)
        EQ(won[d], 1);
}

/* UCM: 16^3 directories, each made and chmod'ed. */
static void b03_mkdir_4096(void)
{
    unsigned n = 4096 / io_scale;
    struct stat st;
    char name[16];

    for (unsigned d = 0; d < n; d++) {
        file_copy_name(name, sizeof(name), "%03x", d);
        OK(mkdir(name, 0700));
        OK(chmod(name, 0777));
    }
    for (unsigned d = 0; d < n; d++) {
        file_copy_name(name, sizeof(name), "%03x", d);
        OK(stat(name, &st));
        EQ(st.st_mode, S_IFDIR | 0777);
        ERR(mkdir(name, 0700), EEXIST);
    }
    OK(stat(".", &st));
    CHECK(st.st_nlink == n + 2 || st.st_nlink == 1, "nlink %lu", (unsigned long)st.st_nlink);
    for (unsigned d = 0; d < n; d++) {
        file_copy_name(name, sizeof(name), "%03x", d);
        OK(rmdir(name));
    }
}

static void b03_rmdir(void)
{
    struct stat st;

    OK(mkdir("d", 0755));
    file_write("d/f", 1, 10);
    ERR(rmdir("d"), ENOTEMPTY);
    OK(mkdir("d/e", 0755));
    OK(unlink("d/f"));
    ERR(rmdir("d"), ENOTEMPTY);
    ERR(rmdir("d/e/."), EINVAL);
    ERR(unlink("d/e"), EISDIR);
    OK(rmdir("d/e"));
    OK(rmdir("d"));
    ERR(rmdir("d"), ENOENT);
    ERR(stat("d", &st), ENOENT);
    file_write("f", 1, 10);
    ERR(rmdir("f"), ENOTDIR);
    OK(mkdir("d", 0755)); /* the name is free again, and the new directory empty */
    ERR(stat("d/f", &st), ENOENT);
    OK(rmdir("d"));
}

static void b03_d_type(void)
{
    unsigned dirs = 0, files = 0, dots = 0;
    struct dirent *e;
    DIR *d;

    OK(mkdir("sub", 0755));
    OK(mkdir("sub2", 0755));
    for (unsigned i = 0; i < 10; i++) {
        char name[16];

        file_copy_name(name, sizeof(name), "f%u", i);
        file_write(name, i, i * 100);
    }
    d = opendir(".");
    CHECK(d, "opendir: %s", strerror(errno));
    while ((e = readdir(d)) != NULL) {
        struct stat st;

        OK(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW));
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) {
            dots++;
            continue;
        }
        EQ(e->d_ino, st.st_ino);
        EQ(e->d_type, S_ISDIR(st.st_mode) ? DT_DIR : DT_REG);
        dirs += e->d_type == DT_DIR;
        files += e->d_type == DT_REG;
    }
    closedir(d);
    EQ(dots, 2);
    EQ(dirs, 2);
    EQ(files, 10);
}

static void make_flat(const char *dir, unsigned n)
{
    char name[64];

    OK(mkdir(dir, 0755));
    for (unsigned i = 0; i < n; i++) {
        file_copy_name(name, sizeof(name), "%s/%08u.bin", dir, i);
        OK(close(OPEN(name, O_WRONLY | O_CREAT | O_EXCL)));
    }
}

static unsigned flat_index(const char *name)
{
    char *end;
    unsigned long i = strtoul(name, &end, 10);

    CHECK(!strcmp(end, ".bin"), "foreign name %s", name);
    return (unsigned)i;
}

/* A process removes every second file while another lists: each survivor is listed exactly once. */
static void unlink_even(void *arg)
{
    unsigned n = *(unsigned *)arg;
    char name[64];

    for (unsigned i = 0; i < n; i += 2) {
        file_copy_name(name, sizeof(name), "flat/%08u.bin", i);
        OK(unlink(name));
    }
}

static void b03_readdir_stable(void)
{
    unsigned n = 20000 / io_scale;
    unsigned char *seen = io_mem(n);
    struct dirent *e;
    pid_t pid;
    DIR *d;

    make_flat("flat", n);
    d = opendir("flat");
    CHECK(d, "opendir: %s", strerror(errno));
    for (unsigned i = 0; i < 100 && (e = readdir(d)) != NULL; i++)
        if (e->d_name[0] != '.')
            seen[flat_index(e->d_name)]++;
    pid = io_spawn(unlink_even, &n);
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            seen[flat_index(e->d_name)]++;
    closedir(d);
    io_join(pid);
    for (unsigned i = 0; i < n; i++)
        CHECK(i % 2 ? seen[i] == 1 : seen[i] <= 1, "file %u listed %u times", i, seen[i]);
}

/* The lister removes what it lists, as eviction and rm -r do: all of it goes in one pass or a few.
 */
static void b03_readdir_unlinking(void)
{
    unsigned n = 5000 / io_scale, gone = 0, passes = 0;
    struct dirent *e;

    make_flat("flat", n);
    while (gone < n) {
        DIR *d = opendir("flat");

        CHECK(d, "opendir: %s", strerror(errno));
        CHECK(++passes <= 20, "still %u files after %u passes", n - gone, passes);
        while ((e = readdir(d)) != NULL) {
            if (e->d_name[0] == '.')
                continue;
            OK(unlinkat(dirfd(d), e->d_name, 0));
            gone++;
        }
        closedir(d);
    }
    OK(rmdir("flat"));
}

static void b03_telldir(void)
{
    struct dirent *e;
    char name[256];
    long pos;
    DIR *d;

    make_flat("flat", 500);
    d = opendir("flat");
    CHECK(d, "opendir: %s", strerror(errno));
    for (unsigned i = 0; i < 200; i++)
        CHECK(readdir(d), "ended early");
    pos = telldir(d);
    e = readdir(d);
    CHECK(e, "ended early");
    file_copy_name(name, sizeof(name), "%s", e->d_name);
    while (readdir(d))
        ;
    seekdir(d, pos);
    e = readdir(d);
    CHECK(e && !strcmp(e->d_name, name), "seekdir: %s, wanted %s", e ? e->d_name : "(end)", name);
    file_write("flat/new", 1, 1);
    rewinddir(d);
    for (bool found = false; !found;) {
        e = readdir(d);
        CHECK(e, "a file made before rewinddir is not listed");
        found = !strcmp(e->d_name, "new");
    }
    closedir(d);
}

/* getdents64 with a buffer for one entry or so: it must make progress and lose nothing. */
static void b03_small_getdents(void)
{
    unsigned n = 0;
    char buf[300];
    long got;
    int fd;

    make_flat("flat", 300);
    fd = OPEN("flat", O_RDONLY | O_DIRECTORY);
    while ((got = OK(syscall(SYS_getdents64, fd, buf, sizeof(buf)))) > 0) {
        for (long at = 0; at < got;) {
            uint16_t len;

            memcpy(&len, buf + at + 16, sizeof(len));
            n += buf[at + 19] != '.';
            at += len;
        }
    }
    OK(close(fd));
    EQ(n, 300);
}

static double list_all(const char *dir, unsigned n)
{
    double start = io_now();
    struct dirent *e;
    unsigned seen = 0;
    DIR *d = opendir(dir);

    CHECK(d, "opendir: %s", strerror(errno));
    while ((e = readdir(d)) != NULL) {
        struct stat st;

        if (e->d_name[0] == '.')
            continue;
        OK(fstatat(dirfd(d), e->d_name, &st, 0));
        EQ(st.st_size, 0);
        seen++;
    }
    closedir(d);
    EQ(seen, n);
    return io_now() - start;
}

/* Ten times the entries take about ten times as long, not a hundred times. */
static void b03_100k(void)
{
    unsigned few = 10000 / io_scale, many = 100000 / io_scale;
    double t0 = io_now(), t1, t2, a, b;

    make_flat("few", few);
    t1 = io_now();
    make_flat("many", many);
    t2 = io_now();
    a = list_all("few", few);
    b = list_all("many", many);
    printf("    create %u: %.2f s, %u: %.2f s; list + stat %.2f s, %.2f s\n", few, t1 - t0, many,
           t2 - t1, a, b);
    CHECK(t2 - t1 < 5 || t2 - t1 < 40 * (t1 - t0), "creating is not linear");
    CHECK(b < 5 || b < 40 * a, "listing is not linear");
    ERR(rmdir("many"), ENOTEMPTY);
}

static void b03_dir_mtime(void)
{
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct stat st;

    OK(mkdir("d", 0755));
    OK(utimensat(AT_FDCWD, "d", old, 0));
    OK(stat("d", &st));
    EQ(st.st_mtim.tv_sec, 1000);
    file_write("d/f", 1, 1);
    OK(stat("d", &st));
    CHECK(st.st_mtim.tv_sec > 1000, "creating did not move the directory's mtime");
    OK(utimensat(AT_FDCWD, "d", old, 0));
    OK(rename("d/f", "d/g"));
    OK(stat("d", &st));
    CHECK(st.st_mtim.tv_sec > 1000, "renaming did not move the directory's mtime");
    OK(utimensat(AT_FDCWD, "d", old, 0));
    OK(unlink("d/g"));
    OK(stat("d", &st));
    CHECK(st.st_mtim.tv_sec > 1000, "unlinking did not move the directory's mtime");
}

static void b03_rename_dir(void)
{
    int fd;

    OK(mkdir("a", 0755));
    OK(mkdir("a/b", 0755));
    file_write("a/b/f", 1, 5000);
    fd = OPEN("a/b/f", O_RDONLY);
    OK(rename("a", "c"));
    ERR(access("a", F_OK), ENOENT);
    ERR(access("a/b/f", F_OK), ENOENT);
    file_check("c/b/f", 1, 5000);
    fd_check(fd, 1, 5000);
    OK(close(fd));
    OK(mkdir("empty", 0755));
    OK(rename("c", "empty"));
    file_check("empty/b/f", 1, 5000);
    OK(mkdir("full", 0755));
    file_write("full/x", 2, 1);
    CHECK(rename("empty", "full") < 0 && (errno == ENOTEMPTY || errno == EEXIST),
          "rename over a full directory: %s", strerror(errno));
    ERR(rename("empty", "empty/b/inside"), EINVAL);
    ERR(rename("full/x", "empty"), EISDIR);
    ERR(rename("empty", "full/x"), ENOTDIR);
    file_check("empty/b/f", 1, 5000);
}

const struct iocase iocheck_dirs[] = {
    {"b03_mkdir_raced", b03_mkdir_raced, false},
    {"b03_mkdir_raced_threads", b03_mkdir_raced_threads, false},
    {"b03_mkdir_4096", b03_mkdir_4096, false},
    {"b03_rmdir", b03_rmdir, false},
    {"b03_d_type", b03_d_type, false},
    {"b03_readdir_stable", b03_readdir_stable, false},
    {"b03_readdir_unlinking", b03_readdir_unlinking, false},
    {"b03_telldir", b03_telldir, false},
    {"b03_small_getdents", b03_small_getdents, false},
    {"b03_100k", b03_100k, false},
    {"b03_dir_mtime", b03_dir_mtime, false},
    {"b03_rename_dir", b03_rename_dir, false},
    {NULL, NULL, false},
};
