/* health.c - findings and what to do about them. Pure. */
#include "config.h"

#include "health.h"

#include <stdarg.h>
#include <stdio.h>

#include "units.h"

struct saying {
    health_say_fn *say;
    void *arg;
};

static void PRINTF_LIKE(2, 3) tell(const struct saying *s, const char *format, ...)
{
    char sentence[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(sentence, sizeof(sentence), format, ap);
    va_end(ap);
    s->say(s->arg, sentence);
}

static unsigned long long seconds(uint64_t ns)
{
    return ns / NSEC_PER_SEC;
}

/* --- a tier --- */

static void judge_answers(const struct health_tier *t, const struct saying *s)
{
    if (!t->answers)
        tell(s, "%s does not answer; check the device or service below it", t->name);
    else if (!t->well)
        tell(s, "%s says that it does not work%s%s; see .l2fs/adapters/%s/status", t->name,
             t->says ? ": " : "", t->says ? t->says : "", t->name);
}

static void judge_stores(const struct health_tier *t, const struct saying *s)
{
    if (t->stores_stalled)
        tell(s,
             "%s: stalled: %zu stores overdue, the oldest given to it %llu s ago; check the device "
             "below it, or remove the adapter",
             t->name, t->stores_overdue, seconds(t->oldest_store));
    else if (t->stores_lagging)
        tell(s,
             "%s: lagging: it has answered no store for a while, the oldest for %llu s; the "
             "others go on without it",
             t->name, seconds(t->oldest_store));
    else if (t->store_error && t->retrying >= HEALTH_RETRY_NS)
        tell(s,
             "%s: stores fail, for %llu s now, the last with: %s; they stay in memory and are "
             "tried again",
             t->name, seconds(t->retrying), strerror(-t->store_error));
}

static void judge_loads(const struct health_tier *t, const struct saying *s)
{
    if (t->loads_stalled)
        tell(s,
             "%s: lookups and loads miss their deadline; it is passed over, and tried now and "
             "then",
             t->name);
    else if (t->loads_overdue)
        tell(s, "%s: %zu lookups and loads are overdue, since %llu s; check the device below it",
             t->name, t->loads_overdue, seconds(t->loads_late));
}

void health_of_tier(const struct health_tier *t, health_say_fn *say, void *arg)
{
    const struct saying s = {say, arg};
    char size[32];

    judge_answers(t, &s);
    judge_stores(t, &s);
    judge_loads(t, &s);
    if (!t->evicts && t->capacity && t->used >= t->capacity - t->capacity / 50)
        tell(&s,
             "%s is full (%s) and evicts nothing; raise its capacity, remove files, or set "
             "an eviction policy",
             t->name, units_format_size(t->capacity, size, sizeof(size)));
}

/* --- the instance --- */

static void judge_l1(const struct health_instance *i, const struct saying *s)
{
    char used[32], high[32];

    if (i->l1_stuck < HEALTH_L1_NS)
        return;
    tell(s,
         "memory is above its watermark (%s of %s) for %llu s and nothing can leave: %zu objects "
         "are open, %zu pinned, %zu not stored yet, %zu came from peers and are not read yet, %zu "
         "in "
         "use otherwise; %zu requests wait for room; raise -o l1, close, read or unpin files, or "
         "look at the stores",
         units_format_size(i->l1_used, used, sizeof(used)),
         units_format_size(i->l1_high, high, sizeof(high)), seconds(i->l1_stuck), i->open,
         i->pinned, i->unstored, i->unread, i->other, i->space_waiters);
}

void health_of_instance(const struct health_instance *i, health_say_fn *say, void *arg)
{
    const struct saying s = {say, arg};

    if (i->loop_silent >= HEALTH_LOOP_NS)
        tell(&s,
             "the loop thread has been silent for %llu s: nothing is stored or loaded; unmount, "
             "mount again, and report this as a bug",
             seconds(i->loop_silent));
    if (i->no_tiers)
        tell(&s, "every adapter was removed: what leaves memory is lost; add one (user.l2fs."
                 "adapter_add of .l2fs/adapters)");
    if (i->unlisted)
        tell(&s,
             "%s could not be listed at the start (%s): what it holds in directories that were not "
             "reached cannot be opened, and nothing leaves it to make room; see to it and mount "
             "again",
             i->unlisted, strerror(-i->list_error));
    judge_l1(i, &s);
    if (i->given_up)
        tell(&s,
             "%zu %s given up, the first %llu s ago; they are in memory only: mend the adapter, "
             "then setfattr -n user.l2fs.retry -v 1",
             i->given_up, i->given_up == 1 ? "object is" : "objects are", seconds(i->given_up_for));
}
