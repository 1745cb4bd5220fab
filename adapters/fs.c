/* fs.c - the `fs` adapter: a directory on local or shared disk, one plain file per key.
 *
 * This file has its options, open and close, status, and the table of operations. Threads: the work
 * is done by a pool of workers, one key each; the synchronous operations run on the caller's
 * thread. Close hands the adapter to a thread that stops the workers and frees it, and waits for
 * that one with a deadline: a call into a dead disk cannot be interrupted.
 */
#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "fs.h"
#include "fs_xattr.h"
#include "log.h"
#include "registry.h"
#include "thread.h"

#define CLOSE_TIMEOUT (30 * NSEC_PER_SEC)
#define CONF(member) offsetof(struct fs_config, member)

static const char *const checksums[] = {[FS_CRC32C] = "crc32c", [FS_NO_CHECKSUM] = "none", NULL};

static const struct conf_opt fs_options[] = {
    {.name = "base_path",
     .type = CONF_STRING,
     .offset = CONF(base_path),
     .required = true,
     .help = "the directory; keys are the paths of the files below it"},
    {.name = "relative_tmp_dir",
     .type = CONF_STRING,
     .offset = CONF(relative_tmp_dir),
     .def = FS_TMP_DIR,
     .help = "where below base_path files are written before they get their name"},
    {.name = "read_ahead_size",
     .type = CONF_SIZE,
     .offset = CONF(read_ahead_size),
     .def = "0",
     .help = "bytes at the start of a file that the kernel is asked to read at once, when I/O is "
             "buffered"},
    {.name = "use_odirect",
     .type = CONF_BOOL,
     .offset = CONF(use_odirect),
     .def = "true",
     .help = "past the page cache, where the file system can"},
    {.name = "io_uring",
     .type = CONF_BOOL,
     .offset = CONF(io_uring),
     .def = "true",
     .help = "several pieces of a file on their way at once, where the kernel can"},
    {.name = "num_workers",
     .type = CONF_INT,
     .offset = CONF(num_workers),
     .def = "8",
     .min = 1,
     .max = 256,
     .alias = "io_concurrency",
     .help = "threads, each at one key"},
    {.name = "load_concurrency",
     .type = CONF_INT,
     .offset = CONF(load_concurrency),
     .def = "0",
     .min = 0,
     .max = 256,
     .help = "LMCache's other name for num_workers; the larger of both counts"},
    {.name = "max_capacity_gb",
     .type = CONF_DOUBLE,
     .offset = CONF(max_capacity_gb),
     .def = "0",
     .min = 0,
     .max = 1e9,
     .help = "GiB of disk that everything below base_path may take, never exceeded; keys leave "
             "before (eviction); 0: as much as fits"},
    {.name = "disk_min_free_gb",
     .type = CONF_DOUBLE,
     .offset = CONF(disk_min_free_gb),
     .def = "0",
     .min = 0,
     .max = 1e9,
     .help = "GiB of the disk that stay free, with or without max_capacity_gb"},
    {.name = "disk_high_watermark",
     .type = CONF_DOUBLE,
     .offset = CONF(disk_high_watermark),
     .def = "0",
     .min = 0,
     .max = 1,
     .help =
         "share of the disk that may be in use, by anything, with or without max_capacity_gb; 0: "
         "no limit"},
    {.name = "checksum",
     .type = CONF_ENUM,
     .offset = CONF(checksum),
     .def = "crc32c",
     .choices = checksums,
     .help = "kept in the xattr user.l2fs.crc32c and verified on load"},
    {.name = "recover_on_start",
     .type = CONF_BOOL,
     .offset = CONF(recover_on_start),
     .def = "true",
     .help = "count at start what the directory holds; else the first listing does, which a mount "
             "makes"},
    {.name = "fsync",
     .type = CONF_BOOL,
     .offset = CONF(fsync),
     .def = "true",
     .help = "a store ends when it would survive a loss of power"},
    {0},
};

