/* fs_load.c - find_one and load_one of the fs adapter: from the file straight into a staging file.
 *
 * What is handed out was verified against the checksum beside it, or, for files that others left
 * here, at least did not change while it was read; what has landed is told before that. A file that
 * fails is moved aside and never served. Threads: workers, one key each; staging_lock is held for each use of the staging, which
 * is gone once close has given up waiting.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "checksum.h"
#include "fs.h"
#include "fs_xattr.h"
#include "log.h"

#define LOAD_TRIES 3
#define ATIME_GRAIN 3600 /* seconds */
#define TAKE_AHEAD (4 * FS_IO_PIECE)

struct sink {
    struct fs_xfer x;
    struct worker_load *load;
    uint64_t id;
    int fd; /* the staging file */
    char *map;
    uint64_t taken; /* pages of the current run are there up to here */
    uint64_t size;
    uint32_t crc;
};

/* One attempt at one key. */
struct attempt {
    struct fs *f;
    const char *key;
    struct worker_load *load;
    struct fs_place place;
    int fd;
    struct stat st;
    struct fs_record record;
};

/* Pages are taken first, a few pieces at a time while others are on their way: a fault in a full tmpfs
 * would be a signal. */
static int mapped(struct fs_xfer *x, uint64_t off, size_t len, unsigned slot, void **mem)
{
    struct sink *s = container_of(x, struct sink, x);

    (void)slot;
    if (off + len > s->taken) {
        uint64_t end = MIN(x->end, MAX(off + len, off + TAKE_AHEAD));

        if (fallocate(s->fd, 0, (off_t)off, (off_t)(end - off)) && errno != EOPNOTSUPP)
            return -errno;
        s->taken = end;
    }
    *mem = s->map + off;
    return 0;
}

/* O_DIRECT may have left more than the file's bytes in the last page. */
static int checksummed(struct fs_xfer *x, uint64_t off, size_t len, const void *mem)
{
    struct sink *s = container_of(x, struct sink, x);
    size_t pad = (size_t)(-(off + len) & (FS_IO_ALIGN - 1));

    s->crc = checksum(s->crc, mem, len);
    if (off + len < s->size)
        workers_landed(s->load, &(struct l2_landed){s->id, s->size, off + len});
    else if (pad)
        memset(s->map + off + len, 0, pad);
    return 0;
}

static int read_runs(struct attempt *t, struct sink *s)
{
    uint64_t start = 0, end = s->size, before = 0;
    bool sparse = fs_space_of(&t->st) < s->size;
    bool more = sparse ? fs_io_next_data(t->fd, s->size, &start, &end) : true;
    int err = 0;

    while (!err && more) {
        s->crc = fs_io_checksum_zeros(s->crc, start - before);
        s->x.off = s->taken = start;
        s->x.end = end;
        err = fs_io_run(t->f->io, &s->x);
        before = start = end;
        more = fs_io_next_data(t->fd, s->size, &start, &end);
    }
    s->crc = fs_io_checksum_zeros(s->crc, s->size - before);
    return err;
}

/* Fills an empty staging file. */
static int read_bytes(struct attempt *t, uint64_t id, int staging_fd, uint32_t *crc32c)
{
    struct sink s = {
        .x = {.fd = t->fd, .depth = FS_IO_DEPTH, .memory = mapped, .done = checksummed},
        .load = t->load,
        .id = id,
        .fd = staging_fd,
        .size = (uint64_t)t->st.st_size};
    int err;

    if (!s.size)
        return 0;
    if (ftruncate(staging_fd, (off_t)s.size))
        return -errno;
    s.map = mmap(NULL, s.size, PROT_READ | PROT_WRITE, MAP_SHARED, staging_fd, 0);
    if (s.map == MAP_FAILED)
        return -errno;
    err = read_runs(t, &s);
    munmap(s.map, s.size);
    *crc32c = s.crc;
    return err == -EFAULT ? -ENOSPC : err;
}

static int staging_new(struct fs *f, uint64_t *id, int *fd)
{
    int err;

    pthread_rwlock_rdlock(&f->staging_lock);
    err = f->staging ? staging_create(f->staging, id, fd) : -ESHUTDOWN;
    pthread_rwlock_unlock(&f->staging_lock);
    return err;
}

static void staging_gone(struct fs *f, uint64_t id)
{
    pthread_rwlock_rdlock(&f->staging_lock);
    if (f->staging)
        staging_drop(f->staging, id);
    pthread_rwlock_unlock(&f->staging_lock);
}

static int set_aside(struct attempt *t, const char *why)
{
    struct fs *f = t->f;
    char name[FS_NAME_SIZE];
    int err;

    fs_space_enter(&f->space);
    err = fs_set_aside(&f->layout, t->key, &t->place, &t->st, name);
    if (!err)
        fs_space_set_aside(&f->space, &t->st);
    fs_space_leave(&f->space);
    if (err == -ESTALE)
        return -EAGAIN;
    fs_count(&f->health, FS_CORRUPT, 1);
    if (err) {
        log_err("fs: \"%s\" is corrupt (%s) and is not served; it cannot be moved aside in %s "
                "either: %s; move the file away by hand",
                t->key, why, f->layout.base, strerror(-err));
        return -EBADMSG;
    }
    log_err("fs: \"%s\" is corrupt (%s) and counts as a miss; its file is kept as %s/" FS_OWN_DIR
            "/corrupt/%s: check the disk, then delete it; if it was rewritten on purpose without "
            "l2fs, remove its xattr " FS_RECORD_XATTR " and move it back",
            t->key, why, f->layout.base, name);
    return -EBADMSG;
}

