/* rig_task.c - tasks of an adapter under test, and objects to store and compare.
 *
 * Used by one thread, the owner in the sense of adapter.h.
 */
#include "rig.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "checksum.h"
#include "clock.h"
#include "hash.h"

/* --- objects --- */

void rig_fill(void *data, size_t size, uint64_t seed)
{
    unsigned char *p = data;
    uint64_t x = hash_bytes(&seed, sizeof(seed), 1);

    for (size_t i = 0; i < size; i += sizeof(x)) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(p + i, &x, MIN(sizeof(x), size - i));
    }
}

static void write_pattern(int fd, size_t size, uint64_t seed, uint32_t *crc)
{
    AUTO_FREE char *data = malloc(size + 1);

    ck_assert_ptr_nonnull(data);
    rig_fill(data, size, seed);
    for (size_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, data + at, size - at, (off_t)at);

        ck_assert_msg(n > 0, "write: %s", strerror(errno));
        at += (size_t)n;
    }
    *crc = checksum(0, data, size);
}

struct l2_buf rig_buf(struct rig *r, size_t size, uint64_t seed)
{
    struct l2_buf b = {.size = size, .stable = true};
    uint64_t id;

    ck_assert_int_eq(staging_create(r->staging, &id, &b.fd), 0);
    staging_drop(r->staging, id);
    write_pattern(b.fd, size, seed, &b.crc32c);
    b.attr = (struct l2_attr){
        .mode = S_IFREG | 0640,
        .uid = getuid(),
        .gid = getgid(),
        .atime = {1700000000, 0},
        .mtime = {1600000000, 123456000},
    };
    return b;
}

void rig_buf_close(struct l2_buf *b)
{
    close(b->fd);
    free(b->xattrs.data);
}

void rig_buf_refill(struct l2_buf *b, uint64_t seed)
{
    write_pattern(b->fd, b->size, seed, &b->crc32c);
}

void rig_xattr_add(struct l2_xattrs *x, const char *name, const void *value, size_t len)
{
    size_t name_len = strlen(name) + 1;
    uint32_t value_len = (uint32_t)len;
    char *at;

    x->data = realloc(x->data, x->len + name_len + sizeof(value_len) + len);
    ck_assert_ptr_nonnull(x->data);
    at = (char *)x->data + x->len;
    memcpy(at, name, name_len);
    memcpy(at + name_len, &value_len, sizeof(value_len));
    if (len)
        memcpy(at + name_len + sizeof(value_len), value, len);
    x->len += name_len + sizeof(value_len) + len;
}

const void *rig_xattr_get(const struct l2_xattrs *x, const char *name, size_t *len)
{
    const char *at = x->data, *last = at + x->len;

    while (at < last) {
        const char *value = at + strlen(at) + 1 + sizeof(uint32_t);
        uint32_t value_len;

        memcpy(&value_len, value - sizeof(uint32_t), sizeof(value_len));
        if (!strcmp(at, name)) {
            *len = value_len;
            return value;
        }
        at = value + value_len;
    }
    return NULL;
}

/* --- tasks --- */

bool rig_signalled(struct rig *r, enum l2_family family, int ms)
{
    struct pollfd p = {.fd = r->a->ops->event_fd(r->a, family), .events = POLLIN};
    uint64_t deadline = clock_deadline((uint64_t)ms * NSEC_PER_MSEC), count;
    int n;

    do
        n = poll(&p, 1, clock_left_ms(deadline));
    while (n < 0 && errno == EINTR);
    return n > 0 && read(p.fd, &count, sizeof(count)) == sizeof(count);
}

static void wait_signal(struct rig *r, enum l2_family family)
{
    ck_assert_msg(rig_signalled(r, family, RIG_WAIT_MS), "no completion within %d ms", RIG_WAIT_MS);
}

l2_task rig_submit_store(struct rig *r, const char *const *keys, const struct l2_buf *bufs,
                         size_t n)
{
    l2_task task = r->a->ops->submit_store(r->a, keys, bufs, n);

    ck_assert_int_gt(task, 0);
    return task;
}

l2_task rig_submit_lookup(struct rig *r, const char *const *keys, size_t n)
{
    l2_task task = r->a->ops->submit_lookup_and_lock(r->a, keys, n);

    ck_assert_int_gt(task, 0);
    return task;
}

l2_task rig_submit_load(struct rig *r, const char *const *keys, size_t n)
{
    l2_task task = r->a->ops->submit_load(r->a, keys, n);

    ck_assert_int_gt(task, 0);
    return task;
}

void rig_wait_store(struct rig *r, l2_task task, struct l2_store_result *out)
{
    int rc;

    while ((rc = r->a->ops->pop_stored(r->a, out)) == 0)
        wait_signal(r, L2_STORE);
    ck_assert_int_eq(rc, 1);
    ck_assert_int_eq(out->task, task);
}

