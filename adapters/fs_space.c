/* fs_space.c - accounting and the disk guard of the fs adapter.
 *
 * Guard (as LMCache's): in use = used/(used+avail); headroom = min(watermark*(used+avail)-used,
 * avail-min_free); limit = max(1, min(max, ours + headroom)). Threads: any; one lock, not held over
 * statvfs: one thread looks, the others go by what was seen last.
 */
#include "fs_space.h"

#include "clock.h"

#define BLOCK UINT64_C(4096)
#define KEPT_BACK_MAX MIB
#define LOOKS_MAX 256u

struct note {
    struct hash_node link;
    struct list growing; /* files */
    dev_t dev;
    ino_t ino;
    uint64_t counted;
    char *key; /* files */
};

int fs_space_init(struct fs_space *s, const struct fs_limits *limits, int root, bool counting)
{
    int err;

    *s = (struct fs_space){.limits = *limits, .root = root, .counting = counting};
    s->guard = UINT64_MAX;
    list_init(&s->growing);
    err = hash_init(&s->notes);
    if (err)
        return err;
    lock_init(&s->lock);
    cond_init(&s->counted_cond);
    return 0;
}

static void free_note_locked(struct fs_space *s, struct note *n)
{
    if (n->key)
        s->n_growing--;
    list_remove(&n->growing);
    hash_remove(&s->notes, &n->link);
    free(n->key);
    free(n);
}

static void free_note(struct hash_node *link, void *arg)
{
    free_note_locked(arg, container_of(link, struct note, link));
}

void fs_space_fini(struct fs_space *s)
{
    hash_each(&s->notes, free_note, s);
    hash_fini(&s->notes);
    pthread_cond_destroy(&s->counted_cond);
    pthread_mutex_destroy(&s->lock);
}

uint64_t fs_space_of(const struct stat *st)
{
    return (uint64_t)st->st_blocks * 512;
}

static uint64_t whole_blocks(uint64_t n)
{
    return (n + BLOCK - 1) & ~(BLOCK - 1);
}

/* Four extents are in the inode; beyond that, in the worst case, an entry of 12 bytes for each block. */
uint64_t fs_space_needed(uint64_t size)
{
    uint64_t map = size > 4 * BLOCK ? BLOCK + whole_blocks(size / 256) : 0;

    return whole_blocks(size) + BLOCK + map;
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
    struct fs_limits guard = s->limits;
    struct statvfs vfs;
    bool ok;

    if (s->checking || (s->checked_at && clock_now() - s->checked_at < NSEC_PER_SEC))
        return;
    s->checking = true;
    unlock(&s->lock);
    ok = fstatvfs(s->root, &vfs) == 0;
    lock(&s->lock);
    guard.max = 0;
    s->checking = false;
    s->checked_at = clock_now();
    s->guard = fs_space_limit(&guard, s->used, ok ? &vfs : NULL);
    if (ok) {
        s->fs_size = vfs.f_blocks * vfs.f_frsize;
        s->fs_avail = vfs.f_bavail * vfs.f_frsize;
    }
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a - MIN(a, b);
}

/* Bytes of objects there may be; UINT64_MAX: no limit. */
static uint64_t limit_locked(const struct fs_space *s, enum fs_space_for what)
{
    uint64_t max = s->limits.max, room;

    if (!max)
        return what == FS_FOR_NAMES ? UINT64_MAX : s->guard;
    room = MAX(minus(max, s->overhead), UINT64_C(1));
    if (what == FS_FOR_NAMES)
        return room;
    return MIN(s->guard, MAX(minus(room, MIN(max / 64, KEPT_BACK_MAX)), UINT64_C(1)));
}

int fs_space_reserve(struct fs_space *s, uint64_t bytes, enum fs_space_for what, uint64_t *limit)
{
    uint64_t allowed;

    LOCKED_SCOPE(&s->lock);
    while (s->counting && s->limits.max)
        pthread_cond_wait(&s->counted_cond, &s->lock);
    refresh_locked(s);
    allowed = limit_locked(s, what);
    if (allowed != UINT64_MAX && (bytes > allowed || s->used + s->reserved > allowed - bytes)) {
        if (limit)
            *limit = allowed;
        return -ENOSPC;
    }
    s->reserved += bytes;
    return 0;
}

static void change(uint64_t *value, uint64_t from, uint64_t to)
{
    *value = minus(*value + to, from);
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

    if (s->counted)
        return true;
    if (exact && (s->changing || s->changes != mark))
        return false;
    s->used = found->used;
    s->objects = found->objects;
    s->counting = false;
    s->counted = true;
    s->checked_at = 0;
    pthread_cond_broadcast(&s->counted_cond);
    return true;
}

void fs_space_listing_begin(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    atomic_fetch_add(&s->listings, 1);
}

void fs_space_listing_end(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    atomic_fetch_sub(&s->listings, 1);
    pthread_cond_broadcast(&s->counted_cond);
}

bool fs_space_count_turn(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    while (s->counting && s->listings)
        pthread_cond_wait(&s->counted_cond, &s->lock);
    return s->counting;
}

void fs_space_count_drop(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    s->counting = false;
    pthread_cond_broadcast(&s->counted_cond);
}

void fs_space_usage(struct fs_space *s, struct l2_usage *out)
{
    uint64_t limit;

    LOCKED_SCOPE(&s->lock);
    refresh_locked(s);
    limit = limit_locked(s, FS_FOR_OBJECT);
    out->used = s->used;
    out->objects = s->objects;
    out->reserved = s->reserved;
    out->capacity = limit == UINT64_MAX ? 0 : limit;
    out->fs_size = s->fs_size;
    out->fs_avail = s->fs_avail;
    if (limit == UINT64_MAX)
        return;
    out->fs_avail = MIN(out->fs_avail, minus(limit, s->used));
    if (s->limits.max)
        out->fs_size = MIN(out->fs_size, s->limits.max);
}

