/* pd_config_check.c - what the option table of the pd adapter cannot say: lists, ranges, hosts, and
 * which options a role needs or refuses.
 *
 * Pure functions. The members of `peers` have a table of their own, so their errors read like those
 * of any option.
 */
#include "key.h"
#include "pd_config.h"

/* One member of `peers`. */
struct peer {
    char *host;
    json_t *init_port, *alloc_port;
    char *dir;
};

static const struct conf_opt peer_options[] = {
    {.name = "peer_host",
     .type = CONF_STRING,
     .offset = offsetof(struct peer, host),
     .required = 1},
    {.name = "peer_init_port",
     .type = CONF_JSON,
     .offset = offsetof(struct peer, init_port),
     .required = true},
    {.name = "peer_alloc_port",
     .type = CONF_JSON,
     .offset = offsetof(struct peer, alloc_port),
     .required = true},
    {.name = "dir", .type = CONF_STRING, .offset = offsetof(struct peer, dir), .def = ""},
    {0},
};

/* --- port lists --- */

static int bad_ports(const char *name, const json_t *list, bool any, struct text *err)
{
    AUTO_FREE char *shown = json_dumps(list, JSON_ENCODE_ANY | JSON_COMPACT);

    text_printf(err,
                "option %s: %.80s is not allowed, expected a list of 1 to %d ports from %d to "
                "65535, one for each TP rank, such as [9051]",
                name, shown ? shown : "null", PD_RANKS_MAX, any ? 0 : 1);
    return -EINVAL;
}

/* `any`: 0 stands for a port that the kernel chooses. */
static int check_ports(const char *name, const json_t *list, bool any, struct text *err)
{
    size_t n = pd_config_ports(list);

    if (!n || n > PD_RANKS_MAX)
        return bad_ports(name, list, any, err);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_integer(list) ? list : json_array_get(list, i);
        json_int_t port = json_integer_value(v);

        if (!json_is_integer(v) || port < !any || port > 65535)
            return bad_ports(name, list, any, err);
    }
    return 0;
}

/* The sockets of one receiver: each has a port of its own. */
static int check_distinct(const json_t *init, const json_t *alloc, struct text *err)
{
    size_t n = pd_config_ports(init);

    for (size_t i = 0; i < 2 * n; i++) {
        uint16_t port = i < n ? pd_config_port(init, i) : pd_config_port(alloc, i - n);

        for (size_t k = 0; k < i && port; k++) {
            if (port == (k < n ? pd_config_port(init, k) : pd_config_port(alloc, k - n))) {
                text_printf(err,
                            "option peer_alloc_port: port %u is given twice, expected another one "
                            "for each socket and TP rank",
                            port);
                return -EINVAL;
            }
        }
    }
    return 0;
}

static int check_lists(const json_t *init, const json_t *alloc, bool any, struct text *err)
{
    int rc = check_ports("peer_init_port", init, any, err);

    if (!rc)
        rc = check_ports("peer_alloc_port", alloc, any, err);
    if (rc)
        return rc;
    if (pd_config_ports(init) != pd_config_ports(alloc)) {
        text_printf(err,
                    "option peer_alloc_port: %zu ports, but peer_init_port has %zu, expected one "
                    "for each TP rank in both",
                    pd_config_ports(alloc), pd_config_ports(init));
        return -EINVAL;
    }
    return check_distinct(init, alloc, err);
}

/* --- text --- */

static int refuse(const char *name, const char *value, const char *expected, struct text *err)
{
    text_printf(err, "option %s: \"%.80s\" is not allowed, expected %s", name, value, expected);
    return -EINVAL;
}

static int check_host(const char *name, const char *host, struct text *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";

    if (!host || !*host || strlen(host) > 255 || host[strspn(host, allowed)])
        return refuse(name, host ? host : "", "a host name or an address without brackets", err);
    return 0;
}

static int check_file(const char *name, const char *path, struct text *err)
{
    if (path && path[0] != '/')
        return refuse(name, path, "the absolute path of a key file", err);
    return 0;
}

/* `value` belongs to the other role. */
static int check_absent(const char *name, bool given, const char *role, struct text *err)
{
    if (given)
        text_printf(err, "option %s: not allowed for role=%s", name, role);
    return given ? -EINVAL : 0;
}

static int check_tp_rank(const struct pd_config *c, const json_t *list, const char *of,
                         struct text *err)
{
    if ((size_t)c->tp_rank < pd_config_ports(list))
        return 0;
    text_printf(err, "option tp_rank: %lld, but the port lists of %.80s have %zu",
                (long long)c->tp_rank, of, pd_config_ports(list));
    return -EINVAL;
}

static int check_backends(const json_t *list, struct text *err)
{
    if (!list)
        return 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));

        if (!name || !*name || strlen(name) > 64 || strchr(name, ','))
            list = NULL;
    }
    if (json_array_size(list) && json_array_size(list) <= 64)
        return 0;
    text_puts(err,
              "option nixl_backends: expected a list of names, such as [\"tcp\"] or [\"UCX\"]");
    return -EINVAL;
}

