/* test_options_spec.c - SPEC of mount.l2fs: directories, TYPE:options, JSON files, -o l2=, and what
 * is said of the ones that are wrong. Every test has a directory of its own. */
#include <stdio.h>
#include <sys/stat.h>

#include "options_fixture.h"

static char dir[64];  /* empty directory of the test */
static char file[96]; /* dir/spec.json */
static char mnt[96];  /* dir/mnt */
static char base[96]; /* dir/base, exists */

static void make_paths(void)
{
    setup();
    strcpy(dir, "/tmp/l2fs-options-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/spec.json", dir);
    snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
    snprintf(base, sizeof(base), "%s/base", dir);
    ck_assert_int_eq(mkdir(base, 0755), 0);
}

static void remove_paths(void)
{
    unlink(file);
    rmdir(base);
    rmdir(mnt);
    ck_assert_int_eq(rmdir(dir), 0);
    teardown();
}

static void write_spec(const char *text)
{
    FILE *f = fopen(file, "we");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void assert_l2(const char *expected)
{
    char *text = json_dumps(opt.cfg.l2, JSON_COMPACT | JSON_SORT_KEYS);

    ck_assert_str_eq(text, expected);
    free(text);
}

/* `expected` has one %s for the test's directory. */
static void assert_error(const char *expected)
{
    const char *hole = strstr(expected, "%s");
    struct text t = {0};

    if (hole) {
        text_append(&t, expected, (size_t)(hole - expected));
        text_puts(&t, dir);
        text_puts(&t, hole + 2);
    } else {
        text_puts(&t, expected);
    }
    ck_assert_str_eq(err.data, t.data);
    text_fini(&t);
}

/* --- a directory --- */

START_TEST(directory)
{
    struct text t = {0};

    ck_assert_int_eq(parse(base, mnt), 0);
    text_printf(&t, "[{\"base_path\":\"%s\",\"type\":\"fs\"}]", base);
    assert_l2(t.data);
    ck_assert_str_eq(opt.source, base);
    ck_assert_uint_eq(opt.nbases, 1);
    ck_assert_str_eq(opt.bases[0], base);
    ck_assert_ptr_nonnull(strstr(opt.cfg.name, "-base"));
    ck_assert_ptr_nonnull(strstr(opt.cfg.staging, opt.cfg.name));
    text_fini(&t);
}
END_TEST

START_TEST(relative_directory)
{
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(parse("base", "mnt"), 0);
    ck_assert_str_eq(opt.source, base);
    ck_assert_str_eq(opt.bases[0], base);
    ck_assert_str_eq(opt.dir, mnt);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(no_such_directory)
{
    char missing[96];

    snprintf(missing, sizeof(missing), "%s/missing", dir);
    ck_assert_int_eq(parse(missing, mnt), -ENOENT);
    assert_error(
        "SPEC \"%s/missing\": No such file or directory; make the directory first, or name a "
        "JSON file, mock: or null:");
}
END_TEST

START_TEST(unwritable_directory)
{
    if (geteuid() == 0)
        return; /* root writes everywhere */
    ck_assert_int_eq(chmod(base, 0555), 0);
    ck_assert_int_eq(parse(base, mnt), -EACCES);
    assert_error(
        "directory %s/base cannot be written: Permission denied; change that, or mount with "
        "-o ro");
    ck_assert_int_eq(parse(base, mnt, "-o", "ro"), 0);
}
END_TEST

START_TEST(mount_point_in_the_directory)
{
    char inside[128];

    snprintf(inside, sizeof(inside), "%s/base/mnt", dir);
    ck_assert_int_eq(parse(base, inside), -EINVAL);
    ck_assert_ptr_nonnull(
        strstr(err.data, "lie within each other; choose a mount point elsewhere"));
    text_fini(&err);
    ck_assert_int_eq(parse(base, base), -EINVAL);
    text_fini(&err);
    ck_assert_int_eq(parse(base, dir), -EINVAL);
}
END_TEST

START_TEST(staging_in_the_directory)
{
    char arg[160];

    snprintf(arg, sizeof(arg), "staging=%s/l1", base);
    ck_assert_int_eq(parse(base, mnt, "-o", arg), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.data, "lie within each other"));
}
END_TEST

START_TEST(neither_directory_nor_file)
{
    ck_assert_int_eq(parse("/dev/null", mnt), -EINVAL);
    assert_error("SPEC \"/dev/null\": neither a directory nor a JSON file");
}
END_TEST

/* --- TYPE:options --- */

static const struct {
    const char *spec, *l2;
} typed[] = {
    {"mock:", "[{\"max_size_gb\":1,\"mock_bandwidth_gb\":10,\"type\":\"mock\"}]"},
    {"mock:max_size_gb=4", "[{\"max_size_gb\":4,\"mock_bandwidth_gb\":10,\"type\":\"mock\"}]"},
    {"mock:max_size_gb=0.5,mock_bandwidth_gb=2",
     "[{\"max_size_gb\":0.5,\"mock_bandwidth_gb\":2,\"type\":\"mock\"}]"},
    {"null:", "[{\"type\":\"null\"}]"},
    {"fault:inner={\"type\":\"null\"}", "[{\"inner\":{\"type\":\"null\"},\"type\":\"fault\"}]"},
};

START_TEST(type)
{
    ck_assert_int_eq(parse(typed[_i].spec, mnt), 0);
    assert_l2(typed[_i].l2);
    ck_assert_str_eq(opt.source, typed[_i].spec);
}
END_TEST

static const struct {
    const char *spec, *error;
} bad_typed[] = {
    {"moc:", "SPEC \"moc:\": neither a path nor an adapter, known:"},
    {"mock:max_size_gb=x", "SPEC: l2 #0 (mock): option max_size_gb: \"x\" is not allowed, expected "
                           "a positive number of GiB"},
    {"mock:max_size=1",
     "SPEC: l2 #0 (mock): unknown option \"max_size\"; did you mean \"max_size_gb\"?"},
    {"mock:=1", "-o =1: an option has a name before the \"=\""},
    {"none",
     "SPEC \"none\": no storage tier; give a directory, mock:, null:, a JSON file with \"l2\", or "
     "-o l2={\"type\": ...}"},
};

START_TEST(bad_type)
{
    ck_assert_int_eq(parse(bad_typed[_i].spec, mnt), -EINVAL);
    err.data[MIN(err.len, strlen(bad_typed[_i].error))] = '\0'; /* more adapters may follow */
    ck_assert_str_eq(err.data, bad_typed[_i].error);
}
END_TEST

/* --- -o l2= --- */

START_TEST(l2_repeats_in_order)
{
    ck_assert_int_eq(parse("null:", mnt, "-o",
                           "l2={\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":1},ro",
                           "-o", "l2={\"type\":\"null\"}"),
                     0);
    assert_l2("[{\"type\":\"null\"},{\"max_size_gb\":1,\"mock_bandwidth_gb\":1,\"type\":\"mock\"},"
              "{\"type\":\"null\"}]");
    ck_assert(opt.cfg.read_only);
}
END_TEST

