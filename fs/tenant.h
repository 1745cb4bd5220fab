/* tenant.h - who shares an instance: directories with a quota, and everything else. Level 4.
 *
 * A directory with `user.l2fs.quota` is a tenant; a file belongs to the nearest one above it, or to
 * the default tenant, which has no quota. What a tenant inside another one uses counts for both, so
 * every quota above a file bounds it. Each tenant has its own order of leaving per place, so room
 * that one tenant's writer needs is made among its own keys first. A file with several names counts
 * once, where its first name is. inode.tenant of files names the tenant, that of directories the
 * tenant of files made in them. Everything is guarded by ns->lock.
 */
#ifndef L2FS_TENANT_H
#define L2FS_TENANT_H

#include "l1.h"
#include "namespace.h"
#include "tier.h"

struct l2fs;
struct waiter;

struct tenant {
    struct list link;  /* l2fs.tenants; the default tenant is first */
    struct inode *dir; /* NULL: the default tenant */
    struct tenant *up; /* the one around it; NULL: this is the default tenant */
    uint64_t quota;    /* bytes; 0: none */
    uint64_t used;     /* bytes of its files (inode.size; before the first publication at least what
                          they are expected to need) and of the tenants inside it */
    size_t files;      /* as `used` */
    uint64_t asked;    /* bytes that are wanted while it is full; evict_quota.c answers */
    uint64_t told;     /* when the log said last that it is full */
    struct l1_share l1; /* its residents */
    struct order
        tiers[TIERS_MAX]; /* what each tier holds of it; empty where the tier does not evict */
    uint32_t barren;      /* bit per tier: none of those may leave now, evict_pass.c found */
};

/* `o` is resident in L1 from now on; idempotent. */
void tenant_resident_locked(struct l2fs *fs, struct object *o);

int tenants_init(struct l2fs *fs);  /* makes the default tenant; 0 or -ENOMEM */
void tenants_fini(struct l2fs *fs); /* after the tree */

/* The tenant of what is made in `dir` (a directory inode). Never NULL. */
struct tenant *tenant_of_dir_locked(struct l2fs *fs, const struct inode *dir);
/* The tenant of a file or directory; of what has no name, the default one. Never NULL. */
struct tenant *tenant_of_locked(struct l2fs *fs, const struct inode *inode);
/* The size, a name or the directory of a file changed, or the place of a directory: keeps `used`,
 * `files` and the orders right. Idempotent. Called wherever inode.size of a file changes, and after
 * its names did. */
void tenant_note_locked(struct l2fs *fs, struct inode *inode);
/* May a file of `bytes` more be made in `dir`? 0, or -EDQUOT after asking for eviction inside the
 * tenant. With a waiter it may wait as space_locked does. */
int tenant_admit_locked(struct l2fs *fs, const struct inode *dir, uint64_t bytes, struct waiter *w);
/* May this file grow to `size`? As tenant_admit_locked. */
int tenant_grow_locked(struct l2fs *fs, const struct inode *inode, uint64_t size, struct waiter *w);
/* May what `from` names move to directory `to`, over `over` (or NULL)? Always inside a tenant. 0 or
 * -EDQUOT. */
int tenant_move_locked(struct l2fs *fs, const struct dentry *from, const struct inode *to,
                       const struct dentry *over);
/* user.l2fs.quota of a directory: 0 takes it away. Moves everything below to its new tenant. 0,
 * -ENOMEM, -EINVAL (not a directory, the root, reserved). */
int tenant_set_quota_locked(struct l2fs *fs, struct inode *dir, uint64_t quota);
/* `t` is `outer` or inside it. */
bool tenant_is_inside(const struct tenant *t, const struct tenant *outer);
/* What `dir` was given; 0: none. */
uint64_t tenant_quota_locked(const struct inode *dir);

#endif