/* A user of open_file takes the checksum off before changing bytes: then try again. */
static bool record_changed(const struct attempt *t)
{
    struct fs_record now;

    return fs_record_get(t->fd, &now) || now.state != t->record.state ||
           now.crc32c != t->record.crc32c || now.size != t->record.size;
}

static bool file_changed(const struct attempt *t)
{
    struct stat now;

    return fstat(t->fd, &now) || now.st_size != t->st.st_size ||
           now.st_mtim.tv_sec != t->st.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != t->st.st_mtim.tv_nsec;
}

/* What must be right before a byte is read. */
static int check_record(struct attempt *t)
{
    if (t->record.state == FS_RECORD_BAD)
        return set_aside(t, "its recorded checksum is unreadable");
    if (t->record.state == FS_RECORD_GOOD && t->record.size != (uint64_t)t->st.st_size)
        return record_changed(t) ? -EAGAIN : set_aside(t, "its size is not the recorded one");
    return 0;
}

static int check_bytes(struct attempt *t, int err, uint32_t crc32c)
{
    if (err && err != -ENODATA)
        return err;
    if (t->record.state == FS_RECORD_NONE)
        return err || file_changed(t) ? -EAGAIN : 0;
    if (!err && crc32c == t->record.crc32c)
        return 0;
    if (record_changed(t))
        return -EAGAIN;
    return set_aside(t, err ? "it ends early" : "its checksum is not the recorded one");
}

static int load_bytes(struct attempt *t, struct l2_object *out)
{
    AUTO_CLOSE int staging_fd = -1;
    uint64_t id;
    uint32_t crc = 0;
    int err = staging_new(t->f, &id, &staging_fd);

    if (err)
        return err;
    err = read_bytes(t, id, staging_fd, &crc);
    err = check_bytes(t, err, crc);
    if (err) {
        workers_landed(t->load, &(struct l2_landed){0});
        staging_gone(t->f, id);
        return err;
    }
    out->staging_id = id;
    out->size = (uint64_t)t->st.st_size;
    out->crc32c = crc;
    fs_attr_from(&t->st, &out->attr);
    return 0;
}

static int load_open(struct attempt *t, struct l2_object *out)
{
    struct fs *f = t->f;
    struct l2_xattrs kept = {0};
    int err = 0;

    if (f->xattrs)
        err = fs_xattrs_read(t->fd, NULL, &t->record, &kept);
    if (!f->recording)
        t->record.state = FS_RECORD_NONE;
    if (!err)
        err = check_record(t);
    if (!err) {
        fs_io_set_direct(f->io, t->fd);
        if (f->config.read_ahead_size && !fs_io_direct(f->io))
            posix_fadvise(t->fd, 0, (off_t)f->config.read_ahead_size, POSIX_FADV_WILLNEED);
        err = load_bytes(t, out);
    }
    if (err)
        free(kept.data);
    else
        out->xattrs = kept;
    return err;
}

/* Says when the key was last wanted, for whoever sorts the directory by that after a remount; not
 * more often than relatime would, so that many loads cost few writes. */
static void move_atime(const struct attempt *t)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};

    if (time(NULL) - t->st.st_atim.tv_sec >= ATIME_GRAIN)
        futimens(t->fd, times);
}

static int load_once(struct fs *f, const char *key, struct worker_load *load, struct l2_object *out)
{
    struct attempt t = {.f = f, .key = key, .load = load, .place = FS_PLACE_NONE, .fd = -1};
    int err = fs_place_find(&f->layout, key, &t.place);

    if (err)
        return err;
    t.fd = fs_open_regular(&t.place, O_RDONLY, &t.st);
    err = t.fd < 0 ? t.fd : load_open(&t, out);
    if (!err)
        move_atime(&t);
    if (!err && t.record.state == FS_RECORD_NONE)
        fs_count(&f->health, FS_UNVERIFIED, 1);
    auto_close(&t.fd);
    fs_place_fini(&t.place);
    return err;
}

/* -EAGAIN: the file was replaced or is being changed. One that never holds still is not an object.
 */
static int load_key(struct fs *f, const char *key, struct worker_load *load, struct l2_object *out)
{
    int err = -EAGAIN;

    for (int i = 0; i < LOAD_TRIES && err == -EAGAIN; i++)
        err = load_once(f, key, load, out);
    return err == -EAGAIN ? -EBUSY : err;
}

int fs_load_one(struct adapter *a, const char *key, struct worker_load *load, struct l2_object *out)
{
    struct fs *f = fs_of(a);
    struct l2_object o = {0};
    struct fs_op op;
    int err;

    fs_op_begin(&f->health, &op, "load", key);
    err = load_key(f, key, load, &o);
    if (!err) {
        fs_count(&f->health, FS_LOADED, 1);
        fs_count(&f->health, FS_LOADED_BYTES, o.size);
        *out = o;
    }
    return fs_op_end(&f->health, &op, err);
}

void fs_drop_one(struct adapter *a, struct l2_object *o)
{
    staging_gone(fs_of(a), o->staging_id);
}

/* The lock comes first: then either remove sees it, or this sees that the key is being removed. */
int fs_find_one(struct adapter *a, const char *key, uint64_t *size)
{
    struct fs *f = fs_of(a);
    FS_PLACE place = FS_PLACE_NONE;
    struct stat st;
    int err = fs_place_find(&f->layout, key, &place);

    if (err)
        return err;
    err = keylocks_get(f->locks, key);
    if (err)
        return err;
    if (keylocks_held(f->removing, key))
        err = -ENOENT;
    else if (fstatat(place.dir, place.name, &st, AT_SYMLINK_NOFOLLOW))
        err = -errno;
    else if (!S_ISREG(st.st_mode))
        err = -ENOENT;
    if (err) {
        keylocks_put(f->locks, key);
        return err;
    }
    *size = (uint64_t)st.st_size;
    return 0;
}
