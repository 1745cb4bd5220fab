/* pd_recv_status.c - what the receiver says of itself: status, peers, metrics. */
#include <stdio.h>

#include "pd_recv_parts.h"

void recv_metrics_init(struct pd_recv *r)
{
    struct metrics *m = r->env.adapter->metrics;
    struct text labels = {0};

    metrics_label(&labels, "adapter", r->env.adapter->instance);
    r->keys = metrics_counter(m, "l2fs_pd_received_keys", "Keys that landed here.",
                              labels.data ? labels.data : "");
    r->bytes = metrics_counter(m, "l2fs_pd_received_bytes", "Bytes of keys that landed here.",
                               labels.data ? labels.data : "");
    r->failures = metrics_counter(m, "l2fs_pd_receive_failures", "Keys that did not land.",
                                  labels.data ? labels.data : "");
    r->used = metrics_gauge(m, "l2fs_pd_buffer_used_bytes", "Bytes reserved and not landed yet.",
                            labels.data ? labels.data : "");
    text_fini(&labels);
}

static uint64_t used(const struct pd_recv *r)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < r->nranks; i++)
        sum += r->ranks[i].used;
    return sum;
}

void recv_metrics_update(struct pd_recv *r)
{
    metric_set(r->used, (int64_t)used(r));
}

static size_t length(const struct list *l)
{
    const struct list *node;
    size_t n = 0;

    list_for_each(node, l) n++;
    return n;
}

static void add(json_t *o, const char *name, uint64_t value)
{
    json_object_set_new(o, name, json_integer((json_int_t)value));
}

static size_t waiting(const struct pd_recv *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->nranks; i++)
        n += length(&r->ranks[i].waiting);
    return n;
}

static json_t *buffers(const struct pd_recv *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->nranks; i++)
        json_array_append_new(list, json_integer((json_int_t)r->ranks[i].used));
    return list;
}

static json_t *ports(const struct pd_recv *r, bool init)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->nranks; i++) {
        const struct pd_server *s = init ? r->ranks[i].init : r->ranks[i].alloc;

        json_array_append_new(list, json_integer(pd_server_port(s)));
    }
    return list;
}

void pd_recv_status(struct pd_recv *r, json_t *status)
{
    const struct recv_counts *c = &r->counts;

    json_object_set_new(status, "is_healthy", json_true());
    json_object_set_new(status, "init_ports", ports(r, true));
    json_object_set_new(status, "alloc_ports", ports(r, false));
    json_object_set_new(status, "ranks_used", buffers(r));
    add(status, "buffer_used", used(r));
    add(status, "buffer_size", r->env.config->buffer_size);
    add(status, "waiting", waiting(r));
    add(status, "allocations", r->nallocs);
    add(status, "buffers", r->mapped);
    add(status, "memory", r->memory);
    add(status, "peers", r->npeers);
    add(status, "requests", r->ready.count);
    add(status, "landed_keys", c->keys);
    add(status, "landed_bytes", c->bytes);
    add(status, "present_keys", c->present);
    add(status, "failed_keys", c->failed);
    add(status, "expired_keys", c->expired);
    add(status, "cancelled_keys", c->cancelled);
    add(status, "reset_keys", c->reset);
    add(status, "corrupt_keys", c->corrupt);
    add(status, "refused_requests", c->refused);
    add(status, "foreign_requests", c->foreign);
    add(status, "garbage", c->garbage);
    add(status, "log_lines_left_out", r->left_out);
}

static uint64_t inflight(const struct recv_peer *p)
{
    const struct list *node;
    uint64_t sum = 0;

    list_for_each(node, &p->allocs)
    {
        const struct recv_alloc *a = list_entry(node, struct recv_alloc, link);

        for (size_t i = 0; i < a->n; i++)
            sum += a->items[i].charged ? a->items[i].what.size : 0;
    }
    return sum;
}

json_t *pd_recv_peers(struct pd_recv *r)
{
    json_t *all = json_object();
    struct list *node;

    list_for_each(node, &r->peers)
    {
        const struct recv_peer *p = list_entry(node, struct recv_peer, link);
        json_t *one = json_object();
        char name[RECV_NAME_MAX + 16];

        snprintf(name, sizeof(name), r->nranks > 1 ? "%s#%zu" : "%s", p->name, p->rank->index);
        json_object_set_new(one, "state", json_string(p->conn ? "connected" : "gone"));
        add(one, "inflight", inflight(p));
        add(one, "bytes", p->bytes);
        add(one, "keys", p->keys);
        add(one, "failed", p->failed);
        add(one, "allocations", p->nallocs);
        json_object_set_new(all, name, one);
    }
    return all;
}
