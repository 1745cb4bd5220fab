/* arrive.c - takes in what peers send: room for it, then publication as by rename(2) of a temporary
 * file over the key. Any thread; everything runs under ns->lock and does memory operations only.
 *
 * A reservation is a promise of L1 like that of a writer (l1.promised), so what is on its way is
 * counted while it has no file (arrive_stage.c). Receivers that found no room are told through one
 * waiter in the queue of all who wait for L1; it comes back after ROOM_WAIT_NS at the latest, so one
 * whose request is over does not stand before others for long.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>

#include "clock.h"
#include "core.h"
#include "rank.h"
#include "tenant.h"

#define ROOM_WAIT_NS NSEC_PER_SEC

static struct arrive *to_arrive(struct arrivals *a)
{
    return container_of(a, struct arrive, base);
}

/* --- what the tree has --- */

struct place {
    struct inode *dir;    /* the deepest directory that is there */
    struct dentry *found; /* the file of that name, or NULL */
};

static int find_locked(struct l2fs *fs, const char *key, struct place *p)
{
    const char *slash;

    *p = (struct place){.dir = fs->ns->root};
    do {
        char part[KEY_NAME_MAX + 1];
        struct dentry *d;

        slash = strchrnul(key, '/');
        memcpy(part, key, (size_t)(slash - key));
        part[slash - key] = '\0';
        d = ns_find(fs->ns, p->dir, part);
        if (!d)
            return 0;
        if (*slash && !d->inode->dir)
            return -ENOTDIR;
        if (!*slash && d->inode->dir)
            return -EISDIR;
        if (!*slash)
            p->found = d;
        else
            p->dir = d->inode;
        key = slash + 1;
    } while (*slash);
    return 0;
}

static bool is_whole_locked(const struct inode *inode)
{
    switch (inode->state) {
    case STATE_RESIDENT: return !inode->object->dirty && !inode->object->writers;
    case STATE_EVICTED:
    case STATE_LOADING:
    case STATE_DISK: return true;
    default: return false;
    }
}

/* Every tier that has its bytes is removing them. */
static bool is_leaving_locked(const struct inode *inode)
{
    uint32_t leaving = 0;

    for (const struct rank *p = inode->ranks; p; p = p->next)
        leaving |= (p->leaving ? 1u : 0) << p->tier;
    return leaving && inode->state != STATE_RESIDENT && !(inode->tiers & ~leaving);
}

static bool is_same_locked(const struct inode *inode, const struct arrival *what)
{
    return is_whole_locked(inode) && inode->state != STATE_DISK && inode->has_crc &&
           !is_leaving_locked(inode) && inode->crc32c == what->crc32c && inode->size == what->size;
}

static int check_key(const struct l2fs *fs, const char *key)
{
    const char *slash = strrchr(key, '/');
    int err = key_check(key, false);

    if (err)
        return err;
    if (key_below(key, ".l2fs") ||
        (fs->cfg->tmp && text_match_globs(fs->cfg->tmp, slash ? slash + 1 : key)))
        return -EINVAL;
    return 0;
}

/* What is there is there for a new reader once more. */
static int judge_locked(struct l2fs *fs, const struct arrival *what, struct place *p)
{
    int err = fs->stopping ? -ESHUTDOWN : find_locked(fs, what->key, p);
    struct inode *inode = !err && p->found ? p->found->inode : NULL;

    if (!inode)
        return err;
    if (is_same_locked(inode, what)) {
        unread_begin_locked(fs, inode, what->ttl, false);
        return -EEXIST;
    }
    if (inode->state == STATE_WRITING || (inode->object && inode->object->writers) ||
        inode_pinned(inode, clock_now()))
        return -EBUSY;
    return 0;
}

/* --- room --- */

static void tell_rooms(struct arrive *a)
{
    LOCKED_SCOPE(&a->mutex);
    for (size_t i = 0; i < ARRAY_SIZE(a->rooms); i++)
        if (a->rooms[i].fn)
            a->rooms[i].fn(a->rooms[i].arg);
}

