/* test_options.c - arguments and -o strings of mount.l2fs: every form, and every refusal in words.
 * SPEC and JSON files are in test_options_spec.c. */
#include <stdio.h>
#include <sys/stat.h>

#include "log.h"
#include "options_fixture.h"

/* --- the splitter --- */

static int collect(void *arg, const char *name, const char *value)
{
    text_printf(arg, "[%s|%s]", name, value ? value : "NULL");
    return 0;
}

static const struct {
    const char *text, *result;
} splits[] = {
    {"", ""},
    {",,", ""},
    {"a", "[a|NULL]"},
    {"a,b=1", "[a|NULL][b|1]"},
    {"a=,b", "[a|][b|NULL]"},
    {"a=b=c", "[a|b=c]"},
    {"l2={\"type\":\"fs\",\"base_path\":\"/a,b\"},ro",
     "[l2|{\"type\":\"fs\",\"base_path\":\"/a,b\"}][ro|NULL]"},
    {"l2={\"a\":[1,2,{\"b\":3}]},c", "[l2|{\"a\":[1,2,{\"b\":3}]}][c|NULL]"},
    {"l2={\"a\":\"}\\\",{\"},c", "[l2|{\"a\":\"}\\\",{\"}][c|NULL]"},
    {"tmp=[ab]*:*.x,c", "[tmp|[ab]*:*.x][c|NULL]"},
    {"tmp=*.tmp[0-9a-f]*,c", "[tmp|*.tmp[0-9a-f]*][c|NULL]"},
    {"tmp=x[,c", "[tmp|x[][c|NULL]"},
    {"log=\"/a,b\",c", "[log|/a,b][c|NULL]"},
    {"log=/a\\,b,c", "[log|/a,b][c|NULL]"},
    {"log=a\\b", "[log|a\\b]"},
    {"x-systemd.requires=/a,c", "[x-systemd.requires|/a][c|NULL]"},
};

START_TEST(split)
{
    struct text out = {0};

    text_puts(&out, "");
    ck_assert_int_eq(options_split(splits[_i].text, collect, &out, &err), 0);
    ck_assert_str_eq(out.data, splits[_i].result);
    text_fini(&out);
}
END_TEST

static const struct {
    const char *text, *error;
} bad_splits[] = {
    {"=1", "-o =1: an option has a name before the \"=\""},
    {"a,=1", "-o =1: an option has a name before the \"=\""},
    {"l2={\"a\":1", "option l2: the value {\"a\":1 has no closing }"},
    {"l2={\"a}", "option l2: the value {\"a} has no closing }"},
    {"l2=[1,", "option l2: the value [1, has no closing ]"},
    {"log=\"/a", "option log: the value \"/a has no closing quote"},
};

START_TEST(split_refuses)
{
    struct text out = {0};

    ck_assert_int_eq(options_split(bad_splits[_i].text, collect, &out, &err), -EINVAL);
    ck_assert_str_eq(err.data, bad_splits[_i].error);
    text_fini(&out);
}
END_TEST

/* --- arguments --- */

START_TEST(defaults)
{
    ck_assert_int_eq(parse("mock:", "/mnt"), 0);
    ck_assert_int_eq(opt.action, OPTIONS_MOUNT);
    ck_assert_str_eq(opt.spec, "mock:");
    ck_assert_str_eq(opt.source, "mock:");
    ck_assert_str_eq(opt.dir, "/mnt");
    ck_assert_str_eq(opt.extra, "");
    ck_assert(!opt.foreground && !opt.debug && !opt.sloppy && !opt.verbose);
    ck_assert_uint_ge(opt.cfg.l1, 64 * MIB);
    ck_assert_uint_eq(opt.cfg.writer_wait, 5 * NSEC_PER_SEC);
    ck_assert_uint_eq(opt.cfg.load_timeout, 30 * NSEC_PER_SEC);
    ck_assert_uint_eq(opt.cfg.space_wait, 10 * NSEC_PER_SEC);
    ck_assert_uint_eq(opt.cfg.store_timeout, 60 * NSEC_PER_SEC);
    ck_assert_uint_eq(opt.cfg.drain_timeout, 60 * NSEC_PER_SEC);
    ck_assert_uint_eq(opt.cfg.attr_timeout, 3600 * NSEC_PER_SEC);
    ck_assert_double_eq(opt.cfg.l1_watermark, 0.8);
    ck_assert_double_eq(opt.cfg.l1_ratio, 0.2);
    ck_assert_int_eq(opt.cfg.open, OPEN_WAIT);
    ck_assert_int_eq(opt.cfg.on_corrupt, CORRUPT_MISS);
    ck_assert_int_eq(opt.cfg.pin, PIN_OFF);
    ck_assert_int_eq(opt.cfg.threads, 64);
    ck_assert(opt.cfg.passthrough && !opt.cfg.io_uring && !opt.cfg.read_only);
    ck_assert(opt.cfg.allow_other == (geteuid() == 0));
    ck_assert_int_eq(opt.cfg.log_level, LOG_LEVEL_INFO);
    ck_assert_str_eq(opt.cfg.name, "mnt");
    ck_assert_uint_eq(opt.nbases, 0);
}
END_TEST

