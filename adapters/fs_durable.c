/* fs_durable.c - grouped directory fsyncs.
 *
 * A node per directory (device and inode) counts its syncs. Who comes takes the number of the next
 * sync to begin and waits for it; if none is running it runs that one itself. Threads: any; one
 * lock guards all, never held across an fsync.
 */
#include "fs_durable.h"

#include <fcntl.h>

#include "hash.h"
#include "lock.h"

#define NODES_MAX 65536 /* beyond that idle nodes are dropped and directories synced again */

struct node {
    struct hash_node link;
    dev_t dev;
    ino_t ino;
    unsigned users;
    bool running;
    uint64_t begun;
    uint64_t done;
    uint64_t failed; /* number of the last sync that failed */
    int err;
    uint64_t known; /* equals the epoch: the directory's own name is durable */
};

struct fs_durable {
    pthread_mutex_t lock;
    pthread_cond_t synced;
    struct hash nodes; /* lock; with all the nodes */
    uint64_t epoch;    /* lock */
};

struct fs_durable *fs_durable_create(void)
{
    struct fs_durable *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    if (hash_init(&d->nodes)) {
        free(d);
        return NULL;
    }
    lock_init(&d->lock);
    cond_init(&d->synced);
    d->epoch = 1;
    return d;
}

static void drop_idle(struct hash_node *link, void *arg)
{
    struct fs_durable *d = arg;
    struct node *n = container_of(link, struct node, link);

    if (n->users)
        return;
    hash_remove(&d->nodes, link);
    free(n);
}

void fs_durable_destroy(struct fs_durable *d)
{
    if (!d)
        return;
    hash_each(&d->nodes, drop_idle, d);
    hash_fini(&d->nodes);
    pthread_cond_destroy(&d->synced);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static struct node *find_locked(struct fs_durable *d, const struct stat *st, uint64_t value)
{
    for (struct hash_node *h = hash_first(&d->nodes, value); h; h = hash_next(h)) {
        struct node *n = container_of(h, struct node, link);

        if (n->dev == st->st_dev && n->ino == st->st_ino)
            return n;
    }
    return NULL;
}

/* The node of a directory, with a user more. NULL on no memory. */
static struct node *get_locked(struct fs_durable *d, const struct stat *st)
{
    uint64_t value = hash_bytes(&st->st_ino, sizeof(st->st_ino), (uint64_t)st->st_dev);
    struct node *n = find_locked(d, st, value);

    if (!n) {
        if (d->nodes.count >= NODES_MAX)
            hash_each(&d->nodes, drop_idle, d);
        n = calloc(1, sizeof(*n));
        if (!n)
            return NULL;
        n->dev = st->st_dev;
        n->ino = st->st_ino;
        hash_insert(&d->nodes, &n->link, value);
    }
    n->users++;
    return n;
}

/* Some file systems cannot sync a directory; theirs are then as durable as they get. */
static int sync_dir(int fd)
{
    if (!fsync(fd) || errno == EINVAL || errno == EOPNOTSUPP)
        return 0;
    return -errno;
}

static void run_locked(struct fs_durable *d, struct node *n, int fd)
{
    uint64_t number = ++n->begun;
    int err;

    n->running = true;
    unlock(&d->lock);
    err = sync_dir(fd);
    lock(&d->lock);
    n->running = false;
    n->done = number;
    if (err) {
        n->failed = number;
        n->err = err;
    }
    pthread_cond_broadcast(&d->synced);
}

static int sync_node_locked(struct fs_durable *d, struct node *n, int fd)
{
    uint64_t ticket = n->begun + 1;

    while (n->done < ticket) {
        if (n->running)
            pthread_cond_wait(&d->synced, &d->lock);
        else
            run_locked(d, n, fd);
    }
    return n->failed >= ticket ? n->err : 0;
}

/* Syncs `fd`; *known tells whether the directory's own name is durable, *epoch as of when. */
static int sync_one(struct fs_durable *d, int fd, bool *known, uint64_t *epoch)
{
    struct stat st;
    struct node *n;
    int err;

    if (fstat(fd, &st))
        return -errno;
    lock(&d->lock);
    *epoch = d->epoch;
    *known = false;
    n = get_locked(d, &st);
    if (!n) {
        unlock(&d->lock);
        return sync_dir(fd);
    }
    err = sync_node_locked(d, n, fd);
    *known = n->known == d->epoch;
    n->users--;
    unlock(&d->lock);
    return err;
}

static void mark_known(struct fs_durable *d, int fd, uint64_t epoch)
{
    struct stat st;
    struct node *n;

    if (fstat(fd, &st))
        return;
    lock(&d->lock);
    n = get_locked(d, &st);
    if (n) {
        n->known = epoch;
        n->users--;
    }
    unlock(&d->lock);
}

/* "a/b/c" -> "a/b" -> "a" -> "". */
static void cut_last(char *path)
{
    char *slash = strrchr(path, '/');

    *(slash ? slash : path) = '\0';
}

int fs_durable_sync(struct fs_durable *d, const struct fs_layout *l, const char *key, int dir)
{
    AUTO_FREE char *path = NULL;
    uint64_t epoch, unused;
    bool known;
    int err = sync_one(d, dir, &known, &epoch);

    if (err || known)
        return err;
    path = strdup(key);
    if (!path)
        return -ENOMEM;
    cut_last(path);
    while (!err && !known && *path) {
        AUTO_CLOSE int up = -1;

        cut_last(path);
        err = fs_open_dir(l, path, O_RDONLY, &up);
        if (!err)
            err = sync_one(d, up, &known, &unused);
    }
    if (!err)
        mark_known(d, dir, epoch);
    return err;
}

void fs_durable_forget(struct fs_durable *d)
{
    lock(&d->lock);
    d->epoch++;
    unlock(&d->lock);
}
