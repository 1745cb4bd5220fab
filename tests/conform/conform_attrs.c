/* conform_attrs.c - what is kept beside the bytes: attributes, xattrs; listing, usage, status. */
#include "conform.h"

#include <stdio.h>
#include <sys/stat.h>

#define SIZE 3000
#define ALL_TIMES (L2_ATTR_ATIME | L2_ATTR_MTIME)

/* --- listing --- */

#define MAX_ENTRIES 64

/* Copies of the entries of a listing. */
struct listing {
    size_t n, stop_after;
    struct {
        char *key;
        struct l2_entry e;
    } at[MAX_ENTRIES];
};

static bool add_entry(void *arg, const struct l2_entry *e)
{
    struct listing *l = arg;

    if (e->listed)
        return true;
    ck_assert_uint_lt(l->n, MAX_ENTRIES);
    l->at[l->n].key = strdup(e->key);
    l->at[l->n].e = *e;
    l->at[l->n].e.xattrs.data = malloc(e->xattrs.len + 1);
    if (e->xattrs.len)
        memcpy(l->at[l->n].e.xattrs.data, e->xattrs.data, e->xattrs.len);
    l->n++;
    return l->n != l->stop_after;
}

static void list_all(struct listing *l, size_t stop_after)
{
    *l = (struct listing){.stop_after = stop_after};
    ck_assert_int_eq(rig.a->ops->list(rig.a, add_entry, l), 0);
}

static void listing_fini(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].key);
        free(l->at[i].e.xattrs.data);
    }
}

/* -1 when it is not listed; the test fails when it is listed twice. */
static int find_entry(const struct listing *l, const char *key)
{
    int found = -1;

    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->at[i].key, key))
            continue;
        ck_assert_msg(found < 0, "%s is listed twice", key);
        found = (int)i;
    }
    return found;
}

static const struct l2_entry *entry_of(const struct listing *l, const char *key)
{
    int i = find_entry(l, key);

    ck_assert_msg(i >= 0, "%s is not listed", key);
    return &l->at[i].e;
}

static void check_attr(const struct l2_attr *got, const struct l2_attr *want)
{
    ck_assert_uint_eq(got->mode, want->mode);
    ck_assert_uint_eq(got->uid, want->uid);
    ck_assert_uint_eq(got->gid, want->gid);
    ck_assert_int_eq(got->mtime.tv_sec, want->mtime.tv_sec);
    ck_assert_int_eq(got->mtime.tv_nsec, want->mtime.tv_nsec);
}

static void check_xattr(const struct l2_xattrs *x, const char *name, const char *value)
{
    size_t len = 0;
    const void *got = x->len ? rig_xattr_get(x, name, &len) : NULL;

    if (!value) {
        ck_assert_ptr_null(got);
        return;
    }
    ck_assert_msg(got != NULL, "no xattr %s", name);
    ck_assert_uint_eq(len, strlen(value));
    ck_assert(!memcmp(got, value, len));
}

START_TEST(list_of_nothing)
{
    struct listing l;

    if (!conform_can("list"))
        return;
    list_all(&l, 0);
    ck_assert_uint_eq(l.n, 0);
    listing_fini(&l);
}
END_TEST

START_TEST(list_shows_everything_parents_first)
{
    static const char *const keys[] = {"a", "d/a", "d/e/b", "d-x", "z/1"};
    struct l2_attr attr = {.mode = S_IFDIR | 0750, .uid = getuid(), .gid = getgid()};
    struct listing l;

    if (!conform_can("list"))
        return;
    ck_assert_int_eq(rig.a->ops->make_dir(rig.a, "d/", &attr), 0);
    ck_assert_int_eq(rig.a->ops->make_dir(rig.a, "d/e/", &attr), 0);
    ck_assert_int_eq(rig.a->ops->make_dir(rig.a, "empty/", &attr), 0);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        ck_assert_int_eq(rig_store(&rig, keys[i], SIZE + i, i), 0);
    list_all(&l, 0);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct l2_buf buf = rig_buf(&rig, SIZE + i, i);
        const struct l2_entry *e = entry_of(&l, keys[i]);

        ck_assert_uint_eq(e->size, SIZE + i);
        ck_assert_uint_gt(e->blocks, 0);
        ck_assert(e->has_crc);
        ck_assert_uint_eq(e->crc32c, buf.crc32c);
        check_attr(&e->attr, &buf.attr);
        rig_buf_close(&buf);
    }
    ck_assert_uint_eq(entry_of(&l, "empty/")->attr.mode, S_IFDIR | 0750);
    ck_assert_int_lt(find_entry(&l, "d/"), find_entry(&l, "d/a"));
    ck_assert_int_lt(find_entry(&l, "d/"), find_entry(&l, "d/e/"));
    ck_assert_int_lt(find_entry(&l, "d/e/"), find_entry(&l, "d/e/b"));
    listing_fini(&l);
}
END_TEST