/* --- the receivers of a sender --- */

static int check_dir(const char *dir, struct text *err)
{
    if (*dir && key_check(dir, false))
        return refuse("dir", dir, "a directory below the mount, without / at its ends", err);
    return 0;
}

static int check_peer(const struct pd_config *c, const char *name, json_t *v, struct text *err)
{
    struct peer p;
    int rc = conf_defaults(peer_options, &p);

    if (rc)
        return rc;
    rc = conf_set_json(peer_options, &p, v, NULL, true, err);
    if (!rc)
        rc = check_host("peer_host", p.host, err);
    if (!rc)
        rc = check_lists(p.init_port, p.alloc_port, false, err);
    if (!rc)
        rc = check_tp_rank(c, p.alloc_port, name, err);
    if (!rc && p.dir)
        rc = check_dir(p.dir, err);
    conf_fini(peer_options, &p);
    return rc == -ENOENT ? -EINVAL : rc;
}

static int check_same_dir(const struct pd_config *c, const char *name, struct text *err)
{
    const char *dir = json_string_value(json_object_get(json_object_get(c->peers, name), "dir"));
    const char *other;
    json_t *v;

    json_object_foreach(c->peers, other, v)
    {
        const char *taken = json_string_value(json_object_get(v, "dir"));

        if (!strcmp(other, name))
            return 0;
        if (dir && *dir && taken && !strcmp(dir, taken))
            return refuse("dir", dir, "another directory for each peer", err);
    }
    return 0;
}

static int check_peers(const struct pd_config *c, struct text *err)
{
    const char *name;
    json_t *v;

    if (c->peers && (!json_is_object(c->peers) || json_object_size(c->peers) > PD_PEERS_MAX)) {
        text_printf(err, "option peers: expected a JSON object of at most %d receivers by name",
                    PD_PEERS_MAX);
        return -EINVAL;
    }
    json_object_foreach(c->peers, name, v)
    {
        struct text why = {0};
        int rc;

        if (!*name || strlen(name) > KEY_NAME_MAX || strchr(name, '/') ||
            !strcmp(name, c->peer_host))
            return refuse("peers", name, "names without /, other than peer_host", err);
        rc = check_peer(c, name, v, &why);
        if (!rc)
            rc = check_same_dir(c, name, &why);
        if (rc)
            text_printf(err, "peer \"%.80s\": %s", name, why.data ? why.data : strerror(-rc));
        text_fini(&why);
        if (rc)
            return rc;
    }
    return 0;
}

/* --- the roles --- */

static int check_proxy(const struct pd_config *c, struct text *err)
{
    const char *host = c->proxy_host ? c->proxy_host : "";

    if (!*host && !c->proxy_port)
        return 0;
    if (*host && !c->proxy_port) {
        text_puts(err,
                  "option proxy_port: needed with proxy_host, expected a port from 1 to 65535");
        return -EINVAL;
    }
    return check_host("proxy_host", host, err);
}

static int check_sender(const struct pd_config *c, struct text *err)
{
    int rc = check_host("peer_host", c->peer_host, err);

    if (!rc)
        rc = check_tp_rank(c, c->alloc_port, c->peer_host, err);
    if (!rc)
        rc = check_proxy(c, err);
    if (!rc)
        rc = check_peers(c, err);
    if (!rc)
        rc = check_absent("curve_clients", c->curve_clients, "sender", err);
    if (!rc && !c->curve_server_key != !c->curve_client_key) {
        text_puts(err, "option curve_client_key: needed with curve_server_key, and the other way "
                       "round, for role=sender");
        rc = -EINVAL;
    }
    return rc;
}

static int check_receiver(const struct pd_config *c, struct text *err)
{
    int rc = strcmp(c->peer_host, "*") ? check_host("peer_host", c->peer_host, err) : 0;

    if (!rc)
        rc = check_absent("peers", c->peers, "receiver", err);
    if (!rc)
        rc = check_absent("curve_client_key", c->curve_client_key, "receiver", err);
    if (!rc && c->curve_clients && !c->curve_server_key) {
        text_puts(err, "option curve_server_key: needed with curve_clients, expected the file of "
                       "the receiver's secret key");
        rc = -EINVAL;
    }
    return rc;
}

int pd_config_check(const void *config, struct text *err)
{
    const struct pd_config *c = config;
    bool sender = c->role == PD_SENDER;
    int rc = check_lists(c->init_port, c->alloc_port, !sender, err);

    if (!rc)
        rc = check_backends(c->nixl_backends, err);
    if (!rc)
        rc = check_file("curve_server_key", c->curve_server_key, err);
    if (!rc)
        rc = check_file("curve_client_key", c->curve_client_key, err);
    if (!rc)
        rc = check_file("curve_clients", c->curve_clients, err);
    if (!rc)
        rc = sender ? check_sender(c, err) : check_receiver(c, err);
    return rc;
}
