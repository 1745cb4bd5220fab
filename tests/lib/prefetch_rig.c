/* prefetch_rig.c - see prefetch_rig.h. The test's thread submits; the loop runs on its own. */
#include "prefetch_rig.h"

#include <fcntl.h>
#include <stdio.h>

#define WAIT_NS (30 * NSEC_PER_SEC)

static uint64_t seed_of(const char *key)
{
    return (uint64_t)key[0];
}

/* ---- the owner ---- */

static int on_reserve(struct prefetch_owner *o, struct prefetch_request *r, size_t i, uint64_t size)
{
    struct prefetch_rig *p = container_of(o, struct prefetch_rig, owner);

    ck_assert_uint_eq(size, PRIG_SIZE);
    lock(&p->mutex);
    p->running += i == 0;
    p->most = MAX(p->most, p->running);
    unlock(&p->mutex);
    return p->refused && !strcmp(p->refused, r->keys[i].key) ? -ENOSPC : 0;
}

static void on_key(struct prefetch_owner *o, struct prefetch_request *r, size_t i)
{
    struct prefetch_rig *p = container_of(o, struct prefetch_rig, owner);
    struct wanted *w = container_of(r, struct wanted, r);
    struct prefetch_key *k = &r->keys[i];

    if (!k->error) {
        rig_check_object(&p->base, &k->object, PRIG_SIZE, seed_of(k->key));
        rig_object_drop(&p->base, &k->object);
    }
    lock(&p->mutex);
    ck_assert_int_eq(w->outcome[i], 1); /* once */
    w->outcome[i] = k->error;
    w->order[w->given++] = i;
    pthread_cond_broadcast(&p->cond);
    unlock(&p->mutex);
}

static void on_done(struct prefetch_owner *o, struct prefetch_request *r)
{
    struct prefetch_rig *p = container_of(o, struct prefetch_rig, owner);
    struct wanted *w = container_of(r, struct wanted, r);

    lock(&p->mutex);
    ck_assert(!w->done);
    ck_assert_uint_eq(w->given, r->n);
    p->running -= p->running > 0;
    w->done = true;
    pthread_cond_broadcast(&p->cond);
    unlock(&p->mutex);
}

/* ---- building ---- */

static json_t *spec_of(struct prefetch_rig *p, const char *spec)
{
    const char *mark = strstr(spec, "@RELEASE@");
    struct text t = {0};
    json_t *json;

    if (mark)
        text_printf(&t, "%.*s%s%s", (int)(mark - spec), spec, p->release, mark + 9);
    json = json_loads(mark ? t.data : spec, 0, NULL);
    ck_assert_msg(json != NULL, "%s", spec);
    text_fini(&t);
    return json;
}

void prig_tier(struct prefetch_rig *p, size_t i, const char *spec)
{
    struct adapter_env env = {p->base.staging, p->base.metrics, p->names[i]};
    json_t *json = spec_of(p, spec);
    struct text why = {0};
    int err;

    snprintf(p->names[i], sizeof(p->names[i]), "t%zu", i);
    err = tier_open(&env, json, &p->tiers[i], &why);
    ck_assert_msg(!err, "%s: %s", spec, why.data ? why.data : "?");
    json_decref(json);
}

void prig_open(struct prefetch_rig *p, const char *const *specs, size_t n)
{
    memset(p, 0, sizeof(*p));
    rig_open(&p->base, "{\"type\":\"null\"}");
    snprintf(p->release, sizeof(p->release), "/dev/shm/l2fs-prig-%d", (int)getpid());
    unlink(p->release);
    lock_init(&p->mutex);
    cond_init(&p->cond);
    ck_assert_int_eq(loop_create("test-loop", &p->loop), 0);
    ck_assert_int_eq(mailbox_create(p->loop, &p->mailbox), 0);
    for (size_t i = 0; i < n; i++)
        if (specs[i])
            prig_tier(p, i, specs[i]);
    p->owner = (struct prefetch_owner){.reserve = on_reserve, .key_done = on_key, .done = on_done};
    p->params = (struct prefetch_params){.loop = p->loop,
                                         .mailbox = p->mailbox,
                                         .staging = p->base.staging,
                                         .metrics = p->base.metrics,
                                         .owner = &p->owner,
                                         .tiers = p->tiers,
                                         .max_opens = 64,
                                         .max_requests = 8,
                                         .max_bytes = GIB,
                                         .lookup_timeout = 20 * NSEC_PER_SEC,
                                         .load_timeout = 20 * NSEC_PER_SEC,
                                         .probe_interval = 50 * NSEC_PER_MSEC};
}

static void put_one(struct prefetch_rig *p, size_t i, const char *key)
{
    struct l2_buf buf = rig_buf(&p->base, PRIG_SIZE, seed_of(key));
    uint64_t deadline = clock_deadline(WAIT_NS), count;
    struct l2_store_result r;

    ck_assert_int_gt(tier_submit_store(p->tiers[i], &key, &buf, 1), 0);
    while (tier_pop_stored(p->tiers[i], &r) <= 0)
        ck_assert(clock_now() < deadline);
    ck_assert_int_eq(r.errors[0], 0);
    ck_assert(read(tier_event_fd(p->tiers[i], L2_STORE), &count, sizeof(count)) > 0 ||
              errno == EAGAIN);
    l2_store_result_fini(&r);
    rig_buf_close(&buf);
}

