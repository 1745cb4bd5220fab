/* readahead.c - opens that follow the order of a directory have its next keys loaded. The order is
 * either that of the names, where one number in them grows by one, or that of the listing, in which
 * engines that name keys by a hash wrote them. Under ns->lock.
 */
#include "config.h"

#include <ctype.h>

#include "core.h"

#define HOLES 64 /* removed names passed over to find the next in the listing */

/* The run of digits number `run` of `name`; false: there is none. */
static bool find_run(const char *name, unsigned run, size_t *start, size_t *end)
{
    size_t i = 0;

    for (;; run--) {
        while (name[i] && !isdigit((unsigned char)name[i]))
            i++;
        if (!name[i])
            return false;
        for (*start = i; isdigit((unsigned char)name[i]);)
            i++;
        *end = i;
        if (!run)
            return true;
    }
}

bool readahead_name(const char *name, unsigned run, char out[KEY_NAME_MAX + 1])
{
    size_t start, end, i, len = strlen(name);

    if (len >= KEY_NAME_MAX || !find_run(name, run, &start, &end))
        return false;
    memcpy(out, name, len + 1);
    for (i = end; i > start && out[i - 1] == '9'; i--)
        out[i - 1] = '0';
    if (i > start) {
        out[i - 1]++;
        return true;
    }
    memmove(out + start + 1, out + start, len + 1 - start); /* 99 -> 100 */
    out[start] = '1';
    return true;
}

static struct dentry *next_name(struct l2fs *fs, const struct dentry *d, unsigned run)
{
    char name[KEY_NAME_MAX + 1];

    return readahead_name(d->name, run, name) ? ns_find(fs->ns, d->parent, name) : NULL;
}

static struct dentry *next_slot(const struct dentry *d)
{
    const struct dir *dir = d->parent->dir;

    for (uint32_t i = d->slot + 1; i < dir->nslots && i <= d->slot + HOLES; i++)
        if (dir->slots[i])
            return dir->slots[i];
    return NULL;
}

static struct dentry *next_of(struct l2fs *fs, const struct dentry *d, const struct readahead *ra)
{
    return ra->by_name ? next_name(fs, d, ra->run) : next_slot(d);
}

/* `to` comes after `from`, not further than several readers are apart. */
static bool follows(struct l2fs *fs, const struct dentry *from, const struct dentry *to,
                    const struct readahead *ra)
{
    for (unsigned i = ra->window + 1u; i && from; i--) {
        from = next_of(fs, from, ra);
        if (from == to)
            return true;
    }
    return false;
}

/* A sequence begins with two opens, one after the other in some order. */
static bool begins(struct l2fs *fs, const struct dentry *from, const struct dentry *to,
                   struct readahead *ra)
{
    size_t start, end;

    *ra = (struct readahead){.by_name = true};
    for (; find_run(from->name, ra->run, &start, &end); ra->run++)
        if (next_name(fs, from, ra->run) == to)
            return true;
    *ra = (struct readahead){0};
    return next_slot(from) == to;
}

/* Bytes that a window may have in L1 and on the way. */
static uint64_t window_bytes(const struct l2fs *fs)
{
    return fs->cfg->prefetch_bytes ? fs->cfg->prefetch_bytes : fs->l1.capacity / 4;
}

/* False: no key behind this one either. With open=stream somebody may be reading of a key already when
 * one before it turns out to be lost: that does not end its load. */
static bool load_one_locked(struct l2fs *fs, struct inode *inode, struct load_batch **b)
{
    const struct load_purpose purpose = {
        .background = true, .mode = fs->cfg->open == OPEN_STREAM ? PLAN_ALL : PLAN_PREFIX};

    if (inode->dir || inode->state != STATE_EVICTED)
        return true;
    if (space_locked(fs, inode->size, NULL, 0, 0))
        return false;
    if (!*b)
        *b = load_batch_create(fs, &purpose);
    if (!*b || load_batch_add_locked(*b, inode))
        return false;
    if (load_batch_full(*b)) {
        load_batch_submit_locked(*b);
        *b = NULL;
    }
    return true;
}

static void load_ahead_locked(struct l2fs *fs, const struct dentry *d, const struct readahead *ra)
{
    uint64_t room = window_bytes(fs);
    struct load_batch *b = NULL;

    for (unsigned i = ra->window; i && (d = next_of(fs, d, ra)); i--) {
        if (d->inode->size > room || !load_one_locked(fs, d->inode, &b))
            break;
        room -= d->inode->size;
    }
    if (b)
        load_batch_submit_locked(b);
}

void readahead_locked(struct l2fs *fs, struct inode *inode)
{
    const struct dentry *d = inode->names, *last;
    unsigned max = (unsigned)fs->cfg->readahead_keys;
    struct readahead *ra;
    struct dir *dir;

    if (!max || !d)
        return;
    dir = d->parent->dir;
    ra = &dir->readahead;
    last = ra->seen && ra->last < dir->nslots ? dir->slots[ra->last] : NULL;
    if (last == d)
        return;
    if (last && ra->window && follows(fs, last, d, ra))
        ra->window = MIN(ra->window * 2, max);
    else if (last && ra->window && follows(fs, d, last, ra))
        return; /* one of several readers, a little behind */
    else if (last && begins(fs, last, d, ra))
        ra->window = 1;
    else
        *ra = (struct readahead){0};
    ra->seen = true;
    ra->last = d->slot;
    load_ahead_locked(fs, d, ra);
}
