/* ready.c - see ready.h. Everything runs under ns->lock. A request has a struct ready from the first
 * lookup of its name or from being ready, whichever comes first, until it is over; its inode may be
 * open, or known to the kernel, longer than that.
 */
#include "config.h"

#include "ready.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "clock.h"
#include "status.h"

#define ASKED_NS (60 * NSEC_PER_SEC) /* nobody waits: looked up again when it is asked for again */
#define SWEEP_MAX 1024               /* at each tick */

struct ready {
    struct vfile file; /* the extra.vfile of its inode */
    struct inode *inode;
    struct list link;    /* in said or asked */
    struct list waiters; /* of struct waiter */
    size_t opens;
    uint64_t until;
    char *line; /* NULL: not ready */
    int error;  /* nor will it be; 0: nothing is known */
};

static bool is_said(const struct ready *r)
{
    return r->line || r->error;
}

static const struct vfile over = {.name = "ready", .request = true};

/* NULL: it is over. */
static struct ready *ready_of(const struct inode *inode)
{
    const struct vfile *f = inode_vfile(inode);

    return f == &over ? NULL : container_of(f, struct ready, file);
}

static size_t *count_of(struct l2fs *fs, const struct ready *r)
{
    return is_said(r) ? &fs->readies.nsaid : &fs->readies.nasked;
}

static void take_out_locked(struct l2fs *fs, struct ready *r)
{
    list_remove(&r->link);
    *count_of(fs, r) -= 1;
}

static void put_in_locked(struct l2fs *fs, struct ready *r)
{
    r->until = clock_deadline(is_said(r) ? READY_TTL_NS : ASKED_NS);
    list_push_back(is_said(r) ? &fs->readies.said : &fs->readies.asked, &r->link);
    *count_of(fs, r) += 1;
}

static void drop_locked(struct l2fs *fs, struct ready *r)
{
    struct inode *inode = r->inode;

    take_out_locked(fs, r);
    file_gone_locked(fs, inode->names);
    ns_unlink(fs->ns, inode->names);
    fs->ns->files++; /* these do not count */
    inode->extra->vfile = &over;
    wake_locked(fs, &r->waiters, 0); /* they come back and look the name up again */
    free(r->line);
    free(r);
    ns_forget_unused(fs->ns, inode);
}

static void make_room_locked(struct l2fs *fs, struct list *of, size_t n)
{
    if (n >= READY_MAX)
        drop_locked(fs, list_entry(of->next, struct ready, link));
}

struct dentry *ready_lookup_locked(struct l2fs *fs, const char *name)
{
    struct ready *r = calloc(1, sizeof(*r));
    struct inode *inode = r ? status_new_file_locked(fs, S_IFREG | 0444, &r->file) : NULL;
    struct dentry *d;

    if (!inode || ns_link(fs->ns, fs->readies.dir, name, inode, &d)) {
        if (inode)
            ns_forget_unused(fs->ns, inode);
        free(r);
        return NULL;
    }
    fs->ns->files--;
    make_room_locked(fs, &fs->readies.asked, fs->readies.nasked);
    inode->hidden = true;
    r->file = over;
    r->inode = inode;
    list_init(&r->waiters);
    put_in_locked(fs, r);
    return d;
}

