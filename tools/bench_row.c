/* bench_row.c - taking pairs of measurements, and what is made of them: medians of both sides, the
 * median of the ratios of each pair, the range of the middle half of the ratios.
 *
 * A noisy machine slows both halves of a pair, so the ratio of a pair moves less than either time.
 */
#include "bench.h"

#include <signal.h>
#include <stdio.h>

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The value below which a share `q` of `n` sorted ones lies. */
static double quantile(const double *sorted, unsigned n, double q)
{
    double at = q * (n - 1);
    unsigned below = (unsigned)at;

    if (below + 1 >= n)
        return sorted[n - 1];
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

int row_init(struct row *row, const struct bench *b, const char *name)
{
    memset(row, 0, sizeof(*row));
    snprintf(row->name, sizeof(row->name), "%s", name);
    row->rounds = b->rounds;
    for (int i = 0; i < SIDES; i++) {
        row->seconds[i] = calloc(row->rounds, sizeof(double));
        if (!row->seconds[i])
            return bench_error("out of memory");
    }
    return 0;
}

void row_fini(struct row *row)
{
    for (int i = 0; i < SIDES; i++) {
        free(row->seconds[i]);
        free(row->item_ns[i]);
    }
    memset(row, 0, sizeof(*row));
}

/* --- what came out --- */

static void set_items(json_t *out, struct row *row)
{
    static const char *const names[SIDES][2] = {{"mount_p50_us", "mount_p99_us"},
                                                {"tmpfs_p50_us", "tmpfs_p99_us"}};

    for (int i = 0; i < SIDES && row->items; i++) {
        uint64_t *ns = row->item_ns[i];

        qsort(ns, row->items, sizeof(*ns), compare_ns);
        json_object_set_new(out, names[i][0], json_real((double)ns[row->items / 2] / 1e3));
        json_object_set_new(out, names[i][1],
                            json_real((double)ns[row->items - 1 - row->items / 100] / 1e3));
    }
}

static int keep(struct bench *b, struct row *row)
{
    AUTO_FREE double *ratios = calloc(row->rounds, sizeof(double));
    double median[SIDES], scale = row->latency ? 1e6 / row->work : 0;
    json_t *out;

    if (!ratios)
        return bench_error("out of memory");
    for (unsigned i = 0; i < row->rounds; i++)
        ratios[i] = row->seconds[SIDE_TMPFS][i] / row->seconds[SIDE_MOUNT][i];
    qsort(ratios, row->rounds, sizeof(double), compare_double);
    for (int i = 0; i < SIDES; i++) {
        qsort(row->seconds[i], row->rounds, sizeof(double), compare_double);
        median[i] = quantile(row->seconds[i], row->rounds, 0.5);
        median[i] = row->latency ? median[i] * scale : row->work / median[i] / 1e9;
    }
    out = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "name", row->name, "unit",
                    row->latency ? "us" : "GB/s", "mount", median[SIDE_MOUNT], "tmpfs",
                    median[SIDE_TMPFS], "ratio", quantile(ratios, row->rounds, 0.5), "ratio_low",
                    quantile(ratios, row->rounds, 0.25), "ratio_high",
                    quantile(ratios, row->rounds, 0.75), "ratio_best",
                    row->seconds[SIDE_TMPFS][0] / row->seconds[SIDE_MOUNT][0]);
    if (!out)
        return bench_error("out of memory");
    set_items(out, row);
    json_array_append_new(b->rows, out);
    return 0;
}

int row_measure(struct bench *b, struct row *row, bench_pass *pass)
{
    double seconds = 0;
    int rc = 0;

    for (int i = 0; i < SIDES && !rc; i++)
        rc = pass(b, &b->sides[i], row, -1, &seconds);
    for (unsigned round = 0; round < row->rounds && !rc; round++) {
        for (unsigned turn = 0; turn < SIDES && !rc; turn++) {
            unsigned i = (round + turn) % SIDES;

            if (bench_stop)
                return bench_error("stopped by a signal");
            rc = pass(b, &b->sides[i], row, (int)round, &seconds);
            row->seconds[i][round] = seconds;
        }
    }
    return rc ? rc : keep(b, row);
}

