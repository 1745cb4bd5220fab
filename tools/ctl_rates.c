/* ctl_rates.c - two samples of the counters make one screen of top. Pure functions. */
#include "ctl_rates.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BAR 30

/* What each column counts. A column is left out when the mount has none of it. */
static const struct {
    const char *name, *counter;
} totals[] = {
    {"opens", "l2fs_opens_total"},         {"misses", "l2fs_open_misses_total"},
    {"published", "l2fs_publishes_total"}, {"loaded", "l2fs_loads_total"},
    {"evicted", "l2fs_evictions_total"},   {"discarded", "l2fs_discards_total"},
};

static const struct {
    const char *name, *counter, *op;
} of_tiers[] = {
    {"stores", "l2fs_tier_completed_total", "store"},
    {"store_bytes", "l2fs_tier_bytes_total", "store"},
    {"loads", "l2fs_tier_completed_total", "load"},
    {"load_bytes", "l2fs_tier_bytes_total", "load"},
    {"failed_stores", "l2fs_tier_failed_total", "store"},
    {"failed_loads", "l2fs_tier_failed_total", "load"},
};

void ctl_sample_fini(struct ctl_sample *s)
{
    free(s->metrics);
    json_decref(s->status);
    *s = (struct ctl_sample){0};
}

/* Of one counter; rounded so that small rates are still seen. */
static json_t *rate_json(double rate)
{
    return rate < 10 ? json_real((double)(int64_t)(rate * 10 + 0.5) / 10)
                     : json_integer((json_int_t)(rate + 0.5));
}

static double delta(const struct ctl_sample *before, const struct ctl_sample *now, const char *name)
{
    double a = MAX(ctl_sample(before->metrics, name), 0.0), b = ctl_sample(now->metrics, name);

    return b > a ? b - a : 0;
}

static json_t *all_rates(const struct ctl_sample *before, const struct ctl_sample *now,
                         double seconds)
{
    json_t *rates = json_pack("{s:s}", "name", "per second");
    json_t *sums = json_pack("{s:s}", "name", "since the mount");

    for (size_t i = 0; i < ARRAY_SIZE(totals); i++) {
        double total = ctl_sample(now->metrics, totals[i].counter);

        if (total < 0)
            continue;
        json_object_set_new(rates, totals[i].name,
                            rate_json(ctl_rate(0, delta(before, now, totals[i].counter), seconds)));
        json_object_set_new(sums, totals[i].name, json_integer((json_int_t)total));
    }
    return json_pack("[o,o]", rates, sums);
}

static void counter_name(char *buf, size_t len, size_t column, const char *tier)
{
    const char *op = of_tiers[column].op;

    snprintf(buf, len, "%s{adapter=\"%s\",op=\"%s\"}", of_tiers[column].counter, tier, op);
}

static json_t *tier_rates(const struct ctl_sample *before, const struct ctl_sample *now,
                          json_t *tier, double seconds)
{
    const char *name = json_string_value(json_object_get(tier, "name"));
    json_t *row = json_object(), *summary = ctl_tier_row(tier), *v;
    static const char *const kept[] = {"used", "full", "health"};
    char counter[256];

    json_object_set(row, "name", json_object_get(tier, "name"));
    for (size_t i = 0; name && i < ARRAY_SIZE(of_tiers); i++) {
        double rate;

        counter_name(counter, sizeof(counter), i, name);
        rate = ctl_rate(0, delta(before, now, counter), seconds);
        json_object_set_new(row, of_tiers[i].name,
                            strstr(of_tiers[i].name, "bytes") ? json_integer((json_int_t)rate)
                                                              : rate_json(rate));
    }
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        v = json_object_get(summary, kept[i]);
        if (v)
            json_object_set(row, kept[i], v);
    }
    json_decref(summary);
    return row;
}

/* Of the opens of the interval, those that found their object in memory. */
static void set_hits(const struct ctl_sample *before, const struct ctl_sample *now, json_t *rates)
{
    double opens = delta(before, now, "l2fs_opens_total");
    double misses = delta(before, now, "l2fs_open_misses_total");

    if (opens > 0)
        json_object_set_new(
            rates, "hit_percent",
            json_real((double)(int64_t)(1000 * MAX(opens - misses, 0) / opens) / 10));
}

json_t *ctl_rates(const struct ctl_sample *before, const struct ctl_sample *now)
{
    double uptime = json_number_value(json_object_get(now->status, "uptime_s"));
    double seconds =
        before->metrics ? (double)(now->at - before->at) / NSEC_PER_SEC : MAX(uptime, 1.0);
    json_t *rates = json_object(), *tiers = json_array(), *tier;
    size_t i;

    json_object_set_new(rates, "seconds", json_real(seconds));
    json_object_set_new(rates, "rates", all_rates(before, now, seconds));
    set_hits(before, now, rates);
    json_array_foreach(json_object_get(now->status, "tiers"), i, tier)
    {
        json_array_append_new(tiers, tier_rates(before, now, tier, seconds));
    }
    json_object_set_new(rates, "tiers", tiers);
    return rates;
}

/* --- the screen --- */

static void put_memory(FILE *out, json_t *status)
{
    json_t *l1 = json_deep_copy(json_object_get(status, "l1"));
    double capacity = json_number_value(json_object_get(l1, "capacity"));
    double used = json_number_value(json_object_get(l1, "used"));
    double mark = json_number_value(json_object_get(l1, "watermark"));
    char bar[BAR + 3];

    fprintf(out, "memory %s ",
            ctl_bar(capacity > 0 ? used / capacity : 0, mark, BAR, bar, sizeof(bar)));
    ctl_fill(out, "{used} of {capacity}|, {residents} objects|, {promised} promised", l1);
    fputc('\n', out);
    json_decref(l1);
}

/* Stores and loads under way. */
static void put_work(FILE *out, json_t *status)
{
    static const char *const parts[][2] = {
        {"objects", "{files} files|, {unstored} not stored yet"},
        {"store",
         "; stores: {queued} queued|, {in_flight} under way|, {retrying} to be tried again"},
        {"load", "; loads: {active} under way"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        json_t *copy = json_deep_copy(json_object_get(status, parts[i][0]));

        if (copy)
            ctl_fill(out, parts[i][1], copy);
        json_decref(copy);
    }
    fputc('\n', out);
}

void ctl_show_rates(FILE *out, const char *mount, const struct ctl_sample *now, json_t *rates)
{
    bool healthy = json_is_true(json_object_get(now->status, "is_healthy"));
    json_t *status = json_copy(now->status), *hits = json_object_get(rates, "hit_percent");
    json_t *tiers = json_object_get(rates, "tiers");
    char clock[16];
    time_t t = time(NULL);
    struct tm tm;

    strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&t, &tm));
    fprintf(out, "%s  %s  %s", clock, mount, healthy ? "healthy" : "NOT HEALTHY");
    ctl_fill(out, "|, {mode}|, up {uptime_s}|\n", status);
    put_memory(out, status);
    put_work(out, status);
    fputs("\n", out);
    ctl_show_table(out, json_object_get(rates, "rates"));
    if (hits)
        fprintf(out, "%.1f%% of the opens found their object in memory\n", json_number_value(hits));
    if (json_array_size(tiers)) {
        fputs("\ntiers, per second\n", out);
        ctl_show_table(out, tiers);
    }
    json_decref(status);
}
