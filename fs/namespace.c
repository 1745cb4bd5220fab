/* namespace.c - the tree of names: one hash of (directory, name) for lookups, one slot array per
 * directory for listings. Guarded by namespace.lock throughout; no I/O.
 */
#include "config.h"

#include "clock.h"
#include "namespace.h"

static uint64_t name_hash(const struct inode *dir, const char *name)
{
    return hash_bytes(name, strlen(name), dir->ino * UINT64_C(0x9e3779b97f4a7c15));
}

struct inode *ns_new_inode(struct namespace *ns, uint32_t mode)
{
    struct inode *inode = inode_create(ns->next_ino, mode);

    if (!inode)
        return NULL;
    if (S_ISDIR(mode)) {
        inode->dir = calloc(1, sizeof(*inode->dir));
        if (!inode->dir) {
            inode_destroy(inode);
            return NULL;
        }
        inode->dir->unlisted = ns->unlisted;
        inode->nlink = 2;
        inode->size = 4096;
        inode->blocks = 8;
    }
    ns->next_ino++;
    return inode;
}

int ns_create(struct namespace **out)
{
    struct namespace *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return -ENOMEM;
    ns->next_ino = 1;
    if (hash_init(&ns->names))
        goto fail;
    if (hash_init(&ns->orphans))
        goto fail_names;
    ns->root = ns_new_inode(ns, S_IFDIR | 0755);
    if (!ns->root)
        goto fail_orphans;
    ns->root->uid = geteuid();
    ns->root->gid = getegid();
    lock_init(&ns->lock);
    *out = ns;
    return 0;

fail_orphans:
    hash_fini(&ns->orphans);
fail_names:
    hash_fini(&ns->names);
fail:
    free(ns);
    return -ENOMEM;
}

struct orphan {
    struct hash_node node;
    struct inode *inode;
};

static uint64_t orphan_hash(const struct inode *inode)
{
    return inode->ino * UINT64_C(0x9e3779b97f4a7c15);
}

void ns_orphan(struct namespace *ns, struct inode *inode)
{
    struct orphan *o = malloc(sizeof(*o));

    if (!o)
        return; /* only ns_destroy misses it */
    o->inode = inode;
    hash_insert(&ns->orphans, &o->node, orphan_hash(inode));
}

static void forget_orphan(struct namespace *ns, const struct inode *inode)
{
    struct hash_node *node = hash_first(&ns->orphans, orphan_hash(inode));

    while (node && container_of(node, struct orphan, node)->inode != inode)
        node = hash_next(node);
    if (!node)
        return;
    hash_remove(&ns->orphans, node);
    free(container_of(node, struct orphan, node));
}

static void free_inode(struct inode *inode)
{
    if (inode->object)
        object_destroy(inode->object);
    if (inode->dir)
        free(inode->dir->slots);
    free(inode->dir);
    inode_destroy(inode);
}

static void free_dentry(struct hash_node *node, void *arg)
{
    struct dentry *d = container_of(node, struct dentry, node);
    struct inode *inode = d->inode;

    (void)arg;
    if (inode->names == d && !d->alias) {
        free_inode(inode);
    } else {
        struct dentry **p = &inode->names;

        while (*p != d)
            p = &(*p)->alias;
        *p = d->alias;
    }
    free(d);
}

static void free_orphan(struct hash_node *node, void *arg)
{
    struct orphan *o = container_of(node, struct orphan, node);

    (void)arg;
    free_inode(o->inode);
    free(o);
}

void ns_destroy(struct namespace *ns)
{
    if (!ns)
        return;
    hash_each(&ns->orphans, free_orphan, NULL);
    hash_fini(&ns->orphans);
    hash_each(&ns->names, free_dentry, NULL);
    hash_fini(&ns->names);
    free_inode(ns->root);
    pthread_mutex_destroy(&ns->lock);
    free(ns);
}

struct dentry *ns_find(struct namespace *ns, const struct inode *dir, const char *name)
{
    struct hash_node *node = hash_first(&ns->names, name_hash(dir, name));

    for (; node; node = hash_next(node)) {
        struct dentry *d = container_of(node, struct dentry, node);

        if (d->parent == dir && !strcmp(d->name, name))
            return d;
    }
    return NULL;
}

void ns_touch(struct inode *inode, bool mtime)
{
    inode->ctime = file_time_now();
    if (mtime)
        inode->mtime = inode->ctime;
}

