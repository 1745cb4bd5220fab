/*
 * Point 18, and point 9 where it needs the mount: many descriptors, one superblock, the mount
 * table, read-ahead and the limits of the FUSE connection, and eviction under an open descriptor.
 */
#include "iocheck.h"

#include <dirent.h>
#include <mntent.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static void b18_many_fds(void)
{
    unsigned n = 5000;
    int *fd = io_mem(n * sizeof(*fd));
    char name[32];

    if (!io_nofile(n + 100))
        io_skip("RLIMIT_NOFILE cannot be raised to %u", n + 100);
    for (unsigned i = 0; i < n; i++) {
        file_copy_name(name, sizeof(name), "k%04u.bin", i);
        file_write(name, i, 4096 + i % 7);
    }
    for (unsigned i = 0; i < n; i++) {
        file_copy_name(name, sizeof(name), "k%04u.bin", i);
        fd[i] = OPEN(name, i % 2 ? O_RDONLY : O_RDWR);
    }
    for (unsigned i = 0; i < n; i++)
        fd_check(fd[i], i, 4096 + i % 7);
    for (unsigned i = 0; i < n; i++)
        OK(close(fd[i]));
}

/* As many descriptors on one file, read and write mixed. */
static void b18_many_fds_one_file(void)
{
    unsigned n = 2000;
    int *fd = io_mem(n * sizeof(*fd));

    if (!io_nofile(n + 100))
        io_skip("RLIMIT_NOFILE cannot be raised to %u", n + 100);
    file_write("f", 1, 64 * KIB);
    for (unsigned i = 0; i < n; i++)
        fd[i] = OPEN("f", i % 3 == 2 ? O_RDWR : O_RDONLY);
    for (unsigned i = 0; i < n; i++)
        fd_check(fd[i], 1, 64 * KIB);
    for (unsigned i = 0; i < n; i++)
        OK(close(fd[i]));
    file_check("f", 1, 64 * KIB);
}

static void b18_one_superblock(void)
{
    struct stat top, sub, file;

    io_mkdirs("a/b/c/d");
    OK(stat(".", &top));
    OK(stat("a/b/c/d", &sub));
    file_write("a/f", 1, 100);
    OK(stat("a/f", &file));
    EQ(top.st_dev, sub.st_dev);
    EQ(top.st_dev, file.st_dev);
    OK(rename("a/f", "a/b/c/d/f"));
    OK(link("a/b/c/d/f", "g"));
    OK(rename("a/b/c", "c"));
    file_check("c/d/f", 1, 100);
    file_check("g", 1, 100);
}

/* Slot files and keys live in different places behind an l2fs mount: still no EXDEV between their
 * names. */
static void b18_no_exdev(void)
{
    char *buf = io_pattern(64 * KIB, 2);
    int fd = OPEN("kv_cache.data", O_RDWR | O_CREAT);

    io_pwrite(fd, buf, 64 * KIB, 0);
    OK(close(fd));
    OK(mkdir("d", 0755));
    OK(rename("kv_cache.data", "d/key.bin"));
    file_check("d/key.bin", 2, 64 * KIB);
    OK(rename("d/key.bin", "shard-000001.dat"));
    file_check("shard-000001.dat", 2, 64 * KIB);
    file_write("x.bin", 3, 5000);
    OK(rename("x.bin", "kv_cache.data"));
    file_check("kv_cache.data", 3, 5000);
    OK(link("kv_cache.data", "y.bin"));
    file_check("y.bin", 3, 5000);
}

static bool mount_of(dev_t dev, struct mntent *out, char *buf, size_t cap)
{
    FILE *f = setmntent("/proc/self/mounts", "r");
    struct stat st;
    bool found = false;

    CHECK(f, "no mount table");
    while (!found && getmntent_r(f, out, buf, (int)cap))
        found =
            !strncmp(out->mnt_type, "fuse", 4) && stat(out->mnt_dir, &st) == 0 && st.st_dev == dev;
    endmntent(f);
    return found;
}

static void b18_mounts(void)
{
    char buf[4096];
    struct mntent m;
    struct stat st;

    OK(stat(".", &st));
    CHECK(mount_of(st.st_dev, &m, buf, sizeof(buf)), "the mount is not in /proc/self/mounts");
    CHECK(!strcmp(m.mnt_type, "fuse.l2fs"), "type %s, wanted fuse.l2fs", m.mnt_type);
    CHECK(m.mnt_fsname[0] != '\0' && strcmp(m.mnt_fsname, "fuse"), "source '%s'", m.mnt_fsname);
    if (geteuid() == 0)
        CHECK(hasmntopt(&m, "allow_other"), "options %s: no allow_other", m.mnt_opts);
}

