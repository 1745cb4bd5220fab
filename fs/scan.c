/* scan.c - the tree is filled with what a tier holds: one listing of it. ns->lock is taken per entry,
 * since the front runs meanwhile. The listing of the last tier of a start says which directories are
 * whole.
 */
#include "config.h"

#include "clock.h"
#include "core.h"
#include "log.h"
#include "tenant.h"
#include "xattr.h"

/* The directory of the latest file: most files are in the same one as the file before. It is that
 * one as long as no directory has lost its name since. */
struct latest {
    struct inode *dir; /* NULL: none */
    uint64_t dirs_lost;
    size_t len;
    char path[KEY_PATH_MAX + 2]; /* ends in '/', or is "" */
};

struct scan {
    struct l2fs *fs;
    size_t tier;
    bool last; /* of a start: what it has told all of is whole */
    struct latest latest;
    size_t skipped;
    size_t stale; /* copies of a key that differ from what the tree has */
    int error;
};

static void set_attrs(struct inode *inode, const struct l2_entry *e)
{
    inode->mode = (inode->mode & S_IFMT) | (e->attr.mode & 07777);
    inode->uid = e->attr.uid;
    inode->gid = e->attr.gid;
    inode->atime = file_time(&e->attr.atime);
    inode->mtime = inode->ctime = file_time(&e->attr.mtime);
}

static int set_xattrs(struct inode *inode, const struct l2_xattrs *x)
{
    struct extra *extra = x->len ? inode_extra(inode) : NULL;

    if (!x->len)
        return 0;
    if (!extra || !(extra->xattrs = malloc(x->len)))
        return -ENOMEM;
    memcpy(extra->xattrs, x->data, x->len);
    extra->xattrs_len = x->len;
    return 0;
}

