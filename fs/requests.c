/* requests.c - see requests.h. What a file's standing is follows from the file alone, so whoever changes
 * one merely says so. The tiers are told on the loop thread, without ns->lock.
 */
#include "config.h"

#include "requests.h"

#include <stdio.h>

#include "core.h"
#include "log.h"
#include "xattr_kept.h"

struct request {
    struct hash_node node;
    struct list link; /* requests.all, or requests.done */
    struct list members;
    char *peer;   /* of the last key; NULL: not said */
    bool last;    /* a file said last_prefill */
    bool failed;  /* has been told so */
    bool spoiled; /* a file is lost: never complete */
    char id[];
};

static struct request_member *member_of(struct inode *inode)
{
    return inode->extra ? &inode->extra->member : NULL;
}

static struct inode *inode_of(struct request_member *m)
{
    return container_of(m, struct extra, member)->inode;
}

/* --- the table --- */

static uint64_t hash_of(const char *id)
{
    return hash_bytes(id, strlen(id), 0);
}

static struct request *find_locked(const struct l2fs *fs, const char *id)
{
    struct hash_node *n = hash_first(&fs->requests.table, hash_of(id));

    while (n && strcmp(container_of(n, struct request, node)->id, id))
        n = hash_next(n);
    return n ? container_of(n, struct request, node) : NULL;
}

static void detach(struct request_member *m)
{
    list_remove(&m->link);
    m->of = NULL;
    m->failed = false;
}

static void request_free(struct request *r)
{
    free(r->peer);
    free(r);
}

static void forget_locked(struct l2fs *fs, struct request *r)
{
    while (!list_empty(&r->members))
        detach(list_entry(r->members.next, struct request_member, link));
    hash_remove(&fs->requests.table, &r->node);
    list_remove(&r->link);
    fs->requests.failed -= r->failed;
    request_free(r);
}

/* `key` NULL: not because of a file. */
static void fail_locked(struct l2fs *fs, struct request *r, const char *key, const char *why)
{
    if (r->failed)
        return;
    r->failed = true;
    fs->requests.failed++;
    metric_add(fs->requests.failed_total, 1);
    events_add(fs, "request-failed", r->id, NULL);
    log_warn("request %s fails: %s%s%s; nobody is told that it is complete", r->id, key ? key : "",
             key ? " " : "", why);
}

static struct request *create_locked(struct l2fs *fs, const char *id)
{
    size_t len = strlen(id) + 1;
    struct request *r;

    if (fs->requests.table.count >= REQUESTS_MAX) {
        r = list_entry(fs->requests.all.next, struct request, link);
        fail_locked(fs, r, NULL, "too many others came since");
        forget_locked(fs, r);
    }
    r = calloc(1, sizeof(*r) + len);
    if (!r)
        return NULL;
    memcpy(r->id, id, len);
    list_init(&r->members);
    list_init(&r->link);
    list_push_back(&fs->requests.all, &r->link);
    hash_insert(&fs->requests.table, &r->node, hash_of(id));
    return r;
}

/* --- telling the tiers --- */

static void tell(struct l2fs *fs, const struct request *r)
{
    const struct l2_route route = {r->peer, r->id};

    tiers_each(i, fs->tiers.sending) tier_request_done(fs->tiers.tier[i], &route);
}

static void on_letter(struct letter *letter)
{
    struct l2fs *fs = container_of(letter, struct l2fs, requests.letter);
    struct list done, *l;

    list_init(&done);
    lock(&fs->ns->lock);
    fs->requests.posted = false;
    list_splice(&done, &fs->requests.done);
    unlock(&fs->ns->lock);
    while ((l = list_pop_front(&done))) {
        struct request *r = list_entry(l, struct request, link);

        tell(fs, r);
        request_free(r);
    }
}

static void complete_locked(struct l2fs *fs, struct request *r)
{
    struct requests *all = &fs->requests;

    hash_remove(&all->table, &r->node);
    list_remove(&r->link);
    list_push_back(&all->done, &r->link);
    all->failed -= r->failed;
    metric_add(all->completed_total, 1);
    events_add(fs, "request-done", r->id, NULL);
    if (!all->posted)
        mailbox_post(fs->mailbox, &all->letter);
    all->posted = true;
}

/* A request without files is over. */
static void settle_locked(struct l2fs *fs, struct request *r)
{
    if (!list_empty(&r->members))
        return;
    if (r->last && !r->spoiled)
        complete_locked(fs, r);
    else
        forget_locked(fs, r);
}

/* --- files --- */

enum standing { SENT, WAITING, FAILED, LOST };

static enum standing standing_locked(const struct inode *inode)
{
    const struct object *o = inode->object;

    switch ((enum state)inode->state) {
    case STATE_DISCARDED: return LOST;
    case STATE_WRITING:
    case STATE_RESIDENT: break;
    case STATE_DISK: return SENT; /* slot files are not sent */
    default: return inode->resend ? WAITING : inode->unsent ? FAILED : SENT;
    }
    if (store_given_up_locked(o))
        return FAILED;
    if (!object_clean_locked(inode))
        return WAITING;
    return inode->unsent ? FAILED : SENT;
}

