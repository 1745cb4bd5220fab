/* test_pd_config.c - the settings of the pd adapter: what is read, refused, filled in, and where a
 * key goes. The eight tests of LMCache's plan are here by name. */
#include "pd_config.h"
#include "pd_transport.h"
#include "spec.h"
#include "suite.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define PORTS "\"peer_init_port\": [9051], \"peer_alloc_port\": [9052]"
#define SENDER "\"role\": \"sender\", \"peer_host\": \"decode-1\", " PORTS
#define RECEIVER "\"role\": \"receiver\", \"peer_host\": \"10.0.0.1\", " PORTS

static struct pd_config cfg;
static struct text err;

static void teardown(void)
{
    conf_fini(pd_config_options, &cfg);
    text_fini(&err);
}

/* Reads {MEMBERS}; `err` is that of this one. */
static int parse(const char *members)
{
    struct text t = {0};
    json_error_t where;
    json_t *json;
    int rc;

    teardown();
    text_printf(&t, "{%s}", members);
    json = json_loads(t.data, JSON_REJECT_DUPLICATES, &where);
    ck_assert_msg(json != NULL, "%s: %s", t.data, where.text);
    rc = conf_defaults(pd_config_options, &cfg);
    if (!rc)
        rc = conf_set_json(pd_config_options, &cfg, json, NULL, true, &err);
    if (!rc)
        rc = pd_config_check(&cfg, &err);
    json_decref(json);
    text_fini(&t);
    return rc;
}

static void must_parse(const char *members)
{
    int rc = parse(members);

    ck_assert_msg(!rc, "%s: %s", members, err.data ? err.data : "no reason given");
}

static void must_refuse(const char *members, const char *says)
{
    ck_assert_msg(parse(members) != 0, "%s was taken", members);
    ck_assert_msg(err.data && strstr(err.data, says), "%s: said \"%s\", not \"%s\"", members,
                  err.data ? err.data : "", says);
}

/* --- the eight --- */

START_TEST(test_parse_minimal_sender_config)
{
    struct pd_target t;

    must_parse(SENDER);
    ck_assert_int_eq(cfg.role, PD_SENDER);
    ck_assert_uint_eq(pd_config_ranks(&cfg), 1);
    ck_assert_uint_eq(pd_config_targets(&cfg), 1);
    t = pd_config_target(&cfg, 0);
    ck_assert_str_eq(t.name, "decode-1");
    ck_assert_str_eq(t.host, "decode-1");
    ck_assert_str_eq(t.dir, "");
    ck_assert_uint_eq(t.init_port, 9051);
    ck_assert_uint_eq(t.alloc_port, 9052);
}
END_TEST

START_TEST(test_parse_minimal_receiver_config)
{
    must_parse(RECEIVER);
    ck_assert_int_eq(cfg.role, PD_RECEIVER);
    ck_assert_str_eq(cfg.peer_host, "10.0.0.1");
    ck_assert_uint_eq(pd_config_port(cfg.init_port, 0), 9051);
    ck_assert_uint_eq(pd_config_port(cfg.alloc_port, 0), 9052);
}
END_TEST

START_TEST(test_fail_on_missing_required)
{
    static const char *const members[] = {"\"role\": \"sender\"", "\"peer_host\": \"h\"",
                                          "\"peer_init_port\": [1]", "\"peer_alloc_port\": [2]"};
    static const char *const names[] = {"role", "peer_host", "peer_init_port", "peer_alloc_port"};

    for (size_t missing = 0; missing < ARRAY_SIZE(members); missing++) {
        struct text t = {0}, says = {0};

        for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
            if (i != missing)
                text_printf(&t, "%s%s", t.len ? ", " : "", members[i]);
        }
        text_printf(&says, "option %s is required", names[missing]);
        must_refuse(t.data, says.data);
        text_fini(&t);
        text_fini(&says);
    }
    must_refuse("\"role\": \"sender\", \"peer_host\": \"\", " PORTS, "option peer_host: \"\"");
}
END_TEST

START_TEST(test_fail_on_invalid_role)
{
    must_refuse("\"role\": \"both\", \"peer_host\": \"h\", " PORTS,
                "option role: \"both\" is not allowed, expected one of sender, receiver");
    must_refuse("\"role\": 1, \"peer_host\": \"h\", " PORTS, "option role");
}
END_TEST