/* What mount(8) makes of "spec dir l2fs rw,_netdev,nofail,x-systemd.automount,l1=64M 0 0". */
START_TEST(as_mount_calls_it)
{
    ck_assert_int_eq(parse("mock:", "/mnt", "-s", "-n", "-v", "-o",
                           "rw,_netdev,nofail,noauto,user,x-systemd.automount,X-mount.mkdir,"
                           "x-systemd.requires=/data,comment=ours,defaults,l1=64M"),
                     0);
    ck_assert(opt.sloppy && opt.verbose && !opt.foreground && !opt.cfg.read_only);
    ck_assert_uint_eq(opt.cfg.l1, 64 * MIB);
    ck_assert_str_eq(opt.extra, "");
    ck_assert_ptr_null(opt.warnings.data);
}
END_TEST

/* mount.fuse.l2fs: options before and after, -t with the whole type. */
START_TEST(as_mount_fuse_calls_it)
{
    ck_assert_int_eq(parse("null:", "/mnt", "-o",
                           "rw,nosuid,nodev,allow_other,default_permissions,"
                           "fsname=x,subtype=l2fs",
                           "-t", "fuse.l2fs", "-N", "/proc/1/ns/mnt"),
                     0);
    ck_assert(opt.cfg.allow_other);
    ck_assert_str_eq(opt.extra, "nosuid,nodev");
    ck_assert_str_eq(opt.namespace, "/proc/1/ns/mnt");
}
END_TEST

START_TEST(flags_anywhere)
{
    ck_assert_int_eq(parse("-d", "-o", "l1=64M", "null:", "-o", "threads=3", "/mnt/"), 0);
    ck_assert(opt.foreground && opt.debug);
    ck_assert_int_eq(opt.cfg.log_level, LOG_LEVEL_DEBUG);
    ck_assert_int_eq(opt.cfg.threads, 3);
    ck_assert_str_eq(opt.dir, "/mnt");
}
END_TEST

START_TEST(generic_options_last_wins)
{
    ck_assert_int_eq(
        parse("null:", "/mnt", "-o", "noatime,nosuid,ro,sync", "-o", "atime,dev,rw,noexec"), 0);
    ck_assert_str_eq(opt.extra, "nosuid,noexec,sync");
    ck_assert(!opt.cfg.read_only);
    options_fini(&opt);
    ck_assert_int_eq(parse("null:", "/mnt", "-o", "rw,nodiratime,dirsync,ro"), 0);
    ck_assert_str_eq(opt.extra, "ro,nodiratime,dirsync");
    ck_assert(opt.cfg.read_only);
}
END_TEST

