/* fs_fixture.c - see fs_fixture.h. One test per process: the directory is file-scope state of that.
 */
#include "fs_fixture.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>

static char dir[128];
static char mounted[256];

void fixture_create(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/l2fs-fs.XXXXXX", tmp ? tmp : "/var/tmp");
    ck_assert_msg(mkdtemp(dir) != NULL, "%s: %s", dir, strerror(errno));
}

void fixture_remove(void)
{
    char command[sizeof(dir) + 16];

    if (*mounted)
        umount2(mounted, MNT_DETACH);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir); /* paths longer than nftw takes */
    ck_assert_int_eq(system(command), 0);
}

const char *fixture_dir(void)
{
    return dir;
}

void fixture_path(char path[FIXTURE_PATH], const char *name)
{
    snprintf(path, FIXTURE_PATH, "%s/%s", dir, name);
}

void fixture_mkdir(const char *name)
{
    char path[FIXTURE_PATH];

    fixture_path(path, name);
    ck_assert_msg(!mkdir(path, 0755), "mkdir %s: %s", path, strerror(errno));
}

static void write_at(const char *name, int flags, uint64_t off, const void *data, size_t len)
{
    AUTO_CLOSE int fd = -1;
    char path[FIXTURE_PATH];

    fixture_path(path, name);
    fd = open(path, O_WRONLY | flags, 0644);
    ck_assert_msg(fd >= 0, "open %s: %s", path, strerror(errno));
    ck_assert_int_eq(pwrite(fd, data, len, (off_t)off), (ssize_t)len);
}

void fixture_write(const char *name, const void *data, size_t len)
{
    write_at(name, O_CREAT | O_TRUNC, 0, data, len);
}

void fixture_patch(const char *name, uint64_t off, const void *data, size_t len)
{
    write_at(name, 0, off, data, len);
}

void fixture_flip(const char *name, uint64_t off, bool keep_mtime)
{
    struct stat st = fixture_stat(name);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    char path[FIXTURE_PATH];
    unsigned char byte;
    int fd;

    fixture_path(path, name);
    fd = open(path, O_RDONLY);
    ck_assert_int_eq(pread(fd, &byte, 1, (off_t)off), 1);
    close(fd);
    byte ^= 0x10;
    fixture_patch(name, off, &byte, 1);
    if (keep_mtime)
        ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

bool fixture_exists(const char *name)
{
    char path[FIXTURE_PATH];

    fixture_path(path, name);
    return !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
}

struct stat fixture_stat(const char *name)
{
    char path[FIXTURE_PATH];
    struct stat st;

    fixture_path(path, name);
    ck_assert_msg(!lstat(path, &st), "stat %s: %s", path, strerror(errno));
    return st;
}

size_t fixture_count(const char *name)
{
    char path[FIXTURE_PATH];
    size_t n = 0;
    DIR *d;

    fixture_path(path, name);
    d = opendir(path);
    ck_assert_msg(d != NULL, "opendir %s: %s", path, strerror(errno));
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

bool fixture_mount(const char *name, const char *type, const char *options)
{
    fixture_mkdir(name);
    snprintf(mounted, sizeof(mounted), "%s/%s", dir, name);
    if (!mount("l2fs-test", mounted, type, 0, options))
        return true;
    *mounted = '\0';
    return false;
}
