/* xattr_lock.c - user.l2fs.lock: who keeps a key where it is, as one line of JSON.
 *
 * Thread model: any thread. What the tree knows is copied under ns->lock; the tiers are asked for
 * our locks, and /proc for the processes of the threads that opened it, without it.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "xattr_impl.h"

#define PIDS_MAX 64 /* shown of each kind */

struct holders {
    size_t n; /* all of them */
    size_t npids;
    pid_t pids[PIDS_MAX];
};

struct picture {
    struct holders readers, writers;
    uint32_t storing;
    bool unread;
    enum pin_kind pin;
    uint64_t left; /* of a soft pin */
    uint32_t tiers;
    struct text keys; /* every name, NUL-terminated */
};

static void take_handles_locked(const struct object *o, struct picture *p)
{
    struct list *l;

    list_for_each(l, &o->handles)
    {
        const struct handle *h = list_entry(l, struct handle, link);
        struct holders *who = h->write ? &p->writers : &p->readers;

        who->n++;
        if (who->npids < PIDS_MAX && h->process > 0)
            who->pids[who->npids++] = h->process;
    }
}

static void take_locked(const struct l2fs *fs, const struct inode *inode, struct picture *p)
{
    uint64_t now = clock_now();
    char key[KEY_PATH_MAX + 2];

    p->tiers = fs->tiers.present;
    p->unread = inode->landing;
    if (inode->object) {
        p->storing = inode->object->storing;
        take_handles_locked(inode->object, p);
    }
    if (inode_pinned(inode, now)) {
        p->pin = inode->extra->pin;
        p->left = p->pin == PIN_SOFT ? inode->extra->pin_until - now : 0;
    }
    for (const struct dentry *d = inode->names; d; d = d->alias)
        if (ns_path(d, key) > 0)
            text_append(&p->keys, key, strlen(key) + 1);
}

/* FUSE tells threads; what people know is the process. */
static pid_t process_of(pid_t thread)
{
    AUTO_CLOSE int fd = -1;
    char text[512], path[48];
    const char *line;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    text[MAX(n, 0)] = '\0';
    line = strstr(text, "\nTgid:");
    return line ? (pid_t)atoi(line + strlen("\nTgid:")) : thread;
}

static void print_pids(const struct holders *who, struct text *t)
{
    pid_t seen[PIDS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < who->npids; i++) {
        pid_t pid = process_of(who->pids[i]);
        size_t at = 0;

        while (at < n && seen[at] != pid)
            at++;
        if (at < n)
            continue;
        seen[n++] = pid;
        text_printf(t, "%s%d", n > 1 ? "," : "", (int)pid);
    }
}

/* Of all its names: the oldest lock, the last deadline. */
static struct tier_locks locks_in(struct tier *tier, const struct text *keys)
{
    struct tier_locks all = {.since = UINT64_MAX};

    for (const char *key = keys->data; key && key < keys->data + keys->len;
         key += strlen(key) + 1) {
        struct tier_locks here = tier_locks(tier, key);

        all.n += here.n;
        all.since = here.n ? MIN(all.since, here.since) : all.since;
        all.deadline = MAX(all.deadline, here.deadline);
    }
    return all;
}

static void print_tier_locks(struct l2fs *fs, const struct picture *p, struct text *t)
{
    TIERS_HELD(held, &fs->tiers, p->tiers);
    const char *comma = "";

    tiers_each(i, held.mask)
    {
        struct tier_locks locks = locks_in(fs->tiers.tier[i], &p->keys);
        uint64_t now = clock_now();

        if (!locks.n)
            continue;
        text_puts(t, comma);
        events_quote(t, tiers_name(&fs->tiers, i));
        text_printf(t, ":{\"locks\":%zu,\"held_ms\":%" PRIu64, locks.n,
                    (now - locks.since) / NSEC_PER_MSEC);
        if (locks.deadline)
            text_printf(t, ",\"left_ms\":%" PRIu64,
                        (locks.deadline - MIN(now, locks.deadline)) / NSEC_PER_MSEC);
        text_puts(t, "}");
        comma = ",";
    }
}

static void print_storing(struct l2fs *fs, const struct picture *p, struct text *t)
{
    TIERS_HELD(held, &fs->tiers, p->storing);
    const char *comma = "";

    tiers_each(i, held.mask)
    {
        text_puts(t, comma);
        events_quote(t, tiers_name(&fs->tiers, i));
        comma = ",";
    }
}

int lock_print(struct l2fs *fs, struct inode *inode, struct text *out)
{
    struct picture p = {0};

    lock(&fs->ns->lock);
    gate_shut_locked(fs, inode);
    take_locked(fs, inode, &p);
    unlock(&fs->ns->lock);
    text_printf(out, "{\"readers\":%zu,\"reader_pids\":[", p.readers.n);
    print_pids(&p.readers, out);
    text_printf(out, "],\"writer\":%s,\"writer_pids\":[", p.writers.n ? "true" : "false");
    print_pids(&p.writers, out);
    text_puts(out, "],\"l2\":{");
    print_tier_locks(fs, &p, out);
    text_puts(out, "},\"storing\":[");
    print_storing(fs, &p, out);
    text_printf(out, "],\"pin\":\"%s\",\"left_ms\":%" PRIu64 ",\"unread\":%s}",
                pin_kind_name(p.pin), p.left / NSEC_PER_MSEC, p.unread ? "true" : "false");
    text_fini(&p.keys);
    return out->failed ? -ENOMEM : 0;
}
