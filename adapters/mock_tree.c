/* mock_tree.c - names of the mock adapter: rename, remove, directories, listing.
 *
 * Works on the table of mock_table.c under its mutex. Directories are entries of their own only
 * when make_dir made them; a listing copies one entry at a time and calls back without the mutex,
 * so it shows keys as they are when their turn comes.
 */
#include "mock_table.h"

/* Everything below a directory, or just their number. */
struct below {
    const char *dir;
    size_t len;
    size_t n;
    struct mock_object **found; /* NULL: only count */
};

static void visit(struct hash_node *node, void *arg)
{
    struct mock_object *o = container_of(node, struct mock_object, node);
    struct below *b = arg;

    if (strncmp(o->key, b->dir, b->len) || !o->key[b->len])
        return;
    if (b->found)
        b->found[b->n] = o;
    b->n++;
}

static size_t count_below_locked(struct mock_table *t, const char *dir)
{
    struct below b = {.dir = dir, .len = strlen(dir)};

    hash_each(&t->objects, visit, &b);
    return b.n;
}

/* --- rename --- */

static int rename_file_locked(struct mock_table *t, const char *from, const char *to)
{
    struct mock_object *o = mock_table_lookup_locked(t, from);
    struct mock_object *replaced = mock_table_lookup_locked(t, to);
    char *key;

    if (!o)
        return -ENOENT;
    if (o == replaced)
        return 0;
    key = strdup(to);
    if (!key)
        return -ENOMEM;
    if (replaced)
        mock_table_erase_locked(t, replaced);
    mock_table_rekey_locked(t, o, key);
    return 0;
}

static char *moved_key(const struct mock_object *o, size_t from_len, const char *to)
{
    size_t to_len = strlen(to), rest = strlen(o->key) - from_len + 1;
    char *key = malloc(to_len + rest);

    if (!key)
        return NULL;
    memcpy(key, to, to_len);
    memcpy(key + to_len, o->key + from_len, rest);
    return key;
}

static int move_below_locked(struct mock_table *t, const char *from, const char *to, size_t n)
{
    AUTO_FREE struct mock_object **found = calloc(n + 1, sizeof(struct mock_object *));
    AUTO_FREE char **keys = calloc(n + 1, sizeof(char *));
    struct below b = {.dir = from, .len = strlen(from), .found = found};

    if (!found || !keys)
        return -ENOMEM;
    hash_each(&t->objects, visit, &b);
    for (size_t i = 0; i < n; i++) {
        keys[i] = moved_key(found[i], b.len, to);
        if (!keys[i]) {
            while (i)
                free(keys[--i]);
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < n; i++)
        mock_table_rekey_locked(t, found[i], keys[i]);
    return 0;
}

static int rename_dir_locked(struct mock_table *t, const char *from, const char *to)
{
    bool same = !strcmp(from, to);
    struct mock_object *dir = mock_table_lookup_locked(t, from);
    size_t n = count_below_locked(t, from);
    int err;

    if (!dir && !n)
        return -ENOENT;
    if (same)
        return 0;
    if (!strncmp(to, from, strlen(from)))
        return -EINVAL;
    if (count_below_locked(t, to))
        return -ENOTEMPTY;
    err = move_below_locked(t, from, to, n);
    if (err)
        return err;
    if (dir)
        return rename_file_locked(t, from, to);
    return 0;
}

int mock_table_rename(struct mock_table *t, const char *from, const char *to)
{
    LOCKED_SCOPE(&t->lock);
    if (mock_is_dir_key(from))
        return rename_dir_locked(t, from, to);
    return rename_file_locked(t, from, to);
}

/* --- remove, make_dir --- */

static int remove_locked(struct mock_table *t, const char *key)
{
    struct mock_object *o = mock_table_lookup_locked(t, key);

    if (mock_is_dir_key(key) && count_below_locked(t, key))
        return -ENOTEMPTY;
    if (o)
        mock_table_erase_locked(t, o);
    return 0;
}

int mock_table_remove(struct mock_table *t, const char *const *keys, size_t n,
                      struct bitmap *skipped)
{
    int first = 0;

    LOCKED_SCOPE(&t->lock);
    for (size_t i = 0; i < n; i++) {
        if (keylocks_held(t->locks, keys[i])) {
            if (skipped)
                bitmap_set(skipped, i);
        } else {
            int err = remove_locked(t, keys[i]);

            first = first ? first : err;
        }
    }
    return first;
}

int mock_table_make_dir(struct mock_table *t, const char *dir, const struct l2_attr *attr)
{
    struct mock_object *o = mock_object_alloc(dir, 0);

    if (!o)
        return -ENOMEM;
    o->attr = *attr;
    lock(&t->lock);
    if (!mock_table_lookup_locked(t, dir)) {
        mock_table_insert_locked(t, o);
        o = NULL;
    }
    unlock(&t->lock);
    if (o)
        mock_object_free(o);
    return 0;
}

/* --- list --- */

struct names {
    char **keys;
    size_t n;
    bool failed;
};

static void add_name(struct hash_node *node, void *arg)
{
    struct names *names = arg;
    char *key = strdup(container_of(node, struct mock_object, node)->key);

    if (key)
        names->keys[names->n++] = key;
    else
        names->failed = true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so a directory comes before what is below it. */
static int take_names(struct mock_table *t, struct names *names)
{
    LOCKED_SCOPE(&t->lock);
    *names = (struct names){.keys = calloc(t->objects.count + 1, sizeof(char *))};
    if (!names->keys)
        return -ENOMEM;
    hash_each(&t->objects, add_name, names);
    qsort(names->keys, names->n, sizeof(char *), compare_names);
    return names->failed ? -ENOMEM : 0;
}

static int copy_entry(struct mock_table *t, const char *key, struct l2_entry *e)
{
    struct mock_object *o;

    LOCKED_SCOPE(&t->lock);
    o = mock_table_lookup_locked(t, key);
    if (!o)
        return -ENOENT;
    *e = (struct l2_entry){
        .key = key,
        .size = o->size,
        .blocks = (o->size + 511) / 512,
        .attr = o->attr,
        .has_crc = !mock_is_dir_key(key),
        .crc32c = o->crc32c,
    };
    return mock_xattrs_copy(&e->xattrs, &o->xattrs);
}

int mock_table_list(struct mock_table *t, l2_list_fn *fn, void *arg)
{
    struct names names;
    int err = take_names(t, &names);
    bool more = true;

    for (size_t i = 0; i < names.n; i++) {
        struct l2_entry e;
        int rc = err || !more ? -ENOENT : copy_entry(t, names.keys[i], &e);

        if (!rc) {
            more = fn(arg, &e);
            free(e.xattrs.data);
        } else if (rc != -ENOENT) {
            err = rc;
        }
        free(names.keys[i]);
    }
    free(names.keys);
    return err;
}
