/* pd_ctl_auth.c - the CURVE keys of a context's sockets, and who may come in.
 *
 * ZMQ asks for each client at inproc://zeromq.zap.01 (RFC 27) once its key has proved to be its own;
 * the answer is given on the loop thread. Without a list nobody is asked, and every client that has
 * the server's public key may come in.
 */
#include <stdio.h>
#include <zmq.h>

#include "log.h"
#include "pd_ctl_impl.h"

#define ZAP_ADDRESS "inproc://zeromq.zap.01"
#define ZAP_REQUEST_FRAMES 7
#define ZAP_FRAME_MAX 256

enum { ZAP_VERSION, ZAP_ID, ZAP_DOMAIN, ZAP_PEER, ZAP_IDENTITY, ZAP_MECHANISM, ZAP_KEY };

struct zap_request {
    char frame[ZAP_REQUEST_FRAMES][ZAP_FRAME_MAX];
    size_t len[ZAP_REQUEST_FRAMES];
};

static bool allowed(const struct pd_ctl *c, const struct zap_request *r)
{
    if (r->len[ZAP_MECHANISM] != strlen("CURVE") || memcmp(r->frame[ZAP_MECHANISM], "CURVE", 5) ||
        r->len[ZAP_KEY] != sizeof(struct pd_key))
        return false;
    for (size_t i = 0; i < c->nclients; i++) {
        if (!memcmp(c->clients[i].bytes, r->frame[ZAP_KEY], sizeof(struct pd_key)))
            return true;
    }
    return false;
}

static void refuse(struct pd_ctl *c, const struct zap_request *r)
{
    char text[41] = "?";

    c->counts.refused_keys++;
    if (!pd_grumble(c, PD_GRUMBLE_UNLISTED))
        return;
    if (r->len[ZAP_KEY] == sizeof(struct pd_key))
        zmq_z85_encode(text, (const uint8_t *)r->frame[ZAP_KEY], sizeof(struct pd_key));
    log_warn("refused %.*s, whose key is not listed: to let it in add the line %s to the file "
             "curve_clients and mount again",
             (int)r->len[ZAP_PEER], r->frame[ZAP_PEER], text);
}

/* Reads the whole request; false: there is none. */
static bool receive(struct pd_sock *s, struct zap_request *r)
{
    int more = 1;
    size_t size = sizeof more;

    memset(r->len, 0, sizeof r->len);
    for (size_t i = 0; more; i++) {
        char rest[ZAP_FRAME_MAX];
        bool known = i < ZAP_REQUEST_FRAMES;
        int n = zmq_recv(s->zmq, known ? r->frame[i] : rest, ZAP_FRAME_MAX, ZMQ_DONTWAIT);

        if (n < 0)
            return false;
        if (known)
            r->len[i] = MIN((size_t)n, (size_t)ZAP_FRAME_MAX);
        if (zmq_getsockopt(s->zmq, ZMQ_RCVMORE, &more, &size))
            return false;
    }
    return true;
}

static bool take(struct pd_sock *s)
{
    struct pd_ctl *c = container_of(s, struct pd_ctl, zap);
    struct zap_request r;
    const char *status;

    if (!receive(s, &r))
        return false;
    status = allowed(c, &r) ? "200" : "400";
    if (status[0] == '4')
        refuse(c, &r);
    zmq_send(s->zmq, "1.0", 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(s->zmq, r.frame[ZAP_ID], r.len[ZAP_ID], ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(s->zmq, status, 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send(s->zmq, NULL, 0, ZMQ_SNDMORE | ZMQ_DONTWAIT); /* text */
    zmq_send(s->zmq, NULL, 0, ZMQ_SNDMORE | ZMQ_DONTWAIT); /* user */
    zmq_send(s->zmq, NULL, 0, ZMQ_DONTWAIT);               /* metadata */
    return true;
}

/* --- keys --- */

static int init_server(struct pd_ctl *c, const struct pd_curve *curve)
{
    int err;

    if (!curve->server_key) {
        log_err("curve_clients needs curve_server_key, the file with this side's secret key");
        return -EINVAL;
    }
    err = pd_key_load_secret(curve->server_key, &c->secret);
    if (err || !curve->clients)
        return err;
    err = pd_key_load_list(curve->clients, &c->clients, &c->nclients);
    if (err)
        return err;
    c->zap.take = take;
    err = pd_sock_open(c, ZMQ_REP, &c->zap);
    if (!err && zmq_bind(c->zap.zmq, ZAP_ADDRESS))
        err = pd_zmq_error();
    return err;
}

/* Without a key of its own the client makes one up, which a server without a list takes. */
static int init_client(struct pd_ctl *c, const struct pd_curve *curve)
{
    char public_text[41], secret_text[41];

    if (!curve->server_key) {
        log_err("curve_client_key needs curve_server_key, the file with the receiver's public key");
        return -EINVAL;
    }
    if (curve->client_key) {
        int err = pd_key_load_secret(curve->client_key, &c->secret);

        if (err)
            return err;
    } else {
        if (zmq_curve_keypair(public_text, secret_text))
            return pd_zmq_error();
        zmq_z85_decode(c->secret.bytes, secret_text);
        explicit_bzero(secret_text, sizeof secret_text);
    }
    return pd_key_load_public(curve->server_key, &c->server_key);
}

int pd_auth_init(struct pd_ctl *c, const struct pd_curve *curve)
{
    if (!curve || (!curve->server_key && !curve->client_key && !curve->clients))
        return 0;
    if (!zmq_has("curve")) {
        log_err("this libzmq has no CURVE: install one that has, or take the keys away");
        return -EOPNOTSUPP;
    }
    c->curve = true;
    c->server = curve->server;
    return curve->server ? init_server(c, curve) : init_client(c, curve);
}

void pd_auth_fini(struct pd_ctl *c)
{
    pd_sock_close(&c->zap);
    free(c->clients);
    explicit_bzero(&c->secret, sizeof c->secret);
}

static int set_key(struct pd_sock *s, int option, const struct pd_key *key)
{
    return zmq_setsockopt(s->zmq, option, key->bytes, sizeof key->bytes) ? pd_zmq_error() : 0;
}

int pd_auth_server(struct pd_sock *s)
{
    struct pd_ctl *c = s->ctl;
    int err;

    if (!c->curve)
        return 0;
    if (!c->server)
        return -EINVAL;
    err = pd_sock_set(s, ZMQ_CURVE_SERVER, 1);
    return err ? err : set_key(s, ZMQ_CURVE_SECRETKEY, &c->secret);
}

int pd_auth_client(struct pd_sock *s)
{
    struct pd_ctl *c = s->ctl;
    char public_text[41], secret_text[41];
    struct pd_key public;
    int err;

    if (!c->curve)
        return 0;
    if (c->server)
        return -EINVAL;
    zmq_z85_encode(secret_text, c->secret.bytes, sizeof c->secret.bytes);
    err = zmq_curve_public(public_text, secret_text) ? pd_zmq_error() : 0;
    explicit_bzero(secret_text, sizeof secret_text);
    if (err)
        return err;
    zmq_z85_decode(public.bytes, public_text);
    err = set_key(s, ZMQ_CURVE_PUBLICKEY, &public);
    if (!err)
        err = set_key(s, ZMQ_CURVE_SECRETKEY, &c->secret);
    return err ? err : set_key(s, ZMQ_CURVE_SERVERKEY, &c->server_key);
}
