/* fs_scan.c - what a directory holds: listing for the owner, counting at start.
 *
 * Directories wait on a stack of paths, so one is open at a time whatever the depth, and a
 * directory is reported before what is in it. Entries are taken in order of inode within a batch,
 * which on a cold disk is the order of the inode tables. Threads: list on any; the count has a
 * thread of its own that gives way to the first list, which counts as well.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs.h"
#include "fs_xattr.h"
#include "log.h"
#include "thread.h"

#define BATCH 4096
#define COUNT_TRIES 3

struct name {
    ino_t ino;
    size_t at; /* in batch.names */
};

struct batch {
    struct name *entries;
    size_t n;
    struct text names; /* NUL-terminated, one after the other */
};

struct scan {
    struct fs *f;
    l2_list_fn *fn; /* NULL: only count */
    void *arg;
    const _Atomic bool *stop; /* may be NULL */
    struct batch batch;
    char **dirs; /* stack, paths ending in '/' but for the root "" */
    size_t n_dirs, cap_dirs;
    char key[KEY_PATH_MAX + 2];
    size_t prefix; /* length of the directory's part of `key` */
    DIR *dir;
    bool stopped;
    bool no_xattrat; /* each file is opened for its xattrs */
    struct l2_usage found;
    size_t unreadable;
    char *example; /* the first that was not readable */
};

static int push_dir(struct scan *s, const char *path)
{
    if (s->n_dirs == s->cap_dirs) {
        size_t cap = s->cap_dirs ? s->cap_dirs * 2 : 64;
        char **dirs = realloc(s->dirs, cap * sizeof(*dirs));

        if (!dirs)
            return -ENOMEM;
        s->dirs = dirs;
        s->cap_dirs = cap;
    }
    s->dirs[s->n_dirs] = strdup(path);
    return s->dirs[s->n_dirs] ? (s->n_dirs++, 0) : -ENOMEM;
}

static void skip(struct scan *s, const char *key, int err)
{
    if (err == -ENOENT)
        return;
    if (!s->unreadable++ && asprintf(&s->example, "%s: %s", key, strerror(-err)) < 0)
        s->example = NULL;
}

