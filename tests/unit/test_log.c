/* test_log.c - what a line looks like, that a key cannot forge one, and that threads do not mix. */
#include "log.h"

#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <sys/stat.h>

#include "suite.h"

#define WRITERS 4
#define LINES_EACH 200

static char path[] = "/tmp/l2fs-test-log-XXXXXX";
static char content[256 * 1024];

static void setup(void)
{
    int fd;

    strcpy(path + strlen(path) - 6, "XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    log_set_level(LOG_LEVEL_INFO);
    ck_assert_int_eq(log_open_file(path), 0);
}

static void teardown(void)
{
    log_set_sink(LOG_SINK_STDERR);
    unlink(path);
}

static const char *read_file(const char *name)
{
    AUTO_CLOSE int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, content, sizeof content - 1);

    ck_assert_int_ge(n, 0);
    content[n] = '\0';
    return content;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t re;

    ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(!regexec(&re, text, 0, NULL, 0), "\"%s\" is not %s", text, pattern);
    regfree(&re);
}

START_TEST(level_names)
{
    enum log_level level = LOG_LEVEL_DEBUG;

    ck_assert_int_eq(log_level_parse("warn", &level), 0);
    ck_assert_int_eq(level, LOG_LEVEL_WARN);
    ck_assert_int_eq(log_level_parse("warning", &level), -EINVAL);
    ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
    ck_assert_int_eq(level, LOG_LEVEL_WARN);
    ck_assert_int_eq(log_level_parse("error", &level), 0);
    ck_assert_int_eq(level, LOG_LEVEL_ERROR);
}
END_TEST

START_TEST(line_in_a_file)
{
    log_warn("adapter %s: %d stores failed", "fs", 3);
    assert_matches(read_file(path), "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]"
                                    "{3}Z warning: adapter fs: 3 stores failed\n$");
}
END_TEST

START_TEST(level_filters)
{
    log_set_level(LOG_LEVEL_WARN);
    log_info("hidden");
    log_debug("hidden");
    log_err("shown");
    assert_matches(read_file(path), "^[^\n]* error: shown\n$");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("now");
    assert_matches(read_file(path), "debug: now\n$");
}
END_TEST

START_TEST(key_cannot_forge_a_line)
{
    log_info("key %s", "a\n2030-01-01T00:00:00.000Z error: forged\r\x1b[31m\x7f");
    assert_matches(read_file(path),
                   "^[^\n]* info: key a\\\\x0a2030-01-01T00:00:00.000Z error: forged"
                   "\\\\x0d\\\\x1b\\[31m\\\\x7f\n$");
}
END_TEST

START_TEST(long_line_is_cut)
{
    char *big = calloc(1, 20001);

    memset(big, 'k', 20000);
    log_info("%s", big);
    memset(big, '\n', 20000);
    log_info("%s", big);
    log_info("after");
    free(big);
    read_file(path);
    ck_assert_uint_le((size_t)(strchr(content, '\n') - content), 4096);
    ck_assert_uint_le(strlen(content), 2 * 4096 + 100);
    assert_matches(content, "^[^\n]*k\n[^\n]*x0a\n[^\n]*after\n$");
}
END_TEST

START_TEST(errno_survives)
{
    errno = ENOENT;
    log_info("text");
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(appends_and_is_private)
{
    struct stat st;
    char second[sizeof path + 2];

    log_info("first");
    ck_assert_int_eq(log_open_file(path), 0);
    log_info("second");
    assert_matches(read_file(path), "^[^\n]*first\n[^\n]*second\n$");
    snprintf(second, sizeof second, "%s.2", path);
    ck_assert_int_eq(log_open_file(second), 0);
    log_info("third");
    ck_assert_int_eq(stat(second, &st), 0);
    ck_assert_int_eq(st.st_mode & 07137, 0);
    assert_matches(read_file(second), "^[^\n]*third\n$");
    assert_matches(read_file(path), "second\n$");
    unlink(second);
}
END_TEST

START_TEST(open_fails)
{
    ck_assert_int_eq(log_open_file("/nonexistent/dir/log"), -ENOENT);
    log_info("still here");
    assert_matches(read_file(path), "still here\n$");
}
END_TEST

START_TEST(line_on_stderr)
{
    AUTO_CLOSE int keep = dup(STDERR_FILENO);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    log_set_sink(LOG_SINK_STDERR);
    log_err("cannot bind");
    ck_assert_int_ge(dup2(keep, STDERR_FILENO), 0);
    assert_matches(read_file(path), "^[^ :]+: error: cannot bind\n$");
}
END_TEST

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES_EACH; i++)
        log_info("writer %s line %d end", (const char *)arg, i);
    return NULL;
}

START_TEST(threads_do_not_mix)
{
    static char names[WRITERS][5] = {"aaaa", "bbbb", "cccc", "dddd"};
    pthread_t threads[WRITERS];
    size_t lines = 0;

    for (size_t i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(log_open_file(path), 0);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    read_file(path);
    for (char *save, *line = strtok_r(content, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        assert_matches(line, "^[^ ]+Z info: writer (aaaa|bbbb|cccc|dddd) line [0-9]+ end$");
        lines++;
    }
    ck_assert_uint_eq(lines, WRITERS * LINES_EACH);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("log");
    TCase *tc = tcase_create("log");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, level_names);
    tcase_add_test(tc, line_in_a_file);
    tcase_add_test(tc, level_filters);
    tcase_add_test(tc, key_cannot_forge_a_line);
    tcase_add_test(tc, long_line_is_cut);
    tcase_add_test(tc, errno_survives);
    tcase_add_test(tc, appends_and_is_private);
    tcase_add_test(tc, open_fails);
    tcase_add_test(tc, line_on_stderr);
    tcase_add_test(tc, threads_do_not_mix);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
