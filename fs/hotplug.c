/* hotplug.c - changes of the set of tiers, each on a thread of its own.
 *
 * Thread model: a struct change belongs to its thread until that sets `ended` and to its caller
 * from then on, if he still waits; else the next change or the end of the instance joins and frees
 * it. `mutex` guards the list and the fields that say so. The mutex is a leaf.
 */
#include "config.h"

#include "clock.h"
#include "hotplug_impl.h"
#include "log.h"
#include "thread.h"
#include "units.h"

#define CHANGES_MAX 8
#define CLOSE_NS (2 * NSEC_PER_SEC) /* beyond that it goes on closing without the caller */
#define MARGIN_NS (30 * NSEC_PER_SEC)
#define STOP_NS (30 * NSEC_PER_SEC)

int hotplug_create(struct l2fs *fs)
{
    struct hotplug *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->fs = fs;
    lock_init(&h->mutex);
    cond_init(&h->changed);
    list_init(&h->changes);
    fs->hotplug = h;
    return 0;
}

/* --- a change --- */

void hotplug_answer(struct change *c, int result)
{
    struct hotplug *h = c->owner;

    LOCKED_SCOPE(&h->mutex);
    c->result = result;
    c->answered = true;
    pthread_cond_broadcast(&h->changed);
}

static void *run_change(void *arg)
{
    struct change *c = arg;
    struct hotplug *h = c->owner;

    pthread_setname_np(pthread_self(), "l2fs-hotplug");
    c->run(c);
    LOCKED_SCOPE(&h->mutex);
    c->ended = true;
    pthread_cond_broadcast(&h->changed);
    return NULL;
}

static void change_free(struct change *c)
{
    json_decref(c->spec);
    text_fini(&c->why);
    free(c);
}

/* Joins what has ended and nobody waits for. */
static void reap(struct hotplug *h)
{
    struct list *l, *tmp, ended;

    list_init(&ended);
    lock(&h->mutex);
    list_for_each_safe(l, tmp, &h->changes)
    {
        struct change *c = list_entry(l, struct change, link);

        if (!c->ended || !c->abandoned)
            continue;
        list_remove(l);
        list_push_back(&ended, l);
        h->count--;
    }
    unlock(&h->mutex);
    while ((l = list_pop_front(&ended))) {
        struct change *c = list_entry(l, struct change, link);

        pthread_join(c->thread, NULL);
        change_free(c);
    }
}

static int launch_locked(struct change *c)
{
    struct hotplug *h = c->owner;
    int err;

    if (h->stopping)
        return -ESHUTDOWN;
    if (h->count >= CHANGES_MAX)
        return -EBUSY;
    err = thread_start(&c->thread, run_change, c);
    if (err)
        return err;
    list_push_back(&h->changes, &c->link);
    h->count++;
    return 0;
}

static int launch(struct change *c, struct text *why)
{
    struct hotplug *h = c->owner;
    int err;

    reap(h);
    list_init(&c->link);
    lock(&h->mutex);
    err = launch_locked(c);
    unlock(&h->mutex);
    if (err == -EBUSY)
        text_printf(why, "%d adapters are being added or removed already", CHANGES_MAX);
    return err;
}

/* Waits until it has ended; from its answer on at most CLOSE_NS. Its result, or -ETIMEDOUT: it goes
 * on, and is freed by who comes later. */
static int await(struct change *c, uint64_t deadline, struct text *why)
{
    struct hotplug *h = c->owner;
    bool answered = false, late = false;
    int err;

    lock(&h->mutex);
    while (!c->ended && !late) {
        if (c->answered && !answered)
            deadline = clock_deadline(CLOSE_NS);
        answered = c->answered;
        late = cond_wait_until(&h->changed, &h->mutex, deadline) && answered == c->answered;
    }
    err = c->answered ? c->result : -ETIMEDOUT;
    if (c->answered && c->why.len)
        text_puts(why, c->why.data);
    c->abandoned = true;
    unlock(&h->mutex);
    reap(h);
    return err;
}

static void run_scan(struct change *c)
{
    scan_run(c->owner->fs);
}

