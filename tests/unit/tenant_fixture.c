/* tenant_fixture.c - see tenant_fixture.h. */
#include "config.h"

#include "tenant_fixture.h"

struct vfsrig r;

void setup(void)
{
    vfsrig_init(&r, NULL);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "alice"), 0);
    ck_assert_int_eq(vfsrig_mkdir(&r, "bob"), 0);
}

void teardown(void)
{
    vfsrig_fini(&r);
}

int set_quota(const char *dir, const char *value)
{
    return vfs_setxattr(r.fs, vfsrig_find(&r, dir), QUOTA, value, strlen(value), 0);
}

void assert_quota(const char *dir, const char *value)
{
    char buf[64] = "";
    ssize_t n = vfs_getxattr(r.fs, vfsrig_find(&r, dir), QUOTA, buf, sizeof(buf) - 1);

    ck_assert_msg(n >= 0 && !strcmp(buf, value), "quota of %s is \"%s\" (%zd), not \"%s\"", dir,
                  buf, n, value);
}

/* ---- what a walk finds ---- */

struct tally {
    struct inode *dir;
    uint64_t bytes;
    size_t files;
};

static bool add_file(void *arg, struct dentry *d)
{
    struct tally *t = arg;

    if (!d->inode->dir && !d->parent->dir->reserved && d->inode->names == d) {
        t->bytes += d->inode->size;
        t->files++;
    }
    return true;
}

/* No file has a second name here, and none is being written. */
static void assert_counts_locked(struct l2fs *fs)
{
    struct list *l;

    list_for_each(l, &fs->tenants)
    {
        const struct tenant *t = list_entry(l, struct tenant, link);
        struct tally tally = {0};

        ns_walk(t->dir ? t->dir : fs->ns->root, add_file, &tally);
        ck_assert_uint_eq(t->used, tally.bytes);
        ck_assert_uint_eq(t->files, tally.files);
    }
}

void assert_counts(void)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    assert_counts_locked(r.fs);
}

uint64_t used(const char *dir)
{
    struct inode *inode = vfsrig_find(&r, dir);

    LOCKED_SCOPE(&r.fs->ns->lock);
    ck_assert_ptr_eq(inode->tenant->dir, inode);
    return inode->tenant->used;
}

size_t tenants(void)
{
    struct list *l;
    size_t n = 0;

    LOCKED_SCOPE(&r.fs->ns->lock);
    list_for_each(l, &r.fs->tenants) n++;
    return n;
}
