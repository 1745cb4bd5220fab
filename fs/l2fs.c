/* l2fs.c - building and ending an instance. Start: staging, tiers, tree, controllers, loop; each
 * step undone in reverse when a later one fails. The tick runs on the loop thread.
 */
#include "config.h"

#include <stdio.h>

#include "clock.h"
#include "core.h"
#include "evict_ctl.h"
#include "evict_quota.h"
#include "expire.h"
#include "hotplug.h"
#include "log.h"
#include "tenant.h"
#include "units.h"

#define STORE_BYTES_MAX (256 * MIB)
#define STORE_BYTES_LEAST (8 * MIB)
#define STORE_TASKS_MAX 16
#define PROBE_NS (5 * NSEC_PER_SEC)   /* between tries of a tier that does not answer */
#define RELEASE_NS (5 * NSEC_PER_SEC) /* a call of a tier may last at the end */
#define OPENS_MAX 64                  /* loads for opens at a time */
#define SLACK_MIN (16 * MIB)
#define LEFT_NAMED 8 /* keys that the last line about what is left names */

static void on_tick(struct loop_timer *t)
{
    struct l2fs *fs = container_of(t, struct l2fs, tick);
    uint64_t now = clock_now();

    wait_expire(fs, now);
    lock(&fs->ns->lock);
    locks_expire(&fs->locks, now);
    unlock(&fs->ns->lock);
    store_retry_due(fs, now);
    gate_tick(fs);
    evict_tick(fs);
    ready_tick(fs, now);
    health_tick(fs, now);
    loop_timer_arm(fs->loop, t, now + TICK_NS);
}

static int open_staging(struct l2fs *fs, struct text *err)
{
    uint64_t slack = MAX(SLACK_MIN, fs->cfg->l1 / 32);
    struct staging_config c = {.dir = fs->cfg->staging,
                               .own_mount =
                                   geteuid() == 0 && strncmp(fs->cfg->staging, "/dev/shm/", 9) != 0,
                               .size = fs->cfg->l1 + slack};
    int rc;

    if (!c.own_mount)
        c.size = fs->cfg->l1;
    rc = staging_open(&c, &fs->staging);
    if (rc)
        text_printf(err, "option staging: %s cannot hold the staging files: %s", c.dir,
                    strerror(-rc));
    else if (!staging_can_record(fs->staging))
        log_warn("%s keeps no user xattrs (kernel before 6.6?): after a crash L1 is lost", c.dir);
    return rc;
}

static int open_tiers(struct l2fs *fs, struct text *err)
{
    struct adapter_env env = {
        .staging = fs->staging, .metrics = fs->metrics, .arrivals = &fs->arrive.base};
    size_t i;
    json_t *spec;

    json_array_foreach(fs->cfg->l2, i, spec)
    {
        int slot = tiers_open(&fs->tiers, &env, spec, err);

        if (slot < 0)
            return slot;
        tiers_move(&fs->tiers, (size_t)slot, TIER_ACTIVE);
    }
    fs->signature = tiers_signature(&fs->tiers);
    return 0;
}

/* An open that meets a lookup and a load that hang has a quarter of its time left for the next tier. */
static int start_prefetch(struct l2fs *fs)
{
    uint64_t bytes = fs->cfg->prefetch_bytes;
    struct prefetch_params p = {.loop = fs->loop,
                                .mailbox = fs->mailbox,
                                .staging = fs->staging,
                                .metrics = fs->metrics,
                                .owner = &fs->prefetch_owner,
                                .tiers = fs->tiers.tier,
                                .max_opens = OPENS_MAX,
                                .max_requests = (size_t)fs->cfg->prefetch_requests,
                                .max_bytes = bytes ? bytes : fs->cfg->l1 / 4,
                                .lookup_timeout = fs->cfg->load_timeout / 4,
                                .load_timeout = fs->cfg->load_timeout / 2,
                                .probe_interval = PROBE_NS};

    load_init(fs);
    return prefetch_ctl_create(&p, &fs->prefetch_ctl);
}