int hotplug_scan(struct l2fs *fs)
{
    struct change *c = calloc(1, sizeof(*c));
    struct text why = {0};
    int err;

    if (!c)
        return -ENOMEM;
    c->owner = fs->hotplug;
    c->run = run_scan;
    c->abandoned = true; /* nobody waits for an answer */
    err = launch(c, &why);
    if (err)
        change_free(c);
    text_fini(&why);
    return err;
}

int hotplug_add(struct l2fs *fs, const char *spec, struct text *why)
{
    struct change *c = calloc(1, sizeof(*c));
    json_error_t error;
    int err = c ? scan_await_all(fs, why) : -ENOMEM;

    if (err) {
        free(c);
        return err;
    }
    c->owner = fs->hotplug;
    c->run = hotplug_run_add;
    c->spec = json_loads(spec, JSON_REJECT_DUPLICATES, &error);
    if (!c->spec) {
        text_printf(why, "not JSON: %s (column %d)", error.text, error.column);
        change_free(c);
        return -EINVAL;
    }
    err = tier_check(c->spec, why);
    if (err) {
        change_free(c);
        return err;
    }
    err = launch(c, why);
    if (err) {
        change_free(c);
        return err;
    }
    err = await(c, clock_deadline(fs->cfg->store_timeout), why);
    if (err == -ETIMEDOUT)
        text_puts(why, "it is not open yet, and joins when it can; see .l2fs/status");
    return err;
}

int hotplug_parse_removal(const char *text, struct hotplug_removal *out)
{
    AUTO_FREE char *copy = strdup(text);
    struct hotplug_removal r = {.timeout = out->timeout};
    char *rest = copy, *word = copy ? strsep(&rest, " ") : NULL;

    if (!word || !*word || strlen(word) >= sizeof(r.name))
        return -EINVAL;
    strcpy(r.name, word);
    while ((word = strsep(&rest, " "))) {
        if (!strcmp(word, "force"))
            r.force = true;
        else if (strncmp(word, "timeout=", 8) || units_parse_duration(word + 8, &r.timeout))
            return -EINVAL;
    }
    *out = r;
    return 0;
}

int hotplug_remove(struct l2fs *fs, const struct hotplug_removal *r, struct text *why)
{
    struct change *c = calloc(1, sizeof(*c));
    int err = c ? scan_await_all(fs, why) : -ENOMEM;

    if (err) {
        free(c);
        return err;
    }
    c->owner = fs->hotplug;
    c->run = hotplug_run_remove;
    c->removal = *r;
    c->deadline = clock_deadline(r->timeout);
    err = hotplug_begin_removal(c);
    if (err) {
        text_puts(why, c->why.data ? c->why.data : strerror(-err));
        change_free(c);
        return err;
    }
    err = launch(c, why);
    if (err) {
        hotplug_take_back(c);
        change_free(c);
        return err;
    }
    return await(c, c->deadline + MARGIN_NS, why);
}

static bool all_ended_locked(struct hotplug *h)
{
    struct list *l;
    bool ended = true;

    list_for_each(l, &h->changes)
    {
        struct change *c = list_entry(l, struct change, link);

        ended &= c->ended;
        c->abandoned = true;
    }
    return ended;
}

void hotplug_stop(struct l2fs *fs)
{
    uint64_t deadline = clock_deadline(STOP_NS);
    struct hotplug *h = fs->hotplug;
    int err = 0;

    if (!h)
        return;
    lock(&h->mutex);
    h->stopping = true;
    pthread_cond_broadcast(&h->changed);
    while (!all_ended_locked(h) && !err)
        err = cond_wait_until(&h->changed, &h->mutex, deadline);
    h->left = err != 0;
    unlock(&h->mutex);
    reap(h);
}

bool hotplug_destroy(struct l2fs *fs)
{
    struct hotplug *h = fs->hotplug;

    if (!h)
        return false;
    if (h->count) {
        log_err("%zu adapters cannot be opened or closed; the end does not wait for them",
                h->count);
        return true;
    }
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->mutex);
    free(h);
    fs->hotplug = NULL;
    return false;
}