static int fs_check(const void *config, struct text *err)
{
    const struct fs_config *c = config;

    if (!c->base_path || !*c->base_path) {
        text_puts(err, "base_path: is empty, it names the directory that holds the keys");
        return -EINVAL;
    }
    if (c->relative_tmp_dir && !fs_tmp_dir_check(c->relative_tmp_dir))
        return 0;
    text_printf(err,
                "relative_tmp_dir: \"%s\" is not a path below base_path: no leading '/', no \"..\"",
                c->relative_tmp_dir ? c->relative_tmp_dir : "");
    return -EINVAL;
}

static const struct worker_ops worker_ops = {
    .store_one = fs_store_one,
    .find_one = fs_find_one,
    .load_one = fs_load_one,
    .drop_one = fs_drop_one,
};

/* Learns once what this file system can do, and that it can be written at all. */
static int probe(struct fs *f)
{
    char name[FS_NAME_SIZE];
    AUTO_CLOSE int fd = -1;
    int err = fs_temp_create(&f->layout, 0, name, &fd);

    if (err) {
        log_err("fs: cannot write into base_path %s: %s; free space or change its owner or mode",
                f->layout.base, strerror(-err));
        return err;
    }
    fs_io_set_direct(f->io, fd);
    f->xattrs = !fs_record_set(fd, 0, 0);
    f->recording = f->xattrs && f->config.checksum == FS_CRC32C;
    if (!f->xattrs)
        log_warn("fs: %s: the file system keeps no user xattrs: checksums and the attributes that "
                 "engines set are not kept, damage is not noticed",
                 f->layout.base);
    fs_temp_remove(&f->layout, name);
    return 0;
}

static void fs_free(struct fs *f)
{
    fs_asked_drop(f);
    pthread_mutex_destroy(&f->asked_lock);
    keylocks_destroy(f->locks);
    keylocks_destroy(f->removing);
    fs_durable_destroy(f->durable);
    fs_io_destroy(f->io);
    fs_space_fini(&f->space);
    fs_health_fini(&f->health);
    pthread_rwlock_destroy(&f->staging_lock);
    fs_layout_close(&f->layout);
    free(f);
}

static int before_dir(const struct fs_made *m)
{
    struct fs *f = container_of(m, struct fs, made);

    return fs_space_reserve(&f->space, FS_DIR_BYTES, FS_FOR_NAMES, NULL);
}

static void after_dir(const struct fs_made *m, int parent, int dir)
{
    struct fs *f = container_of(m, struct fs, made);

    if (dir >= 0) {
        fs_space_dir(&f->space, parent);
        fs_space_dir(&f->space, dir);
    }
    fs_space_release(&f->space, FS_DIR_BYTES);
}

static void count_own(struct fs *f)
{
    fs_space_overhead(&f->space, f->layout.own_bytes);
    fs_space_dir(&f->space, f->layout.root);
    fs_space_dir(&f->space, f->layout.own);
    fs_space_dir(&f->space, f->layout.tmp);
    fs_space_dir(&f->space, f->layout.corrupt);
    f->made = (struct fs_made){.before = before_dir, .after = after_dir};
    f->layout.made = &f->made;
}

static int init_parts(struct fs *f)
{
    const struct fs_config *c = &f->config;
    int err = fs_io_create(f->layout.base, c->use_odirect, c->io_uring, &f->io);

    f->durable = fs_durable_create();
    f->locks = keylocks_create();
    f->removing = keylocks_create();
    if (!err && (!f->durable || !f->locks || !f->removing))
        err = -ENOMEM;
    if (!err)
        err = probe(f);
    if (!err)
        count_own(f);
    return err;
}

static int start_threads(struct fs *f)
{
    const struct fs_config *c = &f->config;
    unsigned n = (unsigned)MAX(c->num_workers, c->load_concurrency);
    int err = workers_start(&f->base, &worker_ops, n, "fs", &f->workers);

    if (!err && c->recover_on_start)
        err = fs_count_start(f);
    if (err && f->workers)
        workers_stop(f->workers);
    return err;
}

