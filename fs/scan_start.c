/* scan_start.c - the scan of a start, beside the running front: who waits for what, and its end.
 *
 * Thread model: run_scan has a thread of hotplug's; all that it shares is under ns->lock. A tier whose
 * listing hangs is left behind by hotplug_stop, and touches nothing more once `stop` is set.
 */
#include "config.h"

#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "evict_ctl.h"
#include "hotplug.h"
#include "log.h"

void scan_init(struct l2fs *fs)
{
    list_init(&fs->scan.waiters);
    cond_init(&fs->scan.moved);
}

bool scan_hides_locked(const struct l2fs *fs, const struct inode *dir)
{
    return fs->scan.running && !fs->scan.listed && dir->dir && dir->dir->unlisted;
}

/* --- waiting --- */

static int state_locked(const struct l2fs *fs)
{
    if (atomic_load(&fs->scan.stop))
        return -ESHUTDOWN;
    return fs->scan.error ? -EIO : 0;
}

/* It comes next in the listing that is under way, if that has not been there yet. */
static void ask_locked(struct l2fs *fs, struct inode *dir)
{
    struct dentry *d = ns_dir_name(dir);
    char path[KEY_PATH_MAX + 2] = "";

    if (dir->dir->asked || (d && ns_path(d, path) < 0))
        return;
    dir->dir->asked = true;
    if (d)
        strcat(path, "/");
    tier_list_first(fs->tiers.tier[fs->scan.tier], path);
}

int scan_wait_locked(struct l2fs *fs, struct inode *dir, struct waiter *w)
{
    int err;

    if (!scan_hides_locked(fs, dir))
        return 0;
    err = state_locked(fs);
    if (err || !w)
        return err ? err : -EINPROGRESS;
    ask_locked(fs, dir);
    return wait_locked(fs, &fs->scan.waiters, w, SCAN_DIR_NS, -ETIMEDOUT);
}

/* The first hidden directory on the way to `key`; NULL: none. */
static struct inode *hidden_on_way_locked(struct l2fs *fs, const char *key)
{
    struct inode *at = fs->ns->root;
    const char *slash;

    while (!scan_hides_locked(fs, at) && (slash = strchr(key, '/'))) {
        char part[KEY_NAME_MAX + 1];
        size_t len = MIN((size_t)(slash - key), (size_t)KEY_NAME_MAX);
        struct dentry *d;

        memcpy(part, key, len);
        part[len] = '\0';
        d = ns_find(fs->ns, at, part);
        if (!d || !d->inode->dir)
            return NULL;
        at = d->inode;
        key = slash + 1;
    }
    return scan_hides_locked(fs, at) ? at : NULL;
}

int scan_await_key(struct l2fs *fs, const char *key, uint64_t deadline)
{
    struct inode *dir;
    int err = 0;

    LOCKED_SCOPE(&fs->ns->lock);
    while (!err && (dir = hidden_on_way_locked(fs, key))) {
        err = state_locked(fs);
        if (err)
            return err;
        ask_locked(fs, dir);
        err = cond_wait_until(&fs->scan.moved, &fs->ns->lock, deadline);
    }
    return err;
}

int scan_await_end(struct l2fs *fs, uint64_t deadline)
{
    int err = 0;

    LOCKED_SCOPE(&fs->ns->lock);
    while (fs->scan.running && !err) {
        err = state_locked(fs);
        if (!err)
            err = cond_wait_until(&fs->scan.moved, &fs->ns->lock, deadline);
    }
    return err;
}

int scan_await_all(struct l2fs *fs, struct text *why)
{
    int err = scan_await_end(fs, clock_deadline(fs->cfg->load_timeout));

    if (err == -ETIMEDOUT)
        text_puts(why, "what the adapters hold is still being listed; try again when \"scan\" in "
                       ".l2fs/status has ended");
    else if (err == -EIO)
        text_puts(why,
                  "what the adapters hold could not be listed; see \"health\" in .l2fs/status");
    return err == -ETIMEDOUT || err == -EIO ? -EBUSY : err;
}

static void wake_all_locked(struct l2fs *fs)
{
    wake_locked(fs, &fs->scan.waiters, 0);
    pthread_cond_broadcast(&fs->scan.moved);
}

void scan_listed_locked(struct l2fs *fs, const char *path)
{
    char key[KEY_PATH_MAX + 2];
    struct inode *dir;
    const char *name;

    snprintf(key, sizeof(key), "%sx", path); /* "a/b/x": b is a parent then */
    if (ns_make_parents(fs->ns, key, &dir, &name))
        return;
    dir->dir->unlisted = false;
    if (dir->dir->asked)
        wake_all_locked(fs);
}

