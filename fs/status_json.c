/* status_json.c - the contents of the files below .l2fs.
 *
 * Thread model: any thread; numbers are copied under ns->lock, the texts are made without it.
 * Gauges that are cheap to compute are set just before the metrics are printed, so that nothing
 * else has to keep them up to date.
 */
#include "config.h"

#include <stdatomic.h>
#include <stdio.h>

#include "clock.h"
#include "evict_ctl.h"
#include "status.h"
#include "tenant.h"
#include "xattr_control.h"

struct figures {
    uint64_t uptime_s;
    uint64_t used, size; /* bytes of staging */
    uint64_t promised, arriving;
    size_t unread;
    uint64_t unread_bytes;
    double watermark, ratio;
    int policy; /* of L1 */
    bool scanning;
    int scan_error;
    uint64_t scan_ms;
    size_t found;
    size_t residents, files, directories, unstored, waiters, retrying, given_up;
    uint64_t unstored_bytes;
    struct store_ctl_status stores;
    struct prefetch_status loads;
    struct lock_counts locks;
    size_t warms;
    size_t requests, requests_failed;
};

static size_t list_length(const struct list *head)
{
    struct list *l;
    size_t n = 0;

    list_for_each(l, head) n++;
    return n;
}

static void collect(struct l2fs *fs, struct figures *f)
{
    *f = (struct figures){.uptime_s = (clock_now() - fs->started) / NSEC_PER_SEC};
    staging_space(fs->staging, &f->used, &f->size);
    store_ctl_status(fs->store_ctl, &f->stores);
    prefetch_ctl_status(fs->prefetch_ctl, &f->loads);
    LOCKED_SCOPE(&fs->ns->lock);
    gate_sync_locked(fs);
    f->promised = fs->l1.promised;
    f->arriving = fs->arrive.reserved;
    f->unread = fs->arrive.unread;
    f->unread_bytes = fs->arrive.unread_bytes;
    f->watermark = fs->l1.watermark;
    f->ratio = fs->l1.ratio;
    f->policy = fs->l1.policy;
    f->locks = fs->locks.n;
    f->residents = l1_residents(&fs->l1);
    f->scanning = fs->scan.running;
    f->scan_error = fs->scan.error;
    f->scan_ms = (f->scanning ? clock_now() - fs->started : fs->scan.took) / NSEC_PER_MSEC;
    f->found = fs->found;
    f->files = fs->ns->files;
    f->directories = fs->ns->dirs;
    f->unstored = fs->unstored;
    f->warms = warm_count_locked(fs);
    f->waiters = list_length(&fs->waiters);
    f->retrying = fs->stores.retrying;
    f->given_up = fs->stores.given_up;
    f->unstored_bytes = fs->stores.unstored_bytes;
    f->requests = fs->requests.table.count;
    f->requests_failed = fs->requests.failed;
}

json_t *status_string(const char *s)
{
    struct text t = {0};
    json_t *value = NULL;

    events_quote(&t, s ? s : "");
    if (!t.failed)
        value = json_loads(t.data, JSON_DECODE_ANY, NULL);
    text_fini(&t);
    return value;
}