static uint64_t gib(double n)
{
    return (uint64_t)(n * (double)GIB);
}

/* The directory is opened first: it is what may be refused. */
static int fs_alloc(const struct adapter_env *env, const struct fs_config *c, struct fs **out)
{
    const struct fs_limits limits = {
        .max = gib(c->max_capacity_gb),
        .min_free = gib(c->disk_min_free_gb),
        .watermark = c->disk_high_watermark,
    };
    struct fs *f = calloc(1, sizeof(*f));
    int err;

    if (!f)
        return -ENOMEM;
    f->config = *c;
    f->config.base_path = f->config.relative_tmp_dir = NULL;
    f->staging = env->staging;
    err = fs_layout_open(c->base_path, c->relative_tmp_dir, &f->layout);
    if (err)
        goto free_f;
    err = fs_space_init(&f->space, &limits, f->layout.root, c->recover_on_start);
    if (err)
        goto close_layout;
    fs_health_init(&f->health);
    lock_init(&f->asked_lock);
    pthread_rwlock_init(&f->staging_lock, NULL);
    *out = f;
    return 0;

close_layout:
    fs_layout_close(&f->layout);
free_f:
    free(f);
    return err;
}

static int fs_open(const struct adapter_env *env, const void *config, struct adapter **out)
{
    struct text why = {0};
    struct fs *f;
    int err = fs_check(config, &why);

    if (err) {
        log_err("fs: %s", why.data ? why.data : strerror(-err));
        text_fini(&why);
        return err;
    }
    err = fs_alloc(env, config, &f);
    if (err)
        return err;
    f->base.ops = &fs_adapter;
    f->base.flags = fs_adapter.flags;
    err = init_parts(f);
    if (!err)
        err = start_threads(f);
    if (err) {
        fs_free(f);
        return err;
    }
    if (f->layout.swept)
        log_info("fs: %s: removed %zu unfinished temporaries of an earlier daemon", f->layout.base,
                 f->layout.swept);
    *out = &f->base;
    return 0;
}

/* Shared by close and the thread that does it; the last of both frees it. */
struct closing {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;      /* lock */
    bool abandoned; /* lock */
    struct fs *fs;
};

