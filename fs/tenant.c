/* tenant.c - quotas of directories: who a file belongs to, what each tenant uses, who may grow.
 * Everything runs under ns->lock and does memory operations only; giving or taking a quota, and
 * moving a directory between tenants, walks what is below it once.
 */
#include "config.h"

#include "tenant.h"

#include "clock.h"
#include "core.h"
#include "evict_quota.h"
#include "log.h"
#include "rank.h"
#include "units.h"

#define TELL_NS (60 * NSEC_PER_SEC)

static struct tenant *create(struct l2fs *fs, struct inode *dir, struct tenant *up)
{
    struct tenant *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->dir = dir;
    t->up = up;
    for (size_t i = 0; i < ARRAY_SIZE(t->tiers); i++)
        order_init(&t->tiers[i], up ? up->tiers[i].policy : EVICT_NOOP);
    l1_share_init(&fs->l1, &t->l1, fs->l1.capacity);
    list_push_back(&fs->tenants, &t->link);
    return t;
}

static void destroy(struct tenant *t)
{
    list_remove(&t->link);
    for (size_t i = 0; i < ARRAY_SIZE(t->tiers); i++)
        order_fini(&t->tiers[i]);
    l1_share_fini(&t->l1);
    free(t);
}

int tenants_init(struct l2fs *fs)
{
    fs->ns->root->tenant = create(fs, NULL, NULL);
    return fs->ns->root->tenant ? 0 : -ENOMEM;
}

void tenants_fini(struct l2fs *fs)
{
    while (!list_empty(&fs->tenants))
        destroy(list_entry(fs->tenants.next, struct tenant, link));
}

/* The directory has a quota of its own. */
static bool is_root_of(const struct inode *dir, const struct tenant *t)
{
    return t && t->dir == dir;
}

struct tenant *tenant_of_dir_locked(struct l2fs *fs, const struct inode *dir)
{
    return dir->tenant ? dir->tenant : fs->ns->root->tenant;
}

struct tenant *tenant_of_locked(struct l2fs *fs, const struct inode *inode)
{
    return inode->tenant ? inode->tenant : fs->ns->root->tenant;
}

uint64_t tenant_quota_locked(const struct inode *dir)
{
    return is_root_of(dir, dir->tenant) ? dir->tenant->quota : 0;
}

bool tenant_is_inside(const struct tenant *t, const struct tenant *outer)
{
    while (t && t != outer)
        t = t->up;
    return t != NULL;
}

/* ---- accounting ---- */

static void count(struct tenant *t, uint64_t bytes, size_t files)
{
    for (; t; t = t->up) {
        t->used += bytes;
        t->files += files;
    }
}

static void uncount(struct tenant *t, uint64_t bytes, size_t files)
{
    count(t, -bytes, -files);
}

/* The present tenant as long as a name is there, else that of the newest name. */
static struct tenant *home_of(const struct inode *inode)
{
    const struct dentry *d;

    for (d = inode->names; inode->tenant && d; d = d->alias)
        if (d->parent->tenant == inode->tenant)
            return inode->tenant;
    d = inode->names;
    return d && !d->parent->dir->reserved ? d->parent->tenant : NULL;
}

static uint64_t bytes_of(const struct inode *inode)
{
    bool first = inode->state == STATE_WRITING && inode->object;

    return first ? MAX(inode->size, inode->object->promised) : inode->size;
}

void tenant_resident_locked(struct l2fs *fs, struct object *o)
{
    gate_sync_locked(fs);
    l1_add(&fs->l1, &tenant_of_locked(fs, o->inode)->l1, o);
}

static void note_file(struct l2fs *fs, struct inode *inode)
{
    struct tenant *home = home_of(inode);
    uint64_t bytes = home ? bytes_of(inode) : 0;
    bool more;

    if (home != inode->tenant)
        gate_sync_locked(fs);
    uncount(inode->tenant, inode->counted, 1);
    if (home && home != inode->tenant)
        ranks_move(inode, home->tiers);
    more = home != inode->tenant || bytes > inode->counted;
    inode->tenant = home;
    inode->counted = bytes;
    count(home, bytes, 1);
    for (struct tenant *t = more ? home : NULL; t; t = t->up)
        if (t->quota && t->used > t->quota)
            quota_ask_locked(fs, t, 0);
    if (inode->object)
        l1_move(inode->object, &tenant_of_locked(fs, inode)->l1);
}

/* A tenant is now inside `up`. */
static void move_tenant(struct tenant *t, struct tenant *up)
{
    uncount(t->up, t->used, t->files);
    t->up = up;
    count(t->up, t->used, t->files);
}

/* Everything below `dir` that belonged where dir did belongs to `t` now. */
static void settle(struct l2fs *fs, struct inode *dir, struct tenant *t)
{
    dir->tenant = t;
    for (uint32_t i = 0; i < dir->dir->nslots; i++) {
        struct inode *inode = dir->dir->slots[i] ? dir->dir->slots[i]->inode : NULL;

        if (!inode)
            continue;
        if (!inode->dir)
            note_file(fs, inode);
        else if (is_root_of(inode, inode->tenant))
            move_tenant(inode->tenant, t);
        else
            settle(fs, inode, t);
    }
}