static void set_count(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

int status_print_json(json_t *value, struct text *out)
{
    char *s = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;

    json_decref(value);
    if (!s)
        return -ENOMEM;
    text_puts(out, s);
    text_puts(out, "\n");
    free(s);
    return out->failed ? -ENOMEM : 0;
}

/* --- status --- */

static json_t *l1_json(struct l2fs *fs, const struct figures *f)
{
    json_t *l1 = json_object();

    set_count(l1, "capacity", fs->l1.capacity);
    set_count(l1, "used", f->used);
    set_count(l1, "promised", f->promised);
    set_count(l1, "arriving", f->arriving);
    json_object_set_new(l1, "watermark", json_real(f->watermark));
    json_object_set_new(l1, "ratio", json_real(f->ratio));
    json_object_set_new(l1, "policy", json_string(evict_policy_names[f->policy]));
    set_count(l1, "residents", f->residents);
    json_object_set_new(l1, "staging", status_string(fs->cfg->staging));
    json_object_set_new(l1, "own_mount", json_boolean(staging_has_mount(fs->staging)));
    return l1;
}

static json_t *objects_json(const struct figures *f)
{
    json_t *objects = json_object();

    set_count(objects, "files", f->files);
    set_count(objects, "directories", f->directories);
    set_count(objects, "unstored", f->unstored);
    set_count(objects, "unstored_bytes", f->unstored_bytes);
    set_count(objects, "unread", f->unread);
    set_count(objects, "unread_bytes", f->unread_bytes);
    return objects;
}

static json_t *store_json(const struct figures *f)
{
    json_t *store = json_object();

    set_count(store, "queued", f->stores.queued);
    set_count(store, "in_flight", f->stores.in_flight);
    set_count(store, "in_flight_bytes", f->stores.in_flight_bytes);
    set_count(store, "retrying", f->retrying);
    set_count(store, "given_up", f->given_up);
    return store;
}

static json_t *requests_json(const struct figures *f)
{
    json_t *requests = json_object();

    set_count(requests, "known", f->requests);
    set_count(requests, "failed", f->requests_failed);
    return requests;
}

static size_t loads_active(const struct figures *f)
{
    return f->loads.queued + f->loads.lookup + f->loads.load;
}

static json_t *load_json(struct l2fs *fs, const struct figures *f)
{
    json_t *load = json_object(), *overdue = json_object();

    set_count(load, "active", loads_active(f));
    set_count(load, "queued", f->loads.queued);
    set_count(load, "lookup_phase", f->loads.lookup);
    set_count(load, "load_phase", f->loads.load);
    set_count(load, "background_bytes", f->loads.bytes);
    set_count(load, "warm_ups", f->warms);
    tiers_each(i, fs->tiers.present)
        set_count(overdue, tiers_name(&fs->tiers, i), f->loads.overdue[i]);
    json_object_set_new(load, "overdue", overdue);
    return load;
}

static json_t *flags_json(unsigned flags)
{
    json_t *list = json_array();

    if (flags & L2_PERSISTENT)
        json_array_append_new(list, json_string("persistent"));
    if (flags & L2_DISCARDS)
        json_array_append_new(list, json_string("discards"));
    return list;
}

static json_t *pins_json(const struct lock_counts *locks)
{
    json_t *pins = json_object();

    set_count(pins, "limit", locks->pin_limit);
    for (int kind = PIN_SOFT; kind <= PIN_HARD; kind++) {
        json_t *one = json_object();

        set_count(one, "files", locks->pins[kind].files);
        set_count(one, "bytes", locks->pins[kind].bytes);
        json_object_set_new(pins, pin_kind_name((enum pin_kind)kind), one);
    }
    return pins;
}

/* Of what the tiers held at the start. */
static json_t *scan_json(const struct figures *f)
{
    json_t *scan = json_object();

    json_object_set_new(scan, "running", json_boolean(f->scanning && !f->scan_error));
    set_count(scan, "found", f->found);
    json_object_set_new(scan, "seconds", json_real((double)f->scan_ms / 1000));
    if (f->scan_error)
        json_object_set_new(scan, "error", json_string(strerror(-f->scan_error)));
    return scan;
}

/* What keeps objects where they are: descriptors, pins, and what loads hold in the tiers. */
static json_t *locks_json(struct l2fs *fs, const struct figures *f)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);
    json_t *locks = json_object(), *l2 = json_object();

    set_count(locks, "readers", f->locks.readers);
    set_count(locks, "writers", f->locks.writers);
    json_object_set_new(locks, "pins", pins_json(&f->locks));
    tiers_each(i, held.mask)
        set_count(l2, tiers_name(&fs->tiers, i), tier_locked_keys(fs->tiers.tier[i]));
    json_object_set_new(locks, "l2", l2);
    return locks;
}

/* Every directory with a quota. */
static json_t *tenants_json(struct l2fs *fs)
{
    json_t *list = json_array();
    struct list *l;

    LOCKED_SCOPE(&fs->ns->lock);
    list_for_each(l, &fs->tenants)
    {
        const struct tenant *t = list_entry(l, struct tenant, link);
        char path[KEY_PATH_MAX + 2];
        json_t *one;

        if (!t->dir)
            continue;
        file_key(t->dir, path);
        one = json_object();
        json_object_set_new(one, "path", status_string(path));
        set_count(one, "quota", t->quota);
        set_count(one, "used", t->used);
        set_count(one, "files", t->files);
        json_array_append_new(list, one);
    }
    return list;
}

static void add_stores(struct l2fs *fs, json_t *tier, size_t slot)
{
    json_t *stores = json_object();
    struct store_tier_status s;

    store_ctl_tier_status(fs->store_ctl, slot, &s);
    set_count(stores, "in_flight", s.in_flight);
    set_count(stores, "overdue", s.overdue);
    set_count(stores, "bytes", s.bytes);
    json_object_set_new(stores, "stalled", json_boolean(s.stalled));
    json_object_set_new(stores, "last_error",
                        s.last_error ? json_string(strerror(-s.last_error)) : json_null());
    json_object_set_new(tier, "stores", stores);
}

