/* arrive_stage.c - the files that objects of peers land in, and what they count for in L1. Each byte
 * counts once: promised until its file has all its pages, then as the staging counts it, published or
 * not. Making the pages is the only moment in which it counts twice, never is there one in which it does
 * not. Any thread.
 */
#include "config.h"

#include "core.h"

static struct arrive *to_arrive(struct arrivals *a)
{
    return container_of(a, struct arrive, base);
}

static void unpromise_locked(struct l2fs *fs, uint64_t size)
{
    fs->l1.promised -= staging_room(fs->staging, size);
}

static void left_locked(struct arrive *a, uint64_t size)
{
    a->reserved -= size;
    evict_post_locked(a->fs);
}

void arrive_give_back(struct arrivals *base, uint64_t size)
{
    struct arrive *a = to_arrive(base);

    LOCKED_SCOPE(&a->fs->ns->lock);
    unpromise_locked(a->fs, size);
    left_locked(a, size);
}

static int charge(struct l2fs *fs, uint64_t size)
{
    int err;

    LOCKED_SCOPE(&fs->ns->lock);
    err = staging_charge(fs->staging, (int64_t)size);
    if (err)
        return err;
    unpromise_locked(fs, size);
    evict_post_locked(fs); /* who came a moment ago found less room */
    return 0;
}

int arrive_stage(struct arrivals *base, uint64_t size, uint64_t *id, int *fd)
{
    struct l2fs *fs = to_arrive(base)->fs;
    int err = staging_create_full(fs->staging, size, id, fd);

    if (err)
        return err;
    err = charge(fs, size);
    if (!err)
        return 0;
    staging_drop(fs->staging, *id);
    auto_close(fd);
    return err;
}

void arrive_drop(struct arrivals *base, uint64_t size, uint64_t id)
{
    struct arrive *a = to_arrive(base);

    staging_drop(a->fs->staging, id);
    LOCKED_SCOPE(&a->fs->ns->lock);
    staging_charge(a->fs->staging, -(int64_t)size);
    left_locked(a, size);
}
