/* status.c - the .l2fs directory: its place in the tree, and open files below it.
 *
 * Thread model: the tree part is made once at start. An open file keeps the text it was given at
 * its first read; making it may wait for a tier (status_probe.c), so it happens without ns->lock,
 * under a mutex of the handle. That mutex is a leaf but for what the generators take, and never
 * held together with ns->lock by the same call.
 */
#include "config.h"

#include "status.h"

#include <stdatomic.h>
#include <fcntl.h>
#include <poll.h>

#include "clock.h"

#define DIRECTORY_MODE (S_IFDIR | 0555 | OWNER_SETS)
#define FILE_MODE (S_IFREG | 0444)
#define OWNER_SETS 0200 /* attributes: the kernel asks for this bit */

struct view {
    const struct vfile *file;
    int tier;        /* slot whose file it is; -1: of the instance */
    unsigned serial; /* of the adapter in it at open */
    char *peer;      /* whose file it is; NULL: of none */
    pthread_mutex_t mutex;
    bool made;                /* mutex */
    int error;                /* mutex; why it could not be made */
    struct text text;         /* mutex; constant once made */
    struct follower follower; /* files that follow the events */
};

static const struct vfile top_files[] = {
    {"status", status_print},
    {"metrics", status_print_metrics},
    {"config", status_print_config, true},
    {"victims", status_print_victims},
    {"events", NULL},
    {"history", status_print_history},
};

static bool follows_events(const struct vfile *f)
{
    return !f->generate && !f->field;
}

static const struct vfile tier_files[] = {
    {"status", status_print_tier},
    {"usage", status_print_usage},
};

void l2fs_set_mode(struct l2fs *fs, const char *mode)
{
    atomic_store(&fs->mode, mode);
}

/* --- the tree --- */

struct inode *status_new_file_locked(struct l2fs *fs, uint32_t mode, const struct vfile *file)
{
    struct inode *inode = ns_new_inode(fs->ns, mode);

    if (inode && !inode_extra(inode)) {
        ns_forget_unused(fs->ns, inode);
        return NULL;
    }
    if (inode) {
        inode->uid = geteuid();
        inode->extra->vfile = file;
    }
    return inode;
}

/* An inode under `name`, which is the caller's until it is linked. */
static int add_inode_locked(struct l2fs *fs, struct inode *dir, const char *name,
                            struct inode *inode)
{
    struct dentry *d;
    int err = inode ? ns_link(fs->ns, dir, name, inode, &d) : -ENOMEM;

    if (inode)
        inode->uid = geteuid();
    if (err && inode)
        ns_forget_unused(fs->ns, inode);
    return err;
}

static int add_dir_locked(struct l2fs *fs, struct inode *dir, const char *name, struct inode **out)
{
    struct inode *inode = ns_new_inode(fs->ns, DIRECTORY_MODE);
    int err = add_inode_locked(fs, dir, name, inode);

    if (err)
        return err;
    inode->dir->reserved = true;
    *out = inode;
    return 0;
}

static int add_files_locked(struct l2fs *fs, struct inode *dir, const struct vfile *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t mode = FILE_MODE | (files[i].settable ? OWNER_SETS : 0);
        struct inode *inode = status_new_file_locked(fs, mode, &files[i]);
        int err = add_inode_locked(fs, dir, files[i].name, inode);

        if (err)
            return err;
    }
    return 0;
}

int status_add_dir_locked(struct l2fs *fs, struct inode *parent, const char *name,
                          const struct vfile *files, size_t n)
{
    struct inode *dir;
    int err = add_dir_locked(fs, parent, name, &dir);

    return err ? err : add_files_locked(fs, dir, files, n);
}

static int add_tier_locked(struct l2fs *fs, struct inode *adapters, size_t slot)
{
    return status_add_dir_locked(fs, adapters, tiers_name(&fs->tiers, slot), tier_files,
                                 ARRAY_SIZE(tier_files));
}

static int build_locked(struct l2fs *fs)
{
    struct inode *top, *adapters;
    int err = add_dir_locked(fs, fs->ns->root, ".l2fs", &top);

    if (!err)
        err = add_files_locked(fs, top, top_files, ARRAY_SIZE(top_files));
    if (!err)
        err = add_dir_locked(fs, top, "adapters", &adapters);
    if (!err)
        err = add_dir_locked(fs, top, "ready", &fs->readies.dir);
    if (!err)
        err = add_dir_locked(fs, top, "peers", &fs->peers);
    if (err)
        return err;
    top->hidden = true;
    tiers_each(i, fs->tiers.present)
    {
        err = err ? err : add_tier_locked(fs, adapters, i);
    }
    return err;
}

int status_attach(struct l2fs *fs)
{
    size_t files, dirs;
    int err = probes_create(fs);

    if (!err)
        err = health_watch_create(fs);
    if (err)
        return err;
    fs->started = clock_now();
    LOCKED_SCOPE(&fs->ns->lock);
    files = fs->ns->files;
    dirs = fs->ns->dirs;
    err = build_locked(fs);
    fs->ns->files = files; /* these do not count */
    fs->ns->dirs = dirs;
    return err;
}

static struct inode *adapters_locked(struct l2fs *fs)
{
    struct dentry *top = ns_find(fs->ns, fs->ns->root, ".l2fs");

    return ns_find(fs->ns, top->inode, "adapters")->inode;
}