START_TEST(every_option_of_the_table)
{
    ck_assert_int_eq(
        parse("null:", "/mnt", "-o",
              "l1=1G,max_object=512M,l1_watermark=0.5,l1_ratio=0.1,l1_policy=FIFO,writer_wait=1s,"
              "load_timeout=2s,readahead_keys=5,prefetch_requests=3,prefetch_bytes=64M,space_wait="
              "3s,store_timeout="
              "4s,drain_timeout=5s,start_timeout=6s,"
              "tmp=*.part,disk=*.slot:*.big,open=stream,on_corrupt=eio,pin=auto,nopassthrough,"
              "io_uring,noallow_other,threads=7,attr_timeout=8s,name=n,staging=/s,log=/l,"
              "log_level=warn"),
        0);
    ck_assert_uint_eq(opt.cfg.l1, GIB);
    ck_assert_uint_eq(opt.cfg.max_object, GIB / 2);
    ck_assert_double_eq(opt.cfg.l1_watermark, 0.5);
    ck_assert_double_eq(opt.cfg.l1_ratio, 0.1);
    ck_assert_int_eq(opt.cfg.l1_policy, EVICT_FIFO);
    ck_assert_uint_eq(opt.cfg.start_timeout, 6 * NSEC_PER_SEC);
    ck_assert_int_eq(opt.cfg.readahead_keys, 5);
    ck_assert_int_eq(opt.cfg.prefetch_requests, 3);
    ck_assert_uint_eq(opt.cfg.prefetch_bytes, 64 * MIB);
    ck_assert_str_eq(opt.cfg.tmp, "*.part");
    ck_assert_str_eq(opt.cfg.disk, "*.slot:*.big");
    ck_assert_int_eq(opt.cfg.open, OPEN_STREAM);
    ck_assert_int_eq(opt.cfg.on_corrupt, CORRUPT_EIO);
    ck_assert_int_eq(opt.cfg.pin, PIN_AUTO);
    ck_assert(!opt.cfg.passthrough && opt.cfg.io_uring && !opt.cfg.allow_other);
    ck_assert_str_eq(opt.cfg.name, "n");
    ck_assert_str_eq(opt.cfg.staging, "/s");
    ck_assert_str_eq(opt.cfg.log, "/l");
    ck_assert_int_eq(opt.cfg.log_level, LOG_LEVEL_WARN);
}
END_TEST

START_TEST(share_of_memory)
{
    uint64_t quarter;

    ck_assert_int_eq(parse("null:", "/mnt", "-o", "l1=64M,l1=50%"), 0);
    quarter = opt.cfg.l1 / 2;
    options_fini(&opt);
    ck_assert_int_eq(parse("null:", "/mnt"), 0);
    /* memory moves meanwhile, but not by half */
    ck_assert_uint_gt(opt.cfg.l1, quarter / 2);
    ck_assert_uint_lt(opt.cfg.l1, quarter * 2);
}
END_TEST

START_TEST(empty_log_is_the_default)
{
    ck_assert_int_eq(parse("null:", "/mnt", "-o", "log="), 0);
    ck_assert_ptr_null(opt.cfg.log);
}
END_TEST

START_TEST(sloppy_warns)
{
    ck_assert_int_eq(parse("null:", "/mnt", "-s", "-o", "l11=1G,frobnicate,threads=2"), 0);
    ck_assert_str_eq(
        opt.warnings.data,
        "unknown option \"l11\"; did you mean \"l1\"? (ignored because of -s)\n"
        "unknown option \"frobnicate\"; mount.l2fs --help lists them (ignored because of -s)\n");
    ck_assert_int_eq(opt.cfg.threads, 2);
    options_fini(&opt);
    ck_assert_int_eq(parse("null:", "/mnt", "-s", "-o", "threads=x"), -EINVAL);
}
END_TEST