static int add_dir_locked(struct scan *s, const struct l2_entry *e)
{
    char key[KEY_PATH_MAX + 2];
    size_t len = strlen(e->key), before = s->fs->ns->dirs;
    struct inode *dir;
    const char *name;
    int err;

    if (len > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(key, e->key, len + 1);
    strcpy(key + len, "x"); /* "a/b/x": b is a parent then */
    err = ns_make_parents(s->fs->ns, key, &dir, &name);
    if (err)
        return err;
    if (s->fs->ns->dirs == before) /* it is there, as a lower tier or the tree has it */
        return 0;
    set_attrs(dir, e);
    err = set_xattrs(dir, &e->xattrs);
    return err ? err : xattr_restore_dir(s->fs, dir);
}

/* Slot files, by name, directory or size, stay where they are. */
static bool lives_on_disk(const struct l2fs *fs, const struct inode *dir, const char *name,
                          uint64_t size, size_t tier)
{
    int disk = tiers_disk(&fs->tiers);

    if (!(fs->tiers.files & (1u << tier)) || (disk >= 0 && (size_t)disk != tier))
        return false;
    return dir->dir->place_disk || size > fs->l1.capacity ||
           (fs->cfg->disk && text_match_globs(fs->cfg->disk, name));
}

/* The same bytes, as far as can be told without reading them: what was copied from directory to
 * directory by other programs has no checksum, but the same time. */
static bool is_copy(const struct inode *inode, const struct l2_entry *e)
{
    if (inode->size != e->size)
        return false;
    if (inode->has_crc && e->has_crc)
        return inode->crc32c == e->crc32c;
    return inode->mtime == file_time(&e->attr.mtime);
}

/* The tree has the name. What it has counts, that is the lowest tier or what was written since. */
static int add_copy_locked(struct scan *s, struct dentry *d, const struct l2_entry *e)
{
    struct inode *inode = d->inode;
    bool whole = inode->state == STATE_EVICTED || inode->state == STATE_LOADING ||
                 (inode->state == STATE_RESIDENT && !inode->object->dirty);

    if (inode->dir)
        return -EISDIR;
    d->in_l2 = true;
    if (inode->state == STATE_DISK || !whole || !is_copy(inode, e)) {
        s->stale++;
        inode->stale = true;
        if (inode->object && inode->state == STATE_RESIDENT)
            d->gen = 0; /* stored again, which replaces it */
        return 0;
    }
    if (!d->alias && inode->names == d) /* a load asks for one name only */
        inode->tiers |= 1u << s->tier;
    return 0;
}

static int find_dir_locked(struct scan *s, const char *key, struct inode **dir, const char **name)
{
    struct namespace *ns = s->fs->ns;
    struct latest *l = &s->latest;
    const char *slash = strrchr(key, '/');
    size_t len = slash ? (size_t)(slash - key) + 1 : 0;
    int err;

    *name = key + len;
    if (l->dir && l->dirs_lost == ns->dirs_lost && l->len == len && !memcmp(l->path, key, len)) {
        *dir = l->dir;
        return 0;
    }
    l->dir = NULL;
    err = ns_make_parents(ns, key, dir, name);
    if (err || len > KEY_PATH_MAX)
        return err;
    *l = (struct latest){.dir = *dir, .dirs_lost = ns->dirs_lost, .len = len};
    memcpy(l->path, key, len);
    return 0;
}

static int new_file_locked(struct scan *s, struct inode *dir, const char *name,
                           const struct l2_entry *e)
{
    struct namespace *ns = s->fs->ns;
    struct inode *inode = ns_new_inode(ns, S_IFREG | 0644);
    struct dentry *d;
    int err;

    if (!inode)
        return -ENOMEM;
    set_attrs(inode, e);
    inode->size = e->size;
    inode->blocks = e->blocks;
    inode->has_crc = e->has_crc;
    inode->crc32c = e->crc32c;
    inode->tiers = 1u << s->tier;
    state_move(&inode->state,
               lives_on_disk(s->fs, dir, name, e->size, s->tier) ? STATE_DISK : STATE_EVICTED);
    err = set_xattrs(inode, &e->xattrs);
    if (!err)
        err = ns_name_create(ns, dir, name, &d);
    if (err) {
        ns_forget_unused(ns, inode);
        return err;
    }
    ns_name_found(ns, d, inode);
    tenant_note_locked(s->fs, inode);
    s->fs->found++;
    d->in_l2 = true;
    return 0;
}

static int add_file_locked(struct scan *s, const struct l2_entry *e)
{
    struct inode *dir;
    const char *name;
    struct dentry *d;
    int err = find_dir_locked(s, e->key, &dir, &name);

    if (err)
        return err;
    if (dir->dir->reserved)
        return -EEXIST;
    d = ns_find(s->fs->ns, dir, name);
    return d ? add_copy_locked(s, d, e) : new_file_locked(s, dir, name, e);
}

static bool on_entry(void *arg, const struct l2_entry *e)
{
    struct scan *s = arg;
    size_t len = strlen(e->key);
    int err;

    if (atomic_load(&s->fs->scan.stop)) /* there may be no tree any more */
        return false;
    LOCKED_SCOPE(&s->fs->ns->lock);
    if (e->listed) {
        if (s->last)
            scan_listed_locked(s->fs, e->key);
        return true;
    }
    err = len && e->key[len - 1] == '/' ? add_dir_locked(s, e) : add_file_locked(s, e);
    if (err == -ENOMEM) {
        s->error = err;
        return false;
    }
    s->skipped += err != 0;
    return true;
}

int scan_tier(struct l2fs *fs, size_t slot)
{
    TIERS_HELD(held, &fs->tiers, 1u << slot);
    struct scan s = {
        .fs = fs, .tier = slot, .last = fs->scan.running && fs->scan.tiers >> slot == 1};
    struct tier *tier = fs->tiers.tier[slot];
    int err;

    if (!held.mask || !(tier_flags(tier) & L2_PERSISTENT))
        return 0;
    err = tier_list(tier, on_entry, &s);
    if (!err)
        err = s.error;
    if (err && err != -EOPNOTSUPP)
        return err;
    if (s.skipped)
        log_warn("tier %s: %zu entries cannot be shown (names that clash or are too long)",
                 tier_name(tier), s.skipped);
    if (s.stale)
        log_warn("tier %s: %zu entries are other versions of keys that are here already; they are "
                 "never read, and replaced when the key is stored again",
                 tier_name(tier), s.stale);
    return 0;
}
