/* prefetch_task.c - the tasks that tiers were given: started, collected, or given up at their
 * deadline and collected later all the same, since a tier may go on writing until it answers. Keys
 * are copied, so a task outlives its request. Loop thread only.
 */
#include "config.h"

#include <sys/epoll.h>

#include "clock.h"
#include "job.h"
#include "log.h"
#include "prefetch_impl.h"

#define STALLED_AFTER 4  /* deadlines missed in a row */
#define OVERDUE_MAX 256  /* tasks a tier may owe before it is passed over */
#define CRAWL (32 * MIB) /* bytes per second that no tier is expected to be below */

struct prefetch_task {
    struct list link;
    struct prefetch_request *request; /* NULL: nobody waits for it */
    l2_task id;
    uint64_t deadline;
    size_t n;
    char **keys; /* one block */
    size_t *index;
    uint64_t *sizes;           /* lookup */
    struct l2_object *objects; /* load */
    struct l2_landed *landed;  /* load */
    int *errors;               /* load */
};

static void task_free(struct prefetch_task *t)
{
    if (!t)
        return;
    list_remove(&t->link);
    free(t->keys);
    free(t->index);
    free(t->sizes);
    free(t->objects);
    free(t->landed);
    free(t->errors);
    free(t);
}

static struct prefetch_task *task_create(const struct prefetch_request *r, enum l2_family family,
                                         const size_t *index, size_t n)
{
    struct prefetch_task *t = calloc(1, sizeof(*t));
    const char **keys = calloc(n, sizeof(*keys));

    if (!t || !keys) {
        free(t);
        free(keys);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        keys[i] = r->keys[index[i]].key;
    list_init(&t->link);
    t->n = n;
    t->keys = job_copy_keys(keys, n);
    t->index = malloc(n * sizeof(*index));
    t->sizes = family == L2_LOOKUP ? calloc(n, sizeof(*t->sizes)) : NULL;
    t->objects = family == L2_LOAD ? calloc(n, sizeof(*t->objects)) : NULL;
    t->landed = family == L2_LOAD ? calloc(n, sizeof(*t->landed)) : NULL;
    t->errors = family == L2_LOAD ? calloc(n, sizeof(*t->errors)) : NULL;
    free(keys);
    if (t->keys && t->index &&
        (family == L2_LOOKUP ? !!t->sizes : t->objects && t->landed && t->errors)) {
        memcpy(t->index, index, n * sizeof(*index));
        return t;
    }
    task_free(t);
    return NULL;
}

/* ---- tiers ---- */

static bool is_stalled(const struct prefetch_ctl *c, size_t tier)
{
    return c->stalled & (1u << tier);
}

/* After every answer and every missed deadline. */
static void judge(struct prefetch_ctl *c, size_t tier)
{
    struct prefetch_tier *t = &c->tiers[tier];
    bool was = is_stalled(c, tier);
    bool is = t->misses >= STALLED_AFTER || c->overdue[tier] >= OVERDUE_MAX;

    if (was == is)
        return;
    lock(&c->mutex);
    c->stalled ^= 1u << tier;
    unlock(&c->mutex);
    t->probe_at = clock_deadline(c->p.probe_interval);
    if (is)
        log_err(
            "%s: %zu loads and lookups are past their deadline; the tier is passed over, with a "
            "try every %u s (look at its disk or peer, and at load_timeout)",
            tier_name(c->p.tiers[tier]), c->overdue[tier],
            (unsigned)(c->p.probe_interval / NSEC_PER_SEC));
    else
        log_info("%s: answers again, it is used as before", tier_name(c->p.tiers[tier]));
}

static void count_overdue(struct prefetch_ctl *c, size_t tier, int n)
{
    LOCKED_SCOPE(&c->mutex);
    c->overdue[tier] += (size_t)n;
}

bool prefetch_tier_usable(struct prefetch_ctl *c, size_t tier)
{
    struct prefetch_tier *t = &c->tiers[tier];
    uint64_t now;

    if (!t->active || !is_stalled(c, tier))
        return t->active;
    now = clock_now();
    if (now < t->probe_at)
        return false;
    t->probe_at = clock_deadline(c->p.probe_interval);
    return true;
}

/* ---- starting ---- */

static struct prefetch_source *source_of(struct prefetch_ctl *c, size_t tier, enum l2_family family)
{
    struct prefetch_tier *t = &c->tiers[tier];

    return family == L2_LOAD ? &t->loads : &t->lookups;
}

static void arm(struct prefetch_ctl *c, uint64_t deadline)
{
    if (!c->timer.heap_index || deadline < c->timer.deadline)
        loop_timer_arm(c->p.loop, &c->timer, deadline);
}

static uint64_t task_timeout(const struct prefetch_ctl *c, const struct prefetch_task *t,
                             enum l2_family family)
{
    uint64_t bytes = 0;

    if (family == L2_LOOKUP)
        return c->p.lookup_timeout;
    for (size_t i = 0; i < t->n; i++)
        bytes += t->request->keys[t->index[i]].size;
    return c->p.load_timeout + bytes / CRAWL * NSEC_PER_SEC;
}

/* The first time it asks to be told. */
static void tell_landed(struct prefetch_ctl *c, size_t tier, struct prefetch_task *t)
{
    struct prefetch_request *r = t->request;

    if (!r || !r->stream || tier_query_landed(c->p.tiers[tier], t->id, t->landed))
        return;
    for (size_t i = 0; i < t->n; i++)
        prefetch_landed(c, r, t->index[i], &t->landed[i]);
}

int prefetch_task_start(struct prefetch_ctl *c, struct prefetch_request *r, size_t tier,
                        enum l2_family family, const size_t *index, size_t n)
{
    struct prefetch_task *t = task_create(r, family, index, n);
    struct tier *to = c->p.tiers[tier];

    if (!t)
        return -ENOMEM;
    t->request = r;
    t->id = family == L2_LOAD ? tier_submit_load(to, (const char *const *)t->keys, n)
                              : tier_submit_lookup_and_lock(to, (const char *const *)t->keys, n);
    if (t->id < 0) {
        int err = (int)t->id;

        task_free(t);
        return err;
    }
    t->deadline = clock_deadline(task_timeout(c, t, family));
    if (family == L2_LOAD) {
        tier_locks_until(to, (const char *const *)t->keys, n, t->deadline);
        tell_landed(c, tier, t);
    }
    list_push_back(&source_of(c, tier, family)->flying, &t->link);
    r->tasks++;
    arm(c, t->deadline);
    return 0;
}

/* ---- answers ---- */

void prefetch_object_drop(struct prefetch_ctl *c, struct l2_object *o)
{
    staging_drop(c->p.staging, o->staging_id);
    l2_object_fini(o);
}

/* To whoever waits, or given back. */
static void hand_out_key(struct prefetch_source *s, struct prefetch_task *t, size_t i, int error)
{
    struct prefetch_ctl *c = s->ctl;
    const char *key = t->keys[i];

    if (t->request && t->objects)
        prefetch_loaded(c, t->request, t->index[i], s->tier, error, error ? NULL : &t->objects[i]);
    else if (t->request)
        prefetch_looked_up(t->request, t->index[i], s->tier, error, t->sizes[i]);
    else if (!error && t->objects)
        prefetch_object_drop(c, &t->objects[i]);
    else if (!error)
        tier_submit_unlock(c->p.tiers[s->tier], &key, 1);
}

/* The end of a task as far as its request is concerned; err: of all keys. */
static void hand_out(struct prefetch_source *s, struct prefetch_task *t, int err,
                     const struct bitmap *bits)
{
    struct prefetch_request *r = t->request;

    for (size_t i = 0; i < t->n; i++) {
        int error = err;

        if (!err && !bitmap_test(bits, i))
            error = t->errors && t->errors[i] ? t->errors[i] : -ENOENT;
        if (error == -ENOENT && t->sizes && t->sizes[i] == L2_LOOKUP_FAILED)
            error = -EIO;
        hand_out_key(s, t, i, error);
    }
    t->request = NULL;
    if (r) {
        r->tasks--;
        prefetch_ended(s->ctl, r);
    }
}

/* True: it was answered, and is gone. */
static bool collect(struct prefetch_source *s, struct prefetch_task *t)
{
    struct tier *tier = s->ctl->p.tiers[s->tier];
    struct bitmap *bits = NULL;
    int err = t->objects ? tier_query_load(tier, t->id, &bits, t->objects, t->errors)
                         : tier_query_lookup(tier, t->id, &bits, t->sizes);

    if (err == -EAGAIN && t->objects)
        tell_landed(s->ctl, s->tier, t);
    if (err == -EAGAIN)
        return false;
    list_remove(&t->link);
    hand_out(s, t, err, bits);
    bitmap_destroy(bits);
    task_free(t);
    return true;
}

static void collect_late(struct prefetch_source *s)
{
    struct prefetch_tier *t = &s->ctl->tiers[s->tier];
    struct list *l, *tmp;

    list_for_each_safe(l, tmp, &s->overdue)
    {
        if (collect(s, list_entry(l, struct prefetch_task, link)))
            count_overdue(s->ctl, s->tier, -1);
    }
    if (list_empty(&t->lookups.overdue) && list_empty(&t->loads.overdue))
        t->misses = 0;
}

static void on_event(struct loop_fd *f, uint32_t events)
{
    struct prefetch_source *s = container_of(f, struct prefetch_source, fd);
    struct prefetch_ctl *c = s->ctl;
    struct list *l, *tmp;
    uint64_t count;

    (void)events;
    if (read(f->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_warn("tier %s: load event: %s", tier_name(c->p.tiers[s->tier]), strerror(errno));
    collect_late(s);
    list_for_each_safe(l, tmp, &s->flying) /* an answer only appends to it */
    {
        if (collect(s, list_entry(l, struct prefetch_task, link)))
            c->tiers[s->tier].misses = 0;
    }
    judge(c, s->tier);
    prefetch_pump(c);
}

/* ---- deadlines ---- */

static void miss(struct prefetch_source *s, struct prefetch_task *t)
{
    struct prefetch_ctl *c = s->ctl;

    list_remove(&t->link);
    list_push_back(&s->overdue, &t->link);
    metric_add(c->timeouts_total, 1);
    count_overdue(c, s->tier, 1);
    c->tiers[s->tier].misses++;
    judge(c, s->tier);
    hand_out(s, t, -ETIMEDOUT, NULL);
}

static void expire(struct prefetch_source *s, uint64_t now, uint64_t *next)
{
    struct list *l, *tmp;

    list_for_each_safe(l, tmp, &s->flying)
    {
        struct prefetch_task *t = list_entry(l, struct prefetch_task, link);

        if (t->deadline <= now)
            miss(s, t);
        else
            *next = MIN(*next, t->deadline);
    }
}

void prefetch_timer_expired(struct loop_timer *timer)
{
    struct prefetch_ctl *c = container_of(timer, struct prefetch_ctl, timer);
    uint64_t now = clock_now(), next = UINT64_MAX;

    for (size_t i = 0; i < TIERS_MAX; i++) {
        if (!c->tiers[i].watched)
            continue;
        expire(&c->tiers[i].lookups, now, &next);
        expire(&c->tiers[i].loads, now, &next);
    }
    if (next != UINT64_MAX)
        arm(c, next);
    prefetch_pump(c);
}

/* ---- ends ---- */

static void orphan(struct list *flying, const struct prefetch_request *r)
{
    struct list *l;

    list_for_each(l, flying)
    {
        struct prefetch_task *t = list_entry(l, struct prefetch_task, link);

        if (t->request == r)
            t->request = NULL;
    }
}

void prefetch_tasks_orphan(struct prefetch_ctl *c, const struct prefetch_request *r)
{
    for (size_t i = 0; i < TIERS_MAX; i++) {
        if (!c->tiers[i].watched)
            continue;
        orphan(&c->tiers[i].lookups.flying, r);
        orphan(&c->tiers[i].loads.flying, r);
    }
}

static void source_init(struct prefetch_ctl *c, size_t tier, enum l2_family family)
{
    struct prefetch_source *s = source_of(c, tier, family);

    *s = (struct prefetch_source){
        .fd = {tier_event_fd(c->p.tiers[tier], family), on_event}, .ctl = c, .tier = tier};
    list_init(&s->flying);
    list_init(&s->overdue);
}

int prefetch_ctl_add_tier(struct prefetch_ctl *c, size_t i)
{
    struct prefetch_tier *t = &c->tiers[i];
    int err;

    *t = (struct prefetch_tier){0};
    source_init(c, i, L2_LOOKUP);
    source_init(c, i, L2_LOAD);
    err = loop_add(c->p.loop, &t->lookups.fd, EPOLLIN);
    if (err)
        return err;
    err = loop_add(c->p.loop, &t->loads.fd, EPOLLIN);
    if (err)
        loop_remove(c->p.loop, &t->lookups.fd);
    t->watched = t->active = !err;
    return err;
}

void prefetch_ctl_drop_tier(struct prefetch_ctl *c, size_t i)
{
    c->tiers[i].active = false;
}

bool prefetch_ctl_tier_busy(struct prefetch_ctl *c, size_t i)
{
    const struct prefetch_tier *t = &c->tiers[i];

    return t->watched && !(list_empty(&t->lookups.flying) && list_empty(&t->loads.flying) &&
                           list_empty(&t->lookups.overdue) && list_empty(&t->loads.overdue));
}

static void free_list(struct list *head)
{
    while (!list_empty(head))
        task_free(list_entry(head->next, struct prefetch_task, link));
}

static void fail_tasks(struct prefetch_source *s)
{
    free_list(&s->overdue);
    while (!list_empty(&s->flying)) {
        struct prefetch_task *t = list_entry(s->flying.next, struct prefetch_task, link);

        list_remove(&t->link);
        hand_out(s, t, -ESHUTDOWN, NULL);
        task_free(t);
    }
}

static void forget_locks(struct prefetch_ctl *c, size_t tier)
{
    struct list *l;

    list_for_each(l, &c->running)
    {
        struct prefetch_request *r = list_entry(l, struct prefetch_request, link);

        for (size_t i = 0; i < r->n; i++) {
            r->keys[i].locked &= ~(1u << tier);
            r->keys[i].left &= ~(1u << tier);
        }
    }
}

void prefetch_ctl_forget_tier(struct prefetch_ctl *c, size_t i)
{
    struct prefetch_tier *t = &c->tiers[i];

    if (!t->watched)
        return;
    t->active = false;
    loop_remove(c->p.loop, &t->lookups.fd);
    loop_remove(c->p.loop, &t->loads.fd);
    forget_locks(c, i);
    fail_tasks(&t->lookups);
    fail_tasks(&t->loads);
    t->watched = false;
    lock(&c->mutex);
    c->overdue[i] = 0;
    c->stalled &= ~(1u << i);
    unlock(&c->mutex);
    prefetch_pump(c);
}

void prefetch_tasks_free(struct prefetch_ctl *c)
{
    for (size_t i = 0; i < TIERS_MAX; i++) {
        struct prefetch_tier *t = &c->tiers[i];

        if (!t->watched)
            continue;
        free_list(&t->lookups.flying);
        free_list(&t->lookups.overdue);
        free_list(&t->loads.flying);
        free_list(&t->loads.overdue);
    }
}