static char *make_line(const char *req_id)
{
    struct timespec now;
    struct text t = {0};
    struct tm tm;
    char at[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
    text_puts(&t, "{\"req_id\":");
    events_quote(&t, req_id);
    text_printf(&t, ",\"at\":\"%s.%03ldZ\"}\n", at, now.tv_nsec / 1000000);
    return text_steal(&t, NULL);
}

static void ready_event(struct l2fs *fs, const char *req_id)
{
    struct text detail = {0};

    text_puts(&detail, "\"req_id\":");
    events_quote(&detail, req_id);
    if (!detail.failed)
        events_add(fs, "ready", NULL, detail.data);
    text_fini(&detail);
}

static int say_locked(struct l2fs *fs, const char *req_id, int error)
{
    struct dentry *d = ns_find(fs->ns, fs->readies.dir, req_id);
    struct ready *r;
    char *line;

    d = d ? d : ready_lookup_locked(fs, req_id);
    line = d && !error ? make_line(req_id) : NULL;
    if (!d || (!line && !error))
        return -ENOMEM;
    r = ready_of(d->inode);
    take_out_locked(fs, r);
    make_room_locked(fs, &fs->readies.said, fs->readies.nsaid);
    free(r->line);
    r->line = line;
    r->error = error;
    put_in_locked(fs, r);
    r->inode->hidden = error != 0;
    wake_locked(fs, &r->waiters, 0);
    file_dir_changed_locked(fs, fs->readies.dir);
    if (!error)
        ready_event(fs, req_id);
    return 0;
}

int ready_say(struct l2fs *fs, const char *req_id, int error)
{
    size_t len = strlen(req_id);

    if (!len || len > KEY_NAME_MAX || strchr(req_id, '/') || !strcmp(req_id, ".") ||
        !strcmp(req_id, ".."))
        return 0;
    LOCKED_SCOPE(&fs->ns->lock);
    return say_locked(fs, req_id, error);
}

/* --- open files --- */

static int wait_for_locked(struct l2fs *fs, struct ready *r, struct waiter *w)
{
    return wait_locked(fs, &r->waiters, w, fs->cfg->load_timeout, -ENOENT);
}

/* Keeps what is read, which is then whole whatever becomes of the request. */
static int keep_line_locked(struct handle *h)
{
    const struct ready *r = ready_of(h->inode);

    if (!r)
        return -ESTALE;
    if (!r->line)
        return r->error ? r->error : -EAGAIN;
    h->virtual_data = strdup(r->line);
    return h->virtual_data ? 0 : -ENOMEM;
}

int ready_open_locked(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    struct ready *r = ready_of(h->inode);
    int err = keep_line_locked(h);

    if (err == -EAGAIN)
        err = h->flags & O_NONBLOCK ? 0 : wait_for_locked(fs, r, w);
    if (err)
        return err;
    r->opens++;
    h->inode->busy++;
    return 0;
}

ssize_t ready_read_locked(struct l2fs *fs, struct handle *h, void *buf, size_t len, off_t off,
                          struct waiter *w)
{
    int err = h->virtual_data ? 0 : keep_line_locked(h);
    size_t size;

    if (err == -EAGAIN && !(h->flags & O_NONBLOCK))
        err = wait_for_locked(fs, ready_of(h->inode), w);
    if (err)
        return err;
    size = strlen(h->virtual_data);
    if (off < 0 || (size_t)off >= size)
        return 0;
    len = MIN(len, size - (size_t)off);
    memcpy(buf, (const char *)h->virtual_data + off, len);
    return (ssize_t)len;
}

unsigned ready_poll_locked(struct l2fs *fs, struct handle *h, struct waiter *w)
{
    struct ready *r = ready_of(h->inode);

    if (h->virtual_data || (r && r->line))
        return POLLIN | POLLRDNORM;
    if (!r || r->error)
        return POLLERR;
    if (w)
        wait_locked(fs, &r->waiters, w, UINT64_MAX, 0);
    return 0;
}

void ready_release_locked(struct l2fs *fs, struct handle *h)
{
    struct ready *r = ready_of(h->inode);

    free(h->virtual_data);
    h->virtual_data = NULL;
    if (r) {
        r->opens--;
        wake_locked(fs, &r->waiters, 0); /* a poll may wait */
    }
    h->inode->busy--;
    ns_forget_unused(fs->ns, h->inode);
}

/* --- the instance --- */

void ready_init(struct l2fs *fs)
{
    list_init(&fs->readies.said);
    list_init(&fs->readies.asked);
}

static void free_all(struct list *of)
{
    struct list *l;

    while ((l = list_pop_front(of))) {
        struct ready *r = list_entry(l, struct ready, link);

        r->inode->extra->vfile = &over;
        free(r->line);
        free(r);
    }
}

void ready_fini(struct l2fs *fs)
{
    free_all(&fs->readies.said);
    free_all(&fs->readies.asked);
}

static void sweep_locked(struct l2fs *fs, struct list *of, uint64_t now)
{
    for (size_t i = 0; i < SWEEP_MAX && !list_empty(of); i++) {
        struct ready *r = list_entry(of->next, struct ready, link);

        if (r->until > now)
            return;
        if (is_said(r) || (!r->opens && list_empty(&r->waiters))) {
            drop_locked(fs, r);
            continue;
        }
        take_out_locked(fs, r);
        put_in_locked(fs, r);
    }
}

void ready_tick(struct l2fs *fs, uint64_t now)
{
    LOCKED_SCOPE(&fs->ns->lock);
    sweep_locked(fs, &fs->readies.said, now);
    sweep_locked(fs, &fs->readies.asked, now);
}
