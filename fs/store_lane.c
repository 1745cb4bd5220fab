/* store_lane.c - see store_lane.h. Tasks of one lane have nearly the same time to run, so both lists
 * are kept in order of submission and looked at from the front.
 */
#include "config.h"

#include "clock.h"
#include "store_lane.h"

#define LAG_NS (10 * NSEC_PER_SEC)
#define SLOWEST (16 * MIB) /* bytes per second that a tier is given time for */
#define LATE_MAX 64        /* tasks that may be overdue at all */
#define PROBE_MIN (500 * NSEC_PER_MSEC)
#define PROBE_MAX (30 * NSEC_PER_SEC)

void lane_init(struct lane *l, struct store_ctl *ctl, size_t index)
{
    l->ctl = ctl;
    l->index = index;
    list_init(&l->tasks);
    list_init(&l->late);
    lock_init(&l->mutex);
}

void lane_fini(struct lane *l)
{
    pthread_mutex_destroy(&l->mutex);
}

void lane_open(struct lane *l, struct tier *tier)
{
    l->tier = tier;
    l->strikes = 0;
    l->probe_at = 0;
    l->probe_pause = PROBE_MIN;
    l->last_error = 0;
}

static bool stalled(const struct lane *l, const struct lane_limits *m)
{
    return l->strikes >= STALL_TASKS || l->nlate >= LATE_MAX || l->late_bytes >= m->max_bytes;
}

static bool full(const struct lane *l, const struct lane_limits *m)
{
    return l->ntasks >= m->max_tasks || l->bytes >= m->max_bytes;
}

enum lane_way lane_way(const struct lane *l, const struct lane_limits *m, uint64_t now)
{
    if (stalled(l, m))
        return l->nlate < LATE_MAX && now >= l->probe_at ? LANE_PROBE : LANE_STALLED;
    if (!full(l, m))
        return LANE_OPEN;
    return now - l->answered > MIN(LAG_NS, m->timeout / 2) ? LANE_LAGS : LANE_FULL;
}

struct store_task *lane_task_create(size_t max)
{
    struct store_task *t = calloc(1, sizeof(*t) + max * sizeof(t->items[0]));

    if (t)
        list_init(&t->link);
    return t;
}

void lane_add(struct lane *l, struct store_task *t, const struct lane_limits *m, uint64_t now)
{
    if (stalled(l, m)) {
        l->probe_at = now + l->probe_pause;
        l->probe_pause = MIN(l->probe_pause * 2, PROBE_MAX);
    }
    if (!l->ntasks)
        l->answered = now;
    l->bytes += t->bytes;
    l->ntasks++;
    t->submitted = now;
    t->deadline = now + m->timeout + l->bytes / SLOWEST * NSEC_PER_SEC;
    list_push_back(&l->tasks, &t->link);
}

static struct store_task *find(struct list *tasks, l2_task id)
{
    struct list *l;

    list_for_each(l, tasks)
    {
        if (list_entry(l, struct store_task, link)->id == id)
            return list_entry(l, struct store_task, link);
    }
    return NULL;
}

static void in_time(struct lane *l, struct store_task *t)
{
    l->ntasks--;
    l->bytes -= t->bytes;
    l->strikes = 0;
    l->probe_pause = PROBE_MIN;
    l->probe_at = 0;
}

struct store_task *lane_take(struct lane *l, l2_task id, bool *late)
{
    struct store_task *t = find(&l->tasks, id);

    *late = !t;
    l->answered = clock_now();
    if (t) {
        in_time(l, t);
    } else {
        t = find(&l->late, id);
        if (!t)
            return NULL;
        l->nlate--;
        l->late_bytes -= t->bytes;
        l->strikes = MIN(l->strikes, (unsigned)l->nlate);
    }
    list_remove(&t->link);
    return t;
}

struct store_task *lane_overdue(struct lane *l, uint64_t now)
{
    struct store_task *t;

    if (list_empty(&l->tasks))
        return NULL;
    t = list_entry(l->tasks.next, struct store_task, link);
    if (t->deadline > now)
        return NULL;
    list_remove(&t->link);
    l->ntasks--;
    l->bytes -= t->bytes;
    list_push_back(&l->late, &t->link);
    l->nlate++;
    l->late_bytes += t->bytes;
    l->strikes++;
    return t;
}

void lane_note_error(struct lane *l, int error)
{
    l->last_error = error;
}

static uint64_t oldest(const struct lane *l)
{
    const struct list *first = !list_empty(&l->late) ? l->late.next : l->tasks.next;

    if (list_empty(&l->late) && list_empty(&l->tasks))
        return 0;
    return list_entry(first, struct store_task, link)->submitted;
}

void lane_show(struct lane *l, const struct lane_limits *m)
{
    enum lane_way way = lane_way(l, m, clock_now());

    LOCKED_SCOPE(&l->mutex);
    l->shown = (struct store_tier_status){.in_flight = l->ntasks,
                                          .overdue = l->nlate,
                                          .bytes = l->bytes + l->late_bytes,
                                          .oldest = oldest(l),
                                          .lagging = way == LANE_LAGS,
                                          .stalled = way == LANE_PROBE || way == LANE_STALLED,
                                          .last_error = l->last_error};
}

void lane_status(struct lane *l, struct store_tier_status *out)
{
    LOCKED_SCOPE(&l->mutex);
    *out = l->shown;
}