START_TEST(test_help_contains_all_field_names)
{
    static const char *const names[] = {
        "role",
        "peer_host",
        "peer_init_port",
        "peer_alloc_port",
        "proxy_host",
        "proxy_port",
        "buffer_size",
        "buffer_device",
        "transfer_channel",
        "nixl_backends",
        "tp_rank",
        "peers",
        "tls",
        "devices",
        "alloc_timeout",
        "transfer_timeout",
        "connect_timeout",
        "lease",
        "ttl",
        "notify_timeout",
        "close_timeout",
        "curve_server_key",
        "curve_client_key",
        "curve_clients",
    };
    struct text t = {0};
    size_t lines = 0;
    char *line, *rest;

    conf_help(pd_config_options, &t);
    rest = t.data;
    while ((line = strsep(&rest, "\n")) && *line) {
        size_t len = strlen(names[lines]);

        ck_assert_int_eq(strncmp(line, "  ", 2), 0);
        ck_assert_msg(!strncmp(line + 2, names[lines], len) && line[2 + len] == '=', "%s", line);
        ck_assert_msg(!strstr(line, "(required)") == (lines > 3), "%s", line);
        ck_assert_msg(!(strstr(line, "(optional)") || strstr(line, "(default: ")) == (lines <= 3),
                      "%s", line);
        lines++;
    }
    ck_assert_uint_eq(lines, ARRAY_SIZE(names));
    text_fini(&t);
}
END_TEST

START_TEST(test_all_fields_round_trip)
{
    static const char all[] =
        "\"role\": \"sender\", \"peer_host\": \"decode-1\", \"peer_init_port\": [1, 2], "
        "\"peer_alloc_port\": [3, 4], \"proxy_host\": \"proxy\", \"proxy_port\": 7500, "
        "\"buffer_size\": 1073741824, \"buffer_device\": \"cuda\", \"transfer_channel\": "
        "\"mock_memory\", \"nixl_backends\": [\"UCX\"], \"tp_rank\": 1, \"peers\": {\"d2\": "
        "{\"peer_host\": \"h2\", \"peer_init_port\": [5, 6], \"peer_alloc_port\": [7, 8], "
        "\"dir\": \"m/a\"}}, \"tls\": \"rc,ud\", \"devices\": \"mlx5_0:1\", \"alloc_timeout\": 1, "
        "\"transfer_timeout\": 2, \"connect_timeout\": 3, \"lease\": 4, \"ttl\": 5, "
        "\"notify_timeout\": 6, \"close_timeout\": 7, \"curve_server_key\": \"/k/s\", "
        "\"curve_client_key\": \"/k/c\"";
    struct text t = {0};
    json_t *given, *out;

    must_parse(all);
    text_printf(&t, "{%s, \"curve_clients\": null}", all);
    given = json_loads(t.data, 0, NULL);
    out = conf_to_json(pd_config_options, &cfg);
    ck_assert_uint_eq(json_object_size(out), 24);
    ck_assert(json_equal(given, out));
    json_decref(given);
    json_decref(out);
    text_fini(&t);
}
END_TEST

START_TEST(test_defaults_applied)
{
    struct text tls = {0};

    must_parse(SENDER);
    ck_assert_str_eq(cfg.proxy_host, "");
    ck_assert_int_eq(cfg.proxy_port, 0);
    ck_assert_uint_eq(cfg.buffer_size, 67108864);
    ck_assert_int_eq(cfg.buffer_device, PD_CPU);
    ck_assert_int_eq(cfg.transport, PD_NIXL);
    ck_assert_uint_eq(json_array_size(cfg.nixl_backends), 1);
    ck_assert_int_eq(pd_config_tls(&cfg, &tls), 0);
    ck_assert_str_eq(tls.data, "tcp");
    ck_assert_int_eq(cfg.tp_rank, 0);
    ck_assert_ptr_null(cfg.peers);
    ck_assert_ptr_null(cfg.ucx_tls);
    ck_assert_ptr_null(cfg.ucx_devices);
    ck_assert_uint_eq(cfg.alloc_timeout, 10 * NSEC_PER_SEC);
    ck_assert_uint_eq(cfg.transfer_timeout, 30 * NSEC_PER_SEC);
    ck_assert_uint_eq(cfg.connect_timeout, 5 * NSEC_PER_SEC);
    ck_assert_uint_eq(cfg.lease, 60 * NSEC_PER_SEC);
    ck_assert_uint_eq(cfg.ttl, 600 * NSEC_PER_SEC);
    ck_assert_uint_eq(cfg.notify_timeout, 60 * NSEC_PER_SEC);
    ck_assert_uint_eq(cfg.close_timeout, 5 * NSEC_PER_SEC);
    ck_assert_ptr_null(cfg.curve_server_key);
    ck_assert_ptr_null(cfg.curve_client_key);
    ck_assert_ptr_null(cfg.curve_clients);
    text_fini(&tls);
}
END_TEST