/* --- notes --- */

static uint64_t note_value(const struct stat *st)
{
    return hash_bytes(&st->st_ino, sizeof(st->st_ino), (uint64_t)st->st_dev);
}

static struct note *find_note_locked(struct fs_space *s, const struct stat *st)
{
    for (struct hash_node *h = hash_first(&s->notes, note_value(st)); h; h = hash_next(h)) {
        struct note *n = container_of(h, struct note, link);

        if (n->dev == st->st_dev && n->ino == st->st_ino)
            return n;
    }
    return NULL;
}

static struct note *add_note_locked(struct fs_space *s, const struct stat *st)
{
    struct note *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    list_init(&n->growing);
    n->dev = st->st_dev;
    n->ino = st->st_ino;
    hash_insert(&s->notes, &n->link, note_value(st));
    return n;
}

static void set_key_locked(struct fs_space *s, struct note *n, const char *key)
{
    char *copy = key ? strdup(key) : NULL;

    if (!copy)
        return;
    if (!n->key) {
        s->n_growing++;
        list_push_back(&s->growing, &n->growing);
    }
    free(n->key);
    n->key = copy;
}

void fs_space_note(struct fs_space *s, const char *key, const struct stat *st, bool created)
{
    uint64_t now = fs_space_of(st);
    struct note *n;
    LOCKED_SCOPE(&s->lock);

    n = find_note_locked(s, st);
    if (n) {
        change(&s->used, n->counted, now);
    } else {
        if (created) {
            s->used += now;
            s->objects++;
        }
        n = add_note_locked(s, st);
    }
    if (!n)
        return;
    n->counted = now;
    set_key_locked(s, n, key);
}

void fs_space_renamed(struct fs_space *s, const struct stat *st, const char *key)
{
    struct note *n;
    LOCKED_SCOPE(&s->lock);

    n = s->n_growing ? find_note_locked(s, st) : NULL;
    if (n && n->key)
        set_key_locked(s, n, key);
}

size_t fs_space_growing(struct fs_space *s)
{
    LOCKED_SCOPE(&s->lock);

    if (s->looked_at && clock_now() - s->looked_at < NSEC_PER_SEC)
        return 0;
    s->looked_at = clock_now();
    return MIN(s->n_growing, (size_t)LOOKS_MAX);
}

char *fs_space_next_growing(struct fs_space *s)
{
    struct list *link;
    LOCKED_SCOPE(&s->lock);

    link = list_pop_front(&s->growing);
    if (!link)
        return NULL;
    list_push_back(&s->growing, link);
    return strdup(list_entry(link, struct note, growing)->key);
}

void fs_space_grown(struct fs_space *s, const struct stat *st)
{
    struct note *n;
    LOCKED_SCOPE(&s->lock);

    n = find_note_locked(s, st);
    if (!n || !n->key)
        return;
    change(&s->used, n->counted, fs_space_of(st));
    n->counted = fs_space_of(st);
}

/* A directory may be seen by two at once: the larger is the later. */
void fs_space_dir_is(struct fs_space *s, const struct stat *st)
{
    uint64_t now = fs_space_of(st);
    struct note *n;

    if (!s->limits.max)
        return;
    LOCKED_SCOPE(&s->lock);
    n = find_note_locked(s, st);
    if (!n)
        n = add_note_locked(s, st);
    if (!n || n->counted >= now)
        return;
    s->overhead += now - n->counted;
    n->counted = now;
}

void fs_space_dir(struct fs_space *s, int dir)
{
    struct stat st;

    if (s->limits.max && !fstat(dir, &st))
        fs_space_dir_is(s, &st);
}

void fs_space_dir_gone(struct fs_space *s, const struct stat *st)
{
    struct note *n;
    LOCKED_SCOPE(&s->lock);

    n = find_note_locked(s, st);
    if (!n)
        return;
    s->overhead = minus(s->overhead, n->counted);
    free_note_locked(s, n);
}

void fs_space_overhead(struct fs_space *s, uint64_t bytes)
{
    LOCKED_SCOPE(&s->lock);

    s->overhead += bytes;
}

/* --- objects --- */

/* With other names left the bytes stay; what is counted for the file goes with the last one. */
static void remove_locked(struct fs_space *s, const struct stat *old)
{
    struct note *n = find_note_locked(s, old);

    s->objects = minus(s->objects, 1);
    if (old->st_nlink > 1 && n)
        return;
    s->used = minus(s->used, n ? n->counted : fs_space_of(old));
    if (n)
        free_note_locked(s, n);
}

void fs_space_add(struct fs_space *s, uint64_t reserved, uint64_t bytes, const struct stat *old)
{
    LOCKED_SCOPE(&s->lock);

    if (old)
        remove_locked(s, old);
    s->reserved -= reserved;
    s->used += bytes;
    s->objects++;
}

void fs_space_remove(struct fs_space *s, const struct stat *old)
{
    LOCKED_SCOPE(&s->lock);

    remove_locked(s, old);
}

void fs_space_set_aside(struct fs_space *s, const struct stat *old)
{
    LOCKED_SCOPE(&s->lock);

    remove_locked(s, old);
    s->overhead += fs_space_of(old);
}

void fs_space_resized(struct fs_space *s, const struct stat *before, const struct stat *after)
{
    struct note *n;
    LOCKED_SCOPE(&s->lock);

    n = find_note_locked(s, before);
    change(&s->used, n ? n->counted : fs_space_of(before), fs_space_of(after));
    if (n)
        n->counted = fs_space_of(after);
}
