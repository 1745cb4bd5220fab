/* pd_recv_land.c - a key's way from its room to its name: staging file, buffer, receive, crc32c,
 * publication. Of keys that are not large, pd_recv_pack.c has what is before the publication.
 *
 * Threads: what takes long (making files and mappings, going over the bytes, publishing) is done by
 * the lander, a thread with a mailbox; an item or allocation that is there is touched by the loop
 * only in `settled` and the error of it. The buffer is a mapping of the staging file, so bytes are where they
 * belong as soon as they are received; or memory of a GPU, from which they are brought into the file.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "checksum.h"
#include "pd_recv_parts.h"
#include "pin.h"

#define PIECE (4 * MIB) /* checksummed between two looks at `stop` */

/* --- on the lander --- */

static int map_file(int fd, uint64_t size, void **out)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

    if (p == MAP_FAILED)
        return -errno;
    *out = p;
    return 0;
}

static int buffer_make(struct recv_item *it, int fd)
{
    if (it->alloc->recv->env.config->buffer_device == PD_CPU)
        return map_file(fd, it->what.size, &it->buffer);
    it->buffer = pin_device_alloc(it->what.size);
    it->on_device = it->buffer;
    return it->buffer ? 0 : -ENOMEM;
}

static void buffer_drop(struct recv_item *it)
{
    if (it->on_device)
        pin_device_free(it->buffer);
    else if (it->buffer)
        munmap(it->buffer, it->what.size);
    it->buffer = NULL;
    it->on_device = false;
}

/* From the memory of a GPU into the file, whose mapping then is the buffer. */
static int bring_out(struct recv_item *it)
{
    struct staging *staging = it->alloc->recv->env.adapter->staging;
    AUTO_CLOSE int fd = -1;
    void *file = NULL;
    int err = staging_get(staging, it->staging_id, O_RDWR, &fd);

    if (!err)
        err = map_file(fd, it->what.size, &file);
    if (err)
        return err;
    err = pin_device_copy_out(file, it->buffer, it->what.size);
    buffer_drop(it);
    it->buffer = file;
    return err;
}

static int buffer_sum(struct recv_item *it, const atomic_bool *stop)
{
    int err = it->on_device ? bring_out(it) : 0;

    it->sum = 0;
    for (uint64_t at = 0; !err && at < it->what.size; at += PIECE) {
        if (atomic_load(stop))
            return -ESHUTDOWN;
        it->sum = checksum(it->sum, (const char *)it->buffer + at, MIN(PIECE, it->what.size - at));
    }
    return err;
}

int recv_item_stage(struct recv_item *it, struct arrivals *arrivals, int *fd)
{
    int err = arrivals->stage(arrivals, it->what.size, &it->staging_id, fd);

    if (err)
        return err;
    it->staged = true;
    it->reserved = false;
    return 0;
}

/* All its pages are there from now on: a full L1 is found here, not by a fault amid a transfer. */
static int stage(struct recv_item *it, struct arrivals *arrivals)
{
    AUTO_CLOSE int fd = -1;
    int err = recv_item_stage(it, arrivals, &fd);

    return err || !it->what.size ? err : buffer_make(it, fd);
}

static void back_from_staging(struct letter *letter)
{
    recv_alloc_staged(container_of(letter, struct recv_alloc, letter));
}

static void stage_all(struct letter *letter)
{
    struct recv_alloc *a = container_of(letter, struct recv_alloc, letter);
    struct pd_recv *r = a->recv;
    int err = 0;

    for (size_t i = 0; i < a->n; i++) {
        struct recv_item *it = &a->items[i];

        if (it->pack || it->state != ITEM_STAGING) /* what is in a pack stays with the loop */
            continue;
        if (!err && atomic_load(&r->lander.stop))
            err = -ESHUTDOWN;
        if (!err)
            err = stage(it, r->env.adapter->arrivals);
        it->result = err;
    }
    letter->run = back_from_staging;
    mailbox_post(r->mailbox, letter);
}

static void back_from_check(struct letter *letter);
static void back_from_publish(struct letter *letter);

static void check(struct letter *letter)
{
    struct recv_item *it = container_of(letter, struct recv_item, letter);
    struct pd_recv *r = it->alloc->recv;

    it->result = buffer_sum(it, &r->lander.stop);
    buffer_drop(it);
    letter->run = back_from_check;
    mailbox_post(r->mailbox, letter);
}

static void publish(struct letter *letter)
{
    struct recv_item *it = container_of(letter, struct recv_item, letter);
    struct pd_recv *r = it->alloc->recv;
    struct arrivals *arrivals = r->env.adapter->arrivals;

    it->result = -ESHUTDOWN;
    if (!atomic_load(&r->lander.stop)) {
        it->result = arrivals->publish(arrivals, &it->what, it->staging_id);
        it->staged = it->result != 0;
    }
    letter->run = back_from_publish;
    mailbox_post(r->mailbox, letter);
}

int recv_lander_start(struct pd_recv *r)
{
    int err = loop_create("l2fs-pd-land", &r->lander.loop);

    if (!err)
        err = mailbox_create(r->lander.loop, &r->lander.mailbox);
    return err ? err : loop_start(r->lander.loop);
}

void recv_lander_stop(struct pd_recv *r)
{
    atomic_store(&r->lander.stop, true);
    if (r->lander.loop)
        loop_stop(r->lander.loop);
    mailbox_destroy(r->lander.mailbox);
    loop_destroy(r->lander.loop);
}

/* --- on the loop --- */

static void hand_over(struct recv_item *it, enum recv_state state, void (*run)(struct letter *l))
{
    it->state = state;
    it->letter.run = run;
    mailbox_post(it->alloc->recv->lander.mailbox, &it->letter);
}