static int start_controllers(struct l2fs *fs)
{
    struct store_ctl_params s = {.loop = fs->loop,
                                 .mailbox = fs->mailbox,
                                 .tiers = fs->tiers.tier,
                                 .max_bytes =
                                     MAX(STORE_BYTES_LEAST, MIN(STORE_BYTES_MAX, fs->cfg->l1 / 4)),
                                 .max_tasks = STORE_TASKS_MAX,
                                 .timeout = fs->cfg->store_timeout,
                                 .owner = &fs->stores.owner,
                                 .metrics = fs->metrics};
    int err;

    evict_init(fs);
    err = store_ctl_create(&s, &fs->store_ctl);
    if (!err)
        err = start_prefetch(fs);
    return err;
}

static void register_metrics(struct l2fs *fs)
{
    struct metrics *m = fs->metrics;

    fs->m.publishes = metrics_counter(m, "l2fs_publishes", "Objects published.", "");
    fs->m.discards = metrics_counter(m, "l2fs_discards", "Objects given up unpublished.", "");
    fs->m.opens = metrics_counter(m, "l2fs_opens", "Files opened.", "");
    fs->m.open_misses = metrics_counter(m, "l2fs_open_misses", "Opens that started a load.", "");
    fs->m.enospc = metrics_counter(m, "l2fs_enospc", "Writers that met the L1 limit.", "");
}

static void init_lists(struct l2fs *fs)
{
    list_init(&fs->waiters);
    list_init(&fs->tenants);
    list_init(&fs->space_waiters);
    list_init(&fs->warms);
    tiers_init(&fs->tiers);
    keyguard_init(&fs->guard);
    lock_init(&fs->gone_lock);
    cond_init(&fs->stored_cond);
    l1_init(&fs->l1, fs->cfg);
    scan_init(fs);
    locks_init(&fs->locks, (uint64_t)(fs->cfg->pin_max * (double)fs->cfg->l1), TICK_NS,
               clock_now());
}

static bool unpin_one(void *arg, struct dentry *d)
{
    struct l2fs *fs = arg;

    if (d->inode->object)
        pin_remove(fs->pinner, &d->inode->object->pin);
    return true;
}

/* The tiers are closed. A store or load that ends gives up its key, which may let another one go that
 * waited for it. */
static void end_controllers(struct l2fs *fs)
{
    struct store_ctl_status s;

    if (!fs->prefetch_ctl)
        return; /* not built that far */
    do {
        store_ctl_end(fs->store_ctl);
        stores_drop(fs);
        prefetch_ctl_end(fs->prefetch_ctl);
        store_ctl_status(fs->store_ctl, &s);
    } while (s.queued);
}

/* Frees what was built, in any state of building. The loop is stopped. */
static void destroy(struct l2fs *fs, bool keep)
{
    bool stuck, left = hotplug_destroy(fs);

    arrive_end(fs);
    expire_stop(fs);
    quota_stop(fs);
    status_detach(fs);
    stuck = evict_ctl_stop(fs);
    left |= !tiers_close_all(&fs->tiers, clock_deadline(RELEASE_NS));
    end_controllers(fs);
    store_ctl_destroy(fs->store_ctl);
    prefetch_ctl_destroy(fs->prefetch_ctl);
    mailbox_destroy(fs->mailbox);
    if (fs->ns)
        warm_drop_all(fs);
    ready_fini(fs);
    loop_destroy(fs->loop);
    events_destroy(fs->events);
    if (fs->pinner)
        ns_walk(fs->ns->root, unpin_one, fs);
    requests_fini(fs);
    ns_destroy(fs->ns);
    tenants_fini(fs);
    pinner_destroy(fs->pinner);
    staging_close(fs->staging, keep);
    keyguard_fini(&fs->guard);
    pthread_mutex_destroy(&fs->gone_lock);
    pthread_cond_destroy(&fs->stored_cond);
    if (left)
        return; /* a thread in an adapter may come back to the tiers and the metrics */
    pthread_cond_destroy(&fs->scan.moved);
    arrive_fini(fs);
    tiers_fini(&fs->tiers);
    if (!stuck)
        metrics_destroy(fs->metrics);
    free(fs);
}