static void note_dir(struct l2fs *fs, struct inode *dir)
{
    struct tenant *around = dir->names->parent->tenant;

    if (!is_root_of(dir, dir->tenant) && dir->tenant != around)
        settle(fs, dir, around);
    else if (is_root_of(dir, dir->tenant) && dir->tenant->up != around)
        move_tenant(dir->tenant, around);
}

void tenant_note_locked(struct l2fs *fs, struct inode *inode)
{
    if (!inode->dir)
        note_file(fs, inode);
    else if (inode->names)
        note_dir(fs, inode);
}

/* ---- admission ---- */

static void tell_full(struct tenant *t)
{
    char key[KEY_PATH_MAX + 2], quota[32], used[32];

    if (t->told && clock_now() - t->told < TELL_NS)
        return;
    t->told = clock_now();
    file_key(t->dir, key);
    log_warn("%s: its quota is full (%s of %s used), new files get EDQUOT; remove some, or raise "
             "user.l2fs.quota",
             key, units_format_size(t->used, used, sizeof(used)),
             units_format_size(t->quota, quota, sizeof(quota)));
}

static bool has_room(const struct tenant *t, uint64_t bytes)
{
    return !t->quota || (t->used < t->quota && bytes <= t->quota - t->used);
}

static int admit(struct l2fs *fs, struct tenant *t, uint64_t bytes, struct waiter *w)
{
    for (; t; t = t->up) {
        bool leaving;

        if (has_room(t, bytes))
            continue;
        leaving = quota_ask_locked(fs, t, bytes);
        if (leaving && w)
            return quota_wait_locked(fs, w);
        tell_full(t);
        return -EDQUOT;
    }
    return 0;
}

int tenant_admit_locked(struct l2fs *fs, const struct inode *dir, uint64_t bytes, struct waiter *w)
{
    return admit(fs, tenant_of_dir_locked(fs, dir), bytes, w);
}

int tenant_grow_locked(struct l2fs *fs, const struct inode *inode, uint64_t size, struct waiter *w)
{
    return size > inode->counted ? admit(fs, inode->tenant, size - inode->counted, w) : 0;
}

static uint64_t bytes_below(const struct inode *dir)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < dir->dir->nslots; i++) {
        const struct inode *inode = dir->dir->slots[i] ? dir->dir->slots[i]->inode : NULL;

        if (!inode)
            continue;
        if (!inode->dir)
            bytes += inode->counted;
        else
            bytes += is_root_of(inode, inode->tenant) ? inode->tenant->used : bytes_below(inode);
    }
    return bytes;
}

/* Another name keeps the file where it is. */
static bool stays(const struct dentry *from)
{
    const struct inode *inode = from->inode;

    for (const struct dentry *d = inode->names; d; d = d->alias)
        if (d != from && d->parent->tenant == inode->tenant)
            return true;
    return false;
}

int tenant_move_locked(struct l2fs *fs, const struct dentry *from, const struct inode *to,
                       const struct dentry *over)
{
    const struct inode *inode = from->inode;
    struct tenant *old = tenant_of_dir_locked(fs, from->parent);
    struct tenant *t = tenant_of_dir_locked(fs, to);
    const struct inode *gone = over && !over->inode->dir && !over->alias ? over->inode : NULL;
    uint64_t bytes;

    if (tenant_is_inside(old, t) || (!inode->dir && stays(from)))
        return 0;
    if (!inode->dir)
        bytes = inode->counted;
    else
        bytes = is_root_of(inode, inode->tenant) ? inode->tenant->used : bytes_below(inode);
    for (; t && !tenant_is_inside(old, t); t = t->up) {
        uint64_t freed = gone && tenant_is_inside(gone->tenant, t) ? gone->counted : 0;

        if (bytes <= freed || has_room(t, bytes - freed))
            continue;
        tell_full(t);
        return -EDQUOT;
    }
    return 0;
}

/* ---- user.l2fs.quota ---- */

int tenant_set_quota_locked(struct l2fs *fs, struct inode *dir, uint64_t quota)
{
    struct tenant *t = dir->tenant;

    if (!dir->dir || dir->dir->reserved || !dir->names)
        return -EINVAL;
    if (!is_root_of(dir, t)) {
        if (!quota)
            return 0;
        t = create(fs, dir, t);
        if (!t)
            return -ENOMEM;
        settle(fs, dir, t);
    }
    t->quota = quota;
    t->l1.due = quota ? MIN(quota, fs->l1.capacity) : fs->l1.capacity;
    t->told = 0;
    if (quota && t->used > quota)
        quota_ask_locked(fs, t, 0);
    if (quota)
        return 0;
    settle(fs, dir, t->up);
    destroy(t);
    return 0;
}