/* Old kernels, and sandboxes that do not know the call, open each file. */
static int open_and_read(struct scan *s, const char *name, struct fs_record *record,
                         struct l2_xattrs *kept)
{
    AUTO_CLOSE int fd = openat(dirfd(s->dir), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? -errno : fs_xattrs_read(fd, NULL, record, kept);
}

static int read_details(struct scan *s, const char *name, struct l2_entry *e)
{
    struct fs_record record;
    int err = -ENOSYS;

    if (!s->no_xattrat)
        err = fs_xattrs_read(dirfd(s->dir), name, &record, &e->xattrs);
    if (err == -ENOSYS || err == -EPERM) {
        s->no_xattrat = true;
        err = open_and_read(s, name, &record, &e->xattrs);
    }
    if (err)
        return err;
    e->has_crc = S_ISREG(e->attr.mode) && s->f->recording && record.state == FS_RECORD_GOOD &&
                 record.size == e->size;
    e->crc32c = e->has_crc ? record.crc32c : 0;
    return 0;
}

static int report(struct scan *s, const char *name, const struct stat *st)
{
    struct l2_entry e = {
        .key = s->key,
        .size = S_ISDIR(st->st_mode) ? 0 : (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
    };
    int err;

    fs_attr_from(st, &e.attr);
    err = s->f->xattrs ? read_details(s, name, &e) : 0;
    if (err)
        return err;
    s->stopped = !s->fn(s->arg, &e);
    free(e.xattrs.data);
    return 0;
}

static int visit(struct scan *s, const char *name)
{
    size_t len = strlen(name);
    struct stat st;
    bool dir;
    int err = 0;

    if (s->prefix + len > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(s->key + s->prefix, name, len + 1);
    if (fstatat(dirfd(s->dir), name, &st, AT_SYMLINK_NOFOLLOW))
        return -errno;
    dir = S_ISDIR(st.st_mode);
    if (!dir && !S_ISREG(st.st_mode))
        return 0;
    if (dir)
        memcpy(s->key + s->prefix + len, "/", 2);
    if (dir)
        fs_space_dir_is(&s->f->space, &st);
    if (s->fn)
        err = report(s, name, &st);
    if (!err && dir)
        return push_dir(s, s->key);
    if (!err) {
        s->found.used += fs_space_of(&st);
        s->found.objects++;
    }
    return err;
}

static int by_inode(const void *a, const void *b)
{
    const struct name *x = a, *y = b;

    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int visit_batch(struct scan *s)
{
    struct batch *b = &s->batch;

    qsort(b->entries, b->n, sizeof(*b->entries), by_inode);
    for (size_t i = 0; i < b->n && !s->stopped; i++) {
        int err = visit(s, b->names.data + b->entries[i].at);

        if (err == -ENOMEM)
            return err;
        if (err)
            skip(s, s->key, err);
        if (s->stop && atomic_load(s->stop))
            s->stopped = true;
    }
    b->n = 0;
    b->names.len = 0;
    return 0;
}

static bool is_hidden(const struct scan *s, const struct dirent *e)
{
    const char *n = e->d_name;

    if (n[0] != '.')
        return false;
    return n[1] == '\0' || (n[1] == '.' && n[2] == '\0') || fs_is_temp(n) ||
           (s->prefix == 0 && strcmp(n, FS_OWN_DIR) == 0);
}

static int add_name(struct scan *s, const struct dirent *e)
{
    struct batch *b = &s->batch;

    if (is_hidden(s, e) || (e->d_type != DT_UNKNOWN && e->d_type != DT_REG && e->d_type != DT_DIR))
        return 0;
    b->entries[b->n++] = (struct name){e->d_ino, b->names.len};
    text_append(&b->names, e->d_name, strlen(e->d_name) + 1);
    if (b->names.failed)
        return -ENOMEM;
    return b->n == BATCH ? visit_batch(s) : 0;
}

static int read_dir(struct scan *s)
{
    struct dirent *e;
    int err = 0;

    while (!err && !s->stopped && (errno = 0, e = readdir(s->dir)))
        err = add_name(s, e);
    if (!err && !s->stopped && errno)
        skip(s, s->key, -errno);
    return err ? err : visit_batch(s);
}

static int open_dir(struct scan *s, const char *path)
{
    int fd;
    int err = fs_open_dir(&s->f->layout, path, O_RDONLY, &fd);

    if (err)
        return err;
    s->dir = fdopendir(fd);
    if (s->dir)
        return 0;
    close(fd);
    return -errno;
}

static int scan_dir(struct scan *s, const char *path)
{
    int err;

    s->prefix = strlen(path);
    memcpy(s->key, path, s->prefix + 1);
    err = open_dir(s, path);
    if (err && s->prefix == 0)
        return err;
    if (err) {
        skip(s, path, err);
        return 0;
    }
    err = read_dir(s);
    closedir(s->dir);
    return err;
}

static void scan_fini(struct scan *s)
{
    while (s->n_dirs)
        free(s->dirs[--s->n_dirs]);
    free(s->dirs);
    free(s->batch.entries);
    text_fini(&s->batch.names);
    free(s->example);
    free(s);
}

static int scan_run(struct scan *s)
{
    int err = push_dir(s, "");

    while (!err && !s->stopped && s->n_dirs) {
        AUTO_FREE char *path = s->dirs[--s->n_dirs];

        err = scan_dir(s, path);
    }
    if (s->unreadable)
        log_warn("fs: %s: %zu entries cannot be read and are not listed, such as %s: change their "
                 "mode or owner, or move them away",
                 s->f->layout.base, s->unreadable, s->example ? s->example : "?");
    return err;
}

static struct scan *scan_create(struct fs *f)
{
    struct scan *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->f = f;
    s->batch.entries = calloc(BATCH, sizeof(*s->batch.entries));
    if (s->batch.entries)
        return s;
    free(s);
    return NULL;
}

int fs_list(struct adapter *a, l2_list_fn *fn, void *arg)
{
    struct fs *f = fs_of(a);
    struct scan *s = scan_create(f);
    struct fs_op op;
    uint64_t mark;
    int err;

    if (!s)
        return -ENOMEM;
    s->fn = fn;
    s->arg = arg;
    fs_op_begin(&f->health, &op, "list", "");
    mark = fs_space_count_begin(&f->space);
    err = scan_run(s);
    if (!err && !s->stopped && fs_space_count_end(&f->space, mark, &s->found, true))
        atomic_store(&f->counter_stop, true);
    scan_fini(s);
    return fs_op_end(&f->health, &op, err);
}

/* True when the count is settled, or given up. */
static bool count_once(struct fs *f, bool last)
{
    struct scan *s = scan_create(f);
    uint64_t mark = fs_space_count_begin(&f->space);
    bool done = true;

    if (!s)
        return true;
    s->stop = &f->counter_stop;
    if (!scan_run(s) && !s->stopped)
        done = fs_space_count_end(&f->space, mark, &s->found, !last);
    scan_fini(s);
    return done;
}

static void *count_main(void *arg)
{
    struct fs *f = arg;

    for (int i = 1; i <= COUNT_TRIES && !count_once(f, i == COUNT_TRIES); i++)
        ;
    fs_space_count_drop(&f->space);
    return NULL;
}

int fs_count_start(struct fs *f)
{
    int err = thread_start(&f->counter, count_main, f);

    if (err)
        return err;
    pthread_setname_np(f->counter, "fs-count");
    f->counter_started = true;
    return 0;
}

void fs_count_stop(struct fs *f)
{
    if (!f->counter_started)
        return;
    atomic_store(&f->counter_stop, true);
    fs_space_count_drop(&f->space);
    pthread_join(f->counter, NULL);
    f->counter_started = false;
}
