/* arrive_fixture.c - see arrive_fixture.h. */
#include "config.h"

#include "arrive_fixture.h"

#include "checksum.h"

struct arrivals *peer_of(struct vfsrig *rig)
{
    return &rig->fs->arrive.base;
}

struct arrival peer_describe(const char *key, size_t len, unsigned seed)
{
    AUTO_FREE char *data = malloc(len + 1);

    vfsrig_fill(data, len, seed);
    return (struct arrival){.key = key,
                            .size = len,
                            .crc32c = checksum(0, data, len),
                            .attr = {.mode = S_IFREG | 04640,
                                     .uid = 1001,
                                     .gid = 1002,
                                     .mtime = {.tv_sec = 1000000000, .tv_nsec = 5}},
                            .from = "10.0.0.1"};
}

/* A staging file with those bytes, which were reserved. */
uint64_t peer_bytes(struct arrivals *a, size_t len, unsigned seed)
{
    AUTO_FREE char *data = malloc(len + 1);
    uint64_t id;
    int fd;

    vfsrig_fill(data, len, seed);
    ck_assert_int_eq(a->stage(a, len, &id, &fd), 0);
    ck_assert_int_eq(pwrite(fd, data, len, 0), (ssize_t)len);
    close(fd);
    return id;
}

int peer_publish(struct arrivals *a, const struct arrival *what, unsigned seed)
{
    uint64_t id = peer_bytes(a, what->size, seed);
    int err = a->publish(a, what, id);

    if (err)
        a->drop(a, what->size, id);
    return err;
}

int peer_land_for(struct vfsrig *rig, const char *key, size_t len, unsigned seed, uint64_t ttl)
{
    struct arrival what = peer_describe(key, len, seed);
    struct arrivals *a = peer_of(rig);
    int err;

    what.ttl = ttl;
    err = a->reserve(a, &what);
    return err ? err : peer_publish(a, &what, seed);
}

int peer_land(struct vfsrig *r, const char *key, size_t len, unsigned seed)
{
    return peer_land_for(r, key, len, seed, 0);
}

int peer_reserve(struct vfsrig *r, const char *key, size_t len, unsigned seed)
{
    struct arrival what = peer_describe(key, len, seed);
    struct arrivals *a = peer_of(r);

    return a->reserve(a, &what);
}

void peer_give_back(struct vfsrig *r, size_t len)
{
    struct arrivals *a = peer_of(r);

    a->give_back(a, len);
}

uint64_t rig_promised(struct vfsrig *r)
{
    LOCKED_SCOPE(&r->fs->ns->lock);
    return r->fs->l1.promised;
}

bool rig_is_unread(struct vfsrig *r, const char *key)
{
    struct inode *inode = vfsrig_find(r, key);

    ck_assert_ptr_nonnull(inode);
    LOCKED_SCOPE(&r->fs->ns->lock);
    return inode->landing;
}

/* The history of events has such a line. */
bool rig_history_has(struct vfsrig *r, const char *what)
{
    struct text t = {0};
    bool found;

    events_history(r->fs->events, &t);
    found = t.data && strstr(t.data, what);
    text_fini(&t);
    return found;
}