static void on_room(struct waiter *w)
{
    struct room_wait *r = container_of(w, struct room_wait, w);

    lock(&r->arrive->fs->ns->lock);
    r->asked = false;
    unlock(&r->arrive->fs->ns->lock);
    tell_rooms(r->arrive);
}

static int quota_locked(struct arrive *a, const struct arrival *what, const struct place *p)
{
    struct l2fs *fs = a->fs;
    const struct inode *inode = p->found && !p->found->alias ? p->found->inode : NULL;
    struct room_wait *r = &a->quota;
    int err;

    if (r->asked && !list_linked(&r->w.all_link))
        return -EAGAIN; /* being told at this moment */
    list_remove(&r->w.link);
    list_remove(&r->w.all_link);
    r->w.deadline = 0;
    if (inode && inode->tenant == tenant_of_dir_locked(fs, p->dir))
        err = tenant_grow_locked(fs, inode, what->size, &r->w);
    else
        err = tenant_admit_locked(fs, p->dir, what->size, &r->w);
    r->asked = err == -EINPROGRESS;
    return r->asked ? -EAGAIN : err;
}

static int room_locked(struct arrive *a, uint64_t size)
{
    struct l2fs *fs = a->fs;
    struct room_wait *r = &a->space;
    uint64_t used, all;
    int err = 0;

    staging_space(fs->staging, &used, &all);
    if (used + fs->l1.promised + size > fs->l1.capacity) {
        size = MIN(size, fs->l1.capacity - 1); /* a writer of so much would be let in */
        r->w.bytes = r->asked ? MIN(r->w.bytes, size) : size;
        if (!r->asked) {
            r->w.deadline = 0;
            wait_locked(fs, &fs->space_waiters, &r->w, ROOM_WAIT_NS, 0);
        }
        r->asked = true;
        err = -EAGAIN;
    }
    evict_post_locked(fs);
    return err;
}

static int reserve(struct arrivals *base, const struct arrival *what)
{
    struct arrive *a = to_arrive(base);
    struct l2fs *fs = a->fs;
    int err = check_key(fs, what->key);
    struct place p;
    uint64_t room;

    if (err)
        return err;
    if (atomic_load(&a->ended) || !atomic_load(&a->open))
        return atomic_load(&a->ended) ? -ESHUTDOWN : -EAGAIN;
    LOCKED_SCOPE(&fs->ns->lock);
    room = staging_room(fs->staging, what->size);
    err = room > fs->l1.capacity ? -EFBIG : judge_locked(fs, what, &p);
    if (!err)
        err = quota_locked(a, what, &p);
    if (!err)
        err = room_locked(a, room);
    if (err)
        return err;
    a->reserved += what->size;
    fs->l1.promised += room;
    return 0;
}

static void set_room(struct arrivals *base, void (*fn)(void *arg), void *arg)
{
    struct arrive *a = to_arrive(base);
    size_t i, free_one = ARRAY_SIZE(a->rooms);

    LOCKED_SCOPE(&a->mutex);
    for (i = 0; i < ARRAY_SIZE(a->rooms); i++) {
        if (a->rooms[i].fn && a->rooms[i].arg == arg)
            break;
        if (!a->rooms[i].fn)
            free_one = MIN(free_one, i);
    }
    i = i < ARRAY_SIZE(a->rooms) ? i : free_one;
    if (i == ARRAY_SIZE(a->rooms))
        return;
    a->rooms[i].fn = fn;
    a->rooms[i].arg = arg;
}

/* --- publication --- */

/* The mtime of the staging file is the key's while it is in L1. */
static int check_file(struct l2fs *fs, const struct arrival *what, uint64_t id)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, what->attr.mtime};
    AUTO_CLOSE int fd = -1;
    struct stat st;
    int err = staging_get(fs->staging, id, O_RDWR, &fd);

    if (err)
        return err;
    if (fstat(fd, &st))
        return -errno;
    if ((uint64_t)st.st_size != what->size)
        return -EINVAL;
    if (times[1].tv_nsec < 0 || times[1].tv_nsec >= (long)NSEC_PER_SEC)
        times[1].tv_nsec = UTIME_NOW;
    return futimens(fd, times) ? -errno : 0;
}