START_TEST(list_stops_when_told)
{
    struct listing l;

    if (!conform_can("list"))
        return;
    for (char c = 'a'; c < 'f'; c++) {
        char key[2] = {c};

        ck_assert_int_eq(rig_store(&rig, key, SIZE, 1), 0);
    }
    list_all(&l, 2);
    ck_assert_uint_eq(l.n, 2);
    listing_fini(&l);
}
END_TEST

START_TEST(list_forgets_what_is_gone)
{
    struct listing l;

    if (!conform_can("list"))
        return;
    ck_assert_int_eq(rig_store(&rig, "a", SIZE, 1), 0);
    ck_assert_int_eq(rig_store(&rig, "b", SIZE, 1), 0);
    ck_assert_int_eq(rig_remove(&rig, "a", NULL), 0);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "b", "c"), 0);
    list_all(&l, 0);
    ck_assert_int_lt(find_entry(&l, "a"), 0);
    ck_assert_int_lt(find_entry(&l, "b"), 0);
    ck_assert_int_ge(find_entry(&l, "c"), 0);
    listing_fini(&l);
}
END_TEST

/* --- attributes --- */

START_TEST(loads_bring_attributes_and_xattrs)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 1);
    struct l2_object o;

    rig_xattr_add(&buf.xattrs, "user.engine", "vllm", 4);
    rig_xattr_add(&buf.xattrs, "user.empty", "", 0);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    if (!conform_discards()) {
        ck_assert_int_eq(rig_load(&rig, "k", &o), 0);
        check_attr(&o.attr, &buf.attr);
        check_xattr(&o.xattrs, "user.engine", "vllm");
        check_xattr(&o.xattrs, "user.empty", "");
        rig_object_drop(&rig, &o);
    }
    rig_buf_close(&buf);
}
END_TEST

/* The bytes are there already, what is beside them is new. */
START_TEST(same_bytes_again_bring_new_attributes)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 1);
    struct l2_object o;

    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    buf.attr.mode = S_IFREG | 0600;
    buf.attr.mtime.tv_sec++;
    rig_xattr_add(&buf.xattrs, "user.new", "1", 1);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
    if (!conform_discards()) {
        ck_assert_int_eq(rig_load(&rig, "k", &o), 0);
        check_attr(&o.attr, &buf.attr);
        check_xattr(&o.xattrs, "user.new", "1");
        rig_object_drop(&rig, &o);
    }
    rig_buf_close(&buf);
}
END_TEST

static void check_loaded_attr(const char *key, const struct l2_attr *want)
{
    struct l2_object o;

    ck_assert_int_eq(rig_load(&rig, key, &o), 0);
    check_attr(&o.attr, want);
    rig_object_drop(&rig, &o);
}

START_TEST(set_attr_changes_what_the_mask_says)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 1);
    struct l2_attr other = {.mode = S_IFREG | 0400, .uid = getuid(), .gid = getgid()};
    struct l2_attr want = buf.attr;

    if (conform_can("set_attr")) {
        other.atime = other.mtime = (struct timespec){1234567890, 5000};
        ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", &other, NULL, L2_ATTR_MODE), 0);
        want.mode = other.mode;
        check_loaded_attr("k", &want);
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", &other, NULL, ALL_TIMES), 0);
        want.mtime = other.mtime;
        check_loaded_attr("k", &want);
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", &other, NULL, L2_ATTR_OWNER), 0);
        check_loaded_attr("k", &want);
        rig_check(&rig, "k", SIZE, 1);
    }
    rig_buf_close(&buf);
}
END_TEST

START_TEST(set_attr_replaces_xattrs)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 1);
    struct l2_xattrs fresh = {0}, none = {0};
    struct l2_object o;

    rig_xattr_add(&buf.xattrs, "user.old", "1", 1);
    rig_xattr_add(&fresh, "user.new", "two\0three", 9);
    if (conform_can("set_attr")) {
        ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, NULL), 0);
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", NULL, &fresh, L2_ATTR_XATTRS), 0);
        ck_assert_int_eq(rig_load(&rig, "k", &o), 0);
        check_xattr(&o.xattrs, "user.old", NULL);
        ck_assert_uint_eq(o.xattrs.len, fresh.len);
        ck_assert(!memcmp(o.xattrs.data, fresh.data, fresh.len));
        rig_object_drop(&rig, &o);
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "k", NULL, &none, L2_ATTR_XATTRS), 0);
        ck_assert_int_eq(rig_load(&rig, "k", &o), 0);
        ck_assert_uint_eq(o.xattrs.len, 0);
        rig_object_drop(&rig, &o);
    }
    free(fresh.data);
    rig_buf_close(&buf);
}
END_TEST