START_TEST(l2_alone)
{
    ck_assert_int_eq(parse("none", mnt, "-o", "l2={\"type\":\"null\"}"), 0);
    assert_l2("[{\"type\":\"null\"}]");
    ck_assert_str_eq(opt.source, "l2fs");
}
END_TEST

static const struct {
    const char *value, *error;
} bad_l2[] = {
    {"l2=null", "-o l2 #1: an L2 adapter is a JSON object such as {\"type\": \"fs\", ...}"},
    {"l2=[1]", "-o l2 #1: an L2 adapter is a JSON object such as {\"type\": \"fs\", ...}"},
    {"l2={\"type\" \"fs\"}",
     "-o l2={\"type\" \"fs\"}: line 1 column 12: ':' expected near '\"fs\"'"},
    {"l2={\"type\":\"fs\",\"type\":\"fs\"}", "-o l2={\"type\":\"fs\",\"type\":\"fs\"}: line 1 "
                                             "column 19: duplicate object key near '\"type\"'"},
    {"l2={\"base_path\":\"/x\"}",
     "-o l2 #1: an L2 adapter needs \"type\", the name of the adapter in quotes"},
    {"l2={\"type\":\"fs\"}", "-o l2 #1 (fs): option base_path is required, expected text"},
};

START_TEST(l2_refuses)
{
    ck_assert_int_eq(parse("null:", mnt, "-o", bad_l2[_i].value), -EINVAL);
    ck_assert_str_eq(err.data, bad_l2[_i].error);
}
END_TEST

