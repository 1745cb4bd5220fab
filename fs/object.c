/* object.c - making and freeing inodes and objects. No locking of its own: see object.h. */
#include "config.h"

#include "clock.h"
#include "object.h"
#include "rank.h"

/* What a key that only L2 has takes, besides its name and two pointers to that: with malloc's word
 * a multiple of 16. There may be ten millions. */
_Static_assert(sizeof(struct inode) <= 152, "each key pays for it");
_Static_assert(offsetof(struct dentry, name) <= 49, "each key pays for it");

struct inode *inode_create(uint64_t ino, uint32_t mode)
{
    struct inode *inode = calloc(1, sizeof(*inode));

    if (!inode)
        return NULL;
    inode->ino = ino;
    inode->mode = mode;
    inode->atime = inode->ctime = inode->mtime = file_time_now();
    return inode;
}

void inode_destroy(struct inode *inode)
{
    while (inode->ranks)
        rank_destroy(inode->ranks);
    if (inode->extra) {
        list_remove(&inode->extra->expire.link);
        list_remove(&inode->extra->pin_end.link);
        free(inode->extra->xattrs);
        free(inode->extra->req_id);
        free(inode->extra->refusal);
        free(inode->extra);
    }
    free(inode->landing);
    free(inode);
}

struct object *object_create(struct inode *inode)
{
    struct object *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->inode = inode;
    o->disk_fd = -1;
    list_init(&o->place.link);
    list_init(&o->l1_link);
    list_init(&o->waiters);
    list_init(&o->handles);
    list_init(&o->rest.link);
    list_init(&o->touches.link);
    list_init(&o->touches.due);
    inode->object = o;
    return o;
}

void object_destroy(struct object *o)
{
    if (o->disk_fd >= 0)
        close(o->disk_fd);
    list_remove(&o->touches.due);
    o->inode->object = NULL;
    free(o);
}

struct extra *inode_extra(struct inode *inode)
{
    if (!inode->extra) {
        inode->extra = calloc(1, sizeof(*inode->extra));
        if (inode->extra) {
            inode->extra->inode = inode;
            list_init(&inode->extra->expire.link);
            list_init(&inode->extra->pin_end.link);
            list_init(&inode->extra->member.link);
        }
    }
    return inode->extra;
}

void inode_stat(const struct inode *inode, struct stat *st)
{
    memset(st, 0, sizeof(*st));
    st->st_ino = inode->ino;
    st->st_mode = inode->mode;
    st->st_nlink = inode->nlink;
    st->st_uid = inode->uid;
    st->st_gid = inode->gid;
    st->st_size = (off_t)inode->size;
    st->st_blocks = (blkcnt_t)inode->blocks;
    st->st_blksize = 1 << 20;
    st->st_atim = file_timespec(inode->atime);
    st->st_mtim = file_timespec(inode->mtime);
    st->st_ctim = file_timespec(inode->ctime);
}

bool inode_pinned(const struct inode *inode, uint64_t now)
{
    const struct extra *e = inode->extra;

    return e && (e->pin == PIN_HARD || (e->pin == PIN_SOFT && now < e->pin_until));
}
