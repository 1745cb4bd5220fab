/* test_text.c - growing strings, latched failure, glob lists, nearest names. */
#include "text.h"

#include "suite.h"

START_TEST(starts_empty)
{
    struct text t = {0};
    size_t len = 99;
    char *s = text_steal(&t, &len);

    ck_assert_str_eq(s, "");
    ck_assert_uint_eq(len, 0);
    free(s);
    text_fini(&t);
}
END_TEST

START_TEST(appends)
{
    struct text t = {0};
    char *s;

    text_puts(&t, "key ");
    text_append(&t, "ab\0cd", 5);
    text_printf(&t, " %d%%", 42);
    ck_assert_uint_eq(t.len, 13);
    ck_assert_mem_eq(t.data, "key ab\0cd 42%", 14);
    s = text_steal(&t, NULL);
    ck_assert_ptr_null(t.data);
    ck_assert_uint_eq(t.len, 0);
    free(s);
}
END_TEST

START_TEST(grows)
{
    struct text t = {0};

    for (int i = 0; i < 10000; i++)
        text_printf(&t, "%04d", i);
    ck_assert_uint_eq(t.len, 40000);
    ck_assert_mem_eq(t.data + 4 * 1234, "1234", 4);
    ck_assert_uint_eq(strlen(t.data), t.len);
    text_fini(&t);
    ck_assert_ptr_null(t.data);
}
END_TEST

/* Every length around the first capacity, so that the NUL always has its byte. */
START_TEST(exact_lengths)
{
    for (int n = 0; n < 200; n++) {
        struct text t = {0};

        text_printf(&t, "%*s", n, "");
        text_puts(&t, "x");
        ck_assert_uint_eq(strlen(t.data), (size_t)n + 1);
        text_fini(&t);
    }
}
END_TEST

START_TEST(failure_latches)
{
    struct text t = {0};

    text_puts(&t, "x");
    text_append(&t, "", SIZE_MAX - 1);
    ck_assert(t.failed);
    text_puts(&t, "y");
    ck_assert_uint_eq(t.len, 1);
    ck_assert_ptr_null(text_steal(&t, NULL));
    ck_assert(!t.failed);
    text_puts(&t, "again");
    ck_assert_str_eq(t.data, "again");
    text_fini(&t);
}
END_TEST

static const struct {
    const char *globs;
    const char *name;
    bool match;
} globs[] = {
    {"", "a", false},
    {NULL, "a", false},
    {":", "", false},
    {"*.tmp", "a.tmp", true},
    {"*.tmp", "dir/sub/a.tmp", true},
    {"*.tmp", "a.tmp/b", false},
    {"*.tmp:.*", "dir/.hidden", true},
    {"*.tmp:.*", "dir/plain", false},
    {"a:b:c", "c", true},
    {"a::c", "c", true},
    {":a:", "a", true},
    {"a?c", "abc", true},
    {"slot/*", "slot/a", true},
    {"slot/*", "slot/a/b", false},
    {"slot/*", "x/slot/a", false},
    {"*/x", "a/x", true},
    {"*/x", "x", false},
    {"[0-9]*", "dir/7a", true},
    {"[[:digit:]]*", "7a", true},
    {"[[:digit:]]:z", "z", true},
    {"[[:digit:][:upper:]]x:z", "Ax", true},
    {"[[:digit:]]:z", "digit", false},
    {"A", "a", false},
};

START_TEST(globs_match)
{
    ck_assert(text_match_globs(globs[_i].globs, globs[_i].name) == globs[_i].match);
}
END_TEST

START_TEST(globs_too_long_matches_nothing)
{
    char *list = malloc(10003);

    memset(list, '*', 10000);
    memcpy(list + 10000, ":b", 3);
    ck_assert(!text_match_globs(list, "a"));
    ck_assert(text_match_globs(list, "b"));
    free(list);
}
END_TEST

static const char *const names[] = {"l1", "adapter", "open", "load_timeout", "writer_wait", "lru"};

static const struct {
    const char *word;
    const char *nearest;
} near[] = {
    {"adapter", "adapter"},
    {"adaptor", "adapter"},
    {"adpater", "adapter"},
    {"l2", "l1"},
    {"load_timout", "load_timeout"},
    {"lur", NULL},
    {"lrx", "lru"},
    {"zzzzzzzz", NULL},
    {"", NULL},
    {"writerwait", "writer_wait"},
};

START_TEST(nearest)
{
    const char *found = text_nearest(near[_i].word, names, ARRAY_SIZE(names));

    if (near[_i].nearest)
        ck_assert_str_eq(found, near[_i].nearest);
    else
        ck_assert_ptr_null(found);
}
END_TEST

START_TEST(nearest_of_long_or_no_names)
{
    char word[1000];
    const char *const long_name[] = {word};

    memset(word, 'a', sizeof word);
    word[sizeof word - 1] = '\0';
    ck_assert_ptr_null(text_nearest(word, names, ARRAY_SIZE(names)));
    ck_assert_ptr_null(text_nearest("aaaa", long_name, 1));
    ck_assert_ptr_null(text_nearest("aaaa", names, 0));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("text");

    suite_add(s, "growing", TESTS(starts_empty, appends, grows, exact_lengths, failure_latches));
    suite_add_loop(s, "globs", TESTS(globs_match), ARRAY_SIZE(globs));
    suite_add(s, "globs_long", TESTS(globs_too_long_matches_nothing));
    suite_add_loop(s, "nearest", TESTS(nearest), ARRAY_SIZE(near));
    suite_add(s, "nearest_edges", TESTS(nearest_of_long_or_no_names));
    return suite_run(s);
}