static int room_for_slot(struct dir *dir)
{
    uint32_t capacity = dir->capacity ? dir->capacity * 2 : 8;
    struct dentry **slots;

    if (dir->nslots < dir->capacity)
        return 0;
    if (capacity < dir->capacity)
        return -ENOSPC;
    slots = realloc(dir->slots, capacity * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    dir->slots = slots;
    dir->capacity = capacity;
    return 0;
}

static size_t path_len(const struct inode *dir)
{
    size_t len = 0;

    for (const struct dentry *d = ns_dir_name(dir); d; d = ns_dir_name(d->parent))
        len += strlen(d->name) + 1;
    return len;
}

static bool is_removed(const struct namespace *ns, const struct inode *dir)
{
    return dir != ns->root && !dir->names;
}

int ns_name_create(struct namespace *ns, struct inode *dir, const char *name, struct dentry **out)
{
    size_t len = strlen(name);
    struct dentry *d;
    int err;

    if (len > KEY_NAME_MAX || path_len(dir) + len > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    if (is_removed(ns, dir))
        return -ENOENT;
    ns_compact(dir);
    err = room_for_slot(dir->dir);
    if (err)
        return err;
    d = calloc(1, offsetof(struct dentry, name) + len + 1);
    if (!d)
        return -ENOMEM;
    memcpy(d->name, name, len + 1);
    d->parent = dir;
    *out = d;
    return 0;
}

static void take_slot(struct dir *dir, struct dentry *d)
{
    d->slot = dir->nslots++;
    dir->slots[d->slot] = d;
    dir->live++;
}

void ns_name_found(struct namespace *ns, struct dentry *d, struct inode *inode)
{
    struct inode *dir = d->parent;

    take_slot(dir->dir, d);
    d->inode = inode;
    d->alias = inode->names;
    inode->names = d;
    hash_insert(&ns->names, &d->node, name_hash(dir, d->name));
    if (!d->alias)
        forget_orphan(ns, inode);
    if (S_ISDIR(inode->mode)) {
        dir->dir->subdirs++;
        dir->nlink++;
        ns->dirs++;
        if (!inode->tenant)
            inode->tenant = dir->tenant;
    } else {
        inode->nlink++;
        ns->files += inode->nlink == 1;
    }
}

void ns_name_link(struct namespace *ns, struct dentry *d, struct inode *inode)
{
    ns_name_found(ns, d, inode);
    ns_touch(d->parent, true);
    ns_touch(inode, false);
}

int ns_link(struct namespace *ns, struct inode *dir, const char *name, struct inode *inode,
            struct dentry **out)
{
    struct dentry *d;
    int err = ns_find(ns, dir, name) ? -EEXIST : ns_name_create(ns, dir, name, &d);

    if (err)
        return err;
    ns_name_link(ns, d, inode);
    if (out)
        *out = d;
    return 0;
}

void ns_unlink(struct namespace *ns, struct dentry *d)
{
    struct inode *dir = d->parent, *inode = d->inode;
    struct dentry **p = &inode->names;

    while (*p != d)
        p = &(*p)->alias;
    *p = d->alias;
    hash_remove(&ns->names, &d->node);
    dir->dir->slots[d->slot] = NULL;
    dir->dir->live--;
    if (S_ISDIR(inode->mode)) {
        dir->dir->subdirs--;
        dir->nlink--;
        inode->nlink = 0;
        ns->dirs--;
        ns->dirs_lost++;
    } else {
        inode->nlink--;
        ns->files -= inode->nlink == 0;
    }
    if (inode->object && inode->object->storing_name == d)
        inode->object->storing_name = NULL;
    ns_touch(dir, true);
    ns_touch(inode, false);
    free(d);
    if (!inode->names) {
        ns_orphan(ns, inode);
        if (inode->dir)
            inode->tenant = ns->root->tenant; /* its own may be gone before it is */
    }
}

void ns_forget_unused(struct namespace *ns, struct inode *inode)
{
    if (inode == ns->root || inode->names || inode->object || inode->nlookup || inode->busy ||
        (inode->dir && inode->dir->opens))
        return;
    forget_orphan(ns, inode);
    free_inode(inode);
}

int ns_path(const struct dentry *d, char out[KEY_PATH_MAX + 2])
{
    size_t len = path_len(d->parent) + strlen(d->name);
    char *p = out + len;

    if (len > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    *p = '\0';
    for (; d; d = ns_dir_name(d->parent)) {
        size_t n = strlen(d->name);

        p -= n;
        memcpy(p, d->name, n);
        if (p > out)
            *--p = '/';
    }
    return (int)len;
}

bool ns_is_below(const struct inode *inode, const struct inode *dir)
{
    for (;;) {
        if (inode == dir)
            return true;
        if (!inode->names)
            return false;
        inode = inode->names->parent;
    }
}

int ns_make_parents(struct namespace *ns, const char *key, struct inode **dir, const char **name)
{
    struct inode *at = ns->root;
    const char *slash;

    for (; (slash = strchr(key, '/')) && slash[1]; key = slash + 1) {
        char part[KEY_NAME_MAX + 1];
        size_t len = (size_t)(slash - key);
        struct dentry *d;
        struct inode *made;
        int err;

        if (len > KEY_NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(part, key, len);
        part[len] = '\0';
        d = ns_find(ns, at, part);
        if (d && !d->inode->dir)
            return -ENOTDIR;
        if (d) {
            at = d->inode;
            continue;
        }
        made = ns_new_inode(ns, S_IFDIR | 0755);
        err = made ? ns_link(ns, at, part, made, NULL) : -ENOMEM;
        if (err && made)
            ns_forget_unused(ns, made);
        if (err)
            return err;
        at = made;
    }
    *dir = at;
    *name = key;
    return 0;
}

bool ns_walk(struct inode *dir, ns_walk_fn *fn, void *arg)
{
    for (uint32_t i = 0; i < dir->dir->nslots; i++) {
        struct dentry *d = dir->dir->slots[i];

        if (!d)
            continue;
        if (!fn(arg, d) || (d->inode->dir && !ns_walk(d->inode, fn, arg)))
            return false;
    }
    return true;
}

void ns_compact(struct inode *inode)
{
    struct dir *dir = inode->dir;
    uint32_t n = 0;

    if (dir->opens || dir->nslots < 16 || dir->live > dir->nslots / 2)
        return;
    for (uint32_t i = 0; i < dir->nslots; i++) {
        if (!dir->slots[i])
            continue;
        dir->slots[n] = dir->slots[i];
        dir->slots[n]->slot = n;
        n++;
    }
    dir->nslots = n;
}