void prig_put(struct prefetch_rig *p, size_t i, const char *keys)
{
    for (; *keys; keys += keys[1] ? 2 : 1) {
        char key[2] = {keys[0], '\0'};

        put_one(p, i, key);
    }
}

void prig_start(struct prefetch_rig *p)
{
    ck_assert_int_eq(prefetch_ctl_create(&p->params, &p->ctl), 0);
    ck_assert_int_eq(loop_start(p->loop), 0);
}

size_t prig_locked(struct prefetch_rig *p)
{
    size_t n = 0;

    for (size_t i = 0; i < TIERS_MAX; i++) {
        struct l2_usage u = {0};

        if (p->tiers[i])
            tier_usage(p->tiers[i], &u);
        n += u.locked;
    }
    return n;
}

void prig_close(struct prefetch_rig *p)
{
    loop_stop(p->loop);
    for (size_t i = 0; i < TIERS_MAX; i++)
        if (p->tiers[i])
            tier_close(p->tiers[i]);
    prefetch_ctl_end(p->ctl);
    prefetch_ctl_destroy(p->ctl);
    mailbox_destroy(p->mailbox);
    loop_destroy(p->loop);
    unlink(p->release);
    rig_close(&p->base);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->mutex);
}

void prig_release(struct prefetch_rig *p)
{
    int fd = open(p->release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* ---- requests ---- */

void prig_want(struct wanted *w, const char *keys, enum plan_mode mode)
{
    memset(w, 0, sizeof(*w));
    prefetch_request_init(&w->r);
    w->r.keys = w->keys;
    w->r.mode = mode;
    for (; *keys; keys += keys[1] ? 2 : 1) {
        size_t i = w->r.n++;

        w->names[i][0] = keys[0];
        w->outcome[i] = 1;
        w->keys[i] =
            (struct prefetch_key){.key = w->names[i], .size = PRIG_SIZE, .tiers = UINT32_MAX};
    }
}

static uint32_t present(const struct prefetch_rig *p)
{
    uint32_t mask = 0;

    for (size_t i = 0; i < TIERS_MAX; i++)
        mask |= p->tiers[i] ? 1u << i : 0;
    return mask;
}

void prig_submit(struct prefetch_rig *p, struct wanted *w)
{
    for (size_t i = 0; i < w->r.n; i++)
        w->keys[i].tiers &= present(p);
    prefetch_ctl_submit(p->ctl, &w->r);
}

void prig_wait(struct prefetch_rig *p, struct wanted *w)
{
    uint64_t deadline = clock_deadline(WAIT_NS);

    lock(&p->mutex);
    while (!w->done)
        ck_assert_msg(!cond_wait_until(&p->cond, &p->mutex, deadline), "a request never ended");
    unlock(&p->mutex);
}

void prig_get(struct prefetch_rig *p, struct wanted *w, const char *keys, enum plan_mode mode)
{
    prig_want(w, keys, mode);
    prig_submit(p, w);
    prig_wait(p, w);
}

void prig_expect(struct prefetch_rig *p, const struct wanted *w, const char *text)
{
    struct text t = {0};

    (void)p;
    for (size_t i = 0; i < w->r.n; i++) {
        text_printf(&t, "%s%s", i ? " " : "", w->keys[i].key);
        if (w->outcome[i])
            text_printf(&t, "-%s", strerrorname_np(-w->outcome[i]));
        else
            text_printf(&t, "%zu", w->keys[i].tier);
    }
    ck_assert_str_eq(t.data, text);
    text_fini(&t);
}

void prig_wait_status(struct prefetch_rig *p, bool (*cond)(const struct prefetch_status *s))
{
    uint64_t deadline = clock_deadline(WAIT_NS);
    struct prefetch_status s;

    for (;;) {
        prefetch_ctl_status(p->ctl, &s);
        if (cond(&s))
            return;
        ck_assert_msg(clock_now() < deadline, "the status never came to what was waited for");
        usleep(1000);
    }
}

struct errand {
    struct letter letter;
    struct prefetch_rig *p;
    void (*fn)(struct prefetch_rig *p);
    bool done; /* p->mutex */
};

static void run_errand(struct letter *l)
{
    struct errand *e = container_of(l, struct errand, letter);

    e->fn(e->p);
    lock(&e->p->mutex);
    e->done = true;
    pthread_cond_broadcast(&e->p->cond);
    unlock(&e->p->mutex);
}

void prig_on_loop(struct prefetch_rig *p, void (*fn)(struct prefetch_rig *p))
{
    struct errand e = {.letter.run = run_errand, .p = p, .fn = fn};
    uint64_t deadline = clock_deadline(WAIT_NS);

    list_init(&e.letter.link);
    mailbox_post(p->mailbox, &e.letter);
    lock(&p->mutex);
    while (!e.done)
        ck_assert(!cond_wait_until(&p->cond, &p->mutex, deadline));
    unlock(&p->mutex);
}
