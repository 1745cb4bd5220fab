/* fs_scan.c - what a directory holds: listing for the owner, counting at start.
 *
 * Directories wait on a stack of paths, so one is open at a time whatever the depth, and a
 * directory is reported before what is in it. Between two batches a directory that somebody asked for
 * (fs_list_first) is taken off the stack and done first. Entries are taken in order of inode within a batch,
 * which on a cold disk is the order of the inode tables.
 *
 * Threads: list on any; the count has a thread of its own that gives way to listings, which count as
 * well. A crew looks at the entries of a batch, part by part; what it saw is told under `lock`.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "fs.h"
#include "fs_crew.h"
#include "fs_xattr.h"
#include "log.h"
#include "thread.h"

#define BATCH 4096
#define PART 128 /* entries of a batch that one thread looks at before it tells */
#define THREADS_MAX 4
#define NESTED_MAX 8 /* directories that wait for one that was asked for */
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
    struct fs_crew *crew;
    struct batch batch;
    DIR *dir;
    const char *path; /* of the directory */
    size_t prefix;    /* its length */
    unsigned nested;

    pthread_mutex_t lock; /* while the crew is at work it guards what follows */
    char key[KEY_PATH_MAX + 2];
    char **dirs; /* stack, paths ending in '/' but for the root "" */
    size_t n_dirs, cap_dirs;
    struct l2_usage found;
    size_t unreadable;
    char *example; /* the first that was not readable */
    int error;

    _Atomic bool stopped;
    _Atomic bool no_xattrat; /* each file is opened for its xattrs */
};

