/* bench_side.c - the two directories that are compared: making them, saying what they are, letting
 * them come to rest, and removing what was written.
 */
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "machine.h"
#include "units.h"

#define TMPFS_MAGIC_NUMBER 0x01021994

void bench_note(struct bench *b, const char *fmt, ...)
{
    AUTO_FREE char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        text = NULL;
        return;
    }
    for (size_t i = 0; i < json_array_size(b->notes); i++) {
        if (!strcmp(json_string_value(json_array_get(b->notes, i)), text))
            return;
    }
    json_array_append_new(b->notes, json_string(text));
}

/* --- making and removing --- */

static int probe_direct(struct side *s)
{
    int fd = openat(s->dirfd, ".probe", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int again;

    if (fd < 0)
        return bench_error("cannot write in %s: %s", s->dir, strerror(errno));
    close(fd);
    again = openat(s->dirfd, ".probe", O_RDONLY | O_DIRECT | O_CLOEXEC);
    s->direct = again >= 0;
    if (again >= 0)
        close(again);
    unlinkat(s->dirfd, ".probe", 0);
    return 0;
}

static int open_side(struct side *s, const char *label, const char *parent)
{
    char status[PATH_MAX];

    s->label = label;
    s->dirfd = -1;
    if (snprintf(s->dir, sizeof(s->dir), "%s/l2bench.XXXXXX", parent) >= (int)sizeof(s->dir))
        return bench_error("%s: path too long", parent);
    if (!mkdtemp(s->dir)) {
        int error = errno;

        s->dir[0] = '\0';
        return bench_error("cannot make a directory in %s: %s", parent, strerror(error));
    }
    s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0)
        return bench_error("cannot open %s: %s", s->dir, strerror(errno));
    snprintf(status, sizeof(status), "%.4000s/.l2fs/status", parent);
    s->l2fs = access(status, R_OK) == 0;
    return probe_direct(s);
}

int sides_open(struct bench *b)
{
    struct statfs fs;
    int rc = open_side(&b->sides[SIDE_MOUNT], "mount", b->mount);

    if (!rc)
        rc = open_side(&b->sides[SIDE_TMPFS], "tmpfs", b->tmpfs);
    if (!rc && !b->other && !fstatfs(b->sides[SIDE_TMPFS].dirfd, &fs) &&
        fs.f_type != TMPFS_MAGIC_NUMBER)
        bench_note(b, "%s is not a tmpfs: the ratios are against another file system", b->tmpfs);
    return rc;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    remove(path);
    return 0;
}

void sides_close(struct bench *b)
{
    for (int i = 0; i < SIDES; i++) {
        struct side *s = &b->sides[i];

        if (!s->dir[0])
            continue;
        if (s->dirfd >= 0)
            close(s->dirfd);
        nftw(s->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        s->dir[0] = '\0';
    }
}

/* --- saying what they are --- */

static json_t *read_status(const char *mount)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%.4000s/.l2fs/status", mount);
    return json_load_file(path, 0, NULL);
}

static uint64_t capacity_of(json_t *status)
{
    json_t *l1 = json_object_get(status, "l1");

    return (uint64_t)json_integer_value(json_object_get(l1, "capacity"));
}

uint64_t side_l1(const struct bench *b)
{
    json_t *status = read_status(b->mount);
    uint64_t bytes = capacity_of(status);

    json_decref(status);
    return bytes;
}

static void describe_mount(struct bench *b, json_t *status)
{
    const char *mode = json_string_value(json_object_get(status, "mode"));
    char tiers[256] = "", size[32];
    json_t *tier;
    size_t i;

    json_array_foreach(json_object_get(status, "tiers"), i, tier)
    {
        const char *name = json_string_value(json_object_get(tier, "name"));

        snprintf(tiers + strlen(tiers), sizeof(tiers) - strlen(tiers), " %s", name ? name : "?");
    }
    bench_note(b, "mount %s: l2fs, %s, l1 %s, tiers:%s", b->mount, mode ? mode : "?",
               units_format_size(capacity_of(status), size, sizeof(size)), tiers);
}

static int check_tmpfs_space(struct bench *b, uint64_t bytes)
{
    struct statvfs v;
    char need[32], have[32];
    uint64_t avail;

    if (fstatvfs(b->sides[SIDE_TMPFS].dirfd, &v))
        return bench_error("statvfs of %s: %s", b->tmpfs, strerror(errno));
    avail = v.f_bavail * v.f_frsize;
    if (avail >= bytes)
        return 0;
    return bench_error("%s has %s free and %s are needed: give --files or --size, or --tmpfs "
                       "another directory",
                       b->tmpfs, units_format_size(avail, have, sizeof(have)),
                       units_format_size(bytes, need, sizeof(need)));
}

/* The share of the last 10 seconds in which something waited for a processor. */
static void note_pressure(struct bench *b)
{
    FILE *f = fopen("/proc/pressure/cpu", "re");
    double waited = 0;

    if (!f)
        return;
    if (fscanf(f, "some avg10=%lf", &waited) == 1 && waited > 10)
        bench_note(b,
                   "other work runs on this machine (%.0f%% of the time something waited for a "
                   "processor): do not trust the figures",
                   waited);
    fclose(f);
}

/* A virtual machine gets pages from its host at their first use, which takes longer than all that
 * is measured here. What was just freed is what is used next. */
static void touch_memory(struct bench *b, uint64_t bytes)
{
    void *map;

    bytes = MIN(bytes, machine_memory_available() / 2);
    if (bytes <= b->touched)
        return;
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
               0);
    if (map == MAP_FAILED)
        return;
    munmap(map, bytes);
    b->touched = bytes;
}

int sides_describe(struct bench *b, uint64_t bytes)
{
    json_t *status = b->sides[SIDE_MOUNT].l2fs ? read_status(b->mount) : NULL;

    if (!status)
        bench_note(b, "mount %s: not l2fs", b->mount);
    else
        describe_mount(b, status);
    bench_note(b, "tmpfs %s", b->tmpfs);
    if (!b->touched)
        note_pressure(b);
    if (status && bytes > capacity_of(status) * 7 / 10)
        bench_note(b, "the files need more than 70%% of l1: some leave memory, which is measured "
                      "too; give --files, --size, or the mount a larger -o l1");
    json_decref(status);
    for (int i = 0; i < SIDES; i++) {
        if (!b->sides[i].direct)
            bench_note(b, "no O_DIRECT on the %s: plain reads in its place", b->sides[i].label);
    }
    touch_memory(b, SIDES * bytes + bytes / 2);
    return check_tmpfs_space(b, bytes);
}

/* --- files --- */

int side_settle(struct side *s, const char *name)
{
    AUTO_CLOSE int fd = -1;

    if (!s->l2fs)
        return 0;
    fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return bench_error("%s/%s is gone after it was written: %s", s->dir, name, strerror(errno));
    if (fsync(fd))
        return bench_error("%s/%s is not in the tiers: %s", s->dir, name, strerror(errno));
    return 0;
}

int side_remove(struct side *s, const char *name)
{
    if (unlinkat(s->dirfd, name, 0))
        return bench_error("cannot remove %s/%s: %s", s->dir, name, strerror(errno));
    return 0;
}

void side_check_resident(struct bench *b, struct side *s, const char *name)
{
    char path[PATH_MAX + 64], state[32] = "";

    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    if (s->l2fs && getxattr(path, "user.l2fs.state", state, sizeof(state) - 1) > 0 &&
        strcmp(state, "resident") != 0)
        bench_note(b, "files left memory during the run (state %s): give the mount a larger -o l1",
                   state);
}
