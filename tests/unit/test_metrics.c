/* test_metrics.c - the text is valid OpenMetrics (checked line by line), and updates add up. */
#include "metrics.h"

#include <pthread.h>
#include <regex.h>
#include <stdio.h>

#include "suite.h"

#define UPDATERS 4
#define UPDATES 20000
#define MAX_FAMILIES 16

static struct metrics *m;
static struct text out;

static void setup(void)
{
    m = metrics_create();
    memset(&out, 0, sizeof out);
    ck_assert_ptr_nonnull(m);
}

static void teardown(void)
{
    text_fini(&out);
    metrics_destroy(m);
}

static const char *printed(void)
{
    text_fini(&out);
    metrics_print(m, &out);
    ck_assert(!out.failed);
    return out.data;
}

static void assert_has_line(const char *line)
{
    char wanted[256];

    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    ck_assert_msg(strstr(out.data, wanted), "no line \"%s\" in:\n%s", line, out.data);
}

/* --- a small OpenMetrics reader --- */

#define NAME "[a-zA-Z_:][a-zA-Z0-9_:]*"
#define LABEL "[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\\\\n]|\\\\[\"\\\\n])*\""
#define NUMBER "-?[0-9]+(\\.[0-9]+)?"

struct reader {
    regex_t type, help, sample;
    char families[MAX_FAMILIES][64];
    size_t nfamilies;
    char kind[16];
};

static void reader_init(struct reader *r)
{
    memset(r, 0, sizeof *r);
    ck_assert_int_eq(
        regcomp(&r->type, "^# TYPE (" NAME ") (counter|gauge|histogram)$", REG_EXTENDED), 0);
    ck_assert_int_eq(
        regcomp(&r->help, "^# HELP (" NAME ") ([^\\\\\"]|\\\\[\"\\\\n])*$", REG_EXTENDED), 0);
    ck_assert_int_eq(
        regcomp(&r->sample, "^(" NAME ")(\\{" LABEL "(," LABEL ")*\\})? " NUMBER "$", REG_EXTENDED),
        0);
}

static void reader_fini(struct reader *r)
{
    regfree(&r->type);
    regfree(&r->help);
    regfree(&r->sample);
}

static void copy_match(char *to, size_t len, const char *line, const regmatch_t *match)
{
    snprintf(to, len, "%.*s", (int)(match->rm_eo - match->rm_so), line + match->rm_so);
}

/* A family opens once: all its lines stand together. */
static void read_type(struct reader *r, const char *line, const regmatch_t *match)
{
    char name[64];

    copy_match(name, sizeof name, line, &match[1]);
    copy_match(r->kind, sizeof r->kind, line, &match[2]);
    for (size_t i = 0; i < r->nfamilies; i++)
        ck_assert_str_ne(r->families[i], name);
    ck_assert_uint_lt(r->nfamilies, MAX_FAMILIES);
    memcpy(r->families[r->nfamilies++], name, sizeof name);
}

static void read_sample(struct reader *r, const char *line, const regmatch_t *match)
{
    static const char *const suffixes[][4] = {
        {"counter", "_total"}, {"gauge", ""}, {"histogram", "_bucket", "_sum", "_count"}};
    const char *family = r->families[r->nfamilies - 1];
    char name[64];
    bool known = false;

    ck_assert_uint_gt(r->nfamilies, 0);
    copy_match(name, sizeof name, line, &match[1]);
    ck_assert_mem_eq(name, family, strlen(family));
    for (size_t k = 0; k < ARRAY_SIZE(suffixes); k++) {
        for (size_t i = 1; i < 4 && suffixes[k][i] && !strcmp(r->kind, suffixes[k][0]); i++)
            known = known || !strcmp(name + strlen(family), suffixes[k][i]);
    }
    ck_assert_msg(known, "%s is no sample of %s %s", name, r->kind, family);
}

static void read_line(struct reader *r, const char *line)
{
    regmatch_t match[3];

    if (!regexec(&r->type, line, 3, match, 0))
        read_type(r, line, match);
    else if (!regexec(&r->sample, line, 3, match, 0))
        read_sample(r, line, match);
    else
        ck_assert_msg(!regexec(&r->help, line, 3, match, 0), "not OpenMetrics: \"%s\"", line);
}

static void assert_valid(const char *text)
{
    AUTO_FREE char *copy = strdup(text);
    size_t len = strlen(text);
    struct reader r;
    char *save;

    ck_assert_uint_ge(len, 6);
    ck_assert_str_eq(text + len - 6, "# EOF\n");
    copy[len - 6] = '\0';
    ck_assert_ptr_null(strstr(copy, "\n\n"));
    reader_init(&r);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        read_line(&r, line);
    reader_fini(&r);
}

/* --- tests --- */

START_TEST(empty_registry)
{
    ck_assert_str_eq(printed(), "# EOF\n");
    metrics_destroy(NULL);
}
END_TEST

START_TEST(counter_and_gauge)
{
    struct metric *stores = metrics_counter(m, "l2fs_stores", "Store tasks.", "adapter=\"fs\"");
    struct metric *inflight = metrics_gauge(m, "l2fs_inflight", "Tasks in flight.", "");

    metric_add(stores, 2);
    metric_add(stores, 3);
    metric_set(inflight, 7);
    metric_add(inflight, -10);
    ck_assert_int_eq(metric_value(stores), 5);
    ck_assert_int_eq(metric_value(inflight), -3);
    ck_assert_str_eq(printed(), "# TYPE l2fs_stores counter\n"
                                "# HELP l2fs_stores Store tasks.\n"
                                "l2fs_stores_total{adapter=\"fs\"} 5\n"
                                "# TYPE l2fs_inflight gauge\n"
                                "# HELP l2fs_inflight Tasks in flight.\n"
                                "l2fs_inflight -3\n"
                                "# EOF\n");
    assert_valid(out.data);
}
END_TEST

