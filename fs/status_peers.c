/* status_peers.c - .l2fs/peers: who the tiers that send or receive know.
 *
 * Thread model: any thread. What the adapters say comes from their probes, so nobody waits for a network;
 * the directory follows it whenever somebody lists it or looks a name up in it.
 */
#include "config.h"

#include <stdio.h>

#include "status.h"

static const struct vfile peer_files[] = {
    {.name = "state", .field = "state"},
    {.name = "inflight", .field = "inflight"},
    {.name = "bytes", .field = "bytes"},
    {.name = "rtt", .field = "rtt"},
};

/* As a name of a directory. */
static void put_name(struct text *out, const char *host, const char *tier)
{
    for (const char *c = host; *c; c++)
        text_append(out, *c == '/' ? "_" : c, 1);
    if (tier)
        text_printf(out, "@%s", tier);
}

static bool is_name(const struct text *t)
{
    return !t->failed && t->len && t->len <= KEY_NAME_MAX && strcmp(t->data, ".") &&
           strcmp(t->data, "..");
}

static void add_peer(json_t *all, const char *host, const char *tier, json_t *what)
{
    json_t *one = json_is_object(what) ? json_copy(what) : NULL;
    struct text name = {0};

    put_name(&name, host, NULL);
    if (is_name(&name) && json_object_get(all, name.data)) {
        text_fini(&name);
        put_name(&name, host, tier);
    }
    json_object_set_new(one, "adapter", status_string(tier));
    if (one && is_name(&name))
        json_object_set(all, name.data, one);
    json_decref(one);
    text_fini(&name);
}

json_t *status_peers(struct l2fs *fs)
{
    json_t *all = json_object(), *peer;
    const char *host;

    TIERS_HELD(held, &fs->tiers, fs->tiers.sending);
    tiers_each(i, held.mask)
    {
        json_t *peers = probes_peers(fs, i);

        json_object_foreach(peers, host, peer) add_peer(all, host, tiers_name(&fs->tiers, i), peer);
        json_decref(peers);
    }
    return all;
}

/* --- the directory --- */

static void drop_gone_locked(struct l2fs *fs, json_t *known)
{
    struct dir *dir = fs->peers->dir;

    for (uint32_t i = 0; i < dir->nslots; i++)
        if (dir->slots[i] && !json_object_get(known, dir->slots[i]->name))
            status_drop_dir_locked(fs, dir->slots[i]);
}

static void follow_locked(struct l2fs *fs, json_t *known)
{
    size_t files = fs->ns->files, dirs = fs->ns->dirs;
    const char *name;
    json_t *peer;

    drop_gone_locked(fs, known);
    json_object_foreach(known, name, peer)
    {
        struct dentry *d = ns_find(fs->ns, fs->peers, name);

        if (!d && status_add_dir_locked(fs, fs->peers, name, peer_files, ARRAY_SIZE(peer_files)) &&
            (d = ns_find(fs->ns, fs->peers, name)))
            status_drop_dir_locked(fs, d);
    }
    fs->ns->files = files;
    fs->ns->dirs = dirs;
}

void peers_refresh(struct l2fs *fs)
{
    json_t *known;

    if (!fs->tiers.sending)
        return;
    probes_refresh(fs, fs->tiers.sending);
    known = status_peers(fs);
    lock(&fs->ns->lock);
    follow_locked(fs, known);
    unlock(&fs->ns->lock);
    json_decref(known);
}

int peers_print(struct l2fs *fs, const char *name, const char *field, struct text *out)
{
    json_t *known, *peer, *value;
    int err = 0;

    probes_refresh(fs, fs->tiers.sending);
    known = status_peers(fs);
    peer = json_object_get(known, name);
    value = json_object_get(peer, field);
    if (!peer)
        err = -ESTALE;
    else if (json_is_string(value))
        text_printf(out, "%s\n", json_string_value(value));
    else
        text_printf(out, "%lld\n", (long long)json_number_value(value));
    json_decref(known);
    return out->failed ? -ENOMEM : err;
}

/* --- metrics --- */

bool peer_is_up(json_t *peer)
{
    const char *state = json_string_value(json_object_get(peer, "state"));

    return state && (!strcmp(state, "up") || !strcmp(state, "connected"));
}

static int64_t number(json_t *peer, const char *field)
{
    return (int64_t)json_number_value(json_object_get(peer, field));
}

static void set_series(struct metrics *m, const char *labels, json_t *peer)
{
    metric_set(metrics_counter(m, "l2fs_peer_bytes", "Bytes sent to or received from it.", labels),
               number(peer, "bytes"));
    metric_set(metrics_gauge(m, "l2fs_peer_inflight_bytes", "Bytes on their way.", labels),
               number(peer, "inflight"));
    metric_set(metrics_gauge(m, "l2fs_peer_up", "1 while it is connected.", labels),
               peer_is_up(peer));
    metric_set(metrics_gauge(m, "l2fs_peer_rtt_microseconds", "Of its last answer.", labels),
               number(peer, "rtt"));
}

void peers_set_metrics(struct l2fs *fs)
{
    json_t *known = status_peers(fs), *series = json_object(), *peer;
    const char *name;

    LOCKED_SCOPE(&fs->ns->lock);
    json_object_foreach(known, name, peer)
    {
        struct text labels = {0};

        metrics_label(&labels, "adapter", json_string_value(json_object_get(peer, "adapter")));
        metrics_label(&labels, "peer", name);
        if (!labels.failed) {
            set_series(fs->metrics, labels.data, peer);
            json_object_set_new(series, labels.data, json_true());
        }
        text_fini(&labels);
    }
    json_object_foreach(fs->peer_series, name, peer) if (!json_object_get(series, name))
        metrics_forget(fs->metrics, name);
    json_decref(fs->peer_series);
    fs->peer_series = series;
    json_decref(known);
}