START_TEST(l2_unknown_type)
{
    ck_assert_int_eq(parse("null:", mnt, "-o", "l2={\"type\":\"moc\"}"), -EINVAL);
    ck_assert_ptr_nonnull(
        strstr(err.data, "-o l2 #1 (moc): type: \"moc\" is not an adapter, known:"));
    ck_assert_ptr_nonnull(strstr(err.data, "did you mean \"mock\"?"));
}
END_TEST

/* --- a JSON file --- */

START_TEST(json_file)
{
    write_spec("{\"l1\": \"64M\", \"threads\": 3, \"io_uring\": true, \"l1_ratio\": 0.5,\n"
               " \"space_wait\": 2, \"tmp\": [\"*.a\", \"*.b\"], \"staging\": null,\n"
               " \"l2\": [{\"type\": \"null\"}, {\"type\": \"fs\", \"base_path\": "
               "\"/nonexistent/../x\"}]}");
    ck_assert_int_eq(parse(file, mnt, "-o", "threads=5"), 0);
    ck_assert_uint_eq(opt.cfg.l1, 64 * MIB);
    ck_assert_int_eq(opt.cfg.threads, 5);
    ck_assert(opt.cfg.io_uring);
    ck_assert_double_eq(opt.cfg.l1_ratio, 0.5);
    ck_assert_uint_eq(opt.cfg.space_wait, 2 * NSEC_PER_SEC);
    ck_assert_str_eq(opt.cfg.tmp, "*.a:*.b");
    assert_l2("[{\"type\":\"null\"},{\"base_path\":\"/x\",\"type\":\"fs\"}]");
    ck_assert_uint_eq(opt.nbases, 1);
    ck_assert_str_eq(opt.cfg.name, "x");
    ck_assert_str_eq(opt.source, file);
}
END_TEST

START_TEST(json_file_and_l2)
{
    write_spec("{\"l2\": {\"type\": \"null\"}}");
    ck_assert_int_eq(parse(file, mnt, "-o", "l2={\"type\":\"null\"}"), 0);
    assert_l2("[{\"type\":\"null\"},{\"type\":\"null\"}]");
}
END_TEST

/* A base_path inside a wrapper counts too. */
START_TEST(json_nested_base)
{
    write_spec("{\"l2\": [{\"type\": \"fault\", \"inner\": {\"type\": \"fs\", \"base_path\": "
               "\"/nonexistent/y\"}}]}");
    ck_assert_int_eq(parse(file, mnt), 0);
    ck_assert_uint_eq(opt.nbases, 1);
    ck_assert_str_eq(opt.bases[0], "/nonexistent/y");
}
END_TEST

