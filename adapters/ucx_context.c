/* ucx_context.c - configuration, translation of errors, and UCX's messages in our log. */
#include "ucx_context.h"

#include <pthread.h>
#include <stdio.h>
#include <ucs/debug/log_def.h>

#include "log.h"

#define UCX_SEGMENT_KIB 1024U
#define UCX_SEGMENT_TEXT "1M"
/* `^`: all but these. */
#define TLS_DEFAULT "^sm"

int ucx_errno(ucs_status_t status)
{
    switch (status) {
    case UCS_OK: return 0;
    case UCS_ERR_NO_MEMORY:
    case UCS_ERR_NO_RESOURCE: return -ENOMEM;
    case UCS_ERR_INVALID_PARAM:
    case UCS_ERR_INVALID_ADDR: return -EINVAL;
    case UCS_ERR_NO_DEVICE: return -ENODEV;
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_SOME_CONNECTS_FAILED: return -EHOSTUNREACH;
    case UCS_ERR_MESSAGE_TRUNCATED: return -EMSGSIZE;
    case UCS_ERR_CANCELED: return -ECANCELED;
    case UCS_ERR_REJECTED:
    case UCS_ERR_NOT_CONNECTED:
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_TIMED_OUT:
    case UCS_ERR_ENDPOINT_TIMEOUT: return -ECONNRESET;
    default: return UCS_IS_ENDPOINT_ERROR(status) || UCS_IS_LINK_ERROR(status) ? -ECONNRESET : -EIO;
    }
}

uint32_t ucx_wire(void)
{
    unsigned major, minor, release;

    ucp_get_version(&major, &minor, &release);
    return UCX_SEGMENT_KIB << 16 | (major & 0xff) << 8 | (minor & 0xff);
}

static ucs_log_func_rc_t log_message(const char *file, unsigned line, const char *function,
                                     ucs_log_level_t level, const ucs_log_component_config_t *comp,
                                     const char *format, va_list ap)
{
    char text[1024];

    vsnprintf(text, sizeof text, format, ap);
    if (level <= UCS_LOG_LEVEL_ERROR)
        log_warn("UCX: %s", text);
    else
        log_debug("UCX: %s", text);
    return UCS_LOG_FUNC_RC_STOP;
}

/* UCX has one stack of handlers for all threads, and no lock for it. */
static void take_messages(void)
{
    ucs_log_push_handler(log_message);
}

/* Sets one variable; 0, or -EINVAL with a log line. */
static int modify(ucp_config_t *config, const char *name, const char *value)
{
    ucs_status_t status = ucp_config_modify(config, name, value);

    if (status == UCS_OK)
        return 0;
    log_err("pd: UCX refuses UCX_%s=%s: %s; `ucx_info -d` lists what there is", name, value,
            ucs_status_string(status));
    return -EINVAL;
}

/* A setting of the tcp transport. UCX 1.13 knows it without the prefix, later ones with it; a name
 * that nobody knows is not an error. */
static int modify_tcp(ucp_config_t *config, const char *name, const char *value)
{
    char full[64];
    int rc;

    snprintf(full, sizeof full, "TCP_%s", name);
    rc = modify(config, full, value);
    return rc ? rc : modify(config, name, value);
}

/* Of the tcp transport. A connect that waits would hold the loop up for minutes when the machine is
 * down. Larger segments than UCX's cost less processor time; who gets one that is larger than its own
 * aborts, so both sides have the same (ucx_wire). */
static int configure_tcp(ucp_config_t *config)
{
    static const char *const settings[][2] = {
        {"CONN_NB", "y"}, {"RX_SEG_SIZE", UCX_SEGMENT_TEXT}, {"TX_SEG_SIZE", UCX_SEGMENT_TEXT}};
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(settings) && rc == 0; i++)
        rc = modify_tcp(config, settings[i][0], settings[i][1]);
    return rc;
}

/* Sending over tcp without a copy aborts the process at times when the peer goes amid a message. For
 * RDMA it is what makes it fast. */
static bool is_tcp(const char *tls)
{
    return tls && !strncmp(tls, "tcp", 3) && (!tls[3] || tls[3] == ',');
}

