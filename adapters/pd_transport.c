/* pd_transport.c - what UCX is told: which transports, and which network devices.
 *
 * UCX listens on every device that it may use. So a receiver that is to be reached at one address
 * only takes the device of that address.
 *
 * Any thread.
 */
#include "pd_transport.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

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
            text_puts(out, name);
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

static int choose(const struct pd_config *c, struct text *tls, struct text *devices)
{
    int err = pd_config_tls(c, tls);

    if (!err && c->ucx_devices)
        text_puts(devices, c->ucx_devices);
    else if (!err && c->role == PD_RECEIVER && tls->len && !strcmp(tls->data, "tcp"))
        err = pd_transport_device(c->peer_host, devices);
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
