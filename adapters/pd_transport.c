/* pd_transport.c - what UCX is told: which transports, and which network devices.
 *
 * UCX listens on every device that it may use, and over tcp it does not ask whether one leads to the peer. So
 * a receiver that is to be reached at one address only takes the device of that address, and a sender
 * those that the kernel sends by to its receivers.
 *
 * Any thread.
 */
#include "pd_transport.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

#include "log.h"

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (!a || !b || a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                   &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr));
}

static const char *device_of(const struct addrinfo *wanted, const struct ifaddrs *all)
{
    for (; wanted; wanted = wanted->ai_next) {
        for (const struct ifaddrs *i = all; i; i = i->ifa_next)
            if (same_address(i->ifa_addr, wanted->ai_addr))
                return i->ifa_name;
    }
    return NULL;
}

/* The address that packets to `to` have; false: no way leads there. */
static bool source_of(const struct addrinfo *to, struct sockaddr_storage *out)
{
    AUTO_CLOSE int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*out);

    return fd >= 0 && !connect(fd, to->ai_addr, to->ai_addrlen) &&
           !getsockname(fd, (struct sockaddr *)out, &len);
}

/* Of an address that has a label the name is that ("eth0:1"). */
static void add_device(const char *name, struct text *out)
{
    size_t len = strcspn(name, ":");

    for (const char *at = out->data; at && *at; at += strcspn(at, ",")) {
        at += *at == ',';
        if (strcspn(at, ",") == len && !strncmp(at, name, len))
            return;
    }
    text_printf(out, "%s%.*s", out->len ? "," : "", (int)len, name);
}

static bool add_route(const char *host, const struct ifaddrs *all, struct text *out)
{
    const struct addrinfo hints = {.ai_family = strchr(host, ':') ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_DGRAM};
    struct sockaddr_storage from;
    struct addrinfo *to, source = {.ai_addr = (struct sockaddr *)&from};
    const char *name;

    if (getaddrinfo(host, "9", &hints, &to))
        return false;
    name = source_of(to, &from) ? device_of(&source, all) : NULL;
    freeaddrinfo(to);
    if (name)
        add_device(name, out);
    return name;
}

int pd_transport_routes(const struct pd_config *c, struct text *out)
{
    struct ifaddrs *all;
    bool known = true;

    if (getifaddrs(&all))
        return 0;
    for (size_t i = 0; known && i < pd_config_targets(c); i++)
        known = add_route(pd_config_target(c, i).host, all, out);
    freeifaddrs(all);
    if (!known)
        text_fini(out);
    return out->failed ? -ENOMEM : 0;
}

int pd_transport_device(const char *host, struct text *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *wanted;
    struct ifaddrs *all;
    const char *name;

    if (!strcmp(host, "*") || getaddrinfo(host, NULL, &hints, &wanted))
        return 0;
    if (!getifaddrs(&all)) {
        name = device_of(wanted, all);
        if (name)
            add_device(name, out);
        freeifaddrs(all);
    }
    freeaddrinfo(wanted);
    return out->failed ? -ENOMEM : 0;
}

/* To bring bytes into a GPU's memory UCX needs a transport of its own. */
static void add_cuda(struct text *tls)
{
    if (tls->len && tls->data[0] != '^' && !strstr(tls->data, "cuda"))
        text_puts(tls, ",cuda_copy");
}

static bool may_choose_devices(const struct pd_config *c, const struct text *tls)
{
    return c->transport != PD_MOCK_MEMORY && tls->len && !strcmp(tls->data, "tcp") &&
           !getenv("UCX_NET_DEVICES");
}

static int choose_devices(const struct pd_config *c, struct text *out)
{
    int err = c->role == PD_RECEIVER ? pd_transport_device(c->peer_host, out)
                                     : pd_transport_routes(c, out);

    if (!err)
        log_debug("pd: data goes by %s", out->len ? out->data : "any network device");
    return err;
}

static int choose(const struct pd_config *c, struct text *tls, struct text *devices)
{
    int err = pd_config_tls(c, tls);

    if (!err && c->ucx_devices)
        text_puts(devices, c->ucx_devices);
    else if (!err && may_choose_devices(c, tls))
        err = choose_devices(c, devices);
    if (c->buffer_device == PD_CUDA)
        add_cuda(tls);
    return tls->failed || devices->failed ? -ENOMEM : err;
}

int pd_transport_create(const struct pd_config *c, struct loop *loop, struct pd_channel **out)
{
    struct text tls = {0}, devices = {0};
    int err = choose(c, &tls, &devices);
    const struct pd_channel_config channel = {
        .tls = tls.data, .devices = devices.data, .cuda = c->buffer_device == PD_CUDA};

    if (!err)
        err = pd_channel_create(loop, c->transport != PD_MOCK_MEMORY, &channel, out);
    text_fini(&tls);
    text_fini(&devices);
    return err;
}
