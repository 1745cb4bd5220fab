/* fs_store.c - store_one of the fs adapter: temporary, bytes, attributes, fsync, rename, fsync.
 *
 * A file is visible under its name only when it is whole and durable, and a store that ends well
 * survives a loss of power. Bytes go from the staging file's pages to the disk; when a writer may
 * still change them, from a copy that is checksummed. Threads: workers, one key each.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "checksum.h"
#include "fs.h"
#include "fs_xattr.h"
#include "log.h"
#include "units.h"

#define COPY_DEPTH 4u
#define FAULT_AROUND (64u << 10) /* the kernel's default */
#define PREALLOCATE_FROM FS_IO_PIECE
#define ALL_ATTRS (L2_ATTR_MODE | L2_ATTR_OWNER | L2_ATTR_ATIME | L2_ATTR_MTIME)

static uint64_t round_up(uint64_t n)
{
    return (n + FS_IO_ALIGN - 1) & ~(uint64_t)(FS_IO_ALIGN - 1);
}

/* Where the bytes of one store come from. */
struct source {
    struct fs_xfer x;
    const struct l2_buf *buf;
    char *map;    /* of the staging file, or NULL: */
    char *bounce; /* COPY_DEPTH pieces */
    uint32_t crc; /* of what went out, when copied */
};

/* Pinning pages for the disk is slow for each that is not mapped. A fault maps those around it too. */
static void map_in(char *at, size_t len)
{
    for (size_t off = 0; off < len; off += FAULT_AROUND)
        madvise(at + off, FS_IO_ALIGN, MADV_POPULATE_READ);
}

static int mapped(struct fs_xfer *x, uint64_t off, size_t len, unsigned slot, void **mem)
{
    (void)slot;
    *mem = container_of(x, struct source, x)->map + off;
    map_in(*mem, len);
    return 0;
}

static int mapped_done(struct fs_xfer *x, uint64_t off, size_t len, const void *mem)
{
    (void)x, (void)off, (void)len, (void)mem;
    return 0;
}