struct bitmap *rig_wait_lookup(struct rig *r, l2_task task, uint64_t *sizes)
{
    struct bitmap *found = NULL;
    int rc;

    while ((rc = r->a->ops->query_lookup(r->a, task, &found, sizes)) == -EAGAIN)
        wait_signal(r, L2_LOOKUP);
    ck_assert_int_eq(rc, 0);
    ck_assert_ptr_nonnull(found);
    return found;
}

struct bitmap *rig_wait_load(struct rig *r, l2_task task, struct l2_object *objects, int *errors)
{
    struct bitmap *loaded = NULL;
    int rc;

    while ((rc = r->a->ops->query_load(r->a, task, &loaded, objects, errors)) == -EAGAIN)
        wait_signal(r, L2_LOAD);
    ck_assert_int_eq(rc, 0);
    ck_assert_ptr_nonnull(loaded);
    return loaded;
}

/* --- one key --- */

int rig_store_buf(struct rig *r, const char *key, const struct l2_buf *buf, uint64_t *bytes)
{
    struct l2_store_result result;
    int err;

    rig_wait_store(r, rig_submit_store(r, &key, buf, 1), &result);
    ck_assert_uint_eq(result.n, 1);
    err = result.errors[0];
    if (!err && buf->stable)
        ck_assert_uint_eq(result.crc32c[0], buf->crc32c);
    if (bytes)
        *bytes = result.bytes;
    l2_store_result_fini(&result);
    return err;
}

int rig_store(struct rig *r, const char *key, size_t size, uint64_t seed)
{
    struct l2_buf buf = rig_buf(r, size, seed);
    int err = rig_store_buf(r, key, &buf, NULL);

    rig_buf_close(&buf);
    return err;
}

bool rig_lookup(struct rig *r, const char *key, uint64_t *size)
{
    uint64_t found_size;
    struct bitmap *found = rig_wait_lookup(r, rig_submit_lookup(r, &key, 1), &found_size);
    bool there = bitmap_test(found, 0);

    ck_assert_uint_eq(bitmap_size(found), 1);
    bitmap_destroy(found);
    if (there && size)
        *size = found_size;
    return there;
}

bool rig_has(struct rig *r, const char *key)
{
    bool there = rig_lookup(r, key, NULL);

    if (there)
        rig_unlock(r, key);
    return there;
}

void rig_unlock(struct rig *r, const char *key)
{
    r->a->ops->submit_unlock(r->a, &key, 1);
}

int rig_load(struct rig *r, const char *key, struct l2_object *out)
{
    int error = 0;
    struct bitmap *loaded = rig_wait_load(r, rig_submit_load(r, &key, 1), out, &error);
    bool there = bitmap_test(loaded, 0);

    ck_assert_uint_eq(bitmap_size(loaded), 1);
    bitmap_destroy(loaded);
    if (!there)
        ck_assert_int_lt(error, 0);
    return there ? 0 : error;
}

void rig_object_drop(struct rig *r, struct l2_object *o)
{
    staging_drop(r->staging, o->staging_id);
    l2_object_fini(o);
}

void rig_check_object(struct rig *r, const struct l2_object *o, size_t size, uint64_t seed)
{
    AUTO_FREE char *want = malloc(size + 1);
    AUTO_FREE char *got = malloc(size + 1);
    AUTO_CLOSE int fd = -1;
    struct stat st;

    ck_assert_uint_eq(o->size, size);
    ck_assert_int_eq(staging_get(r->staging, o->staging_id, O_RDONLY, &fd), 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, size);
    rig_fill(want, size, seed);
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(fd, got + at, size - at, (off_t)at);

        ck_assert_int_gt(n, 0);
        at += (size_t)n;
    }
    ck_assert_msg(!memcmp(want, got, size), "other bytes than stored");
    ck_assert_uint_eq(o->crc32c, checksum(0, want, size));
}

void rig_check(struct rig *r, const char *key, size_t size, uint64_t seed)
{
    struct l2_object o;
    int err = rig_load(r, key, &o);

    ck_assert_msg(!err, "load %s: %s", key, strerror(-err));
    rig_check_object(r, &o, size, seed);
    rig_object_drop(r, &o);
}

int rig_remove(struct rig *r, const char *key, bool *skipped)
{
    struct bitmap *skip = bitmap_create(1);
    int err;

    ck_assert_ptr_nonnull(skip);
    err = r->a->ops->remove(r->a, &key, 1, skip);
    if (skipped)
        *skipped = bitmap_test(skip, 0);
    bitmap_destroy(skip);
    return err;
}

int64_t rig_status_int(struct rig *r, const char *name)
{
    json_t *status = r->a->ops->status(r->a);
    json_t *value = json_object_get(status, name);
    int64_t n;

    ck_assert_msg(json_is_integer(value), "status has no number \"%s\"", name);
    n = json_integer_value(value);
    json_decref(status);
    return n;
}