/* What there is to tell of an entry. */
struct seen {
    const char *name;
    struct stat st;
    struct fs_record record;
    struct l2_xattrs xattrs;
    int err;
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
static int open_and_read(struct scan *s, struct seen *e)
{
    AUTO_CLOSE int fd =
        openat(dirfd(s->dir), e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? -errno : fs_xattrs_read(fd, NULL, &e->record, &e->xattrs);
}

static int read_details(struct scan *s, struct seen *e)
{
    int err = -ENOSYS;

    if (!atomic_load(&s->no_xattrat))
        err = fs_xattrs_read(dirfd(s->dir), e->name, &e->record, &e->xattrs);
    if (err != -ENOSYS && err != -EPERM)
        return err;
    atomic_store(&s->no_xattrat, true);
    return open_and_read(s, e);
}

static bool is_listed(const struct stat *st)
{
    return S_ISDIR(st->st_mode) || S_ISREG(st->st_mode);
}

static void look(struct scan *s, struct seen *e)
{
    e->err = fstatat(dirfd(s->dir), e->name, &e->st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
    if (!e->err && s->fn && s->f->xattrs && is_listed(&e->st))
        e->err = read_details(s, e);
}

static void report_locked(struct scan *s, const struct seen *seen)
{
    const struct stat *st = &seen->st;
    bool file = S_ISREG(st->st_mode);
    struct l2_entry e = {
        .key = s->key,
        .size = file ? (uint64_t)st->st_size : 0,
        .blocks = (uint64_t)st->st_blocks,
        .xattrs = seen->xattrs,
    };

    fs_attr_from(st, &e.attr);
    e.has_crc = file && s->f->recording && seen->record.state == FS_RECORD_GOOD &&
                seen->record.size == e.size;
    e.crc32c = e.has_crc ? seen->record.crc32c : 0;
    if (!s->fn(s->arg, &e))
        atomic_store(&s->stopped, true);
}

/* `key` is the entry's. */
static int tell_locked(struct scan *s, const struct seen *e)
{
    size_t len = strlen(e->name);
    bool dir = S_ISDIR(e->st.st_mode);

    if (s->prefix + len > KEY_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(s->key + s->prefix, e->name, len + 1);
    if (e->err || !is_listed(&e->st))
        return e->err;
    if (dir) {
        memcpy(s->key + s->prefix + len, "/", 2);
        fs_space_dir_is(&s->f->space, &e->st);
    }
    if (s->fn)
        report_locked(s, e);
    if (dir)
        return push_dir(s, s->key);
    s->found.used += fs_space_of(&e->st);
    s->found.objects++;
    return 0;
}

/* Only a count ends early, but for what `fn` says. */
static bool is_over(struct scan *s)
{
    if (!s->fn && (atomic_load(&s->f->counter_stop) || atomic_load(&s->f->space.listings)))
        atomic_store(&s->stopped, true);
    return atomic_load(&s->stopped);
}

static void tell_part(struct scan *s, struct seen *seen, size_t n)
{
    LOCKED_SCOPE(&s->lock);
    for (size_t i = 0; i < n; i++) {
        int err = is_over(s) ? 0 : tell_locked(s, &seen[i]);

        if (err == -ENOMEM) {
            s->error = err;
            atomic_store(&s->stopped, true);
        } else if (err) {
            skip(s, s->key, err);
        }
        free(seen[i].xattrs.data);
    }
}

/* On any thread of the crew. */
static void visit_part(void *arg, size_t part)
{
    struct scan *s = arg;
    const struct name *names = s->batch.entries + part * PART;
    size_t n = MIN(s->batch.n - part * PART, (size_t)PART);
    struct seen seen[PART];

    if (is_over(s))
        return;
    for (size_t i = 0; i < n; i++) {
        seen[i] = (struct seen){.name = s->batch.names.data + names[i].at};
        look(s, &seen[i]);
    }
    tell_part(s, seen, n);
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
    fs_crew_run(s->crew, (b->n + PART - 1) / PART, visit_part, s);
    b->n = 0;
    b->names.len = 0;
    return s->error;
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

static int scan_asked(struct scan *s);

static int read_dir(struct scan *s)
{
    struct dirent *e;
    int err = 0;

    while (!err && !s->stopped && (errno = 0, e = readdir(s->dir))) {
        err = add_name(s, e);
        if (!err && !s->batch.n)
            err = scan_asked(s);
    }
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

static void set_path(struct scan *s, const char *path)
{
    s->path = path;
    s->prefix = strlen(path);
    memcpy(s->key, path, s->prefix + 1);
}

static void tell_listed(struct scan *s)
{
    const struct l2_entry e = {.key = s->path, .listed = true};

    if (s->fn && !s->stopped && !s->fn(s->arg, &e))
        atomic_store(&s->stopped, true);
}

static int scan_dir(struct scan *s, const char *path)
{
    int err;

    set_path(s, path);
    err = open_dir(s, path);
    if (err && s->prefix == 0)
        return err;
    if (err) {
        skip(s, path, err);
        tell_listed(s);
        return 0;
    }
    err = read_dir(s);
    closedir(s->dir);
    if (!err)
        tell_listed(s);
    return err;
}

/* True: it waited for its turn. */
static bool take_off_stack(struct scan *s, const char *path)
{
    for (size_t i = s->n_dirs; i-- > 0;) {
        if (strcmp(s->dirs[i], path) != 0)
            continue;
        free(s->dirs[i]);
        s->dirs[i] = s->dirs[--s->n_dirs];
        return true;
    }
    return false;
}

/* Between two batches. */
static int scan_asked(struct scan *s)
{
    const char *path = s->path;
    DIR *dir = s->dir;
    char *asked;
    int err = 0;

    if (!s->fn || s->nested == NESTED_MAX || !atomic_load(&s->f->n_asked))
        return 0;
    s->nested++;
    while (!err && !s->stopped && (asked = fs_asked_next(s->f))) {
        if (take_off_stack(s, asked))
            err = scan_dir(s, asked);
        free(asked);
    }
    s->nested--;
    set_path(s, path);
    s->dir = dir;
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
    fs_crew_destroy(s->crew);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int scan_run(struct scan *s)
{
    int err = push_dir(s, "");

    set_path(s, "");
    while (!err && !s->stopped && s->n_dirs) {
        AUTO_FREE char *path = s->dirs[--s->n_dirs];

        err = scan_dir(s, path);
        if (!err)
            err = scan_asked(s);
    }
    if (s->unreadable)
        log_warn("fs: %s: %zu entries cannot be read and are not listed, such as %s: change their "
                 "mode or owner, or move them away",
                 s->f->layout.base, s->unreadable, s->example ? s->example : "?");
    return err;
}

static unsigned helpers(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    return (unsigned)MIN(MAX(cpus, 1L), (long)THREADS_MAX) - 1;
}

static struct scan *scan_create(struct fs *f)
{
    struct scan *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->f = f;
    lock_init(&s->lock);
    s->batch.entries = calloc(BATCH, sizeof(*s->batch.entries));
    s->crew = fs_crew_create(helpers());
    if (s->batch.entries && s->crew)
        return s;
    scan_fini(s);
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
    fs_space_listing_begin(&f->space);
    mark = fs_space_count_begin(&f->space);
    err = scan_run(s);
    if (!err && !s->stopped)
        fs_space_count_end(&f->space, mark, &s->found, true);
    fs_space_listing_end(&f->space);
    scan_fini(s);
    return fs_op_end(&f->health, &op, err);
}

/* 0: settled; -EAGAIN: something changed meanwhile; -ECANCELED: it gave way. */
static int count_once(struct fs *f, bool last)
{
    struct scan *s = scan_create(f);
    uint64_t mark = fs_space_count_begin(&f->space);
    int err;

    if (!s)
        return -ENOMEM;
    err = scan_run(s);
    if (!err && s->stopped)
        err = -ECANCELED;
    if (!err && !fs_space_count_end(&f->space, mark, &s->found, !last))
        err = -EAGAIN;
    scan_fini(s);
    return err;
}

static void *count_main(void *arg)
{
    struct fs *f = arg;
    int tries = 0, err = -EAGAIN;

    while ((err == -EAGAIN || err == -ECANCELED) && fs_space_count_turn(&f->space)) {
        err = count_once(f, tries + 1 == COUNT_TRIES);
        tries += err == -EAGAIN;
    }
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