static void b18_read_ahead(void)
{
    struct stat st;
    char path[128];
    FILE *f;
    long kb;

    OK(stat(".", &st));
    file_copy_name(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
                   minor(st.st_dev));
    f = fopen(path, "r");
    CHECK(f, "open %s: %s", path, strerror(errno));
    EQ(fscanf(f, "%ld", &kb), 1);
    fclose(f);
    if (geteuid() == 0)
        CHECK(kb >= 1024, "read_ahead_kb %ld", kb);
}

static long connection_number(const char *what)
{
    struct stat st;
    char path[128];
    FILE *f;
    long v;

    OK(stat(".", &st));
    file_copy_name(path, sizeof(path), "/sys/fs/fuse/connections/%u/%s", minor(st.st_dev), what);
    f = fopen(path, "r");
    if (!f)
        io_skip("%s cannot be read", path);
    EQ(fscanf(f, "%ld", &v), 1);
    fclose(f);
    return v;
}

static void b18_background(void)
{
    long max = connection_number("max_background");
    long congestion = connection_number("congestion_threshold");

    CHECK(max >= 256, "max_background %ld", max);
    CHECK(congestion >= 192 && congestion <= max, "congestion_threshold %ld of %ld", congestion,
          max);
}

/* The virtual directory is reachable and not listed. */
static void b18_virtual(void)
{
    char buf[4096], path[4200];
    struct mntent m;
    struct dirent *e;
    struct stat st;
    DIR *d;

    OK(stat(".", &st));
    CHECK(mount_of(st.st_dev, &m, buf, sizeof(buf)), "no mount");
    d = opendir(m.mnt_dir);
    CHECK(d, "opendir %s: %s", m.mnt_dir, strerror(errno));
    while ((e = readdir(d)) != NULL)
        CHECK(strcmp(e->d_name, ".l2fs"), ".l2fs is listed");
    closedir(d);
    file_copy_name(path, sizeof(path), "%s/.l2fs/status", m.mnt_dir);
    OK(access(path, R_OK));
}

static void wait_state(const char *path, const char *want)
{
    char got[64] = "";

    for (unsigned i = 0; i < 500; i++) {
        ssize_t n = OK(getxattr(path, "user.l2fs.state", got, sizeof(got) - 1));

        got[n] = '\0';
        if (!strcmp(got, want))
            return;
        usleep(10000); /* a bounded poll: there is no event for this */
    }
    CHECK(0, "%s is %s, wanted %s", path, got, want);
}

/* Evicted from memory: size and name stay, a new open loads it, and an open descriptor is never cut
 * off. */
static void b09_evict(void)
{
    char *map;
    int fd, r;

    file_write("k.bin", 1, 2 * MIB);
    fd = OPEN("k.bin", O_RDONLY);
    OK(fsync(fd)); /* stored */
    map = mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
    r = setxattr("k.bin", "user.l2fs.evict", "1", 1, 0);
    CHECK(r == 0 || errno == EBUSY, "evict while open: %s", strerror(errno));
    fd_check(fd, 1, 2 * MIB);
    PAT(map, 2 * MIB, 1, 0);
    OK(munmap(map, 2 * MIB));
    OK(close(fd));
    for (unsigned i = 0; setxattr("k.bin", "user.l2fs.evict", "1", 1, 0) < 0; i++) {
        CHECK(errno == EBUSY && i < 500, "evict: %s", strerror(errno));
        usleep(10000); /* the release of the descriptor comes by itself */
    }
    wait_state("k.bin", "evicted");
    EQ(file_size("k.bin"), 2 * MIB);
    file_check("k.bin", 1, 2 * MIB);
    wait_state("k.bin", "resident");
}

const struct iocase iocheck_mount[] = {
    {"b18_many_fds", b18_many_fds, false},
    {"b18_many_fds_one_file", b18_many_fds_one_file, false},
    {"b18_one_superblock", b18_one_superblock, false},
    {"b18_no_exdev", b18_no_exdev, false},
    {"b18_mounts", b18_mounts, true},
    {"b18_read_ahead", b18_read_ahead, true},
    {"b18_background", b18_background, true},
    {"b18_virtual", b18_virtual, true},
    {"b09_evict", b09_evict, true},
    {NULL, NULL, false},
};