/* A file without a name and without its bytes; what a peer says of set-id bits does not count. */
static struct inode *new_file_locked(struct l2fs *fs, const struct arrival *what)
{
    struct inode *inode = ns_new_inode(fs->ns, S_IFREG | (what->attr.mode & 0777));

    if (!inode)
        return NULL;
    if (!object_create(inode)) {
        ns_forget_unused(fs->ns, inode);
        return NULL;
    }
    inode->uid = what->attr.uid;
    inode->gid = what->attr.gid;
    inode->size = what->size;
    inode->has_crc = true;
    inode->crc32c = what->crc32c;
    state_move(&inode->state, STATE_LANDING);
    return inode;
}

static void drop_file_locked(struct l2fs *fs, struct inode *inode)
{
    unread_end_locked(fs, inode);
    object_destroy(inode->object);
    ns_forget_unused(fs->ns, inode);
}

/* New directories are as mkdir of the file's owner would make them. Tiers make theirs when they store
 * the file. */
static int make_parents_locked(struct l2fs *fs, const struct arrival *what, const struct place *p,
                               struct inode **dir, const char **name)
{
    const struct inode *top = p->dir;
    int err = ns_make_parents(fs->ns, what->key, dir, name);

    if (err)
        return err;
    for (struct inode *d = *dir; d != top; d = ns_dir_name(d)->parent) {
        d->uid = what->attr.uid;
        d->gid = top->mode & S_ISGID ? top->gid : what->attr.gid;
        d->mode |= top->mode & S_ISGID;
        d->dir->place_disk = top->dir->place_disk;
    }
    return 0;
}

/* The name goes over to the new file. The old one's crash record is left for later, so that a crash
 * finds one of them; *old stays until then. */
static int link_locked(struct l2fs *fs, struct place *p, struct inode *dir, const char *name,
                       struct inode *inode, struct inode **old)
{
    struct dentry *made;
    int err = ns_name_create(fs->ns, dir, name, &made);

    if (err)
        return err;
    if (p->found) {
        made->in_l2 = name_in_l2(p->found);
        *old = p->found->inode;
        (*old)->busy++;
        file_gone_locked(fs, p->found);
        file_unlink_locked(fs, p->found, true);
        (*old)->superseded = !(*old)->names;
    }
    ns_name_link(fs->ns, made, inode);
    return 0;
}

static void landed_event(struct l2fs *fs, const struct arrival *what)
{
    struct text detail = {0};

    text_printf(&detail, "\"bytes\":%" PRIu64, what->size);
    if (what->from) {
        text_puts(&detail, ",\"from\":");
        events_quote(&detail, what->from);
    }
    if (!detail.failed)
        events_add(fs, "landed", what->key, detail.data);
    text_fini(&detail);
}

static void land_locked(struct l2fs *fs, struct inode *inode, uint64_t id)
{
    struct object *o = inode->object;

    o->staging_id = id;
    o->charged = staging_has_mount(fs->staging) ? 0 : inode->size;
    o->clean_size = inode->size;
    o->published = true;
    o->unread = true;
    o->want_gen = 1;
    state_move(&inode->state, STATE_RESIDENT);
    file_refresh_locked(fs, inode);
    tenant_resident_locked(fs, o);
    file_record_locked(fs, o, RECORD_PUBLISHED);
    file_pin_locked(fs, o);
}

static void end_old_locked(struct l2fs *fs, struct inode *old)
{
    if (!old)
        return;
    if (old->object && !old->names)
        file_record_locked(fs, old->object, 0);
    old->busy--;
    file_settle_locked(fs, old);
}

