/* rig.c - opening and closing an adapter under test, and looking for what it leaves behind.
 *
 * Used by one thread, the owner in the sense of adapter.h.
 */
#include "rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static char base[64];
static int open_rigs; /* another one's threads may open and close descriptors at any time */

void rig_base_create(void)
{
    snprintf(base, sizeof(base), "%s/l2fs-test.XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(base)) {
        perror(base);
        exit(EXIT_FAILURE);
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

void rig_base_remove(void)
{
    nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static char *make_dir(const char *what)
{
    struct text t = {0};
    char *path;

    text_printf(&t, "%s/%s.XXXXXX", base, what);
    path = text_steal(&t, NULL);
    ck_assert_ptr_nonnull(path);
    ck_assert_msg(mkdtemp(path) != NULL, "mkdtemp %s: %s", path, strerror(errno));
    return path;
}

static size_t count_entries(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;

    ck_assert_msg(d != NULL, "opendir %s: %s", path, strerror(errno));
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

json_t *rig_spec(const struct rig *r, const char *spec_json)
{
    const char *mark = strstr(spec_json, "@DIR@");
    struct text t = {0};
    json_error_t error;
    json_t *json;

    if (mark) {
        text_append(&t, spec_json, (size_t)(mark - spec_json));
        text_puts(&t, r->data_dir);
        text_puts(&t, mark + strlen("@DIR@"));
    } else {
        text_puts(&t, spec_json);
    }
    json = json_loads(t.data, 0, &error);
    ck_assert_msg(json != NULL, "%s: %s", t.data, error.text);
    text_fini(&t);
    return json;
}

/* --- arrivals --- */

static struct rig_arrivals *to_arrivals(struct arrivals *a)
{
    return container_of(a, struct rig_arrivals, base);
}

static struct rig_arrival *find_locked(struct rig_arrivals *r, const char *key)
{
    for (size_t i = 0; i < r->n; i++) {
        if (!strcmp(r->v[i].key, key))
            return &r->v[i];
    }
    return NULL;
}

static int reserve(struct arrivals *a, const struct arrival *what)
{
    struct rig_arrivals *r = to_arrivals(a);
    struct rig_arrival *there;

    LOCKED_SCOPE(&r->lock);
    there = find_locked(r, what->key);
    return there && there->size == what->size && there->crc32c == what->crc32c ? -EEXIST : 0;
}

static void give_back(struct arrivals *a, uint64_t size)
{
}

static int stage(struct arrivals *a, uint64_t size, uint64_t *id, int *fd)
{
    return staging_create_full(to_arrivals(a)->staging, size, id, fd);
}

static void drop(struct arrivals *a, uint64_t size, uint64_t id)
{
    staging_drop(to_arrivals(a)->staging, id);
}

static int publish(struct arrivals *a, const struct arrival *what, uint64_t staging_id)
{
    struct rig_arrivals *r = to_arrivals(a);
    struct rig_arrival *there;

    staging_drop(r->staging, staging_id);
    LOCKED_SCOPE(&r->lock);
    there = find_locked(r, what->key);
    if (!there) {
        r->v = realloc(r->v, (r->n + 1) * sizeof(*r->v));
        there = &r->v[r->n++];
        there->key = strdup(what->key);
    }
    there->size = what->size;
    there->crc32c = what->crc32c;
    return 0;
}

static int has(struct arrivals *a, const char *key)
{
    struct rig_arrivals *r = to_arrivals(a);

    LOCKED_SCOPE(&r->lock);
    return find_locked(r, key) ? 0 : -ENOENT;
}

static int ready(struct arrivals *a, const char *req_id, int error)
{
    struct rig_arrivals *r = to_arrivals(a);

    LOCKED_SCOPE(&r->lock);
    r->ready++;
    return 0;
}

static void set_room(struct arrivals *a, void (*fn)(void *arg), void *arg)
{
}

static void arrivals_init(struct rig *r)
{
    r->arrivals = (struct rig_arrivals){
        .base = {reserve, give_back, stage, drop, publish, has, ready, set_room},
        .staging = r->staging};
    lock_init(&r->arrivals.lock);
}

static void arrivals_fini(struct rig_arrivals *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->v[i].key);
    free(r->v);
    pthread_mutex_destroy(&r->lock);
}

size_t rig_landed(struct rig *r)
{
    LOCKED_SCOPE(&r->arrivals.lock);
    return r->arrivals.n;
}

size_t rig_ready(struct rig *r)
{
    LOCKED_SCOPE(&r->arrivals.lock);
    return r->arrivals.ready;
}

static json_int_t first_of(json_t *status, const char *name)
{
    json_t *port = json_array_get(json_object_get(status, name), 0);

    ck_assert_msg(json_integer_value(port) > 0, "no %s in the status", name);
    return json_integer_value(port);
}

char *rig_towards(struct rig *receiver, const char *spec_json)
{
    json_t *status = receiver->a->ops->status(receiver->a);
    const char *mark = strstr(spec_json, "@PORTS@");
    struct text t = {0};

    text_append(&t, spec_json, (size_t)(mark - spec_json));
    text_printf(&t, "\"peer_init_port\": %lld, \"peer_alloc_port\": %lld%s",
                (long long)first_of(status, "init_ports"),
                (long long)first_of(status, "alloc_ports"), mark + strlen("@PORTS@"));
    json_decref(status);
    return text_steal(&t, NULL);
}

/* --- the adapter --- */

static void open_adapter(struct rig *r)
{
    int err = r->spec.ops->open(&r->env, r->spec.config, &r->a);

    ck_assert_msg(!err, "open %s: %s", r->spec.ops->name, strerror(-err));
}

void rig_open(struct rig *r, const char *spec_json)
{
    struct staging_config cfg = {.size = 16 * GIB};
    struct text why = {0};
    json_t *json;
    int err;

    *r = (struct rig){.open_fds = count_entries("/proc/self/fd")};
    open_rigs++;
    r->staging_dir = make_dir("staging");
    r->data_dir = make_dir("data");
    cfg.dir = r->staging_dir;
    ck_assert_int_eq(staging_open(&cfg, &r->staging), 0);
    r->metrics = metrics_create();
    ck_assert_ptr_nonnull(r->metrics);
    json = rig_spec(r, spec_json);
    err = spec_parse(json, &r->spec, &why);
    ck_assert_msg(!err, "%s: %s", spec_json, why.data ? why.data : "?");
    json_decref(json);
    arrivals_init(r);
    r->env = (struct adapter_env){r->staging, r->metrics, r->spec.ops->name, &r->arrivals.base};
    open_adapter(r);
}

static bool is_staging_file(const struct dirent *e)
{
    return strlen(e->d_name) == 16 && strspn(e->d_name, "0123456789abcdef") == 16;
}

static void check_no_staging_files(const struct rig *r)
{
    DIR *d = opendir(r->staging_dir);
    struct dirent *e;

    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)))
        ck_assert_msg(!is_staging_file(e), "staging file %s is left", e->d_name);
    closedir(d);
}

void rig_reopen(struct rig *r)
{
    r->a->ops->close(r->a);
    open_adapter(r);
}

void rig_close(struct rig *r)
{
    size_t open_fds;

    r->a->ops->close(r->a);
    check_no_staging_files(r);
    arrivals_fini(&r->arrivals);
    spec_fini(&r->spec);
    metrics_destroy(r->metrics);
    staging_close(r->staging, false);
    free(r->staging_dir);
    free(r->data_dir);
    if (--open_rigs)
        return;
    open_fds = count_entries("/proc/self/fd");
    ck_assert_msg(open_fds == r->open_fds, "%zu descriptors before, %zu after", r->open_fds,
                  open_fds);
}
