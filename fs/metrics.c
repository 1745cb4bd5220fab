/* metrics.c - families of metrics, printed in order of registration.
 *
 * Thread model: the lock guards the family and metric lists; a metric's numbers are relaxed atomics
 * and are never torn, but a histogram printed during an update may show a sum one observation
 * ahead of its count. A metric pointer stays good until metrics_destroy or
 * metrics_forget.
 */
#include "metrics.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "list.h"
#include "lock.h"

#define HISTOGRAM_BOUNDS 11 /* 100 us * 4^k: 0.0001 ... 104.8576 s */
#define FIRST_BOUND_NS UINT64_C(100000)

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    struct list link; /* struct family.metrics */
    enum metric_type type;
    char *labels;
    _Atomic int64_t value;
    _Atomic uint64_t sum_ns;
    _Atomic int64_t buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last is +Inf */
};

struct family {
    struct list link; /* struct metrics.families */
    enum metric_type type;
    char *name; /* without _total */
    char *help;
    struct list metrics;
};

struct metrics {
    pthread_mutex_t lock;
    struct list families; /* guarded by lock */
    struct metric spare;  /* handed out when there is no memory; never printed */
};

static const char *const type_names[] = {"counter", "gauge", "histogram"};

struct metrics *metrics_create(void)
{
    struct metrics *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    lock_init(&m->lock);
    list_init(&m->families);
    return m;
}

static void metric_free(struct metric *metric)
{
    free(metric->labels);
    free(metric);
}

static void family_free(struct family *f)
{
    struct list *node;

    while ((node = list_pop_front(&f->metrics)))
        metric_free(list_entry(node, struct metric, link));
    free(f->name);
    free(f->help);
    free(f);
}

