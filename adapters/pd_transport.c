/* pd_transport.c - what UCX is told: which transports, and which network devices.
 *
 * UCX listens on every device that it may use, and over tcp it does not ask whether one leads to the peer. So
 * a receiver that is to be reached at one address only takes the device of that address, and a sender
 * those that the kernel sends by to its receivers.
 *
 * Any thread.
 */
#include "pd_transport.h"

#include "log.h"
#include "netdev.h"

int pd_transport_routes(const struct pd_config *c, struct text *out)
{
    bool known = true;

    for (size_t i = 0; known && i < pd_config_targets(c); i++)
        known = netdev_add_route(pd_config_target(c, i).host, out);
    if (!known)
        text_fini(out);
    return out->failed ? -ENOMEM : 0;
}

int pd_transport_device(const char *host, struct text *out)
{
    if (strcmp(host, "*") != 0)
        netdev_add_own(host, out);
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
