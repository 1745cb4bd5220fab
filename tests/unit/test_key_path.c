/* test_key_path.c - which paths are keys, and what lies below what. */
#include "key.h"

#include "suite.h"

static const struct {
    const char *key;
    int file, dir;
} shapes[] = {
    {"a", 0, -EINVAL},           {"a/b/c.data", 0, -EINVAL}, {"a/", -EINVAL, 0},
    {"a/b/", -EINVAL, 0},        {"", -EINVAL, -EINVAL},     {"/", -EINVAL, -EINVAL},
    {"/a", -EINVAL, -EINVAL},    {"/a/", -EINVAL, -EINVAL},  {"a//b", -EINVAL, -EINVAL},
    {"a//", -EINVAL, -EINVAL},   {".", -EINVAL, -EINVAL},    {"..", -EINVAL, -EINVAL},
    {"./", -EINVAL, -EINVAL},    {"a/..", -EINVAL, -EINVAL}, {"a/../b", -EINVAL, -EINVAL},
    {"../a/", -EINVAL, -EINVAL}, {"./a", -EINVAL, -EINVAL},  {"...", 0, -EINVAL},
    {".a", 0, -EINVAL},          {"..a/b..", 0, -EINVAL},    {"with space\nand line", 0, -EINVAL},
};

START_TEST(shape)
{
    ck_assert_int_eq(key_check(shapes[_i].key, false), shapes[_i].file);
    ck_assert_int_eq(key_check(shapes[_i].key, true), shapes[_i].dir);
}
END_TEST

START_TEST(component_length)
{
    char name[KEY_NAME_MAX + 8] = "";

    memset(name, 'a', KEY_NAME_MAX);
    ck_assert_int_eq(key_check(name, false), 0);
    name[KEY_NAME_MAX] = '/';
    ck_assert_int_eq(key_check(name, true), 0);
    name[KEY_NAME_MAX] = 'a';
    ck_assert_int_eq(key_check(name, false), -ENAMETOOLONG);
    name[KEY_NAME_MAX + 1] = '/';
    ck_assert_int_eq(key_check(name, true), -ENAMETOOLONG);
    name[KEY_NAME_MAX + 2] = 'b';
    ck_assert_int_eq(key_check(name, false), -ENAMETOOLONG);
}
END_TEST

START_TEST(path_length)
{
    char path[KEY_PATH_MAX + 2];

    for (size_t i = 0; i < sizeof path; i++)
        path[i] = i % 2 ? '/' : 'a';
    path[KEY_PATH_MAX + 1] = '\0';
    ck_assert_int_eq(key_check(path, true), -ENAMETOOLONG); /* 4096 bytes */
    path[KEY_PATH_MAX] = '\0';
    ck_assert_int_eq(key_check(path, false), 0); /* 4095 */
    path[KEY_PATH_MAX - 1] = '\0';
    ck_assert_int_eq(key_check(path, true), 0);
}
END_TEST

START_TEST(below)
{
    ck_assert(key_below("a", "a"));
    ck_assert(key_below("a/b", "a"));
    ck_assert(key_below("a/", "a"));
    ck_assert(key_below("a/b/c", "a/b"));
    ck_assert(key_below("a", ""));
    ck_assert(key_below("", ""));
    ck_assert(!key_below("ab", "a"));
    ck_assert(!key_below("ab/c", "a"));
    ck_assert(!key_below("a", "a/b"));
    ck_assert(!key_below("b/a", "a"));
    ck_assert(!key_below("", "a"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("key_path");

    suite_add_loop(s, "shape", TESTS(shape), ARRAY_SIZE(shapes));
    suite_add(s, "path", TESTS(component_length, path_length, below));
    return suite_run(s);
}
