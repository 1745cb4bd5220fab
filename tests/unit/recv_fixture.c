/* recv_fixture.c - the mount that is made up, and the receiver's side. The senders are in
 * recv_sender.c. */
#include "recv_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "staging.h"

#define WAIT (30 * NSEC_PER_SEC)

/* --- the mount --- */

static struct objects *to_objects(struct arrivals *a)
{
    return container_of(a, struct objects, base);
}

static struct object *find(struct objects *o, const char *key)
{
    struct list *node;

    list_for_each(node, &o->all)
    {
        struct object *e = list_entry(node, struct object, link);

        if (!strcmp(e->key, key))
            return e;
    }
    return NULL;
}

static bool same(const struct object *e, const struct arrival *what)
{
    return e && e->size == what->size && e->crc32c == what->crc32c;
}

static int reserve(struct arrivals *a, const struct arrival *what)
{
    struct objects *o = to_objects(a);

    LOCKED_SCOPE(&o->lock);
    if (!strncmp(what->key, "bad", 3) && o->reserve_error)
        return o->reserve_error;
    if (same(find(o, what->key), what))
        return -EEXIST;
    if (what->size > o->limit - o->reserved)
        return -EAGAIN;
    o->reserved += what->size;
    return 0;
}

static void give_back(struct arrivals *a, uint64_t size)
{
    struct objects *o = to_objects(a);

    LOCKED_SCOPE(&o->lock);
    ck_assert_uint_ge(o->reserved, size);
    o->reserved -= size;
}

static int stage(struct arrivals *a, uint64_t size, uint64_t *id, int *fd)
{
    return staging_create_full(to_objects(a)->staging, size, id, fd);
}

static void drop(struct arrivals *a, uint64_t size, uint64_t id)
{
    staging_drop(to_objects(a)->staging, id);
    give_back(a, size);
}

