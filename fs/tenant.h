/* tenant.h - who shares an instance: directories with a quota, and everything else. Level 4.
 *
 * A directory with `user.l2fs.quota` is a tenant; a file belongs to the nearest one above it, or to
 * the default tenant, which has no quota. Each tenant has its own order of leaving per place, so
 * room that one tenant's writer needs is made among its own keys first. inode.tenant of files names
 * the tenant, that of directories the tenant of files made in them. Everything is guarded by
 * ns->lock.
 */
#ifndef L2FS_TENANT_H
#define L2FS_TENANT_H

#include "namespace.h"
#include "order.h"

struct l2fs;

struct tenant {
    struct list link;  /* l2fs.tenants; the default tenant is first */
    struct inode *dir; /* NULL: the default tenant */
    uint64_t quota;    /* bytes; 0: none */
    uint64_t used;     /* bytes of its files (inode.size), each counted once */
    size_t files;
    struct order l1;        /* its clean idle residents */
    struct order tiers[32]; /* what each tier holds of it; empty where the tier does not evict */
};

int tenants_init(struct l2fs *fs);  /* makes the default tenant; 0 or -ENOMEM */
void tenants_fini(struct l2fs *fs); /* after the tree */

/* The tenant of what is made in `dir` (a directory inode). Never NULL. */
struct tenant *tenant_of_dir_locked(struct l2fs *fs, const struct inode *dir);
/* The file's size, name or tenant changed: keeps `used` and `files` right. Idempotent. Called
 * wherever inode.size of a file changes, and when it gets its first or loses its last name. */
void tenant_note_locked(struct l2fs *fs, struct inode *inode);
/* May a file of `bytes` more be made in `dir`? 0, or -EDQUOT after asking for eviction inside the
 * tenant. With a waiter it may wait as space_locked does. */
int tenant_admit_locked(struct l2fs *fs, const struct inode *dir, uint64_t bytes, struct waiter *w);
/* user.l2fs.quota of a directory: 0 takes it away. Moves everything below to its new tenant. 0,
 * -ENOMEM, -EINVAL (not a directory, reserved). */
int tenant_set_quota_locked(struct l2fs *fs, struct inode *dir, uint64_t quota);

#endif