/* --- the scan --- */

static int list_all(struct l2fs *fs)
{
    int err = 0;

    tiers_each(i, fs->scan.tiers)
    {
        lock(&fs->ns->lock);
        fs->scan.tier = i;
        unlock(&fs->ns->lock);
        err = scan_tier(fs, i);
        if (err || atomic_load(&fs->scan.stop))
            break;
    }
    return err;
}

/* The start may wait for it: what follows waits for the start. */
static void show_all(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    fs->ns->unlisted = false;
    fs->scan.listed = true;
    wake_all_locked(fs);
}

/* False: the instance ends. */
static bool await_built(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    while (!fs->scan.built && !atomic_load(&fs->scan.stop))
        pthread_cond_wait(&fs->scan.moved, &fs->ns->lock);
    return !atomic_load(&fs->scan.stop);
}

static void fail(struct l2fs *fs, int err)
{
    LOCKED_SCOPE(&fs->ns->lock);
    log_err(
        "tier %s cannot be listed: %s; what it holds in directories that were not reached cannot "
        "be opened: see to it and mount again",
        tiers_name(&fs->tiers, fs->scan.tier), strerror(-err));
    fs->scan.error = err;
    wake_all_locked(fs);
}

static void finish(struct l2fs *fs)
{
    size_t found;

    tiers_each(i, fs->cfg->read_only ? 0 : fs->scan.tiers)
    {
        int err = evict_ctl_add_tier(fs, i);

        if (err)
            log_err("tier %s will not evict: %s", tiers_name(&fs->tiers, i), strerror(-err));
    }
    arrive_open(fs);
    lock(&fs->ns->lock);
    fs->scan.running = false;
    fs->scan.took = MAX(clock_now() - fs->started, UINT64_C(1));
    found = fs->found;
    wake_all_locked(fs);
    unlock(&fs->ns->lock);
    log_info("%zu keys found in L2 in %.3f s", found, (double)fs->scan.took / NSEC_PER_SEC);
}

void scan_run(struct l2fs *fs)
{
    int err = list_all(fs);

    if (atomic_load(&fs->scan.stop))
        return;
    if (err) {
        fail(fs, err);
        return;
    }
    show_all(fs);
    if (await_built(fs))
        finish(fs);
}

static uint32_t tiers_to_list(const struct l2fs *fs)
{
    uint32_t mask = 0;

    tiers_each(i, fs->tiers.present)
    {
        if (tier_flags(fs->tiers.tier[i]) & L2_PERSISTENT)
            mask |= 1u << i;
    }
    return mask;
}

/* The mount's root is the source directory: same owner, mode and times. */
static void adopt_root(struct l2fs *fs)
{
    int disk = tiers_disk(&fs->tiers);
    json_t *config = disk < 0 ? NULL : tier_config(fs->tiers.tier[disk]);
    const char *base = json_string_value(json_object_get(config, "base_path"));
    struct inode *root = fs->ns->root;
    struct stat st;

    if (base && !stat(base, &st)) {
        root->mode = S_IFDIR | (st.st_mode & 07777);
        root->uid = st.st_uid;
        root->gid = st.st_gid;
        root->mtime = root->ctime = file_time(&st.st_mtim);
    }
    json_decref(config);
}

int scan_begin(struct l2fs *fs)
{
    int err;

    adopt_root(fs);
    fs->scan.tiers = tiers_to_list(fs);
    if (!fs->scan.tiers)
        return 0;
    fs->scan.tier = (size_t)__builtin_ctz(fs->scan.tiers);
    fs->scan.running = true;
    fs->ns->unlisted = true;
    fs->ns->root->dir->unlisted = true;
    err = hotplug_scan(fs);
    if (err)
        fs->scan.running = false;
    return err;
}

void scan_built(struct l2fs *fs)
{
    if (!fs->scan.tiers) {
        arrive_open(fs);
        return;
    }
    LOCKED_SCOPE(&fs->ns->lock);
    fs->scan.built = true;
    pthread_cond_broadcast(&fs->scan.moved);
}

void scan_stop(struct l2fs *fs)
{
    if (!fs->ns)
        return;
    LOCKED_SCOPE(&fs->ns->lock);
    atomic_store(&fs->scan.stop, true);
    wake_all_locked(fs);
}