/* What the adapter says of itself, with its place here; NULL on no memory. */
static json_t *tier_json(struct l2fs *fs, size_t tier)
{
    TIERS_HELD(held, &fs->tiers, 1u << tier);
    struct probe_result r;

    probes_result(fs, tier, &r);
    if (!r.status || !held.mask)
        return r.status;
    json_object_set_new(r.status, "name", status_string(tiers_name(&fs->tiers, tier)));
    set_count(r.status, "index", tier);
    json_object_set_new(r.status, "state",
                        json_string(tier_state_name(tiers_state(&fs->tiers, tier))));
    json_object_set_new(r.status, "flags", flags_json(tier_flags(fs->tiers.tier[tier])));
    add_stores(fs, r.status, tier);
    health_add_to_tier(fs, tier, &r);
    evict_ctl_describe(fs, tier, &r.usage, r.status);
    return r.status;
}

static json_t *tiers_json(struct l2fs *fs)
{
    uint32_t present = fs->tiers.present;
    json_t *list = json_array();

    probes_refresh(fs, present);
    tiers_each(i, present) json_array_append_new(list, tier_json(fs, i));
    return list;
}

static void add_error(void *arg, const char *line)
{
    json_array_append_new(arg, json_loads(line, 0, NULL));
}

int status_print(struct l2fs *fs, size_t tier, struct text *out)
{
    const char *mode = atomic_load(&fs->mode);
    json_t *status = json_object(), *errors = json_array();
    json_t *tiers = tiers_json(fs), *health = health_list(fs, tiers);
    struct figures f;

    collect(fs, &f);
    events_errors(fs->events, add_error, errors);
    json_object_set_new(status, "is_healthy", json_boolean(!json_array_size(health)));
    json_object_set_new(status, "health", health);
    json_object_set_new(status, "name", status_string(fs->cfg->name));
    json_object_set_new(status, "version", json_string(PACKAGE_VERSION));
    json_object_set_new(status, "mode", json_string(mode ? mode : "none"));
    set_count(status, "uptime_s", f.uptime_s);
    json_object_set_new(status, "l1", l1_json(fs, &f));
    json_object_set_new(status, "scan", scan_json(&f));
    json_object_set_new(status, "objects", objects_json(&f));
    json_object_set_new(status, "store", store_json(&f));
    json_object_set_new(status, "load", load_json(fs, &f));
    json_object_set_new(status, "locks", locks_json(fs, &f));
    json_object_set_new(status, "tenants", tenants_json(fs));
    set_count(status, "waiters", f.waiters);
    json_object_set_new(status, "requests", requests_json(&f));
    json_object_set_new(status, "peers", status_peers(fs));
    json_object_set_new(status, "tiers", tiers);
    json_object_set_new(status, "errors", errors);
    return status_print_json(status, out);
}

/* --- config, adapters/NAME --- */

int status_print_config(struct l2fs *fs, size_t tier, struct text *out)
{
    json_t *config = conf_to_json(l2fs_config_options, fs->cfg);
    json_t *l2 = json_array();

    TIERS_HELD(held, &fs->tiers, fs->tiers.active);
    tiers_each(i, held.mask) json_array_append_new(l2, tier_config(fs->tiers.tier[i]));
    json_object_set_new(config, "l2", l2);
    control_overlay(fs, config);
    return status_print_json(config, out);
}

int status_print_history(struct l2fs *fs, size_t tier, struct text *out)
{
    events_history(fs->events, out);
    return out->failed ? -ENOMEM : 0;
}

int status_print_tier(struct l2fs *fs, size_t tier, struct text *out)
{
    probes_refresh(fs, 1u << tier);
    return status_print_json(tier_json(fs, tier), out);
}

static json_t *usage_json(const struct l2_usage *u)
{
    json_t *usage = json_object();

    set_count(usage, "used_bytes", u->used);
    set_count(usage, "capacity_bytes", u->capacity);
    set_count(usage, "objects", u->objects);
    set_count(usage, "locked", u->locked);
    set_count(usage, "fs_size_bytes", u->fs_size);
    set_count(usage, "fs_avail_bytes", u->fs_avail);
    return usage;
}