static void closing_free(struct closing *c)
{
    pthread_cond_destroy(&c->ended);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static void *close_main(void *arg)
{
    struct closing *c = arg;
    bool abandoned;

    fs_count_stop(c->fs);
    workers_stop(c->fs->workers);
    lock(&c->lock);
    fs_free(c->fs);
    c->done = true;
    abandoned = c->abandoned;
    pthread_cond_signal(&c->ended);
    unlock(&c->lock);
    if (abandoned)
        closing_free(c);
    return NULL;
}

/* From here on no load touches the staging, which the owner may take down. */
static void abandon_locked(struct closing *c)
{
    struct fs *f = c->fs;

    c->abandoned = true;
    pthread_rwlock_wrlock(&f->staging_lock);
    f->staging = NULL;
    pthread_rwlock_unlock(&f->staging_lock);
    fs_health_log_running(&f->health, f->layout.base);
    log_err("fs: %s: closed without waiting any longer; its lock is held until those calls return "
            "or the daemon ends",
            f->layout.base);
}

static void wait_closed(struct closing *c, pthread_t thread)
{
    uint64_t deadline = clock_deadline(CLOSE_TIMEOUT);
    bool done;

    lock(&c->lock);
    while (!c->done && cond_wait_until(&c->ended, &c->lock, deadline) != -ETIMEDOUT)
        ;
    done = c->done;
    if (!done)
        abandon_locked(c);
    unlock(&c->lock);
    if (!done) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    closing_free(c);
}

static void fs_close(struct adapter *a)
{
    struct closing *c = calloc(1, sizeof(*c));
    pthread_t thread;

    if (!c) {
        fs_count_stop(fs_of(a));
        workers_stop(fs_of(a)->workers);
        fs_free(fs_of(a));
        return;
    }
    c->fs = fs_of(a);
    lock_init(&c->lock);
    cond_init(&c->ended);
    if (!thread_start(&thread, close_main, c)) {
        wait_closed(c, thread);
        return;
    }
    close_main(c);
    closing_free(c);
}

static int fs_event_fd(struct adapter *a, enum l2_family family)
{
    return workers_event_fd(fs_of(a)->workers, family);
}

static l2_task fs_submit_store(struct adapter *a, const char *const *keys,
                               const struct l2_buf *bufs, size_t n)
{
    return workers_submit_store(fs_of(a)->workers, keys, bufs, n);
}

static int fs_pop_stored(struct adapter *a, struct l2_store_result *out)
{
    return workers_pop_stored(fs_of(a)->workers, out);
}

static l2_task fs_submit_lookup(struct adapter *a, const char *const *keys, size_t n)
{
    return workers_submit_lookup(fs_of(a)->workers, keys, n);
}

static int fs_query_lookup(struct adapter *a, l2_task task, struct bitmap **found, uint64_t *sizes)
{
    return workers_query_lookup(fs_of(a)->workers, task, found, sizes);
}

static void fs_submit_unlock(struct adapter *a, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        keylocks_put(fs_of(a)->locks, keys[i]);
}

static l2_task fs_submit_load(struct adapter *a, const char *const *keys, size_t n)
{
    return workers_submit_load(fs_of(a)->workers, keys, n);
}

static int fs_query_load(struct adapter *a, l2_task task, struct bitmap **loaded,
                         struct l2_object *objects, int *errors)
{
    return workers_query_load(fs_of(a)->workers, task, loaded, objects, errors);
}

static int fs_query_landed(struct adapter *a, l2_task task, struct l2_landed *landed)
{
    return workers_query_landed(fs_of(a)->workers, task, landed);
}

static void fs_usage(struct adapter *a, struct l2_usage *out)
{
    fs_look_at_growing(fs_of(a));
    fs_space_usage(&fs_of(a)->space, out);
    out->locked = keylocks_count(fs_of(a)->locks);
}

static size_t fs_force_unlock(struct adapter *a, const char *key)
{
    return keylocks_drop(fs_of(a)->locks, key);
}

static json_t *fs_status(struct adapter *a)
{
    struct fs *f = fs_of(a);
    json_t *status = json_pack(
        "{s:s, s:s, s:b, s:b, s:s, s:b, s:b, s:I}", "type", fs_adapter.name, "base_path",
        f->layout.base, "use_odirect", fs_io_direct(f->io), "io_uring", fs_io_uring(f->io),
        "checksum", checksums[f->config.checksum], "xattrs", f->xattrs, "counting",
        fs_space_count_wanted(&f->space), "corrupt_at_start", (json_int_t)f->layout.corrupt_kept);

    if (status)
        fs_health_status(&f->health, status);
    return status;
}

const struct adapter_ops fs_adapter = {
    .name = "fs",
    .summary = "a directory on local or shared disk, one plain file per key",
    .options = fs_options,
    .config_size = sizeof(struct fs_config),
    .flags = L2_PERSISTENT,
    .check = fs_check,
    .open = fs_open,
    .close = fs_close,
    .event_fd = fs_event_fd,
    .submit_store = fs_submit_store,
    .pop_stored = fs_pop_stored,
    .submit_lookup_and_lock = fs_submit_lookup,
    .query_lookup = fs_query_lookup,
    .submit_unlock = fs_submit_unlock,
    .submit_load = fs_submit_load,
    .query_load = fs_query_load,
    .query_landed = fs_query_landed,
    .rename = fs_rename,
    .remove = fs_remove,
    .make_dir = fs_make_dir,
    .set_attr = fs_set_attr,
    .list = fs_list,
    .list_first = fs_list_first,
    .open_file = fs_open_file,
    .link_file = fs_link_file,
    .usage = fs_usage,
    .force_unlock = fs_force_unlock,
    .status = fs_status,
};
