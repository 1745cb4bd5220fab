/* object.c - making and freeing inodes and objects, and the record codec. No locking of its own:
 * see object.h. Records never leave the machine, so they are in host byte order behind a magic
 * number.
 */
#include "config.h"

#include <sys/types.h>

#include "clock.h"
#include "object.h"

#define RECORD_MAGIC UINT32_C(0x6c326631) /* l2f1 */

struct record_head {
    uint32_t magic;
    uint32_t keys_len;
    struct record record;
};

struct inode *inode_create(uint64_t ino, uint32_t mode)
{
    struct inode *inode = calloc(1, sizeof(*inode));

    if (!inode)
        return NULL;
    inode->ino = ino;
    inode->mode = mode;
    clock_gettime(CLOCK_REALTIME, &inode->mtime);
    inode->atime = inode->ctime = inode->mtime;
    return inode;
}

void inode_destroy(struct inode *inode)
{
    if (inode->extra) {
        list_remove(&inode->extra->expire_link);
        list_remove(&inode->extra->pin_link);
        free(inode->extra->xattrs);
        free(inode->extra->req_id);
        free(inode->extra->refusal);
        free(inode->extra);
    }
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
    inode->object = o;
    return o;
}

void object_destroy(struct object *o)
{
    if (o->disk_fd >= 0)
        close(o->disk_fd);
    o->inode->object = NULL;
    free(o);
}

struct extra *inode_extra(struct inode *inode)
{
    if (!inode->extra) {
        inode->extra = calloc(1, sizeof(*inode->extra));
        if (inode->extra) {
            inode->extra->inode = inode;
            list_init(&inode->extra->expire_link);
            list_init(&inode->extra->pin_link);
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
    st->st_atim = inode->atime;
    st->st_mtim = inode->mtime;
    st->st_ctim = inode->ctime;
}

bool inode_pinned(const struct inode *inode, uint64_t now)
{
    const struct extra *e = inode->extra;

    return e && (e->pin == PIN_HARD || (e->pin == PIN_SOFT && now < e->pin_until));
}

ssize_t record_encode(const struct record *r, const char *keys, size_t keys_len, const void *xattrs,
                      void *out, size_t max)
{
    struct record_head head = {RECORD_MAGIC, (uint32_t)keys_len, *r};
    size_t len = sizeof(head) + keys_len + r->xattrs_len;

    if (len > max)
        return -E2BIG;
    memcpy(out, &head, sizeof(head));
    memcpy((char *)out + sizeof(head), keys, keys_len);
    if (r->xattrs_len)
        memcpy((char *)out + sizeof(head) + keys_len, xattrs, r->xattrs_len);
    return (ssize_t)len;
}

int record_decode(const void *data, size_t len, struct record *r, const char **keys,
                  size_t *keys_len, const void **xattrs)
{
    struct record_head head;
    const char *text = (const char *)data + sizeof(head);

    if (len < sizeof(head))
        return -EINVAL;
    memcpy(&head, data, sizeof(head));
    if (head.magic != RECORD_MAGIC || head.keys_len == 0 ||
        (uint64_t)head.keys_len + head.record.xattrs_len != len - sizeof(head) ||
        text[head.keys_len - 1] != '\0')
        return -EINVAL;
    *r = head.record;
    *keys = text;
    *keys_len = head.keys_len;
    *xattrs = text + head.keys_len;
    return 0;
}
