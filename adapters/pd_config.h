/* pd_config.h - the settings of a `pd` adapter: names and defaults of LMCache's PdL2AdapterConfig
 * (reference pd-protocol.md, section 6.1) and ours beside them. Level 2.
 *
 * Frozen: filled by conf_set_json and pd_config_check before the adapter is opened, read-only after.
 */
#ifndef L2FS_PD_CONFIG_H
#define L2FS_PD_CONFIG_H

#include "conf.h"

enum pd_role { PD_SENDER, PD_RECEIVER };
enum pd_device { PD_CPU, PD_CUDA };
enum pd_transport { PD_UCX, PD_MOCK_MEMORY, PD_NIXL /* as PD_UCX */ };

#define PD_RANKS_MAX 64 /* ports of one list */
#define PD_PEERS_MAX 256

/* What conf fills, one member per option. */
struct pd_config {
    int role;           /* enum pd_role; required */
    char *peer_host;    /* required; the receiver's address: it binds it, a sender connects to it */
    json_t *init_port;  /* peer_init_port: list of int (or one), by TP rank; required; receiver: 0
                           is a port that the kernel chooses */
    json_t *alloc_port; /* peer_alloc_port; required */
    char *proxy_host;   /* sender: "" means nobody is told */
    int64_t proxy_port; /* 0 .. 65535 */
    uint64_t buffer_size;  /* bytes on their way per rank, not landed yet */
    int buffer_device;     /* enum pd_device */
    int transport;         /* transfer_channel */
    json_t *nixl_backends; /* list of str: UCX_TLS where tls is not given, see pd_config_tls */
    int64_t tp_rank;       /* sender: which entry of the port lists it uses */
    json_t *
        peers; /* sender: {"NAME": {"peer_host":, "peer_init_port":, "peer_alloc_port":, "dir":}} */
    char *ucx_tls;             /* tls: UCX_TLS */
    char *ucx_devices;         /* devices: UCX_NET_DEVICES */
    uint64_t alloc_timeout;    /* ns a request waits for room at the receiver */
    uint64_t transfer_timeout; /* ns for the data of one batch, and one more s per 64 MiB of it */
    uint64_t connect_timeout;  /* ns for a handshake */
    uint64_t lease;            /* ns: receiver takes uncommitted space back */
    uint64_t ttl;              /* ns: landed and never opened */
    uint64_t notify_timeout;   /* ns a proxy notification is tried for */
    uint64_t close_timeout;    /* ns close waits for what is in flight */
    char *
        curve_server_key; /* receiver: file with its secret key; sender: with the receiver's public */
    char *curve_client_key; /* sender: file with its own secret key */
    char *curve_clients;    /* receiver: file of allowed public keys, one a line */
};

extern const struct conf_opt pd_config_options[];

/* A receiver as a sender knows it. Strings live in the config. */
struct pd_target {
    const char
        *name; /* in user.l2fs.peer and .l2fs/peers; peer_host for the one of the top level */
    const char *host;
    uint16_t init_port, alloc_port;
    const char *dir; /* keys below it go there ("" : all that no other takes) */
};

/* Fills what the table cannot check: lists, ranges, which fields a role needs. 0 or -EINVAL with one
 * sentence that names the field, the value and what is allowed. */
int pd_config_check(const void *config, struct text *err);
size_t pd_config_ports(const json_t *list);        /* entries of a port list, or of one number */
size_t pd_config_ranks(const struct pd_config *c); /* entries of the port lists */
uint16_t pd_config_port(const json_t *list, size_t rank);
/* Appends UCX_TLS to the empty `out`: tls, else the names of nixl_backends; nothing where those name
 * UCX or are null: then UCX chooses. 0 or -ENOMEM. */
int pd_config_tls(const struct pd_config *c, struct text *out);
size_t pd_config_targets(const struct pd_config *c); /* sender: 1 + peers */
struct pd_target pd_config_target(const struct pd_config *c, size_t i);
/* Which target a key goes to: that of name `peer` (a name or a host; NULL: not said), else the one
 * with the longest `dir` above the key, else the first. -ENOENT: no such peer. */
int pd_config_route(const struct pd_config *c, const char *key, const char *peer);

#endif