START_TEST(test_registered_in_factory)
{
    size_t n = 0;

    for (size_t i = 0; adapter_registry[i]; i++) {
        if (strcmp(adapter_registry[i]->name, "pd"))
            continue;
        n++;
        ck_assert_ptr_eq(adapter_registry[i]->options, pd_config_options);
        ck_assert_uint_eq(adapter_registry[i]->config_size, sizeof(struct pd_config));
        ck_assert_ptr_nonnull(adapter_registry[i]->open);
    }
    ck_assert_uint_eq(n, 1);
}
END_TEST

/* --- through the factory --- */

static int parse_spec(const char *members, struct spec *spec)
{
    struct text t = {0};
    json_t *json;
    int rc;

    text_fini(&err);
    text_printf(&t, "{\"type\": \"pd\", %s}", members);
    json = json_loads(t.data, 0, NULL);
    ck_assert_msg(json != NULL, "%s", t.data);
    rc = spec_parse(json, spec, &err);
    json_decref(json);
    text_fini(&t);
    return rc;
}

START_TEST(eviction_and_persist_are_parsed)
{
    struct eviction ev;
    struct spec spec;
    json_t *config;

    ck_assert_int_eq(parse_spec(RECEIVER ", \"persist_enabled\": false, \"eviction\": "
                                         "{\"eviction_policy\": \"FIFO\", "
                                         "\"trigger_watermark\": 0.7}",
                                &spec),
                     0);
    ck_assert(!spec.common.persist_enabled);
    config = spec_to_json(&spec);
    ck_assert(spec_eviction(config, &ev));
    ck_assert_int_eq(ev.policy, EVICT_FIFO);
    ck_assert_double_eq_tol(ev.watermark, 0.7, 1e-9);
    ck_assert_double_eq_tol(ev.ratio, 0.2, 1e-9);
    json_decref(config);
    spec_fini(&spec);
    ck_assert_int_eq(parse_spec(RECEIVER ", \"eviction\": {\"eviction_policy\": \"x\"}", &spec),
                     -EINVAL);
    ck_assert_int_eq(parse_spec(SENDER ", \"persist_enabled\": 1", &spec), -EINVAL);
}
END_TEST

/* The effective configuration is one that is taken again, with every default in it. */
START_TEST(effective_config_is_a_spec)
{
    struct spec spec, again;
    json_t *config;

    ck_assert_int_eq(parse_spec(SENDER, &spec), 0);
    config = spec_to_json(&spec);
    ck_assert_msg(!spec_parse(config, &again, &err), "%s", err.data);
    spec_fini(&again);
    json_decref(config);
    spec_fini(&spec);
}
END_TEST

/* --- what is refused --- */