int status_add_tier_locked(struct l2fs *fs, size_t slot)
{
    size_t files = fs->ns->files, dirs = fs->ns->dirs;
    int err = add_tier_locked(fs, adapters_locked(fs), slot);

    fs->ns->files = files;
    fs->ns->dirs = dirs;
    if (err)
        status_drop_tier_locked(fs, slot);
    return err;
}

static void drop_name_locked(struct l2fs *fs, struct dentry *d)
{
    struct inode *inode = d->inode;

    file_gone_locked(fs, d);
    ns_unlink(fs->ns, d);
    ns_forget_unused(fs->ns, inode);
}

void status_drop_dir_locked(struct l2fs *fs, struct dentry *d)
{
    struct dir *dir = d->inode->dir;

    for (uint32_t i = 0; i < dir->nslots; i++)
        if (dir->slots[i])
            drop_name_locked(fs, dir->slots[i]);
    drop_name_locked(fs, d);
}

void status_drop_tier_locked(struct l2fs *fs, size_t slot)
{
    struct dentry *d = ns_find(fs->ns, adapters_locked(fs), tiers_name(&fs->tiers, slot));
    size_t files = fs->ns->files, dirs = fs->ns->dirs;

    if (!d)
        return;
    status_drop_dir_locked(fs, d);
    fs->ns->files = files;
    fs->ns->dirs = dirs;
}

void status_detach(struct l2fs *fs)
{
    probes_destroy(fs);
    json_decref(fs->peer_series);
    fs->peer_series = NULL;
    health_watch_destroy(fs);
}

/* --- open files --- */

/* The tier whose name the file's directory has, if it is one. */
static void find_tier_locked(struct l2fs *fs, const struct inode *inode, struct view *v)
{
    const struct dentry *dir = ns_dir_name(inode->names->parent);

    v->tier = tiers_find(&fs->tiers, dir->name);
    if (v->tier >= 0)
        v->serial = tiers_serial(&fs->tiers, (size_t)v->tier);
}

int virtual_open_locked(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    struct view *v;

    if ((h->flags & O_ACCMODE) != O_RDONLY || (h->flags & O_TRUNC))
        return -EACCES;
    if (!h->inode->names)
        return -ESTALE; /* of an adapter that was removed just now */
    if (inode_vfile(h->inode)->request)
        return ready_open_locked(fs, h, w);
    v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    lock_init(&v->mutex);
    v->file = inode_vfile(h->inode);
    find_tier_locked(fs, h->inode, v);
    if (v->file->field && !(v->peer = strdup(ns_dir_name(h->inode->names->parent)->name))) {
        pthread_mutex_destroy(&v->mutex);
        free(v);
        return -ENOMEM;
    }
    if (follows_events(v->file))
        follower_open_locked(fs, &v->follower);
    h->inode->busy++; /* its name may go while it is open */
    h->mode = HANDLE_VIRTUAL;
    h->virtual_data = v;
    return 0;
}

static ssize_t read_text(const struct text *t, void *buf, size_t len, off_t off)
{
    size_t n;

    if (off < 0 || (uint64_t)off >= t->len)
        return 0;
    n = MIN(len, t->len - (size_t)off);
    memcpy(buf, t->data + off, n);
    return (ssize_t)n;
}

static int generate(struct l2fs *fs, struct view *v)
{
    size_t slot = v->tier < 0 ? 0 : (size_t)v->tier;

    if (v->peer)
        return peers_print(fs, v->peer, v->file->field, &v->text);
    if (v->tier >= 0 && v->serial != tiers_serial(&fs->tiers, slot))
        return -ESTALE; /* another adapter has its slot now */
    return v->file->generate(fs, slot, &v->text);
}

ssize_t virtual_read(struct l2fs *fs, struct handle *h, void *buf, size_t len, off_t off,
                     struct waiter *w)
{
    struct view *v = h->virtual_data;

    if (inode_vfile(h->inode)->request) {
        LOCKED_SCOPE(&fs->ns->lock);
        return ready_read_locked(fs, h, buf, len, off, w);
    }
    if (follows_events(v->file))
        return follower_read(fs, &v->follower, buf, len, h->flags & O_NONBLOCK ? NULL : w);
    LOCKED_SCOPE(&v->mutex);
    if (!v->made) {
        v->error = generate(fs, v);
        v->made = true;
    }
    return v->error ? v->error : read_text(&v->text, buf, len, off);
}

unsigned virtual_poll_locked(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    struct view *v = h->virtual_data;

    if (inode_vfile(h->inode)->request)
        return ready_poll_locked(fs, h, w);
    if (!follows_events(v->file) || follower_poll_locked(fs, &v->follower, w))
        return POLLIN | POLLRDNORM;
    return 0;
}

void virtual_release(struct l2fs *fs, struct handle *h)
{
    struct view *v = h->virtual_data;

    LOCKED_SCOPE(&fs->ns->lock);
    if (inode_vfile(h->inode)->request) {
        ready_release_locked(fs, h);
        return;
    }
    if (follows_events(v->file))
        follower_close_locked(fs, &v->follower);
    h->inode->busy--;
    ns_forget_unused(fs->ns, h->inode);
    text_fini(&v->text);
    pthread_mutex_destroy(&v->mutex);
    free(v->peer);
    free(v);
    h->virtual_data = NULL;
}