static const struct {
    const char *json, *error;
} bad_json[] = {
    {"", "%s/spec.json: line 1 column 0: '[' or '{' expected near end of file"},
    {"{\"l1\": \"8G\",\n \"l2\": [{]}",
     "%s/spec.json: line 2 column 10: string or '}' expected near ']'"},
    {"{\"l1\": \"8G\",\n  \"l1\": \"9G\"}",
     "%s/spec.json: line 2 column 6: duplicate object key near '\"l1\"'"},
    {"[]", "%s/spec.json: expected {\"l1\": \"8G\", \"l2\": [{\"type\": \"fs\", ...}], ...}"},
    {"{\"type\": \"fs\", \"base_path\": \"/x\"}",
     "%s/spec.json: expected {\"l1\": \"8G\", \"l2\": [{\"type\": \"fs\", ...}], ...}"},
    {"{\"l2\": [],\n   \"l11\": \"8G\"}",
     "%s/spec.json: line 2 column 11: unknown option \"l11\"; did you mean \"l1\"?"},
    {"{\"l1\":\n  \"8X\"}",
     "%s/spec.json: line 2 column 3: option l1: \"8X\" is not allowed, expected a "
     "size such as 64M or 1.5G from 1M up"},
    {"{\"l1\": {}}",
     "%s/spec.json: line 1 column 8: option l1: expected text, a number, true or false"},
    {"{\"tmp\": [1]}",
     "%s/spec.json: line 1 column 9: option tmp: expected text, a number, true or false"},
    {"{\"l2\": [{\"type\": \"null\"},\n {\"type\": \"fs\"}]}",
     "%s/spec.json: line 2 column 2: l2 #1 (fs): option base_path is required, expected text"},
    {"{\"x\": [{\"l2\": 1}, \"}\"], \"l2\": [7]}",
     "%s/spec.json: line 1 column 7: option x: expected text, a number, true or false"},
    {"{\"l2\": [7]}", "%s/spec.json: line 1 column 9: l2 #0: an L2 adapter is a JSON object such "
                      "as {\"type\": \"fs\", ...}"},
    {"{\"l2\": []}",
     "SPEC \"%s/spec.json\": no storage tier; give a directory, mock:, null:, a JSON file "
     "with \"l2\", or -o l2={\"type\": ...}"},
};

START_TEST(json_refuses)
{
    write_spec(bad_json[_i].json);
    ck_assert_int_eq(parse(file, mnt), -EINVAL);
    assert_error(bad_json[_i].error);
}
END_TEST

static const struct {
    const char *json, *name;
    int index;
    unsigned line, column;
} places[] = {
    {"{\"a\": 1, \"b\": 2}", "b", -1, 1, 15},
    {"{\"a\": {\"b\": 1},\n\"b\": 2}", "b", -1, 2, 6},
    {"{\"a\": \"\\\"b\\\": 3\",\n \"b\": [1,\n [2], 3]}", "b", 2, 3, 7},
    {"{\"b\": [ {\"b\": [1, 2]}, {} ]}", "b", 1, 1, 24},
};

START_TEST(locate)
{
    unsigned line, column;

    ck_assert(options_locate(places[_i].json, places[_i].name, places[_i].index, &line, &column));
    ck_assert_uint_eq(line, places[_i].line);
    ck_assert_uint_eq(column, places[_i].column);
    ck_assert(!options_locate(places[_i].json, "missing", -1, &line, &column));
}
END_TEST

static void add_with_paths(Suite *s, const char *name, const TTest *test, size_t n)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, make_paths, remove_paths);
    tcase_add_loop_test(tc, test, 0, (int)n);
    suite_add_tcase(s, tc);
}

int main(void)
{
    Suite *s = suite_create("options_spec");

    add_with_paths(s, "directory", directory, 1);
    add_with_paths(s, "relative", relative_directory, 1);
    add_with_paths(s, "missing", no_such_directory, 1);
    add_with_paths(s, "unwritable", unwritable_directory, 1);
    add_with_paths(s, "overlap", mount_point_in_the_directory, 1);
    add_with_paths(s, "staging", staging_in_the_directory, 1);
    add_with_paths(s, "device", neither_directory_nor_file, 1);
    add_with_paths(s, "type", type, ARRAY_SIZE(typed));
    add_with_paths(s, "bad_type", bad_type, ARRAY_SIZE(bad_typed));
    add_with_paths(s, "l2_order", l2_repeats_in_order, 1);
    add_with_paths(s, "l2_alone", l2_alone, 1);
    add_with_paths(s, "l2_refuses", l2_refuses, ARRAY_SIZE(bad_l2));
    add_with_paths(s, "l2_type", l2_unknown_type, 1);
    add_with_paths(s, "json", json_file, 1);
    add_with_paths(s, "json_l2", json_file_and_l2, 1);
    add_with_paths(s, "json_nested", json_nested_base, 1);
    add_with_paths(s, "json_refuses", json_refuses, ARRAY_SIZE(bad_json));
    add(s, "locate", locate, ARRAY_SIZE(places));
    return suite_run(s);
}
