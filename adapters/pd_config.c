/* pd_config.c - the option table of the pd adapter, and what its values mean together: the ports of
 * a rank, the receivers of a sender, which of them a key goes to.
 *
 * Pure functions on a checked config (pd_config_check.c). A port list may also be one number, as
 * LMCache's YAML has it.
 */
#include "pd_config.h"

#include "key.h"

#define AT(member) offsetof(struct pd_config, member)

static const char *const roles[] = {"sender", "receiver", NULL};
static const char *const devices[] = {"cpu", "cuda", NULL};
static const char *const transports[] = {"ucx", "mock_memory", "nixl", NULL};

const struct conf_opt pd_config_options[] = {
    {.name = "role",
     .type = CONF_ENUM,
     .offset = AT(role),
     .choices = roles,
     .required = true,
     .help = "sender: what is written here goes to receivers; receiver: what they send appears"},
    {.name = "peer_host",
     .type = CONF_STRING,
     .offset = AT(peer_host),
     .required = true,
     .help = "address of the receiver: it binds it (* is every one), a sender connects to it"},
    {.name = "peer_init_port",
     .type = CONF_JSON,
     .offset = AT(init_port),
     .required = true,
     .help = "port of its handshake socket for each TP rank, such as [9051]"},
    {.name = "peer_alloc_port",
     .type = CONF_JSON,
     .offset = AT(alloc_port),
     .required = true,
     .help = "port of its allocation socket for each TP rank, such as [9052]"},
    {.name = "proxy_host",
     .type = CONF_STRING,
     .offset = AT(proxy_host),
     .def = "",
     .help = "sender: who is told that a request is complete; empty: nobody"},
    {.name = "proxy_port",
     .type = CONF_INT,
     .offset = AT(proxy_port),
     .def = "0",
     .min = 0,
     .max = 65535,
     .help = "sender: its port"},
    {.name = "buffer_size",
     .type = CONF_SIZE,
     .offset = AT(buffer_size),
     .def = "64M",
     .min = 4096,
     .max = -1,
     .help = "receiver: bytes on their way for each TP rank, at least those of the largest key"},
    {.name = "buffer_device",
     .type = CONF_ENUM,
     .offset = AT(buffer_device),
     .choices = devices,
     .def = "cpu",
     .help = "receiver: where they land first"},
    {.name = "transfer_channel",
     .type = CONF_ENUM,
     .offset = AT(transport),
     .choices = transports,
     .def = "nixl",
     .help = "nixl is another name for ucx; mock_memory stays within one process"},
    {.name = "nixl_backends",
     .type = CONF_JSON,
     .offset = AT(nixl_backends),
     .def = "[\"tcp\"]",
     .help = "transports for UCX_TLS where tls is not given; [\"UCX\"]: as UCX chooses"},
    {.name = "tp_rank",
     .type = CONF_INT,
     .offset = AT(tp_rank),
     .def = "0",
     .min = 0,
     .max = PD_RANKS_MAX - 1,
     .help = "sender: which entry of the port lists is its own"},
    {.name = "peers",
     .type = CONF_JSON,
     .offset = AT(peers),
     .help = "sender: more receivers, {\"NAME\": {\"peer_host\", \"peer_init_port\", "
             "\"peer_alloc_port\", \"dir\"}, ...}"},
    {.name = "tls",
     .type = CONF_STRING,
     .offset = AT(ucx_tls),
     .help = "UCX_TLS: transports of the data, such as tcp or rc"},
    {.name = "devices",
     .type = CONF_STRING,
     .offset = AT(ucx_devices),
     .help = "UCX_NET_DEVICES: network devices of the data"},
    {.name = "alloc_timeout",
     .type = CONF_DURATION,
     .offset = AT(alloc_timeout),
     .def = "10s",
     .min = 0.01,
     .max = 3600,
     .help = "how long a request waits for room at the receiver"},
    {.name = "transfer_timeout",
     .type = CONF_DURATION,
     .offset = AT(transfer_timeout),
     .def = "30s",
     .min = 0.01,
     .max = 3600,
     .help = "how long the data of one batch may take, besides a second per 64 MiB"},
    {.name = "connect_timeout",
     .type = CONF_DURATION,
     .offset = AT(connect_timeout),
     .def = "5s",
     .min = 0.01,
     .max = 3600,
     .help = "how long a handshake may take"},
    {.name = "lease",
     .type = CONF_DURATION,
     .offset = AT(lease),
     .def = "60s",
     .min = 0.01,
     .max = 86400,
     .help = "receiver: when it takes back room whose sender fell silent"},
    {.name = "ttl",
     .type = CONF_DURATION,
     .offset = AT(ttl),
     .def = "10m",
     .min = 0,
     .max = -1,
     .help = "receiver: when a key that nobody opened goes; 0: never"},
    {.name = "notify_timeout",
     .type = CONF_DURATION,
     .offset = AT(notify_timeout),
     .def = "60s",
     .min = 0.01,
     .max = 86400,
     .help = "sender: how long it tries to tell the proxy"},
    {.name = "close_timeout",
     .type = CONF_DURATION,
     .offset = AT(close_timeout),
     .def = "5s",
     .min = 0,
     .max = 600,
     .help = "how long an unmount waits for what is on its way"},
    {.name = "curve_server_key",
     .type = CONF_STRING,
     .offset = AT(curve_server_key),
     .help = "file with the receiver's key, secret there, public at a sender: plain is refused"},
    {.name = "curve_client_key",
     .type = CONF_STRING,
     .offset = AT(curve_client_key),
     .help = "sender: file with its secret key"},
    {.name = "curve_clients",
     .type = CONF_STRING,
     .offset = AT(curve_clients),
     .help = "receiver: file with the public keys of allowed senders, one a line"},
    {0},
};