/* --- printing --- */

static double number(json_t *row, const char *name)
{
    return json_real_value(json_object_get(row, name));
}

static const char *text(json_t *row, const char *name)
{
    return json_string_value(json_object_get(row, name));
}

static void print_items(json_t *row)
{
    if (json_object_get(row, "mount_p50_us"))
        printf("   p50/p99 us %.0f/%.0f, tmpfs %.0f/%.0f", number(row, "mount_p50_us"),
               number(row, "mount_p99_us"), number(row, "tmpfs_p50_us"),
               number(row, "tmpfs_p99_us"));
}

static void print_row(json_t *row)
{
    const char *unit = text(row, "unit");

    printf("%-26s %8.2f %-4s %8.2f %-4s %6.2f  %5.2f - %-5.2f %6.2f", text(row, "name"),
           number(row, "mount"), unit, number(row, "tmpfs"), unit, number(row, "ratio"),
           number(row, "ratio_low"), number(row, "ratio_high"), number(row, "ratio_best"));
    print_items(row);
    putchar('\n');
}

void rows_print(const struct bench *b)
{
    json_t *item;
    size_t i;

    if (b->json) {
        json_t *all =
            json_pack("{s:s, s:O, s:O}", "bench", b->name, "notes", b->notes, "rows", b->rows);

        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(all);
        return;
    }
    json_array_foreach(b->notes, i, item) printf("# %s\n", json_string_value(item));
    printf("# ratio: speed of the mount / speed of tmpfs: median of the pairs, their middle half, "
           "best of both\n");
    printf("%-26s %13s %13s %6s  %-13s %6s\n", "", "mount", "tmpfs", "ratio", "middle half",
           "best");
    json_array_foreach(b->rows, i, item) print_row(item);
}

/* --- limits --- */

static json_t *find_row(const struct bench *b, const char *name, size_t len)
{
    json_t *row;
    size_t i;

    json_array_foreach(b->rows, i, row)
    {
        const char *have = text(row, "name");

        if (strlen(have) == len && !memcmp(have, name, len))
            return row;
    }
    return NULL;
}

/* NAME=NUMBER up to a comma; `limits` moves behind it. */
static int next_limit(const char **limits, const char **name, size_t *len, double *least)
{
    const char *equals = strchr(*limits, '=');
    char *end;

    if (!equals || equals == *limits)
        return bench_error("--check: expected NAME=RATIO[,NAME=RATIO...] at \"%s\"", *limits);
    *name = *limits;
    *len = (size_t)(equals - *limits);
    *least = strtod(equals + 1, &end);
    if (end == equals + 1 || (*end && *end != ',') || !(*least > 0))
        return bench_error("--check: \"%s\": expected a number above 0", equals + 1);
    *limits = *end ? end + 1 : end;
    return 0;
}

int rows_check_syntax(const char *limits)
{
    const char *name;
    double least;
    size_t len;
    int rc = 0;

    while (*limits && !rc)
        rc = next_limit(&limits, &name, &len, &least);
    return rc;
}

int rows_check(const struct bench *b, const char *limits)
{
    int below = 0;

    while (*limits) {
        const char *name = NULL;
        double least = 0;
        size_t len = 0;
        json_t *row;

        if (next_limit(&limits, &name, &len, &least))
            return -1;
        row = find_row(b, name, len);
        if (!row)
            return bench_error("--check: no row \"%.*s\" was measured", (int)len, name);
        if (number(row, "ratio") < least) {
            bench_error("%s: ratio %.3f, below the limit of %.3f", text(row, "name"),
                        number(row, "ratio"), least);
            below = 1;
        }
    }
    return below;
}