START_TEST(refuses)
{
    static const struct {
        const char *members, *says;
    } bad[] = {
        {RECEIVER ", \"buffer_device\": \"xpu\"", "option buffer_device: \"xpu\" is not allowed"},
        {RECEIVER ", \"transfer_channel\": \"py_socket\"",
         "expected one of ucx, mock_memory, nixl"},
        {RECEIVER ", \"buffer_size\": 0", "option buffer_size"},
        {RECEIVER ", \"proxy_port\": 65536", "option proxy_port"},
        {RECEIVER ", \"lease\": 0", "option lease"},
        {RECEIVER ", \"nixl_backends\": []", "option nixl_backends"},
        {RECEIVER ", \"nixl_backends\": \"tcp\"", "option nixl_backends"},
        {RECEIVER ", \"nixl_backends\": [\"tcp\", 1]", "option nixl_backends"},
        {RECEIVER ", \"peers\": {}", "option peers: not allowed for role=receiver"},
        {RECEIVER ", \"curve_client_key\": \"/k\"", "option curve_client_key: not allowed"},
        {RECEIVER ", \"curve_clients\": \"/k\"", "option curve_server_key: needed"},
        {RECEIVER ", \"curve_server_key\": \"k\"", "expected the absolute path"},
        {RECEIVER ", \"peer_port\": 1", "unknown option \"peer_port\"; did you mean"},
        {SENDER ", \"curve_clients\": \"/k\"", "option curve_clients: not allowed for role=sender"},
        {SENDER ", \"curve_server_key\": \"/k\"", "option curve_client_key: needed"},
        {SENDER ", \"proxy_host\": \"p\"", "option proxy_port: needed with proxy_host"},
        {SENDER ", \"proxy_port\": 7500", "option proxy_host: \"\""},
        {SENDER ", \"proxy_host\": \"tcp://p\", \"proxy_port\": 1",
         "option proxy_host: \"tcp://p\""},
        {SENDER ", \"tp_rank\": 1", "option tp_rank: 1, but the port lists of decode-1 have 1"},
        {"\"role\": \"sender\", \"peer_host\": \"*\", " PORTS, "option peer_host: \"*\""},
        {"\"role\": \"sender\", \"peer_host\": \"a;b\", " PORTS, "option peer_host: \"a;b\""},
    };

    must_refuse(bad[_i].members, bad[_i].says);
}
END_TEST
#define REFUSES 21

START_TEST(refuses_ports)
{
    static const struct {
        const char *role, *init, *alloc, *says;
    } bad[] = {
        {"sender", "[]", "[]", "option peer_init_port: [] is not allowed"},
        {"sender", "[0]", "[1]", "option peer_init_port: [0] is not allowed"},
        {"sender", "[1]", "[65536]", "option peer_alloc_port: [65536] is not allowed"},
        {"sender", "[1]", "[\"2\"]", "option peer_alloc_port"},
        {"sender", "[1]", "\"2\"", "option peer_alloc_port"},
        {"sender", "[1]", "[2.0]", "option peer_alloc_port"},
        {"receiver", "[-1]", "[1]", "from 0 to 65535"},
        {"receiver", "[1, 2]", "[3]", "1 ports, but peer_init_port has 2"},
        {"receiver", "[1, 2]", "[3, 1]", "port 1 is given twice"},
        {"receiver", "7", "7", "port 7 is given twice"},
    };
    struct text t = {0};

    text_printf(&t,
                "\"role\": \"%s\", \"peer_host\": \"h\", \"peer_init_port\": %s, "
                "\"peer_alloc_port\": %s",
                bad[_i].role, bad[_i].init, bad[_i].alloc);
    must_refuse(t.data, bad[_i].says);
    text_fini(&t);
}
END_TEST
#define REFUSES_PORTS 10

START_TEST(refuses_too_many_ranks)
{
    struct text t = {0};

    text_puts(&t, "\"role\": \"receiver\", \"peer_host\": \"h\", \"peer_alloc_port\": 1, "
                  "\"peer_init_port\": [0");
    for (int i = 0; i < PD_RANKS_MAX; i++)
        text_puts(&t, ", 0");
    text_puts(&t, "]");
    must_refuse(t.data, "expected a list of 1 to 64 ports");
    text_fini(&t);
}
END_TEST

#define PEER(more) ", \"peers\": {\"d2\": {\"peer_host\": \"h2\", " PORTS more "}}"