int status_print_usage(struct l2fs *fs, size_t tier, struct text *out)
{
    struct probe_result r;
    json_t *usage;

    probes_refresh(fs, 1u << tier);
    probes_result(fs, tier, &r);
    json_decref(r.status);
    usage = usage_json(&r.usage);
    evict_ctl_describe(fs, tier, &r.usage, usage);
    return status_print_json(usage, out);
}

/* --- metrics --- */

static void set_gauge(struct l2fs *fs, const char *name, const char *help, uint64_t value)
{
    metric_set(metrics_gauge(fs->metrics, name, help, ""), (int64_t)value);
}

static void set_tier_gauge(struct l2fs *fs, size_t tier, const char *const about[2], uint64_t value)
{
    struct text labels = {0};

    metrics_label(&labels, "adapter", tiers_name(&fs->tiers, tier));
    if (!labels.failed)
        metric_set(metrics_gauge(fs->metrics, about[0], about[1], labels.data), (int64_t)value);
    text_fini(&labels);
}

static void set_tier_gauges(struct l2fs *fs, size_t tier)
{
    static const char *const about[][2] = {
        {"l2fs_tier_used_bytes", "Bytes of objects that a tier holds."},
        {"l2fs_tier_capacity_bytes", "Bytes that a tier may hold, 0 when it does not say."},
        {"l2fs_tier_objects", "Objects that a tier holds."},
        {"l2fs_tier_locked", "Objects of a tier that are locked for loads."},
        {"l2fs_tier_healthy", "1 when a tier says that it works."},
    };
    struct probe_result r;

    probes_result(fs, tier, &r);
    set_tier_gauge(fs, tier, about[0], r.usage.used);
    set_tier_gauge(fs, tier, about[1], r.usage.capacity);
    set_tier_gauge(fs, tier, about[2], r.usage.objects);
    set_tier_gauge(fs, tier, about[3], r.usage.locked);
    set_tier_gauge(fs, tier, about[4], json_is_true(json_object_get(r.status, "is_healthy")));
    json_decref(r.status);
}

static void set_gauges(struct l2fs *fs)
{
    struct figures f;

    collect(fs, &f);
    set_gauge(fs, "l2fs_uptime_seconds", "Time since the mount.", f.uptime_s);
    set_gauge(fs, "l2fs_l1_capacity_bytes", "Memory for objects.", fs->l1.capacity);
    set_gauge(fs, "l2fs_l1_used_bytes", "Memory used by objects.", f.used);
    set_gauge(fs, "l2fs_l1_promised_bytes", "Memory promised to open writers.", f.promised);
    set_gauge(fs, "l2fs_l1_residents", "Objects in memory.", f.residents);
    set_gauge(fs, "l2fs_files", "Files of the mount.", f.files);
    set_gauge(fs, "l2fs_directories", "Directories of the mount.", f.directories);
    set_gauge(fs, "l2fs_unstored", "Objects with something to store.", f.unstored);
    set_gauge(fs, "l2fs_unstored_bytes", "Bytes of them; all of these are in L1.",
              f.unstored_bytes);
    set_gauge(fs, "l2fs_store_in_flight", "Stores under way.", f.stores.in_flight);
    set_gauge(fs, "l2fs_store_in_flight_bytes", "Bytes of stores under way.",
              f.stores.in_flight_bytes);
    set_gauge(fs, "l2fs_store_retrying", "Failed stores that wait for another try.", f.retrying);
    set_gauge(fs, "l2fs_requests", "Requests with keys that are not sent yet.", f.requests);
    set_gauge(fs, "l2fs_loads_active", "Loads queued or under way.", loads_active(&f));
    set_gauge(fs, "l2fs_open_readers", "Descriptors open for reading.", f.locks.readers);
    set_gauge(fs, "l2fs_open_writers", "Descriptors open for writing.", f.locks.writers);
    set_gauge(fs, "l2fs_pinned_bytes", "Bytes of pinned files.",
              f.locks.pins[PIN_SOFT].bytes + f.locks.pins[PIN_HARD].bytes);
    set_gauge(fs, "l2fs_waiters", "Requests that wait for a load, a writer or space.", f.waiters);
}

int status_print_metrics(struct l2fs *fs, size_t tier, struct text *out)
{
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);

    set_gauges(fs);
    probes_refresh(fs, held.mask);
    tiers_each(i, held.mask) set_tier_gauges(fs, i);
    peers_set_metrics(fs);
    metrics_print(fs->metrics, out);
    return out->failed ? -ENOMEM : 0;
}
