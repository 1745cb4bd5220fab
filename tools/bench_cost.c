/* bench_cost.c - what a decision costs for each key at different numbers of keys in L1: l2bench
 * --cost. An instance of its own without a mount, with a mock tier and files of one page on
 * /dev/shm; figures are processor time of the whole process for each key, medians of rounds.
 *
 * One thread beside those of the instance. It looks into the instance (core.h), since what it
 * measures has no other door.
 */
#include "config.h"

#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "clock.h"
#include "core.h"
#include "log.h"

#define FILE_BYTES 4096
#define DIR_KEYS 1000
#define ROUNDS 7
#define BATCH_KEYS 500 /* measured in a round; at least one in fifty */
#define WAIT_NS (300 * NSEC_PER_SEC)

enum {
    COST_PICK_LRU,
    COST_PICK_S3FIFO,
    COST_EVICT,
    COST_PASS,
    COST_BLOCKED,
    COST_TIER,
    COST_STORE,
    COST_WRITE,
    COSTS
};

static const struct {
    const char *name, *what;
} costs[COSTS] = {
    [COST_PICK_LRU] = {"pick-lru", "which key leaves next, LRU"},
    [COST_PICK_S3FIFO] = {"pick-s3fifo", "the same, S3-FIFO"},
    [COST_EVICT] = {"evict", "a key leaves L1, all of it"},
    [COST_PASS] = {"pass-over",
                   "half of the keys, the coldest, are open: meeting each of them once"},
    [COST_BLOCKED] = {"evict-blocked", "a key leaves L1 while they are open"},
    [COST_TIER] = {"tier-evict", "a key leaves the tier"},
    [COST_STORE] = {"store", "a key is handed to the tier and its end is noted"},
    [COST_WRITE] = {"write", "create, write, close"},
};

struct cost {
    struct l2fs_config cfg;
    struct l2fs *fs;
    char dir[64];
    size_t keys, batch;
    struct inode *at; /* where the next key is made */
    size_t made;
    double us[COSTS];
};

double bench_cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

/* --- the instance --- */

static int configure(struct cost *c)
{
    char spec[128], staging[96];

    snprintf(c->dir, sizeof(c->dir), "/dev/shm/l2bench-cost-%d", (int)getpid());
    snprintf(staging, sizeof(staging), "%s/staging", c->dir);
    snprintf(spec, sizeof(spec),
             "[{\"type\":\"mock\",\"max_size_gb\":%zu,\"mock_bandwidth_gb\":1000}]",
             c->keys / 100000 + 2);
    if (l2fs_config_init(&c->cfg))
        return bench_error("out of memory");
    json_decref(c->cfg.l2);
    c->cfg.l2 = json_loads(spec, 0, NULL);
    c->cfg.name = strdup("l2bench-cost");
    c->cfg.staging = strdup(staging);
    c->cfg.l1 = MAX((c->keys + 64 * c->batch) * FILE_BYTES * 2, 64 * MIB);
    c->cfg.l1_watermark = 1;
    if (!c->cfg.l2 || !c->cfg.name || !c->cfg.staging)
        return bench_error("out of memory");
    return mkdir(c->dir, 0700) ? bench_error("%s: %s", c->dir, strerror(errno)) : 0;
}

static int start(struct cost *c)
{
    struct text err = {0};
    int rc = configure(c);

    if (!rc && l2fs_start(&c->cfg, &c->fs, &err))
        rc = bench_error("%s", err.data ? err.data : "the instance does not start");
    text_fini(&err);
    return rc;
}

static void stop(struct cost *c)
{
    if (c->at)
        vfs_forget(c->fs, c->at, 1);
    if (c->fs)
        l2fs_stop(c->fs);
    rmdir(c->cfg.staging);
    rmdir(c->dir);
    l2fs_config_fini(&c->cfg);
}

/* There is one share: nobody has a quota here. */
static struct l1_share *share(const struct cost *c)
{
    return list_entry(c->fs->l1.shares.next, struct l1_share, link);
}

static int wait_stored(struct cost *c)
{
    uint64_t deadline = clock_deadline(WAIT_NS);

    LOCKED_SCOPE(&c->fs->ns->lock);
    while (c->fs->unstored)
        if (cond_wait_until(&c->fs->stored_cond, &c->fs->ns->lock, deadline))
            return bench_error("the tier does not store");
    return 0;
}

/* --- waiting until the evictor is done --- */

static bool evicting(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    return fs->evictor.posted || fs->evictor.left;
}

/* --- writing --- */