static int configure(ucp_config_t *config, const char *tls, const char *devices)
{
    int rc = 0;

    if (!tls && !getenv("UCX_TLS"))
        tls = TLS_DEFAULT;
    if (tls)
        rc = modify(config, "TLS", tls);
    if (rc == 0 && devices)
        rc = modify(config, "NET_DEVICES", devices);
    if (rc == 0 && is_tcp(tls))
        rc = modify(config, "ZCOPY_THRESH", "inf");
    return rc ? rc : configure_tcp(config);
}

static int init(const ucp_config_t *config, const char *tls, const char *devices,
                ucp_context_h *out)
{
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME,
        .features = UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP,
        .name = "l2fs",
    };
    ucs_status_t status = ucp_init(&params, config, out);

    if (status == UCS_OK)
        return 0;
    log_err("pd: UCX does not start (%s) with transports %s and devices %s; `ucx_info -d` lists "
            "what there is",
            ucs_status_string(status), tls ? tls : "as it likes", devices ? devices : "all");
    return ucx_errno(status);
}

static int check_cuda(ucp_context_h context)
{
    ucp_context_attr_t attr = {.field_mask = UCP_ATTR_FIELD_MEMORY_TYPES};
    ucs_status_t status = ucp_context_query(context, &attr);

    if (status == UCS_OK && (attr.memory_types & UCS_BIT(UCS_MEMORY_TYPE_CUDA)))
        return 0;
    log_err(
        "pd: buffer_device=cuda: this UCX, or its transports that were asked for, knows no memory "
        "of a GPU (`ucx_info -d` lists cuda_copy where it does); use buffer_device=cpu");
    return -ENODEV;
}

static void free_context(struct ucx_context *c)
{
    free((char *)c->cfg.tls);
    free((char *)c->cfg.devices);
    free(c);
}

static struct ucx_context *new_context(const struct pd_channel_config *cfg)
{
    struct ucx_context *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->users = 1;
    c->cfg = *cfg;
    c->cfg.tls = cfg->tls ? strdup(cfg->tls) : NULL;
    c->cfg.devices = cfg->devices ? strdup(cfg->devices) : NULL;
    if (!cfg->tls == !c->cfg.tls && !cfg->devices == !c->cfg.devices)
        return c;
    free_context(c);
    return NULL;
}

int ucx_context_create(const struct pd_channel_config *cfg, struct ucx_context **out)
{
    struct ucx_context *c = new_context(cfg);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ucp_config_t *config;
    int rc;

    if (!c)
        return -ENOMEM;
    pthread_once(&once, take_messages);
    rc = ucx_errno(ucp_config_read(NULL, NULL, &config));
    if (rc) {
        log_err("pd: UCX cannot read its UCX_* variables; unset those that are wrong");
        goto fail;
    }
    rc = configure(config, cfg->tls, cfg->devices);
    if (rc == 0)
        rc = init(config, cfg->tls, cfg->devices, &c->ucp);
    ucp_config_release(config);
    if (rc == 0 && cfg->cuda && (rc = check_cuda(c->ucp)))
        ucp_cleanup(c->ucp);
    if (rc == 0) {
        *out = c;
        return 0;
    }
fail:
    free_context(c);
    return rc;
}

void ucx_context_put(struct ucx_context *c)
{
    if (--c->users)
        return;
    ucp_cleanup(c->ucp);
    free_context(c);
}

static int create_worker(struct ucx_context *c, ucp_worker_h *out, struct ucx_context **of)
{
    ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    int rc = ucx_errno(ucp_worker_create(c->ucp, &params, out));

    if (rc)
        return rc;
    c->users++;
    *of = c;
    return 0;
}

int ucx_worker_create(struct ucx_context **context, ucp_worker_h *out, struct ucx_context **of)
{
    struct ucx_context *fresh;
    int rc = create_worker(*context, out, of);

    if (rc != -ENODEV)
        return rc;
    rc = ucx_context_create(&(*context)->cfg, &fresh);
    if (rc)
        return rc;
    ucx_context_put(*context);
    *context = fresh;
    return create_worker(fresh, out, of);
}

void ucx_log_endpoint(ucp_ep_h ep)
{
    AUTO_FREE char *text = NULL;
    size_t len;
    FILE *stream;
    char *rest, *line;

    if (log_get_level() < LOG_LEVEL_DEBUG)
        return;
    stream = open_memstream(&text, &len);
    if (!stream)
        return;
    ucp_ep_print_info(ep, stream);
    fclose(stream);
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        log_debug("UCX: %s", line);
}