static const struct {
    const char *args[8];
    const char *error;
} refused[] = {
    {{NULL},
     "SPEC, what to mount, is missing; expected mount.l2fs SPEC DIR [-o options], see mount.l2fs "
     "-h"},
    {{"null:"},
     "the mount point DIR is missing; expected mount.l2fs SPEC DIR [-o options], see mount.l2fs "
     "-h"},
    {{"null:", "/mnt", "x"},
     "too many arguments, expected mount.l2fs SPEC DIR [-o options]; a value with spaces needs "
     "quotes"},
    {{"null:", "/mnt", "-o"}, "option -o needs a value"},
    {{"null:", "/mnt", "-x"}, "unknown option -x; mount.l2fs -h lists them"},
    {{"null:", "/mnt", "--chek"}, "unknown option --chek; did you mean --check"},
    {{"null:", "/mnt", "--frobnicate"}, "unknown option --frobnicate; mount.l2fs -h lists them"},
    {{"null:", "/mnt", "-o", "l11=8G"}, "unknown option \"l11\"; did you mean \"l1\"?"},
    {{"null:", "/mnt", "-o", "passthru"},
     "unknown option \"passthru\"; did you mean \"passthrough\"?"},
    {{"null:", "/mnt", "-o", "noatme"}, "unknown option \"noatme\"; did you mean \"noatime\"?"},
    {{"null:", "/mnt", "-o", "context=x"}, "unknown option \"context\"; did you mean \"comment\"?"},
    {{"null:", "/mnt", "-o", "frobnicate"},
     "unknown option \"frobnicate\"; mount.l2fs --help lists them"},
    {{"null:", "/mnt", "-o", "l1"},
     "option l1: needs a value, expected a size such as 64M or 1.5G from 1M up"},
    {{"null:", "/mnt", "-o", "l1=8X"},
     "option l1: \"8X\" is not allowed, expected a size such as 64M or 1.5G from 1M up"},
    {{"null:", "/mnt", "-o", "l1=1K"},
     "option l1: \"1K\" is not allowed, expected a size such as 64M or 1.5G from 1M up"},
    {{"null:", "/mnt", "-o", "threads=0"},
     "option threads: \"0\" is not allowed, expected a whole number from 1 to 1024"},
    {{"null:", "/mnt", "-o", "open=strem"},
     "option open: \"strem\" is not allowed, expected one of wait, stream; did you mean "
     "\"stream\"?"},
    {{"null:", "/mnt", "-o", "writer_wait=fast"},
     "option writer_wait: \"fast\" is not allowed, expected a duration such as 250ms, 5s or 30m"},
    {{"null:", "/mnt", "-o", "passthrough=maybe"},
     "option passthrough: \"maybe\" is not allowed, expected true or false (yes/no, on/off, 1/0)"},
    {{"null:", "/mnt", "-o", "l1_watermark=2"},
     "option l1_watermark: \"2\" is not allowed, expected a number from 0.05 to 1"},
    {{"null:", "/mnt", "-o", "log=here"},
     "option log: \"here\" is not allowed, expected stderr, syslog or an absolute path"},
    {{"null:", "/mnt", "-o", "name=a/b"},
     "option name: \"a/b\" is not allowed, expected 1 to 96 bytes without a /"},
    {{"null:", "/mnt", "-o", "name="},
     "option name: \"\" is not allowed, expected 1 to 96 bytes without a /"},
    {{"null:", "/mnt", "-o", "staging="},
     "option staging: \"\" is not allowed, expected a directory"},
    {{"null:", "/mnt", "-o", "staging=/mnt/x"},
     "option staging: /mnt/x lies below the mount point"},
    {{"null:", "/mnt", "-o", "l1=64M,max_object=1G"},
     "option max_object: 1073741824 is more than l1 (67108864)"},
};

START_TEST(refuses)
{
    char *argv[10] = {(char[]){"mount.l2fs"}};
    int argc = 1;

    for (const char *const *a = refused[_i].args; *a; a++)
        argv[argc++] = strdup(*a);
    ck_assert_int_eq(options_parse(argc, argv, &opt, &err), -EINVAL);
    ck_assert_str_eq(err.data, refused[_i].error);
    for (int i = 1; i < argc; i++)
        free(argv[i]);
    memset(&opt, 0, sizeof(opt));
}
END_TEST

START_TEST(bare_l2_needs_a_value)
{
    ck_assert_int_eq(parse("null:", "/mnt", "-o", "l2"), -EINVAL);
    ck_assert_str_eq(err.data,
                     "option l2: needs a value, expected a JSON value, in the JSON form of "
                     "the options only");
}
END_TEST

/* --- other actions --- */

static const struct {
    const char *args[4];
    enum options_action action;
    const char *topic;
} actions[] = {
    {{"-h"}, OPTIONS_HELP, NULL},
    {{"--help"}, OPTIONS_HELP, NULL},
    {{"--help", "adapters"}, OPTIONS_HELP, "adapters"},
    {{"--help=mock"}, OPTIONS_HELP, "mock"},
    {{"-V"}, OPTIONS_VERSION, NULL},
    {{"--version"}, OPTIONS_VERSION, NULL},
    {{"--check"}, OPTIONS_CHECK, NULL},
};

