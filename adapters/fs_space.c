/* fs_space.c - accounting and the disk guard of the fs adapter.
 *
 * Guard (as LMCache's): in use = used/(used+avail); headroom = min(watermark*(used+avail)-used,
 * avail-min_free); limit = max(1, min(max, ours + headroom)). Threads: any; one lock, not held over
 * statvfs: one thread looks, the others go by what was seen last.
 */
#include "fs_space.h"

#include "clock.h"

struct note {
    struct hash_node link;
    dev_t dev;
    ino_t ino;
    uint64_t counted;
};

int fs_space_init(struct fs_space *s, const struct fs_limits *limits, int root, bool counting)
{
    int err;

    *s = (struct fs_space){.limits = *limits, .root = root, .counting = counting};
    s->limit = limits->max ? limits->max : UINT64_MAX;
    err = hash_init(&s->open_files);
    if (err)
        return err;
    lock_init(&s->lock);
    cond_init(&s->counted_cond);
    return 0;
}

static void free_note(struct hash_node *link, void *arg)
{
    struct fs_space *s = arg;

    hash_remove(&s->open_files, link);
    free(container_of(link, struct note, link));
}

void fs_space_fini(struct fs_space *s)
{
    hash_each(&s->open_files, free_note, s);
    hash_fini(&s->open_files);
    pthread_cond_destroy(&s->counted_cond);
    pthread_mutex_destroy(&s->lock);
}

uint64_t fs_space_of(const struct stat *st)
{
    return MIN((uint64_t)st->st_size, (uint64_t)st->st_blocks * 512);
}

uint64_t fs_space_limit(const struct fs_limits *l, uint64_t used, const struct statvfs *vfs)
{
    uint64_t limit = l->max ? l->max : UINT64_MAX;
    double disk_used, avail, headroom;

    if (!vfs || vfs->f_blocks == 0 || (l->min_free == 0 && l->watermark <= 0))
        return limit;
    disk_used = (double)(vfs->f_blocks - vfs->f_bfree) * (double)vfs->f_frsize;
    avail = (double)vfs->f_bavail * (double)vfs->f_frsize;
    headroom = avail - (double)l->min_free;
    if (l->watermark > 0)
        headroom = MIN(headroom, l->watermark * (disk_used + avail) - disk_used);
    if (headroom <= -(double)used)
        return 1;
    return MAX(MIN(limit, (uint64_t)((double)used + headroom)), UINT64_C(1));
}

/* Looks at the file system when the last look is old. */
static void refresh_locked(struct fs_space *s)
{
    struct statvfs vfs;
    bool ok;

    if (s->checking || (s->checked_at && clock_now() - s->checked_at < NSEC_PER_SEC))
        return;
    s->checking = true;
    unlock(&s->lock);
    ok = fstatvfs(s->root, &vfs) == 0;
    lock(&s->lock);
    s->checking = false;
    s->checked_at = clock_now();
    s->limit = fs_space_limit(&s->limits, s->used, ok ? &vfs : NULL);
    if (ok) {
        s->fs_size = vfs.f_blocks * vfs.f_frsize;
        s->fs_avail = vfs.f_bavail * vfs.f_frsize;
    }
}

int fs_space_reserve(struct fs_space *s, uint64_t bytes, uint64_t freed, uint64_t *limit)
{
    LOCKED_SCOPE(&s->lock);

    while (s->counting && s->limits.max)
        pthread_cond_wait(&s->counted_cond, &s->lock);
    refresh_locked(s);
    if (s->limit != UINT64_MAX) {
        uint64_t held = s->used + s->reserved;

        held -= MIN(freed, held);
        if (bytes > s->limit || held > s->limit - bytes) {
            *limit = s->limit;
            return -ENOSPC;
        }
    }
    s->reserved += bytes;
    return 0;
}

static void change(uint64_t *value, int64_t by)
{
    if (by < 0)
        *value -= MIN(*value, (uint64_t)-by);
    else
        *value += (uint64_t)by;
}

void fs_space_release(struct fs_space *s, uint64_t bytes)
{
    LOCKED_SCOPE(&s->lock);

    s->reserved -= bytes;
}

void fs_space_enter(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    s->changing++;
}

void fs_space_leave(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    s->changing--;
    s->changes++;
}

bool fs_space_count_wanted(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    return s->counting;
}

uint64_t fs_space_count_begin(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    return s->changing ? UINT64_MAX : s->changes;
}

bool fs_space_count_end(struct fs_space *s, uint64_t mark, const struct l2_usage *found, bool exact)
{
    LOCKED_SCOPE(&s->lock);

    if (!s->counting)
        return true;
    if (exact && (s->changing || s->changes != mark))
        return false;
    s->used = found->used;
    s->objects = found->objects;
    s->counting = false;
    s->checked_at = 0;
    pthread_cond_broadcast(&s->counted_cond);
    return true;
}

void fs_space_count_drop(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    s->counting = false;
    pthread_cond_broadcast(&s->counted_cond);
}

void fs_space_usage(struct fs_space *s, struct l2_usage *out)
{
    LOCKED_SCOPE(&s->lock);

    refresh_locked(s);
    out->used = s->used;
    out->objects = s->objects;
    out->reserved = s->reserved;
    out->capacity = s->limit == UINT64_MAX ? 0 : s->limit;
    out->fs_size = s->fs_size;
    out->fs_avail = s->fs_avail;
    if (s->limit == UINT64_MAX)
        return;
    out->fs_avail = MIN(out->fs_avail, s->limit - MIN(s->limit, s->used));
    if (s->limits.max)
        out->fs_size = MIN(out->fs_size, s->limits.max);
}

static uint64_t note_value(const struct stat *st)
{
    return hash_bytes(&st->st_ino, sizeof(st->st_ino), (uint64_t)st->st_dev);
}

static struct note *find_note_locked(struct fs_space *s, const struct stat *st)
{
    for (struct hash_node *h = hash_first(&s->open_files, note_value(st)); h; h = hash_next(h)) {
        struct note *n = container_of(h, struct note, link);

        if (n->dev == st->st_dev && n->ino == st->st_ino)
            return n;
    }
    return NULL;
}

void fs_space_note(struct fs_space *s, const struct stat *st, bool created)
{
    uint64_t now = fs_space_of(st);
    struct note *n;
    LOCKED_SCOPE(&s->lock);

    n = find_note_locked(s, st);
    if (n) {
        change(&s->used, (int64_t)now - (int64_t)n->counted);
        n->counted = now;
        return;
    }
    if (created) {
        s->used += now;
        s->objects++;
    }
    n = calloc(1, sizeof(*n));
    if (!n)
        return;
    n->dev = st->st_dev;
    n->ino = st->st_ino;
    n->counted = now;
    hash_insert(&s->open_files, &n->link, note_value(st));
}

static void remove_locked(struct fs_space *s, const struct stat *old)
{
    struct note *n = find_note_locked(s, old);
    uint64_t counted = n ? n->counted : fs_space_of(old);

    s->used -= MIN(s->used, counted);
    s->objects -= MIN(s->objects, UINT64_C(1));
    if (!n)
        return;
    hash_remove(&s->open_files, &n->link);
    free(n);
}

void fs_space_add(struct fs_space *s, uint64_t bytes, const struct stat *old)
{
    LOCKED_SCOPE(&s->lock);

    if (old)
        remove_locked(s, old);
    s->used += bytes;
    s->objects++;
}

void fs_space_remove(struct fs_space *s, const struct stat *old)
{
    LOCKED_SCOPE(&s->lock);

    remove_locked(s, old);
}