START_TEST(histogram)
{
    struct metric *h = metrics_histogram(m, "l2fs_load_seconds", "Load time.", "adapter=\"fs\"");

    metric_observe_ns(h, 0);
    metric_observe_ns(h, 100000);              /* 100 us: the bound belongs to its bucket */
    metric_observe_ns(h, 100001);              /* the next */
    metric_observe_ns(h, 2 * NSEC_PER_SEC);    /* up to 6.5536 s */
    metric_observe_ns(h, 1000 * NSEC_PER_SEC); /* beyond all */
    ck_assert_int_eq(metric_value(h), 5);
    assert_valid(printed());
    assert_has_line("l2fs_load_seconds_bucket{adapter=\"fs\",le=\"0.0001\"} 2");
    assert_has_line("l2fs_load_seconds_bucket{adapter=\"fs\",le=\"0.0004\"} 3");
    assert_has_line("l2fs_load_seconds_bucket{adapter=\"fs\",le=\"1.6384\"} 3");
    assert_has_line("l2fs_load_seconds_bucket{adapter=\"fs\",le=\"6.5536\"} 4");
    assert_has_line("l2fs_load_seconds_bucket{adapter=\"fs\",le=\"104.8576\"} 4");
    assert_has_line("l2fs_load_seconds_bucket{adapter=\"fs\",le=\"+Inf\"} 5");
    assert_has_line("l2fs_load_seconds_sum{adapter=\"fs\"} 1002.000200001");
    assert_has_line("l2fs_load_seconds_count{adapter=\"fs\"} 5");
}
END_TEST

START_TEST(histogram_without_labels)
{
    metrics_histogram(m, "l2fs_open_seconds", "Open time.", "");
    assert_valid(printed());
    assert_has_line("l2fs_open_seconds_bucket{le=\"+Inf\"} 0");
    assert_has_line("l2fs_open_seconds_sum 0.000000000");
    assert_has_line("l2fs_open_seconds_count 0");
}
END_TEST

/* Families stay together, whatever the order of registration. */
START_TEST(registration_interleaved)
{
    struct metric *a = metrics_counter(m, "l2fs_a", "A.", "x=\"1\"");

    metrics_counter(m, "l2fs_b", "B.", "");
    ck_assert_ptr_eq(metrics_counter(m, "l2fs_a", "A.", "x=\"1\""), a);
    ck_assert_ptr_eq(metrics_counter(m, "l2fs_a_total", "A.", "x=\"1\""), a);
    ck_assert_ptr_ne(metrics_counter(m, "l2fs_a", "A.", "x=\"2\""), a);
    assert_valid(printed());
    assert_has_line("l2fs_a_total{x=\"1\"} 0\nl2fs_a_total{x=\"2\"} 0");
}
END_TEST

START_TEST(one_name_two_types)
{
    struct metric *counter = metrics_counter(m, "l2fs_a", "A.", "");
    struct metric *other = metrics_histogram(m, "l2fs_a", "A.", "");

    ck_assert_ptr_nonnull(other);
    ck_assert_ptr_ne(other, counter);
    metric_observe_ns(other, 5);
    metric_add(other, 5);
    metric_add(counter, 1);
    ck_assert_str_eq(printed(), "# TYPE l2fs_a counter\n# HELP l2fs_a A.\nl2fs_a_total 1\n# EOF\n");
}
END_TEST

START_TEST(escapes)
{
    struct text labels = {0};

    metrics_label(&labels, "adapter", "fs");
    metrics_label(&labels, "path", "C:\\a \"b\"\nc{}=,");
    ck_assert_str_eq(labels.data, "adapter=\"fs\",path=\"C:\\\\a \\\"b\\\"\\nc{}=,\"");
    metrics_gauge(m, "l2fs_x", "Two\nlines, a \\ and a \".", labels.data);
    assert_valid(printed());
    assert_has_line("# HELP l2fs_x Two\\nlines, a \\\\ and a \\\".");
    text_fini(&labels);
}
END_TEST

START_TEST(negative_gauge_is_valid)
{
    metric_set(metrics_gauge(m, "l2fs_x", "X.", ""), INT64_MIN);
    assert_valid(printed());
    assert_has_line("l2fs_x -9223372036854775808");
}
END_TEST

static void *update(void *arg)
{
    struct metric *c = metrics_counter(m, "l2fs_c", "C.", "");
    struct metric *h = metrics_histogram(m, "l2fs_h_seconds", "H.", "");

    for (int i = 0; i < UPDATES; i++) {
        metric_add(c, 1);
        metric_observe_ns(h, (uint64_t)i * 1000);
    }
    return arg;
}

START_TEST(threads_add_up)
{
    pthread_t threads[UPDATERS];

    for (size_t i = 0; i < UPDATERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, update, NULL), 0);
    for (int i = 0; i < 20; i++)
        assert_valid(printed());
    for (size_t i = 0; i < UPDATERS; i++)
        pthread_join(threads[i], NULL);
    printed();
    assert_has_line("l2fs_c_total 80000");
    assert_has_line("l2fs_h_seconds_count 80000");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, empty_registry);
    tcase_add_test(tc, counter_and_gauge);
    tcase_add_test(tc, histogram);
    tcase_add_test(tc, histogram_without_labels);
    tcase_add_test(tc, registration_interleaved);
    tcase_add_test(tc, one_name_two_types);
    tcase_add_test(tc, escapes);
    tcase_add_test(tc, negative_gauge_is_valid);
    tcase_add_test(tc, threads_add_up);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
