/* pd_recv_pack.c - keys that are not large: their bytes come into memory, and from there into files.
 *
 * A pack is what comes in one message: small neighbours in a request, or one key, also where the sender
 * does not know of packs. Its items have room in L1 and get their files when the bytes are here: writing
 * them costs less than the mapping of a file, whose pages are cleared first, and the sender need not wait
 * for the files. They are settled one by one as any other; a pack keeps its receive for as long as
 * one of them is wanted, and the allocation, by `busy`, for as long as it was posted itself.
 *
 * Threads: as in pd_recv_land.c. While a pack is at the lander, those of its items that are CHECKING
 * are there with it.
 */
#include "checksum.h"
#include "pd_recv_parts.h"

#define RECV_PACKED_MAX (64 * MIB) /* in packs at a time; keys beyond come by themselves */

struct recv_pack {
    struct list link; /* recv_alloc.packs */
    struct recv_alloc *alloc;
    struct pd_transfer transfer;
    struct hash_node node; /* pd_recv.tags, while posted */
    struct letter letter;
    size_t first, end; /* its items are among these */
    uint64_t size;
    char data[];
};

/* The next item of it from `i` on, or `end`. */
static size_t next_of(const struct recv_pack *p, size_t i)
{
    while (i < p->end && p->alloc->items[i].pack != p)
        i++;
    return i;
}

#define for_each_item(p, it)                                                                       \
    for (size_t i_ = next_of(p, (p)->first);                                                       \
         i_ < (p)->end && ((it) = &(p)->alloc->items[i_], true); i_ = next_of(p, i_ + 1))

/* --- making --- */

static bool fits(const struct recv_item *it, uint64_t max)
{
    return it->state == ITEM_RESERVED && it->what.size && it->what.size <= max;
}

/* The end of the pack that begins with this item, and its bytes. */
static size_t reach(const struct recv_alloc *a, size_t first, uint64_t *size)
{
    bool joins = a->may_pack && fits(&a->items[first], PD_PACK_KEY);
    size_t i;

    *size = a->items[first].what.size;
    for (i = first + 1; i < a->n; i++) {
        const struct recv_item *it = &a->items[i];

        if (it->present)
            continue;
        if (!joins || !fits(it, PD_PACK_KEY) || *size + it->what.size > PD_PACK_MAX)
            break;
        *size += it->what.size;
    }
    return i;
}

static void make(struct recv_alloc *a, size_t first, size_t end, uint64_t size)
{
    struct pd_recv *r = a->recv;
    struct recv_pack *p;

    if (size > RECV_PACKED_MAX - r->packed)
        return;
    p = malloc(sizeof(*p) + size);
    if (!p)
        return;
    *p = (struct recv_pack){.alloc = a, .first = first, .end = end, .size = size};
    list_push_back(&a->packs, &p->link);
    r->packed += size;
    for (size_t i = first; i < end; i++) {
        if (!a->items[i].present)
            a->items[i].pack = p;
    }
}

void recv_packs_make(struct recv_alloc *a)
{
    uint64_t size;

    if (a->recv->env.config->buffer_device != PD_CPU)
        return;
    for (size_t i = 0, end; i < a->n; i = end) {
        end = i + 1;
        if (!fits(&a->items[i], PD_PACK_MAX))
            continue;
        end = reach(a, i, &size);
        make(a, i, end, size);
    }
}

static void pack_free(struct recv_pack *p)
{
    struct recv_item *it;

    for_each_item(p, it) it->pack = NULL;
    p->alloc->recv->packed -= p->size;
    list_remove(&p->link);
    free(p);
}

void recv_packs_free(struct recv_alloc *a)
{
    while (!list_empty(&a->packs))
        pack_free(list_entry(a->packs.next, struct recv_pack, link));
}

/* Of one that was posted; what has its outcome may be gone then. */
static void pack_over(struct recv_pack *p)
{
    struct recv_alloc *a = p->alloc;

    pack_free(p);
    a->busy--;
    recv_alloc_progress(a);
}

/* --- on the lander --- */

static int write_all(int fd, const char *data, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, data + at, size - at, (off_t)at);

        if (n < 0 && errno != EINTR)
            return -errno;
        at += (uint64_t)MAX(n, 0);
    }
    return 0;
}

static int land_one(struct recv_item *it, const char *data, struct arrivals *arrivals)
{
    AUTO_CLOSE int fd = -1;
    int err = recv_item_stage(it, arrivals, &fd);

    if (err)
        return err;
    it->sum = checksum(0, data, it->what.size);
    return write_all(fd, data, it->what.size);
}

static void back(struct letter *letter);

static void land(struct letter *letter)
{
    struct recv_pack *p = container_of(letter, struct recv_pack, letter);
    struct pd_recv *r = p->alloc->recv;
    const char *data = p->data;
    struct recv_item *it;

    for_each_item(p, it)
    {
        if (it->state == ITEM_CHECKING)
            it->result = atomic_load(&r->lander.stop)
                             ? -ESHUTDOWN
                             : land_one(it, data, r->env.adapter->arrivals);
        data += it->what.size;
    }
    letter->run = back;
    mailbox_post(r->mailbox, letter);
}

/* --- on the loop --- */

static void back(struct letter *letter)
{
    struct recv_pack *p = container_of(letter, struct recv_pack, letter);
    struct recv_item *it;

    for_each_item(p, it)
    {
        if (it->state == ITEM_CHECKING)
            recv_item_checked(it);
    }
    pack_over(p);
}

static void drop_one(struct recv_item *it, int error)
{
    it->state = ITEM_CHECKED;
    if (it->settled)
        recv_item_over(it);
    else
        recv_item_give_up(it, error == -ECANCELED ? -ECONNRESET : error);
}

static void received(struct pd_transfer *t, int error)
{
    struct recv_pack *p = container_of(t, struct recv_pack, transfer);
    struct pd_recv *r = p->alloc->recv;
    struct recv_item *it;
    bool wanted = false;

    hash_remove(&r->tags, &p->node);
    for_each_item(p, it)
    {
        if (it->state != ITEM_POSTED)
            continue;
        if (error || it->settled) {
            drop_one(it, error);
        } else {
            it->state = ITEM_CHECKING;
            wanted = true;
        }
    }
    if (!wanted) {
        pack_over(p);
        return;
    }
    p->letter.run = land;
    mailbox_post(r->lander.mailbox, &p->letter);
}

static void post(struct recv_pack *p)
{
    struct recv_alloc *a = p->alloc;
    uint64_t tag = recv_fresh_tag(a->recv);
    struct recv_item *it;
    bool wanted = false;

    for_each_item(p, it)
    {
        it->tag = tag;
        if (it->state == ITEM_RESERVED) {
            it->state = ITEM_POSTED;
            wanted = true;
        }
    }
    if (!wanted) { /* all were cancelled */
        pack_free(p);
        return;
    }
    a->busy++;
    p->transfer.done = received;
    hash_insert(&a->recv->tags, &p->node, tag);
    pd_conn_recv(a->peer->conn, &p->transfer, tag, p->data, p->size);
}

void recv_packs_post(struct recv_alloc *a)
{
    struct list *node, *next;

    list_for_each_safe(node, next, &a->packs)
    {
        post(list_entry(node, struct recv_pack, link));
    }
}

void recv_pack_left(struct recv_pack *p)
{
    struct recv_item *it;

    for_each_item(p, it)
    {
        if (!it->settled)
            return;
    }
    pd_transfer_cancel(&p->transfer);
}
