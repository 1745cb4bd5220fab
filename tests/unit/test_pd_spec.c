/* test_pd_spec.c - pd-send://HOST:ALLOC[,INIT][,NAME=VALUE...] and pd-recv://. */
#include "options_fixture.h"

#define MNT "/nowhere/mnt"

static const struct {
    const char *spec, *role, *host;
    int alloc, init;
} good[] = {
    {"pd-send://decode-1:9052", "sender", "decode-1", 9052, 9051},
    {"pd-recv://10.0.0.2:7400,7300", "receiver", "10.0.0.2", 7400, 7300},
    {"pd-recv://*:0", "receiver", "*", 0, 0},
    {"pd-send://[fe80::1%eth0]:7400", "sender", "fe80::1%eth0", 7400, 7399},
    {"pd-send://h:7400,lease=5", "sender", "h", 7400, 7399},
    {"pd-send://h:7400,7300,proxy_host=p,proxy_port=7500", "sender", "h", 7400, 7300},
};

static int64_t first_port(json_t *adapter, const char *name)
{
    return json_integer_value(json_array_get(json_object_get(adapter, name), 0));
}

START_TEST(reads)
{
    json_t *a;

    ck_assert_msg(!parse(good[_i].spec, MNT), "%s: %s", good[_i].spec, err.data);
    ck_assert_uint_eq(json_array_size(opt.cfg.l2), 1);
    a = json_array_get(opt.cfg.l2, 0);
    ck_assert_str_eq(json_string_value(json_object_get(a, "type")), "pd");
    ck_assert_str_eq(json_string_value(json_object_get(a, "role")), good[_i].role);
    ck_assert_str_eq(json_string_value(json_object_get(a, "peer_host")), good[_i].host);
    ck_assert_int_eq(first_port(a, "peer_alloc_port"), good[_i].alloc);
    ck_assert_int_eq(first_port(a, "peer_init_port"), good[_i].init);
    ck_assert_str_eq(opt.source, good[_i].spec);
}
END_TEST

START_TEST(more_options_are_kept)
{
    json_t *a;

    ck_assert_int_eq(parse("pd-send://h:2,tls=rc,proxy_host=p,proxy_port=7500,lease=5s", MNT), 0);
    a = json_array_get(opt.cfg.l2, 0);
    ck_assert_str_eq(json_string_value(json_object_get(a, "tls")), "rc");
    ck_assert_int_eq(json_integer_value(json_object_get(a, "proxy_port")), 7500);
    ck_assert_str_eq(json_string_value(json_object_get(a, "lease")), "5s");
}
END_TEST

static const struct {
    const char *spec, *says;
} bad[] = {
    {"pd-send://", "expected pd-send://HOST:ALLOC[,INIT][,NAME=VALUE...]"},
    {"pd-send://h", "expected pd-send://HOST:ALLOC"},
    {"pd-send://h:", "expected pd-send://HOST:ALLOC"},
    {"pd-send://:7400", "expected pd-send://HOST:ALLOC"},
    {"pd-recv://h:x", "expected pd-recv://HOST:ALLOC"},
    {"pd-recv://h:7400x", "expected pd-recv://HOST:ALLOC"},
    {"pd-recv://h:7400,73x", "expected pd-recv://HOST:ALLOC"},
    {"pd-recv://[::1:7400", "expected pd-recv://HOST:ALLOC"},
    {"pd-recv://[::1]7400", "expected pd-recv://HOST:ALLOC"},
    {"pd-recv://h:123456", "expected pd-recv://HOST:ALLOC"},
    {"pd-recv://h:70000", "option peer_init_port: [69999] is not allowed"},
    {"pd-send://h:1", "option peer_init_port: [0] is not allowed"},
    {"pd-send://*:7400", "option peer_host: \"*\" is not allowed"},
    {"pd-send://h:7400,prox_host=p", "did you mean \"proxy_host\"?"},
    {"pd-send://h:7400,proxy_host=p", "option proxy_port: needed with proxy_host"},
    {"pd-send://h\xff:7400", "not UTF-8"},
};

START_TEST(refuses)
{
    ck_assert_int_eq(parse(bad[_i].spec, MNT), -EINVAL);
    ck_assert_msg(strstr(err.data, bad[_i].says) != NULL, "%s: %s", bad[_i].spec, err.data);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_spec");

    add(s, "reads", reads, ARRAY_SIZE(good));
    add(s, "more", more_options_are_kept, 1);
    add(s, "refuses", refuses, ARRAY_SIZE(bad));
    return suite_run(s);
}