START_TEST(action)
{
    char *argv[6] = {(char[]){"mount.l2fs"}};
    int argc = 1;

    for (const char *const *a = actions[_i].args; *a; a++)
        argv[argc++] = strdup(*a);
    ck_assert_int_eq(options_parse(argc, argv, &opt, &err), 0);
    ck_assert_int_eq(opt.action, actions[_i].action);
    ck_assert_pstr_eq(opt.topic, actions[_i].topic);
    for (int i = 1; i < argc; i++)
        free(argv[i]);
}
END_TEST

START_TEST(check_keeps_the_problem)
{
    ck_assert_int_eq(parse("--check", "null:", "/mnt", "-o", "l11=1"), 0);
    ck_assert_str_eq(opt.problem.data, "unknown option \"l11\"; did you mean \"l1\"?");
    options_fini(&opt);
    ck_assert_int_eq(parse("--check", "null:"), 0);
    ck_assert_ptr_null(opt.problem.data);
}
END_TEST

START_TEST(help_texts)
{
    struct text out = {0};

    ck_assert_int_eq(options_help(NULL, &out, &err), 0);
    for (const struct conf_opt *o = l2fs_config_options; o->name; o++)
        ck_assert_ptr_nonnull(strstr(out.data, o->name));
    ck_assert_int_eq(options_help("adapters", &out, &err), 0);
    ck_assert_int_eq(options_help("mock", &out, &err), 0);
    ck_assert_ptr_nonnull(strstr(out.data, "mock_bandwidth_gb"));
    ck_assert_int_eq(options_help("null", &out, &err), 0);
    ck_assert_int_eq(options_help("mok", &out, &err), -ENOENT);
    ck_assert_str_eq(err.data, "--help mok: no such adapter; did you mean mock?");
    text_fini(&out);
}
END_TEST

/* --- names --- */

static const struct {
    const char *path, *name;
} escapes[] = {
    {"/", "-"},
    {"/data/kv", "data-kv"},
    {"/data//kv/", "data-kv"},
    {"/data/my-kv", "data-my\\x2dkv"},
    {"/.hidden/a.b", "\\x2ehidden-a.b"},
    {"/a b/\xc3\xa9", "a\\x20b-\\xc3\\xa9"},
};

START_TEST(escape)
{
    char *name = options_escape(escapes[_i].path);

    ck_assert_str_eq(name, escapes[_i].name);
    free(name);
}
END_TEST

START_TEST(long_names_are_hashed)
{
    char path[400];
    char *a, *b;

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[399] = '\0';
    a = options_escape(path);
    path[398] = 'y';
    b = options_escape(path);
    ck_assert_uint_le(strlen(a), 96);
    ck_assert_str_ne(a, b);
    free(a);
    free(b);
}
END_TEST

static const struct {
    const char *path, *absolute;
} absolutes[] = {
    {"/nonexistent/../a//b/./c/", "/a/b/c"},
    {"/..", "/"},
    {"/", "/"},
    {"/nonexistent/..", "/"},
};

START_TEST(absolute)
{
    char *path = options_absolute(absolutes[_i].path);

    ck_assert_str_eq(path, absolutes[_i].absolute);
    free(path);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("options");

    add(s, "split", split, ARRAY_SIZE(splits));
    add(s, "split_refuses", split_refuses, ARRAY_SIZE(bad_splits));
    add(s, "defaults", defaults, 1);
    add(s, "mount", as_mount_calls_it, 1);
    add(s, "mount_fuse", as_mount_fuse_calls_it, 1);
    add(s, "flags", flags_anywhere, 1);
    add(s, "generic", generic_options_last_wins, 1);
    add(s, "table", every_option_of_the_table, 1);
    add(s, "share", share_of_memory, 1);
    add(s, "log", empty_log_is_the_default, 1);
    add(s, "sloppy", sloppy_warns, 1);
    add(s, "refuses", refuses, ARRAY_SIZE(refused));
    add(s, "bare_l2", bare_l2_needs_a_value, 1);
    add(s, "action", action, ARRAY_SIZE(actions));
    add(s, "check", check_keeps_the_problem, 1);
    add(s, "help", help_texts, 1);
    add(s, "escape", escape, ARRAY_SIZE(escapes));
    add(s, "long_names", long_names_are_hashed, 1);
    add(s, "absolute", absolute, ARRAY_SIZE(absolutes));
    return suite_run(s);
}