START_TEST(refuses_peers)
{
    static const struct {
        const char *peers, *says;
    } bad[] = {
        {", \"peers\": []", "option peers: expected a JSON object"},
        {", \"peers\": {\"a/b\": {}}", "option peers: \"a/b\" is not allowed"},
        {", \"peers\": {\"\": {}}", "option peers: \"\" is not allowed"},
        {", \"peers\": {\"decode-1\": {}}", "option peers: \"decode-1\" is not allowed"},
        {", \"peers\": {\"d2\": 7}", "peer \"d2\": expected a JSON object"},
        {", \"peers\": {\"d2\": {}}", "peer \"d2\": option peer_host is required"},
        {PEER(", \"role\": \"sender\""), "peer \"d2\": unknown option \"role\""},
        {PEER(", \"dir\": \"/a\""), "peer \"d2\": option dir: \"/a\" is not allowed"},
        {", \"peers\": {\"d2\": {\"peer_host\": \"h\", \"peer_init_port\": [0], "
         "\"peer_alloc_port\": [1]}}",
         "peer \"d2\": option peer_init_port: [0] is not allowed"},
        {", \"peers\": {\"d2\": {\"peer_host\": \"h\", " PORTS ", \"dir\": \"a\"}, \"d3\": "
         "{\"peer_host\": \"h\", " PORTS ", \"dir\": \"a\"}}",
         "peer \"d3\": option dir: \"a\" is not allowed, expected another directory"},
    };
    struct text t = {0};

    text_printf(&t, "%s%s", SENDER, bad[_i].peers);
    must_refuse(t.data, bad[_i].says);
    text_fini(&t);
}
END_TEST
#define REFUSES_PEERS 10

/* --- what values mean --- */

START_TEST(one_number_is_a_list_of_one)
{
    must_parse("\"role\": \"receiver\", \"peer_host\": \"*\", \"peer_init_port\": 7300, "
               "\"peer_alloc_port\": 0");
    ck_assert_uint_eq(pd_config_ranks(&cfg), 1);
    ck_assert_uint_eq(pd_config_port(cfg.init_port, 0), 7300);
    ck_assert_uint_eq(pd_config_port(cfg.alloc_port, 0), 0);
}
END_TEST

START_TEST(names_of_the_channel)
{
    must_parse(SENDER ", \"transfer_channel\": \"ucx\"");
    ck_assert_int_eq(cfg.transport, PD_UCX);
    must_parse(SENDER ", \"transfer_channel\": \"mock_memory\"");
    ck_assert_int_eq(cfg.transport, PD_MOCK_MEMORY);
}
END_TEST

START_TEST(transports_for_ucx)
{
    static const struct {
        const char *members, *tls;
    } rows[] = {
        {SENDER ", \"nixl_backends\": [\"UCX\"]", NULL},
        {SENDER ", \"nixl_backends\": [\"tcp\", \"UCX\"]", NULL},
        {SENDER ", \"nixl_backends\": null", NULL},
        {SENDER ", \"nixl_backends\": [\"rc\", \"tcp\"]", "rc,tcp"},
        {SENDER ", \"nixl_backends\": [\"UCX\"], \"tls\": \"tcp,self\"", "tcp,self"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct text tls = {0};

        must_parse(rows[i].members);
        ck_assert_int_eq(pd_config_tls(&cfg, &tls), 0);
        ck_assert_pstr_eq(tls.data, rows[i].tls);
        text_fini(&tls);
    }
}
END_TEST

START_TEST(rank_chooses_the_ports)
{
    struct pd_target t;

    must_parse(
        "\"role\": \"sender\", \"peer_host\": \"h\", \"peer_init_port\": [1, 2, 3], "
        "\"peer_alloc_port\": [4, 5, 6], \"tp_rank\": 2, \"peers\": {\"d2\": {\"peer_host\": "
        "\"h2\", \"peer_init_port\": [11, 12, 13], \"peer_alloc_port\": [14, 15, 16]}}");
    ck_assert_uint_eq(pd_config_ranks(&cfg), 3);
    t = pd_config_target(&cfg, 0);
    ck_assert_uint_eq(t.init_port, 3);
    ck_assert_uint_eq(t.alloc_port, 6);
    t = pd_config_target(&cfg, 1);
    ck_assert_str_eq(t.name, "d2");
    ck_assert_str_eq(t.host, "h2");
    ck_assert_uint_eq(t.init_port, 13);
    ck_assert_uint_eq(t.alloc_port, 16);
    must_refuse("\"role\": \"sender\", \"peer_host\": \"h\", \"peer_init_port\": [1, 2], "
                "\"peer_alloc_port\": [4, 5], \"tp_rank\": 1" PEER(""),
                "peer \"d2\": option tp_rank: 1, but the port lists of d2 have 1");
}
END_TEST

START_TEST(keys_find_their_receiver)
{
    static const struct {
        const char *key, *peer;
        int to;
    } rows[] = {
        {"x", NULL, 0},    {"m/x", NULL, 1},        {"m/a/x", NULL, 2}, {"m/ab", NULL, 1},
        {"mm/x", NULL, 0}, {"m/x", "decode-1", 0},  {"x", "d2", 1},     {"x", "h3", 2},
        {"x", "same", 1},  {"x", "other", -ENOENT}, {"x", "", -ENOENT},
    };

    must_parse(SENDER ", \"peers\": {"
                      "\"d2\": {\"peer_host\": \"same\", " PORTS ", \"dir\": \"m\"}, "
                      "\"d3\": {\"peer_host\": \"h3\", " PORTS ", \"dir\": \"m/a\"}, "
                      "\"d4\": {\"peer_host\": \"same\", " PORTS "}}");
    ck_assert_uint_eq(pd_config_targets(&cfg), 4);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        ck_assert_int_eq(pd_config_route(&cfg, rows[i].key, rows[i].peer), rows[i].to);
}
END_TEST

START_TEST(one_address_is_one_device)
{
    static const char *const none[] = {"*", "203.0.113.77"};
    static const char *const loopback[] = {"127.0.0.1", "localhost"};
    struct text device = {0};

    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        ck_assert_int_eq(pd_transport_device(none[i], &device), 0);
        ck_assert_uint_eq(device.len, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(loopback); i++) {
        ck_assert_int_eq(pd_transport_device(loopback[i], &device), 0);
        ck_assert_str_eq(device.data, "lo");
        text_fini(&device);
    }
}
END_TEST

START_TEST(a_sender_takes_the_ways_to_its_receivers)
{
    static const char *const more[] = {"localhost", "127.0.0.1", "fe80::1" /* of which link? */};
    struct text devices = {0};

    for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
        char members[512];

        snprintf(members, sizeof(members),
                 "\"role\": \"sender\", \"peer_host\": \"127.0.0.1\", " PORTS
                 ", \"peers\": {\"d2\": {\"peer_host\": \"%s\", " PORTS "}}",
                 more[i]);
        must_parse(members);
        ck_assert_int_eq(pd_transport_routes(&cfg, &devices), 0);
        ck_assert_str_eq(devices.data ? devices.data : "", i < 2 ? "lo" : "");
        text_fini(&devices);
    }
}
END_TEST