/* --- port lists --- */

size_t pd_config_ports(const json_t *list)
{
    return json_is_integer(list) ? 1 : json_array_size(list);
}

uint16_t pd_config_port(const json_t *list, size_t rank)
{
    const json_t *v = json_is_integer(list) ? list : json_array_get(list, rank);

    return (uint16_t)json_integer_value(v);
}

size_t pd_config_ranks(const struct pd_config *c)
{
    return pd_config_ports(c->alloc_port);
}

/* --- transports --- */

int pd_config_tls(const struct pd_config *c, struct text *out)
{
    if (c->ucx_tls) {
        text_puts(out, c->ucx_tls);
    } else {
        for (size_t i = 0; i < json_array_size(c->nixl_backends); i++) {
            const char *name = json_string_value(json_array_get(c->nixl_backends, i));

            if (!strcmp(name, "UCX")) {
                text_fini(out);
                return 0;
            }
            text_printf(out, "%s%s", i ? "," : "", name);
        }
    }
    return out->failed ? -ENOMEM : 0;
}

/* --- the receivers of a sender --- */

static struct pd_target target_of(const struct pd_config *c, const char *name, const json_t *peer)
{
    const char *dir = json_string_value(json_object_get(peer, "dir"));
    const json_t *init = peer ? json_object_get(peer, "peer_init_port") : c->init_port;
    const json_t *alloc = peer ? json_object_get(peer, "peer_alloc_port") : c->alloc_port;
    size_t rank = (size_t)c->tp_rank;

    return (struct pd_target){
        .name = name,
        .host = peer ? json_string_value(json_object_get(peer, "peer_host")) : c->peer_host,
        .init_port = pd_config_port(init, rank),
        .alloc_port = pd_config_port(alloc, rank),
        .dir = dir ? dir : "",
    };
}

size_t pd_config_targets(const struct pd_config *c)
{
    return 1 + json_object_size(c->peers);
}

struct pd_target pd_config_target(const struct pd_config *c, size_t i)
{
    const char *name;
    json_t *peer;

    json_object_foreach(c->peers, name, peer)
    {
        if (--i == 0)
            return target_of(c, name, peer);
    }
    return target_of(c, c->peer_host, NULL);
}

static int route_by_name(const struct pd_config *c, const char *wanted)
{
    int i = 0, by_host = strcmp(c->peer_host, wanted) ? -ENOENT : 0;
    const char *name;
    json_t *peer;

    json_object_foreach(c->peers, name, peer)
    {
        i++;
        if (!strcmp(name, wanted))
            return i;
        if (by_host < 0 && !strcmp(json_string_value(json_object_get(peer, "peer_host")), wanted))
            by_host = i;
    }
    return by_host;
}

int pd_config_route(const struct pd_config *c, const char *key, const char *peer)
{
    int i = 0, best = 0;
    size_t longest = 0;
    const char *name;
    json_t *v;

    if (peer)
        return route_by_name(c, peer);
    json_object_foreach(c->peers, name, v)
    {
        const char *dir = json_string_value(json_object_get(v, "dir"));
        size_t len = dir ? strlen(dir) : 0;

        i++;
        if (len > longest && key_below(key, dir)) {
            longest = len;
            best = i;
        }
    }
    return best;
}