static int build(struct l2fs *fs, struct text *err)
{
    int rc = open_staging(fs, err);

    if (!rc)
        rc = open_tiers(fs, err);
    if (rc)
        return rc;
    rc = pinner_create(fs->cfg->pin, &fs->pinner);
    if (rc) {
        text_printf(err, "option pin: %s", strerror(-rc));
        return rc;
    }
    rc = ns_create(&fs->ns);
    if (!rc)
        rc = tenants_init(fs);
    if (!rc)
        rc = requests_init(fs);
    if (!rc)
        rc = events_create(&fs->events);
    if (!rc)
        rc = loop_create("l2fs-loop", &fs->loop);
    if (!rc)
        rc = mailbox_create(fs->loop, &fs->mailbox);
    if (!rc)
        rc = start_controllers(fs);
    if (!rc)
        rc = status_attach(fs);
    if (!rc)
        rc = hotplug_create(fs);
    if (!rc)
        rc = scan_begin(fs);
    if (!rc)
        rc = adopt_staging(fs);
    if (!rc)
        rc = evict_ctl_start(fs);
    if (!rc)
        rc = loop_timer_arm(fs->loop, &fs->tick, clock_deadline(TICK_NS));
    if (!rc)
        rc = loop_start(fs->loop);
    if (rc)
        text_printf(err, "cannot start: %s", strerror(-rc));
    return rc;
}

int l2fs_start(const struct l2fs_config *cfg, struct l2fs **out, struct text *err)
{
    struct l2fs *fs = calloc(1, sizeof(*fs));
    int rc;

    if (!fs)
        return -ENOMEM;
    fs->cfg = cfg;
    fs->started = clock_now();
    fs->tick.expired = on_tick;
    init_lists(fs);
    gates_init(&fs->gates);
    fs->metrics = metrics_create();
    if (!fs->metrics) {
        free(fs);
        return -ENOMEM;
    }
    register_metrics(fs);
    arrive_init(fs);
    ready_init(fs);
    stores_init(fs);
    rc = build(fs, err);
    if (rc) {
        scan_stop(fs);
        hotplug_stop(fs);
        destroy(fs, true);
        return rc;
    }
    adopt_store(fs);
    scan_built(fs);
    *out = fs;
    return 0;
}

/* Waits until everything is in L2. How many objects are not. */
static size_t drain(struct l2fs *fs)
{
    uint64_t deadline = clock_deadline(fs->cfg->drain_timeout);
    size_t left;
    int err = 0;

    lock(&fs->ns->lock);
    fs->stopping = true;
    if (fs->unstored)
        log_info("storing %zu objects before the end, at most %u s", fs->unstored,
                 (unsigned)(fs->cfg->drain_timeout / NSEC_PER_SEC));
    store_drain_locked(fs);
    while (!store_drained_locked(fs) && !err)
        err = cond_wait_until(&fs->stored_cond, &fs->ns->lock, deadline);
    store_drain_end_locked(fs);
    left = fs->unstored;
    unlock(&fs->ns->lock);
    return left;
}

struct left {
    struct text names;
    size_t n;
};

static bool name_one(void *arg, struct dentry *d)
{
    const struct object *o = d->inode->object;
    struct left *left = arg;
    char key[KEY_PATH_MAX + 2];

    if (o && o->rest.unstored && ns_path(d, key) > 0)
        text_printf(&left->names, "%s\"%s\"", left->n++ ? ", " : "", key);
    return left->n < LEFT_NAMED;
}

static void tell_left(struct l2fs *fs, size_t n)
{
    struct left left = {0};

    lock(&fs->ns->lock);
    ns_walk(fs->ns->root, name_one, &left);
    unlock(&fs->ns->lock);
    log_err("%zu objects are not in L2 (%s%s); they stay in %s and the next mount of instance %s "
            "stores them (a reboot loses them)",
            n, left.names.data ? left.names.data : "", left.n < n ? ", ..." : "", fs->cfg->staging,
            fs->cfg->name);
    text_fini(&left.names);
}

void l2fs_stop(struct l2fs *fs)
{
    size_t left;

    expire_stop(fs);
    scan_stop(fs);
    hotplug_stop(fs);
    quota_stop(fs);
    left = drain(fs);
    mailbox_call(fs->mailbox, NULL, NULL); /* what is complete has been told */
    loop_stop(fs->loop);
    if (left)
        tell_left(fs, left);
    destroy(fs, left > 0);
}

void l2fs_describe(struct l2fs *fs, struct text *out)
{
    char l1[32];

    LOCKED_SCOPE(&fs->ns->lock); /* an adapter may be joining already */
    text_printf(out, "l1 %s, %zu keys found in L2%s, %zu taken over from a daemon that died",
                units_format_size(fs->cfg->l1, l1, sizeof(l1)), fs->found,
                fs->scan.running ? " so far" : "", fs->adopted);
}