START_TEST(set_attr_of_nothing)
{
    struct l2_attr attr = {.mode = S_IFREG | 0600};

    if (conform_can("set_attr"))
        ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "absent", &attr, NULL, L2_ATTR_MODE), -ENOENT);
}
END_TEST

START_TEST(set_attr_of_a_directory)
{
    struct l2_attr attr = {.mode = S_IFDIR | 0755, .uid = getuid(), .gid = getgid()};
    struct listing l;

    if (!conform_can("set_attr"))
        return;
    ck_assert_int_eq(rig.a->ops->make_dir(rig.a, "d/", &attr), 0);
    attr.mode = S_IFDIR | 0700;
    attr.mtime.tv_sec = 1500000000;
    ck_assert_int_eq(rig.a->ops->set_attr(rig.a, "d/", &attr, NULL, L2_ATTR_MODE | L2_ATTR_MTIME),
                     0);
    list_all(&l, 0);
    check_attr(&entry_of(&l, "d/")->attr, &attr);
    listing_fini(&l);
}
END_TEST

START_TEST(attributes_move_with_the_key)
{
    struct l2_buf buf = rig_buf(&rig, SIZE, 1);
    struct listing l;

    rig_xattr_add(&buf.xattrs, "user.engine", "vllm", 4);
    if (conform_can("rename")) {
        ck_assert_int_eq(rig_store_buf(&rig, "a", &buf, NULL), 0);
        ck_assert_int_eq(rig.a->ops->rename(rig.a, "a", "b"), 0);
        list_all(&l, 0);
        check_attr(&entry_of(&l, "b")->attr, &buf.attr);
        check_xattr(&entry_of(&l, "b")->xattrs, "user.engine", "vllm");
        ck_assert_uint_eq(entry_of(&l, "b")->crc32c, buf.crc32c);
        listing_fini(&l);
    }
    rig_buf_close(&buf);
}
END_TEST

/* --- usage, status --- */

START_TEST(usage_follows_the_objects)
{
    struct l2_usage u;

    if (!conform_can("usage"))
        return;
    rig.a->ops->usage(rig.a, &u);
    ck_assert_uint_eq(u.objects, 0);
    ck_assert_uint_eq(u.used, 0);
    for (int i = 0; i < 3; i++) {
        char key[] = {(char)('a' + i), '\0'};

        ck_assert_int_eq(rig_store(&rig, key, 100000, 1), 0);
    }
    ck_assert_int_eq(rig_store(&rig, "a", 50000, 2), 0);
    ck_assert_int_eq(rig_store(&rig, "b", 100000, 1), 0);
    rig.a->ops->usage(rig.a, &u);
    ck_assert_uint_eq(u.objects, 3);
    ck_assert_uint_ge(u.used, 250000);
    ck_assert_uint_lt(u.used, 350000);
    ck_assert(!u.capacity || u.used <= u.capacity);
    ck_assert_uint_le(u.fs_avail, u.fs_size);
    ck_assert_int_eq(rig.a->ops->rename(rig.a, "a", "b"), 0);
    ck_assert_int_eq(rig_remove(&rig, "b", NULL), 0);
    ck_assert_int_eq(rig_remove(&rig, "c", NULL), 0);
    rig.a->ops->usage(rig.a, &u);
    ck_assert_uint_eq(u.objects, 0);
    ck_assert_uint_eq(u.used, 0);
}
END_TEST

START_TEST(status_says_health_and_type)
{
    json_t *status;

    if (!conform_can("status"))
        return;
    status = rig.a->ops->status(rig.a);
    ck_assert(json_is_true(json_object_get(status, "is_healthy")));
    ck_assert(json_is_string(json_object_get(status, "type")));
    json_decref(status);
}
END_TEST

void conform_add_attrs(Suite *s)
{
    conform_add(s, "list",
                TESTS(list_of_nothing, list_shows_everything_parents_first, list_stops_when_told,
                      list_forgets_what_is_gone));
    conform_add(s, "attributes",
                TESTS(loads_bring_attributes_and_xattrs, same_bytes_again_bring_new_attributes,
                      set_attr_changes_what_the_mask_says, set_attr_replaces_xattrs,
                      set_attr_of_nothing, set_attr_of_a_directory, attributes_move_with_the_key));
    conform_add(s, "usage and status",
                TESTS(usage_follows_the_objects, status_says_health_and_type));
}
