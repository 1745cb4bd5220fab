/* mock_table.h - the objects of the mock adapter, in memory. Level 2. Any thread. */
#ifndef L2FS_MOCK_TABLE_H
#define L2FS_MOCK_TABLE_H

#include "adapter.h"
#include "hash.h"
#include "list.h"
#include "lock.h"
#include "workers.h"

/* A key of the table. A directory has a key that ends in '/' and no data. */
struct mock_object {
    struct hash_node node;   /* table lock */
    struct list fifo;        /* files, oldest first; table lock */
    size_t refs;             /* the table's and those of mock_table_get; table lock */
    char *key;               /* table lock */
    struct l2_attr attr;     /* table lock */
    struct l2_xattrs xattrs; /* owned; table lock */
    uint64_t size;
    uint32_t crc32c;
    unsigned char data[]; /* constant once the object is in the table */
};

struct mock_table {
    uint64_t capacity;
    bool evicts; /* the oldest leave when it is full */
    struct keylocks *locks;
    pthread_mutex_t lock;
    struct hash objects; /* lock */
    struct list fifo;    /* files, oldest first; lock */
    uint64_t used;       /* lock */
    uint64_t reserved;   /* lock: objects being filled in */
    size_t files;        /* lock */
};

/* `locks` says which keys may not leave; it outlives the table. NULL on no memory. */
struct mock_table *mock_table_create(uint64_t capacity, bool evicts, struct keylocks *locks);
void mock_table_destroy(struct mock_table *t);

/* An object to be filled in by the caller: data, crc32c. Its room is set aside beside that of what the
 * key holds now, when the table evicts by evicting unlocked objects, oldest first. -ENOMEM, -EFBIG (above the
 * capacity), -ENOSPC. */
int mock_object_create(struct mock_table *t, const char *key, const struct l2_buf *buf,
                       struct mock_object **out);
/* Gives up one that was not put. */
void mock_object_destroy(struct mock_table *t, struct mock_object *o);
/* Takes the object, replacing what its key held. The bytes that were written: 0 when the same were
 * there already. */
uint64_t mock_table_put(struct mock_table *t, struct mock_object *o);
/* Takes over attributes when the table holds just these bytes. */
bool mock_table_has(struct mock_table *t, const char *key, const struct l2_buf *buf);

/* 0 and a lock on the key, or -ENOENT, -ENOMEM. */
int mock_table_find(struct mock_table *t, const char *key, uint64_t *size);
/* A reference that keeps the data, and the attributes in `out` (xattrs copied). */
int mock_table_get(struct mock_table *t, const char *key, struct mock_object **ref,
                   struct l2_object *out);
void mock_table_release(struct mock_table *t, struct mock_object *ref);
/* Removes an object whatever its locks say, when the key still holds it. */
void mock_table_discard(struct mock_table *t, const struct mock_object *ref);

/* As the adapter operations of the same names. */
int mock_table_rename(struct mock_table *t, const char *from, const char *to);
int mock_table_remove(struct mock_table *t, const char *const *keys, size_t n,
                      struct bitmap *skipped);
int mock_table_make_dir(struct mock_table *t, const char *dir, const struct l2_attr *attr);
int mock_table_set_attr(struct mock_table *t, const char *key, const struct l2_attr *attr,
                        const struct l2_xattrs *xattrs, unsigned mask);
int mock_table_list(struct mock_table *t, l2_list_fn *fn, void *arg);
void mock_table_usage(struct mock_table *t, struct l2_usage *out);

/* Between mock_table.c and mock_tree.c. */
struct mock_object *mock_object_alloc(const char *key, uint64_t size); /* one reference */
void mock_object_free(struct mock_object *o);                          /* not in the table */
struct mock_object *mock_table_lookup_locked(const struct mock_table *t, const char *key);
void mock_table_insert_locked(struct mock_table *t, struct mock_object *o);
void mock_table_erase_locked(struct mock_table *t, struct mock_object *o);
void mock_table_rekey_locked(struct mock_table *t, struct mock_object *o, char *key);
int mock_xattrs_copy(struct l2_xattrs *to, const struct l2_xattrs *from);
bool mock_is_dir_key(const char *key);

#endif