/* In a network of its own: a second address of lo, as ifconfig names it. */
static bool add_labelled(const char *address, const char *label)
{
    AUTO_CLOSE int fd = unshare(CLONE_NEWUSER | CLONE_NEWNET) ? -1 : socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP}, add = {0};

    snprintf(add.ifr_name, sizeof(add.ifr_name), "%s", label);
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&add.ifr_addr, &in, sizeof(in));
    return fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &up) && !ioctl(fd, SIOCSIFADDR, &add);
}

START_TEST(a_label_is_no_device)
{
    struct text device = {0};

    if (!add_labelled("10.9.8.7", "lo:1"))
        return; /* nobody may make networks here */
    ck_assert_int_eq(pd_transport_device("10.9.8.7", &device), 0);
    ck_assert_str_eq(device.data, "lo");
    text_fini(&device);
    must_parse("\"role\": \"sender\", \"peer_host\": \"10.9.8.7\", " PORTS);
    ck_assert_int_eq(pd_transport_routes(&cfg, &device), 0);
    ck_assert_str_eq(device.data, "lo");
    text_fini(&device);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_config");
    TCase *tc = tcase_create("values");

    suite_add(s, "plan",
              TESTS(test_parse_minimal_sender_config, test_parse_minimal_receiver_config,
                    test_fail_on_missing_required, test_fail_on_invalid_role,
                    test_help_contains_all_field_names, test_all_fields_round_trip,
                    test_defaults_applied, test_registered_in_factory));
    suite_add(s, "factory", TESTS(eviction_and_persist_are_parsed, effective_config_is_a_spec));
    suite_add(s, "meaning",
              TESTS(refuses_too_many_ranks, one_number_is_a_list_of_one, names_of_the_channel,
                    transports_for_ucx, one_address_is_one_device,
                    a_sender_takes_the_ways_to_its_receivers, a_label_is_no_device,
                    rank_chooses_the_ports, keys_find_their_receiver));
    tcase_add_loop_test(tc, refuses, 0, REFUSES);
    tcase_add_loop_test(tc, refuses_ports, 0, REFUSES_PORTS);
    tcase_add_loop_test(tc, refuses_peers, 0, REFUSES_PEERS);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