/* The file with the last key says where the request is done; until it comes, any. */
static int take_peer_locked(struct request *r, const struct inode *inode)
{
    struct kept_item peer;
    char *copy;

    if (!xattr_peer(inode, &peer) || (r->peer && !inode->extra->last_prefill))
        return 0;
    copy = strndup(peer.value, peer.len);
    if (!copy)
        return -ENOMEM;
    free(r->peer);
    r->peer = copy;
    return 0;
}

static void key_failed_locked(struct l2fs *fs, struct request_member *m)
{
    char key[KEY_PATH_MAX + 2];

    if (m->failed)
        return;
    m->failed = true;
    file_key(inode_of(m), key);
    fail_locked(fs, m->of, key, "was not sent");
}

void requests_note_locked(struct l2fs *fs, struct inode *inode)
{
    struct request_member *m = member_of(inode);
    struct request *r = m ? m->of : NULL;

    if (!r)
        return;
    switch (standing_locked(inode)) {
    case WAITING: m->failed = false; return;
    case FAILED: key_failed_locked(fs, m); return;
    case LOST: requests_lost_locked(fs, inode); return;
    case SENT: detach(m); settle_locked(fs, r);
    }
}

void requests_leave_locked(struct l2fs *fs, struct inode *inode)
{
    struct request_member *m = member_of(inode);
    struct request *r = m ? m->of : NULL;

    if (!r)
        return;
    detach(m);
    settle_locked(fs, r);
}

void requests_lost_locked(struct l2fs *fs, struct inode *inode)
{
    struct request_member *m = member_of(inode);
    char key[KEY_PATH_MAX + 2];

    if (!m || !m->of)
        return;
    file_key(inode, key);
    m->of->spoiled = true;
    fail_locked(fs, m->of, key, "is lost");
    requests_leave_locked(fs, inode);
}

int requests_join_locked(struct l2fs *fs, struct inode *inode)
{
    struct request_member *m = member_of(inode);
    struct request *r;
    int err;

    if (!fs->tiers.sending || inode->dir || !m || !inode->extra->req_id)
        return 0;
    if (!m->of) {
        r = find_locked(fs, inode->extra->req_id);
        if (!r)
            r = create_locked(fs, inode->extra->req_id);
        if (!r)
            return -ENOMEM;
        m->of = r;
        list_push_back(&r->members, &m->link);
    }
    err = take_peer_locked(m->of, inode);
    if (inode->object)
        inode->object->rest.asked = true; /* whatever the policy: a request waits for it */
    requests_note_locked(fs, inode);
    return err;
}

int requests_last_locked(struct l2fs *fs, struct inode *inode)
{
    struct request_member *m = member_of(inode);
    struct request *r;

    if (!fs->tiers.sending || inode->dir || !m || !inode->extra->req_id)
        return 0;
    r = m->of ? m->of : find_locked(fs, inode->extra->req_id);
    if (!r)
        r = create_locked(fs, inode->extra->req_id);
    if (!r)
        return -ENOMEM;
    r->last = true;
    return requests_join_locked(fs, inode);
}

void requests_not_last_locked(struct inode *inode)
{
    struct request_member *m = member_of(inode);

    if (m && m->of && inode->extra->last_prefill)
        m->of->last = false;
}

size_t requests_cancel_locked(struct l2fs *fs, const char *id)
{
    struct request *r = find_locked(fs, id);
    size_t n = 0;

    if (!r)
        return 0;
    for (; !list_empty(&r->members); n++) {
        struct request_member *m = list_entry(r->members.next, struct request_member, link);

        detach(m);
        store_unwanted_locked(fs, inode_of(m));
    }
    forget_locked(fs, r);
    metric_add(fs->requests.cancelled_total, 1);
    events_add(fs, "request-cancelled", id, NULL);
    return n;
}

/* --- beginning and end --- */

int requests_init(struct l2fs *fs)
{
    struct requests *r = &fs->requests;
    struct metrics *m = fs->metrics;

    list_init(&r->all);
    list_init(&r->done);
    list_init(&r->letter.link);
    r->letter.run = on_letter;
    r->completed_total =
        metrics_counter(m, "l2fs_requests_done", "Requests whose every key was sent.", "");
    r->failed_total =
        metrics_counter(m, "l2fs_requests_failed", "Requests with a key that was not sent.", "");
    r->cancelled_total = metrics_counter(m, "l2fs_requests_cancelled", "Requests cancelled.", "");
    return hash_init(&r->table);
}

void requests_fini(struct l2fs *fs)
{
    struct list *l;

    if (!fs->requests.table.buckets)
        return;
    while (!list_empty(&fs->requests.all))
        forget_locked(fs, list_entry(fs->requests.all.next, struct request, link));
    while ((l = list_pop_front(&fs->requests.done)))
        request_free(list_entry(l, struct request, link));
    hash_fini(&fs->requests.table);
}