bool recv_land_stage(struct recv_alloc *a)
{
    bool any = false;

    for (size_t i = 0; i < a->n; i++) {
        if (a->items[i].state != ITEM_RESERVED || a->items[i].pack)
            continue;
        a->items[i].state = ITEM_STAGING;
        any = true;
    }
    a->letter.run = stage_all;
    if (any)
        mailbox_post(a->recv->lander.mailbox, &a->letter);
    return any;
}

void recv_item_publish(struct recv_item *it)
{
    it->what.crc32c = it->sum;
    hand_over(it, ITEM_PUBLISHING, publish);
}

static void count(struct recv_item *it, int error)
{
    struct recv_counts *c = &it->alloc->recv->counts;
    struct recv_peer *p = it->alloc->peer;

    if (it->present) {
        c->present++;
    } else if (!error) {
        c->keys++;
        c->bytes += it->what.size;
        p->keys++;
        p->bytes += it->what.size;
        metric_add(it->alloc->recv->keys, 1);
        metric_add(it->alloc->recv->bytes, (int64_t)it->what.size);
    } else {
        c->failed++;
        p->failed++;
        c->expired += error == -ETIMEDOUT;
        c->cancelled += error == -ECANCELED;
        c->corrupt += error == -EBADMSG;
        c->reset += error == -ECONNRESET;
        metric_add(it->alloc->recv->failures, 1);
    }
}

void recv_item_settle(struct recv_item *it, int error)
{
    struct recv_alloc *a = it->alloc;

    if (it->settled)
        return;
    it->settled = true;
    a->errors[it - a->items] = error;
    a->unsettled--;
    count(it, error);
    recv_alloc_progress(a);
}

void recv_item_over(struct recv_item *it)
{
    struct recv_alloc *a = it->alloc;
    struct pd_recv *r = a->recv;
    struct arrivals *arrivals = r->env.adapter->arrivals;

    buffer_drop(it);
    if (it->staged)
        arrivals->drop(arrivals, it->what.size, it->staging_id);
    if (it->reserved)
        arrivals->give_back(arrivals, it->what.size);
    if (it->charged) {
        a->waiter.rank->used -= it->what.size;
        r->mapped--;
    }
    it->staged = it->reserved = it->charged = false;
    it->state = ITEM_OVER;
    a->busy--;
    recv_wake(r);
    recv_alloc_progress(a);
}

/* Both, with the item still there in between. */
static void finish(struct recv_item *it, int error)
{
    struct recv_alloc *a = it->alloc;

    a->busy++;
    recv_item_settle(it, error);
    recv_item_over(it);
    a->busy--;
    recv_alloc_progress(a);
}

void recv_item_give_up(struct recv_item *it, int error)
{
    if (it->state == ITEM_PUBLISHING || it->settled)
        return;
    if (it->state == ITEM_RESERVED || it->state == ITEM_CHECKED) {
        finish(it, error);
        return;
    }
    if (it->state == ITEM_POSTED)
        pd_transfer_cancel(&it->transfer);
    recv_item_settle(it, error);
    if (it->pack)
        recv_pack_left(it->pack);
}

static void log_failed(const struct recv_item *it, int error)
{
    const struct recv_alloc *a = it->alloc;

    if (error != -ESHUTDOWN)
        recv_warn(a->recv, "%s of %s does not land: %s; the sender is told", it->what.key, a->name,
                  strerror(-error));
}

void recv_item_checked(struct recv_item *it)
{
    it->state = ITEM_CHECKED;
    if (it->settled) {
        recv_item_over(it);
    } else if (it->result) {
        log_failed(it, it->result);
        finish(it, it->result);
    } else {
        recv_alloc_checked(it->alloc, it);
    }
}

static void back_from_check(struct letter *letter)
{
    struct recv_item *it = container_of(letter, struct recv_item, letter);

    recv_item_checked(it);
}

static void back_from_publish(struct letter *letter)
{
    struct recv_item *it = container_of(letter, struct recv_item, letter);
    int err = it->result == -EEXIST ? 0 : it->result;

    if (err)
        log_failed(it, err);
    finish(it, err);
}

/* The receive ended: now, or when the connection closes. */
static void received(struct pd_transfer *t, int error)
{
    struct recv_item *it = container_of(t, struct recv_item, transfer);
    struct pd_recv *r = it->alloc->recv;

    hash_remove(&r->tags, &it->node);
    if (it->settled) {
        it->state = ITEM_CHECKED;
        recv_item_over(it);
    } else if (error) {
        it->state = ITEM_CHECKED;
        finish(it, error == -ECANCELED ? -ECONNRESET : error);
    } else {
        hand_over(it, ITEM_CHECKING, check);
    }
}

uint64_t recv_fresh_tag(const struct pd_recv *r)
{
    uint64_t tag;

    do {
        if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
            abort(); /* cannot fail for so few bytes */
    } while (!tag || hash_first(&r->tags, tag));
    return tag;
}

void recv_item_post(struct recv_item *it, struct pd_conn *conn)
{
    struct pd_recv *r = it->alloc->recv;

    it->tag = recv_fresh_tag(r);
    if (it->settled) { /* cancelled: nobody waits for that tag */
        if (it->state == ITEM_STAGING)
            recv_item_over(it);
        return;
    }
    if (!it->what.size) {
        it->state = ITEM_CHECKED;
        return;
    }
    it->state = ITEM_POSTED;
    it->transfer.done = received;
    hash_insert(&r->tags, &it->node, it->tag);
    pd_conn_recv(conn, &it->transfer, it->tag, it->buffer, it->what.size);
}