static int install_locked(struct arrive *a, const struct arrival *what, struct place *p,
                          struct inode *inode, uint64_t id)
{
    struct l2fs *fs = a->fs;
    struct inode *dir, *old = NULL;
    const char *name;
    int err = make_parents_locked(fs, what, p, &dir, &name);

    if (!err)
        err = unread_begin_locked(fs, inode, what->ttl, true);
    if (!err)
        err = link_locked(fs, p, dir, name, inode, &old);
    if (!err)
        land_locked(fs, inode, id);
    end_old_locked(fs, old);
    if (err)
        return err;
    file_dir_changed_locked(fs, p->dir);
    landed_event(fs, what);
    metric_add(a->landed, 1);
    metric_add(a->bytes, (int64_t)what->size);
    store_queue_locked(fs, inode, false);
    file_settle_locked(fs, inode);
    evict_post_locked(fs);
    return 0;
}

static int publish_locked_as(struct arrive *a, const struct arrival *what, uint64_t id)
{
    struct l2fs *fs = a->fs;
    struct inode *inode;
    struct place p;
    int err = judge_locked(fs, what, &p);

    if (err)
        return err;
    inode = new_file_locked(fs, what);
    err = inode ? install_locked(a, what, &p, inode, id) : -ENOMEM;
    if (err && inode)
        drop_file_locked(fs, inode);
    return err;
}

static int publish(struct arrivals *base, const struct arrival *what, uint64_t staging_id)
{
    struct arrive *a = to_arrive(base);
    int err = check_key(a->fs, what->key);

    if (!err)
        err = check_file(a->fs, what, staging_id);
    LOCKED_SCOPE(&a->fs->ns->lock);
    if (!err)
        err = publish_locked_as(a, what, staging_id);
    if (!err)
        a->reserved -= what->size;
    return err;
}

static int has(struct arrivals *base, const char *key)
{
    struct arrive *a = to_arrive(base);
    struct place p;

    if (!atomic_load(&a->open) || check_key(a->fs, key))
        return -ENOENT;
    LOCKED_SCOPE(&a->fs->ns->lock);
    if (find_locked(a->fs, key, &p) || !p.found || !is_whole_locked(p.found->inode))
        return -ENOENT;
    return 0;
}

/* --- the instance --- */

void arrive_init(struct l2fs *fs)
{
    struct arrive *a = &fs->arrive;

    a->base = (struct arrivals){.reserve = reserve,
                                .give_back = arrive_give_back,
                                .stage = arrive_stage,
                                .drop = arrive_drop,
                                .publish = publish,
                                .has = has,
                                .ready = arrive_ready,
                                .set_room = set_room};
    a->fs = fs;
    lock_init(&a->mutex);
    list_init(&a->early);
    for (size_t i = 0; i < 2; i++) {
        struct room_wait *r = i ? &a->quota : &a->space;

        r->arrive = a;
        r->w.retry = on_room;
        list_init(&r->w.link);
        list_init(&r->w.all_link);
    }
    a->landed = metrics_counter(fs->metrics, "l2fs_landed", "Keys that came from a peer.", "");
    a->bytes = metrics_counter(fs->metrics, "l2fs_landed_bytes", "Bytes of them.", "");
    a->expired = metrics_counter(fs->metrics, "l2fs_landed_expired",
                                 "Of them, removed because nobody opened them in time.", "");
}

void arrive_open(struct l2fs *fs)
{
    struct arrive *a = &fs->arrive;
    struct list early;

    list_init(&early);
    lock(&a->mutex);
    atomic_store(&a->open, true);
    list_splice(&early, &a->early);
    a->nearly = 0;
    unlock(&a->mutex);
    arrive_end_early(a, &early, true);
    tell_rooms(a);
}

void arrive_end(struct l2fs *fs)
{
    atomic_store(&fs->arrive.ended, true);
}

void arrive_fini(struct l2fs *fs)
{
    arrive_end_early(&fs->arrive, &fs->arrive.early, false);
    pthread_mutex_destroy(&fs->arrive.mutex);
}