static int next_dir(struct cost *c)
{
    struct vfs_new n = {.dir = vfs_root(c->fs), .mode = 0755};
    char name[32];
    int err;

    if (c->at)
        vfs_forget(c->fs, c->at, 1);
    c->at = NULL;
    snprintf(name, sizeof(name), "d%zu", c->made / DIR_KEYS);
    n.name = name;
    err = vfs_mkdir(c->fs, &n, &c->at);
    return err ? bench_error("%s: %s", name, strerror(-err)) : 0;
}

static int write_key(struct cost *c)
{
    static const char page[FILE_BYTES] = "l2bench";
    struct vfs_new n = {.mode = 0644, .flags = O_CREAT | O_WRONLY};
    struct inode *inode;
    struct handle *h;
    char name[32];
    ssize_t wrote;
    int err;

    if (c->made % DIR_KEYS == 0 && next_dir(c))
        return -1;
    snprintf(name, sizeof(name), "k%zu", c->made++);
    n.dir = c->at;
    n.name = name;
    err = vfs_create(c->fs, &n, NULL, &inode, &h);
    if (err)
        return bench_error("create: %s", strerror(-err));
    wrote = vfs_write(c->fs, h, page, sizeof(page), 0);
    vfs_flush(c->fs, h, &n.caller);
    vfs_release(c->fs, h);
    vfs_forget(c->fs, inode, 1);
    return wrote < 0 ? bench_error("write: %s", strerror((int)-wrote)) : 0;
}

/* What is stored beside it counts too; waiting for it does not. */
static int write_keys(struct cost *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bench_stop)
            return bench_error("stopped by a signal");
        if (write_key(c))
            return -1;
    }
    return wait_stored(c);
}

/* --- figures --- */

static int measure_write(struct cost *c)
{
    double values[ROUNDS];

    for (size_t i = 0; i < ROUNDS; i++) {
        double begun = bench_cpu_us();

        if (write_keys(c, c->batch))
            return -1;
        values[i] = (bench_cpu_us() - begun) / (double)c->batch;
    }
    c->us[COST_WRITE] = median(values, ROUNDS);
    return 0;
}

static int measure_store(struct cost *c)
{
    double values[ROUNDS];

    for (size_t i = 0; i < ROUNDS; i++) {
        double begun = bench_cpu_us();
        struct list *l;
        size_t n = 0;

        lock(&c->fs->ns->lock);
        list_for_each(l, &share(c)->order.main)
        {
            struct object *o = list_entry(l, struct object, place.link);

            if (n++ == c->batch)
                break;
            o->want_gen++; /* as if it were new */
            store_queue_locked(c->fs, o->inode, false);
        }
        unlock(&c->fs->ns->lock);
        if (wait_stored(c))
            return -1;
        values[i] = (bench_cpu_us() - begun) / (double)c->batch;
    }
    c->us[COST_STORE] = median(values, ROUNDS);
    return 0;
}

static enum obstacle obstacle_now(void *arg, const struct object *o)
{
    struct cost *c = arg;

    return evict_obstacle_locked(c->fs, o, c->fs->started);
}

static int measure_pick(struct cost *c, int policy, double *out)
{
    struct object **picked = calloc(c->batch, sizeof(*picked));
    double values[ROUNDS];

    if (!picked)
        return bench_error("out of memory");
    LOCKED_SCOPE(&c->fs->ns->lock);
    l1_set_policy(&c->fs->l1, policy);
    for (size_t i = 0; i < ROUNDS; i++) {
        double begun = bench_cpu_us();

        for (size_t n = 0; n < c->batch; n++)
            picked[n] = l1_pick(&c->fs->l1, share(c), obstacle_now, c);
        values[i] = (bench_cpu_us() - begun) / (double)c->batch;
        for (size_t n = 0; n < c->batch; n++)
            if (picked[n])
                l1_add(&c->fs->l1, share(c), picked[n]);
    }
    l1_set_policy(&c->fs->l1, EVICT_LRU);
    free(picked);
    *out = median(values, ROUNDS);
    return 0;
}

static size_t residents(struct l2fs *fs)
{
    LOCKED_SCOPE(&fs->ns->lock);
    return l1_residents(&fs->l1);
}

/* Has about a batch leave. Processor time of it all, or -1; *left: how many did. */
static double evict_batch(struct cost *c, size_t *left)
{
    struct l2fs *fs = c->fs;
    size_t before = residents(fs);
    uint64_t used, size;
    double begun;

    staging_space(fs->staging, &used, &size);
    begun = bench_cpu_us();
    lock(&fs->ns->lock);
    l1_set_ratio(&fs->l1, 0.01);
    l1_set_watermark(&fs->l1, (double)(used - c->batch * FILE_BYTES) / 0.99 / (double)c->cfg.l1);
    evict_post_locked(fs);
    unlock(&fs->ns->lock);
    while (evicting(fs))
        mailbox_call(fs->mailbox, NULL, NULL);
    begun = bench_cpu_us() - begun;
    lock(&fs->ns->lock);
    l1_set_watermark(&fs->l1, 1);
    unlock(&fs->ns->lock);
    *left = before - residents(fs);
    return *left ? begun : bench_error("nothing was evicted");
}

