/* pd_send_key.c - the bytes of one key at the sender: a mapping of its staging file, or a copy.
 *
 * A stable buffer cannot change before its store completes, and the store does not complete before
 * the send has ended: so the mapping stays valid, cancelled or not. Small objects are read into
 * memory instead, which costs less than a mapping. What is not stable is copied before the receiver
 * hears of its checksum, so that what is sent is what was summed up.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "checksum.h"
#include "pd_send_impl.h"

#define COPY_MAX (64 * KIB) /* of stable buffers: smaller ones are read, larger ones mapped */

void send_key_settle(struct send_key *k, int error)
{
    if (k->error != SEND_OPEN)
        return;
    k->error = error;
    k->batch->open--;
}

int send_key_read(const struct send_key *k, void *to)
{
    for (uint64_t at = 0; at < k->buf->size;) {
        ssize_t n = pread(k->buf->fd, (char *)to + at, k->buf->size - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -ESTALE;
        at += (uint64_t)n;
    }
    return 0;
}

static int copy(struct send_key *k)
{
    int err;

    k->data = malloc(MAX(k->buf->size, 1));
    if (!k->data)
        return -ENOMEM;
    err = send_key_read(k, k->data);
    if (err)
        send_key_drop(k);
    return err;
}

static int map(struct send_key *k)
{
    struct stat st;
    void *data;

    if (fstat(k->buf->fd, &st))
        return -errno;
    if ((uint64_t)st.st_size < k->buf->size)
        return -ESTALE;
    data = mmap(NULL, k->buf->size, PROT_READ, MAP_SHARED, k->buf->fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    k->data = data;
    k->mapped = true;
    return 0;
}

int send_key_prepare(struct send_key *k)
{
    struct send_peer *p = k->batch->peer;
    int err;

    if (k->buf->size > p->limit) {
        send_peer_tell(p, "cannot take a key", "it is larger than its buffer_size");
        return -EFBIG;
    }
    if (k->buf->stable) {
        k->crc32c = k->buf->crc32c;
        return 0;
    }
    err = copy(k);
    if (!err)
        k->crc32c = checksum(0, k->data, k->buf->size);
    return err;
}

void send_key_drop(struct send_key *k)
{
    if (k->mapped)
        munmap(k->data, k->buf->size);
    else
        free(k->data);
    k->data = NULL;
    k->mapped = false;
}

void send_key_sent(struct send_key *k, int error)
{
    struct send_batch *b = k->batch;

    k->sending = false;
    send_key_drop(k);
    if (!error)
        b->peer->counts.bytes += k->buf->size;
    if (b->peer->fencing)
        return; /* who closes the connection has the outcome */
    if (error)
        send_key_settle(k, error);
    if (b->state == BATCH_DATA && k->cancelled)
        send_batch_release(b, k);
}

static void ended(struct pd_transfer *t, int error)
{
    struct send_key *k = container_of(t, struct send_key, transfer);
    struct send_batch *b = k->batch;

    b->sending--;
    send_key_sent(k, error);
    send_batch_sent(b);
}

int send_key_start(struct send_key *k, struct pd_conn *conn)
{
    int err = 0;

    if (!k->buf->size)
        return 0;
    if (!k->data)
        err = k->buf->size > COPY_MAX ? map(k) : copy(k);
    if (err)
        return err;
    k->transfer.done = ended;
    k->sending = true;
    k->batch->sending++;
    pd_conn_send(conn, &k->transfer, k->tag, k->data, k->buf->size);
    return 0;
}

/* The answer may be long in coming; room that it gives all the same is given back. */
static void withdraw(struct send_batch *b)
{
    send_batch_release(b, NULL);
    send_batch_end(b, -ECANCELED);
}

/* What was asked to be published may have been: its answer decides. */
void send_key_cancel(struct send_key *k)
{
    struct send_batch *b = k->batch;

    if (k->error != SEND_OPEN)
        return;
    k->cancelled = true;
    if (b->state == BATCH_COMMIT)
        return;
    send_key_settle(k, -ECANCELED);
    if (k->sending)
        pd_transfer_cancel(&k->transfer);
    else if (b->state == BATCH_DATA)
        send_batch_release(b, k);
    else if (!b->open && b->state == BATCH_WAIT)
        send_batch_end(b, -ECANCELED);
    else if (!b->open && b->state == BATCH_ALLOC)
        withdraw(b);
}