/* A file that was cut meanwhile reads as zeros beyond its end. */
static int copied(struct fs_xfer *x, uint64_t off, size_t len, unsigned slot, void **mem)
{
    struct source *s = container_of(x, struct source, x);
    char *to = s->bounce + slot * FS_IO_PIECE;
    size_t got = 0;

    while (got < len) {
        ssize_t n = pread(s->buf->fd, to + got, len - got, (off_t)(off + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    memset(to + got, 0, round_up(len) - got);
    *mem = to;
    return 0;
}

static int copied_done(struct fs_xfer *x, uint64_t off, size_t len, const void *mem)
{
    struct source *s = container_of(x, struct source, x);

    (void)off;
    s->crc = checksum(s->crc, mem, len);
    return 0;
}

static int source_open(const struct l2_buf *buf, int fd, struct source *s)
{
    *s = (struct source){.buf = buf, .x = {.fd = fd, .write = true}};
    if (buf->stable && buf->size) {
        s->map = mmap(NULL, buf->size, PROT_READ, MAP_SHARED, buf->fd, 0);
        if (s->map == MAP_FAILED)
            s->map = NULL;
    }
    if (s->map) {
        s->x.depth = FS_IO_DEPTH;
        s->x.memory = mapped;
        s->x.done = mapped_done;
        return 0;
    }
    s->bounce = aligned_alloc(FS_IO_ALIGN, COPY_DEPTH * FS_IO_PIECE);
    s->x.depth = COPY_DEPTH;
    s->x.memory = copied;
    s->x.done = copied_done;
    return s->bounce ? 0 : -ENOMEM;
}

static void source_close(struct source *s)
{
    if (s->map)
        munmap(s->map, s->buf->size);
    free(s->bounce);
}

/* Takes the room for all of a dense file at once, so that a full disk is known before a byte is
 * written. A file system that cannot do that learns it as it goes. */
static int make_room(int fd, uint64_t size, bool dense)
{
    if (dense && size >= PREALLOCATE_FROM) {
        if (!fallocate(fd, 0, 0, (off_t)round_up(size)))
            return 0;
        if (errno != EOPNOTSUPP)
            return -errno;
    }
    return ftruncate(fd, (off_t)round_up(size)) ? -errno : 0;
}

/* Copies the runs of data; holes stay holes. */
static int write_runs(struct fs *f, struct source *s)
{
    const uint64_t size = s->buf->size;
    uint64_t start = 0, end = 0, before = 0;
    bool more = fs_io_next_data(s->buf->fd, size, &start, &end);
    int err = make_room(s->x.fd, size, more && start == 0 && end == size);

    while (!err && more) {
        s->crc = s->bounce ? fs_io_checksum_zeros(s->crc, start - before) : 0;
        s->x.off = start;
        s->x.end = end;
        err = fs_io_run(f->io, &s->x);
        before = start = end;
        more = fs_io_next_data(s->buf->fd, size, &start, &end);
    }
    if (s->bounce)
        s->crc = fs_io_checksum_zeros(s->crc, size - before);
    if (!err && round_up(size) != size && ftruncate(s->x.fd, (off_t)size))
        err = -errno;
    return err;
}

static int write_bytes(struct fs *f, int fd, const struct l2_buf *buf, uint32_t *crc32c)
{
    struct source s;
    int err = source_open(buf, fd, &s);

    if (!err && buf->size)
        err = write_runs(f, &s);
    if (!err)
        *crc32c = buf->stable ? buf->crc32c : s.crc;
    source_close(&s);
    return err;
}

static int write_temp(struct fs *f, int fd, const char *key, const struct l2_buf *buf,
                      uint32_t *crc32c)
{
    int err;

    fs_io_set_direct(f->io, fd);
    err = write_bytes(f, fd, buf, crc32c);
    if (!err && fs_is_abandoned(f))
        return -ESHUTDOWN;
    if (!err && f->recording)
        err = fs_record_set(fd, *crc32c, buf->size);
    if (!err && f->xattrs && buf->xattrs.len)
        err = fs_xattrs_replace(fd, &buf->xattrs, key);
    if (!err)
        err = fs_attr_apply(fd, &buf->attr, ALL_ATTRS);
    if (!err && f->config.fsync && fsync(fd))
        err = -errno;
    return err;
}

/* The directory may be removed between look and rename: make it once more. */
static int publish(struct fs *f, const char *temp, const char *key, const struct l2_buf *buf,
                   struct fs_place *place)
{
    int err;

    if (!renameat(f->layout.tmp, temp, place->dir, place->name))
        return 0;
    if (errno != ENOENT)
        return -errno;
    fs_place_fini(place);
    err = fs_place_make(&f->layout, key, &buf->attr, place);
    if (!err && renameat(f->layout.tmp, temp, place->dir, place->name))
        err = -errno;
    return err;
}

/* More than was expected: a file system with larger blocks, or in pieces. */
static int settle_room(struct fs *f, const struct stat *st, uint64_t *reserved)
{
    uint64_t more = fs_space_of(st) - MIN(fs_space_of(st), *reserved);
    int err = more ? fs_space_reserve(&f->space, more, FS_FOR_OBJECT, NULL) : 0;

    if (!err)
        *reserved += more;
    return err;
}

/* `reserved` is 0 once the bytes are accounted for. */
static int store_new(struct fs *f, const char *key, const struct l2_buf *buf,
                     struct fs_place *place, uint64_t *reserved, uint32_t *crc32c)
{
    char temp[FS_NAME_SIZE];
    AUTO_CLOSE int fd = -1;
    struct stat st = {0}, old;
    bool replaces;
    uint32_t crc = 0;
    int err = fs_temp_create(&f->layout, 0, temp, &fd);

    if (err)
        return err;
    err = write_temp(f, fd, key, buf, &crc);
    if (!err && fstat(fd, &st))
        err = -errno;
    if (!err)
        err = settle_room(f, &st, reserved);
    replaces = !fstatat(place->dir, place->name, &old, AT_SYMLINK_NOFOLLOW) && S_ISREG(old.st_mode);
    if (!err)
        err = publish(f, temp, key, buf, place);
    if (err) {
        fs_temp_remove(&f->layout, temp);
        return err;
    }
    fs_space_add(&f->space, *reserved, fs_space_of(&st), replaces ? &old : NULL);
    fs_space_dir(&f->space, place->dir);
    *reserved = 0;
    *crc32c = crc;
    return fs_sync_name(f, key, place->dir);
}

static bool same_attr(const struct stat *st, const struct l2_attr *a)
{
    return (st->st_mode & 07777) == (a->mode & 07777) && st->st_uid == a->uid &&
           st->st_gid == a->gid && st->st_mtim.tv_sec == a->mtime.tv_sec &&
           st->st_mtim.tv_nsec == a->mtime.tv_nsec;
}

/* The bytes are there already; what is beside them may have changed. */
static int refresh(struct fs *f, int fd, const char *key, const struct l2_buf *buf,
                   const struct stat *st)
{
    struct l2_xattrs kept = {0};
    struct fs_record record;
    bool same;
    int err = fs_xattrs_read(fd, NULL, &record, &kept);

    if (err)
        return err;
    same = kept.len == buf->xattrs.len &&
           (kept.len == 0 || memcmp(kept.data, buf->xattrs.data, kept.len) == 0);
    free(kept.data);
    if (same && same_attr(st, &buf->attr))
        return 0;
    if (!same)
        err = fs_xattrs_change(f, fd, &buf->xattrs, key);
    if (!err)
        err = fs_attr_apply(fd, &buf->attr, ALL_ATTRS);
    if (!err && f->config.fsync && fsync(fd))
        err = -errno;
    return err;
}

/* 1: the key holds these very bytes and is durable; 0: it does not; or -errno. */
static int keep_same(struct fs *f, const char *key, const struct l2_buf *buf,
                     const struct fs_place *place)
{
    AUTO_CLOSE int fd = -1;
    struct fs_record record;
    struct stat st;
    int err;

    if (!buf->stable || !f->recording)
        return 0;
    fd = fs_open_regular(place, O_RDONLY, &st);
    if (fd < 0 || (uint64_t)st.st_size != buf->size || fs_record_get(fd, &record))
        return 0;
    if (record.state != FS_RECORD_GOOD || record.size != buf->size || record.crc32c != buf->crc32c)
        return 0;
    err = refresh(f, fd, key, buf, &st);
    if (!err)
        err = fs_sync_name(f, key, place->dir);
    return err ? err : 1;
}

/* Bytes that the store may take, by what the staging file takes. */
static uint64_t expected_bytes(const struct l2_buf *buf)
{
    struct stat st;

    if (fstat(buf->fd, &st))
        return fs_space_needed(buf->size);
    return fs_space_needed(MIN(buf->size, fs_space_of(&st)));
}

static int no_room(struct fs *f, const char *key, uint64_t limit)
{
    char size[32];
    uint64_t quiet;

    if (fs_health_say_full(&f->health, &quiet))
        log_warn("fs: %s: no room for \"%s\": its limit of %s is reached (max_capacity_gb, "
                 "disk_min_free_gb, disk_high_watermark): raise it or remove keys (%" PRIu64
                 " more since the last such line)",
                 f->layout.base, key, units_format_size(limit, size, sizeof(size)), quiet);
    return -ENOSPC;
}

static int store(struct fs *f, const char *key, const struct l2_buf *buf, uint32_t *crc32c,
                 uint64_t *bytes)
{
    FS_PLACE place = FS_PLACE_NONE;
    uint64_t reserved, limit;
    int err = fs_place_make(&f->layout, key, &buf->attr, &place);

    if (err)
        return err;
    err = keep_same(f, key, buf, &place);
    if (err < 0)
        return err;
    if (err > 0) {
        fs_count(&f->health, FS_UNCHANGED, 1);
        *crc32c = buf->crc32c;
        *bytes = 0;
        return 0;
    }
    fs_look_at_growing(f);
    reserved = expected_bytes(buf);
    if (fs_space_reserve(&f->space, reserved, FS_FOR_OBJECT, &limit))
        return no_room(f, key, limit);
    err = store_new(f, key, buf, &place, &reserved, crc32c);
    fs_space_release(&f->space, reserved);
    if (err)
        return err;
    fs_count(&f->health, FS_STORED, 1);
    fs_count(&f->health, FS_STORED_BYTES, buf->size);
    *bytes = buf->size;
    return 0;
}

int fs_store_one(struct adapter *a, const char *key, const struct l2_buf *buf, uint32_t *crc32c,
                 uint64_t *bytes)
{
    struct fs *f = fs_of(a);
    struct fs_op op;
    int err;

    fs_op_begin(&f->health, &op, "store", key);
    fs_space_enter(&f->space);
    err = store(f, key, buf, crc32c, bytes);
    fs_space_leave(&f->space);
    return fs_op_end(&f->health, &op, err == -EDQUOT ? -ENOSPC : err);
}

bool fs_is_abandoned(struct fs *f)
{
    bool gone;

    pthread_rwlock_rdlock(&f->staging_lock);
    gone = !f->staging;
    pthread_rwlock_unlock(&f->staging_lock);
    return gone;
}

int fs_sync_name(struct fs *f, const char *key, int dir)
{
    return f->config.fsync ? fs_durable_sync(f->durable, &f->layout, key, dir) : 0;
}