static int measure_evict(struct cost *c, double *out)
{
    double values[ROUNDS];

    for (size_t i = 0; i < ROUNDS; i++) {
        size_t left;

        values[i] = evict_batch(c, &left) / (double)MAX(left, 1u);
        if (values[i] < 0)
            return -1;
    }
    *out = median(values, ROUNDS);
    return 0;
}

static int measure_tier(struct cost *c)
{
    double values[ROUNDS];

    for (size_t i = 0; i < ROUNDS; i++) {
        values[i] = bench_tier_evict(c->fs, c->batch * FILE_BYTES) / (double)c->batch;
        if (values[i] < 0)
            return -1;
    }
    c->us[COST_TIER] = median(values, ROUNDS);
    return 0;
}

/* The coldest half is open, as far as the evictor can tell. */
static size_t block(struct cost *c)
{
    size_t n = 0, half = residents(c->fs) / 2;
    struct list *l;

    LOCKED_SCOPE(&c->fs->ns->lock);
    list_for_each(l, &share(c)->order.main)
    {
        if (n == half)
            break;
        list_entry(l, struct object, place.link)->opens++;
        n++;
    }
    return n;
}

static void unblock(struct cost *c)
{
    LOCKED_SCOPE(&c->fs->ns->lock);
    while (!list_empty(&c->fs->l1.aside)) {
        struct object *o = list_entry(c->fs->l1.aside.next, struct object, l1_link);

        o->opens--;
        l1_back(&c->fs->l1, o);
    }
}

static int measure_blocked(struct cost *c)
{
    size_t blocked = block(c), left;
    double first = evict_batch(c, &left);
    int rc = first < 0 ? -1 : measure_evict(c, &c->us[COST_BLOCKED]);

    c->us[COST_PASS] = (first - c->us[COST_EVICT] * (double)left) / (double)blocked;
    unblock(c);
    return rc;
}

static int measure_keys(struct cost *c)
{
    int rc = start(c);

    if (!rc)
        rc = write_keys(c, c->keys);
    if (!rc)
        rc = measure_write(c);
    if (!rc)
        rc = measure_store(c);
    if (!rc)
        rc = measure_pick(c, EVICT_LRU, &c->us[COST_PICK_LRU]);
    if (!rc)
        rc = measure_pick(c, EVICT_S3FIFO, &c->us[COST_PICK_S3FIFO]);
    if (!rc)
        rc = measure_tier(c);
    if (!rc)
        rc = measure_evict(c, &c->us[COST_EVICT]);
    if (!rc)
        rc = measure_blocked(c);
    stop(c);
    return rc;
}

/* --- the table --- */

static void print_table(const struct cost *rows, size_t n)
{
    printf("# processor time for each key, and its ratio to the first row\n");
    printf("%9s", "keys");
    for (size_t k = 0; k < COSTS; k++)
        printf(" %19s", costs[k].name);
    printf("\n");
    for (size_t i = 0; i < n; i++) {
        printf("%9zu", rows[i].keys);
        for (size_t k = 0; k < COSTS; k++)
            printf(" %8.3f us %6.2fx", rows[i].us[k], rows[i].us[k] / rows[0].us[k]);
        printf("\n");
    }
    for (size_t k = 0; k < COSTS; k++)
        printf("# %s: %s\n", costs[k].name, costs[k].what);
}

static void print_json(const struct cost *rows, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        json_t *row = json_pack("{s:I}", "keys", (json_int_t)rows[i].keys);

        for (size_t k = 0; k < COSTS; k++)
            json_object_set_new(row, costs[k].name, json_real(rows[i].us[k]));
        json_array_append_new(list, row);
    }
    json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
}

int bench_cost(size_t most_keys, bool json)
{
    struct cost rows[3] = {0};
    size_t n = 0;
    int rc = 0;

    log_set_level(LOG_LEVEL_WARN);
    for (size_t keys = 10000; keys <= most_keys && n < ARRAY_SIZE(rows) && !rc; keys *= 10) {
        rows[n].keys = keys;
        rows[n].batch = MAX(keys / 50, (size_t)BATCH_KEYS);
        rc = measure_keys(&rows[n]);
        n += !rc;
    }
    if (!rc)
        json ? print_json(rows, n) : print_table(rows, n);
    return rc;
}
