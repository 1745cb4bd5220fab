/* mock_table.c - the mock adapter's objects: a hash table, the order of storing, and a capacity.
 *
 * One mutex guards the table and all of an object but its bytes, which never change once it is in.
 * Readers take a reference under the mutex and copy the bytes without it. Asking the key locks
 * (keylocks.c) happens with the mutex held, so that a key cannot be evicted between being found
 * and being locked; the order is always table, then key locks.
 */
#include "mock_table.h"

static uint64_t key_hash(const char *key)
{
    return hash_bytes(key, strlen(key), 0);
}

bool mock_is_dir_key(const char *key)
{
    size_t len = strlen(key);

    return len && key[len - 1] == '/';
}

int mock_xattrs_copy(struct l2_xattrs *to, const struct l2_xattrs *from)
{
    void *data = NULL;

    if (from->len) {
        data = malloc(from->len);
        if (!data)
            return -ENOMEM;
        memcpy(data, from->data, from->len);
    }
    *to = (struct l2_xattrs){data, from->len};
    return 0;
}

/* Takes over `from`, which is empty afterwards. */
static void xattrs_move(struct l2_xattrs *to, struct l2_xattrs *from)
{
    free(to->data);
    *to = *from;
    *from = (struct l2_xattrs){0};
}

/* --- the table and its objects --- */

void mock_object_free(struct mock_object *o)
{
    free(o->xattrs.data);
    free(o->key);
    free(o);
}

static void unref_locked(struct mock_object *o)
{
    if (--o->refs == 0)
        mock_object_free(o);
}

struct mock_object *mock_table_lookup_locked(const struct mock_table *t, const char *key)
{
    struct hash_node *node;

    for (node = hash_first(&t->objects, key_hash(key)); node; node = hash_next(node)) {
        struct mock_object *o = container_of(node, struct mock_object, node);

        if (!strcmp(o->key, key))
            return o;
    }
    return NULL;
}

void mock_table_insert_locked(struct mock_table *t, struct mock_object *o)
{
    hash_insert(&t->objects, &o->node, key_hash(o->key));
    if (mock_is_dir_key(o->key))
        return;
    list_push_back(&t->fifo, &o->fifo);
    t->used += o->size;
    t->files++;
}

void mock_table_erase_locked(struct mock_table *t, struct mock_object *o)
{
    hash_remove(&t->objects, &o->node);
    if (!mock_is_dir_key(o->key)) {
        list_remove(&o->fifo);
        t->used -= o->size;
        t->files--;
    }
    unref_locked(o);
}

/* Takes the key over. */
void mock_table_rekey_locked(struct mock_table *t, struct mock_object *o, char *key)
{
    hash_remove(&t->objects, &o->node);
    free(o->key);
    o->key = key;
    hash_insert(&t->objects, &o->node, key_hash(key));
}

struct mock_table *mock_table_create(uint64_t capacity, bool evicts, struct keylocks *locks)
{
    struct mock_table *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    if (hash_init(&t->objects)) {
        free(t);
        return NULL;
    }
    t->capacity = capacity;
    t->evicts = evicts;
    t->locks = locks;
    lock_init(&t->lock);
    list_init(&t->fifo);
    return t;
}

static void drop(struct hash_node *node, void *arg)
{
    hash_remove(arg, node);
    mock_object_free(container_of(node, struct mock_object, node));
}