static char *read_staged(struct objects *o, uint64_t id, uint64_t size)
{
    AUTO_CLOSE int fd = -1;
    char *data = malloc(size + 1);
    struct stat st;

    ck_assert_int_eq(staging_stat(o->staging, id, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, size);
    ck_assert_int_eq(staging_get(o->staging, id, O_RDONLY, &fd), 0);
    ck_assert_int_eq(pread(fd, data, size + 1, 0), (ssize_t)size);
    return data;
}

static void drop_object(struct object *e)
{
    list_remove(&e->link);
    free(e->key);
    free(e->data);
    free(e);
}

static int publish(struct arrivals *a, const struct arrival *what, uint64_t id)
{
    struct objects *o = to_objects(a);
    struct object *e;

    LOCKED_SCOPE(&o->lock);
    o->held = o->hold;
    pthread_cond_broadcast(&o->changed);
    while (o->hold)
        ck_assert_int_ne(cond_wait_until(&o->changed, &o->lock, clock_deadline(WAIT)), -ETIMEDOUT);
    if (!strncmp(what->key, "bad", 3) && o->publish_error)
        return o->publish_error;
    e = find(o, what->key);
    if (same(e, what))
        return -EEXIST;
    if (e)
        drop_object(e);
    e = calloc(1, sizeof *e);
    *e = (struct object){.key = strdup(what->key),
                         .data = read_staged(o, id, what->size),
                         .size = what->size,
                         .crc32c = what->crc32c,
                         .attr = what->attr};
    staging_drop(o->staging, id);
    ck_assert_uint_eq(checksum(0, e->data, e->size), e->crc32c);
    list_push_back(&o->all, &e->link);
    ck_assert_uint_ge(o->reserved, what->size);
    o->reserved -= what->size;
    o->published++;
    pthread_cond_broadcast(&o->changed);
    return 0;
}

static int has(struct arrivals *a, const char *key)
{
    struct objects *o = to_objects(a);

    LOCKED_SCOPE(&o->lock);
    return find(o, key) ? 0 : -ENOENT;
}

static int ready(struct arrivals *a, const char *req_id, int error)
{
    struct objects *o = to_objects(a);

    LOCKED_SCOPE(&o->lock);
    if (o->ready_error)
        return o->ready_error;
    o->ready += !error;
    o->lost += error != 0;
    snprintf(o->last_ready, sizeof o->last_ready, "%s", req_id);
    return 0;
}

static void set_room(struct arrivals *a, void (*fn)(void *arg), void *arg)
{
    struct objects *o = to_objects(a);

    LOCKED_SCOPE(&o->lock);
    o->room = fn;
    o->room_arg = arg;
}

static void objects_init(struct objects *o)
{
    lock_init(&o->lock);
    cond_init(&o->changed);
    list_init(&o->all);
    o->limit = GIB;
    o->base = (struct arrivals){.reserve = reserve,
                                .give_back = give_back,
                                .stage = stage,
                                .drop = drop,
                                .publish = publish,
                                .has = has,
                                .ready = ready,
                                .set_room = set_room};
}

static void objects_fini(struct objects *o)
{
    ck_assert_uint_eq(o->reserved, 0);
    ck_assert_ptr_null(o->room);
    while (!list_empty(&o->all))
        drop_object(list_entry(o->all.next, struct object, link));
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
}

const struct object *recv_rig_object(struct recv_rig *g, const char *key)
{
    LOCKED_SCOPE(&g->objects.lock);
    return find(&g->objects, key);
}

size_t recv_rig_ready(struct recv_rig *g)
{
    LOCKED_SCOPE(&g->objects.lock);
    return g->objects.ready;
}

size_t recv_rig_lost(struct recv_rig *g)
{
    LOCKED_SCOPE(&g->objects.lock);
    return g->objects.lost;
}

void recv_rig_hold(struct recv_rig *g, bool hold)
{
    LOCKED_SCOPE(&g->objects.lock);
    g->objects.hold = hold;
    pthread_cond_broadcast(&g->objects.changed);
}

void recv_rig_wait_held(struct recv_rig *g)
{
    uint64_t until = clock_deadline(WAIT);

    LOCKED_SCOPE(&g->objects.lock);
    while (!g->objects.held)
        ck_assert_int_ne(cond_wait_until(&g->objects.changed, &g->objects.lock, until), -ETIMEDOUT);
}

/* --- the receiver --- */

static json_t *any_ports(size_t n)
{
    json_t *list = json_array();

    while (n--)
        json_array_append_new(list, json_integer(0));
    return list;
}

void recv_rig_prepare(struct recv_rig *g, size_t ranks, bool ucx)
{
    struct staging_config cfg = {.size = GIB};

    *g = (struct recv_rig){.ucx = ucx};
    g->dir = strdup("/dev/shm/l2fs-recv-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(g->dir));
    cfg.dir = g->dir;
    ck_assert_int_eq(staging_open(&cfg, &g->objects.staging), 0);
    objects_init(&g->objects);
    end_open(&g->host, ucx);
    g->metrics = metrics_create();
    g->env = (struct adapter_env){.staging = g->objects.staging,
                                  .metrics = g->metrics,
                                  .instance = "pd",
                                  .arrivals = &g->objects.base};
    g->config = (struct pd_config){.role = PD_RECEIVER,
                                   .peer_host = (char *)"127.0.0.1",
                                   .init_port = any_ports(ranks),
                                   .alloc_port = any_ports(ranks),
                                   .buffer_size = 64 * MIB,
                                   .alloc_timeout = 20 * NSEC_PER_SEC,
                                   .transfer_timeout = 20 * NSEC_PER_SEC,
                                   .lease = 20 * NSEC_PER_SEC,
                                   .ttl = 7};
}

static void create(void *arg)
{
    struct recv_rig *g = arg;
    struct pd_env env = {.adapter = &g->env,
                         .config = &g->config,
                         .loop = g->host.loop,
                         .mailbox = g->host.box,
                         .channel = g->host.channel};

    ck_assert_int_eq(pd_ctl_create(g->host.loop, &(struct pd_curve){0}, &g->ctl), 0);
    env.ctl = g->ctl;
    ck_assert_int_eq(pd_recv_create(&env, &g->recv), 0);
}

void recv_rig_start(struct recv_rig *g)
{
    end_call(&g->host, create, g);
}

static void destroy(void *arg)
{
    struct recv_rig *g = arg;

    pd_recv_destroy(g->recv);
    pd_ctl_destroy(g->ctl);
    g->recv = NULL;
}

void recv_rig_stop(struct recv_rig *g)
{
    if (g->recv)
        end_call(&g->host, destroy, g);
}

static size_t staged_files(const struct recv_rig *g)
{
    AUTO_FREE char *path = NULL;
    struct dirent *e;
    size_t n = 0;
    DIR *d;

    ck_assert_int_gt(asprintf(&path, "%s/o", g->dir), 0);
    d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

void recv_rig_close(struct recv_rig *g)
{
    recv_rig_stop(g);
    end_close(&g->host);
    objects_fini(&g->objects);
    ck_assert_uint_eq(staged_files(g), 0);
    staging_close(g->objects.staging, false);
    metrics_destroy(g->metrics);
    json_decref(g->config.init_port);
    json_decref(g->config.alloc_port);
    free(g->dir);
}

struct asking {
    struct recv_rig *rig;
    const char *name;
    int64_t value;
};

static void ask_status(void *arg)
{
    struct asking *q = arg;
    json_t *status = json_object();
    const json_t *v;

    pd_recv_status(q->rig->recv, status);
    v = json_object_get(status, q->name);
    ck_assert_ptr_nonnull(v);
    q->value = json_integer_value(v);
    json_decref(status);
}

int64_t recv_rig_status(struct recv_rig *g, const char *name)
{
    struct asking q = {g, name, 0};

    end_call(&g->host, ask_status, &q);
    return q.value;
}

void recv_rig_expect(struct recv_rig *g, const char *name, int64_t value)
{
    uint64_t until = clock_deadline(WAIT);

    while (recv_rig_status(g, name) != value) {
        if (clock_now() > until)
            ck_abort_msg("%s is %lld, not %lld", name, (long long)recv_rig_status(g, name),
                         (long long)value);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}
