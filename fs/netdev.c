/* netdev.c - which network device has an address, or leads to one, as the kernel says. */
#include "config.h"

#include "netdev.h"

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

static bool add_device_of(const struct addrinfo *wanted, struct text *out)
{
    struct ifaddrs *all;
    const char *name;

    if (getifaddrs(&all))
        return false;
    name = device_of(wanted, all);
    if (name)
        add_device(name, out);
    freeifaddrs(all);
    return name;
}

bool netdev_add_route(const char *host, struct text *out)
{
    const struct addrinfo hints = {.ai_family = strchr(host, ':') ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_DGRAM};
    struct sockaddr_storage from;
    struct addrinfo *to, source = {.ai_addr = (struct sockaddr *)&from};
    bool found;

    if (getaddrinfo(host, "9", &hints, &to))
        return false;
    found = source_of(to, &from) && add_device_of(&source, out);
    freeaddrinfo(to);
    return found;
}

bool netdev_add_own(const char *host, struct text *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *wanted;
    bool found;

    if (getaddrinfo(host, NULL, &hints, &wanted))
        return false;
    found = add_device_of(wanted, out);
    freeaddrinfo(wanted);
    return found;
}