void mock_table_destroy(struct mock_table *t)
{
    if (!t)
        return;
    hash_each(&t->objects, drop, &t->objects);
    hash_fini(&t->objects);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct mock_object *mock_object_alloc(const char *key, uint64_t size)
{
    struct mock_object *o = malloc(sizeof(*o) + size);

    if (!o)
        return NULL;
    *o = (struct mock_object){.refs = 1, .size = size};
    list_init(&o->fifo);
    o->key = strdup(key);
    if (o->key)
        return o;
    free(o);
    return NULL;
}

/* --- storing --- */

static bool has_room(const struct mock_table *t, uint64_t size)
{
    return t->used + t->reserved <= t->capacity - size;
}

/* One pass over the files at most: locked ones, and what `key` holds, go to the end, others leave. */
static void evict_locked(struct mock_table *t, const char *key, uint64_t size)
{
    for (size_t left = t->files; left && !has_room(t, size); left--) {
        struct mock_object *o = list_entry(t->fifo.next, struct mock_object, fifo);

        if (!strcmp(o->key, key) || keylocks_held(t->locks, o->key)) {
            list_remove(&o->fifo);
            list_push_back(&t->fifo, &o->fifo);
        } else {
            mock_table_erase_locked(t, o);
        }
    }
}

static int reserve(struct mock_table *t, const char *key, uint64_t size)
{
    if (size > t->capacity)
        return -EFBIG;
    LOCKED_SCOPE(&t->lock);
    if (t->evicts)
        evict_locked(t, key, size);
    if (!has_room(t, size))
        return -ENOSPC;
    t->reserved += size;
    return 0;
}

int mock_object_create(struct mock_table *t, const char *key, const struct l2_buf *buf,
                       struct mock_object **out)
{
    int err = reserve(t, key, buf->size);
    struct mock_object *o;

    if (err)
        return err;
    o = mock_object_alloc(key, buf->size);
    if (o && !mock_xattrs_copy(&o->xattrs, &buf->xattrs)) {
        o->attr = buf->attr;
        *out = o;
        return 0;
    }
    if (o)
        mock_object_free(o);
    lock(&t->lock);
    t->reserved -= buf->size;
    unlock(&t->lock);
    return -ENOMEM;
}

void mock_object_destroy(struct mock_table *t, struct mock_object *o)
{
    lock(&t->lock);
    t->reserved -= o->size;
    unlock(&t->lock);
    mock_object_free(o);
}

uint64_t mock_table_put(struct mock_table *t, struct mock_object *o)
{
    struct mock_object *old;

    LOCKED_SCOPE(&t->lock);
    t->reserved -= o->size;
    old = mock_table_lookup_locked(t, o->key);
    if (old && old->size == o->size && old->crc32c == o->crc32c) {
        old->attr = o->attr;
        xattrs_move(&old->xattrs, &o->xattrs);
        mock_object_free(o);
        return 0;
    }
    if (old)
        mock_table_erase_locked(t, old);
    mock_table_insert_locked(t, o);
    return o->size;
}

bool mock_table_has(struct mock_table *t, const char *key, const struct l2_buf *buf)
{
    struct l2_xattrs xattrs;
    struct mock_object *o;

    if (mock_xattrs_copy(&xattrs, &buf->xattrs))
        return false;
    lock(&t->lock);
    o = mock_table_lookup_locked(t, key);
    if (o && (o->size != buf->size || o->crc32c != buf->crc32c))
        o = NULL;
    if (o) {
        o->attr = buf->attr;
        xattrs_move(&o->xattrs, &xattrs);
    }
    unlock(&t->lock);
    free(xattrs.data);
    return o != NULL;
}

/* --- finding --- */

int mock_table_find(struct mock_table *t, const char *key, uint64_t *size)
{
    struct mock_object *o;
    int err;

    LOCKED_SCOPE(&t->lock);
    o = mock_table_lookup_locked(t, key);
    if (!o)
        return -ENOENT;
    err = keylocks_get(t->locks, key);
    if (!err)
        *size = o->size;
    return err;
}

int mock_table_get(struct mock_table *t, const char *key, struct mock_object **ref,
                   struct l2_object *out)
{
    struct mock_object *o;

    LOCKED_SCOPE(&t->lock);
    o = mock_table_lookup_locked(t, key);
    if (!o)
        return -ENOENT;
    *out = (struct l2_object){.size = o->size, .crc32c = o->crc32c, .attr = o->attr};
    if (mock_xattrs_copy(&out->xattrs, &o->xattrs))
        return -ENOMEM;
    o->refs++;
    *ref = o;
    return 0;
}

void mock_table_release(struct mock_table *t, struct mock_object *ref)
{
    LOCKED_SCOPE(&t->lock);
    unref_locked(ref);
}

void mock_table_discard(struct mock_table *t, const struct mock_object *ref)
{
    struct mock_object *o;

    LOCKED_SCOPE(&t->lock);
    o = mock_table_lookup_locked(t, ref->key);
    if (o == ref)
        mock_table_erase_locked(t, o);
}

int mock_table_set_attr(struct mock_table *t, const char *key, const struct l2_attr *attr,
                        const struct l2_xattrs *xattrs, unsigned mask)
{
    struct l2_xattrs copy = {0};
    struct mock_object *o;
    int err = mask & L2_ATTR_XATTRS ? mock_xattrs_copy(&copy, xattrs) : 0;

    if (err)
        return err;
    lock(&t->lock);
    o = mock_table_lookup_locked(t, key);
    if (o && (mask & L2_ATTR_MODE))
        o->attr.mode = attr->mode;
    if (o && (mask & L2_ATTR_OWNER)) {
        o->attr.uid = attr->uid;
        o->attr.gid = attr->gid;
    }
    if (o && (mask & L2_ATTR_ATIME))
        o->attr.atime = attr->atime;
    if (o && (mask & L2_ATTR_MTIME))
        o->attr.mtime = attr->mtime;
    if (o && (mask & L2_ATTR_XATTRS))
        xattrs_move(&o->xattrs, &copy);
    unlock(&t->lock);
    free(copy.data);
    return o ? 0 : -ENOENT;
}

void mock_table_usage(struct mock_table *t, struct l2_usage *out)
{
    LOCKED_SCOPE(&t->lock);
    *out = (struct l2_usage){
        .used = t->used,
        .capacity = t->capacity,
        .objects = t->files,
        .reserved = t->reserved,
        .locked = keylocks_count(t->locks),
        .fs_size = t->capacity,
        .fs_avail = t->capacity - t->used - t->reserved,
    };
}