void metrics_destroy(struct metrics *m)
{
    struct list *node;

    if (!m)
        return;
    while ((node = list_pop_front(&m->families)))
        family_free(list_entry(node, struct family, link));
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* Length of a family name: a counter may be registered with or without _total. */
static size_t family_name_length(const char *name, enum metric_type type)
{
    static const char total[] = "_total";
    size_t len = strlen(name), suffix = sizeof total - 1;

    if (type == METRIC_COUNTER && len > suffix && !strcmp(name + len - suffix, total))
        len -= suffix;
    return len;
}

static struct family *find_family(struct metrics *m, const char *name, size_t len)
{
    struct list *node;

    list_for_each(node, &m->families)
    {
        struct family *f = list_entry(node, struct family, link);

        if (strlen(f->name) == len && !memcmp(f->name, name, len))
            return f;
    }
    return NULL;
}

static struct family *add_family(struct metrics *m, const char *name, size_t len, const char *help)
{
    struct family *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    list_init(&f->metrics);
    f->name = strndup(name, len);
    f->help = strdup(help);
    if (!f->name || !f->help) {
        family_free(f);
        return NULL;
    }
    list_push_back(&m->families, &f->link);
    return f;
}

static struct metric *find_metric(struct family *f, const char *labels)
{
    struct list *node;

    list_for_each(node, &f->metrics)
    {
        struct metric *metric = list_entry(node, struct metric, link);

        if (!strcmp(metric->labels, labels))
            return metric;
    }
    return NULL;
}

static struct metric *add_metric(struct family *f, const char *labels)
{
    struct metric *metric = calloc(1, sizeof *metric);

    if (!metric)
        return NULL;
    metric->type = f->type;
    metric->labels = strdup(labels);
    if (!metric->labels) {
        free(metric);
        return NULL;
    }
    list_push_back(&f->metrics, &metric->link);
    return metric;
}

static struct metric *obtain(struct metrics *m, enum metric_type type, const char *name,
                             const char *help, const char *labels)
{
    size_t len = family_name_length(name, type);
    struct metric *metric;
    struct family *f;
    LOCKED_SCOPE(&m->lock);

    f = find_family(m, name, len);
    if (!f) {
        f = add_family(m, name, len, help);
        if (!f)
            return &m->spare;
        f->type = type;
    }
    if (f->type != type)
        return &m->spare; /* one name, two types: cannot be printed */
    metric = find_metric(f, labels);
    if (!metric)
        metric = add_metric(f, labels);
    return metric ? metric : &m->spare;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *help,
                               const char *labels)
{
    return obtain(m, METRIC_COUNTER, name, help, labels);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help,
                             const char *labels)
{
    return obtain(m, METRIC_GAUGE, name, help, labels);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const char *labels)
{
    return obtain(m, METRIC_HISTOGRAM, name, help, labels);
}

static bool has_label(const struct metric *metric, const char *label, size_t len)
{
    return !strncmp(metric->labels, label, len) &&
           (metric->labels[len] == '\0' || metric->labels[len] == ',');
}

void metrics_forget(struct metrics *m, const char *label)
{
    size_t len = strlen(label);
    struct list *f, *l, *tmp;

    LOCKED_SCOPE(&m->lock);
    list_for_each(f, &m->families)
    {
        list_for_each_safe(l, tmp, &list_entry(f, struct family, link)->metrics)
        {
            struct metric *metric = list_entry(l, struct metric, link);

            if (!has_label(metric, label, len))
                continue;
            list_remove(l);
            metric_free(metric);
        }
    }
}

void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

static uint64_t bound_ns(size_t k)
{
    return FIRST_BOUND_NS << (2 * k);
}

void metric_observe_ns(struct metric *m, uint64_t ns)
{
    size_t k = 0;

    while (k < HISTOGRAM_BOUNDS && ns > bound_ns(k))
        k++;
    atomic_fetch_add_explicit(&m->sum_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->buckets[k], 1, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
    int64_t n = 0;

    if (m->type != METRIC_HISTOGRAM)
        return atomic_load_explicit(&m->value, memory_order_relaxed);
    for (size_t k = 0; k <= HISTOGRAM_BOUNDS; k++)
        n += atomic_load_explicit(&m->buckets[k], memory_order_relaxed);
    return n;
}

/* `s` with backslash, newline and quote escaped, as label values and help texts want it. */
static void put_escaped(struct text *t, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            text_puts(t, "\\n");
        else if (*s == '\\' || *s == '"')
            text_printf(t, "\\%c", *s);
        else
            text_append(t, s, 1);
    }
}

void metrics_label(struct text *t, const char *name, const char *value)
{
    text_printf(t, "%s%s=\"", t->len ? "," : "", name);
    put_escaped(t, value);
    text_puts(t, "\"");
}

static void print_value(const struct family *f, const struct metric *metric, struct text *out)
{
    text_printf(out, "%s%s", f->name, f->type == METRIC_COUNTER ? "_total" : "");
    if (*metric->labels)
        text_printf(out, "{%s}", metric->labels);
    text_printf(out, " %" PRId64 "\n", metric_value(metric));
}

/* The head of a _sum or _count line. */
static void print_part(const struct family *f, const struct metric *metric, const char *part,
                       struct text *out)
{
    text_printf(out, "%s_%s", f->name, part);
    if (*metric->labels)
        text_printf(out, "{%s}", metric->labels);
}

static void print_histogram(const struct family *f, const struct metric *metric, struct text *out)
{
    uint64_t sum = atomic_load_explicit(&metric->sum_ns, memory_order_relaxed);
    int64_t count = 0;

    for (size_t k = 0; k <= HISTOGRAM_BOUNDS; k++) {
        count += atomic_load_explicit(&metric->buckets[k], memory_order_relaxed);
        text_printf(out, "%s_bucket{%s%sle=\"", f->name, metric->labels,
                    *metric->labels ? "," : "");
        if (k < HISTOGRAM_BOUNDS)
            text_printf(out, "%.4f", (double)bound_ns(k) / 1e9);
        else
            text_puts(out, "+Inf");
        text_printf(out, "\"} %" PRId64 "\n", count);
    }
    print_part(f, metric, "sum", out);
    text_printf(out, " %" PRIu64 ".%09" PRIu64 "\n", sum / NSEC_PER_SEC, sum % NSEC_PER_SEC);
    print_part(f, metric, "count", out);
    text_printf(out, " %" PRId64 "\n", count);
}

static void print_family(const struct family *f, struct text *out)
{
    struct list *node;

    text_printf(out, "# TYPE %s %s\n# HELP %s ", f->name, type_names[f->type], f->name);
    put_escaped(out, f->help);
    text_puts(out, "\n");
    list_for_each(node, &f->metrics)
    {
        struct metric *metric = list_entry(node, struct metric, link);

        if (f->type == METRIC_HISTOGRAM)
            print_histogram(f, metric, out);
        else
            print_value(f, metric, out);
    }
}

void metrics_print(struct metrics *m, struct text *out)
{
    struct list *node;
    LOCKED_SCOPE(&m->lock);

    list_for_each(node, &m->families) print_family(list_entry(node, struct family, link), out);
    text_puts(out, "# EOF\n");
}
